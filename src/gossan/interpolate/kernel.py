"""The inner loops of inverse-distance weighting: one block of cells from all samples.

A block of cells is halved again and again. A sample that lies farther from a box of cells than the
k-th nearest can lie from any of them is no neighbour there, so each half inherits a short list of
candidates. When the list is barely longer than k, the cells of the box are worked out side by
side, in loops that compile to vector instructions. Squared distances are one and the same
floating-point expression everywhere, and rounding is monotone, so the bounds hold exactly and the
answer does not depend on how the grid is cut.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SPARE_CANDIDATES = 8
_BOX_CELLS = 256
_BOX_DISTANCES = 65_536  # candidates × cells: half a megabyte, within the level-2 cache


@njit(nogil=True, cache=True, error_model="numpy")
def fill_block(
    estimate: FloatArray,
    eastings: FloatArray,
    northings: FloatArray,
    places: tuple[FloatArray, FloatArray],
    samples: tuple[FloatArray, npt.NDArray[np.bool_], IntArray, IntArray],
    weighting: tuple[int, float, float],
    halvings: int,
) -> None:
    """Estimate a block of cells in place.

    Parameters
    ----------
    estimate : ndarray, shape (variables, y, x)
        Filled.
    eastings, northings : ndarray, shape (x,) and (y,)
        Cell centres, west to east and north to south.
    places : tuple
        Eastings and northings of the samples, each (n,). Of samples equally far the first wins.
    samples : tuple
        Values (variables, n), zero where missing; which samples each group of variables observed
        (groups, n); the variables sorted by group; where each group starts among them.
    weighting : tuple
        Number of neighbours, half the power of the distance, squared distance beyond which a
        cell is missing.
    halvings : int
        How often the block can be halved before single cells are left.
    """
    n_samples, k = len(places[0]), weighting[0]
    candidates = np.empty((halvings + 2) * n_samples, dtype=np.int32)
    for sample in range(n_samples):
        candidates[sample] = sample
    farthest = np.empty(n_samples)
    buffer = np.empty((2, max(_BOX_DISTANCES, n_samples)))
    boxes = np.empty((halvings + 2, 6), dtype=np.int64)
    boxes[0] = (0, len(northings), 0, len(eastings), 0, n_samples)
    n_boxes = 1
    while n_boxes:
        n_boxes -= 1
        top, bottom, left, right, first, last = boxes[n_boxes]
        corners = eastings[left], northings[bottom - 1], eastings[right - 1], northings[top]
        end = last + _prune(places, corners, candidates, first, last, k, farthest)
        n_cells, n_candidates = (bottom - top) * (right - left), end - last
        few = n_cells <= _BOX_CELLS and n_cells * n_candidates <= _BOX_DISTANCES
        if n_cells == 1 or (few and n_candidates <= k + _SPARE_CANDIDATES):
            _fill_box(
                estimate[:, top:bottom, left:right],
                eastings[left:right],
                northings[top:bottom],
                places,
                candidates[last:end],
                samples,
                weighting,
                buffer,
            )
            continue
        row, column = bottom, right
        if bottom - top >= right - left:
            row = (top + bottom) // 2
            boxes[n_boxes + 1] = (row, bottom, left, right, last, end)
        else:
            column = (left + right) // 2
            boxes[n_boxes + 1] = (top, bottom, column, right, last, end)
        boxes[n_boxes] = (top, row, left, column, last, end)
        n_boxes += 2


@njit(nogil=True, cache=True, error_model="numpy")
def _prune(
    places: tuple[FloatArray, FloatArray],
    corners: tuple[float, float, float, float],
    candidates: npt.NDArray[np.int32],
    first: int,
    last: int,
    k: int,
    farthest: FloatArray,
) -> int:
    """Write the candidates that may be among the k nearest of some cell behind ``last``."""
    west, south, east, north = corners
    for index in range(last - first):
        easting = places[0][candidates[first + index]]
        northing = places[1][candidates[first + index]]
        across = max(abs(west - easting), abs(east - easting))
        along = max(abs(south - northing), abs(north - northing))
        farthest[index] = across * across + along * along
    bound = _select(farthest, last - first, k) if k < last - first else np.inf
    kept = 0
    for index in range(first, last):
        easting, northing = places[0][candidates[index]], places[1][candidates[index]]
        across = max(west - easting, 0.0, easting - east)
        along = max(south - northing, 0.0, northing - north)
        if across * across + along * along <= bound:
            candidates[last + kept] = candidates[index]
            kept += 1
    return kept


@njit(nogil=True, cache=True)
def _select(numbers: FloatArray, count: int, k: int) -> float:
    """The k-th smallest of the first ``count`` numbers, which it reorders (Hoare's quickselect)."""
    low, high = 0, count - 1
    while low < high:
        pivot = numbers[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while numbers[left] < pivot:
                left += 1
            while numbers[right] > pivot:
                right -= 1
            if left <= right:
                numbers[left], numbers[right] = numbers[right], numbers[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    return numbers[k - 1]


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_box(
    estimate: FloatArray,
    eastings: FloatArray,
    northings: FloatArray,
    places: tuple[FloatArray, FloatArray],
    candidates: npt.NDArray[np.int32],
    samples: tuple[FloatArray, npt.NDArray[np.bool_], IntArray, IntArray],
    weighting: tuple[int, float, float],
    buffer: FloatArray,
) -> None:
    values, observed, order, starts = samples
    k, half_power, max_squared = weighting
    rows, columns = len(northings), len(eastings)
    shape = (len(candidates), rows * columns)
    squared = buffer[0, : shape[0] * shape[1]].reshape(shape)
    weights = buffer[1, : shape[0] * shape[1]].reshape(shape)
    for index in range(shape[0]):
        easting, northing = places[0][candidates[index]], places[1][candidates[index]]
        for row in range(rows):
            along = northings[row] - northing
            for column in range(columns):
                across = eastings[column] - easting
                squared[index, row * columns + column] = across * across + along * along
    nearest, total, kept = np.empty(shape[1]), np.empty(shape[1]), np.empty(shape[1], np.int64)
    if shape[0] > k:
        _discard_beyond(squared, weights, k, kept)
    for group in range(len(observed)):
        _weigh(
            squared, weights, candidates, observed[group], half_power, max_squared, nearest, total
        )
        for variable in order[starts[group] : starts[group + 1]]:
            _average(estimate[variable], weights, total, candidates, values[variable], nearest)


@njit(nogil=True, cache=True)
def _discard_beyond(squared: FloatArray, ordered: FloatArray, k: int, kept: IntArray) -> None:
    """Make all but the k smallest squared distances of each cell infinite; the first of ties stay.

    Samples exactly on a centre stay whatever their number.
    """
    n_candidates, n_cells = squared.shape
    for index in range(n_candidates):
        for cell in range(n_cells):
            ordered[index, cell] = squared[index, cell]
    for largest in range(n_candidates - 1, k - 2, -1):
        for index in range(largest):
            for cell in range(n_cells):
                low, high = ordered[index, cell], ordered[index + 1, cell]
                ordered[index, cell] = min(low, high)
                ordered[index + 1, cell] = max(low, high)
    kth = ordered[k - 1]
    for cell in range(n_cells):
        kept[cell] = 0
    for index in range(n_candidates):
        for cell in range(n_cells):
            near = squared[index, cell] <= kth[cell]
            kept[cell] += near
            squared[index, cell] = squared[index, cell] if near else np.inf
    for cell in range(n_cells):
        index = n_candidates - 1
        while kept[cell] > k and kth[cell] > 0.0:
            if squared[index, cell] == kth[cell]:
                squared[index, cell] = np.inf
                kept[cell] -= 1
            index -= 1


@njit(nogil=True, cache=True, error_model="numpy")
def _weigh(
    squared: FloatArray,
    weights: FloatArray,
    candidates: npt.NDArray[np.int32],
    observed: npt.NDArray[np.bool_],
    half_power: float,
    max_squared: float,
    nearest: FloatArray,
    total: FloatArray,
) -> None:
    """Weights relative to the nearest observed sample, which keeps them from overflowing."""
    n_candidates, n_cells = squared.shape
    for cell in range(n_cells):
        nearest[cell] = np.inf
    for index in range(n_candidates):
        if observed[candidates[index]]:
            for cell in range(n_cells):
                nearest[cell] = min(nearest[cell], squared[index, cell])
    for cell in range(n_cells):
        missing = nearest[cell] > max_squared or nearest[cell] == np.inf
        total[cell] = np.nan if missing else 0.0
    for index in range(n_candidates):
        if not observed[candidates[index]]:
            for cell in range(n_cells):
                weights[index, cell] = 0.0
            continue
        for cell in range(n_cells):
            near, here = nearest[cell], squared[index, cell]
            weights[index, cell] = 1.0 if here == near else near / here
        if half_power != 1.0:
            for cell in range(n_cells):
                weights[index, cell] = weights[index, cell] ** half_power
        for cell in range(n_cells):
            total[cell] += weights[index, cell]


@njit(nogil=True, cache=True, error_model="numpy")
def _average(
    estimate: FloatArray,
    weights: FloatArray,
    total: FloatArray,
    candidates: npt.NDArray[np.int32],
    values: FloatArray,
    weighted: FloatArray,
) -> None:
    n_candidates, n_cells = weights.shape
    rows, columns = estimate.shape
    for cell in range(n_cells):
        weighted[cell] = 0.0
    for index in range(n_candidates):
        value = values[candidates[index]]
        for cell in range(n_cells):
            weighted[cell] += weights[index, cell] * value
    for row in range(rows):
        for column in range(columns):
            cell = row * columns + column
            estimate[row, column] = weighted[cell] / total[cell]
