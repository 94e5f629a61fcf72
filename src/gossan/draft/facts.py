"""What lies in a folder: the kind, place, columns and oddities of every survey file in it."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import rasterio
import shapely
import xarray as xr
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from gossan.draft.columns import (
    SENTINELS,
    ElementColumn,
    describe_elements,
    find_classes,
    find_coordinates,
    find_filters,
    find_name,
    find_ring,
    find_sample_id,
    find_segments,
)
from gossan.exceptions import StudyError, SurveyDataError, SurveyDataWarning
from gossan.interpolate import median_spacing
from gossan.io import open_raster, raster_grid, read_cells, read_table
from gossan.io.files import reading
from gossan.io.rasters import GDAL_SUFFIXES, NETCDF_SUFFIXES, ZARR_SUFFIXES
from gossan.io.tables import PARQUET_SUFFIXES, TEXT_SUFFIXES, VECTOR_SUFFIXES
from gossan.study import Raster

Kind = Literal[
    "samples",
    "deposits",
    "points",
    "lines",
    "polygons",
    "segments",
    "rings",
    "raster",
    "category raster",
    "table",
    "unread",
]
Extent = tuple[float, float, float, float]

# With its axes said, as GDAL would add them: else the CRS read back from a file differs from it.
UNKNOWN_CRS = (
    'LOCAL_CS["unknown place, in metres",UNIT["metre",1],AXIS["Easting",EAST],'
    'AXIS["Northing",NORTH]]'
)
"""Stands for the CRS of metres of which no file says where they are counted from."""

_DEEPEST_FOLDER = 3
_PASSED_OVER = {"runs", "truth"}
_WHOLE_RASTER = 4_000_000
_SAMPLED_WINDOW = 256
_MOST_CLASSES = 100
_MOST_DEPOSIT_COLUMNS = 60
_DEPOSIT_FILE = re.compile(
    r"deposit|occurr|mines?(?![a-z])|minerali|prospect|showing|orebod|target|known", re.IGNORECASE
)
_DEPOSIT_COLUMN = re.compile(r"commodit|deposit|occurr|minerali|orebod|ore_?type", re.IGNORECASE)
_RESULT_FILE = re.compile(
    r"prospectivi|posterior|probab|favou?rab|predict|classif(?:ied|ication)", re.IGNORECASE
)
_SAMPLE_FILE = re.compile(
    r"sample|assay|geochem|chem|soil|till|sediment|stream|rock|horizon|xrf|icp", re.IGNORECASE
)
_FILTER_WORDS = ("commodit", "depositty", "type", "status")
_MEDIUM_WORDS = ("material", "medium", "horizon", "sampletype", "qc", "duplicate")


@dataclass(frozen=True)
class CellValues:
    """The values of a raster, or of windows spread over it."""

    minimum: float
    maximum: float
    classes: int  # distinct values, if all are whole numbers and few; else 0
    in_order: bool  # neighbouring cells differ by one class: steps of a measurement, not kinds
    at_minimum: float  # share of the observed cells that hold the very minimum
    observed: float  # share of the cells
    rare: tuple[float, int] | None = None  # the rarer of two values, and its cells
    sentinels: tuple[float, ...] = ()  # codes such as -9999 that the file does not declare


@dataclass(frozen=True)
class FileFacts:
    """What one file (or layer, variable or band of a file) holds."""

    file: str  # relative to the folder, with /
    kind: Kind
    count: int = 0  # rows, or cells
    crs: str | None = None  # None: neither declared nor told by the coordinates
    declares_crs: bool = False
    extent: Extent | None = None  # west, south, east, north in the file's coordinates
    layer: str | None = None
    variable: str | None = None
    band: int = 1
    title: str = ""
    columns: tuple[str, ...] = ()
    x: str | None = None
    y: str | None = None
    segments: tuple[str, str, str, str] | None = None
    ring: str | None = None
    name: str | None = None
    id: str | None = None
    classes: tuple[str, ...] = ()
    filters: dict[str, dict[str, int]] = field(default_factory=dict)
    elements: tuple[ElementColumn, ...] = ()
    twice: int = 0  # rows at a place that an earlier row has
    spacing: float = float("nan")  # median distance to the nearest other, metres
    cell_size: tuple[float, float] | None = None
    shape: tuple[int, int] | None = None
    nodata: float | None = None
    values: CellValues | None = None
    problem: str = ""

    @property
    def is_raster(self) -> bool:
        """Whether it holds cells."""
        return self.kind in {"raster", "category raster"} or self.shape is not None

    @property
    def in_degrees(self) -> bool:
        """Whether its coordinates are longitude and latitude."""
        return self.crs is not None and pyproj.CRS(self.crs).is_geographic


def inspect_folder(folder: str | os.PathLike[str]) -> list[FileFacts]:
    """Look at every survey file in a folder and the folders in it, three levels down.

    Rasters are read at windows spread over them, tables whole.

    Parameters
    ----------
    folder : path-like
        Hidden files and the folders ``runs`` (maps made before) and ``truth`` (of a synthetic
        district) are passed over.

    Returns
    -------
    list of FileFacts
        In the order of the file names; a file of several layers, variables or bands gives one
        each. At most one is of kind ``"deposits"``. A file that cannot be read is of kind
        ``"unread"``, with the reason in ``problem``.

    Raises
    ------
    StudyError
        If there is no such folder, or no survey file in it.

    Examples
    --------
    >>> inspect_folder("nowhere")
    Traceback (most recent call last):
    gossan.exceptions.StudyError: There is no folder nowhere. ...
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StudyError(f"There is no folder {folder}. Give the folder that holds the files.")
    facts = [found for path in _survey_files(folder) for found in _inspect(path, folder)]
    if not facts:
        raise StudyError(
            f"The folder {folder} holds no survey file. gossan reads CSV, Parquet, GeoPackage, "
            "Shapefile, GeoJSON, GeoTIFF, NetCDF and Zarr: put them there, known deposits included."
        )
    chosen = _choose_deposits(facts)
    return [replace(found, kind="deposits") if found is chosen else found for found in facts]


