"""Where a network runs, and in which precision."""

from __future__ import annotations

import contextlib
from typing import Any, Literal, get_args

import torch

from gossan.exceptions import StudyError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""As Lightning names them."""


def chosen_device(accelerator: str) -> torch.device:
    """The device that a trained network scores on.

    Parameters
    ----------
    accelerator : str
        As Lightning takes it: ``"auto"`` for whatever the machine has, ``"gpu"``, ``"cpu"``, …

    Raises
    ------
    StudyError
        If there is no such device here.

    Examples
    --------
    >>> chosen_device("cpu")
    device(type='cpu')
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    if accelerator == "cpu" or (accelerator == "auto" and found is None):
        return torch.device("cpu")
    if found is not None and accelerator in ("auto", "gpu", found.type):
        return found
    here = "cpu" if found is None else f"cpu, gpu and {found.type}"
    raise StudyError(
        f"accelerator is {accelerator!r}: there is {here} here. 'auto' takes what there is."
    )


def check_devices(accelerator: str, count: int) -> None:
    """Raise :class:`StudyError` if there are not so many devices of that kind.

    Of processors there are as many as are asked for: each is a process.
    """
    device = chosen_device(accelerator)
    here = torch.accelerator.device_count()
    if device.type != "cpu" and count > here:
        raise StudyError(f"devices is {count}: there are {here} of {device.type} here.")


def check_precision(precision: str) -> None:
    """Raise :class:`StudyError` if there is no such precision.

    Examples
    --------
    >>> check_precision("bf16")
    Traceback (most recent call last):
    gossan.exceptions.StudyError: precision is 'bf16': one of 32-true, bf16-mixed, 16-mixed.
    """
    known = get_args(Precision)
    if precision not in known:
        raise StudyError(f"precision is {precision!r}: one of {', '.join(known)}.")


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """Products in the precision given, sums in float32; nothing where it is float32."""
    if precision == "32-true":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float16
    return torch.autocast(device.type, dtype)
