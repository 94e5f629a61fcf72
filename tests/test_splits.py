"""Held-out deposits never reach training: what every splitter promises."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_validate

from gossan.exceptions import LabelError, StudyError
from gossan.grid import Grid
from gossan.labels import label_cells
from gossan.splits import (
    SPLITTERS,
    DepositClusterFolds,
    LeaveOneDepositOut,
    SpatialBlockFolds,
    auto_dead_zone,
    link_deposits,
    make_splitter,
)

ROWS, COLUMNS = 36, 48
GRID = Grid.from_bounds((0, 0, 100 * COLUMNS, 100 * ROWS), 100, "EPSG:32650")


class Area:
    """A labelled area of 100 m cells, with the cell that each deposit lies in."""

    def __init__(self, cells, footprint: int = 3, missing: np.ndarray | None = None) -> None:
        self.own = np.asarray(cells)  # (deposits, 2) row, column
        self.footprint = footprint
        evidence = np.zeros((1, ROWS, COLUMNS), dtype="float32")
        if missing is not None:
            missing = missing.copy()
            missing[tuple(self.own.T)] = False
            evidence[:, missing] = np.nan
        places = GRID.coordinates(*self.own.T)
        deposits = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*places.T), crs=GRID.crs)
        labels = label_cells(GRID.to_dataarray(evidence), deposits, footprint=footprint)
        rows, columns = np.nonzero(~np.isnan(evidence[0]))
        self.cells = np.column_stack([rows, columns])
        self.coordinates = GRID.coordinates(rows, columns)
        self.labels = labels.to_numpy()[rows, columns]
        self.deposits = labels["deposit"].to_numpy()[rows, columns]

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.coordinates, self.labels, self.deposits

    def in_footprint(self, deposit: int) -> np.ndarray:
        """Which cells the whole footprint of a deposit covers, whoever else claims them."""
        return np.abs(self.cells - self.own[deposit]).max(axis=1) <= self.footprint // 2

    def own_cell(self, deposit: int) -> int:
        return int(np.flatnonzero((self.cells == self.own[deposit]).all(axis=1))[0])


cells_of_deposits = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.integers(0, COLUMNS - 1)), min_size=3, max_size=14
)
areas = st.builds(Area, cells_of_deposits, st.sampled_from([1, 3, 5]))
holed_areas = st.builds(
    lambda cells, footprint, seed: Area(
        cells, footprint, np.random.default_rng(seed).random((ROWS, COLUMNS)) < 0.3
    ),
    cells_of_deposits,
    st.sampled_from([1, 3, 5]),
    st.integers(0, 2**16),
)
splitters = st.builds(
    lambda make, zone: make(zone),
    st.sampled_from(
        [
            lambda zone: DepositClusterFolds(2, dead_zone=zone),
            lambda zone: DepositClusterFolds(3, dead_zone=zone, random_state=7),
            lambda zone: SpatialBlockFolds(2, dead_zone=zone),
            lambda zone: SpatialBlockFolds(3, 300, dead_zone=zone, random_state=7),
            lambda zone: LeaveOneDepositOut(dead_zone=zone),
        ]
    ),
    st.sampled_from([0, 100.0, 223.60679774997897, "auto"]),
)


def folds_of(splitter, area: Area) -> list[tuple[np.ndarray, np.ndarray]]:
    """The folds, leaving aside areas with too few deposits apart from each other."""
    try:
        return list(splitter.split(*area.arrays))
    except LabelError:
        assume(False)
        raise


@given(areas, splitters)
@settings(max_examples=60, deadline=None)
def test_no_held_out_footprint_reaches_training(area, splitter):
    """Not one cell of a held-out deposit's square trains, overlaps with others included."""
    for train, test in folds_of(splitter, area):
        held_out = [k for k in range(len(area.own)) if area.own_cell(k) in test]
        assert held_out
        for deposit in held_out:
            assert not area.in_footprint(deposit)[train].any()


@given(holed_areas, splitters)
@settings(max_examples=60, deadline=None)
def test_dead_zone_holds_exactly(area, splitter):
    """Training is every cell that is not tested and farther than the zone, no more, no less."""
    zone = splitter.dead_zone
    if zone == "auto":
        zone = auto_dead_zone(area.coordinates, area.deposits)
    for train, test in folds_of(splitter, area):
        held_out = test[area.deposits[test] >= 0]
        gaps = cdist(area.coordinates, area.coordinates[held_out]).min(axis=1)
        allowed = gaps > zone * (1 + 1e-9)
        allowed[test] = False
        np.testing.assert_array_equal(train, np.flatnonzero(allowed))


@given(holed_areas, splitters)
@settings(max_examples=40, deadline=None)
def test_deposits_travel_whole_and_once(area, splitter):
    """Each footprint cell is tested in one fold, and linked deposits all in the same one."""
    folds = folds_of(splitter, area)
    linked = link_deposits(area.coordinates, area.deposits)
    fold = np.full(len(area.labels), -1)
    for number, (_, test) in enumerate(folds):
        assert (fold[test] == -1).all()
        fold[test] = number
    assert (fold[area.deposits >= 0] >= 0).all()
    for group in np.unique(linked[linked >= 0]):
        assert len(np.unique(fold[linked == group])) == 1
    assert len(folds) == splitter.get_n_splits(*area.arrays)


