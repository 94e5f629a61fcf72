"""From a trained pair network to scores: against the ring of neighbours, or labelled cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gossan.nn.devices import Precision, autocast, chosen_device
from gossan.nn.pixel_pairs.network import PairNetwork, padded
from gossan.nn.pixel_pairs.pairs import PairKind, pair_signal
from gossan.nn.pixel_pairs.surrogate import Surrogate
from gossan.nn.windows import DualWindow

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]

Unlike = Callable[[Tensor, Tensor], Tensor]
"""(…, layers) and (…, layers) → how unlike the cells are, (…)."""

Span = tuple[slice, slice]
"""Rows and columns of a rectangle of cells."""

PAIRS_AT_ONCE = 1_024


class Comparison:
    """A trained network ready to tell how unlike cells are: (n, layers) and (n, layers) → (n,)."""

    def __init__(
        self,
        member: dict[str, Any],
        pair: PairKind,
        accelerator: str = "cpu",
        precision: Precision = "32-true",
    ) -> None:
        self.member = member
        self.pair = pair
        self.device = chosen_device(accelerator)
        self.precision = precision
        with torch.random.fork_rng(devices=[]):  # what is drawn is overwritten
            network = PairNetwork(2 if pair == "stack" else 1)
            weights = {name: torch.from_numpy(value) for name, value in member["weights"].items()}
            network.load_state_dict(weights)
            self.network = padded(network).eval().to(self.device)
            small = member.get("surrogate")
            self.surrogate = None if small is None else Surrogate(small, pair, self.device)

    @property
    def symmetric(self) -> bool:
        """Whether a pair scores alike in both orders."""
        return self.pair == "absolute-difference"

    @property
    def at_once(self) -> int:
        """Pairs that go through the network together: what they leave stays in the cache."""
        return PAIRS_AT_ONCE if self.device.type == "cpu" else 64 * PAIRS_AT_ONCE

    def standardised(self, values: FloatArray) -> Tensor:
        """``(n, layers, …)`` in units of the training cells' standard deviation, NaN missing."""
        shape = (-1, *[1] * (values.ndim - 2))
        centre, scale = self.member["centre"].reshape(shape), self.member["scale"].reshape(shape)
        found = np.ascontiguousarray(((values - centre) / scale).astype(np.float32))
        found[~np.isfinite(found)] = np.nan
        return torch.from_numpy(found).to(self.device)

    @torch.inference_mode()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Dissimilarity, 0 to 1, of cells and others: (n, layers) and (n, layers) → (n,)."""
        with autocast(self.device, self.precision):
            odds = self.network(pair_signal(first, second, self.pair))
        return torch.sigmoid(odds.float())

    def beyond_surrogate(self, first: Tensor, second: Tensor) -> Tensor:
        """What the network says beyond its surrogate, -1 to 1: the same shapes."""
        assert self.surrogate is not None
        return self(first, second) - self.surrogate(first, second)


def reference_score(compare: Comparison, cells: Tensor) -> FloatArray:
    """Half of one plus dissimilarity to training negatives minus that to positives, (n,)."""
    negatives, positives = compare.member["references"]
    to_negatives = mean_dissimilarity(compare, cells, negatives)
    to_positives = mean_dissimilarity(compare, cells, positives, deposits=True)
    return 0.5 * (1.0 + to_negatives - to_positives)


def mean_dissimilarity(
    compare: Comparison, cells: Tensor, references: FloatArray, *, deposits: bool = False
) -> FloatArray:
    """Mean over reference cells, (n,); deposits come first in a pair, as the network learnt it."""
    total = np.zeros(len(cells))
    for start in range(0, len(cells), compare.at_once):
        part = slice(start, start + compare.at_once)
        for reference in torch.from_numpy(references).to(cells.device)[:, None]:
            pair = (reference, cells[part]) if deposits else (cells[part], reference)
            total[part] += compare(*pair).cpu().double().numpy()
    return total / len(references)


def ring_of_windows(compare: Comparison, windows: Tensor, ring: DualWindow) -> FloatArray:
    """Mean dissimilarity of the middle of each window to the cells of its ring, (n,)."""
    if compare.surrogate is None or ring.sampled_whole:
        return _windows_mean(compare, windows, ring.sampled)
    beyond = _windows_mean(compare.beyond_surrogate, windows, ring.sampled)
    return _windows_mean(compare.surrogate, windows, ring.whole) + np.nan_to_num(beyond)


def _windows_mean(unlike: Unlike, windows: Tensor, offsets: IntArray) -> FloatArray:
    middle = windows.shape[-1] // 2
    total, count = np.zeros((2, len(windows)))
    for start in range(0, len(windows), PAIRS_AT_ONCE):
        part = windows[start : start + PAIRS_AT_ONCE]
        centre = part[:, :, middle, middle].contiguous()
        for row, column in offsets:
            other = part[:, :, middle + row, middle + column]
            paired = torch.isfinite(other).any(dim=1).nonzero()[:, 0]
            if len(paired):
                cells = start + paired.cpu().numpy()
                total[cells] += unlike(centre[paired], other[paired]).cpu().double().numpy()
                count[cells] += 1
    with np.errstate(invalid="ignore"):
        return total / count


def ring_of_block(
    compare: Comparison, block: FloatArray, ring: DualWindow
) -> tuple[FloatArray, FloatArray]:
    """The same for every cell of a block, each pair once where it can be; and standard errors.

    Parameters
    ----------
    compare : Comparison
    block : ndarray of shape (layers, h + outer - 1, w + outer - 1)
    ring : DualWindow

    Returns
    -------
    mean, standard_error : ndarray of shape (h, w)
        The error is that of a simple random sample of the ring, 0 where all of it is compared,
        NaN where fewer than two cells of the sample have evidence: the surrogate stands alone
        where none has.
    """
    cells = _BlockCells(compare, block, ring.outer // 2)
    if ring.sampled_whole:
        mean, _, _ = cells.moments(compare, ring.sampled, compare.at_once)
        return mean, np.where(np.isnan(mean), np.nan, 0.0)
    sampled = compare if compare.surrogate is None else compare.beyond_surrogate
    mean, variance, count = cells.moments(sampled, ring.sampled, compare.at_once)
    if compare.surrogate is not None:
        mean = np.where(count > 0, mean, 0.0)
        mean += cells.means(compare.surrogate, ring.whole, 8 * compare.at_once)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(variance / count * (1.0 - len(ring.sampled) / len(ring.whole)))
    return mean, error


class _BlockCells:
    """The cells of a block and of the halo round it, to be compared at given offsets."""

    def __init__(self, compare: Comparison, block: FloatArray, halo: int) -> None:
        layers, *self.shape = block.shape
        values = compare.standardised(block.reshape(layers, -1).T)
        self.values = values.reshape(*self.shape, layers)
        self.observed = np.asarray(np.isfinite(block).any(axis=0))
        self.halo = halo
        self.inner = tuple(slice(halo, length - halo) for length in self.shape)
        self.symmetric = compare.symmetric

    def moments(
        self, unlike: Unlike, offsets: IntArray, at_once: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean, variance and number of the comparisons of each cell of the block, (h, w) each."""
        values = self.values.flatten(0, 1)
        number = np.arange(len(values)).reshape(self.shape)
        sums = np.zeros((3, len(values)))  # of what was found, of its squares, of ones
        for here, there in self._spans(offsets):
            pairs = self.observed[here] & self.observed[there]
            first, second = number[here][pairs], number[there][pairs]
            for start in range(0, len(first), at_once):
                part = slice(start, start + at_once)
                i, j = first[part], second[part]
                found = unlike(values[i], values[j]).cpu().double().numpy()
                for cells in (i, j) if self.symmetric else (i,):
                    sums[0, cells] += found  # no cell twice at one offset
                    sums[1, cells] += found * found
                    sums[2, cells] += 1
        total, squares, count = sums.reshape(3, *self.shape)[:, *self.inner]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / count
            variance = np.maximum(squares / count - mean**2, 0.0) * count / (count - 1)
        return mean, variance, count

    def means(self, unlike: Unlike, offsets: IntArray, at_once: int) -> FloatArray:
        """The mean alone: whole rows against whole rows, which a cheap comparison is fastest at."""
        total, count = np.zeros((2, *self.shape))
        for here, there in self._spans(offsets):
            for band in _bands(here, there, at_once):
                pairs = self.observed[band[0]] & self.observed[band[1]]
                found = unlike(self.values[band[0]], self.values[band[1]]).cpu().numpy()
                found = np.where(pairs, found, 0.0)
                for cells in band if self.symmetric else band[:1]:
                    total[cells] += found
                    count[cells] += pairs
        with np.errstate(invalid="ignore"):
            return total[self.inner] / count[self.inner]

    def _spans(self, offsets: IntArray) -> Iterator[tuple[Span, Span]]:
        """Rectangles of cells and of those at each offset, so that every pair wanted is there."""
        for offset in offsets[len(offsets) // 2 :] if self.symmetric else offsets:
            here, there = [], []
            for length, step in zip(self.shape, offset.tolist(), strict=True):
                first, last = self.halo, length - self.halo
                if self.symmetric:  # the other one may be the cell that is wanted
                    first, last = first - max(step, 0), last - min(step, 0)
                here.append(slice(first, last))
                there.append(slice(first + step, last + step))
            yield (here[0], here[1]), (there[0], there[1])


def _bands(here: Span, there: Span, at_once: int) -> Iterator[tuple[Span, Span]]:
    """Two rectangles alike, cut into bands of rows that hold about so many cells."""
    rows = max(1, at_once // (here[1].stop - here[1].start))
    step = there[0].start - here[0].start
    for start in range(here[0].start, here[0].stop, rows):
        stop = min(start + rows, here[0].stop)
        yield (slice(start, stop), here[1]), (slice(start + step, stop + step), there[1])
