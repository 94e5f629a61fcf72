"""docs/tables/which_method.md: what the measured comparison says for each kind of data.

Every count, rank and difference is read from docs/tables/results.csv, which ``results.py`` writes,
and from the tables of two benchmarks; nothing is trained here.

    python examples/which_method.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from measured import PAIRS

from gossan import io
from gossan.methods import DEFAULT_METHOD

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "docs" / "tables"
HUNDREDS = 100
"""Deposits from which on a survey has hundreds; those that have, have geology alone."""
BESIDE = ", beside the default"
NAMED = 3
"""Methods that are named where the best are."""


def mean_ranks(table: pd.DataFrame, figure: str) -> pd.Series:
    """Mean over areas of each method's rank among those measured there, best first."""
    ranks = table.groupby("area")[figure].rank(ascending=False)
    found = ranks.groupby(table["method"], sort=False).mean()
    return found.sort_values(kind="stable")


def with_mean_district(table: pd.DataFrame) -> pd.DataFrame:
    """Area, method and AUC, the districts as one area: their mean, where all are measured."""
    own = table[table["kind"] == "district"]
    each = own.groupby("method", sort=False)["auc"].agg(["mean", "size"])
    mean = each.loc[each["size"] == own["area"].nunique(), "mean"].rename("auc").reset_index()
    surveys = table.loc[table["kind"] == "survey", ["area", "method", "auc"]]
    return pd.concat([surveys, mean.assign(area="districts")], ignore_index=True)


def situation_rows(table: pd.DataFrame) -> list[list[str]]:
    """What the data are like, what to take, and what was measured."""
    tens = table[table["n_deposits"] < HUNDREDS]
    hundreds = table[table["n_deposits"] >= HUNDREDS]
    geochemistry = tens[tens["kind"] == "survey"]
    rows = [
        [
            "no known deposit",
            "`gossan regions`; `gossan analogues` from a place or a polygon",
            "Nothing: without deposits no skill can be measured. What is merely unusual, "
            "`isolation-forest`, which no deposit teaches, says how far that alone leads: "
            + above_chance(table, "isolation-forest"),
        ],
        [
            "one deposit, or a handful",
            "`gossan analogues --like`; the method `analogues`",
            against_default(table, "analogues"),
        ],
    ]
    for situation, own in (
        ("tens of deposits ({})", tens),
        ("of these, geochemistry ({})", geochemistry),
        ("hundreds of deposits, and geology mapped ({})", hundreds),
    ):
        rows.append([situation.format(_counted(own)), "one of the best", best(own)])
    rows += [
        [situation, f"`{method}`{beside}", against_default(own, method)]
        for situation, method, beside, own in (
            ("every step must be explained", "weights-of-evidence", "", table),
            ("one coefficient a layer, nothing to tune", "logistic-regression", "", table),
            ("many deposits may be undiscovered", "bagging-pu", "", table),
            ("one backbone is to serve several areas", "masked-pretraining-forest", "", table),
            ("ore stands out from its surroundings", "pixel-pairs", BESIDE, table),
            ("another, explored area has the same layers", "selective-transfer", BESIDE, tens),
        )
    ]
    rows[-1][-1] += parts_of_transfer()
    rows.append(
        ["layers or values are missing", "a forest, such as `extra-trees`", on_thin_evidence()]
    )
    return rows


def best(table: pd.DataFrame) -> str:
    """The methods of the best mean rank, and how many can be told from the default."""
    order = mean_ranks(table, "auc")
    named = [f"`{method}` ({rank:.1f})" for method, rank in order.head(NAMED).items()]
    others = table.dropna(subset="difference_auc")
    above, below = told_apart(others)
    return (
        f"Best mean ranks of {len(order)} methods: {', '.join(named)}; `{DEFAULT_METHOD}` "
        f"{order[DEFAULT_METHOD]:.1f}. Of {len(others)} differences from `{DEFAULT_METHOD}`, "
        f"{len(above)} are told apart above it and {len(below)} below."
    )


def against_default(table: pd.DataFrame, method: str) -> str:
    """On how many areas a method ranks deposits better than the default, and by how much."""
    own = table[(table["method"] == method)].dropna(subset="difference_auc")
    if not len(own):
        return "Not measured yet."
    above, below = told_apart(own)
    higher = int((own["difference_auc"] > 0).sum())
    return (
        f"AUC above that of `{DEFAULT_METHOD}` on {higher} of {len(own)} areas, told apart on "
        f"{_areas_of(above)}; below on {len(own) - higher}, told apart on {_areas_of(below)}. "
        f"Mean difference {own['difference_auc'].mean():+.3f}."
    )


