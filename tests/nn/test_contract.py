"""Networks keep the estimator contract: scikit-learn's checks, disk, maps, folds, processes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import gossan as gs
from gossan import io
from gossan.exceptions import StudyError, SurveyDataError
from gossan.methods import METHODS
from gossan.nn.masked_autoencoder import PretrainedClassifier
from gossan.nn.pixel_pairs import PixelPairClassifier
from gossan.validate import ModelView, study_cells

DEEP = [name for name, method in METHODS.items() if method.deep]
QUICK = {"inner": 1, "outer": 5, "max_epochs": 1, "members": 1}
QUICK |= {"pairs_per_epoch": 1_280, "accelerator": "cpu"}
PRETRAINED = {"backbone_window": 5, "epochs": 1, "windows_per_epoch": 64, "accelerator": "cpu"}
PRETRAINED |= {"n_estimators": 5}
PATCHES = {"transfer": False, "width": 4, "patch_window": 8, "patch_stride": 2, "crop": 8}
PATCHES |= {"dilations": (1, 2), "epochs": 1, "accelerator": "cpu"}


def quick(name):
    """Settings that are done in a second."""
    settings = {"PixelPairClassifier": QUICK, "PretrainedClassifier": PRETRAINED}
    return settings.get(METHODS[name].build.partition(":")[2], PATCHES)


def expected_failures(estimator):
    """Checks that an estimator fails, each with the reason."""
    return {"check_classifiers_classes": "its labels -1, 1 leave no negative: -1 is unlabelled"}


@parametrize_with_checks(
    [
        PixelPairClassifier(
            scoring="reference",
            members=1,
            pairs_per_epoch=2_560,
            max_epochs=8,
            patience=8,
            accelerator="cpu",
        ),
        PretrainedClassifier(members=1, accelerator="cpu"),
        PretrainedClassifier(head="forest", n_estimators=5, accelerator="cpu"),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_checks(estimator, check):
    """The suite that every classifier of scikit-learn passes."""
    check(estimator)


@pytest.fixture(scope="module")
def area():
    """A small area with eight deposits where two of three layers are high."""
    rng = np.random.default_rng(0)
    grid = gs.Grid.from_bounds((0, 0, 3000, 2400), 100, "EPSG:32650")
    values = rng.normal(size=(3, *grid.shape)).astype(np.float32)
    rows, columns = np.divmod(np.arange(8), 4)
    rows, columns = 5 + rows * 12, 3 + columns * 7
    for row, column in zip(rows, columns, strict=True):
        values[:2, row - 1 : row + 2, column - 1 : column + 2] += 2.5
    values[:, :2, :2] = np.nan
    evidence = grid.to_dataarray(values, layers=["Cu", "Pb", "Zn"])
    places = grid.coordinates(rows, columns)
    import geopandas as gpd

    deposits = gpd.GeoDataFrame(
        {"name": [f"D{k}" for k in range(8)]},
        geometry=gpd.points_from_xy(*places.T),
        crs=grid.crs,
    )
    return evidence, gs.label_cells(evidence, deposits)


@pytest.mark.parametrize("name", DEEP)
def test_a_map_is_the_same_whatever_its_blocks_and_after_the_disk(area, name, tmp_path):
    """Blocks of any size; saved, and read in a fresh process that never saw the class."""
    evidence, labels = area
    cells = study_cells(evidence, labels)
    model, features = ModelView(gs.make_model(name, random_state=0, **quick(name)), cells).within()
    ensemble = gs.DrawEnsemble(model, gs.RandomNegatives(), n_draws=2)
    ensemble.fit(features, cells.training_labels, cells.coordinates)
    whole = gs.predict_map(ensemble, evidence)
    parts = gs.predict_map(ensemble, evidence, block_size=7)
    np.testing.assert_allclose(parts, whole, atol=1e-4)  # single precision, in other sums
    np.testing.assert_allclose(parts["spread"], whole["spread"], atol=1e-4)
    assert np.isfinite(whole.to_numpy()).sum() == len(cells.labels)
    io.save_model(tmp_path / "model", ensemble, {"layers": ["Cu", "Pb", "Zn"]})
    np.save(tmp_path / "evidence.npy", evidence.to_numpy())
    code = (
        "import sys, numpy as np, gossan as gs\n"
        "model, _ = gs.io.load_model(sys.argv[1] + '/model')\n"
        "grid = gs.Grid.from_bounds((0, 0, 3000, 2400), 100, 'EPSG:32650')\n"
        "layers = np.load(sys.argv[1] + '/evidence.npy')\n"
        "evidence = grid.to_dataarray(layers, layers=['Cu', 'Pb', 'Zn'])\n"
        "np.save(sys.argv[1] + '/map.npy', gs.predict_map(model, evidence))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "map.npy"), whole, atol=1e-4)


@pytest.mark.parametrize("name", DEEP)
def test_it_is_held_out_like_any_method(area, name):
    """Cross-validation and a comparison give the same figures of the same draws."""
    evidence, labels = area
    model = gs.make_model(name, random_state=0, **quick(name))
    found = gs.cross_validate(
        model,
        evidence,
        labels,
        splitter=gs.DepositClusterFolds(3),
        negatives=gs.RandomNegatives(),
        n_draws=2,
        n_bootstrap=50,
    )
    compared = gs.compare_workflows(
        [gs.Workflow(name, name, "random", model, gs.RandomNegatives(), 2)],
        evidence,
        labels,
        splitter=gs.DepositClusterFolds(3),
        n_bootstrap=50,
        n_jobs=1,
    )
    assert found.held_out["auc_background"] == pytest.approx(
        compared.table["auc_background"].iloc[0], abs=1e-4
    )


def test_the_workers_of_a_comparison_keep_every_network(area, tmp_path):
    """Those of the last pieces too, and the same figures from what was kept."""
    model = gs.make_model("pixel-pairs-reference", random_state=0, **QUICK)
    tables = []
    for run in ("first", "second"):
        with io.networks_kept(tmp_path / "networks"):
            found = gs.compare_workflows(
                [
                    gs.Workflow(
                        "pairs", "pixel-pairs-reference", "random", model, gs.RandomNegatives()
                    )
                ],
                *area,
                splitter=gs.DepositClusterFolds(3),
                n_bootstrap=50,
                n_jobs=2,
                store=io.ArrayFolder(tmp_path / run),
            )
        tables.append(found.table.drop(columns="seconds"))
        assert len(list((tmp_path / "networks").glob("*.safetensors"))) == 7
    pd.testing.assert_frame_equal(*tables)


def test_without_torch_the_remedy_is_told(tmp_path: Path):
    """A method that cannot be had names what is missing and how to install it."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')\n")
    code = (
        "import gossan\n"
        "try:\n"
        "    gossan.make_model('pixel-pairs')\n"
        "except gossan.exceptions.StudyError as error:\n"
        "    print(error)\n"
    )
    shown = subprocess.check_output(
        [sys.executable, "-c", code], text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert shown.strip() == (
        "The method 'pixel-pairs' needs torch, which is not installed. "
        'Install it with: pip install "gossan[deep]"'
    )


def test_a_network_is_trained_once_and_scores_in_every_way(tmp_path, monkeypatch):
    """The same cells and settings, in another scoring: the weights are taken, not trained anew."""
    from gossan.nn import training

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), np.arange(30) % 2
    quick = {**QUICK, "random_state": 0}
    with io.networks_kept(tmp_path / "networks"):
        first = PixelPairClassifier(scoring="ring", **quick).fit(X, y)
        kept = list((tmp_path / "networks").glob("*.safetensors"))
        assert len(kept) == 1
        monkeypatch.setattr(training, "train", None)
        second = PixelPairClassifier(scoring="reference", **quick).fit(X, y)
        assert second.members_[0]["validation_loss"] == first.members_[0]["validation_loss"]
        for name, value in first.members_[0]["weights"].items():
            np.testing.assert_array_equal(second.members_[0]["weights"][name], value)
        whole = kept[0].read_bytes()
        kept[0].write_bytes(whole[:100])
        monkeypatch.undo()
        io.write_weights(kept[0], {"other": np.zeros(3)}, {"record": {}})
        PixelPairClassifier(scoring="reference", **quick).fit(X, y)
        assert kept[0].read_bytes() == whole
        kept[0].write_bytes(whole[:100])
        PixelPairClassifier(**quick).fit(X, y)  # a damaged one is made anew
        assert kept[0].read_bytes() == whole
    assert io.networks_folder() is None


