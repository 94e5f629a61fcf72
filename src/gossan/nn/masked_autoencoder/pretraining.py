"""Learn from evidence without labels: areas → a backbone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from gossan.evidence import CellFeatures, valid_cells
from gossan.exceptions import StudyError, SurveyDataError
from gossan.nn.masked_autoencoder.backbone import Backbone
from gossan.nn.masked_autoencoder.measures import measures
from gossan.nn.masked_autoencoder.network import (
    Architecture,
    MaskedAutoencoder,
    judged_values,
    reconstruction_loss,
)
from gossan.nn.masked_autoencoder.settings import Pretraining
from gossan.nn.masked_autoencoder.windows import (
    Area,
    GatheredWindows,
    TiledBatches,
    WindowSource,
    area_digest,
    training_and_validation,
)
from gossan.nn.standard import Standard, standard_of
from gossan.nn.training import (
    EpochBatches,
    TrainingPlan,
    TrainingRecord,
    batches,
    train,
    train_once,
)

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating[Any]]

_SAMPLE = 200_000
"""Cells that scales are taken from, where an area holds more."""
_JUDGED = 1_024
"""Windows that an epoch is judged by."""
_SHARE_WITH_HIDDEN_LAYERS = 0.5


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
    layers = _common_layers(named)
    _check_sizes(named, settings.architecture, learnt_from)
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
    layers = _common_layers({"area": areas})
    _check_sizes({"area": areas}, settings.architecture, learnt_from)
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


def _common_layers(areas: Mapping[str, xr.DataArray]) -> list[str]:
    """Layers of all areas, those of the first one first; every area must share some."""
    if not areas:
        raise StudyError("There is no area to learn from: give the evidence of one at least.")
    found: list[str] = []
    for name, evidence in areas.items():
        own = [str(layer) for layer in evidence["layer"].to_numpy()]
        twice = next((layer for layer in own if own.count(layer) > 1), None)
        if twice is not None:
            raise StudyError(f"{name} has two layers named {twice!r}: give each its own name.")
        if found and not set(own) & set(found):
            raise StudyError(
                f"{name} shares no layer with {', '.join(list(areas)[: list(areas).index(name)])}: "
                f"it has {', '.join(own[:5])}, …; they have {', '.join(found[:5])}, … Name the "
                "same layers alike."
            )
        found += [layer for layer in own if layer not in found]
    return found


def _check_sizes(
    areas: Mapping[str, xr.DataArray], sizes: Architecture, learnt_from: BoolArray | None
) -> None:
    for name, evidence in areas.items():
        rows, columns = evidence.shape[1:]
        if min(rows, columns) < sizes.window:
            smaller = _smaller(min(rows, columns), sizes.patch)
            remedy = (
                f"Set a smaller window, such as {smaller}."
                if smaller
                else f"That is too small for patches of {sizes.patch} cells: take preset 'small'."
            )
            raise StudyError(
                f"{name} has {rows} × {columns} cells, fewer than a window of {sizes.window} × "
                f"{sizes.window}. {remedy}"
            )
    first = next(iter(areas.values()))
    if learnt_from is not None and learnt_from.shape != first.shape[1:]:
        raise StudyError(
            f"learnt_from has {learnt_from.shape} cells and the area {first.shape[1:]}: give one "
            "for each cell."
        )


def _smaller(length: int, patch: int) -> int:
    """The largest window of about a third of the area that is odd and holds whole patches.

    0 where there is none.
    """
    longest = min(max(length // 3, patch), length)
    fit = [width for width in range(patch, longest + 1, patch) if width % 2]
    return max(fit, default=0)


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
    values = np.where(observed, sample, 0.0)
    binary = np.all(~observed | (values == 0) | (values == 1), axis=1) & observed.any(axis=1)
    return standard_of(sample, stay=binary), binary


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
