"""Distances and patches of cells, for the few places of an area of millions of cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from gossan.exceptions import LabelError, StudyError

ROUNDING = 1e-9
"""Share of a distance by which rounding of coordinates may move a cell across its limit."""

_CELLS_PER_QUERY = 1_000_000
"""Cells whose distances are asked for at once: bounds the memory of a search over an area."""


def cell_spacing(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Width and height of the cells whose centres these are, shape (2,), in CRS units.

    The smallest step between distinct eastings (northings); 1 where all are the same.

    Examples
    --------
    >>> cell_spacing(np.array([[0.0, 50.0], [200.0, 50.0], [100.0, 0.0]]))
    array([100.,  50.])
    """
    spacing = np.ones(2)
    for axis in range(2):
        # pandas hashes: an area has few distinct eastings, and a sort of all cells is slow.
        steps = np.diff(np.sort(pd.unique(np.ascontiguousarray(coordinates[:, axis]))))
        steps = steps[steps > ROUNDING * steps.sum()]
        if len(steps):
            spacing[axis] = steps.min()
    return spacing


def touching_patches(
    places: npt.NDArray[np.float64], spacing: npt.NDArray[np.float64]
) -> npt.NDArray[np.int32]:
    """Number the patches of cells that touch by side or corner, shape (n,), from 0.

    Parameters
    ----------
    places : ndarray of shape (n, 2)
        Easting and northing of cell centres.
    spacing : ndarray of shape (2,)
        Cell width and height; see :func:`cell_spacing`.

    Examples
    --------
    >>> touching_patches(np.array([[0.0, 0.0], [10.0, 10.0], [30.0, 0.0]]), np.array([10.0, 10.0]))
    array([0, 0, 1], dtype=int32)
    """
    pairs = cKDTree(places / spacing).query_pairs(1.5, p=np.inf, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), dtype=bool), pairs.T), shape=(len(places),) * 2)
    return connected_components(links, directed=False)[1].astype(np.int32)


def within_distance(
    coordinates: npt.NDArray[np.float64], places: npt.NDArray[np.float64], distance: float
) -> npt.NDArray[np.bool_]:
    """Which cells lie within ``distance``, itself included, of any of a few places.

    Square tiles that lie wholly near or wholly far are judged by their centres, so only the cells
    of tiles on the limit are searched one by one.

    Parameters
    ----------
    coordinates : ndarray of shape (n, 2)
        Easting and northing of the cells: millions are fine.
    places : ndarray of shape (m, 2)
        Easting and northing of the places.
    distance : float
        In CRS units. A billionth more still counts, for the rounding of coordinates.

    Returns
    -------
    ndarray of bool, shape (n,)

    Examples
    --------
    >>> cells = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 0.0]])
    >>> within_distance(cells, np.array([[0.0, 0.0]]), 5.0)
    array([ True,  True, False])
    """
    near = np.zeros(len(coordinates), dtype=bool)
    if len(places) == 0:
        return near
    tree = cKDTree(places)
    reach = distance * (1 + ROUNDING)
    low, high = places.min(axis=0) - reach, places.max(axis=0) + reach
    across = int(np.clip(np.sqrt(len(coordinates) / 64), 1, 256))
    tile = np.maximum((high - low) / across, np.finfo(float).tiny)
    all_near, all_far = _judged_tiles(tree, low, tile, across, reach)
    for cells in _cell_ranges(len(coordinates)):
        easting, northing = coordinates[cells].T
        beside = (easting >= low[0]) & (easting <= high[0])
        beside &= (northing >= low[1]) & (northing <= high[1])
        index = np.flatnonzero(beside) + cells.start
        column, row = ((coordinates[index] - low) / tile).astype(np.int32).clip(0, across - 1).T
        near[index] = all_near[row, column]
        unsure = index[~(all_near | all_far)[row, column]]
        near[unsure] = tree.query(coordinates[unsure])[0] <= reach
    return near


def distance_to(
    coordinates: npt.NDArray[np.float64], places: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Distance from each cell to the nearest of a few places, shape (n,), in CRS units.

    Examples
    --------
    >>> distance_to(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [30.0, 0.0]]))
    array([5.])
    """
    tree, gaps = cKDTree(places), np.empty(len(coordinates))
    for cells in _cell_ranges(len(coordinates)):
        gaps[cells] = tree.query(coordinates[cells])[0]
    return gaps


def checked_cells(
    coordinates: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    """Coordinates (n, 2) and labels (n,) of the same cells, as arrays.

    Raises
    ------
    LabelError
        If they do not fit each other.
    """
    coordinates, labels = np.asarray(coordinates, dtype=float), np.asarray(labels)
    if labels.ndim != 1 or coordinates.shape != (len(labels), 2):
        raise LabelError(
            f"Coordinates of shape {coordinates.shape} and labels of shape {labels.shape} do not "
            "fit: give (n, 2) easting, northing and (n,) labels of the same cells."
        )
    return coordinates, labels.astype(np.int8, copy=False)


def checked_distance(name: str, distance: float | str) -> float | None:
    """A distance setting as a number, ``None`` for "auto".

    Raises
    ------
    StudyError
        If it is neither "auto" nor a number from 0 up.
    """
    if isinstance(distance, str) and distance == "auto":
        return None
    if isinstance(distance, str) or not 0 <= distance < np.inf:
        raise StudyError(
            f"{name} is {distance!r}: give a number in CRS units from 0 up, or 'auto'."
        )
    return float(distance)


def _judged_tiles(
    tree: cKDTree,
    low: npt.NDArray[np.float64],
    tile: npt.NDArray[np.float64],
    across: int,
    reach: float,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which of across × across tiles lie wholly within reach of the tree's places, which beyond."""
    steps = np.arange(across) + 0.5
    centres = np.stack(np.meshgrid(low[0] + tile[0] * steps, low[1] + tile[1] * steps), axis=-1)
    gaps = tree.query(centres)[0]  # (row, column)
    # A little more than half the diagonal: rounding may put a cell in the next tile.
    half = 0.500_001 * np.hypot(*tile)
    return gaps + half <= reach, gaps - half > reach


def _cell_ranges(count: int) -> Iterator[slice]:
    for start in range(0, count, _CELLS_PER_QUERY):
        yield slice(start, start + _CELLS_PER_QUERY)
