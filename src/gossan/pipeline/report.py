"""The report of a run: what its stages left, and what other commands have left beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import xarray as xr

from gossan import io
from gossan.datasets import truth_table
from gossan.exceptions import StudyError
from gossan.grid import Grid
from gossan.methods import METHODS
from gossan.pipeline.analogues import searches_shown
from gossan.pipeline.compare import comparison_shown
from gossan.pipeline.folder import MAP, Progress, RunFolder, model_files, other_folder, run_folder
from gossan.pipeline.inputs import OpenStudy, opened, study_decisions
from gossan.pipeline.keys import shown_digests, stage_keys, versions
from gossan.pipeline.learnt import learnt_stage
from gossan.pipeline.likeness import likeness_stage
from gossan.pipeline.regions import regions_shown
from gossan.pipeline.settings import median_resolution, model_in_words
from gossan.pipeline.transfer import transfer_shown
from gossan.quality import StudyCheck
from gossan.report import (
    AnaloguesShown,
    ReportInputs,
    area_thresholds,
    labels_style,
    render_report,
    score_style,
    targets_style,
)
from gossan.study import Study

CHECKED = ".stages/check-result.json"
IMPORTANCE = ".stages/importance.json"
TRUTH = ".stages/truth.parquet"
_THUMBNAILS = 12


def renew_report(
    study: Study, *, output: Path | None = None, progress: Progress | None = None
) -> Path | None:
    """Write a finished run's report anew, with what other commands have found since.

    Parameters
    ----------
    study : Study
    output : path, optional
        Run folder; default as :func:`run_study`'s.
    progress : callable, optional
        Told (stage, steps done, steps in all).

    Returns
    -------
    path or None
        The report; None where the study was not run as it is now: then there is none to renew.

    Raises
    ------
    StudyError
        If files of the run are missing or were edited since.
    """
    path = run_folder(study, output)
    if study.deposits is None or not (path / "report.html").exists():
        return None
    run, keys = RunFolder(path), stage_keys(study, decisions=study_decisions(study, path))
    stages = _stages(study)
    if any(run.made_of(stage) != keys[stage] for stage in stages):
        return None
    for stage, outputs in stages.items():
        if not run.holds(stage, keys[stage], outputs):
            raise StudyError(
                f"{' or '.join(str(path / name) for name in outputs)} is not as the run left it: "
                "`gossan run` makes it and the report anew."
            )
    with opened(study, path, progress) as at_hand:
        return write_report(study, at_hand)


def _stages(study: Study) -> dict[str, list[str]]:
    """What a report rests on, and the files of it."""
    return {
        "check": [CHECKED],
        "evaluation": ["evaluation.json"],
        "model": model_files(study),
        "map": [MAP],
        "targets": ["targets.gpkg", IMPORTANCE],
    }


def write_report(study: Study, at_hand: OpenStudy) -> Path:
    """Render the report of finished stages, and the QGIS styles; always made anew."""
    run, keys, evidence = at_hand.run, at_hand.keys, at_hand.evidence
    model, _ = io.load_model(run.path / "model")
    chapters = {
        "pretraining": learnt_stage(run, keys["model"], model, evidence),
        "transfer": transfer_shown(model, evidence),
        "regions": regions_shown(study, at_hand),
        "analogues": AnaloguesShown(
            **likeness_stage(study, at_hand), searches=searches_shown(study, at_hand)
        ),
        **comparison_shown(study, at_hand),
    }
    start = time.perf_counter()
    run.progress("report", 0, 1)
    score = io.read_map(run.path / MAP)
    file = run.path / "report.html"
    io.write_text(file, render_report(_inputs(study, at_hand, score, chapters)))
    thresholds = area_thresholds(score.to_numpy())
    targets = io.read_targets(run.path / "targets.gpkg")
    io.write_text(run.path / "prospectivity.qml", score_style(thresholds))
    io.write_text(run.path / "labels.qml", labels_style())
    io.write_text(run.path / "targets.qml", targets_style(len(targets)))
    run.timings["report"] = round(time.perf_counter() - start, 3)
    run.progress("report", 1, 1)
    return file


def _inputs(
    study: Study, at_hand: OpenStudy, score: xr.DataArray, chapters: Mapping[str, Any]
) -> ReportInputs:
    """Gather what the report shows."""
    path, evidence = at_hand.run.path, at_hand.evidence
    evaluation = io.read_json(path / "evaluation.json")
    check = StudyCheck.from_dict(io.read_json(path / CHECKED))
    ranked = pd.DataFrame(evaluation["deposits"]).set_index("deposit")
    history = json.loads(evidence.attrs.get("history", "[]"))
    kept = at_hand.run.holds("truth", at_hand.keys["labels"], [TRUTH])
    truth = io.read_places(path / TRUTH) if kept else None
    importance = pd.DataFrame(io.read_json(path / IMPORTANCE))
    shown = importance["layer"].head(_THUMBNAILS)
    return ReportInputs(
        study_name=study.name,
        method_title=METHODS[study.method.name].title,
        score=score,
        spread=score["spread"],
        deposits=at_hand.deposits.assign(rank=ranked["rank"], fold=ranked["fold"]),
        evaluation=evaluation,
        targets=io.read_targets(path / "targets.gpkg"),
        layer_scores=check.layer_scores,
        findings=check.findings,
        importance=importance,
        evidence={layer: _thumbnail(evidence.sel(layer=layer)) for layer in shown},
        reliability=pd.DataFrame(evaluation["calibration"]["reliability"]),
        settings=study.model_dump(mode="json", exclude_none=True),
        provenance={
            "seed": study.seed,
            "estimator": model_in_words(study),
            "versions": versions(deep=METHODS[study.method.name].deep),
            "inputs (SHA-256)": shown_digests(study, at_hand.digests),
        },
        history=[f"{entry['source']}: {entry['message']}" for entry in history],
        truth=None if truth is None else truth_table(score, truth).reset_index(),
        hidden=None if truth is None else truth[~truth["known"]],
        study_file=study.path.name,
        output=other_folder(study, path),
        resolution=median_resolution(evidence) * Grid.from_dataarray(evidence).metres_per_unit,
        **chapters,
    )


def keep_truth(at_hand: OpenStudy, truth: gpd.GeoDataFrame) -> None:
    """Keep the truth of a synthetic district, as long as the known deposits are these."""
    with at_hand.run.making("truth", at_hand.keys["labels"], [TRUTH]):
        io.write_places(at_hand.run.path / TRUTH, truth)


def _thumbnail(layer: xr.DataArray) -> xr.DataArray:
    """A layer at about a hundred cells across: all that a small picture can show."""
    step = max(1, max(layer.shape) // 100)
    return layer[::step, ::step].compute()
