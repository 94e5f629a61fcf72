"""The chapters on kinds of ground: regions of the area, and ground like the known deposits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import geopandas as gpd
import pandas as pd

from gossan.report.inputs import AnaloguesShown, RegionsShown, SearchShown
from gossan.report.page import inlined_png, picture
from gossan.report.regions import MAP_WIDTH, choice_figure, profile_figure, region_map
from gossan.report.tables import Column, Table, frame_table
from gossan.report.theme import as_png, as_svg
from gossan.report.words import percent, percent_range

_CLUSTERINGS = {
    "k-means": "k-means",
    "gaussian-mixture": "a Gaussian mixture",
    "hierarchical": "Ward's hierarchy",
}
_LOOKS = {"evidence": "their evidence", "embedding": "what the pretrained network sees"}
_ENRICHED = 0.05
_DEPOSITS_OPEN = 40
_AREAS_LISTED = 10


def regions_chapter(shown: RegionsShown, deposits: gpd.GeoDataFrame) -> dict[str, Any]:
    """What the template of the report fills the chapter on regions with."""
    choice = None
    if len(shown.choice) > 1:
        choice = picture(
            as_svg,
            choice_figure(shown.choice, len(shown.table)),
            "Stability and silhouette by the number of regions",
            "How many regions there are: how far halves of the area agree on them, and how clearly "
            "cells belong to their own. The grey bar marks the number taken.",
        )
    return {
        "told": _how_divided(shown),
        "enriched": _enriched(shown.table),
        "map": picture(
            as_png,
            region_map(shown.labels, shown.table, deposits),
            "Map of the regions with known deposits",
            "Regions of like ground. No deposit had a part in them.",
        ),
        "table": region_rows(shown.table),
        "profiles": picture(
            as_svg,
            profile_figure(shown.profiles),
            "What each region stands out by",
            "Medians of each region less those of the area, in robust standard deviations; the "
            "layers by which regions differ most.",
        ),
        "choice": choice,
    }


def region_rows(table: pd.DataFrame) -> Table:
    """Lay out the regions, with their deposits beside chance where there are any.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "region": [1, 2], "name": ["ordinary ground", "high Sn"], "share": [0.9, 0.1],
    ...     "area_km2": [90.0, 10.0], "deposits": [1, 4], "expected": [4.5, 0.5],
    ...     "p": [1.0, 0.0003], "p_adjusted": [1.0, 0.0005]})
    >>> [cell.text for cell in region_rows(table).rows[1]]
    ['2', 'high Sn', '10 %', '10', '4', '0.5', '0.0005']
    """
    columns = {
        "region": Column("region", "whole"),
        "name": Column("stands out by", "name"),
        "share": Column("of the area", "share", bar=True),
        "area_km2": Column("km²", "number"),
    }
    if table["deposits"].sum():
        columns |= {
            "deposits": Column("deposits", "whole"),
            "expected": Column("by chance", "number", digits=1),
            "p_adjusted": Column("p, adjusted", "number"),
        }
    return frame_table(table, columns)


def _how_divided(shown: RegionsShown) -> str:
    count = len(shown.table)
    told = (
        f"The cells of the area fall into {count} regions by {_LOOKS[shown.by]} alone, through "
        f"{_CLUSTERINGS[shown.method]}."
    )
    asked = len(shown.choice) == 1
    if asked:
        told += " Their number was asked for."
    taken = shown.choice[shown.choice["chosen"]].iloc[0]
    agreed = f"an adjusted Rand index of {taken['stability']:.2f}, 1 being the very same"
    if shown.stable:
        most = ""
        if not asked and taken["regions"] == shown.choice["regions"].max():
            most = " It is the greatest number tried: `gossan regions --count` takes a greater."
        return (
            f"{told} Halves of the area, divided each for itself, agree on them with {agreed}."
            f"{most}"
        )
    return (
        f"{told} But your data cannot say where one ends: halves of the area, divided each for "
        f"itself, agree on {'this one' if asked else 'no number of regions; on this one'} with "
        f"{'no more than ' if asked else ''}{agreed}. Take no border for real."
    )


def _enriched(table: pd.DataFrame) -> str | None:
    """Say which regions hold more deposits than chance would put there; None without deposits."""
    if not table["deposits"].sum():
        return None
    clear = table[table["p_adjusted"] < _ENRICHED]
    if not len(clear):
        return "No region holds clearly more known deposits than chance would put there."
    told = [
        f"region {row['region']} ({row['name']}) holds {row['deposits']} where chance would put "
        f"{row['expected']:.1f}"
        for row in clear.sort_values("p_adjusted", kind="stable").to_dict("records")
    ]
    text = "; ".join(told)
    return (
        f"{text[0].upper()}{text[1:]}. Deposits of one cluster do not come about independently, "
        "so this is a hint and no proof."
    )


def analogues_chapter(shown: AnaloguesShown) -> dict[str, Any]:
    """What the template of the report fills the chapter on analogues with.

    Likeness is judged as any method is: by where held-out deposits rank.
    """
    return {
        "told": _how_alike(shown),
        "deposits": _deposit_rows(shown.deposits) if shown.deposits else None,
        "deposits_open": len(shown.deposits) <= _DEPOSITS_OPEN,
        "searches": [_search(search) for search in shown.searches],
    }


def _how_alike(shown: AnaloguesShown) -> str:
    held_out = shown.held_out
    if held_out is None:
        return f"How well likeness finds deposits could not be measured: {shown.reason}"
    low, high = held_out["ci95"]["auc_background"]
    captured = held_out["capture"]["0.05"]
    told = (
        "Ground that is like the deposits of the other folds outscores "
        f"{percent(held_out['auc_background'])} of the background where a held-out deposit lies "
        f"(95 % interval {percent_range((low, high))}), and the best 5 % of the area by likeness "
        f"alone holds {percent(captured)} of them."
    )
    if low > 0.5:
        top = held_out["ci95"].get("capture", {}).get("0.05", (1.0, 1.0))[0]
        doubt = (
            " In the best 5 % that may be chance: its interval does not rule out the 5 % of a map "
            "drawn at random."
            if top <= 0.05
            else ""
        )
        return (
            f"{told} On the whole the known deposits are of a kind; the table tells which stand "
            f"alone.{doubt}"
        )
    if high < 0.5:
        return f"{told} The known deposits are unlike one another: several kinds may be mixed."
    return (
        f"{told} Your data cannot say whether the known deposits are of a kind: the interval "
        "includes the 50 % of chance."
    )


def _deposit_rows(deposits: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out the deposits, the ones that stand alone first."""
    columns = {
        "name": Column("deposit", "name"),
        "rank": Column("background less like the others", "share", bar=True),
        "alike": Column("whose cell is most like its own, of another fold", "name"),
        "likeness": Column("likeness", "number", digits=2),
    }
    table = pd.DataFrame(deposits).sort_values("rank", kind="stable")
    return frame_table(table, columns)


def _search(search: SearchShown) -> dict[str, Any]:
    areas = search.areas
    columns = {
        "rank": Column("rank", "whole"),
        "easting": Column("easting", "coordinate"),
        "northing": Column("northing", "coordinate"),
        "similarity": Column("likeness", "number", bar=True, digits=2),
        "area_km2": Column("area, km²", "number"),
        "nearest_deposit": Column("nearest known deposit", "name"),
        "distance_m": Column("at a distance of", "distance"),
        "alike": Column("what makes them alike", "list"),
    }
    known = areas["distance_m"].notna().any() if len(areas) else False
    if not known:
        columns = {k: v for k, v in columns.items() if k not in ("nearest_deposit", "distance_m")}
    by = "" if search.by == "evidence" else f", by {_LOOKS[search.by]}"
    return {
        "title": f"Ground like {search.query}{by}",
        "map": inlined_png(
            search.map,
            f"Map of likeness to {search.query}",
            f"Likeness to {search.query}{by}, as share of the area: the darkest ground is the most "
            "alike 1 %. Numbers are the ranks of the areas below.",
            width=MAP_WIDTH,
        ),
        "table": frame_table(areas.head(_AREAS_LISTED), columns) if len(areas) else None,
    }
