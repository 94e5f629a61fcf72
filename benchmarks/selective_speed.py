"""Selective transfer: five networks in one process against five passes, memory, and dense maps.

- Seconds of an epoch of five target networks that learn together, with distillation, in single
  precision and in bfloat16, beside the same five by themselves in single precision, one after
  another, each with its own patches, crops and noise; at the published sizes (8 layers, crops of
  224 cells, batches of 128 in parts of 32) and at the small preset's (42 layers, crops of 28). What
  a longer training takes more than a shorter one, so that what is done once does not count.
- Peak memory of fitting an area of 3,072 × 3,072 × 8 at the published sizes, networks kept on disk
  as in a run, in a process of its own.
- Seconds for a map of that stack at a stride of 32: dense, and patch by patch, extrapolated from a
  few batches; and how like the two are on a smaller area, by networks that learnt it.

Ratios are of one run on one machine, with all of its threads. Prints a table, writes it as CSV
and Markdown.

    python benchmarks/selective_speed.py [--only training memory maps]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from masked_pretraining import COLUMNS, lines_of, row, seconds
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

import gossan as gs
from gossan import io
from gossan.nn.selective_transfer import (
    PatchTraining,
    ResNet18,
    SelectiveTransferClassifier,
    SelectiveTransferNetwork,
)
from gossan.nn.selective_transfer.dense import dense_scores
from gossan.nn.selective_transfer.network import is_large, mean_chance, total_loss
from gossan.nn.selective_transfer.patches import PUBLISHED_DILATIONS, chosen_sizes
from gossan.nn.selective_transfer.source import source_of
from gossan.nn.selective_transfer.training import Patches, fit_patches

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "docs" / "tables" / "selective_speed.md"
SIDE, LAYERS = 3_072, 8
STRIDE = 32
SIZES = {
    "published: 8 layers, crops of 224, 64 channels, batches of 128": (8, 256, 224, 64, 128),
    "small: 42 layers, crops of 28, 16 channels, batches of 32": (42, 32, 28, 16, 32),
}
MORE = 1
"""Epochs that the longer training has more."""
MIB = 2**20


def area(layers: int, side: int, seed: int = 0) -> torch.Tensor:
    """Smooth layers with a little noise, standardised."""
    rng = np.random.default_rng(seed)
    found = np.empty((layers, side, side), dtype=np.float32)
    for layer in found:
        coarse = gaussian_filter(rng.normal(size=(side, side)).astype(np.float32), 8)
        layer[:] = coarse / coarse.std() + 0.1 * rng.normal(size=layer.shape)
    return torch.from_numpy(found)


def networks(layers: int, crop: int, width: int, dilations: tuple[int, ...]) -> Any:
    """Targets of a source of random weights."""
    torch.manual_seed(0)
    large = is_large(crop)
    source = ResNet18(layers, large=large, width=width)
    return SelectiveTransferNetwork(layers, dilations, large=large, source=source)


def training() -> list[dict[str, Any]]:
    """Seconds of an epoch of five networks together, and one after another."""
    rows = []
    for name, sizes in SIZES.items():
        layers, window, crop, _, batch = sizes
        rates = chosen_sizes((12 * window,) * 2, window=window, crop=crop).dilations
        count = batch // 6  # every patch of even classes is shown three times
        corners = np.random.default_rng(0).integers(0, window, (2 * count, 2))
        positive = np.arange(2 * count) % 2 == 1
        patches = Patches(area(layers, 2 * window), positive, window, corners=corners)
        apart = sum(epoch_seconds((rate,), sizes, patches, "32-true") for rate in rates)
        for precision in ("32-true", "bf16-mixed"):
            together = epoch_seconds(rates, sizes, patches, precision)
            what = f"an epoch by {len(rates)} networks at once, {precision}; one by one, 32-true"
            rows.append(row(what, name, apart, together, "s"))
    return rows


def epoch_seconds(
    dilations: tuple[int, ...], sizes: tuple[int, ...], patches: Patches, precision: str
) -> float:
    """Of an epoch of one step and a look at every patch, without what is done once."""
    short, long = (
        seconds(lambda n=n: learnt(dilations, sizes, patches, precision, n)) for n in (1, 1 + MORE)
    )
    return (long - short) / MORE


def learnt(
    dilations: tuple[int, ...],
    sizes: tuple[int, ...],
    patches: Patches,
    precision: str,
    epochs: int,
) -> None:
    layers, _, crop, width, batch = sizes
    settings = PatchTraining(
        epochs=epochs, batch_size=batch, accelerator="cpu", precision=precision
    )
    share = 0.7 if len(dilations) > 1 else 0.0
    network = networks(layers, crop, width, dilations)
    fit_patches(network, partial(_loss, share), patches, settings, crop, 0)


def _loss(share: float, log_odds: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return total_loss(log_odds, classes, share)


def memory() -> list[dict[str, Any]]:
    """Peak resident memory of fitting an area at the published sizes."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        peak = fresh.submit(fitting_peak).result()
    name = next(iter(SIZES))
    stack = f"{SIDE:,}² × {LAYERS}, {4 * LAYERS * SIDE**2 / MIB:,.0f} MiB in float32"
    return [row(f"peak memory of fitting {stack}", name, np.nan, peak, "MiB")]


