"""Does recursive annotation ever harm? Its default against its own round 0, area by area.

The four example surveys and twenty synthetic districts of 90 × 110 cells: extra trees over ten
draws of negatives, held out by deposit clusters against the whole background, with negatives from
the default recursive annotation and from its round 0 (random draws). Prints, for each area, the
paired differences with 95 % deposit-cluster bootstrap intervals, and over all areas the share
where recursion gains, where it loses, and the mean difference with its interval over areas.

Round 0 and the rounds draw with the same random keys, so they differ by the cells set aside. What
a difference is when nothing differs but the draw shows beside it: ten other random draws minus
round 0. The bootstrap resamples deposits and not draws, so its intervals know nothing of that.

Of 24 intervals of 95 % one lies beside zero by chance alone. "In any area" is therefore judged by
simultaneous intervals too: each side widened by the ratio of normal quantiles that Bonferroni's
correction for the number of areas asks for.
Finished pieces are kept in a scratch folder, so a stopped script goes on where it was.

    python benchmarks/recursion_guard.py [--districts 20]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from areas import SURVEYS, read_area
from scipy.stats import norm

import gossan as gs
from gossan import io
from gossan.methods import make_model
from gossan.pipeline import stage_keys
from gossan.validate import Workflow, compare_workflows

HERE = Path(__file__).resolve().parent
SCRATCH = HERE / "scratch" / "recursion_guard"
DRAWS = 10
FIGURES = {"auc": "auc", "capture": "capture_0.05"}


def differences(name: str) -> dict[str, float]:
    """Default minus round 0 on one area, and other random draws minus round 0."""
    at_hand = read_area(name, SCRATCH, shape=(90, 110), n_samples=600)
    study = at_hand.study
    workflows = [
        Workflow(title, "extra-trees", title, make_model(random_state=0), sampler, DRAWS)
        for title, sampler in {
            "round 0": gs.RecursiveNegatives(max_rounds=0, guard=False),
            "recursive": gs.RecursiveNegatives(),
            "redrawn": gs.RandomNegatives(gs.RecursiveNegatives().ratio),
        }.items()
    ]
    found = compare_workflows(
        workflows,
        at_hand.evidence,
        at_hand.labels,
        splitter=gs.DepositClusterFolds(study.validation.folds),
        max_background=50_000,
        store=io.ArrayFolder(SCRATCH / f"{name}-{stage_keys(study)['folds'][:12]}"),
    )
    rows = found.table.set_index("workflow")
    return {
        "area": name if name in SURVEYS else f"district {name}",
        "deposits": found.n_deposits,
        "auc_round_0": rows.loc["round 0", "auc_background"],
        "capture_round_0": rows.loc["round 0", "capture_0.05"],
    } | {
        f"{negatives}_{title}{end}": rows.loc[negatives, f"difference_{figure}{end}"]
        for negatives in ("recursive", "redrawn")
        for title, figure in FIGURES.items()
        for end in ("", "_low", "_high")
    }


def summary(rows: pd.DataFrame) -> list[str]:
    """Over areas: how often a change of negatives gains and loses, and by how much."""
    lines = []
    count = len(rows)
    wider = norm.isf(0.025 / count) / norm.isf(0.025)
    for negatives, words in (("recursive", "Recursion"), ("redrawn", "Mere redrawing")):
        for figure, title in (("auc", "AUC against background"), ("capture", "capture in 5 %")):
            column = f"{negatives}_{figure}"
            change = rows[column].to_numpy()
            rng = np.random.default_rng(0)
            means = rng.choice(change, (5000, len(change))).mean(axis=1)
            low, high = np.percentile(means, [2.5, 97.5])
            worse = rows[rows[f"{column}_high"] < 0]["area"].tolist()
            upper = change + wider * (rows[f"{column}_high"].to_numpy() - change)
            low_side = change - wider * (change - rows[f"{column}_low"].to_numpy())
            lines.append(
                f"{words}, {title}: higher in {(change > 0).sum()} of {len(change)} areas, the "
                f"same in {(change == 0).sum()}; mean {change.mean():+.4f} ({low:+.4f} to "
                f"{high:+.4f}), standard deviation {change.std(ddof=1):.4f}; interval clear of "
                f"zero above in {(rows[f'{column}_low'] > 0).sum()}, below in {len(worse)}"
                f"{': ' + ', '.join(worse) if worse else ''}. Simultaneous over {count} areas: "
                f"above in {(low_side > 0).sum()}, below in {(upper < 0).sum()}."
            )
    return lines


def _interval(row: dict[str, float], column: str, digits: int) -> str:
    value, low, high = (f"{row[column + end]:+.{digits}f}" for end in ("", "_low", "_high"))
    return f"{value} ({low} to {high})"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--districts", type=int, default=20)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name in [*SURVEYS, *map(str, range(options.districts))]:
        rows.append(differences(name))
        print(rows[-1], flush=True)
    found = pd.DataFrame(rows)
    found.to_csv(HERE / "recursion_guard.csv", index=False, float_format="%.5g")
    lines = [
        "| area | deposits | AUC, round 0 | recursive − round 0 | redrawn − round 0 | in 5 %, "
        "round 0 | recursive − round 0 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found.to_dict("records"):
        lines.append(
            f"| {row['area']} | {row['deposits']} | {row['auc_round_0']:.3f} | "
            f"{_interval(row, 'recursive_auc', 4)} | {_interval(row, 'redrawn_auc', 4)} | "
            f"{row['capture_round_0']:.2f} | {_interval(row, 'recursive_capture', 2)} |"
        )
    lines += ["", *(f"- {line}" for line in summary(found))]
    print("\n".join(lines))
    io.write_text(HERE.parent / "docs" / "tables" / "recursion_guard.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
