"""Rounds of annotation: what they set aside, when they stop, whom they obey."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.naive_bayes import GaussianNB

from gossan.annotate import DECISIONS, SET_ASIDE, RecursiveAnnotator, label_decided
from gossan.annotate.annotation import draw_cells
from gossan.evidence import CellFeatures
from gossan.exceptions import LabelError, StudyError, SurveyDataWarning
from gossan.methods import make_sampler

SHAPE = (20, 30)
DEPOSITS = [(3, 3), (3, 20), (9, 9), (10, 26), (15, 4), (16, 17)]
ROWS, COLUMNS = np.divmod(np.arange(SHAPE[0] * SHAPE[1]), SHAPE[1])


@pytest.fixture(scope="module")
def ground():
    """Layers, labels and places of 600 cells; ore-like ground is high in layer 0."""
    labels = np.full(len(ROWS), -1, np.int8)
    for row, column in DEPOSITS:
        labels[(abs(ROWS - row) <= 1) & (abs(COLUMNS - column) <= 1)] = 1
    X = np.random.default_rng(0).normal(size=(len(ROWS), 3))
    X[:, 0] += 2.0 * (labels == 1)
    return X, labels, np.column_stack([100.0 * COLUMNS, -100.0 * ROWS])


def annotator(**settings):
    """An annotator of members that are fitted in a blink."""
    quick = {"n_draws": 10, "ratio": 2.0, "max_rounds": 3, "tolerance": 0.0, "guard": False}
    return RecursiveAnnotator(GaussianNB(), **(quick | settings))


def set_aside(found, number):
    """Which of the cells are doubtful in a round."""
    return found.decisions[number] == DECISIONS["doubtful"]


# Rounds


def test_same_seed_same_annotation(ground):
    """Everything is the same again with the same seed, and something differs with another."""
    one, again, other = (
        RecursiveAnnotator(max_rounds=1, n_draws=10, random_state=seed).annotate(*ground)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.scores, again.scores)
    np.testing.assert_array_equal(one.decisions, again.decisions)
    np.testing.assert_array_equal(one.weights, again.weights)
    assert one.rounds.equals(again.rounds)
    assert not np.array_equal(one.scores, other.scores, equal_nan=True)


class Tally(ClassifierMixin, BaseEstimator):
    """Notes what every member was shown: (positives, others), by the first layer."""

    shown: list = []  # noqa: RUF012 - clones share the record on purpose

    def fit(self, X, y):
        Tally.shown.append((X[y == 1, 0].astype(int), X[y == 0, 0].astype(int)))
        return self

    def predict_proba(self, X):
        score = (X[:, 0] * 0.618) % 1.0
        return np.column_stack([1.0 - score, score])


@pytest.fixture
def tally(ground):
    """An annotator whose members note what they are shown, and ground of numbered cells."""
    Tally.shown.clear()
    _, labels, coordinates = ground
    X = np.column_stack([np.arange(len(labels)), np.zeros(len(labels))]).astype(float)
    return Tally(), X, labels, coordinates


def test_round_zero_is_plain_random_draws(tally):
    """Before any annotation every unlabelled cell is drawn alike (chi-square)."""
    member, X, labels, coordinates = tally
    RecursiveAnnotator(member, n_draws=400, max_rounds=0).annotate(X, labels, coordinates)
    drawn = np.concatenate([others for _, others in Tally.shown])
    counts = np.bincount(drawn, minlength=len(labels))
    assert (counts[labels == 1] == 0).all()
    assert stats.chisquare(counts[labels == -1]).pvalue > 1e-3


def test_each_member_draws_so_many_negatives_a_positive(tally):
    """Ratio times the positives it is shown, and at most half of what may be drawn."""
    member, X, labels, coordinates = tally
    for ratio in (2.0, 100.0):
        RecursiveAnnotator(member, n_draws=5, ratio=ratio, max_rounds=0).annotate(
            X, labels, coordinates
        )
    half = (labels == -1).sum() // 2
    for number, (positives, others) in enumerate(Tally.shown):
        assert len(others) == (2 * len(positives) if number < 5 else half)


def test_rounds_end_when_little_changes(ground):
    """A wide tolerance ends after the second scoring; none lets every round run."""
    assert len(annotator(tolerance=0.99, max_rounds=6).annotate(*ground).rounds) == 2
    found = annotator(max_rounds=6).annotate(*ground)
    assert found.rounds["round"].tolist() == list(range(7))
    assert len(found.scores) == len(found.decisions) == 7
    assert len(annotator(max_rounds=0).annotate(*ground).rounds) == 1


def test_the_share_that_changed_is_counted(ground):
    """Cells that left or joined the set, over the cells that are in it now."""
    found = annotator(purge=0.1).annotate(*ground)
    negative = found.decisions == DECISIONS["negative"]
    free = ground[1][found.cells] == -1
    negative[0] = free
    for number in range(1, 4):
        before, now = negative[number - 1], negative[number]
        expected = (before != now).sum() / now.sum()
        assert found.rounds["changed"][number] == pytest.approx(expected)
    assert np.isnan(found.rounds["changed"][0])


def test_progress_ends_whole(ground):
    """Rounds are told one by one, and the last call says that all is done."""
    told = []
    annotator(tolerance=0.99, max_rounds=6).annotate(*ground, progress=lambda *s: told.append(s))
    assert told == [(1, 7), (7, 7)]


# What is set aside


@pytest.mark.parametrize("purge", [0.02, 0.05, 0.3])
def test_purge_sets_aside_its_share(ground, purge):
    """Each round exactly the share of the unlabelled cells, those that scored highest."""
    found = annotator(purge=purge).annotate(*ground)
    free = ground[1][found.cells] == -1
    for number in range(1, 4):
        doubtful = set_aside(found, number)
        assert doubtful.sum() == round(purge * free.sum())
        before = found.scores[number - 1]
        assert before[doubtful].min() >= before[free & ~doubtful].max()
        assert found.rounds["n_doubtful"][number] == doubtful.sum()
        assert found.rounds["n_negative"][number] == (free & ~doubtful).sum()


def test_purge_finds_planted_ore_among_the_unlabelled(ground):
    """Unlabelled cells that look like the deposits are what is set aside."""
    X, labels, coordinates = ground
    X, planted = X.copy(), np.flatnonzero(labels == -1)[::50]
    X[planted, 0] += 5.0
    found = annotator(purge=0.1).annotate(X, labels, coordinates)
    assert set(planted) <= set(found.cells[set_aside(found, -1)])
    assert not np.isin(planted, found.negatives).any()


def test_accumulate_only_adds_to_what_is_set_aside(ground):
    """A cell once doubtful stays so, and every round adds its share of the rest."""
    found = annotator(mode="accumulate", purge=0.1).annotate(*ground)
    left = (ground[1] == -1).sum()
    for number in range(1, 4):
        doubtful = set_aside(found, number)
        assert (doubtful | ~set_aside(found, number - 1)).all()
        taken = doubtful.sum() - set_aside(found, number - 1).sum()
        assert taken == round(0.1 * left)
        left -= taken


def test_reselect_judges_afresh(ground):
    """Without accumulation a cell may come back."""
    found = annotator(purge=0.1).annotate(*ground)
    assert (set_aside(found, 1) & ~set_aside(found, 3)).any()


@pytest.mark.parametrize("mode", ["reselect", "accumulate"])
def test_lowest_annotates_at_most_its_quantile(ground, mode):
    """Reselected, no round annotates more than the quantile, and those are the lowest scores."""
    found = annotator(select="lowest", quantile=0.3, mode=mode, n_draws=20).annotate(*ground)
    free = ground[1][found.cells] == -1
    judged = np.isfinite(found.scores[:-1]) & (found.decisions[1:] == DECISIONS["negative"])
    counts = judged.sum(axis=1)  # a cell that every member drew has no score and keeps its place
    assert counts[0] > 0
    assert counts[0] <= round(0.3 * free.sum())
    if mode == "reselect":
        assert max(counts) <= round(0.3 * free.sum())
    else:
        assert (np.diff(counts) >= 0).all()
    chosen = found.decisions[1] == DECISIONS["negative"]
    assert found.scores[0][chosen].max() <= found.scores[0][free & ~chosen].min()


def test_lowest_draws_from_every_part_of_the_area(ground):
    """Negatives of few annotated cells still lie in all sixteen parts that have any."""
    found = annotator(select="lowest", quantile=0.5).annotate(*ground)
    rng = np.random.default_rng(0)
    drawn = np.concatenate([found.draw(100, rng) for _ in range(20)])
    part = (ROWS // 5) * 4 + COLUMNS * 4 // 30
    assert set(part[drawn]) == set(part[found.negatives])
    assert len(set(part[drawn])) == 16
    assert set(drawn) <= set(found.negatives)


def test_weight_draws_doubtful_cells_less_often(ground):
    """The more a cell looks like the deposits, the more seldom it is drawn; none twice."""
    found = annotator(select="weight").annotate(*ground)
    rng, counts = np.random.default_rng(0), np.zeros(len(ground[1]))
    for _ in range(300):
        drawn = found.draw(100, rng)
        assert (np.diff(drawn) > 0).all()
        counts[drawn] += 1
    free = ground[1][found.cells] == -1
    score, count = found.scores[-2][free], counts[found.cells[free]]
    tenths = np.array_split(np.argsort(score), 10)
    mean = np.array([count[tenth].mean() for tenth in tenths])
    assert (np.diff(mean) < 0).all()
    assert mean[0] > 4 * mean[-1]
    assert (counts[ground[1] == 1] == 0).all()


def test_one_weighted_draw_follows_the_weights():
    """The chance of a single cell is its share of the weights (chi-square)."""
    weights = np.array([0.0, 1.0, 2.0, 3.0, 4.0], np.float32)
    rng = np.random.default_rng(0)
    counts = np.bincount([draw_cells(weights, 1, rng)[0] for _ in range(4000)], minlength=5)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:], 400.0 * weights[1:]).pvalue > 1e-3


@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_a_draw_changes_by_the_cells_set_aside_alone(seed, data):
    """Cells drawn before and still open are drawn after; nothing set aside is."""
    count = data.draw(st.integers(2, 60))
    weights = np.ones(count, np.float32)
    aside = data.draw(st.lists(st.integers(0, count - 1), max_size=count - 1))
    left = weights.copy()
    left[aside] = 0.0
    size = data.draw(st.integers(1, count))
    before = draw_cells(weights, size, np.random.default_rng(seed))
    after = draw_cells(left, size, np.random.default_rng(seed))
    assert len(set(after)) == len(after) == min(size, np.count_nonzero(left))
    assert set(before[left[before] > 0]) <= set(after)
    assert (left[after] > 0).all()


def test_strata_give_by_their_share_of_the_area_while_they_last():
    """Half of the draw from the half with few cells; all of them where they are too few."""
    weights = np.repeat([1.0, 1.0], [400, 40]).astype(np.float32)
    strata, shares = np.repeat([0, 1], [400, 40]), np.array([0.5, 0.5])
    rng = np.random.default_rng(0)
    counts = [(draw_cells(weights, 40, rng, strata, shares) >= 400).sum() for _ in range(300)]
    assert np.mean(counts) == pytest.approx(20, abs=1)
    drawn = draw_cells(weights, 200, rng, strata, shares)
    assert len(np.unique(drawn)) == 200
    assert (drawn >= 400).sum() == 40


# Controls


def test_same_count_keeps_the_count_and_nothing_else(ground):
    """As many cells are set aside as without the control, but others."""
    real = annotator(purge=0.2).annotate(*ground)
    control = annotator(purge=0.2, control="same-count").annotate(*ground)
    assert len(control.negatives) == len(real.negatives)
    assert not np.array_equal(control.negatives, real.negatives)
    np.testing.assert_array_equal(control.scores, real.scores)
    assert _lean(control.weights == 0, control, ground) < 3
    assert _lean(real.weights == 0, real, ground) > 10


def test_shuffled_sets_aside_without_regard_to_the_score(ground):
    """What shuffled rounds set aside scores no higher than the rest; real rounds' does."""
    real = annotator(purge=0.2).annotate(*ground)
    control = annotator(purge=0.2, control="shuffled").annotate(*ground)
    assert set_aside(control, -1).sum() == set_aside(real, -1).sum()
    assert _lean(set_aside(control, -1), control, ground) < 3
    assert _lean(set_aside(real, -1), real, ground) > 10


