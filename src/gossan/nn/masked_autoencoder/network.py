"""The masked autoencoder: hide most of a window, and predict it from what is left."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gossan.exceptions import StudyError

_MOST_TOKENS = 4_096


@dataclass(frozen=True)
class Architecture:
    """Sizes of a masked autoencoder.

    Attributes
    ----------
    window : int
        Cells across a window.
    patch : int
        Cells across a token: a window is cut into ``(window / patch)²`` tokens.
    width, blocks, heads : int
        Of the encoder: numbers a token, transformer blocks, attention heads.
    decoder_width, decoder_blocks, decoder_heads : int
        Of the decoder, which is needed for pretraining alone.
    """

    window: int = 7
    patch: int = 1
    width: int = 96
    blocks: int = 3
    heads: int = 4
    decoder_width: int = 48
    decoder_blocks: int = 1
    decoder_heads: int = 2

    @property
    def across(self) -> int:
        """Tokens across a window."""
        return self.window // self.patch

    @property
    def tokens(self) -> int:
        """Tokens of a window."""
        return self.across**2

    def check(self) -> None:
        """Raise :class:`StudyError` if the sizes do not fit together."""
        for name, value in asdict(self).items():
            if value < 1:
                raise StudyError(f"{name} is {value}: at least 1 is needed.")
        if self.window % 2 == 0:
            raise StudyError(f"window is {self.window}: it counts cells across, and is odd.")
        if self.window % self.patch:
            raise StudyError(
                f"window is {self.window} and patch {self.patch}: the window must hold whole "
                "patches."
            )
        if self.tokens > _MOST_TOKENS:
            raise StudyError(
                f"window is {self.window} and patch {self.patch}: that makes {self.tokens:,} "
                f"tokens, of which every one looks at every other; {_MOST_TOKENS:,} at most. Set a "
                "smaller window or a larger patch."
            )
        for part in ("", "decoder_"):
            width, heads = getattr(self, f"{part}width"), getattr(self, f"{part}heads")
            if width % heads:
                raise StudyError(
                    f"{part}width is {width} and {part}heads {heads}: the heads share the width "
                    "evenly."
                )


_LEAST_CHANCE = 0.02
"""What neighbours alone may say of a layer of 0 and 1, at least and at most."""
_RANGE, _POWER, _NUGGET = 3.5, 1.4, 0.02
"""Of the covariance that kriging starts from: its range in tokens, its power, its nugget."""
_LEAST_NUGGET = 1e-3
"""Keeps the kriging system well conditioned."""

PRESETS = {
    "small": Architecture(),
    "base": Architecture(
        window=33,
        patch=3,
        width=256,
        blocks=6,
        heads=8,
        decoder_width=128,
        decoder_blocks=2,
        decoder_heads=4,
    ),
}
"""``small`` learns a survey in minutes on two cores; ``base`` has the published sizes."""


class MaskedAutoencoder(nn.Module):
    """A vision transformer that sees a part of a window's tokens and predicts all of them.

    A token is a patch of cells with all their layers. A value that is missing, or hidden from the
    network, is stood for by a learned vector of its own, so a token can be made of whatever is
    there. Only visible tokens pass the encoder (He et al. 2022). Each layer is kriged from its own
    visible patches, with a covariance that is learned (Matheron 1963); the decoder predicts what to
    add to that, so that the network need not learn to interpolate.

    Parameters
    ----------
    layers : int
    architecture : Architecture
    binary : Tensor of shape (layers,), bool, optional
        Layers of 0 and 1, whose predictions are log-odds; default: none.

    References
    ----------
    Matheron, G. (1963). Principles of geostatistics. Economic Geology 58, 1246–1266.
    He, K. et al. (2022). Masked autoencoders are scalable vision learners. CVPR.
    Daruna, A. et al. (2024). GFM4MPM: towards geospatial foundation models for mineral
    prospectivity mapping. arXiv 2406.12756.

    Examples
    --------
    >>> network = MaskedAutoencoder(5, Architecture(window=7))
    >>> windows = torch.zeros(2, 5, 7, 7)
    >>> network.encode(windows).shape
    torch.Size([2, 49, 96])
    >>> keep = torch.arange(12).expand(2, 12)
    >>> network(windows, keep).shape
    torch.Size([2, 49, 5])
    """

    binary: Tensor
    distance: Tensor

    def __init__(
        self, layers: int, architecture: Architecture, binary: Tensor | None = None
    ) -> None:
        super().__init__()
        architecture.check()
        self.layers = layers
        self.architecture = sizes = architecture
        values = layers * sizes.patch**2
        self.embedding = nn.Linear(2 * values, sizes.width)  # of values, and of what is missing
        self.position = nn.Parameter(0.02 * torch.randn(sizes.tokens, sizes.width))
        self.encoder = _blocks(sizes.width, sizes.heads, sizes.blocks)
        self.norm = nn.LayerNorm(sizes.width)
        self.to_decoder = nn.Linear(sizes.width, sizes.decoder_width)
        self.hidden_token = nn.Parameter(0.02 * torch.randn(sizes.decoder_width))
        self.decoder_position = nn.Parameter(0.02 * torch.randn(sizes.tokens, sizes.decoder_width))
        self.decoder = _blocks(sizes.decoder_width, sizes.decoder_heads, sizes.decoder_blocks)
        self.decoder_norm = nn.LayerNorm(sizes.decoder_width)
        self.prediction = nn.Linear(sizes.decoder_width, values)
        nn.init.zeros_(self.prediction.weight)
        self.range = nn.Parameter(torch.tensor(_RANGE).log())
        self.power = nn.Parameter(torch.tensor(_POWER / 2.0).logit())
        self.nugget = nn.Parameter(torch.tensor(_NUGGET).log())
        binary = torch.zeros(layers, dtype=torch.bool) if binary is None else binary
        self.register_buffer("binary", binary.repeat_interleave(sizes.patch**2), persistent=False)
        self.register_buffer("distance", _distance(sizes.across), persistent=False)

    def forward(self, windows: Tensor, keep: Tensor, dropped: Tensor | None = None) -> Tensor:
        """Predictions of every value of every token, from the visible ones.

        Parameters
        ----------
        windows : Tensor of shape (n, layers, window, window)
            Standardised; NaN = missing.
        keep : Tensor of shape (n, visible), int
            The tokens that are visible.
        dropped : Tensor of shape (n, layers), bool, optional
            Layers that are hidden in the whole window.

        Returns
        -------
        Tensor of shape (n, tokens, layers * patch²)
        """
        correction = self.decode(self.encode(windows, keep, dropped), keep)
        return correction + self.kriged(windows, keep, dropped)

    def encode(
        self, windows: Tensor, keep: Tensor | None = None, dropped: Tensor | None = None
    ) -> Tensor:
        """Embeddings of the visible tokens, (n, visible, width); of all without ``keep``."""
        missing = ~torch.isfinite(windows)
        if dropped is not None:
            missing = missing | dropped[:, :, None, None]
        values = torch.where(missing, 0.0, windows)
        tokens = torch.cat([self.patches(values), self.patches(missing.to(values.dtype))], dim=2)
        position = self.position.expand(len(windows), -1, -1)
        if keep is not None:
            tokens, position = _taken(tokens, keep), _taken(position, keep)
        tokens = self.embedding(tokens) + position  # (n, visible, width)
        for block in self.encoder:
            tokens = block(tokens)
        return self.norm(tokens)

    def decode(self, encoded: Tensor, keep: Tensor) -> Tensor:
        """From the visible tokens' embeddings to predictions, (n, tokens, layers * patch²)."""
        n, width = len(encoded), self.architecture.decoder_width
        hidden = self.hidden_token.expand(n, self.architecture.tokens, width)
        places = keep[:, :, None].expand(-1, -1, width)
        tokens = hidden.scatter(1, places, self.to_decoder(encoded).to(hidden.dtype))
        tokens = tokens + self.decoder_position
        for block in self.decoder:
            tokens = block(tokens)
        return self.prediction(self.decoder_norm(tokens))

    def kriged(self, windows: Tensor, keep: Tensor, dropped: Tensor | None = None) -> Tensor:
        """Each layer kriged from its visible patches alone, (n, tokens, layers * patch²).

        All layers have one covariance of the distance between tokens, ``exp(-(d / range)^power)``
        and a nugget. What the weights leave over goes to the layer's mean over the visible
        patches; 0, its mean over the areas, is the answer where none is observed.
        """
        cells = self.architecture.patch**2
        values = _taken(self.patches(windows), keep).unflatten(2, (self.layers, cells))
        observed = torch.isfinite(values)
        if dropped is not None:
            observed = observed & ~dropped[:, None, :, None]
        share = observed.float().mean(dim=3)  # (n, visible, layers)
        mean = torch.where(observed, values, 0.0).mean(dim=3)
        weights = self._kriging_weights(keep)
        found, known = (weights @ torch.cat([mean, share], dim=2)).split(self.layers, dim=2)
        middle = mean.sum(1, keepdim=True) / share.sum(1, keepdim=True).clamp(min=1e-12)
        found = (found + (1.0 - known) * middle).repeat_interleave(cells, dim=2)
        return torch.where(self.binary, torch.logit(found, eps=_LEAST_CHANCE), found)

    def _kriging_weights(self, keep: Tensor) -> Tensor:
        """Of the visible tokens for each token, (n, tokens, visible)."""
        steps = (self.distance / self.range.exp()).clamp(min=1e-6)
        covariance = torch.exp(-(steps ** (2.0 * self.power.sigmoid())))
        to_all = functional.embedding(keep, covariance)  # (n, visible, tokens)
        among = to_all.gather(2, keep[:, None].expand(-1, keep.shape[1], -1))
        nugget = (self.nugget.exp() + _LEAST_NUGGET) * torch.eye(keep.shape[1], device=keep.device)
        return torch.linalg.solve(among + nugget, to_all).transpose(1, 2)

    def patches(self, windows: Tensor) -> Tensor:
        """``(n, layers, window, window)`` as tokens, (n, tokens, layers * patch²)."""
        patch = self.architecture.patch
        if patch == 1:
            return windows.flatten(2).transpose(1, 2)
        return functional.unfold(windows, patch, stride=patch).transpose(1, 2)


