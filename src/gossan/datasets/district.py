"""A synthetic district whose every deposit is known, so that a map can be marked against truth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr
from scipy.stats import binom

from gossan.datasets.geochemistry import draw_samples, false_anomalies, ore_haloes
from gossan.datasets.geology import (
    LITHOLOGIES,
    Field,
    Geology,
    blob,
    distance_to_lines,
    draw_geology,
    polygonise,
    scale,
    smooth_field,
    wandering_line,
)
from gossan.datasets.geophysics import draw_gravity, draw_magnetics
from gossan.exceptions import StudyError
from gossan.grid import Grid
from gossan.mistakes import suggest

CONTROLS = ("intrusion", "faults", "host")
COMMODITY = "Cu-Au"

_CRS = "EPSG:32650"
_SOUTHWEST = (400_000.0, 2_800_000.0)
# Range of the log intensity between the worst place and one where all controls meet. Chosen so
# that an untuned forest on the survey's layers finds the undiscovered deposits with an area under
# the curve of 0.78–0.89 against 0.95 for the true controls: learnable, far from perfectly.
_CONTRAST = 14.0
_SHARE = {"intrusion": 0.38, "faults": 0.32, "host": 0.30}
_HILLS = (
    "Copper", "Iron", "Silver", "Raven", "North", "South", "Eagle", "Wattle", "Morning",
    "Evening", "Stony", "Long",
)  # fmt: skip
_WORKS = (
    "Hill", "Star", "Ridge", "Creek", "Lode", "Queen", "King", "Reef", "Bluff", "Flat",
    "Gully", "Pride",
)  # fmt: skip


@dataclass(frozen=True)
class District:
    """Everything about a synthetic district: what a survey would see, and the truth.

    Attributes
    ----------
    seed : int
    controls : tuple of str
        What drives mineralisation here, of ``"intrusion"``, ``"faults"``, ``"host"``.
    grid : Grid
        Cells of the fields below; metres.
    samples : pandas.DataFrame
        ``sample_id``, ``easting``, ``northing`` and 39 columns in ppm such as ``Cu_ppm``; text
        such as ``"<0.5"`` below the detection limit, NaN where not analysed.
    geology : geopandas.GeoDataFrame
        Polygons: ``unit``, ``lithology``.
    faults : geopandas.GeoDataFrame
        Lines: ``name``, ``trend`` (``"principal"`` or ``"conjugate"``).
    magnetics, gravity : xarray.DataArray
        Nanotesla on metres; milligal on degrees. NaN where not surveyed.
    roads, gaps : geopandas.GeoDataFrame
        Lines along which ground was explored; polygons that were not sampled.
    other_occurrences : geopandas.GeoDataFrame
        Points of other commodities (``name``, ``commodity``), unrelated to the controls.
    truth : geopandas.GeoDataFrame
        Every deposit that exists: ``name``, ``commodity``, ``size_mt`` (million tonnes) and
        ``known``.
    prospectivity : xarray.DataArray
        The truth, (y, x): expected number of deposits in each cell.
    control_fields : xarray.DataArray
        (layer, y, x): each control between 0 (unfavourable) and 1.
    accessibility, sampling_density : xarray.DataArray
        (y, x), 0 to 1: how readily ground was explored, and how densely sampled.
    """

    seed: int
    controls: tuple[str, ...]
    grid: Grid
    samples: pd.DataFrame
    geology: gpd.GeoDataFrame
    faults: gpd.GeoDataFrame
    magnetics: xr.DataArray
    gravity: xr.DataArray
    roads: gpd.GeoDataFrame
    gaps: gpd.GeoDataFrame
    other_occurrences: gpd.GeoDataFrame
    truth: gpd.GeoDataFrame
    prospectivity: xr.DataArray
    control_fields: xr.DataArray
    accessibility: xr.DataArray
    sampling_density: xr.DataArray

    @property
    def known(self) -> gpd.GeoDataFrame:
        """Deposits that explorers have found: what a study may use."""
        return self.truth[self.truth["known"]].reset_index(drop=True)

    @property
    def undiscovered(self) -> gpd.GeoDataFrame:
        """Deposits that nobody has found yet."""
        return self.truth[~self.truth["known"]].reset_index(drop=True)


def synthetic_district(
    seed: int = 0,
    *,
    shape: tuple[int, int] = (200, 250),
    cell_size: float = 250.0,
    n_deposits: int = 60,
    n_known: int = 20,
    n_samples: int = 1500,
    controls: Collection[str] = CONTROLS,
    unexplained: float = 0.6,
    halo_strength: float = 1.0,
    discovery_bias: float = 1.0,
) -> District:
    """Draw a district: its geology, its deposits, and what surveys and prospectors made of it.

    Deposits are drawn from an intensity that is high where the controls meet: near the contact
    of a fertile intrusion, near a fault (a principal one more than a conjugate), in a favourable
    host. Prospectors found some of them, mostly near roads and in the open. Sediment carries
    haloes of all deposits, found or not, besides anomalies that mean nothing.

    Parameters
    ----------
    seed : int
        Same seed, same district; another seed, another geology.
    shape : tuple of int
        ``(rows, columns)`` of the grid. All structures scale with its shorter side.
    cell_size : float
        Metres.
    n_deposits, n_known : int
        Deposits that exist, and those that are known.
    n_samples : int
        Rows of the sample table, field duplicates (one in fifty) included.
    controls : collection of str
        Which of ``"intrusion"``, ``"faults"``, ``"host"`` drive mineralisation. With a single
        one, that layer alone is the cause.
    unexplained : float
        Standard deviation of the log intensity that no layer explains; 0 for none.
    halo_strength : float
        Strength of the dispersion haloes, times the usual; 0 for none.
    discovery_bias : float
        How strongly discovery favours accessible ground; 0 makes the known deposits a fair draw.

    Returns
    -------
    District

    Raises
    ------
    StudyError
        If a control is unknown, more deposits are known than exist, or they do not fit the area.

    Examples
    --------
    >>> district = synthetic_district(1, shape=(60, 80), n_deposits=15, n_known=5, n_samples=120)
    >>> len(district.known), len(district.undiscovered)
    (5, 10)
    >>> district.samples.shape
    (120, 42)
    """
    drivers = _check(controls, shape, n_deposits, n_known, n_samples)
    ground, ore, access, chemistry, physics = np.random.default_rng(seed).spawn(5)
    west, south = _SOUTHWEST
    rows, columns = shape
    grid = Grid.from_bounds(
        (west, south, west + columns * cell_size, south + rows * cell_size), cell_size, _CRS
    )
    geology = draw_geology(ground, grid)
    fields = _control_fields(ore, geology)
    intensity = _intensity(ore, fields, drivers, unexplained)
    deposits = _place_deposits(ore, grid, intensity, n_deposits)
    roads, towns = _draw_roads(access, grid)
    gaps, sampled = _draw_gaps(access, geology)
    accessibility = _accessibility(geology, roads, sampled)
    deposits["known"] = _discover(access, geology, deposits, accessibility**discovery_bias, n_known)
    density = np.where(sampled, 0.35 + 0.65 * accessibility, 0.0)
    sources = (
        ore_haloes(chemistry, geology, deposits, halo_strength),
        *false_anomalies(chemistry, geology, towns),
    )
    return District(
        seed=seed,
        controls=drivers,
        grid=grid,
        samples=draw_samples(chemistry, geology, density, sources, n_samples),
        geology=geology.polygons(),
        faults=geology.faults,
        magnetics=draw_magnetics(physics, geology),
        gravity=draw_gravity(physics, geology),
        roads=roads,
        gaps=gaps,
        other_occurrences=_other_occurrences(access, grid, accessibility),
        truth=deposits,
        prospectivity=grid.to_dataarray(n_deposits * intensity, name="prospectivity"),
        control_fields=grid.to_dataarray(
            np.stack(list(fields.values())), name="control", layers=list(fields)
        ),
        accessibility=grid.to_dataarray(accessibility, name="accessibility"),
        sampling_density=grid.to_dataarray(density, name="sampling_density"),
    )


def truth_table(
    score: xr.DataArray,
    truth: District | gpd.GeoDataFrame,
    areas: Sequence[float] = (0.01, 0.02, 0.05, 0.10),
) -> pd.DataFrame:
    """How many deposits, undiscovered and known, lie in the best part of a map.

    Parameters
    ----------
    score : xarray.DataArray, shape (y, x)
        Prospectivity, high is good; NaN cells are not area.
    truth : District or geopandas.GeoDataFrame
        All deposits, with the boolean column ``known``.
    areas : sequence of float
        Shares of the area, from the highest score down.

    Returns
    -------
    pandas.DataFrame
        One row a share of the ``area`` (the index): ``threshold`` (the score that bounds it),
        ``undiscovered`` and ``known`` (deposits inside; a tie at the threshold counts by its
        middle rank), ``n_undiscovered`` and ``n_known`` (all there are), ``expected``
        (undiscovered deposits that blind choice would hold), ``lift`` (undiscovered over
        expected) and ``p_chance`` (of blind choice holding as many, binomial).

    Examples
    --------
    >>> district = synthetic_district(1, shape=(60, 80), n_deposits=15, n_known=5, n_samples=120)
    >>> table = truth_table(district.prospectivity, district, areas=(0.1, 1.0))
    >>> float(table.loc[0.1, "expected"]), int(table.loc[1.0, "undiscovered"])
    (1.0, 10)
    >>> bool(table.loc[0.1, "lift"] > 3)
    True
    """
    deposits = truth.truth if isinstance(truth, District) else truth
    if "known" not in deposits:
        raise StudyError(
            f"The truth has the columns {', '.join(deposits.columns)}: a boolean column 'known' "
            "must tell which deposits the study was given."
        )
    cells = np.sort(score.to_numpy()[np.isfinite(score.to_numpy())])
    if not len(cells):
        raise StudyError("The map has no score in any cell, so no part of it is the best.")
    rank = _rank_from_top(score, cells, deposits)
    known = deposits["known"].to_numpy(dtype=bool)
    table = []
    for area in areas:
        found = rank < area
        expected = area * (~known).sum()
        table.append(
            {
                "area": area,
                "threshold": float(cells[-max(int(np.ceil(area * len(cells) - 1e-9)), 1)]),
                "undiscovered": int(found[~known].sum()),
                "n_undiscovered": int((~known).sum()),
                "expected": expected,
                "lift": found[~known].sum() / expected if expected else np.nan,
                "p_chance": float(binom.sf(found[~known].sum() - 1, (~known).sum(), area)),
                "known": int(found[known].sum()),
                "n_known": int(known.sum()),
            }
        )
    return pd.DataFrame(table).set_index("area")


def _rank_from_top(score: xr.DataArray, cells: Field, deposits: gpd.GeoDataFrame) -> Field:
    """Share of the sorted cells that score above each deposit, ties halved; 1 off the map."""
    grid = Grid.from_dataarray(score)
    points = deposits.to_crs(grid.crs).geometry
    rows, columns = grid.locate(points.x, points.y)
    at_deposits = np.where(rows >= 0, score.to_numpy()[rows, columns], np.nan)
    below = np.searchsorted(cells, at_deposits, side="left")
    not_above = np.searchsorted(cells, at_deposits, side="right")
    rank = 1 - 0.5 * (below + not_above) / len(cells)
    return np.where(np.isfinite(at_deposits), rank, 1.0)


def _check(
    controls: Collection[str],
    shape: tuple[int, int],
    n_deposits: int,
    n_known: int,
    n_samples: int,
) -> tuple[str, ...]:
    """The controls in their order, once the arguments are found sound."""
    chosen = {controls} if isinstance(controls, str) else set(controls)
    for unknown in sorted(chosen - set(CONTROLS)):
        raise StudyError(f"Unknown control {unknown!r}.{suggest(unknown, list(CONTROLS))}")
    if not 0 < n_known <= n_deposits:
        raise StudyError(
            f"n_known is {n_known} of n_deposits {n_deposits}: at least one deposit must be "
            "known, and no more than there are."
        )
    if min(shape) < 20:
        raise StudyError(f"A district of {shape} cells is too small: at least 20 × 20.")
    if n_samples < 10:
        raise StudyError(f"n_samples is {n_samples}: a survey has at least 10 samples.")
    return tuple(control for control in CONTROLS if control in chosen)


def _control_fields(rng: np.random.Generator, geology: Geology) -> dict[str, Field]:
    """Favourability of each control, 0 to 1, by the distances and rocks of the ground truth."""
    grid = geology.grid
    contact_reach = max(0.025 * scale(grid), grid.cell_size[0])
    fault_reach = max(0.014 * scale(grid), grid.cell_size[0])
    outside = geology.contact_distance > 0
    contact = np.abs(geology.contact_distance) / np.where(outside, 1.0, 0.3)
    favour = dict.fromkeys(LITHOLOGIES, 0.05)
    best, second = rng.permutation(["limestone", "andesite"])
    favour |= {"siltstone": 0.25, "porphyry": 0.4, "leucogranite": 0.0}
    favour |= {str(best): 1.0, str(second): 0.5}
    return {
        "intrusion": np.exp(-contact / contact_reach),
        "faults": np.maximum(
            np.exp(-geology.principal_distance / fault_reach),
            0.6 * np.exp(-geology.conjugate_distance / fault_reach),
        ),
        "host": np.array([favour[rock] for rock in LITHOLOGIES])[geology.bedrock],
    }


def _intensity(
    rng: np.random.Generator, fields: dict[str, Field], drivers: tuple[str, ...], unexplained: float
) -> Field:
    """Probability that a deposit, wherever it is, is in each cell; sums to 1."""
    shape = fields["host"].shape
    log_intensity = unexplained * smooth_field(rng, shape, 0.04 * min(shape))
    total = sum(_SHARE[driver] for driver in drivers)
    for driver in drivers:
        log_intensity += _CONTRAST * _SHARE[driver] / total * fields[driver]
    intensity = np.exp(log_intensity - log_intensity.max())
    return intensity / intensity.sum()


def _place_deposits(
    rng: np.random.Generator, grid: Grid, intensity: Field, count: int
) -> gpd.GeoDataFrame:
    """Deposits drawn without replacement by intensity, no two closer than three cells."""
    spacing = 3 * grid.cell_size[0]
    # The largest of log w + Gumbel noise, in order: a draw without replacement with weights w.
    order = np.argsort(-(np.log(intensity.ravel()) + rng.gumbel(size=grid.size)), kind="stable")
    candidates = grid.coordinates(*np.unravel_index(order, grid.shape))
    candidates += rng.uniform(-0.5, 0.5, candidates.shape) * grid.cell_size[0]
    chosen: list[Field] = []
    for candidate in candidates:
        near = np.asarray(chosen).reshape(-1, 2) - candidate
        if not (np.hypot(*near.T) < spacing).any():
            chosen.append(candidate)
        if len(chosen) == count:
            break
    else:
        raise StudyError(
            f"{count} deposits do not fit {grid.shape[0]} × {grid.shape[1]} cells, three cells "
            f"apart: {len(chosen)} do. Ask for fewer or a larger shape."
        )
    return gpd.GeoDataFrame(
        {
            "name": _deposit_names(rng, count),
            "commodity": COMMODITY,
            "size_mt": np.round(rng.lognormal(0.5, 1.2, count), 2),
        },
        geometry=shapely.points(np.round(chosen, 1)),
        crs=grid.crs,
    )


def _deposit_names(rng: np.random.Generator, count: int) -> list[str]:
    names = [f"{hill} {work}" for hill in _HILLS for work in _WORKS]
    numbered = [f"Prospect {number}" for number in range(1, max(count - len(names), 0) + 1)]
    return [*rng.permutation(names)[: count - len(numbered)].tolist(), *numbered]


def _draw_roads(rng: np.random.Generator, grid: Grid) -> tuple[gpd.GeoDataFrame, Field]:
    """Two roads across the district and one up to the edge; towns where they meet."""
    west, south, east, north = grid.bounds
    width, height = east - west, north - south
    across = wandering_line(
        rng,
        (west, south + height * rng.uniform(0.15, 0.85)),
        (east, south + height * rng.uniform(0.15, 0.85)),
    )
    town = across[rng.integers(20, 60)]
    up = wandering_line(rng, tuple(town), (west + width * rng.uniform(0.1, 0.9), north))
    down = wandering_line(rng, tuple(town), (west + width * rng.uniform(0.1, 0.9), south))
    roads = gpd.GeoDataFrame(
        {"name": ["highway", "north road", "south road"]},
        geometry=[shapely.LineString(line) for line in (across, up, down)],
        crs=grid.crs,
    )
    return roads, np.stack([town, up[rng.integers(30, 70)]])


def _draw_gaps(
    rng: np.random.Generator, geology: Geology
) -> tuple[gpd.GeoDataFrame, np.typing.NDArray[np.bool_]]:
    """A lake in the lowest ground and a closed reserve: polygons, and the cells left to sample."""
    grid = geology.grid
    size = scale(grid)
    west, south, east, north = grid.bounds
    centre = (rng.uniform(west, east), rng.uniform(south, north))
    radius = size * rng.uniform(0.07, 0.12)
    reserve = blob(rng, grid, centre, (radius, 0.7 * radius), rng.uniform(0, np.pi))
    lowest = grid.coordinates()[np.argmin(geology.relief)]
    shore = size * rng.uniform(0.02, 0.05)
    lake = blob(rng, grid, tuple(lowest), (1.6 * shore, shore), geology.strike)
    codes = np.where(lake, 2, np.where(reserve, 1, 0)).astype(np.int16)
    polygons = polygonise(codes, grid)
    polygons = polygons[polygons["code"] > 0].reset_index(drop=True)
    polygons["name"] = polygons.pop("code").map({1: "reserve", 2: "lake"})
    return polygons[["name", "geometry"]], codes == 0


def _accessibility(
    geology: Geology, roads: gpd.GeoDataFrame, sampled: np.typing.NDArray[np.bool_]
) -> Field:
    """High near roads and in gentle ground, low in rugged ground and closed areas."""
    lines = [np.asarray(line.coords) for line in roads.geometry]
    near = np.exp(-distance_to_lines(lines, geology.grid) / (0.07 * scale(geology.grid)))
    gentle = 1 / (1 + np.exp(geology.relief - 1))
    return np.where(sampled, 0.03 + 0.97 * near * gentle, 0.01)


def _discover(
    rng: np.random.Generator,
    geology: Geology,
    deposits: gpd.GeoDataFrame,
    attention: Field,
    count: int,
) -> np.typing.NDArray[np.bool_]:
    """Which deposits are known: drawn by the attention paid to their ground and by their size."""
    rows, columns = geology.grid.locate(deposits.geometry.x, deposits.geometry.y)
    exposure = np.where(geology.covered[rows, columns], 0.1, 1.0)
    weight = attention[rows, columns] * exposure * np.sqrt(deposits["size_mt"].to_numpy())
    known = np.zeros(len(deposits), dtype=bool)
    known[rng.choice(len(deposits), count, replace=False, p=weight / weight.sum())] = True
    return known


def _other_occurrences(
    rng: np.random.Generator, grid: Grid, accessibility: Field, count: int = 8
) -> gpd.GeoDataFrame:
    """Quarries and barite veins: positives for nobody who looks for copper and gold."""
    weight = accessibility.ravel() / accessibility.sum()
    cells = rng.choice(grid.size, count, replace=False, p=weight)
    commodity = rng.choice(["Barite", "Limestone", "Gravel"], count)
    return gpd.GeoDataFrame(
        {
            "name": [f"{kind} occurrence {number}" for number, kind in enumerate(commodity, 1)],
            "commodity": commodity,
        },
        geometry=shapely.points(grid.coordinates()[cells]),
        crs=grid.crs,
    )
