"""The chapter on what a network learnt without labels: losses, hidden ground, false colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gossan.grid import Grid
from gossan.report.inputs import PretrainingShown
from gossan.report.maps import KNOWN, middle_range
from gossan.report.page import picture
from gossan.report.sheet import Sheet, northward_stretch
from gossan.report.tables import Column, Table, frame_table
from gossan.report.theme import (
    RUST,
    SIGNED_COLOURS,
    SLATE,
    SPREAD_COLOURS,
    as_png,
    as_svg,
    new_figure,
    themed,
)
from gossan.report.words import percent

LAYERS_LISTED = 20

_PLAIN = ["layer_mean", "bilinear"]
_LEAST_ERROR = 0.01
"""Of the plain ways: below it a layer is of one value on the ground that judges."""
_ERROR_LIMIT = 2.0
"""Standard deviations at which the error's colours end."""

# Inches: the picture of hidden ground, round and between its panels, and its tallest.
_WIDTH, _LEFT, _FOOT, _BETWEEN, _TITLE, _BAR, _TALLEST = 9.0, 0.62, 0.5, 0.1, 0.27, 0.56, 9.0
_PANELS = ("as it is", "what was shown", "filled in", "error (std. dev.)")
_BLANK = "#ddd0bb"  # no colour of the ramps, so that hidden ground is not taken for low ground
_EPOCHS_MARKED = 30


def pretraining_chapter(shown: PretrainingShown, deposits: gpd.GeoDataFrame) -> dict[str, Any]:
    """What the template of the report fills the chapter with.

    Parameters
    ----------
    shown : PretrainingShown
    deposits : geopandas.GeoDataFrame
        Known deposits in the maps' CRS.
    """
    judged = _judged(shown.scores)
    content: dict[str, Any] = {
        "areas": ["this area" if name == "area" else name for name in shown.areas],
        "told": _told(shown),
        "losses": None,
        "judged": _verdict(judged),
        "table": fill_table(judged, limit=LAYERS_LISTED) if len(judged) else None,
        "left_out": max(0, len(judged) - LAYERS_LISTED),
        "filled": None,
        "rows": [],
        "colours": _colours_picture(shown, deposits),
    }
    if len(shown.training_loss):
        content["losses"] = _losses_picture(shown)
    if shown.truth is not None and shown.filled is not None and len(shown.truth):
        content["filled"] = _filled_picture(shown.truth, shown.filled, shown)
        names = [str(name) for name in shown.truth["layer"].to_numpy()]
        content["rows"] = list(zip(_letters(len(names)), names, shown.units, strict=True))
    return content


def loss_curves(training: Sequence[float], validation: Sequence[float]) -> Figure:
    """Plot the loss of each epoch, on the ground learnt from and on the ground set apart.

    Parameters
    ----------
    training, validation : sequence of float
        One an epoch.
    """
    with themed():
        figure = new_figure(6.4, 3.0)
        axes = figure.subplots()
        marker = "o" if len(training) <= _EPOCHS_MARKED else None
        for losses, label, colour, line in (
            (training, "ground learnt from", SLATE, (0, (5, 2))),
            (validation, "ground set apart", RUST, "-"),
        ):
            axes.plot(
                np.arange(1, len(losses) + 1),
                np.asarray(losses, dtype=float),
                color=colour,
                linestyle=line,
                linewidth=1.8,
                marker=marker,
                markersize=4,
                label=label,
            )
        axes.set(xlabel="epoch", ylabel="loss on hidden values")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend(loc="best")
        figure.tight_layout()
        return figure


