"""How a table of samples should be read: units, and values below detection or not analysed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gossan.draft.columns import ElementColumn
from gossan.draft.facts import FileFacts

# In ppm, no rock, soil or sediment holds so little of these: such numbers are per cent.
_MAJOR = {"Si", "Al", "Fe", "Ca", "Mg", "Na", "K"}
_MOST_PERCENT_OF_MAJOR = 40.0
_LEAST_GOLD_IN_PPB = 0.2
_SUSPICIOUS_SHARE = 0.05


@dataclass(frozen=True)
class SamplesChoice:
    """Settings of a ``[[samples]]`` table that its columns call for."""

    elements: list[str]
    left_out: dict[str, str] = field(default_factory=dict)  # column → why
    units: str | dict[str, str] = "auto"
    censored: str = "none"
    flags: dict[str, str] = field(default_factory=dict)
    missing_values: list[float] = field(default_factory=list)
    found: list[str] = field(default_factory=list)  # every mark found, in words
    most_marked: str = ""  # the column with the most values below detection

    @property
    def transform(self) -> str:
        """Log-ratios need company."""
        return "clr" if len(self.elements) >= 3 else "log"


def choose_samples(facts: FileFacts) -> SamplesChoice:
    """Settings under which every column kept can be read."""
    left_out = _repeated_elements(facts.elements)
    columns = [column for column in facts.elements if column.column not in left_out]
    style = _choose_style(columns)
    for column in columns:
        reason = _unreadable(column, style)
        if reason:
            left_out[column.column] = reason
    kept = [column for column in columns if column.column not in left_out]
    missing = sorted({value for column in kept for value in column.sentinels})
    if style != "zero" and any(column.zero for column in kept):
        missing.append(0.0)
    return SamplesChoice(
        [column.column for column in kept],
        left_out,
        _choose_units(kept),
        style,
        {c.column: c.flag for c in kept if c.flag is not None and c.flagged},
        missing,
        _describe_marks(columns, facts.count, style),
        max(kept, key=lambda column: column.marked).column if kept else "",
    )


def _repeated_elements(columns: Sequence[ElementColumn]) -> dict[str, str]:
    """Of several columns of one element, all but the one with the fewest values below detection."""
    left_out = {}
    for element in dict.fromkeys(column.element for column in columns):
        same = [column for column in columns if column.element == element]
        best = min(same, key=lambda column: (column.marked - column.count, column.at_minimum))
        for column in same:
            if column is not best:
                left_out[column.column] = f"{element} is taken from {best.column}"
    return left_out


def _choose_style(columns: Sequence[ElementColumn]) -> str:
    """The mark that a survey uses on purpose outranks the one that may be chance."""
    if any(column.flagged for column in columns):
        return "flag"
    if any(column.below for column in columns):
        return "text"
    if any(column.negative for column in columns):
        return "negative"
    return "zero" if any(column.zero for column in columns) else "none"


def _unreadable(column: ElementColumn, style: str) -> str:
    if column.other_text:
        return f"holds the text {column.other_text[0]!r} among its numbers"
    if column.below and style != "text":
        return f"marks values below detection as '<…', the others by {style}"
    if column.negative and style != "negative":
        return "holds negative numbers"
    if np.isnan(column.maximum):
        return "has no measured value"
    if column.count > 1 and column.at_minimum == column.count:
        return f"holds one value only, {column.maximum:g}"
    return ""


def _choose_units(columns: Sequence[ElementColumn]) -> str | dict[str, str]:
    unsaid = {column.column: _guess_unit(column) for column in columns if column.unit is None}
    if not unsaid:
        return "auto"
    if len(unsaid) == len(columns) and len(set(unsaid.values())) == 1:
        return next(iter(unsaid.values()))
    return unsaid


def _guess_unit(column: ElementColumn) -> str:
    is_oxide = any(character.isdigit() for character in column.element) or column.element in {
        "CaO",
        "MgO",
        "MnO",
        "FeO",
    }
    if (is_oxide and column.maximum <= 100) or (
        column.element in _MAJOR and column.median < _MOST_PERCENT_OF_MAJOR
    ):
        return "pct"
    return "ppb" if column.element == "Au" and column.median > _LEAST_GOLD_IN_PPB else "ppm"


def _describe_marks(columns: Sequence[ElementColumn], rows: int, style: str) -> list[str]:
    """What was found, mark by mark, with the columns most concerned."""
    marks = {
        "texts such as '<0.5'": {c.column: c.below for c in columns},
        "marks '<' in a column beside": {c.column: c.flagged for c in columns},
        "negative numbers": {c.column: c.negative for c in columns},
        "zeros without a mark": {c.column: c.zero for c in columns},
    }
    found = [_listing(mark, counts, rows) for mark, counts in marks.items() if any(counts.values())]
    for value in sorted({value for column in columns for value in column.sentinels}):
        names = [column.column for column in columns if value in column.sentinels]
        found.append(f"{value:g} in {len(names)} column(s), e.g. {names[0]}: taken as not analysed")
    if style != "zero" and any(column.zero for column in columns):
        found.append("zeros cannot be concentrations and are taken as not analysed")
    repeated = {
        c.column: c.at_minimum
        for c in columns
        if c.at_minimum >= max(10, _SUSPICIOUS_SHARE * c.count) and not c.marked
    }
    if repeated:
        found.append(
            _listing("values that equal the column's smallest", repeated, rows)
            + "; perhaps values below detection that were replaced before"
        )
    return found or ["no mark of a value below detection was found"]


def _listing(mark: str, counts: dict[str, int], rows: int) -> str:
    """``zeros: 2 columns, most in Zr (15 % of rows), Th (1 %)``."""
    ranked = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
    most = ", ".join(f"{name} ({_percent(counts[name] / rows)} of rows)" for name in ranked[:4])
    more = ", …" if len(ranked) > 4 else ""
    return f"{mark}: {len(ranked)} column{'s' * (len(ranked) != 1)}, most in {most}{more}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"


def oxide_range(facts: FileFacts) -> str:
    """The largest value of the commonest major column, which tells ppm from per cent."""
    for column in facts.elements:
        if column.element in {"SiO2", "Al2O3", "Fe2O3", "CaO", *_MAJOR} and np.isfinite(
            column.maximum
        ):
            return f"{column.column} reaches {column.maximum:,.6g}"
    return ""
