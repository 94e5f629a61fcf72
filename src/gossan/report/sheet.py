"""One map on paper: the frame with its coordinates, and a column for all that explains it."""

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
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Polygon, Rectangle
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gossan.grid import Grid
from gossan.report.lettering import POINTS, extent, label_offsets, stands_apart, wrapped
from gossan.report.shares import DRAWN_CELLS, area_classes, area_thresholds, thin, thinning
from gossan.report.theme import INK, MUTED, new_figure

NO_DATA: dict[str, Any] = {
    "facecolor": "#f4f2ef",
    "hatch": "/////",
    "edgecolor": "#c4bdb4",
    "linewidth": 0.0,
}

PEAK: dict[str, Any] = {
    "marker": "o",
    "s": 13,
    "facecolor": INK,
    "edgecolor": "white",
    "linewidth": 0.7,
}
"""The best cell of an area that a map outlines."""

# Inches: margins around the map, the column beside it on a wide and a narrow sheet, and the
# tallest map a page holds.
_TOP, _MARGIN, _FOOT, _GAP, _TALLEST = 0.12, 0.62, 0.55, 0.2, 7.6
_WIDE_COLUMN, _NARROW_COLUMN, _NARROW_SHEET = 2.15, 1.6, 6.0

# Of the legend, inches: where texts begin, what stays free at the page's edge, from line to line.
# Of letters, points: in the legend, of labels on the map.
_TEXT_FROM, _EDGE, _LINE, _TEXT_SIZE, _LABEL_SIZE = 0.36, 0.08, 0.135, 8, 7.5

_LEAST_HOLE = 5
"""Points across, of the holes in what is outlined."""

# Of small maps: space between and above them, how many in a row, and the pixels each has.
_BETWEEN, _PANEL_TITLE, _PANELS_ACROSS, _PANEL_CELLS = 0.12, 0.27, 4, 400


