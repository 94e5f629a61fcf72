"""The tutorial, followed to the letter on the real survey."""

import re
import runpy
from pathlib import Path

import pytest

from gossan import io

DOCS = Path(__file__).resolve().parents[2] / "docs"
TUTORIAL = runpy.run_path(str(DOCS / "make_tutorial.py"))

# One occurrence is recorded twice: merged, with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")


def test_every_command_of_the_tutorial_works(gossan, survey_data, tmp_path, monkeypatch):
    """In its order, with its changes of the study file; the report then has all chapters."""
    monkeypatch.setenv("GOSSAN_DATA", str(survey_data))
    monkeypatch.chdir(tmp_path)
    followed = []

    def run(words):
        assert words[0] == "gossan"
        result = gossan(*words[1:])
        assert result.returncode == 0, result.stderr
        followed.append(words[1])

    TUTORIAL["follow"](tmp_path, run)
    assert followed == [
        *("fetch", "new", "check", "regions", "run", "explain", "analogues", "compare", "run")
    ]
    folder = tmp_path / TUTORIAL["RUN"]
    evaluation = io.read_json(folder / "evaluation.json")
    assert evaluation["n_deposits"] == 36  # 38 metals, two near another
    report = (folder / "report.html").read_text(encoding="utf-8")
    for chapter in ("regions", "analogues", "comparison", "targets", "held-out"):
        assert f'<section id="{chapter}">' in report
    second = io.read_json(folder.parent / "second" / "evaluation.json")
    assert second["method"] == "weights-of-evidence"


def test_the_tutorial_shows_what_its_script_made():
    """Each quoted output and picture is there."""
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    quoted = set(re.findall(r"tutorial-([a-z]+)\.txt", page))
    assert {"check", "regions", "run", "explain", "analogues", "compare"} == quoted
    for name in quoted:
        assert (DOCS / "tables" / f"tutorial-{name}.txt").stat().st_size > 0
    for picture in re.findall(r"figures/(tutorial-[a-z-]+\.png)", page):
        assert (DOCS / "figures" / picture).exists()


def test_settings_take_the_place_of_their_table():
    """Comments and other tables stay; a table that is not there is refused."""
    with_settings = TUTORIAL["with_settings"]
    study = 'name = "x"\n\n[a]\n# y = 1\nz = [\n  2\n]\n\n[[b]]\nc = 1\n'
    assert with_settings(study, "[a]\ny = 3\n") == 'name = "x"\n\n[a]\ny = 3\n\n[[b]]\nc = 1\n'
    with pytest.raises(ValueError, match=r"no table \[d\]"):
        with_settings(study, "[d]\n")
