"""Maps, labels and targets on disk, in the formats that a GIS opens: COG and GeoPackage."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import rasterio
import rasterio.shutil
import xarray as xr
from affine import Affine
from rasterio.windows import Window

from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.io.files import reading, remove, replacing

Block = tuple[slice, slice, npt.NDArray[np.float32]]

BANDS = ("score", "spread")
COLOURS = ("red", "green", "blue")
_TILE = 512
_PROFILE = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE, "BIGTIFF": "IF_SAFER"}
# GeoPackage records when it was written; a fixed date keeps equal targets equal byte for byte.
_FIXED_DATE = "2000-01-01T00:00:00.000Z"


def write_map(
    path: str | os.PathLike[str],
    score: xr.DataArray,
    spread: xr.DataArray | None = None,
    *,
    bands: tuple[str, ...] = BANDS,
    tags: dict[str, str] | None = None,
) -> None:
    """Write a prospectivity map as a Cloud-Optimised GeoTIFF.

    Parameters
    ----------
    path : path-like
        The ``.tif`` to write, all or nothing.
    score : xarray.DataArray
        ``(y, x)``, 0–1, NaN where missing, with CRS. Backed by Dask it is computed block by
        block.
    spread : xarray.DataArray, optional
        ``(y, x)``. Default: the coordinate ``spread`` of ``score``; a method without a spread
        leaves the band missing.
    bands : tuple of str, default ("score", "spread")
        What the bands are called; one name leaves the spread out.
    tags : dict, optional
        Further metadata of the file.

    Raises
    ------
    GossanError
        If it cannot be written.
    """
    if spread is None and "spread" in score.coords:
        spread = score.coords["spread"]
    blocks = _map_blocks(score, spread)
    write_map_blocks(path, Grid.from_dataarray(score), blocks, bands=bands, tags=tags)


def write_map_blocks(
    path: str | os.PathLike[str],
    grid: Grid,
    blocks: Iterable[Block],
    *,
    bands: tuple[str, ...] = BANDS,
    tags: dict[str, str] | None = None,
) -> None:
    """Write a map from an iterator of its blocks, for areas beyond memory.

    Parameters
    ----------
    path : path-like
        The ``.tif`` to write: float32, bands ``score`` and ``spread``, nodata NaN, overviews.
    grid : Grid
        Where the cells lie.
    blocks : iterable of (slice, slice, ndarray)
        Rows, columns and values (2, rows, columns).
    bands : tuple of str, default ("score", "spread")
        What the bands are called; one name leaves the spread out.
    tags : dict, optional
        Further metadata of the file.
    """
    profile = _profile(grid, "float32", len(bands), np.nan)
    _write_cog(path, profile, blocks, bands, tags, predictor="FLOATING_POINT")


def write_false_colour(
    path: str | os.PathLike[str],
    grid: Grid,
    blocks: Iterable[tuple[slice, slice, npt.NDArray[np.uint8]]],
    *,
    tags: dict[str, str] | None = None,
) -> None:
    """Write a picture of an area as a Cloud-Optimised GeoTIFF that a GIS shows as it is.

    Parameters
    ----------
    path : path-like
        The ``.tif`` to write, all or nothing: uint8, bands ``red``, ``green`` and ``blue``, nodata
        0, overviews.
    grid : Grid
        Where the cells lie.
    blocks : iterable of (slice, slice, ndarray)
        Rows, columns and colours (3, rows, columns): 1 to 255, or 0 where missing.
    tags : dict, optional
        Further metadata of the file.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "picture.tif"
    >>> grid = Grid.from_bounds((0, 0, 300, 200), 100, "EPSG:32650")
    >>> block = np.arange(18, dtype=np.uint8).reshape(3, 2, 3)
    >>> write_false_colour(file, grid, [(slice(0, 2), slice(0, 3), block)])
    >>> bool((read_false_colour(file).to_numpy() == block).all())
    True
    """
    profile = {**_profile(grid, "uint8", len(COLOURS), 0), "photometric": "RGB"}
    _write_cog(path, profile, blocks, COLOURS, tags, predictor="STANDARD")


def read_false_colour(path: str | os.PathLike[str], *, largest: int = 1200) -> xr.DataArray:
    """Read a picture that :func:`write_false_colour` wrote, coarsened to be shown small.

    Parameters
    ----------
    path : path-like
    largest : int, default 1200
        Rows and columns at most.

    Returns
    -------
    xarray.DataArray
        ``(layer, y, x)`` uint8 with layers ``red``, ``green``, ``blue``; 0 where missing.

    Raises
    ------
    SurveyDataError
        If it cannot be read, or is no such picture.
    """
    path = Path(path)
    with reading(path, "a false-colour picture"), rasterio.open(path) as file:
        if file.descriptions != COLOURS:
            raise SurveyDataError(
                f"{path} is no picture of gossan: its bands are {file.descriptions}, not {COLOURS}."
            )
        step = max(1, -(-max(file.shape) // largest))
        rows, columns = (-(-length // step) for length in file.shape)
        place = file.transform
        width, height = place.a * file.width / columns, place.e * file.height / rows
        coarse = Affine(width, 0.0, place.c, 0.0, height, place.f)
        grid = Grid(pyproj.CRS(file.crs), coarse, (rows, columns))
        values = file.read(out_shape=(len(COLOURS), rows, columns))
    return grid.to_dataarray(values, name="colour", layers=list(COLOURS))


def read_map(path: str | os.PathLike[str]) -> xr.DataArray:
    """Read a map that :func:`write_map` wrote.

    Returns
    -------
    xarray.DataArray
        Score (y, x) with the coordinate ``spread`` (y, x).

    Raises
    ------
    SurveyDataError
        If it cannot be read, or is no such map.
    """
    path = Path(path)
    with reading(path, "a prospectivity map"), rasterio.open(path) as file:
        if file.descriptions != BANDS:
            raise SurveyDataError(
                f"{path} is no map of gossan: its bands are {file.descriptions}, not {BANDS}."
            )
        grid = Grid(pyproj.CRS(file.crs), file.transform, file.shape)
        score, spread = file.read()
    return grid.to_dataarray(score, name="score").assign_coords(spread=(("y", "x"), spread))


def write_labels(path: str | os.PathLike[str], labels: xr.DataArray) -> None:
    """Write labels (y, x) as an int8 GeoTIFF: 1 deposit, 0 barren, -1 unlabelled."""
    grid = Grid.from_dataarray(labels)
    with replacing(path) as partial:
        with rasterio.open(partial, "w", **_profile(grid, "int8", 1, None)) as file:
            file.set_band_description(1, "label")
            file.write(labels.to_numpy().astype(np.int8), 1)
        _check_readable(partial)


def write_regions_map(path: str | os.PathLike[str], labels: xr.DataArray) -> None:
    """Write numbers of regions (y, x) as an int16 GeoTIFF; 0, without evidence, is nodata."""
    grid = Grid.from_dataarray(labels)
    with replacing(path) as partial:
        with rasterio.open(partial, "w", **_profile(grid, "int16", 1, 0)) as file:
            file.set_band_description(1, "region")
            file.write(labels.to_numpy().astype(np.int16), 1)
        _check_readable(partial)


def write_regions(
    path: str | os.PathLike[str],
    polygons: gpd.GeoDataFrame,
    *,
    styles: pd.DataFrame | None = None,
) -> None:
    """Write regions as a GeoPackage with the layer ``regions``, all or nothing."""
    _write_geopackage(path, {"regions": (polygons, "MultiPolygon")}, styles)


def read_labels(path: str | os.PathLike[str]) -> xr.DataArray:
    """Read the labels that :func:`write_labels` wrote, int8 (y, x)."""
    return _read_numbers(path, "labels")


def read_regions_map(path: str | os.PathLike[str]) -> xr.DataArray:
    """Read the regions that :func:`write_regions_map` wrote, int16 (y, x)."""
    return _read_numbers(path, "regions")


def _read_numbers(path: str | os.PathLike[str], name: str) -> xr.DataArray:
    with reading(path, name), rasterio.open(path) as file:
        grid = Grid(pyproj.CRS(file.crs), file.transform, file.shape)
        return grid.to_dataarray(file.read(1), name=name)


def write_targets(
    path: str | os.PathLike[str],
    polygons: gpd.GeoDataFrame,
    points: gpd.GeoDataFrame,
    *,
    styles: pd.DataFrame | None = None,
) -> None:
    """Write ranked targets as a GeoPackage with the layers ``targets`` and ``points``.

    Parameters
    ----------
    path : path-like
        The ``.gpkg`` to write, all or nothing; equal targets give equal bytes.
    polygons, points : geopandas.GeoDataFrame
        One row a target; lists among the attributes are written as text.
    styles : pandas.DataFrame, optional
        A ``layer_styles`` table, from which QGIS dresses each layer.
    """
    layers = {"targets": (polygons, "MultiPolygon"), "points": (points, "Point")}
    _write_geopackage(path, layers, styles)


def read_targets(path: str | os.PathLike[str], *, layer: str = "targets") -> gpd.GeoDataFrame:
    """Read targets that :func:`write_targets` wrote; ``layer`` is ``targets`` or ``points``."""
    with reading(path, "targets"):
        return pyogrio.read_dataframe(path, layer=layer)


def write_annotation(
    path: str | os.PathLike[str], cells: gpd.GeoDataFrame, *, styles: pd.DataFrame | None = None
) -> None:
    """Write an annotation of negatives as a GeoPackage with the layer ``annotation``.

    Parameters
    ----------
    path : path-like
        The ``.gpkg`` to write, all or nothing; an equal annotation gives equal bytes.
    cells : geopandas.GeoDataFrame
        Points, from :func:`gossan.annotate.annotation_frame`.
    styles : pandas.DataFrame, optional
        A ``layer_styles`` table, from which QGIS dresses the layer.
    """
    _write_geopackage(path, {"annotation": (cells, "Point")}, styles)


def read_annotation(path: str | os.PathLike[str]) -> gpd.GeoDataFrame:
    """Read an annotation, edited or not; the index is the feature's id as a GIS shows it."""
    with reading(path, "an annotation"):
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        layer = "annotation" if "annotation" in layers else layers[0]
        frame = pyogrio.read_dataframe(path, layer=layer, fid_as_index=True)
        if not isinstance(frame, gpd.GeoDataFrame):
            raise SurveyDataError(
                f"{path}: its layer {layer!r} has no geometry. Give the decisions as points."
            )
        return frame


