"""What each layer adds to a patch's chance of a deposit: the patch without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gossan.nn.selective_transfer.network import AT_ONCE, SelectiveTransferNetwork, mean_chance
from gossan.nn.standard import Standard

FloatArray = npt.NDArray[np.floating[Any]]


def ordinary_ground(standard: Standard, background: FloatArray) -> Tensor:
    """Mean of what is observed of each layer, standardised, (cells, layers) → (layers,).

    0, the mean of the whole area, where nothing is.

    Examples
    --------
    >>> standard = Standard(np.array([1.0, 0.0], "f4"), np.array([2.0, 1.0], "f4"))
    >>> ordinary_ground(standard, np.array([[3.0, np.nan], [7.0, np.nan]]))
    tensor([2., 0.])
    """
    values = standard.applied(np.moveaxis(np.asarray(background), 1, 0))
    observed = np.isfinite(values)
    total = np.where(observed, values, 0.0).sum(axis=1)
    return torch.from_numpy((total / np.maximum(observed.sum(axis=1), 1)).astype(np.float32))


@torch.inference_mode()
def chance_lost(
    network: SelectiveTransferNetwork,
    values: Tensor,
    cells: npt.NDArray[np.int64],
    ordinary: Tensor,
    crop: int,
    tell: Callable[[int], None] | None = None,
) -> FloatArray:
    """How far the mean chance of the patch round a cell falls without each layer.

    Parameters
    ----------
    network : SelectiveTransferNetwork
        Ready to score.
    values : Tensor of shape (layers, y, x)
        Standardised, without gaps.
    cells : ndarray of shape (n, 2)
        Rows and columns; at the edge the patch is moved into the area.
    ordinary : Tensor of shape (layers,)
        What takes a layer's place in the whole patch.
    crop : int
        Cells across a patch.
    tell : callable, optional
        Called with the cells done.

    Returns
    -------
    ndarray of shape (n, layers)
    """
    layers = len(values)
    last = np.array(values.shape[1:]) - crop
    corners = np.clip(np.asarray(cells) - crop // 2, 0, last)
    found = np.empty((len(corners), layers))
    every = torch.arange(layers)
    for done, (row, column) in enumerate(corners):
        patch = values[:, row : row + crop, column : column + crop]
        without = patch.repeat(layers, 1, 1, 1)
        without[every, every] = ordinary[:, None, None]
        crops = torch.cat([patch[None], without]).to(network.mask.device)
        parts = [mean_chance(network(part)) for part in crops.split(AT_ONCE)]
        chance = torch.cat(parts).cpu().numpy().astype(float)
        found[done] = chance[0] - chance[1:]
        if tell is not None:
            tell(done + 1)
    return found
