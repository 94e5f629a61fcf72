"""What a network has learnt, in a file of its own: every part is checked when it is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import nn

from gossan import io
from gossan.exceptions import StudyError, SurveyDataError

Arrays = dict[str, npt.NDArray[Any]]
T = TypeVar("T")

_NETWORK = "network/"


def read_learnt(
    file: str | os.PathLike[str],
    read: Callable[[Arrays, dict[str, Any]], T],
    what: str,
    made_by: str,
) -> T:
    """What a function makes of the arrays and the description in a file.

    Parameters
    ----------
    file : path-like
    read : callable
        Raises ValueError, LookupError or TypeError where they cannot be.
    what, made_by : str
        What the file should hold, and the command that makes one.

    Raises
    ------
    SurveyDataError
        If the file is missing, cut short, a pickle, of another version, or holds something else.
    """
    arrays, description = io.read_weights(file)
    try:
        return read(arrays, description)
    except (LookupError, TypeError, ValueError, RuntimeError, StudyError) as error:
        reason: object = error
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
        raise SurveyDataError(
            f"{file} is no {what}, or is damaged ({reason}). `{made_by}` makes one."
        ) from error


def check_kind(description: dict[str, Any], kind: str) -> None:
    """Raise ValueError unless a description is of that kind."""
    if description.get("kind") != kind:
        raise ValueError(f"it holds {description.get('kind', 'another network')}")


def check_names(layers: list[str]) -> None:
    """Raise ValueError if two layers have one name."""
    if len(set(layers)) < len(layers):
        raise ValueError("two of its layers have one name")


def as_arrays(weights: Arrays) -> Arrays:
    """A network's weights under the names that they have in a file."""
    return {f"{_NETWORK}{name}": value for name, value in weights.items()}


def network_weights(arrays: Arrays) -> Arrays:
    """A network's weights among the arrays of a file, under their own names."""
    return {
        name.removeprefix(_NETWORK): value
        for name, value in arrays.items()
        if name.startswith(_NETWORK)
    }


def check_weights(weights: Arrays, build: Callable[[], nn.Module]) -> None:
    """Raise ValueError unless weights are finite and those of a network.

    Parameters
    ----------
    weights : dict of str to ndarray
    build : callable
        Makes the network; called for its sizes alone, so that no memory is taken at the word of a
        damaged file.

    Examples
    --------
    >>> check_weights({"weight": np.zeros((1, 2), np.float32)}, lambda: nn.Linear(3, 1, bias=False))
    Traceback (most recent call last):
    ValueError: weight is float32 (1, 2), not float32 (1, 3)
    """
    with torch.device("meta"):
        expected = build().state_dict()
    if set(weights) != set(expected):
        raise ValueError("its weights are not those of its network")
    for name, value in weights.items():
        like = expected[name]
        check_array(name, value, tuple(like.shape), str(like.dtype).removeprefix("torch."))


def check_array(name: str, values: npt.NDArray[Any], shape: tuple[int, ...], kind: str) -> None:
    """Raise ValueError unless an array has a shape and a dtype, and is finite."""
    if values.shape != shape or values.dtype.name != kind:
        raise ValueError(f"{name} is {values.dtype} {values.shape}, not {kind} {shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds values that are no numbers")
