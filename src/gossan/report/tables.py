"""Tables of the report: columns in the reader's words, cells as text with bars where they help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd

from gossan.report.maps import OUTCOMES, outcomes
from gossan.report.words import coordinate, count, percent, percent_range

Kind = Literal["text", "name", "list", "number", "share", "distance", "whole", "coordinate"]


class Cell(NamedTuple):
    """One cell: its text, and the length of its bar as a share of the column, if it has one."""

    text: str
    bar: float | None = None


class Column(NamedTuple):
    """A column's heading and what it holds."""

    title: str
    kind: Kind = "text"
    bar: bool = False
    digits: int | None = None
    """Decimals of a number; three significant digits if not said."""
    bar_from: float = 0.0
    """The value whose bar is empty; a full bar is the column's highest value, or a share of 1."""


class Table(NamedTuple):
    """Headings and rows, ready to be laid out."""

    columns: list[Column]
    rows: list[list[Cell]]


_DRIVERS_SHOWN = 3
_LAYER_COLUMNS = {
    "layer": Column("layer", "name"),
    "source": Column("source", "name"),
    "coverage": Column("coverage", "share"),
    "resolution": Column("native resolution", "distance"),
    "cluster": Column("redundancy cluster", "whole"),
    "partner": Column("most like (ρ)", "name"),
    "nugget": Column("noise", "share"),
    "auc": Column("AUC, alone", "number", bar=True, digits=2, bar_from=0.5),
    "direction": Column("where"),
    "z": Column("Z", "number", digits=1),
}
_TARGET_COLUMNS = {
    "rank": Column("rank", "whole"),
    "easting": Column("easting", "coordinate"),
    "northing": Column("northing", "coordinate"),
    "group": Column("group", "name"),
    "score": Column("score", "number", bar=True, digits=3),
    "spread": Column("spread", "number", digits=3),
    "area_km2": Column("area, km²", "number"),
    "nearest_deposit": Column("nearest known deposit", "name"),
    "distance_m": Column("at a distance of", "distance"),
    "drivers": Column("what lifts it", "list"),
    "analogue": Column("known deposit most like it", "name"),
    "layers_observed": Column("layers known there", "whole"),
}


def frame_table(frame: pd.DataFrame, columns: Mapping[str, Column]) -> Table:
    """Lay out those ``columns`` of a frame that it has, in their order and words.

    Examples
    --------
    >>> table = frame_table(pd.DataFrame({"auc": [0.75]}), {"auc": Column("AUC", "number")})
    >>> table.rows[0][0].text
    '0.75'
    """
    names = [name for name in columns if name in frame.columns]
    cells = [_cells(frame[name].tolist(), columns[name]) for name in names]
    return Table([columns[name] for name in names], [list(row) for row in zip(*cells, strict=True)])


def layer_table(scores: pd.DataFrame) -> Table:
    """Lay out the layer scores of :func:`gossan.quality.score_layers`, the most telling first."""
    frame = _with_layer(scores)
    if "z" in frame.columns:
        frame = frame.sort_values("z", ascending=False, kind="stable")
    if {"partner", "partner_rho"} <= set(frame.columns):
        pairs = zip(frame["partner"], frame["partner_rho"], strict=True)
        like = [f"{name} ({number(rho, 2)})" if rho == rho else "–" for name, rho in pairs]
        frame = frame.assign(partner=like)
    return frame_table(frame, _LAYER_COLUMNS)


def target_table(targets: gpd.GeoDataFrame, letters: Sequence[str], *, limit: int) -> Table:
    """Lay out the first ``limit`` targets, each with its group's letter and name."""
    frame = pd.DataFrame(targets.drop(columns=targets.geometry.name)).head(limit)
    if letters:
        frame["group"] = [f"{letter}: {name}" for letter, name in zip(letters, frame["group"])]
    if "drivers" in frame:
        frame["drivers"] = [
            "; ".join(driver_texts(drivers)[:_DRIVERS_SHOWN]) for drivers in frame["drivers"]
        ]
    return frame_table(frame, _TARGET_COLUMNS)


