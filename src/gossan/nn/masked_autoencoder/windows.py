"""Windows of one or several areas, gathered in bulk, from memory or from a store on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor
from torch.utils.data import Dataset

from gossan.evidence import valid_cells
from gossan.exceptions import SurveyDataError
from gossan.nn.standard import Standard
from gossan.nn.training import EpochBatches

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_TILE = 512
"""Cells across a part of an area that is read at once; the chunks of a store."""
_BYTES_HELD = 400_000_000
_ROWS = 256
_TILES_AN_EPOCH = 16
"""Tiles read in an epoch at least, of an area that is read tile by tile."""


@dataclass(frozen=True)
class Area:
    """An area to learn from.

    Attributes
    ----------
    evidence : xarray.DataArray
        ``(layer, y, x)``, in memory or backed by Dask.
    order : ndarray of shape (layers,), int
        For each layer of the network the layer of this area; -1 where the area lacks it.
    centres : ndarray of shape (y, x), bool
        Cells that a window may be centred on.
    hidden : ndarray of shape (y, x), bool, optional
        Cells whose evidence must not be seen: missing in every window.
    """

    evidence: xr.DataArray
    order: IntArray
    centres: BoolArray
    hidden: BoolArray | None = None


class WindowSource(Dataset[tuple[Tensor]]):
    """Standardised windows by their numbers, in bulk: (n, layers, window, window) float32.

    Areas that fit into memory are read once. Larger ones are read tile by tile: the windows of a
    batch are then of one tile (:class:`TiledBatches`), and the last tile read is kept.

    Parameters
    ----------
    areas : sequence of Area
    standard : Standard
    window : int

    Raises
    ------
    SurveyDataError
        If no window can be centred anywhere.
    """

    def __init__(self, areas: Sequence[Area], standard: Standard, window: int) -> None:
        self.areas = list(areas)
        self.standard = standard
        self.window = window
        held = sum(4 * len(area.order) * area.centres.size for area in self.areas)
        self.in_memory = held <= _BYTES_HELD
        self.parts = [part for k, area in enumerate(self.areas) for part in self._parts(k, area)]
        self.ends = np.cumsum([len(part.rows) for part in self.parts])
        if not self.parts:
            raise SurveyDataError("No cell has evidence to learn from.")
        self._held: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, numbers: IntArray) -> tuple[Tensor]:
        part_of = np.searchsorted(self.ends, numbers, side="right")
        layers = len(self.standard.centre)
        windows = torch.empty(len(numbers), layers, self.window, self.window)
        for k in np.unique(part_of):
            here = np.flatnonzero(part_of == k)
            part = self.parts[k]
            own = numbers[here] - (self.ends[k] - len(part.rows))
            views = self._values(int(k)).unfold(1, self.window, 1).unfold(2, self.window, 1)
            rows, columns = torch.from_numpy(part.rows[own]), torch.from_numpy(part.columns[own])
            windows[torch.from_numpy(here)] = views[:, rows, columns].transpose(0, 1)
        return (windows,)

    @property
    def groups(self) -> list[IntArray]:
        """Numbers of the windows that are best read together."""
        starts = np.concatenate([[0], self.ends[:-1]])
        groups = [np.arange(a, b) for a, b in zip(starts, self.ends, strict=True)]
        return [np.concatenate(groups)] if self.in_memory else groups

    def _parts(self, number: int, area: Area) -> Iterator[_Part]:
        rows, columns = area.centres.shape
        tile = max(rows, columns) if self.in_memory else _TILE
        for top in range(0, rows, tile):
            for left in range(0, columns, tile):
                inside = area.centres[top : top + tile, left : left + tile]
                if inside.any():
                    own_rows, own_columns = np.nonzero(inside)
                    yield _Part(number, top, left, inside.shape, own_rows, own_columns)

    def _values(self, k: int) -> Tensor:
        """The standardised evidence of a part with a halo of half a window."""
        if k not in self._held:
            if not self.in_memory:
                self._held.clear()
            part = self.parts[k]
            area = self.areas[part.area]
            values = read_with_halo(area, part.top, part.left, part.shape, self.window // 2)
            self._held[k] = torch.from_numpy(self.standard.applied(values))
        return self._held[k]


class GatheredWindows(Dataset[tuple[Tensor]]):
    """The same windows in every epoch: gathered once, so that their source may be let go.

    Parameters
    ----------
    source : WindowSource
    numbers : ndarray of int
        Of the windows; best ordered as they are read together.
    """

    def __init__(self, source: WindowSource, numbers: IntArray) -> None:
        (self.windows,) = source[numbers]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, numbers: IntArray) -> tuple[Tensor]:
        return (self.windows[numbers],)


@dataclass(frozen=True)
class _Part:
    """Windows of one tile of an area; rows and columns of their centres within it."""

    area: int
    top: int
    left: int
    shape: tuple[int, ...]
    rows: IntArray
    columns: IntArray


class TiledBatches(EpochBatches):
    """Batches of windows that are read together, from some tiles in every epoch.

    Parameters
    ----------
    groups : list of ndarray
        Numbers of the windows of each tile.
    batch_size, per_epoch, seed, shuffle
        As for :class:`gossan.nn.training.EpochBatches`.
    """

    def __init__(
        self,
        groups: list[IntArray],
        batch_size: int,
        *,
        per_epoch: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        size = sum(map(len, groups))
        super().__init__(size, batch_size, per_epoch=per_epoch, seed=seed, shuffle=shuffle)
        self.groups = groups

    def _batches(self) -> list[IntArray]:
        # As many in every epoch, though that lets a batch begin in one tile and end in the next.
        drawn = np.concatenate(self._drawn())
        starts = range(0, len(drawn), self.batch_size)
        return [drawn[start : start + self.batch_size] for start in starts]

    def _drawn(self) -> list[IntArray]:
        """Of each tile of this epoch, the windows drawn."""
        rng = np.random.default_rng([self.seed, self.epoch] if self.shuffle else self.seed)
        order = rng.permutation(len(self.groups))
        sizes = np.array([len(self.groups[k]) for k in order])
        share = max(1, -(-self.count // min(len(order), _TILES_AN_EPOCH)))
        counts = _first(np.minimum(sizes, share), self.count)
        counts += _first(sizes - counts, self.count - counts.sum())  # some tiles are too small
        return [
            rng.permutation(self.groups[k])[:count]
            for k, count in zip(order, counts.tolist(), strict=True)
            if count
        ]


def _first(parts: IntArray, total: int) -> IntArray:
    """The parts from the first on, cut so that they add up to the total at most."""
    return np.minimum(parts, np.maximum(total - (np.cumsum(parts) - parts), 0))


def read_with_halo(
    area: Area, top: int, left: int, shape: tuple[int, ...], halo: int
) -> npt.NDArray[np.float32]:
    """The layers of a rectangle of cells and of a halo round it; NaN beyond the edge.

    Parameters
    ----------
    area : Area
    top, left : int
        First row and column of the rectangle.
    shape : tuple of int
    halo : int

    Returns
    -------
    ndarray of shape (layers, shape[0] + 2 halo, shape[1] + 2 halo)
        In the order of the network's layers; NaN where the area lacks one.
    """
    edges = zip((top, left), shape, area.evidence.shape[1:], strict=True)
    spans = [(first - halo, first + length + halo, limit) for first, length, limit in edges]
    inside = tuple(slice(max(a, 0), min(b, limit)) for a, b, limit in spans)
    here = tuple(slice(s.start - a, s.stop - a) for s, (a, _, _) in zip(inside, spans, strict=True))
    values = area.evidence.data[(slice(None), *inside)]
    if isinstance(values, da.Array):
        # Processes that train together are forked, and Dask's threads stay behind in the first.
        values = values.compute(scheduler="synchronous")
    values = np.asarray(values)
    known = area.order >= 0
    block = np.full((len(area.order), *values.shape[1:]), np.nan, dtype=np.float32)
    block[known] = values[area.order[known]]
    if area.hidden is not None:
        block[:, area.hidden[inside]] = np.nan
    found = np.full((len(block), *(b - a for a, b, _ in spans)), np.nan, dtype=np.float32)
    found[(slice(None), *here)] = block
    return found


def area_digest(area: Area) -> str:
    """Hash of what the network may see of an area."""
    found = hashlib.sha256(repr((area.order.tolist(), area.evidence.shape)).encode())
    rows, columns = area.evidence.shape[1:]
    for top in range(0, rows, _ROWS):
        shape = (min(_ROWS, rows - top), columns)
        found.update(read_with_halo(area, top, 0, shape, 0).tobytes())
    return found.hexdigest()


def training_and_validation(
    evidence: xr.DataArray,
    window: int,
    *,
    share: float = 0.1,
    learnt_from: BoolArray | None = None,
    seed: int = 0,
) -> tuple[BoolArray, BoolArray]:
    """Centres of windows to learn from, and of windows to judge by, in spatially separate blocks.

    No window of the one sees a cell of the other's blocks.

    Parameters
    ----------
    evidence : xarray.DataArray
        ``(layer, y, x)``.
    window : int
        Cells across.
    share : float, default 0.1
        Of the blocks that hold evidence, for validation.
    learnt_from : ndarray of shape (y, x), bool, optional
        Cells that may be seen; default: all.
    seed : int

    Returns
    -------
    training, validation : ndarray of shape (y, x), bool
    """
    cells = valid_cells(evidence)
    if learnt_from is not None:
        cells = cells & learnt_from
    side = 2 * window
    across = [-(-length // side) for length in cells.shape]
    rows, columns = np.nonzero(cells)
    occupied = np.unique((rows // side) * across[1] + columns // side)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(occupied)[: max(1, round(share * len(occupied)))]
    blocks = np.isin(np.arange(across[0] * across[1]), chosen).reshape(across)
    blocks = np.kron(blocks, np.ones((side, side), dtype=bool))
    blocks = blocks[: cells.shape[0], : cells.shape[1]]
    validation = cells & minimum_filter(blocks, window, mode="constant", cval=True)
    training = cells & ~maximum_filter(blocks, window, mode="constant", cval=False)
    return training, validation
