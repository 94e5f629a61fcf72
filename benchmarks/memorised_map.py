"""Which negatives leave undiscovered deposits on the map: a count on districts with known truth.

A model that is shown every unlabelled cell as a negative learns the undiscovered deposits by heart
as barren. On synthetic districts the script counts how many of 40 undiscovered deposits the top of
the map holds, for extra trees on every unlabelled cell, the same cross-fitted (each cell scored by
a model not trained on it), and averaged over draws of random negatives. Prints a table, writes it
as CSV and Markdown.

    python benchmarks/memorised_map.py [--districts 20]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import gossan as gs
from gossan import io
from gossan.datasets import synthetic_district, truth_table, write_district
from gossan.models import CellExtraTrees
from gossan.validate import study_cells

HERE = Path(__file__).resolve().parent
AREAS = (0.02, 0.05, 0.10)


def district_cells(seed: int, folder: Path):
    """A district of 120 × 150 cells with its flattened evidence and labels."""
    district = synthetic_district(seed, shape=(120, 150), n_samples=900)
    study = gs.read_study(write_district(district, folder / str(seed)))
    evidence = gs.build_evidence(study)
    (file,) = study.resolve(study.deposits.file)
    deposits = io.read_deposits(study.deposits, file, evidence.rio.crs)
    return district, evidence, study_cells(evidence, gs.label_cells(evidence, deposits))


def fitted(cells, X, negatives, n_draws, n_trees, shown=None):
    """An ensemble fitted to the cells shown (all by default)."""
    shown = np.arange(len(X)) if shown is None else shown
    model = gs.DrawEnsemble(CellExtraTrees(n_trees, random_state=0), negatives, n_draws)
    return model.fit(X[shown], cells.labels[shown], cells.coordinates[shown])


def cross_fitted(cells, X):
    """Every cell scored by a model that was not shown it; blocks of ten cells, two parts."""
    blocks = (cells.rows // 10) * 1000 + cells.columns // 10
    part = np.random.default_rng(0).integers(0, 2, blocks.max() + 1)[blocks]
    score = np.empty(len(X))
    for held in (0, 1):
        shown = np.flatnonzero((part != held) | (cells.labels == 1))
        model = fitted(cells, X, gs.AllUnlabelled(), 1, 200, shown)
        score[part == held] = model.predict_with_spread(X[part == held])[0]
    return score


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--districts", type=int, default=20)
    options = arguments.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.districts):
            district, evidence, cells = district_cells(seed, Path(folder))
            X = cells.features[np.arange(len(cells.labels))]
            scores = {
                "every unlabelled cell": fitted(cells, X, gs.AllUnlabelled(), 1, 200),
                "every unlabelled cell, cross-fitted": cross_fitted(cells, X),
                "random, 1 a positive, 10 draws": fitted(cells, X, gs.RandomNegatives(1), 10, 20),
                "random, 5 a positive, 10 draws": fitted(cells, X, gs.RandomNegatives(5), 10, 20),
                "random, 20 a positive, 10 draws": fitted(cells, X, gs.RandomNegatives(20), 10, 20),
            }
            grid = gs.Grid.from_dataarray(evidence)
            for negatives, score in scores.items():
                values = np.full(grid.shape, np.nan, dtype="float32")
                if hasattr(score, "predict_with_spread"):
                    score = score.predict_with_spread(X)[0]
                values[cells.rows, cells.columns] = score
                found = truth_table(grid.to_dataarray(values), district, areas=AREAS)
                rows.append([seed, negatives, *found["undiscovered"]])
            print(f"district {seed} done", flush=True)
    columns = ["district", "negatives", *(f"in {100 * area:g} %" for area in AREAS)]
    counts = pd.DataFrame(rows, columns=columns)
    counts.to_csv(HERE / "memorised_map.csv", index=False)
    mean = counts.groupby("negatives", sort=False)[columns[2:]].mean().round(1)
    error = counts.groupby("negatives", sort=False)[columns[2:]].sem().round(1)
    lines = ["| " + " | ".join(["negatives", *mean.columns]) + " |", "|---" * 4 + "|"]
    for name in mean.index:
        cells = [f"{m} ± {e}" for m, e in zip(mean.loc[name], error.loc[name], strict=True)]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    print("\n".join(lines))
    target = HERE.parent / "docs" / "tables" / "memorised_map.md"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
