"""Cosines of all cells with one direction, in one pass over the layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

FloatArray = npt.NDArray[np.floating[Any]]

_CHUNK = 4_096  # cells whose sums stay in the cache


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def deviation_cosines(
    values: FloatArray, direction: FloatArray, mean: FloatArray, weight: FloatArray
) -> FloatArray:
    """Cosine of the angle between each cell's deviations and a direction.

    Parameters
    ----------
    values : ndarray of shape (layers, cells)
        A layer that is missing in a cell is taken at its mean there.
    direction, mean, weight : ndarray of shape (layers,)
        A unit vector; what deviations are taken from; what they are multiplied by.

    Returns
    -------
    ndarray of shape (cells,)
        float32; 0 of a cell that departs in no layer, NaN of one without any.
    """
    layers, cells = values.shape
    found = np.empty(cells, dtype=np.float32)
    for chunk in prange((cells + _CHUNK - 1) // _CHUNK):
        first = chunk * _CHUNK
        count = min(_CHUNK, cells - first)
        along, squares = np.zeros(count, np.float32), np.zeros(count, np.float32)
        known = np.zeros(count, np.int32)
        for layer in range(layers):
            part, factor = values[layer, first : first + count], direction[layer]
            centre, scale = mean[layer], weight[layer]
            for cell in range(count):
                departure = (part[cell] - centre) * scale
                seen = abs(departure) < np.inf
                departure = departure if seen else np.float32(0.0)
                along[cell] += departure * factor
                squares[cell] += departure * departure
                known[cell] += seen
        for cell in range(count):
            if known[cell] == 0:
                found[first + cell] = np.nan
            elif squares[cell] > 0:
                found[first + cell] = max(-1.0, min(1.0, along[cell] / np.sqrt(squares[cell])))
            else:
                found[first + cell] = 0.0
    return found