def _survey_files(folder: Path) -> Iterator[Path]:
    wholes = ZARR_SUFFIXES | {".gdb"}
    suffixes = TEXT_SUFFIXES | PARQUET_SUFFIXES | VECTOR_SUFFIXES | GDAL_SUFFIXES | NETCDF_SUFFIXES
    for top, folders, files in os.walk(folder, followlinks=True):
        here = Path(top)
        yield from (here / name for name in sorted(folders) if Path(name).suffix.lower() in wholes)
        deep = len(here.relative_to(folder).parts) >= _DEEPEST_FOLDER
        folders[:] = sorted(
            name
            for name in folders
            if not (deep or name in _PASSED_OVER or name[0] == "." or Path(name).suffix in wholes)
        )
        for name in sorted(files):
            if name[0] != "." and Path(name).suffix.lower() in suffixes:
                yield here / name


def _inspect(path: Path, folder: Path) -> list[FileFacts]:
    """Facts of a file's parts; what cannot be read is a fact too."""
    suffix, file = path.suffix.lower(), path.relative_to(folder).as_posix()
    with warnings.catch_warnings():
        # What the readers warn of is for those who use the file, not for who looks at it.
        warnings.simplefilter("ignore", SurveyDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            if suffix in GDAL_SUFFIXES:
                return _inspect_bands(path, file)
            if suffix in NETCDF_SUFFIXES | ZARR_SUFFIXES:
                return _inspect_variables(path, file)
            if suffix in VECTOR_SUFFIXES:
                return _inspect_layers(path, file)
            return [_inspect_table(read_table(path), file)]
        except SurveyDataError as error:
            return [FileFacts(file, "unread", problem=str(error).replace(str(path), file))]


def _inspect_bands(path: Path, file: str) -> list[FileFacts]:
    with reading(path, "a raster"), rasterio.open(path) as dataset:
        bands, titles, nodata = dataset.count, dataset.descriptions, dataset.nodata
        is_picture = ColorInterp.red in dataset.colorinterp
    if is_picture:
        return [FileFacts(file, "unread", problem="a picture in red, green and blue")]
    return [
        _inspect_raster(path, Raster(name=file, file=file, band=band, crs=UNKNOWN_CRS), nodata)
        if bands == 1
        else replace(
            _inspect_raster(path, Raster(name=file, file=file, band=band, crs=UNKNOWN_CRS), nodata),
            title=titles[band - 1] or f"band {band}",
        )
        for band in range(1, bands + 1)
    ]


def _inspect_variables(path: Path, file: str) -> list[FileFacts]:
    with reading(path, "a raster"):
        is_zarr = path.suffix.lower() in ZARR_SUFFIXES
        engine: Any = "zarr" if is_zarr else "h5netcdf"
        with xr.open_dataset(path, engine=engine, decode_coords="all", chunks={}) as dataset:
            planes = {
                str(name): array.encoding.get("_FillValue")
                for name, array in dataset.data_vars.items()
                if array.ndim >= 2
            }
    return [
        _inspect_raster(path, Raster(name=file, file=file, variable=name, crs=UNKNOWN_CRS), nodata)
        for name, nodata in planes.items()
    ] or [FileFacts(file, "unread", problem="no variable with two dimensions")]


def _inspect_raster(path: Path, settings: Raster, nodata: float | None) -> FileFacts:
    array = open_raster(settings, path)
    grid = raster_grid(array)
    values = _describe_cells(_some_cells(array))
    return FileFacts(
        settings.file,
        "category raster" if values.classes > 2 and not values.in_order else "raster",
        count=grid.size,
        crs=_crs_text(grid.crs),
        declares_crs=not grid.crs.is_engineering,
        extent=grid.bounds,
        variable=settings.variable,
        band=settings.band,
        title=settings.variable or "",
        cell_size=grid.cell_size,
        shape=grid.shape,
        nodata=None if nodata is None else float(nodata),
        values=values,
    )


def _some_cells(array: xr.DataArray) -> list[np.ndarray]:
    """All cells, or windows evenly spread over a raster too large to read for a glance."""
    rows, columns = array.sizes["y"], array.sizes["x"]
    if rows * columns <= _WHOLE_RASTER:
        return [read_cells(array)]
    starts = [
        np.unique(np.linspace(0, max(0, length - _SAMPLED_WINDOW), 5).astype(int))
        for length in (rows, columns)
    ]
    return [
        read_cells(
            array, slice(row, row + _SAMPLED_WINDOW), slice(column, column + _SAMPLED_WINDOW)
        )
        for row in starts[0]
        for column in starts[1]
    ]


def _describe_cells(windows: list[np.ndarray]) -> CellValues:
    observed = np.concatenate([window[np.isfinite(window)] for window in windows])
    seen = sum(window.size for window in windows)
    distinct, counts = np.unique(observed, return_counts=True)
    sentinels = [value for value in distinct if value in SENTINELS or abs(value) > 1e30]
    kept = ~np.isin(distinct, sentinels)
    distinct, counts = distinct[kept], counts[kept]
    if len(distinct) == 0:
        nan = float("nan")
        return CellValues(nan, nan, 0, False, 0.0, 0.0, None, tuple(map(float, sentinels)))
    whole = bool((distinct == np.round(distinct)).all())
    classes = len(distinct) if whole and len(distinct) <= _MOST_CLASSES else 0
    return CellValues(
        minimum=float(distinct[0]),
        maximum=float(distinct[-1]),
        classes=classes,
        in_order=classes > 2 and _steps_by_one(windows, distinct),
        at_minimum=float(counts[0] / counts.sum()),
        observed=float(counts.sum() / seen),
        rare=(float(distinct[counts.argmin()]), int(counts.min())) if classes == 2 else None,
        sentinels=tuple(map(float, sentinels)),
    )


def _steps_by_one(windows: list[np.ndarray], distinct: np.ndarray) -> bool:
    """Whether neighbours that differ nearly always hold adjacent classes."""
    steps = []
    for window in windows:
        known = np.isin(window, distinct)
        rank = np.searchsorted(distinct, np.where(known, window, distinct[0]))
        steps.append(np.abs(np.diff(rank, axis=1))[known[:, 1:] & known[:, :-1]])
    steps_taken = np.concatenate(steps)
    steps_taken = steps_taken[steps_taken > 0]
    return bool(len(steps_taken) and (steps_taken == 1).mean() > 0.9)


def _inspect_layers(path: Path, file: str) -> list[FileFacts]:
    with reading(path, "a vector file"):
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    named: list[str | None] = [None] if len(layers) == 1 else list(layers)
    return [replace(_inspect_layer(path, file, name), layer=name) for name in named]


def _inspect_layer(path: Path, file: str, layer: str | None) -> FileFacts:
    table = read_table(path, layer=layer)
    if not isinstance(table, gpd.GeoDataFrame) or table.geometry.isna().all():
        return FileFacts(file, "table", len(table), columns=tuple(map(str, table)))
    return _inspect_table(table, file)


def _inspect_table(table: pd.DataFrame, file: str) -> FileFacts:
    """Facts of rows, whatever geometry or coordinate columns they have."""
    common = FileFacts(file, "table", len(table), columns=tuple(map(str, table.columns)))
    if isinstance(table, gpd.GeoDataFrame):
        crs = _crs_text(pyproj.CRS(table.crs)) if table.crs is not None else None
        placed = table.geometry[~(table.geometry.isna() | table.geometry.is_empty)]
        common = replace(
            common, crs=crs, declares_crs=crs is not None, extent=_bounds(placed.total_bounds)
        )
        dimension = int(shapely.get_dimensions(placed.to_numpy()).max(initial=0))
        if dimension == 0:
            points = placed.representative_point()
            return _inspect_points(table, np.column_stack([points.x, points.y]), common)
        attributes = pd.DataFrame(table.drop(columns=table.geometry.name))
        kind: Kind = "lines" if dimension == 1 else "polygons"
        return replace(common, kind=kind, classes=tuple(find_classes(attributes)))
    segments = find_segments(table)
    if segments is not None:
        ends = table[list(segments)].to_numpy(dtype=float).reshape(-1, 2)
        return replace(common, kind="segments", segments=segments, **_place(ends))
    columns = find_coordinates(table)
    if columns is None:
        return replace(common, problem="no columns of coordinates")
    places = table[list(columns)].to_numpy(dtype=float)
    common = replace(common, x=columns[0], y=columns[1], **_place(places))
    ring = find_ring(table)
    if ring is not None:
        return replace(common, kind="rings", ring=ring)
    return _inspect_points(table, places, common)


def _place(places: np.ndarray) -> dict[str, Any]:
    """Extent of coordinates, and the CRS of degrees where they can be nothing else."""
    west, south = np.nanmin(places, axis=0)
    east, north = np.nanmax(places, axis=0)
    fits = west >= -180 and east <= 360 and south >= -90 and north <= 90
    return {
        "extent": _bounds([west, south, east, north]),
        "crs": "EPSG:4326" if fits else None,
    }


def _inspect_points(table: pd.DataFrame, places: np.ndarray, common: FileFacts) -> FileFacts:
    attributes = pd.DataFrame(
        table.drop(columns=[getattr(table, "_geometry_column_name", None)], errors="ignore")
    )
    attributes = attributes.drop(columns=[c for c in (common.x, common.y) if c is not None])
    elements = describe_elements(attributes)
    is_samples = _looks_like_samples(common.file, len(elements), attributes)
    places = places[np.isfinite(places).all(axis=1)]
    filters = find_filters(attributes, _MEDIUM_WORDS if is_samples else _FILTER_WORDS)
    return replace(
        common,
        kind="samples" if is_samples else "points",
        name=None if is_samples else find_name(attributes),
        id=find_sample_id(attributes) if is_samples else None,
        filters=filters,
        elements=elements,
        twice=len(places) - len(np.unique(places, axis=0)),
        spacing=_spacing(places, common.crs),
    )


def _looks_like_samples(file: str, elements: int, table: pd.DataFrame) -> bool:
    """Many elements make samples; few do, unless file or columns speak of deposits."""
    of_deposits = _DEPOSIT_FILE.search(Path(file).stem) or any(
        _DEPOSIT_COLUMN.search(str(column)) for column in table.columns
    )
    if of_deposits:
        return elements >= 10
    return elements >= 3 or (elements >= 1 and bool(_SAMPLE_FILE.search(Path(file).stem)))


def _spacing(places: np.ndarray, crs: str | None) -> float:
    if crs is not None and pyproj.CRS(crs).is_geographic and len(places):
        local = pyproj.CRS(projected_crs(_bounds([*places.min(axis=0), *places.max(axis=0)])))
        to_metres = pyproj.Transformer.from_crs(crs, local, always_xy=True)
        places = np.column_stack(to_metres.transform(places[:, 0], places[:, 1]))
    return median_spacing(places)


def projected_crs(degrees: Extent) -> str:
    """UTM zone (WGS 84) around the middle; an equal-area CRS of its own for a continent or a pole.

    Examples
    --------
    >>> projected_crs((42.0, 19.0, 43.5, 20.0))
    'EPSG:32638'
    """
    west, south, east, north = degrees
    longitude, latitude = (west + east) / 2, (south + north) / 2
    if east - west > 12 or max(abs(south), abs(north)) > 84:
        return (
            f"+proj=laea +lat_0={latitude:.0f} +lon_0={longitude:.0f} +datum=WGS84 +units=m "
            "+no_defs"
        )
    zone = int(((longitude + 180) % 360) // 6) + 1
    return f"EPSG:{32600 + zone if latitude >= 0 else 32700 + zone}"


def _crs_text(crs: pyproj.CRS) -> str | None:
    """``EPSG:…`` where there is one, else WKT; None for the stand-in."""
    if crs.is_engineering:
        return None
    authority = crs.to_authority(min_confidence=70)
    return ":".join(authority) if authority else crs.to_wkt()


def _bounds(values: Any) -> Extent:
    west, south, east, north = (float(value) for value in values)
    return west, south, east, north


def looks_like_result(facts: FileFacts) -> bool:
    """Whether a raster's name is that of an earlier map, which has seen the deposits."""
    return facts.is_raster and bool(_RESULT_FILE.search(f"{Path(facts.file).stem} {facts.title}"))


def _choose_deposits(facts: list[FileFacts]) -> FileFacts | None:
    """The points that speak of deposits, else such a raster, else the fewest points."""
    points = [found for found in facts if found.kind == "points"]
    rasters = [found for found in facts if found.values is not None and found.values.rare]
    for candidates in (points, rasters):
        speaking = [found for found in candidates if deposit_hint(found)]
        if speaking:
            return min(speaking, key=lambda found: found.count)
    plain = [found for found in points if len(found.columns) <= _MOST_DEPOSIT_COLUMNS]
    return min(plain, key=lambda found: found.count, default=None)


def deposit_hint(facts: FileFacts) -> str:
    """The word in the file's name or among its columns that speaks of deposits; "" if none does."""
    in_name = _DEPOSIT_FILE.search(Path(facts.file).stem)
    if in_name:
        return f"{in_name.group()!r} in the file's name"
    columns = [column for column in facts.columns if _DEPOSIT_COLUMN.search(column)]
    return f"the column {columns[0]!r}" if columns else ""
