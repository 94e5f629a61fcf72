"""A small network in the deep one's place, where the whole ring is to be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gossan.nn.pixel_pairs.pairs import PairKind, pair_signal

if TYPE_CHECKING:
    from gossan.nn.pixel_pairs.scoring import Comparison

FloatArray = npt.NDArray[np.floating[Any]]

_HIDDEN = (32, 16)
_PAIRS = 30_000
_STEPS = 300
_BATCH = 512
_LEARNING_RATE = 0.01


class Surrogate:
    """Two small layers that say nearly what the deep network says of a pair.

    Its mean over the whole ring plus the mean of what it is wrong by, over a sample of the ring,
    estimates the deep network's mean over the whole ring (a control variate): without bias where
    no cell of the ring is missing. It does a four-hundredth of the deep network's sums.

    Parameters
    ----------
    weights : dict of str to ndarray
        As :func:`distilled` returns.
    pair : {"absolute-difference", "difference", "stack"}
    device : torch.device, optional
    """

    def __init__(
        self,
        weights: dict[str, npt.NDArray[np.float32]],
        pair: PairKind,
        device: torch.device | None = None,
    ) -> None:
        self.pair = pair
        self.network = _network(weights["0.weight"].shape[1])
        self.network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        self.network.to(device)

    @torch.inference_mode()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Dissimilarity, 0 to 1, of cells and others: (…, layers) and (…, layers) → (…)."""
        signal = pair_signal(first, second, self.pair).flatten(-2)
        return torch.sigmoid_(self.network(signal)[..., 0])


def distilled(
    compare: Comparison, cells: FloatArray, seed: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Weights of a surrogate that the deep network taught on pairs of training cells.

    Parameters
    ----------
    compare : Comparison
        The deep network.
    cells : ndarray of shape (cells, layers)
        Standardised evidence.
    seed : int

    Returns
    -------
    dict of str to ndarray
    """
    rng = np.random.default_rng(seed)
    count = min(_PAIRS, len(cells) ** 2)
    values = torch.from_numpy(np.ascontiguousarray(cells)).to(compare.device)
    first, second = (values[rng.integers(len(cells), size=count)] for _ in range(2))
    parts = zip(first.split(compare.at_once), second.split(compare.at_once), strict=True)
    target = torch.cat([compare(a, b) for a, b in parts])
    signal = pair_signal(first, second, compare.pair).flatten(1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _network(signal.shape[1]).to(compare.device)
    optimiser = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, total_steps=_STEPS)
    for _ in range(_STEPS):
        drawn = torch.from_numpy(rng.integers(count, size=_BATCH)).to(compare.device)
        error = torch.sigmoid(network(signal[drawn])[:, 0]) - target[drawn]
        optimiser.zero_grad()
        error.square().mean().backward()
        optimiser.step()
        schedule.step()
    return {name: value.cpu().numpy() for name, value in network.state_dict().items()}


def _network(inputs: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for width in _HIDDEN:
        parts += [nn.Linear(inputs, width), nn.ReLU(inplace=True)]
        inputs = width
    return nn.Sequential(*parts, nn.Linear(inputs, 1))