def fitting_peak() -> float:
    """MiB that this process held at most while five networks learnt an area for one step.

    All of the area is held, but only as much of it is shown as has patches for one batch.
    """
    _, window, crop, width, batch = next(iter(SIZES.values()))
    grid = gs.Grid.from_bounds((0, 0, 100 * SIDE, 100 * SIDE), 100, "EPSG:32650")
    values = area(LAYERS, SIDE).numpy()
    evidence = grid.to_dataarray(values, layers=[str(k) for k in range(LAYERS)])
    labels = np.full((SIDE, SIDE), -2, dtype=np.int8)
    shown = 5 * window // 2
    labels[:shown, :shown] = 0
    labels[window // 2 : shown : window, window // 2 : shown : window] = 1
    torch.manual_seed(0)
    names = [str(k) for k in range(LAYERS)]
    counts = {"tp": 1, "fn": 0, "tn": 1, "fp": 0}
    source = source_of(
        ResNet18(LAYERS, width=width), names, (window, crop), "area", counts, PatchTraining()
    )
    model = SelectiveTransferClassifier(
        source, patch_window=window, epochs=1, batch_size=batch, accelerator="cpu", random_state=0
    )
    with TemporaryDirectory() as folder, io.networks_kept(Path(folder)):
        model.fit_area(evidence, labels)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def maps() -> list[dict[str, Any]]:
    """A map of the published stack, and how like a dense one is to one of patches."""
    name, (layers, _, crop, width, _) = next(iter(SIZES.items()))
    values = area(layers, SIDE)
    network = networks(layers, crop, width, PUBLISHED_DILATIONS).folded().eval()
    dense = seconds(lambda: dense_scores(network, values, crop, mean_chance))
    count = ((SIDE - crop) // STRIDE + 1) ** 2
    some = torch.stack([values[:, :crop, k : k + crop] for k in range(0, 64, 4)])
    with torch.inference_mode():
        one = seconds(lambda: network(some)) / len(some)
    what = (
        f"map of {SIDE:,}² at a stride of {STRIDE}; patch by patch, extrapolated from {len(some)}"
    )
    return [row(what, name, one * count, dense, "s"), likeness()]


def likeness(side: int = 700, crop: int = 112) -> dict[str, Any]:
    """Rank correlation of the two kinds of map, by networks that learnt where a layer is high."""
    values = area(2, side).numpy()
    grid = gs.Grid.from_bounds((0, 0, 100 * side, 100 * side), 100, "EPSG:32650")
    evidence = grid.to_dataarray(values, layers=["Cu", "Pb"])
    broad = gaussian_filter(values[0], 16)
    labels = np.zeros((side, side), dtype=np.int8)
    order = np.argsort(-broad, axis=None)[: side**2 // 50]
    chosen = np.random.default_rng(0).choice(order, 40, replace=False)
    labels[np.unravel_index(chosen, labels.shape)] = 1
    model = SelectiveTransferClassifier(
        transfer=False,
        width=8,
        patch_window=128,
        patch_stride=32,
        crop=crop,
        dilations=(1, 6, 12),
        map_stride=STRIDE,
        vote="chance",
        epochs=8,
        batch_size=32,
        accelerator="cpu",
        random_state=0,
    ).fit_area(evidence, labels)
    patches = model.score_area(evidence)
    dense = model.set_params(mapping="dense").score_area(evidence)
    figure = float(spearmanr(patches.ravel(), dense.ravel()).statistic)
    sizes = f"{side}² × 2, crops of {crop}, 8 channels"
    return row("Spearman correlation of dense and patch map", sizes, np.nan, figure, "")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "training": training,
        "memory": memory,
        "maps": maps,
    }
    arguments.add_argument("--only", nargs="+", default=list(parts), choices=list(parts))
    options = arguments.parse_args()
    rows = []
    for name in options.only:
        rows += parts[name]()
    if options.only == list(parts):
        frame = pd.DataFrame(rows, columns=COLUMNS)
        frame.to_csv(HERE / "selective_speed.csv", index=False, float_format="%.4g")
        io.write_text(TABLE, "\n".join(lines_of(rows)) + "\n")


if __name__ == "__main__":
    main()