def reconstruction_loss(
    prediction: Tensor, target: Tensor, judged: Tensor, binary: Tensor
) -> Tensor:
    """Mean loss over the judged values alone.

    Squared error of continuous layers, in standard deviations; cross-entropy of binary ones.

    Parameters
    ----------
    prediction, target : Tensor of shape (n, tokens, values)
    judged : Tensor of shape (n, tokens, values), bool
        Values that were hidden from the network, and are observed.
    binary : Tensor of shape (values,), bool
        Whose target is 0 or 1; the prediction is their log-odds.

    Returns
    -------
    Tensor
        A scalar; 0 where nothing is judged.

    Examples
    --------
    >>> target = torch.tensor([[[1.0, torch.nan, 5.0]]])
    >>> judged = torch.tensor([[[True, False, False]]])
    >>> float(reconstruction_loss(torch.zeros(1, 1, 3), target, judged, torch.zeros(3) > 1))
    1.0
    """
    target = torch.where(judged, target, 0.0)
    error = torch.where(
        binary,
        functional.binary_cross_entropy_with_logits(
            prediction, target.clamp(0.0, 1.0), reduction="none"
        ),
        (prediction - target) ** 2,
    )
    return torch.where(judged, error, 0.0).sum() / judged.sum().clamp(min=1)


