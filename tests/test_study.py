"""The study file: every setting checked, every error with its place and remedy."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossan.exceptions import StudyError
from gossan.study import (
    Raster,
    Study,
    find_survey,
    parse_study,
    read_study,
    survey_folder,
)

MINIMAL = """
name = "hills"
[area]
crs = "EPSG:32650"
cell_size = 500
[deposits]
file = "deposits.csv"
[[rasters]]
name = "magnetics"
file = "mag.tif"
"""


def _parse(text: str) -> Study:
    return parse_study(tomllib.loads(text), Path("hills/study.toml"))


def _complaint(text: str) -> str:
    with pytest.raises(StudyError) as caught:
        _parse(text)
    return str(caught.value)


def test_a_minimal_study_fills_in_the_documented_defaults() -> None:
    """METHODS.md: footprint 3 × 3, half the limit, 40 % censored, clr, 12 neighbours, power 2."""
    study = _parse(MINIMAL + '[[samples]]\nname = "till"\nfile = "till.csv"\n')
    till = study.samples[0]
    assert study.deposits.footprint == 3
    assert (till.replacement, till.max_censored, till.transform) == ("half-limit", 0.4, "clr")
    assert (till.neighbors, till.power, till.censored) == (12, 2.0, "none")
    assert study.validation.folds == 6


def test_layers_come_in_the_order_samples_rasters_vectors() -> None:
    """The order of the stack does not depend on the order in the file."""
    study = _parse(
        MINIMAL
        + '[[vectors]]\nname = "faults"\nfile = "f.shp"\n[[samples]]\nname = "till"\nfile = "t.csv"'
    )
    assert [source.name for source in study.sources] == ["till", "magnetics", "faults"]


def test_settings_are_frozen() -> None:
    """A study cannot change under a running pipeline."""
    with pytest.raises(ValueError, match="frozen"):
        _parse(MINIMAL).seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("cell_size", "cel_size", "unknown key 'cel_size' in [area]. Did you mean 'cell_size'?"),
        ("file = ", "path = ", "[deposits] lacks the key 'file': table, vector file, or raster"),
        ('name = "hills"', "", "the study lacks the key 'name'"),
        ('[area]\ncrs = "EPSG:32650"\ncell_size = 500', "", "the study lacks the table [area]"),
        ("[area]", "[aera]", "unknown key 'aera' in the study. Did you mean 'area'?"),
        ("500", '"500"', "[area]: 'cell_size' is '500': should be a valid number"),
        ("500", "-500", "[area]: 'cell_size' is -500: should be greater than 0"),
        ("500", "[500, -1]", "[area]: 'cell_size' is [500, -1]: should be greater than 0"),
        ("500", "inf", "[area]: 'cell_size' is inf: should be a finite number"),
        ("500", "true", "[area]: 'cell_size' is True: should be a valid number"),
        ("500", "500\nextent = [0, 0, 9]", "'extent' is [0, 0, 9]: too few values"),
        ("500", "500\nextent = [9, 0, 0, 9]", "[west, south, east, north], with west < east"),
        ("500", '500\nlike = "dem.tif"', "[area]: 'like' already says cell size"),
        ("cell_size = 500", "", "[area]: give 'crs' and 'cell_size', or 'like'"),
        ("EPSG:32650", "EPSG:4326", "EPSG:4326 (WGS 84) is not projected"),
        ("EPSG:32650", "EPSG:4978", "EPSG:4978 (WGS 84) is not projected"),
        ("EPSG:32650", "UTM 50", "'UTM 50' is no coordinate reference system"),
        ('"hills"', '"../hills"', "'../hills' cannot name the run folder"),
        ("[[rasters]]", "[rasters]", "head each with [[rasters]] on a line of its own"),
        ("mag.tif", 'mag.tif"\nmeasure = "categry', "Did you mean 'category'?"),
        ("mag.tif", 'mag.tif"\nbnd = "1', "in [[rasters]] number 1 (magnetics)"),
        (
            "mag.tif",
            'mag.tif"\n[[vectors]]\nname = "magnetics"\nfile = "f',
            "two sources are named",
        ),
        ("deposits.csv", 'd.csv"\nfootprint = 4\nname = "n', "[deposits]: footprint is 4"),
        ("deposits.csv", 'd.csv"\nfootprint = 3.5\nname = "n', "'footprint' is 3.5"),
    ],
)
def test_a_mistake_is_named_with_place_value_and_remedy(old: str, new: str, said: str) -> None:
    """One mistake in a sound study: the message says where, what, and what to do."""
    assert old in MINIMAL
    complaint = _complaint(MINIMAL.replace(old, new, 1))
    assert complaint.startswith("hills/study.toml cannot be used:")
    assert said in complaint


def test_a_study_without_evidence_is_refused() -> None:
    """Deposits alone make no map."""
    text = MINIMAL.replace('[[rasters]]\nname = "magnetics"\nfile = "mag.tif"\n', "")
    assert "no evidence: add at least one [[samples]]" in _complaint(text)


@pytest.mark.parametrize(
    ("table", "parameter", "remedy"),
    [
        ("method", "random_state = 3", "`seed`, at the top of the study file"),
        ("negatives", "random_state = 3", "`seed`, at the top of the study file"),
        ("method", "screen = 2.58", "into [method] itself"),
        ("method", 'name = "svm"', "`name` in [method]"),
    ],
)
def test_a_parameter_that_has_its_own_place_is_sent_there(
    table: str, parameter: str, remedy: str
) -> None:
    """The seed and the like are no settings of the estimator, for all that it takes them."""
    complaint = _complaint(MINIMAL + f"[{table}]\nparameters = {{ {parameter} }}\n")
    assert f"[{table}]: 'parameters'" in complaint
    assert parameter.split(" ")[0] in complaint
    assert remedy in complaint


def test_another_method_cannot_bring_its_own_seed() -> None:
    """In Python too the study's seed is the only one."""
    with pytest.raises(StudyError, match="`seed`"):
        _parse(MINIMAL).with_method("extra-trees", random_state=3)


