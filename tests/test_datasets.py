"""The synthetic district, its files, the truth table, and open surveys by name."""

import functools
import hashlib
import http.server
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from gossan.datasets import (
    SURVEYS,
    Survey,
    describe_survey,
    fetch_survey,
    synthetic_district,
    truth_table,
    write_district,
)
from gossan.datasets.geochemistry import UPPER_CRUST
from gossan.exceptions import StudyError, SurveyDataError
from gossan.grid import Grid
from gossan.study import read_study

SMALL = {"shape": (80, 100), "n_deposits": 30, "n_known": 10, "n_samples": 300}


@pytest.fixture(scope="module")
def district():
    """The district of `gossan demo`."""
    return synthetic_district(0)


def ppm(samples, element):
    """A column of the sample table as numbers, NaN below detection or not analysed."""
    return pd.to_numeric(samples[f"{element}_ppm"], errors="coerce").to_numpy()


def at(field, points):
    """Values of a (y, x) field at points."""
    rows, columns = Grid.from_dataarray(field).locate(points.x, points.y)
    return field.to_numpy()[rows, columns]


# The district: geology -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_every_seed_gives_a_district_with_all_its_parts(seed):
    """Whatever the seed: host rocks, a fertile intrusion, both fault trends, all deposits."""
    district = synthetic_district(seed, **SMALL)
    rocks = set(district.geology["lithology"])
    assert {"limestone", "andesite", "black shale"} <= rocks
    assert rocks & {"granodiorite", "porphyry"}
    assert set(district.faults["trend"]) == {"principal", "conjugate"}
    assert (len(district.known), len(district.undiscovered)) == (10, 20)
    assert len(district.samples) == 300
    assert district.prospectivity.sum() == pytest.approx(30)


def test_map_units_cover_the_area_once(district):
    """The geological map has neither gap nor overlap, to a millionth of the area."""
    area = district.grid.size * district.grid.cell_area
    assert district.geology.area.sum() == pytest.approx(area, rel=1e-6)
    assert district.geology.union_all().area == pytest.approx(area, rel=1e-6)
    assert district.geology.is_valid.all()


def test_faults_follow_two_trends(district):
    """Principal faults agree in azimuth to some 10°, and conjugates lie 50–70° from them."""
    ends = district.faults.geometry.map(
        lambda line: np.subtract(line.coords[-1], line.coords[0])
    ).to_list()
    doubled = 2 * np.arctan2(*np.array(ends).T)
    mean = {}
    for trend in ("principal", "conjugate"):
        angles = doubled[district.faults["trend"] == trend]
        vector = np.exp(1j * angles).mean()
        assert abs(vector) > 0.8
        mean[trend] = np.degrees(np.angle(vector)) / 2
    apart = abs((mean["principal"] - mean["conjugate"] + 90) % 180 - 90)
    assert 40 < apart < 80
    assert district.faults.within(shapely.box(*district.grid.bounds).buffer(1)).all()


def test_seeds_differ_in_geology():
    """Another seed is another geology, not the same one with other noise."""
    hosts = [
        synthetic_district(seed, **SMALL).control_fields.sel(layer="host").to_numpy().ravel()
        for seed in range(5)
    ]
    alike = np.corrcoef(hosts)[np.triu_indices(5, 1)]
    assert np.abs(alike).max() < 0.6


def test_same_seed_same_district():
    """All of a district follows from its seed."""
    first, second = (synthetic_district(5, **SMALL) for _ in range(2))
    pd.testing.assert_frame_equal(first.samples, second.samples)
    pd.testing.assert_frame_equal(first.truth, second.truth)
    np.testing.assert_array_equal(first.magnetics, second.magnetics)


def test_sampling_leaves_the_ground_alone():
    """More samples of the same seed are more samples of the same ground and the same deposits."""
    sparse = synthetic_district(5, **SMALL)
    dense = synthetic_district(5, **SMALL | {"n_samples": 500})
    pd.testing.assert_frame_equal(sparse.truth, dense.truth)
    assert sparse.geology.geometry.geom_equals(dense.geology.geometry).all()
    np.testing.assert_array_equal(sparse.magnetics, dense.magnetics)


# The district: deposits ----------------------------------------------------------------------


