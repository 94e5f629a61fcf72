"""The estimator contract that cell-wise methods share: labels checked once, scores in [0, 1]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from gossan.exceptions import LabelError, StudyError

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]

UNLABELLED = -1


class CellClassifier(ClassifierMixin, BaseEstimator, ABC):
    """Base of every classifier that scores a cell by its own layers, or by those of its window.

    A method says how it learns in :meth:`_fit_cells` and how it scores in :meth:`_score_cells`;
    labels, classes and shapes are settled here.
    """

    window: int = 1
    """How many cells across the method looks."""

    idle: tuple[str, ...] = ()
    """Names of settings that make no difference beside the others as they are."""

    uses_unlabelled: ClassVar[bool] = False
    """Whether :meth:`fit` learns from cells labelled -1 instead of leaving them out."""

    uses_groups: ClassVar[bool] = False
    """Whether :meth:`fit` is told which deposit a cell belongs to, to keep its cells together."""

    missing_values: ClassVar[str]
    """One sentence: what becomes of a cell whose layers are partly missing (NaN)."""

    _dtype: ClassVar[type] = np.float64
    _takes_windows: ClassVar[bool] = False

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """Learn from labelled cells.

        Parameters
        ----------
        X : array-like of shape (n, layers)
            Evidence of each cell; NaN = missing.
        y : array-like of shape (n,)
            1 positive, 0 negative, -1 unlabelled. Any other two labels are taken as negative and
            positive in sorted order.
        groups : array-like of shape (n,), int, optional
            Deposit that each cell belongs to, -1 for none. A method that sets training cells apart
            inside (``uses_groups``) sets whole deposits apart; others make no use of it.

        Raises
        ------
        LabelError
            If positives or negatives are lacking.
        StudyError
            If a parameter cannot be.
        """
        layers, labels = validate_data(
            self,
            X,
            y,
            dtype=self._dtype,
            ensure_all_finite="allow-nan",
            allow_nd=self._takes_windows,
        )
        self.classes_, cells, positive = training_labels(
            labels, uses_unlabelled=self.uses_unlabelled
        )
        try:
            layers = layers if len(cells) == len(layers) else layers[cells]
            self._fit_groups(layers, positive, _group_numbers(groups, len(labels))[cells])
        except InvalidParameterError as error:
            raise StudyError(f"{type(self).__name__} cannot be fitted: {error}") from error
        return self

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Score each cell.

        Parameters
        ----------
        X : array-like of shape (n, layers)

        Returns
        -------
        ndarray of shape (n, 2)
            One minus the score, and the score: 0 barren to 1 prospective.
        """
        score = self._score_cells(self._checked(X))
        return np.column_stack([1.0 - score, score])

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Positive where the score exceeds one half, shape (n,)."""
        check_is_fitted(self)
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(np.intp)]

    @abstractmethod
    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        """Learn from ``X`` (n, layers), with at least one positive and one other cell."""

    def _fit_groups(
        self,
        X: FloatArray,
        positive: BoolArray,
        groups: npt.NDArray[np.int64],  # noqa: ARG002 - for those that override it
    ) -> None:
        """The same, where the cells of a group, (n,), are to be kept together."""
        self._fit_cells(X, positive)

    @abstractmethod
    def _score_cells(self, X: FloatArray) -> FloatArray:
        """Score of each cell of ``X`` (n, layers), shape (n,)."""

    def _checked(self, X: npt.ArrayLike) -> FloatArray:
        check_is_fitted(self)
        return validate_data(
            self,
            X,
            dtype=self._dtype,
            ensure_all_finite="allow-nan",
            allow_nd=self._takes_windows,
            reset=False,
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        return tags


class LearnerClassifier(CellClassifier):
    """Base of the methods that a scikit-learn classifier, given sound settings, already is."""

    @abstractmethod
    def _make_learner(self, positive: BoolArray) -> Any:
        """The unfitted scikit-learn classifier for these training labels."""

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        self.learner_ = self._make_learner(positive).fit(X, positive)

    def _score_cells(self, X: FloatArray) -> FloatArray:
        return self.learner_.predict_proba(X)[:, 1]


def _group_numbers(groups: npt.ArrayLike | None, count: int) -> npt.NDArray[np.int64]:
    """A number for each cell, alike in a deposit; of a cell of none a number of its own."""
    own = -1 - np.arange(count)
    if groups is None:
        return own
    known = np.asarray(groups)
    if known.shape != (count,):
        raise ValueError(f"groups has the shape {known.shape}; there are {count} cells.")
    return np.where(known >= 0, known, own).astype(np.int64)


def training_labels(
    y: npt.NDArray[Any], *, uses_unlabelled: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp], BoolArray]:
    """Classes, the cells to learn from, and which of those are positive.

    Labels of a survey are 1 positive, 0 negative, -1 unlabelled; any other two labels are negative
    and positive in sorted order.
    """
    check_classification_targets(y)
    labels = set(np.unique(y).tolist())
    if UNLABELLED in labels and labels <= {UNLABELLED, 0, 1}:
        return np.array([0, 1]), *_survey_labels(y, labels, uses_unlabelled=uses_unlabelled)
    if len(labels) > 2:
        raise LabelError(
            "Only binary classification is supported. The type of the target is "
            f"{type_of_target(y)}: labels are 1 positive, 0 negative, -1 unlabelled, "
            f"got {sorted(labels)[:5]}."
        )
    if len(labels) < 2:
        raise LabelError(
            f"The training cells are of one class, {labels.pop()!r}, but a method learns from "
            "positive (1) and other cells. Label deposits with `label_cells` and choose "
            "negatives with a sampler such as `RandomNegatives`."
        )
    classes = np.unique(y)
    return classes, np.arange(len(y)), y == classes[1]


def _survey_labels(
    y: npt.NDArray[Any], labels: set[int], *, uses_unlabelled: bool
) -> tuple[npt.NDArray[np.intp], BoolArray]:
    """The cells to learn from, and which of those are positive, among labels 1, 0 and -1."""
    if 1 not in labels:
        raise LabelError(
            f"None of the {len(y)} training cells is of the positive class (1), so there is "
            "nothing to learn from. Label the deposits' cells with `label_cells`."
        )
    if uses_unlabelled:
        return np.arange(len(y)), y == 1
    if 0 not in labels:
        raise LabelError(
            f"The training cells are {(y == 1).sum()} positive (1) and otherwise unlabelled (-1): "
            "this method needs cells of the negative class (0). Choose negatives with a sampler "
            "such as `RandomNegatives` or `AllUnlabelled`, or use a method that learns from "
            "unlabelled cells, such as bagging PU."
        )
    cells = np.flatnonzero(y != UNLABELLED)
    return cells, y[cells] == 1
