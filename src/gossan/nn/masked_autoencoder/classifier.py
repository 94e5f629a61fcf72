"""The estimator: a pretrained backbone, and a head that a handful of deposits can teach."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from scipy.special import expit
from sklearn.base import clone
from sklearn.utils import check_random_state
from torch import Tensor

from gossan.draws import score_and_spread
from gossan.exceptions import StudyError, TrainingError
from gossan.models import Analogues, CellClassifier, CellExtraTrees
from gossan.nn.devices import Precision, chosen_device
from gossan.nn.masked_autoencoder.attribution import EmbeddedScore, TunedScore
from gossan.nn.masked_autoencoder.backbone import Backbone
from gossan.nn.masked_autoencoder.finetuning import FineTuning, fine_tuned, tuned_network
from gossan.nn.masked_autoencoder.heads import (
    HeadSettings,
    drawn_odds,
    linear_head,
    linear_odds,
    temperature,
)
from gossan.nn.masked_autoencoder.measures import check_measures
from gossan.nn.masked_autoencoder.pretraining import pretrain, untrained
from gossan.nn.masked_autoencoder.settings import Pretraining

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_HEADS = ("probe", "forest", "finetune", "analogues")
_LINEAR = ("members", "dropout", "dropout_draws", "label_smoothing", "calibrate")
_IDLE = {
    "probe": ("n_estimators",),
    "forest": _LINEAR,
    "finetune": ("n_estimators", "embedding"),
    "analogues": (*_LINEAR, "n_estimators"),
}
"""Of each head the settings that it does not know."""
_LEAST_GROUPS = 5
"""Deposits of which one may be spared to calibrate by."""
_WINDOWS_AT_ONCE = 256


class PretrainedClassifier(CellClassifier):
    """Embeddings of a masked autoencoder, and a head (after Daruna et al. 2024).

    The backbone learns without labels what goes with what in the evidence; the head learns from
    the labelled cells' embeddings.

    Parameters
    ----------
    backbone : Backbone or None, default None
        From :func:`pretrain` or ``gossan pretrain``; ``None`` to pretrain one on the evidence of
        the study, which is kept and shared by all folds.
    head : {"probe", "forest", "finetune", "analogues"}, default "probe"
        ``"probe"``: a linear head on the frozen embedding, with dropout and smoothed labels.
        ``"forest"``: extra trees on the embedding and the layers together. ``"finetune"``: a
        linear head on the token in the middle of the cell's window, and the encoder learns too.
        ``"analogues"``: mean likeness of the embedding to those of the deposits
        (:class:`gossan.models.Analogues`); no negative has a part in it.
    pretrained : bool, default True
        ``False`` for the same network with the weights it starts from: what pretraining is
        measured by.
    strict : bool, default False
        Whether even the unlabelled evidence of held-out ground is kept from the backbone: it is
        then pretrained anew in every fold.
    embedding : {"dense", "exact"}, default "dense"
        ``"dense"``: each cell's own token, averaged over windows at half a window's stride.
        ``"exact"``: the mean of the tokens of the window centred on the cell, one pass a cell.
    members : int, default 5
        Heads, each of its own seed; their mean is the score.
    dropout : float, default 0.2
    dropout_draws : int, default 20
        Draws of dropout behind the spread of each head; 0 for none.
    label_smoothing : float, default 0.1
    calibrate : bool, default True
        Whether log-odds are divided by a temperature that a fifth of the training deposits and of
        the other cells, left out by each head, settles; with fewer than five deposits they are
        left as they are.
    n_estimators : int, default 30
        Trees of a forest.
    preset : {"small", "base"}, default "small"
    backbone_window, epochs, windows_per_epoch : int or None
        Of the pretraining, in place of the defaults of :class:`Pretraining`.
    accelerator : str, default "auto"
    precision : {"32-true", "bf16-mixed", "16-mixed"}, default "32-true"
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    members_ : list of dict
        Linear heads, or fine-tuned networks.
    plain_ : CellExtraTrees or Analogues
        The forest, or the likeness, in their place.
    classes_ : ndarray of shape (2,)

    Notes
    -----
    ``fit`` takes the layers that :meth:`look_at` makes of the evidence, ``(n, columns)``; it may be
    given any others. Maps, cross-validation and comparison make them. ``"finetune"`` takes windows
    of the evidence itself, ``(n, layers, window, window)``.

    **Missing values**: the backbone has a learned stand-in for every missing layer, so a cell with
    any layer is scored; the head itself takes a missing column at its mean.

    References
    ----------
    Daruna, A. et al. (2024). GFM4MPM. arXiv 2406.12756.
    Guo, C. et al. (2017). On calibration of modern neural networks. ICML.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(60, 5)), np.repeat([1, 0], 30)
    >>> X[y == 1] += 2.0
    >>> score = PretrainedClassifier(random_state=0).fit(X, y).predict_proba(X)[:, 1]
    >>> bool(score[y == 1].mean() > score[y == 0].mean())
    True
    """

    own_threads: ClassVar[bool] = True
    uses_groups: ClassVar[bool] = True
    missing_values = "The backbone has a learned stand-in for every missing layer."

    def __init__(
        self,
        backbone: Any = None,
        *,
        head: Literal["probe", "forest", "finetune", "analogues"] = "probe",
        pretrained: bool = True,
        strict: bool = False,
        embedding: Literal["dense", "exact"] = "dense",
        members: int = 5,
        dropout: float = 0.2,
        dropout_draws: int = 20,
        label_smoothing: float = 0.1,
        calibrate: bool = True,
        n_estimators: int = 30,
        preset: str = "small",
        backbone_window: int | None = None,
        epochs: int | None = None,
        windows_per_epoch: int | None = None,
        accelerator: str = "auto",
        precision: Precision = "32-true",
        random_state: Any = None,
    ) -> None:
        self.backbone = backbone
        self.head = head
        self.pretrained = pretrained
        self.strict = strict
        self.embedding = embedding
        self.members = members
        self.dropout = dropout
        self.dropout_draws = dropout_draws
        self.label_smoothing = label_smoothing
        self.calibrate = calibrate
        self.n_estimators = n_estimators
        self.preset = preset
        self.backbone_window = backbone_window
        self.epochs = epochs
        self.windows_per_epoch = windows_per_epoch
        self.accelerator = accelerator
        self.precision = precision
        self.random_state = random_state

    @property
    def window(self) -> int:  # type: ignore[override]
        """How many cells across it looks: 1 at embeddings, a window of the backbone otherwise."""
        if self.head != "finetune":
            return 1
        return (
            self.pretraining.architecture.window if self.backbone is None else self._learnt.window
        )

    @property
    def _takes_windows(self) -> bool:  # type: ignore[override]
        return self.head == "finetune"

    @property
    def idle(self) -> tuple[str, ...]:  # type: ignore[override]
        """Settings of another head, and of a pretraining that a given backbone has behind it."""
        of_pretraining = ("preset", "backbone_window", "epochs", "windows_per_epoch", "strict")
        return (*_IDLE.get(self.head, ()), *(of_pretraining if self.backbone is not None else ()))

    @property
    def learns_in_folds(self) -> bool:
        """Whether it learns, even without labels, from the training fold's evidence alone."""
        return self.strict and self.backbone is None

    @property
    def pretraining(self) -> Pretraining:
        """How its backbone is pretrained."""
        given = {
            "window": self.backbone_window,
            "epochs": self.epochs,
            "windows_per_epoch": self.windows_per_epoch,
        }
        seed = self.random_state if isinstance(self.random_state, int | np.integer) else 0
        return Pretraining(
            preset=self.preset,
            accelerator=self.accelerator,
            precision=self.precision,
            random_state=int(seed),
            **{name: value for name, value in given.items() if value is not None},
        )

    def check(self) -> None:
        """Raise :class:`StudyError` if a setting cannot be, before anything is fitted."""
        if self.head not in _HEADS:
            raise StudyError(f"head is {self.head!r}: one of {', '.join(_HEADS)}.")
        if self.embedding not in ("dense", "exact"):
            raise StudyError(f"embedding is {self.embedding!r}: one of dense, exact.")
        for name in ("members", "n_estimators"):
            if getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}: at least 1 is needed.")
        if self.dropout_draws < 0:
            raise StudyError(f"dropout_draws is {self.dropout_draws}: give 0 or more.")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}: give a share below 1.")
        if self.backbone is not None and not isinstance(self.backbone, Backbone):
            raise StudyError(
                f"backbone is {self.backbone!r}: give a Backbone, such as `Backbone.load(file)`."
            )
        chosen_device(self.accelerator)
        if self.backbone_window is not None and self.backbone_window % 2 == 0:
            raise StudyError(
                f"backbone_window is {self.backbone_window}: it counts cells across, and is odd."
            )
        self.pretraining.check()

    def learn_evidence(
        self,
        evidence: xr.DataArray,
        cells: BoolArray | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """A clone whose backbone has learnt from evidence, without labels.

        Parameters
        ----------
        evidence : xarray.DataArray
            ``(layer, y, x)``.
        cells : ndarray of shape (y, x), bool, optional
            Cells that may be seen; default: all.
        progress : callable, optional
            Called with (epochs done, epochs in all).
        """
        self.check()
        if self.backbone is not None and self.pretrained:
            return self
        if self.pretrained:
            learnt = pretrain(evidence, self.pretraining, learnt_from=cells, progress=progress)
        elif self.backbone is not None:
            learnt = self.backbone.untrained()
        else:
            learnt = untrained(evidence, self.pretraining, learnt_from=cells)
        return clone(self).set_params(backbone=learnt, pretrained=True)

    def look_at(self, evidence: xr.DataArray) -> xr.DataArray:
        """What it looks at in place of an area's evidence, (layer, y, x).

        Of a probe and of likeness the embeddings, of a forest the evidence and the embeddings;
        when it is fine-tuned the layers that the backbone knows, in its order.
        """
        if self.head == "finetune":
            known = self._learnt.layers
            self._learnt.order([str(name) for name in evidence["layer"].to_numpy()])
            learnt = self._learnt
            check_measures(evidence, {**learnt.description, "layers": learnt.layers})
            by_layer = [n for n, c in evidence.coords.items() if c.dims == ("layer",)]
            dropped = [name for name in by_layer if name != "layer"]
            return evidence.drop_vars(dropped).reindex(layer=known)
        embedded = self._learnt.embed(
            evidence, exact=self.embedding == "exact", accelerator=self.accelerator
        )
        if not self.sees_layers:
            return embedded
        plain = evidence.drop_vars([n for n in evidence.coords if n not in embedded.coords])
        return xr.concat([plain, embedded], dim="layer", combine_attrs="drop")

    @property
    def sees_layers(self) -> bool:
        """Whether the head looks at a cell's layers beside their embedding."""
        return self.head == "forest"

    @property
    def attributed_by(self) -> Literal["gradients", "removal"]:
        """How :meth:`attribute` finds what a layer adds: ranks and forests have no gradient."""
        return "removal" if self._is_plain else "gradients"

    def attribute(
        self,
        evidence: xr.DataArray,
        cells: npt.NDArray[np.int64],
        *,
        background: FloatArray,
        members: Sequence[PretrainedClassifier] | None = None,
        skip_failed: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> FloatArray:
        """How much of some cells' mean score is owed to each layer.

        Of linear heads by integrated gradients against the background's mean; of others by
        putting the background's mean in the place of a layer round the cell, layer by layer.

        Parameters
        ----------
        evidence : xarray.DataArray
            ``(layer, y, x)``.
        cells : ndarray of shape (n, 2)
            Rows and columns.
        background : ndarray of shape (m, layers)
            Cells of ordinary ground.
        members : sequence of PretrainedClassifier, optional
            Fitted heads on this backbone, whose mean is explained; default: this one.
        skip_failed : bool, default False
            Whether a cell whose attributions do not add up to its score is NaN, and no error.
        progress : callable, optional
            Called with (cells done, cells in all).

        Returns
        -------
        ndarray of shape (n, layers)

        Raises
        ------
        StudyError
            If a cell lies outside the area, or the background has other layers.
        TrainingError
            If attributions do not add up to a score, unless such cells are skipped.
        """
        cells, background = np.asarray(cells), np.asarray(background)
        layers, *shape = evidence.shape
        outside = [
            c for c in cells.tolist() if not all(0 <= k < n for k, n in zip(c, shape, strict=True))
        ]
        if outside:
            row, column = outside[0]
            raise StudyError(
                f"There is no cell at row {row}, column {column}: the area has {shape[0]} × "
                f"{shape[1]}."
            )
        if background.shape[1:] != (layers,) or not len(background):
            raise StudyError(
                f"background is {background.shape}: give the {layers} layers of one cell at least."
            )
        heads = [self] if members is None else list(members)
        explained = (TunedScore if self.head == "finetune" else EmbeddedScore)(
            self._learnt,
            heads,
            evidence,
            exact=self.embedding == "exact",
            accelerator=self.accelerator,
        )
        by_removal = self.attributed_by == "removal"
        way = explained.without_layers if by_removal else explained.integrated_gradients
        baseline = _means(background)
        found = np.full((len(cells), evidence.sizes["layer"]), np.nan)
        for cell, (row, column) in enumerate(cells):
            with contextlib.suppress(*([TrainingError] if skip_failed else [])):
                found[cell] = way(int(row), int(column), baseline)
            if progress is not None:
                progress(cell + 1, len(cells))
        return found

    @property
    def _learnt(self) -> Backbone:
        """The backbone that it looks through."""
        if self.backbone is None:
            raise StudyError(
                "There is no backbone yet: give one, or call learn_evidence(evidence) first."
            )
        return self.backbone

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        self._fit_groups(X, positive, np.arange(len(X)))

    def _fit_groups(
        self, X: FloatArray, positive: BoolArray, groups: npt.NDArray[np.int64]
    ) -> None:
        self.check()
        generator = check_random_state(self.random_state)
        if self._is_plain:
            seed = int(generator.randint(2**31))
            self.plain_ = self._plain_head(seed).fit(X, positive.astype(int), groups=groups)
            return
        seeds = [int(generator.randint(2**31)) for _ in range(self.members)]
        splits = [_split(positive, groups, np.random.default_rng(seed)) for seed in seeds]
        both = zip(seeds, splits, strict=True)
        self.members_: list[dict[str, Any]]
        if self.head == "finetune":
            windows = self._standardised(X)
            self.members_ = [self._fit_network(windows, positive, *given) for given in both]
            return
        self.fill_ = _means(X)
        embeddings = np.where(np.isfinite(X), X, self.fill_)
        self.members_ = [self._fit_head(embeddings, positive, *given) for given in both]

    @property
    def _is_plain(self) -> bool:
        """Whether an estimator of cells is the head, and no layer of a network."""
        return self.head in ("forest", "analogues")

    def _plain_head(self, seed: int) -> CellExtraTrees | Analogues:
        if self.head == "analogues":
            return Analogues()
        return CellExtraTrees(self.n_estimators, random_state=seed)

    def _fit_network(
        self, windows: Tensor, positive: BoolArray, seed: int, split: tuple[IntArray, IntArray]
    ) -> dict[str, Any]:
        """One fine-tuned network, and the temperature of its log-odds."""
        taught, judged = split
        network = fine_tuned(
            self._learnt,
            windows,
            positive,
            (taught, judged if len(judged) else taught),  # too few to spare any
            HeadSettings(self.dropout, self.label_smoothing),
            FineTuning(accelerator=self.accelerator, precision=self.precision),
            seed,
        )
        found = {**network, "seed": seed, "temperature": 1.0}
        if self.calibrate and len(judged):
            odds = linear_odds(_tuned_head(found), self._tokens(found, windows[judged]))
            found["temperature"] = temperature(odds, positive[judged])
        return found

    def _standardised(self, X: FloatArray) -> Tensor:
        """Windows of the backbone's layers, in its scale."""
        wanted = (len(self._learnt.layers), self.window, self.window)
        if X.shape[1:] != wanted:
            raise StudyError(
                "head='finetune' looks at windows of the backbone's layers: give "
                f"{('n', *wanted)}, not {X.shape}."
            )
        scaled = self._learnt.standard.applied(np.moveaxis(X, 1, 0))
        return torch.from_numpy(scaled).transpose(0, 1)

    @torch.inference_mode()
    def _tokens(self, member: dict[str, Any], windows: Tensor) -> FloatArray:
        """Embeddings of the middles of windows by a fine-tuned network, (n, width)."""
        device = chosen_device(self.accelerator)
        network = tuned_network(self._learnt, member["weights"]).to(device)
        parts = [network.centre(part.to(device)) for part in windows.split(_WINDOWS_AT_ONCE)]
        return torch.cat(parts).cpu().numpy()

    def _fit_head(
        self,
        embeddings: FloatArray,
        positive: BoolArray,
        seed: int,
        split: tuple[IntArray, IntArray],
    ) -> dict[str, Any]:
        """One linear head, and the temperature of its log-odds."""
        taught, judged = split if self.calibrate else (np.arange(len(positive)), split[1][:0])
        settings = HeadSettings(self.dropout, self.label_smoothing)
        head = linear_head(embeddings[taught], positive[taught], settings, seed)
        odds = linear_odds(head, embeddings[judged])
        return {**head, "seed": seed, "temperature": temperature(odds, positive[judged])}

    def _score_cells(self, X: FloatArray) -> FloatArray:
        if self._is_plain:
            return self.plain_.predict_proba(X)[:, 1]
        scores = [
            expit(linear_odds(head, embeddings) / head["temperature"])
            for head, embeddings in self._embedded(X)
        ]
        return np.mean(scores, axis=0)

    def predict_with_spread(self, X: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The score, and its standard deviation over heads and draws of dropout, each (n,).

        Of a forest over its trees; likeness has none, and is NaN.
        """
        values = self._checked(X)
        if self._is_plain:
            return score_and_spread(self.plain_, values)
        scores, draws = [], []
        for head, embeddings in self._embedded(values):
            scores.append(expit(linear_odds(head, embeddings) / head["temperature"]))
            draws.append(expit(self._drawn(head, embeddings) / head["temperature"]))
        return np.mean(scores, axis=0), np.concatenate(draws).std(axis=0)

    def _embedded(self, X: FloatArray) -> Iterator[tuple[dict[str, Any], FloatArray]]:
        """Each linear head, and the embeddings that it looks at."""
        if self.head == "finetune":
            windows = self._standardised(X)
            for member in self.members_:
                yield _tuned_head(member), self._tokens(member, windows)
            return
        embeddings = np.where(np.isfinite(X), X, self.fill_)
        for member in self.members_:
            yield member, embeddings

    def torch_score(self, embeddings: Tensor) -> Tensor:
        """The score of a probe as torch computes it, (n, width) → (n,), for its gradients."""
        found = []
        for head in self.members_:
            parts = (*(head[name] for name in ("centre", "scale")), head["weights"]["slope"])
            centre, scale, slope = (torch.from_numpy(part).to(embeddings) for part in parts)
            odds = (embeddings - centre) / scale @ slope + float(head["weights"]["intercept"][0])
            found.append(torch.sigmoid(odds / head["temperature"]))
        return torch.stack(found).mean(dim=0)

    def _drawn(self, head: dict[str, Any], embeddings: FloatArray) -> FloatArray:
        """Log-odds under draws of dropout, or the head's own, (draws, n)."""
        if self.dropout_draws == 0:
            return linear_odds(head, embeddings)[None]
        return drawn_odds(head, embeddings, self.dropout, self.dropout_draws, head["seed"])


def _tuned_head(member: dict[str, Any]) -> dict[str, Any]:
    """The linear head of a fine-tuned network, as those on frozen embeddings are."""
    slope = member["weights"]["head.weight"][0]
    return {
        "weights": {"slope": slope, "intercept": member["weights"]["head.bias"]},
        "centre": np.zeros_like(slope),
        "scale": np.ones_like(slope),
        "seed": member["seed"],
        "temperature": member["temperature"],
    }


def _means(X: FloatArray) -> FloatArray:
    """Mean of each column where it is observed; 0 where it nowhere is."""
    observed = np.isfinite(X)
    total = np.where(observed, X, 0.0).sum(axis=0)
    return total / np.maximum(observed.sum(axis=0), 1)


def _split(
    positive: BoolArray, groups: IntArray, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Four fifths of the deposits and of the other cells to learn from, one fifth to calibrate by.

    The cells of a deposit go together: they are near copies of one another. With fewer than five
    deposits all cells are to learn from.
    """
    own = [np.unique(groups[positive == label]) for label in (True, False)]
    if min(map(len, own)) < _LEAST_GROUPS:
        return np.arange(len(positive)), np.empty(0, dtype=np.int64)
    spared = [rng.permutation(names)[: len(names) // 5] for names in own]
    judged = np.isin(groups, spared[0]) & positive | np.isin(groups, spared[1]) & ~positive
    return np.flatnonzero(~judged), np.flatnonzero(judged)