def _lean(chosen, found, ground) -> float:
    """How many standard errors the chosen cells' ranks lie off those of the rest (Mann-Whitney)."""
    free = ground[1][found.cells] == -1
    one, rest = found.scores[0][free & chosen], found.scores[0][free & ~chosen]
    u = stats.mannwhitneyu(one, rest).statistic
    n, m = len(one), len(rest)
    return abs(u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12)


# A geologist's word


@pytest.mark.parametrize("mode", ["reselect", "accumulate"])
@pytest.mark.parametrize("select", ["purge", "lowest", "weight"])
def test_a_geologists_decisions_stand_in_every_round(tally, select, mode):
    """Accepted cells always train as negatives, rejected never, new deposits as positives."""
    member, X, labels, coordinates = tally
    decided = np.zeros(len(labels), np.int8)
    accepted, rejected, deposit = np.flatnonzero(labels == -1)[[[3, 40], [90, 200], [300, 301]]]
    for cells, word in ((accepted, "accept"), (rejected, "reject"), (deposit, "deposit")):
        decided[cells] = DECISIONS[word]
    found = RecursiveAnnotator(
        member, n_draws=12, max_rounds=2, tolerance=0.0, guard=False, select=select, mode=mode
    ).annotate(X, labels, coordinates, decisions=decided)
    assert len(found.rounds) > 1
    assert len(Tally.shown) == 12 * len(found.rounds)
    shown_as_ore = 0
    for positives, others in Tally.shown:
        assert np.isin(accepted, others).all()
        assert (np.bincount(others)[accepted] == 1).all(), "an accepted cell was drawn besides"
        assert not np.isin(rejected, np.concatenate([positives, others])).any()
        assert not np.isin(deposit, others).any()
        shown_as_ore += np.isin(deposit, positives).all()
    assert shown_as_ore > len(Tally.shown) / 2  # all but the stream that leaves it out
    where = {cell: k for k, cell in enumerate(found.cells)}
    for cells, word in ((accepted, "accept"), (rejected, "reject"), (deposit, "deposit")):
        for cell in cells:
            assert (found.decisions[:, where[cell]] == DECISIONS[word]).all()
            assert found.weights[where[cell]] == 0
    assert not np.isin(np.concatenate([accepted, rejected, deposit]), found.negatives).any()


