"""``gossan new``: what it sees in a folder, and whether the study it drafts is right and runs."""

import tomllib
import warnings
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gossan.datasets import synthetic_district, write_district
from gossan.draft import FileFacts, draft_study, inspect_folder
from gossan.draft.choices import group_rasters, round_125
from gossan.draft.facts import UNKNOWN_CRS, projected_crs
from gossan.draft.toml import toml_value
from gossan.evidence import build_evidence
from gossan.exceptions import StudyError, SurveyDataWarning
from gossan.study import Study, parse_study, read_study

RNG = np.random.default_rng(7)
N = 60


def _draft(folder: Path) -> tuple[Study, str]:
    text = draft_study(folder)
    return parse_study(tomllib.loads(text), folder / "study.toml"), text


def _facts(folder: Path, file: str) -> FileFacts:
    (facts,) = [found for found in inspect_folder(folder) if found.file == file]
    return facts


def _write_raster(
    path: Path,
    values: np.ndarray,
    *,
    cell: float = 100.0,
    crs: str | None = "EPSG:32638",
    **meta: Any,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=crs,
        transform=rasterio.Affine(cell, 0, 500_000, 0, -cell, 2_200_000),
        **meta,
    ) as dataset:
        dataset.write(values, 1)


def _write_deposits(folder: Path, **columns: Any) -> None:
    """Four deposits in the south-west of the rasters above, in metres."""
    table = {"easting": [500_500, 501_500, 502_500, 503_500], "northing": [2_199_500.0] * 4}
    pd.DataFrame({"mine": ["Ada", "Bea", "Cleo", "Dora"], **table, **columns}).to_csv(
        folder / "known deposits.csv", index=False
    )


