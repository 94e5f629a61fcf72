"""Reliable negatives by the spy technique: hide a few deposits and see how low they score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gossan.evidence import feature_blocks
from gossan.exceptions import LabelError, StudyError
from gossan.labels.negatives import Ground, NegativeSampler
from gossan.labels.places import cell_spacing, touching_patches

_CELLS_TO_SCALE = 20_000


class SpyNegatives(NegativeSampler):
    """Unlabelled cells that score below nearly all deposits hidden among them (Liu et al. 2002).

    Some deposits are hidden among the unlabelled as spies; a classifier learns the other deposits
    against unlabelled cells, spies included; a cell that scores below a low quantile of the spies
    is unlikely to be ore. With few deposits one choice of spies is a coin toss, so the whole is
    repeated and the cells are voted on.

    Parameters
    ----------
    share : float, default 0.15
        Share of the deposits hidden, at least one; published: 0.15.
    noise : float, default 0.15
        Quantile of the spies' scores below which a cell is a reliable negative: deposits may lie
        in odd places.
    repeats : int, default 50
        Choices of spies.
    agreement : float, default 0.5
        Share of the repeats in which a cell must be a reliable negative.
    learn_ratio : float, default 5.0
        Unlabelled cells that each classifier learns from, per positive cell.
    estimator : classifier, optional
        Default: logistic regression on standardised layers, gaps at the median. A learner that
        knows its training cells by heart would score spies too low.
    ratio : float, default 1.0
        Negatives per positive cell.
    max_cells : int, default 200_000
        A uniform sample of so many unlabelled cells is judged in a larger area.

    Notes
    -----
    A sampler sees cells and not deposits: positive cells that touch, by side or corner, count as
    one deposit and are hidden together.

    References
    ----------
    Liu, B., Lee, W. S., Yu, P. S. & Li, X. (2002). Partially supervised classification of text
    documents. Proceedings of the 19th International Conference on Machine Learning, 387–394.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, labels = rng.normal(size=(400, 3)), np.full(400, -1)
    >>> labels[np.argsort(X[:, 0])[-60::4]] = 1  # a quarter of the prospective ground is known
    >>> coordinates = 9.0 * np.column_stack(np.divmod(np.arange(400.0), 20)) ** 2
    >>> drawn = SpyNegatives(repeats=10, ratio=100).sample(X, labels, coordinates, 0)
    >>> bool(X[drawn, 0].mean() < X[labels == -1, 0].mean() - 0.1)
    True
    """

    needs_features: ClassVar[bool] = True

    def __init__(
        self,
        share: float = 0.15,
        noise: float = 0.15,
        repeats: int = 50,
        agreement: float = 0.5,
        learn_ratio: float = 5.0,
        estimator: Any = None,
        ratio: float = 1.0,
        max_cells: int = 200_000,
    ) -> None:
        self.share = share
        self.noise = noise
        self.repeats = repeats
        self.agreement = agreement
        self.learn_ratio = learn_ratio
        self.estimator = estimator
        self.ratio = ratio
        self.max_cells = max_cells

    def check(self) -> None:
        """See :meth:`NegativeSampler.check`."""
        super().check()
        for name in ("share", "noise", "agreement"):
            if not 0 < getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}: give a share between 0 and 1.")
        for name in ("repeats", "max_cells"):
            if getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}: at least 1 is needed.")
        if not self.learn_ratio > 0:
            raise StudyError(f"learn_ratio is {self.learn_ratio}: it must exceed 0.")

    def _pool(self, ground: Ground) -> npt.NDArray[np.int64]:
        cells = ground.some_unlabelled(self.max_cells)
        if len(cells) == 0:
            return cells
        patch = positive_patches(ground)
        scaled = self._scaling(ground, cells)
        models, limits = [], []
        for _ in range(self.repeats):
            hidden = self._hide(patch, ground.generator)
            models.append(self._learn(ground, cells, hidden, scaled))
            spies = scaled(ground.features[ground.positives[hidden]])
            limits.append(np.quantile(models[-1].predict_proba(spies)[:, 1], self.noise))
        votes = np.zeros(len(cells))
        for positions, values in feature_blocks(ground.features, cells):
            block = scaled(values)
            for model, limit in zip(models, limits):
                votes[positions] += model.predict_proba(block)[:, 1] < limit
        pool = cells[votes > self.agreement * self.repeats]
        if len(pool) == 0:
            raise LabelError(
                f"No unlabelled cell scores below the spies in over {self.agreement:.0%} of the "
                f"{self.repeats} repeats: the evidence does not tell deposits from other ground. "
                "Use RandomNegatives, or a smaller agreement."
            )
        return pool

    def _hide(
        self, patch: npt.NDArray[np.int32], generator: np.random.Generator
    ) -> npt.NDArray[np.bool_]:
        """Which positive cells are spies: whole deposits, at least one, never all."""
        n_patches = int(patch.max()) + 1
        if n_patches < 2:
            raise LabelError(
                "Spies need two deposits apart from each other, one to hide and one to learn "
                "from, but the positive cells form one patch. Use RandomNegatives."
            )
        count = min(max(1, round(self.share * n_patches)), n_patches - 1)
        return np.isin(patch, generator.choice(n_patches, count, replace=False))

    def _scaling(
        self, ground: Ground, cells: npt.NDArray[np.int64]
    ) -> Callable[[Any], npt.NDArray[np.float64]]:
        """What the classifiers look through: one scale for all repeats, or the layers as they are.

        Medians and scales are those of the training cells, whichever deposits are hidden.
        """
        if self.estimator is not None:
            return _flat
        shown = np.concatenate([ground.positives, cells[:: max(1, len(cells) // _CELLS_TO_SCALE)]])
        scale = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
        ).fit(_flat(ground.features[shown]))
        return lambda values: scale.transform(_flat(values))

    def _learn(
        self,
        ground: Ground,
        cells: npt.NDArray[np.int64],
        hidden: npt.NDArray[np.bool_],
        scaled: Callable[[Any], npt.NDArray[np.float64]],
    ) -> Any:
        """A classifier of the shown deposits against unlabelled cells and spies."""
        count = min(len(cells), max(1, round(self.learn_ratio * len(hidden))))
        drawn = np.sort(ground.generator.choice(cells, count, replace=False))
        others = np.concatenate([ground.positives[hidden], drawn])
        shown = ground.positives[~hidden]
        X = scaled(ground.features[np.concatenate([shown, others])])
        model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=200)
        if self.estimator is not None:
            model = clone(self.estimator)
        return model.fit(X, np.repeat([1, 0], [len(shown), len(others)]))


def positive_patches(ground: Ground) -> npt.NDArray[np.int32]:
    """Number of the patch of touching positive cells, a deposit as a sampler sees it, (positives,).

    Examples
    --------
    >>> places = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0], [9.0, 0.0]])
    >>> ground = Ground(None, places, np.array([1, 1, 1, -1]), np.random.default_rng(0))
    >>> positive_patches(ground).tolist()
    [0, 0, 1]
    """
    return touching_patches(ground.coordinates[ground.positives], cell_spacing(ground.coordinates))


def _flat(X: Any) -> npt.NDArray[np.float64]:
    return np.asarray(X, dtype=np.float64).reshape(len(X), -1)
