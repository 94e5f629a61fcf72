"""Recursive annotation of 1 to 10 million unlabelled cells × 40 layers: time a round, peak memory.

Each size runs in its own process: the evidence is built into a Zarr store, then every unlabelled
cell is scored out of bag in round 0 and in one round after it, by thirty members of ten trees.
Prints a table with the exponent of time against cells, and writes it as CSV.

    python benchmarks/annotation_scale.py [--sizes 1 4 10]
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
from scaling import write_survey

HERE = Path(__file__).resolve().parent


def run(cells: int) -> dict[str, float]:
    """Time a round and peak memory of one size, in this process."""
    import gossan as gs
    from gossan.validate import study_cells

    with tempfile.TemporaryDirectory() as folder:
        study = gs.read_study(write_survey(Path(folder), cells))
        evidence = gs.build_evidence(study, store=Path(folder) / "evidence.zarr")
        labels = gs.label_cells(evidence, gs.read_deposits(study))
        ground = study_cells(evidence, labels)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        marks = [time.perf_counter()]
        annotator = gs.RecursiveAnnotator(max_rounds=1)
        annotator.annotate(
            ground.features,
            ground.labels,
            ground.coordinates,
            progress=lambda *_: marks.append(time.perf_counter()),
        )
    return {
        "cells": len(ground.labels),
        "layers": evidence.sizes["layer"],
        "seconds_a_round": round((marks[-1] - marks[0]) / (len(marks) - 1), 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2),
        "peak_before_gb": round(before, 2),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sizes", type=float, nargs="+", default=[1, 4, 10])
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
    if len(table) > 1:
        logs = np.log(table[["cells", "seconds_a_round"]])
        table["exponent"] = round(float(np.polyfit(*logs.to_numpy().T, 1)[0]), 3)
    print(table.to_string(index=False))
    table.to_csv(HERE / "annotation_scale.csv", index=False)


if __name__ == "__main__":
    main()
