"""`gossan annotate`: rounds of annotation over a whole study, and a geologist's review of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from gossan import io
from gossan.annotate import (
    GEOLOGIST,
    Annotation,
    RecursiveAnnotator,
    RecursiveNegatives,
    annotation_frame,
    annotation_log,
    geologist_rows,
)
from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.pipeline.folder import Progress, RunFolder, run_folder
from gossan.pipeline.inputs import ANNOTATION, annotation_digest, annotation_file, opened
from gossan.pipeline.settings import check_settings
from gossan.report import annotation_style, convergence_plot, layer_styles, png_bytes, round_maps
from gossan.study import Study
from gossan.validate import StudyCells, study_cells

OUTPUTS = [
    "annotation.json",
    "annotation.parquet",
    "annotation-rounds.png",
    "annotation-convergence.png",
]


def annotate_study(
    study: Study, *, output: Path | None = None, progress: Progress | None = None
) -> Path:
    """Annotate a study's unlabelled cells, round by round, for a geologist to review.

    A geologist's decisions in ``annotation.gpkg`` (accept, reject, deposit) are read first,
    honoured in every round, and written back with the model's.

    Parameters
    ----------
    study : Study
        Its ``[negatives]`` parameters are taken where its sampler is ``recursive``.
    output : path, optional
        The run folder; default ``runs/<name>`` beside the study file.
    progress : callable, optional
        Told (stage, steps done, steps in all).

    Returns
    -------
    pathlib.Path
        The run folder, with ``annotation.gpkg`` (one point a cell: round, score, decision, by
        whom), ``annotation.parquet`` (the log: one row a cell and round), ``annotation.json``
        (one entry a round, and the round chosen), ``annotation-rounds.png`` and
        ``annotation-convergence.png``. An ``annotation.gpkg`` that was edited is kept as it was
        saved in ``reviews``.

    Raises
    ------
    gossan.exceptions.GossanError
        For whatever is wrong with the survey's files or settings, with the annotation, or if the
        annotation was edited while this ran, is open in another program, or holds decisions that
        the study does not read: then nothing of it is replaced.
    """
    path = run_folder(study, output)
    check_settings(study)
    _refuse_open(path / ANNOTATION)
    with opened(study, path, progress) as at_hand:
        run, keys, decisions = at_hand.run, at_hand.keys, at_hand.decisions
        labels = at_hand.labels
        if not run.finished("annotation", keys["annotation"], [ANNOTATION, *OUTPUTS]):
            _refuse_unread(study, run, decisions)
            _keep_edited(run)
            outputs = [ANNOTATION, *OUTPUTS]
            with run.making("annotation", keys["annotation"], outputs):
                found, cells = _annotate(study, run, at_hand.evidence, labels)
                _refuse_edited(study, path, at_hand.annotation)
                _refuse_open(path / ANNOTATION)
                grid = Grid.from_dataarray(labels)
                _write(path, found, cells, grid, at_hand.deposits, decisions)
    return path


def annotator(study: Study) -> RecursiveAnnotator:
    """The annotator that a study asks for: every cell is judged."""
    settings: dict[str, Any] = {}
    if study.negatives.sampler == "recursive":
        settings = dict(study.negatives.parameters)
    sampler = RecursiveNegatives(**{**settings, "max_cells": None})
    return sampler.annotator(study.seed)


def _annotate(
    study: Study, run: RunFolder, evidence: xr.DataArray, labels: xr.DataArray
) -> tuple[Annotation, StudyCells]:
    cells = study_cells(evidence, labels)
    decided = None
    if "decision" in labels.coords:
        decided = labels["decision"].to_numpy()[cells.rows, cells.columns]
    found = annotator(study).annotate(
        cells.features,
        cells.labels,
        cells.coordinates,
        decisions=decided,
        progress=run.steps("annotation"),
    )
    return found, cells


def _write(
    path: Path,
    found: Annotation,
    cells: StudyCells,
    grid: Grid,
    deposits: gpd.GeoDataFrame,
    decisions: gpd.GeoDataFrame | None,
) -> None:
    frame = annotation_frame(found, grid, cells.rows, cells.columns, reviewed=decisions)
    styles = layer_styles({"annotation": annotation_style()})
    io.write_annotation(path / ANNOTATION, frame, styles=styles)
    io.write_log(path / OUTPUTS[1], _log(found, cells, frame))
    io.write_json(
        path / OUTPUTS[0],
        {"chosen": found.chosen, "rounds": found.rounds.to_dict("records")},
    )
    scores = _on_grid(found.scores, found, cells, grid, np.nan)
    codes = _on_grid(found.decisions, found, cells, grid, 0)
    figure = round_maps(scores, codes, deposits.to_crs(grid.crs), chosen=found.chosen)
    io.write_bytes(path / OUTPUTS[2], png_bytes(figure))
    figure = convergence_plot(found.rounds, chosen=found.chosen)
    io.write_bytes(path / OUTPUTS[3], png_bytes(figure))


def _log(found: Annotation, cells: StudyCells, frame: gpd.GeoDataFrame) -> Iterator[pd.DataFrame]:
    signed = frame[frame["decision"].isin(GEOLOGIST)]
    authors = signed.set_index(["row", "column"])["by"]
    for number in range(len(found.rounds)):
        yield annotation_log(found, cells.rows, cells.columns, number, authors)


def _on_grid(
    values: np.ndarray, found: Annotation, cells: StudyCells, grid: Grid, missing: float
) -> xr.DataArray:
    """(round, y, x) of values (round, annotated cells)."""
    array = np.full((len(values), *grid.shape), missing, dtype=values.dtype)
    array[:, cells.rows[found.cells], cells.columns[found.cells]] = values
    template = grid.to_dataarray(np.zeros(grid.shape, np.float32))
    return xr.DataArray(array, dims=("round", "y", "x"), coords=template.coords)


def _refuse_edited(study: Study, path: Path, before: str | None) -> None:
    """Never write over what a geologist saved meanwhile."""
    if annotation_digest(study, path) != before:
        file = annotation_file(study, path)
        raise SurveyDataError(
            f"{file} was edited while the annotation ran; it is left as it is. Run again, and "
            "the new decisions are honoured."
        )


def _refuse_open(file: Path) -> None:
    """Never replace a file that another program has open: what it saves next would be lost."""
    for ending in ("-wal", "-journal"):
        beside = file.with_name(file.name + ending)
        if beside.exists():
            raise SurveyDataError(
                f"{file} is open in another program, as {beside.name} beside it says; it is left "
                "as it is. Save there and remove the layer, as in QGIS, then run again. If no "
                "program has it open, one crashed: open the file in QGIS once more and close it."
            )


def _keep_edited(run: RunFolder) -> None:
    """Keep an edited file as it was saved: it may hold notes, columns and layers of one's own."""
    file = run.path / ANNOTATION
    if run.edited("annotation", ANNOTATION):
        kept = run.path / "reviews" / f"annotation-{io.file_digest(file)[:12]}.gpkg"
        if not kept.exists():
            io.write_bytes(kept, file.read_bytes())


def _refuse_unread(study: Study, run: RunFolder, decisions: gpd.GeoDataFrame | None) -> None:
    """Never write over what a geologist decided here while the study names another file."""
    file = run.path / ANNOTATION
    if study.negatives.annotation is None or not run.edited("annotation", ANNOTATION):
        return
    read = set() if decisions is None else _places(decisions)
    unread = _places(geologist_rows(io.read_annotation(file), str(file))) - read
    if unread:
        raise SurveyDataError(
            f"{file} holds {len(unread)} decision(s) that are not in "
            f"{study.negatives.annotation!r}, which the study names under [negatives]. Copy them "
            "there, or remove the file if they are of no use."
        )


def _places(decisions: gpd.GeoDataFrame) -> set[tuple[str, str]]:
    return set(zip(decisions.to_wkt().geometry, decisions["decision"], strict=True))
