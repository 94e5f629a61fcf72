"""Learn from evidence without labels: areas → a backbone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from gossan.evidence import CellFeatures, valid_cells
from gossan.exceptions import StudyError, SurveyDataError
from gossan.mistakes import suggest
from gossan.nn.devices import check_devices, check_precision
from gossan.nn.masked_autoencoder.backbone import Backbone
from gossan.nn.masked_autoencoder.measures import measures
from gossan.nn.masked_autoencoder.network import (
    PRESETS,
    Architecture,
    MaskedAutoencoder,
    judged_values,
    reconstruction_loss,
)
from gossan.nn.masked_autoencoder.windows import (
    Area,
    GatheredWindows,
    Standard,
    TiledBatches,
    WindowSource,
    area_digest,
    training_and_validation,
)
from gossan.nn.training import (
    EpochBatches,
    TrainingPlan,
    TrainingRecord,
    batches,
    train,
    train_once,
)

BoolArray = npt.NDArray[np.bool_]

_SAMPLE = 200_000
"""Cells that scales are taken from, where an area holds more."""
_JUDGED = 1_024
"""Windows that an epoch is judged by."""
_SHARE_WITH_HIDDEN_LAYERS = 0.5


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
        check_precision(self.precision)
        check_devices(self.accelerator, self.devices)

    @property
    def visible(self) -> int:
        """Tokens of a window that the encoder sees."""
        return max(1, round((1.0 - self.hidden_cells) * self.architecture.tokens))


def pretrain(
    areas: xr.DataArray | Mapping[str, xr.DataArray],
    settings: Pretraining | None = None,
    *,
    learnt_from: BoolArray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Backbone:
    """Learn what goes with what in the evidence of one or several areas, without labels.

    Parts of windows are hidden, and the network learns to predict them from what is left. Layers
    are matched by name; one that an area lacks is missing there.

    Parameters
    ----------
    areas : xarray.DataArray or mapping of str to xarray.DataArray
        Evidence ``(layer, y, x)`` float32, NaN missing, of one area or of several by name. The
        layers of the first come first.
    settings : Pretraining, optional
    learnt_from : ndarray of shape (y, x), bool, optional
        Cells of the first area that may be seen at all; default: all. The others' evidence is
        missing for the network.
    progress : callable, optional
        Called with (epochs done, epochs in all).

    Returns
    -------
    Backbone

    Raises
    ------
    StudyError
        If a setting cannot be, or an area is smaller than a window.
    SurveyDataError
        If there is nothing to learn from.
    TrainingError
        If the loss is no longer a number.

    References
    ----------
    Daruna, A. et al. (2024). GFM4MPM. arXiv 2406.12756.
    """
    settings = Pretraining() if settings is None else settings
    settings.check()
    named = {"area": areas} if isinstance(areas, xr.DataArray) else dict(areas)
    layers = list(dict.fromkeys(str(n) for e in named.values() for n in e["layer"].to_numpy()))
    _check_sizes(named, settings.architecture)
    alike = measures(list(named.values()))
    hidden = [None if learnt_from is None or k else ~learnt_from for k in range(len(named))]
    parts = [
        Area(evidence, _order(evidence, layers), np.empty(0, dtype=bool), unseen)
        for evidence, unseen in zip(named.values(), hidden, strict=True)
    ]
    standard, binary = _standard(parts, settings.random_state)
    sources = _sources(parts, standard, settings)
    network = _started(binary, settings)
    record = train_once(
        network,
        (asdict(settings), layers, standard, [area_digest(part) for part in parts]),
        lambda checkpoint: _trained(network, settings, binary, sources, checkpoint, progress),
    )
    told = {"areas": list(named), **alike, **asdict(record)}
    return _backbone(network, layers, binary, standard, settings, told)


def untrained(
    areas: xr.DataArray, settings: Pretraining, *, learnt_from: BoolArray | None = None
) -> Backbone:
    """The same network with the weights it starts from: what pretraining is measured by."""
    settings.check()
    layers = [str(name) for name in areas["layer"].to_numpy()]
    hidden = None if learnt_from is None else ~learnt_from
    part = Area(areas, _order(areas, layers), np.empty(0, dtype=bool), hidden)
    standard, binary = _standard([part], settings.random_state)
    network = _started(binary, settings)
    told = {"areas": [], **measures([areas])}
    return _backbone(network, layers, binary, standard, settings, told)


def _started(binary: BoolArray, settings: Pretraining) -> MaskedAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.random_state)
        return MaskedAutoencoder(len(binary), settings.architecture, torch.from_numpy(binary))


def _backbone(
    network: MaskedAutoencoder,
    layers: list[str],
    binary: BoolArray,
    standard: Standard,
    settings: Pretraining,
    told: dict[str, Any],
) -> Backbone:
    return Backbone(
        {
            "weights": {name: value.numpy() for name, value in network.state_dict().items()},
            "layers": layers,
            "binary": binary,
            "centre": standard.centre,
            "scale": standard.scale,
            "architecture": asdict(settings.architecture),
            "description": {**told, "settings": asdict(settings)},
        }
    )


def _check_sizes(areas: Mapping[str, xr.DataArray], sizes: Architecture) -> None:
    for name, evidence in areas.items():
        rows, columns = evidence.shape[1:]
        if min(rows, columns) < sizes.window:
            raise StudyError(
                f"{name} has {rows} × {columns} cells, fewer than a window of {sizes.window} × "
                f"{sizes.window}. Set a smaller window, such as {_smaller(min(rows, columns))}."
            )


def _smaller(length: int) -> int:
    """The largest odd window of a third of the area."""
    return max(1, (length // 3 - 1) | 1)


def _order(evidence: xr.DataArray, layers: Sequence[str]) -> npt.NDArray[np.int64]:
    """For each layer wanted its place in the evidence; -1 where it is lacking."""
    own = {str(name): k for k, name in enumerate(evidence["layer"].to_numpy())}
    return np.array([own.get(name, -1) for name in layers], dtype=np.int64)


def _standard(areas: Sequence[Area], seed: int) -> tuple[Standard, BoolArray]:
    """Scale of each layer over the cells of all areas, and which layers are 0 or 1 only."""
    sample = np.concatenate([_cells(area, seed) for area in areas], axis=1)  # (layers, cells)
    observed = np.isfinite(sample)
    if not observed.any():
        raise SurveyDataError("The evidence is missing in every cell: there is nothing to learn.")
    values = np.where(observed, sample, 0.0).astype(np.float64)
    binary = np.all(~observed | (values == 0) | (values == 1), axis=1) & observed.any(axis=1)
    count = np.maximum(observed.sum(axis=1), 1)
    mean = values.sum(axis=1) / count
    spread = np.sqrt((np.where(observed, values - mean[:, None], 0.0) ** 2).sum(axis=1) / count)
    centre = np.where(binary, 0.0, mean).astype(np.float32)
    scale = np.where(binary | (spread == 0), 1.0, spread).astype(np.float32)
    return Standard(centre, scale), binary


def _cells(area: Area, seed: int) -> npt.NDArray[np.float32]:
    """A uniform sample of an area's cells, (layers, cells), as the network may see them."""
    cells = valid_cells(area.evidence)
    if area.hidden is not None:
        cells = cells & ~area.hidden
    rows, columns = np.nonzero(cells)
    if len(rows) > _SAMPLE:
        chosen = np.random.default_rng(seed).choice(len(rows), _SAMPLE, replace=False)
        rows, columns = rows[np.sort(chosen)], columns[np.sort(chosen)]
    values = np.asarray(CellFeatures(area.evidence, rows, columns)).T
    found = np.full((len(area.order), len(rows)), np.nan, dtype=np.float32)
    found[area.order >= 0] = values[area.order[area.order >= 0]]
    return found


