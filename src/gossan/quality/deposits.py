"""Known deposits and the area they lie in → findings."""

from __future__ import annotations

from collections.abc import Iterator

import geopandas as gpd
import numpy as np
import shapely
import xarray as xr
from scipy.spatial import cKDTree

from gossan.draft.columns import find_filters
from gossan.evidence import valid_cells
from gossan.grid import Grid
from gossan.labels.places import touching_patches
from gossan.quality.findings import Finding
from gossan.quality.layers import deposit_cells
from gossan.quality.verdicts import list_names
from gossan.study import Study

PLACE = "[deposits]"
_FEW = 10
_CLUSTERED = 0.5
_SMALL_HULL = 0.3
_LARGE_FOOTPRINT = 0.1


def judge_deposits(
    study: Study, evidence: xr.DataArray, labels: xr.DataArray, deposits: gpd.GeoDataFrame
) -> Iterator[Finding]:
    """What is odd about the deposits, where they lie, and how many there are."""
    grid, inside = Grid.from_dataarray(evidence), valid_cells(evidence)
    cells = deposit_cells(labels)
    yield from _unused(deposits, labels, grid)
    yield from _too_few(study, labels, grid, cells)
    yield from _mixed_commodities(study, deposits)
    yield from _on_the_edge(study, deposits, labels, inside)
    yield from _clustered(grid, inside, cells)
    share = float((labels.to_numpy() == 1).sum() / max(inside.sum(), 1))
    if share > _LARGE_FOOTPRINT:
        yield Finding(
            "warning",
            PLACE,
            f"The deposits' footprints cover {share:.0%} of the area: hardly any ground is left "
            "to tell them from.",
            "Use a smaller cell_size or footprint.",
        )


def _unused(deposits: gpd.GeoDataFrame, labels: xr.DataArray, grid: Grid) -> Iterator[Finding]:
    """Deposits outside the area, without evidence, or in the cell of another."""
    cells = np.asarray(labels.attrs["deposit_cells"]).reshape(-1, 2)
    barren = (
        deposits["barren"].eq(True).to_numpy(dtype=bool, na_value=False)
        if "barren" in deposits
        else np.zeros(len(deposits), dtype=bool)
    )
    names = deposits["name"].astype(str).to_numpy()
    places = deposits.geometry.to_crs(grid.crs)
    outside = grid.locate(places.x, places.y)[0] < 0
    lost = (cells[:, 0] < 0) & ~barren
    for which, where, remedy in (
        (lost & outside, "outside the area", "Widen `extent` in [area], or check coordinates."),
        (lost & ~outside, "in cells without evidence", "Check the sources and the mask there."),
    ):
        if which.any():
            yield Finding(
                "warning",
                PLACE,
                f"{which.sum()} of {len(deposits)} deposit(s) lie {where} and are not used: "
                f"{list_names(names[which])}.",
                remedy,
            )
    used = cells[~lost & ~barren]
    shared = len(used) - len(np.unique(used, axis=0))
    if shared:
        yield Finding(
            "note",
            PLACE,
            f"{shared} of {len(used)} deposit(s) lie in the cell of another and count with it.",
            "A smaller cell_size tells them apart, if they are two.",
        )


def _too_few(
    study: Study, labels: xr.DataArray, grid: Grid, cells: np.ndarray
) -> Iterator[Finding]:
    rows, columns = np.nonzero(labels.to_numpy() == 1)
    footprint = grid.coordinates(rows, columns)
    apart = int(touching_patches(footprint, np.array(grid.cell_size)).max()) + 1
    folds = study.validation.folds
    if apart < folds and study.validation.splitter != "leave-one-deposit-out":
        yield Finding(
            "error",
            "[validation]",
            f"{folds} folds need as many deposits whose footprints do not touch; there are "
            f"{apart}.",
            f"Set folds = {max(2, apart)} or fewer, splitter = 'leave-one-deposit-out', or a "
            "smaller footprint."
            if apart > 1
            else "Add deposits: one alone cannot be held out.",
        )
    elif len(cells) < _FEW:
        yield Finding(
            "warning",
            PLACE,
            f"{len(cells)} deposit(s) carry little statistics: expect wide intervals.",
            "Read the held-out figures with their intervals; add deposits of the same type.",
        )


def _mixed_commodities(study: Study, deposits: gpd.GeoDataFrame) -> Iterator[Finding]:
    if study.known.where:
        return
    for column, counts in find_filters(deposits, ("commodit",)).items():
        total, largest = sum(counts.values()), next(iter(counts.values()))
        if largest < 0.8 * total:
            listed = list_names([f"{value} {count}" for value, count in counts.items()], 8)
            yield Finding(
                "warning",
                PLACE,
                f"{len(counts)} commodities are taken for one kind of deposit ({column}: "
                f"{listed}).",
                f"Keep those that form together: where = {{ {column} = [...] }}.",
            )
            return


def _on_the_edge(
    study: Study, deposits: gpd.GeoDataFrame, labels: xr.DataArray, inside: np.ndarray
) -> Iterator[Finding]:
    """Deposits of which part of the footprint lies beyond the evidence."""
    reach = study.known.footprint // 2
    around = np.pad(inside, reach, constant_values=False)
    windows = np.lib.stride_tricks.sliding_window_view(around, (2 * reach + 1,) * 2)
    cells = np.asarray(labels.attrs["deposit_cells"]).reshape(-1, 2)
    used = np.flatnonzero(cells[:, 0] >= 0)
    cut = used[~windows[cells[used, 0], cells[used, 1]].all(axis=(1, 2))]
    if len(cut):
        names = deposits["name"].astype(str).to_numpy()[cut]
        yield Finding(
            "note",
            PLACE,
            f"{len(cut)} deposit(s) lie on the edge of the evidence, with part of their footprint "
            f"beyond: {list_names(names)}.",
            "Evidence a few cells beyond the outermost deposits shows their surroundings whole.",
        )


def _clustered(grid: Grid, inside: np.ndarray, cells: np.ndarray) -> Iterator[Finding]:
    """Clark and Evans' (1954) ratio of nearest-neighbour distances, and the deposits' hull."""
    if len(cells) < 5:
        return
    places = grid.coordinates(cells[:, 0], cells[:, 1])
    nearest = cKDTree(places).query(places, k=2)[0][:, 1].mean()
    area = float(inside.sum()) * grid.cell_area
    ratio = nearest / (0.5 / np.sqrt(len(places) / area))
    if ratio < _CLUSTERED:
        yield Finding(
            "note",
            PLACE,
            f"The deposits cluster: their nearest neighbours are at {ratio:.0%} of the distance "
            "that chance would give (Clark and Evans).",
            "Held out cluster by cluster, as by default, they are no easy prey; random folds would "
            "flatter.",
        )
    hull = shapely.convex_hull(shapely.multipoints(places)).area / area
    if hull < _SMALL_HULL:
        yield Finding(
            "note",
            PLACE,
            f"The known deposits lie within {hull:.0%} of the area (convex hull). Elsewhere the "
            "map speaks of ground unlike any it was tested on, or of where nobody looked.",
            "Narrow the area with `extent` or `mask` if the rest is of another kind.",
        )
