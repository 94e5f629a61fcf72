"""How far apart the samples of a survey are, and how noisy: spacing and quick variograms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from gossan.exceptions import SurveyDataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def median_spacing(coordinates: npt.ArrayLike) -> float:
    """Median distance from a sample to the nearest other one: the native resolution of a survey.

    Parameters
    ----------
    coordinates : array_like, shape (n, 2)
        Easting and northing. Samples at one place count once.

    Returns
    -------
    float
        In the units of the coordinates; NaN when there are fewer than two places.

    Examples
    --------
    >>> median_spacing([[0, 0], [0, 100], [0, 200], [0, 200]])
    100.0
    """
    places = np.unique(as_places(coordinates), axis=0)
    if len(places) < 2:
        return float("nan")
    distances, _ = cKDTree(places).query(places, k=2, workers=-1)
    return float(np.median(distances[:, 1]))


def variogram(
    coordinates: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    n_lags: int = 12,
    max_pairs: int = 200_000,
    random_state: int | np.random.Generator | None = 0,
) -> pd.DataFrame:
    r"""Empirical semivariogram of one variable, quick and robust to outliers.

    .. math:: 2\hat\gamma(h) = \Big(\frac{1}{N}\sum |Z_i - Z_j|^{1/2}\Big)^4
        \Big/ \Big(0.457 + \frac{0.494}{N}\Big)

    The first lag ends at one and a half sample spacings, the last at half the diagonal of the
    survey, and they widen in between, for the nugget shows at short distances. When there are
    too many pairs, half of those compared join near neighbours and the rest random samples.

    Parameters
    ----------
    coordinates : array_like, shape (n, 2)
        Easting and northing.
    values : array_like, shape (n,)
        NaN where missing.
    n_lags : int, default 12
        Number of distance classes.
    max_pairs : int, default 200_000
        Pairs compared at most.
    random_state : int, Generator or None, default 0
        Which pairs.

    Returns
    -------
    DataFrame
        A row per lag: ``distance`` (mean, in the units of the coordinates), ``semivariance`` (in
        squared units of ``values``) and ``pairs``. Empty with fewer than two observed places.

    References
    ----------
    Cressie and Hawkins (1980), Robust estimation of the variogram: I, Mathematical Geology 12,
    115–125.

    Examples
    --------
    >>> east = np.arange(200.0)
    >>> lags = variogram(np.column_stack([east, 0 * east]), np.sin(east / 50))
    >>> bool(lags["semivariance"].iloc[0] < 0.1 * lags["semivariance"].iloc[-1])
    True
    """
    places, variable = as_places(coordinates), np.asarray(values, dtype=np.float64)
    places, variable = places[~np.isnan(variable)], variable[~np.isnan(variable)]
    if len(np.unique(places, axis=0)) < 2:
        return pd.DataFrame(columns=["distance", "semivariance", "pairs"], dtype=np.float64)
    first, second = _pairs(places, max_pairs, np.random.default_rng(random_state))
    distance = np.linalg.norm(places[first] - places[second], axis=1)
    root = np.sqrt(np.abs(variable[first] - variable[second]))
    shortest = 1.5 * median_spacing(places)
    longest = max(0.5 * float(np.linalg.norm(np.ptp(places, axis=0))), shortest)
    edges = np.geomspace(shortest, longest, n_lags)
    near = (distance > 0) & (distance <= longest)
    pairs = pd.DataFrame({"distance": distance[near], "root": root[near]})
    lags = pairs.groupby(np.searchsorted(edges, distance[near])).agg(
        distance=("distance", "mean"), root=("root", "mean"), pairs=("root", "size")
    )
    lags["semivariance"] = 0.5 * lags["root"] ** 4 / (0.457 + 0.494 / lags["pairs"])
    return lags[["distance", "semivariance", "pairs"]].reset_index(drop=True)


def nugget_share(
    coordinates: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    max_pairs: int = 200_000,
    random_state: int | np.random.Generator | None = 0,
) -> float:
    """Share of a variable's sill that is nugget: noise that no nearby sample can foretell.

    A nugget and a spherical structure, neither of them negative, are fitted to :func:`variogram`
    by weighted least squares over a ladder of ranges.

    Parameters
    ----------
    coordinates, values, max_pairs, random_state
        As in :func:`variogram`.

    Returns
    -------
    float
        Nugget over sill, from 0 (smooth) to 1 (pure noise). NaN where the variable is constant or
        observed at fewer than 10 places.

    References
    ----------
    Cressie (1985), Fitting variogram models by weighted least squares, Mathematical Geology 17,
    563–586, for the weights: pairs over squared semivariance.

    Examples
    --------
    >>> east, north = np.meshgrid(np.arange(30.0), np.arange(30.0))
    >>> noise = np.random.default_rng(0).normal(size=900)
    >>> nugget_share(np.column_stack([east.ravel(), north.ravel()]), noise) > 0.9
    True
    """
    lags = variogram(coordinates, values, max_pairs=max_pairs, random_state=random_state)
    observed = np.asarray(coordinates)[~np.isnan(np.asarray(values, dtype=np.float64))]
    semivariance = lags["semivariance"].to_numpy()
    if len(np.unique(observed, axis=0)) < 10 or not semivariance.any():
        return float("nan")
    distance = lags["distance"].to_numpy()
    weight = np.sqrt(lags["pairs"].to_numpy()) / np.maximum(semivariance, semivariance.mean() / 10)
    best_misfit, share = np.inf, float("nan")
    for span in np.geomspace(distance[min(2, len(distance) - 1)], distance[-1], 30):
        reach = np.minimum(distance / span, 1.0)
        design = np.column_stack([np.ones_like(reach), 1.5 * reach - 0.5 * reach**3])
        (nugget, structure), misfit = nnls(design * weight[:, None], semivariance * weight)
        if misfit < best_misfit:
            best_misfit, share = misfit, nugget / (nugget + structure)
    return float(share)


def as_places(coordinates: npt.ArrayLike) -> FloatArray:
    """Coordinates as an array of shape (n, 2), or an error that names what is wrong with them."""
    places = np.asarray(coordinates, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2:
        raise SurveyDataError(
            f"Coordinates have shape {places.shape}: pass (n, 2), easting and northing."
        )
    located = np.isfinite(places).all(axis=1)
    if not located.all():
        row = int(np.argmin(located))
        raise SurveyDataError(
            f"Sample {row + 1} has coordinates {places[row].tolist()}: leave it out or mend it."
        )
    return places


def _pairs(
    places: FloatArray, max_pairs: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Indices of pairs: every one if there are few, else half near neighbours, half random."""
    n_samples, n_neighbors = len(places), 8
    if n_samples * (n_samples - 1) // 2 <= max_pairs:
        return np.triu_indices(n_samples, k=1)
    n_anchors = min(n_samples, max_pairs // (2 * n_neighbors))
    anchors = rng.choice(n_samples, n_anchors, replace=False)
    _, neighbors = cKDTree(places).query(places[anchors], k=n_neighbors + 1, workers=-1)
    near = np.repeat(anchors, n_neighbors), neighbors[:, 1:].ravel()
    far = rng.integers(n_samples, size=(2, max_pairs - len(near[0])))
    return np.concatenate([near[0], far[0]]), np.concatenate([near[1], far[1]])
