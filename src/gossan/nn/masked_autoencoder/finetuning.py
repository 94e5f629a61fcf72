"""Fine-tuning: the encoder itself learns from the labels, a little, with a linear head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from gossan.nn.masked_autoencoder.backbone import Backbone
from gossan.nn.masked_autoencoder.heads import HeadSettings, smoothed_targets
from gossan.nn.masked_autoencoder.network import MaskedAutoencoder
from gossan.nn.training import (
    EpochBatches,
    TrainingPlan,
    TrainingRecord,
    batches,
    train,
    train_once,
)

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_ENCODER_RATE = 0.0003
_HEAD_RATE = 0.003


@dataclass(frozen=True)
class FineTuning:
    """How an encoder is fine-tuned.

    Attributes
    ----------
    epochs, patience, batch_size : int
    accelerator, precision
        As :class:`gossan.nn.training.TrainingPlan` takes them.
    """

    epochs: int = 20
    patience: int = 5
    batch_size: int = 32
    accelerator: str = "auto"
    precision: str = "32-true"


class CentreScore(nn.Module):
    """The encoder and a linear head on the token in the middle of a window.

    Parameters
    ----------
    encoder : MaskedAutoencoder
    dropout : float
        Share of the token that is left out at random while learning.
    """

    def __init__(self, encoder: MaskedAutoencoder, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = dropout
        self.head = nn.Linear(encoder.architecture.width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, windows: Tensor) -> Tensor:
        """Log-odds that the middle of each window is a deposit: (n, layers, w, w) → (n,)."""
        token = self.centre(windows)
        return self.head(functional.dropout(token, self.dropout, self.training))[:, 0]

    def centre(self, windows: Tensor) -> Tensor:
        """The embedding of the cell in the middle of each window, (n, width)."""
        return self.encoder.encode(windows)[:, self.encoder.architecture.tokens // 2]


def fine_tuned(
    backbone: Backbone,
    windows: Tensor,
    positive: BoolArray,
    split: tuple[IntArray, IntArray],
    head: HeadSettings,
    settings: FineTuning,
    seed: int,
) -> dict[str, Any]:
    """Teach encoder and head by labelled windows; both classes weigh alike.

    Parameters
    ----------
    backbone : Backbone
    windows : Tensor of shape (n, layers, window, window)
        Standardised.
    positive : ndarray of shape (n,), bool
    split : tuple of ndarray
        Windows that teach, and windows that stop the training.
    head : HeadSettings
    settings : FineTuning
    seed : int

    Returns
    -------
    dict
        ``weights`` of the network, losses and epochs.
    """
    taught, judged = split
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CentreScore(backbone.network(), head.dropout)
    made_of = (head, settings, windows.numpy(), positive, taught, judged, seed, backbone.learned)
    record = train_once(
        network,
        made_of,
        lambda checkpoint: _trained(
            network, windows, positive, split, head, settings, seed, checkpoint
        ),
    )
    used = {name: v for name, v in network.state_dict().items() if "decoder" not in name}
    return {
        "weights": {name: value.numpy() for name, value in used.items()},
        "training_loss": record.training_loss[record.best_epoch],
        "validation_loss": record.validation_loss[record.best_epoch],
        "epochs": len(record.training_loss),
    }


def tuned_network(backbone: Backbone, weights: dict[str, npt.NDArray[Any]]) -> CentreScore:
    """The network of some weights, ready to score."""
    network = CentreScore(backbone.network(), 0.0)
    given = {name: torch.from_numpy(value) for name, value in weights.items()}
    network.load_state_dict(given, strict=False)  # without the decoder, which scores nothing
    return network.eval()


class LabelledWindows(Dataset[tuple[Tensor, ...]]):
    """Windows, targets and weights by their numbers, in bulk."""

    def __init__(self, windows: Tensor, positive: BoolArray, smoothing: float) -> None:
        self.windows = windows
        self.target, self.weight = smoothed_targets(positive, smoothing)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, numbers: IntArray) -> tuple[Tensor, ...]:
        return self.windows[numbers], self.target[numbers], self.weight[numbers]


def _trained(
    network: CentreScore,
    windows: Tensor,
    positive: BoolArray,
    split: tuple[IntArray, IntArray],
    head: HeadSettings,
    settings: FineTuning,
    seed: int,
    checkpoint: Path | None,
) -> TrainingRecord:
    loaders = []
    for cells, shuffle in zip(split, (True, False), strict=True):
        dataset = LabelledWindows(windows[cells], positive[cells], head.label_smoothing)
        order = EpochBatches(len(dataset), settings.batch_size, seed=seed, shuffle=shuffle)
        loaders.append(batches(dataset, order))
    return train(
        network,
        _loss,
        lambda _: torch.optim.AdamW(
            [
                {"params": network.encoder.parameters(), "lr": _ENCODER_RATE},
                {"params": network.head.parameters(), "lr": _HEAD_RATE},
            ],
            weight_decay=head.weight_decay,
        ),
        loaders[0],
        loaders[1],
        TrainingPlan(
            settings.epochs,
            settings.patience,
            settings.accelerator,
            precision=settings.precision,
            seed=seed,
        ),
        checkpoint=checkpoint,
    )


def _loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    windows, target, weight = batch
    return functional.binary_cross_entropy_with_logits(network(windows), target, weight)
