"""Which single elements tell deposits from background: AUC and its Z."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from gossan.exceptions import LabelError


def screen_elements(
    values: pd.DataFrame | npt.NDArray[np.floating], positive: npt.ArrayLike, *, z: float = 2.58
) -> pd.DataFrame:
    """Keep the elements that are enriched at deposits beyond chance.

    Each element alone scores the samples. Its AUC is the probability that a deposit's sample
    holds more of it than another sample, ties counting half. Only enrichment counts, as published:
    an element depleted at deposits has an AUC below one half, a negative Z, and is not kept. The
    ``screen`` of a study, :class:`gossan.models.LayerScreen`, is for evidence of every kind and
    keeps layers that are low at deposits too: ``|Z| > z``.

    The screen is univariate, and must see training deposits only.

    Parameters
    ----------
    values : DataFrame or ndarray, shape (n, elements)
        Any increasing transform of the concentrations. NaN is left out element by element.
    positive : array_like of bool, shape (n,)
        Samples at training deposits.
    z : float, default 2.58
        Keep where Z is larger: 1 % two-sided.

    Returns
    -------
    DataFrame
        A row per element, in their order, with columns ``auc``, ``standard_error``, ``z`` and
        ``keep``. NaN, not kept, where no positive or no other sample is observed.

    Raises
    ------
    LabelError
        If no sample is positive, or all are.

    References
    ----------
    Hanley and McNeil (1982), The meaning and use of the area under a receiver operating
    characteristic (ROC) curve, Radiology 143, 29–36.

    Examples
    --------
    >>> copper = np.array([5.0, 7.0, 6.0, 8.0, 40.0, 50.0])
    >>> screen_elements(pd.DataFrame({"Cu": copper, "Zr": copper[::-1]}), copper > 30)["keep"]
    Cu     True
    Zr    False
    Name: keep, dtype: bool
    """
    table, at_deposit = pd.DataFrame(values), np.asarray(positive, dtype=bool)
    if at_deposit.all() or not at_deposit.any():
        raise LabelError(
            f"Element screening compares samples at deposits with others, but {at_deposit.sum()} "
            f"of {len(at_deposit)} samples are at deposits."
        )
    observed = table.notna().to_numpy()
    n_positive = observed[at_deposit].sum(axis=0)
    n_negative = observed[~at_deposit].sum(axis=0)
    ranks = rankdata(table.to_numpy(dtype=np.float64), axis=0, nan_policy="omit")
    with np.errstate(invalid="ignore", divide="ignore"):
        wins = np.nansum(ranks[at_deposit], axis=0) - n_positive * (n_positive + 1) / 2
        auc = wins / (n_positive * n_negative)
        error = hanley_mcneil(auc, n_positive, n_negative)
        score = (auc - 0.5) / error
    return pd.DataFrame(
        {"auc": auc, "standard_error": error, "z": score, "keep": score > z}, index=table.columns
    )


def hanley_mcneil(
    auc: npt.ArrayLike, n_positive: npt.ArrayLike, n_negative: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    r"""Standard error of an area under the ROC curve.

    .. math:: S^2 = \frac{A(1-A) + (n_+-1)(Q_1-A^2) + (n_--1)(Q_2-A^2)}{n_+ n_-},
        \quad Q_1 = \frac{A}{2-A}, \quad Q_2 = \frac{2A^2}{1+A}

    Parameters
    ----------
    auc : array_like
        Areas A, from 0 to 1.
    n_positive, n_negative : array_like of int
        Numbers of cases on either side.

    Returns
    -------
    ndarray
        0 where A is 0 or 1.

    References
    ----------
    Hanley and McNeil (1982), Radiology 143, 29–36, equation 2.

    Examples
    --------
    >>> float(hanley_mcneil(0.75, 20, 1000).round(4))
    0.0637
    """
    area = np.asarray(auc, dtype=np.float64)
    positives, negatives = np.asarray(n_positive), np.asarray(n_negative)
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area)
        + (positives - 1) * (first - area**2)
        + (negatives - 1) * (second - area**2)
    ) / (positives * negatives)
    # Rounding may leave a hair below zero where the area is 1.
    return np.sqrt(np.maximum(variance, 0.0))
