"""Masked pretraining against a plain PyTorch loop: windows, cells and explanations a second.

"plain" is the method as one would write it first: a float32 loop over a Dataset that slices one
window an item, a vision transformer of `torch.nn.TransformerEncoderLayer` that sees every token,
hidden ones replaced by a mask token (as SimMIM does), a loss over all pixels, AdamW. It has the
published sizes: encoder 256 wide, 6 blocks, 8 heads; decoder 128, 2, 4; 14 layers, batches of 256
windows, of 33 × 33 cells in patches of 3 and of 5 × 5 in patches of 1. Measured with all the
threads of the machine, both in float32, in one run on one machine:

- pretraining: windows a second, loading included, after a warm-up;
- inference: cells embedded a second; plain and "exact" take one window a cell, "dense" the tokens
  of windows at half a window's stride;
- attributions: cells explained a second by integrated gradients; plain takes 50 steps for each of
  100 draws of dropout on the head (timed on a few draws and extrapolated), gossan the steps that
  make attributions add up to within 1 %, its head's mean in place of draws;
- small: seconds to pretrain on nanling by the default settings, and for a map of the whole area
  by a probe of ten draws (plain, of the same sizes, extrapolated from some windows);
- memory: peak resident memory of pretraining on 10 million cells × 14 layers from a Zarr store.

Above 1 a ratio is in gossan's favour. A name with `--only` measures that alone and leaves the
others' rows, if they are of the same code, as they are.

    python benchmarks/masked_pretraining.py [--only pretraining inference attributions small memory]
"""

from __future__ import annotations

import argparse
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
import xarray as xr
from captum.attr import IntegratedGradients
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import gossan as gs
from gossan import io
from gossan.methods import METHODS
from gossan.nn.masked_autoencoder import (
    Architecture,
    Backbone,
    MaskedAutoencoder,
    PretrainedClassifier,
    Pretraining,
    pretrain,
)
from gossan.nn.masked_autoencoder.pretraining import MaskedLoss
from gossan.nn.masked_autoencoder.windows import Area, Standard, TiledBatches, WindowSource
from gossan.nn.training import batches
from gossan.pipeline import stage_keys
from gossan.validate import study_cells

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "docs" / "tables" / "masked_pretraining.md"
SCRATCH = HERE / "scratch" / "masked_pretraining"
LAYERS, BATCH = 14, 256
PUBLISHED = Pretraining(preset="base", batch_size=BATCH, accelerator="cpu")
SIZES = {
    "window 33, patch 3": replace(PUBLISHED, window=33, patch=3),
    "window 5, patch 1": replace(PUBLISHED, window=5, patch=1),
}
TAUGHT = 8 * BATCH
"""Windows that the backbones explained and mapped with have learnt from, after a fashion."""
SMALL = Pretraining(accelerator="cpu")
BATCHES = {"plain": 3, "gossan": 6}
"""Timed; one more goes before, as a warm-up."""
SIDE = 144
"""Cells across the area that is mapped densely."""
ONE_BY_ONE = 4 * BATCH
"""Cells timed where every cell takes a window."""
STEPS, DRAWS, DRAWS_TIMED = 50, 100, 3
EXPLAINED = 3
LARGE = (3_200, 3_125)
LARGE_TRAINING = replace(SMALL, epochs=3, windows_per_epoch=2_048)
MIB = 1024**2
COLUMNS = ["what", "sizes", "plain", "gossan", "ratio", "unit"]


class WindowPerItem(Dataset[Tensor]):
    """One window an item, sliced out of a padded stack when asked for."""

    def __init__(self, stack: np.ndarray, window: int, cells: np.ndarray) -> None:
        halo = window // 2
        self.stack = torch.from_numpy(np.pad(stack, ((0, 0), (halo, halo), (halo, halo))))
        self.window = window
        self.cells = cells

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, number: int) -> Tensor:
        row, column = self.cells[number].tolist()
        return self.stack[:, row : row + self.window, column : column + self.window]


class PlainEncoder(nn.Module):
    """Patches, positions, and transformer layers over every token."""

    def __init__(self, layers: int, sizes: Architecture) -> None:
        super().__init__()
        self.patches = nn.Conv2d(layers, sizes.width, sizes.patch, stride=sizes.patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, sizes.tokens, sizes.width))
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, sizes.width))
        self.blocks = plain_blocks(sizes.width, sizes.heads, sizes.blocks)
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, windows: Tensor, hidden: Tensor | None = None) -> Tensor:
        tokens = self.patches(windows).flatten(2).transpose(1, 2)  # (n, tokens, width)
        if hidden is not None:
            tokens = torch.where(hidden[:, :, None], self.mask_token, tokens)
        return self.norm(self.blocks(tokens + self.position))


