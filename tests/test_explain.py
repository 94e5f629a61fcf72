"""What drove a score."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from gossan.draws import DrawEnsemble
from gossan.evidence import CellFeatures
from gossan.exceptions import StudyError, TrainingError
from gossan.explain import (
    block_importance,
    explain_cells,
    layer_contributions,
    layer_importance,
    nearest_analogues,
    percentiles,
    tree_contributions,
)
from gossan.grid import Grid
from gossan.labels import RandomNegatives
from gossan.methods import make_model


class Linear(ClassifierMixin, BaseEstimator):
    """A score that is linear in its layers, so contributions are known in closed form."""

    def __init__(self, weights):
        self.weights = weights

    def predict_proba(self, X):
        middle = X if X.ndim == 2 else X[:, :, X.shape[2] // 2, X.shape[3] // 2]
        score = middle @ np.asarray(self.weights)
        return np.column_stack([1 - score, score])


def test_linear_model_has_its_closed_form():
    """For a linear score a contribution is the weight times the distance from the background."""
    rng = np.random.default_rng(0)
    X, background = rng.normal(size=(7, 3)), rng.normal(size=(20, 3))
    weights = np.array([0.5, -1.0, 0.0])
    contributions = layer_contributions(Linear(weights), X, background, n_references=20)
    np.testing.assert_allclose(contributions, weights * (X - background.mean(axis=0)), atol=1e-12)


def test_windows_are_replaced_whole():
    """For a window model the layer's whole window is replaced."""
    rng = np.random.default_rng(1)
    X, background = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=(5, 2, 3, 3))
    contributions = layer_contributions(Linear([1.0, 2.0]), X, background, n_references=5)
    expected = [1.0, 2.0] * (X - background.mean(axis=0))[:, :, 1, 1]
    np.testing.assert_allclose(contributions, expected, atol=1e-12)


def test_importance_is_the_mean_size():
    """Importance does not let opposite signs cancel."""
    table = layer_importance(np.array([[1.0, 0.1], [-1.0, 0.1]]), ["Cu", "Pb"])
    assert table.loc["Cu", "importance"] == 1.0