def test_deposits_lie_where_the_controls_meet(district):
    """Deposits are on far better ground than chance, and not on the best ground only."""
    table = truth_table(district.prospectivity, district, areas=(0.05, 0.10))
    found = table["undiscovered"] + table["known"]
    assert found.loc[0.05] >= 0.5 * 60
    assert found.loc[0.10] <= 0.97 * 60
    points = district.truth.geometry
    for control in ("intrusion", "faults", "host"):
        field = district.control_fields.sel(layer=control)
        assert at(field, points).mean() > 1.5 * field.mean()


@pytest.mark.parametrize("control", ["intrusion", "faults", "host"])
def test_one_control_alone_is_the_cause(control):
    """With one control and nothing unexplained, prospectivity is a function of that layer."""
    district = synthetic_district(3, **SMALL, controls=(control,), unexplained=0)
    cause = district.control_fields.sel(layer=control).to_numpy().ravel()
    assert spearmanr(cause, district.prospectivity.to_numpy().ravel()).statistic > 0.9999


def test_discovery_favours_accessible_ground():
    """Over districts, known deposits lie in more accessible ground; without bias they do not."""
    more = {
        bias: np.mean(
            [
                at(district.accessibility, district.known.geometry).mean()
                / at(district.accessibility, district.truth.geometry).mean()
                for seed in range(6)
                for district in [synthetic_district(seed, **SMALL, discovery_bias=bias)]
            ]
        )
        for bias in (0, 2)
    }
    assert more[2] > 1.3
    assert more[0] < 1.25


def test_deposits_keep_apart_and_have_names(district):
    """No two deposits share a footprint or a name."""
    places = np.column_stack([district.truth.geometry.x, district.truth.geometry.y])
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    # Coordinates are rounded to 0.1 m.
    assert apart[np.triu_indices(len(places), 1)].min() > 3 * 250 - 0.2
    assert district.truth["name"].is_unique


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"controls": ("fault",)}, "Unknown control 'fault'. Did you mean 'faults'"),
        ({"n_known": 61}, "n_known is 61 of n_deposits 60"),
        ({"n_known": 0}, "n_known is 0"),
        ({"shape": (10, 10)}, "too small: at least 20 × 20"),
        ({"n_samples": 3}, "at least 10 samples"),
        ({"shape": (20, 20), "n_deposits": 300}, "300 deposits do not fit 20 × 20 cells"),
    ],
)
def test_impossible_districts_say_why(options, message):
    """An impossible wish is refused with the value and the remedy."""
    with pytest.raises(StudyError, match=message.replace("(", r"\(")):
        synthetic_district(0, **options)


# The district: surveys -----------------------------------------------------------------------


def test_composition_is_of_the_upper_crust(district):
    """Medians stay within a factor of three of Rudnick and Gao's upper crust, sums below 100 %."""
    for element, crust in UPPER_CRUST.items():
        if element != "Cd":  # half of it is below detection
            assert 1 / 3 < np.nanmedian(ppm(district.samples, element)) / crust < 3, element
    total = sum(np.nan_to_num(ppm(district.samples, element)) for element in UPPER_CRUST)
    assert total.max() < 1e6
    assert len(UPPER_CRUST) == 39


def test_censored_values_are_marked(district):
    """A value below its detection limit is text, one limit an element, nothing below it passes."""
    share = {}
    for element in UPPER_CRUST:
        column = district.samples[f"{element}_ppm"]
        marks = column[column.astype(str).str.startswith("<")].astype(str)
        share[element] = len(marks) / len(column)
        if len(marks):
            assert set(marks) == {marks.iloc[0]}
            assert np.nanmin(ppm(district.samples, element)) >= float(marks.iloc[0][1:])
    assert sum(portion > 0 for portion in share.values()) >= 6
    assert share["Cd"] > 0.4
    assert max(share[pathfinder] for pathfinder in ("Cu", "Au", "As", "Bi")) < 0.4


def test_duplicates_and_missing_values(district):
    """One sample in fifty is a field duplicate at the same place; a few values are missing."""
    samples = district.samples
    assert samples["sample_id"].is_unique
    duplicated = samples[samples["sample_id"].str.endswith("D")]
    assert len(duplicated) == len(samples) // 50
    original = samples.set_index("sample_id").loc[duplicated["sample_id"].str[:-1]]
    np.testing.assert_array_equal(original["easting"], duplicated["easting"])
    ratio = ppm(original, "Fe") / ppm(duplicated, "Fe")
    assert 0.7 < ratio.min() < ratio.max() < 1.4
    missing = samples.isna().mean()
    assert 0 < missing.max() < 0.1