@dataclass
class Sheet:
    """A map being drawn: call :meth:`of`, draw, add legends from the top down, :meth:`finish`."""

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
    limit: int = DRAWN_CELLS
    """Rows or columns beyond which what is drawn must have been thinned."""

    @classmethod
    def of(cls, array: xr.DataArray, width: float) -> Sheet:
        """Lay out the frame of a map of ``array`` on a sheet at most ``width`` inches wide."""
        grid = Grid.from_dataarray(array)
        west, south, east, north = grid.bounds
        stretch = northward_stretch(grid)
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
        step = thinning(self.grid.shape, self.limit)
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
        """Draw the classes of area, the top one in the first colour."""
        values = np.asarray(score)
        thresholds = area_thresholds(values, areas)
        self.draw(
            area_classes(thin(values, keep="max", limit=self.limit), thresholds, areas),
            cmap=ListedColormap(colours),
            norm=BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours)),
        )

    def legend_areas(self, title: str, areas: Sequence[float], colours: Sequence[str]) -> None:
        """List the classes of area, the top one first."""
        between = [f"{100 * low:g}–{100 * high:g} %" for low, high in pairwise([*areas, 1.0])]
        names = [f"top {100 * areas[0]:g} %", *between]
        self.legend_classes(title, list(zip(colours, names, strict=True)))

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

    def outline(self, shape: Any, colour: str, *, width: float = 1.3, casing: float = 0.0) -> None:
        """Draw a polygon, with a white casing around the line where ground is dark.

        Holes smaller than a letter are left out: they would hide the ground that they part.
        """
        least = (
            (_LEAST_HOLE / POINTS) ** 2 / np.prod(self.size) * shapely.box(*self.grid.bounds).area
        )
        effects = [withStroke(linewidth=width + 2 * casing, foreground="white")] if casing else []
        self.axes.add_patch(
            PathPatch(
                _path(shape, least),
                facecolor="none",
                edgecolor=colour,
                linewidth=width,
                path_effects=effects,
                zorder=4,
            )
        )

    def name_peaks(
        self,
        areas: gpd.GeoDataFrame,
        names: Sequence[str],
        *,
        clear: gpd.GeoDataFrame | None = None,
    ) -> list[str]:
        """Mark ``easting``, ``northing`` of each area and write its name beside, the first first.

        No name covers another, a peak or a point of ``clear``.

        Returns
        -------
        list of str
            Names for which there was no room.
        """
        peaks = areas[["easting", "northing"]].to_numpy(dtype=float)
        self.points(gpd.GeoDataFrame(geometry=shapely.points(peaks), crs=areas.crs), PEAK, among=1)
        frame = (POINTS * self.size[0], POINTS * self.size[1])
        sizes = [extent(name, _LABEL_SIZE, "bold") for name in names]
        marks = np.empty((0, 2)) if clear is None else shapely.get_coordinates(clear.geometry)
        offsets = label_offsets(self._on_paper(peaks), sizes, frame, clear=self._on_paper(marks))
        for name, peak, offset, size in zip(names, peaks, offsets, sizes, strict=True):
            if np.isfinite(offset).all():
                self._label(name, peak, offset, leader=stands_apart(offset, size))
        return [name for name, offset in zip(names, offsets, strict=True) if np.isnan(offset[0])]

    def legend_classes(self, title: str, classes: Sequence[tuple[str, str]]) -> None:
        """List colour classes, with the sign for missing ground."""
        self._title(title)
        for colour, name in classes:
            self._patch({"facecolor": colour, "edgecolor": MUTED, "linewidth": 0.4}, name)
        if self.missing:
            self._patch(NO_DATA, "no data")

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
            self._patch(NO_DATA, "no data")

    def legend_pairs(
        self,
        title: str,
        heads: Sequence[str],
        rows: Sequence[tuple[Sequence[str], str]],
        rest: tuple[str, str],
    ) -> None:
        """Draw a legend of two dimensions: a named row of colours a class, heads above them."""
        self._title(title)
        wide, high = 0.5, 0.25
        for position, head in enumerate(heads):
            self._text((position + 0.5) * wide, self.below + 0.12, head, ha="center")
        self.below += 0.29
        for colours, name in rows:
            for position, colour in enumerate(colours):
                corner = (position * wide, -self.below - high)
                self.column.add_patch(
                    Rectangle(corner, wide, high, facecolor=colour, edgecolor="white", linewidth=1)
                )
            self._text(len(heads) * wide + 0.07, self.below + high / 2, name)
            self.below += high
        self.below += 0.07
        self._patch({"facecolor": rest[0], "edgecolor": MUTED, "linewidth": 0.4}, rest[1])
        if self.missing:
            self._patch(NO_DATA, "no data")

    def legend_symbols(self, title: str, symbols: Sequence[tuple[dict[str, Any], str]]) -> None:
        """List point symbols; without a title as part of the legend above."""
        if title:
            self._title(title)
        for symbol, name in symbols:
            self.column.scatter([0.13], [-self.below - 0.08], zorder=5, **symbol)
            self._text(_TEXT_FROM, self.below + 0.08, name)
            self.below += 0.2

    def legend_lines(self, title: str, lines: Sequence[tuple[str, str]]) -> None:
        """List outlines by colour."""
        self._title(title)
        for colour, name in lines:
            at = -self.below - 0.08
            self.column.add_line(Line2D([0, 0.27], [at, at], color=colour, linewidth=1.8))
            self._text(_TEXT_FROM, self.below + 0.08, name)
            self.below += 0.2

    def note(self, text: str) -> None:
        """Write a remark under a legend, in as many lines as it takes."""
        lines = wrapped(text, POINTS * (self.column_width - _EDGE), 7, most=6)
        self.below += 0.04
        for line in lines.split("\n"):
            self._text(0, self.below + 0.06, line, fontsize=7, color=MUTED)
            self.below += _LINE

    def finish(self) -> Figure:
        """Add scale bar, north arrow and CRS at the column's foot, and cut the sheet to size."""
        self._foot()
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

    def _foot(self) -> None:
        self.below += 0.22
        self._scale_bar()
        self.below += 0.32
        self._north_arrow()

    def _frame(self, ticks_across: int = 5, ticks_up: int = 5) -> None:
        west, south, east, north = self.grid.bounds
        axes = self.axes
        axes.set(xlim=(west, east), ylim=(south, north))
        axes.grid(False)
        axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, zorder=0, **NO_DATA))
        for side in axes.spines.values():
            side.set(visible=True, color=INK)
        divisor, unit = _display_unit(self.grid)
        for axis, name, ticks in (
            (axes.xaxis, "Easting", ticks_across),
            (axes.yaxis, "Northing", ticks_up),
        ):
            axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10], prune="both"))
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

    def _on_paper(self, places: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Points rightward and upward from the map's lower left corner."""
        west, south, east, north = self.grid.bounds
        shares = (places - (west, south)) / (east - west, north - south)
        return shares * np.multiply(POINTS, self.size)

    def _label(
        self, name: str, place: npt.NDArray[Any], offset: npt.NDArray[Any], *, leader: bool
    ) -> None:
        line = {"arrowstyle": "-", "color": INK, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 2}
        self.axes.annotate(
            name,
            tuple(place),
            xytext=tuple(offset),
            textcoords="offset points",
            fontsize=_LABEL_SIZE,
            weight="bold",
            color=INK,
            ha="center",
            va="center",
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
            arrowprops=line if leader else None,
            zorder=6,
        )

    def _patch(self, style: dict[str, Any], name: str) -> None:
        self.column.add_patch(Rectangle((0, -self.below - 0.155), 0.27, 0.15, **style))
        room = POINTS * (self.column_width - _TEXT_FROM - _EDGE)
        for line in wrapped(name, room, _TEXT_SIZE).split("\n"):
            self._text(_TEXT_FROM, self.below + 0.08, line)
            self.below += _LINE
        self.below += 0.19 - _LINE

    def _text(self, across: float, down: float, text: str, **how: Any) -> None:
        options = {"fontsize": _TEXT_SIZE, "va": "center", **how}
        self.column.text(across, -down, text, parse_math=False, **options)

    def _scale_bar(self) -> None:
        """Two-tone bar of a round length; true along the easting at the map's middle."""
        metres = self.grid.metres_per_unit
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
        self._text(_TEXT_FROM, self.below + 0.14, "grid north", weight="bold")
        self._text(_TEXT_FROM, self.below + 0.32, crs_code(self.grid), color=MUTED)
        self.below += 0.5


@dataclass
class Panels:
    """Small maps of one area beside one column: draw on each of ``maps``, then :meth:`finish`.

    The first map keeps the column: its legends are those of all.
    """

    maps: list[Sheet]
    across: int
    """Panels in a row."""

    @classmethod
    def of(cls, array: xr.DataArray, count: int, width: float, *, pairs: bool = False) -> Panels:
        """Lay out ``count`` frames on the ground of ``array``, in as many columns as fit best.

        With ``pairs`` in an even number of columns, so that no pair is parted.
        """
        grid = Grid.from_dataarray(array)
        west, south, east, north = grid.bounds
        shape = (east - west), (north - south) * northward_stretch(grid)
        room = width - _MARGIN - _GAP - _WIDE_COLUMN
        scales = {
            across: min(
                (room - (across - 1) * _BETWEEN) / across / shape[0],
                (_TALLEST / -(-count // across) - _PANEL_TITLE) / shape[1],
            )
            for across in range(1, min(count, _PANELS_ACROSS) + 1)
            if across % 2 == 0 or not pairs
        }
        across = max(scales, key=scales.__getitem__)
        figure = new_figure(width, width)
        column = figure.add_axes((0, 0, 1, 1))
        column.set(xlim=(0, _WIDE_COLUMN))
        column.set_axis_off()
        size = shape[0] * scales[across], shape[1] * scales[across]
        maps = []
        for position in range(count):
            axes = figure.add_axes((0, 0, 1, 1), label=f"panel {position}")
            sheet = Sheet(figure, axes, column, grid, scales[across], _WIDE_COLUMN, size)
            sheet.limit = _PANEL_CELLS
            sheet._frame(*(max(2, round(side / 0.8)) for side in size))
            maps.append(sheet)
        return cls(maps, across)

    def finish(self) -> Figure:
        """Add the column's foot and put each panel in its place."""
        first = self.maps[0]
        first._foot()
        count, (wide, high) = len(self.maps), first.size
        rows = -(-count // self.across)
        height = max(rows * (high + _PANEL_TITLE) + _FOOT, first.below + 0.15)
        room = self.across * wide + (self.across - 1) * _BETWEEN
        width = _MARGIN + room + _GAP + first.column_width
        first.figure.set_size_inches(width, height)
        for position, sheet in enumerate(self.maps):
            row, column = divmod(position, self.across)
            left = _MARGIN + column * (wide + _BETWEEN)
            top = height - row * (high + _PANEL_TITLE) - _PANEL_TITLE
            sheet.axes.set_position(
                (left / width, (top - high) / height, wide / width, high / height)
            )
            if column:
                sheet.axes.tick_params(axis="y", labelleft=False)
                sheet.axes.set_ylabel("")
            if position + self.across < count:
                sheet.axes.tick_params(axis="x", labelbottom=False)
                sheet.axes.set_xlabel("")
        share = first.column_width / width
        first.column.set_position((1 - share, 0, share, 1 - _TOP / height))
        first.column.set(xlim=(0, first.column_width), ylim=(_TOP - height, 0))
        return first.figure


def crs_code(grid: Grid) -> str:
    """Short name of a CRS in letters every font has, such as ``EPSG:32650``."""
    authority = grid.crs.to_authority(min_confidence=70)
    return ":".join(authority) if authority else "CRS: see the caption"


def _display_unit(grid: Grid) -> tuple[float, str]:
    """What to divide coordinates by, and the unit's name: km for any area of some size."""
    if grid.crs.is_geographic:
        return 1.0, "°"
    west, south, east, north = grid.bounds
    unit = grid.crs.axis_info[0].unit_name
    if unit not in ("metre", "meter"):
        return 1.0, unit if unit.isascii() else "CRS units"
    return (1000.0, "km") if max(east - west, north - south) >= 5000 else (1.0, "m")


def northward_stretch(grid: Grid) -> float:
    """Northward stretch that makes a degree map true in shape at its middle."""
    if not grid.crs.is_geographic:
        return 1.0
    _, south, _, north = grid.bounds
    return 1.0 / float(np.cos(np.radians((south + north) / 2)))


def _path(shape: Any, least_hole: float) -> Path:
    rings = [
        np.asarray(ring.coords)[:, :2]
        for part in shapely.get_parts(shape)
        for ring in (part.exterior, *_holes(part, least_hole))
    ]
    return Path.make_compound_path(*[Path(ring, closed=True) for ring in rings])


def _holes(part: Any, least: float) -> list[Any]:
    return [ring for ring in part.interiors if shapely.Polygon(ring).area >= least]


def _round_down(length: float) -> float:
    """The largest 1, 2 or 5 × 10ⁿ not above ``length``."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9)))
