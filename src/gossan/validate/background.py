"""The background, dealt into parts that are each judged by models which saw none of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gossan.exceptions import GossanError
from gossan.validate.cells import FloatArray, IntArray, StudyCells

_BLOCKS = 128
"""Of a study, about: small enough to be many, wide enough to have few cells at their edges."""
_LEAST_BLOCKS = 4
"""Of a part, where patches would make blocks wider."""


@dataclass(frozen=True)
class Background:
    """Which background cells each part's models must not see, and which they judge.

    Attributes
    ----------
    places : array of shape (n,)
        Part of the block that each cell of the study lies in, labelled or not.
    hidden : array of shape (n,)
        Part whose models must not learn from the cell; -1 for labelled cells.
    judged : array of shape (n,)
        Part whose models rank the cell; -1 for labelled cells and those beyond the sample.
    side : int
        Cells across a block.
    widened : bool
        Whether patches made blocks wider than they are without.
    """

    places: IntArray
    hidden: IntArray
    judged: IntArray
    side: int
    widened: bool

    @property
    def n_parts(self) -> int:
        """Parts that the background is dealt into."""
        return int(self.judged.max()) + 1

    def shown(self, train: IntArray, part: int, unknown: IntArray | None = None) -> IntArray:
        """Of a fold's training cells those that the models of a part may see.

        Parameters
        ----------
        train : ndarray of int
            As a splitter gives them.
        part : int
        unknown : ndarray of int, optional
            Of models that learn patches: the held-out deposits' cells, which are shown like any
            ground round them, as if nobody had found those deposits. The splitter then decides
            about the other deposits alone, and the parts about ground.
        """
        if unknown is None:
            return train[self.hidden[train] != part]
        ground = np.union1d(np.flatnonzero(self.hidden >= 0), unknown)
        return np.union1d(train[self.hidden[train] == -1], ground[self.places[ground] != part])

    def cells(self, part: int) -> IntArray:
        """Background cells that the models of a part judge."""
        return np.flatnonzero(self.judged == part)

    def pooled(self, told: npt.ArrayLike, cells: IntArray, *, patches: bool = False) -> FloatArray:
        """Of each held-out deposit one value of those that the parts' models give it.

        Parameters
        ----------
        told : array-like of shape (parts, deposits, ...)
        cells : ndarray of shape (deposits,)
            In which they lie.
        patches : bool, default False
            Of models that learn patches: that of its own part, otherwise the mean of all.

        Returns
        -------
        ndarray of shape (deposits, ...)
        """
        values = np.asarray(told, dtype=float)
        if patches:
            return values[self.places[cells], np.arange(len(cells))]
        return np.mean(values, axis=0)


def deal_background(
    cells: StudyCells,
    n_parts: int,
    limit: int | None,
    random_state: int,
    *,
    patch: int = 1,
) -> Background:
    """Deal square blocks of ground, about 128 over the study, at random to parts.

    Most background cells then have no training neighbour. A model that learns patches looks much
    farther: what it is taught of the ground beside a cell, it is taught of the cell. Were a
    held-out deposit's dead zone hidden from it, and a background cell's surroundings not, patches
    would have taught that all ground is barren but the deposits', and deposits at random places
    would be found (``benchmarks/background_leak.py``). So both are treated alike: blocks are at
    least a patch across, the ground of a held-out deposit is hidden with its block, as if nobody
    had found it, and it is judged by the models of that part, as the background round it is. A dead
    zone keeps other deposits from training, but no barren ground.

    Parameters
    ----------
    cells : StudyCells
    n_parts : int
    limit : int or None
        A random sample of so many background cells is judged.
    random_state : int
    patch : int, default 1
        Cells across the widest patch that a model learns from: :func:`widest_patch`.
    """
    rng = np.random.default_rng(random_state)
    count = len(cells.rows)
    usual = max(1, int(np.sqrt(count / _BLOCKS)))
    side = max(usual, min(patch, int(np.sqrt(count / (_LEAST_BLOCKS * n_parts)))))
    blocks_across = int(cells.columns.max()) // side + 1
    number = (cells.rows // side) * blocks_across + cells.columns // side
    occupied, block = np.unique(number, return_inverse=True)
    places = rng.permutation(np.arange(len(occupied)) % n_parts)[block]
    hidden = np.where(cells.labels == -1, places, -1)
    judged = hidden.copy()
    background = np.flatnonzero(hidden >= 0)
    if limit is not None and len(background) > limit:
        judged[rng.choice(background, len(background) - limit, replace=False)] = -1
    return Background(places, hidden, judged, side, side > usual)


def held_out_cells(cells: StudyCells, test: IntArray) -> IntArray:
    """Of a fold's test cells those of deposits."""
    return test[cells.deposits[test] >= 0]


def learns_patches(model: Any) -> bool:
    """Whether a model cuts an area into patches, of sizes that ``sizes(shape)`` tells."""
    return hasattr(model, "sizes")


def widest_patch(models: Iterable[Any], shape: Sequence[int]) -> int:
    """Cells across the widest patch that any of some models learns from; 1 if none learns patches.

    One whose patches do not fit the area does not count: it says so when it is fitted.
    """
    widest = 1
    for model in models:
        if learns_patches(model):
            try:
                widest = max(widest, model.sizes(shape).window)
            except GossanError:
                continue
    return widest
