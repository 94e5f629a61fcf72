"""Whether probabilities mean what they say, and how classified patches fare."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gossan.evaluate.conventions import Array, deposit_scores, floats
from gossan.exceptions import LabelError


class Reliability(NamedTuple):
    """Mean predicted probability and observed share of deposits in bins of equal mass."""

    predicted: Array
    observed: Array
    cells: Array


class PatchMetrics(NamedTuple):
    """Accuracy, recall and macro-averaged F1 of classified patches, as fractions."""

    accuracy: float
    recall: float
    macro_f1: float


def brier(y: npt.ArrayLike, p: npt.ArrayLike) -> float:
    """Mean squared difference between probability and outcome (Brier 1950).

    Parameters
    ----------
    y : array_like
        1 or True at deposit cells; 0, -1 or False elsewhere.
    p : array_like
        Probability of a deposit, same shape, in [0, 1]; NaN = missing.

    Raises
    ------
    LabelError
        If a deposit's cell has no probability.
    ValueError
        If a probability lies outside [0, 1] or the shapes differ.

    Examples
    --------
    >>> round(brier([1, 0, 0], [0.8, 0.2, 0.4]), 6)
    0.08
    """
    outcome, probability = _outcomes(y, p)
    return float(np.mean((probability - outcome) ** 2))


def reliability(y: npt.ArrayLike, p: npt.ArrayLike, bins: int = 10) -> Reliability:
    """Observed share of deposits against predicted probability, in bins of equal mass.

    Equal probabilities share a bin, so bins are fewer and uneven where many cells tie. Parameters
    and errors are those of :func:`brier`.

    Returns
    -------
    Reliability
        ``predicted`` and ``observed`` means and the number of ``cells``, (k,) each with k ≤ bins,
        ascending.

    Examples
    --------
    >>> reliability([0, 0, 1, 1], [0.1, 0.3, 0.6, 0.8], bins=2).observed.tolist()
    [0.0, 1.0]
    """
    outcome, probability = _outcomes(y, p)
    if bins < 1:
        raise ValueError(f"Reliability needs at least one bin, got {bins}.")
    ascending = np.sort(probability)
    edges = np.unique(ascending[np.arange(1, bins) * ascending.size // bins])
    _, bin_of, count = np.unique(
        np.searchsorted(edges, probability, side="right"), return_inverse=True, return_counts=True
    )
    return Reliability(
        predicted=np.bincount(bin_of, weights=probability) / count,
        observed=np.bincount(bin_of, weights=outcome) / count,
        cells=count,
    )


def patch_metrics(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> PatchMetrics:
    """Accuracy, recall of deposits, and macro F1 of classified patches.

    Parameters
    ----------
    y_true, y_pred : array_like
        True and predicted class, same shape: 1 or True = deposit, anything else = none.

    Returns
    -------
    PatchMetrics
        ``accuracy``, ``recall``, ``macro_f1`` as fractions. Macro F1 is the mean F1 of the classes
        that occur in either array.

    Raises
    ------
    LabelError
        If no patch truly holds a deposit.
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> patch_metrics([1, 1, 0, 0], [1, 0, 0, 0]).recall
    0.5
    """
    truth, predicted = np.asarray(y_true) == 1, np.asarray(y_pred) == 1
    if truth.shape != predicted.shape:
        raise ValueError(f"{truth.shape} true classes but {predicted.shape} predicted ones.")
    if not truth.any():
        raise LabelError("No patch in y_true is 1, so recall is undefined: hold out a deposit.")
    hits, rejects = np.sum(truth & predicted), np.sum(~truth & ~predicted)
    misses = np.sum(truth != predicted)
    f1 = [2 * right / (2 * right + misses) for right in (hits, rejects) if right + misses > 0]
    return PatchMetrics(
        accuracy=float((hits + rejects) / truth.size),
        recall=float(hits / truth.sum()),
        macro_f1=float(np.mean(f1)),
    )


def _outcomes(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[Array, Array]:
    """Outcome (1.0 = deposit) and probability of the observed cells, flat."""
    outcome, probability = np.asarray(y).ravel() == 1, floats(p)
    if np.shape(y) != np.shape(p):
        raise ValueError(f"Outcomes {np.shape(y)} and probabilities {np.shape(p)} must match.")
    if outcome.any():
        deposit_scores(probability[outcome])
    observed = ~np.isnan(probability)
    outcome, probability = outcome[observed].astype(float), probability[observed]
    if not probability.size or probability.min() < 0 or probability.max() > 1:
        raise ValueError("Calibration needs probabilities in [0, 1]: calibrate the scores first.")
    return outcome, probability
