"""Maps of the report: scores as shares of area, deposits, targets, each with what a map needs.

No text of the user's enters a picture (a font may lack its letters): names stand in the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Polygon, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gossan.grid import Grid
from gossan.report.shares import (
    ANOMALY_AREAS,
    MAP_AREAS,
    area_classes,
    area_thresholds,
    thin,
    thinning,
)
from gossan.report.theme import (
    GROUP_COLOURS,
    INK,
    MUTED,
    SPREAD_COLOURS,
    class_colours,
    new_figure,
    themed,
)

FOUND, NEAR, MISSED, UNTESTED = "found", "near", "missed", "untested"
OUTCOMES = {
    FOUND: "held out, found in the top 5 %",
    NEAR: "held out, found in the top 10 %",
    MISSED: "held out, missed",
    UNTESTED: "known, not held out",
}
"""What became of a deposit that the method was not shown, by how high its ground ranked."""

# Told apart by shape and filling, so that grey print and colour-blind eyes lose nothing.
SYMBOLS: dict[str, dict[str, Any]] = {
    FOUND: {"marker": "o", "s": 34, "facecolor": INK, "edgecolor": "white", "linewidth": 0.9},
    NEAR: {"marker": "D", "s": 28, "facecolor": "white", "edgecolor": INK, "linewidth": 1.1},
    MISSED: {"marker": "X", "s": 46, "facecolor": "white", "edgecolor": INK, "linewidth": 1.0},
    UNTESTED: {"marker": "s", "s": 13, "facecolor": "#9a928a", "edgecolor": INK, "linewidth": 0.7},
}
_HIDDEN: dict[str, Any] = {
    "marker": "*",
    "s": 80,
    "facecolor": "#ffffff",
    "edgecolor": INK,
    "linewidth": 0.9,
}
_NO_DATA: dict[str, Any] = {
    "facecolor": "#f4f2ef",
    "hatch": "/////",
    "edgecolor": "#c4bdb4",
    "linewidth": 0.0,
}
_TARGETS_NAMED = 40

# Inches: margins around the map, the column beside it on a wide and a narrow sheet, and the
# tallest map a page holds.
_TOP, _MARGIN, _FOOT, _GAP, _TALLEST = 0.12, 0.62, 0.55, 0.2, 7.6
_WIDE_COLUMN, _NARROW_COLUMN, _NARROW_SHEET = 2.15, 1.6, 6.0


def outcomes(ranks: npt.ArrayLike) -> list[str]:
    """Read held-out percentile ranks as found in the top 5 %, in the top 10 %, missed, untested.

    Examples
    --------
    >>> outcomes([0.99, 0.92, 0.4, float("nan")])
    ['found', 'near', 'missed', 'untested']
    """
    return [
        UNTESTED
        if np.isnan(rank)
        else FOUND
        if rank >= 0.95 - 1e-12
        else NEAR
        if rank >= 0.90 - 1e-12
        else MISSED
        for rank in np.asarray(ranks, dtype=float)
    ]


def score_map(
    score: xr.DataArray,
    deposits: gpd.GeoDataFrame | None = None,
    *,
    areas: Sequence[float] = MAP_AREAS,
    hidden: gpd.GeoDataFrame | None = None,
    width: float = 9.0,
) -> Figure:
    """Map the score as classes of area: the top 1 %, 1–2 %, … of all observed cells.

    Parameters
    ----------
    score : xarray.DataArray
        ``(y, x)`` with a CRS, NaN where missing.
    deposits : geopandas.GeoDataFrame, optional
        Points with a ``rank`` column, drawn by their outcome when held out.
    areas : sequence of float
        Shares of the area that part the classes.
    hidden : geopandas.GeoDataFrame, optional
        Deposits known to exist but withheld from the whole study (a synthetic district's truth).
    width : float, default 9
        Inches across.
    """
    with themed():
        sheet = _Sheet.of(score, width)
        sheet.draw_areas(score, areas, class_colours(len(areas) + 1)[::-1])  # the top class darkest
        _draw_deposits(sheet, deposits)
        if hidden is not None and len(hidden):
            sheet.points(hidden, _HIDDEN)
            sheet.legend_symbols("Truth", [(_HIDDEN, "deposit not yet found")])
        return sheet.finish()


def anomaly_map(score: xr.DataArray, *, width: float = 9.0) -> Figure:
    """Map the anomaly classes: the top 5 %, 5–15 % and 15–30 % of the area."""
    return score_map(score, areas=ANOMALY_AREAS, width=width)


def spread_map(spread: xr.DataArray, *, width: float = 9.0) -> Figure:
    """Map the ensemble's spread, from its 2nd to its 98th percentile."""
    with themed():
        sheet = _Sheet.of(spread, width)
        values = np.asarray(spread)
        low, high = np.nanpercentile(values, [2, 98])
        high = high if high > low else low + 1e-6
        sheet.draw(thin(values, keep="mean"), cmap=SPREAD_COLOURS, vmin=low, vmax=high)
        sheet.legend_ramp("Spread of the score", SPREAD_COLOURS, float(low), float(high))
        return sheet.finish()


def targets_map(
    score: xr.DataArray,
    targets: gpd.GeoDataFrame,
    deposits: gpd.GeoDataFrame | None = None,
    *,
    letters: Sequence[str] = (),
    width: float = 9.0,
) -> Figure:
    """Map target outlines with their ranks over the anomaly classes.

    Parameters
    ----------
    score : xarray.DataArray
    targets : geopandas.GeoDataFrame
        Polygons with ``rank``; the first 40 are numbered.
    deposits : geopandas.GeoDataFrame, optional
    letters : sequence of str
        Group letter of each target, which follows its rank and chooses its outline's colour.
    width : float, default 9
    """
    with themed():
        sheet = _Sheet.of(score, width)
        pale = ["#f1ab71", "#f7d3a8", "#fbe9d3", "#ffffff"]  # so that outlines stand out
        sheet.draw_areas(score, ANOMALY_AREAS, pale)
        if deposits is not None and len(deposits):
            sheet.points(deposits, SYMBOLS[UNTESTED])
            sheet.legend_symbols("Deposits", [(SYMBOLS[UNTESTED], "known deposit")])
        _draw_targets(sheet, targets, list(letters))
        return sheet.finish()


def thumbnail(layer: xr.DataArray, deposits: gpd.GeoDataFrame | None = None) -> Figure:
    """Draw one evidence layer small, from its 2nd to its 98th percentile, without furniture."""
    with themed():
        grid = Grid.from_dataarray(layer)
        west, south, east, north = grid.bounds
        width = 2.3
        height = width * min(2.0, (north - south) / (east - west) * _stretch(grid))
        figure = new_figure(width, height)
        axes = figure.add_axes((0, 0, 1, 1))
        values = thin(np.asarray(layer), keep="mean", limit=300)
        low, high = np.nanpercentile(values, [2, 98]) if np.isfinite(values).any() else (0, 1)
        axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, zorder=0, **_NO_DATA))
        axes.imshow(
            values,
            extent=(west, east, south, north),
            cmap=SPREAD_COLOURS,
            vmin=low,
            vmax=high if high > low else low + 1e-6,
            aspect="auto",
            interpolation="nearest",
        )
        if deposits is not None and len(deposits):
            east_of, north_of = shapely.get_coordinates(deposits.geometry.centroid).T
            axes.scatter(east_of, north_of, s=9, facecolor="white", edgecolor=INK, linewidth=0.5)
        axes.set(xlim=(west, east), ylim=(south, north))
        axes.set_axis_off()
        return figure


