"""Negatives unlike the known deposits: a band of the distance in feature space."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Strict
from sklearn.metrics.pairwise import nan_euclidean_distances

from gossan.evidence import feature_blocks
from gossan.exceptions import StudyError, SurveyDataWarning
from gossan.labels.negatives import Ground, NegativeSampler

_CELLS_FOR_SCALE = 50_000
_DISTANCES_AT_ONCE = 2_000_000


class DissimilarNegatives(NegativeSampler):
    """Unlabelled cells at a middling distance, in feature space, from the training deposits.

    Cells are ranked by the sum of their distances to all positive cells, and drawn from a band of
    quantiles: the nearest may be ore, the farthest teach nothing about the boundary. Layers are
    first brought to mean 0 and standard deviation 1 over the training cells; the distance is
    Euclidean over the layers that both cells have, scaled up to all layers.

    Parameters
    ----------
    band : tuple of float, default (0.25, 0.75)
        Quantiles of the distance between which cells are drawn. Published: (0.25, 0.75) and
        (0.4, 0.5).
    ratio : float, default 20.0
        Negatives per positive cell; published: 20.

    Warns
    -----
    SurveyDataWarning
        If cells cannot be told apart by their distance: every unlabelled cell is then in the band.

    Notes
    -----
    Distances are exact; time grows with cells times positives, memory with cells only.

    Examples
    --------
    >>> X = np.arange(12.0)[:, None]
    >>> labels = np.where(X[:, 0] < 2, 1, -1)
    >>> DissimilarNegatives((0.5, 1.0)).sample(X, labels, np.zeros((12, 2)))
    array([ 7,  8,  9, 10, 11])
    """

    needs_features: ClassVar[bool] = True

    def __init__(
        self,
        band: Annotated[tuple[float, float], Strict(False)] = (0.25, 0.75),
        ratio: float = 20.0,
    ) -> None:
        self.band = band
        self.ratio = ratio

    def check(self) -> None:
        """See :meth:`NegativeSampler.check`."""
        super().check()
        low, high = self.band
        if not 0 <= low < high <= 1:
            raise StudyError(
                f"band is ({low}, {high}): two quantiles of the distance, 0 ≤ low < high ≤ 1."
            )

    def _pool(self, ground: Ground) -> npt.NDArray[np.int64]:
        low, high = self.band
        distances = summed_distances(ground.features, ground.unlabelled, ground.positives)
        if len(distances) == 0:
            return ground.unlabelled
        limits = np.nanquantile(distances, [low, high]) if np.isfinite(distances).any() else [0, 0]
        if not limits[1] > limits[0]:
            warnings.warn(
                f"Cells of the band ({low}, {high}) all have the same distance from the training "
                "deposits, so nothing tells like from unlike: every unlabelled cell is taken. Add "
                "evidence that varies, or use RandomNegatives.",
                SurveyDataWarning,
                stacklevel=4,
            )
            return ground.unlabelled
        return ground.unlabelled[(distances >= limits[0]) & (distances <= limits[1])]


def summed_distances(
    features: Any, cells: npt.NDArray[np.int64], positives: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Sum over the positives of the distance in standardised features, shape (cells,).

    NaN for a cell that shares no observed layer with a positive.

    Examples
    --------
    >>> summed_distances(np.array([[0.0], [3.0], [3.0]]), np.array([0]), np.array([1, 2])).round(6)
    array([4.242641])
    """
    centre, scale = _centre_and_scale(features, np.concatenate([positives, cells]))
    known = (_rows(features, positives) - centre) / scale
    total = np.empty(len(cells))
    step = max(1, _DISTANCES_AT_ONCE // len(known))
    for positions, values in feature_blocks(features, cells):
        flat = (values.reshape(len(values), -1) - centre) / scale
        for start in range(0, len(flat), step):
            distances = nan_euclidean_distances(flat[start : start + step], known)
            total[positions[start : start + step]] = distances.sum(axis=1)
    return total


def _centre_and_scale(
    features: Any, cells: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of every layer over an even sample of the cells."""
    sample = _rows(features, cells[:: max(1, len(cells) // _CELLS_FOR_SCALE)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a layer that is all missing
        centre, scale = np.nanmean(sample, axis=0), np.nanstd(sample, axis=0)
    constant = ~(scale > 0)
    return np.where(np.isnan(centre), 0.0, centre), np.where(constant, 1.0, scale)


def _rows(features: Any, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Features of some cells as one row each, in double precision."""
    return np.asarray(features[cells], dtype=np.float64).reshape(len(cells), -1)
