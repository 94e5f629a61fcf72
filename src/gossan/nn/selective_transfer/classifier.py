"""The estimator: target networks of several scales that take of a source what helps, and vote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional

from gossan.exceptions import LabelError, StudyError
from gossan.models import CellClassifier
from gossan.nn.devices import chosen_device
from gossan.nn.selective_transfer.network import (
    ResNet18,
    SelectiveTransferNetwork,
    TargetNetwork,
    is_large,
    total_loss,
    votes,
)
from gossan.nn.selective_transfer.patches import (
    averaged_patches,
    chosen_sizes,
    covering_corners,
    patch_corners,
    patch_counts,
)
from gossan.nn.selective_transfer.source import Source, source_of
from gossan.nn.selective_transfer.training import Patches, PatchTraining, fit_patches, middle
from gossan.nn.training import TrainingRecord, train_once

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

PUBLISHED_DILATIONS = (1, 6, 12, 18, 24)
_AT_ONCE = 32
_LEAST_SHOWN = 0.5
"""Share of a patch's cells that must be shown for it to teach."""


class SelectiveTransferClassifier(CellClassifier):
    """Target networks of several scales, each on a source's gated kernels, that vote on patches.

    An area is cut into overlapping patches, with a deposit or without. A soft mask weighs the
    layers, a dilated convolution makes a map of each scale, and a ResNet-18 a scale tells the
    patches apart: its kernels are a frozen source's, gated value by value, times its own. Networks
    of larger maps guide those of smaller ones. A cell's score is the mean vote over the patches
    that hold it.

    Parameters
    ----------
    source : Source or None, default None
        From :func:`train_source` or ``gossan train-source``; needed unless ``transfer`` is false.
    dilations : sequence of int, default (1, 6, 12, 18, 24)
        A target network each; scaled down with the window where that is chosen.
    soft_mask : bool, default True
        Whether layers have learned weights.
    transfer : bool, default True
        Whether kernels are a source's; otherwise all start at random.
    distillation : float, default 0.7
        β of the source: 0 for none.
    patch_window, patch_stride, crop : int or None, default None
        Cells across a patch, from one to the next, and across what the networks look at, drawn at
        random from the patch in every epoch. Published: 256, 128 and 224, on 3,072 × 3,072 cells;
        of a smaller area the window is a power of two near a sixth of its shorter side, the stride
        half a window, the crop seven eighths.
    map_stride : int or None, default None
        Cells from patch to patch where an area is mapped; default: an eighth of the crop.
    vote : {"share", "chance"}, default "share"
        ``"share"``: of the networks that vote for a deposit, as published. ``"chance"``: their mean
        chance of one, which ranks patches that get as many votes.
    epochs, learning_rate, batch_size, at_once : int or float
        As :class:`PatchTraining` has them; default: as published.
    accelerator : str, default "auto"
    precision : {"32-true", "bf16-mixed", "16-mixed"}, default "32-true"
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    network_ : dict
        ``weights`` of the networks, with the kernels as they are used; losses and epochs.
    sizes_ : dict
        ``window``, ``crop`` and ``dilations`` as they were chosen.
    openness_ : dict of str to float
        Mean of abs(P) of each kernel, over the target networks; empty without transfer.
    classes_ : ndarray of shape (2,)

    Notes
    -----
    ``fit`` takes patches ``(n, layers, window, window)`` and their labels; :meth:`fit_area` cuts an
    area into them.

    **Missing values**: a missing value is its layer's mean.

    References
    ----------
    Selective knowledge transfer for prospecting target prediction (2022). Minerals 12(9), 1112.
    """

    own_threads: ClassVar[bool] = True
    missing_values = "A missing value is its layer's mean."
    _takes_windows = True
    _dtype = np.float32

    def __init__(
        self,
        source: Any = None,
        *,
        dilations: Sequence[int] = PUBLISHED_DILATIONS,
        soft_mask: bool = True,
        transfer: bool = True,
        distillation: float = 0.7,
        patch_window: int | None = None,
        patch_stride: int | None = None,
        crop: int | None = None,
        map_stride: int | None = None,
        vote: Literal["share", "chance"] = "share",
        epochs: int = 150,
        learning_rate: float = 0.1,
        batch_size: int = 128,
        at_once: int = 32,
        accelerator: str = "auto",
        precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
        random_state: Any = None,
    ) -> None:
        self.source = source
        self.dilations = dilations
        self.soft_mask = soft_mask
        self.transfer = transfer
        self.distillation = distillation
        self.patch_window = patch_window
        self.patch_stride = patch_stride
        self.crop = crop
        self.map_stride = map_stride
        self.vote = vote
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.at_once = at_once
        self.accelerator = accelerator
        self.precision = precision
        self.random_state = random_state

    @property
    def training(self) -> PatchTraining:
        """How the networks learn."""
        return PatchTraining(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            at_once=self.at_once,
            accelerator=self.accelerator,
            precision=self.precision,
        )

    def check(self) -> None:
        """Raise :class:`StudyError` if a setting cannot be, before anything is fitted."""
        if self.transfer and not isinstance(self.source, Source):
            raise StudyError(
                "There is no source to transfer from: `gossan train-source study.toml` makes one "
                "of an area with many deposits. Name its file as source, or set transfer = false."
            )
        if not self.dilations or min(self.dilations) < 1:
            raise StudyError(f"dilations is {tuple(self.dilations)}: give numbers of at least 1.")
        if not 0 <= self.distillation < np.inf:
            raise StudyError(f"distillation is {self.distillation}: give 0 or more.")
        if self.vote not in ("share", "chance"):
            raise StudyError(f"vote is {self.vote!r}: one of share, chance.")
        for name in ("patch_window", "patch_stride", "crop", "map_stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise StudyError(f"{name} is {value}: at least 1 is needed.")
        self.training.check()

    def sizes(self, shape: Sequence[int], window: int | None = None) -> dict[str, Any]:
        """Window, crop, strides and dilations for an area of so many rows and columns.

        Parameters
        ----------
        shape : (int, int)
        window : int, optional
            In place of ``patch_window``: of patches that are cut already.

        Raises
        ------
        StudyError
            If a patch is larger than the area, a crop than a patch, or a scale reaches beyond it.
        """
        window, crop, dilations = chosen_sizes(
            shape, window or self.patch_window, self.crop, self.dilations
        )
        patch_corners(shape, window, 1)
        if crop > window:
            raise StudyError(
                f"crop is {crop} and the patches are {window} cells across: set a smaller crop."
            )
        widest = max(dilations)
        if crop - 2 * widest < 1:
            raise StudyError(
                f"A dilation of {widest} reaches {2 * widest + 1} cells across and the crop is "
                f"{crop}: set smaller dilations or a larger patch_window."
            )
        return {
            "window": window,
            "crop": crop,
            "dilations": dilations,
            "stride": self.patch_stride or max(1, window // 2),
            "map_stride": self.map_stride or max(1, crop // 8),
        }

    def fit_area(self, evidence: xr.DataArray, labels: npt.NDArray[np.integer[Any]]) -> Self:
        """Learn from the patches of an area.

        Parameters
        ----------
        evidence : xarray.DataArray
            ``(layer, y, x)``.
        labels : ndarray of shape (y, x), int
            1 deposit; 0 a cell that stands for barren ground; -1 unlabelled; -2 a cell that must
            not be seen. A patch with a deposit is positive; one without that holds barren ground is
            negative; others, and those of which less than half may be seen, do not teach.

        Raises
        ------
        LabelError
            If no patch has a deposit, or all that teach have one.
        StudyError
            If sizes or settings cannot be.
        """
        self.check()
        sizes = self.sizes(evidence.shape[1:])
        layers = [str(name) for name in evidence["layer"].to_numpy()]
        order = self.source.order(layers, sizes["crop"]) if self.transfer else None
        patches = self.patches(evidence, labels, sizes)
        self.classes_ = np.array([0, 1])
        self.n_features_in_ = len(layers)
        return self._fit_patches(patches, order, sizes)

    def patches(
        self, evidence: xr.DataArray, labels: npt.NDArray[np.integer[Any]], sizes: dict[str, Any]
    ) -> Patches:
        """The patches of an area that teach, in the scale of what may be seen."""
        seen = labels > -2
        values = np.where(seen, np.asarray(evidence.to_numpy(), dtype=np.float32), np.nan)
        self._scale(values)
        window = sizes["window"]
        corners = patch_corners(seen.shape, window, sizes["stride"])
        deposits, barren, shown = (
            patch_counts(cells, corners, window) for cells in (labels == 1, labels == 0, seen)
        )
        enough = shown >= _LEAST_SHOWN * window**2
        teaches = enough & ((deposits > 0) | (barren > 0))
        positive = deposits[teaches] > 0
        if positive.all() or not positive.any():
            raise LabelError(
                f"Of {len(corners)} patches of {window} × {window} cells {positive.sum()} that may "
                f"teach have a deposit and {(~positive).sum()} have none: both are needed. Set a "
                "smaller patch_window or patch_stride."
            )
        return Patches(self._standardised(values), positive, window, corners=corners[teaches])

    def score_area(
        self, evidence: xr.DataArray, *, progress: Callable[[int, int], None] | None = None
    ) -> FloatArray:
        """Score of every cell: the mean vote over the patches that hold it, (y, x).

        Patches lie ``map_stride`` cells apart and at the last rows and columns, so every cell is in
        one. They are as large as the crop that the networks learnt on.
        """
        check_is_fitted(self, "network_")
        crop, stride = self.sizes_["crop"], self.sizes_["map_stride"]
        shape = evidence.shape[1:]
        corners = covering_corners(shape, crop, min(stride, crop))
        values = self._standardised(np.asarray(evidence.to_numpy(), dtype=np.float32))
        everything = Patches(
            values, np.zeros(len(corners), dtype=bool), crop, corners=corners, copies=False
        )
        scores = self._scored(lambda part: everything[part][0], len(corners), progress)
        return averaged_patches(shape, corners, crop, scores)

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        self.check()
        window = X.shape[-1]
        sizes = self.sizes(X.shape[2:], window)
        self._scale(np.moveaxis(X, 1, 0).reshape(X.shape[1], -1, window))
        values = self._standardised(np.moveaxis(X, 1, 0)).transpose(0, 1)
        order = None
        if self.transfer:
            known = self.source.layers
            if len(known) != X.shape[1]:
                raise StudyError(
                    f"Patches have {X.shape[1]} layers and the source {len(known)}: give them in "
                    "the source's order, or call fit_area, which matches layers by name."
                )
            order = self.source.order(known, sizes["crop"])
        self._fit_patches(Patches(values, positive, window), order, sizes)

    def _fit_patches(
        self, patches: Patches, order: list[int] | None, sizes: dict[str, Any]
    ) -> Self:
        seed = int(check_random_state(self.random_state).randint(2**31))
        self.sizes_, self.order_ = sizes, order
        network = self._started(self.n_features_in_, seed)
        share = self.distillation
        made_of = (
            asdict(self.training), sizes, seed, share, self.soft_mask,
            patches.values.numpy(), patches.corners, patches.positive,
            self.source.learned["weights"] if self.transfer else None, order,
        )  # fmt: skip
        record = train_once(
            network,
            made_of,
            lambda checkpoint: fit_patches(
                network,
                lambda log_odds, classes: total_loss(log_odds, classes, share),
                patches,
                self.training,
                sizes["crop"],
                seed,
                checkpoint=checkpoint,
            ),
        )
        self._keep(network, record)
        return self

    def _keep(self, network: SelectiveTransferNetwork, record: TrainingRecord) -> None:
        told = [net.openness() for net in network.targets if isinstance(net, TargetNetwork)]
        self.openness_ = {
            name: float(np.mean([one[name] for one in told])) for name in (told[0] if told else ())
        }
        self.network_: dict[str, Any] = {
            "weights": {name: v.numpy() for name, v in network.folded().state_dict().items()},
            "training_loss": record.training_loss[record.best_epoch],
            "validation_loss": record.validation_loss[record.best_epoch],
            "epochs": len(record.training_loss),
        }

    def _started(self, layers: int, seed: int) -> SelectiveTransferNetwork:
        """The networks as they start."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SelectiveTransferNetwork(
                layers,
                self.sizes_["dilations"],
                large=is_large(self.sizes_["crop"]),
                source=self.source.network() if self.transfer else None,
                order=self.order_,
                soft_mask=self.soft_mask,
            )

    def _trained(self) -> SelectiveTransferNetwork:
        """The networks as they were taught, on the device that they score on."""
        with torch.random.fork_rng(devices=[]):  # what is drawn is overwritten
            network = SelectiveTransferNetwork(
                self.n_features_in_,
                self.sizes_["dilations"],
                large=is_large(self.sizes_["crop"]),
            )
        weights = self.network_["weights"]
        network.load_state_dict({name: torch.from_numpy(v) for name, v in weights.items()})
        return network.eval().to(chosen_device(self.accelerator))

    def _score_cells(self, X: FloatArray) -> FloatArray:
        windows = self._standardised(np.moveaxis(X, 1, 0)).transpose(0, 1)
        crops = middle(windows, self.sizes_["crop"])
        return self._scored(lambda part: crops[torch.from_numpy(part)], len(X), None)

    @torch.inference_mode()
    def _scored(
        self,
        crops: Callable[[IntArray], Tensor],
        count: int,
        progress: Callable[[int, int], None] | None,
    ) -> FloatArray:
        """Score of each of so many crops, which are made some at once, (count,)."""
        network = self._trained()
        device = network.mask.device
        found = np.empty(count)
        for start in range(0, count, _AT_ONCE):
            part = np.arange(start, min(start + _AT_ONCE, count))
            log_odds = network(crops(part).to(device))
            if self.vote == "share":
                score = votes(log_odds)
            else:
                score = log_odds.softmax(dim=-1)[..., 1].mean(dim=0)
            found[part] = score.cpu().numpy()
            if progress is not None:
                progress(int(part[-1]) + 1, count)
        return found

    def _scale(self, values: FloatArray) -> None:
        """Mean and standard deviation of each layer over what may be seen, (layers, …)."""
        flat = values.reshape(len(values), -1).astype(np.float64)
        observed = np.isfinite(flat)
        count = np.maximum(observed.sum(axis=1), 1)
        mean = np.where(observed, flat, 0.0).sum(axis=1) / count
        spread = np.where(observed, flat - mean[:, None], 0.0)
        deviation = np.sqrt((spread**2).sum(axis=1) / count)
        self.centre_ = mean.astype(np.float32)
        self.scale_ = np.where(deviation > 0, deviation, 1.0).astype(np.float32)

    def _standardised(self, values: FloatArray) -> Tensor:
        """Layers first: less their mean, over their deviation; where nothing is known the mean."""
        shape = (-1, *[1] * (values.ndim - 1))
        scaled = (values - self.centre_.reshape(shape)) / self.scale_.reshape(shape)
        return torch.from_numpy(np.where(np.isfinite(values), scaled, 0.0).astype(np.float32))


def train_source(
    evidence: xr.DataArray,
    labels: npt.NDArray[np.integer[Any]],
    *,
    area: str = "area",
    patch_window: int | None = None,
    patch_stride: int | None = None,
    crop: int | None = None,
    settings: PatchTraining | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Teach a network the patches of an area with many deposits, for others to take from.

    Parameters
    ----------
    evidence : xarray.DataArray
        ``(layer, y, x)``.
    labels : ndarray of shape (y, x), int
        1 deposit, 0 or -1 other ground: every patch without a deposit stands for barren ground.
    area : str
        Its name.
    patch_window, patch_stride, crop : int, optional
        As :class:`SelectiveTransferClassifier` takes them.
    settings : PatchTraining, optional
    seed : int, default 0
    progress : callable, optional
        Called with (epochs done, epochs in all).

    Raises
    ------
    LabelError
        If no patch has a deposit, or all have one.
    StudyError
        If sizes or settings cannot be.
    """
    settings = PatchTraining() if settings is None else settings
    settings.check()
    model = SelectiveTransferClassifier(
        transfer=False,
        dilations=(1,),
        patch_window=patch_window,
        patch_stride=patch_stride,
        crop=crop,
    )
    sizes = model.sizes(evidence.shape[1:])
    patches = model.patches(evidence, np.where(labels == -1, 0, labels), sizes)
    layers = [str(name) for name in evidence["layer"].to_numpy()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResNet18(len(layers), large=is_large(sizes["crop"]))
    train_once(
        network,
        (
            asdict(settings),
            sizes,
            seed,
            patches.values.numpy(),
            patches.corners,
            patches.positive,
        ),
        lambda checkpoint: fit_patches(
            network,
            functional.cross_entropy,
            patches,
            settings,
            sizes["crop"],
            seed,
            checkpoint=checkpoint,
            progress=progress,
        ),
    )
    counts = (len(patches.positive), int(patches.positive.sum()))
    return source_of(network, layers, (sizes["window"], sizes["crop"]), area, counts, settings)
