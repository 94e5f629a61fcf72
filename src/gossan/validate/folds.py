"""Cross-validation with negatives chosen inside each fold, and a background nobody trained on."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from sklearn.base import clone

from gossan.draws import DrawEnsemble, Sampler, score_and_spread
from gossan.evaluate import held_out_summary, rank_bounds, rank_stability
from gossan.evidence import feature_blocks
from gossan.predict import predict_map
from gossan.validate.background import (
    Background,
    deal_background,
    learns_patches,
    training_cells,
    widest_patch,
)
from gossan.validate.cells import (
    FloatArray,
    IntArray,
    ModelView,
    StudyCells,
    deposit_cells,
    study_cells,
)

_QUANTILES = np.linspace(0.0, 1.0, 1001)


@dataclass(frozen=True)
class CrossValidation:
    """Held-out figures of one method on one area.

    Attributes
    ----------
    ranks : array of shape (n_deposits,)
        For each deposit, the share of the background that scores below it in the maps of the
        fold that did not see it, ties counting half. Order of ``deposits``.
    folds : array of shape (n_deposits,)
        The fold that held the deposit out.
    deposits : array of shape (n_deposits,)
        Index of each deposit in the study's table.
    held_out : dict
        Pooled figures with intervals, as in ``evaluation.json``.
    fold_results : list of dict
        One a fold: deposits held out, their ranks and scores, training cells, background.
    n_cells : int
        Cells of the study area.
    """

    ranks: FloatArray
    folds: IntArray
    deposits: IntArray
    held_out: dict[str, Any]
    fold_results: list[dict[str, Any]]
    n_cells: int


def cross_validate(
    model: Any,
    evidence: xr.DataArray,
    labels: xr.DataArray,
    *,
    splitter: Any,
    negatives: Sampler,
    n_draws: int = 1,
    background_folds: int = 2,
    max_background: int | None = 500_000,
    n_bootstrap: int = 5000,
    random_state: int = 0,
    finished: MutableMapping[str, dict[str, Any]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Hold out deposits fold by fold and rank them against the whole unlabelled background.

    In each fold the held-out deposits' footprints and dead zone leave the training cells; the
    negatives are drawn from what is left. The background is cross-fitted: dealt in spatial blocks
    to ``background_folds`` parts, each scored by a model that trained on none of its cells, since
    a model knows the cells it was shown as negatives by heart: fully grown trees then seem to find
    even deposits put at random places (``benchmarks/background_leak.py``). A deposit's rank is the
    share of the background below it, averaged over those models; of a method that learns patches,
    by the models of its own part (:func:`deal_background`).

    Parameters
    ----------
    model : classifier
        Unfitted, following gossan's estimator contract.
    evidence : xarray.DataArray
        ``(layer, y, x)`` float32, NaN missing.
    labels : xarray.DataArray
        ``(y, x)`` from :func:`gossan.labels.label_cells`, with its ``deposit`` coordinate.
    splitter : cross-validator
        From :mod:`gossan.splits`.
    negatives : sampler
        From :mod:`gossan.labels`; runs inside each training fold.
    n_draws : int, default 1
        Draws of negatives a model is averaged over.
    background_folds : int, default 2
        Parts of the background.
    max_background : int or None, default 500,000
        A uniform random sample of so many background cells stands for a larger background; its
        standard error on an area share is below 0.0004.
    n_bootstrap : int, default 5000
        Resamples of whole deposit clusters behind each interval.
    random_state : int, default 0
    finished : mutable mapping, optional
        Results of folds already done, by name; new ones are added as they finish, so that a
        killed run goes on where it was.
    progress : callable, optional
        Called with (fits done, fits in all): one a fold and part of the background.

    Returns
    -------
    CrossValidation

    Raises
    ------
    gossan.exceptions.LabelError
        If there are fewer deposits than folds, or a fold leaves nothing to train on.
    """
    cells = study_cells(evidence, labels)
    view = ModelView(model, cells)
    centres = deposit_cells(cells, labels)
    background = deal_background(
        cells,
        background_folds,
        max_background,
        random_state,
        patch=widest_patch([model], labels.shape),
    )
    finished = {} if finished is None else finished
    ensemble = DrawEnsemble(model, negatives, n_draws, random_state)
    splits = list(splitter.split(cells.coordinates, cells.labels, cells.deposits))
    n_parts = background.n_parts
    tell = _steps(progress, n_parts * len(splits))
    tell(0)
    results = []
    for fold, (train, test) in enumerate(splits):
        name = f"fold-{fold}"
        if "rank_bounds" not in finished.get(name, {}):
            held_out = np.intersect1d(np.unique(cells.deposits[test]), np.flatnonzero(centres >= 0))
            finished[name] = {"deposits": held_out.tolist()} | _run_fold(
                *(ensemble, view, train, centres[held_out], background),
                _after(tell, fold * n_parts),
            )
        results.append(finished[name])
        tell((fold + 1) * n_parts)
    return _pool(results, len(cells.labels), n_bootstrap, random_state)


