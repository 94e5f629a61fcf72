"""The held-out tables of docs/results.md.

Each example study is run whole with its own method (`gossan run`), which leaves its run folder.
Then every method of the catalogue is judged with its own default negatives, on the same evidence,
labels, folds and seed; and on the two geochemical surveys every method is compared with every
sampler of negatives (`gossan compare`). Finished pieces are kept under ``examples/<survey>/runs``,
so a stopped script goes on where it was.

    python examples/results.py [--surveys nanling murchison]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import gossan as gs
from gossan import io
from gossan.methods import METHODS
from gossan.pipeline import (
    comparison_table,
    run_folder,
    stage_keys,
    study_splitter,
    study_workflows,
)

HERE = Path(__file__).resolve().parent
SURVEYS = ["nanling", "jabal-al-hasir", "cloncurry", "murchison"]
COMPARED = ["nanling", "jabal-al-hasir"]
SLOW = {"k-nearest-neighbours", "svm", "gradient-boosting", "random-forest", "elkan-noto"}
SLOW |= {"pixel-pairs-both", "masked-pretraining-finetune"}
"""Methods that take many minutes on the larger areas: shown on the smallest survey only."""
ELSEWHERE = {"selective-transfer"}
"""Methods that learn from another area first: see ``benchmarks/selective_transfer.py``."""
AREAS = ["0.01", "0.02", "0.05", "0.10"]


def own_negatives(survey: str) -> list[str]:
    """A section: every method with its own negatives, best AUC first."""
    study = gs.read_study(HERE / survey / "study.toml")
    gs.run_study(study)
    path = run_folder(study)
    evidence = io.open_evidence(path / "evidence.zarr")
    labels = gs.label_cells(evidence, gs.read_deposits(study), footprint=study.deposits.footprint)
    methods = [
        name
        for name, method in METHODS.items()
        if (survey == SURVEYS[0] or name not in SLOW)
        and (survey in COMPARED or not method.deep)
        and name not in ELSEWHERE
    ]
    workflows = study_workflows(study, methods, ["default"])
    key = stage_keys(study)["folds"][:12]
    start = time.perf_counter()
    with io.networks_kept(path / ".stages" / "networks"):
        found = gs.compare_workflows(
            workflows,
            evidence,
            labels,
            splitter=study_splitter(study),
            background_folds=study.validation.background_folds,
            random_state=study.seed,
            store=io.ArrayFolder(path.parent / f"results-{key}"),
            progress=lambda done, total: print(f"{survey}: {done} of {total}", flush=True),
        )
    print(f"{survey}: {time.perf_counter() - start:.0f} s", flush=True)
    samplers = {
        w.name: f"{w.sampler!r}" + (f" × {w.n_draws}" if w.n_draws > 1 else "") for w in workflows
    }
    table = found.table[found.table["role"] == "workflow"]
    heads = ["method", "negatives", "AUC against background", *_area_heads(), "N_d"]
    rows = [
        [
            row["workflow"].removesuffix(" × default"),
            samplers[row["workflow"]],
            *_figures(row),
            f"{row['normalised_density']:.1f}",
        ]
        for row in table.to_dict("records")
    ]
    return [
        f"## {survey}",
        "",
        f"{found.n_deposits} deposits, {found.n_cells:,} cells, deposit clusters held out.",
        "",
        *_markdown(heads, rows),
        "",
    ]


def methods_by_negatives(survey: str) -> list[str]:
    """A section: `gossan compare` over all methods and samplers."""
    study = gs.read_study(HERE / survey / "study.toml")
    start = time.perf_counter()
    path = gs.compare_study(study)
    print(f"{survey} compared: {time.perf_counter() - start:.0f} s", flush=True)
    record = io.read_json(path / "comparison.json")
    table = comparison_table(path)
    lines = [f"## {survey}: methods × negatives", ""]
    for figure, title in (("auc_background", "AUC"), ("capture_0.05", "capture in 5 %")):
        lines += [f"Held-out {title}:", "", *_matrix(table, figure), ""]
    best = table[table["role"] == "workflow"].head(8)
    others = table[table["role"] != "workflow"]
    heads = ["workflow", "AUC against background", *_area_heads(), "AUC − reference", "selectivity"]
    rows = [
        [
            row["workflow"],
            *_figures(row),
            _interval(row, "difference_auc", "difference_auc", sign="+"),
            "" if pd.isna(row["selectivity"]) else f"{row['selectivity']:.2f}",
        ]
        for row in pd.concat([best, others]).to_dict("records")
    ]
    lines += [
        f"The best eight rows, the controls and the consensus; reference: {record['reference']}. "
        f"All took {table['seconds'].sum() / 60:.0f} minutes of one processor.",
        "",
        *_markdown(heads, rows),
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
    return _markdown(["method", *map(str, wide.columns)], rows)


def _figures(row: dict) -> list[str]:
    figures = [_interval(row, "auc_background", "auc")]
    return figures + [_interval(row, f"capture_{area}", f"capture_{area}") for area in AREAS]


def _area_heads() -> list[str]:
    return [f"in {100 * float(area):g} %" for area in AREAS]


def _interval(row: dict, name: str, bounds: str, sign: str = "") -> str:
    value, low, high = row[name], row[f"{bounds}_low"], row[f"{bounds}_high"]
    if value is None or pd.isna(value):
        return "reference"
    if sign:
        return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
    return f"{value:.2f} ({low:.2f}–{high:.2f})"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


INTRODUCTION = """# Held-out results

