"""Rounds of out-of-bag scoring that turn unlabelled cells into reliable negatives."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import threadpool_limits

from gossan.annotate.decisions import (
    ACCEPTED,
    DEPOSIT,
    DOUBTFUL,
    KNOWN_DEPOSIT,
    NEGATIVE,
    REJECTED,
    UNLABELLED,
    label_decided,
)
from gossan.annotate.strata import stratify
from gossan.evaluate import rank_bounds
from gossan.evidence import feature_blocks
from gossan.exceptions import LabelError, StudyError, SurveyDataWarning
from gossan.labels import Ground, checked_cells, positive_patches

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

_CAPTURE_AREAS = (0.01, 0.02, 0.05, 0.10)


@dataclass(frozen=True)
class Annotation:
    """What the rounds made of each cell.

    Attributes
    ----------
    cells : ndarray of shape (n,)
        The cells judged: indices into those given, sorted.
    scores : ndarray of shape (rounds, n), float32
        Out-of-bag score of each round, 0 barren to 1 like the deposits; NaN where every member
        trained on the cell.
    decisions : ndarray of shape (rounds, n), int8
        What each cell stood for while a round's members drew their negatives: one of the codes
        of :data:`gossan.annotate.DECISIONS`.
    weights : ndarray of shape (n,), float32
        How readily a cell is drawn as negative after the chosen round; 0 never.
    rounds : pandas.DataFrame
        One row a round: ``round``, ``n_negative``, ``n_doubtful``, ``changed`` (share of the
        annotated set), ``inner_auc`` and ``inner_capture`` (of deposits that neither the members
        nor the rounds before them saw; capture is the mean at 1, 2, 5 and 10 %),
        ``positives_below`` (share of such deposits' cells among the lowest ``quantile``).
    chosen : int
        The round whose set is kept; 0 if no annotation held up.
    strata : ndarray of shape (n,) or None
        Number of the part of the area and of the geology that each cell belongs to.
    stratum_shares : ndarray or None
        Share of each of them among all cells.
    """

    cells: IntArray
    scores: npt.NDArray[np.float32]
    decisions: npt.NDArray[np.int8]
    weights: npt.NDArray[np.float32]
    rounds: pd.DataFrame
    chosen: int
    strata: IntArray | None = None
    stratum_shares: FloatArray | None = None

    @property
    def negatives(self) -> IntArray:
        """Cells that may be drawn as negatives: indices into the cells given."""
        return self.cells[self.weights > 0]

    def draw(self, size: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Sorted, distinct cells to stand for barren ground."""
        drawn = _draw(self.weights, size, generator, self.strata, self.stratum_shares)
        return np.sort(self.cells[drawn])


class RecursiveAnnotator(BaseEstimator):
    """Recursive annotation of negatives, after Zhang, Coutts, Parsa et al. (2025).

    Round 0 fits one member to each of many random draws of unlabelled cells and scores every
    unlabelled cell by the members that did not draw it. Each later round draws from what the
    round before left as negatives. Thresholds and stopping rule are gossan's own.

    The deposits are dealt into clusters, and each member leaves one cluster out: so the deposits
    too are scored out of bag. The members that leave out a cluster form a stream with its own
    rounds, so whatever a stream annotates, it has never seen its own cluster; that makes the inner
    held-out figures honest, and the guard falls back to the best earlier round by them.

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
        Fall back to the best earlier round where the inner held-out figures drop.
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
    >>> rng = np.random.default_rng(0)
    >>> X, labels = rng.normal(size=(400, 3)), np.full(400, -1)
    >>> labels[np.argsort(X[:, 0])[-60::4]] = 1  # a quarter of the prospective ground is known
    >>> coordinates = np.column_stack(np.divmod(np.arange(400.0), 20))
    >>> found = RecursiveAnnotator(purge=0.1, max_rounds=2, guard=False).annotate(
    ...     X, labels, coordinates)
    >>> doubtful = found.cells[found.decisions[-1] == DOUBTFUL]
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
            override the model in every round.
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
        self._check()
        generator = np.random.default_rng(self.random_state)
        coordinates, labels = checked_cells(coordinates, labels)
        decided = np.zeros(len(labels), np.int8) if decisions is None else np.asarray(decisions)
        ground = Ground(X, coordinates, label_decided(labels, decided), generator)
        rounds = _Rounds(self, ground, labels, decided)
        total = self.max_rounds + 1
        while not rounds.finished:
            rounds.run_one()
            if progress is not None:
                progress(total if rounds.finished else len(rounds.figures), total)
        return rounds.annotation()

    def _check(self) -> None:
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


class _Rounds:
    """The rounds of one annotation and what they carry from one to the next."""

    def __init__(
        self, settings: RecursiveAnnotator, ground: Ground, labels: IntArray, decided: IntArray
    ) -> None:
        self.settings, self.ground = settings, ground
        if len(ground.positives) == 0:
            raise LabelError("No cell is labelled as a deposit, so negatives have no counterpart.")
        if len(ground.unlabelled) == 0:
            raise LabelError("No training cell is unlabelled, so there is nothing to annotate.")
        limit = len(labels) if settings.max_cells is None else settings.max_cells
        free = ground.some_unlabelled(limit)
        self.cells = np.sort(np.concatenate([free, np.flatnonzero(decided == REJECTED)]))
        self.free = decided[self.cells] != REJECTED  # may be drawn
        self.barren = np.flatnonzero(ground.labels == 0)
        self.labels, self.decided = labels, decided
        self.stream_of = _deal_positives(ground, settings.n_streams, settings.random_state)
        self.n_streams = int(self.stream_of.max()) + 1
        self.strata: IntArray | None = None
        self.shares: FloatArray | None = None
        if settings.select == "lowest":
            self.strata, self.shares = stratify(
                ground.features, self.cells, ground.coordinates, settings.random_state
            )
        # One row a stream, then one for all streams together: that is what is kept.
        self.weights = np.repeat(self.free[None].astype(np.float32), self.n_streams + 1, axis=0)
        self.figures: list[dict[str, Any]] = []
        self.scores: list[npt.NDArray[np.float32]] = []
        self.history = [self.weights[-1]]
        self.changed = np.nan
        self.finished = False

    def run_one(self) -> None:
        """Fit a round's members, score all cells out of bag, judge them for the next round."""
        number = len(self.figures)
        members, draws = self._fit(number)
        by_stream, combined, of_positives = self._score(members, draws)
        self.scores.append(combined)
        if self.settings.control == "shuffled":
            order = np.random.default_rng([self.settings.random_state, number]).permutation(
                len(self.cells)
            )
            by_stream, combined = by_stream[:, order], combined[order]
        self.figures.append(self._figures(number, of_positives))
        if number == self.settings.max_rounds:
            self.finished = True
            return
        ranks = of_positives[0]
        new = np.stack(
            [
                self._judge(self.weights[k], score, ranks[self.stream_of != k])
                for k, score in enumerate(by_stream)
            ]
            + [self._judge(self.weights[-1], combined, ranks)]
        )
        gone = np.abs(new[-1] - self.weights[-1]).sum()
        self.changed = float(gone / max(new[-1].sum(), 1e-9))
        self.finished = number > 0 and self.changed < self.settings.tolerance
        if not new.any(axis=1).all():
            self.finished = True  # a stream would have nothing to draw from
        if not self.finished:
            self.weights = new
            self.history.append(new[-1])

    def annotation(self) -> Annotation:
        """The round kept, and everything that led to it."""
        rounds = pd.DataFrame(self.figures)
        chosen = choose_round(rounds) if self.settings.guard else len(rounds) - 1
        shown = np.concatenate(
            [
                self.cells,
                np.flatnonzero((self.ground.labels == 1) | (self.decided == ACCEPTED)),
            ]
        )
        order = np.argsort(shown, kind="stable")
        extra = len(shown) - len(self.cells)
        scores = np.stack([np.append(s, np.full(extra, np.nan, np.float32)) for s in self.scores])
        decisions = np.stack([self._decisions(shown, t) for t in range(len(rounds))])
        kept = np.append(self._kept(chosen), np.zeros(extra, np.float32))
        strata = None if self.strata is None else np.append(self.strata, np.zeros(extra, int))
        return Annotation(
            cells=shown[order],
            scores=scores[:, order],
            decisions=decisions[:, order],
            weights=kept[order],
            rounds=rounds,
            chosen=chosen,
            strata=None if strata is None else strata[order],
            stratum_shares=self.shares,
        )

    def _kept(self, chosen: int) -> npt.NDArray[np.float32]:
        """Weights of the chosen round; as a control, dealt at random to the drawable cells."""
        kept = self.history[chosen]
        if self.settings.control == "same-count":
            kept = kept.copy()
            free = np.flatnonzero(self.free)
            kept[free] = self.ground.generator.permutation(kept[free])
        return kept

    def _decisions(self, shown: IntArray, number: int) -> npt.NDArray[np.int8]:
        """Codes of the cells while a round's members drew from them."""
        code = np.full(len(shown), UNLABELLED, np.int8)
        if number > 0:
            drawable = self.history[number] > 0
            left_out = DOUBTFUL if self.settings.select == "purge" else UNLABELLED
            code[: len(self.cells)] = np.where(drawable, NEGATIVE, left_out)
        code[self.labels[shown] == 1] = KNOWN_DEPOSIT
        by_geologist = np.isin(self.decided[shown], (ACCEPTED, REJECTED, DEPOSIT))
        code[by_geologist] = self.decided[shown][by_geologist]
        return code

    def _fit(self, number: int) -> tuple[list[Any], list[IntArray]]:
        """One member a draw, and the positions in ``cells`` that it drew."""
        settings, ground = self.settings, self.ground
        draws, seeds, shown = [], [], []
        for member in range(settings.n_draws):
            stream = member % self.n_streams
            seed = np.random.SeedSequence([settings.random_state, number, member])
            generator = np.random.default_rng(seed)
            positives = ground.positives
            if self.n_streams > 1:
                positives = positives[self.stream_of != stream]
            weights = self.weights[stream]
            # At most half of what may be drawn, so that every cell stays out of some draws.
            size = min(round(settings.ratio * len(positives)), max(1, (weights > 0).sum() // 2))
            drawn = _draw(weights, max(1, size), generator, self.strata, self.shares)
            draws.append(np.sort(drawn))
            seeds.append(int(generator.integers(2**31)))
            shown.append((positives, np.concatenate([self.barren, self.cells[draws[-1]]])))
        read = np.unique(np.concatenate([np.concatenate(pair) for pair in shown]))
        values = ground.features[read]
        with threadpool_limits(limits=1):
            members = Parallel(n_jobs=-1, prefer="threads")(
                delayed(_fit_member)(
                    self._member(seed), values[np.searchsorted(read, np.concatenate(pair))], pair
                )
                for seed, pair in zip(seeds, shown, strict=True)
            )
        return members, draws

    def _member(self, seed: int) -> Any:
        if self.settings.estimator is None:
            return ExtraTreesClassifier(
                10, min_samples_leaf=2, class_weight="balanced", random_state=seed
            )
        member = clone(self.settings.estimator)
        settings = {
            key: seed
            for key in member.get_params(deep=True)
            if key == "random_state" or key.endswith("__random_state")
        }
        return member.set_params(**settings)

    def _score(
        self, members: list[Any], draws: list[IntArray]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], FloatArray]:
        """Out-of-bag scores: by stream (streams, n), of all members (n,); ranks of positives."""
        count = np.full((self.n_streams, len(self.cells)), 0, np.int16)
        total = np.zeros((self.n_streams, len(self.cells)), np.float32)
        with Parallel(n_jobs=-1, prefer="threads") as parallel:
            for positions, values in feature_blocks(self.ground.features, self.cells):
                scores = parallel(delayed(_probability)(member, values) for member in members)
                place = np.full(len(self.cells), -1, np.int32)
                place[positions] = np.arange(len(positions), dtype=np.int32)
                for number, (score, drawn) in enumerate(zip(scores, draws, strict=True)):
                    stream = number % self.n_streams
                    here = place[drawn]
                    in_bag = here[here >= 0]
                    score[in_bag] = 0.0
                    total[stream, positions] += score
                    count[stream, positions] += 1
                    count[stream, positions[in_bag]] -= 1
        known = self._positive_scores(members)
        by_stream = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        every = count.sum(axis=0)
        combined = np.divide(
            total.sum(axis=0),
            every,
            out=np.full(len(self.cells), np.nan, np.float32),
            where=every > 0,
        )
        return by_stream, combined, self._positive_ranks(known, by_stream)

    def _positive_scores(self, members: list[Any]) -> FloatArray:
        """Score of each positive cell by the members that left its cluster out."""
        values = self.ground.features[self.ground.positives]
        known = np.full(len(values), np.nan)
        for stream in range(self.n_streams if self.n_streams > 1 else 0):
            own = self.stream_of == stream
            votes = [_probability(m, values[own]) for m in members[stream :: self.n_streams]]
            known[own] = np.mean(votes, axis=0) if votes else np.nan
        return known

    def _positive_ranks(self, known: FloatArray, by_stream: FloatArray) -> FloatArray:
        """(2, positives): lowest and highest rank among the unlabelled, by their own stream."""
        bounds = np.full((2, len(known)), np.nan)
        for stream in range(self.n_streams):
            own = (self.stream_of == stream) & np.isfinite(known)
            background = by_stream[stream][np.isfinite(by_stream[stream])]
            if own.any() and len(background):
                bounds[:, own] = rank_bounds(known[own], background).T
        return bounds

    def _figures(self, number: int, of_positives: FloatArray) -> dict[str, Any]:
        known = np.isfinite(of_positives[0])
        auc, captured, below = np.nan, np.nan, np.nan
        if known.any():
            weight = self._cell_weights()[known]
            ranks = of_positives[:, known]
            auc = float(np.average(ranks.mean(axis=0), weights=weight))
            captured = float(np.mean([_captured(ranks, area, weight) for area in _CAPTURE_AREAS]))
            below = float(np.average(ranks[0] < self.settings.quantile, weights=weight))
        drawable = self.history[-1] > 0
        doubtful = int((self.free & ~drawable).sum()) if self.settings.select == "purge" else 0
        return {
            "round": number,
            "n_negative": int(drawable.sum()) if number else 0,
            "n_doubtful": doubtful,
            "changed": self.changed if number else np.nan,
            "inner_auc": auc,
            "inner_capture": captured,
            "positives_below": below,
        }

    def _cell_weights(self) -> FloatArray:
        """Every deposit weighs alike, however many cells its footprint has."""
        patch = positive_patches(self.ground)
        return 1.0 / np.bincount(patch)[patch]

    def _judge(
        self, before: npt.NDArray[np.float32], score: FloatArray, positive_ranks: FloatArray
    ) -> npt.NDArray[np.float32]:
        """How readily each cell is drawn in the next round; a cell without a score keeps its."""
        settings = self.settings
        known = np.isfinite(score) & self.free
        after = before.copy()
        if settings.select == "purge":
            open_to = known & (before > 0) if settings.mode == "accumulate" else known
            doubtful = _highest(score, open_to, settings.purge)
            after[known] = before[known] if settings.mode == "accumulate" else 1.0
            after[doubtful] = 0.0
        elif settings.select == "lowest":
            share = settings.quantile
            ranks = positive_ranks[np.isfinite(positive_ranks)]
            if len(ranks):
                share = min(share, float(np.quantile(ranks, settings.positive_quantile)))
            lowest = _highest(-score, known, share)
            accumulate = settings.mode == "accumulate" and len(self.figures) > 1
            after[known] = before[known] if accumulate else 0.0
            after[lowest] = 1.0
        else:
            rank = np.zeros(len(score), np.float32)
            rank[known] = np.argsort(np.argsort(score[known], kind="stable")) / max(1, known.sum())
            weight = 1.0 - rank
            after[known] = (
                weight[known] * before[known] if settings.mode == "accumulate" else weight[known]
            )
        return after


def choose_round(rounds: pd.DataFrame) -> int:
    """The last round before the inner held-out figures drop below an earlier one's."""
    return int(rounds["round"].iloc[-1])


def _deal_positives(ground: Ground, n_streams: int, random_state: int) -> IntArray:
    """Cluster of deposits, from 0, that each positive cell belongs to."""
    patch = positive_patches(ground)
    n_patches = int(patch.max()) + 1
    if n_patches < 2:
        warnings.warn(
            "The positive cells form one patch, so no deposit can be left out inside the "
            "annotation: its guard has nothing to judge by. Add deposits, or use another sampler.",
            SurveyDataWarning,
            stacklevel=5,
        )
        return np.zeros(len(patch), np.int64)
    size = np.bincount(patch)
    places = ground.coordinates[ground.positives]
    centres = np.column_stack([np.bincount(patch, axis) / size for axis in places.T])
    count = min(n_streams, n_patches)
    with threadpool_limits(limits=1, user_api="openmp"):
        cluster = KMeans(count, n_init=5, random_state=random_state).fit_predict(centres)
    return cluster[patch].astype(np.int64)


def _fit_member(member: Any, X: FloatArray, pair: tuple[IntArray, IntArray]) -> Any:
    return member.fit(X, np.repeat([1, 0], [len(pair[0]), len(pair[1])]))


def _probability(member: Any, X: FloatArray) -> npt.NDArray[np.float32]:
    return member.predict_proba(X)[:, 1].astype(np.float32)


def _highest(score: FloatArray, among: BoolArray, share: float) -> IntArray:
    """The given share of the cells ``among`` which score highest; ties by their place."""
    cells = np.flatnonzero(among)
    count = round(share * len(cells))
    if count == 0:
        return cells[:0]
    return cells[np.argpartition(-score[cells], count - 1)[:count]]


def _captured(ranks: FloatArray, area: float, weight: FloatArray) -> float:
    low, high = ranks
    reached = np.clip((high - (1 - area)) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    reached = np.where(high - low > 1e-12, reached, high >= 1 - area)
    return float(np.average(reached, weights=weight))


def _draw(
    weights: npt.NDArray[np.float32],
    size: int,
    generator: np.random.Generator,
    strata: IntArray | None = None,
    shares: FloatArray | None = None,
) -> IntArray:
    """Positions of ``size`` distinct cells drawn by weight, or evenly over the strata."""
    pool = np.flatnonzero(weights > 0)
    if size >= len(pool):
        return pool
    if strata is not None and shares is not None:
        return _draw_by_stratum(pool, strata[pool], shares, size, generator)
    weight = weights[pool]
    if weight.min() == weight.max():
        return generator.choice(pool, size, replace=False, shuffle=False)
    # Weighted draws without replacement (Efraimidis & Spirakis 2006): the highest keys.
    keys = np.log(generator.random(len(pool), dtype=np.float32)) / weight
    return pool[np.argpartition(-keys, size - 1)[:size]]


def _draw_by_stratum(
    pool: IntArray,
    stratum: IntArray,
    shares: FloatArray,
    size: int,
    generator: np.random.Generator,
) -> IntArray:
    """Each stratum gives as large a share of the draw as it has of the area, while it lasts."""
    held = np.bincount(stratum, minlength=len(shares))
    wanted = np.zeros(len(shares), np.int64)
    left = size
    while left > 0:
        room = (wanted < held) * shares
        more = generator.multinomial(left, room / room.sum())
        wanted = np.minimum(wanted + more, held)
        left = size - int(wanted.sum())
    order = np.argsort(stratum, kind="stable")
    starts = np.cumsum(held) - held
    drawn = [
        order[starts[s] + generator.choice(held[s], wanted[s], replace=False, shuffle=False)]
        for s in np.flatnonzero(wanted)
    ]
    return pool[np.concatenate(drawn)]