def draw_stability(
    model: Any,
    cells: StudyCells,
    *,
    negatives: Sampler,
    n_draws: int = 1,
    repeats: int = 5,
    top: float = 0.05,
    max_cells: int = 50_000,
    random_state: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """How far the ranking of the area depends on which negatives and seeds were drawn.

    The whole ensemble of ``n_draws`` is fitted ``repeats`` times, each with its own seed, and
    scores a uniform sample of the study's cells; see :func:`gossan.evaluate.rank_stability`.
    """
    view = ModelView(model, cells)
    rng = np.random.default_rng(random_state)
    count = min(max_cells, len(cells.labels))
    shown = np.sort(rng.choice(len(cells.labels), count, replace=False))
    maps = []
    tell = _steps(progress, repeats)
    tell(0)
    for repeat in range(repeats):
        ensemble = DrawEnsemble(model, negatives, n_draws, random_state + 1 + repeat)
        ensemble, features = view.fit(ensemble)
        maps.append(score_cells(ensemble, features, shown))
        tell(repeat + 1)
    return dict(rank_stability(np.stack(maps), top=top))


def held_out_calibration(results: list[dict[str, Any]], bins: int = 10) -> dict[str, Any]:
    """Whether held-out scores are probabilities: Brier score and reliability in equal-mass bins.

    A held-out deposit is an outcome of 1, a background cell one of 0. The background of a fold is
    represented by its thousand quantiles, each standing for as many cells.

    Parameters
    ----------
    results : list of dict
        ``fold_results`` of a :class:`CrossValidation`.
    bins : int, default 10

    Returns
    -------
    dict
        ``brier``, and ``reliability``: one entry a bin with ``predicted``, ``observed`` and
        ``cells``.

    Examples
    --------
    >>> fold = {"scores": [0.9], "background_quantiles": [0.0, 0.0, 0.5], "n_background": 9}
    >>> found = held_out_calibration([fold], bins=2)
    >>> [(b["cells"], round(b["observed"], 2)) for b in found["reliability"]]
    [(6.0, 0.0), (4.0, 0.25)]
    """
    score = np.concatenate([[*r["scores"], *r["background_quantiles"]] for r in results])
    outcome = np.concatenate(
        [np.repeat([1.0, 0.0], [len(r["scores"]), len(r["background_quantiles"])]) for r in results]
    )
    weight = np.concatenate(
        [
            [1.0] * len(r["scores"])
            + [r["n_background"] / len(r["background_quantiles"])] * len(r["background_quantiles"])
            for r in results
        ]
    )
    edges = np.unique(np.sort(score)[np.arange(1, bins) * score.size // bins])
    _, bin_of = np.unique(np.searchsorted(edges, score, side="right"), return_inverse=True)
    cells = np.bincount(bin_of, weight)
    return {
        "brier": float(np.average((score - outcome) ** 2, weights=weight)),
        "reliability": [
            {"predicted": float(p), "observed": float(o), "cells": float(c)}
            for p, o, c in zip(
                np.bincount(bin_of, weight * score) / cells,
                np.bincount(bin_of, weight * outcome) / cells,
                cells,
                strict=True,
            )
        ],
    }


def _steps(progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    """Tells how many steps of a total are done, if anybody listens."""
    return lambda done: None if progress is None else progress(done, total)


def _after(tell: Callable[[int], None], before: int) -> Callable[[int], None]:
    """The same teller, for what comes after so many steps."""
    return lambda done: tell(before + done)


def _run_fold(
    ensemble: DrawEnsemble,
    view: ModelView,
    train: IntArray,
    held_out: IntArray,
    background: Background,
    done: Callable[[int], None],
) -> dict[str, Any]:
    """Fit one model a background part, rank the held-out deposits' cells; plain JSON values."""
    patches = learns_patches(ensemble.estimator)
    bounds, scores, quantiles, n_training = [], [], [], []
    for part in range(background.n_parts):
        shown, unknown = training_cells(view.cells, background, train, part, patches=patches)
        fitted, features = view.fit(clone(ensemble), shown, unknown)
        own = background.cells(part)
        both = score_cells(fitted, features, np.concatenate([own, held_out]))
        elsewhere, at_deposits = both[: len(own)], both[len(own) :]
        bounds.append(rank_bounds(at_deposits, elsewhere))
        scores.append(at_deposits)
        quantiles.append(np.quantile(elsewhere, _QUANTILES))
        n_training.append(fitted.n_training_cells_)
        done(part + 1)
    return {
        "rank_bounds": background.pooled(bounds, held_out, patches=patches).tolist(),
        "scores": background.pooled(scores, held_out, patches=patches).tolist(),
        "background_quantiles": np.mean(quantiles, axis=0).tolist(),
        "n_training_cells": n_training,
        "n_background": int((background.judged >= 0).sum()),
    }


def _pool(
    results: list[dict[str, Any]], n_cells: int, n_bootstrap: int, random_state: int
) -> CrossValidation:
    deposits = np.concatenate([np.asarray(r["deposits"], dtype=np.int64) for r in results])
    bounds = np.concatenate([np.reshape(r["rank_bounds"], (-1, 2)) for r in results])
    folds = np.concatenate([np.full(len(r["deposits"]), k) for k, r in enumerate(results)])
    order = np.argsort(deposits, kind="stable")
    held_out = held_out_summary(
        bounds[order], folds[order], n_bootstrap=n_bootstrap, random_state=random_state
    )
    ranks = bounds.mean(axis=1)
    return CrossValidation(
        ranks[order], folds[order], deposits[order], dict(held_out), results, n_cells
    )


def score_cells(model: Any, features: Any, indices: IntArray) -> FloatArray:
    """Scores of the given cells, read part by part.

    Where windows overlap, as those of a background do, a model with a dense path maps the area
    instead: every neighbour is then looked at once and not once a window; so does one that scores
    patches of an area. A cell that the model cannot score, such as one without any neighbour, is
    one that it would not point to: 0.
    """
    if hasattr(model, "score_area"):
        of_area, _ = model.score_area(features.evidence)
        return np.nan_to_num(of_area[features.rows[indices], features.columns[indices]], nan=0.0)
    window = getattr(features, "window", 1)
    overlap = len(indices) * window**2 > len(features)
    if window > 1 and overlap and hasattr(model, "predict_block_with_spread"):
        scores_of_area = predict_map(model, features.evidence).to_numpy()
        scores = scores_of_area[features.rows[indices], features.columns[indices]].astype(float)
        return np.nan_to_num(scores, nan=0.0)
    scores = np.empty(len(indices))
    for positions, values in feature_blocks(features, indices):
        scores[positions] = score_and_spread(model, values)[0]
    return np.nan_to_num(scores, nan=0.0)
