"""Tables of samples → findings, and how noisy each element is before gridding."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
import xarray as xr
from scipy.spatial import cKDTree

from gossan.draft.columns import ElementColumn, describe_elements
from gossan.evidence import CellFeatures, valid_cells
from gossan.exceptions import SurveyDataWarning
from gossan.geochem import PreparedSamples, element_of, prepare_samples
from gossan.grid import Grid
from gossan.interpolate import median_spacing, nugget_share
from gossan.io import read_points
from gossan.quality.findings import Finding
from gossan.quality.verdicts import list_names
from gossan.study import Samples

_PREPARATION = (
    "elements",
    "units",
    "censored",
    "flags",
    "limits",
    "replacement",
    "missing_values",
    "max_censored",
    "denominator",
)
_REPEATED = 0.05
_FAR = 50.0
_WHOLE = 1.1e6  # ppm; a tenth above is more than rounding
_MAX_PAIRS = 50_000
_BEYOND = 4.0
_MUCH = 0.05
_MAX_CELLS = 20_000
_GROUND = 5_000


def judge_places(settings: Samples, paths: Sequence[Path]) -> Iterator[Finding]:
    """Coordinates that cannot be meant, in the file's own CRS."""
    points = _read(settings, paths)
    x, y = points.geometry.x.to_numpy(), points.geometry.y.to_numpy()
    crs = pyproj.CRS(points.crs)
    if crs.is_projected and (np.abs(x) <= 180).all() and (np.abs(y) <= 90).all():
        yield Finding(
            "error",
            settings.name,
            f"Coordinates such as ({x[0]:g}, {y[0]:g}) are degrees, but the CRS is {crs.name}, "
            "which counts in metres.",
            "Set crs = 'EPSG:4326' for this source, if they are WGS 84.",
        )
    origin = (x == 0) & (y == 0)
    if origin.any():
        yield Finding(
            "warning",
            settings.name,
            f"{origin.sum()} sample(s) lie at (0, 0): their coordinates were never entered.",
            "Fill in the coordinates, or leave them empty, which leaves the samples out.",
        )


