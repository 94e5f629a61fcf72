"""An area as the networks take it: on one scale, without gaps, cut into labelled patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from gossan.evidence import valid_cells
from gossan.exceptions import LabelError
from gossan.nn.selective_transfer.patches import PatchSizes, patch_corners, patch_counts
from gossan.nn.selective_transfer.training import Patches
from gossan.nn.standard import Standard, standard_of

FloatArray = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]

LEAST_SHOWN = 0.5
"""Share of a patch's cells that must be shown for it to teach."""


def without_gaps(standard: Standard, values: FloatArray) -> Tensor:
    """Layers first, standardised; where nothing is known the layer's mean."""
    return torch.from_numpy(np.nan_to_num(standard.applied(values), copy=False))


def area_patches(
    evidence: xr.DataArray, labels: Labels, sizes: PatchSizes
) -> tuple[Patches, Standard]:
    """The patches of an area that teach, and the scale of what may be seen.

    Parameters
    ----------
    evidence : xarray.DataArray
        ``(layer, y, x)``.
    labels : ndarray of shape (y, x), int
        1 deposit; 0 a cell that stands for barren ground; -1 unlabelled; -2 a cell that must
        not be seen. A patch with a deposit is positive; one without that holds barren ground is
        negative; others, and those of which less than half may be seen, do not teach. A cell
        without any evidence cannot be seen.
    sizes : PatchSizes

    Raises
    ------
    LabelError
        If no patch has a deposit, or all that teach have one.
    """
    seen = (labels > -2) & valid_cells(evidence)
    values = np.where(seen, np.asarray(evidence.to_numpy(), dtype=np.float32), np.float32(np.nan))
    standard = standard_of(values)
    window = sizes.window
    corners = patch_corners(seen.shape, window, sizes.stride)
    deposits, barren, shown = (
        patch_counts(cells, corners, window)
        for cells in (seen & (labels == 1), seen & (labels == 0), seen)
    )
    enough = shown >= LEAST_SHOWN * window**2
    teaches = enough & ((deposits > 0) | (barren > 0))
    positive = deposits[teaches] > 0
    if positive.all() or not positive.any():
        raise LabelError(
            f"Of {len(corners)} patches of {window} × {window} cells {positive.sum()} that may "
            f"teach have a deposit and {(~positive).sum()} have none: both are needed. Set a "
            "smaller patch_window or patch_stride."
        )
    patches = Patches(without_gaps(standard, values), positive, window, corners=corners[teaches])
    return patches, standard
