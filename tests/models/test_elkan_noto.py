"""Elkan–Noto: the share of ore that is known, where known ore was picked at random."""

import numpy as np
import pytest

from gossan.exceptions import StudyError, SurveyDataWarning
from gossan.models import CellExtraTrees, ElkanNoto


def selected_at_random(share: float, *, gap: float = 6.0, seed: int = 0):
    """Ore and barren cells, half each, ``gap`` apart in nine layers; a share of ore is known."""
    rng = np.random.default_rng(seed)
    ore = rng.random(6000) < 0.5
    X = rng.normal(size=(6000, 9))
    X[ore] += gap
    return X, np.where(ore & (rng.random(6000) < share), 1, -1), ore


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_the_labelled_share_is_found(share):
    """Ore that stands clear of barren ground: c is the share that was labelled (closed form)."""
    X, y, ore = selected_at_random(share)
    model = ElkanNoto(50, n_jobs=1, random_state=0).fit(X, y)
    true = (y == 1).sum() / ore.sum()
    assert model.labelled_share_ == pytest.approx(true, rel=0.1, abs=0.01)


def test_scores_are_the_chance_of_ore():
    """Divided by c, the mean score of ore is near 1 and of barren ground near 0."""
    X, y, _ = selected_at_random(0.2)
    model = ElkanNoto(50, n_jobs=1, random_state=0).fit(X, y)
    fresh, _, fresh_ore = selected_at_random(0.2, seed=1)
    score = model.predict_proba(fresh)[:, 1]
    assert score[fresh_ore].mean() > 0.85
    assert score[~fresh_ore].mean() < 0.02


def test_the_score_is_g_over_c_and_at_most_one():
    """Against the plain forest of the same seed: capped above c, its ranking below."""
    X, y, _ = selected_at_random(0.2, gap=1.5)
    model = ElkanNoto(30, n_jobs=1, random_state=0).fit(X, y)
    g = model.learner_.predict_proba(X.astype("float32"))[:, 1]
    score = model.predict_proba(X)[:, 1]
    assert (g > model.labelled_share_).any()
    assert score.max() == 1.0
    np.testing.assert_allclose(score, np.minimum(g / model.labelled_share_, 1.0), rtol=1e-6)
    np.testing.assert_allclose(model.predict_with_spread(X)[0], score, rtol=1e-6)
    below = g < model.labelled_share_
    np.testing.assert_array_equal(np.argsort(g[below]), np.argsort(score[below]))


def test_a_negative_is_one_of_the_unlabelled():
    """Labels 0 and -1 are one pool: the same model to the bit."""
    X, y, _ = selected_at_random(0.3)
    one = ElkanNoto(10, n_jobs=1, random_state=0).fit(X, y)
    other = ElkanNoto(10, n_jobs=1, random_state=0).fit(X, np.where(y == -1, 0, y))
    assert one.labelled_share_ == other.labelled_share_
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_counts_are_not_balanced():
    """A leaf counts cells: a balanced forest scores ore far above the share that is known."""
    X, y, ore = selected_at_random(0.1)
    g = ElkanNoto(20, n_jobs=1, random_state=0).fit(X, y).learner_.predict_proba(X)[:, 1]
    balanced = CellExtraTrees(20, n_jobs=1, min_samples_leaf=10, random_state=0).fit(
        X, np.where(y == 1, 1, 0)
    )
    assert g[ore].mean() == pytest.approx(0.1, abs=0.02)
    assert balanced.predict_proba(X)[ore, 1].mean() > 0.3


def test_one_positive_cell_warns():
    """Nothing to estimate c from: it is 1, and the user is told."""
    X, y = np.arange(50.0)[:, None], np.full(50, -1)
    y[7] = 1
    with pytest.warns(SurveyDataWarning, match="single positive cell"):
        model = ElkanNoto(5, n_jobs=1, random_state=0).fit(X, y)
    assert model.labelled_share_ == 1.0


def test_one_fold_is_refused():
    """Positives that the forest was not shown tell c, so there are two folds at least."""
    X, y, _ = selected_at_random(0.3)
    with pytest.raises(StudyError, match="n_folds is 1"):
        ElkanNoto(5, n_folds=1).fit(X, y)
