"""The splitters: which deposits are held out together, and what may train meanwhile."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from gossan.exceptions import LabelError, StudyError
from gossan.labels import checked_distance, make_named, within_distance
from gossan.splits.layout import DepositLayout, FloatArray, IntArray, deposit_layout


class DepositSplitter(BaseEstimator, ABC):
    """Base of the splitters: deposits are dealt to folds, then each fold is held out in turn.

    Deposits whose footprints touch are held out together. No cell of a held-out footprint, and
    none within the dead zone of one, is in training.
    """

    dead_zone: float | Literal["auto"]

    def split(
        self, coordinates: npt.ArrayLike, labels: npt.ArrayLike, deposits: npt.ArrayLike
    ) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield the training and test cells of each fold.

        Parameters
        ----------
        coordinates : array-like of shape (n, 2)
            Easting and northing of the study's cells, in CRS units.
        labels : array-like of shape (n,)
            1 deposit, 0 known barren, -1 unlabelled.
        deposits : array-like of shape (n,)
            Deposit that each footprint cell belongs to, -1 elsewhere: the ``deposit`` coordinate
            that :func:`gossan.labels.label_cells` makes.

        Returns
        -------
        iterator of (train, test)
            Sorted int64 indices into the n cells.

        Raises
        ------
        LabelError
            If there are fewer deposits than folds, or a fold leaves no deposit to train on.
        StudyError
            If one of the splitter's settings cannot be.
        """
        layout = deposit_layout(coordinates, labels, deposits)
        zone = checked_distance("dead_zone", self.dead_zone)
        zone = layout.dead_zone if zone is None else zone
        return _hold_out(layout, np.asarray(labels), self._deal(layout, zone), zone)

    @abstractmethod
    def get_n_splits(
        self,
        coordinates: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        deposits: npt.ArrayLike | None = None,
    ) -> int:
        """Number of folds."""

    @abstractmethod
    def _deal(self, layout: DepositLayout, dead_zone: float) -> IntArray:
        """Fold in which each cell is a test cell, shape (n,); -1 never."""


class DepositClusterFolds(DepositSplitter):
    """Hold out clusters of neighbouring deposits, found by k-means on their places.

    Test cells are the footprints of a cluster's deposits; every other cell beyond the dead zone
    trains. Whole clusters leave training, so a method is judged on ground whose known deposits
    it has not seen, as in new ground (Roberts et al. 2017).

    Parameters
    ----------
    n_splits : int, default 6
        Clusters.
    dead_zone : float or "auto", default "auto"
        In CRS units: no cell this near to a held-out footprint trains. ``"auto"``: see
        :func:`gossan.splits.auto_dead_zone`.
    random_state : int, default 0
        Seeds k-means; same seed, same folds.

    References
    ----------
    Roberts, D. R. et al. (2017). Cross-validation strategies for data with temporal, spatial,
    hierarchical, or phylogenetic structure. Ecography 40, 913–929.

    Examples
    --------
    >>> coordinates = np.column_stack([np.arange(12.0), np.zeros(12)])
    >>> deposits = np.array([0, -1, 1, -1, -1, -1, -1, -1, -1, 2, -1, 3])
    >>> splitter = DepositClusterFolds(2, dead_zone=2)
    >>> for train, test in splitter.split(coordinates, np.where(deposits < 0, -1, 1), deposits):
    ...     print(test, train)
    [0 2] [ 5  6  7  8  9 10 11]
    [ 9 11] [0 1 2 3 4 5 6]
    """

    def __init__(
        self,
        n_splits: int = 6,
        dead_zone: float | Literal["auto"] = "auto",
        random_state: int = 0,
    ) -> None:
        self.n_splits = n_splits
        self.dead_zone = dead_zone
        self.random_state = random_state

    def get_n_splits(
        self,
        coordinates: npt.ArrayLike | None = None,  # noqa: ARG002 - scikit-learn's protocol
        labels: npt.ArrayLike | None = None,  # noqa: ARG002
        deposits: npt.ArrayLike | None = None,  # noqa: ARG002
    ) -> int:
        """Number of folds."""
        return self.n_splits

    def _deal(self, layout: DepositLayout, dead_zone: float) -> IntArray:  # noqa: ARG002
        _check_n_splits(self.n_splits, layout)
        k_means = KMeans(self.n_splits, n_init=10, random_state=self.random_state)
        # Threads cost more than they bring to a few hundred points.
        with threadpool_limits(limits=1, user_api="openmp"):
            found = k_means.fit_predict(layout.centres, sample_weight=layout.sizes)
        return layout.spread(_in_order_of_appearance(found))


