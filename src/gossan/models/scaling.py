"""Layers to one scale for the learners that measure distances: normal scores of their ranks."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from gossan.models._base import FloatArray


class NormalScores(TransformerMixin, BaseEstimator):
    """Replace each layer's value by the standard normal quantile of its rank.

    Evidence comes as ppm with a hundredfold tail, as distances that are mostly zero, as classes of
    0 and 1. Ranks bring them to one scale that no outlier stretches: ``Φ⁻¹((rank - 0.5) / n)``,
    equal values sharing their mean rank (Blom 1958), interpolated between ``n_knots`` quantiles.
    Values beyond the training cells' range take the score of its end.

    A missing value becomes 0, the score of the median; a layer that is missing or constant in all
    training cells is 0 throughout.

    Parameters
    ----------
    n_knots : int, default 200
        Quantiles kept of each layer.

    Attributes
    ----------
    values_, scores_ : ndarray of shape (layers, n_knots)
        Knots of each layer, ascending.

    Examples
    --------
    >>> gold = np.array([[1.0], [2.0], [2.0], [4.0], [900.0]])
    >>> NormalScores().fit(gold).transform([[1.0], [2.0], [5000.0], [np.nan]]).ravel().round(2)
    array([-1.28, -0.25,  1.28,  0.  ])
    """

    def __init__(self, *, n_knots: int = 200) -> None:
        self.n_knots = n_knots

    def fit(self, X: npt.ArrayLike, y: Any = None) -> Self:  # noqa: ARG002
        """Learn the knots from ``X`` (n, layers); NaN = missing."""
        layers = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan").T
        knots = [self._knots(np.sort(layer[~np.isnan(layer)])) for layer in layers]
        self.values_, self.scores_ = (np.stack(part) for part in zip(*knots))
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Normal scores of ``X`` (n, layers)."""
        check_is_fitted(self)
        cells = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        scores = np.empty_like(cells)
        for layer, (values, normal) in enumerate(zip(self.values_, self.scores_)):
            scores[:, layer] = np.interp(cells[:, layer], values, normal)
        return np.nan_to_num(scores, copy=False)

    def _knots(self, ordered: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values and their scores, each of shape (n_knots,), from a layer's sorted values."""
        n = len(ordered)
        if n == 0:
            return np.zeros(self.n_knots), np.zeros(self.n_knots)
        values = ordered[np.linspace(0, n - 1, self.n_knots).round().astype(np.intp)]
        before, through = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
        return values, ndtri((before + through) / (2 * n))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
