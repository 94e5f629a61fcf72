"""The estimator: target networks of several scales that take of a source what helps, and vote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from gossan.evidence import valid_cells
from gossan.exceptions import StudyError
from gossan.models import CellClassifier
from gossan.nn.devices import chosen_device
from gossan.nn.selective_transfer.areas import LEAST_SHOWN, Labels, area_patches, without_gaps
from gossan.nn.selective_transfer.dense import dense_scores, network_step
from gossan.nn.selective_transfer.network import (
    AT_ONCE,
    PUBLISHED_WIDTH,
    SelectiveTransferNetwork,
    TargetNetwork,
    is_large,
    mean_chance,
    total_loss,
    votes,
)
from gossan.nn.selective_transfer.patches import (
    PUBLISHED_DILATIONS,
    PatchSizes,
    averaged_patches,
    chosen_sizes,
    confusion,
    covering_corners,
    patch_corners,
    patch_counts,
)
from gossan.nn.selective_transfer.removal import chance_lost, ordinary_ground
from gossan.nn.selective_transfer.source import Source
from gossan.nn.selective_transfer.training import Patches, PatchTraining, fit_patches, middle
from gossan.nn.standard import Standard, standard_of
from gossan.nn.training import TrainingRecord, train_once

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


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
        A target network each. The published ones are scaled down with a smaller crop; others are
        taken as they are.
    soft_mask : bool, default True
        Whether layers have learned weights.
    transfer : bool, default True
        Whether kernels are a source's; otherwise all start at random.
    distillation : float, default 0.7
        β of the source: 0 for none.
    patch_window, patch_stride, crop : int or None, default None
        Cells across a patch, from one to the next, and across what the networks look at, drawn at
        random from the patch in every epoch. Published: 256, 128 and 224, on 3,072 × 3,072 cells;
        of a smaller area the window is a power of two near a sixth of its shorter side, the crop
        seven eighths of it, and the stride half a window or less, for 200 patches.
    map_stride : int or None, default None
        Cells from patch to patch where an area is mapped; default: a seventh of the crop. Of a
        dense map it is the network's own: 32 cells, 8 of crops below 64.
    mapping : {"patches", "dense"}, default "patches"
        How an area is mapped. ``"dense"`` puts the whole area through the networks at once, where
        patches overlap only once, and at their edges patches then see what lies beyond in place of
        nothing.
    vote : {"share", "chance"}, default "share"
        ``"share"``: of the networks that vote for a deposit, as published. ``"chance"``: their mean
        chance of one, which ranks patches that get as many votes.
    width : int or None, default None
        Channels of a network's first stage: the source's, and without a source 64, as published.
    epochs, learning_rate, batch_size, at_once : int or float
        As :class:`PatchTraining` has them; default: as published. The rate is halved five times.
    accelerator : str, default "auto"
    precision : {"32-true", "bf16-mixed", "16-mixed"}, default "32-true"
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    network_ : dict
        ``weights`` of the networks, with the kernels as they are used; losses and epochs.
    sizes_ : dict
        ``window``, ``crop``, ``dilations`` and strides as they were chosen.
    order_ : list of int or None
        For each layer its place in the source, -1 where the source lacks it; None without transfer.
    mask_ : ndarray of shape (layers,)
        Weight of each layer in the soft mask.
    openness_ : dict of str to float
        Mean of abs(P) of each kernel, from the first to the last, over the target networks; empty
        without transfer.
    layer_openness_ : ndarray of shape (layers,)
        The same of the first kernel, layer by layer; NaN where nothing is transferred.
    patch_counts_ : dict of str to int
        ``patches`` learnt from, and those with a deposit, ``positive``.
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
    attributed_by: ClassVar[str] = "removal"
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
        mapping: Literal["patches", "dense"] = "patches",
        vote: Literal["share", "chance"] = "share",
        width: int | None = None,
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
        self.mapping = mapping
        self.vote = vote
        self.width = width
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
        if list(self.dilations) != sorted(self.dilations):
            raise StudyError(
                f"dilations is {tuple(self.dilations)}: give them ascending, since networks of "
                "larger maps, whose dilation is smaller, guide those after them."
            )
        if not 0 <= self.distillation < np.inf:
            raise StudyError(f"distillation is {self.distillation}: give 0 or more.")
        for name, known in (("vote", ("share", "chance")), ("mapping", ("patches", "dense"))):
            if getattr(self, name) not in known:
                raise StudyError(f"{name} is {getattr(self, name)!r}: one of {', '.join(known)}.")
        if isinstance(self.source, Source) and self.width not in (None, self.source.width):
            raise StudyError(
                f"width is {self.width} and the source's networks are {self.source.width} wide: "
                "leave width out, or train a source of that width."
            )
        for name in ("patch_window", "patch_stride", "crop", "map_stride", "width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise StudyError(f"{name} is {value}: at least 1 is needed.")
        self.training.check()

    @property
    def idle(self) -> tuple[str, ...]:  # type: ignore[override]
        """Settings that make no difference beside the others."""
        found = []
        if self.mapping == "dense":
            found.append("map_stride")
        if self.source is not None:
            found.append("width")
        return tuple(found)

    def sizes(self, shape: Sequence[int], window: int | None = None) -> PatchSizes:
        """Window, crop, strides and dilations for an area of so many rows and columns.

        Parameters
        ----------
        shape : (int, int)
        window : int, optional
            In place of ``patch_window``: of patches that are cut already.

        Raises
        ------
        StudyError
            If a patch is larger than the area, a crop than a patch, a scale reaches beyond it, or
            kernels of that size are not of the source's shape.
        """
        self.check()
        found = chosen_sizes(
            shape,
            self.dilations,
            window=window or self.patch_window,
            crop=self.crop,
            stride=self.patch_stride,
            map_stride=self.map_stride,
        )
        if self.transfer:
            self.source.check_kernels(found.crop)
        if self.mapping == "dense":
            return replace(found, map_stride=network_step(large=is_large(found.crop)))
        return found

    def fit_area(self, evidence: xr.DataArray, labels: Labels) -> Self:
        """Learn from the patches of an area.

        Parameters
        ----------
        evidence : xarray.DataArray
            ``(layer, y, x)``.
        labels : ndarray of shape (y, x), int
            1 deposit, 0 barren, -1 unlabelled, -2 not to be seen: :func:`area_patches` says which
            patches teach.

        Raises
        ------
        LabelError
            If no patch has a deposit, or all that teach have one.
        StudyError
            If sizes or settings cannot be.
        """
        sizes = self.sizes(evidence.shape[1:])
        layers = [str(name) for name in evidence["layer"].to_numpy()]
        order = self.source.order(layers) if self.transfer else None
        patches, standard = area_patches(evidence, labels, sizes)
        self.centre_, self.scale_ = standard.centre, standard.scale
        self.classes_ = np.array([0, 1])
        self.n_features_in_ = len(layers)
        return self._fit_patches(patches, order, sizes)

    def score_area(
        self, evidence: xr.DataArray, *, progress: Callable[[int, int], None] | None = None
    ) -> FloatArray:
        """Score of every cell: the mean vote over the patches that hold it, (y, x).

        Patches lie ``map_stride`` cells apart and at the last rows and columns, so every cell is in
        one. They are as large as the crop that the networks learnt on.
        """
        check_is_fitted(self, "network_")
        values = without_gaps(self._standard, np.asarray(evidence.to_numpy(), dtype=np.float32))
        shape, crop = values.shape[1:], self.sizes_["crop"]
        if self.mapping == "dense":
            corners, scores = dense_scores(
                self._trained(), values, crop, self._voted, progress=progress
            )
        else:
            corners = covering_corners(shape, crop, self.sizes_["map_stride"])
            scores = self._patch_scores(values, corners, crop, progress, self._voted)
        reached = corners.max(axis=0) + crop  # a dense map ends with whole steps
        return averaged_patches(reached, corners, crop, scores)[: shape[0], : shape[1]]

    def attribute(
        self,
        evidence: xr.DataArray,
        cells: IntArray,
        *,
        background: FloatArray,
        members: Sequence[Any] | None = None,
        skip_failed: bool = False,  # noqa: ARG002  (a removal always adds up to itself)
        progress: Callable[[int, int], None] | None = None,
    ) -> FloatArray:
        """What each layer adds to the chance of a deposit in the patch round a cell.

        How far the networks' mean chance falls where the layer is, in the whole patch, what it is
        on the mean of the background. The patch is the one centred on the cell, moved into the area
        at its edge.

        Parameters
        ----------
        evidence : xarray.DataArray
            ``(layer, y, x)``.
        cells : ndarray of shape (n, 2)
            Rows and columns.
        background : ndarray of shape (m, layers)
            Cells of ordinary ground.
        members : sequence of SelectiveTransferClassifier, optional
            Over which the mean is taken; default: this one.
        skip_failed : bool
            Of no consequence here.
        progress : callable, optional
            Called with (cells done, cells in all).

        Returns
        -------
        ndarray of shape (n, layers)
        """
        chosen: Sequence[Any] = [self] if members is None else members
        found = np.zeros((len(cells), len(evidence)))
        for number, member in enumerate(chosen):
            check_is_fitted(member, "network_")
            tell = None
            if progress is not None:
                tell = partial(_from, progress, number * len(cells), len(chosen) * len(cells))
            standard, crop = member._standard, member.sizes_["crop"]
            values = without_gaps(standard, np.asarray(evidence.to_numpy(), dtype=np.float32))
            ordinary = ordinary_ground(standard, background)
            found += chance_lost(member._trained(), values, cells, ordinary, crop, tell)
        return found / len(chosen)

    def judge_area(
        self, evidence: xr.DataArray, positive: BoolArray, *, stride: int | None = None
    ) -> dict[str, int]:
        """How many patches of an area, with a deposit and without, are told right and wrong.

        A patch counts as found where more than half of the networks vote for a deposit, whatever
        ``vote`` is for maps. Patches of which less than half has evidence do not count.

        Parameters
        ----------
        evidence : xarray.DataArray
            ``(layer, y, x)``; of another area than the one learnt from, to be of any worth.
        positive : ndarray of shape (y, x), bool
            Deposits.
        stride : int, optional
            Cells from patch to patch; default: as patches were cut to learn from.

        Returns
        -------
        dict of str to int
            ``tp``, ``fn``, ``tn``, ``fp``: :func:`patch_figures` makes figures of them.
        """
        check_is_fitted(self, "network_")
        window, stride = self.sizes_["window"], stride or self.sizes_["stride"]
        values = without_gaps(self._standard, np.asarray(evidence.to_numpy(), dtype=np.float32))
        corners = patch_corners(values.shape[1:], window, stride)
        shown = patch_counts(valid_cells(evidence), corners, window)
        corners = corners[shown >= LEAST_SHOWN * window**2]
        truth = patch_counts(positive, corners, window) > 0
        return confusion(truth, self._patch_scores(values, corners, window, None, votes) > 0.5)

    def _patch_scores(
        self,
        values: Tensor,
        corners: IntArray,
        window: int,
        progress: Callable[[int, int], None] | None,
        voted: Callable[[Tensor], Tensor],
    ) -> FloatArray:
        """Score of each patch of an area, by its middle, (n,)."""
        everything = Patches(
            values, np.zeros(len(corners), dtype=bool), window, corners=corners, copies=0
        )
        crop = self.sizes_["crop"]
        return self._scored(
            lambda part: middle(everything[part][0], crop), len(corners), progress, voted
        )

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        if X.ndim != 4 or X.shape[2] != X.shape[3]:
            raise StudyError(
                f"Patches are (n, layers, window, window); these are {X.shape}. Of an area, "
                "fit_area cuts them."
            )
        window = X.shape[-1]
        sizes = self.sizes(X.shape[2:], window)
        layers_first = np.moveaxis(X, 1, 0)
        standard = standard_of(layers_first)
        self.centre_, self.scale_ = standard.centre, standard.scale
        values = without_gaps(standard, layers_first).transpose(0, 1)
        order = None
        if self.transfer:
            known = self.source.layers
            if len(known) != X.shape[1]:
                raise StudyError(
                    f"Patches have {X.shape[1]} layers and the source {len(known)}: give them in "
                    "the source's order, or call fit_area, which matches layers by name."
                )
            order = self.source.order(known)
        self._fit_patches(Patches(values, positive, window), order, sizes)

    def _fit_patches(self, patches: Patches, order: list[int] | None, sizes: PatchSizes) -> Self:
        seed = int(check_random_state(self.random_state).randint(2**31))
        self.sizes_, self.order_ = asdict(sizes), order
        positive = patches.positive
        self.patch_counts_ = {"patches": len(positive), "positive": int(positive.sum())}
        network = self._started(self.n_features_in_, seed)
        share = self.distillation
        made_of = (
            asdict(self.training), replace(sizes, map_stride=0), seed, share, self.soft_mask,
            self.network_width,
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
                sizes.crop,
                seed,
                checkpoint=checkpoint,
            ),
        )
        self._keep(network, record)
        return self

    def _keep(self, network: SelectiveTransferNetwork, record: TrainingRecord) -> None:
        gated = [net for net in network.targets if isinstance(net, TargetNetwork)]
        told = [net.openness() for net in gated]
        self.openness_ = {
            name: float(np.mean([one[name] for one in told])) for name in (told[0] if told else ())
        }
        self.layer_openness_ = np.full(len(network.mask), np.nan)
        if gated:
            known = np.array(self.order_) >= 0
            layers = np.mean([net.layer_openness() for net in gated], axis=0)
            self.layer_openness_[known] = layers[known]
        self.mask_ = network.mask.detach().numpy().copy()
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
                width=self.network_width,
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
                width=self.network_width,
            )
        weights = self.network_["weights"]
        network.load_state_dict({name: torch.from_numpy(v) for name, v in weights.items()})
        return network.eval().to(chosen_device(self.accelerator))

    def _score_cells(self, X: FloatArray) -> FloatArray:
        windows = without_gaps(self._standard, np.moveaxis(X, 1, 0)).transpose(0, 1)
        crops = middle(windows, self.sizes_["crop"])
        return self._scored(lambda part: crops[torch.from_numpy(part)], len(X), None, self._voted)

    @torch.inference_mode()
    def _scored(
        self,
        crops: Callable[[IntArray], Tensor],
        count: int,
        progress: Callable[[int, int], None] | None,
        voted: Callable[[Tensor], Tensor],
    ) -> FloatArray:
        """Score of each of so many crops, which are made some at once, (count,)."""
        network = self._trained()
        device = network.mask.device
        found = np.empty(count)
        for start in range(0, count, AT_ONCE):
            part = np.arange(start, min(start + AT_ONCE, count))
            found[part] = voted(network(crops(part).to(device))).cpu().numpy()
            if progress is not None:
                progress(int(part[-1]) + 1, count)
        return found

    @property
    def _voted(self) -> Callable[[Tensor], Tensor]:
        """From log-odds (m, …, 2) to the score of each, (…)."""
        return votes if self.vote == "share" else mean_chance

    @property
    def _standard(self) -> Standard:
        return Standard(self.centre_, self.scale_)

    @property
    def network_width(self) -> int:
        """Channels of a network's first stage."""
        if isinstance(self.source, Source):
            return self.source.width
        return PUBLISHED_WIDTH if self.width is None else self.width


def _from(progress: Callable[[int, int], None], first: int, total: int, done: int) -> None:
    progress(first + done, total)
