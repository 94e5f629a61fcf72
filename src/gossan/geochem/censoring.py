"""Values below detection: read as the survey marks them, replaced by a declared rule.

How a survey marks a value below detection is declared, never guessed:

======== ======================================================================================
text     ``<0.5`` in the number column
negative −0.5 means below 0.5
flag     ``<`` in a column beside the number, which may hold the limit or 0; a 0 beside any other
         mark counts too, for no concentration is 0
zero     0
none     no value is below detection
======== ======================================================================================
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from gossan.exceptions import StudyError, SurveyDataError, SurveyDataWarning

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

STYLES = ("none", "text", "negative", "flag", "zero")
REPLACEMENTS = ("half-limit", "limit/sqrt2", "multiplicative")
_BLANKS = ("", "na", "n/a", "n.a.", "nan", "null", "none")
# Martín-Fernández et al. (2003), section 3.3: the best single stand-in is 65 % of the limit.
_SHARE_OF_LIMIT = {"half-limit": 0.5, "limit/sqrt2": 0.5**0.5, "multiplicative": 0.65}


@dataclass(frozen=True)
class CensoredColumn:
    """One element as measured.

    Attributes
    ----------
    values : ndarray, shape (n,)
        Measured values; NaN where missing or below detection.
    censored : ndarray of bool, shape (n,)
        Whether a value is below detection.
    limits : ndarray, shape (n,)
        Detection limit of the values below it, NaN elsewhere and where nobody knows it.
    assumed_limit : float or None
        The limit taken for values whose mark does not say it, when none was declared: the
        smallest measured value.
    """

    values: FloatArray
    censored: BoolArray
    limits: FloatArray
    assumed_limit: float | None = None


def parse_censored(
    column: pd.Series,
    *,
    style: str = "none",
    limit: float | None = None,
    flags: pd.Series | None = None,
    missing_values: Sequence[float] = (),
) -> CensoredColumn:
    """Read a column of concentrations in which some are below detection or missing.

    Parameters
    ----------
    column : Series, shape (n,)
        Numbers, or text that spells numbers. Its name appears in messages.
    style : {"none", "text", "negative", "flag", "zero"}, default "none"
        How a value below detection is marked, see :mod:`gossan.geochem.censoring`.
    limit : float, optional
        Detection limit of values whose mark does not say it, in the column's unit. By default the
        smallest measured value stands for it, and ``assumed_limit`` says so.
    flags : Series, shape (n,), optional
        The marks, for style "flag".
    missing_values : sequence of float, optional
        Numbers that mean "not analysed", such as -9999.

    Returns
    -------
    CensoredColumn

    Raises
    ------
    SurveyDataError
        If a cell holds text, or a negative or infinite value that the style does not explain: the
        column, the row (as the index says it, numbers counted from 1) and the value are named.
    StudyError
        If the style is not known, or is "flag" without flags.

    Examples
    --------
    >>> gold = parse_censored(pd.Series(["<0.5", "2.0", ""], name="Au_ppb"), style="text")
    >>> gold.values, gold.censored, gold.limits
    (array([nan,  2., nan]), array([ True, False, False]), array([0.5, nan, nan]))
    """
    if style not in STYLES:
        raise StudyError(f"censored = {style!r} is not known: use one of {', '.join(STYLES)}.")
    numbers, below = _read_numbers(column, marks_in_text=style == "text")
    for code in missing_values:
        # A code written in single precision is not the same double.
        numbers[np.isclose(numbers, code, rtol=1e-6, atol=0)] = np.nan
    censored, limits = _censored_by(style, numbers, below, flags, str(column.name))
    _reject_impossible(column, numbers, censored, style)
    values = np.where(censored, np.nan, numbers)
    assumed = None
    unknown = censored & ~(limits > 0)
    if limit is None and unknown.any() and (values > 0).any():
        limit = assumed = float(values[values > 0].min())
    limits[unknown] = np.nan if limit is None else limit
    return CensoredColumn(values, censored, limits, assumed)


def row_name(index: pd.Index, position: int) -> str:
    """What messages call a row: its index, numbers counted from 1.

    Examples
    --------
    >>> row_name(pd.RangeIndex(3), 0), row_name(pd.Index(["7 of a.csv"]), 0)
    ('1', '7 of a.csv')
    """
    label = index[position]
    return str(label + 1) if isinstance(label, int | np.integer) else str(label)


def replace_censored(
    values: npt.ArrayLike,
    censored: npt.ArrayLike,
    limits: npt.ArrayLike,
    method: str = "half-limit",
    *,
    total: float = 1e6,
) -> FloatArray:
    r"""Put a number in the place of each value below detection.

    ``half-limit`` takes half the detection limit, ``limit/sqrt2`` the limit over the square root
    of two. ``multiplicative`` takes 65 % of the limit and scales the measured parts of the same
    sample down to make room, which keeps their ratios:

    .. math:: r_j = \delta_j \text{ if below detection, else }
        x_j \Big(1 - \frac{1}{c}\sum_{k \text{ below}} \delta_k\Big)

    Parameters
    ----------
    values : array_like, shape (n,) or (n, parts)
        Measured values; what stands where ``censored`` is true does not matter. NaN stays NaN.
    censored : array_like of bool, same shape
    limits : array_like, same shape
        Detection limits, in the unit of ``values``; used where ``censored`` is true.
    method : {"half-limit", "limit/sqrt2", "multiplicative"}, default "half-limit"
    total : float, default 1e6
        The whole c that the parts are parts of, in the unit of ``values``: 1e6 for ppm. Used by
        "multiplicative".

    Returns
    -------
    ndarray, same shape

    Raises
    ------
    SurveyDataError
        If a value is below a detection limit that nobody knows.
    StudyError
        If the method is not known.

    References
    ----------
    Martín-Fernández, Barceló-Vidal and Pawlowsky-Glahn (2003), Dealing with zeros and missing
    values in compositional data sets using nonparametric imputation, Mathematical Geology 35,
    253–278, equation 4.

    Examples
    --------
    >>> replace_censored([np.nan, 3.0], [True, False], [0.5, np.nan])
    array([0.25, 3.  ])
    """
    if method not in REPLACEMENTS:
        raise StudyError(
            f"replacement = {method!r} is not known: use one of {', '.join(REPLACEMENTS)}."
        )
    below, detection = np.asarray(censored, dtype=bool), np.asarray(limits, dtype=np.float64)
    unknown = np.argwhere(below & ~(detection > 0))
    if len(unknown):
        table = values if isinstance(values, pd.DataFrame) else pd.DataFrame(np.asarray(values))
        row = row_name(table.index, unknown[0][0])
        column = f", column {table.columns[unknown[0][-1]]!r}" if np.ndim(values) == 2 else ""
        raise SurveyDataError(
            f"Row {row}{column} is below a detection limit that neither its mark nor "
            "a measured value tells. Declare it in `limits`, or leave the element out."
        )
    stand_in = np.where(below, _SHARE_OF_LIMIT[method] * detection, 0.0)
    measured = np.asarray(values, dtype=np.float64)
    if method == "multiplicative" and measured.ndim == 2:
        measured = measured * (1 - stand_in.sum(axis=1, keepdims=True) / total)
    return np.where(below, stand_in, measured)


def drop_sparse(
    values: pd.DataFrame, censored: pd.DataFrame, *, max_censored: float = 0.4
) -> tuple[list[str], dict[str, float]]:
    """Tell elements that too few samples measured from the rest.

    Parameters
    ----------
    values : DataFrame, shape (n, elements)
        NaN where missing or below detection.
    censored : DataFrame of bool, shape (n, elements)
        Whether a value is below detection.
    max_censored : float, default 0.4
        Drop an element censored or missing in a larger share of the samples.

    Returns
    -------
    kept : list of str
    dropped : dict of str to float
        The share of samples censored or missing, of each element that is not kept.

    Warns
    -----
    SurveyDataWarning
        Naming the dropped elements and their shares.

    Examples
    --------
    >>> table = pd.DataFrame({"Cu": [4.0, 5.0, np.nan], "Zn": [8.0, 9.0, 7.0]})
    >>> drop_sparse(table, table.isna(), max_censored=0.5)
    (['Cu', 'Zn'], {})
    """
    share = (values.isna() | censored).mean()
    dropped = {
        name: float(part) for name, part in zip(values.columns, share) if part > max_censored
    }
    if dropped:
        listed = ", ".join(f"{name} ({part:.0%})" for name, part in dropped.items())
        warnings.warn(
            f"Left out, being below detection or missing in more than {max_censored:.0%} of the "
            f"samples: {listed}. Raise `max_censored` to keep them.",
            SurveyDataWarning,
            stacklevel=2,
        )
    return [name for name in values.columns if name not in dropped], dropped


def _cell(column: pd.Series, position: int) -> str:
    return f"Column {column.name!r}, row {row_name(column.index, position)}"


def _read_numbers(column: pd.Series, *, marks_in_text: bool) -> tuple[FloatArray, BoolArray]:
    """Numbers of a column, NaN where blank, and whether a ``<`` stands before each."""
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
        return numbers, np.zeros(len(column), dtype=bool)
    text = column.astype("string").str.strip().fillna("")
    text = text.mask(text.str.lower().isin(_BLANKS), "")
    below = text.str.startswith("<").to_numpy(dtype=bool)
    spelled = text.str.removeprefix("<").str.strip() if marks_in_text else text
    numbers = pd.to_numeric(spelled, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    unread = np.flatnonzero(np.isnan(numbers) & (text != "").to_numpy(dtype=bool))
    if len(unread):
        found = text.iloc[unread[0]]
        remedy = "Mend the file, or leave the cell empty if it was not analysed."
        if found.startswith("<") and not marks_in_text:
            remedy = "If it means below detection, declare censored = 'text'."
        raise SurveyDataError(
            f"{_cell(column, unread[0])} holds {found!r}, which is no number. {remedy}"
        )
    return numbers.copy(), below


def _censored_by(
    style: str, numbers: FloatArray, below: BoolArray, flags: pd.Series | None, name: str
) -> tuple[BoolArray, FloatArray]:
    """Which values are below detection, and the limits that their marks tell (else NaN or 0)."""
    if style == "flag":
        if flags is None:
            raise StudyError(
                f"censored = 'flag' needs the column of marks of {name!r}, declared in `flags`."
            )
        marks = flags.astype("string").str.strip().fillna("")
        below = marks.str.startswith("<").to_numpy(dtype=bool)
        below |= (marks != "").to_numpy(dtype=bool) & (numbers == 0)
    elif style == "negative":
        below = numbers < 0
    elif style == "zero":
        below = numbers == 0
    return below, np.where(below, np.abs(numbers), np.nan)


def _reject_impossible(
    column: pd.Series, numbers: FloatArray, censored: BoolArray, style: str
) -> None:
    """Raise on what is neither a concentration nor a mark."""
    measured = np.where(censored, np.nan, numbers)
    wrong = np.flatnonzero((measured < 0) | np.isinf(numbers))
    if len(wrong):
        raise SurveyDataError(
            f"{_cell(column, wrong[0])} holds {numbers[wrong[0]]:g}, which is no "
            "concentration. If it means below detection, declare censored = 'negative'; if it "
            f"means 'not analysed', declare missing_values = [{numbers[wrong[0]]:g}]."
        )
    if style == "negative" and (measured > 0).any():
        largest = np.nanmax(measured)
        wrong = np.flatnonzero(censored & (-numbers > largest))
        if len(wrong):
            code = numbers[wrong[0]]
            raise SurveyDataError(
                f"{_cell(column, wrong[0])} holds {code:g}, below a detection limit of "
                f"{-code:g}, yet no sample measured more than {largest:g}. If it means 'not "
                f"analysed', declare missing_values = [{code:g}]."
            )
