"""A study → every finding: each source tried by itself, so that one cannot hide the others."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from gossan.evidence import build_evidence, study_grid, valid_cells
from gossan.exceptions import GossanError, SurveyDataWarning
from gossan.grid import Grid
from gossan.io import read_deposits
from gossan.labels import label_cells
from gossan.quality.deposits import judge_deposits
from gossan.quality.findings import Finding, StudyCheck
from gossan.quality.layers import CellSample, score_sample
from gossan.quality.samples import (
    SampleSurvey,
    judge_places,
    judge_reach,
    judge_samples,
    nuggets_by_layer,
)
from gossan.quality.streaks import judge_streaks
from gossan.quality.verdicts import judge_layers
from gossan.study import Raster, Samples, Study, Vector

Progress = Callable[[int, int], None]
"""Told (sources done, sources in all)."""

# What the evidence's own history says too, and is found there.
_IN_HISTORY = re.compile(
    r"^.*: layer '.*' was left out\.$|Left out, being below detection|occur more than once"
    r"|No detection limit is told"
)
_CELLS_IN_MEMORY = 2_000_000
_FEW_CELLS, _MANY_CELLS = 1_000, 50_000_000
_NO_DEPOSITS = Finding(
    "note",
    "[deposits]",
    "The study names no known deposits: no layer can be set beside them, and no map be learnt.",
    "`gossan regions`, and `gossan analogues` with --at or --within, need none. For a map of "
    "prospectivity add a table [deposits] with their file.",
)
Source = Samples | Raster | Vector


def check_study(study: Study, *, progress: Progress | None = None) -> StudyCheck:
    """Find what is wrong with a study's data, where, and how to mend it.

    Parameters
    ----------
    study : Study
        From :func:`gossan.study.read_study`.
    progress : callable, optional
        Told (sources done, sources in all).

    Returns
    -------
    StudyCheck
        Findings, errors first, and the scores of every layer that could be built. It never stops
        at the first error: each source is read by itself.

    Examples
    --------
    >>> from gossan.study import parse_study
    >>> settings = {
    ...     "name": "hills",
    ...     "area": {"crs": "EPSG:32650", "cell_size": 500.0},
    ...     "deposits": {"file": "mines.csv"},
    ...     "rasters": [{"name": "magnetics", "file": "mag.tif"}],
    ... }
    >>> check = check_study(parse_study(settings, Path("study.toml")))
    >>> [(finding.severity, finding.place) for finding in check.findings]
    [('error', 'magnetics'), ('error', '[deposits]')]
    """
    findings: list[Finding] = []
    has_area = _area_is_sound(study, findings)
    sources = [s for s in study.sources if _is_readable(study, s, has_area, findings)]
    deposits_path = _first_path(study, findings)
    if not (has_area and sources):
        return StudyCheck.of(findings)
    with _saying("[area]", findings):
        grid = study_grid(_only(study, sources))
        findings.extend(_judge_grid(grid))
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) if grid.size > _CELLS_IN_MEMORY else None
            pinned = _pinned(study, grid)
            parts = _build_parts(pinned, sources, store, findings, progress)
            if parts:
                evidence = _stacked(parts)
                labels, deposits = _label(study, evidence, deposits_path, findings)
                check = check_evidence(_only(study, sources), evidence, labels, deposits)
                return StudyCheck.of([*findings, *check.findings], check.layer_scores)
    return StudyCheck.of(findings)


def check_evidence(
    study: Study,
    evidence: xr.DataArray,
    labels: xr.DataArray | None = None,
    deposits: gpd.GeoDataFrame | None = None,
) -> StudyCheck:
    """Check a study of which evidence and labels are built already.

    Parameters
    ----------
    study : Study
        From :func:`gossan.study.read_study`.
    evidence : xarray.DataArray
        From :func:`gossan.evidence.build_evidence`.
    labels : xarray.DataArray, optional
        From :func:`gossan.labels.label_cells`.
    deposits : geopandas.GeoDataFrame, optional
        The deposits behind ``labels``.
    """
    findings: list[Finding] = []
    grid, nuggets = Grid.from_dataarray(evidence), dict[str, float]()
    names, origins = evidence["layer"].to_numpy(), evidence["source"].to_numpy()
    for source in study.samples:
        with _saying(source.name, findings):
            survey = SampleSurvey.read(source, study.resolve(source.file), grid)
            findings.extend(judge_samples(survey))
            findings.extend(judge_reach(survey, evidence))
            nuggets |= nuggets_by_layer(survey, list(names[origins == source.name]))
    sample = CellSample.draw(evidence, labels, random_state=study.seed)
    scores = score_sample(evidence, sample, nuggets=nuggets)
    findings.extend(judge_layers(study, evidence, sample, scores))
    findings.extend(judge_streaks(study, evidence))
    if labels is not None and deposits is not None:
        findings.extend(judge_deposits(study, evidence, labels, deposits))
    return StudyCheck.of(findings, scores)


@contextmanager
def _saying(place: str, findings: list[Finding]) -> Iterator[None]:
    """Turn what the body raises and warns of into findings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SurveyDataWarning)
        try:
            yield
        except GossanError as error:
            findings.append(Finding("error", place, str(error)))
            return
    for warning in caught:
        if issubclass(warning.category, SurveyDataWarning):
            if not _IN_HISTORY.search(str(warning.message)):
                findings.append(Finding("warning", place, str(warning.message)))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def _area_is_sound(study: Study, findings: list[Finding]) -> bool:
    """Whether the files that [area] names are there, and a raster to be like can be."""
    with _saying("[area]", findings):
        for file in (study.area.like, study.area.mask):
            if file is not None:
                study.resolve(file)
        if study.area.like is not None:
            study_grid(study)
        return True
    return False


