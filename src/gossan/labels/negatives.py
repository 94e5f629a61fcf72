"""Samplers: which unlabelled cells stand for barren ground in training."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar, get_type_hints

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from sklearn.base import BaseEstimator

from gossan.exceptions import LabelError, StudyError, SurveyDataWarning
from gossan.labels.places import (
    cell_spacing,
    checked_cells,
    checked_distance,
    distance_to,
    touching_patches,
    within_distance,
)
from gossan.mistakes import check_setting, suggest

Made = TypeVar("Made")


@dataclass(frozen=True)
class Ground:
    """The training cells as a sampler sees them.

    Attributes
    ----------
    features : array-like of shape (n, layers) or None
        ``None`` for a sampler that does not look at features.
    coordinates : ndarray of shape (n, 2)
        Easting and northing of the cells.
    labels : ndarray of shape (n,)
        1 deposit, 0 known barren, -1 unlabelled.
    generator : numpy.random.Generator
        The draw's own randomness.
    """

    features: Any
    coordinates: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int8]
    generator: np.random.Generator

    @cached_property
    def positives(self) -> npt.NDArray[np.int64]:
        """Indices of the deposits' cells."""
        return np.flatnonzero(self.labels == 1)

    @cached_property
    def unlabelled(self) -> npt.NDArray[np.int64]:
        """Indices of the cells that may stand for barren ground."""
        return np.flatnonzero(self.labels == -1)

    def some_unlabelled(self, count: int) -> npt.NDArray[np.int64]:
        """All unlabelled cells, or a uniform sample of ``count`` of them; sorted."""
        cells = self.unlabelled
        if len(cells) <= count:
            return cells
        return np.sort(self.generator.choice(cells, count, replace=False, shuffle=False))


class NegativeSampler(BaseEstimator):
    """Base of the samplers: which cells may stand for barren ground, and how many are drawn.

    A sampler overrides :meth:`_pool` (the cells it trusts, sorted), :meth:`_size` (how many of
    them it takes) or both; drawing without replacement is common to all.
    """

    needs_features: ClassVar[bool] = False
    """Whether :meth:`sample` reads ``X``; otherwise it may be ``None``."""

    def check(self) -> None:
        """Raise :class:`StudyError` if a setting cannot be, before any cell is looked at."""
        ratio = self.get_params(deep=False).get("ratio")
        if ratio is not None and not 0 < ratio < np.inf:
            raise StudyError(f"ratio is {ratio}: it counts negatives per positive and exceeds 0.")

    def sample(
        self,
        X: Any,
        labels: npt.ArrayLike,
        coordinates: npt.ArrayLike,
        random_state: int | np.random.Generator | None = None,
    ) -> npt.NDArray[np.int64]:
        """Draw unlabelled cells to stand for barren ground.

        Parameters
        ----------
        X : array-like of shape (n, layers) or None
            Features of the training cells; ``None`` where ``needs_features`` is false.
        labels : array-like of shape (n,)
            1 deposit, 0 known barren, -1 unlabelled. Only unlabelled cells are drawn.
        coordinates : array-like of shape (n, 2)
            Easting and northing of the cells, in CRS units.
        random_state : int or numpy.random.Generator, optional
            Same seed, same cells.

        Returns
        -------
        ndarray of shape (drawn,)
            Sorted, distinct int64 indices into the n cells; empty where none is unlabelled.

        Raises
        ------
        LabelError
            If no cell is a deposit, or labels and coordinates do not fit each other.
        StudyError
            If one of the sampler's settings cannot be.
        """
        return self.sample_many(X, labels, coordinates, [random_state])[0]

    def sample_many(
        self,
        X: Any,
        labels: npt.ArrayLike,
        coordinates: npt.ArrayLike,
        random_states: Sequence[int | np.random.Generator | None],
    ) -> list[npt.NDArray[np.int64]]:
        """Several draws from the same cells, which are judged once for all of them.

        Parameters
        ----------
        X, labels, coordinates
            As in :meth:`sample`.
        random_states : sequence
            One a draw. The first also seeds what judges the cells, where that is random.

        Returns
        -------
        list of ndarray
            One a draw, as :meth:`sample` returns it.
        """
        self.check()
        generators = [np.random.default_rng(state) for state in random_states]
        ground = Ground(X, *checked_cells(coordinates, labels), generators[0])
        if len(ground.positives) == 0:
            raise LabelError("No cell is labelled as a deposit, so negatives have no counterpart.")
        size = self._size(ground)
        pool = self._pool(ground)
        if size >= len(pool):
            return [pool] * len(generators)
        return [np.sort(self._draw(ground, pool, size, generator)) for generator in generators]

    def _draw(
        self,
        ground: Ground,  # noqa: ARG002 - a sampler that weighs cells looks at them
        pool: npt.NDArray[np.int64],
        size: int,
        generator: np.random.Generator,
    ) -> npt.NDArray[np.int64]:
        """``size`` distinct cells of the pool."""
        return generator.choice(pool, size, replace=False, shuffle=False)

    def _pool(self, ground: Ground) -> npt.NDArray[np.int64]:
        """Indices of the cells that the sampler trusts to be barren."""
        return ground.unlabelled

    def _size(self, ground: Ground) -> int:
        """How many cells to draw: ``ratio`` a positive, rounded, at least one."""
        return max(1, round(self.get_params(deep=False)["ratio"] * len(ground.positives)))


