"""How well a backbone fills in what it is not shown, beside plain ways to fill gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import xarray as xr
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.special import expit
from torch import Tensor

from gossan.exceptions import StudyError, SurveyDataError
from gossan.nn.masked_autoencoder.backbone import Backbone, device_of
from gossan.nn.masked_autoencoder.network import judged_values
from gossan.nn.masked_autoencoder.pretraining import MaskedLoss
from gossan.nn.masked_autoencoder.settings import Pretraining
from gossan.nn.masked_autoencoder.windows import (
    Area,
    WindowSource,
    read_with_halo,
    training_and_validation,
)

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]

_WINDOWS_AT_ONCE = 128


@dataclass(frozen=True)
class Reconstruction:
    """Windows, what was hidden of them, and what the network made of the rest.

    Attributes
    ----------
    truth, predicted : ndarray of shape (n, layers, window, window)
        Standardised; of binary layers 0 or 1, and the chance of 1.
    hidden : ndarray of shape (n, layers, window, window), bool
        Values that the network was not shown, and that are observed.
    kriged : ndarray of shape (n, layers, window, window)
        What kriging alone, which the network corrects, makes of it.
    """

    truth: FloatArray
    predicted: FloatArray
    hidden: BoolArray
    kriged: FloatArray


@dataclass(frozen=True)
class ReconstructedRectangle:
    """A rectangle of an area of which most cells were hidden, and what the network filled in.

    Attributes
    ----------
    rows, columns : slice
        Where it lies in the area.
    truth, filled : ndarray of shape (layers, y, x), float32
        In the order of the backbone's layers and in their units; NaN where missing. ``filled`` is
        the truth where the network was shown it, and what it predicts where it was not: of a
        binary layer the chance of 1.
    hidden : ndarray of shape (layers, y, x), bool
        Values that the network was not shown, and that are observed.
    """

    rows: slice
    columns: slice
    truth: npt.NDArray[np.float32]
    filled: npt.NDArray[np.float32]
    hidden: BoolArray


def reconstruct(
    backbone: Backbone,
    evidence: xr.DataArray,
    *,
    hidden_layers: bool = False,
    count: int = 512,
    accelerator: str = "cpu",
    seed: int = 0,
) -> Reconstruction:
    """Hide parts of windows in the blocks that judged the pretraining, and predict them.

    Parameters
    ----------
    backbone : Backbone
    evidence : xarray.DataArray
        ``(layer, y, x)``: the area that it was pretrained on, or another.
    hidden_layers : bool, default False
        Hide whole layers, and no cell; otherwise cells with all their layers.
    count : int, default 512
        Windows, drawn at random; at least 1.
    accelerator : str, default "cpu"
    seed : int, default 0

    Raises
    ------
    StudyError
        If ``count`` is below 1.
    SurveyDataError
        If the area is too small for a block that judges.
    """
    if count < 1:
        raise StudyError(f"count is {count}: at least 1 window is needed.")
    settings = backbone.settings
    _, centres = training_and_validation(evidence, backbone.window, seed=settings.random_state)
    if not centres.any():
        raise SurveyDataError("The area is too small for blocks that the backbone did not see.")
    order = backbone.order([str(name) for name in evidence["layer"].to_numpy()])
    source = WindowSource([Area(evidence, order, centres)], backbone.standard, backbone.window)
    rng = np.random.default_rng(seed)
    numbers = np.sort(rng.choice(len(source), min(count, len(source)), replace=False))
    (windows,) = source[numbers]
    generator = torch.Generator().manual_seed(seed)
    keep = _shown_tokens(backbone, settings, len(windows), generator)
    dropped = None
    if hidden_layers:
        keep = torch.arange(backbone.architecture.tokens).expand(len(windows), -1)
        dropped = torch.rand(windows.shape[:2], generator=generator) < settings.hidden_layers
    return _reconstructed(backbone, windows, keep, dropped, accelerator)


def reconstruct_rectangle(
    backbone: Backbone,
    evidence: xr.DataArray,
    *,
    largest: int = 100,
    accelerator: str = "cpu",
    seed: int = 0,
) -> ReconstructedRectangle:
    """Hide most cells of the best observed rectangle of an area, and fill them in.

    Windows lie side by side, so that every cell is predicted once, from its own window alone.

    Parameters
    ----------
    backbone : Backbone
    evidence : xarray.DataArray
        ``(layer, y, x)``.
    largest : int, default 100
        Cells across at most; at least one window. Of the rectangles with the most observed values
        it takes the one nearest to the area's middle.
    accelerator : str, default "cpu"
    seed : int, default 0
        Of what is hidden: as much of each window as in the pretraining.

    Raises
    ------
    SurveyDataError
        If the area is smaller than a window.

    Examples
    --------
    >>> from gossan.nn.masked_autoencoder import untrained
    >>> values = np.random.default_rng(0).normal(size=(2, 12, 20)).astype(np.float32)
    >>> evidence = xr.DataArray(values, dims=("layer", "y", "x"), coords={"layer": ["Cu", "Pb"]})
    >>> backbone = untrained(evidence, Pretraining(window=5))
    >>> found = reconstruct_rectangle(backbone, evidence)
    >>> found.truth.shape, round(float(found.hidden.mean()), 2)
    ((2, 10, 20), 0.76)
    """
    window = backbone.window
    shape = evidence.shape[1:]
    if min(shape) < window:
        raise SurveyDataError(
            f"The area has {shape[0]} × {shape[1]} cells, fewer than a window of {window} × "
            f"{window}."
        )
    count = [min(max(largest, window), length) // window for length in shape]
    sides = (count[0] * window, count[1] * window)
    order = backbone.order([str(name) for name in evidence["layer"].to_numpy()])
    top, left = _fullest(_observed(evidence, order), sides)
    area = Area(evidence, order, np.empty(0, dtype=bool))
    truth = read_with_halo(area, top, left, sides, 0)
    scaled = torch.from_numpy(backbone.standard.applied(truth))
    windows = scaled.unflatten(2, (count[1], window)).unflatten(1, (count[0], window))
    windows = windows.permute(1, 3, 0, 2, 4).flatten(0, 1)  # (n, layers, window, window)
    settings = backbone.settings
    generator = torch.Generator().manual_seed(seed)
    keep = _shown_tokens(backbone, settings, len(windows), generator)
    found = _reconstructed(backbone, windows, keep, None, accelerator)
    predicted, hidden = (_side_by_side(part, count) for part in (found.predicted, found.hidden))
    standard = backbone.standard
    natural = predicted * standard.scale[:, None, None] + standard.centre[:, None, None]
    filled = np.where(hidden, natural, truth)
    rows, columns = slice(top, top + sides[0]), slice(left, left + sides[1])
    return ReconstructedRectangle(rows, columns, truth, filled, hidden)


def reconstruction_scores(found: Reconstruction, layers: list[str]) -> pd.DataFrame:
    """Root mean square error of each layer's hidden values, beside two plain ways to fill them.

    Parameters
    ----------
    found : Reconstruction
        Of hidden cells.
    layers : list of str

    Returns
    -------
    pandas.DataFrame
        One row a layer, in standard deviations: ``network``; ``kriging``, what it corrects;
        ``layer_mean``, the layer's mean over what is visible in all windows; ``bilinear``, between
        the visible cells of the window, and the nearest beyond them; ``values``, how many were
        hidden in windows that show some of the layer: all are judged on those.
    """
    filled = bilinear_fill(found)
    rows = []
    for layer, name in enumerate(layers):
        truth = found.truth[:, layer]
        visible = np.isfinite(truth) & ~found.hidden[:, layer]
        # Where a window has no visible value there is nothing to fill from: judged on none.
        hidden = found.hidden[:, layer] & np.isfinite(filled[:, layer])
        mean = truth[visible].mean() if visible.any() else np.nan
        errors = {
            "network": found.predicted[:, layer][hidden] - truth[hidden],
            "kriging": found.kriged[:, layer][hidden] - truth[hidden],
            "layer_mean": mean - truth[hidden],
            "bilinear": filled[:, layer][hidden] - truth[hidden],
        }
        error = {name: _root_mean_square(values) for name, values in errors.items()}
        rows.append({"layer": name, **error, "values": int(hidden.sum())})
    return pd.DataFrame(rows)


def bilinear_fill(found: Reconstruction) -> FloatArray:
    """Hidden values between the visible cells of each window, and the nearest beyond them.

    Returns
    -------
    ndarray of shape (n, layers, window, window)
        NaN where a window has no visible value in a layer.
    """
    result = np.where(found.hidden, np.nan, found.truth)
    window = found.truth.shape[-1]
    places = np.stack(np.meshgrid(*[np.arange(window)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    for values in result:
        flat = values.reshape(len(values), -1)
        known = np.isfinite(flat)
        for pattern in np.unique(known, axis=0):
            alike = np.flatnonzero((known == pattern).all(axis=1))
            if not pattern.any() or pattern.all():
                continue
            flat[np.ix_(alike, ~pattern)] = _between(
                places[pattern], flat[np.ix_(alike, pattern)].T, places[~pattern]
            ).T
        values[:] = flat.reshape(values.shape)
    return result


def _reconstructed(
    backbone: Backbone, windows: Tensor, keep: Tensor, dropped: Tensor | None, accelerator: str
) -> Reconstruction:
    """What the network makes of windows of which it is shown some tokens and layers."""
    network = backbone.network(accelerator)
    device = device_of(network)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(windows), _WINDOWS_AT_ONCE):
            part = slice(start, start + _WINDOWS_AT_ONCE)
            shown, visible = windows[part].to(device), keep[part].to(device)
            hidden_layers = None if dropped is None else dropped[part].to(device)
            made = (f(shown, visible, hidden_layers) for f in (network, network.kriged))
            parts.append(tuple(tokens.cpu() for tokens in made))
    judged = judged_values(network.patches(windows), keep, dropped, len(backbone.layers))
    binary = backbone.learned["binary"].astype(bool)
    filled = [_as_windows(torch.cat(tokens), backbone) for tokens in zip(*parts, strict=True)]
    for values in filled:
        values[:, binary] = expit(values[:, binary])
    hidden = _as_windows(judged.float(), backbone) > 0.5
    return Reconstruction(windows.numpy(), filled[0], hidden, filled[1])


def _shown_tokens(
    backbone: Backbone, settings: Pretraining, count: int, generator: torch.Generator
) -> Tensor:
    """The tokens of each window that are not hidden, as many as in the pretraining."""
    loss = MaskedLoss(settings, backbone.learned["binary"])
    keep, _ = loss.hidden(count, len(backbone.layers), generator)
    return keep


def _observed(evidence: xr.DataArray, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many of the backbone's layers each cell has, (y, x)."""
    count = np.zeros(evidence.shape[1:], dtype=np.int64)
    for layer in order[order >= 0]:
        count += np.isfinite(evidence[layer].to_numpy())
    return count


