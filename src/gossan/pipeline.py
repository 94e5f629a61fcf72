"""A study end to end; each stage's output kept under the hash of what made it."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from gossan import io
from gossan.datasets import truth_table
from gossan.draws import DrawEnsemble
from gossan.evidence import build_evidence, study_grid
from gossan.exceptions import StudyError, SurveyDataError
from gossan.explain import layer_contributions, layer_importance
from gossan.labels import label_cells, make_sampler
from gossan.methods import METHODS, make_model
from gossan.predict import predict_map
from gossan.quality import StudyCheck, check_evidence
from gossan.report import (
    ReportInputs,
    area_thresholds,
    labels_style,
    layer_styles,
    peaks_style,
    render_report,
    score_style,
    targets_style,
)
from gossan.splits import make_splitter
from gossan.study import Study
from gossan.targets import describe_drivers, find_targets
from gossan.validate import StudyCells, cross_validate, deposit_cells, draw_stability, study_cells

Progress = Callable[[str, int, int], None]
"""Told (stage, steps done, steps in all) while a study runs."""

_BACKGROUND_SAMPLE = 2_000
_THUMBNAILS = 12


@dataclass
class RunFolder:
    """Where a run leaves its files, and which stages are finished there.

    A stage is finished when its record holds the same key, the hash of everything that made it,
    and its files still have the content it left. A record is written after the files, so a run
    killed at any moment does that stage again and no other; so does a damaged or edited file.
    """

    path: Path
    progress: Progress
    timings: dict[str, float] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)

    def finished(self, stage: str, key: str, outputs: list[str]) -> bool:
        """Whether the stage's files are there, whole, and made from the very same things."""
        record = io.read_json_if_whole(self._record(stage)) or {}
        if record.get("key") != key or record.get("outputs") != self._contents(outputs):
            return False
        self.timings[stage] = record.get("seconds", 0.0)
        self.reused.append(stage)
        return True

    @contextmanager
    def making(self, stage: str, key: str, outputs: list[str]) -> Iterator[None]:
        """Time a stage and record it as finished on the way out, unless it fails."""
        self._record(stage).unlink(missing_ok=True)
        start = time.perf_counter()
        self.progress(stage, 0, 1)
        yield
        self.timings[stage] = round(time.perf_counter() - start, 3)
        record = {"key": key, "seconds": self.timings[stage], "outputs": self._contents(outputs)}
        io.write_json(self._record(stage), record)
        self.progress(stage, 1, 1)

    def forget(self, stage: str) -> None:
        """Take a stage's record back, so that the next run makes it anew."""
        self._record(stage).unlink(missing_ok=True)

    def _contents(self, outputs: list[str]) -> dict[str, str] | None:
        """SHA-256 of each file or folder; None where one is missing."""
        paths = {output: self.path / output for output in outputs}
        if not all(path.exists() for path in paths.values()):
            return None
        return {output: io.file_digest(path) for output, path in paths.items()}

    def steps(self, stage: str) -> Callable[[int, int], None]:
        """A progress callback for the steps within a stage."""
        return lambda done, total: self.progress(stage, done, total)

    def fold_store(self, key: str) -> MutableMapping[str, dict[str, Any]]:
        """Finished folds of the cross-validation, kept one file each."""
        return io.JsonFolder(self.path / ".stages" / "folds" / key[:16])

    def _record(self, stage: str) -> Path:
        return self.path / ".stages" / f"{stage}.json"


