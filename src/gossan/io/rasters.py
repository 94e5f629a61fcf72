"""GeoTIFF, NetCDF and Zarr rasters → lazy north-up DataArrays with a CRS and NaN for missing."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.io.files import reading
from gossan.mistakes import suggest
from gossan.study import Raster

GDAL_SUFFIXES = {".tif", ".tiff", ".vrt", ".img", ".asc", ".grd", ".ers", ".jp2", ".bil", ".flt"}
NETCDF_SUFFIXES = {".nc", ".nc4", ".cdf", ".h5"}
ZARR_SUFFIXES = {".zarr"}
RASTER_SUFFIXES = GDAL_SUFFIXES | NETCDF_SUFFIXES | ZARR_SUFFIXES

_CHUNK = 1024
_EASTING_NAMES = ("x", "easting", "eastings", "lon", "longitude", "projection_x_coordinate")
_NORTHING_NAMES = ("y", "northing", "northings", "lat", "latitude", "projection_y_coordinate")


def is_raster(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name is that of a raster.

    Examples
    --------
    >>> is_raster("magnetics.tif"), is_raster("samples.csv")
    (True, False)
    """
    return Path(path).suffix.lower() in RASTER_SUFFIXES


def open_raster(settings: Raster, path: str | os.PathLike[str]) -> xr.DataArray:
    """Open one raster without reading its cells.

    Parameters
    ----------
    settings : Raster
        One ``[[rasters]]`` table of the study: band, variable, CRS, further nodata values.
    path : path-like
        GeoTIFF or another format of GDAL, NetCDF, or Zarr.

    Returns
    -------
    xarray.DataArray
        Dims (y, x), float32 (float64 for wide integers), backed by Dask, north up, missing = NaN,
        with CRS and transform (``.rio``). Read it with :func:`read_cells`.

    Raises
    ------
    SurveyDataError
        If it cannot be read, has no CRS, is rotated, or has no such band or variable.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    with reading(path, "a raster"), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        if suffix in NETCDF_SUFFIXES | ZARR_SUFFIXES:
            array = _open_netcdf_or_zarr(settings, path)
        else:
            array = _open_gdal(settings, path)
    array = array.rio.write_crs(_crs_of(array, settings.crs, path))
    for value in _listed(settings.nodata):
        array = array.where(array != value)
    array.encoding["source"] = str(path)
    return array


def read_cells(
    array: xr.DataArray, rows: slice = slice(None), columns: slice = slice(None)
) -> npt.NDArray[np.floating]:
    """The values of a window of a raster that :func:`open_raster` opened.

    Raises
    ------
    SurveyDataError
        If the file's bytes are corrupt or end too early.
    """
    with reading(array.encoding.get("source", "the raster"), "a raster"):
        window = array.isel(y=rows, x=columns)
        return cast(npt.NDArray[np.floating], window.compute(scheduler="threads").to_numpy())


def raster_grid(array: xr.DataArray) -> Grid:
    """The cells of an opened raster, as a :class:`~gossan.grid.Grid`."""
    transform = array.rio.transform()
    return Grid(pyproj.CRS(array.rio.crs), transform, (array.sizes["y"], array.sizes["x"]))


def read_cells_with(
    path: str | os.PathLike[str], value: float, *, crs: str | None = None
) -> tuple[npt.NDArray[np.float64], pyproj.CRS]:
    """Centres (n, 2) of the cells that hold ``value``, and their CRS."""
    array = open_raster(Raster(name="deposits", file=str(path), crs=crs), path)
    grid = raster_grid(array)
    found = []
    for start in range(0, grid.shape[0], _CHUNK):
        rows, columns = np.nonzero(read_cells(array, slice(start, start + _CHUNK)) == value)
        found.append(grid.coordinates(rows + start, columns))
    return np.concatenate(found), grid.crs


def _open_gdal(settings: Raster, path: Path) -> xr.DataArray:
    with rasterio.open(path) as dataset:
        transform, bands = dataset.transform, dataset.count
        georeferenced = not transform.is_identity or dataset.crs is not None
    if settings.band > bands:
        raise SurveyDataError(f"{path} has {bands} band(s); band {settings.band} was asked for.")
    if not georeferenced:
        raise SurveyDataError(
            f"{path} does not say where it lies (no transform). Georeference it, e.g. "
            "`gdal_translate -a_srs EPSG:… -a_ullr west north east south in.tif out.tif`."
        )
    _check_upright(transform, path)
    array = rioxarray.open_rasterio(path, masked=True, chunks={"x": _CHUNK, "y": _CHUNK})
    return cast(xr.DataArray, array).isel(band=settings.band - 1, drop=True)


def _check_upright(transform: Affine, path: Path) -> None:
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise SurveyDataError(
            f"{path}: its transform {tuple(transform)[:6]} is rotated, sheared or not north up. "
            "Warp it first: `gdalwarp in.tif out.tif`."
        )


def _open_netcdf_or_zarr(settings: Raster, path: Path) -> xr.DataArray:
    if path.suffix.lower() in ZARR_SUFFIXES:
        dataset = xr.open_zarr(path, decode_coords="all", consolidated=False)
    else:
        dataset = xr.open_dataset(path, decode_coords="all", engine="h5netcdf", chunks={})
    array = _variable(dataset, settings.variable, path)
    array = array.rename({old: new for old, new in _plane(array, path).items() if old != new})
    others = [dim for dim in array.dims if dim not in {"y", "x"}]
    lengths = [array.sizes[dim] for dim in others]
    if np.prod(lengths, initial=1) < settings.band:
        raise SurveyDataError(
            f"{path}: {array.name!r} has {int(np.prod(lengths, initial=1))} band(s) along "
            f"{others}; band {settings.band} was asked for."
        )
    place = np.unravel_index(settings.band - 1, lengths or [1])
    array = array.isel(dict(zip(others, place, strict=False)), drop=True).transpose("y", "x")
    array = array.astype(np.promote_types(array.dtype, np.float32))
    return _regular(array, path)


def _variable(dataset: xr.Dataset, name: str | None, path: Path) -> xr.DataArray:
    planes = [str(key) for key, value in dataset.data_vars.items() if value.ndim >= 2]
    if name is None and len(planes) == 1:
        return dataset[planes[0]]
    if name is None:
        raise SurveyDataError(
            f"{path} holds {len(planes)} variables: {', '.join(planes)}. "
            "Name one with `variable` in the study file."
        )
    if name not in dataset.data_vars:
        raise SurveyDataError(f"{path} has no variable {name!r}.{suggest(name, planes)}")
    return dataset[name]


def _plane(array: xr.DataArray, path: Path) -> dict[Any, str]:
    """The array's own names of x and y."""
    names = {}
    for target, known in (("x", _EASTING_NAMES), ("y", _NORTHING_NAMES)):
        found = [dim for dim in array.dims if str(dim).lower() in known]
        if len(found) != 1:
            raise SurveyDataError(
                f"{path}: {array.name!r} has the dimensions {array.dims}; none is {target}. "
                f"Rename its {'easting' if target == 'x' else 'northing'} dimension to {target!r}."
            )
        names[found[0]] = target
    return names


