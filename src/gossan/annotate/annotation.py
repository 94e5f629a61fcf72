"""What the rounds made of each cell, and draws of negatives from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Annotation:
    """What the rounds made of each cell.

    Attributes
    ----------
    cells : ndarray of shape (n,)
        The cells judged: indices into those given, sorted.
    scores : ndarray of shape (rounds, n), float32
        Out-of-bag score of each round, 0 barren to 1 like the deposits; NaN where every member
        trained on the cell.
    decisions : ndarray of shape (rounds, n), int8
        What each cell stood for while a round's members drew their negatives: one of the codes
        of :data:`gossan.annotate.DECISIONS`.
    weights : ndarray of shape (n,), float32
        How readily a cell is drawn as negative after the chosen round; 0 never.
    rounds : pandas.DataFrame
        One row a round: ``round``, ``n_negative``, ``n_doubtful``, ``changed`` (share of the
        annotated set), ``inner_auc`` and ``inner_capture`` (of deposits that neither the members
        nor the rounds before them saw; capture is the mean at 1, 2, 5 and 10 %),
        ``positives_below`` (share of such deposits' cells among the lowest ``quantile``).
    chosen : int
        The round whose set is kept; 0 if no annotation held up.
    strata : ndarray of shape (n,) or None
        Number of the part of the area and of the geology that each cell belongs to.
    stratum_shares : ndarray or None
        Share of each of them among all cells.
    """

    cells: IntArray
    scores: npt.NDArray[np.float32]
    decisions: npt.NDArray[np.int8]
    weights: npt.NDArray[np.float32]
    rounds: pd.DataFrame
    chosen: int
    strata: IntArray | None = None
    stratum_shares: FloatArray | None = None

    @property
    def negatives(self) -> IntArray:
        """Cells that may be drawn as negatives: indices into the cells given."""
        return self.cells[self.weights > 0]

    def draw(self, size: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Sorted, distinct cells to stand for barren ground."""
        drawn = draw_cells(self.weights, size, generator, self.strata, self.stratum_shares)
        return np.sort(self.cells[drawn])


def draw_cells(
    weights: npt.NDArray[np.float32],
    size: int,
    generator: np.random.Generator,
    strata: IntArray | None = None,
    shares: FloatArray | None = None,
) -> IntArray:
    """Positions of ``size`` distinct cells drawn by weight, or evenly over the strata.

    Every cell has one random key, whatever its weight, and those of the highest keys are drawn
    (weighted draws without replacement, Efraimidis & Spirakis 2006). So with generators in the
    same state, draws before and after some cells were set aside differ by those cells alone.
    """
    if size >= np.count_nonzero(weights):
        return np.flatnonzero(weights > 0)
    keys = generator.random(len(weights), dtype=np.float32)
    np.log(np.maximum(keys, np.finfo(np.float32).tiny, out=keys), out=keys)
    np.divide(keys, weights, out=keys, where=weights > 0)
    keys[weights == 0] = -np.inf
    if strata is not None and shares is not None:
        return _highest_by_stratum(keys, strata, shares, size, generator)
    return np.argpartition(-keys, size - 1)[:size]


def _highest_by_stratum(
    keys: npt.NDArray[np.float32],
    strata: IntArray,
    shares: FloatArray,
    size: int,
    generator: np.random.Generator,
) -> IntArray:
    """Each stratum gives as large a share of the draw as it has of the area, while it lasts."""
    pool = np.flatnonzero(np.isfinite(keys))
    held = np.bincount(strata[pool], minlength=len(shares))
    wanted = np.zeros(len(shares), np.int64)
    size = left = min(size, len(pool))
    while left > 0:
        room = (wanted < held) * shares
        more = generator.multinomial(left, room / room.sum())
        wanted = np.minimum(wanted + more, held)
        left = size - int(wanted.sum())
    order = np.lexsort((-keys[pool], strata[pool]))
    starts = np.cumsum(held) - held
    place = np.arange(len(pool)) - np.repeat(starts, held)
    return pool[order[place < np.repeat(wanted, held)]]
