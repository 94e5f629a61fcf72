"""Maps from fitted models, block by block."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin

from gossan.grid import Grid
from gossan.predict import predict_block, predict_map


class WindowMean(ClassifierMixin, BaseEstimator):
    """Scores a cell by the mean of what is observed in its window."""

    def __init__(self, window=1):
        self.window = window

    def predict_proba(self, X):
        flat = X.reshape(len(X), -1)
        known = np.isfinite(flat)
        score = np.where(known, flat, 0.0).sum(axis=1) / known.sum(axis=1)
        return np.column_stack([1 - score, score])


class WindowMeanDense(WindowMean):
    """The same by a dense path."""

    def predict_block(self, block):
        half = self.window // 2
        height, width = block.shape[1] - 2 * half, block.shape[2] - 2 * half
        total, count = np.zeros((height, width)), np.zeros((height, width))
        for row in range(self.window):
            for column in range(self.window):
                part = block[:, row : row + height, column : column + width]
                total += np.nansum(part, axis=0)
                count += np.isfinite(part).sum(axis=0)
        return total / np.maximum(count, 1)


def stack(seed, shape=(2, 23, 31), missing=0.3):
    """A random stack with gaps, and one cell without any layer."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(size=shape).astype("float32")
    values[rng.uniform(size=shape) < missing] = np.nan
    values[:, 0, 0] = np.nan
    grid = Grid.from_bounds((0, 0, 100 * shape[2], 100 * shape[1]), 100, "EPSG:32650")
    return grid.to_dataarray(values, layers=["Cu", "Pb"])


def brute_force(model, values):
    """Cell by cell, with plain loops."""
    half = model.window // 2
    padded = np.pad(values, ((0, 0), (half, half), (half, half)), constant_values=np.nan)
    result = np.full(values.shape[1:], np.nan)
    for row, column in np.ndindex(result.shape):
        if np.isfinite(values[:, row, column]).any():
            view = padded[:, row : row + model.window, column : column + model.window]
            cell = view if model.window > 1 else view[:, 0, 0]
            result[row, column] = model.predict_proba(cell[None])[0, 1]
    return result


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    window=st.sampled_from([1, 3, 5]),
    block_size=st.sampled_from([4, 7, 16, 512]),
)
def test_map_equals_cell_by_cell(seed, window, block_size):
    """Any block size and window gives the cell-by-cell answer, gaps and edges included."""
    evidence = stack(seed)
    model = WindowMean(window)
    score = predict_map(model, evidence, block_size=block_size)
    expected = brute_force(model, evidence.to_numpy())
    np.testing.assert_allclose(score.to_numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("window", [1, 5])
def test_dense_path_equals_windows(window):
    """``predict_block`` of an estimator is used, and equals the window-by-window answer."""
    evidence = stack(3)
    dense = predict_map(WindowMeanDense(window), evidence, block_size=9)
    plain = predict_map(WindowMean(window), evidence, block_size=9)
    np.testing.assert_allclose(dense, plain, rtol=1e-5)


def test_lazy_evidence_gives_the_same_map():
    """Evidence from a chunked store gives the map of evidence in memory."""
    evidence = stack(1)
    lazy = evidence.copy(data=da.from_array(evidence.to_numpy(), chunks=(1, 8, 8)))
    np.testing.assert_array_equal(
        predict_map(WindowMean(3), lazy, block_size=10), predict_map(WindowMean(3), evidence)
    )


def test_cells_without_evidence_are_missing():
    """A cell in which no layer is observed has neither score nor spread."""
    score = predict_map(WindowMean(3), stack(0))
    assert np.isnan(score.to_numpy()[0, 0])
    assert np.isnan(score["spread"].to_numpy()[0, 0])


def test_empty_block_asks_the_model_nothing():
    """A block without evidence is skipped."""
    block = np.full((2, 5, 5), np.nan, dtype="float32")
    assert np.isnan(predict_block(None, block)).all()


def test_progress_counts_blocks():
    """Progress is told once a block, up to their number."""
    seen = []
    predict_map(
        WindowMean(),
        stack(0),
        block_size=16,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_wrong_number_of_layers_is_refused():
    """A model fitted to other layers is refused with both numbers."""
    model = WindowMean()
    model.n_features_in_ = 5
    with pytest.raises(ValueError, match="fitted to 5 layers; the evidence has 2"):
        predict_map(model, stack(0))


def test_cluster_gives_the_same_map():
    """A Dask cluster computes the very same map."""
    distributed = pytest.importorskip("distributed")
    evidence = stack(2)
    here = predict_map(WindowMean(3), evidence, block_size=8)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        there = predict_map(WindowMean(3), evidence, block_size=8)
    np.testing.assert_array_equal(here, there)
