"""A study's sources, one after the other, block by block → the evidence stack."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from gossan.evidence.area import study_grid, study_mask
from gossan.evidence.focal import focal_layer, focal_mean
from gossan.evidence.rasters import raster_layers
from gossan.evidence.samples import samples_layers
from gossan.evidence.sources import SourceLayers
from gossan.evidence.vectors import vector_layers
from gossan.exceptions import SurveyDataError, SurveyDataWarning
from gossan.grid import Grid
from gossan.io import Layer, create_evidence_store, evidence_array
from gossan.study import Raster, Samples, Study, Vector

Progress = Callable[[int, int], None]
_BLOCK = 512


def build_evidence(
    study: Study,
    *,
    store: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> xr.DataArray:
    """Bring every source of a study to its template grid.

    Parameters
    ----------
    study : Study
        From :func:`gossan.study.read_study`.
    store : path-like, optional
        A Zarr to write, block by block, so that memory is bounded by one block of one source; the
        result is backed by it through Dask. Default: in memory.
    progress : callable, optional
        Called with (blocks done, blocks in all).

    Returns
    -------
    xarray.DataArray
        ``(layer, y, x)`` float32, NaN where missing and outside the study's mask; along ``layer``
        the coordinates ``source``, ``kind``, ``unit``, ``resolution``; a coordinate ``mask``
        (y, x): the cells that belong to the study. ``attrs["history"]`` is a JSON list of
        ``{"source", "message"}``: what happened that the user should know.

    Raises
    ------
    SurveyDataError
        If a file cannot be used, or no layer is left.

    Warns
    -----
    SurveyDataWarning
        For each layer left out because it is missing in all cells, or the same in all.
    """
    grid = study_grid(study)
    mask = study_mask(study, grid)
    sources = [_layers_of_source(study, source, grid) for source in study.sources]
    base = _told_apart([layer for source in sources for layer in source.layers])
    focal = [(i, size) for size in study.method.focal for i in range(len(base))]
    layers = [*base, *(focal_layer(base[i], size) for i, size in focal)]
    stack: _Stack
    if store is None:
        stack = _MemoryStack(grid, layers, np.empty((len(layers), *grid.shape), dtype=np.float32))
    else:
        stack = create_evidence_store(store, grid, layers)
    try:
        steps = _Steps(progress, len(list(grid.blocks(_BLOCK))) * (len(sources) + len(focal)))
        facts = _fill_base(stack, sources, grid, mask, steps)
        keep = _kept(base, facts, str(study.path))
        valid = _valid(stack, keep, facts, grid)
        focal_kept = [j for j, (i, _) in enumerate(focal) if i in keep]
        for j in focal_kept:
            _fill_focal(stack, len(base) + j, *focal[j], valid, grid, steps)
        keep = [*keep, *(len(base) + j for j in focal_kept)]
        steps.finish()
        history = _history(study, sources, base, facts)
        return stack.finish(mask=valid, attrs={"history": json.dumps(history)}, keep=keep)
    except BaseException:
        stack.discard()
        raise


class _Stack(Protocol):
    """Where blocks go: memory, or a store on disk."""

    def write(
        self, values: npt.NDArray[np.float32], layers: slice, rows: slice, columns: slice
    ) -> None: ...

    def read(self, layer: int, rows: slice, columns: slice) -> npt.NDArray[np.float32]: ...

    def finish(
        self,
        *,
        mask: npt.NDArray[np.bool_] | None = None,
        attrs: dict[str, Any] | None = None,
        keep: list[int] | None = None,
    ) -> xr.DataArray: ...

    def discard(self) -> None: ...


@dataclass
class _MemoryStack:
    """The stack as one array in memory."""

    grid: Grid
    layers: list[Layer]
    values: npt.NDArray[np.float32]

    def write(
        self, values: npt.NDArray[np.float32], layers: slice, rows: slice, columns: slice
    ) -> None:
        self.values[layers, rows, columns] = values

    def read(self, layer: int, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        return self.values[layer, rows, columns]

    def finish(
        self,
        *,
        mask: npt.NDArray[np.bool_] | None = None,
        attrs: dict[str, Any] | None = None,
        keep: list[int] | None = None,
    ) -> xr.DataArray:
        kept = range(len(self.layers)) if keep is None else keep
        values = self.values if len(kept) == len(self.layers) else self.values[list(kept)]
        layers = [self.layers[i] for i in kept]
        return evidence_array(values, self.grid, layers, mask=mask, attrs=attrs)

    def discard(self) -> None:
        """Memory needs no cleaning up."""


@dataclass
class _Facts:
    """What was seen of each layer while it was written."""

    count: npt.NDArray[np.int64]
    lowest: npt.NDArray[np.float32]
    highest: npt.NDArray[np.float32]
    observed: npt.NDArray[np.bool_]  # (y, x)

    @classmethod
    def none_yet(cls, layers: int, shape: tuple[int, int]) -> _Facts:
        return cls(
            np.zeros(layers, dtype=np.int64),
            np.full(layers, np.inf, dtype=np.float32),
            np.full(layers, -np.inf, dtype=np.float32),
            np.zeros(shape, dtype=bool),
        )

    def see(
        self, block: npt.NDArray[np.float32], layers: slice, rows: slice, columns: slice
    ) -> None:
        observed = np.isfinite(block)
        self.count[layers] += observed.sum(axis=(1, 2))
        self.observed[rows, columns] |= observed.any(axis=0)
        lowest = np.where(observed, block, np.inf).min(axis=(1, 2))
        highest = np.where(observed, block, -np.inf).max(axis=(1, 2))
        self.lowest[layers] = np.minimum(self.lowest[layers], lowest)
        self.highest[layers] = np.maximum(self.highest[layers], highest)

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        return self.count == 0

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        return (self.count > 0) & (self.lowest == self.highest)


class _Steps:
    """Counts finished blocks for a progress callback."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def step(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)

    def finish(self) -> None:
        """All is done, though some steps were not needed."""
        if self.progress is not None and self.done < self.total:
            self.progress(self.total, self.total)


