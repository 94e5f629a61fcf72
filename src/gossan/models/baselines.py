"""Classical single learners, each with settings that suit ten to three hundred deposits."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from gossan.exceptions import StudyError
from gossan.models._base import BoolArray, FloatArray, LearnerClassifier
from gossan.models.scaling import NormalScores

_CELLS_AT_ONCE = 4096

_MEDIAN = "A missing layer counts as the layer's median over the training cells."


class CellLogisticRegression(LearnerClassifier):
    """Logistic regression on normal scores with an L2 penalty.

    It minimises ``mean weighted log-loss + l2/2 · |coefficients|²``: the penalty means the same
    whatever the number of training cells.

    Parameters
    ----------
    l2 : float, default 1.0
        Strength of the penalty: with few deposits and tens of correlated layers a strong one.

    Attributes
    ----------
    learner_ : sklearn.pipeline.Pipeline
    classes_ : ndarray of shape (2,)

    Notes
    -----
    Positives and negatives weigh alike in total (``class_weight="balanced"``).

    **Missing values**: a missing layer counts as the layer's median, which speaks neither for nor
    against. Being missing is no feature: where a survey has gaps says more about access than about
    ore.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0], [np.nan]])
    >>> model = CellLogisticRegression(l2=0.1).fit(X[:4], [0, 0, 1, 1])
    >>> model.predict_proba(X)[:, 1].round(2).tolist()
    [0.15, 0.38, 0.62, 0.85, 0.5]
    """

    missing_values = _MEDIAN

    def __init__(self, *, l2: float = 1.0) -> None:
        self.l2 = l2

    def _make_learner(self, positive: BoolArray) -> Any:
        if not self.l2 > 0:
            raise StudyError(f"l2 is {self.l2}: the penalty's strength exceeds 0.")
        return _on_normal_scores(
            LogisticRegression(
                C=1.0 / (self.l2 * len(positive)), max_iter=1000, class_weight="balanced"
            )
        )


class CellKNeighbors(LearnerClassifier):
    """k nearest neighbours in normal scores of the layers, votes weighted by inverse distance.

    Parameters
    ----------
    n_neighbors : int, default 15
        Neighbours asked; all training cells where there are fewer.

    Attributes
    ----------
    learner_ : sklearn.pipeline.Pipeline
    classes_ : ndarray of shape (2,)

    Notes
    -----
    Each class's votes are divided by its number of training cells, so that positives and negatives
    weigh alike in total. Cost grows with cells mapped times cells trained on: give it a draw of
    negatives, not every unlabelled cell.

    **Missing values**: a missing layer counts as the layer's median over the training cells.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> model = CellKNeighbors(n_neighbors=3).fit(X, [0, 0, 0, 1, 1])
    >>> model.predict([[0.5], [3.5]]).tolist()
    [0, 1]
    """

    missing_values = _MEDIAN

    def __init__(self, *, n_neighbors: int = 15) -> None:
        self.n_neighbors = n_neighbors

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        self.negatives_per_positive_ = float((~positive).sum() / positive.sum())
        super()._fit_cells(X, positive)

    def _make_learner(self, positive: BoolArray) -> Any:
        neighbors = min(self.n_neighbors, len(positive))
        return _on_normal_scores(
            KNeighborsClassifier(neighbors, weights="distance", algorithm="brute")
        )

    def _score_cells(self, X: FloatArray) -> FloatArray:
        return _balanced(self.learner_.predict_proba(X), self.negatives_per_positive_)


class CellSVM(LearnerClassifier):
    """Support vector machine with a radial kernel on normal scores of the layers.

    The score is the logistic function of the signed distance from the margin: it ranks cells as
    the machine does, with 0.5 on the boundary, and is no calibrated probability. Fitting one
    (Platt 1999) would cost an inner cross-validation over cells of the same deposits.

    Parameters
    ----------
    C : float, default 0.1
        Penalty of cells inside the margin: small, since cells of one footprint agree by nature.
    gamma : {"scale", "auto"} or float, default "scale"
        Width of the kernel; ``"scale"`` is one over layers times their variance.

    Attributes
    ----------
    learner_ : sklearn.pipeline.Pipeline
    classes_ : ndarray of shape (2,)

    Notes
    -----
    Positives and negatives weigh alike in total. Training time grows with the square of the cells:
    give it a draw of negatives, not every unlabelled cell.

    **Missing values**: a missing layer counts as the layer's median over the training cells.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> CellSVM(C=1.0).fit(X, [0, 0, 1, 0, 0]).predict([[0.0], [2.0]]).tolist()
    [0, 1]
    """

    missing_values = _MEDIAN

    def __init__(self, *, C: float = 0.1, gamma: str | float = "scale") -> None:
        self.C = C
        self.gamma = gamma

    def _make_learner(self, positive: BoolArray) -> Any:  # noqa: ARG002
        return _on_normal_scores(SVC(C=self.C, gamma=self.gamma, class_weight="balanced"))

    def _score_cells(self, X: FloatArray) -> FloatArray:
        # The machine's own sum over its support vectors, by matrix products: the same to rounding,
        # and several times faster than cell by cell.
        scale, machine = self.learner_
        margin = np.empty(len(X))
        for start in range(0, len(X), _CELLS_AT_ONCE):
            cells = scale.transform(X[start : start + _CELLS_AT_ONCE])
            kernel = rbf_kernel(cells, machine.support_vectors_, gamma=machine._gamma)
            margin[start : start + len(cells)] = kernel @ machine.dual_coef_[0]
        return expit(margin + machine.intercept_[0])


class CellDecisionTree(LearnerClassifier):
    """One decision tree: a few readable thresholds, and a coarse map.

    Parameters
    ----------
    max_depth : int or None, default 4
        Thresholds on the way to a leaf at most: as many as can be read.
    min_samples_leaf : int, default 20
        Least cells in a leaf: more than two footprints, so that no single deposit makes a rule.
    random_state : int, RandomState or None, default None
        Breaks ties between equally good splits.

    Attributes
    ----------
    learner_ : sklearn.tree.DecisionTreeClassifier
    classes_ : ndarray of shape (2,)

    Notes
    -----
    Positives and negatives weigh alike in total (``class_weight="balanced"``).

    **Missing values**: a split sends cells without the layer to the side that told training cells
    apart best, or, where none lacked it, to the side with more cells.

    Examples
    --------
    >>> X = np.arange(100.0)[:, None]
    >>> CellDecisionTree().fit(X, X[:, 0] >= 60).predict([[10.0], [90.0]]).tolist()
    [False, True]
    """

    missing_values = "A split sends cells without the layer to the side that fits training best."
    _dtype = np.float32

    def __init__(
        self,
        *,
        max_depth: int | None = 4,
        min_samples_leaf: int = 20,
        random_state: Any = None,
    ) -> None:
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.random_state = random_state

    def _make_learner(self, positive: BoolArray) -> Any:  # noqa: ARG002
        return DecisionTreeClassifier(**self.get_params(), class_weight="balanced")


class CellGradientBoosting(LearnerClassifier):
    """Gradient-boosted trees on binned layers (Friedman 2001; histograms as in LightGBM).

    Parameters
    ----------
    n_estimators : int, default 100
        Trees. Fixed rather than stopped early: an inner validation split would hold out cells
        whose deposit is still in training.
    learning_rate : float, default 0.05
        Share of each tree's correction that is applied.
    max_leaf_nodes : int, default 8
        Leaves a tree: shallow, since a few hundred positives support few interactions.
    min_samples_leaf : int, default 20
        Least cells in a leaf.
    random_state : int, RandomState or None, default None
        Seeds the choice of cells from which bins are learned, in large training sets.

    Attributes
    ----------
    learner_ : sklearn.ensemble.HistGradientBoostingClassifier
    classes_ : ndarray of shape (2,)

    Notes
    -----
    Trained on classes as they are, and the prior odds divided out of the score, so that 0.5 means
    as likely as not if both were equally frequent. Class weights would weight the quantiles of the
    bins too, which takes scikit-learn many times longer than the boosting itself.

    **Missing values**: a split sends cells without the layer to the side of greater gain in
    training, or, where none lacked it, to the side with more cells.

    Examples
    --------
    >>> X = np.arange(200.0)[:, None]
    >>> CellGradientBoosting().fit(X, X[:, 0] >= 150).predict([[20.0], [180.0]]).tolist()
    [False, True]
    """

    missing_values = "A split sends cells without the layer to the side that fits training best."

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        learning_rate: float = 0.05,
        max_leaf_nodes: int = 8,
        min_samples_leaf: int = 20,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.random_state = random_state

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        self.negatives_per_positive_ = float((~positive).sum() / positive.sum())
        # No bins can be made of a layer that is missing everywhere; a constant one is never split.
        super()._fit_cells(np.where(np.isnan(X).all(axis=0), 0.0, X), positive)

    def _make_learner(self, positive: BoolArray) -> Any:  # noqa: ARG002
        return HistGradientBoostingClassifier(
            max_iter=self.n_estimators,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=self.min_samples_leaf,
            early_stopping=False,
            random_state=self.random_state,
        )

    def _score_cells(self, X: FloatArray) -> FloatArray:
        return _balanced(self.learner_.predict_proba(X), self.negatives_per_positive_)


def _balanced(probability: FloatArray, negatives_per_positive: float) -> FloatArray:
    """Scores (n,) as if both classes were equally frequent, from probabilities (n, 2) as trained.

    The prior odds are divided out (Elkan 2001, theorem 2), which leaves the ranking as it is.
    """
    positive = probability[:, 1] * negatives_per_positive
    return positive / (positive + probability[:, 0])


def _on_normal_scores(learner: Any) -> Pipeline:
    return make_pipeline(NormalScores(), learner)
