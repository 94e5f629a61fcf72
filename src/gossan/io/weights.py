"""Weights of networks on disk: safetensors, which hold numbers and text and nothing to execute."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gossan.exceptions import StudyError, SurveyDataError
from gossan.io.files import replacing

NETWORKS = "GOSSAN_NETWORKS"
"""Environment variable: a folder in which trained networks are kept by what they learnt from."""

_kept: ContextVar[Path | None] = ContextVar("networks_kept", default=None)
_VERSION = 1
_DESCRIPTION = "gossan"


def write_weights(
    file: str | os.PathLike[str],
    weights: Mapping[str, npt.NDArray[Any]],
    description: Mapping[str, Any],
) -> None:
    """Write a network's weights with a description as JSON in the same file.

    Parameters
    ----------
    file : path-like
        ``.safetensors``; replaced as a whole or not at all.
    weights : mapping of str to ndarray
    description : mapping
        Plain JSON values: what the network is, the layers it knows, …

    Raises
    ------
    StudyError
        If safetensors is not installed.
    """
    tensors = {name: np.asarray(value, order="C") for name, value in weights.items()}
    text = json.dumps({**description, "format": _VERSION}, sort_keys=True)
    content = _safetensors().save(tensors, metadata={_DESCRIPTION: text})
    with replacing(Path(file)) as partial:
        partial.write_bytes(content)


def read_weights(
    file: str | os.PathLike[str],
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_weights` wrote.

    Parameters
    ----------
    file : path-like

    Returns
    -------
    weights : dict of str to ndarray
    description : dict

    Raises
    ------
    SurveyDataError
        If the file is missing, truncated, of another format (a pickle, for one) or not gossan's.
    """
    path = Path(file)
    library = _safetensors()
    if not path.is_file():
        raise SurveyDataError(f"There are no weights at {path}.")
    content = path.read_bytes()
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        weights = library.load(content)
        description = dict(json.loads(header["__metadata__"][_DESCRIPTION]))
    except Exception as error:  # whatever the bytes are, they are no weights
        raise SurveyDataError(
            f"{path} holds no weights of gossan, or was cut short ({error}). Nothing in it was "
            "executed. Train the network again to make it."
        ) from error
    if description.get("format") != _VERSION:
        raise SurveyDataError(
            f"{path} is of format {description.get('format')}; this version of gossan reads "
            f"{_VERSION}. Train the network again with this version."
        )
    return weights, description


@contextlib.contextmanager
def networks_kept(folder: str | os.PathLike[str] | None) -> Iterator[None]:
    """Keep networks trained meanwhile in this process in a folder; ``None`` for nowhere.

    A training that was interrupted goes on there, and one that was done is not done again. A
    folder that the user has named in the environment is left in force.
    """
    kept = _kept.set(None if folder is None else Path(folder))
    try:
        yield
    finally:
        _kept.reset(kept)


def networks_folder() -> Path | None:
    """Where trained networks are kept; ``None`` for nowhere."""
    folder = os.environ.get(NETWORKS)
    return Path(folder) if folder else _kept.get()


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise StudyError(
            'Weights of networks need safetensors. Install it with: pip install "gossan[deep]"'
        ) from error
    return safetensors.numpy
