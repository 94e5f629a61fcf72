"""Where a network runs, and in which precision."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import torch

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""As Lightning names them."""


def chosen_device(accelerator: str) -> torch.device:
    """The device that a trained network scores on.

    Parameters
    ----------
    accelerator : str
        As Lightning takes it: ``"auto"`` for whatever the machine has, ``"gpu"``, ``"cpu"``, …

    Examples
    --------
    >>> chosen_device("cpu")
    device(type='cpu')
    """
    if accelerator in ("auto", "gpu"):
        found = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if found is None else found
    return torch.device(accelerator)


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """Products in the precision given, sums in float32; nothing where it is float32."""
    if precision == "32-true":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float16
    return torch.autocast(device.type, dtype)
