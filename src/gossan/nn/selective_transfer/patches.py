"""Patches: an area cut into overlapping squares, each with a deposit or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, f1_score, recall_score

from gossan.exceptions import StudyError

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]

PUBLISHED_DILATIONS = (1, 6, 12, 18, 24)
_CROPPED = 224 / 256
"""Share of a patch's width that a crop has, as published."""
_LEAST_PATCHES = 200
"""Patches of an area below which they are cut nearer to one another."""
_DIGITS = 9
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
    check_patches(shape, window, stride)
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
    check_patches(shape, window, stride)
    along = [
        np.unique(np.append(np.arange(0, length - window + 1, stride), length - window))
        for length in shape
    ]
    rows, columns = np.meshgrid(*along, indexing="ij")
    return np.column_stack([rows.ravel(), columns.ravel()])


def check_patches(shape: Sequence[int], window: int, stride: int) -> None:
    """Raise :class:`StudyError` if an area is smaller than a patch, or the stride below 1."""
    if stride < 1:
        raise StudyError(f"stride is {stride}: at least 1 cell is needed.")
    if window < 1 or min(shape) < window:
        raise StudyError(
            f"The area has {shape[0]} × {shape[1]} cells and a patch {window} × {window}. Set a "
            "smaller window."
        )


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
    mean = total / np.where(covered, count, 1.0)
    # Running sums err in the last digits: cells of the same patches' scores must tie.
    return np.where(covered, np.round(mean, _DIGITS), np.nan)


@dataclass(frozen=True)
class PatchSizes:
    """How an area is cut into patches, in cells.

    Attributes
    ----------
    window : int
        Across a patch.
    crop : int
        Across what the networks look at of it.
    dilations : tuple of int
        Of each scale.
    stride, map_stride : int
        From one patch to the next: of those learnt from, and of those that make a map.
    """

    window: int
    crop: int
    dilations: tuple[int, ...]
    stride: int
    map_stride: int


def chosen_sizes(
    shape: Sequence[int],
    dilations: Sequence[int] = PUBLISHED_DILATIONS,
    *,
    window: int | None = None,
    crop: int | None = None,
    stride: int | None = None,
    map_stride: int | None = None,
) -> PatchSizes:
    """Sizes that fit an area, scaled down from the published where they must.

    The published window of 256 cells goes with an area of 3,072: a twelfth. A smaller area gets a
    power of two near a sixth of its shorter side, at least 16; the crop keeps its share of the
    window. Patches lie half a window apart, or nearer where that would make fewer than 200 of them
    (published: 437 to learn from). The published dilations keep their share of the crop; those that
    would leave a feature map of fewer than 8 cells are left out, and their networks with them.
    Others stay as given.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the area.
    dilations : sequence of int
        The published ones are for a crop of 224 cells.
    window, crop, stride, map_stride : int, optional
        In place of what would be chosen.

    Raises
    ------
    StudyError
        If a patch is larger than the area, a crop than a patch, or a scale reaches beyond a crop.

    Examples
    --------
    >>> chosen_sizes((3072, 3072))
    PatchSizes(window=256, crop=224, dilations=(1, 6, 12, 18, 24), stride=128, map_stride=32)
    >>> chosen_sizes((251, 310))
    PatchSizes(window=32, crop=28, dilations=(1, 2, 3, 4, 5), stride=16, map_stride=4)
    >>> chosen_sizes((120, 140))
    PatchSizes(window=16, crop=14, dilations=(1, 2, 3), stride=8, map_stride=2)
    """
    if window is None:
        sixth = max(min(shape) / 6, 1.0)
        window = int(min(256, max(16, 2 ** round(np.log2(sixth)))))
    if crop is None:
        crop = max(1, round(_CROPPED * window))
    check_patches(shape, window, 1)
    if crop > window:
        raise StudyError(
            f"crop is {crop} and the patches are {window} cells across: set a smaller crop."
        )
    published = tuple(dilations) == PUBLISHED_DILATIONS
    rates = _scaled(dilations, crop) if published and crop < 224 else tuple(dilations)
    widest = max(rates)
    if crop - 2 * widest < 1:
        raise StudyError(
            f"A dilation of {widest} reaches {2 * widest + 1} cells across and the crop is "
            f"{crop}: set smaller dilations or a larger patch_window."
        )
    if stride is None:
        stride = max(1, window // 2)
        while stride > 1 and len(patch_corners(shape, window, stride)) < _LEAST_PATCHES:
            stride //= 2
    # A map's patches are as wide as the crop: farther apart they would leave gaps.
    return PatchSizes(window, crop, rates, stride, min(map_stride or max(1, crop // 7), crop))


def _scaled(dilations: Sequence[int], crop: int) -> tuple[int, ...]:
    """Dilations for a smaller crop than the published, ascending; those that become one are one."""
    room = max(1, (crop - _LEAST_MAP) // 2)
    scaled: dict[int, int] = {}
    for rate in sorted(set(dilations)):
        least = max(scaled.values()) + 1 if scaled else 1
        place = max(least, round(rate * crop / 224))
        if place <= room:
            scaled[rate] = place
    return tuple(scaled[rate] for rate in sorted(dilations) if rate in scaled)


def confusion(positive: BoolArray, found: BoolArray) -> dict[str, int]:
    """True and false positives and negatives: ``tp``, ``fn``, ``tn``, ``fp``.

    Parameters
    ----------
    positive, found : ndarray of shape (n,), bool
        Which patches have a deposit, and which are said to.
    """
    return {
        "tp": int((positive & found).sum()),
        "fn": int((positive & ~found).sum()),
        "tn": int((~positive & ~found).sum()),
        "fp": int((~positive & found).sum()),
    }


def patch_figures(*, tp: int, fn: int, tn: int, fp: int) -> dict[str, float]:
    """Accuracy, recall and macro-F1 of a confusion, as they are published for patches.

    Parameters
    ----------
    tp, fn, tn, fp : int
        Patches with a deposit that were found and missed, patches without that were left and taken
        for one.

    Returns
    -------
    dict of str to float
        ``accuracy``, ``recall`` of the patches with deposits, and ``macro_f1``, the mean of the F1
        of either class; 0 where there is nothing to divide by.

    Examples
    --------
    The published confusion, 69.09, 40.33 and 65.00 %:

    >>> figures = patch_figures(tp=48, fn=71, tn=142, fp=14)
    >>> {name: f"{100 * value:.2f}" for name, value in figures.items()}
    {'accuracy': '69.09', 'recall': '40.34', 'macro_f1': '65.00'}
    """
    ones = {"sample_weight": [tp, fn, tn, fp], "zero_division": 0.0}
    true, said = [1, 1, 0, 0], [1, 0, 0, 1]
    return {
        "accuracy": float(accuracy_score(true, said, sample_weight=ones["sample_weight"])),
        "recall": float(recall_score(true, said, **ones)),
        "macro_f1": float(f1_score(true, said, average="macro", **ones)),
    }
