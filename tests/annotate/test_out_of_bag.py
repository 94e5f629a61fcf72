"""No annotated score comes from a member that trained on the cell."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from gossan.annotate import RecursiveAnnotator
from gossan.annotate.rounds import Rounds
from gossan.labels import Ground

SHAPE = (20, 30)
DEPOSITS = [(3, 3), (3, 20), (9, 9), (10, 26), (15, 4), (16, 17), (13, 13)]


class Parrot(ClassifierMixin, BaseEstimator):
    """Knows the cells it trained on by heart: 1 for those, the second layer for every other."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        self.trained_ = np.unique(X[:, 0])
        self.positives_ = np.unique(X[y == 1, 0])
        return self

    def predict_proba(self, X):
        score = np.where(np.isin(X[:, 0], self.trained_), 1.0, X[:, 1])
        return np.column_stack([1.0 - score, score])


@pytest.fixture
def ground():
    """Cells with seven deposits of 3 × 3; layer 0 is the cell's own number, layer 1 a score."""
    rows, columns = np.divmod(np.arange(SHAPE[0] * SHAPE[1]), SHAPE[1])
    labels = np.full(len(rows), -1, np.int8)
    for row, column in DEPOSITS:
        labels[(abs(rows - row) <= 1) & (abs(columns - column) <= 1)] = 1
    score = np.where(labels == 1, 0.4, np.random.default_rng(0).uniform(0.0, 0.5, len(rows)))
    return (
        np.column_stack([np.arange(len(rows)), score]),
        labels,
        np.column_stack([100.0 * columns, -100.0 * rows]),
    )


def annotator(**settings):
    quick = {"n_draws": 10, "max_rounds": 2, "tolerance": 0.0, "guard": False, "random_state": 1}
    return RecursiveAnnotator(Parrot(), **(quick | settings))


@pytest.mark.parametrize("mode", ["reselect", "accumulate"])
@pytest.mark.parametrize("select", ["purge", "lowest", "weight"])
def test_no_cell_is_scored_by_a_member_that_trained_on_it(ground, select, mode):
    """A member that knows its cells by heart never speaks of them, in any round or mode."""
    found = annotator(select=select, mode=mode, ratio=2.0).annotate(*ground)
    unlabelled = ground[1][found.cells] == -1
    assert len(found.rounds) > 1
    assert np.isfinite(found.scores[0, unlabelled]).all()
    for scores in found.scores:
        known = np.isfinite(scores)
        np.testing.assert_allclose(scores[known], ground[0][found.cells[known], 1], rtol=1e-5)


def test_deposits_are_judged_by_members_that_left_them_out(ground):
    """Cross-fitted, their rank is the share of ground below their score; by heart it would be 1."""
    found = annotator().annotate(*ground)
    below = (ground[0][ground[1] == -1, 1] < 0.4).mean()
    assert below < 0.85
    np.testing.assert_allclose(found.rounds["inner_auc"], below, atol=0.02)


def test_a_geologists_accepted_cells_train_but_are_not_scored(ground):
    """A cell that every member trains on has no score at all."""
    X, labels, coordinates = ground
    decisions = np.zeros(len(labels), np.int8)
    accepted = np.flatnonzero(labels == -1)[[5, 50]]
    decisions[accepted] = 3
    found = annotator().annotate(X, labels, coordinates, decisions=decisions)
    assert np.isnan(found.scores[:, np.isin(found.cells, accepted)]).all()
    assert np.nanmax(found.scores) < 0.5


def run_rounds(settings, X, labels, coordinates):
    """The rounds of an annotation, and the members of each round."""
    ground = Ground(X, coordinates, labels, np.random.default_rng(0))
    rounds, fitted = Rounds(settings, ground, labels, np.zeros(len(labels), np.int8)), []
    fit = rounds._fit

    def recorded(number):
        members, draws = fit(number)
        fitted.append(members)
        return members, draws

    rounds._fit = recorded
    while not rounds.finished:
        rounds.run_one()
    return rounds, fitted


@pytest.mark.parametrize("select", ["purge", "lowest", "weight"])
def test_a_stream_never_trains_on_its_own_cluster(ground, select):
    """In every round each member's deposits are all those of the other clusters."""
    rounds, fitted = run_rounds(annotator(select=select), *ground)
    assert len(fitted) > 1
    assert rounds.n_streams == 5
    positives = np.flatnonzero(ground[1] == 1)
    for members in fitted:
        for number, member in enumerate(members):
            stream = number % rounds.n_streams
            np.testing.assert_array_equal(member.positives_, positives[rounds.stream_of != stream])
            assert not np.isin(positives[rounds.stream_of == stream], member.trained_).any()


def test_a_deposit_is_never_split_between_streams(ground):
    """The cells of one deposit share a stream: else a member would see its halo."""
    rounds, _ = run_rounds(annotator(max_rounds=0), *ground)
    for patch in np.unique(rounds.patch):
        assert len(np.unique(rounds.stream_of[rounds.patch == patch])) == 1


@pytest.mark.parametrize("select", ["purge", "weight"])
@pytest.mark.parametrize("mode", ["reselect", "accumulate"])
def test_what_a_stream_annotates_does_not_depend_on_its_own_cluster(ground, select, mode):
    """Change the layers of a cluster's deposits beyond recognition: its stream's set stays."""
    X, labels, coordinates = ground
    X = np.random.default_rng(0).normal(size=(len(labels), 3)) + 1.5 * (labels == 1)[:, None]
    settings = RecursiveAnnotator(
        n_draws=10, max_rounds=2, tolerance=0.0, select=select, mode=mode, guard=False
    )
    before, _ = run_rounds(settings, X, labels, coordinates)
    changed = X.copy()
    changed[np.flatnonzero(labels == 1)[before.stream_of == 0]] = 1e6
    after, _ = run_rounds(settings, changed, labels, coordinates)
    np.testing.assert_array_equal(before.weights[0], after.weights[0])
    assert (before.weights[1] != after.weights[1]).any()
