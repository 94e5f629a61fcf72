"""Bagging for positive-unlabelled labels scores training cells honestly; forests as their peers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest

from gossan.exceptions import LabelError
from gossan.models import BaggingPU, CellExtraTrees, CellIsolationForest


@pytest.fixture(scope="module")
def district():
    """1,000 cells of 5 layers: 40 known deposits and 40 more, unlabelled, of the same kind."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(1000, 5)).astype(np.float32)
    truth = np.arange(1000) < 80
    X[truth, :2] += 2.0
    return X, np.where(np.arange(1000) < 40, 1, -1), truth


def test_extra_trees_score_as_scikit_learn_does(district):
    """The score is scikit-learn's probability for the same forest."""
    X, y, _ = district
    ours = CellExtraTrees(20, random_state=0).fit(X, y == 1)
    peer = ExtraTreesClassifier(
        20, min_samples_leaf=2, class_weight="balanced", random_state=0
    ).fit(X, y == 1)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X))


def test_isolation_forest_ranks_as_scikit_learn_does(district):
    """The score is the published anomaly score, and labels do not enter."""
    X, y, truth = district
    ours = CellIsolationForest(20, random_state=0)
    peer = IsolationForest(n_estimators=20, max_samples=256, random_state=0).fit(X)
    score = ours.fit(X, y).predict_proba(X)[:, 1]
    np.testing.assert_allclose(score, -peer.score_samples(X))
    assert np.array_equal(score, ours.fit(X, truth).predict_proba(X)[:, 1])


@settings(max_examples=20, deadline=None)
@given(
    n_positive=st.integers(1, 12),
    n_unlabelled=st.integers(1, 30),
    ratio=st.sampled_from([0.5, 1.0, 3.0]),
    seed=st.integers(0, 1000),
)
def test_draws_are_unlabelled_distinct_and_leave_half(n_positive, n_unlabelled, ratio, seed):
    """A draw holds no positive and no cell twice, and never more than half of the unlabelled."""
    y = np.random.default_rng(seed).permutation(np.repeat([1, -1], [n_positive, n_unlabelled]))
    X = np.arange(len(y), dtype=float)[:, None]
    model = BaggingPU(5, ratio=ratio, n_jobs=1, random_state=seed).fit(X, y)
    size = model.draws_.shape[1]
    assert (y[model.draws_] == -1).all()
    assert all(len(np.unique(draw)) == size for draw in model.draws_)
    assert size == max(1, min(round(ratio * n_positive), n_unlabelled // 2))


def test_out_of_bag_scores_come_from_members_that_did_not_draw_the_cell(district):
    """An unlabelled cell's score is the mean over exactly the members without it."""
    X, y, _ = district
    model = BaggingPU(15, random_state=0).fit(X, y)
    scores = model.out_of_bag_scores(X, y)
    members = np.stack([tree.predict_proba(X)[:, 1] for tree in model.members_])  # (member, cell)
    for cell in np.concatenate([model.draws_[:2, :5].ravel(), [999]]):
        outside = ~(model.draws_ == cell).any(axis=1)
        assert scores[cell] == pytest.approx(members[outside, cell].mean())


def test_out_of_bag_scores_of_positives_do_not_know_their_deposit(district):
    """A deposit unlike all others scores low once its cells are held out together."""
    X, y, _ = district
    X, deposit = X.copy(), np.where(y == 1, np.arange(1000) // 4, -1)
    X[deposit == 0] = -6.0
    model = BaggingPU(30, random_state=0).fit(X, y)
    honest = model.out_of_bag_scores(X, y, groups=deposit, n_folds=10)
    assert honest[deposit == 0].max() < 0.5 < model.predict_proba(X)[deposit == 0, 1].min()


def test_out_of_bag_scores_find_the_hidden_deposits(district):
    """Unlabelled cells of the deposits' kind outscore the other unlabelled cells."""
    X, y, truth = district
    score = BaggingPU(50, random_state=0).fit(X, y).out_of_bag_scores(X, y)
    hidden = truth[y == -1]
    ranks = rankdata(score[y == -1])
    auc = (ranks[hidden].mean() - (hidden.sum() + 1) / 2) / (~hidden).sum()
    assert auc > 0.85


def test_only_deposit_has_no_out_of_bag_score(district):
    """Where all positives belong to one deposit no fold can score them: missing, not made up."""
    X, y, _ = district
    model = BaggingPU(5, random_state=0).fit(X, y)
    score = model.out_of_bag_scores(X, y, groups=np.zeros(1000))
    assert np.isnan(score[y == 1]).all()
    assert np.isfinite(score[y == -1]).all()


def test_out_of_bag_scores_refuse_other_cells(district):
    """Cells that the model was not fitted to have no draws to stay out of."""
    X, y, _ = district
    model = BaggingPU(5, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="999 cells with 40 positives are not the 1000"):
        model.out_of_bag_scores(X[:-1], y[:-1])


def test_bagging_needs_unlabelled_cells():
    """With positives alone there is nothing to draw from."""
    with pytest.raises(LabelError, match="one class"):
        BaggingPU().fit(np.zeros((3, 1)), [1, 1, 1])