class PlainAutoencoder(nn.Module):
    """The encoder, and a decoder over all its tokens to all pixels."""

    def __init__(self, layers: int, sizes: Architecture) -> None:
        super().__init__()
        self.encoder = PlainEncoder(layers, sizes)
        self.to_decoder = nn.Linear(sizes.width, sizes.decoder_width)
        self.position = nn.Parameter(0.02 * torch.randn(1, sizes.tokens, sizes.decoder_width))
        self.decoder = plain_blocks(sizes.decoder_width, sizes.decoder_heads, sizes.decoder_blocks)
        self.prediction = nn.Linear(sizes.decoder_width, layers * sizes.patch**2)
        self.patch = sizes.patch

    def loss(self, windows: Tensor, hidden: Tensor) -> Tensor:
        encoded = self.to_decoder(self.encoder(windows, hidden)) + self.position
        target = nn.functional.unfold(windows, self.patch, stride=self.patch).transpose(1, 2)
        return nn.functional.mse_loss(self.prediction(self.decoder(encoded)), target)


def plain_blocks(width: int, heads: int, count: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, count, enable_nested_tensor=False)


def stack(rows: int, columns: int, layers: int = LAYERS, seed: int = 0) -> xr.DataArray:
    """Layers as rough as gridded geochemistry, of mean 0 and standard deviation 1."""
    noise = np.random.default_rng(seed).normal(size=(layers, rows, columns))
    fine, broad = (gaussian_filter(noise, (0, s, s)) for s in (1.5, 15))
    values = fine / fine.std() + broad / broad.std()
    grid = gs.Grid.from_bounds((0, 0, 100 * columns, 100 * rows), 100, "EPSG:32650")
    names = [f"layer {k + 1}" for k in range(layers)]
    return grid.to_dataarray((values / values.std()).astype(np.float32), layers=names)


def some_cells(shape: tuple[int, ...], count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.integers(length, size=count) for length in shape])


def pretraining() -> list[dict[str, Any]]:
    """Windows a second of both loops, forward, backward and step."""
    rows = []
    for name, settings in SIZES.items():
        evidence = stack(256, 256)
        plain = plain_training_rate(evidence, settings)
        own = training_rate(evidence, settings)
        rows.append(row("pretraining", name, plain, own, "windows/s"))
    return rows


def plain_training_rate(evidence: xr.DataArray, settings: Pretraining) -> float:
    sizes, size, count = settings.architecture, settings.batch_size, BATCHES["plain"]
    layers, *shape = evidence.shape
    network = PlainAutoencoder(layers, sizes).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    cells = some_cells(tuple(shape), size * (count + 1))
    values = np.nan_to_num(evidence.to_numpy())

    def steps() -> Iterator[None]:
        for windows in DataLoader(WindowPerItem(values, sizes.window, cells), size):
            hidden = torch.rand(len(windows), sizes.tokens) < settings.hidden_cells
            loss = network.loss(windows, hidden)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield

    return size * count / seconds_after_first(steps())


