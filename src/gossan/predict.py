"""Any fitted model → a map, block by block, here or on a Dask cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.callbacks import Callback

from gossan.draws import score_and_spread
from gossan.evidence import valid_cells
from gossan.grid import Grid
from gossan.looks import looked_at

FloatArray = npt.NDArray[np.floating[Any]]

_CELLS_PER_CALL = 65_536
_BYTES_PER_CALL = 200_000_000
"""Of the windows that are scored together."""
"""Cells handed to a model at once: bounds the memory of windows and ensemble members."""


def predict_map(
    model: Any,
    evidence: xr.DataArray,
    *,
    block_size: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataArray:
    """Score every cell of the evidence.

    The map is made block by block with a halo of ``window // 2`` cells, so memory is bounded by
    the block and not by the area. Where a :class:`dask.distributed.Client` is active the blocks
    are computed on its cluster; otherwise one after another, the model using its own threads.

    Parameters
    ----------
    model : fitted classifier
        Follows gossan's estimator contract: ``window``, ``predict_proba``, and where it has them
        ``predict_with_spread``, ``predict_block`` and ``score_area``.
    evidence : xarray.DataArray
        ``(layer, y, x)`` with the layers the model was fitted to, in their order.
    block_size : int, default 512
        Rows and columns of a block.
    progress : callable, optional
        Called with (blocks done, blocks in all).

    Returns
    -------
    xarray.DataArray
        ``(y, x)`` float32 score in [0, 1], NaN where no layer is observed, with a coordinate
        ``spread`` of the same shape: the ensemble's standard deviation, NaN without one.

    Raises
    ------
    ValueError
        If the number of layers is not the one the model was fitted to.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> grid = Grid.from_bounds((0, 0, 400, 300), 100, "EPSG:32650")
    >>> values = np.linspace(-1, 1, 24, dtype="float32").reshape(2, 3, 4)
    >>> evidence = grid.to_dataarray(values, layers=["Cu", "Pb"])
    >>> X = values.reshape(2, -1).T
    >>> model = LogisticRegression().fit(X, X[:, 0] > -0.5)
    >>> predict_map(model, evidence).shape
    (3, 4)
    """
    seen = looked_at(model, evidence)
    _check_layers(model, seen)
    if hasattr(model, "score_area"):
        return _scored_area(model, seen, progress)
    scores = lazy_map(model, seen, block_size=block_size)
    with _BlockProgress(scores.npartitions, progress):
        # Blocks run one by one in this process: the model's own threads use the processor.
        scheduler = "distributed" if _has_cluster() else "synchronous"
        (computed,) = dask.compute(scores, scheduler=scheduler)
    grid = Grid.from_dataarray(evidence)
    result = grid.to_dataarray(computed[0], name="score")
    return result.assign_coords(spread=(("y", "x"), computed[1]))


def _scored_area(
    model: Any, evidence: xr.DataArray, progress: Callable[[int, int], None] | None
) -> xr.DataArray:
    """The map of a model that cuts an area into patches of its own."""
    score, spread = model.score_area(evidence, progress=progress)
    inside = valid_cells(evidence)
    grid = Grid.from_dataarray(evidence)
    scores, spreads = (np.where(inside, part, np.nan).astype("float32") for part in (score, spread))
    return grid.to_dataarray(scores, name="score").assign_coords(spread=(("y", "x"), spreads))


def lazy_map(model: Any, evidence: xr.DataArray, *, block_size: int = 512) -> da.Array:
    """The map as a lazy Dask array ``(2, y, x)``: score and spread, for areas beyond memory."""
    halo = int(getattr(model, "window", 1)) // 2
    layers, rows, columns = evidence.shape
    # A chunk must be at least as wide as the halo it lends to its neighbours.
    side = max(block_size, halo, 1)
    stack = da.asarray(evidence.data)
    if not isinstance(evidence.data, da.Array):
        stack = da.from_array(evidence.data, chunks=(layers, side, side))
    stack = stack.rechunk({0: layers, 1: min(side, rows), 2: min(side, columns)})
    if halo:
        padded = da.pad(stack, ((0, 0), (halo, halo), (halo, halo)), constant_values=np.nan)
        blocks = [
            [
                da.from_delayed(
                    dask.delayed(predict_block)(
                        model, padded[:, r : r + h + 2 * halo, c : c + w + 2 * halo]
                    ),
                    shape=(2, h, w),
                    dtype=np.float32,
                )
                for c, w in _spans(stack.chunks[2])
            ]
            for r, h in _spans(stack.chunks[1])
        ]
        return da.block(blocks)
    return stack.map_blocks(
        lambda block: predict_block(model, block),
        dtype=np.float32,
        chunks=((2,), stack.chunks[1], stack.chunks[2]),
    )


def predict_block(model: Any, block: FloatArray) -> npt.NDArray[np.float32]:
    """Score and spread of one block.

    Parameters
    ----------
    model : fitted classifier
    block : array of shape (layers, h + window - 1, w + window - 1)
        Evidence with its halo; NaN beyond the edge.

    Returns
    -------
    array of shape (2, h, w)
        NaN where the cell itself has no layer observed.
    """
    halo = int(getattr(model, "window", 1)) // 2
    inner = block[:, halo : block.shape[1] - halo, halo : block.shape[2] - halo]
    observed = np.isfinite(inner).any(axis=0)
    result = np.full((2, *observed.shape), np.nan, dtype=np.float32)
    if not observed.any():
        return result
    if hasattr(model, "predict_block_with_spread"):
        return np.where(observed, model.predict_block_with_spread(block), np.nan).astype(np.float32)
    if hasattr(model, "predict_block"):
        result[0] = np.where(observed, model.predict_block(block), np.nan)
        return result
    rows, columns = np.nonzero(observed)
    windows = _windows(block, 2 * halo + 1)  # (y, x, layers[, window, window])
    of_a_cell = windows[0, 0].nbytes
    at_once = max(1, min(_CELLS_PER_CALL, _BYTES_PER_CALL // of_a_cell))
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        score, spread = score_and_spread(model, windows[rows[part], columns[part]])
        result[0, rows[part], columns[part]] = score
        result[1, rows[part], columns[part]] = spread
    return result


def _windows(block: FloatArray, window: int) -> FloatArray:
    """A view of the block as one feature vector, or one window, a cell."""
    if window == 1:
        return np.moveaxis(block, 0, -1)
    views = np.lib.stride_tricks.sliding_window_view(block, (window, window), axis=(1, 2))
    return np.moveaxis(views, 0, 2)


def _check_layers(model: Any, evidence: xr.DataArray) -> None:
    expected = getattr(model, "n_features_in_", None)
    members = getattr(model, "members_", None)
    if expected is None and members:
        expected = getattr(members[0], "n_features_in_", None)
    if expected is not None and expected != evidence.sizes["layer"]:
        raise ValueError(
            f"The model was fitted to {expected} layers; the evidence has "
            f"{evidence.sizes['layer']}. Build the evidence from the study the model came from."
        )


def _spans(chunks: tuple[int, ...]) -> list[tuple[int, int]]:
    """(start, length) of each chunk."""
    starts = np.concatenate([[0], np.cumsum(chunks)[:-1]])
    return list(zip(starts.tolist(), chunks, strict=True))


def _has_cluster() -> bool:
    """Whether the caller has connected a Dask cluster."""
    if "distributed" not in sys.modules:
        return False
    from distributed import default_client

    try:
        default_client()
    except ValueError:
        return False
    return True


class _BlockProgress(Callback):
    """Counts finished blocks of a local Dask computation."""

    def __init__(self, total: int, report: Callable[[int, int], None] | None) -> None:
        super().__init__()
        self._total, self._done, self._report = total, 0, report

    def _posttask(self, *event: Any) -> None:
        result = event[1]  # (key, result, graph, state, worker)
        is_block = isinstance(result, np.ndarray) and result.ndim == 3 and len(result) == 2
        if self._report is not None and is_block and self._done < self._total:
            self._done += 1
            self._report(self._done, self._total)