@dataclass
class _Sheet:
    """A map on paper: the frame with its coordinates, and a column for all that explains it."""

    figure: Figure
    axes: Axes
    column: Axes
    grid: Grid
    inches_per_unit: float
    column_width: float
    size: tuple[float, float]
    """Width and height of the map itself, inches."""
    below: float = 0.1
    """How far down the column is filled, inches from its top."""
    missing: bool = False
    """Whether missing ground shows on the map."""

    @classmethod
    def of(cls, array: xr.DataArray, width: float) -> _Sheet:
        grid = Grid.from_dataarray(array)
        west, south, east, north = grid.bounds
        stretch = _stretch(grid)
        column_width = _WIDE_COLUMN if width > _NARROW_SHEET else _NARROW_COLUMN
        inches = min(
            (width - _MARGIN - _GAP - column_width) / (east - west),
            _TALLEST / ((north - south) * stretch),
        )
        figure = new_figure(width, width)
        size = (east - west) * inches, (north - south) * stretch * inches
        axes, column = figure.add_axes((0, 0, 1, 1)), figure.add_axes((0, 0, 1, 1))
        column.set(xlim=(0, column_width))
        column.set_axis_off()
        sheet = cls(figure, axes, column, grid, inches, column_width, size)
        sheet._frame()
        return sheet

    def draw(self, values: npt.NDArray[Any], **how: Any) -> None:
        """Draw a thinned array; where it is missing the hatched ground shows."""
        west, _, _, north = self.grid.bounds
        step = thinning(self.grid.shape)
        width, height = (step * side for side in self.grid.cell_size)
        extent = (west, west + values.shape[1] * width, north - values.shape[0] * height, north)
        limits = self.axes.get_xlim(), self.axes.get_ylim()
        self.axes.imshow(
            np.ma.masked_invalid(values),
            extent=extent,
            aspect="auto",
            interpolation="nearest",
            zorder=1,
            **how,
        )
        self.axes.set(xlim=limits[0], ylim=limits[1])
        self.missing = not np.isfinite(values).all()

    def draw_areas(
        self, score: xr.DataArray, areas: Sequence[float], colours: Sequence[str]
    ) -> None:
        """Draw and list the classes of area, the top one first."""
        values = np.asarray(score)
        thresholds = area_thresholds(values, areas)
        self.draw(
            area_classes(thin(values, keep="max"), thresholds, areas),
            cmap=ListedColormap(colours),
            norm=BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours)),
        )
        between = [f"{100 * low:g}–{100 * high:g} %" for low, high in pairwise([*areas, 1.0])]
        names = [f"top {100 * areas[0]:g} %", *between]
        self.legend_classes("Score, by share of area", list(zip(colours, names, strict=True)))

    def points(
        self, places: gpd.GeoDataFrame, symbol: dict[str, Any], *, among: int | None = None
    ) -> None:
        """Draw the places that lie on the map (a polygon by its middle), smaller ``among`` many."""
        east, north = shapely.get_coordinates(places.geometry.centroid).T
        west_edge, south_edge, east_edge, north_edge = self.grid.bounds
        inside = (east >= west_edge) & (east <= east_edge)
        inside &= (north >= south_edge) & (north <= north_edge)
        crowding = float(np.clip(60 / max(1, among or len(places)), 0.35, 1.0))
        style = {**symbol, "s": crowding * symbol["s"]}
        self.axes.scatter(east[inside], north[inside], zorder=5, clip_on=False, **style)

    def legend_classes(self, title: str, classes: Sequence[tuple[str, str]]) -> None:
        """List colour classes, with the sign for missing ground."""
        self._title(title)
        for colour, name in classes:
            self._patch({"facecolor": colour, "edgecolor": MUTED, "linewidth": 0.4}, name)
        if self.missing:
            self._patch(_NO_DATA, "no data")

    def legend_ramp(self, title: str, cmap: Any, low: float, high: float) -> None:
        """Draw a continuous colour bar, with the sign for missing ground."""
        self._title(title)
        ramp = np.linspace(0, 1, 256)[None]
        self.column.imshow(
            ramp, extent=(0, 1.5, -self.below - 0.16, -self.below), cmap=cmap, aspect="auto"
        )
        self._text(0, self.below + 0.27, f"{low:.2g}")
        self._text(1.5, self.below + 0.27, f"{high:.2g}", ha="right")
        self.below += 0.45
        if self.missing:
            self._patch(_NO_DATA, "no data")

    def legend_symbols(self, title: str, symbols: Sequence[tuple[dict[str, Any], str]]) -> None:
        """List point symbols."""
        self._title(title)
        for symbol, name in symbols:
            self.column.scatter([0.13], [-self.below - 0.08], zorder=5, **symbol)
            self._text(0.36, self.below + 0.08, name)
            self.below += 0.2

    def legend_lines(self, title: str, lines: Sequence[tuple[str, str]]) -> None:
        """List outlines by colour."""
        self._title(title)
        for colour, name in lines:
            at = -self.below - 0.08
            self.column.add_line(Line2D([0, 0.27], [at, at], color=colour, linewidth=1.8))
            self._text(0.36, self.below + 0.08, name)
            self.below += 0.2

    def finish(self) -> Figure:
        """Add scale bar, north arrow and CRS at the column's foot, and cut the sheet to size."""
        self.below += 0.22
        self._scale_bar()
        self.below += 0.32
        self._north_arrow()
        across, up = self.size
        height = max(_TOP + up + _FOOT, self.below + 0.15)
        width = _MARGIN + across + _GAP + self.column_width
        self.figure.set_size_inches(width, height)
        self.axes.set_position(
            (_MARGIN / width, 1 - (_TOP + up) / height, across / width, up / height)
        )
        share = self.column_width / width
        self.column.set_position((1 - share, 0, share, 1 - _TOP / height))
        self.column.set(xlim=(0, self.column_width), ylim=(_TOP - height, 0))
        return self.figure

    def _frame(self) -> None:
        west, south, east, north = self.grid.bounds
        axes = self.axes
        axes.set(xlim=(west, east), ylim=(south, north))
        axes.grid(False)
        axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, zorder=0, **_NO_DATA))
        for side in axes.spines.values():
            side.set(visible=True, color=INK)
        divisor, unit = _display_unit(self.grid)
        for axis, name in ((axes.xaxis, "Easting"), (axes.yaxis, "Northing")):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], prune="both"))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / divisor:,.10g}"))
            if self.grid.crs.is_geographic:
                name = {"Easting": "Longitude", "Northing": "Latitude"}[name]
            axis.set_label_text(f"{name} ({unit})", fontsize=8)
        axes.tick_params(labelsize=7.5, direction="out", length=3)
        axes.tick_params(axis="y", labelrotation=90)
        for label in axes.get_yticklabels():
            label.set_verticalalignment("center")

    def _title(self, text: str) -> None:
        if self.below > 0.2:
            self.below += 0.16
        self._text(0, self.below + 0.07, text, weight="bold")
        self.below += 0.24

    def _patch(self, style: dict[str, Any], name: str) -> None:
        self.column.add_patch(Rectangle((0, -self.below - 0.155), 0.27, 0.15, **style))
        self._text(0.36, self.below + 0.08, name)
        self.below += 0.19

    def _text(self, across: float, down: float, text: str, **how: Any) -> None:
        options = {"fontsize": 8, "va": "center", **how}
        self.column.text(across, -down, text, **options)

    def _scale_bar(self) -> None:
        """Two-tone bar of a round length; true along the easting at the map's middle."""
        metres = _metres_per_unit(self.grid)
        longest = 0.7 * self.column_width / self.inches_per_unit * metres
        length = _round_down(longest)
        inches = length / metres * self.inches_per_unit
        for part, colour in ((0, INK), (1, "white")):
            corner = (part * inches / 2, -self.below - 0.07)
            self.column.add_patch(
                Rectangle(corner, inches / 2, 0.06, facecolor=colour, edgecolor=INK, linewidth=0.7)
            )
        label = f"{length / 1000:,g} km" if length >= 1000 else f"{length:,g} m"
        self._text(0, self.below + 0.19, "0")
        self._text(inches, self.below + 0.19, label, ha="center" if inches > 0.5 else "left")

    def _north_arrow(self) -> None:
        top = -self.below - 0.02
        half = [(0.12, top), (0.12, top - 0.34), (0.0, top - 0.42)]
        other = [(0.12, top), (0.12, top - 0.34), (0.24, top - 0.42)]
        self.column.add_patch(Polygon(half, facecolor=INK, edgecolor=INK, linewidth=0.7))
        self.column.add_patch(Polygon(other, facecolor="white", edgecolor=INK, linewidth=0.7))
        self._text(0.36, self.below + 0.14, "grid north", weight="bold")
        self._text(0.36, self.below + 0.32, crs_code(self.grid), color=MUTED)
        self.below += 0.5


