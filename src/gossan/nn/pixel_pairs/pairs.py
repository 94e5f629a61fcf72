"""Pairs of labelled cells: how many there are, which they are, what the network sees of them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]

PairKind = Literal["absolute-difference", "difference", "stack"]


def pair_indices(y: npt.ArrayLike) -> tuple[IntArray, IntArray, IntArray]:
    """All training pairs of labelled cells.

    Parameters
    ----------
    y : array-like of shape (n,)
        1 deposit, 0 barren; -1 takes part in no pair.

    Returns
    -------
    i, j, label : ndarray of shape (pairs,)
        Indices of the two cells; label 0 where they are of one class, in both orders, and 1
        across classes, the deposit first, once.

    References
    ----------
    Zhang, C., Zuo, R. & Xiong, Y. (2021). Detection of the multivariate geochemical anomalies
    associated with mineralization using a deep convolutional neural network and a pixel-pair
    feature method. Applied Geochemistry 130, 104994.

    Examples
    --------
    The published counts, of 136 cells in each class:

    >>> i, j, label = pair_indices(np.repeat([1, 0], 136))
    >>> int((label == 0).sum()), int((label == 1).sum())
    (36720, 18496)
    """
    pairs = PairSet(y)
    return pairs[np.arange(len(pairs))]


class PairSet:
    """The training pairs of labelled cells by their numbers, never held as a whole.

    Parameters
    ----------
    y : array-like of shape (n,)
        As in :func:`pair_indices`.

    Examples
    --------
    >>> pairs = PairSet([1, 1, 0])
    >>> len(pairs), pairs[np.array([0, 3])]
    (4, (array([0, 1]), array([1, 2]), array([0, 1])))
    """

    def __init__(self, y: npt.ArrayLike) -> None:
        labels = np.asarray(y)
        self.positive = np.flatnonzero(labels == 1)
        self.negative = np.flatnonzero(labels == 0)
        n, k = len(self.positive), len(self.negative)
        self._ends = np.cumsum([n * (n - 1), k * (k - 1), n * k])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, numbers: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Cells and labels of the pairs of these numbers: deposits, barren cells, across."""
        first, second = np.empty_like(numbers), np.empty_like(numbers)
        kind = np.searchsorted(self._ends, numbers, side="right")
        for k, cells in ((0, self.positive), (1, self.negative)):
            here = kind == k
            first[here], second[here] = self._within(cells, numbers[here] - (self._ends[0] * k))
        across = kind == 2
        i, j = np.divmod(numbers[across] - self._ends[1], max(1, len(self.negative)))
        first[across], second[across] = self.positive[i], self.negative[j]
        return first, second, across.astype(np.int64)

    @staticmethod
    def _within(cells: IntArray, numbers: IntArray) -> tuple[IntArray, IntArray]:
        """Ordered pairs of different cells: the second skips the first."""
        i, j = np.divmod(numbers, max(1, len(cells) - 1))
        return cells[i], cells[j + (j >= i)]


def pair_signal(first: Tensor, second: Tensor, pair: PairKind) -> Tensor:
    """What the network sees of two cells; a layer that either lacks says nothing.

    Parameters
    ----------
    first, second : Tensor of shape (…, layers)
        Standardised evidence; NaN = missing.
    pair : {"absolute-difference", "difference", "stack"}

    Returns
    -------
    Tensor of shape (…, 1 or 2, layers)
        Without NaN: 0 where a layer is missing in one cell or both.

    Examples
    --------
    >>> signal = pair_signal(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, torch.nan]]),
    ...                      "absolute-difference")
    >>> signal.squeeze().tolist()
    [2.0, 0.0]
    """
    difference = first - second
    if pair == "absolute-difference":
        return difference.abs_().nan_to_num_(0.0).unsqueeze(-2)
    if pair == "difference":
        return difference.nan_to_num_(0.0).unsqueeze(-2)
    shared = torch.isfinite(difference)
    return torch.stack([torch.where(shared, part, 0.0) for part in (first, second)], dim=-2)


class LabelledPairs(Dataset[tuple[Tensor, Tensor]]):
    """Pairs by their numbers → signals and labels, in bulk."""

    def __init__(self, values: FloatArray, labels: IntArray, pair: PairKind) -> None:
        self.values = torch.from_numpy(np.ascontiguousarray(values))  # (cells, layers)
        self.pairs = PairSet(labels)
        self.pair = pair

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, numbers: IntArray) -> tuple[Tensor, Tensor]:
        i, j, label = self.pairs[numbers]
        signal = pair_signal(self.values[i], self.values[j], self.pair)
        return signal, torch.from_numpy(label).float()
