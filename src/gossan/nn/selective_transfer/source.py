"""A source: a network that has learnt a larger task, kept in a file and never changed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from gossan import io
from gossan.exceptions import StudyError
from gossan.mistakes import suggest
from gossan.nn.learnt import (
    Arrays,
    as_arrays,
    check_kind,
    check_names,
    check_weights,
    network_weights,
    read_learnt,
)
from gossan.nn.selective_transfer.network import ResNet18, is_large
from gossan.nn.selective_transfer.training import PatchTraining

_KIND = "source of selective transfer"


class _Written(BaseModel):
    """The JSON beside the weights of a source."""

    model_config = ConfigDict(strict=True)

    kind: Literal["source of selective transfer"]
    layers: Annotated[list[str], Field(min_length=1)]
    window: PositiveInt
    crop: PositiveInt
    area: str
    patches: PositiveInt
    with_deposits: PositiveInt
    settings: PatchTraining


class Source:
    """A network that tells patches with a deposit from others, of an area with many.

    It does not change any more: a clone of it is itself.

    Parameters
    ----------
    learned : dict
        Plain values and arrays: ``weights`` of a :class:`ResNet18`; ``layers`` in the network's
        order, ``window`` and ``crop`` of the patches, ``area``, ``patches`` that it learnt from,
        how many ``with_deposits``, and ``settings``.
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

    def network(self) -> ResNet18:
        """The network itself, ready to score."""
        with torch.random.fork_rng(devices=[]):  # what is drawn is overwritten
            network = ResNet18(len(self.layers), large=is_large(self.crop))
        weights = self.learned["weights"]
        network.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in weights.items()})
        return network.eval()

    def order(self, layers: list[str], crop: int) -> list[int]:
        """For each layer of a study its place in the source; -1 where the source lacks it.

        Raises
        ------
        StudyError
            If no layer is shared, or kernels for patches of that size have another shape.
        """
        if is_large(crop) != is_large(self.crop):
            raise StudyError(
                f"The source looks at {self.crop} cells across and this study at {crop}: their "
                "first kernels have other shapes, 7 × 7 from 64 cells on and 3 × 3 below. Set a "
                f"window near {self.window}, or train a source on patches of this size."
            )
        own = {name: place for place, name in enumerate(self.layers)}
        order = [own.get(name, -1) for name in layers]
        if max(order) < 0:
            near = [f"{name!r}:{suggest(name, self.layers)}" for name in layers[:3]]
            raise StudyError(
                f"The source shares none of the study's {len(layers)} layers. It knows "
                f"{', '.join(self.layers[:5])}, …; the study has {', '.join(layers[:5])}, … "
                f"{' '.join(near)} Name the same layers alike, or train another source."
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


def source_of(
    network: ResNet18,
    layers: list[str],
    sizes: tuple[int, int],
    area: str,
    counts: tuple[int, int],
    settings: PatchTraining,
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
    counts : (int, int)
        Patches, and those with deposits.
    settings : PatchTraining
    """
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    learned = {
        "weights": weights,
        "layers": layers,
        "window": sizes[0],
        "crop": sizes[1],
        "area": area,
        "patches": counts[0],
        "with_deposits": counts[1],
        "settings": asdict(settings),
    }
    return Source(learned)


def _read(arrays: Arrays, record: dict[str, Any]) -> dict[str, Any]:
    check_kind(record, _KIND)
    told = _Written.model_validate_json(json.dumps(record))
    check_names(told.layers)
    if told.crop > told.window:
        raise ValueError(f"its crop of {told.crop} is larger than its window of {told.window}")
    weights = network_weights(arrays)
    check_weights(weights, lambda: ResNet18(len(told.layers), large=is_large(told.crop)))
    return {"weights": weights, **told.model_dump(exclude={"kind"})}
