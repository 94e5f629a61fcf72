"""The samplers that judge cells: by distance in feature space, by other occurrences, by spies."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import nan_euclidean_distances

from gossan.exceptions import LabelError, StudyError, SurveyDataWarning
from gossan.labels import (
    BufferedNegatives,
    DissimilarNegatives,
    Ground,
    OtherDepositNegatives,
    RandomNegatives,
    SpyNegatives,
    positive_patches,
    summed_distances,
)
from gossan.methods import SAMPLERS, make_sampler

# Several draws


def lattice(rows: int, columns: int, width: float = 100.0, height: float = 100.0) -> np.ndarray:
    """Centres of cells, row by row, from the north-west."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.column_stack([500_000 + width * (column + 0.5), 7e6 - height * (row + 0.5)])


@pytest.fixture
def ground():
    """Twenty by thirty cells with four single-cell deposits that are high in layer 0."""
    labels = np.full(600, -1, np.int8)
    labels[[95, 200, 330, 500]] = 1
    X = np.random.default_rng(0).normal(size=(600, 2))
    X[labels == 1, 0] += 3.0
    return X, labels, lattice(20, 30)


class Counting(RandomNegatives):
    """Counts how often the cells are judged."""

    judged = 0

    def _pool(self, ground):
        Counting.judged += 1
        return super()._pool(ground)


def test_many_draws_judge_the_cells_once(ground):
    """Ten draws ask for the pool a single time."""
    Counting.judged = 0
    assert len(Counting(5.0).sample_many(*ground, range(10))) == 10
    assert Counting.judged == 1


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_first_of_many_draws_is_the_single_draw(ground, name):
    """`sample_many` begins as `sample` does; other seeds give other cells, in any number."""
    quick = {
        "other-deposits": {"occurrences": [[501_500, 6_999_000]], "footprint": 7, "ratio": 2.0},
        "spy": {"repeats": 5},
        "recursive": {"n_draws": 6, "max_rounds": 1},
        "all-unlabelled": {"max_cells": 100},
        "buffered": {"distance": 200.0},
    }
    sampler = make_sampler(name, **quick.get(name, {}))
    draws = sampler.sample_many(*ground, [3, 4, 5])
    np.testing.assert_array_equal(draws[0], sampler.sample(*ground, 3))
    np.testing.assert_array_equal(draws[1], sampler.sample_many(*ground, [3, 4])[1])
    assert len({draw.tobytes() for draw in draws}) == 3
    assert len({len(draw) for draw in draws}) == 1


# Dissimilar


