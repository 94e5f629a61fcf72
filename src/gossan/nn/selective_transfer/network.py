"""Networks of selective transfer: a source, and targets that take of it what helps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

AT_ONCE = 32
"""Patches that go through the networks together while they score."""
PUBLISHED_WIDTH = 64
"""Channels of the first stage; each of the three after it has twice as many as the one before."""
START_NOISE = 0.1
"""Of the own kernels, with which the networks of a target start."""
_LARGE = 64
"""Cells across from which an image is halved twice before the first block, as published."""


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and the way past them (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.past: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.past = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, images: Tensor) -> Tensor:
        """(n, before, h, w) → (n, after, h / stride, w / stride)."""
        found = functional.relu(self.bn1(self.conv1(images)))
        return functional.relu(self.bn2(self.conv2(found)) + self.past(images))


class ResNet18(nn.Module):
    """Eighteen layers of residual blocks, from evidence layers to two classes.

    Parameters
    ----------
    layers : int
        Evidence layers.
    large : bool, default True
        A first kernel of 7 × 7 at stride 2 and a pooling, as published, for images of 64 cells
        across or more; otherwise a first kernel of 3 × 3 that keeps every cell.
    width : int, default 64
        Channels of the first stage, twice as many in each after it. 64 is as published; 16 needs
        about a sixteenth of the products.

    References
    ----------
    He, K. et al. (2016). Deep residual learning for image recognition. CVPR.

    Examples
    --------
    >>> ResNet18(8)(torch.zeros(2, 8, 224, 224)).shape
    torch.Size([2, 2])
    >>> ResNet18(39, large=False)(torch.zeros(2, 39, 16, 16)).shape
    torch.Size([2, 2])
    """

    def __init__(self, layers: int, *, large: bool = True, width: int = PUBLISHED_WIDTH) -> None:
        super().__init__()
        self.layers, self.large, self.width = layers, large, width
        widths = [width * 2**stage for stage in range(4)]
        size, stride = (7, 2) if large else (3, 1)
        self.conv1 = nn.Conv2d(layers, width, size, stride, padding=size // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if large else nn.Identity()
        blocks = []
        for stage, after in enumerate(widths):
            before = widths[max(0, stage - 1)]
            blocks.append(BasicBlock(before, after, 1 if stage == 0 else 2))
            blocks.append(BasicBlock(after, after, 1))
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(widths[-1], 2)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Log-odds of either class, (n, layers, h, w) → (n, 2)."""
        return self.fc(self.features(images).mean(dim=(2, 3)))

    def features(self, images: Tensor) -> Tensor:
        """The last features, (n, layers, h, w) → (n, 8 width, h / step, w / step).

        The step is 32 cells with a large first kernel and 8 without.
        """
        return self.blocks(self.pool(functional.relu(self.bn1(self.conv1(images)))))


def is_large(crop: int) -> bool:
    """Whether an image of so many cells across is halved twice before the first block."""
    return crop >= _LARGE


def kernel_names(network: nn.Module) -> list[str]:
    """Names of the convolution kernels of a network, from the first to the last."""
    return [
        f"{name}.weight" for name, part in network.named_modules() if isinstance(part, nn.Conv2d)
    ]


