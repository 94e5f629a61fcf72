"""Why a place scores as it does, from the model that a run saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from affine import Affine

from gossan import io
from gossan.exceptions import StudyError
from gossan.explain import (
    Explainer,
    block_importance,
    explain_cells,
    layer_importance,
    nearest_analogues,
    percentiles,
)
from gossan.grid import Grid
from gossan.mistakes import degrees_hint
from gossan.pipeline.folder import CONTRIBUTIONS, MAP, Progress, model_files, run_folder
from gossan.pipeline.inputs import OpenStudy, opened
from gossan.predict import predict_map
from gossan.report import (
    contribution_maps,
    contribution_range,
    contribution_style,
    coordinate,
    png_bytes,
)
from gossan.study import Study
from gossan.validate import StudyCells, deposit_cells, study_cells

LAYERS_MAPPED = 6
"""Layers in the picture of their contributions."""
BACKGROUND_SAMPLE = 2_000
"""Cells that stand for the ordinary ground of an area."""


@dataclass(frozen=True)
class Explanation:
    """Why one cell scores as it does.

    Attributes
    ----------
    easting, northing : float
        Centre of the cell.
    score, spread : float
    percentile : float
        Share of the study's cells that score less.
    layers : pandas.DataFrame
        One row a layer, the greatest contribution first: ``layer``, ``value``, ``unit``,
        ``percentile`` in the area, ``contribution`` in units of the score.
    layers_observed : int
        Layers that the score stands on.
    deposit : str or None
        The known deposit whose layers are most like the cell's.
    unlike : float
        How unlike it is: mean difference of the layers' percentiles.
    deposit_distance : float
        To that deposit, in units of the CRS.
    """

    easting: float
    northing: float
    score: float
    spread: float
    percentile: float
    layers: pd.DataFrame
    layers_observed: int
    deposit: str | None
    unlike: float
    deposit_distance: float


def explain_study(
    study: Study,
    easting: float,
    northing: float,
    *,
    output: Path | None = None,
    explainer: Explainer = "auto",
    progress: Progress | None = None,
) -> Explanation:
    """Explain the score of a place by the model that ``gossan run`` left.

    Parameters
    ----------
    study : Study
    easting, northing : float
        In the study's CRS.
    output : path, optional
        Run folder; default as :func:`run_study`'s.
    explainer : {"auto", "gradients", "shap", "removal"}, default "auto"
        See :func:`gossan.explain.explain_cells`.
    progress : callable, optional
        Called with (stage, steps done, steps in all).

    Raises
    ------
    StudyError
        If the study was not run, or was run with other files or settings, if the place lies
        outside the study, or the explainer does not suit the model.
    """
    with _finished(study, output, progress) as (at_hand, model):
        score = io.read_map(at_hand.run.path / MAP)
        cells = study_cells(at_hand.evidence, at_hand.labels)
        cell = _cell_at(cells, score, easting, northing)
        sample = background_sample(cells, study.seed)
        contributions = explain_cells(
            model,
            cells.features,
            np.array([cell]),
            background=sample,
            explainer=explainer,
            random_state=study.seed,
            progress=at_hand.run.steps("why here"),
        )[0]
        return _explanation(
            cells, cell, sample, contributions, score, at_hand.labels, at_hand.deposits
        )


def layers_by_blocks(
    study: Study,
    *,
    output: Path | None = None,
    repeats: int = 3,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """What the map of a run leans on: see :func:`gossan.explain.block_importance`.

    Parameters
    ----------
    study : Study
    output : path, optional
        Run folder; default as :func:`run_study`'s.
    repeats : int, default 3
    progress : callable, optional
        Called with (stage, steps done, steps in all).

    Raises
    ------
    StudyError
        As :func:`explain_study`.
    """
    with _finished(study, output, progress) as (at_hand, model):
        cells = study_cells(at_hand.evidence, at_hand.labels)
        centres = deposit_cells(cells, at_hand.labels)
        known = np.zeros(at_hand.labels.shape, dtype=bool)
        known[cells.rows[centres[centres >= 0]], cells.columns[centres[centres >= 0]]] = True
        return block_importance(
            lambda evidence: predict_map(model, evidence).to_numpy(),
            cells.features.evidence,
            known,
            repeats=repeats,
            random_state=study.seed,
            progress=at_hand.run.steps("layers"),
        )


def map_contributions(
    study: Study,
    *,
    cells: int = 2_000,
    output: Path | None = None,
    explainer: Explainer = "auto",
    progress: Progress | None = None,
) -> xr.DataArray:
    """Map what each layer adds to the score of a run, block by block of the area.

    Of each square block one cell is explained, that nearest to its middle. Leaves in the run folder
    ``contributions.tif``, a band a layer, its style for QGIS, and ``contributions.png``, the six
    layers that weigh most, with their sign and without.

    Parameters
    ----------
    study : Study
    cells : int, default 2000
        Cells that are explained, at most: the blocks are as small as that allows.
    output : path, optional
        Run folder; default as :func:`run_study`'s.
    explainer : {"auto", "gradients", "shap", "removal"}, default "auto"
        See :func:`gossan.explain.explain_cells`.
    progress : callable, optional
        Called with (stage, steps done, steps in all).

    Returns
    -------
    xarray.DataArray
        ``(layer, y, x)``, in units of the score, the layers in the order of their mean size; NaN
        where a block has no cell of the study, or its cell could not be explained.

    Raises
    ------
    StudyError
        As :func:`explain_study`.
    """
    with _finished(study, output, progress) as (at_hand, model):
        known = study_cells(at_hand.evidence, at_hand.labels)
        chosen, blocks, grid = _one_a_block(known, Grid.from_dataarray(at_hand.labels), cells)
        found = explain_cells(
            model,
            known.features,
            chosen,
            background=background_sample(known, study.seed),
            explainer=explainer,
            skip_failed=True,
            random_state=study.seed,
            progress=at_hand.run.steps("maps"),
        )
        layers = [str(name) for name in at_hand.evidence["layer"].to_numpy()]
        values = np.full((len(layers), *grid.shape), np.nan, dtype=np.float32)
        values[:, blocks[:, 0], blocks[:, 1]] = found.T
        by_weight = layer_importance(found, layers).index
        maps = grid.to_dataarray(values, layers=layers).sel(layer=by_weight)
        # Recorded with the map's key: the next run knows whose they are, and whether to keep them.
        with at_hand.run.making("contributions", at_hand.keys["map"], CONTRIBUTIONS):
            _write_contributions(at_hand.run.path, maps, at_hand.deposits)
        return maps


def _one_a_block(
    cells: StudyCells, grid: Grid, limit: int
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], Grid]:
    """Of each block of the area the study's cell nearest to its middle, and the blocks' grid.

    Returns
    -------
    chosen : ndarray of int, shape (n,)
    blocks : ndarray of int, shape (n, 2)
        Row and column of each one's block.
    grid : Grid
    """
    places = np.column_stack([cells.rows, cells.columns])
    side = max(1, int(np.sqrt(len(places) / limit)))
    while len(np.unique(places // side, axis=0)) > limit:
        side += 1
    blocks = places // side
    off_middle = np.abs(places - blocks * side - (side - 1) / 2).sum(axis=1)
    shape = -(-grid.shape[0] // side), -(-grid.shape[1] // side)
    number = blocks[:, 0] * shape[1] + blocks[:, 1]
    order = np.lexsort([off_middle, number])
    chosen = order[np.diff(number[order], prepend=-1) > 0]
    a, _, west, _, e, north, *_ = grid.transform
    coarse = Grid(grid.crs, Affine(side * a, 0.0, west, 0.0, side * e, north), shape)
    return chosen, blocks[chosen], coarse


def _write_contributions(path: Path, maps: xr.DataArray, deposits: gpd.GeoDataFrame) -> None:
    """A band a layer, the first the layer that weighs most; its style; the picture."""
    grid = Grid.from_dataarray(maps)
    whole = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), maps.to_numpy())
    names = tuple(str(name) for name in maps["layer"].to_numpy())
    raster, style, picture = (path / name for name in CONTRIBUTIONS)
    io.write_map_blocks(raster, grid, [whole], bands=names)
    io.write_text(style, contribution_style(contribution_range(maps)))
    shown = maps[:LAYERS_MAPPED]
    letters = [chr(ord("A") + place) for place in range(len(shown))]
    io.write_bytes(picture, png_bytes(contribution_maps(shown, deposits, letters)))


@contextmanager
def _finished(
    study: Study, output: Path | None, progress: Progress | None
) -> Iterator[tuple[OpenStudy, Any]]:
    """An open study and the model of its run, if that was made of the same things."""
    path = run_folder(study, output)
    _ = study.known  # without any, no run could make what is lacking
    if not (path / "model" / "model.json").exists():
        raise StudyError(f"There is no model in {path}. `gossan run {study.path}` makes one.")
    with opened(study, path, progress) as at_hand:
        _refuse_unfinished(study, at_hand, "model", model_files(study))
        _refuse_unfinished(study, at_hand, "map", [MAP])
        yield at_hand, io.load_model(path / "model")[0]


def _refuse_unfinished(study: Study, at_hand: OpenStudy, stage: str, outputs: list[str]) -> None:
    """Explain no model or map but the one that a run of this very study left."""
    run, key = at_hand.run, at_hand.keys[stage]
    if run.finished(stage, key, outputs):
        return
    files = [run.path / output for output in outputs]
    lost = [file for file in files if not file.exists()]
    if run.made_of(stage) != key:
        fault = f"{run.path} holds the map of other files, settings or code."
    elif lost:
        fault = f"{lost[0]} is missing."
    else:
        fault = f"{' or '.join(map(str, files))} is not as the run left it."
    raise StudyError(f"{fault} `gossan run {study.path}` makes it anew.")


def background_sample(cells: StudyCells, seed: int) -> npt.NDArray[np.int64]:
    """Cells of a study, drawn at random, that stand for its ordinary ground."""
    count = min(BACKGROUND_SAMPLE, len(cells.labels))
    return np.sort(np.random.default_rng(seed).choice(len(cells.labels), count, replace=False))


def analogues_of(
    cells: StudyCells,
    labels: xr.DataArray,
    deposits: gpd.GeoDataFrame,
    explained: npt.NDArray[np.integer],
    sample: npt.NDArray[np.integer],
) -> pd.DataFrame:
    """The known deposit that each cell is most like.

    Returns
    -------
    pandas.DataFrame
        ``analogue``, the deposit's name, and ``analogue_unlike``; its place as ``easting`` and
        ``northing``.
    """
    at_deposits = deposit_cells(cells, labels)
    known = np.flatnonzero(at_deposits >= 0)
    nearest, unlike = nearest_analogues(
        cells.features[explained], cells.features[at_deposits[known]], cells.features[sample]
    )
    chosen = deposits.iloc[known[nearest]]
    return pd.DataFrame(
        {
            "analogue": np.where(nearest >= 0, chosen["name"].astype(str), None),
            "analogue_unlike": np.where(nearest >= 0, unlike, np.nan),
            "easting": chosen.geometry.x.to_numpy(),
            "northing": chosen.geometry.y.to_numpy(),
        }
    )


def _cell_at(cells: StudyCells, score: xr.DataArray, easting: float, northing: float) -> int:
    grid = Grid.from_dataarray(score)
    rows, columns = grid.locate([easting], [northing])
    here = np.flatnonzero((cells.rows == rows[0]) & (cells.columns == columns[0]))
    if len(here) == 0:
        west, south, east, north = (coordinate(bound) for bound in grid.bounds)
        raise StudyError(
            f"{coordinate(easting)} E, {coordinate(northing)} N is no cell of the study, which "
            f"lies within {west} to {east} E and {south} to {north} N ({grid.crs.name}) where it "
            f"has evidence.{degrees_hint(easting, northing, grid)}"
        )
    return int(here[0])


def _explanation(
    cells: StudyCells,
    cell: int,
    sample: npt.NDArray[np.int64],
    contributions: npt.NDArray[np.floating],
    score: xr.DataArray,
    labels: xr.DataArray,
    deposits: gpd.GeoDataFrame,
) -> Explanation:
    evidence = cells.features.evidence
    values = cells.features[np.array([cell])]
    units = evidence["unit"].to_numpy() if "unit" in evidence.coords else [""] * len(contributions)
    layers = pd.DataFrame(
        {
            "layer": [str(name) for name in evidence["layer"].to_numpy()],
            "value": values[0],
            "unit": [str(unit) for unit in units],
            "percentile": percentiles(values, cells.features[sample])[0],
            "contribution": contributions,
        }
    ).sort_values("contribution", ascending=False, kind="stable", ignore_index=True)
    place = {"x": int(cells.columns[cell]), "y": int(cells.rows[cell])}
    own = score.isel(place)
    like = analogues_of(cells, labels, deposits, np.array([cell]), sample).iloc[0]
    easting, northing = cells.coordinates[cell]
    known = score.to_numpy()[np.isfinite(score.to_numpy())]
    return Explanation(
        easting=float(easting),
        northing=float(northing),
        score=float(own),
        spread=float(own["spread"]),
        percentile=float((known < float(own)).mean()),
        layers=layers,
        layers_observed=int(np.isfinite(values).sum()),
        deposit=like["analogue"],
        unlike=float(like["analogue_unlike"]),
        deposit_distance=float(np.hypot(like["easting"] - easting, like["northing"] - northing)),
    )
