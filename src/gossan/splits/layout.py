"""Where the deposits' footprints lie in an area, which of them are linked, and how far apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from gossan.exceptions import LabelError
from gossan.labels import cell_spacing, checked_cells, touching_patches

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def link_deposits(coordinates: npt.ArrayLike, deposits: npt.ArrayLike) -> IntArray:
    """Link deposits whose footprints touch, by side or corner, directly or through others.

    Overlapping footprints touch, since each of their cells belongs to the nearest deposit.

    Parameters
    ----------
    coordinates : array-like of shape (n, 2)
        Easting and northing of the study's cells.
    deposits : array-like of shape (n,)
        Deposit that each footprint cell belongs to, -1 elsewhere.

    Returns
    -------
    ndarray of int64, shape (n,)
        The lowest deposit of those linked, for each footprint cell; -1 elsewhere.

    Examples
    --------
    >>> coordinates = np.column_stack([np.arange(6.0), np.zeros(6)])
    >>> link_deposits(coordinates, [0, 0, -1, -1, 2, 1])
    array([ 0,  0, -1, -1,  1,  1])
    """
    coordinates = np.asarray(coordinates, dtype=float)
    linked = np.asarray(deposits).astype(np.int64)
    footprint = np.flatnonzero(linked >= 0)
    if len(footprint):
        patch = touching_patches(coordinates[footprint], cell_spacing(coordinates))
        linked[footprint] = _lowest_linked(linked[footprint], patch)
    return linked


def auto_dead_zone(coordinates: npt.ArrayLike, deposits: npt.ArrayLike) -> float:
    """The dead zone that ``"auto"`` stands for, in CRS units.

    The median distance between a deposit and its nearest neighbour, at least two footprints and
    at most a tenth of the area's shorter side; in a small area the latter rules. So about half
    of the held-out deposits lose their nearest known neighbour, and no deposit is found merely
    because its own halo was shown.

    Parameters
    ----------
    coordinates : array-like of shape (n, 2)
        Easting and northing of the study's cells.
    deposits : array-like of shape (n,)
        Deposit that each footprint cell belongs to, -1 elsewhere.

    Examples
    --------
    >>> east, north = np.meshgrid(np.arange(200.0), np.arange(100.0))
    >>> coordinates = np.column_stack([east.ravel(), north.ravel()])
    >>> deposits = np.full(20_000, -1)
    >>> deposits[[0, 7, 105]] = [0, 1, 2]
    >>> auto_dead_zone(coordinates, deposits)
    7.0
    """
    deposits = np.asarray(deposits)
    return deposit_layout(coordinates, np.where(deposits < 0, -1, 1), deposits).dead_zone


@dataclass(frozen=True)
class DepositLayout:
    """Where the footprints of an area lie, and which are linked.

    Attributes
    ----------
    coordinates : ndarray of shape (n, 2)
        Easting and northing of all cells.
    spacing, origin : ndarray of shape (2,)
        Cell width and height; the area's south-west corner.
    footprint : ndarray of shape (m,)
        Indices of all footprint cells.
    groups : ndarray of shape (m,)
        Number, from 0, of the linked deposits that each footprint cell belongs to.
    centre_cells : ndarray of shape (groups,)
        Index of the footprint cell nearest to the mean place of each group's cells.
    sizes : ndarray of shape (groups,)
        Deposits in each group.
    dead_zone : float
        See :func:`auto_dead_zone`.
    """

    coordinates: FloatArray
    spacing: FloatArray
    origin: FloatArray
    footprint: IntArray
    groups: IntArray
    centre_cells: IntArray
    sizes: IntArray
    dead_zone: float

    @property
    def centres(self) -> FloatArray:
        """Easting and northing of the groups' centre cells, (groups, 2)."""
        return self.coordinates[self.centre_cells]

    def spread(self, fold_of_group: IntArray) -> IntArray:
        """Fold of each footprint cell, -1 elsewhere, shape (n,)."""
        fold = np.full(len(self.coordinates), -1, dtype=np.int64)
        fold[self.footprint] = fold_of_group[self.groups]
        return fold