def _sources(
    areas: Sequence[Area], standard: Standard, settings: Pretraining
) -> tuple[WindowSource, GatheredWindows]:
    """Windows to learn from and windows to judge by, of all areas."""
    window, seed = settings.architecture.window, settings.random_state
    centres = [
        training_and_validation(
            area.evidence,
            window,
            learnt_from=None if area.hidden is None else ~area.hidden,
            seed=seed,
        )
        for area in areas
    ]
    training, validation = (
        [replace(area, centres=both[k]) for area, both in zip(areas, centres, strict=True)]
        for k in (0, 1)
    )
    if not any(area.centres.any() for area in training):
        raise StudyError(
            f"No window of {window} × {window} cells is left to learn from beside those that "
            "judge. Set a smaller window."
        )
    if not any(area.centres.any() for area in validation):
        validation = training  # too small an area to spare any: judged by what it learnt
    judging = WindowSource(validation, standard, window)
    drawn = TiledBatches(judging.groups, _JUDGED, per_epoch=_JUDGED, seed=seed, shuffle=False)
    judged = GatheredWindows(judging, np.concatenate(list(drawn)))
    return WindowSource(training, standard, window), judged


def _trained(
    network: MaskedAutoencoder,
    settings: Pretraining,
    binary: BoolArray,
    sources: tuple[WindowSource, GatheredWindows],
    checkpoint: Path | None,
    progress: Callable[[int, int], None] | None,
) -> TrainingRecord:
    seed, size = settings.random_state, settings.batch_size
    count = min(settings.windows_per_epoch, len(sources[0]))
    training = TiledBatches(sources[0].groups, size, per_epoch=count, seed=seed)
    validation = EpochBatches(len(sources[1]), size, seed=seed, shuffle=False)
    return train(
        network,
        MaskedLoss(settings, binary),
        # Asked once the processes know one another: each takes its share of the steps.
        lambda weights: _optimiser(weights, settings, settings.epochs * len(training)),
        batches(sources[0], training),
        batches(sources[1], validation),
        TrainingPlan(
            settings.epochs,
            settings.epochs,
            settings.accelerator,
            devices=settings.devices,
            precision=settings.precision,
            seed=seed,
        ),
        checkpoint=checkpoint,
        progress=progress,
    )