def fill_table(scores: pd.DataFrame, *, limit: int) -> Table:
    """Lay out the errors of what fills hidden values, the layers filled in best first.

    Parameters
    ----------
    scores : pandas.DataFrame
        ``layer``, ``network``, ``layer_mean``, ``bilinear`` and, where it is told, ``kriging``.
    limit : int
        Layers at most.

    Examples
    --------
    >>> errors = {"layer": ["Cu", "Pb"], "network": [0.9, 0.2]}
    >>> table = fill_table(pd.DataFrame({**errors, "layer_mean": 1.0, "bilinear": 0.4}), limit=9)
    >>> [[cell.text for cell in row] for row in table.rows]
    [['Pb', '0.20', '1.00', '0.40', '50 %'], ['Cu', '0.90', '1.00', '0.40', '225 %']]
    """
    columns = {
        "layer": Column("layer", "name"),
        "network": Column("error of the network", "number", digits=2),
        "layer_mean": Column("of the layer's mean", "number", digits=2),
        "bilinear": Column("of bilinear fill", "number", digits=2),
        "kriging": Column("of its kriging alone", "number", digits=2),
        "against": Column("network against the better of the two", "share"),
    }
    return frame_table(_judged(scores).head(limit), columns)


def hidden_ground(
    truth: xr.DataArray,
    filled: xr.DataArray,
    hidden: npt.NDArray[np.bool_],
    scale: npt.NDArray[np.floating[Any]],
) -> Figure:
    """Map layers as they are, as they were shown, as they were filled in, and the error of that.

    Rows are layers, named by letters. Where it is told what was shown, hidden cells are blank;
    missing ones are hatched everywhere.

    Parameters
    ----------
    truth, filled : xarray.DataArray
        ``(layer, y, x)`` with a CRS, in the layers' units; NaN where missing.
    hidden : ndarray of shape (layer, y, x), bool
    scale : ndarray of shape (layer,)
        What errors are measured in: the layers' standard deviations.
    """
    with themed():
        figure, panels = _panels(truth[0], len(truth))
        for row, letter in enumerate(_letters(len(truth))):
            own, made, unseen = (np.asarray(part[row]) for part in (truth, filled, hidden))
            low, high = _range(own, made)
            ramp = {"cmap": SPREAD_COLOURS, "vmin": low, "vmax": high}
            for panel, values in zip(panels[row], (own, own, made), strict=False):
                panel.draw(values, **ramp)
            blank = np.where(unseen, 1.0, np.nan)
            panels[row][1].draw(blank, cmap=ListedColormap([_BLANK]), vmin=0, vmax=1)
            error = (made - own) / scale[row]
            limits = {"vmin": -_ERROR_LIMIT, "vmax": _ERROR_LIMIT}
            panels[row][3].draw(error, cmap=SIGNED_COLOURS, **limits)
            _ramp_beside(panels[row][2].axes, extend="both")
            _ramp_beside(panels[row][3].axes, extend="both")
            names = [f"{letter}   {_PANELS[0]}", *_PANELS[1:]]
            for panel, name in zip(panels[row], names, strict=True):
                panel.axes.set_title(name, loc="left", pad=4, parse_math=False)
        return figure


def false_colour_map(
    colours: xr.DataArray, deposits: gpd.GeoDataFrame | None = None, *, width: float = 9.0
) -> Figure:
    """Map an embedding by its first three principal components as red, green and blue.

    Parameters
    ----------
    colours : xarray.DataArray
        ``(layer, y, x)`` uint8 with a CRS; 0 where missing.
    deposits : geopandas.GeoDataFrame, optional
        Known deposits, which the network was not shown.
    width : float, default 9
        Inches across.
    """
    with themed():
        sheet = Sheet.of(colours[0], width)
        values = np.moveaxis(np.asarray(colours), 0, -1)
        known = (values > 0).all(axis=-1)
        opaque = np.where(known, np.uint8(255), np.uint8(0))
        sheet.draw(np.concatenate([values, opaque[..., None]], axis=-1))
        sheet.missing = not bool(known.all())
        components = [("#e0302d", "red: first"), ("#2f9e3f", "green: second")]
        sheet.legend_classes("Principal component", [*components, ("#3056d0", "blue: third")])
        if deposits is not None and len(deposits):
            sheet.points(deposits, KNOWN)
            sheet.legend_symbols("Deposits", [(KNOWN, "known, not shown to it")])
        return sheet.finish()