def write_log(path: str | os.PathLike[str], parts: Iterable[pd.DataFrame]) -> None:
    """Write a table that comes in parts of equal columns as one Parquet file, all or nothing."""
    with replacing(path) as partial:
        writer = None
        try:
            for part in parts:
                table = pa.Table.from_pandas(part, preserve_index=False)
                if writer is None:
                    writer = pq.ParquetWriter(partial, table.schema, compression="zstd")
                writer.write_table(table.cast(writer.schema))
        finally:
            if writer is not None:
                writer.close()


def _write_geopackage(
    path: str | os.PathLike[str],
    layers: dict[str, tuple[gpd.GeoDataFrame, str]],
    styles: pd.DataFrame | None,
) -> None:
    previous = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _FIXED_DATE})
    try:
        with replacing(path) as partial:
            for layer, (places, kind) in layers.items():
                pyogrio.write_dataframe(
                    _flat(places),
                    partial,
                    layer=layer,
                    driver="GPKG",
                    geometry_type=kind,
                    promote_to_multi=kind == "MultiPolygon",
                )
            if styles is not None:
                pyogrio.write_dataframe(styles, partial, layer="layer_styles", driver="GPKG")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": previous})


def _map_blocks(score: xr.DataArray, spread: xr.DataArray | None) -> Iterator[Block]:
    grid = Grid.from_dataarray(score)
    for rows, columns in grid.blocks(_TILE):
        block = np.full(
            (2, rows.stop - rows.start, columns.stop - columns.start), np.nan, dtype=np.float32
        )
        block[0] = score[rows, columns].to_numpy()
        if spread is not None:
            block[1] = spread[rows, columns].to_numpy()
        yield rows, columns, block