class SpatialBlockFolds(DepositSplitter):
    """Hold out square blocks of ground, dealt so that every fold has its share of deposits.

    Test cells are all cells of a fold's blocks, so every cell of the area is tested once. A
    footprint that straddles blocks goes whole to the block of its centre cell; linked footprints
    to that of the centre cell of them all.

    Parameters
    ----------
    n_splits : int, default 5
        Folds.
    block_size : float or "auto", default "auto"
        Side of a block, in CRS units. ``"auto"`` makes about four blocks a fold, but none
        narrower than four dead zones, and halves them until every fold can have a block with a
        deposit.
    dead_zone : float or "auto", default "auto"
        In CRS units: no cell this near to a held-out footprint trains. ``"auto"``: see
        :func:`gossan.splits.auto_dead_zone`.
    random_state : int, default 0
        Seeds the dealing; same seed, same folds.

    References
    ----------
    Roberts, D. R. et al. (2017). Cross-validation strategies for data with temporal, spatial,
    hierarchical, or phylogenetic structure. Ecography 40, 913–929.

    Examples
    --------
    >>> coordinates = np.column_stack([np.arange(12.0), np.zeros(12)])
    >>> deposits = np.array([-1, 0, -1, -1, -1, 1, -1, -1, -1, -1, -1, -1])
    >>> splitter = SpatialBlockFolds(2, block_size=4, dead_zone=1)
    >>> for train, test in splitter.split(coordinates, np.where(deposits < 0, -1, 1), deposits):
    ...     print(test, train)
    [ 0  1  2  3  8  9 10 11] [4 5 6 7]
    [4 5 6 7] [ 0  1  2  3  8  9 10 11]
    """

    def __init__(
        self,
        n_splits: int = 5,
        block_size: float | Literal["auto"] = "auto",
        dead_zone: float | Literal["auto"] = "auto",
        random_state: int = 0,
    ) -> None:
        self.n_splits = n_splits
        self.block_size = block_size
        self.dead_zone = dead_zone
        self.random_state = random_state

    def get_n_splits(
        self,
        coordinates: npt.ArrayLike | None = None,  # noqa: ARG002 - scikit-learn's protocol
        labels: npt.ArrayLike | None = None,  # noqa: ARG002
        deposits: npt.ArrayLike | None = None,  # noqa: ARG002
    ) -> int:
        """Number of folds."""
        return self.n_splits

    def _deal(self, layout: DepositLayout, dead_zone: float) -> IntArray:
        _check_n_splits(self.n_splits, layout)
        block_size = checked_distance("block_size", self.block_size)
        if block_size is None:
            block_size = self._auto_block_size(layout, dead_zone)
        elif block_size < layout.spacing.max():
            raise StudyError(
                f"block_size is {block_size:g}, less than a cell of {layout.spacing.max():g}: "
                "blocks hold many cells. Is it in CRS units?"
            )
        block = _blocks(layout.coordinates, layout.origin, block_size)
        block_of_group = block[layout.centre_cells]
        if len(np.unique(block_of_group)) < self.n_splits:
            raise LabelError(
                f"Only {len(np.unique(block_of_group))} blocks of {block_size:g} hold a deposit, "
                f"too few for n_splits={self.n_splits}. Take a smaller block_size or fewer folds."
            )
        generator = np.random.default_rng(self.random_state)
        fold_of_block = _deal_blocks(block, block_of_group, layout, self.n_splits, generator)
        fold = fold_of_block[block]
        fold[layout.footprint] = fold_of_block[block_of_group][layout.groups]
        return fold

    def _auto_block_size(self, layout: DepositLayout, dead_zone: float) -> float:
        area = len(layout.coordinates) * layout.spacing.prod()
        block_size = max(np.sqrt(area / (4 * self.n_splits)), 4 * dead_zone)
        while True:
            blocks = _blocks(layout.centres, layout.origin, block_size)
            if len(np.unique(blocks)) >= self.n_splits:
                return float(block_size)
            block_size /= 2


class LeaveOneDepositOut(DepositSplitter):
    """Hold out each deposit in turn, linked deposits together.

    Parameters
    ----------
    dead_zone : float or "auto", default "auto"
        In CRS units: no cell this near to a held-out footprint trains. ``"auto"``: see
        :func:`gossan.splits.auto_dead_zone`.

    Examples
    --------
    >>> coordinates = np.column_stack([np.arange(6.0), np.zeros(6)])
    >>> deposits = np.array([0, -1, -1, -1, 1, 2])
    >>> splitter = LeaveOneDepositOut(dead_zone=1)
    >>> for train, test in splitter.split(coordinates, np.where(deposits < 0, -1, 1), deposits):
    ...     print(test, train)
    [0] [2 3 4 5]
    [4 5] [0 1 2]
    """

    def __init__(self, dead_zone: float | Literal["auto"] = "auto") -> None:
        self.dead_zone = dead_zone

    def get_n_splits(
        self,
        coordinates: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        deposits: npt.ArrayLike | None = None,
    ) -> int:
        """Number of folds: deposits apart from each other, so the cells must be given."""
        return len(deposit_layout(coordinates, labels, deposits).sizes)

    def _deal(self, layout: DepositLayout, dead_zone: float) -> IntArray:  # noqa: ARG002
        _check_n_splits(len(layout.sizes), layout)
        return layout.spread(np.arange(len(layout.sizes)))


