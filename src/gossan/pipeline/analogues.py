"""Search a study's area for ground like a deposit, a place or a polygon."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from rasterio.features import rasterize

from gossan import io
from gossan.evidence import study_grid, valid_cells, without_focal_means
from gossan.exceptions import StudyError
from gossan.grid import Grid
from gossan.mistakes import degrees_hint, suggest
from gossan.pipeline.folder import Progress, run_folder
from gossan.pipeline.inputs import OpenEvidence, OpenStudy, opened_evidence
from gossan.pipeline.keys import hash_of, room_code
from gossan.pipeline.ranked import no_deposits, write_ranked
from gossan.pipeline.regions import compared_layers
from gossan.pipeline.settings import least_distance, read_deposits
from gossan.regions import shared_departures, similarity_map
from gossan.report import (
    SearchShown,
    analogue_map,
    area_thresholds,
    coordinate,
    png_bytes,
    score_style,
)
from gossan.study import Study
from gossan.targets import find_targets

FOLDER = "analogues"
"""In a run folder: each search has a folder of its own there."""
MAP = "analogues.tif"
_OUTPUTS = [MAP, "analogues.qml", "analogues.gpkg", "analogues.png", "analogues.json"]
_SEVERAL = 8
"""Names listed where a name fits several deposits."""


@dataclass(frozen=True)
class AnaloguesFound:
    """What :func:`analogues_study` found.

    Attributes
    ----------
    path : Path
        The folder of the search, in the run folder.
    query : str
        The chosen place, in words.
    areas : geopandas.GeoDataFrame
        The best matching areas away from it, best first: ``rank``, ``similarity`` at the peak,
        ``mean_similarity``, ``area_km2``, ``easting``, ``northing``, ``nearest_deposit``,
        ``distance_m`` to that, ``alike``: the layers that make them alike.
    """

    path: Path
    query: str
    areas: gpd.GeoDataFrame


def analogues_study(
    study: Study,
    *,
    like: str | None = None,
    at: tuple[float, float] | None = None,
    within: Path | None = None,
    by: Literal["evidence", "embedding"] = "evidence",
    count: int = 10,
    output: Path | None = None,
    progress: Progress | None = None,
) -> AnaloguesFound:
    """Search for ground like a known deposit, a place, or a polygon; one of them is given.

    The folder ``analogues/<place>`` in the run folder gets ``analogues.tif`` and
    ``analogues.gpkg``, styled for QGIS, ``analogues.png`` and ``analogues.json``: searches for
    several places lie side by side.

    Parameters
    ----------
    study : Study
    like : str, optional
        Name of a known deposit, or a part of it that no other has.
    at : (float, float), optional
        Easting and northing in the study's CRS.
    within : path, optional
        A vector file of polygons; ``places.gpkg|layername=hills`` is one layer of several.
    by : {"evidence", "embedding"}, default "evidence"
        As :func:`regions_study` takes it.
    count : int, default 10
        Areas listed.
    output : path, optional
        Run folder; default as :func:`run_study`'s.
    progress : callable, optional
        Called with (stage, steps done, steps in all).

    Raises
    ------
    StudyError
        If not one of the three is given, a name fits no deposit or several, or the place has no
        evidence.
    SurveyDataError
        If the polygons cannot be read, or the place departs from the area's middle in no layer.
    """
    chosen = {"--like": like, "--at": at, "--within": within}
    given = [option for option, value in chosen.items() if value is not None]
    if not given:
        raise StudyError("Say what to look for: one of --like NAME, --at E N, --within FILE.")
    if len(given) > 1:
        raise StudyError(
            f"{' and '.join(given)} are given together, but a search is for one place: give one "
            "of them. Searches for several places lie side by side in the run folder."
        )
    if count < 1:
        raise StudyError(f"{count} areas: at least 1 is needed.")
    grid = study_grid(study)
    if like is not None:
        words, cells = _deposit(study, read_deposits(study), like, grid)
        name = words
    elif at is not None:
        words, cells = _place(*at, grid)
        name = f"at {coordinate(at[0])} {coordinate(at[1])}".replace("-", "minus ")
    else:
        words, cells = _polygon(Path(str(within)), grid)
        file, layer = io.file_and_layer(str(within))
        name = f"within {file.stem}" + (f" {layer}" if layer else "")
    with opened_evidence(study, run_folder(study, output), progress) as at_hand:
        evidence, deposits = at_hand.evidence, at_hand.deposits
        cells = _with_evidence(cells, evidence, words)
        place = words if within is None else f"{words} {hash_of(cells.tolist())}"
        folder = _folder(at_hand.run.path, name if by == "evidence" else f"{name} by {by}", place)
        layers, _ = compared_layers(at_hand, by)
        scale: Literal["ranks", "deviations"] = "ranks" if by == "evidence" else "deviations"
        outputs = [f"{folder}/{output}" for output in _OUTPUTS]
        with at_hand.run.making(_stage(folder), _ground(study, at_hand, by), outputs):
            similarity = similarity_map(layers, cells, scale=scale, random_state=study.seed)
            areas = _areas(study, similarity, cells, deposits, evidence, count)
            path = at_hand.run.path / folder
            _write(path, similarity, areas, cells, {"query": words, "place": place, "by": by})
    return AnaloguesFound(path, words, areas)


def searches_shown(study: Study, at_hand: OpenStudy) -> list[SearchShown]:
    """What :func:`analogues_study` found in the evidence as it is, by the names of the folders."""
    run, shown = at_hand.run, []
    for path in sorted((run.path / FOLDER).glob("*/analogues.json")):
        folder = f"{FOLDER}/{path.parent.name}"
        told = io.read_json_if_whole(path) or {}
        try:
            ground = _ground(study, at_hand, told.get("by", "evidence"))
        except StudyError:  # of an embedding that is no more
            continue
        outputs = [f"{folder}/{output}" for output in _OUTPUTS]
        if run.holds(_stage(folder), ground, outputs):
            areas = pd.DataFrame(told["areas"])
            picture = (path.parent / "analogues.png").read_bytes()
            shown.append(SearchShown(told["query"], told["by"], areas, picture))
    return shown


def _folder(run: Path, name: str, place: str) -> str:
    """Where a search goes: a folder of its own beside those of other places that spell alike."""
    stem = f"{FOLDER}/{io.file_stem(name)}"
    folders = (stem if number == 1 else f"{stem}-{number}" for number in itertools.count(1))
    return next(folder for folder in folders if _searched(run / folder) in (None, place))


def _searched(folder: Path) -> str | None:
    """What was searched for in a folder; None where nothing was."""
    return (io.read_json_if_whole(folder / "analogues.json") or {}).get("place")


def _stage(folder: str) -> str:
    return folder.replace("/", "-")


def _ground(study: Study, at_hand: OpenEvidence | OpenStudy, by: str) -> str:
    """What a search is made in: that of older ground is shown no more."""
    made_of, apart = compared_layers(at_hand, by)[1], study.targets.min_distance
    return hash_of(at_hand.keys["labels"], made_of, apart, study.seed, room_code("regions"))


def _deposit(
    study: Study, deposits: gpd.GeoDataFrame, like: str, grid: Grid
) -> tuple[str, npt.NDArray[np.int64]]:
    """The footprint of the deposit of a name."""
    if not like.strip():
        raise StudyError("--like is empty: give the name of a known deposit.")
    names = deposits["name"].astype(str)
    chosen = np.flatnonzero(names.str.casefold() == like.casefold())
    if len(chosen) == 0:
        chosen = np.flatnonzero(names.str.casefold().str.contains(like.casefold(), regex=False))
    if len(chosen) == 0:
        raise StudyError(f"No known deposit is named {like!r}.{suggest(like, sorted(set(names)))}")
    if len(chosen) > 1:
        several = [
            f"{names.iloc[k]} at {coordinate(deposits.geometry.iloc[k].x)} E, "
            f"{coordinate(deposits.geometry.iloc[k].y)} N"
            for k in chosen[:_SEVERAL]
        ]
        more = ", …" if len(chosen) > _SEVERAL else ""
        raise StudyError(
            f"{len(chosen)} known deposits fit {like!r}: {'; '.join(several)}{more}. Give the "
            "whole name of one, or --at its place."
        )
    point = deposits.geometry.iloc[chosen[0]]
    _, centre = _place(point.x, point.y, grid)
    reach = study.known.footprint // 2
    around = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T + centre
    inside = ((around >= 0) & (around < grid.shape)).all(axis=1)
    return str(names.iloc[chosen[0]]), around[inside]


def _place(easting: float, northing: float, grid: Grid) -> tuple[str, npt.NDArray[np.int64]]:
    rows, columns = grid.locate([easting], [northing])
    words = f"{coordinate(easting)} E, {coordinate(northing)} N"
    if rows[0] < 0:
        west, south, east, north = (coordinate(bound) for bound in grid.bounds)
        raise StudyError(
            f"{words} lies outside the study, which reaches from {west} to {east} E and from "
            f"{south} to {north} N ({grid.crs.name}).{degrees_hint(easting, northing, grid)}"
        )
    return words, np.column_stack([rows, columns])


def _polygon(file: Path, grid: Grid) -> tuple[str, npt.NDArray[np.int64]]:
    held = rasterize(
        [(shape, 1) for shape in io.read_polygons(file, grid.crs).geometry],
        out_shape=grid.shape,
        transform=grid.transform,
        all_touched=True,
        dtype="uint8",
    )
    cells = np.argwhere(held == 1)
    if not len(cells):
        raise StudyError(f"The polygons of {file} lie outside the study.")
    return f"the {len(cells):,} cells of {io.file_and_layer(file)[0].name}", cells


def _with_evidence(
    cells: npt.NDArray[np.int64], evidence: xr.DataArray, words: str
) -> npt.NDArray[np.int64]:
    kept = cells[valid_cells(evidence)[tuple(cells.T)]]
    if not len(kept):
        raise StudyError(f"There is no evidence at {words}: nothing says what it is like.")
    return kept


def _areas(
    study: Study,
    similarity: xr.DataArray,
    cells: npt.NDArray[np.int64],
    deposits: gpd.GeoDataFrame | None,
    evidence: xr.DataArray,
    count: int,
) -> gpd.GeoDataFrame:
    """The best matching areas away from the query, as polygons."""
    grid = Grid.from_dataarray(similarity)
    query = np.full(grid.shape, -1, dtype=np.int8)
    query[tuple(cells.T)] = 1
    known = deposits if deposits is not None else no_deposits(grid)
    spread = similarity.copy(data=np.full(grid.shape, np.nan, dtype=np.float32))
    found, _ = find_targets(
        similarity.assign_coords(spread=(("y", "x"), spread.to_numpy())),
        grid.to_dataarray(query),
        known,
        count=count,
        min_distance=least_distance(study, evidence),
    )
    peaks = found[["row", "column"]].to_numpy()
    described = without_focal_means(evidence, study.method.focal)
    found["alike"] = shared_departures(described, cells, peaks, random_state=study.seed)
    renamed = {"score": "similarity", "mean_score": "mean_similarity"}
    return found.rename(columns=renamed).drop(columns=["spread", "row", "column"])


def _write(
    path: Path,
    similarity: xr.DataArray,
    areas: gpd.GeoDataFrame,
    cells: npt.NDArray[np.int64],
    asked: dict[str, str],
) -> None:
    grid = Grid.from_dataarray(similarity)
    io.write_map(path / MAP, similarity, bands=("similarity",))
    thresholds = area_thresholds(similarity.to_numpy())
    io.write_text(path / "analogues.qml", score_style(thresholds))
    write_ranked(path / "analogues.gpkg", areas)
    chosen = gpd.GeoDataFrame(
        geometry=gpd.points_from_xy(*grid.coordinates(*cells.T).T), crs=grid.crs
    )
    io.write_bytes(path / "analogues.png", png_bytes(analogue_map(similarity, chosen, areas)))
    told: Sequence[dict[str, object]] = areas.drop(columns="geometry").to_dict("records")
    io.write_json(path / "analogues.json", {**asked, "areas": told})
