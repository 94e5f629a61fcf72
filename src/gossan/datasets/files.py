"""A synthetic district as the ordinary files of a survey, with a commented study file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from string import Template

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import xarray as xr

from gossan.datasets.district import COMMODITY, District
from gossan.datasets.geology import FERTILE
from gossan.exceptions import StudyError
from gossan.io import replacing, write_text

_FIRST_LINE = "# A synthetic district of gossan"
_NODATA = -99999.0
_MARK = (
    "\n# Digest of the lines above, by which a new district is not written over what was edited: "
)

_STUDY = Template(
    _FIRST_LINE
    + """: a whole survey whose every deposit is known.
# The files beside this one are what an explorer has; truth/ holds what nobody knows and no study
# may read. Every setting that is left out has a default: `gossan check` says what is in use.

name = "$name"
seed = $seed                        # same seed, same map

[area]                          # the template grid on which all evidence meets
crs = "$crs"
cell_size = $cell_size                 # metres
extent = $extent      # west, south, east, north

[deposits]                      # the positives
file = "deposits.csv"
x = "easting"
y = "northing"
crs = "$crs"
name = "name"
where = { commodity = ["$commodity"] }   # the file lists quarries and barite too
footprint = 3                   # cells across: a deposit marks its cell and the 8 around it

[negatives.occurrences]         # for `gossan compare`: negatives of the sampler 'other-deposits'
file = "deposits.csv"
x = "easting"
y = "northing"
crs = "$crs"
name = "name"
where = { commodity = [$others] }

[[samples]]                     # stream sediments, gridded element by element
name = "stream sediments"
file = "samples.csv"
x = "easting"
y = "northing"
crs = "$crs"
id = "sample_id"
units = "auto"                  # read off the column names: Cu_ppm
censored = "text"               # below detection is written <0.5
replacement = "half-limit"
transform = "clr"               # log-ratios, taken at the samples before gridding
neighbors = 12
max_distance = $max_distance            # metres; a cell farther from every sample is missing

[[rasters]]                     # airborne, on a finer grid; nodata is declared in the file
name = "magnetics"
file = "magnetics.tif"

[[rasters]]                     # ground stations, on a coarse grid of longitude and latitude
name = "gravity"
file = "gravity.tif"

[[vectors]]                     # one layer of zeros and ones a lithology
name = "geology"
file = "geology.gpkg"
measure = "category"
column = "lithology"

[[vectors]]
name = "intrusions"
file = "geology.gpkg"
where = { lithology = [$fertile] }
measure = "distance"

[[vectors]]                     # written in longitude and latitude, as GeoJSON is
name = "faults"
file = "faults.geojson"
measure = "distance"

[[vectors]]
name = "fault traces"
file = "faults.geojson"
measure = "density"
radius = $radius

[method]
name = "extra-trees"
focal = [3, 7]                  # means of these neighbourhoods join the layers

