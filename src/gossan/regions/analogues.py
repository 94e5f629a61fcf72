"""Ground like a chosen place: how like it every cell is, and what makes two places alike."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from sklearn.preprocessing import StandardScaler

from gossan.evidence import CellFeatures
from gossan.exceptions import StudyError, SurveyDataError
from gossan.grid import Grid
from gossan.models import NormalScores
from gossan.regions.clusters import observed_blocks, sampled_cells
from gossan.regions.kernel import deviation_cosines

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

_SAMPLE = 100_000
"""Cells that settle the scale of the layers."""
_SIDE = 512
"""Cells across the blocks that are read from disk."""
_ALIKE = 0.05
"""Share of a cosine below which a layer is not worth a word."""


def similarity_map(
    layers: xr.DataArray,
    query: IntArray,
    *,
    scale: Literal["ranks", "deviations"] = "ranks",
    random_state: int = 0,
) -> xr.DataArray:
    """How like a chosen place every cell is: the cosine of the angle between their departures.

    Layers are put on one scale on which the area's middle is 0, as :class:`gossan.models.Analogues`
    does. The place is the mean of its cells. Two cells are alike where the same layers are high and
    low, whether by much or by little.

    Parameters
    ----------
    layers : xarray.DataArray
        ``(layer, y, x)``: evidence, or an embedding. On disk it is read block by block, twice.
    query : ndarray of shape (n, 2)
        Rows and columns of the place.
    scale : {"ranks", "deviations"}, default "ranks"
        As :func:`gossan.regions.find_regions` takes it.
    random_state : int, default 0
        Of the 100,000 cells at most that settle the scale.

    Returns
    -------
    xarray.DataArray
        ``(y, x)`` float32 from -1, the opposite, to 1; NaN without evidence.

    Raises
    ------
    SurveyDataError
        If the place departs from the area's middle in no layer: then nothing is like it.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 400, 100), 100, "EPSG:32650")
    >>> layers = grid.to_dataarray([[[0.0, 9.0, 8.0, -1.0]], [[0.0, 1.0, 1.1, 5.0]]])
    >>> similarity_map(layers, np.array([[0, 1]])).to_numpy().astype(float).round(1).tolist()
    [[0.0, 1.0, 0.5, -0.9]]
    """
    grid = Grid.from_dataarray(layers)
    _, values = sampled_cells(layers, grid, _SAMPLE, random_state)
    _check_spread(values)
    if scale == "ranks":
        return _by_ranks(layers, grid, query, NormalScores().fit(values))
    return _by_deviations(layers, grid, query, StandardScaler().fit(values))


def _by_ranks(
    layers: xr.DataArray, grid: Grid, query: IntArray, scaler: NormalScores
) -> xr.DataArray:
    direction = _direction(scaler.transform(CellFeatures(layers, *query.T)[:]))
    found = np.full(grid.shape, np.nan, dtype=np.float32)
    for rows, columns, observed, block in observed_blocks(layers, grid):
        if len(block):
            scores = scaler.transform(block)
            length = np.linalg.norm(scores, axis=1)
            found[rows, columns][observed] = _quotient(scores @ direction, length)
    return grid.to_dataarray(found, name="similarity")


def _by_deviations(
    layers: xr.DataArray, grid: Grid, query: IntArray, scaler: StandardScaler
) -> xr.DataArray:
    """The same by means and deviations, without a scaled copy of the area."""
    chosen = scaler.transform(CellFeatures(layers, *query.T)[:])
    given = (_direction(np.nan_to_num(chosen)), scaler.mean_, 1.0 / scaler.scale_)
    direction, mean, weight = (part.astype(np.float32) for part in given)
    found = np.empty(grid.shape, dtype=np.float32)
    # Layers in memory are read where they lie.
    whole = layers.chunks is None and layers.data.flags.c_contiguous
    for rows, columns in [(slice(None), slice(None))] if whole else grid.blocks(_SIDE):
        block = np.ascontiguousarray(layers[:, rows, columns].to_numpy(), dtype=np.float32)
        cosines = deviation_cosines(block.reshape(len(block), -1), direction, mean, weight)
        found[rows, columns] = cosines.reshape(block.shape[1:])
    return grid.to_dataarray(found, name="similarity")


def _direction(scores: FloatArray) -> FloatArray:
    """Unit vector of a place's mean departure."""
    mean = scores.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length == 0.0:
        raise SurveyDataError(
            "The chosen place lies in the middle of every layer, so no ground is like it and none "
            "unlike. Choose another place."
        )
    return mean / length