class _Panel(Sheet):
    """One of several small maps: a frame with its coordinates, and no column beside it."""

    @classmethod
    def on(cls, axes: Axes, grid: Grid, size: tuple[float, float]) -> _Panel:
        west, _, east, _ = grid.bounds
        inches = size[0] / (east - west)
        panel = cls(axes.figure.figure, axes, axes, grid, inches, 0.0, size)  # type: ignore[arg-type]
        panel._frame(*(max(2, round(side / 0.35)) for side in size))
        return panel


def _panels(array: xr.DataArray, rows: int) -> tuple[Figure, list[list[_Panel]]]:
    """Frames on the ground of an array: so many rows of four, coordinates at the outer ones."""
    grid = Grid.from_dataarray(array)
    west, south, east, north = grid.bounds
    aspect = (north - south) / (east - west) * northward_stretch(grid)
    room = _WIDTH - _LEFT - 2 * _BETWEEN - 2 * _BAR
    wide = min(room / len(_PANELS), ((_TALLEST - _FOOT) / rows - _TITLE) / aspect)
    size = wide, wide * aspect
    height = rows * (size[1] + _TITLE) + _FOOT
    figure = new_figure(_WIDTH, height)
    panels: list[list[_Panel]] = []
    for row in range(rows):
        bottom = height - (row + 1) * (size[1] + _TITLE)
        lefts = [_LEFT + column * (wide + _BETWEEN) for column in range(3)]
        lefts.append(lefts[2] + wide + _BAR)
        panels.append([])
        for column, left in enumerate(lefts):
            box = left / _WIDTH, bottom / height, wide / _WIDTH, size[1] / height
            panel = _Panel.on(figure.add_axes(box, label=f"{row}, {column}"), grid, size)
            if column:
                panel.axes.tick_params(axis="y", labelleft=False)
                panel.axes.set_ylabel("")
            if row + 1 < rows:
                panel.axes.tick_params(axis="x", labelbottom=False)
                panel.axes.set_xlabel("")
            panels[-1].append(panel)
    return figure, panels


def _ramp_beside(axes: Axes, **how: Any) -> None:
    """The colours of what was drawn last, at the right of a panel."""
    box, figure = axes.get_position(), axes.figure
    place = box.x1 + 0.06 / _WIDTH, box.y0, 0.1 / _WIDTH, box.height
    bar = figure.colorbar(axes.images[-1], cax=figure.add_axes(place), **how)
    bar.locator = MaxNLocator(4)
    bar.update_ticks()
    bar.outline.set_linewidth(0.5)
    bar.ax.grid(False)
    bar.ax.tick_params(labelsize=7, length=2)


def _range(own: npt.NDArray[Any], made: npt.NDArray[Any]) -> tuple[float, float]:
    """What the colours of a layer span: all of 0 to 1 where the layer is of 0 and 1."""
    known = own[np.isfinite(own)]
    if np.isin(known, [0.0, 1.0]).all():
        return 0.0, 1.0
    return middle_range(np.concatenate([own.ravel(), made.ravel()]))


def _letters(count: int) -> list[str]:
    return [chr(ord("A") + position) for position in range(count)]


def _judged(scores: pd.DataFrame) -> pd.DataFrame:
    """The layers that were judged, with the network's error as a share of the better plain one."""
    if not len(scores):
        return pd.DataFrame({"layer": []})
    better = scores[_PLAIN].astype(float).min(axis=1)
    against = scores["network"].astype(float) / better.where(better > _LEAST_ERROR)
    judged = scores.assign(against=against)[scores["network"].notna()]
    return judged.sort_values("against", kind="stable", na_position="last")


def _verdict(judged: pd.DataFrame) -> str:
    if not len(judged):
        return (
            "Nothing was judged: the area is too small for blocks of ground that could be set "
            "apart from the pretraining, or no layer is observed there."
        )
    told = judged["against"].notna()
    beaten, count = int((judged["against"] < 1).sum()), int(told.sum())
    layers = "1 layer" if count == 1 else f"{count} layers"
    even = len(judged) - count
    if not count:
        return "Nothing was judged: every layer has one value on the ground set apart."
    return (
        "On blocks of ground set apart from the pretraining, values were hidden and filled in from "
        f"what was left of their windows. On {beaten} of {layers} "
        f"({percent(beaten / count)}) the network does better than both plain ways: the layer's "
        "mean, and bilinear interpolation between the cells shown. "
        + _beyond_kriging(judged)
        + (f"{even} more cannot be judged: they hardly vary there. " if even else "")
        + "Ground that was interpolated when the grids were made is easily filled in. Errors are "
        "root mean squares in standard deviations of the layer (of a layer of 0 and 1, such as a "
        "rock unit, in its own units): 0 is perfect."
    )