def _is_readable(study: Study, source: Source, has_area: bool, findings: list[Finding]) -> bool:
    """Whether a source's files are there and say where they lie."""
    before = len(findings)
    with _saying(source.name, findings):
        paths = study.resolve(source.file)
        if isinstance(source, Samples):
            findings.extend(judge_places(source, paths))
        if has_area:
            study_grid(_only(study, [source]))
    return all(finding.severity != "error" for finding in findings[before:])


def _only(study: Study, sources: Sequence[Source]) -> Study:
    """The same study with some of its sources."""
    chosen = {id(source) for source in sources}
    kinds = {
        kind: [source for source in getattr(study, kind) if id(source) in chosen]
        for kind in ("samples", "rasters", "vectors")
    }
    return study.model_copy(update=kinds)


def _pinned(study: Study, grid: Grid) -> Study:
    """The same study, its grid no longer resting on which sources it has; base layers only."""
    area = study.area
    if area.like is None:
        area = area.model_copy(update={"extent": grid.bounds})
    method = study.method.model_copy(update={"focal": []})
    return study.model_copy(update={"area": area, "method": method})


def _judge_grid(grid: Grid) -> Iterator[Finding]:
    if grid.size < _FEW_CELLS:
        yield Finding(
            "warning", "[area]", f"{grid.size} cells are few to learn from.", "Lower cell_size."
        )
    if grid.size > _MANY_CELLS:
        yield Finding(
            "note",
            "[area]",
            f"{grid.size / 1e6:,.0f} million cells: expect a long run.",
            "Try a larger cell_size first.",
        )


def _build_parts(
    study: Study,
    sources: Sequence[Source],
    store: Path | None,
    findings: list[Finding],
    progress: Progress | None,
) -> list[xr.DataArray]:
    """The layers of each source that can be built."""
    parts = []
    for i, source in enumerate(sources):
        path = None if store is None else store / f"{i}.zarr"
        with _saying(source.name, findings):
            parts.append(build_evidence(_only(study, [source]), store=path))
        if progress is not None:
            progress(i + 1, len(sources))
    return parts


def _stacked(parts: Sequence[xr.DataArray]) -> xr.DataArray:
    """One stack of all parts; layers that share a name get their source's before it."""
    inside = np.logical_or.reduce([valid_cells(part) for part in parts])
    history = [entry for part in parts for entry in json.loads(part.attrs.get("history", "[]"))]
    bare = [part.drop_vars("mask", errors="ignore") for part in parts]
    stack = xr.concat(bare, dim="layer", combine_attrs="drop", join="override")
    names = pd.Series(stack["layer"].to_numpy())
    origins = pd.Series(stack["source"].to_numpy())
    names = names.where(~names.duplicated(keep=False), origins + ": " + names)
    stack = stack.assign_coords(layer=names.to_numpy(dtype=object), mask=(("y", "x"), inside))
    return stack.assign_attrs(history=json.dumps(history))


def _first_path(study: Study, findings: list[Finding]) -> Path | None:
    path = None
    if study.deposits is None:
        findings.append(_NO_DEPOSITS)
        return path
    with _saying("[deposits]", findings):
        path = study.resolve(study.deposits.file)[0]
    return path


def _label(
    study: Study, evidence: xr.DataArray, path: Path | None, findings: list[Finding]
) -> tuple[xr.DataArray | None, gpd.GeoDataFrame | None]:
    """Labels and deposits, or None where they cannot be had."""
    if path is not None:
        with _saying("[deposits]", findings):
            deposits = read_deposits(study.known, path, evidence.rio.crs)
            with warnings.catch_warnings():
                # Deposits that are not used are found by name in their own check.
                warnings.simplefilter("ignore", SurveyDataWarning)
                return label_cells(evidence, deposits, footprint=study.known.footprint), deposits
    return None, None
