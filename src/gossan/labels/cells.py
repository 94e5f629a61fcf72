"""Deposits → labels on the template grid."""

from __future__ import annotations

import warnings

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import xarray as xr

from gossan.evidence import valid_cells
from gossan.exceptions import LabelError, StudyError, SurveyDataWarning
from gossan.grid import Grid


def label_cells(
    evidence: xr.DataArray, deposits: gpd.GeoDataFrame, *, footprint: int = 3
) -> xr.DataArray:
    """Mark the cells of each deposit's footprint on the evidence's grid.

    A cell that several footprints hold belongs to the deposit whose own cell is nearest, so a
    deposit never loses the cell it lies in to a neighbour; deposits in one and the same cell are
    seen as one at this resolution, under the index of the one nearest to the cell's centre.

    Parameters
    ----------
    evidence : xarray.DataArray
        ``(layer, y, x)`` stack with a CRS. Cells without evidence are never labelled.
    deposits : geopandas.GeoDataFrame
        Points, with an optional column ``name`` for messages and an optional boolean column
        ``barren`` that marks known negatives. Another CRS than the evidence's is reprojected;
        no CRS means the evidence's.
    footprint : int, default 3
        Odd number of cells across that one deposit marks; 3 is its cell and the 8 neighbours,
        with which Zhang, Zuo & Xiong (2021) made 171 positive cells of 19 deposits.

    Returns
    -------
    xarray.DataArray
        ``(y, x)`` int8: 1 deposit, 0 known barren, -1 unlabelled; with a coordinate ``deposit``
        ``(y, x)`` int32: row of ``deposits`` that the cell belongs to, -1 elsewhere; and an
        attribute ``deposit_cells`` (deposits, 2): the (row, column) each deposit lies in, -1 for
        one that is left out or barren.

    Raises
    ------
    LabelError
        If there is no deposit, or none in the area or on evidence; says what the coordinates
        look like (swapped, longitude and latitude) where that can be told.
    StudyError
        If ``footprint`` is even or below 1.

    Warns
    -----
    SurveyDataWarning
        Names the deposits left out: outside the area, without coordinates or without evidence.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 500, 500), cell_size=100, crs="EPSG:32650")
    >>> evidence = grid.to_dataarray(np.zeros((1, 5, 5), dtype="float32"), layers=["Cu"])
    >>> deposits = gpd.GeoDataFrame(
    ...     {"name": ["Lucky Strike"]}, geometry=gpd.points_from_xy([150], [350]), crs=grid.crs
    ... )
    >>> label_cells(evidence, deposits).values
    array([[ 1,  1,  1, -1, -1],
           [ 1,  1,  1, -1, -1],
           [ 1,  1,  1, -1, -1],
           [-1, -1, -1, -1, -1],
           [-1, -1, -1, -1, -1]], dtype=int8)
    """
    if footprint < 1 or footprint % 2 == 0:
        raise StudyError(
            f"footprint is {footprint}: it counts cells across, and is odd (1, 3, 5, …)."
        )
    grid = Grid.from_dataarray(evidence)
    valid = valid_cells(evidence)
    barren = _is_barren(deposits)
    places = _places(deposits, grid)
    kept = _on_evidence(deposits, places, grid, valid)
    if barren[kept].all():
        raise LabelError(
            f"All {len(kept)} usable deposits are marked as barren, so nothing shows what ore "
            "looks like. Add known deposits, or check the column 'barren'."
        )
    cells, owners = _footprint_cells(grid, valid, places[kept], barren[kept], footprint)
    owners = kept[owners]
    labels = np.full(grid.shape, -1, dtype=np.int8)
    labels.flat[cells] = np.where(barren[owners], 0, 1)
    deposit = np.full(grid.shape, -1, dtype=np.int32)
    deposit.flat[cells] = np.where(barren[owners], -1, owners)
    array = grid.to_dataarray(labels, name="labels").assign_coords(
        y=evidence["y"], x=evidence["x"], deposit=(("y", "x"), deposit)
    )
    deposit_cells = np.full((len(deposits), 2), -1)
    ore = kept[~barren[kept]]
    deposit_cells[ore] = np.column_stack(grid.locate(*places[ore].T))
    return array.assign_attrs(deposit_cells=deposit_cells)


def _is_barren(deposits: gpd.GeoDataFrame) -> npt.NDArray[np.bool_]:
    """Which rows are known negatives; none without a column ``barren``."""
    if len(deposits) == 0:
        raise LabelError(
            "There is no deposit, so nothing shows what ore looks like. Check the deposits' file "
            "and the filter on its attributes."
        )
    if "barren" not in deposits:
        return np.zeros(len(deposits), dtype=bool)
    return deposits["barren"].eq(True).to_numpy(dtype=bool, na_value=False)


def _places(deposits: gpd.GeoDataFrame, grid: Grid) -> npt.NDArray[np.float64]:
    """(easting, northing) of the deposits in the grid's CRS, (n, 2); NaN where missing."""
    geometry = deposits.geometry
    others = ~(geometry.isna() | geometry.is_empty | (geometry.geom_type == "Point")).to_numpy()
    if others.any():
        kind = geometry[others].geom_type.iloc[0]
        raise LabelError(
            f"A deposit is one point, but {_listed(deposits, others)} has geometry {kind}. "
            "Please give points, e.g. `deposits.set_geometry(deposits.representative_point())`."
        )
    if geometry.crs is not None and geometry.crs != grid.crs:
        geometry = geometry.to_crs(grid.crs)
    return np.column_stack([geometry.x, geometry.y])


