"""A model of one area maps another, and says where it has seen nothing like it."""

import re

import numpy as np
import pandas as pd
import pytest
import rasterio
from pandas.testing import assert_frame_equal
from sklearn.preprocessing import StandardScaler

import gossan as gs
from gossan import io
from gossan.datasets import synthetic_district, write_district

pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")


@pytest.fixture
def other(tmp_path, cut_deposits):
    """The study of another district, without deposits and without neighbourhood means."""
    made = synthetic_district(seed=4, shape=(60, 60), n_samples=300)
    file = write_district(made, tmp_path / "other")
    file.write_text(file.read_text().replace("focal = [3, 7]", ""))
    cut_deposits(file)
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
    assert "Nothing is measured of how well it does here" in result.stdout
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
    assert told["strange_layers"] == []
    targets = io.read_targets(folder / "predicted.gpkg")
    assert len(targets) == told["targets"] > 5
    assert (targets["nearest_deposit"] == "").all()  # the study names none
    at = targets["row"], targets["column"]
    np.testing.assert_array_equal(targets["unlike"], unlike[at])
    np.testing.assert_array_equal(targets["score"], expected.to_numpy()[at])
    assert (targets["unlike"] > 0.95).sum() == told["targets_unlike"]
    said = f"Targets: {len(targets)}, of which {told['targets_unlike'] or 'none'} on ground unlike"
    assert said in " ".join(result.stdout.split())
    assert not told["own_study"]
    assert not told["one_value"]
    again = gossan("predict", trained / "model", other, "--allow-missing")
    assert again.stdout == result.stdout


def test_the_area_it_learnt_is_mostly_like_it(gossan, study_file):
    """Its own run is mapped as before, and little of it is unlike."""
    assert gossan("run", study_file).returncode == 0
    trained = run_of(study_file)
    result = gossan("predict", trained, study_file)
    assert result.returncode == 0
    assert "That is this very study" in result.stdout
    assert "Nothing is measured" not in result.stdout
    assert io.read_json(trained / "predicted.json")["unlike"] < 0.3
    maps = []
    for name in ("predicted.tif", "prospectivity.tif"):
        with rasterio.open(trained / name) as file:
            maps.append(file.read())
    np.testing.assert_array_equal(*maps)
    proposed = [io.read_targets(trained / f"{name}.gpkg") for name in ("predicted", "targets")]
    shared = ["rank", "row", "column", "score", "nearest_deposit", "distance_m"]
    assert_frame_equal(*(pd.DataFrame(targets[shared]) for targets in proposed))
    study_file.write_text(study_file.read_text().replace("n_estimators = 20", "n_estimators = 10"))
    result = gossan("predict", trained, study_file)
    assert "no deposit of this study as it is was held out" in " ".join(result.stdout.split())


def test_raw_concentrations_for_log_ratios_are_told(gossan, study_file, other):
    """By the units that the run recorded; by the values where an older run recorded none."""
    assert gossan("run", study_file).returncode == 0
    trained = run_of(study_file)
    other.write_text(other.read_text().replace('transform = "clr"', 'transform = "none"'))
    result = gossan("predict", trained, other, "--allow-missing")
    assert result.returncode == 0, result.stderr
    warned = " ".join(result.stderr.split())
    assert "layers are not what the model has seen under their names" in warned
    assert "Cu (ppm here, clr there)" in warned or "Ag (ppm here, clr there)" in warned
    strange = io.read_json(run_of(other) / "predicted.json")["strange_layers"]
    assert {"Cu", "Zn"} <= set(strange)
    assert not {"magnetics", "gravity"} & set(strange)
    file = trained / "model" / "model.json"
    description = io.read_json(file)
    assert set(description["units"]) >= {"clr", "m", "km/km²"}
    io.write_json(file, {name: v for name, v in description.items() if name != "units"})
    result = gossan("predict", trained, other, "--allow-missing")
    assert "Ag (median 0.0" in " ".join(result.stderr.split())
    by_values = io.read_json(run_of(other) / "predicted.json")["strange_layers"]
    assert set(by_values) <= set(strange)
    assert len(by_values) > 0.8 * len(strange)


def test_a_map_of_one_value_is_called_so(gossan, study_file, other):
    """All that the model knows of the ground lies far beyond what it has seen."""
    assert gossan("run", study_file).returncode == 0
    with rasterio.open(other.parent / "magnetics.tif", "r+") as file:
        file.write(file.read(1) + 1e6, 1)
    text = other.read_text()
    first, last = text.index("[[samples]]"), text.index("[method]")
    magnetics = '[[rasters]]\nname = "magnetics"\nfile = "magnetics.tif"\n\n'
    other.write_text(text[:first] + magnetics + text[last:])
    result = gossan("predict", run_of(study_file), other, "--allow-missing")
    assert result.returncode == 0, result.stderr
    assert "The map has one value: the model cannot tell this ground apart." in result.stdout
    assert "No targets: no new ground stands out" in result.stdout
    assert re.search(r"\b1 of \d+ layers are not what", " ".join(result.stderr.split()))
    assert io.read_json(run_of(other) / "predicted.json")["one_value"]


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
    layers = description["layers"]
    few = io.write_seen(seen, np.zeros((9, len(layers))), layers)
    io.write_json(file, {**description, "seen": few})
    refused = gossan("predict", trained, other, "--output", tmp_path / "fresh")
    assert refused.returncode == 1
    assert "has kept 9 cells of what it saw" in " ".join(refused.stderr.split())
    assert not (tmp_path / "fresh").exists()  # told before anything is computed
    io.write_json(file, {**description, "units": ["clr"]})
    refused = gossan("predict", trained, other)
    assert "is no description of a model (units: Value error, 1 units of" in refused.stderr
    io.write_json(file, {name: v for name, v in description.items() if name != "layers"})
    refused = gossan("predict", trained, other)
    assert refused.returncode == 1
    assert "is no description of a model (layers: Field required)" in refused.stderr
    io.save_model(trained / "model", StandardScaler().fit([[0.0], [1.0]]), description)
    refused = gossan("predict", trained, other)
    assert refused.returncode == 1
    assert "holds StandardScaler and no model that a run left" in " ".join(refused.stderr.split())