def _layers_of_source(study: Study, source: Samples | Raster | Vector, grid: Grid) -> SourceLayers:
    paths = study.resolve(source.file)
    if isinstance(source, Samples):
        return samples_layers(source, paths, grid)
    if isinstance(source, Raster):
        return raster_layers(source, paths, grid)
    return vector_layers(source, paths, grid)


def _told_apart(layers: list[Layer]) -> list[Layer]:
    """Layers of several sources that share a name, such as Cu in soil and till, with the source's.

    Raises
    ------
    SurveyDataError
        If one source has two layers of a name.
    """
    names = [layer.name for layer in layers]
    layers = [
        replace(layer, name=f"{layer.source}: {layer.name}")
        if names.count(layer.name) > 1
        else layer
        for layer in layers
    ]
    names = [layer.name for layer in layers]
    for layer in layers:
        if names.count(layer.name) > 1:
            raise SurveyDataError(
                f"Two layers would be named {layer.name!r}. Rename one of the files or classes of "
                f"{layer.source!r}, or leave one out."
            )
    return layers


def _fill_base(
    stack: _Stack,
    sources: list[SourceLayers],
    grid: Grid,
    mask: npt.NDArray[np.bool_] | None,
    steps: _Steps,
) -> _Facts:
    """Fill and write every source's layers, block by block."""
    facts = _Facts.none_yet(sum(len(source.layers) for source in sources), grid.shape)
    start = 0
    for source in sources:
        layers = slice(start, start + len(source.layers))
        start = layers.stop
        for rows, columns, window in _windows(grid):
            block = source.fill(window)
            block[~np.isfinite(block)] = np.nan
            if mask is not None:
                block[:, ~mask[rows, columns]] = np.nan
            facts.see(block, layers, rows, columns)
            stack.write(block, layers, rows, columns)
            steps.step()
    return facts


def _fill_focal(
    stack: _Stack,
    target: int,
    layer: int,
    size: int,
    valid: npt.NDArray[np.bool_],
    grid: Grid,
    steps: _Steps,
) -> None:
    """Write one layer's neighbourhood means, each block with a halo of half a neighbourhood."""
    halo = size // 2
    for rows, columns in grid.blocks(_BLOCK):
        top, left = max(rows.start - halo, 0), max(columns.start - halo, 0)
        around = stack.read(layer, slice(top, rows.stop + halo), slice(left, columns.stop + halo))
        mean = focal_mean(around, size)
        block = mean[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        block = np.where(valid[rows, columns], block, np.float32(np.nan))
        stack.write(block[np.newaxis], slice(target, target + 1), rows, columns)
        steps.step()


def _kept(base: list[Layer], facts: _Facts, study: str) -> list[int]:
    """Positions of the layers that tell something; the others are named in warnings."""
    for i in np.flatnonzero(facts.missing | facts.constant):
        warnings.warn(
            f"{study}: layer {base[i].name!r} of {base[i].source!r} {_why_dropped(facts, i)}",
            SurveyDataWarning,
            stacklevel=3,
        )
    keep = np.flatnonzero(~(facts.missing | facts.constant))
    if not len(keep):
        raise SurveyDataError(
            f"{study}: no layer of evidence is left; each of the {len(base)} is missing or the "
            "same in all cells. Check the files' nodata values and extents."
        )
    return [int(i) for i in keep]


def _why_dropped(facts: _Facts, layer: np.intp) -> str:
    if facts.missing[layer]:
        return "is missing in every cell of the area and was left out."
    return f"is {facts.lowest[layer]:g} in every observed cell and was left out."


def _valid(stack: _Stack, keep: list[int], facts: _Facts, grid: Grid) -> npt.NDArray[np.bool_]:
    """Cells where at least one kept layer is observed."""
    if not facts.constant.any():
        return facts.observed
    observed = np.zeros(grid.shape, dtype=bool)
    for rows, columns in grid.blocks(_BLOCK):
        for layer in keep:
            observed[rows, columns] |= np.isfinite(stack.read(layer, rows, columns))
    return observed


def _history(
    study: Study, sources: list[SourceLayers], base: list[Layer], facts: _Facts
) -> list[dict[str, str]]:
    history = [
        {"source": settings.name, "message": message}
        for settings, source in zip(study.sources, sources, strict=True)
        for message in source.history
    ]
    for i in np.flatnonzero(facts.missing | facts.constant):
        message = f"layer {base[i].name!r} {_why_dropped(facts, i)}"
        history.append({"source": base[i].source, "message": message})
    return history


def _windows(grid: Grid) -> Iterator[tuple[slice, slice, Grid]]:
    for rows, columns in grid.blocks(_BLOCK):
        yield rows, columns, grid.window(rows.start, rows.stop, columns.start, columns.stop)
