"""What the columns of a table are: coordinates, names, classes, elements and their marks."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gossan.geochem import element_of, unit_of

# Easting and northing go by these names, with any common ending, as in Longitude_WGS84.
_PLACE_NAMES = (
    ("longitude", "latitude"),
    ("long", "lat"),
    ("lon", "lat"),
    ("lng", "lat"),
    ("easting", "northing"),
    ("east", "north"),
    ("utme", "utmn"),
    ("utmx", "utmy"),
    ("xcoord", "ycoord"),
    ("xcoo", "ycoo"),
    ("coordx", "coordy"),
    ("pointx", "pointy"),
    ("x", "y"),
    ("e", "n"),
)
_SEGMENT_NAMES = (
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
    ("xstart", "ystart", "xend", "yend"),
    ("startx", "starty", "endx", "endy"),
    ("xfrom", "yfrom", "xto", "yto"),
)
_RING_NAMES = {"ring", "ringid", "polygon", "polygonid", "poly", "polyid", "part", "partid"}
_NAME_WORDS = ("name", "deposit", "occurrence", "prospect", "mine", "title", "site")
_SAMPLE_ID_WORDS = ("sample", "specimen", "fieldn", "labn", "observ", "site", "id", "number")
# In the order of how well they tell rocks apart.
_CLASS_WORDS = (
    "lith",
    "rock",
    "formation",
    "strat",
    "unit",
    "geol",
    "group",
    "suite",
    "domain",
    "terrane",
    "class",
    "type",
    "symbol",
    "code",
    "name",
    "age",
    "desc",
)
_BLANKS = {"", "na", "n/a", "n.a.", "nan", "null", "none"}
# Numbers that stand for "not analysed" in exploration databases.
SENTINELS = (-9999.0, -99999.0, -999999.0, -9999.99, -999.0, -99.0, 9999.0, 99999.0, 999999.0)
_SECONDARY = "minor|trace|secondary"
_MOST_CLASSES = 150


@dataclass(frozen=True)
class ElementColumn:
    """One column of concentrations, and every mark of censoring that was found in it."""

    column: str
    element: str
    unit: str | None  # None where the name does not say it
    count: int  # values, those below detection included
    below: int = 0  # texts such as '<0.5'
    other_text: tuple[str, ...] = ()  # neither number nor blank nor '<…'
    negative: int = 0
    zero: int = 0  # without a mark beside them
    sentinels: tuple[float, ...] = ()  # codes such as -9999
    flag: str | None = None  # the column of marks beside it
    flagged: int = 0  # marks '<', and any mark beside 0
    unlimited: int = 0  # of these, beside 0 or nothing, which says no limit
    at_minimum: int = 0  # values that equal the smallest positive one
    median: float = float("nan")
    maximum: float = float("nan")

    @property
    def marked(self) -> int:
        """Values below detection by any mark."""
        return self.below + self.negative + self.flagged + self.zero


def find_coordinates(table: pd.DataFrame) -> tuple[str, str] | None:
    """Columns of longitude and latitude, else of easting and northing, else None.

    Examples
    --------
    >>> find_coordinates(pd.DataFrame({"N": [1.0], "Lon_WGS84": [42.1], "Lat_WGS84": [19.2]}))
    ('Lon_WGS84', 'Lat_WGS84')
    """
    numeric = {
        _plain(column): str(column)
        for column in table.columns
        if pd.api.types.is_numeric_dtype(table[column]) and table[column].notna().any()
    }
    for easting, northing in _PLACE_NAMES:
        for name in sorted(numeric, key=len):
            partner = northing + name.removeprefix(easting)
            if name.startswith(easting) and partner in numeric:
                return numeric[name], numeric[partner]
    return None


def find_segments(table: pd.DataFrame) -> tuple[str, str, str, str] | None:
    """Columns of both ends of line segments, or None."""
    columns = {_plain(column): str(column) for column in table.columns}
    for x0, y0, x1, y1 in _SEGMENT_NAMES:
        if all(name in columns for name in (x0, y0, x1, y1)):
            return columns[x0], columns[y0], columns[x1], columns[y1]
    return None


def find_ring(table: pd.DataFrame) -> str | None:
    """The column that tells polygons' rings apart: so named, and with four vertices a ring."""
    for column in table.columns:
        rings = table[column].nunique() if _plain(column) in _RING_NAMES else 0
        if 0 < rings <= len(table) / 4:
            return str(column)
    return None


def find_name(table: pd.DataFrame) -> str | None:
    """The text column that most looks like a deposit's name: so called, legible, seldom twice."""
    best: tuple[float, str | None] = (0.0, None)
    for column in _text_columns(table):
        called = [word in _plain(column) for word in _NAME_WORDS]
        if not any(called):
            continue
        values = table[column].dropna().astype(str)
        unlike = values.nunique() / len(table)
        legible = np.mean([value.isascii() for value in values])
        score = float(unlike * (1 + legible) / (1 + called.index(True) / 10))
        if unlike > 0.5 and score > best[0]:
            best = (score, column)
    return best[1]


def find_sample_id(table: pd.DataFrame) -> str | None:
    """The column of sample names: so called and (nearly) never twice the same."""
    for word in _SAMPLE_ID_WORDS:
        for column in table.columns:
            plain = _plain(column)
            called = plain == word if word == "id" else word in plain
            whole = not pd.api.types.is_float_dtype(table[column])
            if called and whole and table[column].nunique() > 0.9 * len(table):
                return str(column)
    return None