def training_rate(evidence: xr.DataArray, settings: Pretraining) -> float:
    """The steps of `gossan.nn.masked_autoencoder.pretraining`, counted."""
    size, count, layers = settings.batch_size, BATCHES["gossan"], len(evidence)
    area = Area(evidence, np.arange(layers), np.ones(evidence.shape[1:], dtype=bool))
    standard = Standard(np.zeros(layers, np.float32), np.ones(layers, np.float32))
    source = WindowSource([area], standard, settings.architecture.window)
    order = TiledBatches(source.groups, size, per_epoch=size * (count + 1))
    network = MaskedAutoencoder(layers, settings.architecture).train()
    loss_of = MaskedLoss(settings, np.zeros(layers, dtype=bool))
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2, fused=True)

    def steps() -> Iterator[None]:
        for batch in batches(source, order):
            loss = loss_of(network, batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield

    return size * count / seconds_after_first(steps())


def inference() -> list[dict[str, Any]]:
    """Cells embedded a second: one window a cell, plain and exact, and densely."""
    rows = []
    for name, settings in SIZES.items():
        evidence = stack(SIDE, SIDE)
        backbone = taught(evidence, settings)
        plain = plain_embedding_rate(evidence, settings)
        across = round(ONE_BY_ONE**0.5)
        exact = embedding_rate(backbone, evidence[:, :across, :across], exact=True)
        dense = embedding_rate(backbone, evidence, exact=False)
        rows.append(row("embedding, exact", name, plain, exact, "cells/s"))
        rows.append(row("embedding, dense", name, plain, dense, "cells/s"))
    return rows


def taught(evidence: xr.DataArray, settings: Pretraining) -> Backbone:
    """A backbone that has learnt a little: what it costs to use does not depend on how much."""
    with io.networks_kept(SCRATCH / "networks"):
        return pretrain(evidence, replace(settings, epochs=1, windows_per_epoch=TAUGHT))


def plain_embedding_rate(evidence: xr.DataArray, settings: Pretraining) -> float:
    sizes, size = settings.architecture, settings.batch_size
    layers, *shape = evidence.shape
    encoder = PlainEncoder(layers, sizes).eval()
    cells = some_cells(tuple(shape), ONE_BY_ONE + size)
    values = np.nan_to_num(evidence.to_numpy())

    def steps() -> Iterator[None]:
        for windows in DataLoader(WindowPerItem(values, sizes.window, cells), size):
            with torch.inference_mode():
                encoder(windows).mean(dim=1)
            yield

    return ONE_BY_ONE / seconds_after_first(steps())


def embedding_rate(backbone: Backbone, evidence: xr.DataArray, *, exact: bool) -> float:
    warm = evidence[:, : backbone.window, : backbone.window]
    backbone.embed(warm, exact=exact)
    return evidence[0].size / seconds(lambda: backbone.embed(evidence, exact=exact))


def attributions() -> list[dict[str, Any]]:
    """Cells explained a second."""
    rows = []
    for name, settings in SIZES.items():
        evidence = stack(SIDE, SIDE)
        backbone = taught(evidence, settings)
        plain = 1.0 / plain_explanation_seconds(evidence, settings)
        for embedding in ("exact", "dense"):
            own = explanation_rate(backbone, evidence, embedding)
            what = f"attributions, {embedding}; plain from {DRAWS_TIMED} of {DRAWS} draws"
            rows.append(row(what, name, plain, own, "cells/s"))
    return rows


def plain_explanation_seconds(evidence: xr.DataArray, settings: Pretraining) -> float:
    """Integrated gradients under as many draws of dropout: seconds a cell, extrapolated."""
    sizes = settings.architecture
    layers, *shape = evidence.shape
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(sizes.width, 1), nn.Sigmoid())
    encoder = PlainEncoder(layers, sizes).requires_grad_(False)

    def score(windows: Tensor) -> Tensor:
        return head(encoder(windows).mean(dim=1))[:, 0]

    cells = some_cells(tuple(shape), DRAWS_TIMED + 1)
    dataset = WindowPerItem(np.nan_to_num(evidence.to_numpy()), sizes.window, cells)
    method = IntegratedGradients(score)

    def draws() -> Iterator[None]:
        for number in range(len(dataset)):
            window = dataset[number][None].clone()
            method.attribute(window, torch.zeros_like(window), n_steps=STEPS)
            yield

    return seconds_after_first(draws()) / DRAWS_TIMED * DRAWS


