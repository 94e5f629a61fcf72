"""Normal scores: ranks on one scale, whatever the layer's own."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm, rankdata

from gossan.models import NormalScores

values = arrays(np.float64, st.integers(1, 60), elements=st.integers(-20, 20).map(float))


@given(values)
def test_scores_are_normal_quantiles_of_mean_ranks(layer):
    """With a knot for every cell the score is the normal quantile of (rank - 1/2) / n."""
    layer = layer[:, None]
    scores = NormalScores(n_knots=len(layer)).fit_transform(layer)
    expected = norm.ppf((rankdata(layer[:, 0]) - 0.5) / len(layer))
    np.testing.assert_allclose(scores[:, 0], expected, atol=1e-12)


@given(values, st.lists(st.floats(-50, 50), min_size=2, max_size=10))
def test_scores_rise_with_values(layer, fresh):
    """A higher value never has a lower score, within the training range and beyond."""
    fresh = np.sort(fresh)[:, None]
    scores = NormalScores(n_knots=7).fit(layer[:, None]).transform(fresh)
    assert (np.diff(scores[:, 0]) >= -1e-12).all()
    assert np.isfinite(scores).all()


def test_outlier_does_not_stretch_the_scale():
    """A grade a million times higher changes no other cell's score."""
    layer = np.arange(100.0)[:, None]
    wild = layer.copy()
    wild[99] = 1e8
    plain, stretched = (NormalScores(n_knots=100).fit_transform(x) for x in (layer, wild))
    np.testing.assert_allclose(stretched, plain)


def test_missing_is_the_median_and_an_empty_layer_is_zero():
    """NaN scores 0; a layer missing in all training cells scores 0 even where observed later."""
    layer = np.array([[1.0, np.nan], [2.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    scores = NormalScores().fit(layer).transform([[np.nan, 5.0], [2.0, np.nan]])
    np.testing.assert_allclose(scores, 0.0, atol=1e-12)