@given(holed_areas, splitters)
@settings(max_examples=15, deadline=None)
def test_folds_are_reproducible(area, splitter):
    """The same seed gives the same folds, on a clone too."""
    again = folds_of(clone(splitter), area)
    for one, other in zip(folds_of(splitter, area), again, strict=True):
        for indices, same in zip(one, other, strict=True):
            assert indices.dtype == np.int64
            np.testing.assert_array_equal(indices, same)


@given(areas)
@settings(max_examples=60, deadline=None)
def test_linked_are_the_deposits_whose_squares_touch(area):
    """Overlapping or touching footprints, directly or through others, and no others."""
    apart = np.abs(area.own[:, None] - area.own).max(axis=2)
    _, expected = connected_components(apart <= area.footprint, directed=False)
    linked = link_deposits(area.coordinates, area.deposits)
    own = linked[[area.own_cell(k) for k in range(len(area.own))]]
    assert len(set(zip(own, expected, strict=True))) == len(set(own)) == expected.max() + 1
    np.testing.assert_array_equal(linked >= 0, area.deposits >= 0)


def spread_out(n: int = 12) -> Area:
    """Deposits of which none touches another, more of them in the west."""
    rows, columns = np.divmod(np.arange(n), 4)
    return Area(np.column_stack([4 + 10 * rows, 2 + columns * (columns + 9)]))


def test_block_folds_test_every_cell_once():
    """The test cells of all folds together are the area, each once."""
    area = spread_out()
    tested = np.concatenate([test for _, test in SpatialBlockFolds(4).split(*area.arrays)])
    np.testing.assert_array_equal(np.sort(tested), np.arange(ROWS * COLUMNS))


@pytest.mark.parametrize("seed", range(5))
def test_block_folds_are_balanced(seed):
    """No fold holds more deposits than another by more than one block's."""
    area = spread_out()
    folds = SpatialBlockFolds(4, block_size=800, dead_zone=0, random_state=seed)
    held_out = [len(np.unique(area.deposits[test])) - 1 for _, test in folds.split(*area.arrays)]
    from_south_west = np.column_stack([ROWS - 1 - area.own[:, 0], area.own[:, 1]])
    heaviest = np.unique(from_south_west // 8, axis=0, return_counts=True)[1].max()
    assert sum(held_out) == 12
    assert max(held_out) - min(held_out) <= heaviest


def test_block_folds_depend_on_the_seed():
    """Another seed deals the blocks otherwise."""
    area = spread_out()
    tests = [
        next(iter(SpatialBlockFolds(4, random_state=seed).split(*area.arrays)))[1].tolist()
        for seed in range(6)
    ]
    assert len({tuple(test) for test in tests}) > 1


def test_clusters_are_those_of_the_map():
    """Three groups of deposits far from each other are the three folds."""
    corners = np.array([[3, 3], [3, 40], [30, 20]])
    own = np.concatenate([corners, corners + np.array([0, 5]), corners + np.array([4, 0])])
    area = Area(own, footprint=1)
    folds = DepositClusterFolds(3, dead_zone=0).split(*area.arrays)
    held_out = [np.unique(area.deposits[test]).tolist() for _, test in folds]
    assert held_out == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_leave_one_out_has_a_fold_for_every_linked_group():
    """Twelve deposits, two of which overlap: eleven folds."""
    area = Area(np.concatenate([spread_out(11).own, [[5, 3]]]))
    splitter = LeaveOneDepositOut(dead_zone=0)
    assert splitter.get_n_splits(*area.arrays) == 11
    first_test = next(iter(splitter.split(*area.arrays)))[1]
    assert np.unique(area.deposits[first_test]).tolist() == [0, 11]


@pytest.mark.parametrize(
    ("apart", "footprint", "expected"),
    [
        (3, 1, 300.0),  # the median distance to the nearest neighbour
        (2, 1, 200.0),  # at least two footprints of one cell
        (9, 1, 360.0),  # at most a tenth of the shorter side of 3600
        (9, 3, 360.0),  # which rules over two footprints of three cells
    ],
)
def test_auto_dead_zone_stays_within_its_bounds(apart, footprint, expected):
    """The median distance between neighbours, unless too near or too far."""
    area = Area([[5, 5], [5, 5 + apart], [5 + apart, 5], [30, 40]], footprint)
    assert auto_dead_zone(area.coordinates, area.deposits) == pytest.approx(expected)


def test_nanling_folds(survey_data):
    """The deposits of nanling in six folds: each is held out once, with others left to train."""
    with rasterio.open(survey_data / "nanling" / "Li_deposits0.tif") as raster:
        grid = Grid(raster.crs, raster.transform, raster.shape)
        rows, columns = np.nonzero(raster.read(1) == 1)
    places = grid.coordinates(rows, columns)
    deposits = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*places.T), crs=grid.crs)
    evidence = grid.to_dataarray(np.zeros((1, *grid.shape), dtype="float32"))
    labels = label_cells(evidence, deposits)
    y, ids = labels.to_numpy().ravel(), labels["deposit"].to_numpy().ravel()
    assert len(np.unique(ids)) - 1 == 23
    for name in SPLITTERS:
        tested = []
        for train, test in make_splitter(name).split(grid.coordinates(), y, ids):
            assert (y[train] == 1).sum() > 9
            assert not set(ids[train][y[train] == 1]) & set(ids[test][y[test] == 1])
            tested.append(test[y[test] == 1])
        np.testing.assert_array_equal(np.sort(np.concatenate(tested)), np.flatnonzero(y == 1))


