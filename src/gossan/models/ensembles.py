"""Many trees that vote: forests, bagging for positive-unlabelled labels, isolation forest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_random_state

from gossan.exceptions import LabelError, StudyError
from gossan.models._base import BoolArray, CellClassifier, FloatArray, LearnerClassifier

_CELLS_PER_BLOCK = 16_384
"""Cells that go through all trees at once: their 40 layers (2.6 MB) stay in the cache."""


class CellExtraTrees(LearnerClassifier):
    """Extremely randomised trees (Geurts et al. 2006): the default method.

    Each split takes the best of random thresholds on random layers, which suits few positives:
    thresholds placed exactly between a hundred positives and the rest fit their noise.

    Parameters
    ----------
    n_estimators : int, default 200
        Trees. More narrow the spread, not the skill.
    min_samples_leaf : int, default 2
        Least cells in a leaf. With every unlabelled cell a negative, 1 lets single cells answer;
        with draws of negatives 1 and 2 do alike. 10 outweighs a small deposit's footprint.
    max_features : {"sqrt", "log2"}, int or float, default "sqrt"
        Layers tried at each split.
    n_jobs : int, default -1
        Threads; the answer does not depend on it.
    random_state : int, RandomState or None, default None
        Seeds the trees.

    Attributes
    ----------
    learner_ : sklearn.ensemble.ExtraTreesClassifier
    classes_ : ndarray of shape (2,)

    Notes
    -----
    Positives and negatives weigh alike in total (``class_weight="balanced"``), so that every
    unlabelled cell may serve as negative.

    **Missing values**: a split sends cells without the layer to the side that told training cells
    apart best, or, where none lacked it, to the side with more cells.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4))
    >>> model = CellExtraTrees(20, random_state=0).fit(X, X[:, 0] > 1)
    >>> score, spread = model.predict_with_spread(np.array([[2.0, 0, 0, 0], [-2.0, 0, 0, np.nan]]))
    >>> bool(score[0] > 0.5 > score[1])
    True
    """

    missing_values = "A split sends cells without the layer to the side that fits training best."
    _dtype = np.float32

    def __init__(
        self,
        n_estimators: int = 200,
        *,
        min_samples_leaf: int = 2,
        max_features: str | float = "sqrt",
        n_jobs: int | None = -1,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.n_jobs = n_jobs
        self.random_state = random_state

    def predict_with_spread(self, X: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the trees' probabilities, each of shape (n,)."""
        return _moments_over_trees(self.learner_.estimators_, self._checked(X), self.n_jobs)

    def _make_learner(self, positive: BoolArray) -> Any:  # noqa: ARG002
        return ExtraTreesClassifier(**self.get_params(), class_weight="balanced")

    def _score_cells(self, X: FloatArray) -> FloatArray:
        return _moments_over_trees(self.learner_.estimators_, X, self.n_jobs)[0]


