"""Ranked targets from a map."""

import geopandas as gpd
import numpy as np
import pytest

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
    assert described["drivers"].item() == "Sn (+0.30, 98th percentile); Cu (+0.10, 51st percentile)"
    assert described["group"].item() == "Sn"
    assert described["layers_observed"].item() == 2