def crs_code(grid: Grid) -> str:
    """Short name of a CRS in letters every font has, such as ``EPSG:32650``."""
    authority = grid.crs.to_authority(min_confidence=70)
    return ":".join(authority) if authority else "CRS: see the caption"


def _draw_deposits(sheet: _Sheet, deposits: gpd.GeoDataFrame | None) -> None:
    if deposits is None or not len(deposits):
        return
    outcome = np.array(outcomes(deposits["rank"]))
    shown = [kind for kind in OUTCOMES if (outcome == kind).any()]
    for kind in reversed(shown):  # the found on top
        sheet.points(deposits[outcome == kind], SYMBOLS[kind], among=len(deposits))
    names = {kind: OUTCOMES[kind].removeprefix("held out, ") for kind in shown}
    sheet.legend_symbols(
        "Deposits, when held out",
        [(SYMBOLS[kind], f"{names[kind]} ({(outcome == kind).sum()})") for kind in shown],
    )


def _draw_targets(sheet: _Sheet, targets: gpd.GeoDataFrame, letters: list[str]) -> None:
    known = sorted(set(letters))
    colour_of = {letter: GROUP_COLOURS[i % len(GROUP_COLOURS)] for i, letter in enumerate(known)}
    halo = [patheffects.withStroke(linewidth=2.2, foreground="white")]
    for position, (shape, rank) in enumerate(zip(targets.geometry, targets["rank"], strict=True)):
        letter = letters[position] if letters else ""
        colour = colour_of.get(letter, INK)
        sheet.axes.add_patch(
            PathPatch(_path(shape), facecolor="none", edgecolor=colour, linewidth=1.3, zorder=4)
        )
        if position < _TARGETS_NAMED:
            place = _label_place(shape)
            sheet.axes.annotate(
                f"{rank}{letter}",
                place,
                xytext=(0, 6),
                textcoords="offset points",
                fontsize=7.5,
                weight="bold",
                ha="center",
                va="bottom",
                path_effects=halo,
                zorder=6,
                annotation_clip=True,
            )
    if known:
        sheet.legend_lines(
            "Targets: rank and group",
            [(colour_of[letter], f"group {letter}") for letter in known],
        )


