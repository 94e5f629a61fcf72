"""The guard keeps the best round before the first that harms, in closed form."""

import numpy as np
import pytest

from gossan.annotate import RecursiveAnnotator, choose_round

NONE = np.zeros(5)


def rounds_of(*means: float) -> np.ndarray:
    """Figures of four deposits that move alike: a difference of means is free of error."""
    return np.add.outer(np.array(means), np.array([0.0, 0.1, -0.1, 0.05]))


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.7,), 0),  # no annotation at all
        ((0.7, 0.6, 0.9, 0.9), 0),  # the first round falls: what comes after it is not asked
        ((0.7, 0.8, 0.6, 0.9), 1),  # falls later: the best before
        ((0.7, 0.75, 0.8, 0.78, 0.6), 2),  # the best, not the last, of those that stand
        ((0.7, 0.7, 0.7), 1),  # it need not beat round 0; of equals the earliest
    ],
)
def test_ranks_that_fall_end_it(means, expected):
    """With captures that stay, the ranks decide."""
    ranks = rounds_of(*means)
    assert choose_round(ranks, np.ones_like(ranks), NONE) == expected


def test_captures_that_fall_end_it():
    """Ranks alone do not save a round that captures fewer deposits."""
    ranks = rounds_of(0.7, 0.8, 0.9)
    assert choose_round(ranks, rounds_of(0.5, 0.5, 0.4), NONE) == 1
    assert choose_round(ranks, rounds_of(0.5, 0.4, 0.6), NONE) == 0


def test_a_fall_within_its_standard_error_stands():
    """Differences of mean 0 stand; of mean -0.0875 with a standard error of 0.0718 they fall."""
    before, stays = np.full(4, 0.7), np.ones((2, 4))
    ranks = np.stack([before, before + np.array([-0.3, 0.1, 0.1, 0.1])])
    assert choose_round(ranks, stays, NONE) == 1
    ranks = np.stack([before, before + np.array([-0.3, 0.0, 0.0, -0.05])])
    assert choose_round(ranks, stays, NONE) == 0


def test_deposits_that_score_as_negative_end_it():
    """At most 5 % of the deposits' cells may lie among what is annotated."""
    ranks = rounds_of(0.7, 0.8, 0.9)
    same = np.ones_like(ranks)
    assert choose_round(ranks, same, [0.0, 0.05, 0.06]) == 1
    assert choose_round(ranks, same, [0.9, 0.0, 0.0]) == 2  # round 0 annotates nothing


@pytest.mark.parametrize("spoilt", ["ranks", "captures"])
def test_without_a_figure_no_round_is_kept(spoilt):
    """A deposit that could not be left out leaves the question open: round 0."""
    figures = {"ranks": rounds_of(0.7, 0.8), "captures": rounds_of(0.5, 0.6)}
    figures[spoilt][:, 2] = np.nan
    assert choose_round(figures["ranks"], figures["captures"], NONE) == 0


def test_a_single_deposit_proves_nothing():
    """One difference has no standard error."""
    assert choose_round([[0.7], [0.9]], [[0.5], [0.9]], NONE) == 0


def test_annotation_that_harms_is_taken_back():
    """Where layers say nothing of deposits, the lowest scores are no better negatives."""
    rng = np.random.default_rng(0)
    rows, columns = np.divmod(np.arange(600), 30)
    labels = np.full(600, -1, np.int8)
    for row, column in [(3, 3), (3, 20), (9, 9), (10, 26), (15, 4), (16, 17)]:
        labels[(abs(rows - row) <= 1) & (abs(columns - column) <= 1)] = 1
    X = rng.normal(size=(600, 2))
    settings = {"select": "lowest", "quantile": 0.9, "n_draws": 10, "max_rounds": 2}
    places = np.column_stack([100.0 * columns, 100.0 * rows])
    found = RecursiveAnnotator(**settings, tolerance=0.0).annotate(X, labels, places)
    free = RecursiveAnnotator(**settings, tolerance=0.0, guard=False).annotate(X, labels, places)
    assert found.rounds.equals(free.rounds)
    assert free.chosen == len(free.rounds) - 1
    assert found.chosen == 0
    assert len(found.negatives) == (labels == -1).sum()
