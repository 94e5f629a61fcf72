"""Heads: from an embedding to a score, taught by a handful of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class HeadSettings:
    """How a linear head is taught.

    Attributes
    ----------
    dropout : float
        Share of the embedding that is left out at random, while learning and while drawing.
    label_smoothing : float
        The targets are this much nearer to one half.
    weight_decay : float
    steps : int
    learning_rate : float
    """

    dropout: float = 0.2
    label_smoothing: float = 0.1
    weight_decay: float = 0.01
    steps: int = 300
    learning_rate: float = 0.01


def linear_head(
    embeddings: FloatArray, positive: BoolArray, settings: HeadSettings, seed: int
) -> dict[str, Any]:
    """Teach a linear head on frozen embeddings; both classes weigh alike.

    Parameters
    ----------
    embeddings : ndarray of shape (n, width)
    positive : ndarray of shape (n,), bool
    settings : HeadSettings
    seed : int

    Returns
    -------
    dict
        ``weights`` (``slope`` and ``intercept``), ``centre`` and ``scale`` of the embedding.
    """
    centre, scale = embeddings.mean(axis=0), embeddings.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    values = torch.from_numpy(((embeddings - centre) / scale).astype(np.float32))
    target, weight = smoothed_targets(positive, settings.label_smoothing)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(values.shape[1], 1)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        optimiser = torch.optim.AdamW(
            head.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        for _ in range(settings.steps):
            odds = head(functional.dropout(values, settings.dropout))[:, 0]
            loss = functional.binary_cross_entropy_with_logits(odds, target, weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return {
        "weights": {
            "slope": head.weight.detach().numpy()[0].copy(),
            "intercept": head.bias.detach().numpy().copy(),
        },
        "centre": centre.astype(np.float32),
        "scale": scale.astype(np.float32),
    }


def smoothed_targets(positive: BoolArray, smoothing: float) -> tuple[Tensor, Tensor]:
    """Targets moved towards one half, and weights that make both classes count alike."""
    target = torch.from_numpy(positive.astype(np.float32)) * (1.0 - smoothing) + smoothing / 2
    share = float(positive.mean())
    weight = np.where(positive, 0.5 / share, 0.5 / (1.0 - share)).astype(np.float32)
    return target, torch.from_numpy(weight)


def linear_odds(head: dict[str, Any], embeddings: FloatArray) -> FloatArray:
    """Log-odds, (n,)."""
    values = (embeddings - head["centre"]) / head["scale"]
    return values @ head["weights"]["slope"] + head["weights"]["intercept"][0]


def drawn_odds(
    head: dict[str, Any], embeddings: FloatArray, dropout: float, draws: int, seed: int
) -> FloatArray:
    """Log-odds under draws of dropout, (draws, n): every cell under the same draws."""
    rng = np.random.default_rng(seed)
    kept = rng.random((draws, len(head["centre"]))) >= dropout
    slopes = head["weights"]["slope"] * kept / (1.0 - dropout)  # (draws, width)
    values = (embeddings - head["centre"]) / head["scale"]
    return slopes @ values.T + head["weights"]["intercept"][0]


def temperature(odds: FloatArray, positive: BoolArray) -> float:
    """By what log-odds are to be divided to say what they hold: least log loss on held-out cells.

    Both classes weigh alike (Guo et al. 2017). Between 0.1 and 10; 1 without both classes.

    Examples
    --------
    >>> odds = np.array([4.0, 4.0, 4.0, -4.0, -4.0, -4.0])
    >>> temperature(odds, np.array([True, True, False, False, False, True])) > 2
    True
    """
    if not 0 < positive.sum() < len(positive):
        return 1.0
    candidates = np.geomspace(0.1, 10.0, 81)
    weight = np.where(positive, 0.5 / positive.mean(), 0.5 / (1.0 - positive.mean()))
    scaled = np.where(positive, -odds, odds)[:, None] / candidates
    loss = (weight[:, None] * np.logaddexp(0.0, scaled)).mean(axis=0)
    return float(candidates[int(np.argmin(loss))])
