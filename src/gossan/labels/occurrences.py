"""Negatives from the occurrences of other commodities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from gossan.exceptions import LabelError, StudyError
from gossan.labels.negatives import Ground, NegativeSampler
from gossan.labels.places import cell_spacing


class OtherDepositNegatives(NegativeSampler):
    """Unlabelled cells at occurrences of other commodities or types.

    Ground that was explored, and where something else was found: negatives that share the
    explorers' habits with the deposits, so that a model cannot learn where roads are instead of
    where ore is.

    Parameters
    ----------
    occurrences : array-like of shape (m, 2), optional
        Easting and northing of the other occurrences, in CRS units. A study file names a file:
        ``[negatives.occurrences]``.
    footprint : int, default 3
        Odd number of cells across that one occurrence marks.
    ratio : float or None, default None
        Negatives per positive cell; ``None`` takes every cell so marked.

    Examples
    --------
    >>> coordinates = np.column_stack([np.arange(8.0), np.zeros(8)])
    >>> labels = np.array([1, -1, -1, -1, -1, -1, -1, -1])
    >>> OtherDepositNegatives([[5.2, 0.0]]).sample(None, labels, coordinates)
    array([4, 5, 6])
    """

    def __init__(
        self, occurrences: Any = None, footprint: int = 3, ratio: float | None = None
    ) -> None:
        self.occurrences = occurrences
        self.footprint = footprint
        self.ratio = ratio

    def check(self) -> None:
        """See :meth:`NegativeSampler.check`."""
        super().check()
        self._places()
        if self.footprint < 1 or self.footprint % 2 == 0:
            raise StudyError(
                f"footprint is {self.footprint}: it counts cells across, and is odd (1, 3, 5, …)."
            )

    def _pool(self, ground: Ground) -> npt.NDArray[np.int64]:
        places = self._places()
        spacing = cell_spacing(ground.coordinates)
        scaled, cells = places / spacing, ground.coordinates[ground.unlabelled] / spacing
        # In cells, largest of easting and northing: the square that an occurrence marks.
        gaps = cKDTree(scaled).query(cells, p=np.inf, distance_upper_bound=self.footprint)[0]
        pool = ground.unlabelled[gaps <= self.footprint / 2]
        if len(pool) == 0:
            raise LabelError(
                f"None of the {len(places)} other occurrences marks an unlabelled training cell: "
                "they lie elsewhere, or on the deposits. Check their file, CRS and filter."
            )
        return pool

    def _size(self, ground: Ground) -> int:
        return len(ground.labels) if self.ratio is None else super()._size(ground)

    def _places(self) -> npt.NDArray[np.float64]:
        places = np.asarray([] if self.occurrences is None else self.occurrences, dtype=float)
        if places.size == 0:
            raise StudyError(
                "The negative sampler 'other-deposits' needs occurrences of other commodities: "
                "name their file under [negatives.occurrences]."
            )
        if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
            raise LabelError(
                f"Other occurrences of shape {places.shape} are no (m, 2) easting and northing "
                "without gaps."
            )
        return places
