"""The first stages, which every verb shares: evidence and labels in the run folder."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import xarray as xr

from gossan import io
from gossan.annotate import geologist_rows, label_decided, mark_decisions
from gossan.evidence import build_evidence, valid_cells
from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.labels import label_cells
from gossan.pipeline.folder import RunFolder
from gossan.pipeline.keys import input_digests
from gossan.study import Study

ANNOTATION = "annotation.gpkg"


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
    labels = label_cells(evidence, deposits, footprint=study.deposits.footprint)
    if decisions is not None and len(decisions):
        file = str(annotation_file(study, run.path))
        labels = mark_decisions(labels, decisions, file, observed=valid_cells(evidence))
    outputs = ["labels.tif"]
    if not run.finished("labels", key, outputs):
        with run.making("labels", key, outputs):
            io.write_labels(run.path / "labels.tif", _training_labels(labels))
    return labels


def refuse_changed(study: Study, run: RunFolder, digests: dict[Path, str]) -> None:
    """Stop if a file changed between being hashed and being read."""
    if {"evidence", "labels"} <= set(run.reused):
        return
    for file, digest in input_digests(study).items():
        if digests.get(file) != digest:
            run.forget("evidence")
            run.forget("labels")
            raise SurveyDataError(f"{file} changed while the run was reading it. Run again.")


def _training_labels(labels: xr.DataArray) -> xr.DataArray:
    if "decision" not in labels.coords:
        return labels
    decided = label_decided(labels.to_numpy(), labels["decision"].to_numpy())
    return Grid.from_dataarray(labels).to_dataarray(decided.clip(-1), name="labels")