def told_apart(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows whose interval of the difference lies above 0, and those where it lies below."""
    return rows[rows["difference_auc_low"] > 0], rows[rows["difference_auc_high"] < 0]


def above_chance(table: pd.DataFrame, method: str) -> str:
    """On how many areas the interval of a method's AUC lies above one half."""
    own = table[table["method"] == method]
    if not len(own):
        return "Not measured yet."
    sure = own[own["auc_low"] > 0.5]
    return (
        f"Told from chance on {len(sure)} of {len(own)} areas; AUC {own['auc'].min():.2f} to "
        f"{own['auc'].max():.2f}."
    )


def on_thin_evidence() -> str:
    """AUC of a few methods on full evidence and on half of the layers, mean over areas."""
    thin = pd.read_csv(ROOT / "benchmarks" / "sparse_input.csv")
    means = thin.groupby(["method", "missing", "share"])["auc"].mean()
    methods = list(dict.fromkeys(thin["method"]))
    full = means.xs(0, level="share").groupby("method").mean()
    told = [f"{name} {full[name]:.2f} and {means[name, 'layers', 0.5]:.2f}" for name in methods]
    return (
        f"AUC on all layers and with half of them missing, mean of {thin['area'].nunique()} areas "
        f"(`benchmarks/sparse_input.py`): {', '.join(told)}."
    )


def parts_of_transfer() -> str:
    """What a source adds, from the benchmark of selective transfer, where that is at hand."""
    file = ROOT / "benchmarks" / "selective_transfer.csv"
    if not file.exists():
        return ""
    table = pd.read_csv(file)
    own = table[table["row"] == "without transfer"]
    sure = (own["minus_auc_high"] < 0).sum()
    return (
        f" Leaving the source out changes AUC by {own['minus_auc'].mean():+.3f}, mean of "
        f"{len(own)} pairs of areas; on {sure} of them the interval leaves out 0 "
        "(`benchmarks/selective_transfer.py`)."
    )


def method_rows(table: pd.DataFrame) -> list[list[str]]:
    """A row a method: mean rank, against the default, time."""
    order = mean_ranks(with_mean_district(table), "auc")
    rows = []
    for method, rank in order.items():
        own = table[table["method"] == method]
        pairs = own.dropna(subset="difference_auc")
        above, below = told_apart(pairs)
        compared = ["–"] * 3
        if len(pairs):
            higher = int((pairs["difference_auc"] > 0).sum())
            compared = [
                f"{higher} ({len(above)})",
                f"{len(pairs) - higher} ({len(below)})",
                f"{pairs['difference_auc'].mean():+.3f}",
            ]
        times = f"{own['seconds'].median():,.0f}"
        rows.append([f"`{method}`", f"{rank:.1f}", f"{len(own)}", *compared, times])
    return rows


def lines_of(table: pd.DataFrame) -> list[str]:
    """Markdown: by situation, then by method."""
    areas = table["area"].nunique()
    default = table[table["method"] == DEFAULT_METHOD]
    leaders = table.loc[table.groupby("area")["auc"].idxmax()]
    ahead, _ = told_apart(leaders)
    return [
        *markdown(["your data", "take", "what was measured"], situation_rows(table)),
        "",
        f"{_sentence_on_leaders(leaders, ahead)} Intervals are of 95 %, of the same held-out "
        f"deposits; of {areas} areas, {len(default)} have the default.",
        "",
        *markdown(
            [
                "method",
                "mean rank",
                "areas",
                f"above `{DEFAULT_METHOD}` (told apart)",
                "below (told apart)",
                "mean difference of AUC",
                "median seconds",
            ],
            method_rows(table),
        ),
        "",
        f"Seconds of one processor. Those of {' and '.join(f'`{method}`' for method in PAIRS[1:])} "
        f"are without training: they score the networks of `{PAIRS[0]}`.",
    ]


def _sentence_on_leaders(leaders: pd.DataFrame, ahead: pd.DataFrame) -> str:
    count = leaders["method"].nunique()
    named = ", ".join(f"`{m}` on {a}" for m, a in zip(ahead["method"], ahead["area"], strict=True))
    told = f"on {len(ahead)} ({named})" if len(ahead) else "on none"
    return (
        f"The best of an area is one of {count} methods over {len(leaders)} areas, and can be told "
        f"from `{DEFAULT_METHOD}` {told}."
    )


def _counted(table: pd.DataFrame) -> str:
    counts = table.drop_duplicates("area").set_index("area")["n_deposits"]
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _areas_of(rows: pd.DataFrame) -> str:
    return ", ".join(rows["area"]) or "none"


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table."""
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def write() -> None:
    """docs/tables/which_method.md."""
    lines = lines_of(pd.read_csv(TABLES / "results.csv"))
    io.write_text(TABLES / "which_method.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    write()
