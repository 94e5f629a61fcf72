"""The deep network that tells whether two cells are of one class."""

from __future__ import annotations

import itertools
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class PairNetwork(nn.Module):
    """Thirteen convolutions along the evidence layers, their mean, one fully connected layer.

    Kernels of three; 30 channels in C1–C3 and 40 from C4 on; stride 2 in C4, C8 and C12; ReLU
    after each. The source gives C4 and "two more" layers of stride 2; every fourth is ours.

    Parameters
    ----------
    channels : int, default 1
        Of the signal: 2 for stacked pairs.

    Examples
    --------
    >>> network = PairNetwork()
    >>> network(torch.zeros(5, 1, 39)).shape
    torch.Size([5])
    >>> [shape[1] for shape in network.shapes(39)]
    [39, 39, 39, 20, 20, 20, 20, 10, 10, 10, 10, 5, 5]
    """

    convolutions: ClassVar[int] = 13
    strided: ClassVar[tuple[int, ...]] = (3, 7, 11)

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        widths = [channels, *[30] * 3, *[40] * (self.convolutions - 3)]
        self.body = nn.Sequential()
        for k, (before, after) in enumerate(itertools.pairwise(widths)):
            stride = 2 if k in self.strided else 1
            convolution = nn.Conv2d(before, after, (1, 3), stride=(1, stride), padding=(0, 1))
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            self.body.append(convolution)
            self.body.append(nn.ReLU(inplace=True))
        self.head = nn.Linear(widths[-1], 1)
        # Channels side by side in memory: twice as fast as the other way on a processor.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, signals: Tensor) -> Tensor:
        """Log-odds that the cells of each pair are of different classes.

        Parameters
        ----------
        signals : Tensor of shape (n, channels, layers)

        Returns
        -------
        Tensor of shape (n,)
        """
        image = signals[:, :, None].contiguous(memory_format=torch.channels_last)
        features = self.body(image)  # (n, 40, 1, layers / 8)
        return self.head(features.mean(dim=(2, 3)))[:, 0]

    def shapes(self, layers: int) -> list[tuple[int, int]]:
        """(channels, length) after each convolution, for a signal of so many layers."""
        found = []
        for convolution in (part for part in self.body if isinstance(part, nn.Conv2d)):
            layers = -(-layers // int(convolution.stride[1]))
            found.append((convolution.out_channels, layers))
        return found


def padded(network: PairNetwork, multiple: int = 8) -> PairNetwork:
    """The same function with idle channels, so that their number suits the processor.

    Kernels for 30 channels are slower than those for 32. Weights from and to the idle
    channels are zero, so they say nothing.

    Parameters
    ----------
    network : PairNetwork
    multiple : int, default 8

    Examples
    --------
    >>> network, signals = PairNetwork(), torch.rand(5, 1, 39)
    >>> [shape[0] for shape in padded(network).shapes(39)][:4]
    [32, 32, 32, 40]
    >>> bool(torch.allclose(padded(network)(signals), network(signals), atol=1e-6))
    True
    """
    wider = PairNetwork.__new__(PairNetwork)
    nn.Module.__init__(wider)
    wider.body = nn.Sequential()
    width = None
    for part in network.body:
        if not isinstance(part, nn.Conv2d):
            wider.body.append(part)
            continue
        into = part.in_channels if width is None else width
        width = -(-part.out_channels // multiple) * multiple
        like = {"stride": part.stride, "padding": part.padding}
        convolution = nn.Conv2d(into, width, part.kernel_size, **like)  # type: ignore[arg-type]
        wider.body.append(_copied(part, convolution))
    wider.head = _copied(network.head, nn.Linear(width or 1, 1))
    return wider.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _copied(narrow: nn.Module, wide: M) -> M:
    """The wider module, doing what the narrow one does."""
    weights = narrow.state_dict()
    wide.load_state_dict({k: _filled(v, weights[k]) for k, v in wide.state_dict().items()})
    return wide


def _filled(wide: Tensor, values: Tensor) -> Tensor:
    """Zeros as ``wide``, with the values in their corner."""
    found = torch.zeros_like(wide)
    found[tuple(slice(length) for length in values.shape)] = values
    return found
