"""A geologist reviews an annotation: decisions are kept, wherever the file lies."""

import shutil
import sqlite3
from pathlib import Path

import pandas as pd
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


def test_a_file_that_another_program_has_open_is_not_replaced(study, gossan):
    """QGIS keeps what it saves in a -wal file beside: replaced below it, its next save is lost."""
    assert gossan("annotate", study).returncode == 0
    annotation = next((study.parent / "runs").iterdir()) / "annotation.gpkg"
    editor = sqlite3.connect(annotation)
    editor.execute("PRAGMA journal_mode = WAL")
    for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
        editor.create_function(name, 1, lambda _: 0)
    editor.execute("UPDATE annotation SET decision = 'accept' WHERE fid = 1")
    editor.commit()
    before = annotation.read_bytes()
    refused = gossan("annotate", study)
    assert refused.returncode == 1
    assert "annotation.gpkg is open in another program" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
    assert annotation.read_bytes() == before
    editor.close()
    assert gossan("annotate", study).returncode == 0
    assert (io.read_annotation(annotation)["decision"] == "accept").sum() == 1


def test_what_else_a_geologist_wrote_is_kept(study, gossan):
    """Notes without a decision, columns and layers of one's own stay in the file as saved."""
    assert gossan("annotate", study).returncode == 0
    folder = next((study.parent / "runs").iterdir())
    assert not (folder / "reviews").exists()
    frame = pyogrio.read_dataframe(folder / "annotation.gpkg", layer="annotation")
    frame.loc[5, "note"] = "seen in the field, unsure"
    frame["photo"] = "a.jpg"
    pyogrio.write_dataframe(frame, folder / "annotation.gpkg", layer="annotation")
    pyogrio.write_dataframe(frame.head(3), folder / "annotation.gpkg", layer="tracks")
    saved = (folder / "annotation.gpkg").read_bytes()
    assert gossan("annotate", study).returncode == 0
    kept = list((folder / "reviews").iterdir())
    assert [file.read_bytes() for file in kept] == [saved]
    assert gossan("annotate", study).returncode == 0
    assert list((folder / "reviews").iterdir()) == kept


def test_the_file_to_edit_is_the_one_that_is_read(study, gossan):
    """Where the study names a file, the next step says so."""
    first = gossan("annotate", study)
    assert "Set 'decision' there" in first.stdout
    folder = next((study.parent / "runs").iterdir())
    shutil.copy(folder / "annotation.gpkg", study.parent / "my.gpkg")
    study.write_text(study.read_text() + 'annotation = "my.gpkg"\n')
    second = gossan("annotate", study)
    assert second.returncode == 0, second.stderr
    assert "Set 'decision' in my.gpkg, which the study names" in " ".join(second.stdout.split())


def test_one_workflow_makes_a_comparison(study, gossan):
    """A table of one row, without differences, and its page."""
    command = ("--methods", "logistic-regression", "--negatives", "random", "--no-controls")
    said = gossan("compare", study, *command, "--jobs", 1)
    assert said.returncode == 0, said.stderr
    assert "logistic-regression × random" in said.stdout
    assert next((study.parent / "runs").glob("*/comparison.html")).stat().st_size > 1000


def test_settings_of_a_method_are_compared_side_by_side(study, gossan):
    """Each --set is a row of its own, of the methods that have the setting; a slip is named."""
    command = ("--methods", "decision-tree,logistic-regression", "--negatives", "random")
    command += ("--no-controls", "--jobs", 1)
    sets = ("--set", "min_samples_leaf=2", "--set", "min_samples_leaf=40")
    said = gossan("compare", study, *command, *sets)
    assert said.returncode == 0, said.stderr
    table = pd.read_csv(next((study.parent / "runs").glob("*/comparison.csv")))
    rows = table.set_index("workflow")["auc_background"]
    leaves = [f"decision-tree (min_samples_leaf={n}) × random" for n in (2, 40)]
    assert {*leaves, "logistic-regression × random"} < set(rows.index)
    assert rows[leaves[0]] != rows[leaves[1]]
    slip = gossan("compare", study, *command, "--set", "min_sample_leaf=2")
    assert slip.returncode != 0
    assert "Did you mean 'min_samples_leaf'?" in " ".join(slip.stderr.split())
    slip = gossan("compare", study, *command, "--set", "min_samples_leaf=2,min_samples_leaf=3")
    assert slip.returncode != 0
    assert "gives min_samples_leaf twice" in " ".join(slip.stderr.split())
    again = gossan("compare", study, *command, *("--set", "min_samples_leaf=2") * 2)
    assert again.returncode == 0, again.stderr
