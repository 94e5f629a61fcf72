"""Points, lines and polygons of a source → one GeoDataFrame in the study's CRS."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from gossan.exceptions import SurveyDataError, SurveyDataWarning
from gossan.io.files import reading, replacing
from gossan.io.tables import (
    VECTOR_SUFFIXES,
    filter_rows,
    known_crs,
    numeric_column,
    read_points,
    read_table,
    require_columns,
    to_study_crs,
    vector_layers,
)
from gossan.study import Vector

_LAYER = "|layername="
"""Between a file and a layer of it, as QGIS writes it."""


def read_vector(
    settings: Vector, path: str | os.PathLike[str], crs: object, *, table: str | None = None
) -> gpd.GeoDataFrame:
    """Read a vector source.

    Parameters
    ----------
    settings : Vector
        One ``[[vectors]]`` table of the study. A CSV holds line segments (``segments``), polygon
        rings (``ring`` with ``x``, ``y``: outer rings anticlockwise, holes clockwise), or points
        (``x``, ``y``).
    path : path-like
        The file.
    crs : object
        The study's CRS.
    table : str, optional
        Where in the study file the CRS can be said, for the message; default: in the table of the
        settings.

    Returns
    -------
    geopandas.GeoDataFrame
        Geometries, none empty, polygons valid, with the file's attributes; index 0..n-1.

    Raises
    ------
    SurveyDataError
        If the file cannot be used, or no geometry is left.

    Warns
    -----
    SurveyDataWarning
        If rows without geometry were left out.
    """
    path = Path(path)
    table = settings.table if table is None else table
    if settings.segments is None and settings.ring is None and settings.x is not None:
        return read_points(
            path,
            x=settings.x,
            y=settings.y,
            crs=settings.crs,
            layer=settings.layer,
            where=settings.where,
            to_crs=crs,
            table=table,
        )
    rows = read_table(path, layer=settings.layer)
    if settings.where:
        rows = filter_rows(rows, settings.where, path)
    if settings.segments is not None:
        places = _segments(rows, list(settings.segments), path)
    elif settings.ring is not None:
        places = _polygons(rows, settings, path)
    elif isinstance(rows, gpd.GeoDataFrame):
        places = rows
    else:
        raise SurveyDataError(
            f"{path} is a plain table: say what its rows are, with `segments` (columns of both "
            "ends), with `ring`, `x` and `y` (polygon vertices), or with `x` and `y` (points)."
        )
    own = known_crs(places.crs, settings.crs, path, table)
    places = places.set_crs(own, allow_override=True)
    return _projected(_sound(places, path), crs, path).reset_index(drop=True)


def file_and_layer(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Part a file from the layer of it that is named as QGIS does.

    Raises
    ------
    SurveyDataError
        If more than a layer's name is asked for, such as ``|subset=…``.

    Examples
    --------
    >>> file_and_layer("places.gpkg|layername=hills")[1], file_and_layer("places.gpkg")[1]
    ('hills', None)
    """
    name, *rest = os.fspath(path).split("|")
    if not rest:
        return Path(name), None
    if len(rest) > 1 or not f"|{rest[0]}".startswith(_LAYER) or rest[0] == _LAYER[1:]:
        raise SurveyDataError(
            f"{name} is followed by '|{'|'.join(rest)}': only one layer can be named there, as "
            f"'{name}{_LAYER}…'."
        )
    return Path(name), rest[0].removeprefix(_LAYER[1:])


def read_polygons(path: str | os.PathLike[str], crs: object) -> gpd.GeoDataFrame:
    """Read polygons from a vector file that no study names.

    Parameters
    ----------
    path : path-like
        A GeoPackage, Shapefile, GeoJSON or GeoParquet; ``places.gpkg|layername=hills``, as QGIS
        writes it, is one layer of several.
    crs : object
        The study's CRS.

    Returns
    -------
    geopandas.GeoDataFrame
        Polygons, valid; collections are taken apart and other geometries left out.

    Raises
    ------
    SurveyDataError
        If the file is a table, has several layers, does not say its CRS, or holds no polygon.
    """
    file, layer = file_and_layer(path)
    layers: list[str] = []
    if file.suffix.lower() in VECTOR_SUFFIXES:
        with reading(file, "polygons"):
            layers = vector_layers(file)
    if layer is None and len(layers) > 1:
        raise SurveyDataError(
            f"{file} has {len(layers)} layers: {', '.join(layers)}. Say which, in quotes: "
            f"'{file}{_LAYER}{layers[0]}'."
        )
    places = read_table(file, layer=layer)
    if not isinstance(places, gpd.GeoDataFrame):
        raise SurveyDataError(
            f"{file} holds no polygon: give a GeoPackage, Shapefile or GeoJSON, and no table."
        )
    places = places.set_crs(known_crs(places.crs, None, file, ""), allow_override=True)
    places = _projected(_sound(places, file), crs, file).explode(ignore_index=True)
    polygons = places[places.geom_type.isin(["Polygon", "MultiPolygon"])]
    if not len(polygons):
        raise SurveyDataError(f"{file} holds no polygon.")
    return polygons.reset_index(drop=True)


