"""Whose a run folder is."""

import shutil

import pytest

from gossan.exceptions import StudyError
from gossan.pipeline.folder import claim
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