def decision_table(targets: gpd.GeoDataFrame, n_layers: int | None, *, limit: int = 5) -> Table:
    """Lay out the first targets for whoever decides: where, how sure, why, what is not known.

    Parameters
    ----------
    targets : geopandas.GeoDataFrame
        As :class:`ReportInputs` holds them.
    n_layers : int or None
        Layers of the evidence; None where that is not told.
    limit : int, default 5

    Examples
    --------
    >>> targets = gpd.GeoDataFrame({
    ...     "rank": [1], "easting": [512300.0], "northing": [4120750.0], "score": [0.91],
    ...     "spread": [0.04], "drivers": ["Sn (+0.21, 98th percentile); K (+0.1, missing)"],
    ...     "nearest_deposit": ["Old Mine"], "distance_m": [3100.0], "layers_observed": [38]})
    >>> [cell.text for cell in decision_table(targets, 42).rows[0]]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['1', '512300 E, 4120750 N', '0.91 ± 0.04', 'Sn; K', '3.1 km from Old Mine',
     '4 of 42 layers']
    """
    rows = []
    spreads = "spread" in targets and targets["spread"].notna().any()
    for target in targets.head(limit).to_dict("records"):
        spread = number(target.get("spread"), 2)
        sure = number(target["score"], 2) + (f" ± {spread}" if spread != "–" else "")
        drivers = [text.split(" (")[0] for text in driver_texts(target.get("drivers"))]
        nearest = target.get("nearest_deposit")
        away = f"{distance(target.get('distance_m', math.nan))} from {nearest}" if nearest else "–"
        observed = target.get("layers_observed")
        unknown = "–"
        if n_layers and observed is not None:
            missing = n_layers - int(observed)
            unknown = f"{missing} of {n_layers} layers" if missing else "no layer is missing"
        place = "–"
        if {"easting", "northing"} <= target.keys():
            place = f"{coordinate(target['easting'])} E, {coordinate(target['northing'])} N"
        told = [str(target["rank"]), place, sure, "; ".join(drivers[:_DRIVERS_SHOWN]) or "–"]
        rows.append([Cell(text) for text in (*told, away, unknown)])
    heads = [
        Column("target", "number"),
        Column("where its peak lies"),
        Column("score, ± spread" if spreads else "score", "number"),
        Column("lifted most by", "name"),
        Column("nearest known deposit", "name"),
        Column("not known there"),
    ]
    return Table(heads, rows)


def importance_table(importance: pd.DataFrame, *, limit: int) -> Table:
    """Lay out the most important layers as bars."""
    frame = _with_layer(importance).sort_values("importance", ascending=False, kind="stable")
    columns = {
        "layer": Column("layer", "name"),
        "importance": Column("importance", "number", bar=True, digits=3),
        "spread": Column("± over cells", "number", digits=3),
    }
    return frame_table(frame.head(limit), columns)


def capture_table(evaluation: Mapping[str, Any]) -> Table:
    """Lay out capture at each headline area beside its interval, chance and lift."""
    held_out, n_deposits = evaluation["held_out"], int(evaluation["n_deposits"])
    intervals = held_out.get("ci95", {}).get("capture", {})
    rows = []
    for key, captured in held_out["capture"].items():
        area = float(key)
        rows.append(
            [
                Cell(f"top {100 * area:g} %"),
                Cell(f"{count(captured * n_deposits)} of {n_deposits}"),
                Cell(percent(captured), captured),
                Cell(percent_range(intervals[key]) if key in intervals else "–"),
                Cell(count(area * n_deposits)),
                Cell(f"× {captured / area:.2g}"),
            ]
        )
    columns = [
        Column("of the area"),
        Column("held-out deposits", "number"),
        Column("capture", "number", bar=True),
        Column("95 % interval", "number"),
        Column("by chance", "number"),
        Column("lift", "number"),
    ]
    return Table(columns, rows)


def deposit_table(deposits: gpd.GeoDataFrame) -> Table:
    """Lay out what became of each deposit when held out, the missed first."""
    kinds = outcomes(deposits["rank"])
    frame = pd.DataFrame(
        {
            "name": deposits["name"].astype(str),
            "fold": _fold_numbers(deposits),
            "rank": deposits["rank"].astype(float),
            "outcome": [OUTCOMES[kind] for kind in kinds],
        }
    ).sort_values("rank", kind="stable")
    columns = {
        "name": Column("deposit", "name"),
        "fold": Column("fold", "whole"),
        "rank": Column("background below it", "share", bar=True),
        "outcome": Column("outcome"),
    }
    return frame_table(frame, columns)


