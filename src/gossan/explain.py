"""What drove a score: per layer, per cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gossan.draws import score_and_spread
from gossan.evidence import CellFeatures

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

_CELLS_PER_CALL = 65_536
_BYTES_AT_ONCE = 200_000_000
"""Cells with a layer replaced that are held together: windows are large."""


def explain_cells(
    model: Any,
    features: CellFeatures,
    cells: IntArray,
    *,
    background: IntArray,
    random_state: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """How much of some cells' scores is owed to each evidence layer.

    An estimator that explains itself (``attribute``; networks do, by integrated gradients) is
    asked; any other is explained by :func:`layer_contributions`.

    Parameters
    ----------
    model : fitted classifier
    features : CellFeatures
        The study's cells and their evidence.
    cells : ndarray of int, shape (n,)
        Which of them to explain.
    background : ndarray of int, shape (m,)
        Which of them stand for ordinary ground.
    random_state : int, default 0
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    ndarray of shape (n, layers)
        In units of the score.
    """
    if hasattr(model, "attribute"):
        places = np.column_stack([features.rows, features.columns])
        return model.attribute(
            features.evidence,
            places[cells],
            background=features[background],
            progress=progress,
        )
    view = CellFeatures(
        features.evidence, features.rows, features.columns, int(getattr(model, "window", 1))
    )
    return layer_contributions(
        model, view[cells], view[background], random_state=random_state, progress=progress
    )


def layer_contributions(
    model: Any,
    X: FloatArray,
    background: FloatArray,
    *,
    n_references: int = 20,
    random_state: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """How much of each cell's score is owed to each layer being what it is there.

    A layer's contribution is the score of the cell less its mean score when that layer alone
    takes the values it has at background cells (single-feature ablation against a declared
    background; Covert, Lundberg & Lee 2021, "Explaining by removing"). Positive: the layer lifts
    the cell. It works for any estimator, and layers that say the same thing share no credit: where
    two layers are redundant, either alone may show little.

    Parameters
    ----------
    model : fitted classifier
    X : array of shape (n, layers) or (n, layers, window, window)
        Cells to explain.
    background : array of shape (m, layers) or (m, layers, window, window)
        Cells of ordinary ground, of which ``n_references`` are drawn.
    n_references : int, default 20
        Background cells whose values replace a layer.
    random_state : int, default 0
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    array of shape (n, layers)
        In units of the score.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 3))
    >>> model = LogisticRegression().fit(X, X[:, 1] > 1)
    >>> strongest = layer_contributions(model, X[X[:, 1] > 1], X).mean(axis=0).argmax()
    >>> int(strongest)
    1
    """
    rng = np.random.default_rng(random_state)
    count = min(n_references, len(background))
    references = background[np.sort(rng.choice(len(background), count, replace=False))]
    score = _scores(model, X)
    contributions = np.empty((len(X), X.shape[1]))
    at_once = max(1, _BYTES_AT_ONCE // (count * X[:1].nbytes))  # cells, each with its references
    total = -(-len(X) // at_once) * X.shape[1]
    for start in range(0, len(X), at_once):
        cells = slice(start, start + at_once)
        repeated = np.repeat(X[cells], count, axis=0)  # (n * references, layers[, window, window])
        n = len(repeated) // count
        for layer in range(X.shape[1]):
            own = repeated[:, layer].copy()
            repeated[:, layer] = np.concatenate([references[:, layer]] * n)
            without = _scores(model, repeated).reshape(n, count).mean(axis=1)
            repeated[:, layer] = own
            contributions[cells, layer] = score[cells] - without
            if progress is not None:
                progress(start // at_once * X.shape[1] + layer + 1, total)
    return contributions


def layer_importance(contributions: FloatArray, layers: list[str]) -> pd.DataFrame:
    """Mean absolute contribution of each layer over the cells explained, strongest first.

    Parameters
    ----------
    contributions : array of shape (n, layers)
        From :func:`layer_contributions`.
    layers : list of str

    Returns
    -------
    pandas.DataFrame
        Columns ``importance`` and ``spread`` (standard deviation over cells), indexed by layer.

    Examples
    --------
    >>> layer_importance(np.array([[0.1, -0.4], [0.1, 0.2]]), ["Cu", "Pb"]).index.tolist()
    ['Pb', 'Cu']
    """
    size = np.abs(contributions)
    table = pd.DataFrame(
        {"importance": size.mean(axis=0), "spread": size.std(axis=0)},
        index=pd.Index(layers, name="layer"),
    )
    return table.sort_values("importance", ascending=False, kind="stable")


def _scores(model: Any, X: FloatArray) -> FloatArray:
    parts = [
        score_and_spread(model, X[start : start + _CELLS_PER_CALL])[0]
        for start in range(0, len(X), _CELLS_PER_CALL)
    ]
    return np.concatenate(parts)
