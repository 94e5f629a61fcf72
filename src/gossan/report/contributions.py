"""Maps of what each layer adds to the score, with its sign and without."""

from __future__ import annotations

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gossan.report.figures import shortened
from gossan.report.maps import KNOWN
from gossan.report.shares import thin
from gossan.report.sheet import Panels
from gossan.report.theme import SIGNED_COLOURS, SPREAD_COLOURS, themed

_NAMED = 18
"""Letters of a layer's name above its map."""


def contribution_maps(
    contributions: xr.DataArray,
    deposits: gpd.GeoDataFrame,
    letters: Sequence[str],
    *,
    width: float = 9.0,
) -> Figure:
    """Map what layers add to the score: a pair of panels a layer, with its sign and its size.

    Parameters
    ----------
    contributions : xarray.DataArray
        ``(layer, y, x)`` with a CRS, in units of the score; NaN where missing. All are drawn in
        one range of colours, so that layers can be compared.
    deposits : geopandas.GeoDataFrame
        Known deposits in the maps' CRS.
    letters : sequence of str
        Name of each layer in the picture.
    width : float, default 9
        Inches across.
    """
    limit = contribution_range(contributions)
    known = {**KNOWN, "s": 8}
    with themed():
        panels = Panels.of(contributions[0], 2 * len(letters), width, pairs=True)
        for layer, letter in enumerate(letters):
            signed, size = panels.maps[2 * layer : 2 * layer + 2]
            values = thin(contributions[layer].to_numpy(), keep="mean", limit=signed.limit)
            signed.draw(values, cmap=SIGNED_COLOURS, vmin=-limit, vmax=limit)
            size.draw(np.abs(values), cmap=SPREAD_COLOURS, vmin=0, vmax=limit)
            name = str(contributions["layer"].to_numpy()[layer])
            # A font may lack the letters of other scripts: such a layer has its letter alone.
            drawn = name.isascii() and name.isprintable()
            named = f"{letter}   {shortened(name, _NAMED)}" if drawn else letter
            for sheet, title in ((signed, named), (size, "without its sign")):
                sheet.points(deposits, known)
                sheet.axes.set_title(title, loc="left", pad=4)
        first = panels.maps[0]
        missing, first.missing = any(sheet.missing for sheet in panels.maps), False
        first.legend_ramp("Adds to the score", SIGNED_COLOURS, -limit, limit)
        first.missing = missing  # said once, for both
        first.legend_ramp("Without its sign", SPREAD_COLOURS, 0.0, limit)
        first.legend_symbols("Deposits", [(known, "known")])
        return panels.finish()


def contribution_range(contributions: xr.DataArray) -> float:
    """Where the colours end: what 99 % of all contributions do not pass in size.

    Examples
    --------
    >>> contribution_range(xr.DataArray([[[0.0, -0.5, 0.5, float("nan")]]]))
    0.5
    """
    size = np.abs(contributions.to_numpy())
    known = size[np.isfinite(size)]
    return float(np.percentile(known, 99)) or 1e-6 if len(known) else 1.0
