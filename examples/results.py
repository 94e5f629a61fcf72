"""docs/results.md: every method of the catalogue on every area, held out.

First what is not kept yet is measured (``measured.py``), and on the two geochemical surveys every
method is compared with every sampler of negatives (`gossan compare`). Then all pages are written
from what is kept: docs/results.md, docs/tables/results.csv, docs/tables/pixel_pairs.md,
docs/figures/results.png, and by ``which_method.py`` docs/tables/which_method.md. A stopped script
goes on where it was.

    python examples/results.py
    python examples/results.py --surveys nanling --districts 0 --methods extra-trees svm [--write]

Of a part of the methods or areas pages are written with ``--write`` only; they then have gaps where
nothing is kept.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import joblib
import numpy as np
import pandas as pd
import which_method
from measured import (
    DISTRICTS,
    FEWER_DRAWS,
    HERE,
    KEPT,
    PAIRS,
    SMALL,
    SOURCE_EPOCHS,
    SOURCE_OF,
    SURVEYS,
    TRANSFER,
    WIDTH,
    area,
    areas,
    code_of,
    kept,
    measure_all,
    ranks_of,
)

import gossan as gs
from gossan import io
from gossan.evaluate import AREAS, held_out_summary, paired_difference
from gossan.methods import DEFAULT_METHOD, METHODS, SAMPLERS
from gossan.pipeline import comparison_table, study_workflows
from gossan.pipeline.keys import hash_of
from gossan.report.theme import GROUP_COLOURS, INK, new_figure, png_bytes, themed

DOCS = HERE.parent / "docs"
TABLE = DOCS / "tables" / "results.csv"
COMPARED = ["nanling", "jabal-al-hasir"]
POOLED = "districts"
"""The column in which the districts stand together."""
SHARES = [f"{share:.2f}" for share in AREAS]


def results_table() -> pd.DataFrame:
    """A row an area and method that is kept, in the order of areas and catalogue."""
    rows = []
    for name in areas():
        records = _records(name)
        for method, record in records.items():
            own = {"area": name, "kind": "survey" if area(name).is_survey else "district"}
            own |= {"method": method, "negatives": record["negatives"]}
            own |= {"n_deposits": len(record["low"]), "n_cells": record["n_cells"]}
            figures = _figures([record], [records.get(DEFAULT_METHOD)])
            rows.append({**own, **figures, "seconds": record["seconds"]})
    return pd.DataFrame(rows)


def pooled_districts() -> pd.DataFrame:
    """A row a method that is kept on all districts: the ranks of all their deposits together."""
    found = [_records(name) for name in areas([])]
    rows = []
    for method in METHODS:
        records = [each.get(method) for each in found]
        if all(records):
            against = [each.get(DEFAULT_METHOD) for each in found]
            own = {"area": POOLED, "method": method, "negatives": records[0]["negatives"]}
            own["n_deposits"] = sum(len(record["low"]) for record in records)
            rows.append(own | _figures(records, against))
    return pd.DataFrame(rows)


def _records(name: str) -> dict[str, dict[str, Any]]:
    """What is kept of an area, by method."""
    found = ((method, kept(name, method)) for method in METHODS)
    return {method: record for method, record in found if record is not None}


def _figures(records: Sequence[Any], reference: Sequence[Any]) -> dict[str, float]:
    """Skill on all deposits of some results together, and how far it is above a reference's."""
    bounds, clusters = _together(records)
    found = held_out_summary(bounds, clusters)
    row = _with_limits("auc", found["auc_background"], found["ci95"]["auc_background"])
    for share in SHARES:
        limits = found["ci95"]["capture"][share]
        row |= _with_limits(f"capture_{share}", found["capture"][share], limits)
    row["normalised_density"] = found["prediction_area"]["normalised_density"]
    if all(reference) and list(reference) != list(records):
        if any(own["folds"] != other["folds"] for own, other in zip(records, reference)):
            raise ValueError("Differences are paired, and these results are of other deposits.")
        less = paired_difference(bounds, _together(reference)[0], clusters)
        row |= _with_limits(
            "difference_auc", less["auc_background"], less["ci95"]["auc_background"]
        )
        limits = less["ci95"]["capture"]["0.05"]
        row |= _with_limits("difference_capture_0.05", less["capture"]["0.05"], limits)
    return row


