"""A study file (TOML) → Study: every setting typed, checked and explained."""

from __future__ import annotations

import glob
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pyproj
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    ValidationError,
    model_validator,
)

from gossan.exceptions import StudyError
from gossan.mistakes import explain_settings, nearest_file


def _known_crs(value: str) -> str:
    try:
        pyproj.CRS(value)
    except pyproj.exceptions.CRSError as error:
        raise ValueError(
            f"{value!r} is no coordinate reference system; write e.g. 'EPSG:32650'"
        ) from error
    return value


def _folder_name(value: str) -> str:
    if value in {"", ".", ".."} or set(value) & set('/\\:*?"<>|'):
        raise ValueError(f"{value!r} cannot name the run folder; use letters, digits, - and _")
    return value


def _own_settings(parameters: dict[str, Any]) -> dict[str, Any]:
    """Settings of a method or sampler, none of which the study says elsewhere."""
    for key, place in _SAID_ELSEWHERE.items():
        if key in parameters:
            raise StudyError(f"{key!r} is none of the parameters here: {place}")
    return parameters


_SAID_ELSEWHERE = {
    "random_state": "the seed of all that is random is `seed`, at the top of the study file",
    "screen": "write `screen` into [method] itself, beside `name`",
    "name": "choose with `name` in [method], with `sampler` in [negatives]",
}
CRSText = Annotated[str, AfterValidator(_known_crs)]
Parameters = Annotated[dict[str, Any], AfterValidator(_own_settings)]
Positive = Annotated[float, Field(gt=0)]
Where = dict[str, list[str | int | float | bool] | str | int | float | bool]
# TOML has arrays only, and strict validation would not take them for tuples.
CellSize = Annotated[tuple[Positive, Positive], Strict(False)]
Extent = Annotated[tuple[float, float, float, float], Strict(False)]
Segments = Annotated[tuple[str, str, str, str], Strict(False)]


