"""Ranked targets from a map."""

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gossan.grid import Grid
from gossan.targets import describe_drivers, find_targets


@pytest.fixture
def district():
    """A flat map of 20 × 20 cells with two bumps, one of them on a known deposit."""
    grid = Grid.from_bounds((0, 0, 2000, 2000), 100, "EPSG:32650")
    values = np.random.default_rng(0).uniform(0, 0.1, grid.shape).astype("float32")
    values[2:4, 2:5] = [[0.8, 0.9, 0.7], [0.6, 0.7, 0.65]]
    values[10:13, 10:13] = 0.95
    values[16, 16] = 0.99
    score = grid.to_dataarray(values).assign_coords(spread=(("y", "x"), values / 10))
    labels = np.full(grid.shape, -1, dtype="int8")
    labels[10:13, 10:13] = 1
    deposits = gpd.GeoDataFrame(
        {"name": ["Old Mine"]}, geometry=gpd.points_from_xy([1150], [850]), crs=grid.crs
    )
    return score, grid.to_dataarray(labels), deposits


def test_new_ground_only(district):
    """The footprint of a known deposit is no target, however high it scores."""
    targets, patch = find_targets(*district, share=0.04)
    assert (patch[10:13, 10:13] == 0).all()
    assert targets["rank"].tolist() == [1]
    assert (targets["row"].item(), targets["column"].item()) == (2, 3)


def test_polygon_covers_the_cells(district):
    """A target's polygon has the area of its cells, and holds its peak."""
    targets, patch = find_targets(*district, share=0.04)
    target = targets.iloc[0]
    assert target.geometry.area == pytest.approx((patch == 1).sum() * 100**2)
    assert target["area_km2"] == pytest.approx(target.geometry.area / 1e6)
    assert target.geometry.contains(gpd.points_from_xy([target.easting], [target.northing])[0])


def test_distance_to_nearest_deposit(district):
    """Distance is from the peak cell's centre to the nearest known deposit, which is named."""
    target = find_targets(*district, share=0.04)[0].iloc[0]
    assert target["nearest_deposit"] == "Old Mine"
    assert target["distance_m"] == pytest.approx(np.hypot(350 - 1150, 1750 - 850))


def test_single_cells_can_be_kept(district):
    """With min_cells = 1 the lone highest cell is the first target."""
    targets, _ = find_targets(*district, share=0.04, min_cells=1)
    assert targets.iloc[0]["row"] == 16
    assert targets["score"].is_monotonic_decreasing


def test_the_ring_around_a_footprint_is_no_new_ground(district):
    """By default no cell of a target is nearer than two cells to a footprint."""
    score, labels, deposits = district
    values = score.to_numpy().copy()
    values[8:15, 8:15] = 0.97  # a halo of two cells around the deposit
    score = score.copy(data=values)
    _, patch = find_targets(score, labels, deposits, share=0.2, max_share=1.0)
    assert not patch[9:14, 9:14].any()
    assert patch[8, 8:15].all()
    _, touching = find_targets(score, labels, deposits, share=0.2, max_share=1.0, min_distance=0)
    assert touching[9, 9:14].all()


def test_min_distance_counts_from_the_footprint_in_map_units(district):
    """Of cells of 100 m those whose centres are 250 m or more from a footprint's are kept."""
    score, labels, deposits = district
    flat = np.random.default_rng(1).uniform(size=score.shape).astype("float32")
    _, patch = find_targets(
        score.copy(data=flat), labels, deposits, share=0.99, min_distance=250.0, max_share=1.0
    )
    rows, columns = np.nonzero(labels.to_numpy() == 1)
    at = np.argwhere(patch > 0)
    distance = np.hypot(at[:, :1] - rows, at[:, 1:] - columns).min(axis=1) * 100
    assert distance.min() >= 250
    assert distance.min() < 300


def two_hills(district):
    """A broad high of two summits 8 cells apart, far from the deposit."""
    score, labels, deposits = district
    row, column = np.indices(score.shape)
    hills = [np.exp(-np.hypot(row - 3, column - place) / 6) for place in (4, 12)]
    return score.copy(data=np.maximum(hills[0], 0.9 * hills[1]).astype("float32")), labels, deposits


