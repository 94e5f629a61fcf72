"""Deposits become labels, and samplers pick cells to stand for barren ground."""

import warnings

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from scipy.spatial.distance import cdist
from sklearn.base import clone

from gossan.exceptions import LabelError, StudyError, SurveyDataWarning
from gossan.grid import Grid
from gossan.labels import (
    AllUnlabelled,
    BufferedNegatives,
    RandomNegatives,
    cell_spacing,
    label_cells,
    touching_patches,
    within_distance,
)
from gossan.methods import SAMPLERS, make_sampler

WEST, NORTH = 400_000.0, 2_800_000.0


def flat_evidence(rows: int = 60, columns: int = 80, crs: str = "EPSG:32650") -> xr.DataArray:
    """One layer of zeros on 100 m cells."""
    bounds = (WEST, NORTH - 100 * rows, WEST + 100 * columns, NORTH)
    grid = Grid.from_bounds(bounds, 100, crs)
    return grid.to_dataarray(np.zeros((1, rows, columns), dtype="float32"), layers=["Cu"])


def points(places: np.ndarray, crs: str | None = "EPSG:32650", **columns) -> gpd.GeoDataFrame:
    places = np.asarray(places, dtype=float).reshape(-1, 2)
    columns = {"name": [f"Prospect {k}" for k in range(len(places))]} | columns
    return gpd.GeoDataFrame(columns, geometry=gpd.points_from_xy(*places.T), crs=crs)


def in_cells(rows: list[int], columns: list[int]) -> gpd.GeoDataFrame:
    """Deposits at the centres of the given cells of ``flat_evidence``."""
    return points(
        np.column_stack([WEST + 100 * np.add(columns, 0.5), NORTH - 100 * np.add(rows, 0.5)])
    )


# Labels


def test_published_count_of_footprint_cells():
    """19 deposits make 171 positive cells (Zhang, Zuo & Xiong 2021)."""
    rows, columns = np.divmod(np.arange(19), 5)
    labels = label_cells(flat_evidence(), in_cells(2 + 6 * rows, 3 + 9 * columns))
    assert (labels == 1).sum() == 171
    assert (labels == -1).sum() == 60 * 80 - 171
    assert labels.dtype == np.int8
    assert labels["deposit"].dtype == np.int32


def test_cloncurry_agrees_with_rasterio_and_a_dilation(survey_data):
    """One cell a deposit is rasterio's burn of the points, three across its dilation."""
    folder = survey_data / "cloncurry"
    with rasterio.open(folder / "CalculateResponse" / "FaultDensity.tif") as raster:
        grid = Grid(raster.crs, raster.transform, raster.shape)
    deposits = gpd.read_file(folder / "CalculateWeights" / "IOCG_Deposits.shp").to_crs(grid.crs)
    evidence = grid.to_dataarray(np.zeros((1, *grid.shape), dtype="float32"), layers=["fault"])
    burnt = rasterio.features.rasterize(deposits.geometry, grid.shape, transform=grid.transform)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SurveyDataWarning)
        single = label_cells(evidence, deposits, footprint=1)
        three = label_cells(evidence, deposits, footprint=3)
    assert burnt.sum() > 200
    np.testing.assert_array_equal(single == 1, burnt == 1)
    np.testing.assert_array_equal(three == 1, ndimage.binary_dilation(burnt, np.ones((3, 3))))


