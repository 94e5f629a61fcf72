"""The first stages, which every verb shares: evidence and labels in the run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import xarray as xr

from gossan import io
from gossan.annotate import geologist_rows, label_decided, mark_decisions
from gossan.evidence import build_evidence, valid_cells
from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.labels import label_cells
from gossan.pipeline.folder import Progress, RunFolder, claim, refuse_foreign
from gossan.pipeline.keys import input_digests, stage_keys
from gossan.pipeline.settings import read_deposits
from gossan.study import Study

ANNOTATION = "annotation.gpkg"


@dataclass(frozen=True)
class OpenStudy:
    """A study whose run folder is held: what every verb starts from.

    Attributes
    ----------
    run : RunFolder
    digests : dict
        SHA-256 of the input files.
    annotation : str or None
        SHA-256 of the annotation before its decisions were read.
    decisions : geopandas.GeoDataFrame or None
        A geologist's rows of the annotation.
    keys : dict
        Hash of what each stage is made from.
    evidence, labels : xarray.DataArray
    deposits : geopandas.GeoDataFrame
    """

    run: RunFolder
    digests: dict[Path, str]
    annotation: str | None
    decisions: gpd.GeoDataFrame | None
    keys: dict[str, str]
    evidence: xr.DataArray
    labels: xr.DataArray
    deposits: gpd.GeoDataFrame


@dataclass(frozen=True)
class OpenEvidence:
    """A study's evidence in its run folder, which is held; deposits where it names any.

    Attributes
    ----------
    run : RunFolder
    keys : dict
        Hash of what each stage is made from.
    decisions : geopandas.GeoDataFrame or None
        A geologist's rows of the annotation.
    evidence : xarray.DataArray
    deposits : geopandas.GeoDataFrame or None
    """

    run: RunFolder
    keys: dict[str, str]
    decisions: gpd.GeoDataFrame | None
    evidence: xr.DataArray
    deposits: gpd.GeoDataFrame | None


@contextmanager
def _held(study: Study, path: Path, progress: Progress | None) -> Iterator[RunFolder]:
    """Hold a study's run folder, with its networks, for as long as it is open."""
    refuse_foreign(path)
    with io.folder_lock(path), io.networks_kept(path / ".stages" / "networks"):
        claim(path, study)
        yield RunFolder(path, progress or (lambda *_: None))


@contextmanager
def opened_evidence(study: Study, path: Path, progress: Progress | None) -> Iterator[OpenEvidence]:
    """Hold a study's run folder, and make the evidence there; a study without deposits has it."""
    with _held(study, path, progress) as run:
        digests = input_digests(study)
        decisions = study_decisions(study, path)
        keys = stage_keys(study, digests, decisions)
        deposits = None if study.deposits is None else read_deposits(study)
        evidence = evidence_stage(study, run, keys["evidence"])
        refuse_changed(study, run, digests)
        yield OpenEvidence(run, keys, decisions, evidence, deposits)


@contextmanager
def opened(study: Study, path: Path, progress: Progress | None) -> Iterator[OpenStudy]:
    """Hold a study's run folder, and make evidence and labels there; it needs known deposits."""
    _ = study.known  # refused before a folder is made
    with _held(study, path, progress) as run:
        digests = input_digests(study)
        annotation = annotation_digest(study, path)
        decisions = study_decisions(study, path)
        keys = stage_keys(study, digests, decisions)
        deposits = read_deposits(study)  # first: what is wrong with them is told at once
        evidence = evidence_stage(study, run, keys["evidence"])
        labels = labels_stage(study, run, keys["labels"], evidence, deposits, decisions)
        refuse_changed(study, run, digests)
        yield OpenStudy(run, digests, annotation, decisions, keys, evidence, labels, deposits)


def annotation_digest(study: Study, path: Path) -> str | None:
    """SHA-256 of the annotation that a study reads; None where there is none."""
    file = annotation_file(study, path)
    return io.file_digest(file) if file.exists() else None


def annotation_file(study: Study, path: Path) -> Path:
    """The annotation that a study reads: the one it names, else the one in its run folder."""
    if study.negatives.annotation is not None:
        return study.resolve_one(study.negatives.annotation)
    return path / ANNOTATION


def study_decisions(study: Study, path: Path) -> gpd.GeoDataFrame | None:
    """A geologist's rows of the study's annotation; None where there is no annotation."""
    file = annotation_file(study, path)
    if not file.exists():
        return None
    return geologist_rows(io.read_annotation(file), str(file))


def evidence_stage(study: Study, run: RunFolder, key: str) -> xr.DataArray:
    """The evidence stack, built unless it is there."""
    store = run.path / "evidence.zarr"
    outputs = ["evidence.zarr"]
    if not run.finished("evidence", key, outputs):
        with run.making("evidence", key, outputs):
            build_evidence(study, store=store, progress=run.steps("evidence"))
    return io.open_evidence(store)


def labels_stage(
    study: Study,
    run: RunFolder,
    key: str,
    evidence: xr.DataArray,
    deposits: gpd.GeoDataFrame,
    decisions: gpd.GeoDataFrame | None = None,
) -> xr.DataArray:
    """Labels of deposits, with a geologist's decisions as the coordinate ``decision``.

    ``labels.tif`` shows what trains: an accepted cell as barren, a deposit of the geologist's as
    a deposit.
    """
    labels = study_labels(study, run.path, evidence, deposits, decisions)
    outputs = ["labels.tif"]
    if not run.finished("labels", key, outputs):
        with run.making("labels", key, outputs):
            io.write_labels(run.path / "labels.tif", decided_labels(labels))
    return labels


def study_labels(
    study: Study,
    path: Path,
    evidence: xr.DataArray,
    deposits: gpd.GeoDataFrame,
    decisions: gpd.GeoDataFrame | None,
) -> xr.DataArray:
    """Labels of deposits, with a geologist's decisions as the coordinate ``decision``."""
    labels = label_cells(evidence, deposits, footprint=study.known.footprint)
    if decisions is None or not len(decisions):
        return labels
    file = str(annotation_file(study, path))
    return mark_decisions(labels, decisions, file, observed=valid_cells(evidence))


def refuse_changed(study: Study, run: RunFolder, digests: dict[Path, str]) -> None:
    """Stop if a file changed between being hashed and being read."""
    if {"evidence", "labels"} <= set(run.reused):
        return
    for file, digest in input_digests(study).items():
        if digests.get(file) != digest:
            run.forget("evidence")
            run.forget("labels")
            raise SurveyDataError(f"{file} changed while the run was reading it. Run again.")


def decided_labels(labels: xr.DataArray) -> xr.DataArray:
    """What trains: an accepted cell as barren (0), a geologist's deposit as a deposit (1)."""
    if "decision" not in labels.coords:
        return labels
    decided = label_decided(labels.to_numpy(), labels["decision"].to_numpy())
    return Grid.from_dataarray(labels).to_dataarray(decided.clip(-1), name="labels")
