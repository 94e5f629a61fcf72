"""The rounds of one annotation, and what they carry from one to the next."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.ensemble._forest import ForestClassifier
from threadpoolctl import threadpool_limits

from gossan.annotate.annotation import Annotation, FloatArray, IntArray, draw_cells
from gossan.annotate.decisions import (
    ACCEPTED,
    DEPOSIT,
    DOUBTFUL,
    KNOWN_DEPOSIT,
    NEGATIVE,
    REJECTED,
    UNLABELLED,
)
from gossan.annotate.guard import choose_round, standard_error
from gossan.annotate.strata import stratify
from gossan.evaluate import AREAS, rank_bounds
from gossan.evidence import feature_blocks
from gossan.exceptions import LabelError, SurveyDataWarning
from gossan.labels import Ground, positive_patches

if TYPE_CHECKING:
    from gossan.annotate.recursion import RecursiveAnnotator

BoolArray = npt.NDArray[np.bool_]


class Rounds:
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
        self.stream_of = _deal_positives(
            ground, min(settings.n_streams, settings.n_draws), settings.random_state
        )
        self.n_streams = int(self.stream_of.max()) + 1
        self.strata: IntArray | None = None
        self.shares: FloatArray | None = None
        if settings.select == "lowest":
            self.strata, self.shares = stratify(
                ground.features, self.cells, ground.coordinates, settings.random_state
            )
        # One row a stream, then one for all streams together: that is what is kept.
        self.weights = np.repeat(self.free[None].astype(np.float32), self.n_streams + 1, axis=0)
        self.patch = positive_patches(ground)
        self.figures: list[dict[str, Any]] = []
        self.inner_ranks: list[FloatArray] = []
        self.inner_captures: list[FloatArray] = []
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
        rounds["inner_auc_error"] = [
            standard_error(r - self.inner_ranks[0]) for r in self.inner_ranks
        ]
        chosen = len(rounds) - 1
        if self.settings.guard:
            below = rounds["positives_below"].to_numpy()
            if self.settings.select != "lowest":
                below = np.zeros(len(rounds))
            chosen = choose_round(np.stack(self.inner_ranks), np.stack(self.inner_captures), below)
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
            # The same in every round: what changes between rounds is what was set aside.
            seed = np.random.SeedSequence([settings.random_state, member])
            generator = np.random.default_rng(seed)
            seeds.append(int(generator.integers(2**31)))
            positives = ground.positives
            if self.n_streams > 1:
                positives = positives[self.stream_of != stream]
            weights = self.weights[stream]
            # At most half of what may be drawn, so that every cell stays out of some draws.
            size = min(round(settings.ratio * len(positives)), max(1, (weights > 0).sum() // 2))
            strata = self.strata if number > 0 else None  # round 0 is plain random draws
            drawn = draw_cells(weights, max(1, size), generator, strata, self.shares)
            draws.append(np.sort(drawn))
            shown.append((positives, np.concatenate([self.barren, self.cells[draws[-1]]])))
        read = np.unique(np.concatenate([np.concatenate(pair) for pair in shown]))
        values = ground.features[read]
        # In turn: forests in threads would change the process's warning filters under one another.
        with threadpool_limits(limits=1):
            members = [
                _fit_member(
                    self._member(seed), values[np.searchsorted(read, np.concatenate(pair))], pair
                )
                for seed, pair in zip(seeds, shown, strict=True)
            ]
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
        place = np.full(len(self.cells), -1, np.int32)  # of each cell in the block at hand
        with Parallel(n_jobs=-1, prefer="threads") as parallel:
            for positions, values in feature_blocks(self.ground.features, self.cells):
                scores = parallel(delayed(_probability)(member, values) for member in members)
                place[positions] = np.arange(len(positions), dtype=np.int32)
                for number, (score, drawn) in enumerate(zip(scores, draws, strict=True)):
                    stream = number % self.n_streams
                    here = place[drawn]
                    in_bag = here[here >= 0]
                    score[in_bag] = 0.0
                    total[stream, positions] += score
                    count[stream, positions] += 1
                    count[stream, positions[in_bag]] -= 1
                place[positions] = -1
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
        ranks = of_positives.mean(axis=0)
        captured = np.mean([_reached(of_positives, area) for area in AREAS], axis=0)
        below = np.where(np.isnan(ranks), np.nan, of_positives[0] < self.settings.quantile)
        self.inner_ranks.append(self._by_deposit(ranks))
        self.inner_captures.append(self._by_deposit(captured))
        drawable = self.history[-1] > 0
        doubtful = int((self.free & ~drawable).sum()) if self.settings.select == "purge" else 0
        return {
            "round": number,
            "n_negative": int(drawable.sum()) if number else 0,
            "n_doubtful": doubtful,
            "changed": self.changed if number else np.nan,
            "inner_auc": float(self.inner_ranks[-1].mean()),
            "inner_capture": float(self.inner_captures[-1].mean()),
            "positives_below": float(self._by_deposit(below).mean()),
        }

    def _by_deposit(self, of_cells: FloatArray) -> FloatArray:
        """Mean over each deposit's cells: deposits weigh alike, whatever their footprint."""
        return np.bincount(self.patch, of_cells) / np.bincount(self.patch)

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
            weight = np.zeros(len(score), np.float32)
            order = np.flatnonzero(known)[np.argsort(score[known], kind="stable")]
            weight[order] = 1.0 - np.arange(len(order), dtype=np.float32) / max(1, len(order))
            after[known] = (
                weight[known] * before[known] if settings.mode == "accumulate" else weight[known]
            )
        return after


def _deal_positives(ground: Ground, n_streams: int, random_state: int) -> IntArray:
    """Cluster of deposits, from 0, that each positive cell belongs to."""
    patch = positive_patches(ground)
    n_patches = int(patch.max()) + 1
    if n_patches < 2:
        warnings.warn(
            "The positive cells form one patch, so no deposit can be left out inside the "
            "annotation: its guard has nothing to judge by. Add deposits, or use another sampler.",
            SurveyDataWarning,
            stacklevel=4,
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
    """Positive probability (n,); a forest's trees are asked one by one, in this thread."""
    if not isinstance(member, ForestClassifier):
        return member.predict_proba(X)[:, 1].astype(np.float32)
    cells = np.ascontiguousarray(X, dtype=np.float32)
    total = np.zeros(len(cells))
    for tree in member.estimators_:
        total += tree.predict_proba(cells, check_input=False)[:, 1]
    return (total / len(member.estimators_)).astype(np.float32)


def _highest(score: FloatArray, among: BoolArray, share: float) -> IntArray:
    """The given share of the cells ``among`` which score highest; ties by their place."""
    cells = np.flatnonzero(among)
    count = round(share * len(cells))
    if count == 0:
        return cells[:0]
    return cells[np.argpartition(-score[cells], count - 1)[:count]]


def _reached(bounds: FloatArray, area: float) -> FloatArray:
    """Share of each cell's tie that lies in the top ``area``; NaN without a rank."""
    low, high = bounds
    tied = np.maximum(high - low, np.finfo(float).eps)
    return np.clip((high - (1 - area)) / tied, 0.0, 1.0)