class _Table(BaseModel):
    """A table of the study file: unknown keys are errors, values are never coerced in silence."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_strip_whitespace=True
    )


class Area(_Table):
    """The template grid on which all evidence meets."""

    crs: CRSText | None = Field(None, description="projected CRS of the maps, e.g. 'EPSG:32650'")
    cell_size: Positive | CellSize | None = Field(
        None, description="cell width (and height) in CRS units, usually metres"
    )
    extent: Extent | None = Field(
        None, description="[west, south, east, north] in CRS units; default: what the files cover"
    )
    like: str | None = Field(None, description="a raster whose grid is taken as it is")
    mask: str | None = Field(None, description="polygons, or a raster's observed cells, to stay in")

    @model_validator(mode="after")
    def _complete(self) -> Area:
        if self.like is None and (self.crs is None or self.cell_size is None):
            raise ValueError("give 'crs' and 'cell_size', or 'like' (a raster whose grid is taken)")
        if self.like is not None and (self.cell_size is not None or self.extent is not None):
            raise ValueError("'like' already says cell size and extent; remove one or the other")
        crs = pyproj.CRS(self.crs) if self.crs is not None else None
        if crs is not None and (crs.is_geographic or crs.is_geocentric):
            raise ValueError(
                f"{self.crs} ({crs.name}) is not projected, but distances and areas need it to be: "
                "take e.g. the UTM zone of the area (EPSG:326xx north, EPSG:327xx south)"
            )
        if self.extent is not None:
            west, south, east, north = self.extent
            if west >= east or south >= north:
                raise ValueError(
                    f"'extent' is {list(self.extent)}, which is empty: it reads "
                    "[west, south, east, north], with west < east and south < north"
                )
        return self


class Occurrences(_Table):
    """Occurrences of other commodities: negatives of the sampler 'other-deposits'."""

    file: str = Field(description="table, vector file, or raster of deposit cells")
    layer: str | None = Field(None, description="layer of a GeoPackage")
    x: str | None = Field(None, description="easting or longitude column of a plain table")
    y: str | None = Field(None, description="northing or latitude column of a plain table")
    crs: CRSText | None = Field(None, description="CRS of the coordinates, if the file has none")
    name: str | None = Field(None, description="column of deposit names")
    where: Where = Field(default_factory=dict, description="keep rows whose column has this value")
    value: float = Field(1, description="for a raster: the cell value that marks a deposit")

    @property
    def table(self) -> str:
        """Where it stands in the study file."""
        return "[negatives.occurrences]"


class Deposits(Occurrences):
    """Known deposits, the positives; regions and analogues do without the table."""

    footprint: Annotated[int, Field(ge=1)] = Field(
        3, description="cells across that one deposit marks (3: its cell and 8 neighbours)"
    )

    @property
    def table(self) -> str:
        """Where it stands in the study file."""
        return "[deposits]"

    @model_validator(mode="after")
    def _odd(self) -> Deposits:
        if self.footprint % 2 == 0:
            raise ValueError(f"footprint is {self.footprint}: it counts cells across, and is odd")
        return self


class Samples(_Table):
    """A table of geochemical samples, gridded element by element."""

    name: str = Field(description="what the report calls this source")
    file: str = Field(description="CSV, Parquet or vector file, one row a sample")
    layer: str | None = Field(None, description="layer of a GeoPackage")
    x: str | None = Field(None, description="easting or longitude column of a plain table")
    y: str | None = Field(None, description="northing or latitude column of a plain table")
    crs: CRSText | None = Field(None, description="CRS of the coordinates, if the file has none")
    id: str | None = Field(None, description="column of sample names, checked for duplicates")
    where: Where = Field(default_factory=dict, description="keep rows whose column has this value")
    elements: list[str] | None = Field(
        None, description="columns to use; default: every column named like an element or oxide"
    )
    exclude: list[str] = Field(default_factory=list, description="columns to leave out")
    units: str | dict[str, str] = Field(
        "auto", description="'ppm', 'ppb', 'pct', one per column, or 'auto': read off the names"
    )
    censored: Literal["none", "text", "negative", "flag", "zero"] = Field(
        "none", description="how a value below detection is marked: '<0.5', -0.5, a flag column, 0"
    )
    flags: dict[str, str] = Field(
        default_factory=dict, description="censored = 'flag': each element column's flag column"
    )
    limits: dict[str, float] = Field(
        default_factory=dict, description="detection limits where the marks do not say them"
    )
    replacement: Literal["half-limit", "limit/sqrt2", "multiplicative"] = Field(
        "half-limit", description="what stands for a value below detection"
    )
    missing_values: list[float] = Field(
        default_factory=list, description="numbers that mean 'not analysed', e.g. [-9999]"
    )
    max_censored: Annotated[float, Field(gt=0, le=1)] = Field(
        0.4, description="drop an element censored or missing in a larger share of samples"
    )
    transform: Literal["clr", "ilr", "alr", "log", "none"] = Field(
        "clr", description="log-ratio taken at the samples, before gridding"
    )
    denominator: str | None = Field(None, description="transform = 'alr': the dividing element")
    interpolation: Literal["idw"] = Field("idw", description="inverse-distance weighting")
    neighbors: Annotated[int, Field(ge=1)] | None = Field(12, description="nearest samples used")
    power: Positive = Field(2.0, description="exponent of the distance")
    max_distance: Positive | Literal["auto"] | None = Field(
        "auto", description="a cell farther from every sample is missing; 'auto': 5 sample spacings"
    )

    @property
    def table(self) -> str:
        """Where it stands in the study file."""
        return f"[[samples]] ({self.name})"


class Raster(_Table):
    """A raster, or several of a kind by a wildcard, brought to the template grid."""

    name: str = Field(description="what the report calls this source; the layer's name if single")
    file: str = Field(description="GeoTIFF/COG, NetCDF or Zarr; 'mag/*.tif' takes one layer a file")
    variable: str | None = Field(None, description="variable of a NetCDF or Zarr file")
    band: Annotated[int, Field(ge=1)] = Field(1, description="band, counted from 1")
    crs: CRSText | None = Field(None, description="CRS, if the file has none")
    nodata: float | list[float] | None = Field(
        None, description="values that mean 'missing', beside what the file declares"
    )
    measure: Literal["value", "category"] = Field(
        "value", description="'category': one layer of zeros and ones a class"
    )
    classes: dict[str, str] = Field(
        default_factory=dict, description="measure = 'category': names, e.g. { 1 = 'granite' }"
    )
    max_classes: Annotated[int, Field(ge=1)] = Field(
        30, description="the largest classes kept; the others become one layer 'other classes'"
    )
    transform: Literal["none", "log"] = Field("none", description="taken cell by cell")
    resampling: Literal["auto", "nearest", "bilinear", "cubic", "average"] = Field(
        "auto",
        description="'auto': mean, or share of a class, from finer grids; else bilinear or nearest",
    )


class Vector(_Table):
    """Points, lines or polygons turned into distance, density or one layer a class."""

    name: str = Field(description="what the report calls this source")
    file: str = Field(description="GeoPackage, Shapefile, GeoJSON; or CSV, see segments and ring")
    layer: str | None = Field(None, description="layer of a GeoPackage")
    crs: CRSText | None = Field(None, description="CRS, if the file has none")
    x: str | None = Field(None, description="CSV: easting column of points or ring vertices")
    y: str | None = Field(None, description="CSV: northing column of points or ring vertices")
    segments: Segments | None = Field(
        None, description="CSV of line segments: columns of both ends [x0, y0, x1, y1]"
    )
    ring: str | None = Field(None, description="CSV of polygon vertices: the column telling rings")
    where: Where = Field(default_factory=dict, description="keep rows whose column has this value")
    measure: Literal["distance", "density", "category"] = Field(
        "distance", description="distance to the nearest; length or count per area; class inside"
    )
    radius: Positive | None = Field(
        None, description="measure = 'density': search radius in CRS units; default 10 cells"
    )
    column: str | None = Field(None, description="measure = 'category': column of class names")
    max_classes: Annotated[int, Field(ge=1)] = Field(
        30, description="the largest classes kept; the others become one layer 'other classes'"
    )

    @property
    def table(self) -> str:
        """Where it stands in the study file."""
        return f"[[vectors]] ({self.name})"


class Negatives(_Table):
    """What stands for barren ground in training."""

    sampler: str = Field(
        "default",
        description="'all-unlabelled', 'random', 'buffered', 'dissimilar', 'other-deposits', "
        "'spy' or 'recursive'; default: the method's",
    )
    draws: Annotated[int, Field(ge=1)] | None = Field(
        None, description="models fitted to as many draws and averaged; default: the method's"
    )
    parameters: Parameters = Field(default_factory=dict, description="the sampler's settings")
    occurrences: Occurrences | None = Field(
        None, description="sampler = 'other-deposits': a table [negatives.occurrences], see there"
    )
    annotation: str | None = Field(
        None,
        description="GeoPackage of `gossan annotate` whose decisions by a geologist are honoured; "
        "default: annotation.gpkg in the run folder, if it is there",
    )


class MethodSettings(_Table):
    """Which method scores the ground."""

    name: str = Field("extra-trees", description="a method of the catalogue")
    parameters: Parameters = Field(default_factory=dict, description="the method's settings")
    focal: list[Annotated[int, Field(ge=3)]] = Field(
        default_factory=list, description="add means of these neighbourhoods as layers, e.g. [3, 7]"
    )
    screen: Positive | None = Field(
        None,
        description="keep layers high or low at training deposits: Z beyond ± this (2.58: 1 %)",
    )


class Validation(_Table):
    """How the held-out figures are made."""

    splitter: str = Field("deposit-clusters", description="or 'spatial-blocks', …")
    folds: Annotated[int, Field(ge=2)] = Field(6, description="parts the deposits are dealt into")
    dead_zone: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="no training closer than this to a held-out deposit, in CRS units"
    )
    background_folds: Annotated[int, Field(ge=2)] = Field(
        2, description="parts of the background, each scored by a model not trained on it"
    )
    bootstrap: Annotated[int, Field(ge=100)] = Field(
        5000, description="resamples of whole deposit clusters behind each interval"
    )


class Targets(_Table):
    """Which ground is proposed."""

    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="top share of the new ground from which targets are drawn"
    )
    count: Annotated[int, Field(ge=1)] = Field(25, description="targets listed at most")
    min_cells: Annotated[int, Field(ge=1)] = Field(2, description="smaller patches are left out")
    min_distance: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="from known deposits' footprints, in CRS units; 'auto': two cells, or the "
        "median resolution of the layers (of samples their spacing) where that is coarser",
    )
    max_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.005, description="share of the new ground that one target may take; larger are divided"
    )


class Study(_Table):
    """All settings of one study, as read by :func:`read_study`."""

    name: Annotated[str, AfterValidator(_folder_name)] = Field(
        description="names the run folder and the report"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="same seed, same map")
    survey: str | None = Field(
        None, description="open survey whose folder the files lie in (`gossan fetch`)"
    )
    area: Area
    deposits: Deposits | None = None
    samples: list[Samples] = Field(default_factory=list)
    rasters: list[Raster] = Field(default_factory=list)
    vectors: list[Vector] = Field(default_factory=list)
    negatives: Negatives = Negatives()
    method: MethodSettings = MethodSettings()
    validation: Validation = Validation()
    targets: Targets = Targets()

    _path: Path = PrivateAttr(default=Path("study.toml"))
    _folder: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _sources(self) -> Study:
        names = [source.name for source in self.sources]
        if not names:
            raise ValueError(
                "no evidence: add at least one [[samples]], [[rasters]] or [[vectors]]"
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are named {twice[0]!r}; names tell layers apart")
        return self

    @property
    def sources(self) -> list[Samples | Raster | Vector]:
        """Every source of evidence, in the order of the layers."""
        return [*self.samples, *self.rasters, *self.vectors]

    @property
    def known(self) -> Deposits:
        """The settings of the known deposits, for what cannot do without.

        Raises
        ------
        StudyError
            If the study names none.
        """
        if self.deposits is None:
            raise StudyError(
                f"{self._path} names no known deposits, from which a map of prospectivity is "
                "learnt: add a table [deposits] with their file. Without any, `gossan regions "
                f"{self._path}` divides the area by its evidence alone, `gossan analogues "
                f"{self._path}` with --at or --within finds ground like a place, and `gossan "
                f"predict MODEL {self._path}` maps it by a model of another area."
            )
        return self.deposits

    @property
    def path(self) -> Path:
        """The study file."""
        return self._path

    @property
    def folder(self) -> Path:
        """The folder that file names are relative to."""
        return self._folder

    def with_method(self, name: str, **parameters: Any) -> Study:
        """The same study with another method and that method's default negatives."""
        update = {"name": name, "parameters": _own_settings(parameters)}
        method = self.method.model_copy(update=update)
        return self.model_copy(update={"method": method, "negatives": Negatives()})

    def resolve(self, file: str) -> list[Path]:
        """Absolute paths of a file name of the study; several where it has a wildcard.

        Raises
        ------
        StudyError
            If nothing is there, naming the nearest file that is.
        """
        try:
            named = Path(file).expanduser()
        except RuntimeError as error:
            raise StudyError(
                f"{self._path}: {file!r} lies in the home folder of a user who is unknown here. "
                "Write the path from the study file's folder, or the whole path."
            ) from error
        path = self._folder / named
        if path.exists():
            return [path]
        # An absolute pattern stands alone; a bracket in the study's own folder is no wildcard.
        pattern = Path(glob.escape(str(self._folder)), named)
        found = sorted(Path(match) for match in glob.glob(str(pattern)))  # noqa: PTH207
        if found:
            return found
        tables = [self.deposits, self.negatives.occurrences, *self.sources]
        taken = {self._folder / table.file for table in tables if table is not None}
        hint = nearest_file(path, taken)
        raise StudyError(f"{self._path}: file not found: {path}.{hint}")

    def resolve_one(self, file: str) -> Path:
        """Absolute path of a file name that may stand for one file only.

        Raises
        ------
        StudyError
            If nothing is there, or a wildcard finds several.
        """
        found = self.resolve(file)
        if len(found) > 1:
            names = ", ".join(path.name for path in found[:5])
            raise StudyError(
                f"{self._path}: {file!r} must be one file and finds {len(found)}: {names}. "
                "Name one of them."
            )
        return found[0]

    def files(self) -> Iterator[Path]:
        """Every file that the study names, for checks and hashes."""
        known = None if self.deposits is None else self.deposits.file
        for file in (self.area.like, self.area.mask, known):
            if file is not None:
                yield from self.resolve(file)
        for source in self.sources:
            yield from self.resolve(source.file)
        if self.negatives.occurrences is not None:
            yield from self.resolve(self.negatives.occurrences.file)