class CellRandomForest(CellExtraTrees):
    """Random forest (Breiman 2001): trees on bootstrap samples, best split of random layers.

    Parameters
    ----------
    n_estimators, max_features, n_jobs, random_state
        As in :class:`CellExtraTrees`.
    min_samples_leaf : int, default 10
        Least cells in a leaf. Exact thresholds need larger leaves than random ones.

    Attributes
    ----------
    learner_ : sklearn.ensemble.RandomForestClassifier
    classes_ : ndarray of shape (2,)

    Notes
    -----
    Classes are balanced within each bootstrap sample (``class_weight="balanced_subsample"``).

    **Missing values**: as in :class:`CellExtraTrees`.

    Examples
    --------
    >>> X = np.arange(200.0)[:, None]
    >>> model = CellRandomForest(10, random_state=0).fit(X, X[:, 0] >= 150)
    >>> model.predict([[20.0], [180.0]]).tolist()
    [False, True]
    """

    def __init__(
        self,
        n_estimators: int = 200,
        *,
        min_samples_leaf: int = 10,
        max_features: str | float = "sqrt",
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

    def _make_learner(self, positive: BoolArray) -> Any:  # noqa: ARG002
        return RandomForestClassifier(**self.get_params(), class_weight="balanced_subsample")


class BaggingPU(CellClassifier):
    """Bagging for positive and unlabelled cells (Mordelet & Vert 2014).

    Each member tells all positives from its own small random draw of unlabelled cells. A hidden
    deposit among the unlabelled spoils only the few members that drew it, and members differ as
    much as the draws do.

    Parameters
    ----------
    n_estimators : int, default 200
        Members (B), each with its own draw.
    ratio : float, default 1.0
        Unlabelled cells a member draws, per positive; published: as many as positives. Never more
        than half of the unlabelled, so that every cell stays out of some draws.
    min_samples_leaf : float or int, default 0.05
        Least cells in a leaf of the members, which are decision trees on random layers: a share
        of the cells that a member learns from, or a number. The average of such blunt members
        follows the noise of few positives less than that of sharp ones.
    max_features : {"sqrt", "log2"}, int or float, default "sqrt"
        Layers tried at each split.
    n_jobs : int, default -1
        Threads; the answer does not depend on it.
    random_state : int, RandomState or None, default None
        Seeds draws and trees.

    Attributes
    ----------
    members_ : list of sklearn.tree.DecisionTreeClassifier
    draws_ : ndarray of shape (n_estimators, drawn)
        Training cells that each member took as negative.
    positive_cells_ : ndarray of shape (n_positive,)
    n_training_cells_ : int
    classes_ : ndarray of shape (2,)

    Notes
    -----
    Labels 0 and -1 are one pool: a cell that stands for barren ground is drawn like any other.

    **Missing values**: as in :class:`CellExtraTrees`.

    References
    ----------
    Mordelet, F. & Vert, J.-P. (2014). A bagging SVM to learn from positive and unlabeled examples.
    Pattern Recognition Letters 37, 201-209.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(500, 3)), np.full(500, -1)
    >>> y[np.argsort(X[:, 0])[-40::2]] = 1  # half of the prospective ground is known
    >>> model = BaggingPU(50, random_state=0).fit(X, y)
    >>> score = model.out_of_bag_scores(X, y)
    >>> bool(score[np.argsort(X[:, 0])[-39::2]].min() > score[y == -1].mean())
    True
    """

    uses_unlabelled = True
    missing_values = CellExtraTrees.missing_values
    _dtype = np.float32

    def __init__(
        self,
        n_estimators: int = 200,
        *,
        ratio: float = 1.0,
        min_samples_leaf: float = 0.05,
        max_features: str | float = "sqrt",
        n_jobs: int | None = -1,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.ratio = ratio
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.n_jobs = n_jobs
        self.random_state = random_state

    def predict_with_spread(self, X: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the members' probabilities, each of shape (n,)."""
        return _moments_over_trees(self.members_, self._checked(X), self.n_jobs)

    def out_of_bag_scores(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        groups: npt.ArrayLike | None = None,
        n_folds: int = 5,
    ) -> FloatArray:
        """Score the training cells, each only by members that did not learn from it.

        An unlabelled cell is scored by the members that did not draw it; a positive by bags
        grown anew on the same draws without its fold of positives.

        Parameters
        ----------
        X, y : array-like
            What :meth:`fit` was given.
        groups : array-like of shape (n,), optional
            Deposit of each cell: a deposit's cells share one fold. By default the folds are runs
            of consecutive positives.
        n_folds : int, default 5
            Folds of the positives; fewer where there are fewer groups.

        Returns
        -------
        ndarray of shape (n,)
            NaN where no member can score a cell: the only unlabelled one, or the only deposit.

        Raises
        ------
        ValueError
            If ``X`` is not what :meth:`fit` was given.
        """
        layers = self._checked(X)
        positive = np.asarray(y) == self.classes_[1]
        if len(layers) != self.n_training_cells_ or not np.array_equal(
            np.flatnonzero(positive), self.positive_cells_
        ):
            raise ValueError(
                f"The {len(layers)} cells with {positive.sum()} positives are not the "
                f"{self.n_training_cells_} cells with {len(self.positive_cells_)} positives that "
                "this model was fitted to. Give `out_of_bag_scores` what `fit` was given."
            )
        scores = self._scores_of_undrawn(layers)
        folds = _folds_of_positives(self.positive_cells_, groups, n_folds)
        scores[self.positive_cells_] = np.nan
        for held_out in folds if len(folds) > 1 else []:
            kept = np.setdiff1d(self.positive_cells_, held_out)
            members = self._grow(layers, kept)
            scores[held_out] = _moments_over_trees(members, layers[held_out], self.n_jobs)[0]
        return scores

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        if not self.ratio > 0:
            raise StudyError(f"ratio is {self.ratio}: it counts cells per positive, above 0.")
        if self.n_estimators < 1:
            raise StudyError(f"n_estimators is {self.n_estimators}: grow at least one member.")
        generator = check_random_state(self.random_state)
        self.n_training_cells_ = len(X)
        self.positive_cells_ = np.flatnonzero(positive)
        unlabelled = np.flatnonzero(~positive)
        if len(unlabelled) == 0:
            raise LabelError(
                f"All {len(X)} training cells are of the positive class: bagging draws from "
                "unlabelled cells (-1). Give it some."
            )
        size = round(self.ratio * len(self.positive_cells_))
        size = max(1, min(size, len(unlabelled) // 2))
        self.draws_ = np.stack(
            [
                unlabelled[generator.choice(len(unlabelled), size, replace=False)]
                for _ in range(self.n_estimators)
            ]
        )
        self.seeds_ = generator.randint(np.iinfo(np.int32).max, size=self.n_estimators)
        self.members_ = self._grow(X, self.positive_cells_)

    def _grow(self, X: FloatArray, positives: npt.NDArray[np.intp]) -> list[Any]:
        """One tree a draw: these positives against that draw."""

        def grow(draw: npt.NDArray[np.intp], seed: int) -> DecisionTreeClassifier:
            tree = DecisionTreeClassifier(
                min_samples_leaf=self.min_samples_leaf,
                max_features=self.max_features,
                class_weight="balanced",
                random_state=int(seed),
            )
            labels = np.repeat([True, False], [len(positives), len(draw)])
            return tree.fit(X[np.concatenate([positives, draw])], labels)

        jobs = (delayed(grow)(draw, seed) for draw, seed in zip(self.draws_, self.seeds_))
        return Parallel(self.n_jobs, prefer="threads")(jobs)

    def _score_cells(self, X: FloatArray) -> FloatArray:
        return _moments_over_trees(self.members_, X, self.n_jobs)[0]

    def _scores_of_undrawn(self, X: FloatArray) -> FloatArray:
        """Mean score of each cell (n,) over the members that did not draw it."""
        total = len(self.members_) * self._score_cells(X)
        for member, draw in zip(self.members_, self.draws_):
            total[draw] -= _positive_probability(member, X[draw])
        count = len(self.members_) - np.bincount(self.draws_.ravel(), minlength=len(X))
        return np.divide(total, count, out=np.full(len(X), np.nan), where=count > 0)


class CellIsolationForest(CellClassifier):
    """Isolation forest (Liu et al. 2008): how few random cuts set a cell apart from all others.

    Unsupervised: labels are not used, so it cannot learn which anomalies matter. The score is the
    published ``2^(-E[h]/c)`` of mean path length h: near 1 for anomalies, below one half for the
    common run of cells.

    Parameters
    ----------
    n_estimators : int, default 200
        Trees.
    max_samples : int or float, default 256
        Cells that each tree isolates, or their share; published: 256.
    n_jobs : int, default -1
        Threads; the answer does not depend on it.
    random_state : int, RandomState or None, default None
        Seeds the trees.

    Attributes
    ----------
    learner_ : sklearn.ensemble.IsolationForest
    medians_ : ndarray of shape (layers,)
    classes_ : ndarray of shape (2,)

    Notes
    -----
    **Missing values**: a missing layer counts as the layer's median over the training cells, so a
    gap makes no cell unusual.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> model = CellIsolationForest(50, random_state=0).fit(X, np.arange(300) < 5)
    >>> bool(np.diff(model.predict_proba([[0.0, 0.0], [5.0, 5.0]])[:, 1])[0] > 0.1)
    True
    """

    uses_unlabelled = True
    missing_values = "A missing layer counts as the layer's median, so a gap is not unusual."
    _dtype = np.float32

    def __init__(
        self,
        n_estimators: int = 200,
        *,
        max_samples: float = 256,
        n_jobs: int | None = -1,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:  # noqa: ARG002
        self.medians_ = np.array([_median(layer[~np.isnan(layer)]) for layer in X.T], X.dtype)
        samples = self.max_samples
        if samples > 1 and float(samples).is_integer():
            samples = min(int(samples), len(X))
        self.learner_ = IsolationForest(
            n_estimators=self.n_estimators,
            max_samples=samples,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        ).fit(self._filled(X))

    def _score_cells(self, X: FloatArray) -> FloatArray:
        return _in_blocks(self._anomaly_score, X, self.n_jobs)

    def _anomaly_score(self, X: FloatArray) -> FloatArray:
        return -self.learner_.score_samples(self._filled(X))

    def _filled(self, X: FloatArray) -> FloatArray:
        return np.where(np.isnan(X), self.medians_, X)


def _median(observed: FloatArray) -> float:
    return float(np.median(observed)) if len(observed) else 0.0


def _moments_over_trees(
    trees: Sequence[Any], X: FloatArray, n_jobs: int | None
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation over trees of each cell's probability, each of shape (n,).

    Trees are taken in turn within a block of cells, so that sums, hence maps, are the same to the
    last bit whatever the number of threads.
    """

    def moments(block: FloatArray) -> FloatArray:
        block = np.ascontiguousarray(block)  # a cell's layers side by side, as trees read them
        total, squares = np.zeros(len(block)), np.zeros(len(block))
        for tree in trees:
            probability = _positive_probability(tree, block)
            total += probability
            squares += probability**2
        mean = total / len(trees)
        variance = squares / len(trees) - mean**2
        return np.stack([mean, np.sqrt(np.maximum(variance, 0.0))], axis=-1)

    mean, spread = _in_blocks(moments, X, n_jobs).T
    return mean, spread


def _positive_probability(tree: Any, X: FloatArray) -> FloatArray:
    return tree.predict_proba(X, check_input=False)[:, 1]


def _in_blocks(
    score: Callable[[FloatArray], FloatArray], X: FloatArray, n_jobs: int | None
) -> FloatArray:
    """``score`` of blocks of cells, in threads, joined along the cells."""
    blocks = [X[start : start + _CELLS_PER_BLOCK] for start in range(0, len(X), _CELLS_PER_BLOCK)]
    if len(blocks) == 1:
        return score(X)
    return np.concatenate(Parallel(n_jobs, prefer="threads")(delayed(score)(b) for b in blocks))


def _folds_of_positives(
    cells: npt.NDArray[np.intp], groups: npt.ArrayLike | None, n_folds: int
) -> list[npt.NDArray[np.intp]]:
    """The positive cells dealt into folds, a group never split."""
    if groups is None:
        return [fold for fold in np.array_split(cells, n_folds) if len(fold)]
    _, group = np.unique(np.asarray(groups)[cells], return_inverse=True)
    folds = [cells[group % n_folds == fold] for fold in range(n_folds)]
    return [fold for fold in folds if len(fold)]