def judged_values(patches: Tensor, keep: Tensor, dropped: Tensor | None, layers: int) -> Tensor:
    """Which values of the tokens were hidden from the network and are observed.

    Parameters
    ----------
    patches : Tensor of shape (n, tokens, layers * patch²)
    keep : Tensor of shape (n, visible), int
    dropped : Tensor of shape (n, layers), bool, or None
    layers : int

    Returns
    -------
    Tensor of shape (n, tokens, layers * patch²), bool
    """
    n, tokens, values = patches.shape
    hidden = torch.ones(n, tokens, dtype=torch.bool, device=patches.device)
    hidden = hidden.scatter(1, keep, False)[:, :, None]
    if dropped is not None:
        hidden = hidden | dropped.repeat_interleave(values // layers, dim=1)[:, None, :]
    return hidden & torch.isfinite(patches)


class _Block(nn.Module):
    """Attention among the tokens, then two layers on each, both added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.widened = nn.Linear(width, 4 * width)
        self.narrowed = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        n, count, width = tokens.shape
        three = self.attention(self.norm1(tokens))  # (n, tokens, 3 * width)
        three = three.view(n, count, 3, self.heads, width // self.heads)
        query, key, value = three.permute(2, 0, 3, 1, 4)  # each (n, heads, tokens, width / heads)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.mixed(mixed.transpose(1, 2).reshape(n, count, width))
        widened = functional.gelu(self.widened(self.norm2(tokens)))
        return tokens + self.narrowed(widened)


def _distance(across: int) -> Tensor:
    """Between any two tokens of a window, (tokens, tokens)."""
    rows, columns = torch.arange(across**2) // across, torch.arange(across**2) % across
    return torch.hypot((rows[:, None] - rows).float(), (columns[:, None] - columns).float())


def _blocks(width: int, heads: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(_Block(width, heads) for _ in range(count))


def _taken(tokens: Tensor, keep: Tensor) -> Tensor:
    """The kept tokens of each window, (n, visible, …)."""
    return tokens.gather(1, keep[:, :, None].expand(-1, -1, tokens.shape[2]))
