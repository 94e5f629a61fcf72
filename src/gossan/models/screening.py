"""A model on the layers that tell training deposits apart, chosen anew in every fit."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from gossan.draws import score_and_spread
from gossan.exceptions import StudyError, SurveyDataWarning
from gossan.geochem import screen_elements
from gossan.models._base import FloatArray, training_labels

_ANY_LAYERS: dict[str, Any] = {"dtype": "numeric", "ensure_all_finite": "allow-nan"}


class LayerScreen(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Fit an estimator to the layers whose AUC on the training deposits differs from chance.

    A layer is kept if ``|Z| > z``, Z being the Hanley-McNeil standard score of its own AUC.
    Both sides count, for a layer may be any evidence: high copper tells of ore (AUC above one
    half, Z > 0), and so do a short distance to a fault or an element depleted near ore (AUC below
    one half, Z < 0). The published screen of elements, :func:`gossan.geochem.screen_elements`,
    keeps enrichment only: Z > z.

    The screen sees training cells only, so it may be cross-validated like any other part of a
    model. For a window the middle cell is screened and the whole window kept.

    Parameters
    ----------
    estimator : classifier
        Fitted to the kept layers.
    z : float, default 2.58
        1 % two-sided for independent cells. The cells of one footprint are not independent, so
        the screen is lenient.

    Attributes
    ----------
    layers_ : ndarray of int
        Indices of the kept layers.
    z_ : ndarray of shape (layers,)
        Standard score of every layer; NaN where a layer is observed at no deposit, or nowhere else.
    estimator_ : classifier
        The fitted estimator.
    classes_ : ndarray of shape (2,)

    Notes
    -----
    **Missing values**: left out of the screen layer by layer; otherwise as the estimator copes.

    Warns
    -----
    SurveyDataWarning
        If no layer passes; the estimator is then fitted to all.

    Examples
    --------
    >>> from gossan.models import CellExtraTrees
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 3))
    >>> model = LayerScreen(CellExtraTrees(10, random_state=0)).fit(X, (X[:, 1] > 1).astype(int))
    >>> model.layers_.tolist()
    [1]
    """

    def __init__(self, estimator: Any, *, z: float = 2.58) -> None:
        self.estimator = estimator
        self.z = z

    @property
    def window(self) -> int:
        """How many cells across the estimator looks."""
        return int(getattr(self.estimator, "window", 1))

    @property
    def fit_window(self) -> int:
        """How many cells across the estimator learns from."""
        return int(getattr(self.estimator, "fit_window", self.window))

    @property
    def own_threads(self) -> bool:
        """Whether members are to be fitted in turn."""
        return bool(getattr(self.estimator, "own_threads", False))

    @property
    def uses_unlabelled(self) -> bool:
        """Whether the estimator learns from cells labelled -1."""
        return bool(getattr(self.estimator, "uses_unlabelled", False))

    @property
    def missing_values(self) -> str:
        """How the estimator copes with missing layers."""
        return str(getattr(self.estimator, "missing_values", ""))

    def check(self) -> None:
        """Raise :class:`StudyError` if a setting cannot be, before anything is fitted."""
        if not self.z >= 0:
            raise StudyError(f"The screen's threshold is {self.z}: give a Z of 0 or more.")
        if hasattr(self.estimator, "check"):
            self.estimator.check()

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Screen the layers of ``X`` (n, layers[, window, window]), then fit the estimator."""
        self.check()
        layers, labels = validate_data(self, X, y, allow_nd=True, **_ANY_LAYERS)
        height, width = layers.shape[2:] or (1, 1)
        middle = layers.reshape(*layers.shape[:2], -1)[:, :, height // 2 * width + width // 2]
        _, cells, positive = training_labels(labels, uses_unlabelled=self.uses_unlabelled)
        self.z_ = screen_elements(middle[cells], positive, z=self.z)["z"].to_numpy()
        self.layers_ = np.flatnonzero(np.abs(self.z_) > self.z)
        if len(self.layers_) == 0:
            strongest = np.nanmax(np.abs(self.z_), initial=0.0)
            warnings.warn(
                f"None of the {len(self.z_)} layers passes the screen |Z| > {self.z:g} (greatest "
                f"{strongest:.2f}); all are kept. Lower the threshold, or check the deposits' "
                "coordinates.",
                SurveyDataWarning,
                stacklevel=2,
            )
            self.layers_ = np.arange(len(self.z_))
        self.estimator_ = clone(self.estimator).fit(layers[:, self.layers_], labels)
        self.classes_ = self.estimator_.classes_
        return self

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """The estimator's scores on the kept layers, shape (n, 2)."""
        kept = self._kept(X)
        return self.estimator_.predict_proba(kept)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """The estimator's decisions on the kept layers, shape (n,)."""
        kept = self._kept(X)
        return self.estimator_.predict(kept)

    def predict_with_spread(self, X: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The estimator's score and spread, each of shape (n,); no ensemble, no spread: NaN."""
        kept = self._kept(X)
        return score_and_spread(self.estimator_, kept)

    @available_if(lambda self: hasattr(self.estimator, "predict_block"))
    def predict_block(self, block: FloatArray) -> FloatArray:
        """The estimator's dense path on the kept layers, ``(layers, h + halo, w + halo)``."""
        check_is_fitted(self)
        return self.estimator_.predict_block(block[self.layers_])

    @available_if(lambda self: hasattr(self.estimator, "predict_block_with_spread"))
    def predict_block_with_spread(self, block: FloatArray) -> FloatArray:
        """The same with the spread, shape (2, h, w)."""
        check_is_fitted(self)
        return self.estimator_.predict_block_with_spread(block[self.layers_])

    def _kept(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        check_is_fitted(self)
        layers = validate_data(self, X, reset=False, allow_nd=True, **_ANY_LAYERS)
        return layers[:, self.layers_]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = get_tags(self.estimator).input_tags.allow_nan
        return tags