def trained(method, n=900, layers=6, missing=0.1, **settings):
    """An ensemble of two draws whose deposits depend on the third layer alone."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, layers)).astype("float32")
    y = np.where(X[:, 2] > 1.3, 1, -1)
    X[rng.random(X.shape) < missing] = np.nan
    X[y == 1, 2] = np.where(np.isnan(X[y == 1, 2]), 2.0, X[y == 1, 2])
    model = make_model(method, random_state=0, **settings)
    ensemble = DrawEnsemble(model, RandomNegatives(3.0), n_draws=2)
    return ensemble.fit(X, y, np.zeros((n, 2))), X, y


@pytest.mark.parametrize("method", ["extra-trees", "random-forest", "decision-tree"])
def test_shap_values_add_up_with_missing_layers(method):
    """To the score less the mean score of the background, in every cell."""
    ensemble, X, _ = trained(method)
    background = X[:100]
    found = tree_contributions(ensemble, X[100:160], background, n_references=100)
    score = ensemble.predict_proba(X[100:160])[:, 1]
    mean = ensemble.predict_proba(background)[:, 1].mean()
    np.testing.assert_allclose(found.sum(axis=1), score - mean, atol=1e-6)


@pytest.mark.parametrize("explainer", ["shap", "removal"])
def test_the_cause_comes_first(explainer):
    """The one layer that drives the deposits, in at least 95 % of their cells."""
    ensemble, X, y = trained("extra-trees")
    grid = Grid.from_bounds((0, 0, 30, 30), 1, "EPSG:32650")
    evidence = grid.to_dataarray(X.T.reshape(6, 30, 30))
    rows, columns = np.divmod(np.arange(900), 30)
    why = explain_cells(
        ensemble,
        CellFeatures(evidence, rows, columns),
        np.flatnonzero(y == 1),
        background=np.arange(0, 900, 5),
        explainer=explainer,
    )
    assert (why.argmax(axis=1) == 2).mean() >= 0.95


def test_an_explainer_that_does_not_suit_is_refused():
    """With those that do."""
    ensemble, X, _ = trained("logistic-regression")
    grid = Grid.from_bounds((0, 0, 30, 30), 1, "EPSG:32650")
    features = CellFeatures(grid.to_dataarray(X.T.reshape(6, 30, 30)), [0, 1], [0, 1])
    cells = {"background": np.array([1])}
    with pytest.raises(StudyError, match=r"by 'shap': it can by removal"):
        explain_cells(ensemble, features, np.array([0]), explainer="shap", **cells)
    with pytest.raises(StudyError, match="not made of trees"):
        tree_contributions(ensemble, X[:3], X)


def test_percentiles_count_the_sample_and_keep_gaps():
    """Against counting by hand."""
    rng = np.random.default_rng(0)
    values, sample = rng.integers(0, 9, (20, 3)).astype(float), rng.integers(0, 9, (50, 3)) * 1.0
    values[3, 1], sample[:, 2] = np.nan, np.nan
    found = percentiles(values, sample)
    expected = (sample[None, :, :2] <= values[:, None, :2]).mean(axis=1)
    expected[3, 1] = np.nan
    np.testing.assert_allclose(found[:, :2], expected)
    assert np.isnan(found[:, 2]).all()


def test_the_nearest_deposit_by_the_layers_that_both_have():
    """The cell itself is nearest; a cell that shares no layer has none."""
    rng = np.random.default_rng(0)
    area = rng.normal(size=(500, 4))
    deposits = area[[7, 90, 300]].copy()
    deposits[:, 3] = np.nan
    cells = area[[300, 7, 44]].copy()
    cells[2, :3] = np.nan
    nearest, unlike = nearest_analogues(cells, deposits, area)
    assert nearest.tolist() == [2, 0, -1]
    np.testing.assert_allclose(unlike[:2], 0.0, atol=1e-12)
    assert np.isinf(unlike[2])


def test_blocks_keep_their_values_and_gaps():
    """A permuted layer has the same gaps, and whole blocks of the layer elsewhere."""
    from gossan.explain import _blocks_moved

    values = np.arange(48.0).reshape(6, 8)
    moved = _blocks_moved(values, 2, np.random.default_rng(0))
    assert sorted(moved.ravel()) == sorted(values.ravel())
    blocks = moved.reshape(3, 2, 4, 2).swapaxes(1, 2).reshape(12, 4)
    np.testing.assert_array_equal(np.ptp(blocks, axis=1), 9)  # each a 2 × 2 block of the layer
    values[:2, :3] = np.nan
    moved = _blocks_moved(values, 4, np.random.default_rng(1))
    np.testing.assert_array_equal(np.isnan(moved), np.isnan(values))
    assert set(moved[np.isfinite(moved)]) <= set(values[np.isfinite(values)])


def test_block_importance_finds_the_cause_in_windows_too():
    """The layer that the score stands on falls, by what chance leaves; the others do not."""
    rng = np.random.default_rng(0)
    evidence = Grid.from_bounds((0, 0, 40, 40), 1, "EPSG:32650").to_dataarray(
        rng.normal(size=(3, 40, 40)).astype("float32"), layers=["Cu", "Pb", "Zn"]
    )
    deposits = evidence.values[1] > 2.2
    found = block_importance(lambda e: e.values[1] + 0.01 * e.values[0], evidence, deposits)
    assert found.index[0] == "Pb"
    assert found.loc["Pb", "importance"] == pytest.approx(0.5, abs=0.1)
    assert found.loc["Zn", "importance"] == 0
    assert abs(found.loc["Cu", "importance"]) < 0.02


def test_blocks_on_disk_change_places_like_those_in_memory():
    """Evidence that Dask reads chunk by chunk gives the same importance."""
    values = np.random.default_rng(3).normal(size=(2, 24, 24)).astype("float32")
    evidence = Grid.from_bounds((0, 0, 24, 24), 1, "EPSG:32650").to_dataarray(
        values, layers=["Cu", "Pb"]
    )
    deposits = values[0] > 1.5
    for given in (evidence, evidence.chunk({"layer": 1, "y": 10, "x": 10})):
        found = block_importance(lambda e: e.to_numpy()[0], given, deposits)
        assert found.equals(block_importance(lambda e: e.to_numpy()[0], evidence, deposits))
    np.testing.assert_array_equal(evidence.to_numpy(), values)  # the study's own is left alone


class Reluctant(Linear):
    """Explains its scores, but for some cells, whose attributions never add up."""

    def __init__(self, weights, columns=()):
        super().__init__(weights)
        self.columns = columns

    def attribute(self, evidence, cells, *, background, skip_failed=False, progress=None):
        failed = np.isin(cells[:, 1], self.columns)
        if failed.any() and not skip_failed:
            raise TrainingError("They do not add up.")
        values = evidence.to_numpy()[:, cells[:, 0], cells[:, 1]].T
        found = np.asarray(self.weights) * (values - background.mean(axis=0))
        return np.where(failed[:, None], np.nan, found)


def test_a_cell_that_cannot_be_explained_leaves_the_others_alone():
    """It is missing where that is wanted, an error where not, and an error where no cell can."""
    grid = Grid.from_bounds((0, 0, 40, 4), 1, "EPSG:32650")
    values = np.random.default_rng(0).normal(size=(2, 4, 40)).astype("float32")
    rows, columns = np.divmod(np.arange(160), 40)
    features = CellFeatures(grid.to_dataarray(values, layers=["Cu", "Pb"]), rows, columns)
    cells, background = np.arange(160), np.arange(10)
    whole = explain_cells(Reluctant([1.0, 0.5]), features, cells, background=background)
    found = explain_cells(
        Reluctant([1.0, 0.5], (3, 39)),
        features,
        cells,
        background=background,
        skip_failed=True,
    )
    failed = np.isin(columns, (3, 39))
    assert np.isnan(found[failed]).all()
    np.testing.assert_allclose(found[~failed], whole[~failed])
    table = layer_importance(found, ["Cu", "Pb"])
    assert table.loc["Cu", "importance"] == pytest.approx(np.abs(whole[~failed, 0]).mean())
    for skip, which in ((False, (3,)), (True, range(40))):
        with pytest.raises(TrainingError, match="add up"):
            explain_cells(
                Reluctant([1.0, 0.5], which),
                features,
                cells,
                background=background,
                skip_failed=skip,
            )