def _write_samples(folder: Path, **columns: Any) -> None:
    pd.DataFrame(
        {
            "sample_no": np.arange(N),
            "Longitude": RNG.uniform(45.0, 45.1, N),
            "Latitude": RNG.uniform(19.8, 19.9, N),
            **columns,
        }
    ).to_csv(folder / "stream sediments.csv", index=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with four deposits."""
    _write_deposits(tmp_path)
    return tmp_path


# ---- real surveys -------------------------------------------------------------------------------


def test_jabal_al_hasir_is_drafted_as_a_geologist_would(survey_data: Path) -> None:
    """UTM 38N, half-kilometre cells, named occurrences, 55 elements in ppm, metals as a choice."""
    study, text = _draft(survey_data / "jabal-al-hasir")
    assert (study.area.crs, study.area.cell_size) == ("EPSG:32638", 500)
    assert study.deposits.file == "KSA_validation.parquet"
    assert (study.deposits.name, study.deposits.crs) == ("English_Name", "EPSG:4326")
    (samples,) = study.samples
    assert samples.elements is not None
    assert len(samples.elements) == 55
    assert not {"LOI", "TC"} & set(samples.elements)
    assert (samples.units, samples.censored, samples.id) == ("ppm", "none", "Sample Field Number")
    assert "no mark of a value below detection was found" in text
    assert "Gold 19, Quartz 12, Copper 6" in text
    assert '# where = { Major_Commodity = ["Gold", "Copper", "Silver", "Beryllium", "Iron",' in text


def test_nanling_keeps_its_element_grid_and_deposit_raster(survey_data: Path) -> None:
    """39 rasters under one wildcard, their grid as template, 23 deposit cells, zeros remarked."""
    study, text = _draft(survey_data / "nanling")
    assert study.area.like == "Idw_Ag.tif"
    assert (study.deposits.file, study.deposits.value) == ("Li_deposits0.tif", 1)
    assert [r.file for r in study.rasters] == [
        "Idw_*.tif",
        "Faults.tif",
        "Granite.tif",
        "Strata.tif",
    ]
    assert all(raster.measure == "value" for raster in study.rasters)
    assert "23 cells hold the value 1" in text
    assert "66% of the cells" in text
    assert "# nodata = 0" in text


def test_cloncurry_tells_classes_from_steps(survey_data: Path) -> None:
    """Rock units are classes; reclassed fault density and distance are values."""
    study, text = _draft(survey_data / "cloncurry" / "CalculateWeights")
    assert study.area.crs == "EPSG:7845"
    assert study.deposits.file == "IOCG_Deposits.shp"
    assert study.deposits.name == "Deposit"
    measures = {raster.name: raster.measure for raster in study.rasters}
    assert measures == {"Dist2Breccia": "value", "FaultDensity": "value", "StratNo": "category"}
    assert "FaultDensity_CD.csv: table; 10 rows; no columns of coordinates, not used" in text


def test_murchison_runs_without_a_stated_crs(survey_data: Path) -> None:
    """Metres of an unknown zone are mapped as they are, and the draft asks for the CRS."""
    study, text = _draft(survey_data / "murchison")
    assert study.area.crs == UNKNOWN_CRS
    assert "the map has no place on Earth until you write the CRS here" in text
    faults, greenstone = study.vectors
    assert faults.segments == ("x0", "y0", "x1", "y1")
    assert faults.measure == "distance"
    assert (greenstone.ring, greenstone.measure) == ("ring", "category")
    assert (study.deposits.file, study.deposits.x, study.deposits.y) == (
        "gold_deposits.csv",
        "x",
        "y",
    )


def test_kolari_lacks_deposits_and_says_so(survey_data: Path) -> None:
    """A study without deposits, and what to add for one with them."""
    study, text = _draft(survey_data / "kolari-till")
    assert study.deposits is None
    assert [source.file for source in study.samples] == ["till_geochem_511p.gpkg"]
    told = " ".join(text.replace("#", "").split())
    assert "No file speaks of known deposits. Without any: gossan check, gossan regions" in told
    assert "latitude (or easting and northing)" in told
    assert "# [deposits]" in text


def test_kolari_flags_are_matched_to_their_elements(survey_data: Path) -> None:
    """Zr_ppm_511 is flagged in Zr_511P_T beside 0: 166 times '<' and 16 times '!', as counted."""
    facts = _facts(survey_data / "kolari-till", "till_geochem_511p.gpkg")
    zirconium = facts.elements[-1]
    assert (zirconium.column, zirconium.flag) == ("Zr_ppm_511", "Zr_511P_T")
    assert (zirconium.flagged, zirconium.unlimited, zirconium.zero) == (182, 182, 0)
    assert {column.unit for column in facts.elements} == {"ppm"}


# ---- censoring: found, said, and declared so that the table can be read --------------------------


@pytest.mark.parametrize(
    ("columns", "censored", "said"),
    [
        ({"Au_ppb": ["<0.5", "<1", *["2.5"] * 58]}, "text", "texts such as '<0.5'"),
        ({"Au_ppb": [-0.5, -1, *[2.5] * 58]}, "negative", "negative numbers: 1 column"),
        ({"Au_ppb": [0.0, 0, *[2.5] * 58]}, "zero", "zeros without a mark: 1 column"),
        (
            {"Au_ppb": [0.0, 1, *[2.5] * 58], "Au_q": ["<", *[""] * 59]},
            "flag",
            "in a column beside",
        ),
        ({"Au_ppb": [-9999.0, *[2.5, 3.0] * 29, 4]}, "none", "-9999 in 1 column(s), e.g. Au_ppb"),
        ({"Au_ppb": [0.25] * 30 + [3.0] * 30}, "none", "perhaps values below detection"),
    ],
)
def test_each_mark_is_found_stated_and_read(
    folder: Path, columns: dict[str, Any], censored: str, said: str
) -> None:
    """Every mark is in the comment, its setting is active, and the evidence can be built."""
    _write_samples(folder, Cu_ppm=RNG.lognormal(3, 1, N), Zn_ppm=RNG.lognormal(4, 1, N), **columns)
    study, text = _draft(folder)
    assert study.samples[0].censored == censored
    assert said in " ".join(line.lstrip("# ") for line in text.splitlines())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SurveyDataWarning)  # of limits that no mark tells
        evidence = build_evidence(study)
    assert sorted(evidence["layer"].values) == ["Au", "Cu", "Zn"]


def test_codes_of_missing_values_are_declared(folder: Path) -> None:
    """−9999 becomes missing_values, not a limit of 9999."""
    _write_samples(
        folder, Cu_ppm=[-9999.0] * 3 + [5.0, 6.0, 7.0] * 19, Zn_ppm=RNG.lognormal(4, 1, N)
    )
    (samples,) = _draft(folder)[0].samples
    assert (samples.missing_values, samples.censored) == ([-9999], "none")


def test_columns_that_cannot_be_read_are_left_out_by_name(folder: Path) -> None:
    """Text among the numbers, a constant, a second analysis of an element: each with its reason."""
    _write_samples(
        folder,
        Cu_ppm=RNG.lognormal(3, 1, N),
        Zn_ppm=RNG.lognormal(3, 1, N),
        Pb_ppm=["trace", *["5"] * 59],
        Ag_ppm=[0.5] * N,
        Cu_INAA_ppm=[1.0] * 30 + [20.0] * 30,
    )
    study, text = _draft(folder)
    said = " ".join(line.lstrip("# ") for line in text.splitlines())
    assert study.samples[0].elements == ["Cu_ppm", "Zn_ppm"]
    assert "Pb_ppm (holds the text 'trace' among its numbers)" in said
    assert "Ag_ppm (holds one value only, 0.5)" in said
    assert "Cu_INAA_ppm (Cu is taken from Cu_ppm)" in said


def test_units_are_guessed_from_what_rocks_can_hold(folder: Path) -> None:
    """SiO2 below 100 is per cent, Fe of 4 too, gold of 5 is ppb, copper of 40 ppm."""
    near = RNG.lognormal(0, 0.1, N)
    _write_samples(folder, SiO2=60 * near, Fe=4 * near, Au=5 * near, Cu=40 * near)
    study, text = _draft(folder)
    assert study.samples[0].units == {"SiO2": "pct", "Fe": "pct", "Au": "ppb", "Cu": "ppm"}
    assert "Guessed: the names do not say it" in text


def test_two_elements_are_logged_and_not_closed(folder: Path) -> None:
    """A log-ratio of two elements is one number: the logarithm is proposed instead."""
    _write_samples(folder, Cu_ppm=RNG.lognormal(3, 1, N), Zn_ppm=RNG.lognormal(3, 1, N))
    assert _draft(folder)[0].samples[0].transform == "log"


# ---- rasters ------------------------------------------------------------------------------------


def test_rasters_are_recognised_by_their_values(folder: Path) -> None:
    """Patches of codes are classes; steps, two values and measurements are values."""
    patches = np.kron(RNG.choice([3, 17, 40, 81, 99], (12, 12)), np.ones((10, 10), dtype=int))
    steps = np.add.outer(np.arange(120), np.arange(120)) // 30
    _write_raster(folder / "lithology.tif", patches.astype("int16"))
    _write_raster(folder / "steps.tif", steps.astype("int16"))
    _write_raster(folder / "near fault.tif", (steps > 3).astype("uint8"))
    _write_raster(folder / "magnetics.tif", RNG.normal(size=(120, 120)).astype("float32"))
    measures = {raster.name: raster.measure for raster in _draft(folder)[0].rasters}
    assert measures.pop("lithology") == "category"
    assert set(measures.values()) == {"value"}


def test_an_undeclared_code_becomes_nodata(folder: Path) -> None:
    """−9999 in a tenth of the cells, not declared by the file, is declared by the draft."""
    values = RNG.normal(size=(120, 120)).astype("float32")
    values[:12] = -9999
    _write_raster(folder / "magnetics.tif", values)
    study, text = _draft(folder)
    assert study.rasters[0].nodata == [-9999]
    assert "so far from the rest it is a code" in text


def test_a_wildcard_takes_its_own_kind_only(folder: Path) -> None:
    """Rasters of another grid or a lone file of another name stay out of the wildcard."""
    for element in ("Cu", "Zn", "Pb"):
        values = RNG.normal(size=(100, 100)).astype("float32")
        _write_raster(folder / f"geochem/idw_{element}.tif", values)
    _write_raster(folder / "dem_30m.tif", RNG.normal(size=(90, 90)).astype("float32"), cell=30)
    study, _ = _draft(folder)
    assert [raster.file for raster in study.rasters] == ["geochem/idw_*.tif", "dem_30m.tif"]
    assert study.area.like == "geochem/idw_Cu.tif"


def test_a_wildcard_that_would_catch_a_stranger_is_not_used() -> None:
    """``mag_*.tif`` must not take the known deposits in mag_deposits.tif."""
    rasters = [FileFacts(f"mag_{i}.tif", "raster", shape=(5, 5)) for i in range(3)]
    assert [group.pattern for group in group_rasters(rasters, [])] == ["mag_*.tif"]
    groups = group_rasters(rasters, ["mag_deposits.tif"])
    assert [group.pattern for group in groups] == ["mag_0.tif", "mag_1.tif", "mag_2.tif"]


def test_a_large_raster_is_looked_at_in_windows(tmp_path: Path) -> None:
    """Nine million cells are told as classes from windows, sooner than by reading all."""
    codes = np.kron(RNG.choice([2, 30, 7], (60, 60)), np.ones((50, 50))).astype("uint8")
    _write_raster(tmp_path / "geology.tif", codes, tiled=True, compress="deflate")
    facts = _facts(tmp_path, "geology.tif")
    assert facts.kind == "category raster"
    assert facts.count == 9_000_000
    assert facts.values is not None
    assert facts.values.classes == 3


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_each_variable_is_a_source(folder: Path, suffix: str) -> None:
    """Each variable with two dimensions is a raster of its own, named after itself."""
    axes = {"y": 2_200_000.0 - 100 * np.arange(110), "x": 500_000.0 + 100 * np.arange(110)}
    values = {name: (("y", "x"), RNG.normal(size=(110, 110))) for name in ("tmi", "gravity")}
    grids = xr.Dataset(values, axes).rio.write_crs("EPSG:32638")
    if suffix == "nc":
        pytest.importorskip("h5py")
        grids.to_netcdf(folder / "geophysics.nc", engine="h5netcdf")
    else:
        grids.to_zarr(folder / "geophysics.zarr", zarr_format=3, consolidated=False)
    study, _ = _draft(folder)
    assert {raster.name: raster.variable for raster in study.rasters} == {
        "geophysics tmi": "tmi",
        "geophysics gravity": "gravity",
    }
    assert build_evidence(study).sizes["layer"] == 2


# ---- vectors ------------------------------------------------------------------------------------


def test_layers_of_a_geopackage_become_distance_and_classes(folder: Path) -> None:
    """Lines → distance; polygons → classes of the column that names rocks, not of their codes."""
    lines = [shapely.LineString([(500_000, 2_199_000 + i), (506_000, 2_195_000)]) for i in range(3)]
    boxes = [
        shapely.box(500_000 + i, 2_190_000, 501_000 + i, 2_200_000) for i in range(0, 6000, 1000)
    ]
    names = ["granite", "schist", "marble"]
    rocks = {"unit_code": [1, 2, 3] * 2, "lithology": names * 2}
    path = folder / "map.gpkg"
    gpd.GeoDataFrame(geometry=lines, crs="EPSG:32638").to_file(path, layer="faults")
    gpd.GeoDataFrame(rocks, geometry=boxes, crs="EPSG:32638").to_file(path, layer="geology")
    study, _ = _draft(folder)
    faults, geology = study.vectors
    assert (faults.layer, faults.measure) == ("faults", "distance")
    assert (geology.layer, geology.measure, geology.column) == ("geology", "category", "lithology")
    layers = list(build_evidence(study)["layer"].values)
    classes = [f"map geology: {name}" for name in sorted(names)]
    assert layers == ["distance to map faults", *classes]


# ---- deposits and places ------------------------------------------------------------------------


def test_metres_without_a_crs_are_placed_by_the_degrees_of_others(folder: Path) -> None:
    """Deposits in unstated metres that fit the UTM zone of samples in degrees are put there."""
    _write_samples(folder, Cu_ppm=RNG.lognormal(3, 1, N), Zn_ppm=RNG.lognormal(3, 1, N))
    study, text = _draft(folder)
    assert study.area.crs == "EPSG:32638"
    assert (study.deposits.crs, study.deposits.name) == ("EPSG:32638", "mine")
    assert "the coordinates lie among those of the other files" in text


def test_other_points_stay_a_choice(folder: Path) -> None:
    """Points beside the deposits are offered as a source, in a comment that parses when taken."""
    pd.DataFrame({"lon": [45.0, 45.1], "lat": [19.8, 19.9]}).to_csv(
        folder / "springs.csv", index=False
    )
    _write_samples(folder, Cu_ppm=RNG.lognormal(3, 1, N), Zn_ppm=RNG.lognormal(3, 1, N))
    study, text = _draft(folder)
    assert study.vectors == []
    start = text.index('# [[vectors]]\n# name = "springs"')
    block = text[start : text.index('# measure = "distance"', start) + 24]
    taken = "\n".join(line.removeprefix("# ") for line in block.splitlines() if "Guess" not in line)
    parsed = tomllib.loads(text + taken)
    assert parse_study(parsed, folder / "study.toml").vectors[0].file == "springs.csv"


def test_few_deposits_get_few_folds(folder: Path) -> None:
    """Four deposits cannot be dealt into six folds."""
    _write_raster(folder / "mag.tif", RNG.normal(size=(120, 120)).astype("float32"))
    study, text = _draft(folder)
    assert study.validation.folds == 2
    assert "there are 4 deposits" in text


def test_evidence_elsewhere_is_left_out_with_a_remark(folder: Path) -> None:
    """A raster on another continent would stop the run: it is named, not used."""
    _write_samples(folder, Cu_ppm=RNG.lognormal(3, 1, N), Zn_ppm=RNG.lognormal(3, 1, N))
    lines = [shapely.LineString([(-60, 50), (-61, 51)])]
    gpd.GeoDataFrame(geometry=lines, crs="EPSG:4326").to_file(folder / "far.geojson")
    study, text = _draft(folder)
    assert study.vectors == []
    assert "Not used: far.geojson, for it does not meet the area" in text


@pytest.mark.parametrize(
    ("extent", "crs"),
    [
        ((42.0, 19.0, 43.5, 20.0), "EPSG:32638"),
        ((114.0, -34.0, 119.0, -30.0), "EPSG:32750"),
        ((-180.0, 60.0, -179.0, 61.0), "EPSG:32601"),
        ((179.0, 60.0, 180.0, 61.0), "EPSG:32660"),
        ((110.0, -40.0, 155.0, -10.0), "+proj=laea +lat_0=-25 +lon_0=132"),
    ],
)
def test_degrees_get_their_utm_zone(extent: Any, crs: str) -> None:
    """Zones checked by hand; a continent gets an equal-area projection of its own."""
    assert projected_crs(extent).startswith(crs)


@given(st.floats(1e-3, 1e6))
def test_cell_sizes_are_round_and_near(value: float) -> None:
    """1, 2 or 5 times a power of ten, within a factor √2.5 of what was asked."""
    rounded = round_125(value)
    assert f"{rounded:.0e}"[0] in "125"
    assert rounded == float(f"{rounded:.0e}")
    assert 1 / 1.59 < rounded / value < 1.59


# ---- trouble ------------------------------------------------------------------------------------


def test_unreadable_files_are_remarked_and_hide_nothing(folder: Path) -> None:
    """A truncated raster, an empty table and binary rubbish: each listed, the rest drafted."""
    _write_raster(folder / "good.tif", RNG.normal(size=(120, 120)).astype("float32"))
    (folder / "cut.tif").write_bytes((folder / "good.tif").read_bytes()[:300])
    (folder / "empty.csv").touch()
    (folder / "rubbish.gpkg").write_bytes(bytes(range(256)))
    study, text = _draft(folder)
    assert [raster.file for raster in study.rasters] == ["good.tif"]
    for file in ("cut.tif", "empty.csv", "rubbish.gpkg"):
        assert f"{file}: not read: " in text


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no survey file"),
        ({"readme.md": "hello"}, "holds no survey file"),
        ({"deposits.csv": "name,lon,lat\nA,42,19\n"}, "No evidence among the files"),
    ],
)
def test_a_folder_that_lacks_something_says_what(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    """An empty folder and deposits alone each get their own message."""
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(StudyError, match=said):
        draft_study(tmp_path)


def test_earlier_runs_are_no_survey_files(folder: Path) -> None:
    """Maps under runs/, a district's truth and hidden folders are passed over."""
    for name in ("runs/a/score.tif", "truth/a.tif", ".cache/b.tif", "mag.tif"):
        _write_raster(folder / name, RNG.normal(size=(110, 110)).astype("float32"))
    assert [found.file for found in inspect_folder(folder)] == ["known deposits.csv", "mag.tif"]


def test_an_earlier_map_is_no_evidence(folder: Path) -> None:
    """A posterior probability has seen the deposits: it is named in a remark, not used."""
    for name in ("PosteriorProbability.tif", "mag.tif"):
        _write_raster(folder / name, RNG.normal(size=(120, 120)).astype("float32"))
    study, text = _draft(folder)
    assert [raster.file for raster in study.rasters] == ["mag.tif"]
    assert "Not used: PosteriorProbability.tif, by its name an earlier map" in text


def test_the_stand_in_crs_survives_a_file(tmp_path: Path) -> None:
    """Read back from a GeoTIFF, the CRS of unknown metres equals itself."""
    _write_raster(tmp_path / "a.tif", np.zeros((2, 2), dtype="float32"), crs=UNKNOWN_CRS)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert pyproj.CRS(dataset.crs) == pyproj.CRS(UNKNOWN_CRS)


def test_the_synthetic_district_is_drafted_from_its_files(tmp_path: Path) -> None:
    """What `gossan demo` writes is recognised: censored text, rocks, faults, known deposits."""
    district = synthetic_district(1, shape=(60, 80), n_deposits=15, n_known=8, n_samples=150)
    write_district(district, tmp_path)
    study, text = _draft(tmp_path)
    assert study.deposits.file == "deposits.csv"
    assert '# where = { commodity = ["Cu-Au"] }' in text
    assert study.samples[0].censored == "text"
    assert {raster.name for raster in study.rasters} == {"gravity", "magnetics"}
    assert {v.name: v.measure for v in study.vectors} == {
        "faults": "distance",
        "geology": "category",
    }
    assert study.vectors[1].column == "lithology"


def test_the_draft_is_the_same_every_time_and_is_read_back(folder: Path) -> None:
    """Written beside its files, the draft is found and read; the folder's name is made usable."""
    _write_raster(folder / "mag.tif", RNG.normal(size=(120, 120)).astype("float32"))
    text = draft_study(folder)
    assert text == draft_study(folder)
    (folder / "study.toml").write_text(text, encoding="utf-8")
    files = [path.name for path in read_study(folder).files()]
    assert files == ["mag.tif", "known deposits.csv", "mag.tif"]  # the grid, deposits, evidence


def test_every_default_left_as_a_comment_is_the_default(folder: Path) -> None:
    """Taking the comments of [validation] and [targets] changes nothing."""
    _write_raster(folder / "mag.tif", RNG.normal(size=(120, 120)).astype("float32"))
    study, text = _draft(folder)
    head, tail = text.split("[targets]")
    taken = head + "[targets]" + tail.replace("\n# ", "\n")
    assert parse_study(tomllib.loads(taken), folder / "study.toml") == study


# Keys of tables and values that a study file may hold, odd names of columns included.
_texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
_values = st.recursive(
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
)


@given(_values)
def test_every_value_survives_the_way_through_toml(value: Any) -> None:
    """Quotes, control characters, backslashes and exponents come back as they were."""
    assert tomllib.loads(f"key = {toml_value(value)}")["key"] == value
