"""Rasters of any grid, CRS and kind → layers on the template grid."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio.warp
import xarray as xr
from rasterio.enums import Resampling

from gossan.evidence.sources import Bounds, SourceLayers, check_overlap
from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.io import Layer, open_raster, raster_grid, read_cells
from gossan.study import Raster

# Native cells read at once for one window: bounds memory where the raster is far finer.
_MAX_NATIVE_CELLS = 1 << 24
_OTHER = "other classes"


def raster_layers(settings: Raster, paths: Sequence[Path], grid: Grid) -> SourceLayers:
    """Layers of one ``[[rasters]]`` source, one a file, or one a class of each file.

    Values are brought to the template grid by area mean where the raster is finer than the
    cells, bilinearly where it is coarser, and taken as they are where the cells are the same
    (``resampling = "auto"``). A class's layer is the share of the cell that it covers where the
    raster is finer, else 1 or 0 after the native cell at the centre. Between two CRS, places are
    good to an eighth of a native cell (GDAL's own tolerance), as a rule to a hundredth.

    Parameters
    ----------
    settings : Raster
        The source.
    paths : sequence of path
        Its files.
    grid : Grid
        The template grid.

    Raises
    ------
    SurveyDataError
        If a file cannot be read, or does not meet the area.
    """
    stems = _short_names([path.stem for path in paths])
    warped = [_Warp.open(settings, path, grid) for path in paths]
    layers: list[Layer] = []
    history: list[str] = []
    classes: list[_Classes | None] = []
    for warp, stem in zip(warped, stems, strict=True):
        name = settings.name if len(paths) == 1 else stem
        if settings.measure == "category":
            found = _Classes.of(warp, settings)
            classes.append(found)
            history.extend(found.history)
            layers.extend(
                Layer(f"{name}: {label}", settings.name, "category", resolution=warp.resolution)
                for label in found.labels
            )
        else:
            classes.append(None)
            unit = "ln" if settings.transform == "log" else ""
            layers.append(Layer(name, settings.name, unit=unit, resolution=warp.resolution))

    def fill(window: Grid) -> npt.NDArray[np.float32]:
        filled = [
            warp.fill(window, settings.transform, of_file)
            for warp, of_file in zip(warped, classes, strict=True)
        ]
        return np.concatenate(filled)

    return SourceLayers(layers, fill, history)


def raster_bounds(settings: Raster, path: Path, crs: object) -> Bounds:
    """West, south, east, north of a raster in the study's CRS."""
    native = raster_grid(open_raster(settings, path))
    bounds = _bounds_in(native, pyproj.CRS(crs))
    if not np.isfinite(bounds).all():
        raise SurveyDataError(
            f"{path} reaches beyond what {pyproj.CRS(crs).name} can show. "
            "Give the `extent` of the study in [area]."
        )
    return bounds


def observed_cells(path: Path, crs: str | None, grid: Grid) -> npt.NDArray[np.bool_]:
    """Cells of the grid whose centre lies in an observed cell of a raster, for a mask."""
    settings = Raster(name="mask", file=str(path), crs=crs, resampling="nearest")
    warp = _Warp.open(settings, path, grid)
    observed = np.zeros(grid.shape, dtype=bool)
    for rows, columns in grid.blocks():
        window = grid.window(rows.start, rows.stop, columns.start, columns.stop)
        values = warp.fill(window, "none", None)[0]
        observed[rows, columns] = np.isfinite(values) & (values != 0)
    return observed


@dataclass(frozen=True)
class _Classes:
    """The classes of a categorical raster that get a layer each."""

    values: npt.NDArray[np.float64]  # (kept,)
    labels: list[str]  # kept, then "other" where some were left over
    history: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, warp: _Warp, settings: Raster) -> _Classes:
        """Count the classes over the area, keep the largest."""
        counts: dict[float, int] = {}
        for rows, columns in warp.native.blocks(2048):
            cells = warp.read_if_near(rows, columns)
            for value, count in zip(*np.unique(cells[np.isfinite(cells)], return_counts=True)):
                counts[float(value)] = counts.get(float(value), 0) + int(count)
        if not counts:
            raise SurveyDataError(f"{warp.path} has no observed cell in the area.")
        largest = sorted(counts, key=lambda value: (-counts[value], value))
        kept = sorted(largest[: settings.max_classes])
        labels = [settings.classes.get(f"{value:.15g}", f"{value:.15g}") for value in kept]
        history = []
        if len(largest) > len(kept):
            labels.append(_OTHER)
            history.append(
                f"{len(largest) - len(kept)} of {len(largest)} classes, the smallest, "
                f"became one layer '{_OTHER}'."
            )
        return cls(np.array(kept), labels, history)

    def of_cells(self, cells: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.float32]:
        """Ones where the cells hold the k-th class, NaN where they are missing."""
        if k < len(self.values):
            member = cells == self.values[k]
        else:
            member = ~np.isin(cells, self.values)
        return np.where(np.isfinite(cells), member, np.nan).astype(np.float32)


