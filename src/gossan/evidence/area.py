"""The ``[area]`` of a study → its template grid, and which cells of it belong to the study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyproj

from gossan.evidence.proximity import inside
from gossan.evidence.rasters import observed_cells, raster_bounds
from gossan.evidence.sources import Bounds
from gossan.evidence.strays import SampleExtent, refuse_strays
from gossan.exceptions import StudyError, SurveyDataError
from gossan.grid import Grid
from gossan.io import is_raster, open_raster, raster_grid, read_vector
from gossan.study import Raster, Study, Vector

_MAX_CELLS = 1_000_000_000
_HERE = "[area]"
CellSize = float | tuple[float, float]


def study_grid(study: Study) -> Grid:
    """The template grid of a study.

    ``like``: the very grid of that raster. ``extent``: as given. Else the extent of the mask,
    else of the samples and rasters, else of the vectors, snapped outward to whole multiples of
    the cell size, so that studies of one cell size share their cells.

    Parameters
    ----------
    study : Study
        From :func:`gossan.study.read_study`.

    Raises
    ------
    StudyError
        If the grid would not be projected, or has more than a billion cells.
    SurveyDataError
        If a file that it is taken from cannot be read, or a few samples far from all others make
        the area more than ten times as large.
    """
    area = study.area
    if area.like is not None:
        grid = _grid_like(study, area.like)
    else:
        assert area.crs is not None
        assert area.cell_size is not None
        bounds = area.extent or _covered(study, area.crs, area.cell_size)
        grid = Grid.from_bounds(bounds, area.cell_size, area.crs)
    if grid.size > _MAX_CELLS:
        raise StudyError(
            f"{study.path}: [area] makes {grid.shape[0]} × {grid.shape[1]} cells, more than a "
            "billion. Choose a larger cell_size, or give `extent`."
        )
    return grid


def study_mask(study: Study, grid: Grid) -> npt.NDArray[np.bool_] | None:
    """Cells (y, x) within the study's ``mask``, or None where it has none.

    Within polygons, or in observed, non-zero cells of a raster.

    Raises
    ------
    SurveyDataError
        If the mask leaves no cell.
    """
    if study.area.mask is None:
        return None
    path = study.resolve_one(study.area.mask)
    if is_raster(path):
        mask = observed_cells(path, study.area.crs, grid)
    else:
        settings = Vector(name="mask", file=str(path), crs=study.area.crs)
        mask = inside(read_vector(settings, path, grid.crs, table=_HERE).geometry.to_numpy(), grid)
    if not mask.any():
        raise SurveyDataError(f"{path}, the mask, leaves no cell of the area {grid.bounds}.")
    return mask


def _grid_like(study: Study, like: str) -> Grid:
    path = study.resolve_one(like)
    settings = Raster(name="like", file=like, crs=study.area.crs)
    grid = raster_grid(open_raster(settings, path))
    if grid.crs.is_geographic:
        raise StudyError(
            f"{study.path}: [area] like = {like!r} counts in degrees; distances and areas need a "
            "projected CRS. Warp it first, e.g. `gdalwarp -t_srs EPSG:326xx in.tif out.tif`."
        )
    if study.area.crs is not None and grid.crs != pyproj.CRS(study.area.crs):
        raise StudyError(
            f"{study.path}: [area] says crs = {study.area.crs!r}, but like = {like!r} is in "
            f"{grid.crs.name}. Remove `crs`, or give crs, cell_size and extent without `like`."
        )
    return grid


def _covered(study: Study, crs: str, cell_size: CellSize) -> Bounds:
    """What the files of the study cover, in its CRS, as whole cells."""
    if study.area.mask is not None:
        path = study.resolve_one(study.area.mask)
        if is_raster(path):
            bounds = raster_bounds(Raster(name="mask", file=str(path), crs=crs), path, crs)
        else:
            bounds = _vector_bounds(Vector(name="mask", file=str(path), crs=crs), path, crs)
        return _snapped(bounds, cell_size)
    samples = [SampleExtent.read(s, study.resolve(s.file), crs) for s in study.samples]
    others = [
        raster_bounds(source, path, crs)
        for source in study.rasters
        for path in study.resolve(source.file)
    ]
    if not samples and not others:
        others = [
            _vector_bounds(source, path, crs)
            for source in study.vectors
            for path in study.resolve(source.file)
        ]
    full, close = (
        _snapped(_union([*others, *extents]), cell_size)
        for extents in ([s.bounds for s in samples], [s.close_bounds for s in samples])
    )
    refuse_strays(
        samples, _count_cells(full, cell_size), _count_cells(close, cell_size), study.path
    )
    return full


def _union(extents: list[Bounds]) -> Bounds:
    west, south, east, north = np.array(extents).T
    return float(west.min()), float(south.min()), float(east.max()), float(north.max())


def _count_cells(bounds: Bounds, cell_size: CellSize) -> int:
    width, height = np.broadcast_to(np.asarray(cell_size, dtype=float), (2,))
    return round((bounds[2] - bounds[0]) / width) * round((bounds[3] - bounds[1]) / height)


def _vector_bounds(source: Vector, path: Path, crs: str) -> Bounds:
    west, south, east, north = (float(edge) for edge in read_vector(source, path, crs).total_bounds)
    return west, south, east, north


def _snapped(bounds: Bounds, cell_size: CellSize) -> Bounds:
    """Outward to whole multiples of the cell size; at least one cell."""
    width, height = np.broadcast_to(np.asarray(cell_size, dtype=float), (2,))
    west, south = np.floor(bounds[0] / width) * width, np.floor(bounds[1] / height) * height
    east = max(np.ceil(bounds[2] / width) * width, west + width)
    north = max(np.ceil(bounds[3] / height) * height, south + height)
    return float(west), float(south), float(east), float(north)
