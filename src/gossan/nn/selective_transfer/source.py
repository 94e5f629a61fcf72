"""A source: a network that has learnt a larger task, kept in a file and never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt
from torch.nn import functional

from gossan import io
from gossan.exceptions import StudyError
from gossan.mistakes import near_names
from gossan.nn.learnt import (
    Arrays,
    as_arrays,
    check_kind,
    check_names,
    check_weights,
    network_weights,
    read_learnt,
)
from gossan.nn.selective_transfer.areas import Labels, area_patches
from gossan.nn.selective_transfer.network import AT_ONCE, PUBLISHED_WIDTH, ResNet18, is_large
from gossan.nn.selective_transfer.patches import PatchSizes, chosen_sizes, confusion
from gossan.nn.selective_transfer.training import Patches, PatchTraining, fit_patches, middle
from gossan.nn.training import train_once

BoolArray = npt.NDArray[np.bool_]

_KIND = "source of selective transfer"
_WIDEST = 65_536
"""Cells across a patch that no study has: a file that tells of more is damaged."""


class _Written(BaseModel):
    """The JSON beside the weights of a source."""

    model_config = ConfigDict(strict=True)

    kind: Literal["source of selective transfer"]
    layers: Annotated[list[str], Field(min_length=1)]
    window: Annotated[PositiveInt, Field(le=_WIDEST)]
    crop: PositiveInt
    width: PositiveInt
    area: str
    patches: PositiveInt
    with_deposits: PositiveInt
    confusion: dict[Literal["tp", "fn", "tn", "fp"], NonNegativeInt]
    settings: PatchTraining
    deposits: list[str] = []


class Source:
    """A network that tells patches with a deposit from others, of an area with many.

    It does not change any more: a clone of it is itself.

    Parameters
    ----------
    learned : dict
        Plain values and arrays: ``weights`` of a :class:`ResNet18`; ``layers`` in the network's
        order, ``window`` and ``crop`` of the patches, ``width`` of the network, ``area``,
        ``patches`` that it learnt from, how many ``with_deposits``, their ``confusion`` by it,
        ``settings``, and ``deposits``, a digest of the place of each that it learnt.
    """

    def __init__(self, learned: dict[str, Any]) -> None:
        self.learned = learned

    @property
    def layers(self) -> list[str]:
        """Names of the evidence layers, in the network's order."""
        return self.learned["layers"]

    @property
    def window(self) -> int:
        """Cells across its patches."""
        return self.learned["window"]

    @property
    def crop(self) -> int:
        """Cells across what it looks at of a patch."""
        return self.learned["crop"]

    @property
    def confusion(self) -> dict[str, int]:
        """How many of the patches it learnt from it tells right and wrong."""
        return self.learned["confusion"]

    @property
    def width(self) -> int:
        """Channels of the network's first stage."""
        return self.learned["width"]

    def network(self) -> ResNet18:
        """The network itself, ready to score."""
        with torch.random.fork_rng(devices=[]):  # what is drawn is overwritten
            network = ResNet18(len(self.layers), large=is_large(self.crop), width=self.width)
        weights = self.learned["weights"]
        network.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in weights.items()})
        return network.eval()

    def check_kernels(self, crop: int) -> None:
        """Raise :class:`StudyError` if kernels for so wide a crop have another shape than these."""
        if is_large(crop) != is_large(self.crop):
            raise StudyError(
                f"The source looks at {self.crop} cells across and this study at {crop}: their "
                "first kernels have other shapes, 7 × 7 from 64 cells on and 3 × 3 below. Set a "
                f"window near {self.window}, or train a source on patches of this size."
            )

    def order(self, layers: list[str]) -> list[int]:
        """For each layer of a study its place in the source; -1 where the source lacks it.

        Raises
        ------
        StudyError
            If no layer is shared.
        """
        own = {name: place for place, name in enumerate(self.layers)}
        order = [own.get(name, -1) for name in layers]
        if max(order) < 0:
            raise StudyError(
                f"The source shares none of the study's {len(layers)} layers. It knows "
                f"{_some(self.layers)}; the study has {_some(layers)}."
                f"{near_names(layers, self.layers)} Name the same layers alike, or train another "
                "source."
            )
        return order

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write it as one ``.safetensors`` file, which holds numbers and text alone."""
        plain = dict(self.learned)
        weights = as_arrays(plain.pop("weights"))
        io.write_weights(file, weights, {**plain, "kind": _KIND})

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; nothing in the file is executed.

        Raises
        ------
        SurveyDataError
            If the file is missing, cut short, a pickle, of another version, or no source.
        """
        return cls(read_learnt(file, _read, "source", "gossan train-source"))

    def __sklearn_clone__(self) -> Source:
        return self

    def __repr__(self) -> str:
        return (
            f"Source({len(self.layers)} layers of {self.learned['area']!r}, window={self.window})"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def source_of(
    network: ResNet18,
    layers: list[str],
    sizes: tuple[int, int],
    area: str,
    counts: dict[str, int],
    settings: PatchTraining,
    deposits: Sequence[str] = (),
) -> Source:
    """A source of a trained network.

    Parameters
    ----------
    network : ResNet18
    layers : list of str
    sizes : (int, int)
        Window and crop.
    area : str
        Name of the area.
    counts : dict of str to int
        Confusion of the patches learnt from.
    settings : PatchTraining
    deposits : sequence of str
        Digests of their places.
    """
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    learned = {
        "weights": weights,
        "layers": layers,
        "window": sizes[0],
        "crop": sizes[1],
        "width": network.width,
        "area": area,
        "patches": sum(counts.values()),
        "with_deposits": counts["tp"] + counts["fn"],
        "confusion": counts,
        "settings": asdict(settings),
        "deposits": list(deposits),
    }
    return Source(learned)


def check_source(
    shape: Sequence[int],
    *,
    patch_window: int | None = None,
    patch_stride: int | None = None,
    crop: int | None = None,
    width: int = PUBLISHED_WIDTH,
) -> PatchSizes:
    """Sizes of the patches of a source, for an area of so many rows and columns.

    Raises
    ------
    StudyError
        If they cannot be.
    """
    given = {"width": width, "patch_window": patch_window, "patch_stride": patch_stride}
    for name, value in {**given, "crop": crop}.items():
        if value is not None and value < 1:
            raise StudyError(f"{name} is {value}: at least 1 is needed.")
    return chosen_sizes(shape, (1,), window=patch_window, crop=crop, stride=patch_stride)


def train_source(
    evidence: xr.DataArray,
    labels: Labels,
    *,
    area: str = "area",
    patch_window: int | None = None,
    patch_stride: int | None = None,
    crop: int | None = None,
    width: int = PUBLISHED_WIDTH,
    settings: PatchTraining | None = None,
    deposits: Sequence[str] = (),
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
    width : int, default 64
        Channels of the first stage, as :class:`ResNet18` takes it; targets are as wide.
    settings : PatchTraining, optional
    deposits : sequence of str
        Digests of the deposits' places, by which a study that shares one is told.
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
    sizes = check_source(
        evidence.shape[1:],
        patch_window=patch_window,
        patch_stride=patch_stride,
        crop=crop,
        width=width,
    )
    patches, _ = area_patches(evidence, np.where(labels == -1, 0, labels), sizes)
    layers = [str(name) for name in evidence["layer"].to_numpy()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResNet18(len(layers), large=is_large(sizes.crop), width=width)
    train_once(
        network,
        (
            asdict(settings),
            (sizes.window, sizes.crop, sizes.stride, width),
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
            sizes.crop,
            seed,
            checkpoint=checkpoint,
            progress=progress,
        ),
    )
    counts = confusion(patches.positive, _found(network, patches, sizes.crop))
    sizes_of = (sizes.window, sizes.crop)
    return source_of(network, layers, sizes_of, area, counts, settings, deposits)


@torch.inference_mode()
def _found(network: ResNet18, patches: Patches, crop: int) -> BoolArray:
    """Which of the patches, by their middles, are said to have a deposit."""
    network.eval()
    once = patches.with_copies(0)
    parts = [
        network(middle(once[np.arange(start, min(start + AT_ONCE, len(once)))][0], crop))
        for start in range(0, len(once), AT_ONCE)
    ]
    log_odds = torch.cat(parts)
    return (log_odds[:, 1] > log_odds[:, 0]).numpy()


def _read(arrays: Arrays, record: dict[str, Any]) -> dict[str, Any]:
    check_kind(record, _KIND)
    told = _Written.model_validate_json(json.dumps(record))
    check_names(told.layers)
    if told.crop > told.window:
        raise ValueError(f"its crop of {told.crop} is larger than its window of {told.window}")
    weights = network_weights(arrays)
    check_weights(
        weights,
        lambda: ResNet18(len(told.layers), large=is_large(told.crop), width=told.width),
    )
    return {"weights": weights, **told.model_dump(exclude={"kind"})}
