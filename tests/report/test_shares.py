"""Scores as shares of the area, and thinning of large maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossan.evaluate import percentile_ranks
from gossan.report.shares import area_classes, area_thresholds, thin, thinning


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=80),
    st.sampled_from([(0.05,), (0.01, 0.1, 0.5), (0.25, 0.3)]),
)
@settings(max_examples=80, deadline=None)
def test_classes_agree_with_the_ranks_that_judge_deposits(levels, areas):
    """A cell is in the top ``a`` exactly if its percentile rank, ties half, is 1 − a or more."""
    scores = np.array(levels) / 12
    reached = percentile_ranks(scores, scores)[:, None] >= 1 - np.array(areas) - 1e-12
    classes = area_classes(scores, area_thresholds(scores, areas), areas)
    np.testing.assert_array_equal(classes, len(areas) - reached.sum(axis=1))


def test_top_class_holds_its_share_of_the_observed_area():
    """Of 10,000 distinct scores, 5 % lie in the top 5 %; missing cells are not area."""
    scores = np.random.default_rng(0).permutation(10_000).astype(float)
    padded = np.concatenate([scores, np.full(5000, np.nan)])
    classes = area_classes(padded, area_thresholds(padded, (0.05,)), (0.05,))
    assert (classes == 0).sum() == 500
    assert np.isnan(classes).sum() == 5000


def test_a_plateau_too_wide_for_a_share_has_no_threshold():
    """If half the map ties at the top, no score bounds the top 5 %."""
    assert area_thresholds([1, 1, 0, 0], (0.05, 0.3)) == {0.3: 1.0}
    assert area_thresholds([np.nan]) == {}


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 12), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_thinning_loses_no_anomaly_and_invents_none(rows, columns, limit, seed):
    """The highest value survives, nothing exceeds it, and missing stays missing."""
    rng = np.random.default_rng(seed)
    values = rng.random((rows, columns))
    values[rng.random(values.shape) < 0.4] = np.nan
    step = thinning(values.shape, limit)
    best, mean = (thin(values, keep=keep, limit=limit) for keep in ("max", "mean"))
    assert max(best.shape) <= limit
    for (row, column), shown in np.ndenumerate(best):
        block = values[row * step : (row + 1) * step, column * step : (column + 1) * step]
        known = block[np.isfinite(block)]
        expected = (known.max(), known.mean()) if len(known) else (np.nan, np.nan)
        np.testing.assert_allclose((shown, mean[row, column]), expected)


def test_a_small_map_is_drawn_cell_by_cell():
    """Nothing is thinned that fits."""
    values = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(thin(values, keep="mean", limit=4), values)


@pytest.mark.parametrize(("shape", "step"), [((1200, 10), 1), ((1201, 10), 2), ((3072, 3072), 3)])
def test_step_keeps_the_drawing_within_its_limit(shape, step):
    """1200 pixels a side at most."""
    assert thinning(shape) == step
