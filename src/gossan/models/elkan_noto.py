"""From "was labelled" to "is ore": Elkan & Noto's correction of a classifier."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from gossan.exceptions import StudyError, SurveyDataWarning
from gossan.models._base import BoolArray, FloatArray
from gossan.models.ensembles import CellExtraTrees, _moments_over_trees


class ElkanNoto(CellExtraTrees):
    """Trees of known against unlabelled cells, divided by the share of ore that is known.

    A classifier of labelled against unlabelled cells estimates g(x), the chance that a cell is
    *labelled*. If every ore cell is as likely to be known as any other, that is c times the chance
    that it is *ore*, and c is what g averages over positives it was not shown (Elkan & Noto
    2008). The score is g(x) / c, at most 1. The ranking is that of g, but for the cap.

    Parameters
    ----------
    n_estimators : int, default 100
        Trees.
    min_samples_leaf : int, default 10
        Least cells in a leaf: g has to be a probability, so a leaf is a count of cells.
    max_features, n_jobs, random_state
        As in :class:`CellExtraTrees`.
    n_folds : int, default 5
        Folds of the positives behind c: runs of consecutive positives, so that a deposit's
        footprint is seldom split. Fewer where there are fewer positives.

    Attributes
    ----------
    learner_ : sklearn.ensemble.ExtraTreesClassifier
    labelled_share_ : float
        c, the share of ore cells that are known, in (0, 1].
    classes_ : ndarray of shape (2,)

    Notes
    -----
    Labels 0 and -1 are one pool, the unlabelled, and classes are not balanced: g counts. Discovery
    near roads breaks the assumption: then the score says "ore that would be known by now".

    Two more things make the score a chance of ore. The cells given must be all of the area: where
    the unlabelled are a draw of few, ore is rarer on the ground than the score says. And ore must
    stand clear of other ground: g averages c over positives only if none of them could be barren,
    and less where they overlap, so that c is too low and the score too high.

    **Missing values**: as in :class:`CellExtraTrees`.

    References
    ----------
    Elkan, C. & Noto, K. (2008). Learning classifiers from only positive and unlabeled data.
    Proceedings of the 14th ACM SIGKDD Conference, 213-220.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ore = rng.random(4000) < 0.5
    >>> X = rng.normal(size=(4000, 1)) + np.where(ore, 6.0, 0.0)[:, None]
    >>> known = ore & (rng.random(4000) < 0.3)
    >>> model = ElkanNoto(random_state=0).fit(X, np.where(known, 1, -1))
    >>> round(model.labelled_share_, 1)
    0.3
    """

    uses_unlabelled = True

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        min_samples_leaf: int = 10,
        max_features: str | float = "sqrt",
        n_folds: int = 5,
        n_jobs: int | None = -1,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            n_estimators,
            min_samples_leaf=min_samples_leaf,
            max_features=max_features,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.n_folds = n_folds

    def predict_with_spread(self, X: Any) -> tuple[FloatArray, FloatArray]:
        """Score and the standard deviation of the trees' scores, each of shape (n,)."""
        mean, spread = super().predict_with_spread(X)
        return np.minimum(mean / self.labelled_share_, 1.0), spread / self.labelled_share_

    def _make_learner(self, positive: BoolArray) -> Any:  # noqa: ARG002
        settings = self.get_params()
        del settings["n_folds"]
        return ExtraTreesClassifier(**settings)

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        if self.n_folds < 2:
            raise StudyError(f"n_folds is {self.n_folds}: at least 2 folds are needed.")
        super()._fit_cells(X, positive)
        self.labelled_share_ = self._labelled_share(X, positive)

    def _score_cells(self, X: FloatArray) -> FloatArray:
        return np.minimum(super()._score_cells(X) / self.labelled_share_, 1.0)

    def _labelled_share(self, X: FloatArray, positive: BoolArray) -> float:
        """c: mean of g over positives that it was not shown."""
        folds = [f for f in np.array_split(np.flatnonzero(positive), self.n_folds) if len(f)]
        if len(folds) < 2:
            warnings.warn(
                "A single positive cell leaves nothing to estimate the labelled share from: "
                "scores are those of labelled against unlabelled cells.",
                SurveyDataWarning,
                stacklevel=5,
            )
            return 1.0
        n_trees = max(10, self.n_estimators // len(folds))  # c is one number, a mean over positives
        scores = []
        for number, fold in enumerate(folds):
            # As large a share of the unlabelled leaves with the fold, or g would shrink with it.
            shown = np.ones(len(X), dtype=bool)
            shown[np.flatnonzero(~positive)[number :: len(folds)]] = False
            shown[fold] = False
            learner = self._make_learner(positive).set_params(n_estimators=n_trees)
            learner.fit(X[shown], positive[shown])
            # A forest's own threads add up its trees in any order: the last bit would differ.
            scores.append(_moments_over_trees(learner.estimators_, X[fold], self.n_jobs)[0])
        share = float(np.concatenate(scores).mean())
        return min(max(share, 1.0 / len(X)), 1.0)
