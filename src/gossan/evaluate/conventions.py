"""What every figure takes as area, as a deposit and as a rank, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from gossan.exceptions import LabelError, StudyError

Array = npt.NDArray[Any]
RandomState = int | np.random.Generator | None


def shaped_like(given: npt.ArrayLike, values: Array) -> Any:
    """``values`` as a float where the user gave a number, else as an array of the user's shape."""
    shape = np.shape(given)
    return values.reshape(shape) if shape else float(values.squeeze())


def valid_areas(areas: npt.ArrayLike) -> Array:
    """Shares of the area, checked to lie in [0, 1]."""
    limits = np.asarray(areas, dtype=float)
    if not ((limits >= 0) & (limits <= 1)).all():
        raise StudyError(f"Areas are shares of the study area between 0 and 1, got {limits}.")
    return limits


def floats(values: npt.ArrayLike) -> Array:
    """Flat, and able to hold NaN; float32 stays float32 to spare memory."""
    flat = np.asarray(values).ravel()
    return flat if flat.dtype.kind == "f" else flat.astype(float)


def area_scores(scores: npt.ArrayLike) -> Array:
    """Scores of the cells that are area: flat, without the missing ones."""
    flat = floats(scores)
    observed = flat[~np.isnan(flat)]
    if not observed.size:
        raise LabelError(
            f"None of the {flat.size} background cells has a score, so there is no area to compare "
            "deposits with. Check that the map covers the study area."
        )
    return observed


def deposit_scores(score_at_deposits: npt.ArrayLike) -> Array:
    """Scores of the deposits, flat; refuses a deposit without one."""
    deposits = floats(score_at_deposits)
    if not deposits.size:
        raise LabelError("No deposit to evaluate against: hold out at least one.")
    missing = np.flatnonzero(np.isnan(deposits))
    if missing.size:
        raise LabelError(
            f"{missing.size} of {deposits.size} deposits have no score (positions "
            f"{', '.join(map(str, missing[:5]))}{', …' if missing.size > 5 else ''}): they lie "
            "outside the mapped area or where nothing was observed. Leave them out knowingly, or "
            "give them the score -inf to count them as missed."
        )
    return deposits


def observed_cells(score: npt.ArrayLike, deposits: npt.ArrayLike) -> tuple[Array, Array]:
    """Scores of the observed cells and the number of deposits in each, both flat."""
    if isinstance(score, xr.DataArray) and isinstance(deposits, xr.DataArray):
        try:
            score, deposits = xr.align(score, deposits, join="exact")
        except ValueError as error:
            raise ValueError(
                "Scores and deposits are not on the same cells. Put both on one grid, or pass "
                f"their `.values` if they are. ({error})"
            ) from error
        deposits = deposits.transpose(*score.dims)
    if np.shape(score) != np.shape(deposits):
        raise ValueError(f"Scores {np.shape(score)} and deposits {np.shape(deposits)} must match.")
    values, labels = floats(score), np.asarray(deposits).ravel()
    counts = np.where(labels >= 1, labels, 0).astype(np.int64)
    if not counts.any():
        raise LabelError("No cell of `deposits` is 1: there is nothing to evaluate against.")
    if counts.max() > 1 and counts.sum() > np.sum(counts == 0):
        raise LabelError(
            f"`deposits` counts {counts.sum()} deposits, more than there are other cells. Its "
            f"{counts.max()} looks like a nodata code: pass `deposits == 1`."
        )
    deposit_scores(values[counts > 0])
    observed = ~np.isnan(values)
    return values[observed], counts[observed]


def rank_interval(ranks: npt.ArrayLike) -> tuple[Array, Array]:
    """Lowest and highest rank of each deposit, (n,) each; a single rank is both."""
    bounds = np.asarray(ranks, dtype=float)
    low, high = (bounds, bounds) if bounds.ndim == 1 else (bounds[..., 0], bounds[..., -1])
    if bounds.ndim not in (1, 2) or bounds.shape[1:] not in ((), (2,)) or not low.size:
        raise ValueError(f"Ranks are (n,) or (n, 2), n at least 1, got shape {bounds.shape}.")
    if np.isnan(bounds).any():
        raise LabelError(
            f"{np.isnan(low + high).sum()} of {low.size} deposits have no rank. Leave them out "
            "knowingly, or give them rank 0 to count them as missed."
        )
    if low.min() < 0 or high.max() > 1 or (low > high).any():
        raise ValueError(
            f"Ranks are shares of the background with 0 <= lowest <= highest <= 1, got {low.min()}"
            f" to {high.max()}. Pass raw scores through percentile_ranks first."
        )
    return low, high


def reached_by(low: Array, high: Array, areas: Array, after: Array | bool = True) -> Array:
    """(n, k) probability that the top ``areas`` (k,) of the area hold each deposit.

    A deposit tied with no cell steps from 0 to 1 at one area; ``after`` says on which side of the
    step to look.
    """
    start = 1 - high[:, None]
    width = (high - low)[:, None]
    step = np.where(after, areas >= start - 1e-12, areas > start + 1e-12)
    # A billionth of a deposit is rounding, not capture.
    ramp = np.round((areas - start) / np.where(width > 0, width, 1), 9)
    return np.where(width > 0, np.clip(ramp, 0, 1), step)


def crossing(corners: Array, shares: Array) -> Array:
    """Area at which each curve ``shares`` (m, k) over ``corners`` (k,) meets share = 1 − area.

    Curves run from (0, 0) to (1, 1), so the first corner lies before the crossing.
    """
    excess = shares + corners - 1
    right = np.argmax(excess >= 0, axis=1)
    row = np.arange(len(shares))
    before, beyond = excess[row, right - 1], excess[row, right]
    return corners[right - 1] + before / (before - beyond) * (corners[right] - corners[right - 1])
