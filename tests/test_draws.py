"""Ensembles over draws of negatives."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from gossan.draws import DrawEnsemble
from gossan.exceptions import LabelError
from gossan.labels import AllUnlabelled, RandomNegatives
from gossan.models import CellExtraTrees


@pytest.fixture
def ground():
    """300 cells of which 30 deposits stand apart in both layers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = np.full(300, -1)
    y[:30] = 1
    X[:30] += 2.0
    return X, y, rng.uniform(0, 1000, (300, 2))


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers the labels it was fitted to."""

    uses_unlabelled = True

    def fit(self, X, y):
        self.seen_ = np.array(y)
        return self

    def predict_proba(self, X):
        return np.tile([0.5, 0.5], (len(X), 1))


def test_score_is_the_mean_of_the_members(ground):
    """The ensemble's score is the mean of its members' scores, its spread their deviation."""
    X, y, places = ground
    ensemble = DrawEnsemble(LogisticRegression(), RandomNegatives(), n_draws=4).fit(X, y, places)
    members = np.stack([member.predict_proba(X)[:, 1] for member in ensemble.members_])
    score, spread = ensemble.predict_with_spread(X)
    np.testing.assert_allclose(score, members.mean(axis=0))
    np.testing.assert_allclose(spread, members.std(axis=0), atol=1e-7)


def test_single_ensemble_tells_its_own_spread(ground):
    """With one draw, an ensemble's spread is that of its own members."""
    X, y, places = ground
    ensemble = DrawEnsemble(CellExtraTrees(10, random_state=0), AllUnlabelled()).fit(X, y, places)
    expected = ensemble.members_[0].predict_with_spread(X)
    np.testing.assert_array_equal(ensemble.predict_with_spread(X), expected)


def test_single_plain_member_has_no_spread(ground):
    """One member that is no ensemble says nothing of its spread."""
    X, y, places = ground
    ensemble = DrawEnsemble(LogisticRegression(), AllUnlabelled()).fit(X, y, places)
    assert np.isnan(ensemble.predict_with_spread(X)[1]).all()


def test_draws_differ_and_repeat(ground):
    """Draws differ from each other, and the same seed repeats them."""
    X, y, places = ground
    make = lambda seed: DrawEnsemble(  # noqa: E731
        LogisticRegression(), RandomNegatives(), n_draws=2, random_state=seed
    ).fit(X, y, places)
    one, again, other = make(0), make(0), make(1)
    assert (one.members_[0].coef_ != one.members_[1].coef_).any()
    np.testing.assert_array_equal(one.predict_proba(X), again.predict_proba(X))
    assert (one.predict_proba(X) != other.predict_proba(X)).any()


def test_unlabelled_learner_gets_unlabelled_cells(ground):
    """A learner that uses unlabelled cells gets the drawn cells as -1, others as 0."""
    X, y, places = ground
    ensemble = DrawEnsemble(Recorder(), AllUnlabelled()).fit(X, y, places)
    assert set(ensemble.members_[0].seen_) == {-1, 1}


def test_known_barren_cells_are_always_negatives(ground):
    """Cells known to be barren are in every draw."""
    X, y, places = ground
    y[250:] = 0
    recorder = Recorder()
    recorder.uses_unlabelled = False
    ensemble = DrawEnsemble(LogisticRegression(), RandomNegatives(), n_draws=1).fit(X, y, places)
    assert ensemble.n_training_cells_ == [30 + 30 + 50]


def test_no_deposit_is_an_error(ground):
    """Without a positive cell there is nothing to learn from."""
    X, y, places = ground
    with pytest.raises(LabelError, match="nothing to learn"):
        DrawEnsemble(LogisticRegression(), AllUnlabelled()).fit(X, np.full(len(y), -1), places)
