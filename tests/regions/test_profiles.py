"""What regions are like: by hand, beside chance, and along their cells."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

import gossan as gs
from gossan.regions import (
    deposit_enrichment,
    layer_profiles,
    region_names,
    region_outlines,
    region_table,
)

GRID = gs.Grid.from_bounds((500000, 4000000, 500600, 4000400), 100, "EPSG:32650")


@pytest.fixture
def labels():
    """Two regions, of 15 and 8 cells, the second in two pieces; one cell without evidence."""
    numbers = np.ones((4, 6), dtype=np.int16)
    numbers[:2, :3] = 2
    numbers[3, 4:] = 2
    numbers[0, 5] = 0
    return GRID.to_dataarray(numbers)


def test_profiles_by_hand():
    """Median of the region less that of the area, in 1.4826 median absolute deviations."""
    values = np.array([[1.0, 0], [2, 0], [3, 0], [4, 0], [500, 1], [6, 1], [np.nan, 1]])
    values[-1, 1] = np.nan
    found = layer_profiles(values, np.array([1, 1, 1, 2, 2, 2, 2]), ["Cu", "granite"])
    # Median of all 3.5, of the regions 2 and 6; deviations 2.5, 1.5, 0.5, 0.5, 496.5, 2.5.
    assert found["Cu"].to_dict() == pytest.approx({1: -1.5 / 2 / 1.4826, 2: 2.5 / 2 / 1.4826})
    # More than half of the second layer is 0: means and the standard deviation.
    spread = np.std([0, 0, 0, 0, 1, 1])
    assert found["granite"].to_dict() == pytest.approx(
        {1: -1 / 3 / spread, 2: (2 / 3 - 1 / 3) / spread}
    )


def test_a_constant_layer_says_nothing_of_a_region():
    """NaN, and it names none."""
    found = layer_profiles(np.ones((4, 1)), np.array([1, 1, 2, 2]), ["Cu"])
    assert found["Cu"].isna().all()
    assert set(region_names(found)) == {"ordinary ground"}


def test_names_are_the_strongest_layers():
    """Three at most, by size, each high or low."""
    profiles = pd.DataFrame({"Cu": [1.0], "Zn": [-3.0], "K": [0.4], "U": [0.9], "As": [2.0]})
    assert region_names(profiles).tolist() == ["low Zn, high As, high Cu"]


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8)), min_size=2, max_size=6))
def test_enrichment_is_fishers_test_and_adjusted_by_rank(regions):
    """One-sided, region against the rest; Benjamini and Hochberg step by step."""
    cells = np.array([max(size, held) for size, held in regions])
    held = np.array([held for _, held in regions])
    found = deposit_enrichment(cells, held)
    if not held.sum():
        assert found["p"].isna().all()
        return
    total, known = cells.sum(), held.sum()
    for (inside, count), p in zip(zip(held, cells, strict=True), found["p"], strict=True):
        table = [[inside, count - inside], [known - inside, total - count - (known - inside)]]
        assert p == pytest.approx(fisher_exact(table, alternative="greater").pvalue)
    assert found["expected"].sum() == pytest.approx(known)
    ordered = np.sort(found["p"])[::-1]
    ranks = np.arange(len(ordered), 0, -1)
    stepped = np.minimum(1, np.minimum.accumulate(ordered * len(ordered) / ranks))[::-1]
    np.testing.assert_allclose(np.sort(found["p_adjusted"]), stepped)


def test_table_and_outlines_agree_with_the_cells(labels):
    """Areas, pieces, and deposits: two in one cell count once."""
    profiles = pd.DataFrame({"Cu": [0.1, 2.0]}, index=[1, 2])
    deposits = np.array([[0, 0], [0, 0], [3, 5], [2, 2]])
    table = region_table(labels, profiles, deposits)
    assert table["cells"].tolist() == [15, 8]
    assert table["deposits"].tolist() == [1, 2]
    assert table["area_km2"].tolist() == pytest.approx([0.15, 0.08])
    assert table["name"].tolist() == ["ordinary ground", "high Cu"]
    assert table["layers"].tolist() == ["Cu +0.1", "Cu +2.0"]
    outlines = region_outlines(labels, table)
    np.testing.assert_allclose(outlines.area / 1e6, table["area_km2"])
    assert len(outlines.geometry[1].geoms) == 2
    assert not outlines.geometry[0].intersection(outlines.geometry[1]).area
    assert outlines.crs == GRID.crs


def test_regions_need_no_deposits(labels):
    """Nothing is said of chance then."""
    table = region_table(labels, pd.DataFrame({"Cu": [0.1, 2.0]}, index=[1, 2]))
    assert table["deposits"].tolist() == [0, 0]
    assert table["p"].isna().all()
