"""Geochemical samples → one gridded layer an element."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from gossan.evidence.sources import SourceLayers, check_overlap
from gossan.exceptions import GossanError, SurveyDataError, SurveyDataWarning
from gossan.geochem import PreparedSamples, element_of, prepare_samples
from gossan.grid import Grid
from gossan.interpolate import idw, median_spacing
from gossan.io import Layer, read_numbered_points
from gossan.mistakes import suggest
from gossan.study import Samples

# "auto": a cell is missing farther from every sample than so many sample spacings.
_SPACINGS = 5.0
_UNITS = {"none": "ppm", "log": "ln ppm"}


def samples_layers(settings: Samples, paths: Sequence[Path], grid: Grid) -> SourceLayers:
    """Layers of one ``[[samples]]`` source: concentrations prepared at the samples, then gridded.

    Parameters
    ----------
    settings : Samples
        The source.
    paths : sequence of path
        Its files; the rows of several are put together.
    grid : Grid
        The template grid.

    Raises
    ------
    SurveyDataError
        If a file cannot be used, or no sample lies near the area.

    Warns
    -----
    SurveyDataWarning
        If sample names repeat, and as :func:`gossan.geochem.prepare_samples` does.
    """
    place = f"{settings.name} ({', '.join(str(path) for path in paths)})"
    table = _read(settings, paths, grid)
    history = _repeated_names(settings, table, place)
    samples = _prepared(settings, table, place)
    spacing = median_spacing(samples.coordinates)
    reach = _reach(settings, spacing)
    (west, south), (east, north) = samples.coordinates.min(axis=0), samples.coordinates.max(axis=0)
    check_overlap((west, south, east, north), grid.bounds, grid.crs, place, reach=reach or 0.0)
    values = samples.values.to_numpy(dtype=float)

    def fill(window: Grid) -> npt.NDArray[np.float32]:
        return idw(
            samples.coordinates,
            values,
            window,
            power=settings.power,
            neighbors=settings.neighbors,
            max_distance=reach,
            dtype=np.float32,
        )

    unit = _UNITS.get(settings.transform, settings.transform)
    layers = [
        Layer(name, settings.name, unit=unit, resolution=spacing)
        for name in _layer_names([str(column) for column in samples.values.columns])
    ]
    return SourceLayers(layers, fill, [*history, *_account(samples.report)])


def _read(settings: Samples, paths: Sequence[Path], grid: Grid) -> gpd.GeoDataFrame:
    tables = [
        read_numbered_points(
            path,
            x=settings.x,
            y=settings.y,
            crs=settings.crs,
            layer=settings.layer,
            where=settings.where,
            to_crs=grid.crs,
            table=settings.table,
        )
        for path in paths
    ]
    if len(tables) == 1:
        return tables[0]
    # Messages call a row by its index: of several files each is named with its own.
    for path, table in zip(paths, tables, strict=True):
        table.index = pd.Index([f"{row + 1} of {path.name}" for row in table.index])
    return pd.concat(tables)


def _repeated_names(settings: Samples, table: gpd.GeoDataFrame, place: str) -> list[str]:
    """Samples whose name another row has already."""
    if settings.id is None:
        return []
    if settings.id not in table.columns:
        columns = [str(column) for column in table.columns]
        raise SurveyDataError(
            f"{place} has no column {settings.id!r}.{suggest(settings.id, columns)}"
        )
    names = table[settings.id].dropna().astype(str)
    repeated = sorted(names[names.duplicated()].unique())
    if not repeated:
        return []
    listed = ", ".join(repeated[:5]) + (", …" if len(repeated) > 5 else "")
    message = (
        f"{len(repeated)} sample name(s) in {settings.id!r} occur more than once: {listed}. "
        "All their rows were used; remove the repeated ones if they are copies."
    )
    warnings.warn(f"{place}: {message}", SurveyDataWarning, stacklevel=4)
    return [message]


def _prepared(settings: Samples, table: gpd.GeoDataFrame, place: str) -> PreparedSamples:
    """Concentrations as the study wants them, at places in its CRS."""
    coordinates = np.column_stack([table.geometry.x, table.geometry.y])
    columns = pd.DataFrame(table.drop(columns=table.geometry.name))
    columns = columns.drop(columns=[settings.x, settings.y], errors="ignore")
    columns = _without(columns, settings.exclude, place)
    with _naming(place):
        return prepare_samples(
            columns,
            coordinates,
            elements=settings.elements,
            units=settings.units,
            censored=settings.censored,
            flags=settings.flags,
            limits=settings.limits,
            replacement=settings.replacement,
            missing_values=settings.missing_values,
            max_censored=settings.max_censored,
            transform=settings.transform,
            denominator=settings.denominator,
        )


def _reach(settings: Samples, spacing: float) -> float | None:
    """How far from every sample a cell may lie; None: any distance."""
    if settings.max_distance != "auto":
        return settings.max_distance
    return _SPACINGS * spacing if np.isfinite(spacing) else None


def _without(table: pd.DataFrame, exclude: list[str], place: str) -> pd.DataFrame:
    for column in exclude:
        if column not in table.columns:
            columns = [str(name) for name in table.columns]
            raise SurveyDataError(
                f"{place} has no column {column!r}, named in `exclude`.{suggest(column, columns)}"
            )
    return table.drop(columns=exclude)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Put the source and file before what geochemistry has to say."""
    try:
        yield
    except GossanError as error:
        raise type(error)(f"{place}: {error}") from None


def _layer_names(columns: list[str]) -> list[str]:
    """The elements' names where each column has one of its own, else the columns' names."""
    elements = [element_of(column) for column in columns]
    return [
        element if element is not None and elements.count(element) == 1 else column
        for element, column in zip(elements, columns, strict=True)
    ]


def _account(report: dict[str, Any]) -> list[str]:
    """What preparation did, in sentences for the report."""
    sentences = [f"{report['n_samples']} samples at {report['n_places']} places."]
    if report["duplicates_merged"]:
        sentences.append(
            f"{report['duplicates_merged']} sample(s) at the place of another were merged with it "
            "(geometric mean)."
        )
    if report["without_coordinates"]:
        sentences.append(f"{report['without_coordinates']} sample(s) without coordinates left out.")
    for element, share in report["dropped"].items():
        sentences.append(f"{element} left out: {share:.0%} below detection or missing.")
    below = {k: v for k, v in report["censored_share"].items() if v > 0}
    kept = [f"{k} {v:.0%}" for k, v in below.items() if k not in report["dropped"]]
    if kept:
        sentences.append(f"Below detection or missing: {', '.join(kept)}.")
    for element, limit in report["assumed_limits"].items():
        sentences.append(f"{element}: detection limit assumed to be {limit:g}.")
    return sentences
