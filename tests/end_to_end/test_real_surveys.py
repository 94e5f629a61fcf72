"""Real surveys from their example studies, at the settings that a user would have."""

import json
import shutil
from pathlib import Path

import pytest

from gossan import io
from gossan.pipeline import run_study
from gossan.study import read_study

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# One occurrence of jabal-al-hasir and one of cloncurry is recorded twice: merged, with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")


def example(survey: str, folder: Path, **changes: str):
    """An example study with some of its text changed, to be run in a folder of its own."""
    text = (EXAMPLES / survey / "study.toml").read_text()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"


def quick(text: str = "") -> tuple[str, str]:
    """Settings that leave the method and the folds as they are, with fewer trees and draws."""
    return ("[deposits]", "[negatives]\ndraws = 2\n\n[deposits]" + text)


def test_nanling_reaches_the_published_skill(survey_data, tmp_path, monkeypatch):
    """Held out, with the default method: AUC against the background of at least 0.95."""
    monkeypatch.setenv("GOSSAN_DATA", str(survey_data))
    folder = run_study(read_study(example("nanling", tmp_path)))
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["n_deposits"] == 21  # two share a cell with another
    assert evaluation["n_cells"] == 20_460
    assert evaluation["held_out"]["auc_background"] >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    ("survey", "changes"),
    [
        ("jabal-al-hasir", {"cells": ("cell_size = 500", "cell_size = 2000")}),
        ("cloncurry", {"cells": ("cell_size = 500", "cell_size = 2000")}),
        ("murchison", {"cells": ("cell_size = 1000", "cell_size = 4000")}),
    ],
)
def test_example_runs_to_the_report(survey, changes, survey_data, tmp_path, monkeypatch):
    """Each example runs, here on coarser cells, and leaves map, targets, figures and report."""
    monkeypatch.setenv("GOSSAN_DATA", str(survey_data))
    folder = run_study(read_study(example(survey, tmp_path, quick=quick(), **changes)))
    assert io.read_map(folder / "prospectivity.tif").notnull().any()
    assert len(io.read_targets(folder / "targets.gpkg"))
    assert survey in (folder / "report.html").read_text()


def test_a_geologist_starts_from_a_folder_of_files(gossan, survey_data, tmp_path):
    """Fetch → new → check, on the files of a real survey, then a run of the drafted study."""
    folder = tmp_path / "hasir"
    assert gossan("fetch", "jabal-al-hasir", "--folder", folder).returncode == 0
    assert gossan("new", folder).returncode == 0
    checked = gossan("check", folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    study = folder / "study.toml"
    text = study.read_text()
    assert 'crs = "EPSG:32638"' in text
    study.write_text(text.replace("cell_size = 500", "cell_size = 2000"))
    result = gossan("run", study)
    assert result.returncode == 0, result.stderr
    assert "Held out" in result.stdout
    shutil.rmtree(folder)