class TargetNetwork(nn.Module):
    """A network whose kernels are a frozen source's, gated value by value, times its own.

    The kernel of layer l is ``(w_S ⊙ P) · w_t``: the source's, a learned matrix of gates, and a
    learned kernel (equations 8 and 9 of the source). Gates and own kernels start at 1, and all
    else as it is in the source: at first it *is* the source. Where the source has no kernel for an
    evidence layer, its place is taken by ones and the own kernel starts at random.

    A gate and an own kernel that start as the same number get the same gradient for ever: what is
    used would be ``w_S · P²``, of the source's sign, and networks of one dilation copies of one
    another. ``noise`` sets them apart; the source does not say how they start.

    Parameters
    ----------
    source : ResNet18
        Its kernels are copied, shared by reference with no one, and never change.
    order : sequence of int
        For each layer of the target that of the source; -1 where the source lacks it.
    noise : float, default 0
        Standard deviation, round 1, of the own kernels at first.

    Examples
    --------
    >>> source = ResNet18(3, large=False).eval()
    >>> target = TargetNetwork(source, [0, 1, 2]).eval()
    >>> images = torch.rand(2, 3, 16, 16)
    >>> bool(torch.allclose(target(images), source(images), atol=1e-6))
    True
    """

    def __init__(self, source: ResNet18, order: Sequence[int], *, noise: float = 0.0) -> None:
        super().__init__()
        self.body = ResNet18(len(order), large=source.large, width=source.width)
        self.gates = nn.ParameterDict()
        given = source.state_dict()
        kernels = set(kernel_names(source))
        own = self.body.state_dict()
        known = torch.tensor([place >= 0 for place in order])
        places = torch.tensor([max(place, 0) for place in order])
        for name, value in given.items():
            frozen = value.detach().clone()
            if name not in kernels:
                own[name].copy_(frozen)
                continue
            start = 1.0 + noise * torch.randn_like(own[name])
            if name == "conv1.weight":  # the only one that meets the evidence layers
                frozen = torch.where(known[None, :, None, None], frozen[:, places], 1.0)
                start = torch.where(known[None, :, None, None], start, own[name])
            own[name].copy_(start)
            self.gates[_key(name)] = nn.Parameter(torch.ones_like(frozen))
            # Not among what is saved: five copies of what the source's own file holds.
            self.register_buffer(f"source_{_key(name)}", frozen, persistent=False)
        self.kernels = kernel_names(source)

    def forward(self, images: Tensor) -> Tensor:
        """Log-odds of either class, (n, layers, h, w) → (n, 2)."""
        own = dict(self.body.named_parameters())
        used = {name: self.selected(name) * own[name] for name in self.kernels}
        return functional_call(self.body, used, (images,))

    def selected(self, name: str) -> Tensor:
        """What is selected of the source's kernel, ``w_S ⊙ P``."""
        return self.get_buffer(f"source_{_key(name)}") * self.gates[_key(name)]

    def folded(self) -> ResNet18:
        """The same function as a plain network, with the kernels that are used: for scoring."""
        plain = ResNet18(self.body.layers, large=self.body.large, width=self.body.width)
        given = self.body.state_dict()
        given |= {name: (self.selected(name) * given[name]).detach() for name in self.kernels}
        plain.load_state_dict(given)
        return plain

    def openness(self) -> dict[str, float]:
        """How far the gates of each kernel are open: the mean of abs(P), by the kernel's name."""
        return {name: float(self.gates[_key(name)].detach().abs().mean()) for name in self.kernels}

    def layer_openness(self) -> npt.NDArray[np.floating[Any]]:
        """The same of the first kernel, evidence layer by evidence layer."""
        return self.gates[_key("conv1.weight")].detach().abs().mean(dim=(0, 2, 3)).numpy()


class SelectiveTransferNetwork(nn.Module):
    """A soft mask of the layers, a scale for each target network, and the target networks.

    Parameters
    ----------
    layers : int
    dilations : sequence of int
        From the largest feature map to the smallest: ascending.
    large : bool
        As :class:`ResNet18` takes it.
    width : int, default 64
        The same; of a source its own.
    source : ResNet18, optional
        Default: no transfer, every target network starts at random.
    order : sequence of int, optional
        For each layer that of the source, -1 where it lacks it.
    soft_mask : bool, default True
        Whether a weight a layer is learned (equation 6); otherwise all weigh 1.

    References
    ----------
    Selective knowledge transfer for prospecting target prediction (2022). Minerals 12(9), 1112.
    """

    def __init__(
        self,
        layers: int,
        dilations: Sequence[int],
        *,
        large: bool,
        width: int = PUBLISHED_WIDTH,
        source: ResNet18 | None = None,
        order: Sequence[int] | None = None,
        soft_mask: bool = True,
    ) -> None:
        super().__init__()
        self.dilations, self.large = tuple(dilations), large
        self.width = width if source is None else source.width
        self.mask = nn.Parameter(torch.ones(layers), requires_grad=soft_mask)
        # Each scale starts as the evidence itself: the middle of its kernel is 1.
        start = torch.zeros(len(dilations), 3, 3)
        start[:, 1, 1] = 1.0
        self.scales = nn.Parameter(start)
        self.targets = nn.ModuleList(
            ResNet18(layers, large=large, width=width)
            if source is None
            else TargetNetwork(source, range(layers) if order is None else order, noise=START_NOISE)
            for _ in dilations
        )

    def forward(self, images: Tensor) -> Tensor:
        """Log-odds of either class by each target network, (n, layers, h, w) → (m, n, 2)."""
        masked = soft_masked(images, self.mask)
        both = zip(self.targets, self.scales, self.dilations, strict=True)
        return torch.stack([net(dilated(masked, kernel, rate)) for net, kernel, rate in both])

    def folded(self) -> SelectiveTransferNetwork:
        """The same function without a source: every kernel as it is used."""
        plain = SelectiveTransferNetwork(
            len(self.mask), self.dilations, large=self.large, width=self.width
        )
        plain.mask, plain.scales = self.mask, self.scales
        plain.targets = nn.ModuleList(
            net.folded() if isinstance(net, TargetNetwork) else net for net in self.targets
        )
        return plain


