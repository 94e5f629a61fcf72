"""Negatives that recursive annotation left as reliable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from gossan.annotate.recursion import RecursiveAnnotator
from gossan.labels import NegativeSampler


class RecursiveNegatives(NegativeSampler):
    """Cells that recursive annotation keeps as negatives (:class:`RecursiveAnnotator`).

    The rounds run on the training cells alone, once for all draws.

    Parameters
    ----------
    select, mode, n_draws, purge, quantile, max_rounds, guard, control, estimator
        As in :class:`RecursiveAnnotator`.
    ratio : float, default 5.0
        Negatives per positive cell, in the rounds and in what is drawn.
    max_cells : int or None, default 50_000
        A uniform sample of so many unlabelled cells is judged in a larger area: enough to draw
        negatives from, many times over.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, labels = rng.normal(size=(400, 3)), np.full(400, -1)
    >>> labels[np.argsort(X[:, 0])[-60::4]] = 1
    >>> coordinates = np.column_stack(np.divmod(np.arange(400.0), 20))
    >>> sampler = RecursiveNegatives(max_rounds=1, ratio=2)
    >>> len(sampler.sample(X, labels, coordinates, 0))
    30
    """

    needs_features: ClassVar[bool] = True

    def __init__(
        self,
        select: Literal["purge", "lowest", "weight"] = "purge",
        mode: Literal["reselect", "accumulate"] = "reselect",
        n_draws: int = 30,
        ratio: float = 5.0,
        purge: float = 0.05,
        quantile: float = 0.3,
        max_rounds: int = 10,
        guard: bool = True,
        control: Literal["none", "same-count", "shuffled"] = "none",
        max_cells: int | None = 50_000,
        estimator: Any = None,
    ) -> None:
        self.select = select
        self.mode = mode
        self.n_draws = n_draws
        self.ratio = ratio
        self.purge = purge
        self.quantile = quantile
        self.max_rounds = max_rounds
        self.guard = guard
        self.control = control
        self.max_cells = max_cells
        self.estimator = estimator

    def check(self) -> None:
        """See :meth:`NegativeSampler.check`."""
        self.annotator().check()

    def sample_many(
        self,
        X: Any,
        labels: npt.ArrayLike,
        coordinates: npt.ArrayLike,
        random_states: Sequence[int | np.random.Generator | None],
    ) -> list[npt.NDArray[np.int64]]:
        """Annotate once, then draw; see :meth:`NegativeSampler.sample_many`."""
        generators = [np.random.default_rng(state) for state in random_states]
        seed = int(generators[0].integers(2**31))
        found = self.annotator(seed).annotate(X, labels, coordinates)
        size = max(1, round(self.ratio * int((np.asarray(labels) == 1).sum())))
        return [found.draw(size, generator) for generator in generators]

    def annotator(self, random_state: int = 0) -> RecursiveAnnotator:
        """The annotator behind the sampler."""
        return RecursiveAnnotator(**self.get_params(deep=False), random_state=random_state)
