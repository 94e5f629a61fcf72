"""The source's protocol on nanling: best of ten draws, eight dual windows, every deposit known.

Zhang, Zuo & Xiong (2021) train on all deposits, 80 % of their cells and as many random others, keep
the draw of least loss, and judge the map by the same deposits. That is a **fitting** rate: it says
how well the map shows what it was shown. Prints each draw's loss and accuracy on the 20 % of cells
left out, and for the eight published windows the fitted AUC and capture; writes both tables and the
figure of anomaly classes. How the method finds deposits it was *not* shown is in docs/results.md.

    python benchmarks/pixel_pair_windows.py [--survey nanling]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import gossan as gs
from gossan import io
from gossan.evaluate import auc_background, capture
from gossan.pipeline import run_folder
from gossan.report.maps import anomaly_maps
from gossan.validate import study_cells

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
WINDOWS = [(5, 7), (5, 9), (5, 11), (5, 13), (7, 35), (9, 35), (11, 35), (13, 35)]
PUBLISHED = ["0.150", "0.197", "0.140", "0.130", "0.097", "0.110", "0.150", "0.106", "0.180"]
PUBLISHED += ["0.198"]
PUBLISHED_ACCURACY = ["0.878", "0.870", "0.879", "0.848", "0.913", "0.857", "0.892", "0.909"]
PUBLISHED_ACCURACY += ["0.870", "0.877"]


def trained(survey: str) -> tuple[gs.Study, gs.DrawEnsemble, xr.DataArray, xr.DataArray]:
    """The study, ten networks as the source trains them, evidence and labels."""
    study = gs.read_study(HERE.parent / "examples" / survey / "study.toml")
    store = run_folder(study) / "evidence.zarr"
    if not store.exists():
        gs.build_evidence(study, store=store)
    evidence = io.open_evidence(store).compute()
    labels = gs.label_cells(evidence, gs.read_deposits(study), footprint=study.deposits.footprint)
    model = gs.make_model(
        "pixel-pairs",
        random_state=study.seed,
        members=10,
        ring_pairs=1_056,
        pairs_per_epoch=1_000_000,  # all of them
        max_epochs=60,
        patience=10,
    )
    cells = study_cells(evidence, labels)
    # Ten times the cells, of which every network draws its own, as many as there are deposits'.
    ensemble = gs.DrawEnsemble(model, gs.RandomNegatives(10.0), 1, study.seed)
    ensemble.fit(cells.features, cells.training_labels, cells.coordinates)
    return study, ensemble, evidence, labels


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--survey", default="nanling")
    options = arguments.parse_args()
    start = time.perf_counter()
    study, ensemble, evidence, labels = trained(options.survey)
    print(f"trained in {time.perf_counter() - start:.0f} s", flush=True)
    model = ensemble.members_[0]
    draws = pd.DataFrame(model.members_)[["validation_loss", "validation_accuracy", "epochs"]]
    draws["published_loss"], draws["published_accuracy"] = PUBLISHED, PUBLISHED_ACCURACY
    print(draws.to_string(), flush=True)
    model.members_ = [min(model.members_, key=lambda member: member["validation_loss"])]
    deposits = gs.read_deposits(study)
    located = labels.attrs["deposit_cells"]
    located = np.unique(located[located[:, 0] >= 0], axis=0)
    known = np.zeros(labels.shape, dtype=int)
    known[tuple(located.T)] = 1
    maps, rows = {}, []
    for inner, outer in WINDOWS:
        model.set_params(inner=inner, outer=outer)
        start = time.perf_counter()
        score = gs.predict_map(model, evidence)
        seconds = time.perf_counter() - start
        at_deposits = score.to_numpy()[known == 1]
        auc = auc_background(score.to_numpy(), known)
        top = capture(at_deposits, score.to_numpy().ravel(), [0.05])[0]
        maps[f"({inner}, {outer})"] = score
        rows.append([f"({inner}, {outer})", outer**2 - inner**2, auc, top, seconds])
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows, columns=["windows", "pairs", "fitted_auc", "fitted_5", "seconds"])
    table.to_csv(HERE / "pixel_pair_windows.csv", index=False, float_format="%.4g")
    figure = anomaly_maps(maps, deposits)
    (DOCS / "figures").mkdir(exist_ok=True)
    figure.savefig(DOCS / "figures" / "pixel-pair-windows.png", dpi=110)
    lines = [
        "| draw | loss | accuracy | published loss | published accuracy |",
        "|---|---|---|---|---|",
    ]
    for k, row in draws.iterrows():
        lines.append(
            f"| {k + 1} | {row['validation_loss']:.3f} | {row['validation_accuracy']:.3f} | "
            f"{row['published_loss']} | {row['published_accuracy']} |"
        )
    lines += ["", "| windows | pairs | fitted AUC | fitted, in 5 % |", "|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {row[0]} | {row[1]:,} | {row[2]:.3f} | {row[3]:.2f} |")
    io.write_text(DOCS / "tables" / "pixel_pair_windows.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