def test_gaps_are_not_sampled(district):
    """No sample lies in the lake or the reserve, outlines smoothed to a cell."""
    assert set(district.gaps["name"]) == {"lake", "reserve"}
    places = gpd.points_from_xy(district.samples["easting"], district.samples["northing"])
    inside = district.gaps.buffer(-district.grid.cell_size[0]).union_all()
    assert not gpd.GeoSeries(places).within(inside).any()


def near_deposits(district, reach):
    """Samples within ``reach`` metres of a deposit."""
    places = gpd.points_from_xy(district.samples["easting"], district.samples["northing"])
    distance = [district.truth.distance(place).min() for place in places]
    return np.array(distance) < reach


def test_ore_leaves_haloes_and_only_if_asked():
    """Copper is richer around deposits, unless the haloes are turned off."""
    contrast = {}
    for strength in (0.0, 1.0):
        district = synthetic_district(2, n_deposits=60, n_known=20, halo_strength=strength)
        near = near_deposits(district, 800)
        copper = np.log(ppm(district.samples, "Cu"))
        contrast[strength] = np.exp(copper[near].mean() - copper[~near].mean())
    assert contrast[1.0] > 1.8 * contrast[0.0]


def test_black_shale_is_a_false_anomaly(district):
    """Far from any deposit, black shale carries several times the arsenic and molybdenum."""
    shale = district.geology[district.geology["lithology"] == "black shale"].union_all()
    places = gpd.points_from_xy(district.samples["easting"], district.samples["northing"])
    on_shale = gpd.GeoSeries(places).within(shale.buffer(-500)).to_numpy()
    barren = ~near_deposits(district, 4000)
    for element in ("As", "Mo"):
        value = ppm(district.samples, element)
        ratio = np.nanmedian(value[on_shale & barren]) / np.nanmedian(value[~on_shale & barren])
        assert ratio > 2


def test_rasters_have_grids_of_their_own(district):
    """Magnetics and gravity share neither CRS, cells nor holes with each other or the district."""
    magnetics, gravity = (Grid.from_dataarray(r) for r in (district.magnetics, district.gravity))
    assert gravity.crs.is_geographic
    assert not magnetics.crs.is_geographic
    assert not magnetics.same_cells(district.grid)
    for raster in (district.magnetics, district.gravity):
        assert 0 < np.isnan(raster).mean() < 0.1
    west, south, east, north = magnetics.bounds
    inner = district.grid.bounds
    assert west < inner[0]
    assert south < inner[1]
    assert east > inner[2]
    assert north > inner[3]


# Files ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(district, tmp_path_factory):
    """The demo's folder."""
    return write_district(district, tmp_path_factory.mktemp("demo")).parent


def test_study_file_is_sound(written, district):
    """The study file passes the reader, and every file that it names is there."""
    study = read_study(written / "study.toml")
    assert {path.name for path in study.files()} == {
        "deposits.csv",
        "samples.csv",
        "magnetics.tif",
        "gravity.tif",
        "geology.gpkg",
        "faults.geojson",
    }
    assert study.area.extent == district.grid.bounds
    assert study.area.cell_size == district.grid.cell_size[0]


def test_files_read_back_as_they_were(written, district):
    """CSV, GeoPackage, GeoJSON and GeoTIFF hold the district, by their own readers."""
    samples = pd.read_csv(written / "samples.csv", dtype=district.samples.dtypes.to_dict())
    pd.testing.assert_frame_equal(samples, district.samples)
    geology = gpd.read_file(written / "geology.gpkg")
    assert geology.geom_equals_exact(district.geology.geometry, 1e-6).all()
    faults = gpd.read_file(written / "faults.geojson")
    assert faults.crs.to_epsg() == 4326
    assert faults.to_crs(district.grid.crs).length.sum() == pytest.approx(
        district.faults.length.sum(), rel=1e-6
    )
    with rasterio.open(written / "magnetics.tif") as raster:
        assert raster.nodata == -99999
        np.testing.assert_array_equal(
            raster.read(1, masked=True).filled(np.nan), district.magnetics
        )
    with rasterio.open(written / "gravity.tif") as raster:
        assert np.isnan(raster.nodata)
        np.testing.assert_array_equal(raster.read(1), district.gravity)


