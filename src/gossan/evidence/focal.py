"""Neighbourhood means: the cheapest spatial context that a cell-wise method can have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import correlate1d

from gossan.evidence.cells import valid_cells
from gossan.exceptions import StudyError
from gossan.grid import Grid
from gossan.io import Layer, evidence_array, layers_of


def focal_mean(values: npt.NDArray[np.floating], size: int) -> npt.NDArray[np.float32]:
    """Mean of the observed cells in a square neighbourhood, (y, x).

    Parameters
    ----------
    values : ndarray, shape (y, x)
        NaN where missing.
    size : int
        Cells across, odd. At the edge of the array the mean is of the cells there are.

    Returns
    -------
    ndarray of float32, shape (y, x)
        NaN where the whole neighbourhood is missing.

    Examples
    --------
    >>> focal_mean(np.array([[1.0, np.nan, 5.0, np.nan, np.nan, np.nan]]), 3)
    array([[ 1.,  3.,  5.,  5., nan, nan]], dtype=float32)
    """
    if size < 3 or size % 2 == 0:
        raise StudyError(f"A neighbourhood is {size} cells across: use an odd number, 3 or more.")
    observed = np.isfinite(values)
    counts = _sums(observed.astype(np.float64), size)
    sums = _sums(np.where(observed, values, 0.0).astype(np.float64), size)
    with np.errstate(invalid="ignore"):
        return (sums / np.where(counts > 0, counts, np.nan)).astype(np.float32)


def focal_layer(layer: Layer, size: int) -> Layer:
    """The description of a layer's neighbourhood mean."""
    return replace(layer, name=_named(layer.name, size), kind="continuous")


def focal_means(evidence: xr.DataArray, sizes: Sequence[int]) -> xr.DataArray:
    """Add every layer's neighbourhood means to the stack, as layers ``"Cu mean 3×3"``.

    Parameters
    ----------
    evidence : xarray.DataArray
        The stack (layer, y, x).
    sizes : sequence of int
        Cells across, odd.

    Returns
    -------
    xarray.DataArray
        In memory: the layers, then all their means of the first size, and so on. Cells outside
        the study stay missing.
    """
    grid, layers = Grid.from_dataarray(evidence), layers_of(evidence)
    valid = valid_cells(evidence)
    values = [evidence[i].to_numpy() for i in range(len(layers))]
    means = [
        np.where(valid, focal_mean(layer, size), np.float32(np.nan))
        for size in sizes
        for layer in values
    ]
    described = [*layers, *(focal_layer(layer, size) for size in sizes for layer in layers)]
    return evidence_array(
        np.stack([*values, *means]), grid, described, mask=valid, attrs=dict(evidence.attrs)
    )


def without_focal_means(evidence: xr.DataArray, sizes: Sequence[int]) -> xr.DataArray:
    """The layers that :func:`focal_means` added to, without the means: they say things once.

    Parameters
    ----------
    evidence : xarray.DataArray
        The stack (layer, y, x).
    sizes : sequence of int
        As they were given.
    """
    names = [str(name) for name in evidence["layer"].to_numpy()]
    means = {_named(name, size) for name in names for size in sizes}
    return evidence.sel(layer=[name for name in names if name not in means])


def _named(layer: str, size: int) -> str:
    return f"{layer} mean {size}×{size}"


def _sums(values: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Sum of the square around each cell, added afresh: a running sum would leave its rounding."""
    ones = np.ones(size)
    across = correlate1d(values, ones, axis=1, mode="constant")
    return correlate1d(across, ones, axis=0, mode="constant")