def _quotient(along: FloatArray, length: FloatArray) -> FloatArray:
    """Cosines; 0 of a cell that departs in no direction."""
    return np.clip(along / np.where(length > 0, length, np.inf), -1.0, 1.0)


def _check_spread(values: FloatArray) -> None:
    constant = len(values) == 0
    if not constant:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        constant = not (high > low).any()
    if constant:
        raise SurveyDataError(
            "All cells have the same values in every layer, so all ground is alike. Look at the "
            "evidence with `gossan check`."
        )


def most_alike(
    evidence: xr.DataArray, places: IntArray, groups: IntArray, *, random_state: int = 0
) -> tuple[IntArray, FloatArray]:
    """The place of another group that each place is most like.

    Parameters
    ----------
    evidence : xarray.DataArray
        ``(layer, y, x)``.
    places : ndarray of shape (n, 2)
        Rows and columns.
    groups : ndarray of shape (n,)
        Such as the folds that hold deposits out.
    random_state : int, default 0
        Of the cells that settle the scale.

    Returns
    -------
    other : ndarray of shape (n,)
        Index of that place; -1 where all are of one group.
    cosine : ndarray of shape (n,)
        How like the two are, from -1 to 1.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 400, 100), 100, "EPSG:32650")
    >>> layers = grid.to_dataarray([[[0.0, 9.0, 8.0, -1.0]], [[0.0, 1.0, 1.1, 5.0]]])
    >>> other, cosine = most_alike(layers, np.array([[0, 1], [0, 2], [0, 3]]), np.array([0, 1, 1]))
    >>> other.tolist(), cosine.round(1).tolist()
    ([1, 0, 0], [0.5, 0.5, -0.9])
    """
    _, values = sampled_cells(evidence, Grid.from_dataarray(evidence), _SAMPLE, random_state)
    scores = NormalScores().fit(values).transform(CellFeatures(evidence, *places.T)[:])
    length = np.linalg.norm(scores, axis=1, keepdims=True)
    scores = scores / np.where(length > 0, length, np.inf)
    cosines = np.clip(scores @ scores.T, -1.0, 1.0)
    cosines[groups[:, None] == groups[None, :]] = -np.inf
    other = cosines.argmax(axis=1)
    found = cosines[np.arange(len(places)), other]
    return np.where(np.isfinite(found), other, -1), found


def shared_departures(
    evidence: xr.DataArray,
    query: IntArray,
    places: IntArray,
    *,
    listed: int = 5,
    random_state: int = 0,
) -> list[str]:
    """What makes each of some places like the chosen one: layers that are high, or low, in both.

    The cosine of two places is a sum over layers; those that add most to it are named, with their
    share, if it is at least a twentieth.

    Parameters
    ----------
    evidence : xarray.DataArray
        ``(layer, y, x)``.
    query : ndarray of shape (n, 2)
        Rows and columns of the chosen place.
    places : ndarray of shape (m, 2)
        Rows and columns of the others.
    listed : int, default 5
    random_state : int, default 0

    Returns
    -------
    list of str
        Such as ``"high Sn (0.21); low K (0.13)"``; ``"no layer stands out in both"`` where none
        does.

    Raises
    ------
    StudyError
        If the chosen place has no evidence.
    """
    grid = Grid.from_dataarray(evidence)
    _, values = sampled_cells(evidence, grid, _SAMPLE, random_state)
    scaler = NormalScores().fit(values)
    own = scaler.transform(CellFeatures(evidence, *query.T)[:]).mean(axis=0)
    if not len(places):
        return []
    theirs = scaler.transform(CellFeatures(evidence, *places.T)[:])
    length = np.linalg.norm(own) * np.linalg.norm(theirs, axis=1, keepdims=True)
    if not np.linalg.norm(own):
        raise StudyError("The chosen place has no evidence that departs from the area's middle.")
    parts = theirs * own / np.where(length > 0, length, np.inf)
    names = [str(name) for name in evidence["layer"].to_numpy()]
    told = []
    for part in parts:
        order = np.argsort(-part, kind="stable")[:listed]
        words = [
            f"{'high' if own[j] > 0 else 'low'} {names[j]} ({part[j]:.2f})"
            for j in order
            if part[j] >= _ALIKE
        ]
        told.append("; ".join(words) or "no layer stands out in both")
    return told
