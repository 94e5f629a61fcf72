"""How a masked autoencoder is pretrained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from gossan.exceptions import StudyError
from gossan.mistakes import suggest
from gossan.nn.devices import check_devices, check_precision
from gossan.nn.masked_autoencoder.network import PRESETS, Architecture


@dataclass(frozen=True)
class Pretraining:
    """How a masked autoencoder is pretrained.

    Attributes
    ----------
    preset : {"small", "base"}
    window, patch : int or None
        In place of the preset's.
    hidden_cells : float
        Share of the tokens of a window that are hidden.
    hidden_layers : float
        Share of the layers that are hidden in the whole window, in half of the windows.
    epochs, windows_per_epoch : int
        How long it learns.
    batch_size : int
    learning_rate, weight_decay : float
        Of AdamW; the rate rises for a tenth of the steps and falls as a cosine.
    accelerator, devices, precision
        As :class:`gossan.nn.training.TrainingPlan` takes them.
    random_state : int
    """

    preset: str = "small"
    window: int | None = None
    patch: int | None = None
    hidden_cells: float = 0.75
    hidden_layers: float = 0.25
    epochs: int = 20
    windows_per_epoch: int = 12_800
    batch_size: int = 128
    learning_rate: float = 0.001
    weight_decay: float = 0.01
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    random_state: int = 0

    @property
    def architecture(self) -> Architecture:
        """The sizes of the network.

        Raises
        ------
        StudyError
            If the preset is unknown, or the sizes do not fit together.
        """
        if self.preset not in PRESETS:
            raise StudyError(f"Unknown preset {self.preset!r}.{suggest(self.preset, PRESETS)}")
        sizes = asdict(PRESETS[self.preset])
        own = {"window": self.window, "patch": self.patch}
        found = Architecture(**{**sizes, **{k: v for k, v in own.items() if v is not None}})
        found.check()
        return found

    def check(self) -> None:
        """Raise :class:`StudyError` if a setting cannot be."""
        tokens = self.architecture.tokens
        for name in ("epochs", "windows_per_epoch", "batch_size", "devices"):
            if getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}: at least 1 is needed.")
        for name in ("hidden_cells", "hidden_layers"):
            if not 0 <= getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}: give a share below 1.")
        if self.hidden_cells * tokens < 1 and self.hidden_layers == 0:
            raise StudyError("Nothing would be hidden: raise hidden_cells or hidden_layers.")
        if not 0 < self.learning_rate < math.inf:
            raise StudyError(f"learning_rate is {self.learning_rate}: give a number above 0.")
        if not 0 <= self.weight_decay < math.inf:
            raise StudyError(f"weight_decay is {self.weight_decay}: give 0 or more.")
        if self.random_state < 0:
            raise StudyError(f"random_state is {self.random_state}: give 0 or more.")
        check_precision(self.precision)
        check_devices(self.accelerator, self.devices)

    @property
    def visible(self) -> int:
        """Tokens of a window that the encoder sees."""
        return max(1, round((1.0 - self.hidden_cells) * self.architecture.tokens))