def write_places(path: str | os.PathLike[str], places: gpd.GeoDataFrame) -> None:
    """Write a table of places for gossan's own use, all or nothing."""
    with replacing(path) as partial:
        places.to_parquet(partial)


def read_places(path: str | os.PathLike[str]) -> gpd.GeoDataFrame:
    """Read places that :func:`write_places` wrote."""
    with reading(path, "places"):
        return gpd.read_parquet(path)


def _segments(table: pd.DataFrame, columns: list[str], path: Path) -> gpd.GeoDataFrame:
    require_columns(table, columns, path)
    ends = np.column_stack([numeric_column(table, column, path) for column in columns])
    lines = np.full(len(ends), None, dtype=object)
    whole = np.isfinite(ends).all(axis=1)
    lines[whole] = shapely.linestrings(ends[whole].reshape(-1, 2, 2))
    return gpd.GeoDataFrame(pd.DataFrame(table), geometry=lines)


def _polygons(table: pd.DataFrame, settings: Vector, path: Path) -> gpd.GeoDataFrame:
    """Polygons with holes from rings of vertices; a hole belongs to the smallest ring around it."""
    if settings.x is None or settings.y is None or settings.ring is None:
        raise SurveyDataError(f"{path}: `ring` also needs `x` and `y`, the vertices' columns.")
    require_columns(table, [settings.ring, settings.x, settings.y], path)
    vertices = np.column_stack(
        [numeric_column(table, column, path) for column in (settings.x, settings.y)]
    )
    rings = {}
    for ring, rows in table.groupby(settings.ring, sort=False).indices.items():
        places = vertices[rows][np.isfinite(vertices[rows]).all(axis=1)]
        if len(np.unique(places, axis=0)) < 3:
            raise SurveyDataError(
                f"{path}: ring {ring!r} has fewer than 3 different vertices; a polygon needs 3."
            )
        rings[ring] = shapely.LinearRing(places)
    names, lines = np.array(list(rings), dtype=object), np.array(list(rings.values()))
    outer = shapely.is_ccw(lines)
    filled = shapely.polygons(lines)
    within = _smallest_around(filled, outer)
    # A clockwise ring that lies in no other is an outer ring drawn the other way.
    outer |= within < 0
    polygons = [
        shapely.Polygon(lines[i], [lines[hole] for hole in np.flatnonzero(~outer & (within == i))])
        for i in np.flatnonzero(outer)
    ]
    return gpd.GeoDataFrame({settings.ring: names[outer]}, geometry=polygons)


def _smallest_around(polygons: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Of each polygon, the position of the smallest outer one that holds it; -1 if none does."""
    around = np.full(len(polygons), -1)
    area = np.where(outer, shapely.area(polygons), np.inf)
    inner, holder = shapely.STRtree(polygons).query(
        shapely.point_on_surface(polygons), predicate="within"
    )
    for hole, candidate in zip(inner, holder, strict=True):
        larger = outer[candidate] and shapely.area(polygons[candidate]) > shapely.area(
            polygons[hole]
        )
        if larger and (around[hole] < 0 or area[candidate] < area[around[hole]]):
            around[hole] = candidate
    return around


def _sound(places: gpd.GeoDataFrame, path: Path) -> gpd.GeoDataFrame:
    """Without empty geometries, polygons made valid."""
    empty = np.asarray(places.geometry.isna() | places.geometry.is_empty)
    if empty.all():
        raise SurveyDataError(f"{path}: none of the {len(places)} rows has a geometry.")
    if empty.any():
        warnings.warn(
            f"{path}: {int(empty.sum())} of {len(places)} rows have no geometry and were left out.",
            SurveyDataWarning,
            stacklevel=3,
        )
    places = places.loc[~empty]
    geometry = shapely.force_2d(places.geometry.to_numpy())
    areal = shapely.get_dimensions(geometry) == 2
    geometry[areal] = shapely.make_valid(geometry[areal])
    return places.set_geometry(geometry, crs=places.crs)


def _projected(places: gpd.GeoDataFrame, crs: object, path: Path) -> gpd.GeoDataFrame:
    """In the study's CRS, without what lies too far away for it, as in a map of the world."""
    shown = np.isfinite(places.to_crs(pyproj.CRS(crs)).bounds.to_numpy()).all(axis=1)
    if shown.any() and not shown.all():
        warnings.warn(
            f"{path}: {int((~shown).sum())} of {len(places)} rows lie beyond what "
            f"{pyproj.CRS(crs).name} can show and were left out.",
            SurveyDataWarning,
            stacklevel=3,
        )
        places = places.loc[shown]
    return to_study_crs(places, crs, path)
