"""A map of a whole area at once: what overlapping patches share is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gossan.nn.selective_transfer.network import (
    ResNet18,
    SelectiveTransferNetwork,
    dilated,
    soft_masked,
)
from gossan.nn.selective_transfer.patches import check_patches

_REACH = {True: 224, False: 64}
"""Cells, of large and small networks, beyond which nothing reaches a feature; whole steps."""
_TILE = 1_536
"""Cells across the patches whose features are made together."""


def dense_scores(
    network: SelectiveTransferNetwork,
    values: Tensor,
    crop: int,
    voted: Callable[[Tensor], Tensor],
    *,
    tile: int = _TILE,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating[Any]]]:
    """Score of patches a network's step apart, from one pass over the area.

    A residual network ends in the mean of its features, of which there is one every step of 32
    cells (8 of a small network). A patch's score is made of the mean of its own features, out of
    those of the whole area. The difference to the patch by itself lies at its edges, beyond which
    the area goes on, where the patch by itself is bordered by zeros.

    Parameters
    ----------
    network : SelectiveTransferNetwork
        Folded, ready to score.
    values : Tensor of shape (layers, y, x)
        Standardised, without gaps. At the last row and column it is continued as far as whole
        patches reach.
    crop : int
        Cells across a patch.
    voted : callable
        From log-odds (m, …, 2) to scores.
    tile : int
        Cells across the patches whose features are made together: it bounds the memory.
    progress : callable, optional
        Called with (tiles done, tiles in all).

    Returns
    -------
    corners : ndarray of shape (n, 2)
    scores : ndarray of shape (n,)
    """
    step = network_step(large=network.large)
    rows, columns = values.shape[1:]
    check_patches((rows, columns), crop, step)
    counts = [-(-(length - crop) // step) + 1 for length in (rows, columns)]
    ends = [step * (count - 1) + crop for count in counts]
    padded = functional.pad(
        values[None], (0, ends[1] - columns, 0, ends[0] - rows), mode="replicate"
    )
    found = np.empty(counts)
    parts = list(_parts(counts, max(1, tile // step)))
    for done, (down, across) in enumerate(parts):
        found[down, across] = _tile_scores(network, padded, crop, voted, down, across)
        if progress is not None:
            progress(done + 1, len(parts))
    places = np.meshgrid(*(step * np.arange(count) for count in counts), indexing="ij")
    return np.column_stack([place.ravel() for place in places]), found.ravel()


def network_step(*, large: bool) -> int:
    """Cells from one of the last features to the next."""
    return 32 if large else 8


def _parts(counts: list[int], most: int) -> Iterator[tuple[slice, slice]]:
    for down in range(0, counts[0], most):
        for across in range(0, counts[1], most):
            yield (
                slice(down, min(down + most, counts[0])),
                slice(across, min(across + most, counts[1])),
            )


@torch.inference_mode()
def _tile_scores(
    network: SelectiveTransferNetwork,
    padded: Tensor,
    crop: int,
    voted: Callable[[Tensor], Tensor],
    down: slice,
    across: slice,
) -> npt.NDArray[np.floating[Any]]:
    """Scores of the patches of some rows and columns of patches."""
    step, reach = network_step(large=network.large), _REACH[network.large]
    firsts = [max(0, step * part.start - reach) for part in (down, across)]
    lasts = [step * (part.stop - 1) + crop + reach for part in (down, across)]
    here = padded[..., firsts[0] : lasts[0], firsts[1] : lasts[1]].to(network.mask.device)
    masked = soft_masked(here, network.mask)
    sizes = [part.stop - part.start for part in (down, across)]
    skipped = [part.start - first // step for part, first in zip((down, across), firsts)]
    log_odds = []
    targets = cast(Iterable[ResNet18], network.targets)
    for net, kernel, rate in zip(targets, network.scales, network.dilations, strict=True):
        features = local_log_odds(net, dilated(masked, kernel, rate))
        own = feature_count(crop - 2 * rate, large=network.large)
        means = functional.avg_pool2d(features, own, stride=1)[0]
        rows, columns = (slice(skip, skip + size) for skip, size in zip(skipped, sizes))
        log_odds.append(means[:, rows, columns].permute(1, 2, 0))
    return voted(torch.stack(log_odds)).cpu().numpy()


def local_log_odds(network: ResNet18, images: Tensor) -> Tensor:
    """Log-odds by each of the last features, whose mean is the network's: (n, 2, h, w)."""
    found = network.features(images)
    return functional.conv2d(found, network.fc.weight[:, :, None, None], network.fc.bias)


def feature_count(across: int, *, large: bool) -> int:
    """Of how many of the last features, along one side, a map of so many cells has the mean.

    Examples
    --------
    >>> feature_count(222, large=True), feature_count(26, large=False)
    (7, 4)
    """
    for _ in range(5 if large else 3):
        across = -(-across // 2)
    return across