def test_every_mistake_is_reported_at_once_and_once() -> None:
    """Three mistakes, among them one that fits neither branch of a union, are three lines."""
    text = MINIMAL.replace("500", '"a"').replace("[area]", "seed = -1\n[area]")
    complaint = _complaint(text + '[validation]\ndead_zone = "atuo"\n').splitlines()[1:]
    assert len(complaint) == 3
    assert sum("'seed' is -1" in line for line in complaint) == 1
    assert sum("Did you mean 'auto'?" in line for line in complaint) == 1
    assert not any("branch" in line or "literal[" in line for line in complaint)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*Study.model_fields, *Raster.model_fields, "x"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_no_content_of_a_study_file_is_a_traceback(settings: Any) -> None:
    """Whatever tables, lists and values stand in the file: a study, or a StudyError."""
    settings = settings if isinstance(settings, dict) else {"area": settings, "samples": settings}
    try:
        study = parse_study(settings, Path("study.toml"))
    except StudyError:
        return
    assert study.sources


def test_boolean_and_number_filters_keep_their_type() -> None:
    """``where = { checked = true }`` asks for true, not for 1."""
    study = _parse(MINIMAL + '[deposits.where]\nchecked = true\nclass = [1, 2.5, "a"]\n')
    assert study.deposits.where["checked"] is True
    assert study.deposits.where["class"] == [1, 2.5, "a"]


def test_reading_takes_the_file_or_its_folder(tmp_path: Path) -> None:
    """``gossan run my-area/`` and ``gossan run my-area/study.toml`` are the same."""
    (tmp_path / "study.toml").write_text(MINIMAL)
    for path in (tmp_path, tmp_path / "study.toml"):
        study = read_study(path)
        assert study.path == tmp_path / "study.toml"
        assert study.folder == tmp_path.resolve()


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    """Some editors save UTF-8 with a mark in front."""
    (tmp_path / "study.toml").write_text("\ufeff" + MINIMAL, encoding="utf-8")
    assert read_study(tmp_path).name == "hills"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = hills", "no valid TOML"),
        (b'name = "d:\\data\\x"', "paths are written with /"),
        (b'name = "\xff\xfe"', "no valid TOML"),
        (b"", "the study lacks the table [area]"),
    ],
)
def test_a_broken_file_is_no_traceback(tmp_path: Path, content: bytes, said: str) -> None:
    """Unquoted text, backslashes, another encoding and an empty file each get their message."""
    (tmp_path / "study.toml").write_bytes(content)
    with pytest.raises(StudyError) as caught:
        read_study(tmp_path)
    assert str(tmp_path / "study.toml") in str(caught.value)
    assert said in str(caught.value)


def test_a_missing_study_says_how_to_get_one(tmp_path: Path) -> None:
    """`gossan new` is the remedy."""
    with pytest.raises(StudyError, match=r"Study file not found.*gossan new"):
        read_study(tmp_path / "nowhere.toml")


def test_files_are_found_beside_the_study(tmp_path: Path) -> None:
    """Names are relative to the study's folder; wildcards give every match in order."""
    folder = tmp_path / "block [7]"
    (folder / "mag").mkdir(parents=True)
    for name in ("mag/b.tif", "mag/a.tif", "deposits.csv", "map[1].tif"):
        (folder / name).touch()
    (folder / "study.toml").write_text(MINIMAL.replace("mag.tif", "mag/*.tif"))
    study = read_study(folder)
    names = [path.name for path in study.files()]
    assert names == ["deposits.csv", "a.tif", "b.tif"]
    assert [path.name for path in study.resolve("map[1].tif")] == ["map[1].tif"]
    pattern = str(tmp_path / "*" / "mag" / "?.tif")
    assert [path.name for path in study.resolve(pattern)] == ["a.tif", "b.tif"]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("deposit.csv", "Did you mean 'deposits.csv'?"),
        ("mags/*.tif", "does not exist"),
        ("zzzzzzzzzzz.nc", "holds 1 other file."),
    ],
)
def test_a_missing_file_names_the_nearest(tmp_path: Path, file: str, said: str) -> None:
    """A misspelt file, a missing folder and an unknown name each get their hint."""
    study = parse_study(tomllib.loads(MINIMAL), tmp_path / "study.toml")
    (tmp_path / "deposits.csv").touch()
    with pytest.raises(StudyError, match="file not found") as caught:
        study.resolve(file)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_an_open_survey_is_found_under_gossan_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``survey = "hills"`` makes file names relative to the survey's folder."""
    monkeypatch.setenv("GOSSAN_DATA", str(tmp_path))
    (tmp_path / "hills").mkdir()
    study = parse_study(tomllib.loads('survey = "hills"\n' + MINIMAL), Path("study.toml"))
    assert study.folder == tmp_path / "hills"
    assert find_survey("valleys", tmp_path) is None
    with pytest.raises(StudyError, match="gossan fetch valleys"):
        survey_folder("valleys", tmp_path)


def test_an_open_survey_is_found_in_a_shared_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``shared/data`` beside any folder above the study serves every study below."""
    monkeypatch.delenv("GOSSAN_DATA", raising=False)
    (tmp_path / "shared" / "data" / "hills").mkdir(parents=True)
    (tmp_path / "project" / "examples").mkdir(parents=True)
    found = find_survey("hills", tmp_path / "project" / "examples")
    assert found == tmp_path / "shared" / "data" / "hills"
