"""Tables and point files → DataFrames and GeoDataFrames in the study's CRS."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import shapely
from pyarrow import parquet

from gossan.exceptions import LabelError, SurveyDataError, SurveyDataWarning
from gossan.io.files import reading
from gossan.io.rasters import is_raster, read_cells_with
from gossan.io.text import read_text_table
from gossan.mistakes import suggest
from gossan.study import Occurrences, Where

TEXT_SUFFIXES = {".csv", ".tsv", ".txt", ".dat"}
PARQUET_SUFFIXES = {".parquet", ".pq", ".geoparquet"}
VECTOR_SUFFIXES = {".gpkg", ".shp", ".geojson", ".json", ".fgb", ".gdb", ".kml", ".gml", ".tab"}


def read_table(path: str | os.PathLike[str], *, layer: str | None = None) -> pd.DataFrame:
    r"""Read a CSV, Parquet or vector file's rows.

    Parameters
    ----------
    path : path-like
        Of a CSV, separator (comma, semicolon, tab, bar), decimal comma and encoding (UTF-8 with
        or without mark, UTF-16, else Windows-1252) are told from its beginning. A vector file
        gives its attributes and geometry, as a GeoDataFrame.
    layer : str, optional
        Layer of a GeoPackage that has several.

    Returns
    -------
    pandas.DataFrame
        Columns as the file names them, rows in its order, index 0..n-1.

    Raises
    ------
    SurveyDataError
        If the file cannot be read, has no rows or two columns of one name, or is of an unknown
        kind.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "samples.csv"
    >>> _ = path.write_text("east;north;Cu\n1,5;2,5;<0,5\n")
    >>> read_table(path)
       east  north    Cu
    0   1.5    2.5  <0.5
    """
    path = Path(path)
    suffix = path.suffix.lower()
    with reading(path, "a table"):
        if suffix in PARQUET_SUFFIXES:
            table = _read_parquet(path)
        elif suffix in TEXT_SUFFIXES:
            table = read_text_table(path)
        elif suffix in VECTOR_SUFFIXES:
            table = _read_vector_file(path, layer)
        else:
            raise SurveyDataError(
                f"{path} is of a kind that gossan does not read as a table ({suffix or 'none'}). "
                "Export it as CSV, Parquet, GeoPackage, Shapefile or GeoJSON."
            )
    if table.empty:
        raise SurveyDataError(f"{path} holds no rows.")
    return table.reset_index(drop=True)


def read_points(
    path: str | os.PathLike[str],
    *,
    x: str | None = None,
    y: str | None = None,
    crs: str | None = None,
    layer: str | None = None,
    where: Where | None = None,
    to_crs: object | None = None,
    table: str = "its table",
) -> gpd.GeoDataFrame:
    """Read places and their attributes, in the study's CRS.

    Parameters
    ----------
    path : path-like
        A table with coordinate columns, or a vector file.
    x, y : str, optional
        Columns of easting (or longitude) and northing (or latitude); a vector file has its own.
    crs : str, optional
        CRS of the coordinates where the file does not say it.
    layer : str, optional
        Layer of a GeoPackage.
    where : dict, optional
        Column → value or values; other rows are left out.
    to_crs : object, optional
        The CRS wanted, as :class:`pyproj.CRS` takes it; default: as it is.
    table : str, default "its table"
        Where in the study file the CRS can be said, for the message.

    Returns
    -------
    geopandas.GeoDataFrame
        Points, index 0..n-1, attributes as in the file.

    Raises
    ------
    SurveyDataError
        On a missing column or CRS, text among the coordinates (row and value named), a filter
        that names an absent value, or no row left.

    Warns
    -----
    SurveyDataWarning
        If rows without coordinates were left out.
    """
    points = read_numbered_points(
        path, x=x, y=y, crs=crs, layer=layer, where=where, to_crs=to_crs, table=table
    )
    return points.reset_index(drop=True)


def read_numbered_points(
    path: str | os.PathLike[str],
    *,
    x: str | None = None,
    y: str | None = None,
    crs: str | None = None,
    layer: str | None = None,
    where: Where | None = None,
    to_crs: object | None = None,
    table: str = "its table",
) -> gpd.GeoDataFrame:
    """The same as :func:`read_points`, the index telling each row of the file, counted from 0."""
    path = Path(path)
    rows = read_table(path, layer=layer)
    if where:
        rows = filter_rows(rows, where, path)
    if isinstance(rows, gpd.GeoDataFrame) and (x is None or y is None):
        points = _own_points(rows, path, known_crs(rows.crs, crs, path, table))
    else:
        points = _column_points(pd.DataFrame(rows), path, x, y, crs, table)
    return to_study_crs(points, to_crs, path)


def read_deposits(
    settings: Occurrences, path: str | os.PathLike[str], crs: object
) -> gpd.GeoDataFrame:
    """Read the known deposits.

    Parameters
    ----------
    settings : Occurrences
        Or :class:`gossan.study.Deposits`.
        The ``[deposits]`` table of the study.
    path : path-like
        A table, a vector file, or a raster whose cells of ``settings.value`` are deposits.
    crs : object
        The study's CRS.

    Returns
    -------
    geopandas.GeoDataFrame
        Column ``name`` (``"deposit 1"``, … where the file gives none), ``geometry`` (points), then
        the file's attributes; index 0..n-1.

    Raises
    ------
    LabelError
        If no deposit is left.
    SurveyDataError
        If the file cannot be used.

    Warns
    -----
    SurveyDataWarning
        If several deposits at one place were merged into one.
    """
    path = Path(path)
    if is_raster(path):
        places, raster_crs = read_cells_with(path, settings.value, crs=settings.crs)
        points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*places.T), crs=raster_crs)
        points = to_study_crs(points, crs, path)
    else:
        points = read_points(
            path,
            x=settings.x,
            y=settings.y,
            crs=settings.crs,
            layer=settings.layer,
            where=settings.where,
            to_crs=crs,
            table=settings.table,
        )
    if points.empty:
        raise LabelError(
            f"{path} holds no deposit: no cell has the value {settings.value:g}. "
            "Set `value` in [deposits] to the value that marks a deposit."
        )
    return _merge_same_place(_with_names(points, settings.name, path), path)


def filter_rows(table: pd.DataFrame, where: Where, path: Path) -> pd.DataFrame:
    """Keep the rows whose columns have the wanted values; every wanted value must occur."""
    for column, wanted in where.items():
        require_columns(table, [column], path)
        values = wanted if isinstance(wanted, list) else [wanted]
        keep = np.zeros(len(table), dtype=bool)
        for value in values:
            matches = _equals(table[column], value)
            if not matches.any():
                present = sorted(table[column].dropna().astype(str).unique())
                hint = suggest(str(value), present) if len(present) <= 200 else ""
                listed = ", ".join(present[:20]) + (", …" if len(present) > 20 else "")
                raise SurveyDataError(
                    f"{path}: no row has {column} = {value!r} (the `where` filter).{hint} "
                    f"Values in the file: {listed}."
                )
            keep |= matches
        table = table.loc[keep]
    return table


def require_columns(table: pd.DataFrame, columns: list[str], path: Path) -> None:
    """Raise, naming the nearest column, unless the table has all of ``columns``."""
    for column in columns:
        if column not in table.columns:
            raise SurveyDataError(
                f"{path} has no column {column!r}.{suggest(column, [str(c) for c in table])}"
            )


def numeric_column(table: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """A column as float64, NaN where empty; text in it is an error that names row and value."""
    numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
    text = np.flatnonzero(np.isnan(numbers) & _filled(table[column]))
    if len(text):
        row = int(text[0])
        raise SurveyDataError(
            f"{path}: column {column!r} holds {table[column].iloc[row]!r} in row "
            f"{int(table.index[row]) + 1} (of the data, below the header), where a number is "
            f"needed; {len(text)} row(s) in all. Correct the file or filter with `where`."
        )
    return np.where(np.isfinite(numbers), numbers, np.nan)


def known_crs(declared: object | None, setting: str | None, path: Path, table: str) -> pyproj.CRS:
    """The file's CRS, else the one that the study names, else an error with the remedy.

    ``table`` is where in the study file it can be said; "" where the study names no such file.
    """
    if declared is not None:
        return pyproj.CRS(declared)
    if setting is not None:
        return pyproj.CRS(setting)
    remedy = (
        f"Add it to {table} in the study file: crs = 'EPSG:4326' for degrees (WGS 84), or the EPSG "
        "code of the projected coordinates."
        if table
        else f"Write it into a copy, e.g. `ogr2ogr -a_srs EPSG:… {path.stem}.gpkg {path.name}`."
    )
    raise SurveyDataError(f"{path} does not say its CRS. {remedy}")


def to_study_crs(places: gpd.GeoDataFrame, crs: object | None, path: Path) -> gpd.GeoDataFrame:
    """Project geometries; coordinates that the CRS cannot hold are an error, not infinity."""
    if crs is None or places.crs == pyproj.CRS(crs):
        return places
    projected = places.to_crs(pyproj.CRS(crs))
    # Only the corners: what falls outside a projection's domain becomes infinite.
    bad = np.flatnonzero(~np.isfinite(projected.bounds.to_numpy()).all(axis=1))
    if len(bad):
        west, south, *_ = places.geometry.iloc[bad[0]].bounds
        raise SurveyDataError(
            f"{path}: ({west:g}, {south:g}) in row {places.index[bad[0]] + 1} lies outside what "
            f"{pyproj.CRS(crs).name} can show, read as {places.crs.name}. "
            "Are the coordinates swapped, or in another CRS?"
        )
    return projected


def _read_parquet(path: Path) -> pd.DataFrame:
    schema = parquet.read_schema(path)
    # A table exported from a GeoDataFrame may keep the mark of geometries that it lost.
    geometry = json.loads((schema.metadata or {}).get(b"geo", b"{}")).get("primary_column")
    return gpd.read_parquet(path) if geometry in schema.names else pd.read_parquet(path)


def vector_layers(path: Path) -> list[str]:
    """Names of the layers of a vector file."""
    return [str(name) for name in pyogrio.list_layers(path)[:, 0]]


def _read_vector_file(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    layers = vector_layers(path)
    if layer is None and len(layers) > 1:
        raise SurveyDataError(
            f"{path} has {len(layers)} layers: {', '.join(layers)}. "
            "Name the one to read with `layer` in the study file."
        )
    if layer is not None and layer not in layers:
        raise SurveyDataError(f"{path} has no layer {layer!r}.{suggest(layer, layers)}")
    return pyogrio.read_dataframe(path, layer=layer or layers[0])


def _own_points(table: gpd.GeoDataFrame, path: Path, crs: pyproj.CRS) -> gpd.GeoDataFrame:
    """Points of a vector file; a polygon or line is stood for by a point on it."""
    table = table.set_crs(crs, allow_override=True)
    table = _without_places(table, ~(table.geometry.isna() | table.geometry.is_empty), path)
    return table.set_geometry(
        table.geometry.where(table.geom_type == "Point", table.representative_point())
    )


def _column_points(
    rows: pd.DataFrame, path: Path, x: str | None, y: str | None, crs: str | None, table: str
) -> gpd.GeoDataFrame:
    if x is None or y is None:
        raise SurveyDataError(
            f"{path} is a plain table: name its coordinate columns with `x` (easting or "
            f"longitude) and `y` (northing or latitude). Columns: {', '.join(map(str, rows))}."
        )
    require_columns(rows, [x, y], path)
    source = known_crs(None, crs, path, table)
    places = np.column_stack([numeric_column(rows, column, path) for column in (x, y)])
    if source.is_geographic:
        _check_degrees(places, rows, path)
    points = gpd.GeoDataFrame(rows, geometry=gpd.points_from_xy(*places.T), crs=source)
    return _without_places(points, np.isfinite(places).all(axis=1), path)


def _check_degrees(places: np.ndarray, table: pd.DataFrame, path: Path) -> None:
    bad = np.flatnonzero((np.abs(places[:, 0]) > 360) | (np.abs(places[:, 1]) > 90))
    if len(bad):
        longitude, latitude = places[bad[0]]
        raise SurveyDataError(
            f"{path}: longitude {longitude:g}, latitude {latitude:g} in row "
            f"{int(table.index[bad[0]]) + 1} is no place on Earth. Are `x` and `y` swapped, or is "
            "`crs` not in degrees?"
        )


def _without_places(
    points: gpd.GeoDataFrame, placed: np.ndarray | pd.Series, path: Path
) -> gpd.GeoDataFrame:
    placed = np.asarray(placed, dtype=bool)
    lost = int((~placed).sum())
    if lost == len(points):
        raise SurveyDataError(f"{path}: none of the {lost} rows has coordinates.")
    if lost:
        warnings.warn(
            f"{path}: {lost} of {len(points)} rows have no coordinates and were left out.",
            SurveyDataWarning,
            stacklevel=4,
        )
    return points.loc[placed]


def _with_names(points: gpd.GeoDataFrame, column: str | None, path: Path) -> gpd.GeoDataFrame:
    """Put ``name`` first; a deposit without one is called by its number."""
    numbered = pd.Series([f"deposit {i + 1}" for i in range(len(points))], index=points.index)
    names = numbered
    if column is not None:
        require_columns(points, [column], path)
        given = points[column]
        names = given.astype(str).str.strip().where(_filled(given), numbered)
    geometry = points.geometry.to_numpy()
    attributes = pd.DataFrame(points.drop(columns=points.geometry.name))
    attributes = attributes.drop(columns="name", errors="ignore")
    attributes.insert(0, "name", names.astype(object))
    attributes = attributes.drop(columns="geometry", errors="ignore")
    return gpd.GeoDataFrame(attributes, geometry=geometry, crs=points.crs)


def _merge_same_place(deposits: gpd.GeoDataFrame, path: Path) -> gpd.GeoDataFrame:
    """One row a place: the first of those within a millimetre (or its like) of each other."""
    places = np.round(shapely.get_coordinates(deposits.geometry.to_numpy()), 3)
    repeated = pd.DataFrame(places).duplicated().to_numpy()
    if repeated.any():
        named = ", ".join(deposits["name"][repeated].head(5))
        warnings.warn(
            f"{path}: {int(repeated.sum())} deposit(s) lie exactly on another and were merged "
            f"with it: {named}{', …' if repeated.sum() > 5 else ''}.",
            SurveyDataWarning,
            stacklevel=3,
        )
    return deposits.loc[~repeated].reset_index(drop=True)


def _equals(column: pd.Series, value: Any) -> np.ndarray:
    """Rows equal to a value of the study file: as numbers where both are, else as text."""
    as_text = column.astype("string").str.strip().eq(str(value).strip()).fillna(False)
    if isinstance(value, int | float):
        as_number = pd.to_numeric(column, errors="coerce").eq(value)
        return (as_text.astype(bool) | as_number).to_numpy(dtype=bool)
    return as_text.to_numpy(dtype=bool)


def _filled(column: pd.Series) -> np.ndarray:
    """Rows that hold anything but blanks."""
    text = column.astype("string").str.strip()
    return (text.notna() & text.ne("").fillna(False)).to_numpy(dtype=bool)
