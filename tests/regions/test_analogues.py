"""Similarity maps against brute force, and what makes two places alike."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

import gossan as gs
from gossan.exceptions import SurveyDataError
from gossan.models import NormalScores
from gossan.regions import most_alike, shared_departures, similarity_map

SHAPE = (30, 40)
GRID = gs.Grid.from_bounds((0, 0, 100 * SHAPE[1], 100 * SHAPE[0]), 100, "EPSG:32650")
QUERY = np.array([[3, 4], [3, 5]])


@pytest.fixture
def area():
    """Five layers, of which some values are missing and one corner is bare."""
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, size=(5, *SHAPE)).astype("f4")
    values[1] = np.exp(values[1])
    values[2, 10:12] = np.nan
    values[:, :2, :2] = np.nan
    return GRID.to_dataarray(values, layers=["Cu", "Au", "K", "Sn", "W"])


def by_hand(area, scale):
    cells = area.to_numpy().reshape(5, -1).T
    known = np.isfinite(cells).any(axis=1)
    if scale == "ranks":
        scores = NormalScores().fit(cells[known]).transform(cells)
    else:
        mean, deviation = np.nanmean(cells[known], axis=0), np.nanstd(cells[known], axis=0)
        scores = np.nan_to_num((cells - mean) / deviation)
    query = scores[np.ravel_multi_index(QUERY.T, SHAPE)].mean(axis=0)
    found = cosine_similarity(scores, query[None])[:, 0]
    return np.where(known, found, np.nan).reshape(SHAPE), scores, query


@pytest.mark.parametrize("scale", ["ranks", "deviations"])
def test_the_map_is_the_cosine_cell_by_cell(area, scale):
    """From memory and block by block; missing ground has none."""
    expected, _, _ = by_hand(area, scale)
    found = similarity_map(area, QUERY, scale=scale)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    lazy = area.chunk({"layer": 2, "y": 8, "x": 16})
    np.testing.assert_allclose(similarity_map(lazy, QUERY, scale=scale), expected, atol=2e-5)
    assert found.to_numpy()[tuple(QUERY.T)].max() > 0.8


def test_layers_that_depart_alike_are_named_with_their_share(area):
    """The shares add up to the cosine; a layer that departs the other way is not named."""
    expected, scores, query = by_hand(area, "ranks")
    places = np.array([[20, 20], [5, 30], [3, 4]])
    told = shared_departures(area, QUERY, places)
    for place, text in zip(places, told, strict=True):
        own = scores[np.ravel_multi_index(place, SHAPE)]
        parts = own * query / (np.linalg.norm(own) * np.linalg.norm(query))
        assert parts.sum() == pytest.approx(expected[tuple(place)], abs=1e-5)
        words = [
            f"{'high' if query[j] > 0 else 'low'} {area['layer'].to_numpy()[j]} ({parts[j]:.2f})"
            for j in np.argsort(-parts)
            if parts[j] >= 0.05
        ]
        assert text == ("; ".join(words) or "no layer stands out in both")
    assert shared_departures(area, QUERY, np.empty((0, 2), dtype=int)) == []


def test_a_place_in_the_middle_is_like_nothing():
    """An odd number of values has a median: ground that lies on all of them is refused."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(3, 5, 5)).astype("f4")
    for layer in values:
        middle = np.argsort(layer, axis=None)[12]
        layer.flat[middle], layer.flat[12] = layer.flat[12], layer.flat[middle]
    grid = gs.Grid.from_bounds((0, 0, 500, 500), 100, "EPSG:32650")
    area = grid.to_dataarray(values, layers=list("abc"))
    with pytest.raises(SurveyDataError, match="lies in the middle of every layer"):
        similarity_map(area, np.array([[2, 2]]))


def test_constant_ground_is_all_alike():
    """And said to be so."""
    area = GRID.to_dataarray(np.ones((2, *SHAPE), dtype="f4"), layers=["a", "b"])
    with pytest.raises(SurveyDataError, match="all ground is alike"):
        similarity_map(area, QUERY)


def test_each_place_has_its_like_in_another_group(area):
    """By the cosines of all pairs; none where there is one group alone."""
    places = np.array([[5, 5], [5, 6], [20, 30], [25, 3], [12, 12]])
    groups = np.array([0, 0, 1, 2, 1])
    _, scores, _ = by_hand(area, "ranks")
    cosines = cosine_similarity(scores[np.ravel_multi_index(places.T, SHAPE)])
    cosines[groups[:, None] == groups] = -2.0
    other, likeness = most_alike(area, places, groups)
    assert other.tolist() == cosines.argmax(axis=1).tolist()
    np.testing.assert_allclose(likeness, cosines.max(axis=1), atol=1e-5)
    other, _ = most_alike(area, places, np.zeros(5, dtype=int))
    assert other.tolist() == [-1] * 5
