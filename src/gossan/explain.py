"""What drove a score: per layer, per cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from gossan.draws import score_and_spread
from gossan.evaluate import auc_background
from gossan.evidence import CellFeatures
from gossan.exceptions import StudyError, TrainingError

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

_VOTING = (ExtraTreesClassifier, RandomForestClassifier, DecisionTreeClassifier)
"""Whose ``predict_proba`` is the mean of their trees', and is gossan's score."""
_CELLS_PER_CALL = 65_536
_BYTES_AT_ONCE = 200_000_000
"""Cells with a layer replaced that are held together: windows are large."""


Explainer = Literal["auto", "gradients", "shap", "removal"]


def explain_cells(
    model: Any,
    features: CellFeatures,
    cells: IntArray,
    *,
    background: IntArray,
    explainer: Explainer = "auto",
    skip_failed: bool = False,
    random_state: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """How much of some cells' scores is owed to each evidence layer.

    Parameters
    ----------
    model : fitted classifier
    features : CellFeatures
        The study's cells and their evidence.
    cells : ndarray of int, shape (n,)
        Which of them to explain.
    background : ndarray of int, shape (m,)
        Which of them stand for ordinary ground.
    explainer : {"auto", "gradients", "shap", "removal"}, default "auto"
        ``"gradients"``: the estimator explains itself (``attribute``; networks do, by integrated
        gradients). ``"shap"``: :func:`tree_contributions`, for trees. ``"removal"``:
        :func:`layer_contributions`, for any. ``"auto"``: the first of them that suits.
    skip_failed : bool, default False
        Whether a cell whose attributions do not add up to its score is NaN, and no error.
    random_state : int, default 0
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    ndarray of shape (n, layers)
        In units of the score.

    Raises
    ------
    StudyError
        If the explainer does not suit the model.
    TrainingError
        If the attributions of a cell do not add up; with ``skip_failed`` if none's do.
    """
    way = _way(model, explainer)
    if way == _attributed_by(model):
        places = np.column_stack([features.rows, features.columns])[cells]
        found = model.attribute(
            features.evidence,
            places,
            background=features[background],
            skip_failed=skip_failed,
            progress=progress,
        )
        if len(cells) and not np.isfinite(found).any():
            raise TrainingError("No cell could be explained: the attributions do not add up.")
        return found
    view = CellFeatures(
        features.evidence, features.rows, features.columns, int(getattr(model, "window", 1))
    )
    explained = tree_contributions if way == "shap" else layer_contributions
    return explained(
        model, view[cells], view[background], random_state=random_state, progress=progress
    )


def _way(model: Any, explainer: Explainer) -> Explainer:
    """The explainer that is asked for, if it suits the model."""
    suits: dict[Explainer, bool] = {
        "gradients": _attributed_by(model) == "gradients",
        "shap": _forests(model) is not None,
        "removal": _attributed_by(model) == "removal" or not hasattr(model, "look_at"),
    }
    if explainer == "auto":
        return next(name for name, found in suits.items() if found)
    if not suits.get(explainer, False):
        known = ", ".join(name for name, found in suits.items() if found)
        raise StudyError(f"This model cannot be explained by {explainer!r}: it can by {known}.")
    return explainer


def _attributed_by(model: Any) -> str | None:
    """How a model explains itself; None where it does not."""
    return getattr(model, "attributed_by", "gradients") if hasattr(model, "attribute") else None


def tree_contributions(
    model: Any,
    X: FloatArray,
    background: FloatArray,
    *,
    n_references: int = 100,
    random_state: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """SHAP values of the score of trees: they add up to it, less the background's mean score.

    Unlike :func:`layer_contributions` they share out what several layers do together (Lundberg et
    al. 2020, interventional).

    Parameters
    ----------
    model : fitted classifier
        Trees of scikit-learn that vote, or an ensemble of such over draws.
    X : array of shape (n, layers)
        Cells to explain.
    background : array of shape (m, layers)
        Cells of ordinary ground, of which ``n_references`` are drawn.
    n_references : int, default 100
    random_state : int, default 0
    progress : callable, optional
        Called with (forests done, forests in all).

    Returns
    -------
    array of shape (n, layers)
        In units of the score.

    Raises
    ------
    StudyError
        If the model is not made of such trees.

    References
    ----------
    Lundberg, S. M. et al. (2020). From local explanations to global understanding with explainable
    AI for trees. Nature Machine Intelligence 2, 56-67.

    Examples
    --------
    >>> from gossan.models import CellExtraTrees
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 3))
    >>> model = CellExtraTrees(20, random_state=0).fit(X, X[:, 1] > 1)
    >>> found = tree_contributions(model, X[:9], X)
    >>> expected = model.predict_proba(X[:9])[:, 1]
    >>> bool(np.ptp(expected - found.sum(axis=1)) < 1e-6)
    True
    """
    import shap

    forests = _forests(model)
    if forests is None:
        raise StudyError(f"{type(model).__name__} is not made of trees that vote.")
    rng = np.random.default_rng(random_state)
    count = min(n_references, len(background))
    references = background[np.sort(rng.choice(len(background), count, replace=False))]
    total = np.zeros(X.shape)
    for done, forest in enumerate(forests):
        explained = shap.TreeExplainer(
            forest, references.astype(np.float32), feature_perturbation="interventional"
        )
        found = explained.shap_values(X.astype(np.float32), check_additivity=False)
        total += np.asarray(found)[..., 1]  # of the class of deposits
        if progress is not None:
            progress(done + 1, len(forests))
    return total / len(forests)


def _forests(model: Any) -> list[Any] | None:
    """The forests whose mean vote is the score; None where it is something else."""
    members = getattr(model, "members_", [model])
    found = [getattr(member, "learner_", None) for member in members]
    return found if all(isinstance(learner, _VOTING) for learner in found) else None


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
        From :func:`explain_cells`; a cell of NaN, which was not explained, does not count.
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
    size = np.abs(contributions[np.isfinite(contributions).all(axis=1)])
    table = pd.DataFrame(
        {"importance": size.mean(axis=0), "spread": size.std(axis=0)},
        index=pd.Index(layers, name="layer"),
    )
    return table.sort_values("importance", ascending=False, kind="stable")


def block_importance(
    score: Callable[[xr.DataArray], FloatArray],
    evidence: xr.DataArray,
    deposits: npt.NDArray[np.bool_],
    *,
    side: int | None = None,
    repeats: int = 3,
    random_state: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """How much the map's AUC falls when a layer's spatial blocks change places.

    Shuffling single cells makes ground that exists nowhere: a smooth layer turned to noise. Blocks
    keep a layer's own pattern and break only its link to the deposits and to the other layers. The
    map knows these deposits, so this tells what the map leans on, and not how well it would do.

    Parameters
    ----------
    score : callable
        From evidence ``(layer, y, x)`` to scores ``(y, x)``, such as
        ``lambda e: predict_map(model, e).to_numpy()``.
    evidence : xarray.DataArray
        ``(layer, y, x)``.
    deposits : ndarray of shape (y, x), bool
        Cells of known deposits; every other scored cell is background.
    side : int, optional
        Cells across a block; default: an eighth of the shorter side.
    repeats : int, default 3
        Permutations of each layer.
    random_state : int, default 0
    progress : callable, optional
        Called with (maps done, maps in all).

    Returns
    -------
    pandas.DataFrame
        Indexed by layer, the greatest first: ``importance``, the mean fall of AUC, and ``spread``,
        its standard deviation over permutations.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(size=(2, 32, 32))
    >>> evidence = xr.DataArray(values, dims=("layer", "y", "x"), coords={"layer": ["Cu", "Pb"]})
    >>> found = block_importance(lambda e: e.to_numpy()[1], evidence, values[1] > 2)
    >>> found.index[0], float(found.loc["Cu", "importance"])
    ('Pb', 0.0)
    """
    rng = np.random.default_rng(random_state)
    side = max(1, min(evidence.shape[1:]) // 8) if side is None else side
    whole = _auc(score(evidence), deposits)
    layers = [str(name) for name in evidence["layer"].to_numpy()]
    falls = np.empty((len(layers), repeats))
    for layer in range(len(layers)):
        for repeat in range(repeats):
            moved = _blocks_moved(evidence[layer].to_numpy(), side, rng)
            replaced = _with_layer(evidence, layer, moved)
            falls[layer, repeat] = whole - _auc(score(replaced), deposits)
            if progress is not None:
                progress(layer * repeats + repeat + 1, falls.size)
    table = pd.DataFrame(
        {"importance": falls.mean(axis=1), "spread": falls.std(axis=1)},
        index=pd.Index(layers, name="layer"),
    )
    return table.sort_values("importance", ascending=False, kind="stable")


def _with_layer(evidence: xr.DataArray, layer: int, values: FloatArray) -> xr.DataArray:
    """Evidence with another layer in one place; what Dask backs stays on disk."""
    if not isinstance(evidence.data, da.Array):
        found = evidence.copy()
        found[layer] = values
        return found
    stack = evidence.data
    own = da.from_array(values.astype(stack.dtype), chunks=stack.chunks[1:])[None]
    return evidence.copy(data=da.concatenate([stack[:layer], own, stack[layer + 1 :]]))


def _blocks_moved(values: FloatArray, side: int, rng: np.random.Generator) -> FloatArray:
    """A layer whose square blocks have changed places; gaps stay where they are."""
    rows, columns = (-(-length // side) for length in values.shape)
    padding = [(0, n * side - length) for n, length in zip((rows, columns), values.shape)]
    padded = np.pad(values, padding, constant_values=np.nan)
    blocks = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
    moved = blocks[rng.permutation(len(blocks))].reshape(rows, columns, side, side)
    found = moved.swapaxes(1, 2).reshape(padded.shape)[: values.shape[0], : values.shape[1]].copy()
    observed = np.isfinite(values)
    lost = observed & ~np.isfinite(found)  # what came here was a gap
    found[lost] = rng.choice(values[observed], int(lost.sum()))
    return np.where(observed, found, np.nan)


def _auc(score: FloatArray, deposits: npt.NDArray[np.bool_]) -> float:
    scored = np.isfinite(score)
    return auc_background(score[scored], deposits[scored])


def percentiles(values: FloatArray, sample: FloatArray) -> FloatArray:
    """Share of a sample of cells at or below each value, layer by layer.

    Parameters
    ----------
    values : array of shape (n, layers)
    sample : array of shape (m, layers)

    Returns
    -------
    array of shape (n, layers)
        0 to 1; NaN where the value is missing, or the sample is.

    Examples
    --------
    >>> percentiles(np.array([[2.0], [np.nan]]), np.array([[1.0], [2.0], [3.0], [4.0]])).tolist()
    [[0.5], [nan]]
    """
    result = np.full(values.shape, np.nan)
    for layer in range(values.shape[1]):
        known = np.sort(sample[:, layer][np.isfinite(sample[:, layer])])
        observed = np.isfinite(values[:, layer])
        if len(known):
            below = np.searchsorted(known, values[observed, layer], side="right")
            result[observed, layer] = below / len(known)
    return result


def nearest_analogues(
    cells: FloatArray, deposits: FloatArray, sample: FloatArray
) -> tuple[IntArray, FloatArray]:
    """The known deposit that each cell is most like, by the layers that both have.

    How unlike two cells are is the mean difference of their percentiles in the area.

    Parameters
    ----------
    cells : array of shape (n, layers)
    deposits : array of shape (k, layers)
    sample : array of shape (m, layers)
        Cells of the area.

    Returns
    -------
    nearest : ndarray of int, shape (n,)
        Which deposit; -1 where no layer is shared with any.
    unlike : ndarray of shape (n,)
        0 alike to 1; two cells drawn at random differ by a third on average.

    Examples
    --------
    >>> area = np.arange(100.0)[:, None]
    >>> nearest_analogues(np.array([[71.0]]), np.array([[10.0], [70.0]]), area)
    (array([1]), array([0.01]))
    """
    ranks, known = percentiles(cells, sample), percentiles(deposits, sample)
    difference = np.abs(ranks[:, None, :] - known[None, :, :])  # (n, k, layers)
    shared = np.isfinite(difference).sum(axis=2)
    total = np.where(np.isfinite(difference), difference, 0.0).sum(axis=2)
    unlike = np.where(shared > 0, total / np.maximum(shared, 1), np.inf)
    nearest = unlike.argmin(axis=1)
    least = unlike[np.arange(len(cells)), nearest]
    return np.where(np.isfinite(least), nearest, -1), least


def _scores(model: Any, X: FloatArray) -> FloatArray:
    parts = [
        score_and_spread(model, X[start : start + _CELLS_PER_CALL])[0]
        for start in range(0, len(X), _CELLS_PER_CALL)
    ]
    return np.concatenate(parts)
