"""Where deposits rank on a map: AUC against background, percentile ranks, capture and lift."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gossan.evaluate.conventions import (
    Array,
    area_scores,
    deposit_scores,
    observed_cells,
    rank_interval,
    reached_by,
    shaped_like,
    valid_areas,
)
from gossan.exceptions import StudyError
from gossan.geochem import hanley_mcneil


def auc_background(score: npt.ArrayLike, deposits: npt.ArrayLike) -> float:
    """Area under the ROC curve of deposit cells against every other observed cell.

    The probability that a deposit outscores a random background cell, ties counting half
    (Mann-Whitney). Exact, in O(n log n).

    Parameters
    ----------
    score : array_like
        Score of every cell, any shape; NaN = missing.
    deposits : array_like
        Same shape: 1 or True at deposit cells, 0, -1 or False elsewhere. A whole number above 1
        counts that many deposits in one cell, as published AUCs of deposit points do.

    Raises
    ------
    LabelError
        If no cell, or every cell, is a deposit, or a deposit's cell has no score.
    ValueError
        If the two differ in shape, or are DataArrays on different cells.

    Examples
    --------
    >>> auc_background([0.9, 0.4, 0.4, 0.1, float("nan")], [1, 1, 0, -1, 0])
    0.875
    """
    values, counts = observed_cells(score, deposits)
    held = counts > 0
    ranks = percentile_ranks(values[held], values[~held])
    return float(np.average(ranks, weights=counts[held]))


def auc_z(auc: npt.ArrayLike, n_positive: int, n_negative: int) -> Any:
    """Standard score of an AUC against 0.5, the AUC of chance.

    ``Z = (A − 0.5) / S`` with the standard error S of Hanley & McNeil (1982, Radiology 143,
    29-36), :func:`gossan.geochem.hanley_mcneil`. Z > 2.58 is significant at 1 %. A perfect
    ranking has S = 0, hence Z = ±inf.

    Parameters
    ----------
    auc : float or array_like
        AUC in [0, 1].
    n_positive, n_negative : int
        Deposits and background cells behind it, at least one each.

    Returns
    -------
    float or ndarray
        Shaped like ``auc``.

    Raises
    ------
    ValueError
        If an AUC lies outside [0, 1] or a count is below 1.

    Examples
    --------
    >>> round(auc_z(0.75, 20, 1000), 3)
    3.924
    """
    area = np.asarray(auc, dtype=float)
    if n_positive < 1 or n_negative < 1 or not ((area >= 0) & (area <= 1)).all():
        raise ValueError(
            f"Z needs an AUC in [0, 1] and counts of at least 1, got AUC {area}, "
            f"{n_positive} positives and {n_negative} negatives."
        )
    with np.errstate(divide="ignore"):
        z = (area - 0.5) / hanley_mcneil(area, n_positive, n_negative)
    return shaped_like(auc, z)


def rank_bounds(score_at_deposits: npt.ArrayLike, background_scores: npt.ArrayLike) -> Array:
    """Lowest and highest rank of each deposit: the shares of the background below, and not above.

    They differ by the share of the background tied with the deposit. Every function here that
    takes ranks also takes these, and then treats ties by their expected value; maps of trees and
    of weights of evidence hold so many ties that a mid-rank misstates capture in small areas.

    Parameters
    ----------
    score_at_deposits : array_like
        (n,) scores of the deposits.
    background_scores : array_like
        Scores of the background cells of the same map, any shape; NaN = not area.

    Returns
    -------
    ndarray
        (n, 2) in [0, 1]: share of the background scoring below, share scoring below or equal.

    Raises
    ------
    LabelError
        If there is no deposit, no background, or a deposit without a score.

    Examples
    --------
    >>> rank_bounds([0.4], [0.1, 0.4, 0.4, 0.9]).tolist()
    [[0.25, 0.75]]
    """
    deposits = deposit_scores(score_at_deposits)
    background = np.sort(area_scores(background_scores))
    below = np.searchsorted(background, deposits, side="left")
    reached = np.searchsorted(background, deposits, side="right")
    return np.column_stack([below, reached]) / background.size


def percentile_ranks(score_at_deposits: npt.ArrayLike, background_scores: npt.ArrayLike) -> Array:
    """Rank of each deposit among the background of its own map, tied cells counting half.

    The mean of the ranks is the AUC against background. Parameters and errors are those of
    :func:`rank_bounds`.

    Returns
    -------
    ndarray
        (n,) in [0, 1]; 1 = above the whole background.

    Examples
    --------
    >>> percentile_ranks([0.4, 1.0], [0.1, 0.4, 0.4, 0.9]).tolist()
    [0.5, 1.0]
    """
    return rank_bounds(score_at_deposits, background_scores).mean(axis=1)


def capture(score_at_deposits: npt.ArrayLike, scores: npt.ArrayLike, areas: npt.ArrayLike) -> Any:
    """Share of the deposits within the highest-scoring ``areas`` of the area.

    A deposit tied with cells on both sides of the limit counts by the share of them inside it.

    Parameters
    ----------
    score_at_deposits : array_like
        (n,) scores of the deposits.
    scores : array_like
        Scores of all cells of the area (or of the background), any shape; NaN = not area.
    areas : float or array_like
        Shares of the area, in [0, 1].

    Returns
    -------
    float or ndarray
        Shaped like ``areas``.

    Raises
    ------
    LabelError
        As :func:`rank_bounds`.
    StudyError
        If an area lies outside [0, 1].

    Examples
    --------
    >>> scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    >>> capture([0.6, 1.0], scores, [0.1, 0.5])
    array([0.5, 1. ])
    """
    return capture_from_ranks(rank_bounds(score_at_deposits, scores), areas)


def capture_from_ranks(ranks: npt.ArrayLike, areas: npt.ArrayLike) -> Any:
    """Share of the deposits whose rank puts them in the top ``areas`` of the area.

    Over a fine row of areas this is the prediction-rate curve of pooled held-out ranks.

    Parameters
    ----------
    ranks : array_like
        (n,) from :func:`percentile_ranks`, or (n, 2) from :func:`rank_bounds`.
    areas : float or array_like
        Shares of the area, in [0, 1].

    Returns
    -------
    float or ndarray
        Shaped like ``areas``.

    Examples
    --------
    >>> capture_from_ranks([0.97, 0.99, 0.2], 0.05)
    0.6666666666666666
    """
    low, high = rank_interval(ranks)
    limits = valid_areas(areas)
    return shaped_like(areas, reached_by(low, high, limits.ravel()).mean(axis=0))


def lift(score_at_deposits: npt.ArrayLike, scores: npt.ArrayLike, areas: npt.ArrayLike) -> Any:
    """Capture divided by area: how many times denser deposits are there than over the whole area.

    Parameters are those of :func:`capture`, with areas above 0.

    Examples
    --------
    >>> lift([0.6, 1.0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], 0.5)
    2.0
    """
    limits = np.asarray(areas, dtype=float)
    if (limits <= 0).any():
        raise StudyError(f"Lift needs areas above 0, got {limits}.")
    return shaped_like(areas, capture(score_at_deposits, scores, limits) / limits)
