"""Applicability: distances by brute force, gaps, and what cannot be told."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import gossan as gs
from gossan.applicability import BEYOND, applicability, strange_layers
from gossan.exceptions import SurveyDataError

SHAPE = (20, 30)
GRID = gs.Grid.from_bounds((0, 0, 100 * SHAPE[1], 100 * SHAPE[0]), 100, "EPSG:32650")


@pytest.fixture
def seen():
    rng = np.random.default_rng(0)
    found = rng.normal(size=(300, 4))
    found[:, 1] = np.exp(found[:, 1])
    found[:, 3] = rng.random(300) < 0.1  # mostly one value: no median deviation
    found[5, 0] = np.nan
    return found


def test_the_share_is_that_of_nearest_neighbours_by_brute_force(seen):
    """In robust deviations, clipped, gaps at the median."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, *SHAPE)).astype("f4") * 2
    values[:, :2, :3] = np.nan
    values[2, 5] = np.nan
    found = applicability(GRID.to_dataarray(values, layers=list("abcd")), seen).to_numpy()
    median = np.nanmedian(seen, axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(seen - median), axis=0)
    spread[3] = np.nanstd(seen[:, 3])

    def scaled(cells):
        return np.nan_to_num(np.clip((cells - median) / spread, -10, 10))

    known = scaled(seen)
    among = np.linalg.norm(known[:, None] - known[None], axis=2)
    strip = np.arange(300) // 30
    among[strip[:, None] == strip[None]] = np.inf
    own = np.sort(among.min(axis=1))
    for row, column in ((3, 4), (5, 6), (19, 29)):
        distance = np.linalg.norm(known - scaled(values[:, row, column]), axis=1).min()
        assert found[row, column] == pytest.approx((own < distance).mean(), abs=1 / 300)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values).all(axis=0))


def test_like_ground_is_seldom_beyond_and_other_ground_always(seen):
    """One cell in twenty of the same kind; all of another kind."""
    rng = np.random.default_rng(2)
    like = rng.normal(size=(4, *SHAPE)).astype("f4")
    like[1], like[3] = np.exp(like[1]), rng.random(SHAPE) < 0.1
    found = applicability(GRID.to_dataarray(like, layers=list("abcd")), seen)
    assert (found > BEYOND).mean() < 0.12
    other = applicability(GRID.to_dataarray(like + 8, layers=list("abcd")), seen)
    assert (other > BEYOND).mean() == 1.0


def test_the_other_half_of_a_survey_is_mostly_like_it():
    """A neighbour is nearly a copy, and ground farther off is not unlike for being none."""
    rng = np.random.default_rng(3)
    fields = np.stack([gaussian_filter(rng.normal(size=(200, 100)), 4) for _ in range(30)])
    north, south = fields[:, :100], fields[:, 100:].astype("f4")
    cells = np.sort(rng.choice(100 * 100, 1_000, replace=False))
    grid = gs.Grid.from_bounds((0, 0, 10_000, 10_000), 100, "EPSG:32650")
    layers = grid.to_dataarray(south, layers=[f"layer {k}" for k in range(30)])
    found = applicability(layers, north.reshape(30, -1).T[cells]).to_numpy()
    assert (found > BEYOND).mean() < 0.25
    known = north.reshape(30, -1).T[rng.permutation(cells)]  # no strips: copies side by side
    assert (applicability(layers, known).to_numpy() > BEYOND).mean() > 0.9


def test_too_few_cells_seen_are_told(seen):
    """Nine tell nothing."""
    layers = GRID.to_dataarray(np.zeros((4, *SHAPE), dtype="f4"), layers=list("abcd"))
    with pytest.raises(SurveyDataError, match="kept 9 cells"):
        applicability(layers, seen[:9])


PPM = np.random.default_rng(3).lognormal([3.5, -3, 10], [0.6, 1, 0.4], size=(2000, 3))
NAMES = ["Cu", "Ag", "Fe"]


@pytest.mark.parametrize(
    "change",
    [
        lambda ppm: ppm * 1e3,  # ppb
        lambda ppm: ppm / 1e4,  # per cent
        np.log,
        lambda ppm: np.log(ppm) - np.log(ppm).mean(axis=1, keepdims=True),  # centred log-ratio
        lambda ppm: ppm - 10 * np.median(ppm, axis=0),  # another zero
    ],
)
def test_other_units_and_transforms_are_strange_either_way(change):
    """Whichever of the two the model has seen; the medians are told."""
    for here, there in ((change(PPM[:900]), PPM[900:]), (PPM[:900], change(PPM[900:]))):
        found = strange_layers(here, there, NAMES)
        assert found["layer"].tolist() == NAMES
        np.testing.assert_allclose(found["median"], np.median(here, axis=0))
        np.testing.assert_allclose(found["seen"], np.median(there, axis=0))


def test_other_ground_in_the_same_units_is_not_strange():
    """Twice the copper, half the silver, or a fifth of the spread: rocks differ so much."""
    assert strange_layers(PPM[:900] * [2, 0.5, 1.3], PPM[900:], NAMES).empty
    narrow = np.median(PPM, axis=0) + (PPM - np.median(PPM, axis=0)) / 5
    assert strange_layers(narrow, PPM, NAMES).empty


def test_classes_gaps_and_few_values_are_not_judged():
    """Of zeros and ones the deviation is none; nine values are too few; a lacking layer is NaN."""
    here, there = PPM[:900] * 1e4, PPM[900:].copy()
    there[:, 0] = 0
    here[9:, 1] = np.nan
    here[:, 2] = np.nan
    assert strange_layers(here, there, NAMES).empty
