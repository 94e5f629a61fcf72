"""Layer screening happens within the fit, on training deposits, for layers high or low at them."""

import numpy as np
import pytest

from gossan.evaluate import auc_z
from gossan.exceptions import LabelError, StudyError, SurveyDataWarning
from gossan.models import BaggingPU, CellExtraTrees, CellLogisticRegression, LayerScreen


@pytest.fixture(scope="module")
def district():
    """Layer 1 high and layer 3 low at 40 deposits; layers 0 and 2 noise."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(800, 4)), np.repeat([1, 0], [40, 760])
    X[y == 1, 1] += 1.5
    X[y == 1, 3] -= 1.5
    return X, y


def test_layers_high_or_low_at_deposits_are_kept(district):
    """Copper above and a distance below the background both pass; noise does not."""
    assert LayerScreen(CellExtraTrees(5)).fit(*district).layers_.tolist() == [1, 3]


def test_screen_scores_are_hanley_mcneil_z(district):
    """Each layer's Z is that of its own AUC."""
    X, y = district
    screen = LayerScreen(CellExtraTrees(5)).fit(X, y)
    wins = [np.mean(layer[y == 1][:, None] > layer[y == 0]) for layer in X.T]
    np.testing.assert_allclose(screen.z_, [auc_z(auc, 40, 760) for auc in wins])


def test_scores_are_the_estimators_on_the_kept_layers(district):
    """Scores, spread and decisions equal those of the bare estimator on two layers."""
    X, y = district
    screen = LayerScreen(CellExtraTrees(5, random_state=0)).fit(X, y)
    bare = CellExtraTrees(5, random_state=0).fit(X[:, [1, 3]], y)
    assert np.array_equal(screen.predict_proba(X), bare.predict_proba(X[:, [1, 3]]))
    assert np.array_equal(screen.predict(X), bare.predict(X[:, [1, 3]]))
    for ours, theirs in zip(
        screen.predict_with_spread(X), bare.predict_with_spread(X[:, [1, 3]]), strict=True
    ):
        assert np.array_equal(ours, theirs)


def test_single_learner_has_no_spread(district):
    """Where the estimator is no ensemble the spread is missing, not zero."""
    X, y = district
    screen = LayerScreen(CellLogisticRegression()).fit(X, y)
    score, spread = screen.predict_with_spread(X)
    assert np.array_equal(score, screen.predict_proba(X)[:, 1])
    assert np.isnan(spread).all()


def test_unlabelled_cells_do_not_sway_a_supervised_screen(district):
    """Cells labelled -1, however anomalous, leave the screen as it is."""
    X, y = district
    wild = np.concatenate([X, np.full((500, 4), 100.0)])
    labels = np.concatenate([y, np.full(500, -1)])
    screen, wild_screen = LayerScreen(CellExtraTrees(5)), LayerScreen(CellExtraTrees(5))
    np.testing.assert_array_equal(wild_screen.fit(wild, labels).z_, screen.fit(X, y).z_)


def test_unlabelled_cells_are_the_background_of_a_positive_unlabelled_screen(district):
    """Bagging PU screens its positives against the cells labelled -1."""
    X, y = district
    screen = LayerScreen(BaggingPU(5)).fit(X, np.where(y == 1, 1, -1))
    assert screen.uses_unlabelled
    assert screen.layers_.tolist() == [1, 3]


def test_screen_that_nothing_passes_keeps_all(district):
    """With an impossible threshold all layers stay, and the user hears of it."""
    X, y = district
    with pytest.warns(SurveyDataWarning, match=r"None of the 4 layers passes .*\|Z\| > 99"):
        screen = LayerScreen(CellExtraTrees(5), z=99.0).fit(X, y)
    assert screen.layers_.tolist() == [0, 1, 2, 3]


def test_windows_are_screened_by_their_middle_cell(district):
    """Of a window the middle cell is tested, and the whole window of a kept layer passed on."""

    class MiddleCell(CellExtraTrees):
        window = 3

        def fit(self, X, y):
            self.shape_ = X.shape
            return super().fit(X[:, :, 1, 1], y)

    X, y = district
    windows = np.full((*X.shape, 3, 3), np.nan)
    windows[:, :, 1, 1] = X
    screen = LayerScreen(MiddleCell(5)).fit(windows, y)
    assert screen.window == 3
    assert screen.layers_.tolist() == [1, 3]
    assert screen.estimator_.shape_ == (800, 2, 3, 3)


def test_screen_needs_deposits(district):
    """Without positives there is nothing to screen by."""
    with pytest.raises(LabelError, match="positive class"):
        LayerScreen(CellExtraTrees(5)).fit(district[0], np.where(district[1] == 1, -1, 0))


def test_negative_threshold_is_refused(district):
    """A threshold below zero would keep everything, so it is refused by its value."""
    with pytest.raises(StudyError, match=r"-1"):
        LayerScreen(CellExtraTrees(5), z=-1.0).fit(*district)
