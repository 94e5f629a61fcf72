"""A score read as a share of the area: what lies among the top 5 %, and what is drawn of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

MAP_AREAS = (0.01, 0.02, 0.05, 0.10, 0.20, 0.30, 0.50)
"""Shares of the area that part the classes of the prospectivity map."""

ANOMALY_AREAS = (0.05, 0.15, 0.30)
"""Shares of the area that part the anomaly classes (Zhang, Zuo & Xiong 2021)."""

AGREEMENT_SHARES = (0.25, 0.50, 0.75, 0.90)
"""Shares of the workflows that part the classes of the agreement map, above none at all."""

DRAWN_CELLS = 1200
"""Rows or columns beyond which a map is thinned before it is drawn."""


def area_thresholds(
    scores: npt.ArrayLike, areas: Sequence[float] = MAP_AREAS
) -> dict[float, float]:
    """Lowest score among the top ``area`` of the map, for each share of the area.

    A score belongs to the top ``area`` if no larger share of the area scores higher, ties counting
    half: the scale on which held-out deposits are judged, so that a deposit and the ground it
    stands on are read alike.

    Parameters
    ----------
    scores : array_like
        Scores of every cell, NaN where missing.
    areas : sequence of float
        Shares of the area, in (0, 1).

    Returns
    -------
    dict
        Area share → threshold, ascending in area. A share that ties make impossible (half of the
        map has the highest score) is left out.

    Examples
    --------
    >>> area_thresholds([0.1, 0.2, 0.3, 0.4], areas=(0.25, 0.5))
    {0.25: 0.4, 0.5: 0.3}
    """
    scores = np.asarray(scores)
    levels, counts = np.unique(scores[np.isfinite(scores)], return_counts=True)
    if not len(levels):
        return {}
    share = 1.0 - (np.cumsum(counts) - counts / 2.0) / counts.sum()  # falls as the level rises
    thresholds = {}
    for area in sorted(areas):
        # The first level with share <= area; rounding must not push a level out of its class.
        first = int(np.searchsorted(-share, -area - 1e-12))
        if first < len(levels):
            thresholds[float(area)] = float(levels[first])
    return thresholds


def area_classes(
    values: npt.ArrayLike, thresholds: Mapping[float, float], areas: Sequence[float]
) -> FloatArray:
    """Class of each value: 0 in the top ``areas[0]``, 1 in the next, …, ``len(areas)`` below all.

    Parameters
    ----------
    values : array_like
        Scores of any shape; NaN stays NaN.
    thresholds : mapping
        From :func:`area_thresholds`; a share it lacks has an empty class.
    areas : sequence of float
        Ascending.

    Examples
    --------
    >>> area_classes([0.4, 0.35, 0.1], {0.25: 0.4, 0.5: 0.3}, (0.25, 0.5))
    array([0., 1., 2.])
    """
    values = np.asarray(values)
    bounds = [thresholds.get(area, np.inf) for area in reversed(areas)]
    classes = len(bounds) - np.digitize(values, bounds).astype(float)
    return np.where(np.isnan(values), np.nan, classes)


def agreement_classes(agreement: npt.ArrayLike) -> FloatArray:
    """Class of each share of the workflows: 0 none, then one up at each of ``AGREEMENT_SHARES``.

    Examples
    --------
    >>> agreement_classes([0.0, 0.1, 0.25, 1.0, np.nan])
    array([ 0.,  1.,  2.,  5., nan])
    """
    # In the raster's own precision, so that QGIS, which reads the raster, draws the same classes.
    agreement = np.asarray(agreement, dtype=np.float32)
    bounds = np.array(AGREEMENT_SHARES, dtype=np.float32)
    classes = np.digitize(agreement, bounds) + (agreement > 0)
    return np.where(np.isnan(agreement), np.nan, classes)


def agreement_names() -> list[str]:
    """Legend texts of the agreement classes, from none to nearly all.

    Examples
    --------
    >>> agreement_names()
    ['none', 'below 25 %', '25–50 %', '50–75 %', '75–90 %', '90 % or more']
    """
    percent = [f"{100 * share:g}" for share in AGREEMENT_SHARES]
    between = [f"{low}–{high} %" for low, high in pairwise(percent)]
    return ["none", f"below {percent[0]} %", *between, f"{percent[-1]} % or more"]


def thinning(shape: tuple[int, ...], limit: int = DRAWN_CELLS) -> int:
    """Cells across that one drawn pixel stands for, so that no side exceeds ``limit`` pixels.

    Examples
    --------
    >>> thinning((900, 1000)), thinning((3072, 3000))
    (1, 3)
    """
    return max(1, -(-max(shape) // limit))


def thin(values: npt.ArrayLike, *, keep: Literal["max", "mean"], limit: int = DRAWN_CELLS) -> Any:
    """Shrink an array to at most ``limit`` rows and columns before drawing it.

    Parameters
    ----------
    values : array_like of shape (y, x)
        NaN where missing. A block is missing only where all its cells are.
    keep : {"max", "mean"}
        What stands for a block: its highest value, so that no anomaly vanishes, or its mean.
    limit : int

    Returns
    -------
    array of shape (ceil(y / step), ceil(x / step))
        With ``step = thinning(shape, limit)``; the last row and column may cover part of a block.

    Examples
    --------
    >>> thin([[1.0, 2.0, 5.0], [3.0, np.nan, 6.0]], keep="max", limit=2)
    array([[3., 6.]])
    """
    values = np.asarray(values)
    values = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    step = thinning(values.shape, limit)
    if step == 1:
        return values
    rows, columns = (-(-size // step) for size in values.shape)
    padding = [(0, rows * step - values.shape[0]), (0, columns * step - values.shape[1])]
    blocks = np.pad(values, padding, constant_values=np.nan).reshape(rows, step, columns, step)
    if keep == "max":
        return np.fmax.reduce(np.fmax.reduce(blocks, axis=3), axis=1)
    observed = np.isfinite(blocks)
    count = observed.sum(axis=(1, 3))
    total = np.where(observed, blocks, 0.0).sum(axis=(1, 3))
    return np.where(count, total / np.maximum(count, 1), np.nan)


def thin_by(values: npt.ArrayLike, leader: npt.ArrayLike, *, limit: int = DRAWN_CELLS) -> Any:
    """Shrink an array as :func:`thin` does, each block shown by the cell with the highest leader.

    Examples
    --------
    >>> thin_by([[7.0, 8.0, 9.0]], [[0.2, 0.9, np.nan]], limit=2)
    array([[8., 9.]])
    """
    values, leader = np.asarray(values), np.asarray(leader)
    step = thinning(values.shape, limit)
    rows, columns = (-(-size // step) for size in values.shape)
    padding = [(0, rows * step - values.shape[0]), (0, columns * step - values.shape[1])]

    def blocks(array: Any, fill: float) -> Any:
        padded = np.pad(array, padding, constant_values=fill)
        return padded.reshape(rows, step, columns, step).swapaxes(1, 2).reshape(rows, columns, -1)

    leading = np.where(np.isnan(leader), -np.inf, leader)
    best = blocks(leading, -np.inf).argmax(axis=-1)[..., None]
    return np.take_along_axis(blocks(values, np.nan), best, axis=-1)[..., 0]
