"""Patches: an area cut into overlapping squares, each with a deposit or without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gossan.exceptions import StudyError

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]

_CROPPED = 224 / 256
"""Share of a patch's width that a crop has, as published."""
_LEAST_MAP = 8
"""Cells across the smallest feature map: less is nothing to look at."""


def patch_corners(shape: Sequence[int], window: int, stride: int) -> IntArray:
    """First row and column of each whole patch of an area, row by row.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the area.
    window, stride : int
        Cells across a patch, and from one to the next.

    Returns
    -------
    ndarray of shape (n, 2)

    Raises
    ------
    StudyError
        If the area is smaller than a patch, or the stride is below 1.

    Examples
    --------
    The published counts, of 2,560 training and 512 test rows:

    >>> len(patch_corners((2560, 3072), 256, 128)), len(patch_corners((512, 3072), 256, 128))
    (437, 69)
    """
    if stride < 1:
        raise StudyError(f"stride is {stride}: at least 1 cell is needed.")
    if window < 1 or min(shape) < window:
        raise StudyError(
            f"The area has {shape[0]} × {shape[1]} cells and a patch {window} × {window}. Set a "
            "smaller window."
        )
    along = [np.arange(0, length - window + 1, stride) for length in shape]
    rows, columns = np.meshgrid(*along, indexing="ij")
    return np.column_stack([rows.ravel(), columns.ravel()])


def covering_corners(shape: Sequence[int], window: int, stride: int) -> IntArray:
    """The same, with patches that end at the last row and column: every cell lies in one.

    Examples
    --------
    >>> covering_corners((5, 4), 4, 3).tolist()
    [[0, 0], [1, 0]]
    """
    patch_corners(shape, window, stride)  # what cannot be is said there
    along = [
        np.unique(np.append(np.arange(0, length - window + 1, stride), length - window))
        for length in shape
    ]
    rows, columns = np.meshgrid(*along, indexing="ij")
    return np.column_stack([rows.ravel(), columns.ravel()])


def patch_counts(cells: BoolArray, corners: IntArray, window: int) -> IntArray:
    """How many of some cells each patch holds, (n,).

    Parameters
    ----------
    cells : ndarray of shape (y, x), bool
    corners : ndarray of shape (n, 2)
    window : int

    Examples
    --------
    >>> cells = np.eye(4, dtype=bool)
    >>> patch_counts(cells, patch_corners((4, 4), 2, 2), 2).tolist()
    [2, 0, 0, 2]
    """
    sums = np.pad(cells.astype(np.int64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    top, left = corners.T
    bottom, right = top + window, left + window
    return sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]


def averaged_patches(
    shape: Sequence[int], corners: IntArray, window: int, scores: FloatArray
) -> FloatArray:
    """A map of an area: each cell's mean over the patches that hold it.

    Parameters
    ----------
    shape : (int, int)
    corners : ndarray of shape (n, 2)
    window : int
    scores : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (y, x)
        NaN where no patch lies.

    Examples
    --------
    >>> averaged_patches((1, 3), np.array([[0, 0], [0, 1]]), 1, np.array([0.2, 0.6])).tolist()
    [[0.2, 0.6, nan]]
    """
    # Each patch as +1 and -1 at its corners; running sums fill it: no loop over its cells.
    total, count = (np.zeros((shape[0] + 1, shape[1] + 1)) for _ in range(2))
    top, left = corners.T
    for rows, columns, sign in (
        (top, left, 1),
        (top + window, left, -1),
        (top, left + window, -1),
        (top + window, left + window, 1),
    ):
        np.add.at(total, (rows, columns), sign * scores)
        np.add.at(count, (rows, columns), sign)
    total, count = (part.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] for part in (total, count))
    covered = np.rint(count) > 0
    return np.where(covered, total / np.where(covered, count, 1.0), np.nan)


def chosen_sizes(
    shape: Sequence[int], window: int | None, crop: int | None, dilations: Sequence[int]
) -> tuple[int, int, tuple[int, ...]]:
    """Window, crop and dilations that fit an area, scaled down from the published where they must.

    The published window of 256 cells goes with an area of 3,072: a twelfth. A smaller area gets a
    power of two near a sixth of its shorter side, at least 16; the crop keeps its share of the
    window and the dilations theirs of the crop, as long as a feature map of 8 cells is left.

    Parameters
    ----------
    shape : (int, int)
    window, crop : int or None
        ``None`` to have it chosen.
    dilations : sequence of int
        As published, for a crop of 224 cells.

    Returns
    -------
    window, crop : int
    dilations : tuple of int
        Ascending; scaled where the window was chosen.

    Examples
    --------
    >>> chosen_sizes((3072, 3072), None, None, (1, 6, 12, 18, 24))
    (256, 224, (1, 6, 12, 18, 24))
    >>> chosen_sizes((251, 310), None, None, (1, 6, 12, 18, 24))
    (32, 28, (1, 2, 3, 4, 5))
    """
    given = window is not None
    if window is None:
        sixth = max(min(shape) / 6, 1.0)
        window = int(min(256, max(16, 2 ** round(np.log2(sixth)))))
    if crop is None:
        crop = max(1, round(_CROPPED * window))
    if given or crop >= 224:
        return window, crop, tuple(dilations)
    room = (crop - _LEAST_MAP) // 2
    scaled: list[int] = []
    for rate in sorted(dilations):
        least = scaled[-1] + 1 if scaled and rate > 1 else 1
        scaled.append(min(max(least, round(rate * crop / 224)), room))
    return window, crop, tuple(scaled)