def _beyond_kriging(judged: pd.DataFrame) -> str:
    """How much of it is the network's own: it starts from kriging, which learns nothing."""
    if "kriging" not in judged or not judged["kriging"].notna().any():
        return ""
    both = judged[judged["kriging"].notna()]
    ahead = int((both["network"].astype(float) < both["kriging"].astype(float)).sum())
    return (
        "Most of that may be its kriging, with which it starts and which learns nothing: the "
        f"network betters it on {ahead} of {len(both)}, and only there has it learnt what layers "
        "have to do with one another. "
    )


def _told(shown: PretrainingShown) -> str:
    settings = shown.settings
    window = settings["window"]
    layers = (
        f" and, in some of them, {percent(settings['hidden_layers'])} of the layers throughout"
        if settings["hidden_layers"] > 0
        else ""
    )
    epochs = int(settings["epochs"])
    return (
        f"windows of {window} × {window} cells, of which {percent(settings['hidden_cells'])} of "
        f"the cells{layers} were hidden. It learnt to fill them in from the rest, in "
        f"{'1 epoch' if epochs == 1 else f'{epochs} epochs'} of up to "
        f"{int(settings['windows_per_epoch']):,} windows. Each layer is kriged from "
        "its own cells; what the network adds to that it can only know from the other layers and "
        "from patterns of the ground. No label was used."
    )


def _losses_picture(shown: PretrainingShown) -> Any:
    return picture(
        as_svg,
        loss_curves(shown.training_loss, shown.validation_loss),
        "Loss of each epoch of the pretraining",
        "Loss: how far the filled-in values are off, as mean square in standard deviations (of "
        "layers of 0 and 1 as cross-entropy). Both curves should fall and level off. If they still "
        "fall at the right, more epochs would help; if the ground set apart gets worse while the "
        "other gets better, the network learns this ground by heart. Their heights do not compare: "
        "one is ground of another kind, and the mean over an epoch in which the network still "
        "learnt.",
    )


def _filled_picture(truth: xr.DataArray, filled: xr.DataArray, shown: PretrainingShown) -> Any:
    height, width = truth.shape[1:]
    return picture(
        as_png,
        hidden_ground(truth, filled, shown.hidden, shown.scale),
        "Layers as they are, as they were shown, as the network filled them in, and the error",
        f"The {width} × {height} cells with the most evidence, cut into windows side by side; "
        "each was filled in by itself, so seams show where it had little to go by. The layers run "
        "from the best filled in to the worst. Sand-coloured cells were hidden from the network; "
        "of a layer of 0 and 1 what is filled in is the chance of 1. Error: filled in less true, "
        "in standard deviations of the layer; rust is too high, slate too low. Most of this ground "
        "was learnt from, with other cells hidden: the table above, not this picture, tells how "
        "well it does on new ground. What it gets wrong, such as sharp contacts and single high "
        "samples, does not follow from what lies around it.",
    )


def _colours_picture(shown: PretrainingShown, deposits: gpd.GeoDataFrame) -> Any:
    return picture(
        as_png,
        false_colour_map(shown.colours, deposits),
        "The area in the false colours of the network",
        "Like colours mean like ground to the network; no label was used, and the known deposits "
        "are drawn for comparison only. Red, green and blue are the first three principal "
        "components of what it makes of each cell and its surroundings; a colour in itself means "
        "nothing, and another pretraining gives other colours. Compare it with the geological map: "
        "contacts that both show are in the evidence. In a GIS open embedding.tif; "
        "embedding.zarr holds all components.",
    )