def test_the_truth_is_kept_apart(written, district):
    """What a study reads never names an undiscovered deposit; truth/ names them all."""
    listed = pd.read_csv(written / "deposits.csv")
    assert set(listed["name"]) == set(district.known["name"]) | set(
        district.other_occurrences["name"]
    )
    assert (listed["commodity"] == "Cu-Au").sum() == 20
    truth = gpd.read_file(written / "truth" / "all_deposits.gpkg")
    assert (~truth["known"]).sum() == 40
    for file in written.iterdir():
        if file.is_file():
            content = file.read_bytes()
            assert not any(name.encode() in content for name in district.undiscovered["name"])


def test_written_twice_is_the_same_bytes(written, district, tmp_path):
    """Equal districts give equal files, so that a run's cache holds."""
    again = write_district(district, tmp_path / "again").parent
    for file in sorted(written.rglob("*")):
        if file.is_file():
            other = again / file.relative_to(written)
            assert hashlib.sha256(file.read_bytes()).digest() == (
                hashlib.sha256(other.read_bytes()).digest()
            ), file.name


def test_another_folder_is_not_overwritten(district, written, tmp_path):
    """A folder of the user's own files is refused; an earlier district is replaced."""
    (tmp_path / "samples.csv").write_text("precious")
    with pytest.raises(StudyError, match=r"holds 'samples.csv' and is no synthetic district"):
        write_district(district, tmp_path)
    assert (tmp_path / "samples.csv").read_text() == "precious"
    with pytest.raises(StudyError, match="is a file"):
        write_district(district, tmp_path / "samples.csv")
    other = tmp_path / "other"
    shutil.copytree(written, other)
    assert write_district(district, other) == other / "study.toml"
    file = other / "study.toml"
    written = file.read_text()
    for old, new in (("footprint = 3", "footprint = 5"), ("cell_size = ", "cell_size = 1")):
        edited = written.replace(old, new)
        file.write_text(edited)
        with pytest.raises(StudyError, match=r"what was edited there would be lost\. Name a new"):
            write_district(district, other)
        assert file.read_text() == edited
    file.write_text(written[: written.index("\n# Digest")])  # an older gossan wrote none
    assert write_district(district, other) == file
    assert file.read_text() == written


# The truth table -----------------------------------------------------------------------------


def ramp():
    """100 cells scored 0 to 99, with a deposit in the cells 99, 98 (known), 90 and 5."""
    grid = Grid.from_bounds((0, 0, 1000, 1000), 100, "EPSG:32650")
    score = grid.to_dataarray(np.arange(100.0).reshape(10, 10))
    rows, columns = np.divmod([99, 98, 90, 5], 10)
    places = grid.coordinates(rows, columns)
    truth = gpd.GeoDataFrame(
        {"known": [False, True, False, False]},
        geometry=gpd.points_from_xy(*places.T),
        crs=grid.crs,
    )
    return score, truth


def test_truth_table_counts_by_hand():
    """Counts, expectation and chance on a map small enough to count on paper."""
    score, truth = ramp()
    table = truth_table(score, truth)
    assert table["undiscovered"].tolist() == [1, 1, 1, 2]
    assert table["known"].tolist() == [0, 1, 1, 1]
    assert table["threshold"].tolist() == [99, 98, 95, 90]
    np.testing.assert_allclose(table["expected"], [0.03, 0.06, 0.15, 0.30])
    np.testing.assert_allclose(table["lift"], [1 / 0.03, 1 / 0.06, 1 / 0.15, 2 / 0.3])
    # At least one of three in 1 %; at least two of three in 10 %.
    assert table["p_chance"].loc[0.01] == pytest.approx(1 - 0.99**3)
    assert table["p_chance"].loc[0.10] == pytest.approx(3 * 0.1**2 * 0.9 + 0.1**3)


def test_truth_table_knows_missing_cells_and_other_crs():
    """Missing cells are no area, a deposit on one is not found, and truth may be in degrees."""
    score, truth = ramp()
    expected = truth_table(score, truth)
    pd.testing.assert_frame_equal(truth_table(score, truth.to_crs("EPSG:4326")), expected)
    holed = score.where(score != 99)
    assert truth_table(holed, truth, areas=(0.1, 1.0))["undiscovered"].tolist() == [1, 2]


