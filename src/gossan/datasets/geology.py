"""The ground of a synthetic district: folded strata, faults, intrusions, cover and relief."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from gossan.grid import Grid

Field = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int16]

STRATA = ("greywacke", "black shale", "limestone", "andesite", "siltstone", "sandstone")
INTRUSIONS = ("leucogranite", "granodiorite", "porphyry")
FERTILE = ("granodiorite", "porphyry")
COVER = "alluvium"
LITHOLOGIES = (*STRATA, *INTRUSIONS, COVER)

_PLACES = (
    "Arden", "Ashgrove", "Bellbrook", "Calder", "Corran", "Dunmore", "Ellery", "Farrow",
    "Galloway", "Harrow", "Inver", "Jarrah", "Kestrel", "Larkhill", "Merrow", "Norwick",
    "Orrin", "Penhale", "Quarry", "Redmire", "Selwyn", "Tarbet", "Ullin", "Verran",
)  # fmt: skip
_RANKS = {
    "limestone": "Limestone",
    "andesite": "Volcanics",
    "black shale": "Shale",
    "leucogranite": "Leucogranite",
    "granodiorite": "Granodiorite",
    "porphyry": "Porphyry",
    "alluvium": "Alluvium",
}


@dataclass(frozen=True)
class Fault:
    """A curved fault trace and its strike slip; lengths in metres, azimuth in radians."""

    easting: float
    northing: float
    azimuth: float
    length: float
    bend: float
    slip: float
    trend: str

    def trace(self) -> Field:
        """(easting, northing) along the fault, shape (60, 2)."""
        along = np.linspace(-0.5, 0.5, 60) * self.length
        return np.column_stack(self._to_map(along, self._offset(along)))

    def restore(self, easting: Field, northing: Field) -> tuple[Field, Field]:
        """Where each place lay before the fault slipped.

        Displacement is largest at the middle of the trace and dies out towards the tips and
        away from the fault, as it does on an isolated fault.
        """
        east, north = easting - self.easting, northing - self.northing
        along = east * np.sin(self.azimuth) + north * np.cos(self.azimuth)
        across = east * np.cos(self.azimuth) - north * np.sin(self.azimuth) - self._offset(along)
        taper = np.sqrt(np.clip(1 - (2 * along / self.length) ** 2, 0, None))
        shift = (
            0.5 * self.slip * np.sign(across) * taper * np.exp(-np.abs(across) / self.length / 0.3)
        )
        return easting - shift * np.sin(self.azimuth), northing - shift * np.cos(self.azimuth)

    def _offset(self, along: Field) -> Field:
        """Distance of the curved trace from the straight one, to the right of the azimuth."""
        position = np.clip(along / self.length, -0.5, 0.5)
        return self.length * (
            self.bend * (4 * position**2 - 1) + 0.006 * np.sin(9 * position + 40 * self.bend)
        )

    def _to_map(self, along: Field, across: Field) -> tuple[Field, Field]:
        sine, cosine = np.sin(self.azimuth), np.cos(self.azimuth)
        return (
            self.easting + along * sine + across * cosine,
            self.northing + along * cosine - across * sine,
        )


@dataclass(frozen=True)
class Geology:
    """The ground truth on the grid's cells; fields have shape (y, x), distances are in metres.

    ``bedrock`` and ``surface`` hold indices into :data:`LITHOLOGIES`; they differ where alluvium
    hides the bedrock. ``contact_distance`` is to the contact of the fertile intrusions, negative
    inside them; ``relief`` has zero mean and unit variance.
    """

    grid: Grid
    strike: float
    bedrock: Codes
    surface: Codes
    names: dict[str, str]
    faults: gpd.GeoDataFrame
    relief: Field
    contact_distance: Field
    principal_distance: Field
    conjugate_distance: Field

    @property
    def covered(self) -> npt.NDArray[np.bool_]:
        """Cells whose bedrock lies under alluvium."""
        return self.surface == LITHOLOGIES.index(COVER)

    def polygons(self) -> gpd.GeoDataFrame:
        """The geological map: columns ``unit``, ``lithology``, ``geometry``."""
        polygons = polygonise(self.surface, self.grid)
        lithology = [LITHOLOGIES[code] for code in polygons["code"]]
        return gpd.GeoDataFrame(
            {"unit": [self.names[rock] for rock in lithology], "lithology": lithology},
            geometry=polygons.geometry.to_numpy(),
            crs=self.grid.crs,
        )


def draw_geology(rng: np.random.Generator, grid: Grid) -> Geology:
    """Draw the geology of a district.

    Strata are folded along a regional strike and tilted, then offset by faults of a principal
    and a conjugate trend, cut by a barren granite and by younger, fertile intrusions, and hidden
    by alluvium in the low ground. All lengths follow the shorter side of the grid, so that a
    small district is a whole district.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all variation: strike, style of folding, order and thickness of the strata,
        faults, number and place of the intrusions, relief.
    grid : Grid
        The cells; metres.

    Returns
    -------
    Geology
    """
    strike = rng.uniform(0, np.pi)
    faults = _draw_faults(rng, grid, strike)
    bedrock = _faulted(_draw_strata(rng, grid, strike), faults, grid)
    inside = _draw_intrusions(rng, grid, strike, faults)
    for rock in INTRUSIONS:
        bedrock[inside[rock]] = LITHOLOGIES.index(rock)
    bedrock = rasterio.features.sieve(bedrock, size=6, connectivity=4)
    relief = _draw_relief(rng, bedrock)
    low = relief < np.quantile(relief, rng.uniform(0.05, 0.12))
    surface = np.where(low, LITHOLOGIES.index(COVER), bedrock).astype(np.int16)
    places = rng.permutation(_PLACES)
    fertile = np.isin(bedrock, [LITHOLOGIES.index(rock) for rock in FERTILE])
    return Geology(
        grid=grid,
        strike=strike,
        bedrock=bedrock,
        surface=rasterio.features.sieve(surface, size=6, connectivity=4),
        names={
            rock: f"{place} {_RANKS.get(rock, rock.title())}"
            for rock, place in zip(LITHOLOGIES, places, strict=False)
        },
        faults=_fault_lines(faults, grid),
        relief=relief,
        contact_distance=_signed_distance(fertile, grid),
        principal_distance=distance_to_lines(_traces(faults, "principal"), grid),
        conjugate_distance=distance_to_lines(_traces(faults, "conjugate"), grid),
    )


def scale(grid: Grid) -> float:
    """Shorter side of the grid, in metres: the length that all structures follow."""
    return min(grid.shape[0] * grid.cell_size[1], grid.shape[1] * grid.cell_size[0])


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], length: float) -> Field:
    """A Gaussian random field of zero mean and unit variance, correlated over ``length`` cells."""
    pad = int(np.ceil(2 * length))
    rows, columns = (fft.next_fast_len(side + pad, real=True) for side in shape)
    spectrum = fft.rfft2(rng.standard_normal((rows, columns)))
    squared = fft.fftfreq(rows)[:, None] ** 2 + fft.rfftfreq(columns)[None] ** 2
    field = fft.irfft2(spectrum * np.exp(-((np.pi * length) ** 2) * squared), s=(rows, columns))
    field = field[: shape[0], : shape[1]]
    return (field - field.mean()) / field.std()


def interpolate_field(
    field: Field, grid: Grid, easting: Field, northing: Field, *, order: int = 1
) -> Field:
    """A field (y, x) at places, by the spline ``order``; held constant beyond the edge."""
    rows = (northing - grid.northings[0]) / (grid.northings[1] - grid.northings[0])
    columns = (easting - grid.eastings[0]) / (grid.eastings[1] - grid.eastings[0])
    return ndimage.map_coordinates(field, [rows, columns], order=order, mode="nearest")


def blob(
    rng: np.random.Generator,
    grid: Grid,
    centre: tuple[float, float],
    semi_axes: tuple[float, float],
    azimuth: float,
) -> npt.NDArray[np.bool_]:
    """Cells inside an ellipse with an irregular outline; axes in metres along and across."""
    east, north = np.meshgrid(grid.eastings - centre[0], grid.northings - centre[1])
    along = east * np.sin(azimuth) + north * np.cos(azimuth)
    across = east * np.cos(azimuth) - north * np.sin(azimuth)
    wobble = smooth_field(rng, grid.shape, max(2.0, 0.6 * semi_axes[1] / grid.cell_size[0]))
    radius = np.hypot(along / semi_axes[0], across / semi_axes[1])
    return radius + 0.18 * np.clip(wobble, -2, 2) < 1


def polygonise(codes: Codes, grid: Grid) -> gpd.GeoDataFrame:
    """Polygons of equal codes, their shared boundaries smoothed together: no gaps, no overlaps."""
    outlines, values = [], []
    for shape, value in rasterio.features.shapes(codes, transform=grid.transform):
        outlines.append(shapely.geometry.shape(shape))
        values.append(int(value))
    # Visvalingam-Whyatt: an area of one cell takes the staircase out and leaves the shape.
    smooth = shapely.coverage_simplify(outlines, grid.cell_area**0.5, simplify_boundary=False)
    return gpd.GeoDataFrame({"code": values}, geometry=list(smooth), crs=grid.crs)


def distance_to_lines(lines: Sequence[Field], grid: Grid) -> Field:
    """Metres from every cell centre to the nearest of the polylines ((vertex, 2) each)."""
    dense = [_densify(line, 0.2 * grid.cell_size[0]) for line in lines]
    distance, _ = cKDTree(np.concatenate(dense)).query(grid.coordinates())
    return distance.reshape(grid.shape)


def wandering_line(
    rng: np.random.Generator, start: tuple[float, float], end: tuple[float, float]
) -> Field:
    """A polyline from start to end that strays as a road or river does, shape (80, 2)."""
    position = np.linspace(0, 1, 80)
    ends = np.array([start, end])
    line = ends[0] + position[:, None] * (ends[1] - ends[0])
    waves = sum(
        rng.normal(0, 0.05 / wave) * np.sin(np.pi * wave * position) for wave in range(1, 7)
    )
    right = (ends[1] - ends[0])[::-1] * (1, -1)
    return line + np.asarray(waves)[:, None] * right


def _draw_faults(rng: np.random.Generator, grid: Grid, strike: float) -> list[Fault]:
    """Long faults near the strike, shorter conjugates at 50–70° to them."""
    principal = strike + rng.uniform(-0.4, 0.4)
    conjugate = principal + rng.choice([-1, 1]) * np.radians(rng.uniform(50, 70))
    sense = rng.choice([-1, 1])
    west, south, east, north = grid.bounds
    faults = []
    for trend, azimuth, count, lengths, handed in (
        ("principal", principal, rng.integers(8, 13), (0.30, 0.95), sense),
        ("conjugate", conjugate, rng.integers(6, 11), (0.12, 0.40), -sense),
    ):
        for _ in range(count):
            length = scale(grid) * rng.uniform(*lengths)
            faults.append(
                Fault(
                    easting=rng.uniform(west, east),
                    northing=rng.uniform(south, north),
                    azimuth=azimuth + rng.normal(0, 0.1),
                    length=length,
                    bend=rng.normal(0, 0.02),
                    slip=handed * length * rng.uniform(0.03, 0.11),
                    trend=trend,
                )
            )
    return faults


def _draw_strata(rng: np.random.Generator, grid: Grid, strike: float) -> Field:
    """Stratigraphic height cut into units: the index into STRATA, as a float field."""
    east, north = np.meshgrid(grid.eastings - grid.bounds[0], grid.northings - grid.bounds[1])
    east, north = east / scale(grid), north / scale(grid)
    along = east * np.sin(strike) + north * np.cos(strike)
    across = east * np.cos(strike) - north * np.sin(strike)
    cells = scale(grid) / grid.cell_size[0]
    warp = smooth_field(rng, grid.shape, 0.25 * cells)
    detail = smooth_field(rng, grid.shape, 0.06 * cells)
    wavelength, amplitude = rng.uniform(0.35, 0.7), rng.uniform(0.03, 0.13)
    phase, cross_phase = rng.uniform(0, 2 * np.pi, 2)
    height = (
        rng.uniform(0.25, 0.6) * across
        + rng.uniform(-0.15, 0.15) * along
        + amplitude * np.sin(2 * np.pi * (across + 0.05 * warp) / wavelength + phase)
        + rng.uniform(0, 0.04) * np.sin(2 * np.pi * along / rng.uniform(0.5, 0.9) + cross_phase)
        + 0.03 * warp
        + 0.008 * detail
    )
    thickness = rng.uniform(0.7, 1.3, len(STRATA)) * (1.5, 0.7, 0.9, 1.3, 1.1, 1.4)
    order = np.concatenate([[0], rng.permutation(np.arange(1, 5)), [5]])
    cuts = np.quantile(height, np.cumsum(thickness / thickness.sum())[:-1])
    return order[np.digitize(height, cuts)].astype(float)


def _faulted(strata: Field, faults: list[Fault], grid: Grid) -> Codes:
    """The strata as the faults displaced them."""
    easting, northing = np.meshgrid(grid.eastings, grid.northings)
    for fault in faults:
        easting, northing = fault.restore(easting, northing)
    return interpolate_field(strata, grid, easting, northing, order=0).astype(np.int16)


def _draw_intrusions(
    rng: np.random.Generator, grid: Grid, strike: float, faults: list[Fault]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks of a barren granite, a fertile pluton and fertile stocks along principal faults."""
    size = scale(grid)
    west, south, east, north = grid.bounds
    pluton = rng.uniform(0.25, 0.75, 2) * (east - west, north - south) + (west, south)
    places = rng.uniform(0.1, 0.9, (200, 2)) * (east - west, north - south) + (west, south)
    distant = places[np.hypot(*(places - pluton).T) > 0.35 * size]
    axis = size * rng.uniform(0.11, 0.17)
    barren = size * rng.uniform(0.08, 0.13)
    inside = {
        "leucogranite": blob(
            rng, grid, tuple(distant[0]), (barren, 0.7 * barren), rng.uniform(0, np.pi)
        ),
        "granodiorite": blob(
            rng,
            grid,
            tuple(pluton),
            (axis, axis * rng.uniform(0.5, 0.85)),
            strike + rng.normal(0, 0.3),
        ),
        "porphyry": np.zeros(grid.shape, dtype=bool),
    }
    sites = np.concatenate(_traces(faults, "principal"))
    sites = sites[
        (np.abs(sites[:, 0] - (west + east) / 2) < 0.42 * (east - west))
        & (np.abs(sites[:, 1] - (south + north) / 2) < 0.42 * (north - south))
        & (np.hypot(*(sites - pluton).T) > 0.15 * size)
        & (np.hypot(*(sites - distant[0]).T) > 0.2 * size)
    ]
    for centre in rng.permutation(sites)[: rng.integers(3, 6)]:
        radius = size * rng.uniform(0.022, 0.045)
        inside["porphyry"] |= blob(rng, grid, tuple(centre), (1.3 * radius, radius), strike)
    return inside


