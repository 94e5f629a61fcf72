"""Log-ratios: from parts of a whole, which only compete, to coordinates that statistics can use.

A composition is a row of positive parts; a table of them has shape (n, parts), and a single
composition of shape (parts,) is welcome everywhere. A part that was not analysed is NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import helmert

from gossan.exceptions import SurveyDataError

FloatArray = npt.NDArray[np.float64]


def closure(compositions: npt.ArrayLike, *, total: float = 1.0) -> FloatArray:
    """Scale each composition so that its parts sum to ``total``.

    Parameters
    ----------
    compositions : array_like, shape (n, parts) or (parts,)
        Positive parts. Missing parts stay missing and the observed ones sum to ``total``.
    total : float, default 1
        Such as 1e6 for parts in ppm.

    Returns
    -------
    ndarray, same shape

    Raises
    ------
    SurveyDataError
        If a part is zero, negative or infinite: row, column and value are named.

    Examples
    --------
    >>> closure([2.0, 6.0, 8.0, 4.0])
    array([0.1, 0.3, 0.4, 0.2])
    """
    parts = positive_parts(compositions)
    return total * parts / np.nansum(parts, axis=-1, keepdims=True)


def clr(compositions: npt.ArrayLike) -> FloatArray:
    r"""Centred log-ratios: each part against the geometric mean of its composition.

    .. math:: \mathrm{clr}(x)_j = \ln x_j - \frac{1}{D}\sum_{k=1}^{D} \ln x_k

    Parameters
    ----------
    compositions : array_like, shape (n, parts) or (parts,)
        Positive parts, all in one unit. Missing parts stay missing, and the geometric mean runs
        over the observed ones.

    Returns
    -------
    ndarray, same shape
        Rows sum to zero.

    Raises
    ------
    SurveyDataError
        If a part is zero, negative or infinite: row, column and value are named.

    References
    ----------
    Aitchison (1986), The Statistical Analysis of Compositional Data, section 4.6.

    Examples
    --------
    >>> clr([0.1, 0.3, 0.4, 0.2]).round(4)
    array([-0.7945,  0.3041,  0.5918, -0.1014])
    """
    logs = np.log(positive_parts(compositions))
    observed = ~np.isnan(logs)
    counts = np.maximum(observed.sum(axis=-1, keepdims=True), 1)
    return logs - np.nansum(logs, axis=-1, keepdims=True) / counts


def ilr(compositions: npt.ArrayLike) -> FloatArray:
    r"""Isometric log-ratios on the Helmert pivot basis.

    .. math:: \mathrm{ilr}(x)_i = \sqrt{\tfrac{i}{i+1}}\,
        \ln \frac{(x_1 \cdots x_i)^{1/i}}{x_{i+1}}, \qquad i = 1, \dots, D - 1

    Parameters
    ----------
    compositions : array_like, shape (n, parts) or (parts,)
        Positive parts, all in one unit. A row that misses a part is missing throughout, since
        every coordinate from that part on rests on it.

    Returns
    -------
    ndarray, shape (n, parts - 1) or (parts - 1,)

    Raises
    ------
    SurveyDataError
        If a part is zero, negative or infinite: row, column and value are named.

    References
    ----------
    Egozcue, Pawlowsky-Glahn, Mateu-Figueras and Barceló-Vidal (2003), Isometric logratio
    transformations for compositional data analysis, Mathematical Geology 35, 279–300.

    Examples
    --------
    >>> ilr([0.1, 0.3, 0.4, 0.2]).round(4)
    array([-0.7768, -0.6834,  0.117 ])
    """
    logs = np.log(positive_parts(compositions))
    return logs @ _basis(logs.shape[-1])


def alr(compositions: npt.ArrayLike, *, denominator: int = -1) -> FloatArray:
    """Additive log-ratios: the logarithm of each part over one of them.

    Parameters
    ----------
    compositions : array_like, shape (n, parts) or (parts,)
        Positive parts, all in one unit. A ratio is missing where either part is.
    denominator : int, default -1
        Position of the dividing part, by default the last.

    Returns
    -------
    ndarray, shape (n, parts - 1) or (parts - 1,)
        The other parts in their order.

    Raises
    ------
    SurveyDataError
        If a part is zero, negative or infinite: row, column and value are named.

    References
    ----------
    Aitchison (1986), The Statistical Analysis of Compositional Data, section 4.4.

    Examples
    --------
    >>> alr([0.1, 0.3, 0.4, 0.2]).round(4)
    array([-0.6931,  0.4055,  0.6931])
    """
    logs = np.log(positive_parts(compositions))
    divisor = np.take(logs, [denominator], axis=-1)
    return np.delete(logs, denominator, axis=-1) - divisor


def inverse_clr(coordinates: npt.ArrayLike) -> FloatArray:
    """Compositions, closed to 1, of centred log-ratios.

    Parameters
    ----------
    coordinates : array_like, shape (n, parts) or (parts,)
        As :func:`clr` gives; missing parts stay missing.

    Returns
    -------
    ndarray, same shape

    Examples
    --------
    >>> inverse_clr(clr([0.1, 0.3, 0.4, 0.2]))
    array([0.1, 0.3, 0.4, 0.2])
    """
    logs = np.asarray(coordinates, dtype=np.float64)
    # Against the largest part, no exponential overflows.
    largest = np.max(logs, axis=-1, keepdims=True, initial=-np.inf, where=~np.isnan(logs))
    return closure(np.exp(logs - largest))


def inverse_ilr(coordinates: npt.ArrayLike) -> FloatArray:
    """Compositions, closed to 1, of isometric log-ratios on the Helmert pivot basis.

    Parameters
    ----------
    coordinates : array_like, shape (n, parts - 1) or (parts - 1,)
        As :func:`ilr` gives; a row with a missing coordinate is missing throughout.

    Returns
    -------
    ndarray, shape (n, parts) or (parts,)

    Examples
    --------
    >>> inverse_ilr(ilr([0.1, 0.3, 0.4, 0.2])).round(12)
    array([0.1, 0.3, 0.4, 0.2])
    """
    logs = np.asarray(coordinates, dtype=np.float64)
    return inverse_clr(logs @ _basis(logs.shape[-1] + 1).T)


def inverse_alr(coordinates: npt.ArrayLike, *, denominator: int = -1) -> FloatArray:
    """Compositions, closed to 1, of additive log-ratios.

    Parameters
    ----------
    coordinates : array_like, shape (n, parts - 1) or (parts - 1,)
        As :func:`alr` gives; missing parts stay missing.
    denominator : int, default -1
        Position that the dividing part takes among the parts, by default the last.

    Returns
    -------
    ndarray, shape (n, parts) or (parts,)

    Examples
    --------
    >>> inverse_alr(alr([0.1, 0.3, 0.4, 0.2]))
    array([0.1, 0.3, 0.4, 0.2])
    """
    logs = np.asarray(coordinates, dtype=np.float64)
    position = denominator % (logs.shape[-1] + 1)
    return inverse_clr(np.insert(logs, position, 0.0, axis=-1))


def positive_parts(compositions: npt.ArrayLike) -> FloatArray:
    """The parts as an array, or an error that names the first that is not positive."""
    parts = np.asarray(compositions, dtype=np.float64)
    wrong = np.atleast_2d((parts <= 0) | np.isinf(parts))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        names = getattr(compositions, "columns", None)
        name = repr(names[column]) if names is not None else column + 1
        raise SurveyDataError(
            f"A logarithm needs positive parts, but row {row + 1}, column {name} holds "
            f"{np.atleast_2d(parts)[row, column]:g}. Values below detection are replaced first, by "
            "`gossan.geochem.replace_censored` or `censored` in the study file; a code for "
            "'not analysed' is NaN, or named in `missing_values`."
        )
    return parts


def _basis(n_parts: int) -> FloatArray:
    """Orthonormal columns, shape (parts, parts - 1)."""
    return helmert(n_parts).T
