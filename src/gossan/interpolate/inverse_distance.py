"""Inverse-distance weighting of scattered samples at the cell centres of a grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import joblib
import numpy as np
import numpy.typing as npt

from gossan.exceptions import StudyError, SurveyDataError
from gossan.grid import Grid
from gossan.interpolate.kernel import fill_block
from gossan.interpolate.spacing import as_places

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BLOCK_SIZE = 256


def idw(
    coordinates: npt.ArrayLike,
    values: npt.ArrayLike,
    grid: Grid,
    *,
    power: float = 2.0,
    neighbors: int | None = 12,
    max_distance: float | None = None,
    dtype: npt.DTypeLike = np.float64,
) -> npt.NDArray[np.floating]:
    r"""Inverse-distance weighting of scattered samples at the cell centres of a grid.

    .. math:: Z_0 = \sum_i Z_i D_i^{-p} \Big/ \sum_i D_i^{-p}

    over the nearest ``neighbors`` samples. One neighbour search serves every variable.

    Parameters
    ----------
    coordinates : array_like, shape (n, 2)
        Easting and northing of the samples, in the CRS of ``grid``.
    values : array_like, shape (n, variables) or (n,)
        One column a variable. Where a variable is NaN, its estimate weighs only the observed
        among the ``neighbors`` samples; the other variables still use the sample.
    grid : Grid
        Where to estimate.
    power : float, default 2
        Exponent p of the distance. Larger follows the nearest sample more closely.
    neighbors : int or None, default 12
        How many of the nearest samples count; None takes all. Of samples equally far the
        westernmost come first, then the southernmost, whatever the order of the rows.
    max_distance : float or None, default None
        In CRS units. A cell is missing where the nearest neighbour that observed the variable
        lies farther away. The other cells keep all their neighbours.
    dtype : dtype, default float64
        Of the output. The arithmetic is in double precision throughout; float32 halves the
        memory and rounds each value to within 6e-8 of itself.

    Returns
    -------
    ndarray, shape (variables, y, x)
        A cell with samples exactly on its centre takes the mean of those that observed the
        variable. NaN where no neighbour did.

    Raises
    ------
    SurveyDataError
        If there are no samples, a coordinate is missing or a value is infinite.
    StudyError
        If ``power``, ``neighbors`` or ``max_distance`` is not positive.

    See Also
    --------
    idw_blocks : the same block by block, for grids whose estimate outgrows memory.

    References
    ----------
    Shepard (1968), A two-dimensional interpolation function for irregularly-spaced data,
    Proc. 23rd ACM National Conference, 517–524.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 300, 100), cell_size=100, crs="EPSG:32650")
    >>> idw([[50, 50], [250, 50]], [1.0, 3.0], grid)
    array([[[1., 2., 3.]]])
    """
    survey = _Survey.prepare(coordinates, values)
    rule = _Rule.prepare(power, neighbors, max_distance)
    estimate = np.empty((len(survey.values), *grid.shape), dtype=dtype)

    def fill(place: tuple[slice, slice]) -> None:
        estimate[:, *place] = _estimate_block(survey, rule, grid, *place)

    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        deque(pool.map(fill, grid.blocks(_BLOCK_SIZE)), maxlen=0)
    return estimate


def idw_blocks(
    coordinates: npt.ArrayLike,
    values: npt.ArrayLike,
    grid: Grid,
    *,
    power: float = 2.0,
    neighbors: int | None = 12,
    max_distance: float | None = None,
    block_size: int = 512,
) -> Iterator[tuple[slice, slice, FloatArray]]:
    """Inverse-distance weighting, a block of cells at a time.

    Parameters
    ----------
    coordinates, values, grid, power, neighbors, max_distance
        As in :func:`idw`, which gives exactly what the blocks hold.
    block_size : int, default 512
        Cells along a block's side. At most two blocks a core are in memory at a time.

    Yields
    ------
    rows, columns : slice
        Where the block lies, row by row of blocks from the north-west.
    block : ndarray of float64, shape (variables, y, x)
        The estimate there.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 300, 100), cell_size=100, crs="EPSG:32650")
    >>> for _, columns, block in idw_blocks([[50, 50], [250, 50]], [1, 3], grid, block_size=2):
    ...     print(columns, block)
    slice(0, 2, None) [[[1. 2.]]]
    slice(2, 3, None) [[[3.]]]
    """
    survey = _Survey.prepare(coordinates, values)
    rule = _Rule.prepare(power, neighbors, max_distance)
    return _blocks(survey, rule, grid, block_size)


@dataclass(frozen=True)
class _Survey:
    """Samples in an order that rests on where they lie, and which variables each of them observed.

    Variables missing in the very same samples form a group and share their weights: those of
    group g are ``order[starts[g]:starts[g + 1]]``.
    """

    eastings: FloatArray  # (n,)
    northings: FloatArray  # (n,)
    values: FloatArray  # (variables, n), zero where missing
    observed: npt.NDArray[np.bool_]  # (groups, n)
    order: IntArray  # (variables,)
    starts: IntArray  # (groups + 1,)

    @classmethod
    def prepare(cls, coordinates: npt.ArrayLike, values: npt.ArrayLike) -> _Survey:
        places, table = as_places(coordinates), np.asarray(values, dtype=np.float64)
        table = table[:, None] if table.ndim == 1 else table
        if table.ndim != 2 or len(table) != len(places):
            raise SurveyDataError(
                f"Values of shape {table.shape} do not go with {len(places)} coordinates: "
                "pass one row a sample and one column a variable."
            )
        if not len(places):
            raise SurveyDataError("There are no samples to interpolate.")
        if np.isinf(table).any():
            row, column = np.argwhere(np.isinf(table))[0]
            raise SurveyDataError(
                f"Sample {row + 1} holds {table[row, column]} for variable {column + 1}: "
                "make it NaN if it is missing."
            )
        rank = np.lexsort((*table.T[::-1], places[:, 1], places[:, 0]))
        variables = np.ascontiguousarray(table[rank].T)
        observed, group = np.unique(~np.isnan(variables), axis=0, return_inverse=True)
        group = group.ravel()
        return cls(
            eastings=places[rank, 0],
            northings=places[rank, 1],
            values=np.nan_to_num(variables),
            observed=observed,
            order=np.argsort(group, kind="stable"),
            starts=np.searchsorted(np.sort(group), np.arange(len(observed) + 1)),
        )


@dataclass(frozen=True)
class _Rule:
    """How samples weigh, in the form that the inner loops use."""

    neighbors: int
    half_power: float
    max_squared: float

    @classmethod
    def prepare(cls, power: float, neighbors: int | None, max_distance: float | None) -> _Rule:
        options = {"power": power, "neighbors": neighbors, "max_distance": max_distance}
        for name, option in options.items():
            if option is not None and not option > 0:
                raise StudyError(f"Inverse-distance weighting needs {name} > 0, got {option}.")
        return cls(
            neighbors=np.iinfo(np.int32).max if neighbors is None else int(neighbors),
            half_power=power / 2.0,
            max_squared=np.inf if max_distance is None else float(max_distance) ** 2,
        )


def _blocks(
    survey: _Survey, rule: _Rule, grid: Grid, block_size: int
) -> Iterator[tuple[slice, slice, FloatArray]]:
    workers = joblib.cpu_count()
    pending: deque[tuple[slice, slice, Future[FloatArray]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for rows, columns in grid.blocks(block_size):
            estimate = pool.submit(_estimate_block, survey, rule, grid, rows, columns)
            pending.append((rows, columns, estimate))
            if len(pending) == 2 * workers:
                rows, columns, estimate = pending.popleft()
                yield rows, columns, estimate.result()
        while pending:
            rows, columns, estimate = pending.popleft()
            yield rows, columns, estimate.result()


def _estimate_block(
    survey: _Survey, rule: _Rule, grid: Grid, rows: slice, columns: slice
) -> FloatArray:
    eastings, northings = grid.eastings[columns], grid.northings[rows]
    estimate = np.empty((len(survey.values), len(northings), len(eastings)))
    places = (survey.eastings, survey.northings)
    samples = (survey.values, survey.observed, survey.order, survey.starts)
    weighting = (rule.neighbors, rule.half_power, rule.max_squared)
    halvings = (len(northings) - 1).bit_length() + (len(eastings) - 1).bit_length()
    fill_block(estimate, eastings, northings, places, samples, weighting, halvings)
    return estimate