def test_a_broad_high_is_divided_into_its_hills(district):
    """Neither is larger than the share allowed, and each keeps its summit."""
    hills = two_hills(district)
    whole, _ = find_targets(*hills, share=0.3, max_share=1.0)
    assert len(whole) == 1
    parts, patch = find_targets(*hills, share=0.3, max_share=0.1)
    assert parts[["row", "column"]].to_numpy().tolist() == [[3, 4], [3, 12]]
    assert (parts["cells"] <= 0.1 * 375).all()
    assert patch[3, 4] == 1
    assert patch[3, 12] == 2


def test_what_a_full_hill_leaves_is_no_target(district):
    """Cut down to its top, a hill has no ring of further targets around it."""
    score, labels, deposits = district
    row, column = np.indices(score.shape)
    cone = np.exp(-np.hypot(row - 5, column - 5) / 6).astype("float32")
    targets, patch = find_targets(
        score.copy(data=cone), labels, deposits, share=0.3, max_share=0.05
    )
    assert targets["cells"].tolist() == [18]
    top = np.sort(cone[patch == 1])
    assert top[0] >= np.sort(cone.ravel())[-19]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    levels=st.sampled_from([3, 50, 100_000]),
    share=st.floats(0.05, 0.9),
    max_share=st.floats(0.005, 1.0),
)
def test_no_target_exceeds_its_share(seed, levels, share, max_share):
    """On any map, plateaus included; a target is one piece, and holds no cell of another's."""
    rng = np.random.default_rng(seed)
    grid = Grid.from_bounds((0, 0, 3000, 2000), 100, "EPSG:32650")
    values = (rng.integers(0, levels, grid.shape) / levels).astype("float32")
    score = grid.to_dataarray(values).assign_coords(spread=(("y", "x"), values))
    labels = np.full(grid.shape, -1, dtype="int8")
    labels[4:7, 4:7] = 1
    deposits = gpd.GeoDataFrame(
        {"name": ["A"]}, geometry=gpd.points_from_xy([550], [1450]), crs=grid.crs
    )
    targets, patch = find_targets(
        score, grid.to_dataarray(labels), deposits, share=share, max_share=max_share, count=1000
    )
    new_ground = 600 - 25  # the footprint and the ring around it
    assert (targets["cells"] <= max(2, max_share * new_ground)).all()
    assert np.bincount(patch.ravel())[1:].tolist() == targets["cells"].tolist()
    for rank in targets["rank"]:
        assert ndimage.label(patch == rank, structure=np.ones((3, 3)))[1] == 1


def test_plateau_is_no_target(district):
    """A constant map proposes nothing rather than everything."""
    score, labels, deposits = district
    flat = score.copy(data=np.full(score.shape, 0.5, dtype="float32"))
    targets, patch = find_targets(flat, labels, deposits)
    assert len(targets) == 0
    assert not patch.any()


def test_drivers_name_layer_contribution_and_percentile(district):
    """Drivers are the layers that lift the score, strongest first, in words."""
    targets, _ = find_targets(*district, share=0.04)
    described = describe_drivers(
        targets, np.array([[0.1, 0.3, -0.2]]), np.array([[0.51, 0.98, np.nan]]), ["Cu", "Sn", "W"]
    )
    assert described["drivers"].item() == (
        "high Sn (+0.30, 98th percentile); medium Cu (+0.10, 51st percentile)"
    )
    assert described["group"].item() == "high Sn"
    assert described["layers_observed"].item() == 2


def test_a_target_that_could_not_be_explained_says_so():
    """NaN contributions leave that target without drivers, and the next one with its own."""
    targets = gpd.GeoDataFrame({"rank": [1, 2]}, geometry=gpd.points_from_xy([0, 0], [0, 0]))
    contributions = np.array([[np.nan, np.nan], [0.2, -0.1]])
    found = describe_drivers(targets, contributions, np.full((2, 2), 0.5), ["Cu", "Pb"])
    assert found["drivers"].tolist()[0].startswith("not explained")
    assert found["drivers"].tolist()[1].startswith("medium Cu (+0.20")
    assert found["group"].tolist() == ["no single layer", "medium Cu"]