def _together(records: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the ranks of all deposits, and their clusters, those of each area apart."""
    bounds, folds = zip(*map(ranks_of, records), strict=True)
    return np.concatenate(bounds), np.concatenate([1000 * k + f for k, f in enumerate(folds)])


def _with_limits(name: str, value: float, limits: Sequence[float]) -> dict[str, float]:
    return {name: value, f"{name}_low": limits[0], f"{name}_high": limits[1]}


def compared(survey: str, n_jobs: int) -> dict[str, Any]:
    """What `gossan compare` finds over all methods and samplers, unless it is kept."""
    records = io.JsonFolder(KEPT / survey)
    if not _comparison(survey):
        path = gs.compare_study(area(survey).study, n_jobs=n_jobs)
        table = comparison_table(path).round(4)
        table["seconds"] = table["seconds"].round(1)
        found = io.read_json(path / "comparison.json")
        records[COMPARISON] = {
            "made_of": _comparison_key(survey),
            "reference": found["reference"],
            "failed": found["failed"],
            "workflows": table.to_dict("records"),
        }
    return records[COMPARISON]


COMPARISON = "methods-by-negatives"


def _comparison(survey: str) -> dict[str, Any] | None:
    """The kept comparison, if nothing that made it has changed."""
    record = io.JsonFolder(KEPT / survey).get(COMPARISON)
    return record if record and record["made_of"] == _comparison_key(survey) else None


def _comparison_key(survey: str) -> str:
    workflows = study_workflows(area(survey).study)
    kinds = {type(each) for w in workflows for each in (w.model, w.sampler)}
    code = code_of(gs.compare_workflows, *sorted(kinds, key=str), *SAMPLERS.values())
    made_of = [(w.name, w.model.get_params(), w.sampler.get_params(), w.n_draws) for w in workflows]
    return hash_of(area(survey).key, code, made_of)


def summary_lines(table: pd.DataFrame, figure: str) -> list[str]:
    """A row a method, a column an area, best mean rank first."""
    order = which_method.mean_ranks(table, figure)
    columns = list(dict.fromkeys(table["area"]))
    cells = table.set_index(["method", "area"])
    best = table.groupby("area")[figure].max()

    def cell(method: str, name: str) -> str:
        if (method, name) not in cells.index:
            return "–"
        row = cells.loc[(method, name)]
        text = interval(row, figure)
        return f"**{text}**" if row[figure] == best[name] else text

    rows = [
        [method, f"{rank:.1f}", *(cell(method, name) for name in columns)]
        for method, rank in order.items()
    ]
    return which_method.markdown(["method", "mean rank", *columns], rows)


def section_lines(table: pd.DataFrame) -> list[str]:
    """Every method with its own negatives on one area, best AUC first."""
    heads = ["method", "negatives", "AUC against background", *_share_heads(), "N_d"]
    best_first = table.sort_values("auc", ascending=False, kind="stable")
    rows = [
        [row["method"], row["negatives"], *_skill(row), f"{row['normalised_density']:.1f}"]
        for row in best_first.to_dict("records")
    ]
    return which_method.markdown(heads, rows)


def note_lines(table: pd.DataFrame) -> list[str]:
    """What was measured otherwise than by default, and what not at all."""
    measured = set(zip(table["area"], table["method"], strict=True))
    rest = {
        method: [name for name in areas() if (name, method) not in measured] for method in METHODS
    }
    by_names: dict[tuple[str, ...], list[str]] = {}
    for method, names in rest.items():
        if names:
            by_names.setdefault(tuple(names), []).append(f"`{method}`")
    missing = [
        f"Not measured yet: {', '.join(methods)} on {', '.join(names)}."
        for names, methods in by_names.items()
    ]
    notes = [
        "A column an area; the last one holds the districts together, each as often as it has "
        "deposits. Mean rank: of a method among those measured, over the columns. In bold the best "
        "of a column, which is no proof that it is better than the next.",
        f"`{TRANSFER}` is smaller than published, for two cores: networks of {WIDTH} channels at "
        f"first (64), {SMALL['epochs']} epochs and {SOURCE_EPOCHS} of the source (150), batches of "
        f"{SMALL['batch_size']} (128), windows of {SMALL['patch_window']} cells (256). It sees the "
        "layers that both areas have, without means of neighbourhoods, and is judged by the "
        "[rule for patches](evaluation.md#patches). "
        + "; ".join(f"{name} takes from {source}" for name, source in SOURCE_OF.items())
        + ", a district from the district of the next seed. The other surveys share no layer with "
        "any area: there it runs with `transfer = false`.",
        _told_of_draws(),
        f"{', '.join(f'`{method}`' for method in PAIRS[1:])} score the networks that `{PAIRS[0]}` "
        "trained: their seconds are without training, which is in its own.",
        *missing,
    ]
    return ["", *(f"- {note}" for note in notes), ""]


def _told_of_draws() -> str:
    alike: dict[str, list[str]] = {}
    for method, fewer in FEWER_DRAWS.items():
        counts = ", ".join(f"{name} {draws}" for name, draws in fewer.items())
        told = f"{counts} in place of {METHODS[method].draws}"
        alike.setdefault(told, []).append(f"`{method}`")
    each = "; ".join(f"{', '.join(methods)}: {told}" for told, methods in alike.items())
    return (
        "Fewer draws of negatives than by default where all of them take longer than about a "
        f"quarter hour. {each}."
    )


def pair_lines(columns: pd.DataFrame) -> list[str]:
    """The scores of pixel pairs on every area, beside the default method and the best of all."""
    rows = []
    for name in dict.fromkeys(columns["area"]):
        own = columns[columns["area"] == name].set_index("method")
        best = own["auc"].idxmax()
        for method in dict.fromkeys([*PAIRS, DEFAULT_METHOD, best]):
            if method in own.index:
                row = own.loc[method].to_dict()
                told = f"{method}, the best here" if method == best else method
                shares = [interval(row, f"capture_{share}") for share in SHARES[-2:]]
                rows.append([name, told, interval(row, "auc"), *shares])
    heads = [
        "area",
        "method",
        "held-out AUC",
        *(f"deposits {head}" for head in _share_heads()[-2:]),
    ]
    return which_method.markdown(heads, rows)


def negatives_lines(survey: str, record: Mapping[str, Any]) -> list[str]:
    """A section: all methods with all samplers of negatives."""
    table = pd.DataFrame(record["workflows"])
    lines = [f"## {survey}: methods × negatives", ""]
    for figure, title in (("auc_background", "AUC"), ("capture_0.05", "capture in 5 %")):
        lines += [f"Held-out {title}:", "", *_matrix(table, figure), ""]
    best = table[table["role"] == "workflow"].head(8)
    others = table[table["role"] != "workflow"]
    heads = ["workflow", "AUC against background", *_share_heads(), "AUC − reference"]
    rows = [
        [
            row["workflow"],
            *_skill({**row, "auc": row["auc_background"]}),
            _difference(row),
            "" if pd.isna(row["selectivity"]) else f"{row['selectivity']:.2f}",
        ]
        for row in pd.concat([best, others]).to_dict("records")
    ]
    lines += [
        f"The best eight rows, the controls and the consensus; reference: {record['reference']}. "
        f"All took {table['seconds'].sum() / 60:.0f} minutes of one processor.",
        "",
        *which_method.markdown([*heads, "selectivity"], rows),
        "",
    ]
    lines += [f"- Not run: {f['workflow']}: {f['reason']}" for f in record["failed"]]
    return [*lines, ""]


def _matrix(table: pd.DataFrame, figure: str) -> list[str]:
    wide = table[table["role"] == "workflow"].pivot_table(
        index="method", columns="negatives", values=figure, sort=False
    )
    wide = wide.loc[wide.mean(axis=1).sort_values(ascending=False).index]
    rows = [
        [str(method), *("" if pd.isna(value) else f"{value:.2f}" for value in row)]
        for method, row in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return which_method.markdown(["method", *map(str, wide.columns)], rows)


def _skill(row: Mapping[str, Any]) -> list[str]:
    return [interval(row, "auc"), *(interval(row, f"capture_{share}") for share in SHARES)]


def _share_heads() -> list[str]:
    return [f"in {100 * share:g} %" for share in AREAS]


def _difference(row: Mapping[str, Any]) -> str:
    name = "difference_auc"
    if row[name] is None or pd.isna(row[name]):
        return "reference"
    return f"{row[name]:+.3f} ({row[f'{name}_low']:+.3f} to {row[f'{name}_high']:+.3f})"


def interval(row: Mapping[str, Any], name: str) -> str:
    """A figure with its interval in words."""
    return f"{row[name]:.2f} ({row[f'{name}_low']:.2f}–{row[f'{name}_high']:.2f})"


def drawn(columns: pd.DataFrame, table: pd.DataFrame) -> bytes:
    """AUC of every method with its interval, a panel an area, best mean rank on top."""
    order = list(which_method.mean_ranks(columns, "auc").index)
    names = list(dict.fromkeys(columns["area"]))
    colour = {False: GROUP_COLOURS[0], True: GROUP_COLOURS[1]}
    with themed():
        sheet = new_figure(1.75 * len(names) + 2.2, 0.21 * len(order) + 1.2)
        panels = sheet.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for ax, name in zip(panels, names, strict=True):
            ax.axvline(0.5, color=INK, linewidth=0.7)
            for row in columns[columns["area"] == name].to_dict("records"):
                place = len(order) - order.index(row["method"])
                own = colour[METHODS[row["method"]].deep]
                ax.hlines(place, row["auc_low"], row["auc_high"], color=own)
                ax.plot(row["auc"], place, "o", color=own, markersize=4)
                if name == POOLED:
                    each = table[(table["method"] == row["method"]) & (table["kind"] == "district")]
                    ax.plot(each["auc"], [place - 0.3] * len(each), "|", color=INK, markersize=4)
            ax.set_title(name, loc="left")
            ax.set_xlabel("held-out AUC")
            ax.set_yticks(range(len(order), 0, -1), order)
        panels[0].set_ylim(0.3, len(order) + 0.7)
        handles = [panels[0].plot([], [], "o-", color=colour[deep])[0] for deep in (False, True)]
        kinds = ["without a network", "with a network"]
        sheet.legend(handles, kinds, loc="lower left", fontsize=7.5)
        sheet.tight_layout()
    return png_bytes(sheet)


INTRODUCTION = """# Held-out results

Printed by `examples/results.py` (`make results`). Every figure is held out: deposits are left out
by spatial clusters with a dead zone, and ranked against the whole unlabelled background, each cell
of it scored by models that did not train on it ([how skill is measured](evaluation.md)). "In 5 %"
is the share of held-out deposits in the top 5 % of the area; N_d is the normalised density of the
prediction–area plot. In brackets: 95 % intervals from resampling whole clusters of deposits. One
seed. Where intervals overlap, the data cannot tell the methods apart. In the first tables each
method has its own negatives and draws. What masked pretraining adds has a
[section of its own](#pretrained-and-untrained); what follows for a choice is in
[Which method?](which-method.md).

The settings of the methods were chosen with these same surveys at hand, so the figures of the
defaults lean to the optimistic side. Two thirds of the nanling cells hold exactly 0 in faults,
granite and strata: ground that was hardly mapped, on which any method ranks the background low. Its
AUC flatters for that reason. The districts are synthetic (`gossan.datasets.synthetic_district`),
with all layers that matter among the evidence, and flatter too.

## All methods, all areas

Best mean rank first. All figures, each district's and the seconds of one processor too, are in
[results.csv](tables/results.csv).

![AUC of every method on every area](figures/results.png)
"""

LEGEND = """
Lines are 95 % intervals; the small marks of the last panel are the single districts. The black line
is chance.
"""

FITTED = """# Fitting rates, for comparison

What the source of the pixel pairs prints are **fitting** rates: the share of deposits that a map
picks out when it was shown all of them. Below they are, by the source's protocol
(`benchmarks/pixel_pair_windows.py`; [pixel pairs](pixel-pairs.md)). Beside the held-out figures of
`pixel-pairs` above they show how much of such a rate is memory.

--8<-- "docs/tables/pixel_pair_windows.md"
"""

BETWEEN = """# Methods × negatives

`gossan compare` on the two geochemical surveys: every method with every sampler, five negatives a
positive where a sampler draws by number, three draws, and the same folds, seeds and background for
all. nanling has no occurrences of other commodities. What the samplers are is in
[Negatives](negatives.md). The best of some seventy rows is the best partly by luck.
"""

PRETRAINED = """# Pretrained and untrained

The same heads on a pretrained network and on that network as it starts, three seeds, which change
folds, draws of negatives and networks; on two surveys and three synthetic districts
(`benchmarks/pretraining_gain.py`; what follows from it is in
[Masked pretraining](masked-pretraining.md#held-out)). Differences are of the same held-out
deposits; where their interval holds 0, the data cannot tell the two apart.

--8<-- "docs/tables/pretraining_gain.md"
"""


def page_lines(table: pd.DataFrame, columns: pd.DataFrame) -> list[str]:
    """docs/results.md."""
    lines = [INTRODUCTION + LEGEND, "Held-out AUC against background:", ""]
    lines += [*summary_lines(columns, "auc"), "", "Held-out capture in 5 % of the area:", ""]
    lines += [*summary_lines(columns, "capture_0.05"), *note_lines(table)]
    for name in SURVEYS:
        own = table[table["area"] == name]
        if len(own):
            counts = f"{own['n_deposits'].iloc[0]} deposits, {own['n_cells'].iloc[0]:,} cells"
            lines += [f"## {name}", "", f"{counts}, deposit clusters held out.", ""]
            lines += [*section_lines(own), ""]
    pooled = columns[columns["area"] == POOLED]
    if len(pooled):
        lines += ["## Synthetic districts", "", _told_of_districts(table), ""]
        lines += [*section_lines(pooled), ""]
    lines += [FITTED, BETWEEN]
    for name in COMPARED:
        record = _comparison(name)
        lines += negatives_lines(name, record) if record else [f"{name}: not compared yet.", ""]
    return [*lines, PRETRAINED]


def _told_of_districts(table: pd.DataFrame) -> str:
    own = table[table["kind"] == "district"].drop_duplicates("area")
    known = " + ".join(str(count) for count in own["n_deposits"])
    return (
        f"Seeds {', '.join(map(str, DISTRICTS))}: {known} known deposits, about "
        f"{round(own['n_cells'].mean(), -3):,.0f} cells each. Figures are of the ranks of all "
        "their deposits together, each ranked in its own district."
    )


def write_pages() -> None:
    """Every page and table that is made of kept results."""
    table, pooled = results_table(), pooled_districts()
    columns = pd.concat([table[table["kind"] == "survey"], pooled], ignore_index=True)
    with io.replacing(TABLE) as partial:
        table.to_csv(partial, index=False, float_format="%.5g")
    io.write_bytes(DOCS / "figures" / "results.png", drawn(columns, table))
    io.write_text(DOCS / "tables" / "pixel_pairs.md", "\n".join(pair_lines(columns)) + "\n")
    text = "\n".join(page_lines(table, columns)).rstrip() + "\n"
    io.write_text(DOCS / "results.md", text)
    if (table["method"] == DEFAULT_METHOD).sum() == len(areas()):  # all is measured against it
        which_method.write()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--surveys", nargs="*", default=SURVEYS, choices=SURVEYS)
    arguments.add_argument("--districts", nargs="*", default=DISTRICTS, type=int, metavar="SEED")
    arguments.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    arguments.add_argument("--jobs", type=int, default=joblib.cpu_count(), help="processes")
    arguments.add_argument("--write", action="store_true", help="pages from what is kept")
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    measure_all(areas(options.surveys, options.districts), options.methods, options.jobs)
    every = set(options.methods) == set(METHODS)
    for name in COMPARED:
        if every and name in options.surveys:
            compared(name, options.jobs)
    whole = every and options.surveys == SURVEYS and options.districts == DISTRICTS
    if whole or options.write:
        write_pages()


if __name__ == "__main__":
    main()
