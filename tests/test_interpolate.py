"""Inverse-distance weighting, sample spacing and variograms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from gossan import interpolate
from gossan.exceptions import StudyError, SurveyDataError
from gossan.grid import Grid

GRID = Grid.from_bounds((500_000, 7_000_000, 500_700, 7_000_500), 50, "EPSG:32650")


def brute_force(coordinates, values, grid, power, neighbors, max_distance):
    """A double loop over cells and variables, as the definition reads."""
    rank = np.lexsort((*values.T[::-1], coordinates[:, 1], coordinates[:, 0]))
    coordinates, values = coordinates[rank], values[rank]
    estimate = np.full((values.shape[1], *grid.shape), np.nan)
    for row, northing in enumerate(grid.northings):
        for column, easting in enumerate(grid.eastings):
            squared = (easting - coordinates[:, 0]) ** 2 + (northing - coordinates[:, 1]) ** 2
            count = max(neighbors or len(squared), np.sum(squared == 0))
            nearest = np.argsort(squared, kind="stable")[:count]
            for variable in range(values.shape[1]):
                seen = nearest[~np.isnan(values[nearest, variable])]
                distance, known = np.sqrt(squared[seen]), values[seen, variable]
                if not len(seen) or (max_distance and distance.min() > max_distance):
                    continue
                weight = distance == 0 if distance.min() == 0 else distance**-power
                estimate[variable, row, column] = np.sum(weight * known) / np.sum(weight)
    return estimate


@st.composite
def surveys(draw):
    """Samples on a lattice of a third of a cell: coincident, on centres and equally far ones."""
    n_samples = draw(st.integers(1, 40))
    lattice = draw(arrays(np.int64, (n_samples, 2), elements=st.integers(-6, 60)))
    values = draw(
        arrays(
            float,
            (n_samples, draw(st.integers(1, 4))),
            elements=st.one_of(st.floats(0.5, 1e5), st.just(np.nan)),
        )
    )
    return np.array([500_025.0, 7_000_025.0]) + lattice * (50 / 3), values


@settings(deadline=None, max_examples=80)
@given(
    surveys(),
    st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    st.one_of(st.none(), st.integers(1, 15)),
    st.one_of(st.none(), st.floats(10, 400)),
)
def test_idw_is_the_brute_force_double_loop(survey, power, neighbors, max_distance):
    """At cell centres, with ties, gaps, coincident samples and samples on centres."""
    options = {"power": power, "neighbors": neighbors, "max_distance": max_distance}
    np.testing.assert_allclose(
        interpolate.idw(*survey, GRID, **options),
        brute_force(*survey, GRID, **options),
        rtol=1e-9,
    )


def scattered(n_samples, n_variables, seed=0):
    rng = np.random.default_rng(seed)
    west, south, east, north = GRID.bounds
    places = rng.uniform((west - 50, south - 50), (east + 50, north + 50), (n_samples, 2))
    return places, rng.lognormal(size=(n_samples, n_variables))


@pytest.mark.parametrize("n_samples", [30, 3000])
def test_idw_agrees_with_a_search_tree(n_samples):
    """SciPy's k-d tree and a weighted sum, for few samples a cell and for many."""
    places, values = scattered(n_samples, 3)
    distance, index = cKDTree(places).query(GRID.coordinates(), k=12)
    expected = np.einsum("ck,ckv->vc", distance**-2.0, values[index]) / (distance**-2.0).sum(1)
    estimate = interpolate.idw(places, values, GRID)
    np.testing.assert_allclose(estimate.reshape(3, -1), expected, rtol=1e-10)


def test_a_sample_on_a_centre_gives_its_own_value():
    """To the bit; several there give their mean; NaN there leaves the word to the others."""
    centre = GRID.coordinates([3], [4])
    places, values = scattered(50, 2)
    values[0] = [0.1, np.nan]
    estimate = interpolate.idw(np.vstack([centre, places[1:]]), values, GRID)
    assert estimate[0, 3, 4] == 0.1
    others = interpolate.idw(places[1:], values[1:], GRID, neighbors=11)
    assert estimate[1, 3, 4] == pytest.approx(others[1, 3, 4])
    twice = interpolate.idw(np.vstack([centre, centre, places]), [1.0, 4.0, *values[:, 0]], GRID)
    assert twice[0, 3, 4] == 2.5