class AllUnlabelled(NegativeSampler):
    """Every unlabelled cell stands for barren ground: the plainest choice.

    Right but for the few undiscovered deposits among millions of cells; class-weighted learners
    are hard to beat with it. In a large area a uniform random subset stands for all.

    Parameters
    ----------
    max_cells : int or None, default 200_000
        Largest number drawn; ``None`` takes every cell. A forest gains nothing from more, and
        200,000 cells of 40 layers are 32 MB.

    Examples
    --------
    >>> AllUnlabelled().sample(None, [1, -1, -1, 0, -1], np.zeros((5, 2)))
    array([1, 2, 4])
    """

    def __init__(self, max_cells: int | None = 200_000) -> None:
        self.max_cells = max_cells

    def check(self) -> None:
        """See :meth:`NegativeSampler.check`."""
        if self.max_cells is not None and self.max_cells < 1:
            raise StudyError(
                f"max_cells is {self.max_cells}: give at least 1, or none to take every cell."
            )

    def _size(self, ground: Ground) -> int:
        return len(ground.unlabelled) if self.max_cells is None else self.max_cells


class RandomNegatives(NegativeSampler):
    """Uniform among the unlabelled cells (Zuo & Wang 2020, who average over 50 such draws).

    Parameters
    ----------
    ratio : float, default 1.0
        Negatives per positive cell; balanced classes are the published choice.

    References
    ----------
    Zuo, R. & Wang, Z. (2020). Effects of random negative training samples on mineral
    prospectivity mapping. Natural Resources Research 29, 3443–3455.

    Examples
    --------
    >>> labels = np.array([1, 1, -1, -1, -1, -1])
    >>> len(RandomNegatives().sample(None, labels, np.zeros((6, 2)), random_state=0))
    2
    """

    def __init__(self, ratio: float = 1.0) -> None:
        self.ratio = ratio


class BufferedNegatives(NegativeSampler):
    """Uniform among the unlabelled cells farther than a distance from every training deposit.

    Ground next to a deposit may share its mineral system, so it is left out (Carranza, Hale &
    Faassen 2008). Distances run from each cell's centre to the centres of the positive cells.

    Parameters
    ----------
    distance : float or "auto", default "auto"
        In CRS units. ``"auto"`` is the distance within which every training deposit has a
        neighbouring deposit: the largest nearest-neighbour distance between deposits. A sampler
        sees cells and not deposits, so positive cells that touch, by side or corner, count as
        one deposit at their mean place.
    ratio : float, default 1.0
        Negatives per positive cell.

    Warns
    -----
    SurveyDataWarning
        If fewer than 10 cells a positive cell lie beyond the distance: it is then shortened to
        leave that many, and both distances are named.

    References
    ----------
    Carranza, E. J. M., Hale, M. & Faassen, C. (2008). Selection of coherent deposit-type
    locations and their application in data-driven mineral prospectivity mapping. Ore Geology
    Reviews 33, 536–558.

    Examples
    --------
    >>> coordinates = np.column_stack([np.arange(60.0), np.zeros(60)])
    >>> labels = np.full(60, -1)
    >>> labels[[0, 9]] = 1
    >>> int(BufferedNegatives(ratio=30).sample(None, labels, coordinates).min())
    19
    """

    cells_per_positive: ClassVar[int] = 10
    """Cells that must remain beyond the distance, per positive cell."""

    def __init__(self, distance: float | Literal["auto"] = "auto", ratio: float = 1.0) -> None:
        self.distance = distance
        self.ratio = ratio

    def check(self) -> None:
        """See :meth:`NegativeSampler.check`."""
        super().check()
        checked_distance("distance", self.distance)

    def _pool(self, ground: Ground) -> npt.NDArray[np.int64]:
        distance = checked_distance("distance", self.distance)
        places = ground.coordinates[ground.positives]
        if distance is None:
            distance = _neighbour_distance(places, cell_spacing(ground.coordinates))
        pool = _farther(ground, distance)
        needed = min(self.cells_per_positive * len(places), len(ground.unlabelled))
        return pool if len(pool) >= needed else _relaxed_pool(ground, distance, pool, needed)


