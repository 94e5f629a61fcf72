"""The background, dealt into parts that are each judged by models which saw none of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gossan.exceptions import GossanError, LabelError, StudyError, SurveyDataWarning
from gossan.validate.cells import FloatArray, IntArray, StudyCells

_BLOCKS = 128
"""Of a study, about: small enough to be many, wide enough to have few cells at their edges."""
_LEAST_BLOCKS = 4
"""Of a part, where patches would make blocks wider."""


@dataclass(frozen=True)
class Background:
    """Which ground each part's models must not see, and which background cells they judge.

    Attributes
    ----------
    parts : array of shape (n,)
        Part of the block that each cell of the study lies in, labelled or not.
    judged : array of shape (n,)
        Part whose models rank the cell; -1 for labelled cells and those beyond the sample.
    side : int
        Cells across a block.
    widened : bool
        Whether patches made blocks wider than they are without.
    """

    parts: IntArray
    judged: IntArray
    side: int
    widened: bool

    @property
    def n_parts(self) -> int:
        """Parts that the background is dealt into."""
        return int(self.parts.max()) + 1

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
            return values[self.parts[cells], np.arange(len(cells))]
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

    Most background cells then have no training neighbour. Of models that learn patches, which look
    farther, blocks are a patch across where the area has room for four of them a part.

    Parameters
    ----------
    cells : StudyCells
    n_parts : int
        Parts; fewer where there are fewer blocks.
    limit : int or None
        A random sample of so many background cells is judged.
    random_state : int
    patch : int, default 1
        Cells across the widest patch that a model learns from: :func:`widest_patch`.

    Returns
    -------
    Background

    Raises
    ------
    LabelError
        If a part has no background cell to judge.

    Warns
    -----
    SurveyDataWarning
        If blocks are narrower than patches.
    """
    rng = np.random.default_rng(random_state)
    count = len(cells.rows)
    usual = max(1, int(np.sqrt(count / _BLOCKS)))
    side = max(usual, min(patch, int(np.sqrt(count / (_LEAST_BLOCKS * n_parts)))))
    if side < patch:
        warnings.warn(
            f"Patches are {patch} cells across and the blocks of background, hidden in {n_parts} "
            f"parts, {side}: patches reach across them from ground that teaches, and held-out "
            "figures lean down. Set a smaller patch_window, or a smaller cell_size in [area].",
            SurveyDataWarning,
            stacklevel=3,
        )
    blocks_across = int(cells.columns.max()) // side + 1
    number = (cells.rows // side) * blocks_across + cells.columns // side
    occupied, block = np.unique(number, return_inverse=True)
    parts = rng.permutation(np.arange(len(occupied)) % n_parts)[block]
    judged = np.where(cells.labels == -1, parts, -1)
    background = np.flatnonzero(judged >= 0)
    if limit is not None and len(background) > limit:
        judged[rng.choice(background, len(background) - limit, replace=False)] = -1
    found = Background(parts, judged, side, side > usual)
    empty = [part for part in range(found.n_parts) if not len(found.cells(part))]
    if empty:
        raise LabelError(
            f"The background has {len(background)} cells, of which {len(empty)} of its "
            f"{found.n_parts} parts hold none to rank deposits against. Set fewer "
            "background_folds, or a larger area."
        )
    return found


def training_cells(
    cells: StudyCells, background: Background, train: IntArray, part: int, *, patches: bool
) -> tuple[IntArray, IntArray | None]:
    """Cells that the models of a part may see in a fold, and those not to be known as deposits.

    Of models that learn cells: the fold's training cells outside the part's blocks.

    A model that learns patches is taught of the ground beside a cell what it is taught of the cell.
    Were a held-out deposit's dead zone hidden from it, and a background cell's surroundings not,
    patches would have taught that all ground is barren but the deposits', and deposits at random
    places would be found. So both are treated alike: the part's blocks are hidden, all other ground
    is shown, and a deposit that does not train, since it is held out or in a dead zone, is ground
    like any other, as if nobody had found it. It is judged by the models of its own part, as the
    background round it is (:meth:`Background.pooled`).

    Parameters
    ----------
    cells : StudyCells
    background : Background
    train : ndarray of int
        As a splitter gives them.
    part : int
    patches : bool
        Whether the model learns patches: :func:`learns_patches`.

    Returns
    -------
    shown : ndarray of int
        Sorted.
    unknown : ndarray of int or None
        For :meth:`StudyCells.known`.
    """
    if not patches:
        away = (background.parts != part) | (cells.labels != -1)
        return train[away[train]], None
    trains = np.zeros(len(cells.labels), dtype=bool)
    trains[train] = True
    positive = cells.training_labels == 1
    shown = (positive & trains) | (background.parts != part)
    return np.flatnonzero(shown), np.flatnonzero(positive & ~trains)


def learns_patches(model: Any) -> bool:
    """Whether a model cuts an area into patches and learns those."""
    return hasattr(model, "fit_area")


def widest_patch(models: Iterable[Any], shape: Sequence[int]) -> int:
    """Cells across the widest patch that any of some models learns from; 1 if none learns patches.

    One whose patches do not fit the area does not count: it says so when it is fitted.

    Raises
    ------
    StudyError
        If a model that learns patches does not tell their sizes.
    """
    widest = 1
    for model in models:
        if not learns_patches(model):
            continue
        if not hasattr(model, "sizes"):
            raise StudyError(
                f"{type(model).__name__} learns patches of an area and does not tell how wide they "
                "are: give it a method sizes(shape) whose result has a window, in cells."
            )
        try:
            widest = max(widest, model.sizes(shape).window)
        except GossanError:
            continue
    return widest