def test_rejected_cells_are_still_scored(ground):
    """The geologist sees what the model makes of a cell that he took out."""
    X, labels, coordinates = ground
    decided = np.zeros(len(labels), np.int8)
    rejected = np.flatnonzero(labels == -1)[17]
    decided[rejected] = DECISIONS["reject"]
    found = annotator().annotate(X, labels, coordinates, decisions=decided)
    assert np.isfinite(found.scores[:, found.cells == rejected]).all()


def test_a_known_deposit_stays_one_whatever_is_decided():
    """The deposits' file outranks a decision; known barren ground does not."""
    labels = np.array([1, 1, 1, 0, 0, -1], np.int8)
    words = ["accept", "reject", "deposit", "deposit", "reject", "negative"]
    codes = np.array([DECISIONS[word] for word in words])
    assert label_decided(labels, codes).tolist() == [1, 1, 1, 1, SET_ASIDE, -1]


# Odd ground


def test_one_deposit_warns_and_keeps_no_round(ground):
    """Nothing can be left out inside, so the guard has nothing to judge by."""
    X, labels, coordinates = ground
    labels = np.where((labels == 1) & (np.arange(len(labels)) > 200), -1, labels)
    labels[(ROWS > 5) | (COLUMNS > 10)] = -1
    assert (labels == 1).sum() == 9
    with pytest.warns(SurveyDataWarning, match="form one patch") as told:
        found = annotator(guard=True).annotate(X, labels, coordinates)
    assert told[0].filename == __file__
    assert found.chosen == 0
    assert len(found.negatives) == (labels == -1).sum()
    assert np.isnan(found.rounds["inner_auc"]).all()


