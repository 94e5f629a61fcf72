"""Curves of a map: prediction rate against area, prediction-area and concentration-area plots."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gossan.evaluate.conventions import Array, area_scores, crossing, deposit_scores
from gossan.evaluate.ranking import percentile_ranks, rank_bounds

_PIECE_POINTS = 4


class PredictionArea(NamedTuple):
    """Where the prediction rate and the area of a P-A plot cross, and the two curves."""

    prediction_rate: float
    area: float
    normalised_density: float
    weight: float
    threshold: float
    thresholds: Array
    prediction_rates: Array
    areas: Array


class ConcentrationArea(NamedTuple):
    """Breaks and slopes of a concentration-area plot, and the curve they were fitted to."""

    breaks: Array
    slopes: Array
    thresholds: Array
    areas: Array
    bic: Array


def prediction_rate_curve(
    score_at_deposits: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[Array, Array]:
    """Corners of the prediction-rate curve: share of the deposits against share of the area.

    Chung & Fabbri (2003, Natural Hazards 30, 451-472). Straight lines join the corners: level
    between deposits, sloping over tied cells, upright where a deposit ties with none.

    Returns
    -------
    area, share : ndarray
        (k,) each, both from 0 to 1 and never falling.

    Examples
    --------
    >>> area, share = prediction_rate_curve([0.8], [0.1, 0.4, 0.8, 0.9])
    >>> area.tolist(), share.tolist()
    ([0.0, 0.25, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0])
    """
    deposits, count = np.unique(deposit_scores(score_at_deposits), return_counts=True)
    bounds = rank_bounds(deposits[::-1], scores)
    reached = np.cumsum(count[::-1]) / count.sum()
    corners = 1 - bounds[:, ::-1].ravel()
    shares = np.column_stack([np.append(0.0, reached[:-1]), reached]).ravel()
    return np.concatenate([[0.0], corners, [1.0]]), np.concatenate([[0.0], shares, [1.0]])


def prediction_rate_area(score_at_deposits: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the prediction-rate curve; with background scores, the AUC against background.

    Examples
    --------
    >>> prediction_rate_area([0.8], [0.1, 0.4, 0.8, 0.9])
    0.625
    """
    return float(percentile_ranks(score_at_deposits, scores).mean())


def prediction_area(score_at_deposits: npt.ArrayLike, scores: npt.ArrayLike) -> PredictionArea:
    """Prediction-area plot: where the prediction rate meets the area left out.

    The crossing is where the prediction-rate curve meets ``share = 1 − area``. Few deposits make
    that curve a staircase; its corners are joined as in :func:`prediction_rate_curve`, so there is
    exactly one crossing, and prediction rate and area add up to 1 there even within a step. After
    Yousefi & Carranza (2015, Computers & Geosciences 79, 69-81).

    Parameters
    ----------
    score_at_deposits : array_like
        (n,) scores of the deposits.
    scores : array_like
        Scores of all cells of the area (or of the background), any shape; NaN = not area.

    Returns
    -------
    PredictionArea
        ``prediction_rate`` Pr and ``area`` Oa at the crossing; ``normalised_density`` N_d = Pr/Oa
        (Oa at least one cell); ``weight`` ln N_d; ``threshold``, the highest score that at least Oa
        of the area reaches; and the plotted curves, ascending: ``thresholds``, with the share of
        deposits (``prediction_rates``) and of cells (``areas``) that reach each.

    Raises
    ------
    LabelError
        As :func:`rank_bounds`.

    Examples
    --------
    >>> plot = prediction_area([0.95, 0.85, 0.45], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    >>> round(plot.prediction_rate, 3), round(plot.area, 3), round(plot.normalised_density, 3)
    (0.667, 0.333, 2.0)
    """
    deposits = np.sort(deposit_scores(score_at_deposits))
    ascending = np.sort(area_scores(scores))
    n_cells = ascending.size
    corners, shares = prediction_rate_curve(deposits, ascending)
    area = float(crossing(corners, shares[None])[0])
    density = (1 - area) / max(area, 1 / n_cells)
    with np.errstate(divide="ignore"):
        weight = float(np.log(density))
    cells_reached = int(np.clip(np.ceil(area * n_cells - 1e-9), 1, n_cells))
    quantiles = ascending[np.linspace(0, n_cells - 1, 201).round().astype(int)]
    thresholds = np.unique(np.concatenate([deposits, quantiles]))
    thresholds = thresholds[np.isfinite(thresholds)]
    return PredictionArea(
        prediction_rate=1 - area,
        area=area,
        normalised_density=density,
        weight=weight,
        threshold=float(ascending[n_cells - cells_reached]),
        thresholds=thresholds,
        prediction_rates=1 - np.searchsorted(deposits, thresholds) / deposits.size,
        areas=1 - np.searchsorted(ascending, thresholds) / n_cells,
    )


