"""A backbone in a file: tensors and a description, every part of which is checked when read."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat

from gossan.nn.masked_autoencoder.network import Architecture, MaskedAutoencoder
from gossan.nn.masked_autoencoder.settings import Pretraining

Arrays = dict[str, npt.NDArray[Any]]

_KIND = "masked autoencoder"
_OF_LAYERS = {"binary": np.bool_, "centre": np.float32, "scale": np.float32}
"""Arrays with a value a layer, and what they hold."""
_NETWORK = "network/"


class _Description(BaseModel):
    """What a backbone has learnt from, and how."""

    model_config = ConfigDict(strict=True)

    settings: Pretraining
    areas: list[str]
    layers: list[str] = Field(default_factory=list)
    units: dict[str, str] = Field(default_factory=dict)
    cell_size: Annotated[PositiveFloat, Field(allow_inf_nan=False)] | None = None
    training_loss: list[FiniteFloat] = Field(default_factory=list)
    validation_loss: list[FiniteFloat] = Field(default_factory=list)
    best_epoch: int = -1


class _Written(BaseModel):
    """The JSON beside the tensors of a backbone."""

    model_config = ConfigDict(strict=True)

    kind: Literal["masked autoencoder"]
    layers: Annotated[list[str], Field(min_length=1)]
    architecture: Architecture
    description: _Description


def as_written(learned: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    """What a backbone has learned as tensors and plain JSON values."""
    arrays = {name: learned[name] for name in _OF_LAYERS}
    weights = {f"{_NETWORK}{name}": value for name, value in learned["weights"].items()}
    plain = {n: v for n, v in learned.items() if n not in (*_OF_LAYERS, "weights")}
    return {**arrays, **weights}, {**plain, "kind": _KIND}


def as_read(arrays: Arrays, record: dict[str, Any]) -> dict[str, Any]:
    """What a backbone has learned, from what :func:`as_written` made of it.

    Raises
    ------
    ValueError, LookupError, StudyError
        If a part is lacking, of another kind or size than the others, or no number.
    """
    if record.get("kind") != _KIND:
        raise ValueError(f"it holds {record.get('kind', 'another network')}")
    told = _Written.model_validate_json(json.dumps(record))  # of JSON: no dataclasses as yet
    told.architecture.check()
    if len(set(told.layers)) < len(told.layers):
        raise ValueError("two of its layers have one name")
    weights = {
        name.removeprefix(_NETWORK): value
        for name, value in arrays.items()
        if name.startswith(_NETWORK)
    }
    for name, kind in _OF_LAYERS.items():
        _check(name, arrays[name], (len(told.layers),), kind)
    if not (arrays["scale"] > 0).all():
        raise ValueError("the scale of a layer is not above 0")
    sizes = told.architecture
    if sizes.blocks + sizes.decoder_blocks > len(weights):
        raise ValueError("its network has more blocks than it has weights")
    with torch.device("meta"):  # sizes alone: no memory is taken at a damaged file's word
        network = MaskedAutoencoder(len(told.layers), sizes)
    expected = network.state_dict()
    if set(weights) != set(expected):
        raise ValueError("its weights are not those of its network")
    for name, value in weights.items():
        _check(name, value, tuple(expected[name].shape), np.float32)
    return {
        **{name: arrays[name] for name in _OF_LAYERS},
        "weights": weights,
        "layers": told.layers,
        "architecture": asdict(sizes),
        "description": told.description.model_dump(),
    }


def _check(name: str, values: npt.NDArray[Any], shape: tuple[int, ...], kind: type) -> None:
    if values.shape != shape or values.dtype != kind:
        raise ValueError(f"{name} is {values.dtype} {values.shape}, not {kind.__name__} {shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds values that are no numbers")