@pytest.mark.parametrize("select", ["purge", "lowest", "weight"])
def test_ground_that_is_all_alike_does_no_harm(ground, select):
    """Constant layers: scores tie, and there are still negatives to draw."""
    X, labels, coordinates = ground
    found = RecursiveAnnotator(n_draws=6, max_rounds=2, select=select).annotate(
        np.ones_like(X), labels, coordinates
    )
    assert len(found.draw(20, np.random.default_rng(0))) == 20


def test_missing_layers_are_no_obstacle(ground):
    """The default members take NaN as it is, a layer without any value too."""
    X, labels, coordinates = ground
    X = np.where(np.random.default_rng(1).random(X.shape) < 0.3, np.nan, X)
    X[:, 2] = np.nan
    found = RecursiveAnnotator(n_draws=6, ratio=1.0, max_rounds=1, select="lowest").annotate(
        X, labels, coordinates
    )
    assert np.isfinite(found.scores[0][labels[found.cells] == -1]).all()


@pytest.mark.parametrize("select", ["purge", "lowest"])
def test_lazy_evidence_gives_the_same_annotation(ground, select):
    """A stack in blocks on disk or in memory, block by block or whole: the same to the bit."""
    X, labels, coordinates = ground
    stack = np.tile(X.T.reshape(3, *SHAPE).astype(np.float32), (1, 30, 20))
    stack += np.random.default_rng(0).normal(0, 0.1, stack.shape).astype(np.float32)
    rows, columns = 30 * ROWS % 600, 20 * COLUMNS  # scattered over two blocks of 512 each way
    found = []
    for values in (stack, da.from_array(stack, chunks=(1, 512, 512))):
        evidence = xr.DataArray(values, dims=("layer", "y", "x"))
        features = CellFeatures(evidence, rows, columns)
        found.append(annotator(select=select).annotate(features, labels, coordinates))
    np.testing.assert_array_equal(found[0].scores, found[1].scores)
    np.testing.assert_array_equal(found[0].weights, found[1].weights)
    np.testing.assert_array_equal(found[0].decisions, found[1].decisions)