def _write_cog(
    path: str | os.PathLike[str],
    profile: dict[str, Any],
    blocks: Iterable[tuple[slice, slice, npt.NDArray[Any]]],
    bands: tuple[str, ...],
    tags: dict[str, str] | None,
    *,
    predictor: str,
) -> None:
    """Blocks (bands or more, rows, columns) as a plain GeoTIFF, then as one with overviews."""
    with replacing(path) as partial:
        flat = partial.with_name(f"{partial.name}.flat.tif")
        try:
            with rasterio.open(flat, "w", **profile) as file:
                file.descriptions = bands
                file.update_tags(**(tags or {}))
                for rows, columns, values in blocks:
                    part = values[: len(bands)].astype(profile["dtype"])
                    file.write(part, window=_window(rows, columns))
            rasterio.shutil.copy(
                flat,
                partial,
                driver="COG",
                COMPRESS="DEFLATE",
                PREDICTOR=predictor,
                BLOCKSIZE=_TILE,
                OVERVIEW_RESAMPLING="AVERAGE",
                BIGTIFF="IF_SAFER",
            )
        finally:
            remove(flat)


def _profile(grid: Grid, dtype: str, bands: int, nodata: float | None) -> dict[str, Any]:
    return {
        **_PROFILE,
        "driver": "GTiff",
        "height": grid.shape[0],
        "width": grid.shape[1],
        "count": bands,
        "dtype": dtype,
        "crs": grid.crs.to_wkt(),
        "transform": grid.transform,
        "nodata": nodata,
        "compress": "deflate",
    }


def _window(rows: slice, columns: slice) -> Window:
    return Window.from_slices(rows, columns)


def _check_readable(path: Path) -> None:
    """Read a file back: GDAL may close a file cut short by a full disk without a word."""
    with rasterio.open(path) as file:
        for _, window in file.block_windows(1):
            file.read(window=window)


def _flat(places: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Attributes that a GeoPackage can hold."""
    flat = places.copy()
    for column in flat.columns.drop(flat.geometry.name):
        if flat[column].map(lambda value: isinstance(value, list | tuple | dict)).any():
            flat[column] = flat[column].map(_as_text)
    return flat


def _as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return "; ".join(str(part) for part in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {part}" for key, part in value.items())
    return None if value is None or pd.isna(value) else value
