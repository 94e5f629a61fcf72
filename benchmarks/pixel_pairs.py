"""Dual-window maps by pixel pairs against an eager loop: calls a second, exact and sampled.

The loop stands where the method's published description leads: a float32 network on batches of
1,024 pairs, (n, 1, layers), each cell against each cell of its ring. It is timed on a sample of
cells and extrapolated; gossan maps the whole area, in bfloat16 a strip of it. Ratios are of one run
on one machine. Prints how time grows with cells, layers, ring, windows and members, and how near
ten networks that compare eight cells of the ring each, as a study's ten draws do, come to the mean
of their exact maps; writes everything as CSV.

    python benchmarks/pixel_pairs.py [--only ways growth ensemble]
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from torch import nn

from gossan.nn.pixel_pairs import PairNetwork, PixelPairClassifier
from gossan.nn.windows import ring_offsets

HERE = Path(__file__).resolve().parent
INNER, OUTER = 13, 35


def stack(rows: int, columns: int, layers: int, seed: int = 0) -> np.ndarray:
    """Layers as rough as gridded geochemistry: smooth over three cells, with a regional trend."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(layers, rows, columns))
    fine, broad = (gaussian_filter(noise, (0, s, s)) for s in (1.5, 15))
    return (fine / fine.std() + broad / broad.std()).astype(np.float32)


def fitted(evidence: np.ndarray, **settings: Any) -> PixelPairClassifier:
    """A model trained a little on cells of the stack's highest layer, so that scores differ."""
    flat = evidence.reshape(len(evidence), -1).T
    order = np.argsort(flat[:, 0])
    rng = np.random.default_rng(0)
    cells = np.concatenate([rng.choice(order[-2000:], 60), rng.choice(order[:-2000], 60)])
    y = np.repeat([1, 0], 60)
    model = PixelPairClassifier(
        INNER,
        OUTER,
        max_epochs=6,
        pairs_per_epoch=12_800,
        accelerator="cpu",
        random_state=0,
        **settings,
    )
    return model.fit(flat[cells], y)


class EagerNetwork(nn.Module):
    """The same network as one would write it first: Conv1d over (n, 1, layers)."""

    def __init__(self, network: PairNetwork) -> None:
        super().__init__()
        self.body = nn.Sequential()
        for part in network.body:
            if isinstance(part, nn.Conv2d):
                convolution = nn.Conv1d(
                    part.in_channels, part.out_channels, 3, stride=part.stride[1], padding=1
                )
                convolution.weight.data = part.weight.data[:, :, 0].contiguous()
                convolution.bias.data = part.bias.data.clone()
                self.body.append(convolution)
            else:
                self.body.append(nn.ReLU())
        self.head = network.head

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.head(self.body(pairs).mean(dim=-1)))[:, 0]


def eager(model: PixelPairClassifier, evidence: np.ndarray, cells: np.ndarray) -> tuple[Any, Any]:
    """Ring scores of some cells by the loop, and the seconds and calls they took."""
    member = model.members_[0]
    network = PairNetwork()
    network.load_state_dict({k: torch.from_numpy(v) for k, v in member["weights"].items()})
    loop = EagerNetwork(network.eval()).eval()
    layers, rows, columns = evidence.shape
    values = (evidence.reshape(layers, -1).T - member["centre"]) / member["scale"]
    ring, scores, calls = ring_offsets(INNER, OUTER), [], 0
    start = time.perf_counter()
    with torch.no_grad():
        waiting: list[np.ndarray] = []
        owners: list[np.ndarray] = []
        for k, (row, column) in enumerate(cells):
            there = ring + np.array([row, column])
            inside = ((there >= 0) & (there < (rows, columns))).all(axis=1)
            others = there[inside] @ (columns, 1)
            waiting.append(np.abs(values[row * columns + column] - values[others]))
            owners.append(np.full(len(others), k))
        pairs, owner = np.concatenate(waiting), np.concatenate(owners)
        for first in range(0, len(pairs), 1024):
            batch = torch.from_numpy(pairs[first : first + 1024, None])
            scores.append(loop(batch).numpy())
            calls += len(batch)
    seconds = time.perf_counter() - start
    total = np.bincount(owner, np.concatenate(scores), len(cells))
    return total / np.bincount(owner, minlength=len(cells)), (seconds, calls)


def mapped(model: PixelPairClassifier, evidence: np.ndarray) -> tuple[np.ndarray, Any, float]:
    """Score, standard error and seconds of a whole map."""
    halo = model.outer // 2
    block = np.pad(evidence, ((0, 0), (halo, halo), (halo, halo)), constant_values=np.nan)
    start = time.perf_counter()
    score, error = model.ring_score(block)
    return score, error, time.perf_counter() - start


def whole_calls(rows: int, columns: int) -> int:
    """Calls of the loop for the whole area: every cell with every ring cell inside it."""
    offsets = np.abs(ring_offsets(INNER, OUTER))
    return int(((rows - offsets[:, 0]) * (columns - offsets[:, 1])).sum())


