"""Pictures of the recursive annotation of negatives: what each round set aside, when it ended."""

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
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from gossan.annotate.decisions import ACCEPTED, DEPOSIT, DOUBTFUL, NEGATIVE, REJECTED
from gossan.report.figures import PERCENT
from gossan.report.maps import KNOWN, SCORE_TITLE
from gossan.report.shares import MAP_AREAS, thin, thinning
from gossan.report.sheet import Panels, Sheet
from gossan.report.theme import INK, MUTED, RUST, SLATE, class_colours, new_figure, themed

PANELS = 12
"""Most rounds shown side by side."""

STOPPING_SHARE = 0.01
"""Share of the annotated set below whose change the rounds end."""

_TINTS = {
    NEGATIVE: ("#c3ccd1", "may be drawn as barren"),
    DOUBTFUL: (SLATE, "doubtful, set aside"),
}
# A geologist decides on few cells: a symbol is seen where a cell would not be.
_BY_GEOLOGIST: dict[int, tuple[dict[str, Any], str]] = {
    ACCEPTED: ({"marker": "o", "s": 16, "facecolor": "white", "edgecolor": INK}, "barren, agreed"),
    REJECTED: ({"marker": "X", "s": 26, "facecolor": "white", "edgecolor": INK}, "not barren"),
    DEPOSIT: ({"marker": "^", "s": 26, "facecolor": "white", "edgecolor": INK}, "a deposit"),
}
_SYMBOL_BLOCKS = 40
_SERIES: dict[str, dict[str, Any]] = {
    "n_negative": {"label": "may be drawn as barren", "color": MUTED, "marker": "o"},
    "n_doubtful": {"label": "doubtful, set aside", "color": SLATE, "marker": "s"},
    "changed": {"label": "changed in the round", "color": INK, "marker": "o"},
    "inner_auc": {"label": "AUC", "color": RUST, "marker": "o"},
    "inner_capture": {"label": "capture, mean of 1–10 %", "color": SLATE, "marker": "D"},
    "positives_below": {"label": "deposits scoring as barren", "color": INK, "marker": "v"},
}
_PANEL_SERIES = (
    ("n_negative", "n_doubtful"),
    ("changed",),
    ("inner_auc", "inner_capture", "positives_below"),
)


def round_maps(
    scores: xr.DataArray,
    decisions: xr.DataArray,
    deposits: gpd.GeoDataFrame,
    *,
    chosen: int,
    width: float = 9.0,
) -> Figure:
    """Map the rounds side by side: score, ground annotated as barren, ground set aside.

    Parameters
    ----------
    scores : xarray.DataArray
        ``(round, y, x)`` out-of-bag scores in [0, 1] with a CRS, NaN where missing. Rounds are
        named by the ``round`` coordinate, or counted from 0 where there is none.
    decisions : xarray.DataArray
        ``(round, y, x)`` int8: 0 left unlabelled, 1 annotated as barren, 2 doubtful and set aside;
        by a geologist 3 accepted as barren, 4 rejected as barren, 5 a deposit; 6 known deposit.
        On a thinned map a doubtful cell hides its neighbours; barren ground is where most is.
    deposits : geopandas.GeoDataFrame
        Known deposits in the maps' CRS.
    chosen : int
        Name of the round whose annotation is used; it is framed.
    width : float, default 9
        Inches across.

    Raises
    ------
    ValueError
        If the two arrays differ in shape, or no round is called ``chosen``.
    """
    if scores.shape != decisions.shape:
        raise ValueError(f"Scores {scores.shape} and decisions {decisions.shape} differ in shape.")
    names = _round_names(scores)
    shown = rounds_shown(names, chosen)
    colours = class_colours(len(MAP_AREAS) + 1)[::-1]
    with themed():
        panels = Panels.of(scores[0], len(shown), width)
        drawn: set[int] = set()
        for sheet, position in zip(panels.maps, shown, strict=True):
            sheet.draw_areas(scores[position], MAP_AREAS, colours)
            drawn |= _draw_decisions(sheet, np.asarray(decisions[position]))
            if len(deposits):
                sheet.points(deposits, {**KNOWN, "s": 10})
            _name(sheet.axes, names[position], names[position] == chosen)
        first = panels.maps[0]
        first.missing = any(sheet.missing for sheet in panels.maps)
        first.legend_areas(SCORE_TITLE, MAP_AREAS, colours)
        _legend(first, drawn, bool(len(deposits)))
        return panels.finish()


