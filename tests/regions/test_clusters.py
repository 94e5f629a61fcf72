"""Regions: planted ones are found, their number too, and noise is said to be none."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import gossan as gs
from gossan.exceptions import StudyError, SurveyDataError, SurveyDataWarning
from gossan.regions import CLUSTERINGS, choose_count, find_regions

SHAPE = (60, 80)
GRID = gs.Grid.from_bounds((0, 0, 100 * SHAPE[1], 100 * SHAPE[0]), 100, "EPSG:32650")


def planted(count: int, seed: int = 0, noise: float = 0.4):
    """Stripes of ground, each around a place of its own in six layers; some gaps."""
    rng = np.random.default_rng(seed)
    truth = (np.arange(SHAPE[1]) * 2 * count // SHAPE[1]) % count  # each twice, narrow
    truth = np.broadcast_to(truth, SHAPE)
    centres = 3 * rng.permutation(np.eye(6))[:count]
    values = centres[truth].transpose(2, 0, 1) + rng.normal(scale=noise, size=(6, *SHAPE))
    values[:, :3, :5] = np.nan
    values[2, 30:33] = np.nan
    return GRID.to_dataarray(values.astype("f4"), layers=list("abcdef")), truth


@pytest.mark.parametrize("method", CLUSTERINGS)
def test_planted_regions_are_found_whatever_the_method(method):
    """All cells with evidence have a region, none without; the number is found too."""
    layers, truth = planted(4)
    found = find_regions(layers, method=method, most=7)
    assert found.count == 4
    assert found.stable
    numbers = found.labels.to_numpy()
    empty = np.isnan(layers.to_numpy()).all(axis=0)
    np.testing.assert_array_equal(numbers == 0, empty)
    assert adjusted_rand_score(truth[~empty], numbers[~empty]) > 0.9
    sizes = np.bincount(numbers.ravel())[1:]
    assert (np.diff(sizes) <= 0).all()
    np.testing.assert_array_equal(found.of_cells, numbers[tuple(found.cells.T)])


def test_noise_has_no_regions_that_both_halves_agree_on():
    """Smooth or not, it is said that the evidence cannot say."""
    rng = np.random.default_rng(1)
    layers = GRID.to_dataarray(rng.normal(size=(8, *SHAPE)).astype("f4"), layers=list("abcdefgh"))
    found = find_regions(layers, most=6)
    assert not found.stable
    assert found.choice["stability"].max() < 0.3
    assert not find_regions(layers, count=4).stable


def test_a_given_number_is_taken():
    """Nothing else is tried, and it is told how far halves of the area agree on it."""
    layers, _ = planted(3)
    found = find_regions(layers, count=5)
    assert found.count == 5
    assert found.choice["regions"].tolist() == [5]
    assert found.stable == (found.choice["stability"].iloc[0] >= 0.6)
    assert find_regions(layers, count=3).stable


def test_a_lazy_area_gives_the_same_regions():
    """Read block by block; and the same again."""
    layers, _ = planted(3)
    found = find_regions(layers, most=4).labels
    lazy = layers.chunk({"layer": 2, "y": 16, "x": 32})
    np.testing.assert_array_equal(find_regions(lazy, most=4).labels, found)


def test_a_sample_teaches_and_every_cell_is_assigned():
    """As in an area beyond memory."""
    layers, truth = planted(4)
    found = find_regions(layers, count=4, sample=500)
    assert 300 < len(found.cells) < 700
    shown = found.labels.to_numpy() > 0
    assert adjusted_rand_score(truth[shown], found.labels.to_numpy()[shown]) > 0.9


def test_outliers_do_not_make_regions_of_their_own_by_ranks():
    """A hundredfold value in a layer is one cell, and no region."""
    layers, truth = planted(3)
    layers[0, 40, 40:43] = 1e6
    found = find_regions(layers, count=3)
    shown = found.labels.to_numpy() > 0
    assert adjusted_rand_score(truth[shown], found.labels.to_numpy()[shown]) > 0.9


def test_the_choice_weighs_stability_first():
    """The chosen number is within a standard error of the most stable, and its silhouette best."""
    layers, _ = planted(4, noise=1.2)
    values = np.nan_to_num(layers.to_numpy().reshape(6, -1).T)
    cells = np.argwhere(np.ones(SHAPE, dtype=bool))
    table = choose_count(values, cells, most=8)
    best = table.loc[table["stability"].idxmax()]
    near = table[table["stability"] >= best["stability"] - best["stability_error"]]
    chosen = table[table["chosen"]]
    assert len(chosen) == 1
    assert chosen["silhouette"].iloc[0] == near["silhouette"].max()
    assert chosen["regions"].iloc[0] in set(near["regions"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "spectral"}, "one of k-means, gaussian-mixture, hierarchical"),
        ({"count": 1}, "at least 2"),
        ({"count": 101}, "101 regions: at most 100"),
        ({"count": 100}, "has 385 cells with evidence, too few for 100 regions"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    """With the value and the remedy."""
    with pytest.raises(StudyError, match=message):
        find_regions(planted(3)[0][:, :20, :20], **settings)


@pytest.mark.parametrize("scale", ["ranks", "deviations"])
def test_constant_layers_have_no_regions(scale):
    """Nothing to divide by is said to be so."""
    layers = GRID.to_dataarray(np.ones((3, *SHAPE), dtype="f4"), layers=list("abc"))
    with pytest.raises(SurveyDataError, match="same values in every layer"):
        find_regions(layers, scale=scale)


def test_an_area_without_evidence_has_no_cells():
    """As with too few of them."""
    layers = GRID.to_dataarray(np.full((3, *SHAPE), np.nan, dtype="f4"), layers=list("abc"))
    with pytest.raises(StudyError, match="has 0 cells with evidence"):
        find_regions(layers)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_fewer_regions_than_asked_for_are_told():
    """Two kinds of ground cannot be five."""
    values = np.zeros((1, *SHAPE), dtype="f4")
    values[:, :, : SHAPE[1] // 2] = 1.0
    with pytest.warns(SurveyDataWarning, match="Only 2 of the 5 regions"):
        found = find_regions(GRID.to_dataarray(values, layers=["till"]), count=5)
    assert found.count == 2
