"""What every kind of source comes down to: layers, and a way to fill any window of the grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyproj

from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.io import Layer

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class SourceLayers:
    """The layers of one source, and how to compute them.

    Parameters
    ----------
    layers : list of Layer
        What they are.
    fill : callable
        From a window of the template grid to float32 values (layer, y, x), NaN where missing.
        Windows may be asked for in any order; the values of a cell do not depend on the window
        (between two CRS, to a hundredth of a native cell).
    history : list of str
        What happened on the way that the user should know, for the report.
    """

    layers: list[Layer]
    fill: Callable[[Grid], npt.NDArray[np.float32]]
    history: list[str] = field(default_factory=list)


def check_overlap(
    bounds: Bounds, area: Bounds, crs: pyproj.CRS, source: str, *, reach: float = 0.0
) -> None:
    """Raise, naming both extents, unless a source's extent meets the area.

    Parameters
    ----------
    bounds : tuple of float
        West, south, east, north of the source.
    area : tuple of float
        Those of the area.
    crs : pyproj.CRS
        Of both.
    source : str
        The source's name and file, for the message.
    reach : float, default 0
        How far beyond its extent the source still tells something, in CRS units.
    """
    west, south, east, north = area
    if (
        bounds[0] - reach < east
        and bounds[2] + reach > west
        and bounds[1] - reach < north
        and bounds[3] + reach > south
    ):
        return
    raise SurveyDataError(
        f"{source} does not meet the area: it covers {_extent(bounds)}, the area "
        f"{_extent(area)} (west, south, east, north in {crs.name}). "
        "Is its CRS right, or are its coordinates swapped?"
    )


def _extent(bounds: Bounds) -> str:
    digits = 0 if max(abs(edge) for edge in bounds) > 1000 else 3
    return "(" + ", ".join(f"{edge:,.{digits}f}".replace(",", " ") for edge in bounds) + ")"
