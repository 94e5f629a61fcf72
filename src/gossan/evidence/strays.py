"""Samples that would stretch the study's area beyond all measure: slips of the pen, mostly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gossan.evidence.sources import Bounds
from gossan.exceptions import SurveyDataError
from gossan.io import read_numbered_points, to_study_crs
from gossan.study import Samples

# An area more than so many times as large, for the sake of so few samples, is not meant.
_GROWTH = 10.0
_FEW = 0.02
_LEAST_SAMPLES = 10
_LISTED = 5


@dataclass(frozen=True)
class SampleExtent:
    """What the samples of one source cover, with and without the few that lie far away.

    Attributes
    ----------
    bounds : tuple of float
        West, south, east, north of all samples in the study's CRS.
    close_bounds : tuple of float
        The same without the strays.
    strays : list of str
        File, row and coordinates of each stray, as the file gives them.
    """

    bounds: Bounds
    close_bounds: Bounds
    strays: list[str]

    @classmethod
    def read(cls, source: Samples, paths: Sequence[Path], crs: str) -> SampleExtent:
        """Read the places of a source's samples."""
        named: list[tuple[Path, int, float, float]] = []
        projected = []
        for path in paths:
            points = read_numbered_points(
                path,
                x=source.x,
                y=source.y,
                crs=source.crs,
                layer=source.layer,
                where=source.where,
                table=source.table,
            )
            own = points.geometry
            named += [(path, int(i), p.x, p.y) for i, p in zip(points.index, own, strict=True)]
            places = to_study_crs(points, crs, path).geometry
            projected.append(np.column_stack([places.x, places.y]))
        coordinates = np.concatenate(projected)
        far = far_away(coordinates)
        strays = [
            f"{path}: row {row + 1} at ({x:.10g}, {y:.10g})"
            for path, row, x, y in (named[i] for i in np.flatnonzero(far))
        ]
        return cls(_bounds(coordinates), _bounds(coordinates[~far]), strays)


def far_away(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which few samples lie farther from the middle of the others than those are wide.

    Parameters
    ----------
    coordinates : ndarray, shape (n, 2)
        Easting and northing.

    Returns
    -------
    ndarray of bool, shape (n,)
        All False where so many are far that they are a part of the survey (more than 2 %, and
        more than one), or where fewer than 10 samples leave no saying.

    Examples
    --------
    >>> places = np.column_stack([np.arange(30.0), np.arange(30.0) % 5])
    >>> places[7, 1] = 4000.0
    >>> np.flatnonzero(far_away(places))
    array([7])
    """
    n = len(coordinates)
    few = max(1, int(_FEW * n))
    if n < _LEAST_SAMPLES:
        return np.zeros(n, dtype=bool)
    ordered = np.sort(coordinates, axis=0)
    low, high = ordered[few], ordered[n - 1 - few]
    width = (high - low).max()
    far = ((coordinates < low - width) | (coordinates > high + width)).any(axis=1)
    return far if far.sum() <= few else np.zeros(n, dtype=bool)


def refuse_strays(
    extents: Sequence[SampleExtent], cells: int, cells_without: int, study_path: Path
) -> None:
    """Raise, naming the strays, if the area is over ten times as large because of them.

    Parameters
    ----------
    extents : sequence of SampleExtent
        Of every source of samples.
    cells, cells_without : int
        Cells that the study's area has, and would have without the strays.
    study_path : Path
        The study file, for the message.

    Raises
    ------
    SurveyDataError
        With file, row and coordinates of the strays, and the remedy.
    """
    strays = [stray for extent in extents for stray in extent.strays]
    if not strays or cells <= _GROWTH * cells_without:
        return
    listed = "; ".join(strays[:_LISTED]) + ("; …" if len(strays) > _LISTED else "")
    raise SurveyDataError(
        f"{study_path}: {len(strays)} sample(s) far from all others make the area "
        f"{cells / cells_without:,.0f} times as large ({cells:,} cells instead of "
        f"{cells_without:,}): {listed}. Correct the coordinates, or say what is meant with "
        "`extent` in [area]."
    )


def _bounds(coordinates: npt.NDArray[np.float64]) -> Bounds:
    west, south = coordinates.min(axis=0)
    east, north = coordinates.max(axis=0)
    return float(west), float(south), float(east), float(north)
