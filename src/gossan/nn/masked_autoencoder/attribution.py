"""Why a cell scores as it does: from the score back through the embedding to the layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from gossan.exceptions import TrainingError
from gossan.nn.masked_autoencoder.backbone import Backbone, device_of, window_corners
from gossan.nn.masked_autoencoder.finetuning import tuned_network
from gossan.nn.masked_autoencoder.windows import Area, read_with_halo

FloatArray = npt.NDArray[np.floating[Any]]

_STEPS = 8
_STEPS_AT_MOST = 1_024
_TOLERANCE = 0.01
"""Share of the difference of scores that attributions may miss."""
_LEAST = 1e-4
"""A difference of scores below which none is to be shared out."""
_TOKENS_AT_ONCE = 16_384


class EmbeddedScore:
    """The score of a cell as a function of the evidence round it.

    Parameters
    ----------
    backbone : Backbone
    heads : sequence of PretrainedClassifier
        Fitted; their mean is the score.
    evidence : xarray.DataArray
        ``(layer, y, x)``.
    exact : bool
        Whether cells are embedded by the window centred on them, or by windows at a stride.
    accelerator : str, default "cpu"
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: Sequence[Any],
        evidence: xr.DataArray,
        *,
        exact: bool,
        accelerator: str = "cpu",
    ) -> None:
        self.backbone = backbone
        self.heads = heads
        self.exact = exact
        self.network = backbone.network(accelerator)
        for weight in self.network.parameters():
            weight.requires_grad_(False)
        self.layers = evidence.sizes["layer"]
        order = backbone.order([str(name) for name in evidence["layer"].to_numpy()])
        self.area = Area(evidence, order, np.ones(evidence.shape[1:], dtype=bool))

    def integrated_gradients(self, row: int, column: int, baseline: FloatArray) -> FloatArray:
        """Attributions of a cell that add up to its score less the baseline's, (layers,).

        Parameters
        ----------
        row, column : int
        baseline : ndarray of shape (layers,)
            Values of ordinary ground, in the units of the layers.

        Raises
        ------
        TrainingError
            If they do not add up to within 1 %.

        References
        ----------
        Sundararajan, M., Taly, A. & Yan, Q. (2017). Axiomatic attribution for deep networks. ICML.
        """
        from captum.attr import IntegratedGradients

        region, ordinary = self._region(row, column), self._constant(baseline)
        missing = ~torch.isfinite(region)
        values = torch.where(missing, 0.0, region)[None]
        start = torch.where(missing, 0.0, ordinary.expand_as(region))[None]

        def score(regions: Tensor) -> Tensor:
            return self._scores(torch.where(missing, torch.nan, regions), row, column)

        with torch.no_grad():
            difference = float(score(values) - score(start))
        if not np.isfinite(difference):
            raise TrainingError(
                f"The score of the cell at row {row}, column {column} is no number: nothing can be "
                "shared out. Were the network's weights damaged, run again."
            )
        if abs(difference) < _LEAST:
            return np.zeros(self.layers)
        steps, missed = _STEPS, np.inf
        while abs(missed) > _TOLERANCE * abs(difference):
            if steps > _STEPS_AT_MOST:
                raise TrainingError(
                    f"The attributions of the cell at row {row}, column {column} miss "
                    f"{missed:.2g} of a difference of scores of {difference:.2g} even at "
                    f"{steps // 2} steps."
                )
            found = IntegratedGradients(score).attribute(
                values, start, n_steps=steps, internal_batch_size=self._at_once
            )
            missed = float(found.sum()) - difference
            steps *= 2
        by_layer = found[0].sum(dim=(1, 2)).cpu().numpy()
        return self._of_study(by_layer)

    @torch.inference_mode()
    def without_layers(self, row: int, column: int, baseline: FloatArray) -> FloatArray:
        """What the score loses where a layer takes the baseline round the cell, (layers,)."""
        region, ordinary = self._region(row, column), self._constant(baseline)
        # One region a layer of the study, and the last as it is.
        regions = region[None].repeat(self.layers + 1, 1, 1, 1)
        for layer, place in enumerate(self.area.order):
            if place >= 0:
                observed = torch.isfinite(region[layer])
                regions[place, layer] = torch.where(observed, ordinary[layer], torch.nan)
        parts = regions.split(self._at_once)
        embeddings = torch.cat([self._embedded(part, row, column) for part in parts])
        X = embeddings.cpu().numpy()
        if self.heads[0].sees_layers:
            own = np.asarray(self.area.evidence[:, row, column].to_numpy(), dtype=np.float32)
            columns = np.tile(own, (self.layers + 1, 1))
            known = np.flatnonzero(np.isfinite(own))
            columns[known, known] = baseline[known]
            X = np.concatenate([columns, X], axis=1)
        scores = np.mean([head.predict_proba(X)[:, 1] for head in self.heads], axis=0)
        return scores[-1] - scores[:-1]

    @property
    def _at_once(self) -> int:
        """Regions that go through the network together."""
        windows = 1 if self.exact else (-(-self.backbone.window // self.backbone.stride)) ** 2
        return max(1, _TOKENS_AT_ONCE // (windows * self.backbone.architecture.tokens))

    def _of_study(self, by_layer: FloatArray) -> FloatArray:
        """From the backbone's layers to the study's; one that the backbone lacks adds nothing."""
        found = np.zeros(self.layers)
        known = self.area.order >= 0
        found[self.area.order[known]] = by_layer[known]
        return found

    def _region(self, row: int, column: int) -> Tensor:
        """All that a cell's embedding depends on, standardised, (layers, rows, columns)."""
        halo = self.backbone.window // 2 if self.exact else self.backbone.window - 1
        values = read_with_halo(self.area, row, column, (1, 1), halo)
        return torch.from_numpy(self.backbone.standard.applied(values)).to(device_of(self.network))

    def _constant(self, baseline: FloatArray) -> Tensor:
        """The baseline in the backbone's order and scale, (layers, 1, 1)."""
        values = np.full(len(self.area.order), np.nan, dtype=np.float32)
        known = self.area.order >= 0
        values[known] = baseline[self.area.order[known]]
        scaled = np.nan_to_num(self.backbone.standard.applied(values), nan=0.0)
        return torch.from_numpy(scaled)[:, None, None].to(device_of(self.network))

    def _embedded(self, regions: Tensor, row: int, column: int) -> Tensor:
        """Embeddings of the cell in the middle of each region, (n, width)."""
        window = self.backbone.window
        if self.exact:
            return self.network.encode(regions).mean(dim=1)
        corners = window_corners(row, column, (1, 1), window, self.backbone.stride)
        windows = [regions[:, :, r : r + window, c : c + window] for r, c in corners]
        tokens = self.network.encode(torch.cat(windows)).unflatten(0, (len(corners), -1))
        sizes = self.backbone.architecture
        rows, columns = (window - 1 - corners.T) // sizes.patch
        places = torch.from_numpy(rows * sizes.across + columns)
        return tokens[torch.arange(len(corners)), :, places].mean(dim=0)

    def _scores(self, regions: Tensor, row: int, column: int) -> Tensor:
        """Mean score of the heads for each region, (n,)."""
        embeddings = self._embedded(regions, row, column)
        found = [head.torch_score(embeddings) for head in self.heads]
        return torch.stack(found).mean(dim=0)


class TunedScore(EmbeddedScore):
    """The same for fine-tuned networks, which look at the window centred on the cell."""

    def __init__(
        self,
        backbone: Backbone,
        heads: Sequence[Any],
        evidence: xr.DataArray,
        *,
        exact: bool,  # noqa: ARG002 - there is one way only
        accelerator: str = "cpu",
    ) -> None:
        super().__init__(backbone, heads, evidence, exact=True, accelerator=accelerator)
        self.tuned = [
            (tuned_network(backbone, member["weights"]), member["temperature"])
            for head in heads
            for member in head.members_
        ]
        for network, _ in self.tuned:
            network.to(device_of(self.network)).requires_grad_(False)

    def _scores(self, regions: Tensor, row: int, column: int) -> Tensor:  # noqa: ARG002
        found = [torch.sigmoid(network(regions) / heat) for network, heat in self.tuned]
        return torch.stack(found).mean(dim=0)
