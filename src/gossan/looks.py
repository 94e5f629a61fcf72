"""What an estimator takes from the evidence before it sees a label, and what it then looks at."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr


def taught(model: Any, evidence: xr.DataArray, cells: npt.NDArray[np.bool_] | None = None) -> Any:
    """The estimator after it has learnt from evidence without labels, where it does so.

    Parameters
    ----------
    model : classifier
        One with a method ``learn_evidence(evidence, cells)`` returns a clone that has learnt; any
        other is returned as it is.
    evidence : xarray.DataArray
        ``(layer, y, x)``.
    cells : ndarray of shape (y, x), bool, optional
        Cells whose evidence may be seen; default: all.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> model = LogisticRegression()
    >>> taught(model, xr.DataArray(np.zeros((1, 2, 2)), dims=("layer", "y", "x"))) is model
    True
    """
    return model.learn_evidence(evidence, cells) if hasattr(model, "learn_evidence") else model


def looked_at(model: Any, evidence: xr.DataArray) -> xr.DataArray:
    """What the estimator looks at in place of the evidence, layer by layer on the same cells.

    Parameters
    ----------
    model : classifier
        One with a method ``look_at(evidence)`` looks at layers of its own making, such as
        embeddings; any other at the evidence itself.
    evidence : xarray.DataArray
        ``(layer, y, x)``.

    Returns
    -------
    xarray.DataArray
        ``(layer, y, x)``.
    """
    return model.look_at(evidence) if hasattr(model, "look_at") else evidence


def learns_in_folds(model: Any) -> bool:
    """Whether it may learn, even without labels, from the training fold's evidence alone."""
    return bool(getattr(model, "learns_in_folds", False))