[validation]                    # whole clusters of deposits are held out together
splitter = "deposit-clusters"
folds = $folds
dead_zone = "auto"
"""
)


def write_district(district: District, folder: str | os.PathLike[str]) -> Path:
    """Write what an explorer would have of a district, and the truth apart.

    Parameters
    ----------
    district : District
    folder : path-like
        Made if need be. Gets ``samples.csv``, ``deposits.csv`` (known deposits, and occurrences
        of other commodities), ``geology.gpkg``, ``faults.geojson``, ``magnetics.tif`` (nodata
        −99999), ``gravity.tif`` (degrees, nodata NaN), ``study.toml``, and under ``truth/``
        ``all_deposits.gpkg`` and ``prospectivity.tif``, which no study should read.

    Returns
    -------
    Path
        The study file.

    Raises
    ------
    StudyError
        If the folder holds files that are not a district's, or its study file was edited: they
        could be overwritten.

    Examples
    --------
    >>> import tempfile
    >>> from gossan.datasets import synthetic_district
    >>> district = synthetic_district(1, shape=(60, 80), n_deposits=15, n_known=5, n_samples=120)
    >>> study_file = write_district(district, tempfile.mkdtemp())
    >>> sorted(path.name for path in study_file.parent.iterdir())
    ['deposits.csv', 'faults.geojson', 'geology.gpkg', 'gravity.tif', 'magnetics.tif',
     'samples.csv', 'study.toml', 'truth']
    """
    folder = Path(folder)
    _check_folder(folder)
    # First, so that a folder left by a killed run is known for a district's.
    write_text(folder / "study.toml", _study_text(district))
    _write_table(district.samples, folder / "samples.csv")
    _write_table(_deposit_table(district), folder / "deposits.csv")
    _write_vector(district.geology, folder / "geology.gpkg")
    _write_vector(district.faults.to_crs("EPSG:4326"), folder / "faults.geojson")
    _write_raster(district.magnetics, folder / "magnetics.tif", nodata=_NODATA)
    _write_raster(district.gravity, folder / "gravity.tif", nodata=np.nan)
    _write_vector(district.truth, folder / "truth" / "all_deposits.gpkg")
    _write_raster(district.prospectivity, folder / "truth" / "prospectivity.tif", nodata=np.nan)
    return folder / "study.toml"


def _check_folder(folder: Path) -> None:
    """Raise if the folder holds anything but an earlier district."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise StudyError(f"{folder} is a file. Name a folder for the district.")
    study = folder / "study.toml"
    text = study.read_text("utf-8", errors="replace") if study.is_file() else ""
    ours = text.startswith(_FIRST_LINE)
    strangers = [] if ours else sorted(entry.name for entry in folder.iterdir())
    if strangers:
        raise StudyError(
            f"{folder} holds {strangers[0]!r} and is no synthetic district: its files could be "
            "overwritten. Name a new or empty folder."
        )
    if ours and not _as_written(text):
        raise StudyError(
            f"{study} is not as it was written for a synthetic district, and what was edited there "
            f"would be lost. Name a new or empty folder; the study itself goes on by `gossan run "
            f"{study}`."
        )


def _as_written(text: str) -> bool:
    """Whether a study file has the digest that it ends with; one of an older gossan has none."""
    written, mark, digest = text.rpartition(_MARK)
    return not mark or digest.strip() == _digest(written)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _deposit_table(district: District) -> pd.DataFrame:
    """Known deposits and other occurrences, as a list with coordinates."""
    places = pd.concat([district.known, district.other_occurrences], ignore_index=True)
    listed = places.assign(easting=places.geometry.x, northing=places.geometry.y)
    columns = ["name", "commodity", "easting", "northing"]
    return pd.DataFrame(listed[columns]).sort_values("name", ignore_index=True)


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _study_text(district: District) -> str:
    cell = district.grid.cell_size[0]
    spacing = np.sqrt(district.grid.size * district.grid.cell_area / len(district.samples))
    text = _STUDY.substitute(
        name=f"synthetic-district-{district.seed}",
        seed=district.seed,
        crs=district.grid.crs.to_string(),
        cell_size=f"{cell:g}",
        extent=[round(edge) for edge in district.grid.bounds],
        commodity=COMMODITY,
        max_distance=f"{round(1.6 * spacing, -2):g}",
        fertile=_quoted(FERTILE),
        others=_quoted(sorted(set(district.other_occurrences["commodity"]))),
        radius=f"{10 * cell:g}",
        folds=max(2, min(6, len(district.known) // 2)),
    )
    return f"{text}{_MARK}{_digest(text)}\n"


def _write_table(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as partial:
        table.to_csv(partial, index=False)


def _write_vector(places: gpd.GeoDataFrame, path: Path) -> None:
    """Write a layer; a fixed date of writing, so that equal districts have equal files."""
    previous = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"})
    try:
        with replacing(path) as partial:
            places.to_file(partial, layer=path.stem)
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": previous})


def _write_raster(array: xr.DataArray, path: Path, *, nodata: float) -> None:
    with replacing(path) as partial:
        filled = array.astype("float32").fillna(nodata).rio.write_nodata(nodata)
        filled.rio.to_raster(partial, compress="deflate")
