"""From a table of samples to numbers that can be gridded: every step of geochemistry, in order."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gossan.exceptions import StudyError, SurveyDataError, SurveyDataWarning
from gossan.geochem.censoring import (
    CensoredColumn,
    drop_sparse,
    parse_censored,
    replace_censored,
    row_name,
)
from gossan.geochem.logratios import alr, clr, ilr, positive_parts
from gossan.geochem.units import element_of, to_ppm, unit_of

FloatArray = npt.NDArray[np.float64]

# Analyses of nearly pure quartz or ore minerals overshoot 100 % by what the laboratory rounds.
_WHOLE_PPM = 1.01e6
TRANSFORMS = ("clr", "ilr", "alr", "log", "none")


@dataclass(frozen=True)
class PreparedSamples:
    """Samples ready for gridding.

    Attributes
    ----------
    coordinates : ndarray, shape (n, 2)
        Easting and northing, no two alike.
    values : DataFrame, shape (n, variables)
        Transformed concentrations. NaN where missing.
    report : dict
        JSON-ready account: ``n_samples`` in the table, ``n_places`` in the result,
        ``duplicates_merged``, ``without_coordinates``, ``units`` and ``censored_share`` (below
        detection or missing) of every element asked for, ``dropped`` elements with that share, and
        ``assumed_limits`` (in the column's unit) where no detection limit was told or declared.
    """

    coordinates: FloatArray
    values: pd.DataFrame
    report: dict[str, Any]


def prepare_samples(
    table: pd.DataFrame,
    coordinates: npt.ArrayLike,
    *,
    elements: Sequence[str] | None = None,
    units: str | Mapping[str, str] = "auto",
    censored: str = "none",
    flags: Mapping[str, str] | None = None,
    limits: Mapping[str, float] | None = None,
    replacement: str = "half-limit",
    missing_values: Sequence[float] = (),
    max_censored: float = 0.4,
    transform: str = "clr",
    denominator: str | None = None,
) -> PreparedSamples:
    """Read, convert, complete, merge and transform the samples of one survey.

    Parse censored values, convert to ppm, drop elements that few samples measured, replace what is
    below detection, merge samples at one place by their geometric mean, take log-ratios.

    Parameters
    ----------
    table : DataFrame, shape (n, columns)
        One row a sample.
    coordinates : array_like, shape (n, 2)
        Easting and northing of the samples. Samples without are left out, with a warning.
    elements : sequence of str, optional
        Columns to use, by name or, where only one column fits, by element. By default every
        column whose name says an element or oxide. The result's columns are called the same.
    units : str or mapping of str to str, default "auto"
        "ppm", "ppb" or "pct" for all, or per element; those not in the mapping, and all under
        "auto", are read off the column names.
    censored : {"none", "text", "negative", "flag", "zero"}, default "none"
        How the survey marks values below detection, see :func:`parse_censored`.
    flags : mapping of str to str, optional
        Column of marks of each element, for ``censored="flag"``.
    limits : mapping of str to float, optional
        Detection limits where the marks do not tell them, in the column's unit.
    replacement : {"half-limit", "limit/sqrt2", "multiplicative"}, default "half-limit"
        See :func:`replace_censored`.
    missing_values : sequence of float, optional
        Numbers that mean "not analysed".
    max_censored : float, default 0.4
        Drop an element censored or missing in a larger share of samples.
    transform : {"clr", "ilr", "alr", "log", "none"}, default "clr"
        ``log`` is natural; ``none`` leaves ppm. ``ilr`` calls its variables ``ilr_1``, …; ``alr``
        calls them ``ln(Cu/Al)``.
    denominator : str, optional
        The dividing element, for ``transform="alr"``.

    Returns
    -------
    PreparedSamples

    Raises
    ------
    SurveyDataError
        If a column is missing or ambiguous, its unit is not told, a cell holds text or an
        impossible number, such as more than 101 % (column, row and value are named; the row by
        the table's index, numbers counted from 1), or no element is left.
    StudyError
        If an option is not known, or names an element that is not used.

    Warns
    -----
    SurveyDataWarning
        Naming elements that were dropped, detection limits that were assumed, and samples that
        have no coordinates.

    Examples
    --------
    >>> table = pd.DataFrame({"Cu_ppm": ["<2", "8", "10"], "Au_ppb": ["5", "7", "20"]})
    >>> samples = prepare_samples(
    ...     table, [[0, 0], [9, 0], [9, 0]], censored="text", transform="none"
    ... )
    >>> samples.values.round(4)
       Cu_ppm  Au_ppb
    0  1.0000  0.0050
    1  8.9443  0.0118
    >>> samples.report["duplicates_merged"]
    1
    """
    if transform not in TRANSFORMS:
        raise StudyError(f"transform = {transform!r} is not known: use {', '.join(TRANSFORMS)}.")
    marks = {} if flags is None else flags
    columns = _find_columns(table, elements, set(marks.values()))
    unit = _units(units, columns)
    parsed = _parse(
        table,
        columns,
        style=censored,
        flags=_by_element("flags", marks, columns),
        limits=_by_element("limits", {} if limits is None else limits, columns),
        missing_values=missing_values,
    )
    measured = pd.DataFrame(
        {name: to_ppm(part.values, unit[name]) for name, part in parsed.items()}, table.index
    )
    _refuse_more_than_all(measured, table, columns, unit)
    below = pd.DataFrame({name: part.censored for name, part in parsed.items()}, table.index)
    kept, dropped = drop_sparse(measured, below, max_censored=max_censored)
    _require_elements(kept, dropped, transform, denominator)
    detection = pd.DataFrame({name: to_ppm(parsed[name].limits, unit[name]) for name in kept})
    complete = measured[kept].assign(
        **dict(zip(kept, replace_censored(measured[kept], below[kept], detection, replacement).T))
    )
    located = _located(coordinates, len(table))
    places, merged, n_merged = merge_duplicates(
        np.asarray(coordinates, dtype=np.float64)[located], complete[located]
    )
    report = {
        "n_samples": len(table),
        "n_places": len(places),
        "duplicates_merged": n_merged,
        "without_coordinates": int((~located).sum()),
        "units": unit,
        "censored_share": {n: float(s) for n, s in (measured.isna() | below).mean().items()},
        "dropped": dropped,
        "assumed_limits": _assumed_limits(parsed, kept),
    }
    return PreparedSamples(places, _transform(merged, transform, denominator), report)


def merge_duplicates(
    coordinates: npt.ArrayLike, values: pd.DataFrame
) -> tuple[FloatArray, pd.DataFrame, int]:
    """Merge samples taken at one place into their geometric mean.

    Parameters
    ----------
    coordinates : array_like, shape (n, 2)
        Easting and northing. Samples are at one place if these are equal.
    values : DataFrame, shape (n, elements)
        Concentrations, none negative. NaN is left out of the mean.

    Returns
    -------
    coordinates : ndarray, shape (places, 2)
        In the order of first appearance.
    values : DataFrame, shape (places, elements)
    n_merged : int
        How many samples vanished into others.

    Examples
    --------
    >>> copper = pd.DataFrame({"Cu": [2.0, 5.0, 8.0]})
    >>> merge_duplicates([[0, 0], [1, 0], [0, 0]], copper)
    (array([[0., 0.], [1., 0.]]), Cu
    0  4.0
    1  5.0, 1)
    """
    places = np.asarray(coordinates, dtype=np.float64)
    _, first, group = np.unique(places, axis=0, return_index=True, return_inverse=True)
    order = np.sort(first)
    place = np.searchsorted(order, first[group.ravel()])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values.to_numpy(dtype=np.float64))
        sums, counts = np.zeros((2, len(order), logs.shape[1]))
        np.add.at(sums, place, np.nan_to_num(logs, nan=0.0, neginf=-np.inf))
        np.add.at(counts, place, ~np.isnan(logs))
        means = np.exp(sums / counts)
    # The logarithm and back would stir the last digit of samples that have no duplicate.
    single = np.bincount(place) == 1
    means[single] = values.to_numpy(dtype=np.float64)[order[single]]
    merged = pd.DataFrame(means, columns=values.columns)
    return places[order], merged, len(places) - len(order)


def _find_columns(
    table: pd.DataFrame, elements: Sequence[str] | None, marks: set[str]
) -> dict[str, str]:
    """Column of each element asked for."""
    if elements is not None:
        return {name: _find_column(table, name) for name in elements}
    columns = {n: n for n in table.columns if element_of(n) is not None and n not in marks}
    if not columns:
        raise SurveyDataError(
            "No column is named like an element or oxide, such as 'Cu_ppm' or 'SiO2 (%)'. "
            f"List them in `elements`; the columns are {', '.join(map(repr, table.columns))}."
        )
    return columns


def _find_column(table: pd.DataFrame, name: str) -> str:
    if name in table.columns:
        return name
    fitting = [column for column in table.columns if element_of(column) == name]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        hint = f"Several hold that element, name one of them: {', '.join(map(repr, fitting))}."
    else:
        similar = difflib.get_close_matches(name, map(str, table.columns), n=3, cutoff=0.5)
        hint = f"Nearest: {', '.join(map(repr, similar or table.columns))}."
    raise SurveyDataError(f"The table has no column {name!r}. {hint}")


def _by_element(
    option: str, mapping: Mapping[str, Any], columns: Mapping[str, str]
) -> dict[str, Any]:
    """The option's entries under the names of the elements, given under those or their columns."""
    names = {column: name for name, column in columns.items()} | {name: name for name in columns}
    strangers = [key for key in mapping if key not in names]
    if strangers:
        similar = difflib.get_close_matches(strangers[0], names, n=3, cutoff=0.0)
        raise StudyError(
            f"{option} names {strangers[0]!r}, which is not among the elements used. "
            f"Nearest: {', '.join(map(repr, similar))}."
        )
    return {names[key]: value for key, value in mapping.items()}


def _units(units: str | Mapping[str, str], columns: Mapping[str, str]) -> dict[str, str]:
    if isinstance(units, str) and units != "auto":
        return dict.fromkeys(columns, units)
    stated = {} if isinstance(units, str) else _by_element("units", units, columns)
    found = {name: stated.get(name, unit_of(column)) for name, column in columns.items()}
    untold = [columns[name] for name, unit in found.items() if unit is None]
    if untold:
        raise SurveyDataError(
            f"No unit is told for {', '.join(map(repr, untold))}. Declare units = 'ppm' (or 'ppb', "
            "'pct'), or one per element."
        )
    return {name: unit for name, unit in found.items() if unit is not None}


def _parse(
    table: pd.DataFrame,
    columns: Mapping[str, str],
    *,
    style: str,
    flags: Mapping[str, str],
    limits: Mapping[str, float],
    missing_values: Sequence[float],
) -> dict[str, CensoredColumn]:
    if style == "flag" and not flags:
        raise StudyError(
            "censored = 'flag' needs the columns that hold the marks, such as "
            "flags = { Cu_ppm = 'Cu_flag' }."
        )
    return {
        name: parse_censored(
            table[column],
            # An element that has no column of marks has no marked values.
            style="none" if style == "flag" and name not in flags else style,
            limit=limits.get(name),
            flags=table[_find_column(table, flags[name])] if name in flags else None,
            missing_values=missing_values,
        )
        for name, column in columns.items()
    }


def _refuse_more_than_all(
    measured: pd.DataFrame, table: pd.DataFrame, columns: Mapping[str, str], unit: Mapping[str, str]
) -> None:
    """Raise on a concentration above the whole: one would spoil its layer without a sound."""
    for name, ppm in measured.items():
        over = np.flatnonzero(ppm.to_numpy() > _WHOLE_PPM)
        if len(over):
            column, value = columns[str(name)], ppm.iloc[over[0]]
            written = table[column].iloc[over[0]]
            raise SurveyDataError(
                f"Column {column!r}, row {row_name(table.index, over[0])} holds {written}, which "
                f"in {unit[str(name)]} is {value / 1e4:,.0f} % of the sample; {len(over)} value(s) "
                "in all are more than the whole. If the unit is another, declare it in `units`; "
                f"if the number means 'not analysed', declare missing_values = [{written}]; else "
                "correct the file, or leave the column out with `exclude`."
            )


def _require_elements(
    kept: list[str], dropped: Mapping[str, float], transform: str, denominator: str | None
) -> None:
    if not kept:
        raise SurveyDataError(
            f"No element is left: all of {', '.join(dropped)} are below detection or missing in "
            "too many samples. Check `censored` and `missing_values`, or raise `max_censored`."
        )
    if transform == "alr" and denominator not in kept:
        raise StudyError(
            f"transform = 'alr' divides by denominator = {denominator!r}, which is not among the "
            f"elements kept: {', '.join(kept)}."
        )
    if transform in ("clr", "ilr", "alr") and len(kept) < 2:
        raise StudyError(
            f"transform = {transform!r} compares elements, but only {kept[0]!r} is kept. "
            "Use transform = 'log'."
        )


def _located(coordinates: npt.ArrayLike, n_samples: int) -> npt.NDArray[np.bool_]:
    places = np.asarray(coordinates, dtype=np.float64)
    if places.shape != (n_samples, 2):
        raise SurveyDataError(
            f"Coordinates of shape {places.shape} do not go with {n_samples} samples: pass (n, 2), "
            "easting and northing."
        )
    located = np.isfinite(places[:, 0]) & np.isfinite(places[:, 1])
    if not located.any():
        raise SurveyDataError("No sample has coordinates: check the columns named as x and y.")
    if not located.all():
        rows = np.flatnonzero(~located) + 1
        warnings.warn(
            f"Left out {len(rows)} of {n_samples} samples that have no coordinates, rows "
            f"{', '.join(map(str, rows[:5]))}{', …' if len(rows) > 5 else ''}.",
            SurveyDataWarning,
            stacklevel=3,
        )
    return located


def _assumed_limits(parsed: Mapping[str, CensoredColumn], kept: list[str]) -> dict[str, float]:
    assumed = {
        name: parsed[name].assumed_limit for name in kept if parsed[name].assumed_limit is not None
    }
    if assumed:
        listed = ", ".join(f"{name} ({limit:g})" for name, limit in assumed.items())
        warnings.warn(
            "No detection limit is told for values marked as below it; the smallest measured value "
            f"stands for it: {listed}. Declare `limits` where the laboratory's are known.",
            SurveyDataWarning,
            stacklevel=3,
        )
    return {name: limit for name, limit in assumed.items() if limit is not None}


def _transform(
    concentrations: pd.DataFrame, transform: str, denominator: str | None
) -> pd.DataFrame:
    names = list(concentrations.columns)
    if transform == "none":
        return concentrations
    if transform == "clr":
        return pd.DataFrame(clr(concentrations), columns=names)
    if transform == "ilr":
        columns = [f"ilr_{order}" for order in range(1, len(names))]
        return pd.DataFrame(ilr(concentrations), columns=columns)
    if transform == "alr":
        position = names.index(str(denominator))
        columns = [f"ln({name}/{denominator})" for name in names if name != denominator]
        return pd.DataFrame(alr(concentrations, denominator=position), columns=columns)
    return pd.DataFrame(np.log(positive_parts(concentrations)), columns=names)
