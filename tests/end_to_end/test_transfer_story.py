"""A geologist learns a well-explored area, and lets another take of it what helps."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

import gossan as gs
from gossan import io
from gossan.datasets import synthetic_district, write_district

pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")

SMALL = ("--window", "16", "--stride", "8", "--width", "4", "--epochs", "2")
QUICK = "patch_window = 16, patch_stride = 8, epochs = 2, map_stride = 7"


def with_source(study_file: Path, parameters: str) -> None:
    text = study_file.read_text()
    text = text.replace("parameters = { n_estimators = 20 }", f"parameters = {{ {parameters} }}")
    text = text.replace("folds = 3", "folds = 2").replace("draws = 2", "draws = 1")
    study_file.write_text(text.replace('name = "extra-trees"', 'name = "selective-transfer"'))


def test_train_source_run_explain(gossan, study_file, tmp_path):
    """A source of another district, a map with its chapter, a place explained, twice the same."""
    other = write_district(
        synthetic_district(seed=4, shape=(60, 60), n_samples=300), tmp_path / "b"
    )
    other.write_text(
        other.read_text().replace("focal = [3, 7]", "parameters = { n_estimators = 20 }")
    )
    result = gossan("train-source", other, *SMALL)
    assert result.returncode == 0, result.stderr
    assert "this is no measure of skill" in result.stdout
    file = tmp_path / "b" / "source.safetensors"
    before = file.read_bytes()
    with_source(other, f'source = "source.safetensors", {QUICK}')
    refused = gossan("run", other)
    assert refused.returncode == 1
    assert "has learnt 20 of this study's 20 deposits" in " ".join(refused.stderr.split())
    with_source(study_file, f'source = "../b/source.safetensors", {QUICK}')
    result = gossan("run", study_file)
    assert result.returncode == 0, result.stderr
    assert file.read_bytes() == before
    folder = next((study_file.parent / "runs").iterdir())
    page = (folder / "report.html").read_text()
    assert "What was taken from another area" in page
    assert "synthetic-district-4" in page
    assert "in the source and take its first kernels" in page
    assert "How far the gates of each kernel are open" in page
    targets = io.read_targets(folder / "targets.gpkg")
    assert targets["drivers"].str.contains("percentile").any()
    place = (targets["easting"][0], targets["northing"][0])
    told = gossan("explain", study_file, "--at", *place, "--layers", "3")
    assert told.returncode == 0, told.stderr
    assert told.stdout == gossan("explain", study_file, "--at", *place, "--layers", "3").stdout
    model, _ = io.load_model(folder / "model")
    again = gs.predict_map(model, io.open_evidence(folder / "evidence.zarr").compute())
    with rasterio.open(folder / "prospectivity.tif") as written:
        np.testing.assert_array_equal(written.read(1), again)
    assert file.name in str(io.read_json(folder / "manifest.json")["inputs"])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (QUICK, "gossan train-source"),
        (f'source = "nothing.safetensors", {QUICK}', "source = 'nothing.safetensors' names"),
        (f'source = "deposits.csv", {QUICK}', "holds no weights of gossan"),
        ("transfer = false, patch_window = 99", "a patch 99 × 99"),
        ("transfer = false, patch_window = 16, dilations = [1, 9]", "A dilation of 9 reaches 19"),
        ("transfer = false, vote = 'veto'", "veto"),
        ("transfer = false, widht = 4", "Did you mean 'width'"),
        ("transfer = false, mapping = 'dense', map_stride = 3", "makes no use of map_stride"),
    ],
)
def test_mistakes_are_told_before_anything_is_built(gossan, study_file, parameters, message):
    """In one sentence with the remedy, and no run folder is left."""
    with_source(study_file, parameters)
    result = gossan("run", study_file)
    assert result.returncode == 1
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not list(study_file.parent.glob("runs/*/evidence.zarr"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "publishd"), "Did you mean 'published'"),
        (("--window", "200"), "a patch 200 × 200"),
        (("--output", "/proc/source.safetensors"), "/proc"),
    ],
)
def test_a_source_that_cannot_be_is_refused_at_once(gossan, study_file, options, message):
    """Before the evidence is built."""
    result = gossan("train-source", study_file, *options)
    assert result.returncode == 1
    assert message in " ".join(result.stderr.split())
    assert not list(study_file.parent.glob("runs/*/evidence.zarr"))
