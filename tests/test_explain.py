"""What drove a score."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from gossan.explain import layer_contributions, layer_importance


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
