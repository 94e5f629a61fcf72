"""Weights of evidence: how much more often deposits lie where a layer says so than by chance.

Areas and deposits are counted in unit cells, the small area that a deposit is taken to occupy. The
published tables that these functions reproduce count areas in km² and use a unit cell of 1 km².

References
----------
Bonham-Carter, G. F., Agterberg, F. P. & Wright, D. F. (1989). Weights of evidence modelling: a new
approach to mapping mineral potential. Statistical Applications in the Earth Sciences, Geological
Survey of Canada Paper 89-9, 171-183.

Bonham-Carter, G. F. (1994). Geographic Information Systems for Geoscientists: Modelling with GIS.
Pergamon, chapter 9.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import norm

from gossan.exceptions import LabelError, StudyError, SurveyDataWarning
from gossan.models._base import BoolArray, CellClassifier, FloatArray


def evidence_weights(
    deposits: npt.ArrayLike,
    area: npt.ArrayLike,
    *,
    n_deposits: float,
    total_area: float,
) -> dict[str, FloatArray]:
    """Weights and contrast of patterns that hold some of the deposits in some of the area.

    With s of the D deposits in b of the N unit cells (Bonham-Carter et al. 1989, eqs. 6-11):
    ``W⁺ = ln[(s/D) / ((b-s)/(N-D))]``, ``s²(W⁺) = 1/s + 1/(b-s)``; W⁻ is the same outside the
    pattern; contrast ``C = W⁺ - W⁻``, ``s²(C) = s²(W⁺) + s²(W⁻)``; studentised contrast ``C/s(C)``.

    Empty counts follow the convention of the ArcSDM toolbox, hence of the published tables: a
    pattern without deposits weighs nothing; where no deposit, or no barren ground, is left outside,
    0.99 of a unit cell stands for it; where no barren ground is inside, one unit cell does.

    Parameters
    ----------
    deposits : array-like
        Deposits in each pattern (s).
    area : array-like
        Area of each pattern in unit cells (b), same shape.
    n_deposits, total_area : float
        Deposits (D) and unit cells (N) in all the area where the layer is observed.

    Returns
    -------
    dict of ndarray
        ``w_plus``, ``s_w_plus``, ``w_minus``, ``s_w_minus``, ``contrast``, ``s_contrast``,
        ``studentised_contrast``.

    Raises
    ------
    LabelError
        If there is less than one deposit, or no unit cell without one.

    Examples
    --------
    Fault density above class 5 at Cloncurry:

    >>> weights = evidence_weights([187], [12385.13], n_deposits=258, total_area=31311.33)
    >>> [round(float(weights[name][0]), 6) for name in ("w_plus", "w_minus", "contrast")]
    [0.612572, -0.791362, 1.403935]
    """
    if n_deposits < 1 or total_area - n_deposits < 1:
        raise LabelError(
            "Weights of evidence need at least one deposit and one unit cell without, got "
            f"{n_deposits:g} deposits in {total_area:g} unit cells. Check the deposits, or make "
            "the unit cell smaller."
        )
    deposits, area = np.broadcast_arrays(np.asarray(deposits, float), np.asarray(area, float))
    barren = total_area - n_deposits
    deposits_outside = _at_least(n_deposits - deposits, 0.99)
    barren_outside = _at_least(total_area - area - deposits_outside, 0.99)
    barren_inside = _at_least(barren - barren_outside, 1.0)
    deposits_inside, barren_outside = n_deposits - deposits_outside, barren - barren_inside

    occupied = deposits > 0
    deposits_inside = np.where(occupied, deposits_inside, 1.0)  # avoids log 0; zeroed below
    w_plus = np.log(deposits_inside / n_deposits) - np.log(barren_inside / barren)
    w_minus = np.log(deposits_outside / n_deposits) - np.log(barren_outside / barren)
    var_plus = 1.0 / deposits_inside + 1.0 / barren_inside
    var_minus = 1.0 / deposits_outside + 1.0 / barren_outside
    contrast, s_contrast = w_plus - w_minus, np.sqrt(var_plus + var_minus)
    columns = {
        "w_plus": w_plus,
        "s_w_plus": np.sqrt(var_plus),
        "w_minus": w_minus,
        "s_w_minus": np.sqrt(var_minus),
        "contrast": contrast,
        "s_contrast": s_contrast,
        "studentised_contrast": contrast / s_contrast,
    }
    return {name: np.where(occupied, column, 0.0) for name, column in columns.items()}


def weights_table(
    classes: npt.ArrayLike,
    at_deposits: npt.ArrayLike,
    *,
    cell_area: float = 1.0,
    unit_area: float = 1.0,
    cumulative: Literal["ascending", "descending"] | None = None,
) -> pd.DataFrame:
    """Weights of every class of a map, each alone or with all classes before it.

    Parameters
    ----------
    classes : array-like
        Class of each cell, any shape; NaN = missing, which is not area.
    at_deposits : array-like of shape (n_deposits,)
        Class at each deposit. One on missing ground (NaN) is not counted.
    cell_area, unit_area : float, default 1
        Areas of a map cell and of a unit cell, in the same unit.
    cumulative : {"ascending", "descending"}, optional
        Accumulate classes from the lowest up or from the highest down: for ordered classes such
        as distances. By default each class stands alone.

    Returns
    -------
    pandas.DataFrame
        One row a class in the order of accumulation: ``class``, ``area`` (unit cells) and
        ``deposits`` of the pattern, then the columns of :func:`evidence_weights`.

    Raises
    ------
    LabelError
        If no deposit lies on observed ground, or one has a class that no cell has.
    StudyError
        If ``cumulative`` is none of the two.

    Examples
    --------
    >>> table = weights_table([[1, 1, 2], [1, 2, 2]], [2, 2], cumulative="descending")
    >>> table[["class", "area", "deposits"]].values.tolist()
    [[2.0, 3.0, 2.0], [1.0, 6.0, 2.0]]
    """
    if cumulative not in (None, "ascending", "descending"):
        raise StudyError(
            f"cumulative is {cumulative!r}: it is 'ascending', 'descending' or None (each class)."
        )
    cells, deposits = _observed(classes), _observed(at_deposits)
    values, cell_counts = np.unique(cells, return_counts=True)
    stray = np.setdiff1d(deposits, values)
    if len(stray):
        raise LabelError(f"A deposit has class {stray[0]:g}, which no cell of the map has.")
    deposit_counts = np.bincount(np.searchsorted(values, deposits), minlength=len(values))
    area = cell_counts * (cell_area / unit_area)
    total_area, n_deposits = float(area.sum()), len(deposits)
    order = slice(None, None, -1 if cumulative == "descending" else 1)
    values, area, deposit_counts = values[order], area[order], deposit_counts[order]
    if cumulative:
        # Summing counts, not areas, keeps the last class at exactly the total area.
        area = np.cumsum(cell_counts[order]) * (cell_area / unit_area)
        deposit_counts = np.cumsum(deposit_counts)
    weights = evidence_weights(deposit_counts, area, n_deposits=n_deposits, total_area=total_area)
    return pd.DataFrame({"class": values, "area": area, "deposits": deposit_counts, **weights})


def class_weights(
    classes: npt.ArrayLike, table: pd.DataFrame
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """W⁺ of each cell's class and its standard deviation, from a table of single classes.

    A missing cell (NaN), or one of a class that the table lacks, weighs nothing: 0 ± 0.

    Examples
    --------
    >>> table = weights_table([1, 1, 2, 2, 2, 2], [1, 2])
    >>> weight, deviation = class_weights([1.0, 2.0, np.nan], table)
    >>> weight.round(3).tolist()
    [0.693, -0.405, 0.0]
    """
    values, table = np.asarray(classes), table.sort_values("class")
    known = table["class"].to_numpy()
    row = np.minimum(np.searchsorted(known, values), len(known) - 1)
    match = known[row] == values
    weight, deviation = (table[name].to_numpy()[row] for name in ("w_plus", "s_w_plus"))
    return np.where(match, weight, 0.0), np.where(match, deviation, 0.0)


def posterior(
    layers: Iterable[tuple[FloatArray, FloatArray]], *, n_deposits: float, total_area: float
) -> tuple[FloatArray, FloatArray]:
    """Posterior probability of a deposit in a unit cell, and its standard deviation.

    The log-odds are the prior's, ``ln[D/(N-D)]``, plus one weight a layer; ``s(P) = P √(1/D +
    Σ s²(W))`` (Bonham-Carter et al. 1989, eq. 13).

    Parameters
    ----------
    layers : iterable of (weight, deviation)
        For each layer two arrays of one shape, such as :func:`class_weights` gives. Taken one
        after another, so a generator keeps memory to one layer.
    n_deposits, total_area : float
        Deposits and unit cells.

    Examples
    --------
    >>> probability, deviation = posterior([], n_deposits=1, total_area=4)
    >>> round(float(probability), 6), round(float(deviation), 6)
    (0.25, 0.25)
    """
    log_odds: Any = np.log(n_deposits / (total_area - n_deposits))
    variance: Any = 1.0 / n_deposits
    for weight, deviation in layers:
        log_odds = log_odds + weight
        variance = variance + np.square(deviation)
    probability = expit(log_odds)
    return probability, probability * np.sqrt(variance)


def conditional_independence_test(
    probability: npt.ArrayLike,
    deviation: npt.ArrayLike,
    *,
    n_deposits: float,
    cell_area: float = 1.0,
    unit_area: float = 1.0,
) -> dict[str, float]:
    """Test whether the layers are independent of each other given the deposits.

    Dependent layers count the same evidence twice, so the posterior map expects more deposits than
    there are. With T = Σ P over unit cells, ``(T - D) / s(T)`` is standard normal under
    independence, where ``s²(T) = Σ (area × s(P))²`` over areas of equal posterior (Agterberg &
    Cheng 2002, Natural Resources Research 11, 249-255).

    Parameters
    ----------
    probability, deviation : array-like
        From :func:`posterior`; cells whose probability is NaN are not area.
    n_deposits : float
        Deposits behind the map.
    cell_area, unit_area : float, default 1
        Areas of a map cell and of a unit cell, in the same unit.

    Returns
    -------
    dict of float
        ``expected`` deposits T, their ``deviation``, ``ratio`` D/T (1 = independent, commonly
        accepted above 0.85), ``statistic`` and the one-sided ``p_value``: small where
        independence is to be rejected.

    Examples
    --------
    >>> map_of_one_layer = np.repeat([0.5, 0.1], 10), np.repeat([0.2, 0.1], 10)
    >>> result = conditional_independence_test(*map_of_one_layer, n_deposits=6)
    >>> round(result["expected"], 6), round(result["p_value"], 6)
    (6.0, 0.5)
    """
    probability, deviation = np.ravel(probability), np.ravel(deviation)
    observed = np.isfinite(probability)
    # Equal posteriors move together, so their deviations add; different ones are independent.
    values, first, counts = np.unique(probability[observed], return_index=True, return_counts=True)
    area = counts * (cell_area / unit_area)
    expected = float(np.sum(values * area))
    spread = float(np.sqrt(np.sum((deviation[observed][first] * area) ** 2)))
    statistic = (expected - n_deposits) / spread
    return {
        "expected": expected,
        "deviation": spread,
        "ratio": n_deposits / expected,
        "statistic": statistic,
        "p_value": float(norm.sf(statistic)),
    }


class WeightsOfEvidence(CellClassifier):
    """Weights of evidence on layers split where deposits are told apart most surely.

    Every layer is split once, into above and not above a threshold; of ``n_thresholds`` quantiles
    and both directions the split of the greatest studentised contrast is kept. A layer with two
    values, such as a class of a geological map, is split between them. The score is the posterior
    probability for the density of positives in the training cells.

    Layers that repeat one another count twice in the textbook's sum, which drives scores to 1 over
    whole regions. Where the posterior expects more deposits than there are, the sum of weights is
    therefore shrunk by one factor until it expects as many; the ranking of cells stays. Where only
    the factor 0 would do, which ranks nothing, it is a thousandth.

    Parameters
    ----------
    min_studentised_contrast : float, default 2.0
        A layer whose best split falls short weighs nothing; 2 is about 2.5 % one-sided.
    n_thresholds : int, default 20
        Quantiles tried as thresholds. More fit the deposits' noise.
    min_deposits : float, default 3.0
        Deposits that the favourable side of a split must hold.
    min_area : float, default 0.001
        Share of the observed area that either side must hold.
    cells_per_deposit : float, default 1.0
        Cells labelled positive for one deposit, which make one unit cell: 9 for the footprint of
        a cell and its neighbours. It leaves the weights alone, but keeps their standard deviations
        from taking one deposit for nine.

    Attributes
    ----------
    weights_ : dict of ndarray of shape (layers,)
        ``threshold``; ``above`` (whether the favourable side is above it); ``area`` in unit cells
        and ``deposits`` of the favourable side; the columns of :func:`evidence_weights`, W⁺ on
        the favourable side and W⁻ off it; ``used`` (False: the layer weighs nothing).
    conditional_independence_ : dict of float
        :func:`conditional_independence_test` on the training cells.
    n_deposits_, total_area_ : float
        In unit cells.
    shrinkage_ : float
        Factor on the sum of weights, 1 where the layers are conditionally independent.
    classes_ : ndarray of shape (2,)

    Notes
    -----
    **Missing values**: a missing layer weighs nothing in that cell, the textbook's choice; weights
    are learned where the layer is observed.

    Warns
    -----
    SurveyDataWarning
        If no layer is used, so that the score is the same everywhere; or if no factor makes the
        posterior expect as many deposits as there are.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(2000, 2)), np.zeros(2000, dtype=int)
    >>> y[rng.choice(np.flatnonzero(X[:, 0] > 1), 60, replace=False)] = 1
    >>> model = WeightsOfEvidence().fit(X, y)
    >>> model.weights_["used"].tolist(), model.weights_["above"].tolist()[0]
    ([True, False], True)
    """

    missing_values = "A missing layer weighs nothing in that cell: its log-odds stay as they are."
    _dtype = np.float32

    def __init__(
        self,
        *,
        min_studentised_contrast: float = 2.0,
        n_thresholds: int = 20,
        min_deposits: float = 3.0,
        min_area: float = 0.001,
        cells_per_deposit: float = 1.0,
    ) -> None:
        self.min_studentised_contrast = min_studentised_contrast
        self.n_thresholds = n_thresholds
        self.min_deposits = min_deposits
        self.min_area = min_area
        self.cells_per_deposit = cells_per_deposit

    def predict_with_spread(self, X: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Posterior probability and its standard deviation from the weights', each (n,)."""
        return self._posterior(self._checked(X))

    def _fit_cells(self, X: FloatArray, positive: BoolArray) -> None:
        self._check_settings()
        self.n_deposits_ = float(positive.sum() / self.cells_per_deposit)
        self.total_area_ = float(len(X) / self.cells_per_deposit)
        splits = [self._best_split(layer, positive) for layer in X.T]
        self.weights_ = {name: np.array([split[name] for split in splits]) for name in splits[0]}
        if not self.weights_["used"].any():
            warnings.warn(
                f"None of the {len(splits)} layers reaches a studentised contrast of "
                f"{self.min_studentised_contrast:g}, so every cell scores alike. Lower "
                "min_studentised_contrast, or look at the deposits' coordinates.",
                SurveyDataWarning,
                stacklevel=3,
            )
        self.shrinkage_ = 1.0
        self.conditional_independence_ = conditional_independence_test(
            *self._posterior(X), n_deposits=self.n_deposits_, unit_area=self.cells_per_deposit
        )

        self.shrinkage_ = _shrinkage(self._sums(X)[0], self._prior_log_odds())

    def _score_cells(self, X: FloatArray) -> FloatArray:
        return self._posterior(X)[0]

    def _check_settings(self) -> None:
        if self.n_thresholds < 1:
            raise StudyError(f"n_thresholds is {self.n_thresholds}: try at least 1.")
        if not self.cells_per_deposit > 0:
            raise StudyError(
                f"cells_per_deposit is {self.cells_per_deposit}: give the number of cells labelled "
                "positive for one deposit, 9 for a footprint of 3 × 3."
            )
        if not 0 <= self.min_area <= 0.5:
            raise StudyError(
                f"min_area is {self.min_area}: it is the share of the area on the smaller side of "
                "a split, 0 to 0.5."
            )

    def _best_split(self, layer: FloatArray, positive: BoolArray) -> dict[str, float | bool]:
        """The split of one layer with the greatest studentised contrast, and what it weighs."""
        observed = ~np.isnan(layer)
        values, at_deposits = np.sort(layer[observed]), np.sort(layer[observed & positive])
        n_cells, n_deposits = len(values), len(at_deposits) / self.cells_per_deposit
        thresholds = _thresholds(values, self.n_thresholds)
        if len(thresholds) == 0 or n_deposits < 1 or n_cells - len(at_deposits) < 1:
            return _NO_SPLIT
        below = np.searchsorted(values, thresholds, side="right")
        deposits_below = np.searchsorted(at_deposits, thresholds, side="right")
        cells = np.stack([below, n_cells - below])  # (direction, threshold)
        deposits = np.stack([deposits_below, len(at_deposits) - deposits_below])
        area, deposits = cells / self.cells_per_deposit, deposits / self.cells_per_deposit
        weights = evidence_weights(
            deposits, area, n_deposits=n_deposits, total_area=n_cells / self.cells_per_deposit
        )
        smaller_side = np.minimum(cells, n_cells - cells)
        allowed = (deposits >= self.min_deposits) & (smaller_side >= self.min_area * n_cells)
        contrast = np.where(allowed, weights["studentised_contrast"], -np.inf)
        best = np.unravel_index(np.argmax(contrast), contrast.shape)
        if not contrast[best] >= self.min_studentised_contrast:
            return _NO_SPLIT
        return {
            "threshold": thresholds[best[1]],
            "above": bool(best[0] == 1),
            "area": area[best],
            "deposits": deposits[best],
            **{name: column[best] for name, column in weights.items()},
            "used": True,
        }

    def _posterior(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        weights, variances = self._sums(X)
        probability = expit(self._prior_log_odds() + self.shrinkage_ * weights)
        deviation = self.shrinkage_ * np.sqrt(variances + 1.0 / self.n_deposits_)
        return probability, deviation * probability

    def _prior_log_odds(self) -> float:
        return float(logit(self.n_deposits_ / self.total_area_))

    def _sums(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sum over layers of each cell's weights, and of their variances, each (n,)."""
        weights, variances = np.zeros(len(X)), np.zeros(len(X))
        for weight, deviation in self._layer_weights(X):
            weights += weight
            variances += deviation**2
        return weights, variances

    def _layer_weights(self, X: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Weight and deviation of every cell (n,), one used layer after another."""
        table = self.weights_
        for layer in np.flatnonzero(table["used"]):
            favourable = (X[:, layer] > table["threshold"][layer]) == table["above"][layer]
            missing = np.isnan(X[:, layer])
            weight, deviation = (
                np.where(favourable, table[plus][layer], table[minus][layer])
                for plus, minus in (("w_plus", "w_minus"), ("s_w_plus", "s_w_minus"))
            )
            yield np.where(missing, 0.0, weight), np.where(missing, 0.0, deviation)


def _shrinkage(weights: FloatArray, prior: float) -> float:
    """The largest factor up to 1 under which no more deposits are expected than there are."""

    def surplus(factor: float) -> float:
        return float(expit(prior + factor * weights).mean() - expit(prior))

    if surplus(1.0) <= 1e-9 * expit(prior):  # the mean of equal numbers rounds
        return 1.0
    # Below the factor sought the expectation dips under the deposits; at 0 it equals them.
    factors = [*np.linspace(1.0, 0.0, 101)[:-1], _LEAST_SHRINKAGE]
    for upper, lower in pairwise(factors):
        if surplus(lower) < 0:
            return float(brentq(surplus, lower, upper))
    # Weights above zero on average: only 0 would do, and rank no cell above another.
    warnings.warn(
        "The weights of evidence are above zero on average, so that no factor on their sum makes "
        f"it expect as many deposits as there are. They are shrunk to {_LEAST_SHRINKAGE:g}: use "
        "the scores as a ranking, not as probabilities. Deposits that make up much of the "
        "training cells can do this: train on more negatives, or on every unlabelled cell.",
        SurveyDataWarning,
        stacklevel=4,
    )
    return _LEAST_SHRINKAGE


_LEAST_SHRINKAGE = 1e-3
_NO_SPLIT: dict[str, float | bool] = {
    "threshold": np.nan,
    "above": False,
    "area": 0.0,
    "deposits": 0.0,
    "w_plus": 0.0,
    "s_w_plus": 0.0,
    "w_minus": 0.0,
    "s_w_minus": 0.0,
    "contrast": 0.0,
    "s_contrast": 0.0,
    "studentised_contrast": 0.0,
    "used": False,
}


def _at_least(count: FloatArray, stand_in: float) -> FloatArray:
    """Counts, with ``stand_in`` where there is nothing."""
    return np.where(count > 1e-9, count, stand_in)  # areas summed in km² round


def _observed(classes: npt.ArrayLike) -> npt.NDArray[Any]:
    values = np.ravel(classes)
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def _thresholds(values: FloatArray, count: int) -> FloatArray:
    """Up to ``count`` distinct quantiles of sorted values; the greatest would split off nothing."""
    if len(values) == 0:
        return values
    places = np.linspace(0, len(values) - 1, count + 1).astype(np.intp)
    return np.unique(values[places])[:-1]
