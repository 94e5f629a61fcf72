"""How networks learn from patches: crops and noise drawn anew, classes brought to balance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from gossan.exceptions import StudyError
from gossan.nn.devices import check_devices, check_precision
from gossan.nn.training import EpochBatches, TrainingPlan, TrainingRecord, batches, train

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_MOST_COPIES = 50
"""Of the smaller class: more copies of one deposit teach noise."""


@dataclass(frozen=True)
class PatchTraining:
    """How networks learn from patches.

    Attributes
    ----------
    epochs : int
    learning_rate, momentum, weight_decay : float
        Of stochastic gradient descent.
    halved_every : int or None
        Epochs after which the rate is halved, again and again; ``None`` for a fifth of them, which
        is as published.
    batch_size : int
        Patches a step.
    at_once : int
        Patches that go through the networks together; a step adds up the gradients of several such
        parts, so memory is bounded by them. Batch normalisation sees a part.
    noise : float
        Variance of the Gaussian noise on every copy of a patch but the first.
    accelerator, precision
        As :class:`gossan.nn.training.TrainingPlan` takes them.
    """

    epochs: int = 150
    learning_rate: float = 0.1
    halved_every: int | None = None
    momentum: float = 0.01
    weight_decay: float = 1e-4
    batch_size: int = 128
    at_once: int = 32
    noise: float = 0.01
    accelerator: str = "auto"
    precision: str = "32-true"

    def check(self) -> None:
        """Raise :class:`StudyError` if a setting cannot be."""
        for name in ("epochs", "halved_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise StudyError(f"{name} is {value}: at least 1 is needed.")
        for name in ("batch_size", "at_once"):  # batch normalisation compares patches
            if getattr(self, name) < 2:
                raise StudyError(f"{name} is {getattr(self, name)}: at least 2 are needed.")
        if not 0 < self.learning_rate < math.inf:
            raise StudyError(f"learning_rate is {self.learning_rate}: give a number above 0.")
        for name in ("momentum", "weight_decay", "noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise StudyError(f"{name} is {getattr(self, name)}: give 0 or more.")
        check_precision(self.precision)
        check_devices(self.accelerator, 1)


PRESETS: dict[str, dict[str, Any]] = {
    "published": {"width": 64, "epochs": 150, "batch_size": 128},
    "small": {"width": 16, "epochs": 20, "batch_size": 32},
}
"""Width of a source's network and how long it learns: as published, and in minutes on two cores."""


class Patches(Dataset[tuple[Tensor, ...]]):
    """Labelled patches by their numbers, in bulk: standardised, without gaps.

    Parameters
    ----------
    values : Tensor of shape (layers, y, x)
        An area; or, of patches that are given one by one, (n, layers, window, window).
    corners : ndarray of shape (n, 2), optional
        First row and column of each patch of an area.
    window : int
    positive : ndarray of shape (n,), bool
    copies : int, default 3
        Times that a patch of the larger class comes in an epoch, as published; one of the smaller
        comes as often as makes both classes as many, up to 50 times. 0: every patch once.

    Examples
    --------
    Of the published 78 patches with mines and 359 without:

    >>> area = torch.zeros(1, 4, 900)
    >>> corners = np.column_stack([np.zeros(437, dtype=int), np.arange(437)])
    >>> patches = Patches(area, np.arange(437) < 78, 4, corners=corners)
    >>> len(patches), int(patches.positive[patches.order].sum())
    (2169, 1092)
    """

    def __init__(
        self,
        values: Tensor,
        positive: BoolArray,
        window: int,
        *,
        corners: IntArray | None = None,
        copies: int = 3,
    ) -> None:
        self.values, self.window, self.corners = values, window, corners
        self.positive = positive
        times = _times(positive, copies) if copies else np.ones(len(positive), dtype=np.int64)
        self.order = np.repeat(np.arange(len(positive)), times)
        firsts = np.cumsum(times) - times
        self.copy = np.ones(len(self.order), dtype=bool)
        self.copy[firsts] = False

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, numbers: IntArray) -> tuple[Tensor, ...]:
        chosen = self.order[numbers]
        if self.corners is None:
            windows = self.values[torch.from_numpy(chosen)]
        else:
            views = self.values.unfold(1, self.window, 1).unfold(2, self.window, 1)
            rows, columns = torch.from_numpy(self.corners[chosen].T)
            windows = views[:, rows, columns].transpose(0, 1)
        target = torch.from_numpy(self.positive[chosen].astype(np.int64))
        return windows, target, torch.from_numpy(self.copy[numbers])

    def with_copies(self, copies: int) -> Patches:
        """The same patches, with another number of ``copies``."""
        return Patches(self.values, self.positive, self.window, corners=self.corners, copies=copies)