def _fullest(count: npt.NDArray[np.int64], sides: tuple[int, int]) -> tuple[int, int]:
    """First row and column of the rectangle with the highest sum, nearest to the middle."""
    height, width = sides
    sums = np.pad(count, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    within = sums[height:] - sums[:-height]
    within = within[:, width:] - within[:, :-width]
    rows, columns = np.nonzero(within == within.max())
    middle = (np.array(within.shape) - 1) / 2
    nearest = np.hypot(rows - middle[0], columns - middle[1]).argmin()
    return int(rows[nearest]), int(columns[nearest])


def _side_by_side(windows: npt.NDArray[Any], count: list[int]) -> npt.NDArray[Any]:
    """Windows back on the ground: (n, layers, window, window) → (layers, y, x)."""
    layers, window = windows.shape[1:3]
    tiled = windows.reshape(*count, layers, window, window).transpose(2, 0, 3, 1, 4)
    return tiled.reshape(layers, count[0] * window, count[1] * window)


def _between(known: FloatArray, values: FloatArray, wanted: FloatArray) -> FloatArray:
    """Linear between known places, nearest beyond them: (n, layers) → (m, layers)."""
    nearest = NearestNDInterpolator(known, values)(wanted)
    if len(known) < 3 or np.linalg.matrix_rank(known - known[0]) < 2:
        return nearest  # on one line: there is no between
    linear = LinearNDInterpolator(known, values)(wanted)
    return np.where(np.isfinite(linear), linear, nearest)


def _root_mean_square(errors: FloatArray) -> float:
    known = errors[np.isfinite(errors)]
    return float(np.sqrt((known.astype(np.float64) ** 2).mean())) if len(known) else float("nan")


def _as_windows(tokens: Tensor, backbone: Backbone) -> FloatArray:
    """Tokens back in their places: (n, tokens, values) → (n, layers, window, window)."""
    sizes = backbone.architecture
    across, patch = sizes.across, sizes.patch
    n = len(tokens)
    parts = tokens.numpy().reshape(n, across, across, len(backbone.layers), patch, patch)
    return parts.transpose(0, 3, 1, 4, 2, 5).reshape(n, len(backbone.layers), *[sizes.window] * 2)
