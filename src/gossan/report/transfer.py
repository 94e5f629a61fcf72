"""The chapter on selective transfer: sizes of patches, layers, and how far gates open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gossan.report.inputs import TransferShown
from gossan.report.page import picture
from gossan.report.tables import Column, Table, distance, frame_table
from gossan.report.theme import RUST, SLATE, as_svg, new_figure, themed

LAYERS_LISTED = 20
_MOVED = 0.02
"""How far from 1 the mean of some gates is where they select something."""
_FEW_PATCHES = 40
"""Half of the published 78, of which many share their deposits."""


def transfer_chapter(shown: TransferShown) -> dict[str, Any]:
    """What the template of the report fills the chapter with."""
    gates = None
    if len(shown.kernels):
        gates = picture(
            as_svg,
            gate_figure(shown.kernels),
            "How far the gates of each kernel are open",
            "Each dot is a convolution kernel, from the first, which meets the evidence, to the "
            "last; the mean of the sizes of its gates, over the networks. A gate of 1, where all "
            "start, lets the source's weight through as it is; 0 shuts it out; above 1 it counts "
            "for more than in the source. Whole kernels stay near 1, since batch normalisation "
            "undoes their size: single gates and layers tell more. What comes through is "
            "multiplied by the network's own kernel, which starts near 1. Kernels on the way past "
            "a block are drawn hollow.",
        )
    return {
        "source": shown.source,
        "sizes": _sizes(shown),
        "counts": _counts(shown),
        "layers": _layers(shown),
        "gates": gates,
        "table": layer_table(shown.layers, limit=LAYERS_LISTED),
        "left_out": max(0, len(shown.layers) - LAYERS_LISTED),
    }


def gate_figure(kernels: pd.DataFrame) -> Figure:
    """Plot the openness of each kernel, from the first to the last.

    Parameters
    ----------
    kernels : pandas.DataFrame
        ``kernel``, ``openness``.
    """
    past = kernels["kernel"].str.contains(".past.", regex=False).to_numpy()
    place = np.arange(1, len(kernels) + 1)
    openness = kernels["openness"].to_numpy(dtype=float)
    with themed():
        figure = new_figure(6.4, 2.6)
        axes = figure.subplots()
        axes.axhline(1.0, color=SLATE, linewidth=0.8, linestyle=(0, (5, 2)))
        axes.plot(place[~past], openness[~past], "o-", color=RUST, markersize=4.5, linewidth=1.0)
        axes.plot(place[past], openness[past], "o", color=RUST, markersize=4.5, fillstyle="none")
        low, high = min(openness.min(), 1.0), max(openness.max(), 1.0)
        room = max(0.15 * (high - low), 0.01)
        axes.set(xlabel="kernel", ylabel="mean size of its gates")
        axes.set_ylim(low - room, high + room)
        axes.set_xticks([1, *range(5, len(kernels) + 1, 5)])
        figure.tight_layout()
        return figure


def layer_table(layers: pd.DataFrame, *, limit: int) -> Table:
    """Lay out the layers, those that weigh most first.

    Examples
    --------
    >>> layers = pd.DataFrame(
    ...     {"layer": ["Cu", "W"], "weight": [1.02, -1.2], "openness": [0.98, np.nan]})
    >>> [[cell.text for cell in row] for row in layer_table(layers, limit=9).rows]
    [['W', '−1.200', 'its own', '–'], ['Cu', '1.020', 'the source', '0.980']]
    """
    taken = layers["openness"].notna()
    shown = layers.assign(kernels=np.where(taken, "the source", "its own"))
    order = np.argsort(-shown["weight"].abs().to_numpy(), kind="stable")
    columns = {
        "layer": Column("layer", "name"),
        "weight": Column("weight in the soft mask", "number", digits=3),
        "kernels": Column("first kernels from", "text"),
        "openness": Column("mean size of their gates", "number", digits=3),
    }
    return frame_table(shown.iloc[order].head(limit), columns)


def _sizes(shown: TransferShown) -> str:
    sizes = shown.sizes
    rows, columns = shown.shape
    window = sizes["window"]
    dilations = ", ".join(str(rate) for rate in sizes["dilations"])
    chosen = (
        "as the study file says"
        if "patch_window" in shown.given
        else "the published window of 256 goes with an area of 3,072 × 3,072 cells"
        if window == 256
        else "the published window of 256 goes with 3,072 × 3,072 cells, and one of a smaller area "
        "is a power of two near a sixth of its shorter side"
    )
    apart = (
        "as the study file says"
        if "patch_stride" in shown.given
        else "half a window, or less where patches would be few"
    )
    dropped = (
        f" Patches so small have no room for {shown.left_out} of the published scales, which were "
        "left out."
        if shown.left_out
        else ""
    )
    return (
        f"The area of {rows:,} × {columns:,} cells was cut into patches of {window} × {window} "
        f"cells{_on_the_ground(shown)} ({chosen}), {sizes['stride']} apart ({apart}). The networks "
        f"look at {sizes['crop']} × {sizes['crop']} cells of a patch, one at every scale: "
        f"dilations of {dilations}.{dropped} The map is the mean over patches "
        f"{sizes['map_stride']} cells apart, so nothing narrower than a patch stands out in it."
    )


def _on_the_ground(shown: TransferShown) -> str:
    """How wide a patch is: a source whose patches are of another width looked for other things."""
    return f", {distance(shown.sizes['window'] * shown.cell_size)} across"


def _counts(shown: TransferShown) -> str:
    counts = shown.counts
    positive = counts["positive"]
    few = (
        " That is few: whatever the figures say of the map, more deposits, a longer training or a "
        "method of cells may do better."
        if positive < _FEW_PATCHES
        else ""
    )
    return (
        f"They learnt from {counts['patches']:,} patches, of which {positive:,} hold a known "
        f"deposit, in {shown.epochs:,} epochs; {len(shown.sizes['dilations'])} networks with "
        f"{shown.width} channels at first.{few}"
    )


def _layers(shown: TransferShown) -> str:
    if not shown.source:
        return "Nothing was transferred: every kernel started at random."
    missing = [str(name) for name in shown.layers.loc[shown.layers["openness"].isna(), "layer"]]
    shared = len(shown.layers) - len(missing)
    text = (
        f"{shared} of {len(shown.layers)} layers have a layer of that name in the source and take "
        "its first kernels; every deeper kernel comes from the source."
    )
    if missing:
        some = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
        text += f" The source lacks {some}: there the first kernels are the networks' own."
    return text + _selected(shown)


def _selected(shown: TransferShown) -> str:
    """That gates which hardly moved select nothing, where none moved further."""
    openness = np.concatenate([shown.layers["openness"].dropna(), shown.kernels["openness"]])
    moved = float(np.abs(openness - 1.0).max(initial=0.0))
    if moved >= _MOVED:
        return ""
    return (
        f" On average over any layer or kernel the gates are within {moved:.3f} of the 1 at which "
        "all start: so far no layer was let through more than another. Train longer before reading "
        "anything into their sizes."
    )