def _times(positive: BoolArray, copies: int) -> IntArray:
    """How many times each patch comes in an epoch."""
    counts = np.array([(~positive).sum(), positive.sum()])
    wanted = copies * counts.max()
    times = np.clip(np.rint(wanted / np.maximum(counts, 1)), 1, _MOST_COPIES).astype(np.int64)
    return times[positive.astype(int)]


class PatchLoss:
    """The loss of a batch of patches, of which it takes a crop each and adds noise to copies.

    Parameters
    ----------
    loss : callable
        From (log-odds, classes) to a scalar.
    crop : int
        Cells across.
    noise : float
        Variance.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], crop: int, noise: float) -> None:
        self.loss, self.crop, self.noise = loss, crop, noise

    def __call__(self, network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """The loss; while judging, of the middle of every patch as it is."""
        windows, positive, copy = batch
        if not network.training:
            return self.loss(network(middle(windows, self.crop)), positive)
        room = windows.shape[-1] - self.crop + 1
        places = torch.randint(room, (len(windows), 2)).tolist()
        crops = torch.stack(
            [
                patch[:, row : row + self.crop, column : column + self.crop]
                for patch, (row, column) in zip(windows, places, strict=True)
            ]
        )
        noise = math.sqrt(self.noise) * torch.randn(crops.shape).to(crops)
        return self.loss(network(crops + noise * copy[:, None, None, None]), positive)


def middle(windows: Tensor, crop: int) -> Tensor:
    """The middle of each patch, (n, layers, crop, crop)."""
    first = (windows.shape[-1] - crop) // 2
    return windows[..., first : first + crop, first : first + crop]


def fit_patches(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    patches: Patches,
    settings: PatchTraining,
    crop: int,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingRecord:
    """Train a network in place on patches; the weights of the best epoch are kept.

    The source spares no patch to judge by: the best epoch is the one of the least loss on the
    training patches as they are, without noise and in the middle. The smaller class is repeated
    there too, up to 50 times, so that both weigh alike.
    """
    once = patches.with_copies(1)
    parts = -(-settings.batch_size // settings.at_once)
    size = -(-settings.batch_size // parts)
    return train(
        network,
        PatchLoss(loss, crop, settings.noise),
        lambda weights: _optimiser(weights, settings),
        batches(patches, EpochBatches(len(patches), size, seed=seed, even=True)),
        batches(once, EpochBatches(len(once), size, seed=seed, shuffle=False)),
        TrainingPlan(
            settings.epochs,
            settings.epochs,
            settings.accelerator,
            precision=settings.precision,
            accumulate=parts,
            seed=seed,
        ),
        checkpoint=checkpoint,
        progress=progress,
    )


def _optimiser(weights: Any, settings: PatchTraining) -> Any:
    optimiser = torch.optim.SGD(
        [weight for weight in weights if weight.requires_grad],
        settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    halved_every = settings.halved_every or max(1, round(settings.epochs / 5))
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, halved_every, 0.5)
    return {
        "optimizer": optimiser,
        "lr_scheduler": {"scheduler": schedule, "interval": "epoch"},
    }
