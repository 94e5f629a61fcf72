"""`gossan pretrain` says what cannot be before it learns."""

import re

import pytest

from gossan.datasets import synthetic_district, write_district

pytest.importorskip("torch")
# The district has an element below detection in half of its samples: left out, with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")

LEARN = ("--window", 5, "--epochs", 1)


def assert_refused_before_learning(refused, message):
    assert refused.returncode == 1
    assert message in refused.stderr
    assert "pretraining" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_file_that_cannot_be_written_is_told_before_learning(gossan, study_file):
    """Not after an hour: its folder is a file, or it is a folder itself."""
    deposits = study_file.parent / "deposits.csv"
    refused = gossan("pretrain", study_file, "--output", deposits / "b.safetensors", *LEARN)
    assert_refused_before_learning(refused, "b.safetensors could not be written")
    folder = study_file.parent / "b.safetensors"
    folder.mkdir()
    refused = gossan("pretrain", study_file, "--output", folder, *LEARN)
    assert_refused_before_learning(refused, "cannot hold a backbone")


def test_the_same_study_given_twice_is_refused(gossan, study_file):
    """An area learnt from twice teaches nothing more."""
    refused = gossan("pretrain", study_file, "--also", study_file.parent, *LEARN)
    assert_refused_before_learning(refused, f"{study_file} is given twice")


def test_an_area_without_a_common_layer_is_refused(gossan, study_file, tmp_path):
    """Both files are named, and what their layers are called."""
    other = write_district(
        synthetic_district(seed=5, shape=(24, 24), n_samples=150, n_deposits=20), tmp_path / "b"
    )
    text = other.read_text()
    tables = text.split("\n[[")
    kept = [part for part in tables[1:] if 'name = "gravity"' in part]
    method = text[text.index("\n[method]") :].replace("focal = [3, 7]", "")
    study = "\n[[".join([tables[0], *kept]) + method
    study = re.sub(r"^name = .*", 'name = "other"', study, count=1, flags=re.M)
    other.write_text(study.replace('name = "gravity"', 'name = "Schwere"'))
    refused = gossan("pretrain", study_file, "--also", other, *LEARN)
    assert_refused_before_learning(refused, f"{other} has no layer of {study_file}")
    assert "Schwere there" in refused.stderr
