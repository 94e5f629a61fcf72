"""The comparison of workflows as one self-contained HTML page: which is best, and is it truly?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.colors import to_hex

from gossan.report import figures, maps, tables
from gossan.report.inputs import OwnLeftOut
from gossan.report.page import Picture, picture, render_page
from gossan.report.tables import Column, Table
from gossan.report.theme import INK, SCORE_COLOURS, as_png, as_svg, contrast
from gossan.report.words import percent

_DRAWN_WORKFLOWS = 20
_IN_REPORT = 8
_AREAS = ("0.01", "0.02", "0.05", "0.10")
_BOUNDED = ("difference_auc", "difference_capture_0.05", *(f"capture_{area}" for area in _AREAS))
_NEEDED = (
    *("workflow", "method", "negatives", "draws", "role"),
    *("auc_background", "auc_low", "auc_high", "normalised_density", "selectivity", "seconds"),
    *(f"{name}{end}" for name in _BOUNDED for end in ("", "_low", "_high")),
)
_TABLE_COLUMNS = {
    "place": Column("", "whole"),
    "workflow": Column("workflow", "name"),
    "role": Column("role"),
    "draws": Column("draws", "whole"),
    "auc": Column("AUC", "number"),
    "difference_auc": Column("AUC less the reference's", "number"),
    **{f"capture_{area}": Column(f"top {100 * float(area):g} %", "number") for area in _AREAS},
    "difference_capture_0.05": Column("top 5 % less the reference's", "number"),
    "normalised_density": Column("normalised density", "number"),
    "selectivity": Column("selectivity", "share"),
    "seconds": Column("seconds", "number"),
}
_HEATED: dict[str, tuple[str, str, Any]] = {
    "auc_background": (
        "AUC against the whole background",
        "difference_auc",
        lambda value: f"{value:.2f}",
    ),
    "capture_0.05": (
        "Held-out deposits in the top 5 % of the area",
        "difference_capture_0.05",
        percent,
    ),
}


@dataclass(frozen=True)
class ComparisonInputs:
    """Everything a comparison of workflows shows.

    Parameters
    ----------
    study_name : str
    table : pandas.DataFrame
        One row a workflow, the best first. ``workflow`` (its name), ``method``, ``negatives``,
        ``draws``; ``role``: "workflow", "control" or "consensus"; ``auc_background``,
        ``auc_low``, ``auc_high``; ``capture_0.01``, ``capture_0.02``, ``capture_0.05`` and
        ``capture_0.10``, each also with ``_low`` and ``_high``; ``normalised_density``;
        ``selectivity``, the share of the area that the map itself does not call prospective;
        ``difference_auc`` and ``difference_capture_0.05``, paired with the reference, with
        ``_low`` and ``_high``, NaN for the reference itself; ``seconds``. Intervals are 95 %
        deposit-cluster bootstrap intervals.
    reference : str
        The workflow that the differences are taken against.
    deposits : geopandas.GeoDataFrame
        Known deposits in the maps' CRS.
    facts : mapping of str to str
        Deposits, cells, folds, seed and the like, in the reader's words.
    consensus : xarray.DataArray, optional
        ``(y, x)`` mean percentile rank over the workflows, in [0, 1], with a CRS.
    agreement : xarray.DataArray, optional
        ``(y, x)`` share of the workflows in whose top 5 % a cell lies, with a CRS.
    failed : sequence of (str, str)
        Workflows that could not be run, and why: shown, never dropped.
    own_left_out : OwnLeftOut, optional
        Where the study's own method is not among the workflows.
    """

    study_name: str
    table: pd.DataFrame
    reference: str
    deposits: gpd.GeoDataFrame
    facts: Mapping[str, str] = field(default_factory=dict)
    consensus: xr.DataArray | None = None
    agreement: xr.DataArray | None = None
    failed: Sequence[tuple[str, str]] = ()
    own_left_out: OwnLeftOut | None = None


class HeatCell(NamedTuple):
    """One figure of a heat map: its text, its colours, and how it stands to the reference."""

    text: str
    ground: str
    ink: str
    mark: str
    """▲ or ▼ where the paired difference is clear of zero, ● the reference, else nothing."""


class HeatMap(NamedTuple):
    """Methods down, negatives across."""

    title: str
    heads: list[str]
    rows: list[tuple[str, list[HeatCell | None]]]


def render_comparison(inputs: ComparisonInputs) -> str:
    """Render a comparison of workflows as one HTML document, which asks nothing of the network.

    Parameters
    ----------
    inputs : ComparisonInputs

    Returns
    -------
    str
        A complete HTML 5 document, UTF-8; the same inputs give the same bytes.

    Raises
    ------
    ValueError
        If the table lacks a column, holds no workflow, or has no row of the reference.
    """
    _check(inputs)
    sections = [
        ("heat", "Methods and negatives", _heat_maps(inputs)),
        ("order", "How sure is the order?", _order_section(inputs)),
        ("maps", "Where the workflows agree", _consensus_section(inputs)),
        ("table", "Every workflow", workflow_table(inputs.table, inputs.reference)),
        ("failed", "What could not be run", list(inputs.failed)),
    ]
    return render_page(
        "comparison.html.j2",
        inputs=inputs,
        verdict=comparison_words(inputs.table, inputs.reference),
        sections=[(key, title, content) for key, title, content in sections if content],
    )


def comparison_chapter(table: pd.DataFrame, reference: str) -> dict[str, Any]:
    """What the template of the report fills its chapter on other methods with.

    Parameters
    ----------
    table : pandas.DataFrame
        As :class:`ComparisonInputs` holds it.
    reference : str
    """
    best = table[table["role"] == "workflow"].head(_IN_REPORT)["workflow"]
    shown = table[table["workflow"].isin({*best, reference})]
    return {
        "verdict": comparison_words(table, reference),
        "chart": _workflow_chart(shown, reference),
        "left_out": len(table) - len(shown),
    }


def comparison_words(table: pd.DataFrame, reference: str) -> list[str]:
    """Say in sentences how many workflows cannot be told from the best, and from the reference.

    Two workflows cannot be told apart where the 95 % interval of their paired difference holds
    zero. The differences are paired with the reference; unless that is the best row too, another
    workflow is told from the best by its own interval, which ignores the pairing and is wider.

    Examples
    --------
    >>> nan = float("nan")
    >>> table = pd.DataFrame({
    ...     "workflow": ["a", "b", "c"], "role": "workflow", "auc_background": [0.9, 0.88, 0.6],
    ...     "auc_low": [0.8, 0.8, 0.5], "auc_high": [0.95, 0.93, 0.7],
    ...     "difference_auc": [nan, -0.02, -0.3],
    ...     "difference_auc_low": [nan, -0.1, -0.4], "difference_auc_high": [nan, 0.05, -0.2],
    ...     "difference_capture_0.05_low": [nan, -0.2, -0.5],
    ...     "difference_capture_0.05_high": [nan, 0.2, 0.0]})
    >>> for sentence in comparison_words(table, "a"):
    ...     print(sentence)
    Of 3 workflows, a leads, with an AUC of 0.90; it is also the reference.
    By AUC, 1 of the 2 others is worse than it and 1 cannot be told from it.
    By the held-out deposits in the best 5 % of the area, neither of the 2 others can be told from
    it.
    Cannot be told means that the 95 % interval of the paired difference holds 0.
    """
    workflows = table[table["role"] == "workflow"]
    best, rivals = workflows.iloc[0], workflows.iloc[1:]
    lead = f"{best['workflow']} leads, with an AUC of {best['auc_background']:.2f}"
    if not len(rivals):
        sentences = [f"A single workflow was run: {lead}."]
    elif best["workflow"] == reference:
        sentences = [f"Of {len(workflows)} workflows, {lead}; it is also the reference."]
    else:
        sentences = [f"Of {len(workflows)} workflows, {lead}."]
        if len(rivals) > 1:
            near = int((rivals["auc_high"] >= best["auc_background"]).sum())
            sentences.append(_within_reach(near, len(rivals)))
        sentences.append(f"The reference is {reference}.")
    if len(rivals):
        sentences += _told(workflows[workflows["workflow"] != reference])
    controls = table[table["role"] == "control"]
    if len(controls):
        control = controls.sort_values("auc_background", ascending=False, kind="stable").iloc[0]
        sentences.append(
            f"The best control, {control['workflow']}, reaches an AUC of "
            f"{control['auc_background']:.2f}: only what recursive negatives have over that is "
            "owed to their rounds."
        )
    return sentences


def workflow_table(table: pd.DataFrame, reference: str) -> Table:
    """Lay out every row of the comparison, each figure with its interval."""
    frame = table.reset_index(drop=True).assign(place=np.arange(1, len(table) + 1))
    frame["role"] = frame["role"].where(frame["workflow"] != reference, "reference")
    frame["auc"] = _bounded(table, "auc_background", "auc", scale=1, form="{:.2f}")
    for name in (f"capture_{area}" for area in _AREAS):
        frame[name] = _bounded(table, name, name, scale=100, form="{:.0f}")
    for name, scale, form in (
        ("difference_auc", 1, "{:+.2f}"),
        ("difference_capture_0.05", 100, "{:+.0f}"),
    ):
        frame[name] = _bounded(table, name, name, scale=scale, form=form)
    return tables.frame_table(frame, _TABLE_COLUMNS)


def heat_map(table: pd.DataFrame, reference: str, column: str) -> HeatMap:
    """Arrange a figure of the workflows by method and negatives, each in the order of the table.

    Parameters
    ----------
    table : pandas.DataFrame
    reference : str
    column : {"auc_background", "capture_0.05"}
    """
    title, difference, write = _HEATED[column]
    workflows = table[table["role"] == "workflow"].reset_index(drop=True)
    heads = _heads(workflows)
    marks = _marks(workflows, reference, difference)
    known = workflows[column].to_numpy(dtype=float)
    known = known[np.isfinite(known)]
    span = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    cells: dict[tuple[str, str], HeatCell] = {}
    for row, head, mark in zip(workflows.to_dict("records"), heads, marks, strict=True):
        cells.setdefault((row["method"], head), _heat_cell(row[column], write, span, mark))
    across, down = (list(dict.fromkeys(names)) for names in (heads, workflows["method"]))
    rows = [(method, [cells.get((method, head)) for head in across]) for method in down]
    return HeatMap(title, across, rows)


def _check(inputs: ComparisonInputs) -> None:
    missing = [name for name in _NEEDED if name not in inputs.table.columns]
    if missing:
        raise ValueError(f"The table of workflows lacks the columns {', '.join(missing)}.")
    workflows = inputs.table.loc[inputs.table["role"] == "workflow", "workflow"]
    if inputs.reference not in set(workflows):
        raise ValueError(
            f"The reference {inputs.reference!r} is no workflow of the table, which holds "
            f"{', '.join(map(str, workflows)) or 'none'}."
        )


def _standing(rows: pd.DataFrame, difference: str = "difference_auc") -> list[int]:
    """1 where the paired difference lies above zero, −1 below, 0 where it holds zero or is not."""
    return [
        int(low > 0) - int(high < 0)  # a comparison with NaN is false
        for low, high in _bounds(rows, difference)
    ]


def _marks(rows: pd.DataFrame, reference: str, difference: str) -> list[str]:
    signs = {1: "▲", -1: "▼", 0: ""}
    return [
        "●" if name == reference else signs[standing]
        for name, standing in zip(rows["workflow"], _standing(rows, difference), strict=True)
    ]


def _within_reach(near: int, rivals: int) -> str:
    """Say how many of the workflows behind the best may be as good, each by its own interval."""
    if near == 0:
        return "No other workflow's own 95 % interval reaches that AUC."
    said = (
        "The own 95 % interval of 1 {} reaches that AUC, so it may be as good."
        if near == 1
        else f"The own 95 % intervals of {near} {{}} reach that AUC, so they may be as good."
    )
    return said.format(f"of the {rivals} others") + (
        " This ignores that all were tried on the same deposits, and so counts generously."
    )


def _told(rows: pd.DataFrame) -> list[str]:
    """Say how many of some workflows can be told from the reference."""
    auc, capture = (_standing(rows, f"difference_{name}") for name in ("auc", "capture_0.05"))
    by_auc, by_capture = (_counted(standing, rows["workflow"]) for standing in (auc, capture))
    deposits = "by the held-out deposits in the best 5 % of the area"
    said = (
        [f"Both by AUC and {deposits}, {by_auc}."]
        if by_auc == by_capture
        else [f"By AUC, {by_auc}.", f"{deposits.capitalize()}, {by_capture}."]
    )
    if 0 in (*auc, *capture):
        said.append("Cannot be told means that the 95 % interval of the paired difference holds 0.")
    return said


def _counted(standing: Sequence[int], names: Iterable[str]) -> str:
    """Workflows counted by how they stand to the reference, as a clause."""
    number = len(standing)
    if number == 1:
        (name,) = names
        return f"{name} {_IS[standing[0]]} it"
    if set(standing) == {0}:
        return f"{'neither' if number == 2 else 'none'} of the {number} others can be told from it"
    if len(set(standing)) == 1:
        return f"{'both' if number == 2 else 'all'} others are {_IS[standing[0]][3:]} it"
    counts = [(standing.count(sign), _IS[sign]) for sign in _IS if sign in standing]
    (first, is_so), *rest = counts
    said = [f"{first} of the {number} others {_agreeing(first, is_so)} it"]
    said += [f"{count} {_agreeing(count, is_so)} it" for count, is_so in rest]
    return f"{', '.join(said[:-1])} and {said[-1]}"


_IS = {1: "is better than", -1: "is worse than", 0: "cannot be told from"}


def _agreeing(count: int, is_so: str) -> str:
    return is_so if count == 1 else is_so.replace("is ", "are ", 1)


def _bounds(table: pd.DataFrame, name: str) -> list[tuple[float, float]]:
    lows, highs = (table[f"{name}_{end}"].astype(float) for end in ("low", "high"))
    return list(zip(lows, highs, strict=True))


def _bounded(table: pd.DataFrame, name: str, bounds: str, *, scale: float, form: str) -> list[str]:
    """Figures with their intervals, such as ``0.91 (0.83–0.97)``, shares in per cent."""
    unit = " %" if scale == 100 else ""
    between = " … " if "+" in form else "–"
    texts = []
    for value, (low, high) in zip(table[name].astype(float), _bounds(table, bounds), strict=True):
        text = "–" if math.isnan(value) else form.format(scale * value) + unit
        if not math.isnan(low + high):
            text += f" ({between.join(form.format(scale * end) for end in (low, high))})"
        texts.append(text.replace("-", "−"))
    return texts


def _heads(workflows: pd.DataFrame) -> list[str]:
    """Column of each workflow: its negatives, with the draws where those alone tell two apart."""
    if not workflows.duplicated(["method", "negatives"]).any():
        return [str(negatives) for negatives in workflows["negatives"]]
    return [
        f"{negatives}, {draws} draw{'' if draws == 1 else 's'}"
        for negatives, draws in zip(workflows["negatives"], workflows["draws"], strict=True)
    ]


def _heat_cell(value: float, write: Any, span: tuple[float, float], mark: str) -> HeatCell:
    if math.isnan(value):
        return HeatCell("–", "#ffffff", INK, mark)
    low, high = span
    ground = to_hex(SCORE_COLOURS(0.05 + 0.7 * (value - low) / ((high - low) or 1.0)))
    inks = sorted((INK, "#ffffff"), key=lambda ink: contrast(ink, ground))
    return HeatCell(write(value), ground, inks[-1], mark)


def _heat_maps(inputs: ComparisonInputs) -> list[HeatMap]:
    return [heat_map(inputs.table, inputs.reference, column) for column in _HEATED]


def _order_section(inputs: ComparisonInputs) -> dict[str, Any]:
    table = inputs.table
    is_workflow = table["role"] == "workflow"
    shown = table[
        ~is_workflow
        | (is_workflow.cumsum() <= _DRAWN_WORKFLOWS)
        | (table["workflow"] == inputs.reference)
    ]
    left_out = len(table) - len(shown)
    rows = "1 further row is" if left_out == 1 else f"{left_out} further rows are"
    rest = f" {rows} in the table below." if left_out else ""
    return {"chart": _workflow_chart(shown, inputs.reference, rest)}


def _workflow_chart(shown: pd.DataFrame, reference: str, rest: str = "") -> Picture:
    return picture(
        as_svg,
        figures.workflow_plot(shown, reference=reference),
        "AUC and held-out deposits in the best 5 % of the area, by workflow",
        "Figures on held-out deposits with 95 % deposit-cluster bootstrap intervals. All rows "
        "share the same deposits, so overlapping intervals do not show that two rows are alike: "
        f"paired differences do.{rest}",
    )


def _consensus_section(inputs: ComparisonInputs) -> list[Picture]:
    pictures = []
    if inputs.consensus is not None and _has_ground(inputs.consensus):
        pictures.append(
            picture(
                as_png,
                maps.consensus_map(inputs.consensus, inputs.deposits),
                "Consensus map with known deposits",
                "Consensus: the mean, over the workflows, of each cell's percentile rank. The "
                "workflows saw all deposits here, so known deposits rank high by construction.",
            )
        )
    if inputs.agreement is not None and _has_ground(inputs.agreement):
        pictures.append(
            picture(
                as_png,
                maps.agreement_map(inputs.agreement, inputs.deposits),
                "Map of the agreement between workflows",
                "Agreement: the share of workflows in whose top 5 % a cell lies. Ground that "
                "nearly all choose does not hang on the choice of a method; what all of them get "
                "wrong together they agree on too.",
            )
        )
    return pictures


def _has_ground(array: xr.DataArray) -> bool:
    return bool(np.isfinite(np.asarray(array)).any())