@given(
    places=st.lists(st.tuples(st.integers(0, 1199), st.integers(0, 899)), min_size=1, max_size=8),
    footprint=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_footprints_agree_with_a_double_loop(places, footprint, seed):
    """Each observed cell goes to the nearest deposit's cell, then to the least off its centre."""
    evidence = flat_evidence(9, 12)
    missing = np.random.default_rng(seed).random((9, 12)) < 0.2
    east, down = np.array(places).T
    own = np.column_stack([down // 100, east // 100])
    missing[tuple(own.T)] = False
    evidence.values[:, missing] = np.nan
    labels = label_cells(
        evidence, points(np.column_stack([WEST + east, NORTH - down])), footprint=footprint
    )

    expected = np.full((9, 12), -1)
    off_centre = (east % 100 - 50) ** 2 + (down % 100 - 50) ** 2
    for row, column in np.argwhere(~missing):
        gaps = np.abs(own - [row, column])
        holders = [
            ((gap**2).sum(), off_centre[k], k)
            for k, gap in enumerate(gaps)
            if gap.max() <= footprint // 2
        ]
        expected[row, column] = min(holders)[2] if holders else -1
    np.testing.assert_array_equal(labels["deposit"], expected)
    np.testing.assert_array_equal(labels, np.where(expected >= 0, 1, -1))
    np.testing.assert_array_equal(labels.attrs["deposit_cells"], own)


def test_labels_lie_on_the_evidence_cells():
    """Labels align exactly with the evidence they were made on, and carry its CRS."""
    evidence = flat_evidence()
    labels = label_cells(evidence, in_cells([5], [5]))
    xr.align(evidence, labels, join="exact")
    assert labels.rio.crs == evidence.rio.crs
    assert labels.rio.transform() == evidence.rio.transform()


def test_deposits_of_another_crs_are_reprojected():
    """The same deposits in longitude and latitude label the same cells."""
    deposits = in_cells([5, 20], [5, 30])
    there = label_cells(flat_evidence(), deposits)
    back = label_cells(flat_evidence(), deposits.to_crs("EPSG:4326"))
    np.testing.assert_array_equal(there, back)


def test_barren_occurrences_are_known_negatives():
    """A barren occurrence labels 0, belongs to no deposit, and yields a shared cell to one."""
    deposits = in_cells([5, 5, 5], [5, 7, 5]).assign(barren=[False, True, True])
    labels = label_cells(flat_evidence(), deposits)
    assert (labels == 1).sum() == 9  # the middle column is as near to both: a deposit's
    assert (labels == 0).sum() == 6
    assert set(np.unique(labels["deposit"])) == {-1, 0}
    np.testing.assert_array_equal(labels.attrs["deposit_cells"], [[5, 5], [-1, -1], [-1, -1]])


def test_deposits_outside_and_without_evidence_are_left_out_by_name():
    """Whatever cannot be labelled is named: up to five, then a count."""
    evidence = flat_evidence()
    evidence[:, 40:, :] = np.nan
    deposits = in_cells([5] + [50] * 7 + [500], [5, *range(10, 17), 3])
    with pytest.warns(SurveyDataWarning) as caught:
        labels = label_cells(evidence, deposits)
    outside, unobserved = (str(w.message) for w in caught if w.category is SurveyDataWarning)
    assert outside.startswith("1 of 9 deposits lie outside the area (400000, 2794000, ")
    assert "'Prospect 8'" in outside
    assert unobserved.startswith("7 of 9 deposits lie in cells without evidence")
    assert "'Prospect 5' and 2 more" in unobserved
    assert "Prospect 6" not in unobserved
    assert set(np.unique(labels["deposit"])) == {-1, 0}


def test_a_deposit_without_coordinates_is_left_out():
    """An empty geometry is reported by its row where it has no name."""
    deposits = in_cells([5, 6], [5, 30]).drop(columns="name")
    deposits.loc[1, "geometry"] = None
    with pytest.warns(SurveyDataWarning, match=r"1 of 2 deposits have no coordinates.*row 1"):
        labels = label_cells(flat_evidence(), deposits)
    assert (labels == 1).sum() == 9


def test_one_deposit_is_enough_for_labels():
    """Labels ask for one deposit; folds ask for more."""
    assert (label_cells(flat_evidence(), in_cells([0], [0])) == 1).sum() == 4


def test_swapped_coordinates_are_recognised():
    """Easting and northing swapped: the message says so, with both bounds."""
    swapped = points([[NORTH - 1000, WEST + 2000], [NORTH - 2500, WEST + 300]])
    with pytest.raises(LabelError, match="swapped") as error:
        label_cells(flat_evidence(), swapped)
    assert "area is (400000, 2794000, 408000, 2800000)" in str(error.value)
    assert "deposits are (2797500, 400300, 2799000, 402000)" in str(error.value)


@pytest.mark.parametrize(("turn", "advice"), [(1, 'as "EPSG:4326".'), (-1, "and swap the columns")])
def test_degrees_given_as_metres_are_recognised(turn, advice):
    """Longitude and latitude, in either order, declared as the projected CRS."""
    degrees = in_cells([5, 30], [5, 60]).to_crs("EPSG:4326")
    places = np.column_stack([degrees.geometry.x, degrees.geometry.y])[:, ::turn]
    with pytest.raises(LabelError, match="Read as longitude and latitude") as error:
        label_cells(flat_evidence(), points(places))
    assert advice in str(error.value)


def test_degrees_elsewhere_are_still_recognised():
    """Degrees that land outside the area are at least called degrees."""
    with pytest.raises(LabelError, match="look like longitude and latitude"):
        label_cells(flat_evidence(), points([[-70.0, -30.0]]))


def test_metres_given_as_degrees_are_recognised():
    """Projected deposits over an area in degrees."""
    grid = Grid.from_bounds((110, 24, 112, 25), 0.1, "EPSG:4326")
    evidence = grid.to_dataarray(np.zeros((1, *grid.shape)), layers=["Cu"])
    with pytest.raises(LabelError, match="look projected"):
        label_cells(evidence, points([[WEST, NORTH]], crs=None))


def test_deposits_elsewhere():
    """With no guess to offer, the message still says what to check."""
    with pytest.raises(LabelError, match="Check the deposits' CRS"):
        label_cells(flat_evidence(), points([[WEST + 1e6, NORTH]]))


def test_no_deposit_on_evidence():
    """All deposits in cells without evidence."""
    evidence = flat_evidence()
    evidence[:, :10, :] = np.nan
    with pytest.raises(LabelError, match="lies in a cell with evidence: 'Prospect 0'"):
        label_cells(evidence, in_cells([5], [5]))


def test_no_deposit():
    """An empty table, often from too narrow a filter."""
    with pytest.raises(LabelError, match="There is no deposit"):
        label_cells(flat_evidence(), in_cells([], []))


def test_all_barren():
    """Known negatives alone teach nothing about ore."""
    with pytest.raises(LabelError, match="marked as barren"):
        label_cells(flat_evidence(), in_cells([5], [5]).assign(barren=True))


def test_all_without_coordinates():
    """A table whose coordinates are all empty."""
    deposits = in_cells([5], [5])
    deposits.loc[0, "geometry"] = None
    with pytest.raises(LabelError, match="None of the 1 deposits has coordinates"):
        label_cells(flat_evidence(), deposits)


def test_polygons_are_refused():
    """A deposit is a point; the message offers representative points."""
    deposits = in_cells([5, 20], [5, 5])
    deposits["geometry"] = deposits.buffer(100)
    with pytest.raises(LabelError, match=r"'Prospect 0'.*Polygon.*representative_point"):
        label_cells(flat_evidence(), deposits)


@pytest.mark.parametrize("footprint", [0, 2, -1])
def test_footprint_is_odd(footprint):
    """A footprint has a centre cell."""
    with pytest.raises(StudyError, match=f"footprint is {footprint}"):
        label_cells(flat_evidence(), in_cells([5], [5]), footprint=footprint)


# Samplers


def training_cells(n_barren: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Labels and coordinates of a 40 × 50 area with three deposits and a few known negatives."""
    labels = label_cells(flat_evidence(40, 50), in_cells([5, 12, 20], [5, 9, 14])).to_numpy()
    labels[0, :n_barren] = 0
    return labels.ravel(), Grid.from_dataarray(flat_evidence(40, 50)).coordinates()


QUICK = {
    "other-deposits": {"occurrences": [[WEST + 3050, NORTH - 1050]]},
    "spy": {"repeats": 5},
    "recursive": {"n_draws": 6, "max_rounds": 1},
}
"""Settings without which a sampler cannot be, or takes seconds."""


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_keeps_the_protocol(name):
    """Sorted, distinct unlabelled cells; the same for the same seed; clonable."""
    sampler = make_sampler(name, **QUICK.get(name, {}))
    labels, coordinates = training_cells()
    X = np.random.default_rng(0).normal(size=(len(labels), 2)) + 2.0 * (labels == 1)[:, None]
    X = X if sampler.needs_features else None
    drawn = sampler.sample(X, labels, coordinates, 3)
    assert drawn.dtype == np.int64
    assert len(drawn) > 0
    assert (np.diff(drawn) > 0).all()
    assert (labels[drawn] == -1).all()
    np.testing.assert_array_equal(drawn, clone(sampler).sample(X, labels, coordinates, 3))
    no_positive = np.where(labels == 1, -1, labels)
    with pytest.raises(LabelError, match="No cell is labelled as a deposit"):
        sampler.sample(X, no_positive, coordinates, 3)
    with pytest.raises(LabelError, match="do not fit"):
        sampler.sample(X, labels, coordinates[1:], 3)


def test_all_unlabelled_is_all_or_a_subset():
    """Every unlabelled cell, or a uniform subset of the size that the cap sets."""
    labels, coordinates = training_cells()
    every = AllUnlabelled(None).sample(None, labels, coordinates, 0)
    np.testing.assert_array_equal(every, np.flatnonzero(labels == -1))
    np.testing.assert_array_equal(AllUnlabelled().sample(None, labels, coordinates, 0), every)
    assert len(AllUnlabelled(100).sample(None, labels, coordinates, 0)) == 100


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, 27), (2.5, 68), (0.001, 1), (1e6, 1969)])
def test_ratio_counts_negatives_per_positive(ratio, expected):
    """Ratio times positives, rounded, at least one and at most what there is."""
    labels, coordinates = training_cells()
    assert len(RandomNegatives(ratio).sample(None, labels, coordinates, 0)) == expected


def test_random_negatives_are_uniform():
    """Over many draws every unlabelled cell comes up alike (chi-square)."""
    labels = np.array([1] * 5 + [-1] * 20)
    generator = np.random.default_rng(0)
    draws = [
        RandomNegatives().sample(None, labels, np.zeros((25, 2)), generator) for _ in range(2000)
    ]
    counts = np.bincount(np.concatenate(draws), minlength=25)[5:]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("distance", [0.0, 250.0, 1000.0])
def test_buffered_negatives_lie_beyond_the_distance(distance):
    """All cells beyond the distance from every positive cell, and no other, may be drawn."""
    labels, coordinates = training_cells()
    drawn = BufferedNegatives(distance, ratio=1e6).sample(None, labels, coordinates, 0)
    gaps = cdist(coordinates, coordinates[labels == 1]).min(axis=1)
    np.testing.assert_array_equal(drawn, np.flatnonzero((gaps > distance) & (labels == -1)))


def test_auto_distance_gives_every_deposit_a_neighbour():
    """The largest of the nearest-neighbour distances between deposits (Carranza et al. 2008)."""
    labels = label_cells(flat_evidence(), in_cells([5, 12, 15], [5, 9, 20])).to_numpy().ravel()
    coordinates = Grid.from_dataarray(flat_evidence()).coordinates()
    to_neighbour = 100 * np.hypot([7, 7, 3], [4, 4, 11]).max()
    auto = BufferedNegatives(ratio=1e6).sample(None, labels, coordinates, 0)
    given_it = BufferedNegatives(to_neighbour, ratio=1e6).sample(None, labels, coordinates, 0)
    np.testing.assert_array_equal(auto, given_it)


def test_auto_distance_does_not_depend_on_the_order_of_cells():
    """Shuffled cells give the same ground."""
    labels, coordinates = training_cells()
    order = np.random.default_rng(0).permutation(len(labels))
    sampler = BufferedNegatives(ratio=1e6)
    straight = sampler.sample(None, labels, coordinates, 0)
    shuffled = sampler.sample(None, labels[order], coordinates[order], 0)
    np.testing.assert_array_equal(np.sort(order[shuffled]), straight)


def test_too_wide_a_buffer_is_relaxed_with_a_warning():
    """Ten cells a positive cell remain, the farthest, and both distances are named."""
    labels, coordinates = training_cells()
    gaps = cdist(coordinates[labels == -1], coordinates[labels == 1]).min(axis=1)
    relaxed = np.sort(gaps)[-270]
    with pytest.warns(SurveyDataWarning, match=f"than 9000 .* to {relaxed:.7g} so that 270") as w:
        drawn = BufferedNegatives(9000, ratio=1e6).sample(None, labels, coordinates, 0)
    assert w[0].filename == __file__
    np.testing.assert_array_equal(drawn, np.flatnonzero(labels == -1)[gaps >= relaxed])


def test_a_small_area_keeps_all_its_unlabelled_cells():
    """Where fewer than ten cells a positive exist at all, every one of them remains."""
    labels, coordinates = training_cells()
    few = np.concatenate([np.flatnonzero(labels == 1), np.flatnonzero(labels == -1)[:50]])
    with pytest.warns(SurveyDataWarning, match="so that 50 remain"):
        drawn = BufferedNegatives(1e5, 1e6).sample(None, labels[few], coordinates[few], 0)
    assert len(drawn) == 50


def test_auto_distance_needs_two_deposits():
    """One patch of positives has no neighbour; the message says what to do."""
    labels, coordinates = np.full(100, -1), np.column_stack([np.arange(100.0), np.zeros(100)])
    labels[[3, 4]] = 1
    with pytest.raises(LabelError, match=r"one patch around \(3.5, 0\).*Give a distance"):
        BufferedNegatives().sample(None, labels, coordinates, 0)
    assert len(BufferedNegatives(10).sample(None, labels, coordinates, 0)) == 2


def test_no_unlabelled_cell_draws_nothing():
    """Known negatives alone are the caller's to use."""
    drawn = RandomNegatives().sample(None, [1, 0, 0], np.zeros((3, 2)), 0)
    assert drawn.tolist() == []


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (RandomNegatives(0), "ratio is 0"),
        (RandomNegatives(float("nan")), "ratio is nan"),
        (AllUnlabelled(0), "max_cells is 0"),
        (BufferedNegatives(-5), "distance is -5"),
        (BufferedNegatives("far"), "distance is 'far'"),
    ],
)
def test_settings_that_cannot_be(sampler, message):
    """Each bad setting is named with its value."""
    labels, coordinates = training_cells()
    with pytest.raises(StudyError, match=message):
        sampler.sample(None, labels, coordinates, 0)


def test_make_sampler_suggests_the_nearest_name():
    """A sampler by its name in a study file; typing slips are met with a suggestion."""
    assert make_sampler("buffered", distance=500.0).get_params() == {
        "distance": 500.0,
        "ratio": 1.0,
    }
    with pytest.raises(StudyError, match="Did you mean 'all-unlabelled'"):
        make_sampler("all-unlabeled")
    with pytest.raises(StudyError, match=r"no parameter 'ration'\. Did you mean 'ratio'"):
        make_sampler("random", ration=2)


# Distances and patches


@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 90)),
    seed=st.integers(0, 2**16),
    n_places=st.integers(1, 5),
    distance=st.floats(0, 60),
)
@settings(max_examples=60, deadline=None)
def test_within_distance_agrees_with_brute_force(shape, seed, n_places, distance):
    """Tiles judged by their centres give the answer of all pairs."""
    rows, columns = np.indices(shape)
    cells = np.column_stack([columns.ravel(), rows.ravel()]).astype(float)
    places = np.random.default_rng(seed).uniform(-5, 70, (n_places, 2))
    expected = cdist(cells, places).min(axis=1) <= distance * (1 + 1e-9)
    np.testing.assert_array_equal(within_distance(cells, places, distance), expected)


