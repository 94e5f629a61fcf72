"""A model of one area maps another, and says where it has seen nothing like it."""

import numpy as np
import pytest
import rasterio
from sklearn.preprocessing import StandardScaler

import gossan as gs
from gossan import io
from gossan.datasets import synthetic_district, write_district

pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")


@pytest.fixture
def other(tmp_path):
    """The study of another district, without deposits and without neighbourhood means."""
    made = synthetic_district(seed=4, shape=(60, 60), n_samples=300)
    file = write_district(made, tmp_path / "other")
    text = file.read_text().replace("focal = [3, 7]", "")
    start = text.index("[deposits]")
    file.write_text(text[:start] + text[text.index("\n[", start + 1) + 1 :])
    return file


def run_of(study_file):
    return next((study_file.parent / "runs").iterdir())


def test_a_model_maps_another_area(gossan, study_file, other):
    """As the model itself does on the layers in its order; twice the same."""
    assert gossan("run", study_file).returncode == 0
    trained = run_of(study_file)
    result = gossan("predict", trained, other, "--allow-missing")
    assert result.returncode == 0, result.stderr
    assert "trained on synthetic-district" in result.stdout
    assert "nothing is measured of how well it does here" in result.stdout
    folder = run_of(other)
    told = io.read_json(folder / "predicted.json")
    model, description = io.load_model(trained / "model")
    evidence = io.open_evidence(folder / "evidence.zarr").compute()
    expected = gs.predict_map(model, evidence.reindex(layer=description["layers"]))
    with rasterio.open(folder / "predicted.tif") as file:
        np.testing.assert_array_equal(file.read(1), expected)
    with rasterio.open(folder / "applicability.tif") as file:
        assert file.descriptions == ("applicability",)
        unlike = file.read(1)
    assert (unlike[np.isfinite(unlike)] > 0.95).mean() == pytest.approx(told["unlike"])
    assert set(told["missing_layers"]) == set(description["layers"]) - set(
        evidence["layer"].to_numpy().tolist()
    )
    assert (folder / "predicted.png").read_bytes().startswith(b"\x89PNG")
    again = gossan("predict", trained / "model", other, "--allow-missing")
    assert again.stdout == result.stdout


def test_the_area_it_learnt_is_mostly_like_it(gossan, study_file):
    """Its own run is mapped as before, and little of it is unlike."""
    assert gossan("run", study_file).returncode == 0
    trained = run_of(study_file)
    assert gossan("predict", trained, study_file).returncode == 0
    assert io.read_json(trained / "predicted.json")["unlike"] < 0.3
    maps = []
    for name in ("predicted.tif", "prospectivity.tif"):
        with rasterio.open(trained / name) as file:
            maps.append(file.read())
    np.testing.assert_array_equal(*maps)


def test_mistakes_are_told(gossan, study_file, other, tmp_path):
    """A folder without a model, one without what it saw, layers that are lacking."""
    refused = gossan("predict", tmp_path, other)
    assert refused.returncode == 1
    assert "holds no model: give the folder of a run" in " ".join(refused.stderr.split())
    assert gossan("run", study_file).returncode == 0
    trained = run_of(study_file)
    text = other.read_text()
    other.write_text(text.replace('name = "magnetics"', 'name = "magnetic field"'))
    refused = gossan("predict", trained, other)
    assert refused.returncode == 1
    told = " ".join(refused.stderr.split())
    assert "lacks 1 of the model's" in told
    assert "'magnetics' and 'magnetic field'" in told
    assert "--allow-missing" in told
    other.write_text(text)
    seen = trained / "model" / "seen.parquet"
    whole = seen.read_bytes()
    seen.write_bytes(whole[:-40] + bytes(20) + whole[-20:])
    refused = gossan("predict", trained, other)
    assert refused.returncode == 1
    assert "seen.parquet is not the file that was written with the model" in refused.stderr
    seen.write_bytes(whole)
    file = trained / "model" / "model.json"
    description = io.read_json(file)
    io.write_json(file, {name: v for name, v in description.items() if name != "layers"})
    refused = gossan("predict", trained, other)
    assert refused.returncode == 1
    assert "is no description of a model (layers: Field required)" in refused.stderr
    io.save_model(trained / "model", StandardScaler().fit([[0.0], [1.0]]), description)
    refused = gossan("predict", trained, other)
    assert refused.returncode == 1
    assert "holds StandardScaler and no model that a run left" in " ".join(refused.stderr.split())
