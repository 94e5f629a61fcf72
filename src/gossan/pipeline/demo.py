"""A synthetic district with known truth, through every chapter of the report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gossan import io
from gossan.datasets import synthetic_district, truth_table, write_district
from gossan.pipeline.analogues import analogues_study
from gossan.pipeline.compare import compare_study
from gossan.pipeline.folder import MAP, Progress
from gossan.pipeline.regions import regions_study
from gossan.pipeline.report import renew_report
from gossan.pipeline.run import run_study
from gossan.study import read_study

COMPARED = [
    "extra-trees",
    "weights-of-evidence",
    "logistic-regression",
    "bagging-pu",
    "analogues",
    "isolation-forest",
]
"""Methods of the demo's comparison: one of each kind, and none that takes minutes."""


def run_demo(
    folder: Path, *, seed: int = 0, progress: Progress | None = None
) -> tuple[Path, pd.DataFrame]:
    """Make a district's files, run the study, and ask for regions, analogues and a comparison.

    The report then has every chapter that needs no network.

    Parameters
    ----------
    folder : path
        Where the district's files go.
    seed : int, default 0
        Another seed, another geology.
    progress : callable, optional
        Told (stage, steps done, steps in all).

    Returns
    -------
    path : pathlib.Path
        The run folder.
    found : pandas.DataFrame
        How many of the district's deposits the top of the map holds.
    """
    district = synthetic_district(seed=seed)
    study = read_study(write_district(district, folder))
    path = run_study(study, truth=district.truth, progress=progress)
    regions_study(study, progress=progress)
    analogues_study(study, like=_best_found(path), count=5, progress=progress)
    compare_study(study, methods=COMPARED, negatives=["default"], controls=False, progress=progress)
    renew_report(study, progress=progress)
    return path, truth_table(io.read_map(path / MAP), district.truth)


def _best_found(path: Path) -> str:
    """The known deposit that ranked highest when it was held out."""
    deposits = io.read_json(path / "evaluation.json")["deposits"]
    return str(max(deposits, key=lambda deposit: deposit["rank"])["name"])
