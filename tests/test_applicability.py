"""Applicability: distances by brute force, gaps, and what cannot be told."""

import numpy as np
import pytest

import gossan as gs
from gossan.applicability import BEYOND, applicability
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
    np.fill_diagonal(among, np.inf)
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


def test_too_few_cells_seen_are_told(seen):
    """Nine tell nothing."""
    layers = GRID.to_dataarray(np.zeros((4, *SHAPE), dtype="f4"), layers=list("abcd"))
    with pytest.raises(SurveyDataError, match="kept 9 cells"):
        applicability(layers, seen[:9])