def test_folds_serve_scikit_learn():
    """A list of folds is a ``cv`` that scikit-learn's own functions take."""
    area = spread_out()
    folds = list(DepositClusterFolds(3).split(*area.arrays))
    scores = cross_validate(DummyClassifier(), area.coordinates, area.labels == 1, cv=folds)
    assert len(scores["test_score"]) == DepositClusterFolds(3).get_n_splits() == 3


@pytest.mark.parametrize(
    "splitter", [DepositClusterFolds(6), SpatialBlockFolds(6)], ids=["clusters", "blocks"]
)
def test_fewer_deposits_than_folds(splitter):
    """Says how many there are, how many were linked, and what to do."""
    area = Area([[5, 5], [5, 6], [20, 20], [30, 40]])
    with pytest.raises(
        LabelError, match=r"n_splits=6 .* 3 deposits \(4 before linking.*Take 3 folds or fewer"
    ):
        splitter.split(*area.arrays)


@pytest.mark.parametrize("name", SPLITTERS)
def test_one_deposit_cannot_be_held_out(name):
    """With one deposit, or all linked, there is nothing to train on."""
    for own in ([[5, 5]], [[5, 5], [6, 7]]):
        with pytest.raises(LabelError, match=r"only deposit is held out.*no map can be tested"):
            make_splitter(name).split(*Area(own).arrays)


@pytest.mark.parametrize("name", SPLITTERS)
def test_a_dead_zone_that_swallows_all_deposits(name):
    """Says which fold and zone, and to take a smaller one."""
    parameters = {} if name == "leave-one-deposit-out" else {"n_splits": 2}
    splitter = make_splitter(name, dead_zone=1e5, **parameters)
    with pytest.raises(LabelError, match=r"Fold 0 leaves no deposit .* 100000 .* smaller"):
        list(splitter.split(*spread_out().arrays))


def test_too_few_blocks_with_deposits():
    """Blocks so large that one holds every deposit."""
    with pytest.raises(LabelError, match="Only 1 blocks of 1e\\+06 hold a deposit"):
        SpatialBlockFolds(2, block_size=1e6).split(*spread_out().arrays)


@pytest.mark.parametrize(
    ("splitter", "message"),
    [
        (SpatialBlockFolds(2, block_size=5.0), "block_size is 5, less than a cell of 100"),
        (SpatialBlockFolds(2, block_size="small"), "block_size is 'small'"),
        (DepositClusterFolds(1), "n_splits is 1"),
        (LeaveOneDepositOut(dead_zone=-1), "dead_zone is -1"),
    ],
)
def test_settings_that_cannot_be(splitter, message):
    """Each bad setting is named with its value."""
    with pytest.raises(StudyError, match=message):
        splitter.split(*spread_out().arrays)


def test_cells_that_do_not_fit():
    """Missing deposits, lengths that differ, positives that belong to no deposit."""
    coordinates, labels, deposits = spread_out().arrays
    splitter = LeaveOneDepositOut()
    with pytest.raises(LabelError, match="give coordinates, labels and deposits"):
        splitter.get_n_splits()
    with pytest.raises(LabelError, match="do not fit"):
        splitter.split(coordinates[1:], labels, deposits)
    with pytest.raises(LabelError, match="do not fit"):
        splitter.split(coordinates, labels, deposits[1:])
    with pytest.raises(LabelError, match="9 positive cells belong to no deposit"):
        splitter.split(coordinates, labels, np.where(deposits == 3, -1, deposits))
    with pytest.raises(LabelError, match="0 cells belong to one"):
        splitter.split(coordinates, np.full(len(labels), -1), np.full(len(labels), -1))


def test_make_splitter_suggests_the_nearest_name():
    """A splitter by its name in a study file."""
    assert repr(make_splitter("spatial-blocks", n_splits=3)) == "SpatialBlockFolds(n_splits=3)"
    with pytest.raises(StudyError, match="Did you mean 'deposit-clusters'"):
        make_splitter("deposit-cluster")
    with pytest.raises(StudyError, match="no parameter 'folds'"):
        make_splitter("deposit-clusters", folds=3)
