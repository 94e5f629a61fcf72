"""Analogues: the cosine by hand, of deposits of one weight each, and ground in the middle."""

import numpy as np
import pytest

from gossan.models import Analogues, NormalScores


@pytest.fixture
def area():
    """2,000 cells of five layers; a few are missing."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(2_000, 5))
    X[rng.random(X.shape) < 0.05] = np.nan
    y = np.full(2_000, -1)
    y[:12] = 1
    return X, y


def test_the_score_is_the_mean_cosine_to_the_deposits(area):
    """Cell by cell and deposit by deposit, from normal scores."""
    X, y = area
    groups = np.full(len(X), -1)
    groups[:9], groups[9:12] = 0, 7  # one deposit of nine cells, one of three
    model = Analogues().fit(X, y, groups)
    scores = NormalScores().fit(X).transform(X)
    deposits = [scores[:9].mean(axis=0), scores[9:12].mean(axis=0)]
    np.testing.assert_allclose(model.deposits_, deposits)
    for cell in (0, 10, 500, 1_999):
        lengths = [np.linalg.norm(scores[cell]) * np.linalg.norm(d) for d in deposits]
        cosines = [scores[cell] @ d / length for d, length in zip(deposits, lengths, strict=True)]
        expected = (1 + np.mean(cosines)) / 2
        assert model.predict_proba(X[[cell]])[0, 1] == pytest.approx(expected)


def test_ground_in_the_middle_is_not_like_everything():
    """A cell on the medians departs in no direction: one half, below ground like the deposits'."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 20))
    X[:40] += 1.5
    y = np.full(len(X), -1)
    y[:20] = 1
    model = Analogues().fit(X, y)
    score = model.predict_proba(X)[:, 1]
    assert np.median(score[20:40]) > np.quantile(score[40:], 0.99)
    assert model.predict_proba(np.full((1, 20), np.nan))[0, 1] == 0.5