def soft_masked(images: Tensor, mask: Tensor) -> Tensor:
    """Each layer times its weight (equation 6): (n, layers, h, w)."""
    return images * mask[:, None, None]


def dilated(images: Tensor, kernel: Tensor, rate: int) -> Tensor:
    """The feature map of one scale: a dilated 3 × 3 convolution of every layer (equation 7).

    Parameters
    ----------
    images : Tensor of shape (n, layers, h, w)
    kernel : Tensor of shape (3, 3)
        The same for all layers.
    rate : int
        Cells from one weight to the next.

    Returns
    -------
    Tensor of shape (n, layers, h - 2 rate, w - 2 rate)
        Nothing is made up beyond the edge, so larger scales give smaller maps.

    Examples
    --------
    >>> corner = torch.zeros(3, 3)
    >>> corner[0, 0] = 1.0
    >>> dilated(torch.arange(25.0).reshape(1, 1, 5, 5), corner, 2)
    tensor([[[[0.]]]])
    """
    n, layers = images.shape[:2]
    found = functional.conv2d(images.flatten(0, 1)[:, None], kernel[None, None], dilation=rate)
    return found.unflatten(0, (n, layers))[:, :, 0]


def distillation(log_odds: Tensor) -> Tensor:
    """How far each network is from those before it (equation 10, summed over the networks).

    The Kullback–Leibler divergence from the classes' chances by an earlier network to those by a
    later one, over every ordered pair; the mean over the images. The earlier one guides and does
    not follow: it gets no gradient.

    Parameters
    ----------
    log_odds : Tensor of shape (m, n, classes)

    Returns
    -------
    Tensor
        A scalar.

    Examples
    --------
    >>> log_odds = torch.tensor([[[0.0, 0.0]], [[1.0, -1.0]]])
    >>> round(float(distillation(log_odds)), 4)
    0.4338
    """
    logs = log_odds.log_softmax(dim=-1)
    total = log_odds.new_zeros(())
    for later in range(1, len(logs)):
        guides = logs[:later].detach()
        total = total + (guides.exp() * (guides - logs[later])).sum(dim=-1).mean(dim=-1).sum()
    return total


def total_loss(log_odds: Tensor, positive: Tensor, share: float) -> Tensor:
    """Cross-entropy of every network and ``share`` of the distillation (equation 12).

    Parameters
    ----------
    log_odds : Tensor of shape (m, n, 2)
    positive : Tensor of shape (n,), int64
    share : float
        β of the source: 0.6 to 0.8 are its best.
    """
    networks = len(log_odds)
    entropy = functional.cross_entropy(log_odds.flatten(0, 1), positive.repeat(networks))
    return networks * entropy + share * distillation(log_odds)


def votes(log_odds: Tensor) -> Tensor:
    """Share of the networks that vote for a deposit, (m, …, 2) → (…)."""
    return (log_odds[..., 1] > log_odds[..., 0]).float().mean(dim=0)


def mean_chance(log_odds: Tensor) -> Tensor:
    """Mean over the networks of their chance of a deposit, (m, …, 2) → (…)."""
    return log_odds.softmax(dim=-1)[..., 1].mean(dim=0)


def _key(name: str) -> str:
    """A kernel's name without dots, which names of parameters and buffers must not have."""
    return name.replace(".", "_")