Printed by `examples/results.py` (`make results`). Every figure is held out: deposits are left out
by spatial clusters with a dead zone, and ranked against the whole unlabelled background, each cell
of it scored by models that did not train on it ([how skill is measured](evaluation.md)). "In 5 %"
is the share of held-out deposits in the top 5 % of the area; N_d is the normalised density of the
prediction–area plot. In brackets: 95 % intervals from resampling whole clusters of deposits. One
seed. Where intervals overlap, the data cannot tell the methods apart. In the first tables each
method has its own negatives and draws; methods that take many minutes on the larger areas are
shown on nanling only, and the other methods with a network on the two geochemical surveys.

The settings of the methods were chosen with these same surveys at hand, so the figures of the
defaults lean to the optimistic side. Two thirds of the nanling cells hold exactly 0 in faults,
granite and strata: ground that was hardly mapped, on which any method ranks the background low. Its
AUC flatters for that reason.
"""

FITTED = """# Fitting rates, for comparison

What the source of the pixel pairs prints are **fitting** rates: the share of deposits that a map
picks out when it was shown all of them. Below they are, by the source's protocol
(`benchmarks/pixel_pair_windows.py`; [pixel pairs](pixel-pairs.md)). Beside the held-out figures of
`pixel-pairs` above they show how much of such a rate is memory.

"""

BETWEEN = """# Methods × negatives

`gossan compare` on the two geochemical surveys: every method with every sampler, five negatives a
positive where a sampler draws by number, three draws, and the same folds, seeds and background for
all. nanling has no occurrences of other commodities. What the samplers are is in
[Negatives](negatives.md). The best of some seventy rows is the best partly by luck.
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--surveys", nargs="+", default=SURVEYS, choices=SURVEYS)
    options = arguments.parse_args()
    lines = [INTRODUCTION]
    for survey in options.surveys:
        lines += own_negatives(survey)
    fitted = HERE.parent / "docs" / "tables" / "pixel_pair_windows.md"
    lines += [FITTED + fitted.read_text(encoding="utf-8"), BETWEEN]
    for survey in options.surveys:
        if survey in COMPARED:
            lines += methods_by_negatives(survey)
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    if options.surveys == SURVEYS:
        io.write_text(HERE.parent / "docs" / "results.md", text)


if __name__ == "__main__":
    main()
