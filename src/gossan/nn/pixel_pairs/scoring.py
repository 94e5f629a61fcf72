"""From a trained pair network to scores: against the ring of neighbours, or labelled cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gossan.nn.pixel_pairs.network import PairNetwork
from gossan.nn.pixel_pairs.pairs import PairKind, pair_signal

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]

PAIRS_AT_ONCE = 1_024
"""Pairs that go through the network together: what they leave stays in the cache."""


class Comparison:
    """A trained network ready to tell how unlike cells are: (layers, n) and (layers, n) → (n,)."""

    def __init__(self, member: dict[str, Any], pair: PairKind) -> None:
        self.member = member
        self.pair = pair
        self.network = PairNetwork(2 if pair == "stack" else 1)
        weights = {name: torch.from_numpy(value) for name, value in member["weights"].items()}
        self.network.load_state_dict(weights)
        self.network.eval()

    @property
    def symmetric(self) -> bool:
        """Whether a pair scores alike in both orders."""
        return self.pair == "absolute-difference"

    def standardised(self, values: FloatArray) -> FloatArray:
        """``(n, layers, …)`` in units of the training cells' standard deviation."""
        shape = (-1, *[1] * (values.ndim - 2))
        centre, scale = self.member["centre"].reshape(shape), self.member["scale"].reshape(shape)
        return ((values - centre) / scale).astype(np.float32)

    @torch.inference_mode()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Dissimilarity, 0 to 1, of cells and others: (n, layers) and (n, layers) → (n,)."""
        return torch.sigmoid(self.network(pair_signal(first, second, self.pair)))


def reference_score(compare: Comparison, cells: FloatArray) -> FloatArray:
    """Half of one plus dissimilarity to training negatives minus that to positives, (n,)."""
    values = torch.from_numpy(np.ascontiguousarray(cells))
    means = []
    for references in compare.member["references"]:
        total = torch.zeros(len(values), dtype=torch.float64)
        for start in range(0, len(values), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            for reference in torch.from_numpy(references):
                total[part] += compare(values[part], reference[None])
        means.append(total / len(references))
    return (0.5 * (1.0 + means[0] - means[1])).numpy()


def ring_of_windows(compare: Comparison, windows: FloatArray, ring: IntArray) -> FloatArray:
    """Mean dissimilarity of the middle of each window to the cells of its ring, (n,)."""
    middle = windows.shape[-1] // 2
    scores = np.empty(len(windows))
    for start in range(0, len(windows), PAIRS_AT_ONCE):
        part = windows[start : start + PAIRS_AT_ONCE]
        centre = torch.from_numpy(part[:, :, middle, middle])
        total, count = np.zeros(len(part)), np.zeros(len(part))
        for row, column in ring:
            other = part[:, :, middle + row, middle + column]
            paired = np.flatnonzero(np.isfinite(other).any(axis=1))
            if len(paired):
                total[paired] += compare(centre[paired], torch.from_numpy(other[paired])).numpy()
                count[paired] += 1
        with np.errstate(invalid="ignore"):
            scores[start : start + len(part)] = total / count
    return scores


def ring_of_block(
    compare: Comparison, block: FloatArray, ring: IntArray, outer: int, whole: int
) -> tuple[FloatArray, FloatArray]:
    """The same for every cell of a block, each pair once where it can be; and standard errors."""
    halo = outer // 2
    layers, rows, columns = block.shape
    values = torch.from_numpy(compare.standardised(block.reshape(layers, -1).T))
    observed = np.asarray(np.isfinite(block).any(axis=0))
    wanted = np.zeros((rows, columns), dtype=bool)
    wanted[halo : rows - halo, halo : columns - halo] = True
    number = np.arange(rows * columns).reshape(rows, columns)
    total, squares, count = (np.zeros(rows * columns) for _ in range(3))
    offsets = ring[len(ring) // 2 :] if compare.symmetric else ring
    for row, column in offsets:
        here, there = _shifted(rows, row), _shifted(columns, column)
        first, second = (here[0], there[0]), (here[1], there[1])
        needed = wanted[first] | wanted[second] if compare.symmetric else wanted[first]
        pairs = observed[first] & observed[second] & needed
        i, j = number[first][pairs], number[second][pairs]
        for start in range(0, len(i), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            unlike = compare(values[i[part]], values[j[part]]).numpy()
            for cells in (i[part], j[part])[: 2 if compare.symmetric else 1]:
                total[cells] += unlike
                squares[cells] += unlike.astype(np.float64) ** 2
                count[cells] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        variance = np.maximum(squares / count - mean**2, 0.0) * count / (count - 1)
        error = np.sqrt(variance / count * (1.0 - len(ring) / whole))
    inner = wanted.ravel()
    shape = (rows - 2 * halo, columns - 2 * halo)
    return mean[inner].reshape(shape), error[inner].reshape(shape)


def _shifted(length: int, step: int) -> tuple[slice, slice]:
    """The cells that have another ``step`` on, and those others."""
    return slice(max(0, -step), length - max(0, step)), slice(max(0, step), length + min(0, step))
