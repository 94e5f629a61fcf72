"""What an in-sample background is worth to a method that has no skill: the case for cross-fitting.

Each method is cross-validated twice on nanling: with the background it was trained on as negatives,
and with the cross-fitted background that gossan uses. Then the deposits are put at random places,
where honest skill is nothing (an AUC near 0.5). A method that learns patches is cross-fitted alone,
and once as if it learnt cells: by all parts' models, with barren ground in the dead zones hidden.
Prints a table, writes it as CSV and Markdown. Finished rows are kept in a scratch folder.

    python benchmarks/background_leak.py [--null-draws 5]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest.mock import patch

import geopandas as gpd
import joblib
import numpy as np
import pandas as pd

import gossan as gs
from gossan import io
from gossan.evaluate import held_out_summary, percentile_ranks
from gossan.evidence import valid_cells
from gossan.models import CellExtraTrees
from gossan.validate import deposit_cells, study_cells

HERE = Path(__file__).resolve().parent
SCRATCH = HERE / "scratch" / "background_leak"
PATCHES = "selective-transfer, without a source"
METHODS = {
    "extra trees, fully grown": CellExtraTrees(100, min_samples_leaf=1, random_state=0),
    "extra-trees": gs.make_model("extra-trees", random_state=0),
    "logistic-regression": gs.make_model("logistic-regression", random_state=0),
    PATCHES: gs.make_model(
        "selective-transfer", random_state=0, transfer=False, width=8, accelerator="cpu"
    ),
}


def in_sample(model, evidence, labels, splitter):
    """Ranks where the background is scored by the model that trained on it."""
    cells = study_cells(evidence, labels)
    centres = deposit_cells(cells, labels)
    background = np.flatnonzero(cells.labels == -1)
    ranks, folds = [], []
    splits = splitter.split(cells.coordinates, cells.labels, cells.deposits)
    for fold, (train, test) in enumerate(splits):
        ensemble = gs.DrawEnsemble(model, gs.AllUnlabelled()).fit(
            cells.features[train], cells.labels[train], cells.coordinates[train]
        )
        held_out = np.unique(cells.deposits[test])
        held_out = held_out[(held_out >= 0) & (centres[held_out] >= 0)]
        at_deposits = ensemble.predict_with_spread(cells.features[centres[held_out]])[0]
        scores = ensemble.predict_with_spread(cells.features[background])[0]
        ranks.append(percentile_ranks(at_deposits, scores))
        folds.append(np.full(len(held_out), fold))
    return held_out_summary(np.concatenate(ranks), np.concatenate(folds))


def cross_fitted(model, evidence, labels, splitter):
    """Ranks as gossan reports them."""
    return gs.cross_validate(
        model, evidence, labels, splitter=splitter, negatives=gs.AllUnlabelled()
    ).held_out


def as_cells(model, evidence, labels, splitter):
    """Ranks of a method of patches if it were judged as one of cells."""
    with (
        patch("gossan.validate.background.learns_patches", return_value=False),
        patch("gossan.validate.folds.learns_patches", return_value=False),
    ):
        return cross_fitted(model, evidence, labels, splitter)


def random_deposits(evidence, count, seed):
    """As many "deposits" as there are, at random places with evidence."""
    grid = gs.Grid.from_dataarray(evidence)
    rows, columns = np.nonzero(valid_cells(evidence))
    chosen = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    places = grid.coordinates(rows[chosen], columns[chosen])
    names = [f"random {i}" for i in range(count)]
    return gpd.GeoDataFrame({"name": names}, geometry=gpd.points_from_xy(*places.T), crs=grid.crs)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--null-draws", type=int, default=5)
    options = arguments.parse_args()
    study = gs.read_study(HERE.parent / "examples" / "nanling" / "study.toml")
    evidence = gs.build_evidence(study)
    (file,) = study.resolve(study.deposits.file)
    deposits = io.read_deposits(study.deposits, file, evidence.rio.crs)
    labels = gs.label_cells(evidence, deposits)
    kept = io.JsonFolder(SCRATCH)
    rows = []
    for name, model in METHODS.items():
        rankers = {"in-sample": in_sample, "cross-fitted": cross_fitted}
        if name == PATCHES:
            rankers = {"cross-fitted as cells": as_cells, "cross-fitted": cross_fitted}
        for background, ranker in rankers.items():
            code = io.network_code("gossan.nn.selective_transfer") if name == PATCHES else ""
            key = joblib.hash((background, model, options.null_draws, len(deposits), code))
            if key not in kept:
                figures = ranker(model, evidence, labels, gs.DepositClusterFolds(6))
                null = [
                    ranker(
                        model,
                        evidence,
                        gs.label_cells(evidence, random_deposits(evidence, len(deposits), seed)),
                        gs.DepositClusterFolds(6, random_state=seed),
                    )["auc_background"]
                    for seed in range(options.null_draws)
                ]
                kept[key] = {
                    "method": name,
                    "background": background,
                    "AUC, deposits": round(figures["auc_background"], 3),
                    "in 5 % of area": round(figures["capture"]["0.05"], 2),
                    "AUC, random places": round(float(np.mean(null)), 3),
                }
            rows.append(kept[key])
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(HERE / "background_leak.csv", index=False)
    header = "| " + " | ".join(table.columns) + " |\n" + "|---" * len(table.columns) + "|\n"
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    folder = HERE.parent / "docs" / "tables"
    (folder / "background_leak.md").write_text(header + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
