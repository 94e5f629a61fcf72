"""Selective transfer: five networks in one process against five passes, memory, and dense maps.

- Steps a second of five target networks that learn together, with distillation, beside the same
  five by themselves, one after another, each with its own patches, crops and noise; at the
  published sizes (8 layers, crops of 224 cells, batches of 128 in parts of 32) and at the small
  preset's (42 layers, crops of 28).
- Peak memory of a training step at the published sizes on a stack of 3,072 × 3,072 × 8, in a
  process of its own.
- Seconds for a map of that stack at a stride of 32: dense, and patch by patch, extrapolated from a
  few batches; and how like the two are on a smaller area, by networks that learnt it.

Ratios are of one run on one machine, with all of its threads. Prints a table and writes a CSV.

    python benchmarks/selective_speed.py [--only training memory maps]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

import gossan as gs
from gossan.nn.selective_transfer import (
    PatchTraining,
    ResNet18,
    SelectiveTransferClassifier,
    SelectiveTransferNetwork,
)
from gossan.nn.selective_transfer.dense import dense_scores
from gossan.nn.selective_transfer.network import is_large, mean_chance, total_loss
from gossan.nn.selective_transfer.patches import PUBLISHED_DILATIONS, chosen_sizes
from gossan.nn.selective_transfer.training import Patches, fit_patches

HERE = Path(__file__).resolve().parent
SIDE, LAYERS = 3_072, 8
STRIDE = 32
SIZES = {
    "published: 8 layers, crops of 224, 64 channels, batches of 128": (8, 256, 224, 64, 128),
    "small: 42 layers, crops of 28, 16 channels, batches of 32": (42, 32, 28, 16, 32),
}
STEPS = 2
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


def epoch(dilations: tuple[int, ...], sizes: tuple[int, ...], patches: Patches) -> None:
    """One epoch: so many steps, and a look at every patch once."""
    layers, _, crop, width, batch = sizes
    fit_patches(
        networks(layers, crop, width, dilations),
        partial(_loss, 0.7 if len(dilations) > 1 else 0.0),
        patches,
        PatchTraining(epochs=1, batch_size=batch, accelerator="cpu"),
        crop,
        0,
    )


def _loss(share: float, log_odds: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return total_loss(log_odds, classes, share)


def training() -> list[dict[str, Any]]:
    """Seconds of an epoch of five networks together, and one after another."""
    rows = []
    for name, sizes in SIZES.items():
        layers, window, crop, _, batch = sizes
        rates = chosen_sizes((12 * window,) * 2, window=window, crop=crop).dilations
        count = STEPS * batch // 6  # every patch of even classes is shown three times
        corners = np.random.default_rng(0).integers(0, window, (2 * count, 2))
        positive = np.arange(2 * count) % 2 == 1
        patches = Patches(area(layers, 2 * window), positive, window, corners=corners)
        together = seconds(lambda r=rates, s=sizes, p=patches: epoch(r, s, p))
        apart = sum(seconds(lambda r=r, s=sizes, p=patches: epoch((r,), s, p)) for r in rates)
        what = f"an epoch of {len(patches)} patches by {len(rates)} networks; one by one"
        rows.append(row(what, name, apart, together, "s"))
    return rows


def memory() -> list[dict[str, Any]]:
    """Peak resident memory of an epoch at the published sizes."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        peak = fresh.submit(training_peak).result()
    name = next(iter(SIZES))
    stack = f"{SIDE:,}² × {LAYERS}, {4 * LAYERS * SIDE**2 / MIB:,.0f} MiB in float32"
    return [row(f"peak memory of training on {stack}", name, np.nan, peak, "MiB")]


def training_peak() -> float:
    """MiB that this process held at most while five networks learnt for one step."""
    sizes = next(iter(SIZES.values()))
    _, window, _, _, batch = sizes
    corners = np.random.default_rng(0).integers(0, SIDE - window, (batch // 3, 2))
    positive = np.arange(len(corners)) % 2 == 1
    patches = Patches(area(LAYERS, SIDE), positive, window, corners=corners)
    epoch(PUBLISHED_DILATIONS, sizes, patches)
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
    return {"what": "Spearman correlation of dense and patch map", "sizes": sizes, "own": figure}


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def row(what: str, sizes: str, plain: float, own: float, unit: str) -> dict[str, Any]:
    return {"what": what, "sizes": sizes, "plain": plain, "own": own, "unit": unit} | {
        "ratio": plain / own
    }


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
        print(pd.DataFrame(rows).to_string(), flush=True)
    if options.only == list(parts):
        frame = pd.DataFrame(rows)
        frame.to_csv(HERE / "selective_speed.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