def _on_evidence(
    deposits: gpd.GeoDataFrame,
    places: npt.NDArray[np.float64],
    grid: Grid,
    valid: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Indices of the deposits on ground with evidence; warns of the others by name."""
    located: npt.NDArray[np.bool_] = np.isfinite(places.sum(axis=1))
    if not located.any():
        raise LabelError(f"None of the {len(places)} deposits has coordinates.")
    rows, columns = grid.locate(places[:, 0], places[:, 1])
    inside: npt.NDArray[np.bool_] = rows >= 0
    if not inside.any():
        raise LabelError(_all_outside(places[located], grid))
    observed = inside & valid[rows, columns]
    if not observed.any():
        raise LabelError(
            f"None of the {inside.sum()} deposits in the area lies in a cell with evidence: "
            f"{_listed(deposits, inside)}. Add a source that covers them, or check the mask."
        )
    for left_out, reason in (
        (~located, "have no coordinates; fill them in"),
        (located & ~inside, f"lie outside the area {_bounds(grid.bounds)}; widen it or check them"),
        (inside & ~observed, "lie in cells without evidence; check the sources and the mask there"),
    ):
        if left_out.any():
            warnings.warn(
                f"{left_out.sum()} of {len(places)} deposits {reason}. "
                f"Left out: {_listed(deposits, left_out)}.",
                SurveyDataWarning,
                stacklevel=3,
            )
    return np.flatnonzero(observed)


def _listed(deposits: gpd.GeoDataFrame, chosen: npt.NDArray[np.bool_], most: int = 5) -> str:
    """Names of the chosen deposits, or their rows where nameless: up to five, then a count."""
    rows = np.flatnonzero(chosen)
    names = [f"row {row}" for row in rows[:most]]
    if "name" in deposits:
        given = deposits["name"].iloc[rows[:most]]
        names = [repr(str(n)) if pd.notna(n) else row for n, row in zip(given, names)]
    return ", ".join(names) + (f" and {len(rows) - most} more" if len(rows) > most else "")


def _all_outside(places: npt.NDArray[np.float64], grid: Grid) -> str:
    """What to say where every deposit misses the area: both bounds and the likeliest mistake."""
    bounds = (*places.min(axis=0), *places.max(axis=0))
    return (
        f"None of the {len(places)} deposits lies in the area. In (west, south, east, north) the "
        f"area is {_bounds(grid.bounds)}, the deposits are {_bounds(bounds)}. "
        f"{_mistake(places, grid)}"
    )


def _mistake(places: npt.NDArray[np.float64], grid: Grid) -> str:
    """The likeliest reason, and its remedy, why all places lie outside the grid."""
    swapped = places[:, ::-1]
    if _mostly_inside(swapped, grid):
        return (
            "With easting and northing swapped they lie inside: swap the columns named as x and y."
        )
    degrees = (np.abs(places) <= 180).all()
    if degrees and not grid.crs.is_geographic:
        geographic = pyproj.Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True)
        for order, advice in (
            (places, ""),
            (swapped, " and swap the columns named as x (longitude) and y (latitude)"),
        ):
            if _mostly_inside(np.column_stack(geographic.transform(*order.T)), grid):
                return (
                    "Read as longitude and latitude they lie inside: declare the deposits' CRS as "
                    f'"EPSG:4326"{advice}.'
                )
        return "They look like longitude and latitude: declare the deposits' own CRS."
    if grid.crs.is_geographic and not degrees:
        return "They look projected, the area is in degrees: declare the deposits' own CRS."
    return "Check the deposits' CRS (another zone or datum?) and the area's extent."


def _mostly_inside(places: npt.NDArray[np.float64], grid: Grid) -> bool:
    return bool((grid.locate(places[:, 0], places[:, 1])[0] >= 0).mean() >= 0.5)


def _bounds(bounds: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{edge:.7g}" for edge in bounds) + ")"


def _footprint_cells(
    grid: Grid,
    valid: npt.NDArray[np.bool_],
    places: npt.NDArray[np.float64],
    barren: npt.NDArray[np.bool_],
    footprint: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Flat indices of all footprint cells with evidence, and which place each belongs to."""
    across = np.arange(footprint) - footprint // 2
    down, right = (steps.ravel() for steps in np.meshgrid(across, across, indexing="ij"))
    width, height = grid.cell_size
    own_rows, own_columns = grid.locate(places[:, 0], places[:, 1])
    rows, columns = own_rows[:, None] + down, own_columns[:, None] + right  # (deposits, cells)
    held = (rows >= 0) & (rows < grid.shape[0]) & (columns >= 0) & (columns < grid.shape[1])
    held[held] = valid[rows[held], columns[held]]
    owner, step = np.nonzero(held)
    cells = rows[held] * grid.shape[1] + columns[held]
    gap = (down * height) ** 2 + (right * width) ** 2
    own_centres = grid.coordinates(own_rows, own_columns)
    off_centre = ((own_centres - places) ** 2).sum(axis=1)
    # A tie goes to a deposit before barren ground, then to the place nearest to the centre of its
    # own cell: of deposits in one cell, one owns the whole footprint.
    order = np.lexsort((owner, off_centre[owner], barren[owner], gap[step], cells))
    cells, first = np.unique(cells[order], return_index=True)
    return cells, owner[order][first]
