"""Whose a run folder is."""

import shutil

import pytest

from gossan.exceptions import StudyError
from gossan.pipeline.folder import RunFolder, claim
from gossan.study import read_study

STUDY = """
name = "moved"
[area]
crs = "EPSG:32650"
cell_size = 100
[deposits]
file = "deposits.csv"
[[rasters]]
name = "magnetics"
file = "magnetics.tif"
"""


@pytest.fixture
def study_file(tmp_path):
    file = tmp_path / "area" / "study.toml"
    file.parent.mkdir()
    file.write_text(STUDY)
    return file


def test_a_study_moved_with_its_runs_keeps_them(study_file, tmp_path):
    """People rename project folders; the run inside is still the same study's."""
    claim(study_file.parent / "runs" / "moved", read_study(study_file))
    moved = tmp_path / "2027" / "area"
    moved.parent.mkdir()
    shutil.move(study_file.parent, moved)
    claim(moved / "runs" / "moved", read_study(moved / "study.toml"))


def test_a_study_of_the_same_name_elsewhere_is_another(study_file, tmp_path):
    """A name alone does not make a run folder one's own."""
    claim(tmp_path / "run", read_study(study_file))
    other = tmp_path / "other" / "study.toml"
    other.parent.mkdir()
    other.write_text(STUDY)
    with pytest.raises(StudyError, match="another study"):
        claim(tmp_path / "run", read_study(other))


@pytest.mark.parametrize("content", ["[1]", '{"name": "mov', "null"])
def test_a_damaged_claim_is_named_with_its_remedy(study_file, tmp_path, content):
    """A file of gossan's own that holds something else ends in a message."""
    marker = tmp_path / "run" / ".stages" / "study.json"
    marker.parent.mkdir(parents=True)
    marker.write_text(content)
    with pytest.raises(StudyError, match=r"study\.json is damaged.*remove that one file"):
        claim(tmp_path / "run", read_study(study_file))
    marker.unlink()
    claim(tmp_path / "run", read_study(study_file))


def test_what_a_stage_left_is_withdrawn_and_nothing_else(tmp_path):
    """Files of the user's, and of gossan's that were edited since, stay."""
    run = RunFolder(tmp_path, lambda *_: None)
    names = ["left.txt", "edited.txt", "folder"]
    with run.making("stage", "key", names):
        (tmp_path / "folder").mkdir()
        for name in ("left.txt", "edited.txt", "folder/part.txt"):
            (tmp_path / name).write_text("as it was left")
    (tmp_path / "edited.txt").write_text("a geologist's notes")
    (tmp_path / "own.txt").write_text("the user's")
    run.withdraw("stage", [*names, "own.txt", "never.txt"])
    assert run.made_of("stage") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [".stages", "edited.txt", "own.txt"]