@dataclass(frozen=True)
class _Warp:
    """One opened raster and the way from its cells to those of the template grid."""

    path: Path
    array: xr.DataArray
    native: Grid
    grid: Grid
    resolution: float
    resampling: Resampling | None  # None: the very same cells, shifted by whole cells

    @classmethod
    def open(cls, settings: Raster, path: Path, grid: Grid) -> _Warp:
        array = open_raster(settings, path)
        native = raster_grid(array)
        # In the raster's own CRS: the study's cannot show a raster of the whole Earth.
        area = _bounds_in(grid, native.crs)
        check_overlap(native.bounds, area, native.crs, f"{settings.name} ({path})")
        resolution = _native_resolution(native, grid)
        method: str = settings.resampling
        if method == "auto":
            finer = resolution < 0.99 * max(grid.cell_size)
            coarser = "nearest" if settings.measure == "category" else "bilinear"
            method = "average" if finer else coarser
        aligned = _offset(native, grid) is not None
        return cls(path, array, native, grid, resolution, None if aligned else Resampling[method])

    def fill(
        self, window: Grid, transform: str, classes: _Classes | None
    ) -> npt.NDArray[np.float32]:
        """Values (layer, y, x) on a window of the template grid."""
        rows, columns = self._native_window(window)
        layers = 1 if classes is None else len(classes.labels)
        result = np.full((layers, *window.shape), np.nan, dtype=np.float32)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if height <= 0 or width <= 0:
            return result
        if height * width > _MAX_NATIVE_CELLS and window.size > 1:
            for part_rows, part_columns in window.blocks(-(-max(window.shape) // 2)):
                part = window.window(
                    part_rows.start, part_rows.stop, part_columns.start, part_columns.stop
                )
                result[:, part_rows, part_columns] = self.fill(part, transform, classes)
            return result
        cells = read_cells(self.array, rows, columns)
        source = self.native.window(rows.start, rows.stop, columns.start, columns.stop)
        for k in range(layers):
            prepared = _logged(cells, transform) if classes is None else classes.of_cells(cells, k)
            result[k] = self._resample(prepared, source, window)
        return result

    def read_if_near(self, rows: slice, columns: slice) -> npt.NDArray[np.floating]:
        """Native cells of a block, cut to what lies around the area."""
        near_rows, near_columns = self._native_window(self.grid)
        rows = slice(max(rows.start, near_rows.start), min(rows.stop, near_rows.stop))
        columns = slice(
            max(columns.start, near_columns.start), min(columns.stop, near_columns.stop)
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return np.empty((0, 0), dtype=np.float32)
        return read_cells(self.array, rows, columns)

    def _native_window(self, window: Grid) -> tuple[slice, slice]:
        """Rows and columns of the raster that a window of the template grid needs."""
        west, south, east, north = _bounds_in(window, self.native.crs)
        width, height = self.native.cell_size
        left, top = self.native.transform.c, self.native.transform.f
        # A bilinear or cubic kernel reaches two native cells out; a coarse raster's needs no more.
        reach = 3
        columns = slice(
            max(int(np.floor((west - left) / width)) - reach, 0),
            min(int(np.ceil((east - left) / width)) + reach, self.native.shape[1]),
        )
        rows = slice(
            max(int(np.floor((top - north) / height)) - reach, 0),
            min(int(np.ceil((top - south) / height)) + reach, self.native.shape[0]),
        )
        return rows, columns

    def _resample(
        self, cells: npt.NDArray[np.floating], source: Grid, window: Grid
    ) -> npt.NDArray[np.float32]:
        if self.resampling is None:
            return _shifted(cells, source, window)
        result = np.full(window.shape, np.nan, dtype=np.float32)
        # GDAL would widen its kernels by a ratio that it guesses from each window: interpolate.
        kernel = {} if self.resampling == Resampling.average else {"XSCALE": 1, "YSCALE": 1}
        rasterio.warp.reproject(
            np.ascontiguousarray(cells, dtype=np.float32),
            result,
            src_transform=source.transform,
            src_crs=source.crs.to_wkt(),
            src_nodata=np.nan,
            dst_transform=window.transform,
            dst_crs=window.crs.to_wkt(),
            dst_nodata=np.nan,
            resampling=self.resampling,
            **kernel,
            num_threads=os.cpu_count() or 1,
        )
        return result


def _short_names(stems: list[str]) -> list[str]:
    """File stems without what they all begin with, up to a separator: Idw_Ag, Idw_Au → Ag, Au."""
    if len(stems) == 1:
        return stems
    first, last = min(stems), max(stems)
    common = next((i for i, (a, b) in enumerate(zip(first, last)) if a != b), len(first))
    match = re.match(r".*[_\-. ]", first[:common])
    cut = len(match.group()) if match else 0
    short = [stem[cut:] for stem in stems]
    return short if all(short) else stems


def _bounds_in(grid: Grid, crs: pyproj.CRS) -> Bounds:
    if grid.crs == crs:
        return grid.bounds
    to_crs = pyproj.Transformer.from_crs(grid.crs, crs, always_xy=True)
    west, south, east, north = to_crs.transform_bounds(*grid.bounds, densify_pts=51)
    return west, south, east, north


def _native_resolution(native: Grid, grid: Grid) -> float:
    """Larger side of a native cell at the middle of the area, in units of the study's CRS."""
    if native.crs == grid.crs:
        return max(native.cell_size)
    west, south, east, north = grid.bounds
    to_native = pyproj.Transformer.from_crs(grid.crs, native.crs, always_xy=True)
    x, y = to_native.transform((west + east) / 2, (south + north) / 2)
    width, height = native.cell_size
    eastings, northings = to_native.transform(
        [x, x + width, x], [y, y, y + height], direction="INVERSE"
    )
    across = np.hypot(eastings[1] - eastings[0], northings[1] - northings[0])
    down = np.hypot(eastings[2] - eastings[0], northings[2] - northings[0])
    return float(max(across, down))


def _offset(native: Grid, grid: Grid) -> tuple[int, int] | None:
    """Rows and columns from the raster's first cell to the grid's, if their cells coincide."""
    if native.crs != grid.crs:
        return None
    width, height = grid.cell_size
    tolerance = 1e-3
    drift = max(grid.shape) * max(
        abs(native.cell_size[0] / width - 1), abs(native.cell_size[1] / height - 1)
    )
    columns = (grid.transform.c - native.transform.c) / width
    rows = (native.transform.f - grid.transform.f) / height
    if (
        drift > tolerance
        or abs(columns - round(columns)) > tolerance
        or abs(rows - round(rows)) > tolerance
    ):
        return None
    return round(rows), round(columns)


def _shifted(
    cells: npt.NDArray[np.floating], source: Grid, window: Grid
) -> npt.NDArray[np.float32]:
    """Cells of the same grid, moved to their place in the window."""
    offset = _offset(source, window)
    assert offset is not None
    result = np.full(window.shape, np.nan, dtype=np.float32)
    rows, columns = (
        slice(max(0, -shift), min(size, have - shift))
        for shift, size, have in zip(offset, window.shape, source.shape, strict=True)
    )
    taken = cells[
        rows.start + offset[0] : rows.stop + offset[0],
        columns.start + offset[1] : columns.stop + offset[1],
    ]
    result[rows, columns] = taken
    return result


def _logged(cells: npt.NDArray[np.floating], transform: str) -> npt.NDArray[np.floating]:
    """Natural logarithm of positive cells, the others missing, where it is asked for."""
    if transform == "none":
        return cells
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(cells > 0, np.log(cells), np.nan)
