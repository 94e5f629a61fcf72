"""A study end to end; each stage's output kept under the hash of what made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from gossan import io
from gossan.annotate import count_decisions
from gossan.draws import DrawEnsemble
from gossan.explain import explain_cells, layer_importance, percentiles
from gossan.looks import learns_in_folds
from gossan.methods import METHODS
from gossan.pipeline.explain import analogues_of, background_sample
from gossan.pipeline.folder import (
    CONTRIBUTIONS,
    MAP,
    SEEN,
    WEIGHTS,
    Progress,
    RunFolder,
    model_files,
    run_folder,
)
from gossan.pipeline.inputs import ANNOTATION, decided_labels, opened
from gossan.pipeline.keys import shown_digests, versions
from gossan.pipeline.ranked import write_ranked
from gossan.pipeline.report import CHECKED, IMPORTANCE, keep_truth, write_report
from gossan.pipeline.settings import (
    check_settings,
    least_distance,
    model_in_words,
    study_model,
    study_splitter,
)
from gossan.predict import predict_map
from gossan.quality import check_evidence
from gossan.study import Study
from gossan.targets import describe_drivers, find_targets
from gossan.validate import (
    ModelView,
    StudyCells,
    cross_validate,
    deposit_cells,
    draw_stability,
    held_out_calibration,
    study_cells,
)

SEEN_AT_MOST = 2_000
"""Cells of what a model saw that are kept beside it."""


def run_study(
    study: Study,
    *,
    output: Path | None = None,
    truth: gpd.GeoDataFrame | None = None,
    progress: Progress | None = None,
) -> Path:
    """Run a study: evidence → negatives → model → held-out evaluation → map, targets, report.

    Each stage is kept under the hash of its inputs and settings: run again, only what changed,
    and what depends on it, is made anew; a killed run goes on at its last finished stage or fold.

    Parameters
    ----------
    study : Study
        From :func:`gossan.study.read_study`.
    output : path, optional
        The run folder; default ``runs/<name>`` beside the study file.
    truth : geopandas.GeoDataFrame, optional
        Of a synthetic district: all its deposits, with a column ``known``. Only the report sees it.
    progress : callable, optional
        Told (stage, steps done, steps in all).

    Returns
    -------
    pathlib.Path
        The run folder, holding the files that DESIGN lists: ``evidence.zarr``, ``labels.tif``,
        ``prospectivity.tif``, ``targets.gpkg``, ``evaluation.json``, ``report.html``, ``model/``
        and ``manifest.json``; of a method with a pretrained network ``embedding.zarr`` and
        ``embedding.tif`` too.

    Raises
    ------
    gossan.exceptions.GossanError
        For whatever is wrong with the survey's files or settings.
    """
    path = run_folder(study, output)
    check_settings(study)
    with opened(study, path, progress) as at_hand:
        run, digests, keys = at_hand.run, at_hand.digests, at_hand.keys
        evidence, labels, deposits = at_hand.evidence, at_hand.labels, at_hand.deposits
        _check(study, run, keys["check"], evidence, labels, deposits)
        _learn_evidence(study, run, keys, evidence, labels)
        _evaluation(study, run, keys, evidence, labels, deposits)
        model = _model(study, run, keys["model"], evidence, labels)
        score = _map(run, keys["map"], model, evidence)
        if run.made_of("contributions") != keys["map"]:
            run.withdraw("contributions", CONTRIBUTIONS)
        _targets(study, run, keys["targets"], model, evidence, labels, score, deposits)
        if truth is not None:
            keep_truth(at_hand, truth)
        write_report(study, at_hand)
        _manifest(study, run, keys, digests, at_hand.annotation)
    return path


def _learn_evidence(
    study: Study, run: RunFolder, keys: dict[str, str], evidence: xr.DataArray, labels: xr.DataArray
) -> None:
    """Pretrain before anything else, so that it has a bar of its own; later stages find it kept."""
    model = study_model(study)[0]
    todo = any(run.made_of(stage) != keys[stage] for stage in ("evaluation", "model"))
    if todo and hasattr(model, "learn_evidence") and not learns_in_folds(model):
        seen = study_cells(evidence, labels).features.evidence
        model.learn_evidence(seen, progress=run.steps("pretraining"))


def _check(
    study: Study,
    run: RunFolder,
    key: str,
    evidence: xr.DataArray,
    labels: xr.DataArray,
    deposits: gpd.GeoDataFrame,
) -> None:
    if not run.finished("check", key, [CHECKED]):
        with run.making("check", key, [CHECKED]):
            check = check_evidence(study, evidence, labels, deposits)
            io.write_json(run.path / CHECKED, check.to_dict())


def _evaluation(
    study: Study,
    run: RunFolder,
    keys: dict[str, str],
    evidence: xr.DataArray,
    labels: xr.DataArray,
    deposits: gpd.GeoDataFrame,
) -> None:
    key = keys["evaluation"]
    file = run.path / "evaluation.json"
    outputs = ["evaluation.json"]
    if run.finished("evaluation", key, outputs):
        return
    with run.making("evaluation", key, outputs):
        model, sampler, n_draws = study_model(study)
        settings = study.validation
        validation = cross_validate(
            model,
            evidence,
            labels,
            splitter=study_splitter(study),
            negatives=sampler,
            n_draws=n_draws,
            background_folds=settings.background_folds,
            n_bootstrap=settings.bootstrap,
            random_state=study.seed,
            finished=run.fold_store(keys["folds"]),
            progress=run.steps("evaluation"),
        )
        cells = study_cells(evidence, labels)
        names = [str(name) for name in deposits["name"]]
        stability = draw_stability(
            model,
            cells,
            negatives=sampler,
            n_draws=n_draws,
            random_state=study.seed,
            progress=run.steps("stability"),
        )
        evaluation = {
            "method": study.method.name,
            "negatives": repr(sampler),
            "draws": n_draws,
            "n_deposits": len(validation.deposits),
            "n_cells": validation.n_cells,
            "folds": len(validation.fold_results),
            "splitter": repr(study_splitter(study)),
            "background_folds": settings.background_folds,
            "decisions": count_decisions(labels),
            "held_out": validation.held_out,
            "calibration": held_out_calibration(validation.fold_results),
            "rank_stability": stability,
            "deposits": [
                {"deposit": int(d), "name": names[d], "fold": int(f), "rank": float(r)}
                for d, f, r in zip(
                    validation.deposits, validation.folds, validation.ranks, strict=True
                )
            ],
            "per_fold": validation.fold_results,
        }
        io.write_json(file, evaluation)


def _model(
    study: Study, run: RunFolder, key: str, evidence: xr.DataArray, labels: xr.DataArray
) -> Any:
    folder = run.path / "model"
    outputs = model_files(study)
    if not run.finished("model", key, outputs):
        if WEIGHTS not in outputs:
            run.withdraw("model", [WEIGHTS])
        with run.making("model", key, outputs):
            model, sampler, n_draws = study_model(study)
            cells = study_cells(evidence, labels)
            ensemble = DrawEnsemble(model, sampler, n_draws, study.seed)
            ensemble, _ = ModelView(model, cells).fit(ensemble)
            layers = [str(name) for name in evidence["layer"].to_numpy()]
            description = {
                "study": study.name,
                "method": study.method.model_dump(),
                "layers": layers,
                "units": [layer.unit for layer in io.layers_of(evidence)],
                "window": ensemble.window,
            }
            rng = np.random.default_rng(study.seed)
            count = len(cells.labels)
            kept = np.sort(rng.choice(count, min(count, SEEN_AT_MOST), replace=False))
            seen = io.write_seen(run.path / SEEN, cells.features[kept], layers)
            io.save_model(folder, ensemble, {**description, "seen": seen})
    # Always the saved model, so that a resumed run and a fresh one use the very same object.
    return io.load_model(folder)[0]


def _map(run: RunFolder, key: str, model: Any, evidence: xr.DataArray) -> xr.DataArray:
    file = run.path / MAP
    if not run.finished("map", key, [MAP]):
        with run.making("map", key, [MAP]):
            score = predict_map(model, evidence, progress=run.steps("map"))
            io.write_map(file, score)
    return io.read_map(file)


def _targets(
    study: Study,
    run: RunFolder,
    key: str,
    model: Any,
    evidence: xr.DataArray,
    labels: xr.DataArray,
    score: xr.DataArray,
    deposits: gpd.GeoDataFrame,
) -> None:
    outputs = ["targets.gpkg", IMPORTANCE]
    if run.finished("targets", key, outputs):
        return
    with run.making("targets", key, outputs):
        # A cell that a geologist calls a deposit is no new ground either.
        known = decided_labels(labels)
        settings = study.targets.model_dump() | {"min_distance": least_distance(study, evidence)}
        targets, _ = find_targets(score, known, deposits, **settings)
        cells = study_cells(evidence, labels)
        layers = [str(name) for name in evidence["layer"].to_numpy()]
        targets, importance = _drivers(study, run, model, cells, labels, targets, deposits, layers)
        write_ranked(run.path / "targets.gpkg", targets)
        io.write_json(run.path / IMPORTANCE, importance.reset_index().to_dict("list"))


def _drivers(
    study: Study,
    run: RunFolder,
    model: Any,
    cells: StudyCells,
    labels: xr.DataArray,
    targets: gpd.GeoDataFrame,
    deposits: gpd.GeoDataFrame,
    layers: list[str],
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """What lifts each target, and each layer's weight over targets and known deposits."""
    sample = background_sample(cells, study.seed)
    index = np.full(labels.shape, -1, dtype=np.int64)
    index[cells.rows, cells.columns] = np.arange(len(cells.rows))
    at_targets = index[targets["row"].to_numpy(), targets["column"].to_numpy()]
    at_deposits = deposit_cells(cells, labels)
    explained = np.concatenate([at_targets, at_deposits[at_deposits >= 0]])
    contributions = explain_cells(
        model,
        cells.features,
        explained,
        background=sample,
        skip_failed=True,
        random_state=study.seed,
        progress=run.steps("why here"),
    )
    ranks = percentiles(cells.features[at_targets], cells.features[sample])
    like = analogues_of(cells, labels, deposits, at_targets, sample)
    targets = targets.assign(
        analogue=like["analogue"].to_numpy(), analogue_unlike=like["analogue_unlike"].to_numpy()
    )
    described = describe_drivers(targets, contributions[: len(targets)], ranks, layers)
    return described, layer_importance(contributions, layers)


def _manifest(
    study: Study,
    run: RunFolder,
    keys: dict[str, str],
    digests: dict[Path, str],
    annotation: str | None,
) -> None:
    inputs = shown_digests(study, digests)
    if annotation is not None:
        inputs[study.negatives.annotation or ANNOTATION] = annotation
    io.write_json(
        run.path / "manifest.json",
        {
            "study": study.name,
            "seed": study.seed,
            "settings": study.model_dump(mode="json"),
            "inputs": inputs,
            "stages": keys,
            "timings_s": run.timings,
            "reused": run.reused,
            "estimator": model_in_words(study),
            "versions": versions(deep=METHODS[study.method.name].deep),
        },
    )