def read_study(path: str | os.PathLike[str]) -> Study:
    """Read and check a study file.

    Parameters
    ----------
    path : path-like
        The TOML file. File names inside are relative to its folder, or to the open survey's
        folder where ``survey`` is set.

    Returns
    -------
    Study
        Frozen settings; defaults filled in.

    Raises
    ------
    StudyError
        Naming the file, the key and the remedy, for every finding at once.

    Examples
    --------
    >>> read_study("nowhere.toml")
    Traceback (most recent call last):
    gossan.exceptions.StudyError: Study file not found: nowhere.toml. `gossan new ...
    """
    path = Path(path)
    if path.is_dir():
        path = path / "study.toml"
    if not path.is_file():
        raise StudyError(f"Study file not found: {path}. `gossan new FOLDER` writes one.")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(
            f"{path} is no valid TOML: {error}. Texts go in quotes; paths are written with /."
        ) from error
    return parse_study(settings, path)


def parse_study(settings: dict[str, Any], path: Path) -> Study:
    """Check settings already read from ``path``; see :func:`read_study`."""
    try:
        study = Study.model_validate(settings)
    except ValidationError as error:
        findings = explain_settings(error.errors(), settings, Study)
        raise StudyError("\n".join([f"{path} cannot be used:", *findings])) from None
    study._path = path
    study._folder = path.parent.resolve()
    if study.survey is not None:
        study._folder = survey_folder(study.survey, path.parent)
    return study


def survey_folder(name: str, start: Path) -> Path:
    """Folder of an open survey: under ``GOSSAN_DATA``, a ``shared/data`` beside, or the cache.

    Raises
    ------
    StudyError
        If it is in none of these places; the remedy is ``gossan fetch``.
    """
    found = find_survey(name, start)
    if found is None:
        raise StudyError(
            f"The open survey {name!r} is not on this computer. `gossan fetch {name}` brings it "
            f"if it is offered; or put its files into a folder {name!r} and set GOSSAN_DATA to the "
            "folder that holds that."
        )
    return found


def find_survey(name: str, start: Path) -> Path | None:
    """Where an open survey already lies on this computer, or None."""
    roots = [Path(os.environ["GOSSAN_DATA"])] if "GOSSAN_DATA" in os.environ else []
    roots += [parent / "shared" / "data" for parent in start.resolve().parents]
    roots.append(survey_cache())
    return next((root / name for root in roots if (root / name).is_dir()), None)


def survey_cache() -> Path:
    """The folder into which open surveys are fetched."""
    import pooch

    return Path(pooch.os_cache("gossan"))
