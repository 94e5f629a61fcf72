"""`gossan explain` answers of the very map that a run left, or says what to do."""

import re
import shlex
import shutil

import pytest

# The district has an element below detection in half of its samples: left out, with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")

PLACE = ("--at", 403000, 2803000)


@pytest.fixture
def folder(study_file):
    return next((study_file.parent / "runs").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cells", 50), "give --maps too"),
        ((*PLACE, "--cells", 50), "give --maps too"),
        (("--explainer", "shap"), "give --at EASTING NORTHING or --maps too"),
        (("--maps", "--layers", 3), "--maps maps every one"),
        (("--maps", *PLACE), "give one of them"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(gossan, study_file, options, message):
    """Whoever gives it takes the answer for another one than it is."""
    refused = gossan("explain", study_file, *options)
    assert refused.returncode == 1
    assert message in refused.stderr
    assert refused.stdout == ""


def cut_map(folder):
    content = (folder / "prospectivity.tif").read_bytes()
    (folder / "prospectivity.tif").write_bytes(content[: len(content) // 2])


def edit_map(folder):
    shutil.copy(folder / "labels.tif", folder / "prospectivity.tif")


def lose_model(folder):
    (folder / "model" / "model.skops").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut_map, "prospectivity.tif is not as the run left it"),
        (edit_map, "prospectivity.tif is not as the run left it"),
        (lose_model, "model.skops is missing"),
    ],
)
def test_a_map_or_model_that_the_run_did_not_leave_is_refused(
    gossan, study_file, folder, spoil, message
):
    """The file is named, and the command that mends it; then it is explained."""
    spoil(folder)
    refused = gossan("explain", study_file, *PLACE)
    assert refused.returncode == 1
    assert message in refused.stderr
    assert f"`gossan run {study_file}` makes it anew." in refused.stderr
    assert gossan("run", study_file).returncode == 0
    assert gossan("explain", study_file, *PLACE).returncode == 0


def test_a_place_outside_is_told_in_whole_coordinates(gossan, study_file):
    """Easting and northing can be compared with the area's to the metre."""
    refused = gossan("explain", study_file, "--at", 1234567, 2803000.5)
    assert refused.returncode == 1
    assert "1234567 E, 2803000.5 N is no cell of the study" in refused.stderr
    assert "400000 to 406000 E and 2800000 to 2806000 N" in refused.stderr


def test_a_place_in_degrees_is_told_in_the_studys_own_coordinates(gossan, study_file):
    """What a GPS shows, either way round, and what to give instead: that is explained."""
    refused = gossan("explain", study_file, "--at", 116.0284, 25.3329)
    assert refused.returncode == 1
    east, north = re.search(r"it is at (\d+) (\d+): give these", refused.stderr).groups()
    assert gossan("explain", study_file, "--at", east, north).returncode == 0


def test_the_report_says_how_to_ask_why(gossan, study_file, folder, monkeypatch):
    """The command that it names works as it stands, in the study's folder."""
    report = (folder / "report.html").read_text()
    command = re.search("<code>gossan (explain .*?)</code>", report)[1]
    monkeypatch.chdir(study_file.parent)
    told = gossan(*shlex.split(command))
    assert told.returncode == 0, told.stderr
    score = re.search(
        r'<span class="value">([\d.]+)</span>', report[report.index("easting</th>") :]
    )
    assert f"Score {score[1]}" in told.stdout