def compared(rows: int, columns: int, layers: int) -> pd.DataFrame:
    """The loop, the exact map, and sampled rings, in one run."""
    evidence = stack(rows, columns, layers)
    model = fitted(evidence, members=1, ring_pairs=16)  # taught with a surrogate
    model.set_params(ring_pairs=None)
    rng = np.random.default_rng(1)
    cells = np.column_stack([rng.integers(rows, size=150), rng.integers(columns, size=150)])
    eager(model, evidence, cells[:5])
    expected, (seconds, calls) = eager(model, evidence, cells)
    whole = seconds / calls * whole_calls(rows, columns)
    exact, _, exact_seconds = mapped(model, evidence)
    off = np.abs(exact[tuple(cells.T)] - expected).max()
    found = [
        {"way": "eager loop", "pairs": 1056, "seconds": whole, "times": 1.0},
        {"way": "exact", "pairs": 1056, "seconds": exact_seconds, "times": whole / exact_seconds}
        | {"largest_error": off, "spearman": 1.0},
    ]
    print(found, flush=True)
    found.append(reduced(model, evidence, whole / exact_seconds))
    print(found[-1], flush=True)
    for pairs in (16, 32, 64):
        model.set_params(ring_pairs=pairs)
        score, error, took = mapped(model, evidence)
        found.append(
            {"way": "sampled ring", "pairs": pairs, "seconds": took, "times": whole / took}
            | {"largest_error": np.abs(score - exact).max()}
            | {"spearman": spearmanr(score.ravel(), exact.ravel()).statistic}
            | {"within_two_errors": (np.abs(score - exact) <= 2 * error).mean()}
        )
        print(found[-1], flush=True)
    return pd.DataFrame(found)


def reduced(model: PixelPairClassifier, evidence: np.ndarray, times: float) -> dict[str, Any]:
    """The exact map in bfloat16, timed on a strip beside float32."""
    strip = evidence[:, :8]
    exact, _, seconds = mapped(model, strip)
    rough, _, took = mapped(model.set_params(precision="bf16-mixed"), strip)
    model.set_params(precision="32-true")
    return {
        "way": "exact, bfloat16",
        "pairs": 1056,
        "times": times * seconds / took,
        "largest_error": np.abs(rough - exact).max(),
        "spearman": spearmanr(rough.ravel(), exact.ravel()).statistic,
    }


def growth() -> pd.DataFrame:
    """Seconds of a sampled map as one of cells, layers, ring and members grows."""
    plain = {"side": 120, "layers": 20, "pairs": 32, "outer": OUTER, "members": 1}
    rows = []
    for name, sizes in (
        ("side", (60, 120, 240)),
        ("layers", (10, 20, 40, 80)),
        ("pairs", (16, 32, 64, 128, 1_056)),
        ("outer", (19, 35, 51)),
        ("members", (1, 2, 4)),
    ):
        for size in sizes:
            chosen = {**plain, name: size}
            evidence = stack(chosen["side"], chosen["side"], chosen["layers"])
            model = fitted(evidence, members=1, ring_pairs=chosen["pairs"])
            model.set_params(outer=chosen["outer"])
            model.members_ = model.members_ * chosen["members"]
            _, _, took = mapped(model, evidence)
            rows.append({"grows": name, **chosen, "seconds": took})
    return pd.DataFrame(rows)


def ensemble(layers: int, count: int = 10, pairs: int = 8, side: int = 60) -> pd.DataFrame:
    """As many networks as a study draws negatives, each with few pairs, beside their exact maps."""
    evidence = stack(side, side, layers)
    model = fitted(evidence, members=count, ring_pairs=pairs)
    sampled, error, took = mapped(model, evidence)
    exact, _, exact_seconds = mapped(model.set_params(ring_pairs=None), evidence)
    apart = np.abs(sampled - exact)
    found = {
        **{"networks": count, "pairs": pairs, "cells": side**2},
        **{"seconds": took, "exact_seconds": exact_seconds, "largest_error": apart.max()},
        "mean_error": apart.mean(),
        "spearman": spearmanr(sampled.ravel(), exact.ravel()).statistic,
        "within_two_errors": (apart <= 2 * error).mean(),
    }
    return pd.DataFrame([found])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=251)
    arguments.add_argument("--columns", type=int, default=310)
    arguments.add_argument("--layers", type=int, default=39)
    parts = {
        "ways": (
            "pixel_pairs.csv",
            lambda: compared(options.rows, options.columns, options.layers),
        ),
        "growth": ("pixel_pairs_growth.csv", growth),
        "ensemble": ("pixel_pairs_ensemble.csv", lambda: ensemble(options.layers)),
    }
    arguments.add_argument("--only", nargs="+", default=list(parts), choices=list(parts))
    options = arguments.parse_args()
    for file, measured in (parts[name] for name in options.only):
        table = measured()
        print(table.to_string(index=False), flush=True)
        table.to_csv(HERE / file, index=False, float_format="%.4g")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2:.2f} GB")


if __name__ == "__main__":
    main()
