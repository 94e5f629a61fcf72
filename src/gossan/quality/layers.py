"""How good each evidence layer is: coverage, resolution, redundancy, noise, relevance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from gossan.evidence import CellFeatures, valid_cells
from gossan.geochem import hanley_mcneil
from gossan.grid import Grid
from gossan.interpolate import nugget_share
from gossan.io import layers_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

REDUNDANT = 0.7
"""Layers are clustered where their |Spearman| is, on average, above this."""

_WINDOWS_ACROSS = 4
_WINDOW = 20
_FEWEST_SHARED = 30
_MAX_PAIRS = 20_000


def score_layers(
    evidence: xr.DataArray,
    labels: xr.DataArray | None = None,
    *,
    max_cells: int = 20_000,
    nuggets: Mapping[str, float] | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> pd.DataFrame:
    """Score every layer of an evidence stack, on a random subset of a large area's cells.

    Parameters
    ----------
    evidence : xarray.DataArray
        ``(layer, y, x)`` stack with a CRS.
    labels : xarray.DataArray, optional
        From :func:`gossan.labels.label_cells`; without it no relevance.
    max_cells : int, default 20_000
        Cells looked at, drawn from those of the study area; all where there are fewer.
    nuggets : mapping of str to float, optional
        Nugget shares known from the samples themselves, by layer: gridding smooths noise away.
    random_state : int, Generator or None, default 0
        Which cells.

    Returns
    -------
    DataFrame
        A row a layer, index ``layer``, with columns

        ``source``, ``kind``
            As the stack says.
        ``coverage``
            Share of the study's cells where the layer is observed.
        ``resolution``, ``resolution_ratio``
            Native cell size or sample spacing, in CRS units and in cells of the study.
        ``cluster``, ``partner``, ``partner_rho``
            Layers that say the same share a cluster: average linkage on 1 − |Spearman's ρ|, cut
            at ρ = 0.7; the layer most like this one, and ρ with it.
        ``nugget``
            Share of the variogram's sill that no neighbour foretells: from ``nuggets``, else from
            cells at least one native cell apart, as nearer ones repeat each other; NaN for
            classes.
        ``auc``, ``direction``, ``z``
            The layer alone as a score: the chance that a deposit's cell has the ``high`` or
            ``low`` value, whichever is the better, compared with any other cell, and its distance
            from one half in standard errors. One cell a deposit. Not held out: it tells which
            layers to look at, and is no measure of skill.

    References
    ----------
    Hanley and McNeil (1982), Radiology 143, 29–36, for Z.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 4000, 3000), cell_size=100, crs="EPSG:32650")
    >>> noise = np.random.default_rng(0).normal(size=(2, 30, 40)).astype("float32")
    >>> stack = grid.to_dataarray(np.stack([noise[0], -2 * noise[0], noise[1]]), layers=list("abc"))
    >>> score_layers(stack)[["cluster", "partner", "partner_rho"]].head(2)
           cluster partner  partner_rho
    layer
    a            1       b         -1.0
    b            1       a         -1.0
    """
    sample = CellSample.draw(evidence, labels, max_cells=max_cells, random_state=random_state)
    return score_sample(evidence, sample, nuggets=nuggets)


@dataclass(frozen=True)
class CellSample:
    """Cells of the study area drawn for a look, and those that deposits lie in.

    Attributes
    ----------
    values : ndarray of shape (n, layers)
        The layers at cells that no deposit marks.
    at_deposits : ndarray of shape (deposits, layers)
        The layers at the distinct cells that deposits lie in.
    """

    values: npt.NDArray[np.float32]
    at_deposits: npt.NDArray[np.float32]

    @classmethod
    def draw(
        cls,
        evidence: xr.DataArray,
        labels: xr.DataArray | None = None,
        *,
        max_cells: int = 20_000,
        random_state: int | np.random.Generator | None = 0,
    ) -> CellSample:
        """Gather the layers at random cells, all of a small area."""
        inside = valid_cells(evidence)
        found = np.zeros((0, 2), dtype=np.int64)
        if labels is not None:
            inside = inside & (labels.to_numpy() != 1)
            found = deposit_cells(labels)
        flat = np.flatnonzero(inside)
        if len(flat) > max_cells:
            chosen = np.random.default_rng(random_state).choice(len(flat), max_cells, False)
            flat = flat[np.sort(chosen)]
        cells = np.column_stack(np.unravel_index(flat, inside.shape))
        values, at_deposits = (
            np.asarray(CellFeatures(evidence, part[:, 0], part[:, 1])) for part in (cells, found)
        )
        return cls(values, at_deposits)


def deposit_cells(labels: xr.DataArray) -> IntArray:
    """(row, column) of the distinct cells that deposits lie in, shape (n, 2)."""
    cells = np.asarray(labels.attrs["deposit_cells"]).reshape(-1, 2)
    return np.unique(cells[cells[:, 0] >= 0], axis=0)


def score_sample(
    evidence: xr.DataArray, sample: CellSample, *, nuggets: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Score the layers on cells already drawn; see :func:`score_layers`."""
    grid, described = Grid.from_dataarray(evidence), layers_of(evidence)
    resolution = np.array([layer.resolution for layer in described])
    ratio = resolution / max(grid.cell_size)
    scores = pd.DataFrame(
        {
            "source": [layer.source for layer in described],
            "kind": [layer.kind for layer in described],
            "coverage": np.isfinite(sample.values).mean(axis=0),
            "resolution": resolution,
            "resolution_ratio": ratio,
        },
        index=pd.Index([layer.name for layer in described], name="layer", dtype=object),
    )
    scores = scores.join(_redundancy(sample.values, scores.index))
    known = pd.Series(nuggets or {}, dtype=float).reindex(scores.index).to_numpy()
    is_measured = (scores["kind"] == "continuous").to_numpy() & np.isnan(known)
    scores["nugget"] = np.where(np.isnan(known), _noise(evidence, grid, ratio, is_measured), known)
    return scores.join(_relevance(sample, scores.index))