def test_within_distance_includes_its_limit():
    """A cell exactly at the distance is within it, even where coordinates round."""
    cells = np.column_stack([500_000 + 33.3 * np.arange(1000), np.full(1000, 7e6 + 1 / 3)])
    assert within_distance(cells, cells[:1], 3 * 33.3).sum() == 4
    assert within_distance(cells, cells[500:501], 0).sum() == 1
    assert not within_distance(cells, cells[:0], 10).any()


@given(st.integers(0, 2**16), st.floats(0.05, 0.5))
@settings(max_examples=30, deadline=None)
def test_patches_agree_with_image_labelling(seed, share):
    """Patches of touching cells are SciPy's 8-connected components."""
    mask = np.random.default_rng(seed).random((15, 20)) < share
    mask[0, 0] = True
    rows, columns = np.nonzero(mask)
    places = np.column_stack([250.0 * columns, -100.0 * rows])
    patches = touching_patches(places, np.array([250.0, 100.0]))
    expected, count = ndimage.label(mask, np.ones((3, 3)))
    pairs = set(zip(patches.tolist(), expected[rows, columns].tolist(), strict=True))
    assert len(pairs) == count == patches.max() + 1


def test_cell_spacing_of_scattered_cells():
    """Cells in any order, with gaps and rounding, still tell their width and height."""
    grid = Grid.from_bounds((WEST, NORTH - 3000, WEST + 5000, NORTH), (33.3, 71.7), "EPSG:32650")
    cells = grid.coordinates()
    chosen = np.random.default_rng(0).permutation(len(cells))[:2000]
    noise = np.random.default_rng(1).choice([-1e-9, 0, 1e-9], (2000, 2))
    np.testing.assert_allclose(cell_spacing(cells[chosen] + noise), [33.3, 71.7], rtol=1e-6)
    np.testing.assert_array_equal(cell_spacing(cells[:1]), [1, 1])