def make_named(
    what: str, catalogue: Mapping[str, type[Made]], name: str, parameters: Mapping[str, Any]
) -> Made:
    """Build ``catalogue[name]`` with ``parameters``, or say which name or parameter is unknown.

    Examples
    --------
    >>> make_named("negative sampler", {"buffered": BufferedNegatives}, "bufered", {})
    Traceback (most recent call last):
    gossan.exceptions.StudyError: Unknown negative sampler 'bufered'. Did you mean 'buffered'?
    """
    if name not in catalogue:
        raise StudyError(f"Unknown {what} {name!r}.{suggest(name, dict(catalogue))}")
    known = list(inspect.signature(catalogue[name]).parameters)
    for parameter in parameters:
        if parameter not in known:
            raise StudyError(
                f"The {what} {name!r} has no parameter {parameter!r}.{suggest(parameter, known)}"
            )
        types = get_type_hints(catalogue[name].__init__, include_extras=True)  # type: ignore[misc]
        check_setting(f"The {what} {name!r}", parameter, parameters[parameter], types[parameter])
    return catalogue[name](**parameters)


def _neighbour_distance(places: npt.NDArray[np.float64], spacing: npt.NDArray[np.float64]) -> float:
    """Distance within which every patch of touching positive cells has another."""
    patch = touching_patches(places, spacing)
    if patch.max() == 0:
        easting, northing = places.mean(axis=0)
        raise LabelError(
            "distance='auto' needs two deposits apart from each other, but the positive cells "
            f"form one patch around ({easting:.7g}, {northing:.7g}). Give a distance in CRS "
            "units, or use RandomNegatives."
        )
    count = np.bincount(patch)
    centres = np.column_stack([np.bincount(patch, axis) / count for axis in places.T])
    return float(cKDTree(centres).query(centres, k=2)[0][:, 1].max())


def _farther(ground: Ground, distance: float) -> npt.NDArray[np.int64]:
    """Unlabelled cells farther than ``distance`` from every positive cell."""
    near = within_distance(ground.coordinates, ground.coordinates[ground.positives], distance)
    return np.flatnonzero((ground.labels == -1) & ~near)


def _relaxed_pool(
    ground: Ground, distance: float, pool: npt.NDArray[np.int64], needed: int
) -> npt.NDArray[np.int64]:
    """The ``needed`` unlabelled cells farthest from the positives, and those as far; warns."""
    n_beyond, nearest = len(pool), distance
    while len(pool) < needed:
        nearest /= 2
        near_zero = nearest < 1e-6 * distance
        pool = ground.unlabelled if near_zero else _farther(ground, nearest)
    gaps = distance_to(ground.coordinates[pool], ground.coordinates[ground.positives])
    relaxed = np.partition(gaps, -needed)[-needed]
    warnings.warn(
        f"Only {n_beyond} unlabelled cells lie farther than {distance:.7g} from every training "
        f"deposit; the distance is shortened to {relaxed:.7g} so that {needed} remain. Give a "
        "shorter distance, or use RandomNegatives.",
        SurveyDataWarning,
        stacklevel=5,
    )
    return pool[gaps >= relaxed]
