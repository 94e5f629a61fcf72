"""Stream-sediment chemistry of a synthetic district: a 39-element composition with haloes."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from gossan.datasets.geology import LITHOLOGIES, Field, Geology, scale, smooth_field

# ppm in the upper continental crust. Rudnick, R. L. & Gao, S. (2003), Composition of the
# continental crust, Treatise on Geochemistry 3, 1–64, doi 10.1016/B0-08-043751-6/03016-4,
# recommended composition; oxides of the major elements recalculated to the element.
UPPER_CRUST = {
    "Ag": 0.053, "Al": 81500, "As": 4.8, "Au": 0.0015, "B": 17, "Ba": 628, "Be": 2.1, "Bi": 0.16,
    "Ca": 25700, "Cd": 0.09, "Co": 17.3, "Cr": 92, "Cu": 28, "F": 557, "Fe": 39200, "Hg": 0.05,
    "K": 23200, "La": 31, "Li": 24, "Mg": 15000, "Mn": 774, "Mo": 1.1, "Na": 24300, "Nb": 12,
    "Ni": 47, "P": 655, "Pb": 17, "Sb": 0.4, "Si": 311000, "Sn": 2.1, "Sr": 320, "Th": 10.5,
    "Ti": 3840, "U": 2.7, "V": 97, "W": 1.9, "Y": 21, "Zn": 67, "Zr": 193,
}  # fmt: skip
ELEMENTS = tuple(UPPER_CRUST)

# Enrichment over the upper crust that sets a rock apart; every other element is at 1. Black shale
# carries As, Mo, Sb and Ag with no ore near: the false anomaly that every explorer meets.
_ENRICHMENT: dict[str, dict[str, float]] = {
    "greywacke": {"Ca": 0.7, "Cr": 1.2, "Ni": 1.1},
    "black shale": {
        "Ag": 3.5, "As": 4, "Ba": 1.3, "Ca": 0.6, "Cd": 5, "Cu": 1.7, "Hg": 3, "Mo": 8, "Na": 0.4,
        "Ni": 1.6, "Sb": 4, "Si": 0.9, "U": 3, "V": 2.5, "Zn": 1.8,
    },
    "limestone": {
        "Al": 0.15, "B": 0.5, "Ba": 0.2, "Be": 0.25, "Ca": 11, "Co": 0.15, "Cr": 0.15, "Cu": 0.4,
        "Fe": 0.15, "K": 0.15, "La": 0.3, "Li": 0.3, "Mg": 1.8, "Na": 0.06, "Nb": 0.15, "Ni": 0.3,
        "Si": 0.18, "Sr": 1.9, "Th": 0.2, "Ti": 0.12, "V": 0.2, "Y": 0.4, "Zn": 0.4, "Zr": 0.15,
    },
    "andesite": {
        "Ca": 1.8, "Co": 1.6, "Cr": 0.8, "Cu": 1.8, "Fe": 1.5, "K": 0.6, "La": 0.6, "Mg": 1.7,
        "Mn": 1.5, "Nb": 0.5, "Si": 0.88, "Sr": 1.3, "Th": 0.35, "Ti": 1.4, "U": 0.4, "V": 1.9,
    },
    "siltstone": {"B": 2.5, "Ca": 0.6, "K": 1.1, "Li": 1.6, "Na": 0.6, "Sr": 0.6},
    "sandstone": {
        "Al": 0.45, "Ba": 0.6, "Ca": 0.4, "Co": 0.3, "Cr": 0.5, "Cu": 0.4, "Fe": 0.35, "K": 0.5,
        "Mg": 0.3, "Mn": 0.4, "Na": 0.35, "Ni": 0.3, "Si": 1.28, "Sr": 0.3, "V": 0.35, "Zn": 0.4,
        "Zr": 1.4,
    },
    "leucogranite": {
        "B": 1.5, "Be": 2.5, "Bi": 2, "Ca": 0.3, "Co": 0.2, "Cr": 0.15, "Cu": 0.4, "F": 2,
        "Fe": 0.4, "K": 1.6, "Li": 2.2, "Mg": 0.2, "Ni": 0.15, "Pb": 1.6, "Si": 1.1, "Sn": 3,
        "Sr": 0.4, "Th": 1.8, "Ti": 0.4, "U": 2.2, "V": 0.25, "W": 2.2,
    },
    "granodiorite": {
        "Ba": 1.2, "Ca": 1.1, "Cr": 0.4, "K": 1.1, "Ni": 0.4, "Si": 1.03, "Sr": 1.4, "Th": 1.1,
    },
    "porphyry": {
        "Ba": 1.3, "Ca": 0.7, "Cr": 0.25, "Cu": 1.6, "Fe": 0.7, "K": 1.5, "Mg": 0.5, "Mo": 2,
        "Ni": 0.25, "Si": 1.08, "Sr": 1.2, "Th": 1.4, "U": 1.4,
    },
    "alluvium": {"Al": 0.9, "Ca": 0.8, "Na": 0.8, "Zr": 1.4},
}  # fmt: skip

# What an average deposit adds at its centre (times the background) and how far it reaches,
# relative to the halo's radius: copper and gold stay near, arsenic, antimony and mercury travel.
_HALO = {
    "Cu": (6, 1.0), "Au": (15, 1.0), "Ag": (5, 1.1), "Bi": (6, 0.9), "Mo": (3, 0.8),
    "W": (2.5, 0.8), "As": (5, 1.6), "Sb": (4, 1.7), "Hg": (2, 1.8), "Pb": (2.5, 1.4),
    "Zn": (2, 1.5), "Cd": (2, 1.5),
}  # fmt: skip
_BARREN_ALTERATION = {
    "As": (7, 1.5), "Sb": (7, 1.5), "Hg": (4, 1.5), "Ba": (2, 1.2), "Ag": (1.5, 1.2),
}  # fmt: skip
_CONTAMINATION = {"Pb": (6, 1.0), "Zn": (4, 1.0), "Cd": (5, 1.0), "Hg": (4, 1.3), "Cu": (1.5, 1.0)}

# Processes that move many elements together: scavenging by Fe–Mn oxides, heavy minerals caught in
# the stream bed, leaching of feldspar, organic matter.
_PROCESSES: tuple[dict[str, float], ...] = (
    {"Fe": 0.5, "Mn": 1, "Co": 0.8, "Ni": 0.5, "Zn": 0.5, "Cu": 0.4, "Ba": 0.4, "V": 0.4,
     "As": 0.5, "Mo": 0.3, "Pb": 0.3},
    {"Zr": 1, "Ti": 0.8, "Nb": 0.8, "Y": 0.8, "La": 0.9, "Th": 0.9, "U": 0.6, "P": 0.5, "Sn": 0.4,
     "W": 0.3},
    {"Na": -1, "Ca": -0.8, "Sr": -0.8, "K": -0.3, "Al": 0.3, "Li": 0.2},
    {"Hg": 0.8, "Cd": 0.6, "Ag": 0.4, "Sb": 0.3, "Mn": 0.3},
)  # fmt: skip
_MAJOR = ("Al", "Ca", "Fe", "K", "Mg", "Na", "Si", "Ti")
_LIMITS = {
    "Ag": 0.04, "As": 0.5, "Au": 0.001, "Be": 0.5, "Bi": 0.13, "Cd": 0.12, "Hg": 0.03, "Mo": 0.8,
    "Sb": 0.2, "Sn": 1, "W": 1,
}  # fmt: skip
_SOMETIMES_MISSING = ("B", "F", "Hg", "Li", "Nb", "Sn")


@dataclass(frozen=True)
class Sources:
    """Centres of what changes the sediment around them: ore, barren alteration, settlement.

    ``coordinates`` (n, 2), ``strength`` (n,) relative to an average deposit, ``radius`` in metres.
    """

    coordinates: Field
    strength: Field
    radius: float
    signature: dict[str, tuple[float, float]]


def ore_haloes(
    rng: np.random.Generator, geology: Geology, deposits: gpd.GeoDataFrame, strength: float
) -> Sources:
    """Dispersion haloes of all deposits, known or not, faint where alluvium hides them."""
    coordinates = np.column_stack([deposits.geometry.x, deposits.geometry.y])
    rows, columns = geology.grid.locate(*coordinates.T)
    exposure = np.where(geology.covered[rows, columns], 0.1, 1.0)
    size = deposits["size_mt"].to_numpy() / np.median(deposits["size_mt"])
    variable = size**0.35 * rng.lognormal(0, 0.6, len(deposits))
    return Sources(
        downhill(coordinates, geology, 0.006 * scale(geology.grid)),
        strength * exposure * variable,
        0.018 * scale(geology.grid),
        _HALO,
    )


def false_anomalies(
    rng: np.random.Generator, geology: Geology, towns: Field, count: int = 6
) -> tuple[Sources, Sources]:
    """Pyritic alteration without ore, and contamination around the towns."""
    centres = geology.grid.coordinates()[rng.choice(geology.grid.size, count, replace=False)]
    size = scale(geology.grid)
    alteration = Sources(centres, rng.lognormal(0, 0.3, count), 0.022 * size, _BARREN_ALTERATION)
    contamination = Sources(towns, rng.uniform(0.6, 1.4, len(towns)), 0.015 * size, _CONTAMINATION)
    return alteration, contamination


def downhill(coordinates: Field, geology: Geology, distance: float) -> Field:
    """Places displaced by ``distance`` metres down the slope of the relief."""
    rows, columns = geology.grid.locate(*coordinates.T)
    southward, eastward = np.gradient(ndimage.gaussian_filter(geology.relief, 2))
    slope = np.column_stack([eastward[rows, columns], -southward[rows, columns]])
    steepness = np.linalg.norm(slope, axis=1, keepdims=True)
    return coordinates - distance * slope / np.maximum(steepness, 1e-12)


def draw_samples(
    rng: np.random.Generator,
    geology: Geology,
    density: Field,
    sources: tuple[Sources, ...],
    n_samples: int,
) -> pd.DataFrame:
    """Sample the district's sediment and have it analysed.

    The composition is built in log-ratio space (the lithologies upstream, processes that move
    many elements together, haloes, local variation), closed to the total that its rocks have, and
    then analysed: with an error, a detection limit and now and then no result.

    Parameters
    ----------
    rng : numpy.random.Generator
    geology : Geology
    density : ndarray, shape (y, x)
        Relative density of sampling; no sample where it is 0.
    sources : tuple of Sources
    n_samples : int
        Rows of the table; one in fifty is a field duplicate.

    Returns
    -------
    pandas.DataFrame
        ``sample_id``, ``easting``, ``northing`` and 39 columns such as ``Cu_ppm``. A column with
        values below the detection limit is text, such as ``"<0.5"``; no result is NaN.
    """
    n_duplicates = n_samples // 50
    sites = _sites(rng, geology, density, n_samples - n_duplicates)
    composition = _composition(rng, geology, sites, sources)
    repeated = rng.choice(len(sites), n_duplicates, replace=False)
    number = np.concatenate([np.arange(len(sites)), repeated])
    ppm = composition[number]
    ppm[len(sites) :] *= rng.lognormal(0, 0.08, (n_duplicates, len(ELEMENTS)))
    table = pd.DataFrame(
        {
            "sample_id": [f"S{place + 1:05d}" for place in number[: len(sites)]]
            + [f"S{place + 1:05d}D" for place in repeated],
            "easting": sites[number, 0],
            "northing": sites[number, 1],
        }
    )
    return pd.concat([table, _analyse(rng, ppm)], axis=1)


def _sites(rng: np.random.Generator, geology: Geology, density: Field, count: int) -> Field:
    """Sample sites on a jittered lattice, thinned to the wanted density and count."""
    grid = geology.grid
    west, south, east, north = grid.bounds
    step = np.sqrt((density > 0).mean() * grid.size * grid.cell_area / (2 * count))
    easting, northing = np.meshgrid(np.arange(west, east, step), np.arange(south, north, step))
    lattice = np.column_stack([easting.ravel(), northing.ravel()])
    lattice += rng.uniform(0.1, 0.9, lattice.shape) * step
    rows, columns = grid.locate(*lattice.T)
    weight = np.where(rows >= 0, density[rows, columns], 0.0)
    # The largest of log w + Gumbel noise: a draw without replacement with weights w.
    with np.errstate(divide="ignore"):
        rank = np.log(weight) + rng.gumbel(size=len(weight))
    chosen = np.sort(np.argsort(-rank, kind="stable")[:count])
    return np.round(lattice[chosen], 1)


def _composition(
    rng: np.random.Generator, geology: Geology, sites: Field, sources: tuple[Sources, ...]
) -> Field:
    """True concentrations at the sites, ppm, shape (site, element)."""
    grid = geology.grid
    rows, columns = grid.locate(*sites.T)
    rock = np.array(
        [[UPPER_CRUST[e] * _ENRICHMENT[name].get(e, 1.0) for e in ELEMENTS] for name in LITHOLOGIES]
    )
    upstream = np.column_stack(
        [
            ndimage.gaussian_filter((geology.surface == code).astype(float), 1.2)[rows, columns]
            for code in range(len(LITHOLOGIES))
        ]
    )
    background = (upstream / upstream.sum(axis=1, keepdims=True)) @ rock
    total = background.sum(axis=1, keepdims=True)
    log_ratio = np.log(background)
    for process in _PROCESSES:
        field = smooth_field(rng, grid.shape, 0.08 * min(grid.shape))[rows, columns]
        log_ratio += 0.3 * np.outer(field, [process.get(e, 0.0) for e in ELEMENTS])
    spread = np.array([0.08 if e in _MAJOR else 0.5 if e == "Au" else 0.2 for e in ELEMENTS])
    log_ratio += spread * rng.standard_normal(log_ratio.shape)
    for source in sources:
        log_ratio += _dispersion(sites, source)
    parts = np.exp(log_ratio)
    return parts / parts.sum(axis=1, keepdims=True) * total


def _dispersion(sites: Field, source: Sources) -> Field:
    """Log enrichment at the sites, shape (site, element); neighbouring haloes add."""
    squared = ((sites[:, None] - source.coordinates[None]) ** 2).sum(axis=2)
    enrichment = np.zeros((len(sites), len(ELEMENTS)))
    for element, (amplitude, reach) in source.signature.items():
        decay = np.exp(-0.5 * squared / (reach * source.radius) ** 2)
        enrichment[:, ELEMENTS.index(element)] = amplitude * decay @ source.strength
    return np.log1p(enrichment)


def _analyse(rng: np.random.Generator, ppm: Field) -> pd.DataFrame:
    """What the laboratory reports: with error, to three figures, censored, sometimes nothing."""
    limits = np.array([_LIMITS.get(element, 0.0) for element in ELEMENTS])
    measured = ppm * rng.lognormal(0, 0.05, ppm.shape) + 0.25 * limits * rng.normal(size=ppm.shape)
    measured = _three_figures(np.maximum(measured, 1e-6))
    lost = rng.random(measured.shape) < np.where(np.isin(ELEMENTS, _SOMETIMES_MISSING), 0.02, 0.0)
    columns: dict[str, npt.NDArray[np.generic] | list[object]] = {}
    for index, element in enumerate(ELEMENTS):
        value = np.where(lost[:, index], np.nan, measured[:, index])
        below = value < limits[index]
        columns[f"{element}_ppm"] = (
            _censored(value, below, f"<{limits[index]:g}") if below.any() else value
        )
    return pd.DataFrame(columns)


def _censored(value: Field, below: npt.NDArray[np.bool_], mark: str) -> list[object]:
    """Text as a laboratory writes it; NaN stays NaN."""
    return [
        mark if low else np.nan if np.isnan(number) else f"{number:g}"
        for number, low in zip(value, below, strict=True)
    ]


def _three_figures(value: Field) -> Field:
    """Rounded to three significant figures; exact powers of ten keep the decimals short."""
    decimals = 2 - np.floor(np.log10(value))
    up, down = 10.0 ** np.maximum(decimals, 0), 10.0 ** np.maximum(-decimals, 0)
    return np.round(value * up / down) / up * down
