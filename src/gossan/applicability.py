"""Where evidence is unlike all that a model has seen, so that its score there is a guess."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from sklearn.neighbors import NearestNeighbors

from gossan.exceptions import SurveyDataError
from gossan.grid import Grid

FloatArray = npt.NDArray[np.floating[Any]]

BEYOND = 0.95
"""Share of the cells seen that lie nearer to one another, beyond which a cell is unlike them."""
_BLOCK = 256
_FARTHEST = 10.0
"""Robust deviations from the median beyond which a value is as far as can be."""
_FEWEST = _STRIPS = 10
_SHIFTED = 10.0
_STRETCHED = 100.0


def applicability(
    evidence: xr.DataArray,
    seen: FloatArray,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataArray:
    """How unlike the ground that a model has seen each cell is, after Meyer & Pebesma (2021).

    Layers are put in robust deviations from the median of what was seen. A cell's distance to the
    nearest cell seen is set beside those that cells seen have to cells seen of other ground, since
    a neighbour is nearly a copy: 0.5 is ordinary, above 0.95 the cell is farther than they are, but
    for one in twenty, and a score there rests on nothing like it.

    Parameters
    ----------
    evidence : xarray.DataArray
        ``(layer, y, x)``.
    seen : ndarray of shape (n, layers)
        Cells that the model has seen, or a sample of them, in the order of the layers. Row by row
        as they lie, so that each tenth of them is a strip of ground: that is what "other" means.
    progress : callable, optional
        Called with (blocks done, blocks in all).

    Returns
    -------
    xarray.DataArray
        ``(y, x)`` float32, 0 to 1: share of the cells seen with a nearer neighbour in the other
        strips; NaN without evidence.

    Raises
    ------
    SurveyDataError
        If fewer than ten cells were seen.

    References
    ----------
    Meyer, H. & Pebesma, E. (2021). Predicting into unknown space? Estimating the area of
    applicability of spatial prediction models. Methods in Ecology and Evolution 12, 1620-1633.

    Examples
    --------
    >>> seen = np.random.default_rng(0).normal(size=(200, 2))
    >>> grid = Grid.from_bounds((0, 0, 300, 100), 100, "EPSG:32650")
    >>> layers = grid.to_dataarray([[[0.0, 9.0, np.nan]], [[0.1, 9.0, np.nan]]])
    >>> found = applicability(layers, seen).to_numpy()[0]
    >>> bool(found[0] < 0.9), float(found[1]), bool(np.isnan(found[2]))
    (True, 1.0, True)
    """
    refuse_few(seen)
    median, spread = _middle_and_spread(seen)
    median = np.nan_to_num(median)
    deviation = np.nanstd(seen, axis=0)
    spread = np.where(spread > 0, spread, np.where(deviation > 0, deviation, 1.0))

    def scaled(values: FloatArray) -> FloatArray:
        away = np.clip((values - median) / spread, -_FARTHEST, _FARTHEST)
        return np.nan_to_num(away).astype(np.float32)

    known = scaled(seen)
    nearest = NearestNeighbors(n_neighbors=1).fit(known)
    among = _distances_between_strips(known)
    grid = Grid.from_dataarray(evidence)
    found = np.full(grid.shape, np.nan, dtype=np.float32)
    blocks = list(grid.blocks(_BLOCK))
    for done, (rows, columns) in enumerate(blocks):
        block = np.asarray(evidence[:, rows, columns].to_numpy())
        observed = np.isfinite(block).any(axis=0)
        if observed.any():
            distance = nearest.kneighbors(scaled(block[:, observed].T))[0][:, 0]
            found[rows, columns][observed] = np.searchsorted(among, distance) / len(among)
        if progress is not None:
            progress(done + 1, len(blocks))
    return grid.to_dataarray(found, name="applicability")


def _distances_between_strips(known: FloatArray) -> FloatArray:
    """Distance of each cell seen to the nearest one of another strip of ground, sorted."""
    distances = []
    for strip in np.array_split(np.arange(len(known)), _STRIPS):
        others = NearestNeighbors(n_neighbors=1).fit(np.delete(known, strip, axis=0))
        distances.append(others.kneighbors(known[strip])[0][:, 0])
    return np.sort(np.concatenate(distances))


def refuse_few(seen: FloatArray) -> None:
    """Raise if so few cells are known of what a model saw that nothing can be set beside them.

    Raises
    ------
    SurveyDataError
        If fewer than ten cells were seen.
    """
    if len(seen) < _FEWEST:
        raise SurveyDataError(
            f"The model has kept {len(seen)} cells of what it saw, too few to tell what is unlike "
            "them. Run its study again."
        )


def strange_layers(values: FloatArray, seen: FloatArray, layers: Sequence[str]) -> pd.DataFrame:
    """Layers whose values are of another order than those that a model has seen.

    Their medians lie more than ten robust deviations apart, by the narrower of the two, or one
    deviation is more than a hundred times the other: rocks seldom differ so much, units (ppm, ppb,
    per cent) and transforms (a log-ratio or none) do.

    Parameters
    ----------
    values : ndarray of shape (n, layers)
        Cells of the ground that is to be mapped; NaN where missing.
    seen : ndarray of shape (m, layers)
        Cells that the model has seen.
    layers : sequence of str
        Their names.

    Returns
    -------
    pandas.DataFrame
        A row a layer that is strange, in their order: ``layer``, ``median`` and ``seen``, the
        median among the cells seen. Layers that are mostly one value, such as classes, tell
        nothing and are left out, and so are those with fewer than ten values.

    Examples
    --------
    >>> ppm = np.random.default_rng(0).lognormal(3, 0.5, size=(500, 2))
    >>> strange_layers(ppm * [1000, 1.5], ppm, ["Cu", "Zn"])["layer"].tolist()
    ['Cu']
    """
    here, there = _middle_and_spread(values), _middle_and_spread(seen)
    known = np.minimum(np.isfinite(values).sum(axis=0), np.isfinite(seen).sum(axis=0)) >= _FEWEST
    narrow, wide = np.minimum(here[1], there[1]), np.maximum(here[1], there[1])
    told = known & (narrow > 0)
    with np.errstate(invalid="ignore"):
        strange = told & (
            (np.abs(here[0] - there[0]) > _SHIFTED * narrow) | (wide > _STRETCHED * narrow)
        )
    return pd.DataFrame(
        {
            "layer": np.array(layers, dtype=object)[strange],
            "median": here[0][strange],
            "seen": there[0][strange],
        }
    )


def _middle_and_spread(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Median and robust deviation of each column; NaN of one without any value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any value
        middle = np.nanmedian(values, axis=0)
        return middle, 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
