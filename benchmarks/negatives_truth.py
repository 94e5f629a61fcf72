"""How clean are the negatives that each strategy picks? On districts whose every deposit is known.

For each synthetic district of 90 × 110 cells every strategy draws ten sets of negatives of the
same size, five a positive cell, from the cells that an explorer sees as unlabelled; recursive
strategies are counted round by round. Counted are the share of drawn cells that are truly
mineralised (in the footprint of an undiscovered deposit), the share of undiscovered deposits of
which a cell was drawn by any of the ten, so that a model learned it as barren, and what it costs:
undiscovered deposits in the best 2, 5 and 10 % of the map that extra trees make of those draws,
and their area under the curve. Differences are against random negatives, paired by district, with
95 % bootstrap intervals.

Finished districts are kept in a scratch folder, so a stopped script goes on where it was.

    python benchmarks/negatives_truth.py [--districts 20]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

import gossan as gs
from gossan import io
from gossan.annotate import DECISIONS
from gossan.datasets import District, synthetic_district, write_district
from gossan.draws import DrawnNegatives, draw_seeds
from gossan.models import CellExtraTrees
from gossan.pipeline import other_occurrences, stage_keys
from gossan.validate import study_cells

HERE = Path(__file__).resolve().parent
SCRATCH = HERE / "scratch" / "negatives_truth"
RATIO, DRAWS = 5.0, 10
AREAS = (0.02, 0.05, 0.10)
RECURSIVE: dict[str, tuple[dict[str, Any], list[int]]] = {
    "purge 5 %": ({"purge": 0.05}, [1, 2, 3]),
    "purge 5 %, accumulating": ({"purge": 0.05, "mode": "accumulate"}, [1, 2, 3]),
    "purge 20 %": ({"purge": 0.2}, [2]),
    "lowest 30 %": ({"select": "lowest"}, [1, 3]),
    "weight": ({"select": "weight"}, [2]),
}
"""Name → settings, and the rounds counted."""
FIGURES = {
    "mineralised": "drawn cells truly mineralised, %",
    "lost": "undiscovered deposits learned as barren, %",
    "in_0.02": "undiscovered in 2 %",
    "in_0.05": "in 5 %",
    "in_0.1": "in 10 %",
    "auc": "AUC of undiscovered",
}


def district(made: District, study: gs.Study) -> dict[str, Any]:
    """Features, labels, and which cells belong to undiscovered deposits."""
    evidence = gs.build_evidence(study).compute()
    labels = gs.label_cells(evidence, gs.read_deposits(study))
    cells = study_cells(evidence, labels)
    hidden = gs.label_cells(evidence, made.undiscovered)["deposit"].to_numpy()
    hidden = np.where(labels.to_numpy() == 1, -1, hidden)  # ground that is known is not hidden
    rows, columns = gs.Grid.from_dataarray(evidence).locate(
        made.undiscovered.geometry.x.to_numpy(), made.undiscovered.geometry.y.to_numpy()
    )
    index = np.full(labels.shape, -1)
    index[cells.rows, cells.columns] = np.arange(len(cells.labels))
    return {
        "X": cells.features[np.arange(len(cells.labels))],
        "labels": cells.labels,
        "coordinates": cells.coordinates,
        "hidden": hidden[cells.rows, cells.columns],
        "centres": index[rows, columns],
        "others": other_occurrences(study),
    }


def strategies(area: dict[str, Any]) -> dict[str, list[np.ndarray]]:
    """Name of each strategy → its draws."""
    X, labels, coordinates = area["X"], area["labels"], area["coordinates"]
    seeds = draw_seeds(0, DRAWS)
    samplers = {
        "random": gs.RandomNegatives(RATIO),
        "buffered": gs.BufferedNegatives(ratio=RATIO),
        "dissimilar [.25, .75]": gs.DissimilarNegatives(ratio=RATIO),
        "dissimilar [.4, .5]": gs.DissimilarNegatives((0.4, 0.5), ratio=RATIO),
        "other deposits": gs.OtherDepositNegatives(area["others"]),
        "spy": gs.SpyNegatives(ratio=RATIO),
    }
    drawn = {
        name: sampler.sample_many(X, labels, coordinates, seeds)
        for name, sampler in samplers.items()
    }
    size = round(RATIO * int((labels == 1).sum()))
    for name, (settings, shown) in RECURSIVE.items():
        annotator = gs.RecursiveAnnotator(
            ratio=RATIO, guard=False, max_rounds=shown[-1], tolerance=0.0, **settings
        )
        found = annotator.annotate(X, labels, coordinates)
        for number in [n for n in shown if n < len(found.decisions)]:
            pool = found.cells[found.decisions[number] == DECISIONS["negative"]]
            count = min(size, len(pool))
            drawn[f"{name}, round {number}"] = [
                np.sort(np.random.default_rng(seed).choice(pool, count, replace=False))
                for seed in seeds
            ]
        # The last round draws as the sampler does: by weight, or evenly over area and geology. So
        # do those that the rounds did not come to, because nothing was left to draw from.
        ended = [found.draw(size, np.random.default_rng(seed)) for seed in seeds]
        for number in {shown[-1], *[n for n in shown if n >= len(found.decisions)]}:
            drawn[f"{name}, round {number}"] = ended
    sampler = gs.RecursiveNegatives(ratio=RATIO)
    drawn["recursive, default with guard"] = sampler.sample_many(X, labels, coordinates, seeds)
    return drawn


def judge(area: dict[str, Any], draws: list[np.ndarray]) -> dict[str, float]:
    """How clean the draws are, and what the map made of them finds."""
    hidden, centres = area["hidden"], area["centres"]
    learned = np.unique(hidden[np.concatenate(draws)])
    model = gs.DrawEnsemble(
        CellExtraTrees(30, random_state=0, n_jobs=1), DrawnNegatives(draws), len(draws)
    )
    score = model.fit(area["X"], area["labels"], area["coordinates"]).predict_proba(area["X"])[:, 1]
    ranks = np.searchsorted(np.sort(score), score[centres]) / len(score)
    return {
        "mineralised": float(np.mean([(hidden[d] >= 0).mean() for d in draws])) * 100,
        "lost": 100 * (learned >= 0).sum() / len(centres),
        **{f"in_{a:g}": float((ranks > 1 - a).sum()) for a in AREAS},
        "auc": float(ranks.mean()),
    }


def run_district(seed: int) -> Path:
    """All strategies on one district, kept as a CSV of this version of the code."""
    warnings.simplefilter("ignore")
    made = synthetic_district(seed, shape=(90, 110), n_samples=600)
    study = gs.read_study(write_district(made, SCRATCH / "districts" / str(seed)))
    file = SCRATCH / f"{seed}-{stage_keys(study)['folds'][:12]}.csv"
    if file.exists():
        return file
    area = district(made, study)
    rows = [
        {"district": seed, "negatives": name, **judge(area, draws)}
        for name, draws in strategies(area).items()
    ]
    with io.replacing(file) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False)
    return file


def table(counts: pd.DataFrame) -> list[str]:
    """Markdown: mean of each figure, and its paired difference from random with an interval."""
    lines = [
        "| negatives | " + " | ".join(FIGURES.values()) + " |",
        "|---" * (1 + len(FIGURES)) + "|",
    ]
    wide = {
        name: counts.pivot(index="district", columns="negatives", values=name) for name in FIGURES
    }
    for negatives in dict.fromkeys(counts["negatives"]):
        cells = [negatives]
        for name, values in wide.items():
            mean = values[negatives].mean()
            digits = 3 if name == "auc" else 1
            text = f"{mean:.{digits}f}"
            if negatives != "random":
                low, high = interval((values[negatives] - values["random"]).to_numpy())
                text += f" ({low:+.{digits}f} to {high:+.{digits}f})"
            cells.append(text)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over districts."""
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (2000, len(differences))).mean(axis=1)
    return tuple(np.percentile(means, [2.5, 97.5]))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--districts", type=int, default=20)
    options = arguments.parse_args()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    jobs = (joblib.delayed(run_district)(seed) for seed in range(options.districts))
    counts = pd.concat([pd.read_csv(file) for file in joblib.Parallel(n_jobs=-1)(jobs)])
    counts.to_csv(HERE / "negatives_truth.csv", index=False, float_format="%.5g")
    lines = table(counts)
    print("\n".join(lines))
    target = HERE.parent / "docs" / "tables" / "negatives_truth.md"
    io.write_text(target, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
