"""Parts of the area and of the geology, so that negatives drawn from few cells cover both."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from gossan.evidence import feature_blocks

_PARTS_ACROSS = 4
_CLUSTERS = 8
_CELLS_TO_LEARN = 20_000


def stratify(
    features: Any,
    cells: npt.NDArray[np.int64],
    coordinates: npt.NDArray[np.float64],
    random_state: int = 0,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Stratum of each cell, its part of the area crossed with its cluster in feature space.

    Parameters
    ----------
    features : array of shape (n, layers) or lazy view
    cells : ndarray of shape (m,)
        The cells to stratify, indices into the features.
    coordinates : ndarray of shape (n, 2)
    random_state : int

    Returns
    -------
    strata : ndarray of shape (m,)
        Numbers from 0.
    shares : ndarray
        Share of the cells in each stratum.

    Examples
    --------
    >>> X = np.repeat([[0.0], [9.0]], 50, axis=0)
    >>> coordinates = np.column_stack([np.arange(100.0), np.zeros(100)])
    >>> strata, shares = stratify(X, np.arange(100), coordinates)
    >>> set(strata[:50]) & set(strata[50:]), round(shares.sum(), 6)
    (set(), np.float64(1.0))
    """
    places = coordinates[cells]
    low, extent = places.min(axis=0), np.ptp(places, axis=0)
    step = np.where(extent > 0, extent, 1.0) * (1 + 1e-9) / _PARTS_ACROSS
    column, row = ((places - low) / step).astype(np.int64).T
    learned = cells[:: max(1, len(cells) // _CELLS_TO_LEARN)]
    sample = _rows(features[learned])
    n_clusters = min(_CLUSTERS, len(np.unique(sample, axis=0)))
    clusters = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        MiniBatchKMeans(n_clusters, n_init=3, random_state=random_state),
    )
    strata = np.empty(len(cells), np.int64)
    with threadpool_limits(limits=1, user_api="openmp"):
        clusters.fit(sample)
        for positions, values in feature_blocks(features, cells):
            part = row[positions] * _PARTS_ACROSS + column[positions]
            strata[positions] = part * n_clusters + clusters.predict(_rows(values))
    count = np.bincount(strata)
    return strata, count / count.sum()


def _rows(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64).reshape(len(values), -1)
