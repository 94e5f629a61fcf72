"""Cells into clusters, and how many clusters there are to tell apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.cluster import AgglomerativeClustering, KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from gossan.exceptions import StudyError, SurveyDataError, SurveyDataWarning
from gossan.grid import Grid
from gossan.models import NormalScores

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
Clustering = Literal["k-means", "gaussian-mixture", "hierarchical"]

STABLE = 0.6
"""Adjusted Rand index of two halves below which regions are not the same in both."""
MOST = 100
"""Regions asked for at most."""
_SAMPLE = 100_000
"""Cells that clusters are learnt from; all are assigned."""
_TRIED = 10_000
"""Of those, cells by which their number is chosen: it takes many clusterings."""
_TREE = 2_000
"""Cells of a hierarchical clustering, whose memory grows with their square."""
_SILHOUETTE = 2_000
_HALVINGS = 8
_BLOCKS_ACROSS = 8
"""Halves are made of blocks of ground: single cells are near copies of their neighbours."""
_SIDE = 512


class WardCentres(ClusterMixin, BaseEstimator):
    """Ward's hierarchy of a sample of the cells; others join the nearest centre.

    Parameters
    ----------
    n_clusters : int
    random_state : int
    """

    def __init__(self, n_clusters: int = 2, *, random_state: int = 0) -> None:
        self.n_clusters = n_clusters
        self.random_state = random_state

    def fit(self, X: FloatArray, y: Any = None) -> WardCentres:  # noqa: ARG002
        """Learn the centres."""
        rng = np.random.default_rng(self.random_state)
        some = X if len(X) <= _TREE else X[np.sort(rng.choice(len(X), _TREE, replace=False))]
        found = AgglomerativeClustering(self.n_clusters).fit_predict(some)
        self.nearest_ = NearestCentroid().fit(some, found)
        return self

    def predict(self, X: FloatArray) -> IntArray:
        """Number of the nearest centre, (n,)."""
        return self.nearest_.predict(X)


def _k_means(count: int, seed: int, size: int) -> Any:
    if size > _TRIED:
        return MiniBatchKMeans(count, n_init=4, batch_size=4096, random_state=seed)
    return KMeans(count, n_init=4, random_state=seed)


CLUSTERINGS: dict[str, Callable[[int, int, int], Any]] = {
    "k-means": _k_means,
    "gaussian-mixture": lambda count, seed, _: GaussianMixture(
        count, covariance_type="diag", reg_covar=1e-4, random_state=seed
    ),
    "hierarchical": lambda count, seed, _: WardCentres(count, random_state=seed),
}
"""Name → unfitted clustering, of (clusters, seed, cells to learn from)."""


@dataclass(frozen=True)
class Regions:
    """Regions of an area.

    Attributes
    ----------
    labels : xarray.DataArray
        ``(y, x)`` int16: number of the region, from 1, the largest first; 0 without evidence.
    count : int
    choice : pandas.DataFrame
        One row a number of regions tried, the given one alone where it was given: ``regions``,
        ``stability``, ``stability_error``, ``silhouette``, ``chosen``.
    cells : ndarray of shape (n, 2)
        Rows and columns of the sample that was learnt from.
    of_cells : ndarray of shape (n,)
        Their regions.
    """

    labels: xr.DataArray
    count: int
    choice: pd.DataFrame
    cells: IntArray
    of_cells: IntArray

    @property
    def stable(self) -> bool:
        """Whether halves of the area agree on the regions."""
        return bool(self.choice.loc[self.choice["chosen"], "stability"].iloc[0] >= STABLE)


def find_regions(
    layers: xr.DataArray,
    *,
    count: int | Literal["auto"] = "auto",
    method: Clustering = "k-means",
    scale: Literal["ranks", "deviations"] = "ranks",
    most: int = 12,
    sample: int = _SAMPLE,
    random_state: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Regions:
    """Divide an area into regions of like evidence; no deposit is needed.

    Parameters
    ----------
    layers : xarray.DataArray
        ``(layer, y, x)``: evidence, or an embedding. On disk it is read block by block.
    count : int or "auto", default "auto"
        Regions; ``"auto"``: see :func:`choose_count`.
    method : {"k-means", "gaussian-mixture", "hierarchical"}, default "k-means"
    scale : {"ranks", "deviations"}, default "ranks"
        ``"ranks"``: normal scores of each layer's ranks, for evidence with its long tails;
        ``"deviations"``: standard deviations from the mean, for embeddings.
    most : int, default 12
        Regions tried at most.
    sample : int, default 100,000
        Cells learnt from.
    random_state : int, default 0
    progress : callable, optional
        Called with (steps done, steps in all).

    Raises
    ------
    StudyError
        If the method is unknown, or there are fewer cells than regions.
    SurveyDataError
        If all cells are alike.

    Warns
    -----
    SurveyDataWarning
        If fewer regions than were asked for can be told apart.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 4000, 3000), 100, "EPSG:32650")
    >>> rng = np.random.default_rng(0)
    >>> values = rng.normal(size=(2, 30, 40)) + 5 * (np.arange(40) < 15)
    >>> found = find_regions(grid.to_dataarray(values.astype("f4"), layers=["Cu", "Pb"]))
    >>> found.count, found.labels.to_numpy()[0, [0, -1]].tolist()
    (2, [2, 1])
    """
    if method not in CLUSTERINGS:
        raise StudyError(f"method is {method!r}: one of {', '.join(CLUSTERINGS)}.")
    if count != "auto" and count < 2:
        raise StudyError(f"{count} regions: at least 2 are needed.")
    if count != "auto" and count > MOST:
        raise StudyError(f"{count} regions: at most {MOST}, since no map can show more.")
    grid = Grid.from_dataarray(layers)
    cells, values = sampled_cells(layers, grid, sample, random_state)
    _check_cells(values, 2 if count == "auto" else count)
    scaler = (NormalScores() if scale == "ranks" else StandardScaler()).fit(values)
    scaled = _scaled(scaler, values)
    _check_spread(scaled)
    with threadpool_limits(limits=None):
        choice = choose_count(
            scaled, cells, method=method, most=most, only=None if count == "auto" else count,
            random_state=random_state, progress=progress,
        )  # fmt: skip
        count = int(choice.loc[choice["chosen"], "regions"].iloc[0])
        learner = CLUSTERINGS[method](count, random_state, len(scaled)).fit(scaled)
    labels = np.zeros(grid.shape, dtype=np.int16)
    for rows, columns, observed, block in observed_blocks(layers, grid):
        part = labels[rows, columns]
        if len(block):
            part[observed] = 1 + learner.predict(_scaled(scaler, block))
    order = _by_size(labels, count)
    if order.max() < count:
        warnings.warn(
            f"Only {order.max()} of the {count} regions asked for can be told apart.",
            SurveyDataWarning,
            stacklevel=2,
        )
    of_cells = order[1 + learner.predict(scaled)]
    regions = grid.to_dataarray(order[labels].astype(np.int16), name="regions")
    return Regions(regions, int(order.max()), choice, cells, of_cells)


def choose_count(
    values: FloatArray,
    cells: IntArray,
    *,
    method: Clustering = "k-means",
    most: int = 12,
    only: int | None = None,
    random_state: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """How many regions can be told apart: by stability under resampling, and by silhouette.

    The area is halved at random, by blocks of ground; both halves are clustered, and every cell is
    assigned by either. The mean adjusted Rand index between the two, over eight halvings, is the
    stability. Of the numbers within one standard error of the most stable, the one with the best
    silhouette is chosen. Where even its stability is below 0.6, :attr:`Regions.stable` is false:
    halves of the area do not agree, and the evidence cannot say.

    Parameters
    ----------
    values : ndarray of shape (n, d)
        Scaled, without gaps.
    cells : ndarray of shape (n, 2)
        Rows and columns.
    method, most, random_state, progress
        As :func:`find_regions` takes them.
    only : int, optional
        The one number that is tried, to know how stable it is.

    Returns
    -------
    pandas.DataFrame
        ``regions``, ``stability``, ``stability_error``, ``silhouette``, ``chosen``.

    References
    ----------
    Ben-Hur, A., Elisseeff, A. & Guyon, I. (2002). A stability based method for discovering
    structure in clustered data. Pacific Symposium on Biocomputing 7, 6-17.
    Rousseeuw, P. J. (1987). Silhouettes. J. Comput. Appl. Math. 20, 53-65.
    """
    rng = np.random.default_rng(random_state)
    some = np.sort(rng.choice(len(values), min(_TRIED, len(values)), replace=False))
    values, cells = values[some], cells[some]
    shown = rng.choice(len(values), min(_SILHOUETTE, len(values)), replace=False)
    halvings = list(_halvings(cells, rng))
    tried = [only] if only else range(2, max(3, min(most, len(values) // 4) + 1))
    rows = []
    for done, count in enumerate(tried):
        learner = CLUSTERINGS[method](count, random_state, len(values))
        agreements = []
        for first in halvings:
            if min(first.sum(), (~first).sum()) < count:
                continue
            either = [clone(learner).fit(values[half]).predict(values) for half in (first, ~first)]
            agreements.append(adjusted_rand_score(*either))
        found = clone(learner).fit(values).predict(values[shown])
        rows.append(
            {
                "regions": count,
                "stability": float(np.mean(agreements)) if agreements else 0.0,
                "stability_error": float(np.std(agreements) / max(1, len(agreements)) ** 0.5),
                "silhouette": _silhouette(values[shown], found),
            }
        )
        if progress is not None:
            progress(done + 1, len(tried))
    table = pd.DataFrame(rows)
    return table.assign(chosen=np.arange(len(table)) == _chosen(table))


def _chosen(table: pd.DataFrame) -> int:
    stability, silhouette = table["stability"].to_numpy(), table["silhouette"].to_numpy()
    best = int(stability.argmax())
    near = stability >= stability[best] - table["stability_error"].to_numpy()[best]
    return int(np.where(near, silhouette, -np.inf).argmax())


def _silhouette(values: FloatArray, found: IntArray) -> float:
    if not 1 < len(np.unique(found)) < len(found):
        return -1.0
    return float(silhouette_score(values, found))


def _halvings(cells: IntArray, rng: np.random.Generator) -> Iterator[npt.NDArray[np.bool_]]:
    """Which cells belong to the first of two halves, made of blocks; some times over."""
    first, last = cells.min(axis=0), cells.max(axis=0)
    side = np.maximum(1, -(-(last - first + 1) // _BLOCKS_ACROSS))
    rows, columns = ((cells - first) // side).T
    _, block = np.unique(rows * _BLOCKS_ACROSS + columns, return_inverse=True)
    count = block.max() + 1
    for _ in range(_HALVINGS):
        yield (rng.permutation(count) < count / 2)[block]


def sampled_cells(
    layers: xr.DataArray, grid: Grid, count: int, random_state: int
) -> tuple[IntArray, FloatArray]:
    """About so many cells with evidence, drawn at random: rows and columns, (n, 2), and values.

    An area is read once, block by block, so the number is met on the average.
    """
    share = min(1.0, count / grid.size)
    rng = np.random.default_rng(random_state)
    places, values = [], []
    for rows, columns in grid.blocks(_SIDE):
        block = np.asarray(layers[:, rows, columns].to_numpy())
        drawn = np.argwhere(rng.random(block.shape[1:]) < share)
        found = block[:, *drawn.T].T
        known = np.isfinite(found).any(axis=1)
        places.append(drawn[known] + [rows.start, columns.start])
        values.append(found[known])
    return np.concatenate(places), np.concatenate(values)


def observed_blocks(
    layers: xr.DataArray, grid: Grid
) -> Iterator[tuple[slice, slice, npt.NDArray[np.bool_], FloatArray]]:
    """Block by block: rows, columns, which cells have evidence, and their values (n, layers)."""
    for rows, columns in grid.blocks(_SIDE):
        block = np.asarray(layers[:, rows, columns].to_numpy())
        observed = np.isfinite(block).any(axis=0)
        yield rows, columns, observed, block[:, observed].T


def _scaled(scaler: Any, values: FloatArray) -> FloatArray:
    return np.nan_to_num(scaler.transform(values), copy=False).astype(np.float32, copy=False)


def _by_size(labels: IntArray, count: int) -> IntArray:
    """New number of each cluster, the largest 1; of 0, and of those without cells, 0."""
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    order = np.zeros(count + 1, dtype=np.int64)
    ranked: Sequence[int] = [k for k in np.argsort(-sizes, kind="stable") if sizes[k]]
    order[ranked] = np.arange(1, len(ranked) + 1)
    return order


def _check_cells(values: FloatArray, count: int) -> None:
    if len(values) < 4 * count:
        raise StudyError(
            f"The area has {len(values)} cells with evidence, too few for {count} regions: at "
            "least four a region are needed. Set a smaller cell_size in [area], or fewer regions."
        )


def _check_spread(scaled: FloatArray) -> None:
    if not len(scaled) or float(np.ptp(scaled, axis=0).max()) == 0.0:
        raise SurveyDataError(
            "All cells have the same values in every layer, so there is nothing to divide the area "
            "by. Look at the evidence with `gossan check`."
        )
