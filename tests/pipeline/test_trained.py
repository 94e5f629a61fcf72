"""A folder given for a model's: what there is instead is told, and the way to a model."""

from pathlib import Path

import pytest

from gossan.exceptions import StudyError
from gossan.io import write_json
from gossan.pipeline.trained import trained_model


def refusal(path: Path) -> str:
    with pytest.raises(StudyError) as told:
        trained_model(path)
    return str(told.value)


@pytest.fixture
def area(tmp_path: Path) -> Path:
    """A folder of surveys: one that was run twice, one that was not."""
    for study in ("ridge", "valley"):
        (tmp_path / study).mkdir()
        (tmp_path / study / "study.toml").write_text("")
    for run in ("first", "second"):
        write_json(tmp_path / "ridge" / "runs" / run / "model" / "model.json", {})
    return tmp_path


@pytest.mark.parametrize("given", [".", "ridge", "ridge/runs", "ridge/study.toml"])
def test_the_runs_below_a_folder_are_named(area: Path, given: str) -> None:
    """A study's folder, its file, its runs, or the folder of all surveys."""
    runs = area / "ridge" / "runs"
    told = refusal(area / given)
    assert f"There are 2 runs in it: give one of {runs / 'first'}, {runs / 'second'}." in told


def test_a_file_of_the_model_leads_to_its_folder(area: Path) -> None:
    """Such as the largest of the files there."""
    folder = area / "ridge" / "runs" / "first" / "model"
    (folder / "model.skops").write_bytes(b"")
    assert f"Its folder holds one: give {folder}." in refusal(folder / "model.skops")


def test_a_study_that_was_not_run_is_told_to_be_run(area: Path) -> None:
    """With the command, and where the model will lie."""
    valley = area / "valley"
    told = refusal(valley)
    assert "It holds a study that was not run yet" in told
    assert f"`gossan run {valley}` leaves a model in {valley / 'runs'}." in told
    (area / "ridge").rename(area.with_name("elsewhere"))
    for name in ("dome", "plain"):
        (area / name).mkdir()
        (area / name / "study.toml").write_text("")
    assert "It holds 3 studies, none of which has been run" in refusal(area)


def test_a_run_folder_without_a_model_names_its_study(area: Path) -> None:
    """As `gossan regions` leaves one."""
    run = area / "valley" / "runs" / "valley"
    write_json(run / ".stages" / "study.json", {"name": "valley", "study": "../../study.toml"})
    told = refusal(run)
    assert f"It is the run folder of {area / 'valley' / 'study.toml'}, without a model" in told


def test_a_folder_that_is_not_there_leads_to_the_nearest(area: Path) -> None:
    """A misspelt name."""
    told = refusal(area / "ridge" / "runs" / "frist")
    assert "frist does not exist. Did you mean 'first'?" in told


def test_any_other_folder_is_told_what_is_wanted(tmp_path: Path) -> None:
    """Nothing there leads on."""
    told = refusal(tmp_path)
    assert told.endswith("such as runs/<name>. `gossan run` leaves one there.")