def explanation_rate(backbone: Backbone, evidence: xr.DataArray, embedding: Any) -> float:
    """A probe of the highest ground of one layer, and how fast it tells why."""
    model = PretrainedClassifier(
        backbone, embedding=embedding, members=1, accelerator="cpu", random_state=0
    )
    inner = slice(SIDE // 3, SIDE // 3 + 24)
    shown = model.look_at(evidence.isel(y=inner, x=inner)).to_numpy()
    height = evidence[0].isel(y=inner, x=inner).to_numpy().ravel()
    high = height > np.quantile(height, 0.8)
    model.fit(shown.reshape(len(shown), -1).T, high.astype(int))
    best = np.argsort(-height)[: EXPLAINED + 1]
    cells = np.column_stack(np.unravel_index(best, (24, 24))) + inner.start
    background = evidence.to_numpy().reshape(len(evidence), -1).T
    model.attribute(evidence, cells[:1], background=background)
    took = seconds(lambda: model.attribute(evidence, cells[1:], background=background))
    return EXPLAINED / took


def small() -> list[dict[str, Any]]:
    """Seconds for nanling by the default settings: pretraining, and a map of all cells."""
    study = gs.read_study(HERE.parent / "examples" / "nanling" / "study.toml")
    store = SCRATCH / f"nanling-{stage_keys(study)['evidence'][:12]}.zarr"
    if not store.exists():
        gs.build_evidence(study, store=store)
    evidence = io.open_evidence(store).compute()
    labels = gs.label_cells(evidence, gs.read_deposits(study), footprint=study.deposits.footprint)
    cells = study_cells(evidence, labels)
    found: list[Backbone] = []
    own = seconds(lambda: found.append(pretrain(evidence, SMALL)))
    windows = SMALL.epochs * SMALL.windows_per_epoch
    plain = windows / plain_training_rate(evidence, SMALL)
    sizes = f"small, {len(evidence)} layers, {len(cells.labels):,} cells"
    rows = [row("pretraining nanling; plain extrapolated", sizes, plain, own, "s")]
    method = METHODS["masked-pretraining"]
    probe = PretrainedClassifier(found[0], accelerator="cpu", **method.parameters)
    sampler = gs.make_sampler(method.negatives, **method.negatives_parameters)
    ensemble = gs.DrawEnsemble(probe, sampler, method.draws)
    looks = gs.evidence.CellFeatures(probe.look_at(evidence), cells.rows, cells.columns)
    ensemble.fit(looks, cells.training_labels, cells.coordinates, layers=cells.features)
    own = seconds(lambda: gs.predict_map(ensemble, evidence))
    plain = len(cells.labels) / plain_embedding_rate(evidence, SMALL)
    return [*rows, row("map of nanling; plain extrapolated", sizes, plain, own, "s")]


def memory() -> list[dict[str, Any]]:
    """Peak resident memory of pretraining on a large store, in a process of its own."""
    store = SCRATCH / f"large-{LARGE[0]}x{LARGE[1]}.zarr"
    if not store.exists():
        write_large(store)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        before, peak = fresh.submit(pretraining_peak, store, LARGE_TRAINING).result()
    cells = LARGE[0] * LARGE[1]
    held = f"{4 * LAYERS * cells / MIB:.0f} MiB in float32"
    sizes = f"small, {LAYERS} layers, {cells:,} cells ({held})"
    return [
        row("peak memory of pretraining", sizes, np.nan, peak, "MiB"),
        row("of which before it begins", sizes, np.nan, before, "MiB"),
    ]


def write_large(path: Path) -> None:
    """Sums of waves with a little noise: smooth across blocks, made block by block."""
    rows, columns = LARGE
    grid = gs.Grid.from_bounds((0, 0, 100 * columns, 100 * rows), 100, "EPSG:32650")
    layers = [io.Layer(f"layer {k + 1}", "waves") for k in range(LAYERS)]
    store = io.create_evidence_store(path, grid, layers)
    rng = np.random.default_rng(0)
    for k in range(LAYERS):
        waves, phases = rng.normal(size=(6, 2)) / 30, rng.uniform(0, 2 * np.pi, 6)
        for row_part, column_part in grid.blocks(io.store.CHUNK):
            y = np.arange(row_part.start, min(row_part.stop, rows))[:, None]
            x = np.arange(column_part.start, min(column_part.stop, columns))
            values = rng.normal(scale=0.2, size=(len(y), len(x)))
            for (across, along), phase in zip(waves, phases, strict=True):
                values += np.sin(across * y + along * x + phase)
            block = values[np.newaxis].astype(np.float32)
            store.write(block, slice(k, k + 1), row_part, column_part)
    store.finish(mask=np.ones(LARGE, dtype=bool))


def pretraining_peak(store: Path, settings: Pretraining) -> tuple[float, float]:
    """Resident MiB of this process before pretraining, and at most during it."""
    process = psutil.Process()
    evidence = io.open_evidence(store)
    before = peak = process.memory_info().rss / MIB
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, process.memory_info().rss / MIB)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        pretrain(evidence, settings)
    finally:
        ended.set()
        watcher.join()
    return before, peak


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def seconds_after_first(steps: Iterator[None]) -> float:
    """Seconds of all steps but the first."""
    next(steps)
    return seconds(lambda: list(steps))


def row(what: str, sizes: str, plain: float, own: float, unit: str) -> dict[str, Any]:
    """One row of the table; of seconds and bytes fewer are better, of rates more."""
    ratio = own / plain if unit.endswith("/s") else plain / own
    found = dict(zip(COLUMNS, (what, sizes, plain, own, ratio, unit), strict=True))
    print(found, flush=True)
    return found


MEASUREMENTS = {
    "pretraining": pretraining,
    "inference": inference,
    "attributions": attributions,
    "small": small,
    "memory": memory,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", nargs="+", default=list(MEASUREMENTS), choices=MEASUREMENTS)
    options = arguments.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    code = io.network_code("gossan.nn.masked_autoencoder")
    measured = io.JsonFolder(SCRATCH / f"rows-{code[:12]}")
    for name in options.only:
        measured[name] = {"rows": MEASUREMENTS[name]()}
    rows = [row for name in MEASUREMENTS if name in measured for row in measured[name]["rows"]]
    table = pd.DataFrame(rows, columns=COLUMNS)
    print(table.to_string(index=False))
    table.to_csv(HERE / "masked_pretraining.csv", index=False, float_format="%.4g")
    io.write_text(TABLE, "\n".join(lines_of(rows)) + "\n")


def lines_of(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: a row a measurement, three digits each."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for told in rows:
        figures = [told["plain"], told["gossan"], told["ratio"]]
        texts = ["–" if pd.isna(v) else f"{v:,.0f}" if v >= 100 else f"{v:.3g}" for v in figures]
        lines.append("| " + " | ".join([told["what"], told["sizes"], *texts, told["unit"]]) + " |")
    return lines


if __name__ == "__main__":
    main()
