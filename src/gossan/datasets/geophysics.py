"""Airborne magnetics and ground gravity over a synthetic district, each on a grid of its own."""

from __future__ import annotations

import numpy as np
import pyproj
import xarray as xr
from scipy import fft, ndimage

from gossan.datasets.geology import (
    LITHOLOGIES,
    Field,
    Geology,
    blob,
    interpolate_field,
    scale,
    smooth_field,
)
from gossan.grid import Grid

# Magnetic susceptibility (10⁻³ SI) and density (g/cm³): mid-range textbook values for each rock.
_SUSCEPTIBILITY = {
    "greywacke": 0.3, "black shale": 0.2, "limestone": 0.1, "andesite": 12.0, "siltstone": 0.2,
    "sandstone": 0.1, "leucogranite": 0.5, "granodiorite": 9.0, "porphyry": 4.0,
}  # fmt: skip
_DENSITY = {
    "greywacke": 2.68, "black shale": 2.62, "limestone": 2.70, "andesite": 2.80, "siltstone": 2.64,
    "sandstone": 2.52, "leucogranite": 2.61, "granodiorite": 2.70, "porphyry": 2.64,
}  # fmt: skip


def draw_magnetics(rng: np.random.Generator, geology: Geology) -> xr.DataArray:
    """Magnetic anomaly reduced to the pole, nanotesla, with a block that was never flown.

    Andesite and granodiorite are magnetic, so is the aureole of the fertile intrusions where
    they meet limestone (magnetite skarn); faults are weathered and less so. Flight lines leave
    a faint levelling noise. The grid is finer than the district's and does not share its corners.
    """
    grid, rocks = geology.grid, geology.bedrock
    susceptibility = _by_rock(_SUSCEPTIBILITY)[rocks]
    texture = smooth_field(rng, grid.shape, 2.0)
    susceptibility = susceptibility * np.exp(0.5 * texture)
    aureole = np.exp(-np.maximum(geology.contact_distance, 0) / (0.02 * scale(grid)))
    limestone = rocks == LITHOLOGIES.index("limestone")
    susceptibility += (
        8.0 * aureole * np.where(limestone, 1.0, 0.25) * (geology.contact_distance > 0)
    )
    fault_distance = np.minimum(geology.principal_distance, geology.conjugate_distance)
    susceptibility *= 1 - 0.6 * np.exp(-fault_distance / (1.2 * grid.cell_size[0]))
    anomaly = 45.0 * _continued_upward(susceptibility, 0.8)
    line = rng.normal(0, 4.0, grid.shape[1])
    noise = ndimage.gaussian_filter1d(line, 0.8)[None] + rng.normal(0, 2.0, grid.shape)
    regional = 60.0 * smooth_field(rng, grid.shape, 0.5 * min(grid.shape))
    cell = 0.8 * grid.cell_size[0]
    west, south, east, north = grid.bounds
    survey = Grid.from_bounds(
        (west - 1.3 * cell, south - 0.7 * cell, east + cell, north + cell), cell, grid.crs
    )
    flown = _onto(survey, anomaly + noise + regional, grid)
    flown[blob(rng, survey, *_hole(rng, survey))] = np.nan
    return survey.to_dataarray(flown.astype(np.float32), name="magnetics")


def draw_gravity(rng: np.random.Generator, geology: Geology) -> xr.DataArray:
    """Bouguer anomaly, milligal, on a coarse grid of longitude and latitude.

    Granites are light, andesite is heavy; the field is smooth, as the bodies reach depth.
    """
    grid = geology.grid
    density = _by_rock(_DENSITY)[geology.bedrock]
    anomaly = 60.0 * _continued_upward(density - density.mean(), 0.03 * min(grid.shape))
    regional = 6.0 * smooth_field(rng, grid.shape, 0.6 * min(grid.shape))
    field = anomaly + regional + rng.normal(0, 0.15, grid.shape)
    to_degrees = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    bounds = to_degrees.transform_bounds(*grid.bounds)
    # 111.2 km a degree of latitude: cells about four times the district's.
    station = Grid.from_bounds(bounds, 4 * grid.cell_size[1] / 111_200, "EPSG:4326")
    measured = _onto(station, field, grid)
    measured[blob(rng, station, *_hole(rng, station))] = np.nan
    return station.to_dataarray(measured.astype(np.float32), name="gravity")


def _by_rock(values: dict[str, float]) -> Field:
    """Values indexed by the code of the lithology; alluvium is never bedrock."""
    return np.array([values.get(rock, np.nan) for rock in LITHOLOGIES])


def _continued_upward(field: Field, height: float) -> Field:
    """The field as seen from ``height`` cells above: exp(−2π f h) in the Fourier domain."""
    pad = [(side // 2, side // 2) for side in field.shape]
    padded = np.pad(field, pad, mode="reflect")
    frequency = np.hypot(fft.fftfreq(padded.shape[0])[:, None], fft.rfftfreq(padded.shape[1])[None])
    spectrum = fft.rfft2(padded) * np.exp(-2 * np.pi * frequency * height)
    continued = fft.irfft2(spectrum, s=padded.shape)
    rows, columns = field.shape
    return continued[rows // 2 : rows // 2 + rows, columns // 2 : columns // 2 + columns]


def _onto(target: Grid, field: Field, grid: Grid) -> Field:
    """``field`` of ``grid`` interpolated at the cell centres of another grid."""
    transformer = pyproj.Transformer.from_crs(target.crs, grid.crs, always_xy=True)
    easting, northing = transformer.transform(*target.coordinates().T)
    return interpolate_field(field, grid, easting, northing).reshape(target.shape)


def _hole(
    rng: np.random.Generator, grid: Grid
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Centre, semi-axes and azimuth of ground that the survey left out."""
    west, south, east, north = grid.bounds
    centre = (rng.uniform(west, east), rng.uniform(south, north))
    radius = scale(grid) * rng.uniform(0.05, 0.09)
    return centre, (radius, 0.6 * radius), rng.uniform(0, np.pi)