def _draw_relief(rng: np.random.Generator, bedrock: Codes) -> Field:
    """Hills and valleys; resistant rocks stand higher."""
    side = min(bedrock.shape)
    resistance = np.zeros(len(LITHOLOGIES))
    for rock, height in (
        ("sandstone", 0.5),
        ("granodiorite", 0.4),
        ("andesite", 0.3),
        ("black shale", -0.5),
    ):
        resistance[LITHOLOGIES.index(rock)] = height
    relief = (
        smooth_field(rng, bedrock.shape, 0.25 * side)
        + 0.5 * smooth_field(rng, bedrock.shape, 0.08 * side)
        + ndimage.gaussian_filter(resistance[bedrock], 0.01 * side)
    )
    return (relief - relief.mean()) / relief.std()


def _traces(faults: list[Fault], trend: str) -> list[Field]:
    return [fault.trace() for fault in faults if fault.trend == trend]


def _fault_lines(faults: list[Fault], grid: Grid) -> gpd.GeoDataFrame:
    """Fault traces inside the grid: columns ``name``, ``trend``, ``geometry``."""
    lines = gpd.GeoDataFrame(
        {
            "name": [f"F{number:02d}" for number in range(1, len(faults) + 1)],
            "trend": [fault.trend for fault in faults],
        },
        geometry=[shapely.LineString(fault.trace()) for fault in faults],
        crs=grid.crs,
    )
    return gpd.clip(lines, shapely.box(*grid.bounds), keep_geom_type=True, sort=True).reset_index(
        drop=True
    )


def _signed_distance(inside: npt.NDArray[np.bool_], grid: Grid) -> Field:
    """Metres to the boundary of ``inside``, negative within."""
    cell = grid.cell_size[0]
    outward = ndimage.distance_transform_edt(~inside)
    inward = ndimage.distance_transform_edt(inside)
    return cell * (np.where(inside, 0.5 - inward, outward - 0.5))


def _densify(line: Field, step: float) -> Field:
    return shapely.get_coordinates(shapely.segmentize(shapely.LineString(line), step))
