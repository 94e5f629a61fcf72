"""A district whose deposits have one cause: whatever explains a target must name it."""

import warnings

import numpy as np
import pytest

import gossan as gs
from gossan.datasets import synthetic_district, write_district
from gossan.explain import explain_cells
from gossan.pipeline.explain import background_sample
from gossan.targets import find_targets
from gossan.validate import ModelView, study_cells

pytest.importorskip("torch")
CAUSE = "distance to faults"
INNOCENT = ["magnetics", "gravity", "Cu", "Pb", "Zn", "Cr", "Ni", "Ba", "Sr", "Th", "Zr"]
INNOCENT += ["distance to intrusions", "geology: sandstone"]
QUICK = {"backbone_window": 5, "epochs": 3, "windows_per_epoch": 1024, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def district(tmp_path_factory):
    """Deposits where faults are near and nowhere else; fourteen layers, of which one says so."""
    made = synthetic_district(
        3,
        shape=(120, 150),
        n_deposits=150,
        n_known=150,
        n_samples=700,
        controls=["faults"],
        unexplained=0.0,
        halo_strength=0.0,
        discovery_bias=0.0,
    )
    folder = tmp_path_factory.mktemp("district")
    study = gs.read_study(write_district(made, folder))
    study = study.model_copy(update={"method": study.method.model_copy(update={"focal": []})})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.exceptions.SurveyDataWarning)
        evidence = gs.build_evidence(study, store=folder / "evidence.zarr").compute()
    evidence = evidence.sel(layer=[CAUSE, *INNOCENT])
    deposits = gs.read_deposits(study)
    labels = gs.label_cells(evidence, deposits, footprint=study.deposits.footprint)
    return evidence, labels, deposits


@pytest.mark.parametrize(
    ("method", "settings", "draws", "explainer"),
    [
        ("extra-trees", {}, 3, "shap"),
        ("extra-trees", {}, 3, "removal"),
        ("logistic-regression", {}, 1, "removal"),
        ("masked-pretraining", QUICK, 3, "gradients"),
        ("masked-pretraining-forest", QUICK, 10, "removal"),
        pytest.param("masked-pretraining-finetune", QUICK, 1, "gradients", marks=pytest.mark.slow),
    ],
)
def test_every_explainer_names_the_cause(district, method, settings, draws, explainer):
    """First of fourteen layers in at least 95 % of the targets."""
    evidence, labels, deposits = district
    cells = study_cells(evidence, labels)
    model = gs.make_model(method, random_state=0, **settings)
    model, features = ModelView(model, cells).within()
    ensemble = gs.DrawEnsemble(model, gs.RandomNegatives(5.0), draws).fit(
        features,
        cells.training_labels,
        cells.coordinates,
        layers=cells.features,
        groups=cells.deposits,
    )
    targets, _ = find_targets(gs.predict_map(ensemble, evidence), labels, deposits)
    assert len(targets) >= 20
    index = np.full(labels.shape, -1)
    index[cells.rows, cells.columns] = np.arange(len(cells.rows))
    found = explain_cells(
        ensemble,
        cells.features,
        index[targets["row"], targets["column"]],
        background=background_sample(cells, 0),
        explainer=explainer,
    )
    assert (found.argmax(axis=1) == 0).mean() >= 0.95