def test_cells_are_estimated_at_their_centres():
    """Two samples mirrored about a cell's centre weigh the same there."""
    grid = Grid.from_bounds((0, 0, 300, 100), 100, "EPSG:32650")
    estimate = interpolate.idw([[0, 50], [300, 50]], [0.0, 1.0], grid)
    expected = [1 / 26, 1 / 2, 25 / 26]
    np.testing.assert_allclose(estimate[0, 0], expected)


def test_the_order_of_the_rows_does_not_matter():
    """Samples equally far are ranked by where they lie: byte-identical for shuffled tables."""
    lattice = np.stack(np.meshgrid(np.arange(10), np.arange(10)), -1).reshape(-1, 2)
    places = np.array([500_000.0, 7_000_000.0]) + 100 * lattice
    values = np.random.default_rng(0).normal(size=(100, 2))
    values[::7, 1] = np.nan
    shuffled = np.random.default_rng(1).permutation(100)
    np.testing.assert_array_equal(
        interpolate.idw(places, values, GRID, neighbors=5),
        interpolate.idw(places[shuffled], values[shuffled], GRID, neighbors=5),
    )


def test_a_gap_in_one_variable_leaves_the_others_alone():
    """Variables interpolate together as they would alone."""
    places, values = scattered(60, 3)
    gaps = values.copy()
    gaps[10:50, 1] = np.nan
    together = interpolate.idw(places, gaps, GRID)
    np.testing.assert_array_equal(
        together[[0, 2]], interpolate.idw(places, values[:, [0, 2]], GRID)
    )
    np.testing.assert_array_equal(together[[1]], interpolate.idw(places, gaps[:, 1], GRID))


@pytest.mark.parametrize("block_size", [1, 3, 512])
def test_blocks_hold_what_the_whole_holds(block_size):
    """Byte-identical however the grid is cut, tiled exactly once, in reading order."""
    survey = scattered(200, 2)
    whole = interpolate.idw(*survey, GRID, neighbors=7, max_distance=60)
    assert np.isnan(whole).any()
    covered = np.zeros(GRID.shape, dtype=int)
    corners = []
    for rows, columns, block in interpolate.idw_blocks(
        *survey, GRID, neighbors=7, max_distance=60, block_size=block_size
    ):
        covered[rows, columns] += 1
        corners.append((rows.start, columns.start))
        np.testing.assert_array_equal(block, whole[:, rows, columns])
    assert (covered == 1).all()
    assert corners == sorted(corners)


def test_single_precision_is_within_a_millionth():
    """The output may be float32, the arithmetic is not."""
    survey = scattered(200, 2)
    single = interpolate.idw(*survey, GRID, dtype=np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, interpolate.idw(*survey, GRID), rtol=1e-7)


def test_extreme_powers_and_distances_stay_finite():
    """A weight may underflow, the estimate may not: the nearest sample always counts."""
    near_centre = GRID.coordinates([5], [5]) + 1e-160
    places = np.vstack([near_centre, scattered(20, 1)[0]])
    estimate = interpolate.idw(places, np.arange(21.0), GRID, power=200)
    assert np.isfinite(estimate).all()
    assert estimate[0, 5, 5] == 0.0


@pytest.mark.parametrize(
    ("coordinates", "values", "options", "message"),
    [
        ([[0, 0], [1, 1]], [1.0], {}, r"shape \(1, 1\) do not go with 2 coordinates"),
        ([[0, 0, 0]], [1.0], {}, r"shape \(1, 3\): pass \(n, 2\)"),
        ([[0, 0], [np.nan, 1]], [1.0, 2.0], {}, "Sample 2 has coordinates"),
        ([[0, 0], [1, 1]], [1.0, np.inf], {}, "Sample 2 holds inf for variable 1"),
        (np.empty((0, 2)), np.empty(0), {}, "no samples"),
        ([[0, 0]], [1.0], {"power": 0}, "power > 0, got 0"),
        ([[0, 0]], [1.0], {"neighbors": 0}, "neighbors > 0, got 0"),
        ([[0, 0]], [1.0], {"max_distance": -5.0}, "max_distance > 0, got -5"),
    ],
)
def test_what_cannot_be_interpolated_is_explained(coordinates, values, options, message):
    """Before the first block is asked for, too."""
    for estimate in (interpolate.idw, interpolate.idw_blocks):
        with pytest.raises((SurveyDataError, StudyError), match=message):
            estimate(coordinates, values, GRID, **options)