def concentration_area(
    scores: npt.ArrayLike, *, max_breaks: int = 4, n_points: int = 200
) -> ConcentrationArea:
    """Concentration-area plot: straight pieces of log area against log score.

    Where scores follow a power law the area reaching a score falls as a straight line on log-log
    axes; breaks between lines separate background from anomaly (Cheng, Agterberg & Ballantyne
    1994, Journal of Geochemical Exploration 51, 109-130). For each number of breaks the least-
    squares pieces are found exactly; the number has the lowest BIC. Points of a cumulative curve
    depend on each other, so BIC errs towards more breaks.

    Parameters
    ----------
    scores : array_like
        Scores of all cells, any shape; NaN = not area. Cells at or below 0 count as area but have
        no place on a log axis.
    max_breaks : int
        Most breaks considered. Published maps have 2 to 4 classes of anomaly.
    n_points : int
        Thresholds taken, half evenly in log score and half evenly in log area.

    Returns
    -------
    ConcentrationArea
        ``breaks`` (k,) scores, ascending; ``slopes`` (k + 1,) of ln area against ln score;
        ``thresholds`` and ``areas`` (shares) of the points; ``bic`` by number of breaks.

    Raises
    ------
    ValueError
        If fewer than four distinct positive scores are left.

    Examples
    --------
    >>> import numpy as np
    >>> power_law = (np.arange(1, 1001) / 1000) ** -0.5    # area = score ** -2
    >>> concentration_area(power_law).slopes.round(6).tolist()
    [-2.0]
    """
    thresholds, areas = _area_curve(np.sort(area_scores(scores)), n_points)
    if thresholds.size < _PIECE_POINTS:
        raise ValueError(
            f"A concentration-area plot needs at least {_PIECE_POINTS} distinct positive scores, "
            f"got {thresholds.size}. Shift or rescale the scores above 0 first."
        )
    x, y = np.log(thresholds), np.log(areas)
    squares, slopes = _piece_fits(x, y)
    starts, residuals = _best_pieces(squares, max_breaks)
    floor = 1e-10 * np.sum((y - y.mean()) ** 2)  # an exact fit must not reward further breaks
    n_parameters = 3 * np.arange(len(residuals)) + 2
    bic = x.size * np.log((residuals + floor) / x.size) + n_parameters * np.log(x.size)
    first = starts[int(np.argmin(bic))]
    last = np.append(first[1:], x.size) - 1
    return ConcentrationArea(
        breaks=np.exp((x[first[1:] - 1] + x[first[1:]]) / 2),
        slopes=slopes[first, last],
        thresholds=thresholds,
        areas=areas,
        bic=bic,
    )


def _area_curve(ascending: Array, n_points: int) -> tuple[Array, Array]:
    """Positive observed scores spread evenly in log score and log area, and the share reaching."""
    positive = ascending[(ascending > 0) & np.isfinite(ascending)].astype(float)
    if not positive.size:
        return positive, positive
    even_score = np.geomspace(positive[0], positive[-1], n_points // 2)
    next_score = np.minimum(np.searchsorted(positive, even_score), positive.size - 1)
    even_area = positive.size - np.geomspace(1, positive.size, n_points // 2).round().astype(int)
    thresholds = np.unique(positive[np.concatenate([next_score, even_area])])
    reaching = ascending.size - np.searchsorted(ascending, thresholds)
    return thresholds, reaching / ascending.size


def _piece_fits(x: Array, y: Array) -> tuple[Array, Array]:
    """Residual sum of squares and slope of the line through points i … j, each (k, k)."""
    x, y = x - x.mean(), y - y.mean()
    # Moments of every run of points at once, as differences of running totals.
    moments = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])
    total = np.pad(np.cumsum(moments, axis=1), ((0, 0), (1, 0)))
    n, sx, sy, sxx, sxy, syy = total[:, None, 1:] - total[:, :-1, None]
    long_enough = n >= _PIECE_POINTS
    n = np.where(long_enough, n, 1)
    spread = np.where(long_enough, np.maximum(sxx - sx * sx / n, 1e-12), 1)
    slope = (sxy - sx * sy / n) / spread
    squares = syy - sy * sy / n - slope * (sxy - sx * sy / n)
    return np.where(long_enough, np.maximum(squares, 0), np.inf), slope


def _best_pieces(squares: Array, max_breaks: int) -> tuple[list[Array], Array]:
    """For 0, 1, … breaks: first point of each piece, and the least total sum of squares."""
    most = min(max_breaks, len(squares) // _PIECE_POINTS - 1)
    best, came_from = [squares[0]], []
    for _ in range(most):
        joined = np.append(np.inf, best[-1][:-1])[:, None] + squares
        came_from.append(np.argmin(joined, axis=0))
        best.append(joined.min(axis=0))
    starts = []
    for n_breaks in range(most + 1):
        first, end = [], len(squares) - 1
        for choice in reversed(came_from[:n_breaks]):
            first.append(int(choice[end]))
            end = first[-1] - 1
        starts.append(np.array([0, *reversed(first)]))
    return starts, np.array([totals[-1] for totals in best])
