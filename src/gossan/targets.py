"""A prospectivity map → ranked targets: where new ground scores highest, and what drives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr
from rasterio.features import shapes
from scipy import ndimage

from gossan.grid import Grid

FloatArray = npt.NDArray[np.floating[Any]]

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=int)
_UNTAKEN, _LEFT_OUT = -2, -1
_UNEXPLAINED = "not explained: what its layers give does not add up to its score"
_AROUND = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]


def find_targets(
    score: xr.DataArray,
    labels: xr.DataArray,
    deposits: gpd.GeoDataFrame,
    *,
    share: float = 0.05,
    count: int = 25,
    min_cells: int = 2,
    min_distance: float | Literal["auto"] = "auto",
    max_share: float = 0.005,
) -> tuple[gpd.GeoDataFrame, npt.NDArray[np.int32]]:
    """Patches in the top share of the new ground, the highest peak first.

    New ground is the area farther than ``min_distance`` from the footprints of known deposits.
    Cells that touch, also by a corner, make one patch; a patch larger than ``max_share`` is divided
    into the hills that it is made of, each cut down to its highest cells.

    Parameters
    ----------
    score : xarray.DataArray
        ``(y, x)`` with a ``spread`` coordinate, from :func:`gossan.predict.predict_map`.
    labels : xarray.DataArray
        ``(y, x)``; cells equal to 1 belong to known deposits.
    deposits : geopandas.GeoDataFrame
        Known deposits with a ``name`` column, in the map's CRS.
    share : float, default 0.05
        Share of the new ground from which patches are drawn.
    count : int, default 25
        Targets kept at most.
    min_cells : int, default 2
        Smaller patches are left out.
    min_distance : float or "auto", default "auto"
        From a cell of a target to the nearest cell of a known deposit's footprint, between
        centres, in CRS units. "auto" is two cells: the ring around a footprint, which shares its
        evidence, is no new ground. 0 lets targets touch footprints.
    max_share : float, default 0.005
        Share of the new ground that one target may take, a tenth of ``share``: a target is to be
        visited. Never fewer than ``min_cells`` cells.

    Returns
    -------
    targets : geopandas.GeoDataFrame
        Polygons, best first: ``rank`` (from 1), ``score`` and ``spread`` at the peak cell,
        ``mean_score``, ``area_km2``, ``nearest_deposit``, ``distance_m`` from the peak,
        ``easting``, ``northing`` of the peak, ``row``, ``column``.
    patch : array of shape (y, x)
        Rank of the target that holds each cell, 0 elsewhere.
    """
    grid = Grid.from_dataarray(score)
    values = score.to_numpy()
    new_ground = np.isfinite(values) & _far_enough(labels.to_numpy() == 1, grid, min_distance)
    threshold = np.quantile(values[new_ground], 1.0 - share) if new_ground.any() else np.inf
    chosen = new_ground & (values >= threshold)
    if (values[new_ground] == threshold).sum() > share * new_ground.sum():
        chosen &= values > threshold  # a plateau: only what rises above it
    largest = max(min_cells, int(max_share * new_ground.sum()))
    patches, n_patches = _divided(chosen, values, largest)
    table = _peaks(patches, n_patches, values)
    table = table[table["cells"] >= min_cells].nlargest(count, "score", keep="first")
    table = table.sort_values(["score", "mean_score"], ascending=False, kind="stable")
    table["rank"] = np.arange(1, len(table) + 1)
    renamed = np.zeros(n_patches + 1, dtype=np.int32)
    renamed[table.index] = table["rank"]
    patch = renamed[patches]
    targets = gpd.GeoDataFrame(
        table.reset_index(drop=True), geometry=_outlines(patch, grid, len(table)), crs=grid.crs
    )
    rows, columns = targets["row"].to_numpy(), targets["column"].to_numpy()
    targets["spread"] = score["spread"].to_numpy()[rows, columns]
    metres = grid.crs.axis_info[0].unit_conversion_factor
    targets["area_km2"] = targets["cells"] * grid.cell_area * metres**2 / 1e6
    peaks = grid.coordinates(rows, columns)
    targets["easting"], targets["northing"] = peaks.T
    distance, targets["nearest_deposit"] = _nearest(peaks, deposits)
    targets["distance_m"] = distance * metres
    return targets, patch


def describe_drivers(
    targets: gpd.GeoDataFrame,
    contributions: FloatArray,
    percentiles: FloatArray,
    layers: Sequence[str],
    *,
    n_drivers: int = 5,
) -> gpd.GeoDataFrame:
    """Add to each target what lifts its score, and the group of targets lifted by the same.

    Parameters
    ----------
    targets : geopandas.GeoDataFrame
        From :func:`find_targets`.
    contributions : array of shape (n_targets, layers)
        From :func:`gossan.explain.explain_cells` at the targets' peaks; NaN where a target could
        not be explained.
    percentiles : array of shape (n_targets, layers)
        Share of the area's cells below the target's value in each layer; NaN where missing.
    layers : sequence of str
    n_drivers : int, default 5

    Returns
    -------
    geopandas.GeoDataFrame
        A copy with ``drivers`` (text such as ``"high Sn (+0.21, 98th percentile); …"``), ``group``
        (the strongest layer, high or low) and ``layers_observed`` (how many layers the score stands
        on).
    """
    order = np.argsort(-contributions, axis=1, kind="stable")[:, :n_drivers]
    explained = np.isfinite(contributions.sum(axis=1))
    texts = [
        "; ".join(
            _driver(layers[j], contributions[i, j], percentiles[i, j])
            for j in strongest
            if contributions[i, j] > 0
        )
        if explained[i]
        else _UNEXPLAINED
        for i, strongest in enumerate(order)
    ]
    described = targets.copy()
    described["drivers"] = texts
    lifted = contributions.max(axis=1, initial=-np.inf) > 0
    described["group"] = [
        _directed(layers[row[0]], percentiles[i, row[0]]) if up else "no single layer"
        for i, (row, up) in enumerate(zip(order, lifted, strict=True))
    ]
    described["layers_observed"] = np.isfinite(percentiles).sum(axis=1)
    return described


def _far_enough(
    footprints: npt.NDArray[np.bool_], grid: Grid, min_distance: float | Literal["auto"]
) -> npt.NDArray[np.bool_]:
    """Cells outside all footprints, and no nearer to any than ``min_distance``."""
    if not footprints.any() or min_distance == 0:
        return ~footprints
    width, height = grid.cell_size
    least, size = (2.0, (1.0, 1.0)) if min_distance == "auto" else (min_distance, (height, width))
    distance = ndimage.distance_transform_edt(~footprints, sampling=size)
    return ~footprints & (distance >= least * (1 - 1e-9))


def _divided(
    chosen: npt.NDArray[np.bool_], values: FloatArray, largest: int
) -> tuple[npt.NDArray[Any], int]:
    """Number the patches of chosen cells, those above ``largest`` cells divided into hills."""
    patches, n_patches = ndimage.label(chosen, structure=_EIGHT_NEIGHBOURS)
    cells = np.bincount(patches.ravel(), minlength=n_patches + 1)
    for patch in np.flatnonzero(cells[1:] > largest) + 1:
        where = np.argwhere(patches == patch)
        hills = _hills(where, values[tuple(where.T)], largest)
        patches[tuple(where.T)] = np.where(hills >= 0, n_patches + 1 + hills, 0)
        n_patches += hills.max() + 1
    numbers = np.unique(patches[patches > 0])
    renumbered = np.zeros(n_patches + 1, dtype=patches.dtype)
    renumbered[numbers] = np.arange(1, len(numbers) + 1)
    return renumbered[patches], len(numbers)


def _hills(where: npt.NDArray[Any], heights: FloatArray, largest: int) -> npt.NDArray[np.intp]:
    """Divide the cells of one patch into hills of at most ``largest`` cells; -1: in none.

    Cells are taken from the highest down. One that touches no other yet is a summit; one between
    hills joins them, unless they would be too large together; the flank of a full hill is left.
    """
    order = np.lexsort((where[:, 1], where[:, 0], -heights))
    position = {(int(row), int(column)): i for i, (row, column) in enumerate(where)}
    hill = np.full(len(where), _UNTAKEN)
    members: dict[int, list[int]] = {}  # by hill, numbered from the highest summit
    n_summits = 0
    for i in order:
        row, column = (int(part) for part in where[i])
        near = (position.get((row + down, column + right)) for down, right in _AROUND)
        around = {int(hill[j]) for j in near if j is not None and hill[j] != _UNTAKEN}
        if any(h == _LEFT_OUT or len(members[h]) >= largest for h in around):
            hill[i] = _LEFT_OUT
            continue
        together = 1 + sum(len(members[h]) for h in around)
        hill[i] = highest = min(around, default=n_summits)
        n_summits += not around
        members.setdefault(highest, []).append(int(i))
        if together <= largest:
            for other in around - {highest}:
                hill[members[other]] = highest
                members[highest] += members.pop(other)
    return np.where(hill >= 0, np.searchsorted(sorted(members), hill), _LEFT_OUT)


def _peaks(patches: npt.NDArray[Any], n_patches: int, values: FloatArray) -> pd.DataFrame:
    """One row a patch, indexed by its number: peak score and cell, mean score, cells."""
    numbers = np.arange(1, n_patches + 1)
    filled = np.where(np.isfinite(values), values, -np.inf)
    where = np.array(ndimage.maximum_position(filled, patches, numbers), dtype=int).reshape(-1, 2)
    return pd.DataFrame(
        {
            "score": values[where[:, 0], where[:, 1]],
            "mean_score": ndimage.mean(np.nan_to_num(values), patches, numbers),
            "cells": np.bincount(patches.ravel(), minlength=n_patches + 1)[1:],
            "row": where[:, 0],
            "column": where[:, 1],
        },
        index=numbers,
    )


def _outlines(
    patch: npt.NDArray[np.int32], grid: Grid, n_targets: int
) -> list[shapely.MultiPolygon]:
    """Outline of each target along its cells, in order of rank."""
    pieces: list[list[Any]] = [[] for _ in range(n_targets)]
    for outline, rank in shapes(patch, mask=patch > 0, connectivity=8, transform=grid.transform):
        # Cells that touch by a corner make a ring that touches itself; make_valid splits it.
        pieces[int(rank) - 1].append(shapely.make_valid(shapely.geometry.shape(outline)))
    return [shapely.MultiPolygon(_polygons(shapely.union_all(piece))) for piece in pieces]


def _polygons(shape: Any) -> list[Any]:
    return [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]


def _nearest(peaks: FloatArray, deposits: gpd.GeoDataFrame) -> tuple[FloatArray, list[str]]:
    """Distance from each peak to the nearest known deposit, and its name."""
    if len(deposits) == 0 or len(peaks) == 0:
        return np.full(len(peaks), np.nan), [""] * len(peaks)
    tree = shapely.STRtree(deposits.geometry.to_numpy())
    (at_peak, at_deposit), distance = tree.query_nearest(
        shapely.points(peaks), return_distance=True, all_matches=False
    )
    order = np.argsort(at_peak)
    names = deposits["name"].to_numpy()[at_deposit[order]]
    return distance[order], [str(name) for name in names]


def _driver(layer: str, contribution: float, percentile: float) -> str:
    if not np.isfinite(percentile):
        return f"{layer} ({contribution:+.2f}, missing)"
    rank = round(100 * percentile)
    ending = {1: "st", 2: "nd", 3: "rd"}.get(rank % 10 if rank // 10 != 1 else 0, "th")
    return f"{_directed(layer, percentile)} ({contribution:+.2f}, {rank}{ending} percentile)"


def _directed(layer: str, percentile: float) -> str:
    """A layer with which of its values lift the score: low copper is no copper target."""
    if not np.isfinite(percentile):
        return layer
    word = "high" if percentile >= 0.75 else "low" if percentile <= 0.25 else "medium"
    return f"{word} {layer}"