def test_truth_table_gives_a_flat_map_no_credit():
    """On a map of one score every deposit has the middle rank: none in the top tenth."""
    score, truth = ramp()
    assert truth_table(score * 0, truth)["undiscovered"].tolist() == [0, 0, 0, 0]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n_cells=st.integers(1, 100))
def test_truth_table_counts_cells_of_the_top(seed, n_cells):
    """With distinct scores, the top n hundredths of 100 cells are the n best cells."""
    score, truth = ramp()
    score[:] = np.random.default_rng(seed).permutation(100).reshape(10, 10)
    at_undiscovered = score.to_numpy().ravel()[[99, 90, 5]]
    table = truth_table(score, truth, areas=(n_cells / 100,))
    assert table["undiscovered"].item() == (at_undiscovered >= 100 - n_cells).sum()
    assert table["threshold"].item() == 100 - n_cells


def test_truth_without_known_is_an_error():
    """A table of deposits that does not say which are known is refused by its columns."""
    score, truth = ramp()
    with pytest.raises(StudyError, match="has the columns geometry: a boolean column 'known'"):
        truth_table(score, truth[["geometry"]])


def test_a_map_without_scores_is_an_error():
    """A map that is missing everywhere has no best part."""
    score, truth = ramp()
    with pytest.raises(StudyError, match="no score in any cell"):
        truth_table(score.where(score > 100), truth)


