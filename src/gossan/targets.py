"""A prospectivity map → ranked targets: where new ground scores highest, and what drives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def find_targets(
    score: xr.DataArray,
    labels: xr.DataArray,
    deposits: gpd.GeoDataFrame,
    *,
    share: float = 0.05,
    count: int = 25,
    min_cells: int = 2,
) -> tuple[gpd.GeoDataFrame, npt.NDArray[np.int32]]:
    """Patches in the top share of the new ground, the highest peak first.

    New ground is the area without the footprints of known deposits. Cells that touch, also by a
    corner, make one patch.

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
    new_ground = np.isfinite(values) & (labels.to_numpy() != 1)
    threshold = np.quantile(values[new_ground], 1.0 - share) if new_ground.any() else np.inf
    chosen = new_ground & (values >= threshold)
    if (values[new_ground] == threshold).sum() > share * new_ground.sum():
        chosen &= values > threshold  # a plateau: only what rises above it
    patches, n_patches = ndimage.label(chosen, structure=_EIGHT_NEIGHBOURS)
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
        From :func:`gossan.explain.layer_contributions` at the targets' peaks.
    percentiles : array of shape (n_targets, layers)
        Share of the area's cells below the target's value in each layer; NaN where missing.
    layers : sequence of str
    n_drivers : int, default 5

    Returns
    -------
    geopandas.GeoDataFrame
        A copy with ``drivers`` (text such as ``"Sn (+0.21, 98th percentile); …"``), ``group``
        (the strongest layer) and ``layers_observed`` (how many layers the score stands on).
    """
    order = np.argsort(-contributions, axis=1, kind="stable")[:, :n_drivers]
    texts = [
        "; ".join(
            _driver(layers[j], contributions[i, j], percentiles[i, j])
            for j in strongest
            if contributions[i, j] > 0
        )
        for i, strongest in enumerate(order)
    ]
    described = targets.copy()
    described["drivers"] = texts
    lifted = contributions.max(axis=1, initial=-np.inf) > 0
    described["group"] = [
        layers[row[0]] if up else "no single layer" for row, up in zip(order, lifted, strict=True)
    ]
    described["layers_observed"] = np.isfinite(percentiles).sum(axis=1)
    return described


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
    return f"{layer} ({contribution:+.2f}, {rank}{ending} percentile)"