def spearman(values: npt.NDArray[np.floating]) -> FloatArray:
    """Spearman's ρ of every two columns over the rows where both are observed.

    Parameters
    ----------
    values : ndarray of shape (n, layers)
        NaN where missing. Ranks are taken once a column, over all that it observed, which is
        Spearman's own where the same rows are missing and near it elsewhere.

    Returns
    -------
    ndarray of shape (layers, layers)
        NaN where fewer than 30 rows are shared, or either is constant on them.
    """
    observed = np.isfinite(values)
    ranks = np.where(observed, rankdata(values, axis=0, nan_policy="omit"), 0.0)
    # Centred and scaled, so that squares of large ranks lose no digits.
    counts = np.maximum(observed.sum(axis=0), 1)
    ranks = np.where(observed, ranks / counts - 0.5, 0.0)
    present = observed.astype(np.float64)
    shared = present.T @ present
    sums, squares = ranks.T @ present, (ranks**2).T @ present
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = ranks.T @ ranks - sums * sums.T / shared
        variance = squares - sums**2 / shared
        rho = covariance / np.sqrt(variance * variance.T)
    varies = variance > 1e-9 * shared
    varies &= varies.T
    return np.where((shared >= _FEWEST_SHARED) & varies, np.clip(rho, -1, 1), np.nan)


def _redundancy(values: npt.NDArray[np.floating], layers: pd.Index) -> pd.DataFrame:
    rho = spearman(values)
    np.fill_diagonal(rho, np.nan)
    likeness = np.nan_to_num(np.abs(rho), nan=0.0)
    partner = likeness.argmax(axis=1)
    has_partner = likeness.max(axis=1) > 0
    if len(layers) > 1:
        distance = np.maximum(1 - likeness, 0)
        np.fill_diagonal(distance, 0)
        tree = linkage(squareform(distance, checks=False), method="average")
        cluster = fcluster(tree, 1 - REDUNDANT, criterion="distance")
    else:
        cluster = np.ones(len(layers), dtype=int)
    return pd.DataFrame(
        {
            "cluster": pd.factorize(cluster)[0] + 1,
            "partner": np.where(has_partner, layers.to_numpy()[partner], ""),
            "partner_rho": np.where(has_partner, rho[np.arange(len(layers)), partner], np.nan),
        },
        index=layers,
    )


def _noise(
    evidence: xr.DataArray, grid: Grid, ratio: FloatArray, is_measured: npt.NDArray[np.bool_]
) -> FloatArray:
    """Nugget share of each measured layer, on places at least one native cell apart."""
    steps = np.maximum(np.round(np.nan_to_num(ratio, nan=1.0, posinf=1.0)), 1).astype(int)
    shares = np.full(len(ratio), np.nan)
    for step in np.unique(steps[is_measured]):
        chosen = np.flatnonzero(is_measured & (steps == step))
        rows, columns = _window_cells(grid.shape, int(step))
        values = np.asarray(CellFeatures(evidence.isel(layer=chosen), rows, columns))
        places = grid.coordinates(rows, columns)
        for i, layer in enumerate(chosen):
            known = np.isfinite(values[:, i])
            shares[layer] = nugget_share(places[known], values[known, i], max_pairs=_MAX_PAIRS)
    return shares


def _window_cells(shape: tuple[int, int], step: int) -> tuple[IntArray, IntArray]:
    """Every ``step``-th row and column of a small area, else those of windows spread over it."""
    axes = []
    for size in shape:
        places = np.arange(min(step // 2, size - 1), size, step)
        if len(places) > _WINDOWS_ACROSS * _WINDOW:
            starts = np.linspace(0, len(places) - _WINDOW, _WINDOWS_ACROSS).astype(int)
            places = places[(starts[:, None] + np.arange(_WINDOW)).ravel()]
        axes.append(places)
    rows, columns = np.meshgrid(*axes, indexing="ij")
    return rows.ravel(), columns.ravel()


def _relevance(sample: CellSample, layers: pd.Index) -> pd.DataFrame:
    """AUC of each layer alone, of deposits against the background."""
    known = np.isfinite(sample.at_deposits).sum(axis=0)
    others = np.isfinite(sample.values).sum(axis=0)
    together = np.concatenate([sample.at_deposits, sample.values])
    ranks = rankdata(together, axis=0, nan_policy="omit")
    with np.errstate(invalid="ignore", divide="ignore"):
        wins = np.nansum(ranks[: len(sample.at_deposits)], axis=0) - known * (known + 1) / 2
        auc = np.where((known > 0) & (others > 0), wins / (known * others), np.nan)
        better = np.maximum(auc, 1 - auc)
        # Half a discordant pair keeps the error of a perfect layer above zero.
        nearly = np.minimum(better, 1 - 0.5 / (known * others))
        z = (better - 0.5) / hanley_mcneil(nearly, known, others)
    direction = np.where(auc > 0.5, "high", np.where(auc < 0.5, "low", ""))
    return pd.DataFrame({"auc": better, "direction": direction, "z": z}, index=layers)