def run_folder(study: Study, output: Path | None = None) -> Path:
    """Where a study's run goes: ``runs/<name>`` beside the study file, unless told otherwise."""
    if output is not None:
        return Path(output)
    return study.path.resolve().parent / "runs" / io.file_stem(study.name)


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
        and ``manifest.json``.

    Raises
    ------
    gossan.exceptions.GossanError
        For whatever is wrong with the survey's files or settings.
    """
    path = run_folder(study, output)
    check_settings(study)
    _refuse_foreign(path)
    with io.folder_lock(path):
        _claim(path, study)
        run = RunFolder(path, progress or (lambda *_: None))
        digests = input_digests(study)
        keys = stage_keys(study, digests)
        evidence = _evidence(study, run, keys["evidence"])
        deposits = read_deposits(study)
        labels = _labels(study, run, keys["labels"], evidence, deposits)
        _refuse_changed(study, run, digests)
        check = _check(study, run, keys["check"], evidence, labels, deposits)
        evaluation = _evaluation(study, run, keys, evidence, labels, deposits)
        model = _model(study, run, keys["model"], evidence, labels)
        score = _map(run, keys["map"], model, evidence)
        _targets(study, run, keys["targets"], model, evidence, labels, score, deposits)
        _report(study, run, digests, evidence, deposits, check, evaluation, score, truth)
        _manifest(study, run, keys, digests)
    return path


def stage_keys(study: Study, digests: dict[Path, str] | None = None) -> dict[str, str]:
    """The hash of everything each stage is made from: code, files, settings, earlier stages."""
    digests = input_digests(study) if digests is None else digests

    def of(*files: str | None) -> list[tuple[str, str]]:
        paths = [path for file in files if file for path in study.resolve(file)]
        return [(path.name, digests[path]) for path in paths]

    evidence = _hash(
        [_own_code(), _versions()],
        study.area.model_dump(),
        [source.model_dump() for source in study.sources],
        study.method.focal,
        of(study.area.like, study.area.mask, *(source.file for source in study.sources)),
    )
    labels = _hash(evidence, study.deposits.model_dump(), of(study.deposits.file))
    method = [study.method.model_dump(), study.negatives.model_dump(), study.seed]
    model = _hash(labels, method)
    folds = _hash(labels, method, study.validation.model_dump(exclude={"bootstrap"}))
    return {
        "evidence": evidence,
        "labels": labels,
        "check": _hash(labels, study.model_dump()),
        "folds": folds,
        "evaluation": _hash(folds, study.validation.bootstrap),
        "model": model,
        "map": model,
        "targets": _hash(model, study.targets.model_dump()),
    }


def input_digests(study: Study) -> dict[Path, str]:
    """SHA-256 of every file that a study names, side files included."""
    return {file: io.input_digest(file) for file in sorted(set(study.files()))}


def read_deposits(study: Study) -> gpd.GeoDataFrame:
    """The known deposits of a study, as points in its CRS with a column ``name``."""
    path = study.resolve_one(study.deposits.file)
    return io.read_deposits(study.deposits, path, study_grid(study).crs)


def study_model(study: Study) -> tuple[Any, Any, int]:
    """The unfitted estimator, the sampler and the number of draws that a study asks for."""
    parameters = dict(study.method.parameters)
    if study.method.name == "weights-of-evidence":  # a deposit is its footprint's cells
        parameters.setdefault("cells_per_deposit", float(study.deposits.footprint**2))
    model = make_model(
        study.method.name, random_state=study.seed, screen=study.method.screen, **parameters
    )
    method = METHODS[study.method.name]
    sampler, parameters = study.negatives.sampler, study.negatives.parameters
    if sampler == "default":
        sampler, parameters = method.negatives, {**method.negatives_parameters, **parameters}
    return model, make_sampler(sampler, **parameters), study.negatives.draws or method.draws


def check_settings(study: Study) -> None:
    """Raise now, not after an hour, if the method, the sampler or the splitter cannot be."""
    study_model(study)
    study_splitter(study)


def _refuse_foreign(path: Path) -> None:
    """Refuse a folder with files that no run of gossan left."""
    if path.is_dir() and any(path.iterdir()) and not (path / ".stages").is_dir():
        raise StudyError(
            f"{path} is not empty and is no run of gossan. Choose another folder with --output."
        )


def _claim(path: Path, study: Study) -> None:
    """Mark the folder as this study's, or refuse it as another's."""
    marker = path / ".stages" / "study.json"
    claim = {"name": study.name, "study": str(study.path.resolve())}
    record = io.read_json(marker) if marker.exists() else claim
    if record != claim:
        raise StudyError(
            f"{path} holds the run of another study, {record.get('name')!r} of "
            f"{record.get('study')}. Choose another folder with --output, or remove it."
        )
    io.write_json(marker, claim)


def _refuse_changed(study: Study, run: RunFolder, digests: dict[Path, str]) -> None:
    """Stop if a file changed between being hashed and being read."""
    if {"evidence", "labels"} <= set(run.reused):
        return
    for file, digest in input_digests(study).items():
        if digests.get(file) != digest:
            run.forget("evidence")
            run.forget("labels")
            raise SurveyDataError(f"{file} changed while the run was reading it. Run again.")


def _evidence(study: Study, run: RunFolder, key: str) -> xr.DataArray:
    store = run.path / "evidence.zarr"
    outputs = ["evidence.zarr"]
    if not run.finished("evidence", key, outputs):
        with run.making("evidence", key, outputs):
            build_evidence(study, store=store, progress=run.steps("evidence"))
    return io.open_evidence(store)


def _labels(
    study: Study,
    run: RunFolder,
    key: str,
    evidence: xr.DataArray,
    deposits: gpd.GeoDataFrame,
) -> xr.DataArray:
    labels = label_cells(evidence, deposits, footprint=study.deposits.footprint)
    outputs = ["labels.tif"]
    if not run.finished("labels", key, outputs):
        with run.making("labels", key, outputs):
            io.write_labels(run.path / "labels.tif", labels)
    return labels


def _check(
    study: Study,
    run: RunFolder,
    key: str,
    evidence: xr.DataArray,
    labels: xr.DataArray,
    deposits: gpd.GeoDataFrame,
) -> StudyCheck:
    file = run.path / ".stages" / "check-result.json"
    outputs = [".stages/check-result.json"]
    if not run.finished("check", key, outputs):
        with run.making("check", key, outputs):
            check = check_evidence(study, evidence, labels, deposits)
            io.write_json(file, check.to_dict())
    return StudyCheck.from_dict(io.read_json(file))


def _evaluation(
    study: Study,
    run: RunFolder,
    keys: dict[str, str],
    evidence: xr.DataArray,
    labels: xr.DataArray,
    deposits: gpd.GeoDataFrame,
) -> dict[str, Any]:
    key = keys["evaluation"]
    file = run.path / "evaluation.json"
    outputs = ["evaluation.json"]
    if run.finished("evaluation", key, outputs):
        return io.read_json(file)
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
        cells = study_cells(evidence, labels, window=int(getattr(model, "window", 1)))
        names = [str(name) for name in deposits["name"]]
        stability = draw_stability(
            model, cells, negatives=sampler, n_draws=n_draws, random_state=study.seed
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
            "held_out": validation.held_out,
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
    return io.read_json(file)


def study_splitter(study: Study) -> Any:
    """The splitter that a study asks for."""
    settings = study.validation
    parameters: dict[str, Any] = {"dead_zone": settings.dead_zone}
    if settings.splitter != "leave-one-deposit-out":
        parameters |= {"n_splits": settings.folds, "random_state": study.seed}
    return make_splitter(settings.splitter, **parameters)


def _model(
    study: Study, run: RunFolder, key: str, evidence: xr.DataArray, labels: xr.DataArray
) -> Any:
    folder = run.path / "model"
    outputs = ["model/model.skops", "model/model.json"]
    if not run.finished("model", key, outputs):
        with run.making("model", key, outputs):
            model, sampler, n_draws = study_model(study)
            cells = study_cells(evidence, labels, window=int(getattr(model, "window", 1)))
            ensemble = DrawEnsemble(model, sampler, n_draws, study.seed)
            ensemble.fit(cells.features, cells.labels, cells.coordinates)
            description = {
                "study": study.name,
                "method": study.method.model_dump(),
                "layers": [str(name) for name in evidence["layer"].to_numpy()],
                "window": ensemble.window,
            }
            io.save_model(folder, ensemble, description)
    # Always the saved model, so that a resumed run and a fresh one use the very same object.
    return io.load_model(folder)[0]


def _map(run: RunFolder, key: str, model: Any, evidence: xr.DataArray) -> xr.DataArray:
    file = run.path / "prospectivity.tif"
    outputs = ["prospectivity.tif"]
    if not run.finished("map", key, outputs):
        with run.making("map", key, outputs):
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
    outputs = ["targets.gpkg", ".stages/importance.json"]
    if run.finished("targets", key, outputs):
        return
    with run.making("targets", key, outputs):
        targets, _ = find_targets(score, labels, deposits, **study.targets.model_dump())
        cells = study_cells(evidence, labels, window=int(getattr(model, "window", 1)))
        layers = [str(name) for name in evidence["layer"].to_numpy()]
        targets, importance = _drivers(study, model, cells, labels, targets, layers)
        points = targets.drop(columns="geometry").set_geometry(
            gpd.points_from_xy(targets["easting"], targets["northing"], crs=targets.crs)
        )
        styles = layer_styles({"targets": targets_style(len(targets)), "points": peaks_style()})
        io.write_targets(run.path / "targets.gpkg", targets, points, styles=styles)
        io.write_json(
            run.path / ".stages" / "importance.json", importance.reset_index().to_dict("list")
        )


def _drivers(
    study: Study,
    model: Any,
    cells: StudyCells,
    labels: xr.DataArray,
    targets: gpd.GeoDataFrame,
    layers: list[str],
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """What lifts each target, and each layer's weight over targets and known deposits."""
    rng = np.random.default_rng(study.seed)
    count = min(_BACKGROUND_SAMPLE, len(cells.labels))
    ordinary = cells.features[np.sort(rng.choice(len(cells.labels), count, replace=False))]
    index = np.full(labels.shape, -1, dtype=np.int64)
    index[cells.rows, cells.columns] = np.arange(len(cells.rows))
    at_targets = index[targets["row"].to_numpy(), targets["column"].to_numpy()]
    at_deposits = deposit_cells(cells, labels)
    explained = np.concatenate([at_targets, at_deposits[at_deposits >= 0]])
    X = cells.features[explained]
    contributions = layer_contributions(model, X, ordinary, random_state=study.seed)
    middle = (slice(None), slice(None), *[size // 2 for size in X.shape[2:]])
    percentiles = _percentiles(X[: len(targets)][middle], ordinary[middle])
    described = describe_drivers(targets, contributions[: len(targets)], percentiles, layers)
    return described, layer_importance(contributions, layers)


def _percentiles(values: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Share of the sample below each value, layer by layer; NaN where the value is missing."""
    result = np.full(values.shape, np.nan)
    for layer in range(values.shape[1]):
        known = np.sort(sample[:, layer][np.isfinite(sample[:, layer])])
        observed = np.isfinite(values[:, layer])
        if len(known):
            below = np.searchsorted(known, values[observed, layer], side="right")
            result[observed, layer] = below / len(known)
    return result


def _report(
    study: Study,
    run: RunFolder,
    digests: dict[Path, str],
    evidence: xr.DataArray,
    deposits: gpd.GeoDataFrame,
    check: StudyCheck,
    evaluation: dict[str, Any],
    score: xr.DataArray,
    truth: gpd.GeoDataFrame | None,
) -> None:
    """Render the report and the QGIS styles; cheap, so always made anew."""
    start = time.perf_counter()
    run.progress("report", 0, 1)
    inputs = report_inputs(
        study, run.path, digests, evidence, deposits, check, evaluation, score, truth
    )
    io.write_text(run.path / "report.html", render_report(inputs))
    thresholds = area_thresholds(score.to_numpy())
    io.write_text(run.path / "prospectivity.qml", score_style(thresholds))
    io.write_text(run.path / "labels.qml", labels_style())
    io.write_text(
        run.path / "targets.qml", targets_style(len(io.read_targets(run.path / "targets.gpkg")))
    )
    run.timings["report"] = round(time.perf_counter() - start, 3)
    run.progress("report", 1, 1)


def report_inputs(
    study: Study,
    path: Path,
    digests: dict[Path, str],
    evidence: xr.DataArray,
    deposits: gpd.GeoDataFrame,
    check: StudyCheck,
    evaluation: dict[str, Any],
    score: xr.DataArray,
    truth: gpd.GeoDataFrame | None = None,
) -> ReportInputs:
    """Gather what a finished run's report shows."""
    ranked = pd.DataFrame(evaluation["deposits"]).set_index("deposit")
    history = json.loads(evidence.attrs.get("history", "[]"))
    hidden = None if truth is None else truth[~truth["known"]]
    importance = pd.DataFrame(io.read_json(path / ".stages" / "importance.json"))
    shown = importance["layer"].head(_THUMBNAILS)
    return ReportInputs(
        study_name=study.name,
        method_title=METHODS[study.method.name].title,
        score=score,
        spread=score["spread"],
        deposits=deposits.assign(rank=ranked["rank"], fold=ranked["fold"]),
        evaluation=evaluation,
        targets=io.read_targets(path / "targets.gpkg"),
        layer_scores=check.layer_scores,
        findings=check.findings,
        importance=importance,
        evidence={layer: _thumbnail(evidence.sel(layer=layer)) for layer in shown},
        settings=study.model_dump(mode="json", exclude_none=True),
        provenance={
            "seed": study.seed,
            "versions": _versions(),
            "inputs (SHA-256)": _shown_digests(study, digests),
        },
        history=[f"{entry['source']}: {entry['message']}" for entry in history],
        truth=None if truth is None else truth_table(score, truth).reset_index(),
        hidden=hidden,
    )


def _manifest(study: Study, run: RunFolder, keys: dict[str, str], digests: dict[Path, str]) -> None:
    io.write_json(
        run.path / "manifest.json",
        {
            "study": study.name,
            "seed": study.seed,
            "settings": study.model_dump(mode="json"),
            "inputs": _shown_digests(study, digests),
            "stages": keys,
            "timings_s": run.timings,
            "reused": run.reused,
            "versions": _versions(),
        },
    )


def _thumbnail(layer: xr.DataArray) -> xr.DataArray:
    """A layer at about a hundred cells across: all that a small picture can show."""
    step = max(1, max(layer.shape) // 100)
    return layer[::step, ::step].compute()


def _versions() -> dict[str, str]:
    packages = ["gossan", "numpy", "scipy", "pandas", "scikit-learn", "numba", "xarray", "zarr"]
    packages += ["rasterio", "shapely", "dask"]
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _shown_digests(study: Study, digests: dict[Path, str]) -> dict[str, str]:
    """The inputs' SHA-256 by their paths relative to the study's folder."""
    return {
        str(file.relative_to(study.folder) if file.is_relative_to(study.folder) else file): digest
        for file, digest in digests.items()
    }


@cache
def _own_code() -> str:
    """Hash of gossan itself: what other code made is not taken for this code's work."""
    code = Path(__file__).parent
    return _hash([(f.name, io.file_digest(f)) for f in sorted(code.rglob("*.py"))])


def _hash(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
