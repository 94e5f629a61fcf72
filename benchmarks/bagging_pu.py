"""Bagging PU against pulearn's BaggingPuClassifier: seconds at equal members and equal skill.

On a synthetic district (200 × 250 cells, every layer of its study) both learn from the same known
deposits and unlabelled cells, with the same number of the same trees and as many unlabelled cells
a tree, and score every cell. Skill is held out: the area under the curve of the undiscovered
deposits against all other cells. Prints a table of ratios measured in one run and writes it as CSV.

    python benchmarks/bagging_pu.py [--members 200] [--districts 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pulearn import BaggingPuClassifier
from sklearn.tree import DecisionTreeClassifier

import gossan as gs
from gossan.datasets import synthetic_district, write_district
from gossan.evaluate import auc_background
from gossan.models import BaggingPU
from gossan.validate import study_cells

HERE = Path(__file__).resolve().parent


def district_cells(seed: int, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, layers), labels (1 known, -1 unlabelled), cells of undiscovered deposits."""
    district = synthetic_district(seed)
    study = gs.read_study(write_district(district, folder / str(seed)))
    evidence = gs.build_evidence(study)
    labels = gs.label_cells(evidence, gs.read_deposits(study))
    cells = study_cells(evidence, labels)
    rows, columns = gs.Grid.from_dataarray(evidence).locate(
        district.undiscovered.geometry.x.to_numpy(), district.undiscovered.geometry.y.to_numpy()
    )
    hidden = np.zeros(labels.shape, dtype=int)
    hidden[rows, columns] = 1
    X = np.nan_to_num(cells.features[np.arange(len(cells.labels))])  # pulearn takes no gaps
    return X, cells.labels, hidden[cells.rows, cells.columns]


def timed(model: Any, X: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Seconds to fit, seconds to score every cell, scores."""
    start = time.perf_counter()
    model.fit(X, y)
    fitted = time.perf_counter()
    scores = model.predict_proba(X)[:, 1]
    return fitted - start, time.perf_counter() - fitted, scores


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--members", type=int, default=200)
    arguments.add_argument("--districts", type=int, default=5)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.districts):
            X, y, hidden = district_cells(seed, Path(folder))
            n_positive = int((y == 1).sum())
            # pulearn fits its trees to every cell, those not drawn with a weight of nothing: the
            # least leaf, 5 % of what a tree learns from, is to be told by weight.
            tree = DecisionTreeClassifier(min_weight_fraction_leaf=0.05, max_features="sqrt")
            peers = {
                "gossan": BaggingPU(options.members, random_state=seed),
                "pulearn": BaggingPuClassifier(
                    tree,
                    n_estimators=options.members,
                    max_samples=n_positive,
                    bootstrap=False,
                    oob_score=False,
                    n_jobs=-1,
                    random_state=seed,
                ),
            }
            known = y == 1
            for name, model in peers.items():
                unlabelled = 0 if name == "pulearn" else -1
                fit, score, scores = timed(model, X, np.where(known, 1, unlabelled))
                auc = auc_background(np.where(known, np.nan, scores), np.where(known, 0, hidden))
                rows.append([seed, name, len(X), X.shape[1], fit, score, auc])
            print(rows[-2:], flush=True)
    columns = ["district", "peer", "cells", "layers", "fit_s", "score_s", "auc_undiscovered"]
    table = pd.DataFrame(rows, columns=columns)
    mean = table.groupby("peer")[["fit_s", "score_s", "auc_undiscovered"]].mean()
    mean["total_s"] = mean["fit_s"] + mean["score_s"]
    for part in ("fit_s", "score_s", "total_s"):
        mean[f"{part[:-2]}_times_gossan"] = mean[part] / mean.loc["gossan", part]
    mean["auc_minus_gossan"] = mean["auc_undiscovered"] - mean.loc["gossan", "auc_undiscovered"]
    print(mean.round(4).to_string())
    mean.round(4).to_csv(HERE / "bagging_pu.csv")


if __name__ == "__main__":
    main()
