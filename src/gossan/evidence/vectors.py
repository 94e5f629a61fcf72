"""Points, lines and polygons → layers of distance, density or class on the template grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from gossan.evidence.proximity import density_of, distance_to, inside, segments_of
from gossan.evidence.sources import SourceLayers, check_overlap
from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.io import Layer, read_vector
from gossan.mistakes import suggest
from gossan.study import Vector

_OTHER = "other classes"
_DEFAULT_RADIUS_CELLS = 10


def vector_layers(settings: Vector, paths: Sequence[Path], grid: Grid) -> SourceLayers:
    """Layers of one ``[[vectors]]`` source.

    ``distance``: to the nearest point, line or polygon, exact, 0 inside a polygon. ``density``:
    kilometres of line per km², or points per km², within ``radius`` of the cell's centre.
    ``category``: 1 in the cells whose centre lies in a polygon of the class, else 0.

    Parameters
    ----------
    settings : Vector
        The source.
    paths : sequence of path
        Its files; several are read as one.
    grid : Grid
        The template grid.

    Raises
    ------
    SurveyDataError
        If the file cannot be used for the measure, or lies far from the area.
    """
    places = _read(settings, paths, grid.crs)
    place = f"{settings.name} ({', '.join(str(path) for path in paths)})"
    diagonal = float(np.hypot(*np.subtract(grid.bounds[2:], grid.bounds[:2])))
    reach = diagonal if settings.measure == "distance" else 0.0
    west, south, east, north = (float(edge) for edge in places.total_bounds)
    check_overlap((west, south, east, north), grid.bounds, grid.crs, place, reach=reach)
    if settings.measure == "distance":
        return _distance(settings, places, grid)
    if settings.measure == "density":
        return _density(settings, places, grid, place)
    return _category(settings, places, grid, place)


def _read(settings: Vector, paths: Sequence[Path], crs: object) -> gpd.GeoDataFrame:
    return pd.concat([read_vector(settings, path, crs) for path in paths], ignore_index=True)


def _distance(settings: Vector, places: gpd.GeoDataFrame, grid: Grid) -> SourceLayers:
    geometries = places.geometry.to_numpy()
    segments = segments_of(geometries)
    areal = shapely.get_dimensions(geometries) == 2
    polygons = geometries[areal]

    def fill(window: Grid) -> npt.NDArray[np.float32]:
        distance = distance_to(segments, window)
        if len(polygons):
            distance[inside(polygons, window)] = 0.0
        return distance[np.newaxis].astype(np.float32)

    unit = grid.crs.axis_info[0].unit_name
    name = _measured("distance", "distance to", settings.name)
    layer = Layer(name, settings.name, unit="m" if unit == "metre" else unit)
    return SourceLayers([layer], fill)


def _density(settings: Vector, places: gpd.GeoDataFrame, grid: Grid, place: str) -> SourceLayers:
    geometries = places.geometry.to_numpy()
    dimensions = shapely.get_dimensions(geometries)
    if len(set(dimensions.tolist())) > 1 or dimensions[0] == 2:
        raise SurveyDataError(
            f"{place}: measure = 'density' takes either lines or points, and the file holds "
            f"{', '.join(sorted(set(places.geom_type)))}. Use 'distance' or 'category', "
            "or filter with `where`."
        )
    lines = dimensions[0] == 1
    segments = segments_of(geometries)
    if lines:  # one without length would count as a point
        segments = segments[(segments[:, :2] != segments[:, 2:]).any(axis=1)]
    radius = settings.radius or _DEFAULT_RADIUS_CELLS * max(grid.cell_size)
    units_per_km = 1000.0 / grid.crs.axis_info[0].unit_conversion_factor
    scale = units_per_km if lines else units_per_km**2

    def fill(window: Grid) -> npt.NDArray[np.float32]:
        return (density_of(segments, window, radius) * scale)[np.newaxis].astype(np.float32)

    name = _measured("density", "density of", settings.name)
    layer = Layer(name, settings.name, unit="km/km²" if lines else "1/km²")
    return SourceLayers([layer], fill)


def _measured(word: str, prefix: str, source: str) -> str:
    """``"distance to faults"`` of a source ``"faults"``; the source's name if it says so itself."""
    return source if word in source.lower() else f"{prefix} {source}"


def _category(settings: Vector, places: gpd.GeoDataFrame, grid: Grid, place: str) -> SourceLayers:
    areal = shapely.get_dimensions(places.geometry.to_numpy()) == 2
    if not areal.any():
        raise SurveyDataError(
            f"{place}: measure = 'category' needs polygons, and the file holds "
            f"{', '.join(sorted(set(places.geom_type)))}. Use 'distance' or 'density'."
        )
    places = places.loc[areal]
    history: list[str] = []
    if settings.column is None:
        groups = {settings.name: places.geometry.to_numpy()}
    else:
        if settings.column not in places.columns:
            raise SurveyDataError(
                f"{place} has no column {settings.column!r}."
                f"{suggest(settings.column, [str(name) for name in places.columns])}"
            )
        groups, history = _classes(settings, places, grid)

    def fill(window: Grid) -> npt.NDArray[np.float32]:
        return np.stack([inside(polygons, window) for polygons in groups.values()]).astype(
            np.float32
        )

    layers = [Layer(name, settings.name, "category") for name in groups]
    return SourceLayers(layers, fill, history)


def _classes(
    settings: Vector, places: gpd.GeoDataFrame, grid: Grid
) -> tuple[dict[str, npt.NDArray[np.object_]], list[str]]:
    """Polygons by class: the largest in the area, the others as one, those without left out."""
    history = []
    column = places[settings.column]
    unnamed = int(column.isna().sum())
    if unnamed:
        history.append(f"{unnamed} polygon(s) have no {settings.column} and were left out.")
    labels = column.astype("string").str.strip()
    within = shapely.clip_by_rect(places.geometry.to_numpy(), *grid.bounds)
    sizes = pd.Series(shapely.area(within), index=labels.index).groupby(labels).sum()
    ranked = sizes.sort_values(ascending=False, kind="stable").index
    if not len(ranked):
        raise SurveyDataError(
            f"{settings.name}: no polygon has a value in {settings.column!r}. Name another column."
        )
    kept = sorted(ranked[: settings.max_classes])
    groups = {
        f"{settings.name}: {label}": places.geometry[labels.eq(label).fillna(False)].to_numpy()
        for label in kept
    }
    if len(ranked) > len(kept):
        rest = labels.isin(list(ranked[settings.max_classes :]))
        groups[f"{settings.name}: {_OTHER}"] = places.geometry[rest].to_numpy()
        history.append(
            f"{len(ranked) - len(kept)} of {len(ranked)} classes, the smallest, "
            f"became one layer '{_OTHER}'."
        )
    return groups, history
