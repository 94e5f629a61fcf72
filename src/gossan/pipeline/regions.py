"""Divide a study's area into regions, and say what each is like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from gossan import io
from gossan.evidence import CellFeatures, without_focal_means
from gossan.exceptions import StudyError
from gossan.grid import Grid
from gossan.pipeline.folder import Progress, RunFolder, run_folder
from gossan.pipeline.inputs import OpenEvidence, OpenStudy, opened_evidence
from gossan.pipeline.keys import hash_of, room_code
from gossan.pipeline.learnt import EMBEDDING
from gossan.regions import (
    STABLE,
    Regions,
    find_regions,
    layer_profiles,
    region_outlines,
    region_table,
)
from gossan.regions.clusters import Clustering
from gossan.report import (
    RegionsShown,
    choice_figure,
    layer_styles,
    png_bytes,
    profile_figure,
    region_map,
    region_outlines_style,
    regions_style,
)
from gossan.study import Study

MAP = "regions.tif"
_FIGURES = ["regions.png", "region-profiles.png", "region-choice.png"]
_PROFILES = "region-profiles.csv"
_OUTPUTS = [MAP, "regions.qml", "regions.gpkg", _PROFILES, "regions.json", *_FIGURES]
_STAGE = "regions"


@dataclass(frozen=True)
class RegionsFound:
    """What :func:`regions_study` found.

    Attributes
    ----------
    path : Path
        The run folder.
    table : pandas.DataFrame
        One row a region; see :func:`gossan.regions.region_table`.
    choice : pandas.DataFrame
        How their number was chosen; one row where it was given.
    stable : bool
        Whether halves of the area agree on them.
    """

    path: Path
    table: pd.DataFrame
    choice: pd.DataFrame
    stable: bool


def regions_study(
    study: Study,
    *,
    output: Path | None = None,
    count: int | Literal["auto"] = "auto",
    method: Clustering = "k-means",
    by: Literal["evidence", "embedding"] = "evidence",
    progress: Progress | None = None,
) -> RegionsFound:
    """Divide a study's area into regions of like evidence; it needs no deposits.

    The run folder gets ``regions.tif`` and ``regions.gpkg``, styled for QGIS, pictures of the map,
    of what each region is like and of how their number was chosen, and ``regions.json``.

    Parameters
    ----------
    study : Study
    output : path, optional
        Run folder; default as :func:`run_study`'s.
    count : int or "auto", default "auto"
        Regions; ``"auto"``: see :func:`gossan.regions.choose_count`.
    method : {"k-means", "gaussian-mixture", "hierarchical"}, default "k-means"
    by : {"evidence", "embedding"}, default "evidence"
        What cells are compared by. An embedding is what ``gossan run`` with a pretrained method
        left in the run folder.
    progress : callable, optional
        Called with (stage, steps done, steps in all).

    Raises
    ------
    StudyError
        If there is no embedding, there are fewer cells than regions, or the method is unknown.
    SurveyDataError
        If all cells are alike.
    """
    with opened_evidence(study, run_folder(study, output), progress) as at_hand:
        run = at_hand.run
        layers, made_of = compared_layers(at_hand, by)
        key = _key(study, at_hand, made_of, count, method)
        if not run.finished(_STAGE, key, _OUTPUTS):
            with run.making(_STAGE, key, _OUTPUTS):
                found = find_regions(
                    layers,
                    count=count,
                    method=method,
                    scale="ranks" if by == "evidence" else "deviations",
                    random_state=study.seed,
                    progress=run.steps(_STAGE),
                )
                described = without_focal_means(at_hand.evidence, study.method.focal)
                _write(
                    run,
                    found,
                    described,
                    at_hand.deposits,
                    {"by": by, "method": method, "count": count},
                )
        return _read(run)


def regions_shown(study: Study, at_hand: OpenStudy) -> RegionsShown | None:
    """What :func:`regions_study` left of a study as it is; None where it left nothing."""
    run = at_hand.run
    told = io.read_json_if_whole(run.path / "regions.json")
    if told is None:
        return None
    try:
        _, made_of = compared_layers(at_hand, str(told.get("by")))
    except StudyError:  # of an embedding that is no more
        return None
    key = _key(study, at_hand, made_of, told.get("count"), told.get("method"))
    if not run.holds(_STAGE, key, _OUTPUTS):
        return None
    found = _read(run)
    return RegionsShown(
        labels=io.read_regions_map(run.path / MAP),
        table=found.table,
        profiles=pd.read_csv(run.path / _PROFILES, index_col=0),
        choice=found.choice,
        stable=found.stable,
        by=told["by"],
        method=told["method"],
    )


def _key(
    study: Study,
    at_hand: OpenEvidence | OpenStudy,
    made_of: str,
    count: int | str | None,
    method: str | None,
) -> str:
    labels = at_hand.keys["labels"]
    return hash_of(labels, made_of, count, method, study.seed, room_code("regions"))


def compared_layers(at_hand: OpenEvidence | OpenStudy, by: str) -> tuple[xr.DataArray, str]:
    """The layers that cells are compared by, and what tells them from others.

    Parameters
    ----------
    at_hand : OpenEvidence or OpenStudy
    by : {"evidence", "embedding"}

    Raises
    ------
    StudyError
        If ``by`` is neither, or there is no embedding of these cells.
    """
    if by not in ("evidence", "embedding"):
        raise StudyError(f"by is {by!r}: one of evidence, embedding.")
    if by == "evidence":
        return at_hand.evidence, by
    run, store = at_hand.run, at_hand.run.path / EMBEDDING
    if not store.exists():
        raise StudyError(
            f"{at_hand.run.path} holds no embedding: `gossan run` with the method "
            "'masked-pretraining' leaves one there. Or divide the area by its evidence."
        )
    if run.made_of("embedding") != at_hand.keys["model"] or run.edited("embedding", EMBEDDING):
        raise StudyError(
            f"{store} is not the embedding of this study as it is: the study has changed since, or "
            "the files have. `gossan run` makes it anew."
        )
    return io.open_evidence(store), io.file_digest(store)


def _write(
    run: RunFolder,
    found: Regions,
    evidence: xr.DataArray,
    deposits: gpd.GeoDataFrame | None,
    asked: dict[str, int | str],
) -> None:
    labels = found.labels
    names = [str(name) for name in evidence["layer"].to_numpy()]
    values = CellFeatures(evidence, *found.cells.T)[:]
    profiles = layer_profiles(values, found.of_cells, names)
    table = region_table(labels, profiles, _deposit_cells(labels, deposits))
    outlines, told = region_outlines(labels, table), [str(name) for name in table["name"]]
    path = run.path
    io.write_regions_map(path / MAP, labels)
    io.write_text(path / "regions.qml", regions_style(told))
    styles = layer_styles({"regions": region_outlines_style(told)})
    io.write_regions(path / "regions.gpkg", outlines, styles=styles)
    io.write_text(path / _PROFILES, profiles.to_csv(float_format="%.4g"))
    io.write_bytes(path / _FIGURES[0], png_bytes(region_map(labels, table, deposits)))
    io.write_bytes(path / _FIGURES[1], png_bytes(profile_figure(profiles)))
    io.write_bytes(path / _FIGURES[2], png_bytes(choice_figure(found.choice, found.count)))
    io.write_json(
        path / "regions.json",
        {
            **asked,
            "regions": table.to_dict("records"),
            "choice": found.choice.to_dict("records"),
            "stable": found.stable,
            "least_stability": STABLE,
        },
    )


def _deposit_cells(labels: xr.DataArray, deposits: gpd.GeoDataFrame | None) -> np.ndarray | None:
    """Rows and columns of the deposits that lie in a region."""
    if deposits is None:
        return None
    rows, columns = Grid.from_dataarray(labels).locate(deposits.geometry.x, deposits.geometry.y)
    inside = (rows >= 0) & (labels.to_numpy()[rows, columns] > 0)
    return np.column_stack([rows[inside], columns[inside]])


def _read(run: RunFolder) -> RegionsFound:
    told = io.read_json(run.path / "regions.json")
    table, choice = pd.DataFrame(told["regions"]), pd.DataFrame(told["choice"])
    return RegionsFound(run.path, table, choice, told["stable"])
