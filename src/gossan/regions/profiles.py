"""What each region is like: its layers beside the area, its deposits beside chance, its outline."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr
from rasterio.features import shapes
from scipy.stats import false_discovery_control, hypergeom

from gossan.grid import Grid

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

_NORMAL = 1.4826
"""Standard deviation of a normal distribution, in median absolute deviations."""
_NAMED = 3
_CLEAR = 0.5
"""Robust deviations from the area's median below which a layer names no region."""


def layer_profiles(values: FloatArray, regions: IntArray, layers: list[str]) -> pd.DataFrame:
    """Median of each layer in each region, in robust standard deviations of the area.

    ``(median of the region - median of the area) / (1.4826 · median absolute deviation)``. Where
    more than half of a layer is one value, the standard deviation takes the place of the median
    absolute deviation, which is 0, and means that of medians.

    Parameters
    ----------
    values : ndarray of shape (n, layers)
        NaN missing.
    regions : ndarray of shape (n,)
        Numbers from 1.
    layers : list of str

    Returns
    -------
    pandas.DataFrame
        Indexed by region, a column a layer; NaN where a region has no value of a layer, or the
        layer is the same everywhere.

    Examples
    --------
    >>> copper = np.array([[1.0], [2.0], [3.0], [4.0], [50.0]])
    >>> layer_profiles(copper, np.array([1, 1, 1, 1, 2]), ["Cu"]).round(2)["Cu"].to_dict()
    {1: -0.34, 2: 31.7}
    """
    table = pd.DataFrame(np.asarray(values, dtype=float), columns=layers)
    median = table.median()
    spread = _NORMAL * (table - median).abs().median()
    flat = spread == 0
    centre = median.where(~flat, table.mean())
    spread = spread.where(~flat, table.std(ddof=0)).replace(0.0, np.nan)
    of_regions = table.groupby(np.asarray(regions))
    found, means = of_regions.median(), of_regions.mean()
    mostly_one = flat.index[flat]
    found[mostly_one] = means[mostly_one]
    return (found - centre) / spread


def region_names(profiles: pd.DataFrame) -> pd.Series:
    """A name for each region from the layers that it stands out by most.

    Examples
    --------
    >>> profiles = pd.DataFrame({"Cu": [2.0, 0.1], "K": [-0.9, 0.2]}, index=[1, 2])
    >>> region_names(profiles).to_dict()
    {1: 'high Cu, low K', 2: 'ordinary ground'}
    """
    names = {}
    for region, row in profiles.iterrows():
        strongest = row.dropna().sort_values(key=np.abs, ascending=False, kind="stable")
        clear = strongest[strongest.abs() >= _CLEAR].head(_NAMED)
        words = [f"{'high' if value > 0 else 'low'} {layer}" for layer, value in clear.items()]
        names[region] = ", ".join(words) or "ordinary ground"
    return pd.Series(names, dtype=object)


def deposit_enrichment(cells: IntArray, deposits: IntArray) -> pd.DataFrame:
    """Deposits in each region beside what chance would put there.

    Parameters
    ----------
    cells : ndarray of shape (regions,)
        Cells of each region.
    deposits : ndarray of shape (regions,)
        Cells of it that hold a deposit.

    Returns
    -------
    pandas.DataFrame
        ``deposits``, ``expected`` by share of the area, ``p`` of so many or more (hypergeometric),
        ``p_adjusted`` for the regions there are (Benjamini & Hochberg). NaN without any deposit.

    Examples
    --------
    >>> deposit_enrichment(np.array([90, 10]), np.array([1, 4])).round(4).to_dict("list")
    ... # doctest: +NORMALIZE_WHITESPACE
    {'deposits': [1, 4], 'expected': [4.5, 0.5], 'p': [1.0, 0.0003], 'p_adjusted': [1.0, 0.0005]}
    """
    cells, deposits = np.asarray(cells), np.asarray(deposits)
    total, known = int(cells.sum()), int(deposits.sum())
    table = pd.DataFrame({"deposits": deposits, "expected": known * cells / total})
    if not known:
        return table.assign(p=np.nan, p_adjusted=np.nan)
    chance = hypergeom.sf(deposits - 1, total, cells, known)
    chance = np.clip(chance, 0.0, 1.0)
    return table.assign(p=chance, p_adjusted=false_discovery_control(chance, method="bh"))


def region_table(
    labels: xr.DataArray,
    profiles: pd.DataFrame,
    deposits: IntArray | None = None,
    *,
    listed: int = 5,
) -> pd.DataFrame:
    """One row a region: how large it is, what it stands out by, and its deposits.

    Parameters
    ----------
    labels : xarray.DataArray
        ``(y, x)``, from :class:`gossan.regions.Regions`.
    profiles : pandas.DataFrame
        From :func:`layer_profiles`.
    deposits : ndarray of shape (n, 2), optional
        Rows and columns of known deposits.
    listed : int, default 5
        Layers in the column ``layers``.

    Returns
    -------
    pandas.DataFrame
        ``region``, ``name``, ``cells``, ``share``, ``area_km2``, ``layers``, ``deposits``,
        ``expected``, ``p``, ``p_adjusted``.
    """
    grid = Grid.from_dataarray(labels)
    numbers = labels.to_numpy()
    count = int(numbers.max())
    cells = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    inside = np.zeros(count, dtype=np.int64)
    if deposits is not None and len(deposits):
        rows, columns = np.unique(np.asarray(deposits), axis=0).T
        inside = np.bincount(numbers[rows, columns], minlength=count + 1)[1:]
    strongest = [
        "; ".join(
            f"{layer} {value:+.1f}"
            for layer, value in row.dropna()
            .sort_values(key=np.abs, ascending=False, kind="stable")
            .head(listed)
            .items()
        )
        for _, row in profiles.iterrows()
    ]
    metres = grid.metres_per_unit
    table = pd.DataFrame(
        {
            "region": np.arange(1, count + 1),
            "name": region_names(profiles).to_numpy(),
            "cells": cells,
            "share": cells / cells.sum(),
            "area_km2": cells * grid.cell_area * metres**2 / 1e6,
            "layers": strongest,
        }
    )
    return table.join(deposit_enrichment(cells, inside))


def region_outlines(labels: xr.DataArray, table: pd.DataFrame) -> gpd.GeoDataFrame:
    """The regions as polygons along their cells, one row each.

    Parameters
    ----------
    labels : xarray.DataArray
        ``(y, x)``.
    table : pandas.DataFrame
        From :func:`region_table`.
    """
    grid = Grid.from_dataarray(labels)
    numbers = labels.to_numpy().astype(np.int32)
    pieces: dict[int, list[Any]] = {int(k): [] for k in table["region"]}
    for outline, number in shapes(numbers, mask=numbers > 0, transform=grid.transform):
        pieces[int(number)].append(shapely.geometry.shape(outline))
    outlines = [shapely.MultiPolygon(pieces[int(k)]) for k in table["region"]]
    return gpd.GeoDataFrame(table, geometry=outlines, crs=grid.crs)