def _label_place(shape: Any) -> tuple[float, float]:
    """Above the largest part of a target."""
    largest = max(shapely.get_parts(shape), key=lambda part: part.area)
    west, _, east, north = largest.bounds
    return (west + east) / 2, north


def _path(shape: Any) -> Path:
    rings = [
        np.asarray(ring.coords)[:, :2]
        for part in shapely.get_parts(shape)
        for ring in (part.exterior, *part.interiors)
    ]
    return Path.make_compound_path(*[Path(ring, closed=True) for ring in rings])


def _display_unit(grid: Grid) -> tuple[float, str]:
    """What to divide coordinates by, and the unit's name: km for any area of some size."""
    if grid.crs.is_geographic:
        return 1.0, "°"
    west, south, east, north = grid.bounds
    unit = grid.crs.axis_info[0].unit_name
    if unit not in ("metre", "meter"):
        return 1.0, unit if unit.isascii() else "CRS units"
    return (1000.0, "km") if max(east - west, north - south) >= 5000 else (1.0, "m")


def _metres_per_unit(grid: Grid) -> float:
    if not grid.crs.is_geographic:
        return float(grid.crs.axis_info[0].unit_conversion_factor)
    _, south, _, north = grid.bounds
    return 111_320.0 * float(np.cos(np.radians((south + north) / 2)))


def _stretch(grid: Grid) -> float:
    """Northward stretch that makes a degree map true in shape at its middle."""
    if not grid.crs.is_geographic:
        return 1.0
    _, south, _, north = grid.bounds
    return 1.0 / float(np.cos(np.radians((south + north) / 2)))


def _round_down(length: float) -> float:
    """The largest 1, 2 or 5 × 10ⁿ not above ``length``."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9)))
