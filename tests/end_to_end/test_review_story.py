"""A geologist reviews an annotation: decisions are kept, wherever the file lies."""

import shutil
from pathlib import Path

import pyogrio
import pytest

from gossan import io
from gossan.datasets import synthetic_district, write_district

SETTINGS = '\n[negatives]\nsampler = "recursive"\nparameters = { max_rounds = 1, n_draws = 5 }\n'


def decide(file: Path, row: int, word: str) -> None:
    """Edit one row as a GIS does."""
    frame = pyogrio.read_dataframe(file, layer="annotation")
    frame.loc[row, ["decision", "by"]] = [word, "Ann"]
    pyogrio.write_dataframe(frame, file, layer="annotation")


@pytest.fixture
def study(tmp_path):
    """A study of 2,000 cells that asks for recursive negatives."""
    file = write_district(synthetic_district(0, shape=(40, 50), n_samples=150), tmp_path)
    file.write_text(file.read_text() + SETTINGS)
    return file


def test_decisions_survive_wherever_the_file_lies(study, gossan):
    """Edited in the run folder, then in a named file; what the study does not read is not lost."""
    output = study.parent / "run"
    annotation, named = output / "annotation.gpkg", study.parent / "my-review.gpkg"

    def annotate():
        return gossan("annotate", study, "--output", output)

    assert annotate().returncode == 0
    shutil.copy(annotation, named)
    decide(annotation, 100, "accept")
    study.write_text(study.read_text() + 'annotation = "my-review.gpkg"\n')
    refused = annotate()
    assert refused.returncode != 0
    said = " ".join(refused.stderr.split())
    assert "holds 1 decision(s) that are not in 'my-review.gpkg'" in said

    shutil.copy(annotation, named)
    assert annotate().returncode == 0
    signed = io.read_annotation(annotation).query("by == 'Ann'")
    assert signed["decision"].tolist() == ["accept"]


def test_a_comparison_of_nothing_is_refused(study, gossan):
    """An empty list of methods is a user's slip, told without a traceback."""
    said = gossan("compare", study, "--methods", ",")
    assert said.returncode != 0
    assert "No method is named" in said.stderr
    assert "Traceback" not in said.stderr
