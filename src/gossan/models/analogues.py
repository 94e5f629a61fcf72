"""Ground that looks like the ground of known deposits: no model in between, and no negatives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gossan.models._base import BoolArray, CellClassifier, FloatArray
from gossan.models.scaling import NormalScores

_AT_ONCE = 65_536


class Analogues(CellClassifier):
    """Mean likeness to the known deposits: how far a cell departs from the area as they do.

    Layers are put on one scale (:class:`NormalScores`), on which the area's medians are 0. A
    deposit is the mean of its footprint's cells. A cell is like it by the cosine of the angle
    between the two: whether the same layers are high and low. The score is one half of one plus the
    mean cosine over the deposits; negatives have no part in it.

    Distances would not do: in many layers ordinary ground, in the middle, is nearer to every
    deposit than the deposits are to one another.

    Attributes
    ----------
    scaler_ : NormalScores
    deposits_ : ndarray of shape (deposits, layers)
        Normal scores of each deposit.
    direction_ : ndarray of shape (layers,)
        Mean of their unit vectors: with it a cell's own makes the mean cosine.
    classes_ : ndarray of shape (2,)

    Notes
    -----
    Unlabelled cells settle the scale: give it all of them. A cell on the area's medians, which
    departs in no direction, scores one half.

    **Missing values**: a missing layer is taken at its median, so it says nothing.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> y = np.full(500, -1)
    >>> X[:10] += 3.0
    >>> y[:5] = 1
    >>> score = Analogues().fit(X, y).predict_proba(X)[:, 1]
    >>> bool(score[5:10].min() > np.quantile(score[10:], 0.9))
    True
    """

    uses_unlabelled = True
    uses_groups = True
    missing_values = "A missing layer is taken at its median, so it says nothing."

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        self._fit_groups(X, positive, np.arange(len(X)))

    def _fit_groups(
        self, X: FloatArray, positive: BoolArray, groups: npt.NDArray[np.int64]
    ) -> None:
        self.scaler_ = NormalScores().fit(X)
        scores = self.scaler_.transform(X[positive])
        _, deposit = np.unique(groups[positive], return_inverse=True)
        count = np.bincount(deposit)
        self.deposits_ = np.stack(
            [np.bincount(deposit, layer) / count for layer in scores.T], axis=1
        )
        self.direction_ = _directions(self.deposits_).mean(axis=0)

    def _score_cells(self, X: FloatArray) -> FloatArray:
        found = np.empty(len(X))
        for start in range(0, len(X), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            found[part] = _directions(self.scaler_.transform(X[part])) @ self.direction_
        return (1.0 + np.clip(found, -1.0, 1.0)) / 2


def _directions(scores: FloatArray) -> FloatArray:
    """Unit vectors; zero where there is no departure."""
    length = np.linalg.norm(scores, axis=1, keepdims=True)
    return np.divide(scores, length, out=np.zeros_like(scores), where=length > 0)
