"""From the evidence stack to the cells that a model sees, without holding the stack in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from gossan.exceptions import StudyError

_BLOCK = 512
_BYTES_AT_ONCE = 48_000_000


class CellFeatures:
    """A lazy view of chosen cells: the features of a model, gathered when asked for.

    Parameters
    ----------
    evidence : xarray.DataArray
        The stack (layer, y, x), in memory or backed by Dask.
    rows, columns : array_like of int, shape (n,)
        The cells.
    window : int, default 1
        Odd: how many cells across one sample looks. Beyond the edge is NaN.

    Attributes
    ----------
    shape : tuple of int
        ``(n, layers)`` if ``window == 1``, else ``(n, layers, window, window)``.

    Examples
    --------
    >>> stack = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    >>> evidence = xr.DataArray(stack, dims=("layer", "y", "x"))
    >>> cells = CellFeatures(evidence, rows=[0, 2], columns=[1, 3])
    >>> cells.shape
    (2, 2)
    >>> cells[[1]]
    array([[11., 23.]], dtype=float32)
    """

    def __init__(
        self,
        evidence: xr.DataArray,
        rows: npt.ArrayLike,
        columns: npt.ArrayLike,
        window: int = 1,
    ) -> None:
        if window < 1 or window % 2 == 0:
            raise StudyError(f"window is {window}: it counts cells across, and is odd.")
        self.evidence = evidence
        self.rows = np.asarray(rows, dtype=np.int64)
        self.columns = np.asarray(columns, dtype=np.int64)
        self.window = window
        if self.rows.shape != self.columns.shape or self.rows.ndim != 1:
            raise ValueError(
                f"{self.rows.shape} rows do not pair with {self.columns.shape} columns."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array would have it."""
        around = () if self.window == 1 else (self.window, self.window)
        return (len(self.rows), self.evidence.sizes["layer"], *around)

    @property
    def ndim(self) -> int:
        """2 for single cells, 4 for windows."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Always float32."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def stored_order(
        self, indices: npt.NDArray[np.integer[Any]]
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Positions in ``indices`` of the cells that lie together in the store, part by part.

        Reading in this order touches every stored block once. A stack in memory is one part.
        """
        if not isinstance(self.evidence.data, da.Array):
            yield np.arange(len(indices))
            return
        for positions, _, _ in _by_block(self.rows[indices], self.columns[indices]):
            yield positions

    def centres(self) -> CellFeatures:
        """The same cells without what lies around them."""
        return CellFeatures(self.evidence, self.rows, self.columns)

    def __repr__(self) -> str:
        return f"CellFeatures(shape={self.shape}, window={self.window})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        gathered = self._gather(self.rows, self.columns)
        return gathered if dtype is None else gathered.astype(dtype, copy=False)

    def __getitem__(self, indices: Any) -> npt.NDArray[np.float32]:
        """Features of some of the cells, in the order asked for: indices, a slice or booleans."""
        rows, columns = self.rows[indices], self.columns[indices]
        gathered = self._gather(np.atleast_1d(rows), np.atleast_1d(columns))
        return gathered[0] if np.ndim(rows) == 0 else gathered

    def _gather(
        self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        result = np.empty((len(rows), *self.shape[1:]), dtype=np.float32)
        values = self.evidence.data
        if not isinstance(values, da.Array):
            _take(values, rows, columns, self.window, result, np.arange(len(rows)))
            return result
        height, width = values.shape[1:]
        halo = self.window // 2
        for inside, row, column in _by_block(rows, columns):
            top, left = max(row - halo, 0), max(column - halo, 0)
            bottom, right = min(row + _BLOCK + halo, height), min(column + _BLOCK + halo, width)
            block = values[:, top:bottom, left:right].compute()
            _take(block, rows[inside] - top, columns[inside] - left, self.window, result, inside)
        return result


class FeatureSubset:
    """Some cells of a feature view, as a view of its own: nothing is read until asked for.

    Parameters
    ----------
    features : array or CellFeatures
        ``(n, layers)`` or ``(n, layers, window, window)``.
    indices : ndarray of int, shape (m,)

    Examples
    --------
    >>> subset = FeatureSubset(np.arange(12.0).reshape(6, 2), np.array([5, 0]))
    >>> subset.shape, subset[[0]]
    ((2, 2), array([[10., 11.]]))
    """

    def __init__(self, features: Any, indices: npt.NDArray[np.integer[Any]]) -> None:
        self._features, self._indices = features, indices
        self.shape = (len(indices), *features.shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> npt.NDArray[np.floating[Any]]:
        return self._features[self._indices[index]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self._features[self._indices], dtype=dtype)

    def centres(self) -> FeatureSubset:
        """The same cells without what lies around them."""
        return FeatureSubset(centre_features(self._features), self._indices)

    def stored_order(
        self, indices: npt.NDArray[np.integer[Any]]
    ) -> Iterator[npt.NDArray[np.int64]]:
        """As :meth:`CellFeatures.stored_order`."""
        return _stored_order(self._features, self._indices[indices])


def area_of(
    features: Any,
) -> tuple[xr.DataArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The evidence that some cells were taken from, and their rows and columns.

    Parameters
    ----------
    features : CellFeatures or FeatureSubset

    Raises
    ------
    StudyError
        If they are an array, which does not tell where its cells lie.
    """
    if isinstance(features, FeatureSubset):
        evidence, rows, columns = area_of(features._features)
        return evidence, rows[features._indices], columns[features._indices]
    if isinstance(features, CellFeatures):
        return features.evidence, features.rows, features.columns
    raise StudyError(
        "This method cuts an area into patches: give the cells as CellFeatures of the evidence, "
        "and not as an array."
    )


def centre_features(features: Any) -> Any:
    """The cells' own layers, (n, layers): of windows their centre cells; nothing is copied.

    Examples
    --------
    >>> centre_features(np.arange(18).reshape(1, 2, 3, 3))
    array([[ 4, 13]])
    """
    if features.ndim == 2:
        return features
    if hasattr(features, "centres"):
        return features.centres()
    return features[:, :, features.shape[2] // 2, features.shape[3] // 2]


def feature_blocks(
    features: Any, indices: npt.NDArray[np.integer[Any]]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.floating[Any]]]]:
    """The features of many cells, part by part: bounded memory, each stored block read once.

    Parameters
    ----------
    features : array, CellFeatures or FeatureSubset
    indices : ndarray of int, shape (m,)
        The cells asked for.

    Yields
    ------
    positions : ndarray
        Into ``indices``; together they are 0 to m - 1, each once.
    values : ndarray of shape (len(positions), layers[, window, window])
        At most 48 MB.

    Examples
    --------
    >>> X = np.arange(8.0).reshape(4, 2)
    >>> [(positions.tolist(), values.tolist()) for positions, values in feature_blocks(X, [3, 1])]
    [([0, 1], [[6.0, 7.0], [2.0, 3.0]])]
    """
    indices = np.asarray(indices, dtype=np.int64)
    per_cell = 4 * max(1, int(np.prod(features.shape[1:])))
    count = max(1, _BYTES_AT_ONCE // per_cell)
    for together in _stored_order(features, indices):
        for start in range(0, len(together), count):
            positions = together[start : start + count]
            yield positions, features[indices[positions]]


def _stored_order(
    features: Any, indices: npt.NDArray[np.integer[Any]]
) -> Iterator[npt.NDArray[np.int64]]:
    if hasattr(features, "stored_order"):
        yield from features.stored_order(indices)
    else:
        yield np.arange(len(indices))


def valid_cells(evidence: xr.DataArray) -> npt.NDArray[np.bool_]:
    """Which cells belong to the study, (y, x).

    Those of the coordinate ``mask`` where the stack has one (a built or stored stack does), else
    those where at least one layer is observed.

    Examples
    --------
    >>> values = np.array([[[1, np.nan]], [[np.nan, np.nan]]], dtype=np.float32)
    >>> valid_cells(xr.DataArray(values, dims=("layer", "y", "x")))
    array([[ True, False]])
    """
    if "mask" in evidence.coords:
        return np.asarray(evidence["mask"].to_numpy(), dtype=bool)
    observed = np.zeros((evidence.sizes["y"], evidence.sizes["x"]), dtype=bool)
    for layer in range(evidence.sizes["layer"]):
        observed |= np.isfinite(evidence[layer].to_numpy())
    return observed


def _by_block(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int64], int, int]]:
    """Positions of the cells of each block, with the block's first row and column."""
    across = int(columns.max(initial=0)) // _BLOCK + 1
    block = (rows // _BLOCK) * across + columns // _BLOCK
    order = np.argsort(block, kind="stable")
    starts = np.flatnonzero(np.diff(block[order], prepend=-1))
    for positions in np.split(order, starts[1:]):
        if len(positions):
            first = int(block[positions[0]])
            yield positions, (first // across) * _BLOCK, (first % across) * _BLOCK


def _take(
    values: npt.NDArray[Any],
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    window: int,
    result: npt.NDArray[np.float32],
    positions: npt.NDArray[np.int64],
) -> None:
    """Copy cells, or windows around them, into ``result`` at ``positions``."""
    layers, height, width = values.shape
    if window == 1:
        for layer in range(layers):
            result[positions, layer] = values[layer, rows, columns]
        return
    offsets = np.arange(window) - window // 2
    around = rows[:, None, None] + offsets[:, None]  # (n, window, 1)
    across = columns[:, None, None] + offsets  # (n, 1, window)
    beyond = (around < 0) | (around >= height) | (across < 0) | (across >= width)
    around, across = np.clip(around, 0, height - 1), np.clip(across, 0, width - 1)
    for layer in range(layers):
        windows = values[layer, around, across]
        result[positions, layer] = np.where(beyond, np.float32(np.nan), windows)
