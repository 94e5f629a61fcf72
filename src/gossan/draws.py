"""One estimator fitted to several draws of negatives: a mean score and its spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
import xarray as xr
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from gossan.evidence import area_of, centre_features
from gossan.exceptions import LabelError
from gossan.labels import NegativeSampler

FloatArray = npt.NDArray[np.floating[Any]]


class Sampler(Protocol):
    """What picks the cells that stand for barren ground; see :mod:`gossan.labels`."""

    needs_features: bool

    def sample(
        self, X: Any, labels: npt.NDArray[Any], coordinates: FloatArray, random_state: Any
    ) -> npt.NDArray[np.int64]:
        """Indices of the drawn cells, sorted and unique."""
        ...


@runtime_checkable
class HasSpread(Protocol):
    """An ensemble that tells how far its members disagree."""

    def predict_with_spread(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Score and spread, each of shape (n,)."""
        ...


class DrawEnsemble(ClassifierMixin, BaseEstimator):
    """Fit clones of an estimator, each to the positives and its own draw of other cells.

    The score is the mean over the members and the spread their standard deviation (Zuo & Wang
    2020 use 50 random draws so). What the trees of a forest disagree on within one draw is no
    part of it: of scores near 0 and 1 that is a function of the mean, and says nothing more.

    Parameters
    ----------
    estimator : classifier
        Anything that follows gossan's estimator contract. One whose ``uses_unlabelled`` is true
        (bagging PU, isolation forest) gets the drawn cells as unlabelled (-1); any other gets
        them as negatives (0).
    negatives : sampler
        Picks cells among the unlabelled, such as :class:`gossan.labels.RandomNegatives`.
    n_draws : int, default 1
        Members. One is enough for a sampler that takes every unlabelled cell.
    random_state : int, default 0
        Seeds draws and members; same seed, same scores.

    Attributes
    ----------
    members_ : list of classifier
    n_training_cells_ : list of int
        Cells that each member was fitted to.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from gossan.labels import RandomNegatives
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(200, 2)), np.full(200, -1)
    >>> X[:20] += 3.0
    >>> y[:20] = 1
    >>> ensemble = DrawEnsemble(LogisticRegression(), RandomNegatives(), n_draws=5)
    >>> score, spread = ensemble.fit(X, y, np.zeros((200, 2))).predict_with_spread(X)
    >>> bool(score[:20].min() > score[20:].mean())
    True
    """

    def __init__(
        self,
        estimator: Any,
        negatives: Sampler,
        n_draws: int = 1,
        random_state: int = 0,
    ) -> None:
        self.estimator = estimator
        self.negatives = negatives
        self.n_draws = n_draws
        self.random_state = random_state

    @property
    def window(self) -> int:
        """How many cells across the estimator looks."""
        return int(getattr(self.estimator, "window", 1))

    def fit(
        self,
        X: Any,
        y: npt.ArrayLike,
        coordinates: npt.ArrayLike,
        *,
        layers: Any = None,
        groups: npt.ArrayLike | None = None,
    ) -> Self:
        """Draw and fit.

        Parameters
        ----------
        X : array of shape (n, layers) or (n, layers, window, window)
            Or a lazy view such as :class:`gossan.evidence.CellFeatures`: only the drawn cells
            are read.
        y : array of shape (n,)
            1 positive, 0 known negative, -1 unlabelled.
        coordinates : array of shape (n, 2)
            Easting and northing of the cells.
        layers : array of shape (n, layers), optional
            What the sampler judges cells by; default: the cells of ``X`` themselves.
        groups : array of shape (n,), int, optional
            Deposit that each cell belongs to, -1 for none: for an estimator with ``uses_groups``.

        Raises
        ------
        LabelError
            If there is no positive, or nothing is drawn.
        """
        y = np.asarray(y)
        coordinates = np.asarray(coordinates, dtype=float)
        labelled = np.flatnonzero(y >= 0)
        if not (y == 1).any():
            raise LabelError("No cell is labelled as a deposit, so there is nothing to learn from.")
        # A sampler judges a cell by its own layers, however far around the estimator looks.
        judged_by = X if layers is None else layers
        features = centre_features(judged_by) if self.negatives.needs_features else None
        seeds = draw_seeds(self.random_state, self.n_draws)
        draws = self._draws(features, y, coordinates, seeds)
        if hasattr(self.estimator, "fit_area"):
            return self._fit_area(X, y, draws, seeds)
        shown = [np.sort(np.concatenate([labelled, drawn])) for drawn in draws]
        # Every cell that any draw takes is read once: the features may lie in a store on disk.
        read = np.unique(np.concatenate(shown))
        narrow = getattr(self.estimator, "fit_window", self.window) < self.window
        values = (centre_features(X) if narrow else X)[read]
        places = [np.searchsorted(read, cells) for cells in shown]
        together = None
        if groups is not None and getattr(self.estimator, "uses_groups", False):
            together = np.asarray(groups)[read]
        self.members_ = self._fit_members(values, y[read], together, places, seeds)
        self.n_training_cells_ = [len(cells) for cells in shown]
        self.classes_ = np.array([0, 1])
        return self

    def _fit_area(
        self, X: Any, y: npt.NDArray[Any], draws: list[npt.NDArray[np.int64]], seeds: list[int]
    ) -> Self:
        """One member a draw, which cuts the area that the cells belong to into its own samples."""
        evidence, rows, columns = area_of(X)
        self.members_, self.n_training_cells_ = [], []
        for drawn, seed in zip(draws, seeds, strict=True):
            labels = np.full(evidence.shape[1:], -2, dtype=np.int8)  # what is not shown
            labels[rows, columns] = y
            labels[rows[drawn], columns[drawn]] = 0
            member = clone(self.estimator)
            member.set_params(**dict.fromkeys(_settings(member, "random_state"), seed))
            self.members_.append(member.fit_area(evidence, labels))
            self.n_training_cells_.append(int((labels >= 0).sum()))
        self.classes_ = np.array([0, 1])
        return self

    @available_if(lambda self: hasattr(self.estimator, "score_area"))
    def score_area(
        self, evidence: xr.DataArray, *, progress: Callable[[int, int], None] | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Mean score of every cell and its standard deviation over draws, each (y, x).

        ``progress`` is called with (steps done, steps in all).
        """
        check_is_fitted(self)
        count = len(self.members_)

        def steps_of(number: int) -> Callable[[int, int], None] | None:
            if progress is None:
                return None
            return lambda done, total: progress(number * total + done, count * total)

        scores = [
            member.score_area(evidence, progress=steps_of(number))
            for number, member in enumerate(self.members_)
        ]
        spread = np.std(scores, axis=0) if len(scores) > 1 else np.full(scores[0].shape, np.nan)
        return np.mean(scores, axis=0), spread

    def predict_with_spread(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean score and its standard deviation over draws, each of shape (n,).

        A single member tells its own spread, if it is an ensemble; NaN otherwise.
        """
        check_is_fitted(self)
        if len(self.members_) == 1:
            return score_and_spread(self.members_[0], X)
        total, squares = np.zeros(len(X)), np.zeros(len(X))
        for member in self.members_:
            score = member.predict_proba(X)[:, 1]
            total += score
            squares += score**2
        mean = total / len(self.members_)
        return mean, np.sqrt(np.maximum(squares / len(self.members_) - mean**2, 0.0))

    @available_if(lambda self: hasattr(self.estimator, "look_at"))
    def look_at(self, evidence: xr.DataArray) -> xr.DataArray:
        """What the estimator looks at in place of the evidence: see :mod:`gossan.looks`."""
        return self.estimator.look_at(evidence)

    @property
    def attributed_by(self) -> str:
        """By which explainer :meth:`attribute` works, where there is one."""
        return getattr(self.estimator, "attributed_by", "gradients")

    @available_if(lambda self: hasattr(self.estimator, "attribute"))
    def attribute(self, evidence: xr.DataArray, cells: Any, **settings: Any) -> FloatArray:
        """What each layer adds to the mean score: see :func:`gossan.explain.explain_cells`."""
        check_is_fitted(self)
        return self.estimator.attribute(evidence, cells, members=self.members_, **settings)

    @available_if(lambda self: hasattr(self.estimator, "predict_block"))
    def predict_block_with_spread(self, block: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The dense path of members that have one: ``(layers, h + halo, w + halo)`` → ``(h, w)``.

        Score and spread equal those of :meth:`predict_with_spread` window by window.
        """
        check_is_fitted(self)
        scores = [member.predict_block(block) for member in self.members_]
        spread = np.std(scores, axis=0) if len(scores) > 1 else np.full(scores[0].shape, np.nan)
        return np.mean(scores, axis=0), spread

    def _draws(
        self, features: Any, y: npt.NDArray[Any], coordinates: FloatArray, seeds: list[int]
    ) -> list[npt.NDArray[np.int64]]:
        """The cells of every draw; a sampler that can judges the cells once for all draws."""
        sampler = self.negatives
        if hasattr(sampler, "sample_many"):
            draws = sampler.sample_many(features, y, coordinates, seeds)
        else:
            draws = [sampler.sample(features, y, coordinates, seed) for seed in seeds]
        if not (y == 0).any() and any(len(drawn) == 0 for drawn in draws):
            raise LabelError(f"{sampler} found no unlabelled cell to draw from.")
        return draws

    def _fit_members(
        self,
        X: FloatArray,
        y: npt.NDArray[Any],
        groups: npt.NDArray[Any] | None,
        places: list[npt.NDArray[np.int64]],
        seeds: list[int],
    ) -> list[Any]:
        """One member a draw: side by side, or in turn where a member has threads of its own.

        Teams of threads inside a pool of threads wait for one another, and scikit-learn's change
        the process's warning filters under one another.
        """
        shown = [
            (X[cells], y[cells], None if groups is None else groups[cells], seed)
            for cells, seed in zip(places, seeds, strict=True)
        ]
        own_threads = getattr(self.estimator, "own_threads", False)
        if len(places) == 1 or own_threads or _settings(self.estimator, "n_jobs"):
            return [self._fit_member(*cells) for cells in shown]
        # The limit on BLAS holds for the whole process, that on OpenMP for a thread.
        with threadpool_limits(limits=1, user_api="blas"):
            return Parallel(n_jobs=-1, prefer="threads")(
                delayed(self._fit_alone)(*cells) for cells in shown
            )

    def _fit_alone(self, *cells: Any) -> Any:
        with threadpool_limits(limits=1, user_api="openmp"):
            return self._fit_member(*cells)

    def _fit_member(
        self, X: FloatArray, y: npt.NDArray[Any], groups: npt.NDArray[Any] | None, seed: int
    ) -> Any:
        """One clone, fitted to one draw; drawn cells are negatives unless it learns from them."""
        member = clone(self.estimator)
        member.set_params(**dict.fromkeys(_settings(member, "random_state"), seed))
        unlabelled = -1 if getattr(member, "uses_unlabelled", False) else 0
        together = {} if groups is None else {"groups": groups}
        return member.fit(X, np.where(y == -1, unlabelled, y), **together)

    def predict_proba(self, X: FloatArray) -> FloatArray:
        """Mean score in the second column, shape (n, 2)."""
        score, _ = self.predict_with_spread(X)
        return np.column_stack([1.0 - score, score])

    def predict(self, X: FloatArray) -> npt.NDArray[np.int64]:
        """1 where the mean score exceeds one half."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(np.int64)


class DrawnNegatives(NegativeSampler):
    """Draws already made, so that several ensembles learn from the same cells.

    Parameters
    ----------
    draws : list of ndarray
        Indices of the cells of each draw, as :meth:`NegativeSampler.sample_many` returns them; an
        ensemble of fewer draws takes the first.

    Examples
    --------
    >>> DrawnNegatives([np.array([3, 5]), np.array([2, 4])]).sample(None, [], [])
    array([3, 5])
    """

    def __init__(self, draws: list[npt.NDArray[np.int64]]) -> None:
        self.draws = draws

    def sample_many(
        self,
        X: Any,  # noqa: ARG002 - the samplers' protocol
        labels: Any,  # noqa: ARG002
        coordinates: Any,  # noqa: ARG002
        random_states: Sequence[Any],
    ) -> list[npt.NDArray[np.int64]]:
        """As many of the draws as there are seeds, whatever the seeds."""
        return self.draws[: len(random_states)]


def score_and_spread(model: Any, X: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A model's score and spread, each of shape (n,); no ensemble, no spread: NaN."""
    if isinstance(model, HasSpread):
        return model.predict_with_spread(X)
    score = model.predict_proba(X)[:, 1]
    return score, np.full(len(score), np.nan)


def _settings(estimator: Any, parameter: str) -> dict[str, Any]:
    """A parameter of an estimator and of the estimators inside it, where they have it."""
    return {
        key: value
        for key, value in estimator.get_params(deep=True).items()
        if key == parameter or key.endswith(f"__{parameter}")
    }


def draw_seeds(random_state: int, count: int) -> list[int]:
    """Independent 31-bit seeds of as many draws; the first stay the same when ``count`` grows."""
    children = np.random.SeedSequence(random_state).spawn(count)
    return [int(child.generate_state(1)[0] >> 1) for child in children]
