"""The guard of recursive annotation: which round to keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_BELOW = 0.05
"""Share of the deposits' cells that may score as negative."""


def choose_round(ranks: npt.ArrayLike, captures: npt.ArrayLike, below: npt.ArrayLike) -> int:
    """The guard: the round to keep, 0 where no annotation held up.

    A round stands if neither figure of the inner held-out deposits fell below round 0's by more
    than the standard error of the paired difference, and at most 5 % of their cells score as
    negative. The best of the rounds before the first that falls is kept. It need not beat round
    0: what annotation is meant to spare is the ground that a map would learn by heart as barren,
    which no held-out figure of *known* deposits can show (``benchmarks/negatives_truth.py``).

    Parameters
    ----------
    ranks, captures : array-like of shape (rounds, deposits)
        Inner held-out rank and capture of each deposit; NaN where none could be left out.
    below : array-like of shape (rounds,)
        Share of their cells that score as negative.

    Examples
    --------
    >>> ranks = np.array([[0.9, 0.8, 0.7], [0.9, 0.8, 0.8], [0.2, 0.3, 0.1]])
    >>> choose_round(ranks, ranks > 0.75, np.zeros(3))
    1
    """
    ranks, captures = np.asarray(ranks, dtype=float), np.asarray(captures, dtype=float)
    best, best_figure = 0, -np.inf
    for number in range(1, len(ranks)):
        stands = _holds(ranks[number] - ranks[0]) and _holds(captures[number] - captures[0])
        if not stands or np.asarray(below)[number] > _MOST_BELOW:
            break
        figure = ranks[number].mean() + captures[number].mean()
        if figure > best_figure:
            best, best_figure = number, figure
    return best


def _holds(differences: npt.NDArray[np.floating[Any]]) -> bool:
    """Whether paired differences do not fall below zero by more than their standard error."""
    error = standard_error(differences)
    return bool(np.isfinite(error) and differences.mean() >= -error)


def standard_error(differences: npt.NDArray[np.floating[Any]]) -> float:
    """Of the mean of paired differences; NaN where one is missing, or of a single one.

    Examples
    --------
    >>> round(standard_error(np.array([0.1, 0.3])), 3)
    0.1
    """
    if len(differences) < 2:
        return float("nan")
    return float(differences.std(ddof=1) / np.sqrt(len(differences)))