def truth_table(truth: pd.DataFrame) -> Table:
    """Lay out how many undiscovered deposits the best shares of the area hold."""
    truth = truth if "area" in truth.columns else truth.rename_axis("area").reset_index()
    pairs = zip(truth["undiscovered"], truth["n_undiscovered"], strict=True)
    frame = pd.DataFrame(
        {
            "area": [f"top {100 * area:g} %" for area in truth["area"]],
            "found": [f"{found} of {total}" for found, total in pairs],
            "share": truth["undiscovered"] / truth["n_undiscovered"],
            "expected": truth["expected"],
            "lift": [f"× {number(lift)}" for lift in truth["lift"]],
            "p_chance": truth["p_chance"],
        }
    )
    columns = {
        "area": Column("of the area"),
        "found": Column("undiscovered deposits", "number"),
        "share": Column("share", "share", bar=True),
        "expected": Column("by chance", "number", digits=1),
        "lift": Column("lift", "number"),
        "p_chance": Column("p of chance doing as well", "number"),
    }
    return frame_table(frame, columns)


def driver_texts(drivers: Any) -> list[str]:
    """Split what drives a target into one text a driver.

    Examples
    --------
    >>> driver_texts("Sn (+0.2); Li (+0.1)"), driver_texts([("Sn", 0.21), ("Li", -0.1)])
    (['Sn (+0.2)', 'Li (+0.1)'], ['Sn (+0.21)', 'Li (−0.1)'])
    """
    if isinstance(drivers, str):
        return [part.strip() for part in drivers.split(";") if part.strip()]
    if drivers is None or isinstance(drivers, float):
        return []
    return [f"{layer} ({contribution:+.2g})".replace("-", "−") for layer, contribution in drivers]


def number(value: Any, digits: int | None = None) -> str:
    """Write a number to three significant digits, or so many decimals, with a true minus.

    Examples
    --------
    >>> number(0.123456), number(-1234567.0), number(0.5, digits=2), number(float("nan"))
    ('0.123', '−1,234,567', '0.50', '–')
    """
    if isinstance(value, str):
        return value
    if value is None or not math.isfinite(value):
        return "–"
    if digits is None:
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    else:
        text = f"{value:,.{digits}f}"
    return text.replace("-", "−")


def distance(metres: float) -> str:
    """Write a distance in m or km.

    Examples
    --------
    >>> distance(850.0), distance(12345.0)
    ('850 m', '12.3 km')
    """
    if metres is None or not math.isfinite(metres):
        return "–"
    return f"{metres / 1000:.3g} km" if metres >= 1000 else f"{metres:.3g} m"


def _cells(values: list[Any], column: Column) -> list[Cell]:
    texts = [_text(value, column) for value in values]
    if not column.bar:
        return [Cell(text) for text in texts]
    numbers = np.array([math.nan if value is None else float(value) for value in values])
    highest = 1.0 if column.kind == "share" else np.nanmax(numbers, initial=column.bar_from)
    length = (numbers - column.bar_from) / ((highest - column.bar_from) or 1.0)
    return [
        Cell(text, None if math.isnan(part) else min(1.0, max(0.0, part)))
        for text, part in zip(texts, length.tolist(), strict=True)
    ]


def _text(value: Any, column: Column) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    match column.kind:
        case "whole":
            return f"{int(value)}"
        case "share":
            return percent(float(value))
        case "distance":
            return distance(float(value))
        case "coordinate":
            return coordinate(float(value))
        case "number":
            return number(value, column.digits)
        case _:
            return str(value)


def _with_layer(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring the layer's name from the index to a column."""
    return frame if "layer" in frame.columns else frame.rename_axis("layer").reset_index()


def _fold_numbers(deposits: gpd.GeoDataFrame) -> list[Any]:
    """Folds counted from 1, as on the strip of ranks."""
    known = sorted(deposits["fold"].dropna().unique())
    return [
        known.index(fold) + 1 if fold in known and not math.isnan(rank) else None
        for fold, rank in zip(deposits["fold"], deposits["rank"], strict=True)
    ]
