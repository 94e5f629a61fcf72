"""Evidence and forest prediction from 1 to 16 million cells × 40 layers: time, memory, exponent.

Each size runs in its own process: 40 elements are gridded from 3,000 samples into a Zarr store, 100
extra trees are fitted to 100 deposits, and the whole area is scored block by block into a
GeoTIFF. Prints a table with seconds, peak memory and the exponent of time against cells, and
writes it as CSV.

    python benchmarks/scaling.py [--sizes 1 4 10 16]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
ELEMENTS = [
    "Ag",
    "As",
    "Au",
    "B",
    "Ba",
    "Be",
    "Bi",
    "Cd",
    "Ce",
    "Co",
    "Cr",
    "Cs",
    "Cu",
    "F",
    "Ga",
    "Hf",
    "Hg",
    "In",
    "La",
    "Li",
    "Mn",
    "Mo",
    "Nb",
    "Ni",
    "P",
    "Pb",
    "Rb",
    "Sb",
    "Sc",
    "Se",
    "Sn",
    "Sr",
    "Ta",
    "Th",
    "Ti",
    "Tl",
    "U",
    "V",
    "W",
    "Zn",
]


def write_survey(folder: Path, cells: int) -> Path:
    """A survey of 3,000 samples of 40 elements and 100 deposits on ``cells`` cells of 100 m."""
    rng = np.random.default_rng(0)
    side = 100.0 * np.ceil(np.sqrt(cells))
    places = rng.uniform(0, side, (3000, 2))
    values = np.exp(rng.normal(3, 1, (3000, len(ELEMENTS))))
    samples = pd.DataFrame(values, columns=[f"{name}_ppm" for name in ELEMENTS])
    samples.insert(0, "x", places[:, 0])
    samples.insert(1, "y", places[:, 1])
    samples.to_csv(folder / "samples.csv", index=False)
    deposits = rng.uniform(0, side, (100, 2))
    pd.DataFrame(deposits, columns=["x", "y"]).to_csv(folder / "deposits.csv", index=False)
    study = folder / "study.toml"
    study.write_text(
        f"""
name = "scaling"
[area]
crs = "EPSG:32650"
cell_size = 100
extent = [0.0, 0.0, {side}, {side}]
[deposits]
file = "deposits.csv"
x = "x"
y = "y"
crs = "EPSG:32650"
[[samples]]
name = "soil"
file = "samples.csv"
x = "x"
y = "y"
crs = "EPSG:32650"
max_distance = {side}
"""
    )
    return study


def run(cells: int) -> dict[str, float]:
    """Time and peak memory of one size, in this process."""
    import gossan as gs
    from gossan import io
    from gossan.validate import study_cells

    with tempfile.TemporaryDirectory() as folder:
        study = gs.read_study(write_survey(Path(folder), cells))
        gs.build_evidence(gs.read_study(write_survey(Path(folder), 10_000)))  # compile first
        study = gs.read_study(write_survey(Path(folder), cells))
        start = time.perf_counter()
        evidence = gs.build_evidence(study, store=Path(folder) / "evidence.zarr")
        built = time.perf_counter()
        (file,) = study.resolve(study.deposits.file)
        labels = gs.label_cells(evidence, io.read_deposits(study.deposits, file, evidence.rio.crs))
        cells_of = study_cells(evidence, labels)
        trees = gs.make_model("extra-trees", n_estimators=100, random_state=0)
        model = gs.DrawEnsemble(trees, gs.RandomNegatives(5))
        model.fit(cells_of.features, cells_of.labels, cells_of.coordinates)
        del cells_of
        fitted = time.perf_counter()
        io.write_map(Path(folder) / "map.tif", gs.predict_map(model, evidence))
        done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {
        "cells": int(np.prod(labels.shape)),
        "evidence_s": round(built - start, 1),
        "prediction_s": round(done - fitted, 1),
        "peak_gb": round(peak, 2),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sizes", type=float, nargs="+", default=[1, 4, 10, 16])
    arguments.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        print(json.dumps(run(options.one)))
        return
    rows = []
    for millions in options.sizes:
        command = [sys.executable, __file__, "--one", str(int(millions * 1e6))]
        rows.append(json.loads(subprocess.check_output(command).splitlines()[-1]))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    logs = np.log(table[["cells", "evidence_s", "prediction_s"]])
    for column in ("evidence_s", "prediction_s"):
        exponent = np.polyfit(logs["cells"], logs[column], 1)[0] if len(table) > 1 else np.nan
        table[column.replace("_s", "_exponent")] = round(float(exponent), 3)
    print(table.to_string(index=False))
    table.to_csv(HERE / "scaling.csv", index=False)


if __name__ == "__main__":
    main()
