"""A geologist asks more of a finished run, and the report tells all of it."""

import html
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

import gossan as gs
from gossan import io

pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")
CHAPTERS = {
    "regions": "What kinds of ground there are",
    "search": "Ground like ",
    "comparison": "Would another method do better?",
}


def chapters(report):
    text = report.read_text(encoding="utf-8")
    return {name for name, title in CHAPTERS.items() if f"{title}" in text}


def test_what_is_asked_becomes_a_chapter(gossan, study_file):
    """Until the study changes: then what was found in older evidence is shown no more."""
    name = str(gs.read_deposits(gs.read_study(study_file))["name"].iloc[0])
    asked = {
        "regions": ("regions", study_file, "--count", "3"),
        "search": ("analogues", study_file, "--like", name),
        "comparison": (
            *("compare", study_file, "--methods", "weights-of-evidence,logistic-regression"),
            *("--negatives", "default", "--no-controls", "--draws", "1"),
        ),
    }
    early = gossan(*asked["regions"])
    assert early.returncode == 0, early.stderr
    assert "A chapter of the report" not in early.stdout  # there is none yet
    assert gossan("run", study_file).returncode == 0
    folder = next((study_file.parent / "runs").iterdir())
    report = folder / "report.html"
    assert chapters(report) == {"regions"}
    assert "Where ground like the deposits lies" in report.read_text(encoding="utf-8")
    for chapter in ("search", "comparison"):
        result = gossan(*asked[chapter])
        assert result.returncode == 0, result.stderr
        assert f"A chapter of the report: {report}" in result.stdout.replace("\n", "")
        assert chapter in chapters(report)
    whole = report.read_bytes()
    assert gossan("run", study_file).returncode == 0
    assert report.read_bytes() == whole
    (folder / "comparison.json").write_text('{"workflows": 5}')
    assert gossan("run", study_file).returncode == 0
    assert chapters(report) == {"regions", "search"}  # nobody made that comparison
    assert gossan(*asked["comparison"]).returncode == 0
    assert report.read_bytes() == whole
    settings = study_file.read_text()
    study_file.write_text(settings.replace("n_estimators = 20", "n_estimators = 10"))
    assert gossan("run", study_file).returncode == 0
    assert chapters(report) == {"regions", "search"}  # the comparison was of another method
    study_file.write_text(settings.replace("footprint = 3", "footprint = 1"))
    assert gossan("run", study_file).returncode == 0
    assert chapters(report) == set()


def test_a_comparison_without_the_studys_own_method_says_so(gossan, study_file):
    """On the terminal, on its page and in the report; the command given there mends it."""
    missed = "The study's own method, extra-trees, is not among those compared"
    named = "--methods weights-of-evidence,logistic-regression --negatives default"
    assert gossan("run", study_file).returncode == 0
    folder = next((study_file.parent / "runs").iterdir())
    pages = [folder / "comparison.html", folder / "report.html"]
    told = gossan("compare", study_file, *named.split(), "--no-controls", "--draws", "1")
    assert told.returncode == 0, told.stderr
    assert f"{missed}: " in told.stdout
    assert "against weights-of-evidence × default instead" in told.stdout
    options = named.replace("--methods ", "--methods extra-trees,") + " --draws 1 --no-controls"
    for page in pages:
        text = html.unescape(page.read_text(encoding="utf-8"))
        assert missed in text
        assert f"<code>gossan compare study.toml {options}</code>" in text
    (command,) = re.findall(r"^  gossan (compare .*)$", told.stdout, re.M)
    assert command == f"compare {shlex.quote(str(study_file))} {options}"
    told = gossan(*shlex.split(command))
    assert told.returncode == 0, told.stderr
    assert "reference: extra-trees × default" in told.stdout
    assert all(missed not in said for said in (told.stdout, *(p.read_text() for p in pages)))


def test_what_was_found_is_told_where_the_report_is_of_another_study(gossan, study_file):
    """A run, then a method that cannot be: regions are of the evidence, which is there."""
    assert gossan("run", study_file).returncode == 0
    report = next((study_file.parent / "runs").iterdir()) / "report.html"
    before = report.read_bytes()
    study_file.write_text(study_file.read_text().replace("n_estimators = 20", "n_trees = 20"))
    result = gossan("regions", study_file, "--count", "3")
    assert result.returncode == 0, result.stderr
    assert "3" in result.stdout
    assert "A chapter of the report" not in result.stdout
    assert report.read_bytes() == before


def test_files_that_were_edited_make_no_report(gossan, study_file):
    """What was found is told; what the run left is believed only as the run left it."""
    assert gossan("run", study_file).returncode == 0
    folder = next((study_file.parent / "runs").iterdir())
    before = (folder / "report.html").read_bytes()
    evaluation = io.read_json(folder / "evaluation.json")
    evaluation["held_out"]["auc_background"] = 0.999
    io.write_json(folder / "evaluation.json", evaluation)
    result = gossan("regions", study_file, "--count", "3")
    assert result.returncode == 0, result.stderr
    assert "halves of the area" in result.stdout
    told = " ".join(result.stderr.split())
    assert "The report was not renewed" in told
    assert "evaluation.json is not as the run left it: `gossan run` makes it" in told
    assert (folder / "report.html").read_bytes() == before


def test_a_terminal_of_few_letters_shows_what_it_can(study_file):
    """A square kilometre in ASCII is no error."""
    result = subprocess.run(
        [sys.executable, "-m", "gossan.cli", "regions", study_file, "--count", "3"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "km?" in result.stdout


def test_commands_of_a_run_elsewhere_lead_there(gossan, study_file):
    """`--output` is named in whatever the report suggests to type, as seen from the study file."""
    elsewhere = study_file.parent / "second"
    assert gossan("run", study_file, "--output", elsewhere).returncode == 0
    text = (elsewhere / "report.html").read_text(encoding="utf-8")
    commands = re.findall(r"gossan (?:explain|regions|analogues|compare) study\.toml[^<]*", text)
    assert len(commands) >= 4
    assert all("--output second" in command for command in commands)


def test_likeness_is_judged_as_any_method_is(gossan, study_file):
    """By the ranks that `compare` gives the method of that name, on the same folds."""
    assert gossan("run", study_file).returncode == 0
    folder = next((study_file.parent / "runs").iterdir())
    told = io.read_json(folder / ".stages" / "likeness-result.json")
    result = gossan(
        *("compare", study_file, "--methods", "analogues", "--negatives", "default"),
        "--no-controls",
    )
    assert result.returncode == 0, result.stderr
    (row, *_) = io.read_json(folder / "comparison.json")["workflows"]
    assert told["held_out"]["auc_background"] == pytest.approx(row["auc_background"], abs=1e-9)
    assert len(told["deposits"]) == io.read_json(folder / "evaluation.json")["n_deposits"]
    ranks = np.array([deposit["rank"] for deposit in told["deposits"]])
    assert told["held_out"]["auc_background"] == pytest.approx(ranks.mean(), abs=1e-6)
    assert all(deposit["alike"] != deposit["name"] for deposit in told["deposits"])
