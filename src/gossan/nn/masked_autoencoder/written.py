"""A backbone in a file: tensors and a description, every part of which is checked when read."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat

from gossan.nn.learnt import (
    Arrays,
    as_arrays,
    check_array,
    check_kind,
    check_names,
    check_weights,
    network_weights,
)
from gossan.nn.masked_autoencoder.network import Architecture, MaskedAutoencoder
from gossan.nn.masked_autoencoder.settings import Pretraining

_KIND = "masked autoencoder"
_OF_LAYERS = {"binary": "bool", "centre": "float32", "scale": "float32"}
"""Arrays with a value a layer, and what they hold."""


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
    plain = {n: v for n, v in learned.items() if n not in (*_OF_LAYERS, "weights")}
    return {**arrays, **as_arrays(learned["weights"])}, {**plain, "kind": _KIND}


def as_read(arrays: Arrays, record: dict[str, Any]) -> dict[str, Any]:
    """What a backbone has learned, from what :func:`as_written` made of it.

    Raises
    ------
    ValueError, LookupError, StudyError
        If a part is lacking, of another kind or size than the others, or no number.
    """
    check_kind(record, _KIND)
    told = _Written.model_validate_json(json.dumps(record))  # of JSON: no dataclasses as yet
    told.architecture.check()
    check_names(told.layers)
    for name, kind in _OF_LAYERS.items():
        check_array(name, arrays[name], (len(told.layers),), kind)
    if not (arrays["scale"] > 0).all():
        raise ValueError("the scale of a layer is not above 0")
    weights, sizes = network_weights(arrays), told.architecture
    if sizes.blocks + sizes.decoder_blocks > len(weights):
        raise ValueError("its network has more blocks than it has weights")
    check_weights(weights, lambda: MaskedAutoencoder(len(told.layers), sizes))
    return {
        **{name: arrays[name] for name in _OF_LAYERS},
        "weights": weights,
        "layers": told.layers,
        "architecture": asdict(sizes),
        "description": told.description.model_dump(),
    }
