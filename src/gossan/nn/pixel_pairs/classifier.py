"""The estimator: networks of balanced draws, and the map that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtr
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from gossan.exceptions import LabelError, StudyError
from gossan.models import CellClassifier
from gossan.nn.devices import Precision, chosen_device
from gossan.nn.pixel_pairs.network import PairNetwork
from gossan.nn.pixel_pairs.pairs import LabelledPairs, PairKind
from gossan.nn.pixel_pairs.scoring import (
    PAIRS_AT_ONCE,
    Comparison,
    reference_score,
    ring_of_block,
    ring_of_windows,
)
from gossan.nn.pixel_pairs.surrogate import distilled
from gossan.nn.windows import DualWindow, check_dual_window

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]

_LEARNING = (
    "pair",
    "learning_rate",
    "batch_size",
    "pairs_per_epoch",
    "max_epochs",
    "patience",
    "precision",
)
"""Settings that decide what a network learns; the others only how it scores."""


class PixelPairClassifier(CellClassifier):
    """Pixel pairs, a deep network and a dual window (Zhang, Zuo & Xiong 2021).

    Parameters
    ----------
    inner, outer : int, default 13, 35
        Cells across the two windows, odd; the ring lies between them.
    pair : {"absolute-difference", "difference", "stack"}, default "absolute-difference"
        How two cells become one signal; the source does not say. The first makes the score
        symmetric, so that a pair is scored once for both its cells.
    scoring : {"ring", "reference", "both"}, default "ring"
        ``"ring"``, the source's: mean dissimilarity to the cells of the ring. ``"reference"``:
        mean dissimilarity to training negatives minus that to training positives, which looks at
        no neighbour. ``"both"``: the mean of the two, each as a normal rank among the training
        negatives.
    ring_pairs : int or None, default 32
        Cells of the ring that the deep network compares, spread evenly; ``None`` for all of them.
        A small network that it taught compares them all, and the sample says what that one is
        wrong by, on average.
    references : int, default 16
        Training cells of each class that a cell is compared with.
    members : int, default 10
        Networks, each of its own balanced draw of the negatives given; their mean is the score.
    protocol : {"held-out", "published"}, default "held-out"
        ``"published"`` keeps the one member of least validation loss, as the source does.
    learning_rate : float, default 0.01
    batch_size : int, default 128
    pairs_per_epoch : int or None, default None
        Pairs drawn an epoch; ``None`` for all.
    max_epochs : int, default 30
    patience : int, default 5
        Epochs without a lower validation loss before training stops.
    validation : float, default 0.2
        Share of the cells of each class whose pairs stop the training and teach nothing.
    accelerator : str, default "auto"
        ``"cpu"``, ``"gpu"``, … as Lightning takes it; scores are made there too.
    precision : {"32-true", "bf16-mixed", "16-mixed"}, default "32-true"
        Of training and scoring. The others are for devices that have units for them.
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    members_ : list of dict
        Of each network: ``weights``, ``centre`` and ``scale`` of the layers, ``references``,
        losses and validation accuracy.
    classes_ : ndarray of shape (2,)

    Notes
    -----
    ``fit`` takes cells ``(n, layers)``, or windows ``(n, layers, window, window)`` of which it
    looks at the middle; ``scoring="both"`` needs windows. It needs two cells of each class.

    **Missing values**: a layer that either cell of a pair lacks counts as no difference between
    them, so cells that share few layers look alike; a cell without any layer has no score.

    The validation cells lie in the same footprints as the training cells, so the validation loss
    and accuracy, and the choice of ``protocol="published"``, favour what learns deposits by heart.
    They stop the training; they are no measure of skill.

    The windows are not learnt: ``set_params(inner=…, outer=…)`` after ``fit`` scores anew.
    (``scoring="both"`` learns its ranks from them and is to be fitted again.)

    At the study's edge, and beside cells without evidence, the mean runs over the pairs there
    are; a cell without any is NaN.

    References
    ----------
    Zhang, C., Zuo, R. & Xiong, Y. (2021). Applied Geochemistry 130, 104994.
    Li, W., Wu, G., Zhang, F. & Du, Q. (2016). Hyperspectral image classification using deep
    pixel-pair features. IEEE Trans. Geoscience and Remote Sensing 55, 844–853.
    Liu, W.-M. & Chang, C.-I. (2013). Multiple-window anomaly detection for hyperspectral imagery.
    IEEE J. Selected Topics in Applied Earth Observations 6, 644–658.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(60, 5)), np.repeat([1, 0], 30)
    >>> X[y == 1] += 2.0
    >>> model = PixelPairClassifier(scoring="reference", members=1, max_epochs=3, random_state=0)
    >>> score = model.fit(X, y).predict_proba(X)[:, 1]
    >>> bool(score[y == 1].mean() > score[y == 0].mean())
    True
    """

    own_threads: ClassVar[bool] = True
    """Members are fitted one after another: torch has threads of its own."""

    missing_values = "A layer that either cell of a pair lacks counts as no difference."
    _dtype = np.float32
    _takes_windows = True

    def __init__(
        self,
        inner: int = 13,
        outer: int = 35,
        *,
        pair: PairKind = "absolute-difference",
        scoring: Literal["ring", "reference", "both"] = "ring",
        ring_pairs: int | None = 32,
        references: int = 16,
        members: int = 10,
        protocol: Literal["held-out", "published"] = "held-out",
        learning_rate: float = 0.01,
        batch_size: int = 128,
        pairs_per_epoch: int | None = None,
        max_epochs: int = 30,
        patience: int = 5,
        validation: float = 0.2,
        accelerator: str = "auto",
        precision: Precision = "32-true",
        random_state: Any = None,
    ) -> None:
        self.inner = inner
        self.outer = outer
        self.pair = pair
        self.scoring = scoring
        self.ring_pairs = ring_pairs
        self.references = references
        self.members = members
        self.protocol = protocol
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.pairs_per_epoch = pairs_per_epoch
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation = validation
        self.accelerator = accelerator
        self.precision = precision
        self.random_state = random_state

    @property
    def window(self) -> int:  # type: ignore[override]
        """How many cells across it looks: the outer window, or 1 without a ring."""
        return 1 if self.scoring == "reference" else self.outer

    @property
    def fit_window(self) -> int:
        """How many cells across it learns from: pairs are of single cells."""
        return self.window if self.scoring == "both" else 1

    @property
    def idle(self) -> tuple[str, ...]:  # type: ignore[override]
        """Settings of a score that is not asked for."""
        of_one = {"reference": ("inner", "outer", "ring_pairs"), "ring": ("references",)}
        return of_one.get(self.scoring, ())

    def check(self) -> None:
        """Raise :class:`StudyError` if a setting cannot be, before anything is fitted."""
        check_dual_window(self.inner, self.outer)
        for name, allowed in (
            ("pair", ("absolute-difference", "difference", "stack")),
            ("scoring", ("ring", "reference", "both")),
            ("protocol", ("held-out", "published")),
            ("precision", ("32-true", "bf16-mixed", "16-mixed")),
            ("accelerator", ("auto", "cpu", "gpu", "cuda", "mps", "xpu")),
        ):
            if getattr(self, name) not in allowed:
                raise StudyError(f"{name} is {getattr(self, name)!r}: one of {', '.join(allowed)}.")
        for name in ("references", "members", "batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}: at least 1 is needed.")
        for name in ("ring_pairs", "pairs_per_epoch"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}: give at least 1.")
        if self.protocol == "published" and self.members == 1:
            raise StudyError(
                "protocol is 'published', which keeps the best of several networks, and members "
                "is 1: set members to 10."
            )
        chosen_device(self.accelerator)
        if not 0 < self.learning_rate < np.inf:
            raise StudyError(f"learning_rate is {self.learning_rate}: give a number above 0.")
        if not 0 < self.validation < 1:
            raise StudyError(f"validation is {self.validation}: give a share between 0 and 1.")

    def predict_with_spread(self, X: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation over the members, each of shape (n,).

        Parameters
        ----------
        X : array-like of shape (n, layers) or (n, layers, window, window)
        """
        layers = self._checked(X)
        return _moments([self._score_windows(member, layers) for member in self.members_])

    def predict_block(self, block: FloatArray) -> FloatArray:
        """Scores of a block, equal to those of its windows one by one.

        Parameters
        ----------
        block : array of shape (layers, h + window - 1, w + window - 1)
            NaN beyond the edge.

        Returns
        -------
        ndarray of shape (h, w)
        """
        return self.predict_block_with_spread(block)[0]

    def predict_block_with_spread(self, block: FloatArray) -> FloatArray:
        """Mean and standard deviation over the members, shape (2, h, w)."""
        self._check_block(block)
        return np.stack(_moments([self._score_block(member, block) for member in self.members_]))

    def ring_score(self, block: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean dissimilarity to the ring, and the standard error of having sampled it.

        Parameters
        ----------
        block : array of shape (layers, h + outer - 1, w + outer - 1)

        Returns
        -------
        score, standard_error : ndarray of shape (h, w)
            Over all members, each of which has a sample of its own. The error is that of simple
            random samples; 0 where the deep network compares the whole ring.
        """
        self._check_block(block)
        found = [self._ring_block(member, block) for member in self.members_]
        error = np.sqrt(np.sum([e**2 for _, e in found], axis=0)) / len(found)
        return np.mean([mean for mean, _ in found], axis=0), error

    def _fit_cells(self, X: FloatArray, positive: npt.NDArray[np.bool_]) -> None:
        self.check()
        cells = _centres(X)
        for name, count in (("deposits", positive.sum()), ("negatives", (~positive).sum())):
            if count < 2:
                raise LabelError(
                    f"{count} cell of the {name}: pairs within a class need two. Widen the "
                    "footprint of the deposits, or take another method."
                )
        generator = check_random_state(self.random_state)
        self.members_ = [
            self._fit_member(cells, positive, int(generator.randint(2**31)))
            for _ in range(self.members)
        ]
        if self.protocol == "published":
            self.members_ = [min(self.members_, key=lambda member: member["validation_loss"])]
        if self.scoring == "both":
            for member in self.members_:
                self._place_ranks(member, X[~positive])

    def _score_cells(self, X: FloatArray) -> FloatArray:
        return _moments([self._score_windows(member, X) for member in self.members_])[0]

    def _fit_member(
        self, cells: FloatArray, positive: npt.NDArray[np.bool_], seed: int
    ) -> dict[str, Any]:
        """One network of a balanced draw of the negatives."""
        from gossan.nn.training import train_once  # Lightning takes seconds to import

        rng = np.random.default_rng(seed)
        negatives = np.flatnonzero(~positive)
        if len(negatives) > positive.sum():
            negatives = rng.choice(negatives, int(positive.sum()), replace=False)
        drawn = np.concatenate([np.flatnonzero(positive), np.sort(negatives)])
        labels = positive[drawn].astype(np.int64)
        centre, scale = _centre_and_scale(cells[drawn])
        values = ((cells[drawn] - centre) / scale).astype(np.float32)
        taught, judged = self._split(labels, rng)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = PairNetwork(2 if self.pair == "stack" else 1)
        learning = {name: getattr(self, name) for name in _LEARNING}
        record = train_once(
            network,
            (type(self).__name__, learning, values, labels, taught, judged, seed),
            lambda checkpoint: _trained(
                self, network, (values, labels), (taught, judged), seed, checkpoint
            ),
        )
        member = {
            "seed": seed,
            "weights": {name: value.numpy() for name, value in network.state_dict().items()},
            "centre": centre,
            "scale": scale,
            "references": [
                values[rng.permutation(np.flatnonzero(labels == label))[: self.references]]
                for label in (0, 1)
            ],
            "training_loss": record.training_loss[record.best_epoch],
            "validation_loss": record.validation_loss[record.best_epoch],
            "validation_accuracy": _accuracy(
                network, _pair_batches(self, values[judged], labels[judged], seed, shuffle=False)
            ),
            "epochs": len(record.training_loss),
        }
        if self.scoring != "reference":
            member["surrogate"] = distilled(self._comparison(member), values, seed)
        return member

    def _split(self, labels: IntArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Cells that teach and cells that stop the training, of each class in the same shares."""
        taught, judged = [], []
        for label in (1, 0):
            cells = rng.permutation(np.flatnonzero(labels == label))
            count = max(2, int((1.0 - self.validation) * len(cells)))
            taught.append(cells[:count])
            # Too few to spare any: the training is then stopped by the pairs that teach.
            judged.append(cells[count:] if len(cells) - count >= 1 else cells)
        return np.concatenate(taught), np.concatenate(judged)

    def _check_block(self, block: FloatArray) -> None:
        check_is_fitted(self)
        self.check()
        wanted = self.n_features_in_
        if block.ndim != 3 or len(block) != wanted or min(block.shape[1:]) < self.window:
            raise StudyError(
                f"The block is {block.shape}: give {wanted} layers, {self.window} cells across at "
                "least."
            )

    def _ring(self, member: dict[str, Any]) -> DualWindow:
        return DualWindow(self.inner, self.outer, self.ring_pairs, member["seed"])

    def _comparison(self, member: dict[str, Any]) -> Comparison:
        return Comparison(member, self.pair, self.accelerator, self.precision)

    def _score_windows(self, member: dict[str, Any], X: FloatArray) -> FloatArray:
        return self._combined(member, self._parts_of_windows(member, X))

    def _parts_of_windows(self, member: dict[str, Any], X: FloatArray) -> dict[str, FloatArray]:
        """Each score that ``scoring`` asks for; NaN where a cell has no layer at all."""
        parts = {}
        compare = self._comparison(member)
        if self.scoring != "reference":
            if X.ndim != 4 or X.shape[2] != X.shape[3] or X.shape[2] < self.outer:
                raise StudyError(
                    f"scoring={self.scoring!r} looks at windows: give (n, layers, {self.outer}, "
                    f"{self.outer}), not {X.shape}."
                )
            ring = ring_of_windows(compare, compare.standardised(X), self._ring(member))
            parts["ring"] = np.clip(ring, 0.0, 1.0)  # an estimate may pass the ends
        if self.scoring != "ring":
            parts["reference"] = reference_score(compare, compare.standardised(_centres(X)))
        unseen = ~np.isfinite(_centres(X)).any(axis=1)
        return {name: np.where(unseen, np.nan, score) for name, score in parts.items()}

    def _score_block(self, member: dict[str, Any], block: FloatArray) -> FloatArray:
        parts = {}
        if self.scoring != "reference":
            parts["ring"] = self._ring_block(member, block)[0]
        if self.scoring != "ring":
            halo = self.window // 2
            inner = block[:, halo : block.shape[1] - halo, halo : block.shape[2] - halo]
            compare = self._comparison(member)
            cells = np.moveaxis(inner, 0, -1).reshape(-1, len(inner))
            scores = reference_score(compare, compare.standardised(cells))
            scores = np.where(np.isfinite(cells).any(axis=1), scores, np.nan)
            parts["reference"] = scores.reshape(inner.shape[1:])
        return self._combined(member, parts)

    def _ring_block(
        self, member: dict[str, Any], block: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        mean, error = ring_of_block(self._comparison(member), block, self._ring(member))
        return np.clip(mean, 0.0, 1.0), error  # an estimate may pass the ends

    def _combined(self, member: dict[str, Any], parts: dict[str, FloatArray]) -> FloatArray:
        if self.scoring != "both":
            return parts[self.scoring]
        if "ranks" not in member:
            raise StudyError('scoring="both" learns ranks: set it before the model is fitted.')
        ranks = [ndtr((parts[name] - mean) / sd) for name, (mean, sd) in member["ranks"].items()]
        return np.mean(ranks, axis=0)

    def _place_ranks(self, member: dict[str, Any], windows: FloatArray) -> None:
        """Where the training negatives lie on either score, for ``scoring="both"``."""
        member["ranks"] = {
            name: (float(np.nanmean(score)), float(np.nanstd(score)) or 1.0)
            for name, score in self._parts_of_windows(member, windows).items()
        }


def _trained(
    settings: PixelPairClassifier,
    network: PairNetwork,
    cells: tuple[FloatArray, IntArray],
    split: tuple[IntArray, IntArray],
    seed: int,
    checkpoint: Path | None,
) -> Any:
    """Train one network on the pairs of some cells, stopped by those of others."""
    from gossan.nn.training import TrainingPlan, train

    values, labels = cells
    taught, judged = split
    return train(
        network,
        _pair_loss,
        lambda weights: torch.optim.SGD(weights, settings.learning_rate, momentum=0.9),
        _pair_batches(settings, values[taught], labels[taught], seed, shuffle=True),
        _pair_batches(settings, values[judged], labels[judged], seed, shuffle=False),
        TrainingPlan(
            settings.max_epochs,
            settings.patience,
            settings.accelerator,
            devices=1,
            precision=settings.precision,
            seed=seed,
        ),
        checkpoint=checkpoint,
    )


def _pair_batches(
    settings: PixelPairClassifier, values: FloatArray, labels: IntArray, seed: int, *, shuffle: bool
) -> Any:
    from gossan.nn.training import EpochBatches, batches

    pairs = LabelledPairs(values, labels, settings.pair)
    size = settings.batch_size if shuffle else PAIRS_AT_ONCE
    order = EpochBatches(
        len(pairs), size, per_epoch=settings.pairs_per_epoch, seed=seed, shuffle=shuffle
    )
    return batches(pairs, order)


def _pair_loss(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    signal, label = batch
    return nn.functional.binary_cross_entropy_with_logits(network(signal), label)


@torch.inference_mode()
def _accuracy(network: nn.Module, judged: Any) -> float:
    right = [(network(signal) > 0) == (label > 0.5) for signal, label in judged]
    return float(torch.cat(right).double().mean())


def _centres(X: FloatArray) -> FloatArray:
    """The cells in the middle of windows, (n, layers)."""
    return X if X.ndim == 2 else X[:, :, X.shape[2] // 2, X.shape[3] // 2]


def _centre_and_scale(cells: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of each layer; 0 and 1 where it is missing or constant."""
    observed = np.isfinite(cells)
    count = np.maximum(observed.sum(axis=0), 1)
    values = np.where(observed, cells, 0.0).astype(np.float64)
    centre = values.sum(axis=0) / count
    scale = np.sqrt((np.where(observed, values - centre, 0.0) ** 2).sum(axis=0) / count)
    return centre.astype(np.float32), np.where(scale > 0, scale, 1.0).astype(np.float32)


def _moments(scores: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation over members; no ensemble, no spread: NaN."""
    spread = np.std(scores, axis=0) if len(scores) > 1 else np.full(np.shape(scores[0]), np.nan)
    return np.mean(scores, axis=0), spread