def convergence_plot(rounds: pd.DataFrame, *, chosen: int) -> Figure:
    """Plot how the annotation grows, settles, and what it does to the inner held-out figures.

    Parameters
    ----------
    rounds : pandas.DataFrame
        One row a round: ``round``; ``n_negative`` and ``n_doubtful`` cells; ``changed``, the share
        of the annotated set that changed; ``inner_auc`` and ``inner_capture``, of deposits held out
        inside the training fold (capture is the mean at 1, 2, 5 and 10 % of the area; may be NaN);
        ``positives_below``, the share of positives that score as negatives.
    chosen : int
        The round whose annotation is used.
    """
    with themed():
        figure = new_figure(7.6, 5.6)
        cells, changed, inner = figure.subplots(3, 1, sharex=True)
        _draw_rule(changed)
        for axes, names in zip((cells, changed, inner), _PANEL_SERIES, strict=True):
            for name in names:
                axes.plot(rounds["round"], rounds[name], markersize=5, **_SERIES[name])
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
            axes.axvline(chosen, color=INK, linewidth=1, linestyle=":")
        cells.annotate(
            f"chosen: round {chosen}",
            (chosen, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            weight="bold",
            ha="center",
        )
        cells.set(ylim=(0, None), ylabel="cells")
        changed.set_ylim(0, max(1.3, 1.3 * rounds["changed"].max()))  # a small set may double
        cells.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        inner.set(ylim=(-0.03, 1.03), ylabel="inside the\ntraining fold", xlabel="round")
        inner.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.align_ylabels()
        figure.tight_layout()
        return figure


def _draw_rule(axes: Axes) -> None:
    # Linear below the rule and logarithmic above: a settled set changes by nothing at all.
    axes.set_yscale("symlog", linthresh=STOPPING_SHARE, linscale=0.6)
    axes.axhline(
        STOPPING_SHARE,
        color=RUST,
        linestyle=(0, (4, 3)),
        linewidth=1.2,
        label=f"rounds end below {100 * STOPPING_SHARE:g} %",
    )
    axes.set(ylabel="share of the\nannotated set")
    axes.yaxis.set_major_locator(FixedLocator([0, STOPPING_SHARE, 0.1, 1]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PERCENT)


def rounds_shown(names: Sequence[int], chosen: int, limit: int = PANELS) -> list[int]:
    """Positions of the rounds worth a panel: first, last, chosen, and evenly spaced ones.

    Examples
    --------
    >>> rounds_shown(range(30), chosen=4, limit=6)
    [0, 4, 7, 14, 22, 29]
    """
    names = list(names)
    if chosen not in names:
        raise ValueError(f"No round is called {chosen}; the rounds are {names}.")
    position = names.index(chosen)
    for count in range(min(limit, len(names)), 0, -1):
        spaced = np.linspace(0, len(names) - 1, count).round().astype(int)
        shown = sorted({*spaced.tolist(), position})
        if len(shown) <= limit:
            return shown
    return [position]


def _round_names(scores: xr.DataArray) -> list[int]:
    if "round" in scores.coords:
        return [int(name) for name in scores["round"].values]
    return list(range(len(scores)))


def _draw_decisions(sheet: Sheet, decisions: npt.NDArray[Any]) -> set[int]:
    """Tint what the model annotated, mark what a geologist decided; the codes that show."""
    drawn = set()
    barren = thin(decisions == NEGATIVE, keep="mean", limit=sheet.limit) >= 0.5
    if barren.mean() > 0.5:  # nearly all ground is: what matters is what was set aside
        barren[:] = False
    doubtful = thin(decisions == DOUBTFUL, keep="max", limit=sheet.limit) > 0
    for where, code in ((barren & ~doubtful, NEGATIVE), (doubtful, DOUBTFUL)):
        if where.any():
            tint = np.where(where, 1.0, np.nan)
            sheet.draw(tint, cmap=ListedColormap([_TINTS[code][0]]), vmin=0, vmax=1)
            drawn.add(code)
    for code, (symbol, _) in _BY_GEOLOGIST.items():
        places = _places(sheet, decisions == code)
        if len(places):
            sheet.points(places, symbol)
            drawn.add(code)
    return drawn


def _places(sheet: Sheet, where: npt.NDArray[np.bool_]) -> gpd.GeoSeries:
    """Middles of the coarse blocks with a cell in ``where``, a few dozen blocks across."""
    rows, columns = np.nonzero(thin(where, keep="max", limit=_SYMBOL_BLOCKS))
    step = thinning(where.shape, _SYMBOL_BLOCKS)
    west, _, _, north = sheet.grid.bounds
    width, height = sheet.grid.cell_size
    # The last block of a row or column may reach over the edge.
    across = np.minimum((columns + 0.5) * step, where.shape[1])
    down = np.minimum((rows + 0.5) * step, where.shape[0])
    east, northing = west + width * across, north - height * down
    return gpd.GeoSeries(gpd.points_from_xy(east, northing), crs=sheet.grid.crs)


def _name(axes: Axes, name: int, chosen: bool) -> None:
    axes.set_title(f"round {name}", loc="left", pad=4)
    if chosen:
        axes.set_title(axes.get_title("left"), loc="left", pad=4, color=RUST, weight="bold")
        for side in axes.spines.values():
            side.set(color=RUST, linewidth=2.4)


def _legend(sheet: Sheet, codes: set[int], with_deposits: bool) -> None:
    tints = [pair for code, pair in _TINTS.items() if code in codes]
    missing, sheet.missing = sheet.missing, False  # listed with the score
    if tints:
        sheet.legend_classes("Annotation", tints)
    sheet.missing = missing
    symbols = [pair for code, pair in _BY_GEOLOGIST.items() if code in codes]
    if symbols:
        sheet.legend_symbols("A geologist says", symbols)
    if with_deposits:
        sheet.legend_symbols("Deposits", [(KNOWN, "known deposit")])
    sheet.legend_lines("Rounds", [(RUST, "the chosen round")])