def find_classes(table: pd.DataFrame) -> list[str]:
    """Columns that could name the classes of a map, the likeliest first."""
    found = []
    for column in table.columns:
        if pd.api.types.is_float_dtype(table[column]):
            continue
        classes, plain = table[column].nunique(), _plain(column)
        called = next((i for i, word in enumerate(_CLASS_WORDS) if word in plain), None)
        repeated = 2 <= classes <= min(_MOST_CLASSES, max(2, len(table) // 2))
        if called is not None and repeated and not plain.startswith(("objectid", "fid", "shape")):
            # A name says more than its code, and a code more than nothing.
            is_code = pd.api.types.is_numeric_dtype(table[column]) or "code" in plain
            found.append((called + 5 * is_code, str(column)))
    return [column for _, column in sorted(found)]


def find_filters(table: pd.DataFrame, words: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Text columns called by one of ``words`` with few values: value → count, the commonest first.

    Columns come in the order of ``words``; those of minor or trace things are passed over.
    """
    filters: dict[str, dict[str, int]] = {}
    for word in words:
        for column in _text_columns(table):
            counts = table[column].dropna().astype(str).value_counts()
            called = word in _plain(column) and not re.search(_SECONDARY, _plain(column))
            if called and 2 <= len(counts) <= 40 and counts.iloc[0] > 1:
                filters.setdefault(column, {str(key): int(n) for key, n in counts.items()})
    return filters


def describe_elements(table: pd.DataFrame) -> tuple[ElementColumn, ...]:
    """Look for every mark of censoring in the columns named like an element or oxide."""
    named = [str(column) for column in table.columns if element_of(str(column)) is not None]
    flags = _flag_columns(table, named)
    described = [_describe_element(table, column, flags.get(column)) for column in named]
    return tuple(found for found in described if found is not None)


def _describe_element(table: pd.DataFrame, column: str, flag: str | None) -> ElementColumn | None:
    """None for a column without a number: a name that only looks like an element's."""
    values = table[column]
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    texts = values[np.isnan(numbers) & values.notna().to_numpy()].astype(str).str.strip()
    is_below = pd.to_numeric(texts.str.extract(r"^<(.*)$")[0], errors="coerce").notna()
    measured = numbers[np.isfinite(numbers)]
    sentinels = [value for value in SENTINELS if _stands_apart(measured, value)]
    is_coded = np.isin(numbers, sentinels)
    marks = _marks(table, flag)
    measured, positive = numbers[np.isfinite(numbers) & ~is_coded], numbers[numbers > 0]
    positive = positive[~np.isin(positive, sentinels)]
    if len(measured) == 0 and not is_below.any():
        return None
    is_flagged = np.array([mark.startswith("<") for mark in marks])
    is_flagged |= (numbers == 0) & (marks != "")
    return ElementColumn(
        column=column,
        element=str(element_of(column)),
        unit=unit_of(column),
        count=len(measured) + int(is_below.sum()),
        below=int(is_below.sum()),
        other_text=tuple(texts[~is_below & ~texts.str.lower().isin(_BLANKS)].unique()[:3]),
        negative=int((measured < 0).sum()),
        zero=int(((numbers == 0) & (marks == "")).sum()),
        sentinels=tuple(sentinels),
        flag=flag,
        flagged=int(is_flagged.sum()),
        unlimited=int((is_flagged & ~(numbers > 0)).sum()),
        at_minimum=int((positive == positive.min()).sum()) if len(positive) else 0,
        median=float(np.median(positive)) if len(positive) else float("nan"),
        maximum=float(positive.max()) if len(positive) else float("nan"),
    )


def _stands_apart(values: np.ndarray, sentinel: float) -> bool:
    """Whether a number occurs that can only be a code: negative, or far above all the others."""
    if not (values == sentinel).any():
        return False
    others = values[values != sentinel]
    return sentinel < 0 or len(others) == 0 or bool(sentinel > 10 * np.abs(others).max())


def _flag_columns(table: pd.DataFrame, elements: list[str]) -> dict[str, str]:
    """Element column → the column beside it that holds nothing but marks such as '<'.

    A column of no marks at all is one too, if it is named as the others are.
    """
    beside = [str(column) for column in table.columns if _holds_only_marks(table[column])]
    ending = {
        column.removeprefix(_first_word(column))
        for column in beside
        if any(mark.startswith("<") for mark in _marks(table, column))
    }
    flags = {
        _first_word(column): column
        for column in beside
        if column.removeprefix(_first_word(column)) in ending
    }
    return {name: flags[_first_word(name)] for name in elements if _first_word(name) in flags}


def _holds_only_marks(column: pd.Series) -> bool:
    texts = column.dropna().astype(str).str.strip()
    return bool((texts.str.fullmatch(r"[^0-9]{0,2}")).all())


def _marks(table: pd.DataFrame, flag: str | None) -> np.ndarray:
    """The marks of every row, "" where there is none."""
    if flag is None:
        return np.full(len(table), "", dtype=object)
    return table[flag].astype("string").str.strip().fillna("").to_numpy(dtype=object)


def _first_word(column: object) -> str:
    return re.split(r"[_\s.(\[-]", str(column).strip(), maxsplit=1)[0]


def _plain(column: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(column).lower())


def _text_columns(table: pd.DataFrame) -> list[str]:
    return [
        str(column)
        for column in table.columns
        if not pd.api.types.is_numeric_dtype(table[column])
        and not pd.api.types.is_datetime64_any_dtype(table[column])
        and column != getattr(table, "_geometry_column_name", None)
    ]
