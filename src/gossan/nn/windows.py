"""Windows of evidence round cells: the cells of a ring, and windows gathered in bulk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gossan.exceptions import StudyError

IntArray = npt.NDArray[np.int64]


def check_dual_window(inner: int, outer: int) -> None:
    """Raise unless both windows are odd and the outer one is the larger.

    Raises
    ------
    StudyError
        With the values and the remedy.
    """
    for name, width in (("inner", inner), ("outer", outer)):
        if width < 1 or width % 2 == 0:
            raise StudyError(f"{name} is {width}: a window counts cells across, and is odd.")
    if outer <= inner:
        raise StudyError(
            f"outer is {outer} and inner {inner}: the outer window must be the larger, for the "
            "ring between them to hold cells."
        )


def ring_offsets(inner: int, outer: int) -> IntArray:
    """Rows and columns, from the centre, of the cells of the outer window outside the inner one.

    Parameters
    ----------
    inner, outer : int
        Odd: cells across.

    Returns
    -------
    ndarray of shape (outer² - inner², 2)
        Ordered ring by ring, each clockwise from its north-west corner, so that an even step
        through them is an even sample of the ring.

    Examples
    --------
    >>> len(ring_offsets(3, 5)), len(ring_offsets(13, 35))
    (16, 1056)
    """
    check_dual_window(inner, outer)
    rings = [_square(reach) for reach in range(inner // 2 + 1, outer // 2 + 1)]
    return np.concatenate(rings)


def sampled_ring(inner: int, outer: int, pairs: int | None, random_state: int) -> IntArray:
    """An even sample of the ring in which every cell's opposite is there too.

    So each pair of cells belongs to both of their rings, and is scored once for both.

    Parameters
    ----------
    inner, outer : int
    pairs : int or None
        Cells, rounded up to an even number; ``None``, or more than there are, for the whole ring.
    random_state : int
        Where the even steps start.

    Returns
    -------
    ndarray of shape (m, 2)
        The first m / 2 are the opposites of the others, in order.

    Examples
    --------
    >>> ring = sampled_ring(5, 9, 12, 0)
    >>> ring.shape, bool((ring[:6] == -ring[6:]).all())
    ((12, 2), True)
    """
    offsets = ring_offsets(inner, outer)
    half = offsets[(offsets[:, 0] > 0) | ((offsets[:, 0] == 0) & (offsets[:, 1] > 0))]
    count = len(half) if pairs is None else min(len(half), -(-pairs // 2))
    start = np.random.default_rng(random_state).random()
    chosen = np.floor((np.arange(count) + start) * len(half) / count).astype(np.int64)
    return np.concatenate([-half[chosen], half[chosen]])


@dataclass(frozen=True)
class DualWindow:
    """The ring between two windows, and the sample of it that stands for the whole.

    Parameters
    ----------
    inner, outer : int
        Odd: cells across.
    pairs : int or None, default None
        Cells of the ring in the sample; ``None`` for all of them.
    random_state : int, default 0

    Examples
    --------
    >>> ring = DualWindow(13, 35, 64)
    >>> len(ring.whole), len(ring.sampled), ring.sampled_whole
    (1056, 64, False)
    """

    inner: int
    outer: int
    pairs: int | None = None
    random_state: int = 0

    @cached_property
    def sampled(self) -> IntArray:
        """Offsets of the sample, (m, 2): see :func:`sampled_ring`."""
        return sampled_ring(self.inner, self.outer, self.pairs, self.random_state)

    @cached_property
    def whole(self) -> IntArray:
        """Offsets of the ring, (outer² - inner², 2), in the order of the sample's."""
        return sampled_ring(self.inner, self.outer, None, self.random_state)

    @property
    def sampled_whole(self) -> bool:
        """Whether the sample is the whole ring."""
        return len(self.sampled) == len(self.whole)


def _square(reach: int) -> IntArray:
    """The cells at a distance, clockwise."""
    along = np.arange(-reach, reach)
    edge = np.full(2 * reach, reach)
    sides: list[Any] = [(-edge, along), (along, edge), (edge, -along), (-along, -edge)]
    return np.concatenate([np.column_stack(side) for side in sides])
