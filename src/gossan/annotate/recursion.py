"""Rounds of out-of-bag scoring that turn unlabelled cells into reliable negatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from gossan.annotate.annotation import Annotation
from gossan.annotate.decisions import label_decided
from gossan.annotate.rounds import Rounds
from gossan.exceptions import StudyError
from gossan.labels import Ground, checked_cells


class RecursiveAnnotator(BaseEstimator):
    """Recursive annotation of negatives, after Zhang, Coutts, Parsa et al. (2025).

    Round 0 fits one member to each of many random draws of unlabelled cells and scores every
    unlabelled cell by the members that did not draw it. Each later round draws from what the
    round before left as negatives. Thresholds and stopping rule are gossan's own.

    The deposits are dealt into clusters, and each member leaves one cluster out: so the deposits
    too are scored out of bag. The members that leave out a cluster form a stream with its own
    rounds, so whatever a stream annotates, it has never seen its own cluster; that makes the inner
    held-out figures honest, and the guard falls back to the best earlier round by them. (With
    ``select="lowest"`` one number, the low quantile of the other clusters' ranks, comes from
    streams that did see it.)

    Parameters
    ----------
    estimator : classifier, optional
        Cloned for every draw. Default: ten extremely randomised trees.
    select : {"purge", "lowest", "weight"}, default "purge"
        ``"purge"`` sets the most suspicious unlabelled cells aside and keeps the rest as
        negatives; ``"lowest"`` keeps only cells scoring below ``min(quantile of the unlabelled,
        low quantile of the positives)``, drawn evenly over area and geology; ``"weight"`` draws
        each cell the less readily the more it looks like the deposits.
    mode : {"reselect", "accumulate"}, default "reselect"
        Whether each round judges all cells afresh or adds to what earlier rounds annotated.
    n_draws : int, default 30
        Members a round (B).
    ratio : float, default 5.0
        Negatives drawn by a member, per positive cell.
    purge : float, default 0.05
        Share of the unlabelled cells set aside a round, ``select="purge"``.
    quantile : float, default 0.3
        Largest share of the unlabelled cells annotated, ``select="lowest"``.
    positive_quantile : float, default 0.05
        Low quantile of the positives' cross-fitted ranks, ``select="lowest"``.
    max_rounds : int, default 10
        Rounds after round 0.
    tolerance : float, default 0.01
        Stop when a smaller share of the annotated set changes.
    guard : bool, default True
        Fall back to the best earlier round where the inner held-out figures drop; see
        :func:`choose_round`.
    control : {"none", "same-count", "shuffled"}, default "none"
        To learn what the rounds are worth: ``"same-count"`` keeps as many cells as they do, but
        at random; ``"shuffled"`` runs them on scores dealt to the wrong cells.
    n_streams : int, default 5
        Clusters of deposits, fewer where there are fewer deposits.
    max_cells : int or None, default None
        Judge a uniform sample of so many unlabelled cells; ``None`` judges all.
    random_state : int, default 0
        Same seed, same annotation.

    References
    ----------
    Zhang, S. E., Coutts, D., Parsa, M. et al. (2025). doi 10.1007/s11053-025-10510-0.

    Examples
    --------
    >>> from gossan.annotate import DECISIONS
    >>> rng = np.random.default_rng(0)
    >>> X, labels = rng.normal(size=(400, 3)), np.full(400, -1)
    >>> labels[np.argsort(X[:, 0])[-60::4]] = 1  # a quarter of the prospective ground is known
    >>> coordinates = np.column_stack(np.divmod(np.arange(400.0), 20))
    >>> found = RecursiveAnnotator(purge=0.1, max_rounds=2, guard=False).annotate(
    ...     X, labels, coordinates)
    >>> doubtful = found.cells[found.decisions[-1] == DECISIONS["doubtful"]]
    >>> bool(X[doubtful, 0].mean() > X[labels == -1, 0].mean() + 0.5)
    True
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        select: Literal["purge", "lowest", "weight"] = "purge",
        mode: Literal["reselect", "accumulate"] = "reselect",
        n_draws: int = 30,
        ratio: float = 5.0,
        purge: float = 0.05,
        quantile: float = 0.3,
        positive_quantile: float = 0.05,
        max_rounds: int = 10,
        tolerance: float = 0.01,
        guard: bool = True,
        control: Literal["none", "same-count", "shuffled"] = "none",
        n_streams: int = 5,
        max_cells: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.estimator = estimator
        self.select = select
        self.mode = mode
        self.n_draws = n_draws
        self.ratio = ratio
        self.purge = purge
        self.quantile = quantile
        self.positive_quantile = positive_quantile
        self.max_rounds = max_rounds
        self.tolerance = tolerance
        self.guard = guard
        self.control = control
        self.n_streams = n_streams
        self.max_cells = max_cells
        self.random_state = random_state

    def check(self) -> None:
        """Raise :class:`StudyError` if a setting cannot be, before any cell is looked at."""
        for name, allowed in (
            ("select", ("purge", "lowest", "weight")),
            ("mode", ("reselect", "accumulate")),
            ("control", ("none", "same-count", "shuffled")),
        ):
            if getattr(self, name) not in allowed:
                raise StudyError(f"{name} is {getattr(self, name)!r}: one of {', '.join(allowed)}.")
        for name in ("purge", "quantile", "positive_quantile"):
            if not 0 < getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}: give a share between 0 and 1.")
        if not 0 < self.ratio < np.inf:
            raise StudyError(f"ratio is {self.ratio}: it counts negatives per positive, above 0.")
        if not 0 <= self.tolerance < 1:
            raise StudyError(f"tolerance is {self.tolerance}: give a share from 0 up, below 1.")
        for name, least in (("n_draws", 2), ("n_streams", 2), ("max_rounds", 0)):
            if getattr(self, name) < least:
                raise StudyError(f"{name} is {getattr(self, name)}: at least {least} is needed.")
        if self.max_cells is not None and self.max_cells < 1:
            raise StudyError(f"max_cells is {self.max_cells}: give at least 1, or none for all.")

    def annotate(
        self,
        X: Any,
        labels: npt.ArrayLike,
        coordinates: npt.ArrayLike,
        *,
        decisions: npt.ArrayLike | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Annotation:
        """Judge the unlabelled cells.

        Parameters
        ----------
        X : array of shape (n, layers) or (n, layers, window, window)
            Or a lazy view such as :class:`gossan.evidence.CellFeatures`.
        labels : array-like of shape (n,)
            1 deposit, 0 known barren, -1 unlabelled. Only training cells: held-out deposits are
            either absent or unlabelled.
        coordinates : array-like of shape (n, 2)
            Easting and northing of the cells.
        decisions : array-like of shape (n,), optional
            A geologist's decisions, by the codes of :data:`gossan.annotate.DECISIONS`; they
            override the model in every round, but not a known deposit.
        progress : callable, optional
            Called with (rounds done, rounds at most).

        Returns
        -------
        Annotation

        Raises
        ------
        LabelError
            If no cell is a deposit, or none is unlabelled.
        StudyError
            If a setting cannot be.

        Warns
        -----
        SurveyDataWarning
            If the deposits form one patch, so that nothing can be held out inside.
        """
        self.check()
        generator = np.random.default_rng(self.random_state)
        coordinates, labels = checked_cells(coordinates, labels)
        decided = np.zeros(len(labels), np.int8) if decisions is None else np.asarray(decisions)
        decided = np.where(labels == 1, 0, decided)  # a known deposit stands
        ground = Ground(X, coordinates, label_decided(labels, decided), generator)
        rounds = Rounds(self, ground, labels, decided)
        total = self.max_rounds + 1
        while not rounds.finished:
            rounds.run_one()
            if progress is not None:
                progress(total if rounds.finished else len(rounds.figures), total)
        return rounds.annotation()
