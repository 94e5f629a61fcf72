"""What is said on the terminal, whatever the user's folders and the survey's names are called."""

import re

import pytest

from gossan import __version__, io

# The district has an element below detection in half of its samples: left out, with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")


@pytest.fixture
def folder(study_file):
    return next((study_file.parent / "runs").iterdir())


def test_paths_with_brackets_are_printed_whole(gossan, study_file, folder):
    """A folder called [bold]x is a folder, and no markup."""
    compared = ("--methods", "weights-of-evidence", "--negatives", "random", "--no-controls")
    for command, file in (
        (("run", study_file), "report.html"),
        (("explain", study_file, "--maps", "--cells", "20"), "contributions.png"),
        (("compare", study_file, *compared, "--draws", "1", "--jobs", "1"), "comparison.csv"),
    ):
        told = gossan(*command)
        assert told.returncode == 0, told.stderr
        assert str(folder / file) in told.stdout
    told = gossan("new", study_file.parent, "--force")
    assert f"Wrote {study_file}" in told.stdout
    assert f"gossan check {study_file}" in told.stdout


def test_the_version_is_told(gossan):
    """As any command line does, without a command."""
    told = gossan("--version")
    assert told.returncode == 0
    assert told.stdout == f"gossan {__version__}\n"


def test_a_check_says_how_to_read_its_table(gossan, study_file):
    """Every column, with what is good and what is not."""
    told = gossan("check", study_file)
    table, _, legend = told.stdout.partition("\ncoverage: ")
    for column in ("resolution_ratio", "cluster", "nugget", "auc", "z"):
        assert column in table
        assert f"{column}: " in legend


def test_control_characters_of_the_survey_stay_off_terminal_and_report(gossan, study_file, folder):
    """An escape sequence in a deposit's or a layer's name is shown, not obeyed."""
    place = io.read_targets(folder / "targets.gpkg").iloc[0][["easting", "northing"]]
    said = [
        gossan("run", study_file),
        gossan("explain", study_file, "--at", *place, "--layers", "60"),
        gossan("explain", study_file, "--maps", "--cells", "20"),
        gossan("check", study_file),
    ]
    shown = "".join(told.stdout + told.stderr for told in said)
    shown += (folder / "report.html").read_text()
    assert "magnetics�]0;x�" in shown
    assert "�[31mGully" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)


def test_the_survey_is_warned_of_once_and_libraries_never(capsys):
    """Even where a thread has put back filters that let everything through."""
    from gossan.cli.terminal import warner
    from gossan.exceptions import SurveyDataWarning

    show = warner()
    for message in ("two deposits in one cell", "two deposits in one cell", "no units"):
        show(SurveyDataWarning(message), SurveyDataWarning, "labels.py", 1)
    show("will be deprecated", DeprecationWarning, "affine.py", 1)
    told = capsys.readouterr().err
    assert told.splitlines() == ["Warning: two deposits in one cell", "Warning: no units"]