def deposit_layout(
    coordinates: npt.ArrayLike | None, labels: npt.ArrayLike | None, deposits: npt.ArrayLike | None
) -> DepositLayout:
    """Check that the cells fit each other, and lay out their footprints."""
    if coordinates is None or labels is None or deposits is None:
        raise LabelError(
            "Folds are made of deposits: give coordinates, labels and deposits of all cells, as "
            "in `splitter.split(coordinates, labels, deposits)`."
        )
    coordinates, labels = checked_cells(coordinates, labels)
    deposits = np.asarray(deposits)
    if deposits.shape != labels.shape:
        raise LabelError(
            f"Labels of shape {labels.shape} and deposits of shape {deposits.shape} do not fit: "
            "give both for the same cells."
        )
    strays = ((labels == 1) & (deposits < 0)).sum()
    footprint = np.flatnonzero(deposits >= 0)
    if strays or len(footprint) == 0:
        raise LabelError(
            f"{strays} positive cells belong to no deposit, {len(footprint)} cells belong to one: "
            "each footprint cell needs its deposit's number, as `label_cells` gives."
        )
    spacing = cell_spacing(coordinates)
    low, high = coordinates.min(axis=0) - spacing / 2, coordinates.max(axis=0) + spacing / 2
    places = coordinates[footprint]
    own = np.unique(deposits[footprint], return_inverse=True)[1]
    lowest = _lowest_linked(deposits[footprint], touching_patches(places, spacing))
    groups = np.unique(lowest, return_inverse=True)[1]
    return DepositLayout(
        coordinates=coordinates,
        spacing=spacing,
        origin=low,
        footprint=footprint,
        groups=groups,
        centre_cells=footprint[_centre_cells(places, groups)],
        sizes=np.bincount(groups[np.unique(own, return_index=True)[1]], minlength=groups.max() + 1),
        dead_zone=_dead_zone(places, own, spacing, (high - low).min()),
    )


def _lowest_linked(deposits: IntArray, patch: npt.NDArray[np.int32]) -> IntArray:
    """The lowest deposit that each footprint cell is linked to, shape (m,).

    Deposits and patches are the two kinds of node of a graph, and each cell is an edge of it.
    """
    numbers, own = np.unique(deposits, return_inverse=True)
    n_nodes = len(numbers) + int(patch.max()) + 1
    edges = (np.ones(len(own), dtype=bool), (own, len(numbers) + patch))
    component = connected_components(coo_array(edges, shape=(n_nodes, n_nodes)), directed=False)[1]
    component = component[: len(numbers)]
    first = np.unique(component, return_index=True)[1]  # numbers ascend, so the first is lowest
    return numbers[first][component][own].astype(np.int64)


def _centre_cells(places: FloatArray, members: IntArray) -> IntArray:
    """Index of the place nearest to the mean of each member's places, (members,)."""
    count = np.bincount(members)
    means = np.column_stack([np.bincount(members, axis) / count for axis in places.T])
    gaps = ((places - means[members]) ** 2).sum(axis=1)
    order = np.lexsort((gaps, members))
    return order[np.unique(members[order], return_index=True)[1]]


def _dead_zone(places: FloatArray, own: IntArray, spacing: FloatArray, shorter: float) -> float:
    """Median nearest-neighbour distance of deposits between its bounds: :func:`auto_dead_zone`."""
    count = own.max() + 1
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, own, places)
    np.maximum.at(high, own, places)
    width = (high - low + spacing).max()
    centres = places[_centre_cells(places, own)]
    between = np.median(cKDTree(centres).query(centres, k=2)[0][:, 1]) if count > 1 else 0.0
    return float(min(max(between, 2 * width), shorter / 10))