SPLITTERS: dict[str, type[DepositSplitter]] = {
    "deposit-clusters": DepositClusterFolds,
    "spatial-blocks": SpatialBlockFolds,
    "leave-one-deposit-out": LeaveOneDepositOut,
}
"""Name in a study file → splitter."""


def make_splitter(name: str, **parameters: Any) -> DepositSplitter:
    """A splitter by its name in :data:`SPLITTERS`.

    Raises
    ------
    StudyError
        If the name or a parameter is unknown; suggests the nearest.

    Examples
    --------
    >>> make_splitter("deposit-clusters", n_splits=4)
    DepositClusterFolds(n_splits=4)
    """
    return make_named("splitter", SPLITTERS, name, parameters)


def _check_n_splits(n_splits: int, layout: DepositLayout) -> None:
    n_groups, n_deposits = len(layout.sizes), layout.sizes.sum()
    linked = f" ({n_deposits} before linking those whose footprints touch)"
    plural = "" if n_groups == 1 else "s"
    found = f"{n_groups} deposit{plural}{linked if n_deposits > n_groups else ''}"
    if n_groups < 2:
        smaller = " or take a smaller footprint" if n_deposits > 1 else ""
        raise LabelError(
            f"Nothing is left to train on when the only deposit is held out: found {found}. Add "
            f"deposits{smaller}: without a second one no map can be tested."
        )
    if n_splits < 2:
        raise StudyError(f"n_splits is {n_splits}: at least 2 folds are needed.")
    if n_groups < n_splits:
        raise LabelError(
            f"n_splits={n_splits} folds need as many deposits apart from each other; found "
            f"{found}. Take {n_groups} folds or fewer, the splitter 'leave-one-deposit-out', or a "
            "smaller footprint."
        )


def _in_order_of_appearance(cluster: npt.NDArray[np.int32]) -> IntArray:
    """Renumber clusters so that the first deposit is in fold 0, the next elsewhere in fold 1, …"""
    _, first, inverse = np.unique(cluster, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _blocks(places: FloatArray, origin: FloatArray, block_size: float) -> IntArray:
    """Number of the square block that each place lies in; depends on the highest place too."""
    columns = ((places[:, 0] - origin[0]) // block_size).astype(np.int64)
    rows = ((places[:, 1] - origin[1]) // block_size).astype(np.int64)
    return rows * (columns.max() + 1) + columns


def _deal_blocks(
    block: IntArray,
    block_of_group: IntArray,
    layout: DepositLayout,
    n_splits: int,
    generator: np.random.Generator,
) -> IntArray:
    """Fold of every block: those with most deposits first, each to the fold with fewest."""
    load = np.zeros(block.max() + 1, dtype=np.int64)
    np.add.at(load, block_of_group, layout.sizes)
    fold = np.full(len(load), -1, dtype=np.int64)
    shuffled = generator.permutation(np.flatnonzero(np.bincount(block)))
    occupied = shuffled[load[shuffled] > 0]
    in_fold = np.zeros(n_splits, dtype=np.int64)
    for index in occupied[np.argsort(-load[occupied], kind="stable")]:
        fold[index] = in_fold.argmin()
        in_fold[fold[index]] += load[index]
    empty = shuffled[load[shuffled] == 0]
    fold[empty] = np.arange(len(empty)) % n_splits
    return fold


def _hold_out(
    layout: DepositLayout, labels: npt.NDArray[np.int8], fold: IntArray, dead_zone: float
) -> Iterator[tuple[IntArray, IntArray]]:
    """Training and test cells of each fold in turn."""
    for held_out in range(fold.max() + 1):
        own = layout.footprint[fold[layout.footprint] == held_out]
        near = within_distance(layout.coordinates, layout.coordinates[own], dead_zone)
        train = np.flatnonzero((fold != held_out) & ~near)
        if not (labels[train] == 1).any():
            raise LabelError(
                f"Fold {held_out} leaves no deposit to train on: all others lie within the dead "
                f"zone of {dead_zone:.7g} around the held-out footprints. Take a smaller "
                "dead_zone, or 0."
            )
        yield train, np.flatnonzero(fold == held_out)
