"""The headline: skill on held-out deposits with intervals, and stability over maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.special import ndtr, stdtrit
from scipy.stats import rankdata

from gossan.evaluate.conventions import (
    Array,
    RandomState,
    crossing,
    floats,
    rank_interval,
    reached_by,
    valid_areas,
)
from gossan.exceptions import LabelError

AREAS = (0.01, 0.02, 0.05, 0.10)
"""Shares of the area at which capture is reported."""

_SMALLEST_AREA = 1e-6


def held_out_summary(
    ranks: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    areas: Sequence[float] = AREAS,
    n_bootstrap: int = 5000,
    random_state: RandomState = 0,
) -> dict[str, Any]:
    """Headline figures of held-out deposits with 95 % deposit-cluster bootstrap intervals.

    Deposits of one cluster are not independent, so whole clusters are resampled. Percentiles of
    few resampled clusters lie too close together; the expanded percentiles of Hesterberg (2015)
    make up for it as Student's t does. The interval of a capture is never narrower than that of as
    many independent deposits (Wilson 1927): none found of 30 does not mean that none could be.

    Parameters
    ----------
    ranks : array_like
        (n,) from :func:`percentile_ranks` or, better where maps have ties, (n, 2) from
        :func:`rank_bounds`: each held-out deposit against the background of its own fold's map.
    clusters : array_like
        (n,) cluster or fold of each deposit.
    areas : sequence of float
        Shares of the area at which capture is given.
    n_bootstrap : int
        Resamples.
    random_state : int, numpy.random.Generator or None
        Seed of the resampling.

    Returns
    -------
    dict
        ``auc_background``, ``capture`` (by area, as text), ``prediction_area``
        (``prediction_rate``, ``area``, ``normalised_density``; the area at least a millionth in
        the last, so that it is finite), and ``ci95`` with the same keys → [low, high]. Plain
        floats, ready for JSON.

    Raises
    ------
    LabelError
        If a rank is missing, or there are fewer than two clusters.
    StudyError
        If an area lies outside [0, 1].

    Examples
    --------
    >>> summary = held_out_summary([0.99, 0.97, 0.6, 0.2], [0, 0, 1, 2])
    >>> round(summary["auc_background"], 6), summary["capture"]["0.05"]
    (0.69, 0.5)
    """
    low, high = rank_interval(ranks)
    limits = valid_areas(areas)
    corners, after = _pooled_corners(low, high)
    columns = np.column_stack(
        [_skill_columns(low, high, limits), reached_by(low, high, corners, after)]
    )
    means = _resampled_means(columns, clusters, n_bootstrap, random_state)
    area = crossing(corners, means[:, 1 + limits.size :])
    figures = _skill_figures(means, limits) | {
        "prediction_area": {
            "prediction_rate": 1 - area,
            "area": area,
            "normalised_density": (1 - area) / np.maximum(area, _SMALLEST_AREA),
        }
    }
    summary = _with_interval(figures, clusters)
    for area, limits_of_area in summary["ci95"]["capture"].items():
        wilson = _wilson(summary["capture"][area], len(low))
        summary["ci95"]["capture"][area] = [
            min(limits_of_area[0], wilson[0]),
            max(limits_of_area[1], wilson[1]),
        ]
    return summary


def paired_difference(
    ranks_a: npt.ArrayLike,
    ranks_b: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    areas: Sequence[float] = AREAS,
    n_bootstrap: int = 5000,
    random_state: RandomState = 0,
) -> dict[str, Any]:
    """By how much method a beats method b on the same held-out deposits, with intervals.

    Both methods see the same resampled clusters, so what makes a cluster hard for both cancels.
    An interval that holds 0 tells no difference. Parameters are those of :func:`held_out_summary`,
    ``ranks_a`` and ``ranks_b`` in the same order of deposits.

    Returns
    -------
    dict
        ``auc_background`` and ``capture`` (by area), a minus b, and ``ci95`` with the same keys.

    Examples
    --------
    >>> difference = paired_difference([0.9, 0.8, 0.7], [0.8, 0.7, 0.6], [0, 1, 2])
    >>> [round(limit, 6) for limit in difference["ci95"]["auc_background"]]
    [0.1, 0.1]
    """
    (low_a, high_a), (low_b, high_b) = rank_interval(ranks_a), rank_interval(ranks_b)
    limits = valid_areas(areas)
    if low_a.size != low_b.size:
        raise ValueError(
            f"The methods ranked {low_a.size} and {low_b.size} deposits: a paired"
            " comparison needs the same held-out deposits in the same order."
        )
    columns = _skill_columns(low_a, high_a, limits) - _skill_columns(low_b, high_b, limits)
    means = _resampled_means(columns, clusters, n_bootstrap, random_state)
    return _with_interval(_skill_figures(means, limits), clusters)


def rank_stability(maps: Iterable[npt.ArrayLike], top: float = 0.05) -> dict[str, float]:
    """Agreement of several maps of one area, such as those of different negative draws.

    Parameters
    ----------
    maps : array_like or iterable of array_like
        (n_maps, ...) scores; cells that any map lacks (NaN) are left out of all.
    top : float
        Share of the area whose cells are compared, above 0 and at most 1.

    Returns
    -------
    dict
        ``jaccard``: mean over pairs of the top cells in common over those in either (cells tied at
        the limit belong by their expected share); ``spearman``: mean rank correlation over all
        cells, 0 for a map that is constant.

    Raises
    ------
    ValueError
        If there are fewer than two maps, or no cell that all of them score.

    Examples
    --------
    >>> rank_stability([[1, 2, 3, 4], [1, 2, 4, 3]], top=0.5)
    {'jaccard': 1.0, 'spearman': 0.8}
    """
    flat = [floats(scores) for scores in maps]
    if len(flat) < 2 or len({scores.size for scores in flat}) > 1 or not 0 < top <= 1:
        raise ValueError(
            f"Stability needs two maps or more of the same cells and 0 < top <= 1, got maps of "
            f"{[scores.size for scores in flat]} cells and top = {top}."
        )
    scored = ~np.logical_or.reduce([np.isnan(scores) for scores in flat])
    if not scored.any():
        raise ValueError("No cell has a score on all maps: make them over the same study area.")
    memberships = [_top_membership(scores[scored], top) for scores in flat]
    in_both = [float(a.minimum(b).sum()) for a, b in combinations(memberships, 2)]
    in_each = top * scored.sum()
    ranks = np.stack([_standard_ranks(scores[scored]) for scores in flat])
    correlation = (ranks @ ranks.T)[np.triu_indices(len(flat), 1)]
    return {
        "jaccard": float(np.mean([both / (2 * in_each - both) for both in in_both])),
        "spearman": round(float(correlation.mean()), 6),
    }


def _skill_columns(low: Array, high: Array, limits: Array) -> Array:
    """(n, 1 + areas): what each deposit adds to the AUC and to capture at each area."""
    return np.column_stack([(low + high) / 2, reached_by(low, high, limits)])


def _skill_figures(means: Array, limits: Array) -> dict[str, Any]:
    return {
        "auc_background": means[:, 0],
        "capture": {_area_key(a): means[:, 1 + i] for i, a in enumerate(limits)},
    }


def _area_key(area: float) -> str:
    return f"{area:.2f}" if round(area, 2) == area else f"{area:g}"


def _pooled_corners(low: Array, high: Array) -> tuple[Array, Array]:
    """Areas at which a curve of pooled ranks bends, and whether to look after a step there."""
    areas = np.concatenate([[0.0], 1 - high, 1 - low, [1.0]])
    after = np.repeat([False, True], low.size + 1)
    order = np.lexsort((after, areas))
    return areas[order], after[order]


def _resampled_means(
    columns: Array, clusters: npt.ArrayLike, n_bootstrap: int, random_state: RandomState
) -> Array:
    """Column means over all deposits (row 0) and over each resample of whole clusters."""
    cluster_of = np.asarray(clusters)
    if cluster_of.shape != (len(columns),):
        raise ValueError(f"{len(columns)} deposits but clusters of shape {cluster_of.shape}.")
    if n_bootstrap < 1:
        raise ValueError(f"An interval needs at least one resample, got {n_bootstrap}.")
    _, member, size = np.unique(cluster_of, return_inverse=True, return_counts=True)
    if size.size < 2:
        raise LabelError(
            f"All {len(columns)} held-out deposits are in one cluster, so no interval can be drawn."
            " Use more folds, or give each deposit its own cluster."
        )
    by_cluster = np.argsort(member, kind="stable")
    sums = np.add.reduceat(columns[by_cluster], np.cumsum(size) - size, axis=0)
    times_drawn = np.random.default_rng(random_state).multinomial(
        size.size, np.full(size.size, 1 / size.size), size=n_bootstrap
    )
    resampled = (times_drawn @ sums) / (times_drawn @ size)[:, None]
    return np.vstack([columns.mean(axis=0), resampled])


def _with_interval(figures: dict[str, Any], clusters: npt.ArrayLike) -> dict[str, Any]:
    """Figures of row 0, and under ``ci95`` the expanded percentiles of the other rows."""
    limits = _expanded_percentiles(len(np.unique(np.asarray(clusters))))
    point = _each(figures, lambda rows: float(rows[0]))
    interval = _each(figures, lambda rows: np.percentile(rows[1:], limits).tolist())
    return point | {"ci95": interval}


def _expanded_percentiles(n_clusters: int) -> list[float]:
    """Percentiles of the resamples between which a 95 % interval of few clusters lies.

    ``Φ(± √(k / (k − 1)) t(0.975, k − 1))`` for k clusters (Hesterberg 2015, The American
    Statistician 69, 371-386, section 3.4): 0.24 and 99.76 for six, 2.5 and 97.5 for many.
    """
    reach = np.sqrt(n_clusters / (n_clusters - 1)) * stdtrit(n_clusters - 1, 0.975)
    return [float(100 * ndtr(-reach)), float(100 * ndtr(reach))]


def _wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of ``count`` independent deposits (Wilson 1927)."""
    z = 1.959963984540054
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _each(figures: dict[str, Any], read: Callable[[Array], Any]) -> dict[str, Any]:
    return {
        name: _each(value, read) if isinstance(value, dict) else read(value)
        for name, value in figures.items()
    }


def _top_membership(scores: Array, top: float) -> csr_array:
    """(1, n) share of each cell in the top: 1 above its lowest score, less at ties with it."""
    n_top = top * scores.size
    limit = scores.size - max(int(np.ceil(n_top - 1e-9)), 1)
    lowest = np.partition(scores, limit)[limit]
    above, tied = np.flatnonzero(scores > lowest), np.flatnonzero(scores == lowest)
    share = np.concatenate(
        [np.ones(above.size), np.full(tied.size, (n_top - above.size) / tied.size)]
    )
    cells = np.concatenate([above, tied])
    return csr_array((share, (np.zeros_like(cells), cells)), shape=(1, scores.size))


def _standard_ranks(scores: Array) -> Array:
    """Ranks of mean 0 and length 1, in single precision to halve the memory of large maps."""
    ranks = rankdata(scores)
    ranks -= ranks.mean()
    length = np.linalg.norm(ranks)
    return (ranks / (length or 1)).astype(np.float32)
