"""Pictures of regions: where they lie, what each is like, and why there are so many."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from rasterio.features import shapes

from gossan.grid import Grid
from gossan.regions import STABLE
from gossan.report.figures import shortened
from gossan.report.maps import KNOWN
from gossan.report.shares import MAP_AREAS, thinning
from gossan.report.sheet import PEAK, Sheet
from gossan.report.theme import (
    INK,
    MUTED,
    RUST,
    SIGNED_COLOURS,
    SLATE,
    class_colours,
    new_figure,
    region_colours,
    themed,
)

MAP_WIDTH = 9.0
"""Inches across."""
PROFILE_LAYERS = 24
_NAMED = 26
_MARKED = 9
"""Cells of a chosen place up to which each is marked; a larger place is outlined."""
_QUERY = {"marker": "s", "s": 16, "facecolor": SLATE, "edgecolor": "white", "linewidth": 0.6}
_COLOURS_END = (3.0, 12.0)
"""Robust deviations at which the colours of a profile end, at least and at most."""


def region_map(
    labels: xr.DataArray,
    table: pd.DataFrame,
    deposits: gpd.GeoDataFrame | None = None,
    *,
    width: float = MAP_WIDTH,
) -> Figure:
    """Map the regions by number, with the known deposits.

    Parameters
    ----------
    labels : xarray.DataArray
        ``(y, x)`` with a CRS; 0 without evidence.
    table : pandas.DataFrame
        ``region``, ``name`` and ``share``, from :func:`gossan.regions.region_table`.
    deposits : geopandas.GeoDataFrame, optional
        In the map's CRS.
    width : float, default 9
        Inches across.
    """
    colours = region_colours(len(table))
    with themed():
        sheet = Sheet.of(labels, width)
        step = thinning(labels.shape, sheet.limit)
        numbers = labels.to_numpy()[::step, ::step].astype(float)
        sheet.draw(
            np.where(numbers > 0, numbers, np.nan),
            cmap=ListedColormap(colours),
            norm=BoundaryNorm(np.arange(len(colours) + 1) + 0.5, len(colours)),
        )
        names = [
            f"{number} ({100 * share:.0f} %)" + (f": {name}" if name.isascii() else "")
            for number, share, name in zip(
                table["region"], table["share"], table["name"].astype(str), strict=True
            )
        ]  # a font may lack the letters of other scripts
        sheet.legend_classes("Regions", list(zip(colours, names, strict=True)))
        if deposits is not None and len(deposits):
            sheet.points(deposits, KNOWN)
            sheet.legend_symbols("Deposits", [(KNOWN, "known")])
        return sheet.finish()


def analogue_map(
    similarity: xr.DataArray,
    query: gpd.GeoDataFrame,
    areas: gpd.GeoDataFrame,
    *,
    width: float = MAP_WIDTH,
) -> Figure:
    """Map how like a chosen place all ground is, by share of the area, with the best areas.

    Parameters
    ----------
    similarity : xarray.DataArray
        ``(y, x)`` with a CRS.
    query : geopandas.GeoDataFrame
        Centres of the chosen cells. Up to nine are marked; of more the outline is drawn.
    areas : geopandas.GeoDataFrame
        Polygons with ``rank`` and the ``easting`` and ``northing`` of the peak.
    width : float, default 9
        Inches across.
    """
    colours = class_colours(len(MAP_AREAS) + 1)[::-1]
    with themed():
        sheet = Sheet.of(similarity, width)
        sheet.draw_areas(similarity, MAP_AREAS, colours)
        sheet.legend_areas("Likeness, by share of area", MAP_AREAS, colours)
        for shape in areas.geometry:
            sheet.outline(shape, INK, width=0.9, casing=0.6)
        marked = query[:0] if len(query) > _MARKED else query
        if len(query) > _MARKED:
            sheet.outline(_cells_outline(query, sheet.grid), SLATE, width=2.0, casing=0.9)
            sheet.legend_lines("Chosen", [(SLATE, "the place itself")])
        else:
            sheet.points(query, _QUERY, among=1)
            sheet.legend_symbols("Chosen", [(_QUERY, "the place itself")])
        ranks = [str(rank) for rank in areas["rank"]]
        unnamed = sheet.name_peaks(areas, ranks, clear=marked)
        sheet.legend_lines("Found, by rank", [(INK, "ground like it")])
        sheet.legend_symbols("", [(PEAK, "most like it there")])
        if unnamed:
            sheet.note(f"No room on the map to name {', '.join(unnamed)}.")
        return sheet.finish()


def _cells_outline(centres: gpd.GeoDataFrame, grid: Grid) -> shapely.MultiPolygon:
    """Outline of some cells along their edges."""
    chosen = np.zeros(grid.shape, dtype=np.uint8)
    rows, columns = grid.locate(centres.geometry.x, centres.geometry.y)
    chosen[rows[rows >= 0], columns[rows >= 0]] = 1
    rings = shapes(chosen, mask=chosen == 1, transform=grid.transform)
    return shapely.MultiPolygon([shapely.geometry.shape(ring) for ring, _ in rings])


def profile_figure(profiles: pd.DataFrame) -> Figure:
    """Draw what each region stands out by: a row a layer, a column a region.

    Parameters
    ----------
    profiles : pandas.DataFrame
        From :func:`gossan.regions.layer_profiles`; the layers by which regions differ most are
        drawn, 24 at most.
    """
    strongest = profiles.abs().max().sort_values(ascending=False, kind="stable").dropna()
    shown = profiles[strongest.index[:PROFILE_LAYERS]].T
    with themed():
        values = shown.to_numpy(dtype=float)
        end = _colour_end(values)
        figure = new_figure(2.8 + 0.52 * len(profiles), 1.2 + 0.2 * len(shown))
        axes = figure.subplots()
        axes.grid(False)
        drawn = axes.imshow(
            values,
            cmap=SIGNED_COLOURS,
            vmin=-end,
            vmax=end,
            aspect="auto",
        )
        for (layer, region), value in np.ndenumerate(values):
            if np.isfinite(value):
                light = abs(value) > 0.55 * end
                text = f"{value:+.1f}".replace("-", "−")
                axes.text(
                    region, layer, text, ha="center", va="center", fontsize=6.5,
                    color="white" if light else INK,
                )  # fmt: skip
        axes.set_xticks(range(len(profiles)), [str(number) for number in profiles.index])
        axes.set_xlabel("region")
        names = [str(name) for name in shown.index]
        # A font may lack the letters of other scripts: such a layer has its number in the CSV.
        order = {str(name): place + 1 for place, name in enumerate(profiles.columns)}
        told = [
            shortened(name, _NAMED)
            if name.isascii() and name.isprintable()
            else f"layer {order[name]}"
            for name in names
        ]
        axes.set_yticks(range(len(shown)), told, fontsize=7, parse_math=False)
        axes.tick_params(length=0)
        bar = figure.colorbar(drawn, ax=axes, shrink=0.5, extend="both")
        bar.set_label("robust deviations from the area", fontsize=7.5)
        figure.set_layout_engine("constrained")
        return figure


def _colour_end(values: npt.NDArray[np.floating[Any]]) -> float:
    """Where colours end: few values beyond, so that strong and stronger can be told apart."""
    known = np.abs(values[np.isfinite(values)])
    return float(np.clip(np.quantile(known, 0.95) if len(known) else 0.0, *_COLOURS_END))


def choice_figure(choice: pd.DataFrame, count: int) -> Figure:
    """Plot stability and silhouette of each number of regions, and mark the one taken.

    Parameters
    ----------
    choice : pandas.DataFrame
        From :func:`gossan.regions.choose_count`.
    count : int
        Regions there are.
    """
    with themed():
        figure = new_figure(5.2, 2.8)
        axes = figure.subplots()
        axes.axvline(count, color=MUTED, linewidth=6, alpha=0.25)
        axes.errorbar(
            choice["regions"], choice["stability"], choice["stability_error"],
            fmt="o-", color=RUST, label="stability, ± standard error",
        )  # fmt: skip
        axes.plot(choice["regions"], choice["silhouette"], "s--", color=SLATE, label="silhouette")
        axes.axhline(STABLE, color=RUST, linewidth=0.8, linestyle=(0, (5, 2)))
        axes.annotate(
            "below: your data cannot say", (0.0, STABLE), xycoords=("axes fraction", "data"),
            xytext=(3, -3), textcoords="offset points", va="top", fontsize=7,
            color=RUST,
        )  # fmt: skip
        axes.set(
            xlabel="number of regions",
            ylabel="1 is perfect",
            ylim=(min(0.0, choice["silhouette"].min()) - 0.05, 1.0),
        )
        axes.set_xticks(choice["regions"])
        axes.legend(loc="upper right")
        figure.tight_layout()
        return figure