class MaskedLoss:
    """The loss of a batch of windows, of which it hides what the settings say.

    Parameters
    ----------
    settings : Pretraining
    binary : ndarray of shape (layers,), bool
        Layers that hold 0 and 1 only.
    """

    takes_missing = True

    def __init__(self, settings: Pretraining, binary: BoolArray) -> None:
        self.settings = settings
        self.binary = torch.from_numpy(np.repeat(binary, settings.architecture.patch**2))

    def __call__(self, network: Any, batch: tuple[Tensor]) -> Tensor:
        """The loss over what was hidden and is observed."""
        (windows,) = batch
        # While judging, the same is hidden every time, so that epochs can be compared.
        generator = None if network.training else torch.Generator().manual_seed(0)
        keep, dropped = self.hidden(windows.shape[0], windows.shape[1], generator)
        keep, dropped = keep.to(windows.device), dropped.to(windows.device)
        prediction = network(windows, keep, dropped)
        patches = network.patches(windows)
        judged = judged_values(patches, keep, dropped, windows.shape[1])
        return reconstruction_loss(prediction, patches, judged, self.binary.to(windows.device))

    def hidden(
        self, count: int, layers: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tokens that stay visible, (n, visible), and layers that are hidden, (n, layers)."""
        tokens = self.settings.architecture.tokens
        order = torch.rand(count, tokens, generator=generator).argsort(dim=1)
        some = torch.rand(count, 1, generator=generator) < _SHARE_WITH_HIDDEN_LAYERS
        layer = torch.rand(count, layers, generator=generator) < self.settings.hidden_layers
        return order[:, : self.settings.visible], some & layer


def _optimiser(weights: Any, settings: Pretraining, steps: int) -> Any:
    """AdamW, whose rate rises for a tenth of the steps and falls as a cosine."""
    optimiser = torch.optim.AdamW(
        weights, settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    rise = max(1, steps // 10)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    return {
        "optimizer": optimiser,
        "lr_scheduler": {"scheduler": schedule, "interval": "step"},
    }