def test_a_large_area_is_judged_by_a_sample(ground):
    """So many unlabelled cells are judged, beside the deposits; no other may be drawn."""
    found = annotator(max_cells=200).annotate(*ground)
    assert (ground[1][found.cells] == -1).sum() == 200
    assert (ground[1][found.cells] == 1).sum() == (ground[1] == 1).sum()


def test_nothing_to_annotate_is_an_error(ground):
    """Without deposits, or without unlabelled cells, there is nothing to do."""
    X, labels, coordinates = ground
    with pytest.raises(LabelError, match="No cell is labelled as a deposit"):
        annotator().annotate(X, np.full(len(labels), -1), coordinates)
    with pytest.raises(LabelError, match="nothing to annotate"):
        annotator().annotate(X, np.where(labels == -1, 0, labels), coordinates)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"select": "best"}, "select is 'best': one of purge, lowest, weight"),
        ({"mode": "again"}, "mode is 'again'"),
        ({"control": "placebo"}, "control is 'placebo'"),
        ({"purge": 0.0}, "purge is 0.0"),
        ({"quantile": 1.0}, "quantile is 1.0"),
        ({"positive_quantile": -1}, "positive_quantile is -1"),
        ({"ratio": 0}, "ratio is 0"),
        ({"tolerance": 1.0}, "tolerance is 1.0"),
        ({"n_draws": 1}, "n_draws is 1: at least 2"),
        ({"n_streams": 1}, "n_streams is 1: at least 2"),
        ({"max_rounds": -1}, "max_rounds is -1"),
        ({"max_cells": 0}, "max_cells is 0"),
    ],
)
def test_settings_that_cannot_be(ground, settings, message):
    """Each bad setting is named with its value."""
    with pytest.raises(StudyError, match=message):
        annotator(**settings).annotate(*ground)


def test_the_sampler_draws_from_what_the_rounds_left(ground):
    """`recursive` in a study file: its draws are reliable negatives, ratio times the positives."""
    X, labels, coordinates = ground
    sampler = make_sampler("recursive", max_rounds=1, ratio=2.0, purge=0.3, guard=False, n_draws=6)
    first, second = sampler.sample_many(X, labels, coordinates, [3, 4])
    np.testing.assert_array_equal(first, sampler.sample(X, labels, coordinates, 3))
    seed = int(np.random.default_rng(3).integers(2**31))
    negatives = sampler.annotator(seed).annotate(X, labels, coordinates).negatives
    assert len(first) == len(second) == 2 * (labels == 1).sum()
    assert set(first) | set(second) <= set(negatives)
    assert not np.array_equal(first, second)


def test_members_take_seeds_where_they_have_them(ground):
    """A learner with randomness gets another seed in every draw, the same in every run."""
    settings = {"n_draws": 6, "max_rounds": 0}
    trees = ExtraTreesClassifier(2, random_state=None)
    one, again = (RecursiveAnnotator(trees, **settings).annotate(*ground).scores for _ in range(2))
    np.testing.assert_array_equal(one, again)


@pytest.mark.parametrize("word", ["accept", "reject"])
def test_a_known_deposit_stands_whatever_a_geologist_decided(word):
    """Its cell is listed once, as a known deposit, and is in no background."""
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(400, 3)), np.full(400, -1)
    labels[np.argsort(X[:, 0])[-60::4]] = 1
    coordinates = np.column_stack(np.divmod(np.arange(400.0), 20))
    known = np.flatnonzero(labels == 1)[0]
    decisions = np.zeros(400, np.int8)
    decisions[known] = DECISIONS[word]

    found = RecursiveAnnotator(max_rounds=1, guard=False).annotate(
        X, labels, coordinates, decisions=decisions
    )

    assert len(np.unique(found.cells)) == len(found.cells)
    assert found.decisions[:, found.cells == known].ravel().tolist() == 2 * [
        DECISIONS["known deposit"]
    ]
