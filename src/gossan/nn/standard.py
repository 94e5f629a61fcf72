"""Layers on one scale, as networks take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

_WILD = 0.0005
"""Share of a layer's values at either end that its scale does not follow."""


@dataclass(frozen=True)
class Standard:
    """How layers are brought to one scale: less their centre, over their scale, clipped.

    Attributes
    ----------
    centre, scale : ndarray of shape (layers,), float32
        Mean and standard deviation; 0 and 1 of layers that stay as they are.
    """

    centre: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]

    limit = 5.0
    """Standard deviations beyond which a value counts as that far: one wild sample is no scale."""

    def applied(self, values: FloatArray) -> npt.NDArray[np.float32]:
        """Standardised ``(layers, …)``, NaN missing."""
        shape = (-1, *[1] * (values.ndim - 1))
        scaled = (values - self.centre.reshape(shape)) / self.scale.reshape(shape)
        scaled = np.clip(scaled, -self.limit, self.limit).astype(np.float32, copy=False)
        scaled[~np.isfinite(values)] = np.nan
        return scaled


def standard_of(values: FloatArray, stay: npt.NDArray[np.bool_] | None = None) -> Standard:
    """The scale of each layer over its observed values.

    Parameters
    ----------
    values : ndarray of shape (layers, …)
        NaN where missing.
    stay : ndarray of shape (layers,), bool, optional
        Layers that stay as they are.

    Examples
    --------
    >>> found = standard_of(np.array([[1.0, 3.0, np.nan], [np.nan] * 3]))
    >>> found.centre.tolist(), found.scale.tolist()
    ([2.0, 0.0], [1.0, 1.0])
    """
    centre = np.zeros(len(values), dtype=np.float32)
    scale = np.ones(len(values), dtype=np.float32)
    for layer, own in enumerate(values):
        observed = own[np.isfinite(own)]
        if len(observed) and not (stay is not None and stay[layer]):
            centre[layer], scale[layer] = _centre_and_scale(observed)
    return Standard(centre, scale)


def _centre_and_scale(values: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation, but that a few wild values do not count."""
    values = values.astype(np.float64)
    # To the next value inside: of few values too the outermost at either end does not count.
    low = np.quantile(values, _WILD, method="higher")
    high = np.quantile(values, 1.0 - _WILD, method="lower")
    if low < high:
        values = np.clip(values, low, high)
    spread = float(values.std())
    return float(values.mean()), spread if spread > 0 else 1.0