# Open surveys --------------------------------------------------------------------------------


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A tiny survey on a web server of this machine, and a cache of its own."""
    site = tmp_path / "site"
    (site / "maps").mkdir(parents=True)
    (site / "table.csv").write_text("a,b\n1,2\n")
    (site / "maps" / "one two.tif").write_bytes(b"not really a raster")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=site)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    files = {
        path.relative_to(site).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in site.rglob("*")
        if path.is_file()
    }
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(SURVEYS, "tiny", Survey("tiny", "Tiny", address, "CC0", "Nobody", files))
    monkeypatch.delenv("GOSSAN_DATA", raising=False)
    for room in ("gossan.study", "gossan.datasets.surveys"):
        monkeypatch.setattr(f"{room}.survey_cache", lambda: tmp_path / "cache")
    yield site
    server.shutdown()
    server.server_close()


def test_registry_agrees_with_the_surveys_at_hand(survey_data):
    """Every registered file is in the data folder with that SHA-256, and the counts are known."""
    assert {name: len(survey.files) for name, survey in SURVEYS.items()} == {
        "jabal-al-hasir": 2,
        "nanling": 43,
        "cloncurry": 24,
    }
    for name, survey in SURVEYS.items():
        for path, digest in survey.files.items():
            content = (survey_data / name / path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest


def test_addresses_are_pinned_to_a_commit():
    """Upstream addresses: owner, repository, full commit and path."""
    assert SURVEYS["jabal-al-hasir"].url("KSA_raw_data.parquet") == (
        "https://raw.githubusercontent.com/MinersAI/geochemical_anomaly_detection/"
        "370f72539e4c60440b8fccc3dc321958645ec187/data_files/KSA_raw_data.parquet"
    )
    assert (
        SURVEYS["nanling"]
        .url("Idw_Ag.tif")
        .endswith("/3477c14cb820c2f7a9687e2e78d6beda1cfa5ce4/data/Idw_Ag.tif")
    )
    assert (
        SURVEYS["cloncurry"]
        .url("CalculateWeights/StratNo.tif")
        .endswith("/7df6b7a23c03a289580e50cdbcf813c18e1e76f5/TESTDATA/CalculateWeights/StratNo.tif")
    )


def test_a_survey_at_hand_is_used_where_it_lies(survey_data, monkeypatch):
    """GOSSAN_DATA is looked into first, and nothing is copied."""
    monkeypatch.setenv("GOSSAN_DATA", str(survey_data))
    assert fetch_survey("jabal-al-hasir") == survey_data / "jabal-al-hasir"


def test_a_survey_at_hand_is_copied_on_request(survey_data, monkeypatch, tmp_path):
    """With a folder, all files are put there."""
    monkeypatch.setenv("GOSSAN_DATA", str(survey_data))
    folder = fetch_survey("cloncurry", folder=tmp_path / "mine")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == set(
        SURVEYS["cloncurry"].files
    )


def test_damaged_or_missing_files_are_named(survey_data, monkeypatch, tmp_path):
    """A file cut short, or not there, stops the fetch with its name and the remedy."""
    shutil.copytree(survey_data / "jabal-al-hasir", tmp_path / "jabal-al-hasir")
    monkeypatch.setenv("GOSSAN_DATA", str(tmp_path))
    path = tmp_path / "jabal-al-hasir" / "KSA_validation.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SurveyDataError, match=r"KSA_validation.parquet is not the published file"):
        fetch_survey("jabal-al-hasir")
    path.unlink()
    with pytest.raises(SurveyDataError, match=r"lacks KSA_validation.parquet .* GOSSAN_DATA"):
        fetch_survey("jabal-al-hasir")


def test_downloads_arrive_once_and_checked(web, tmp_path):
    """Files come from the web into the cache, and are there at the next call without it."""
    folder = fetch_survey("tiny", progressbar=False)
    assert tmp_path in folder.parents
    assert (folder / "maps" / "one two.tif").read_bytes() == b"not really a raster"
    (web / "table.csv").unlink()
    assert fetch_survey("tiny") == folder


def test_a_changed_file_on_the_web_is_refused(web):
    """A download with another SHA-256 is an error with its address, and is not kept."""
    (web / "table.csv").write_text("tampered")
    with pytest.raises(SurveyDataError, match=r"127.0.0.1:\d+/table.csv could not be fetched"):
        fetch_survey("tiny", progressbar=False)


def test_no_connection_names_address_and_remedy(web, monkeypatch, tmp_path):
    """Where nothing answers, the message has the address and the way without a connection."""
    gone = replace(SURVEYS["tiny"], address="http://127.0.0.1:9")
    monkeypatch.setitem(SURVEYS, "tiny", gone)
    with pytest.raises(SurveyDataError, match=r"http://127.0.0.1:9/.* set GOSSAN_DATA"):
        fetch_survey("tiny", folder=tmp_path / "here", progressbar=False)


@pytest.mark.parametrize("call", [fetch_survey, describe_survey])
def test_unknown_survey_suggests_the_nearest(call):
    """A misspelt survey is told the nearest name."""
    with pytest.raises(StudyError, match=r"no open survey 'nan-ling'\. Did you mean 'nanling'"):
        call("nan-ling")


@pytest.mark.parametrize("name", list(SURVEYS))
def test_description_has_licence_and_citation(name):
    """Every survey says its licence and whom to cite."""
    text = describe_survey(name)
    assert "Licence: " in text
    assert "Cite: " in text
    assert "http" in text


def test_learnable_but_not_trivial(district):
    """A plain forest on the true controls, shown the known deposits, finds undiscovered ones.

    Far better than chance and far from perfectly: cells are scored by a forest that was trained
    on the other half of the background, checkerboard blocks of ten cells.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    grid = district.grid
    features = district.control_fields.to_numpy().reshape(3, -1).T
    positive = np.zeros(grid.shape, dtype=bool)
    rows, columns = grid.locate(district.known.geometry.x, district.known.geometry.y)
    for north, west in zip(rows, columns, strict=True):
        positive[max(north - 1, 0) : north + 2, max(west - 1, 0) : west + 2] = True
    positive = positive.ravel()
    row, column = np.divmod(np.arange(grid.size), grid.shape[1])
    half = (row // 10 + column // 10) % 2 == 0
    score = np.empty(grid.size)
    for part in (half, ~half):
        forest = ExtraTreesClassifier(
            60, min_samples_leaf=5, class_weight="balanced", random_state=0
        )
        train = positive | part
        forest.fit(features[train], positive[train])
        score[~part] = forest.predict_proba(features[~part])[:, 1]
    table = truth_table(grid.to_dataarray(score.reshape(grid.shape)), district)
    assert table["lift"].loc[0.10] > 3
    assert table["p_chance"].loc[0.10] < 1e-4
    assert table["undiscovered"].loc[0.10] < 40


def test_registry_is_part_of_the_package():
    """The hashes travel with the package, beside the module that reads them."""
    import gossan.datasets

    assert (Path(gossan.datasets.__file__).parent / "registry.txt").is_file()