@given(
    n=st.integers(5, 40),
    n_positive=st.integers(1, 4),
    n_layers=st.integers(1, 5),
    missing=st.sampled_from([0.0, 0.0, 0.3]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_summed_distances_agree_with_brute_force(n, n_positive, n_layers, missing, seed):
    """SciPy's distances of standardised layers where all are known; scikit-learn's with gaps."""
    rng = np.random.default_rng(seed)
    X = rng.normal(
        rng.uniform(-100, 100, n_layers), 10 ** rng.uniform(-3, 3, n_layers), (n, n_layers)
    )
    X[rng.random(X.shape) < missing] = np.nan
    order = rng.permutation(n)
    positives, cells = order[:n_positive], order[n_positive:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a layer without any value
        centre, scale = np.nanmean(X, axis=0), np.nanstd(X, axis=0)
    scaled = (X - np.nan_to_num(centre)) / np.where(scale > 0, scale, 1.0)
    measure = cdist if missing == 0 else nan_euclidean_distances
    expected = measure(scaled[cells], scaled[positives]).sum(axis=1)
    found = summed_distances(X, cells, positives)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@given(
    low=st.floats(0, 0.9),
    width=st.floats(0.05, 1),
    seed=st.integers(0, 2**16),
    n=st.integers(5, 60),
)
@settings(max_examples=60, deadline=None)
def test_the_band_lies_between_its_quantiles(low, width, seed, n):
    """The cells drawn are those from one quantile of the distance to the other, both included."""
    high = min(1.0, low + width)
    X = np.random.default_rng(seed).normal(size=(n, 3))
    labels = np.full(n, -1)
    labels[:2] = 1
    drawn = DissimilarNegatives((low, high), ratio=1e6).sample(X, labels, np.zeros((n, 2)), 0)
    distance = summed_distances(X, np.arange(2, n), np.array([0, 1]))
    limits = np.quantile(distance, [low, high])
    expected = 2 + np.flatnonzero((distance >= limits[0]) & (distance <= limits[1]))
    np.testing.assert_array_equal(drawn, expected)


def test_the_whole_band_is_every_unlabelled_cell(ground):
    """Quantiles 0 to 1 leave out nothing; 0.5 to 1 leave out the likest half."""
    X, labels, places = ground
    everything = DissimilarNegatives((0.0, 1.0), ratio=1e6).sample(X, labels, places, 0)
    np.testing.assert_array_equal(everything, np.flatnonzero(labels == -1))
    unlike = DissimilarNegatives((0.5, 1.0), ratio=1e6).sample(X, labels, places, 0)
    assert len(unlike) == 298
    assert X[unlike, 0].mean() < X[labels == -1, 0].mean() - 0.5


def test_a_unit_of_measurement_changes_nothing(ground):
    """Layers in ppb or per cent give the same cells."""
    X, labels, places = ground
    ours = DissimilarNegatives().sample(X, labels, places, 0)
    theirs = DissimilarNegatives().sample(X * [1e-4, 1e3] + 5, labels, places, 0)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_layers_that_tell_nothing_warn_and_leave_all_cells(ground, value):
    """Constant or missing evidence: there is no distance to go by, and the user is told."""
    X, labels, places = ground
    with pytest.warns(SurveyDataWarning, match="same distance") as told:
        drawn = DissimilarNegatives(ratio=1e6).sample(np.full_like(X, value), labels, places, 0)
    np.testing.assert_array_equal(drawn, np.flatnonzero(labels == -1))
    assert told[0].filename == __file__


def test_a_cell_without_evidence_is_not_drawn(ground):
    """A cell that shares no layer with a deposit is neither like nor unlike it."""
    X, labels, places = ground
    X[[7, 8]] = np.nan
    drawn = DissimilarNegatives((0.0, 1.0), ratio=1e6).sample(X, labels, places, 0)
    assert not np.isin([7, 8], drawn).any()
    assert len(drawn) == 594


@pytest.mark.parametrize("band", [(0.5, 0.5), (0.7, 0.3), (-0.1, 0.5), (0.5, 1.1)])
def test_a_band_that_cannot_be(ground, band):
    """Two quantiles, the lower first."""
    with pytest.raises(StudyError, match="two quantiles"):
        DissimilarNegatives(band).sample(*ground, 0)


# Other occurrences


@pytest.mark.parametrize("footprint", [1, 3, 5])
@pytest.mark.parametrize("size", [(100.0, 100.0), (250.0, 40.0)])
def test_the_footprint_of_an_occurrence_is_a_square_of_cells(footprint, size):
    """So many cells across each way, whatever a cell's width and height; none beyond."""
    places = lattice(20, 30, *size)
    labels = np.full(600, -1)
    labels[0] = 1
    rng = np.random.default_rng(0)
    row, column = np.array([10, 17]), np.array([6, 21])
    # An occurrence lies anywhere in its cell: a footprint is of cells, about the one it lies in.
    middle = places[row * 30 + column]
    rows, columns = np.divmod(np.arange(600), 30)
    reach = footprint // 2
    expected = np.zeros(600, bool)
    for r, c in zip(row, column, strict=True):
        expected |= (abs(rows - r) <= reach) & (abs(columns - c) <= reach)
    for share in (0.0, 0.4):
        off = rng.uniform(-share, share, (2, 2)) * size
        drawn = OtherDepositNegatives(middle + off, footprint).sample(None, labels, places, 0)
        np.testing.assert_array_equal(drawn, np.flatnonzero(expected))


def test_other_occurrences_on_deposits_are_no_negatives():
    """A cell of a deposit, or known to be barren already, is not drawn."""
    places, labels = lattice(20, 30), np.full(600, -1)
    labels[[310, 311]], labels[312] = 1, 0
    drawn = OtherDepositNegatives(places[[311]]).sample(None, labels, places, 0)
    around = {280, 281, 282, 340, 341, 342}
    assert set(drawn) == around
    with pytest.raises(LabelError, match="None of the 1 other occurrences"):
        OtherDepositNegatives(places[[310]], footprint=1).sample(None, labels, places, 0)


def test_other_occurrences_elsewhere():
    """Occurrences outside the area: a wrong CRS, most likely."""
    places, labels = lattice(20, 30), np.full(600, -1)
    labels[5] = 1
    with pytest.raises(LabelError, match=r"None of the 2 other occurrences.*CRS"):
        OtherDepositNegatives([[117.2, 25.0], [117.3, 25.1]]).sample(None, labels, places, 0)


@pytest.mark.parametrize("occurrences", [None, [], np.zeros((0, 2))])
def test_other_occurrences_have_to_be_given(occurrences, ground):
    """Without a file there is nothing to draw from; the message names the place in the study."""
    with pytest.raises(StudyError, match=r"\[negatives.occurrences\]"):
        OtherDepositNegatives(occurrences).sample(*ground, 0)


@pytest.mark.parametrize("occurrences", [[[1.0, 2.0, 3.0]], [5.0, 6.0], [[np.nan, 1.0]]])
def test_other_occurrences_are_points(occurrences, ground):
    """Easting and northing, and no gaps."""
    with pytest.raises(LabelError, match="easting and northing"):
        OtherDepositNegatives(occurrences).sample(*ground, 0)


@pytest.mark.parametrize("footprint", [0, 2])
def test_other_occurrences_have_an_odd_footprint(footprint, ground):
    """A footprint has a centre cell."""
    with pytest.raises(StudyError, match=f"footprint is {footprint}"):
        OtherDepositNegatives([[501_000, 6_999_000]], footprint).sample(*ground, 0)


# Spies


def test_spies_work_with_three_deposits_of_a_cell(ground):
    """One of three hides in each of fifty repeats; ore-like unlabelled cells are avoided."""
    X, labels, places = ground
    labels[500] = -1  # found by nobody
    X[np.arange(7, 600, 60)] = [4.0, 0.0]
    lookalikes = np.flatnonzero(X[:, 0] >= 4.0 - 1e-9)
    drawn = SpyNegatives(ratio=1e6).sample(X, labels, places, 0)
    assert 100 < len(drawn) < 595
    assert len(lookalikes) >= 10
    assert not np.isin(lookalikes, drawn).any()
    assert 500 not in drawn
    assert X[drawn, 0].max() < X[labels == 1, 0].max()


def test_spies_need_two_deposits(ground):
    """One patch of cells is one deposit: hidden, nothing is left to learn from."""
    X, labels, places = ground
    labels[:] = -1
    labels[[95, 96, 125, 126]] = 1
    with pytest.raises(LabelError, match="form one patch"):
        SpyNegatives().sample(X, labels, places, 0)


def test_whole_deposits_hide(ground):
    """The cells of a deposit are hidden together: else its halo would give the spies away."""
    _, labels, places = ground
    labels[:] = -1
    labels[[95, 96, 125, 300, 301, 500, 20]] = 1
    area = Ground(None, places, labels, np.random.default_rng(0))
    patch = positive_patches(area)
    for _ in range(30):
        hidden = SpyNegatives(share=0.4)._hide(patch, area.generator)
        assert len(np.unique(patch[hidden])) == 2
        assert not set(patch[hidden]) & set(patch[~hidden])


def test_spies_say_where_evidence_tells_nothing(ground):
    """Constant layers: no cell scores below the spies, and the message names the way out."""
    X, labels, places = ground
    with pytest.raises(LabelError, match="does not tell deposits from other ground"):
        SpyNegatives(repeats=3).sample(np.ones_like(X), labels, places, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0.0}, "share is 0.0"),
        ({"noise": 1.0}, "noise is 1.0"),
        ({"agreement": 1.5}, "agreement is 1.5"),
        ({"repeats": 0}, "repeats is 0"),
        ({"learn_ratio": 0}, "learn_ratio is 0"),
        ({"max_cells": 0}, "max_cells is 0"),
    ],
)
def test_spy_settings_that_cannot_be(ground, settings, message):
    """Each bad setting is named with its value."""
    with pytest.raises(StudyError, match=message):
        SpyNegatives(**settings).sample(*ground, 0)


# Warnings


def test_a_relaxed_buffer_warns_once_for_many_draws(ground):
    """The warning is about the cells, not about each draw."""
    with pytest.warns(SurveyDataWarning, match="the distance is shortened") as told:
        BufferedNegatives(1e5).sample_many(*ground, range(5))
    assert len(told) == 1
