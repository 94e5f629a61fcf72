"""Grids that reach beyond their samples: straight streaks in the outer part, none in the inner.

Inverse-distance weighting and its like carry the outermost samples outward along straight lines.
What a window of the grid varies by along its smoothest direction, beside what it varies by in
others, tells streaks from ground; but layered rock, dykes and smooth fields run in one direction
too. They do so everywhere, and an extrapolated grid in its outer part alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import binary_closing, distance_transform_edt
from scipy.special import ndtri
from scipy.stats import rankdata

from gossan.evidence import without_focal_means
from gossan.quality.findings import Finding
from gossan.quality.verdicts import list_names
from gossan.study import Study

FloatArray = npt.NDArray[np.floating[Any]]

STREAKED = 0.25
"""A window varies so much less along one direction, in squares, than along the middle one."""
SOUND = 0.5
"""A window of ground varies at least so much along every direction, beside the middle one."""

_ACROSS = 200  # cells that a layer is thinned to
_WINDOW = 24
_STEP = 8
_LAG = 8
_FEWEST = 20
_MISSING = 0.1
_ONE_VALUE = 0.2
_ROUGH = 0.2
_JUDGED = 0.5


def judge_streaks(study: Study, evidence: xr.DataArray) -> Iterator[Finding]:
    """Rasters that look extrapolated, one finding a source; what gossan grids it knows itself."""
    rasters = {source.name for source in study.rasters}
    shares: dict[str, dict[str, float]] = {}
    for layer in without_focal_means(evidence, study.method.focal):
        source = str(layer["source"].item())
        if source in rasters and str(layer["kind"].item()) == "continuous":
            share = streaked_share(layer)
            if share > 0:
                shares.setdefault(source, {})[str(layer["layer"].item())] = share
    for source, found in shares.items():
        worst = sorted(found, key=lambda name: -found[name])
        yield Finding(
            "warning",
            source,
            f"In the outer part of {list_names(worst)} values run in straight streaks, in "
            f"{np.median(list(found.values())):.0%} of the windows looked at, and in the inner "
            "part they do not: these grids look extrapolated beyond their samples.",
            "Look at them in a GIS, and keep to the sampled ground with `mask` in [area]: models "
            "and regions take streaks for ground.",
        )


def streaked_share(layer: xr.DataArray) -> float:
    """Share of a layer's windows that run in straight streaks, where it looks extrapolated.

    The layer is thinned to at most 200 cells across, in normal scores. In overlapping windows of 24
    cells, less their plane, the mean squared difference over 8 cells is taken along every
    direction; a window's ratio is the least of them over their median. Windows that are mostly
    plane or mostly one value tell nothing. A layer looks extrapolated where the third of the
    windows nearest to the edge of what is observed has a median ratio below 0.25, and the third
    farthest inside one above 0.5.

    Parameters
    ----------
    layer : xarray.DataArray
        ``(y, x)``, NaN where missing.

    Returns
    -------
    float
        Windows whose ratio is below 0.25, as a share of those judged; 0 where the layer does not
        look extrapolated, or is too small or too smooth to tell.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(120, 120))
    >>> streaked_share(xr.DataArray(noise, dims=("y", "x")))
    0.0
    >>> streaks = np.repeat(noise[:, :1], 120, axis=1)  # the first column, carried eastward
    >>> streaks[30:90, 30:90] = noise[30:90, 30:90]
    >>> streaked_share(xr.DataArray(streaks, dims=("y", "x"))) > 0.4
    True
    """
    step = max(1, -(-max(layer.shape) // _ACROSS))
    scores = _normal_scores(np.asarray(layer[::step, ::step].to_numpy(), dtype=np.float64))
    if min(scores.shape) < 2 * _WINDOW:
        return 0.0
    ratio, depth = _window_ratios(scores)
    judged = np.isfinite(ratio)
    if judged.sum() < max(_FEWEST, _JUDGED * len(ratio)):
        return 0.0
    ratio, depth = ratio[judged], depth[judged]
    near, far = np.quantile(depth, [1 / 3, 2 / 3])
    outer, inner = np.median(ratio[depth <= near]), np.median(ratio[depth >= far])
    return float((ratio < STREAKED).mean()) if outer < STREAKED and inner > SOUND else 0.0


def _normal_scores(values: FloatArray) -> FloatArray:
    ranks = rankdata(values, axis=None, nan_policy="omit").reshape(values.shape)
    scores: FloatArray = ndtri((ranks - 0.5) / max(np.isfinite(values).sum(), 1))
    return scores


def _window_ratios(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of each observed window its ratio, NaN where it tells nothing, and its distance inside."""
    observed = np.isfinite(scores)
    around = np.pad(observed, 3)  # small gaps are no edge
    depth = distance_transform_edt(binary_closing(around, iterations=2) | around)[3:-3, 3:-3]
    views = np.lib.stride_tricks.sliding_window_view(scores, (_WINDOW, _WINDOW))[::_STEP, ::_STEP]
    middle = slice(_WINDOW // 2, None, _STEP)
    depths = depth[middle, middle][: views.shape[0], : views.shape[1]].ravel()
    windows = views.reshape(-1, _WINDOW**2)
    known = np.isnan(windows).mean(axis=1) <= _MISSING
    windows, depths = windows[known], depths[known]
    windows = np.where(np.isnan(windows), np.nanmean(windows, axis=1, keepdims=True), windows)
    rough = _less_plane(windows)
    ordered, most = np.sort(windows, axis=1), int(_ONE_VALUE * _WINDOW**2)
    varied = (ordered[:, most:] > ordered[:, :-most]).all(axis=1)
    judged = varied & ((rough**2).mean(axis=1) > _ROUGH * windows.var(axis=1))
    along = _squares_along(rough[judged].reshape(-1, _WINDOW, _WINDOW))
    ratio = np.full(len(windows), np.nan)
    ratio[judged] = along.min(axis=0) / np.median(along, axis=0)
    return ratio, depths


def _less_plane(windows: FloatArray) -> FloatArray:
    """Windows (n, cells) less the plane that fits each best."""
    north, east = np.mgrid[-1 : 1 : _WINDOW * 1j, -1 : 1 : _WINDOW * 1j]  # type: ignore[misc]
    plane = np.column_stack([np.ones(_WINDOW**2), north.ravel(), east.ravel()])
    basis, _ = np.linalg.qr(plane)
    return windows - (windows @ basis) @ basis.T


def _squares_along(windows: FloatArray) -> FloatArray:
    """Mean squared difference over the lag, (directions, windows)."""
    squares = []
    for down in range(_LAG + 1):
        for right in range(-_LAG, _LAG + 1):
            if (down == 0 and right <= 0) or abs(np.hypot(down, right) - _LAG) > 0.5:
                continue
            to = windows[:, down:, max(right, 0) : _WINDOW + min(right, 0)]
            start = windows[:, : _WINDOW - down, max(-right, 0) : _WINDOW - max(right, 0)]
            squares.append(((to - start) ** 2).mean(axis=(1, 2)))
    return np.array(squares)