def test_a_network_of_other_code_is_not_taken(tmp_path, monkeypatch):
    """What decides a training is also the code that trains."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), np.arange(30) % 2
    for code in ("one", "other"):
        monkeypatch.setattr(io, "network_code", lambda module, code=code: code)  # noqa: ARG005
        with io.networks_kept(tmp_path):
            PixelPairClassifier(scoring="reference", **QUICK, random_state=0).fit(X, y)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_the_code_of_a_network_is_its_methods_own():
    """Any module of a method's package counts for the whole of it; another method's does not."""
    own = io.network_code("gossan.nn.pixel_pairs")
    assert io.network_code(PixelPairClassifier.__module__) == own
    assert METHODS["pixel-pairs"].code == own
    assert io.network_code("gossan.nn.training") != own
    assert METHODS["extra-trees"].code == ""


def test_weights_of_another_run_are_refused(tmp_path):
    """Both models are sound; their weights were exchanged."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), np.arange(30) % 2
    for seed in (0, 1):
        model = PixelPairClassifier(scoring="reference", **QUICK, random_state=seed).fit(X, y)
        io.save_model(tmp_path / str(seed), model, {})
    told = io.load_model(tmp_path / "0")[1]["networks"][0]
    assert told["epochs"] == 1
    assert np.isfinite(told["validation_loss"])
    (tmp_path / "0" / io.WEIGHTS).write_bytes((tmp_path / "1" / io.WEIGHTS).read_bytes())
    with pytest.raises(SurveyDataError, match="is of another run, or was changed"):
        io.load_model(tmp_path / "0")