# Spacing and variograms


def test_median_spacing_of_a_lattice_is_its_step():
    """Coincident samples do not make the spacing zero; one place has none."""
    places = Grid.from_bounds((0, 0, 500, 500), 25, "EPSG:32650").coordinates()
    assert interpolate.median_spacing(np.vstack([places, places[:200]])) == 25
    assert np.isnan(interpolate.median_spacing([[0, 0], [0, 0]]))


def smooth_and_noise(n_samples=900, seed=0):
    """A smooth field of unit variance, and white noise, at random places."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 1000, (n_samples, 2))
    field = gaussian_filter(rng.normal(size=(1000, 1000)), 60, mode="wrap")
    column, row = places.astype(int).T
    return places, field[row, column] / field.std(), rng.normal(size=n_samples)


def test_variogram_of_noise_is_its_variance_at_every_lag():
    """White noise of variance 4, all pairs and a sample of them."""
    places, _, noise = smooth_and_noise()
    for max_pairs in (10**6, 50_000):
        lags = interpolate.variogram(places, 2 * noise, max_pairs=max_pairs)
        assert lags["pairs"].sum() <= max_pairs
        assert lags["distance"].is_monotonic_increasing
        np.testing.assert_allclose(lags["semivariance"], 4, rtol=0.25)


def test_variogram_of_a_slope_is_half_the_squared_rise():
    """On a line, Z = x, one distance a lag: gamma(h) = h²/2, by Cressie and Hawkins' formula."""
    east = np.arange(40.0)
    lags = interpolate.variogram(np.column_stack([east, 0 * east]), east, n_lags=1)
    first = lags.iloc[0]
    assert first["distance"] == 1
    assert first["pairs"] == 39
    assert first["semivariance"] == pytest.approx(0.5 / (0.457 + 0.494 / 39))


@pytest.mark.parametrize("seed", range(3))
def test_nugget_share_tells_noise_from_structure(seed):
    """From smooth through half noise to pure noise."""
    places, smooth, noise = smooth_and_noise(seed=seed)
    assert interpolate.nugget_share(places, smooth) < 0.05
    assert 0.3 < interpolate.nugget_share(places, smooth + noise) < 0.7
    assert interpolate.nugget_share(places, noise) > 0.9


@settings(deadline=None, max_examples=30)
@given(arrays(float, (25, 3), elements=st.integers(0, 9).map(float)))
def test_nugget_share_is_a_share(samples):
    """Between 0 and 1 for whatever samples, unless it is unknown."""
    share = interpolate.nugget_share(samples[:, :2], samples[:, 2])
    assert np.isnan(share) or 0 <= share <= 1


def test_nugget_share_needs_something_to_tell():
    """Unknown for a constant variable and for fewer than ten observed places."""
    places, smooth, _ = smooth_and_noise(50)
    assert np.isnan(interpolate.nugget_share(places, np.ones(50)))
    few = np.where(np.arange(50) < 9, smooth, np.nan)
    assert np.isnan(interpolate.nugget_share(places, few))
    assert interpolate.variogram(places, np.full(50, np.nan)).empty


def test_stream_sediments_have_structure(survey_data):
    """Jabal al-Hasir: logarithms of the majors vary over kilometres, rhenium is mostly noise."""
    table = pd.read_parquet(survey_data / "jabal-al-hasir" / "KSA_raw_data.parquet")
    places = table[["Longitude", "Latitude"]]
    copper, rhenium = (interpolate.nugget_share(places, np.log(table[e])) for e in ("Cu", "Re"))
    assert copper < 0.2 < rhenium