def _regular(array: xr.DataArray, path: Path) -> xr.DataArray:
    """North up, with evenly spaced coordinates."""
    if array.sizes["y"] > 1 and array["y"][0] < array["y"][-1]:
        array = array.isel(y=slice(None, None, -1))
    if array.sizes["x"] > 1 and array["x"][0] > array["x"][-1]:
        array = array.isel(x=slice(None, None, -1))
    for dim in ("x", "y"):
        steps = np.diff(array[dim].to_numpy().astype(float))
        if len(steps) == 0 or not np.allclose(steps, steps.mean(), rtol=1e-3):
            raise SurveyDataError(
                f"{path}: the {dim} coordinates are not evenly spaced, so its cells are no grid. "
                "Interpolate it to a regular grid first."
            )
    # A stale GeoTransform of the file would outvote the flipped coordinates.
    return array.rio.write_transform(array.rio.transform(recalc=True))


def _crs_of(array: xr.DataArray, setting: str | None, path: Path) -> pyproj.CRS:
    if array.rio.crs is not None:
        return pyproj.CRS(array.rio.crs)
    if setting is None:
        raise SurveyDataError(
            f"{path} has no CRS. Add it to this source in the study file, e.g. "
            "crs = 'EPSG:32650', or write it into the file with `gdal_edit.py -a_srs`."
        )
    return pyproj.CRS(setting)


def _listed(values: float | list[float] | None) -> list[float]:
    if values is None:
        return []
    return list(values) if isinstance(values, list) else [values]