@dataclass(frozen=True)
class SampleSurvey:
    """One ``[[samples]]`` source as read: places, columns, and prepared values."""

    settings: Samples
    points: gpd.GeoDataFrame  # in the CRS of the file
    prepared: PreparedSamples
    ppm: PreparedSamples
    grid: Grid

    @classmethod
    def read(cls, settings: Samples, paths: Sequence[Path], grid: Grid) -> SampleSurvey:
        """Read and prepare the samples as the evidence does; what that warns of is said there."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SurveyDataWarning)
            points = _read(settings, paths)
            places = points.geometry.to_crs(grid.crs)
            coordinates = np.column_stack([places.x, places.y])
            columns = pd.DataFrame(
                points.drop(
                    columns=[points.geometry.name, settings.x, settings.y, *settings.exclude],
                    errors="ignore",
                )
            )
            options = {key: getattr(settings, key) for key in _PREPARATION}
            prepared, ppm = (
                prepare_samples(columns, coordinates, transform=transform, **options)
                for transform in (settings.transform, "none")
            )
        return cls(settings, points, prepared, ppm, grid)

    def nuggets(self) -> dict[str, float]:
        """Nugget share by column, at the samples: gridding would smooth the noise away."""
        return {
            str(name): nugget_share(
                self.prepared.coordinates, values.to_numpy(dtype=float), max_pairs=_MAX_PAIRS
            )
            for name, values in self.prepared.values.items()
        }


def nuggets_by_layer(survey: SampleSurvey, layers: Sequence[str]) -> dict[str, float]:
    """The nugget shares under the names that the layers of this source have in the stack."""
    found = {}
    for column, share in survey.nuggets().items():
        names = {column, element_of(column) or column}
        names |= {f"{survey.settings.name}: {name}" for name in names}
        found.update({layer: share for layer in layers if layer in names})
    return found


def judge_samples(survey: SampleSurvey) -> Iterator[Finding]:
    """What is odd about the places and the numbers of one source."""
    yield from _lonely(survey)
    yield from _spacing(survey)
    yield from _numbers(survey)
    yield from _closure(survey)


def judge_reach(survey: SampleSurvey, evidence: xr.DataArray) -> Iterator[Finding]:
    """Ground to which the layers of one source were carried from afar.

    What is far is told by the ground within the samples' convex hull, so that lines of close
    samples wide apart leave no gaps.
    """
    places = np.unique(survey.prepared.coordinates, axis=0)
    own = np.flatnonzero(evidence["source"].to_numpy() == survey.settings.name)
    far, metres = _BEYOND * _usual_distance(places), survey.grid.metres_per_unit
    if len(own) == 0 or not far > 0:
        return
    cells = np.argwhere(valid_cells(evidence))
    if len(cells) > _MAX_CELLS:
        chosen = np.random.default_rng(0).choice(len(cells), _MAX_CELLS, replace=False)
        cells = cells[np.sort(chosen)]
    layers = np.asarray(CellFeatures(evidence.isel(layer=own[:1]), *cells.T))
    filled = survey.grid.coordinates(*cells[np.isfinite(layers[:, 0])].T)
    share = float((cKDTree(places).query(filled)[0] > far).mean()) if len(filled) else 0.0
    if share > _MUCH:
        yield Finding(
            "warning",
            survey.settings.name,
            f"{share:.0%} of the cells that it fills lie more than {far * metres:,.0f} m from "
            f"every sample, {_BEYOND:.0f} times what is usual among them: there its layers are "
            "extrapolated.",
            f"Set max_distance = {far:.0f}, so that they are missing there, or narrow the area "
            "(`extent` or `mask` in [area]).",
        )


def _usual_distance(places: np.ndarray) -> float:
    """Median distance to the nearest sample, of ground within their hull; NaN where it has none."""
    hull = shapely.convex_hull(shapely.multipoints(places))
    low, high = places.min(axis=0), places.max(axis=0)
    ground = np.random.default_rng(0).uniform(low, high, (_GROUND, 2))
    within = ground[shapely.contains_xy(hull, *ground.T)]
    return float(np.median(cKDTree(places).query(within)[0])) if len(within) else float("nan")


def _read(settings: Samples, paths: Sequence[Path]) -> gpd.GeoDataFrame:
    """The rows of all files, in the CRS of the first."""
    tables = [
        read_points(
            path,
            x=settings.x,
            y=settings.y,
            crs=settings.crs,
            layer=settings.layer,
            where=settings.where,
            table=settings.table,
        )
        for path in paths
    ]
    return pd.concat([table.to_crs(tables[0].crs) for table in tables], ignore_index=True)


def _lonely(survey: SampleSurvey) -> Iterator[Finding]:
    """Samples far from all others: most are slips of the pen."""
    places = np.unique(survey.prepared.coordinates, axis=0)
    if len(places) < 3:
        return
    nearest = cKDTree(places).query(places, k=2)[0][:, 1]
    far = np.flatnonzero(nearest > _FAR * np.median(nearest))
    if len(far):
        east, north = places[far[0]]
        yield Finding(
            "warning",
            survey.settings.name,
            f"{len(far)} sample(s) lie more than {_FAR:.0f} sample spacings from any other, "
            f"e.g. at ({east:.0f}, {north:.0f}).",
            "Check their coordinates.",
        )


def _spacing(survey: SampleSurvey) -> Iterator[Finding]:
    spacing, cell = median_spacing(survey.prepared.coordinates), max(survey.grid.cell_size)
    metres = survey.grid.metres_per_unit
    if spacing < cell / 2:
        yield Finding(
            "note",
            survey.settings.name,
            f"Samples are {spacing * metres:,.0f} m apart, cells {cell * metres:,.0f} m: several "
            "share a cell.",
            "A smaller cell_size would use all that the samples tell.",
        )


def _numbers(survey: SampleSurvey) -> Iterator[Finding]:
    """Marks and codes that the settings do not explain."""
    settings, used = survey.settings, set(survey.ppm.values.columns)
    columns = [c for c in describe_elements(pd.DataFrame(survey.points)) if c.column in used]
    for code in sorted({code for c in columns for code in c.sentinels}):
        if code not in settings.missing_values:
            names = [c.column for c in columns if code in c.sentinels]
            yield Finding(
                "error",
                settings.name,
                f"{code:g} in {list_names(names)} is a code, taken for a value.",
                f"Add missing_values = [{code:g}] to this source.",
            )
    if settings.censored == "none":
        repeated = [c for c in columns if _mostly_lowest(c)]
        if repeated:
            listed = [f"{c.column} ({c.at_minimum / c.count:.0%})" for c in repeated]
            yield Finding(
                "warning",
                settings.name,
                f"Many samples hold the very smallest value of {list_names(listed, 8)}: probably "
                "values below detection, replaced before.",
                "Use the laboratory's marks if you have them (`censored`); leave out (`exclude`) "
                "elements of which most values are so.",
            )


def _mostly_lowest(column: ElementColumn) -> bool:
    return column.at_minimum >= max(10, _REPEATED * column.count)


def _closure(survey: SampleSurvey) -> Iterator[Finding]:
    """Parts of a whole cannot add up to more than the whole."""
    total = survey.ppm.values.sum(axis=1)
    over = total > _WHOLE
    if over.mean() > 0.01:
        largest = survey.ppm.values[over].median().idxmax()
        yield Finding(
            "warning",
            survey.settings.name,
            f"The elements of {over.mean():.0%} of the samples add up to more than the whole, up "
            f"to {total.max() / 1e4:.0f} %; the largest is {largest}.",
            "Check `units`, and whether an element is there twice, as itself and as its oxide.",
        )