def test_kept_networks_end_with_the_body(tmp_path, monkeypatch):
    """One folder inside another; what the user named stays in force."""
    monkeypatch.delenv("GOSSAN_NETWORKS", raising=False)
    with io.networks_kept(tmp_path / "a"):
        with io.networks_kept(tmp_path / "b"):
            assert io.networks_folder() == tmp_path / "b"
        assert io.networks_folder() == tmp_path / "a"
        monkeypatch.setenv("GOSSAN_NETWORKS", str(tmp_path / "mine"))
        assert io.networks_folder() == tmp_path / "mine"
    monkeypatch.delenv("GOSSAN_NETWORKS")
    assert io.networks_folder() is None


def test_a_screened_network_scores_as_it_declares(area):
    """Dense, in turn, narrow in training, and checked, as without the screen."""
    evidence, labels = area
    model = gs.make_model("pixel-pairs", random_state=0, screen=0.0, **QUICK)
    plain = model.estimator
    assert (model.window, model.fit_window, model.own_threads) == (plain.window, 1, True)
    ensemble = gs.DrawEnsemble(model, gs.RandomNegatives(), n_draws=1)
    from gossan.validate import study_cells

    cells = study_cells(evidence, labels, window=ensemble.window)
    ensemble.fit(cells.features, cells.training_labels, cells.coordinates)
    whole = gs.predict_map(ensemble, evidence).to_numpy()
    assert hasattr(ensemble, "predict_block_with_spread")
    shown = np.arange(0, len(cells.labels), 7)
    score = ensemble.predict_proba(cells.features[shown])[:, 1]
    np.testing.assert_allclose(whole[cells.rows[shown], cells.columns[shown]], score, atol=1e-5)
    with pytest.raises(StudyError, match="outer is 3"):
        gs.make_model("pixel-pairs", screen=1.0, **{**QUICK, "outer": 3, "inner": 5}).check()
