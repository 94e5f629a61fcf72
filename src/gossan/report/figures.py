"""Charts of the report: what the held-out deposits say, and how the map's scores are spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MultipleLocator, NullLocator

from gossan.evaluate import (
    ConcentrationArea,
    capture_from_ranks,
    held_out_summary,
)
from gossan.report.lettering import POINTS, extent, label_offsets, spread_out
from gossan.report.maps import OUTCOMES, SYMBOLS, outcomes
from gossan.report.theme import INK, MUTED, RUST, SLATE, group_colours, new_figure, themed

FloatArray = npt.NDArray[np.floating[Any]]

_CURVE_AREAS = np.unique(np.concatenate([np.linspace(0, 0.2, 101), np.linspace(0.2, 1, 81)]))
_TARGETS_NAMED = 10
_NAME_SIZE = 7.5
"""Points, of a target's name beside its dot."""
_FAR_APART = 10
"""Times the observed share, from which a diagonal would press all points on the floor."""
# Points: letters of a break of the C-A plot, what stays free between two, the width of its frame.
_BREAK_SIZE, _BREAK_GAP, _FRAME_WIDTH = 7.5, 6.0, 220.0
_HEADLINE_AREAS = (0.01, 0.02, 0.05, 0.10)
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.3g}\u202f%")

ROLE_SYMBOLS: dict[str, dict[str, Any]] = {
    "workflow": {"marker": "o", "s": 30, "facecolor": RUST, "edgecolor": "white"},
    "control": {"marker": "s", "s": 26, "facecolor": "white", "edgecolor": INK},
    "consensus": {"marker": "D", "s": 30, "facecolor": SLATE, "edgecolor": "white"},
}


def capture_curve(ranks: npt.ArrayLike, clusters: npt.ArrayLike) -> Figure:
    """Prediction-rate curve: share of held-out deposits in the best share of the area.

    Left the whole area, right its best fifth. The band is the 95 % deposit-cluster bootstrap
    interval of :func:`gossan.evaluate.held_out_summary`, drawn where there are clusters enough.

    Parameters
    ----------
    ranks : array_like of shape (n,)
        Held-out percentile ranks.
    clusters : array_like of shape (n,)
        Fold of each deposit.
    """
    with themed():
        figure = new_figure(8.6, 3.5)
        whole, best = figure.subplots(1, 2)
        band = _capture_band(ranks, clusters)
        share = np.asarray(capture_from_ranks(ranks, _CURVE_AREAS))
        at = np.asarray(capture_from_ranks(ranks, np.asarray(_HEADLINE_AREAS)))
        for axes, limit in ((whole, 1.0), (best, 0.2)):
            if band is not None:
                axes.fill_between(
                    _CURVE_AREAS, *band, color=RUST, alpha=0.18, linewidth=0, label="95 % interval"
                )
            axes.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), label="chance")
            axes.plot(_CURVE_AREAS, share, color=RUST, linewidth=1.8, label="held-out deposits")
            axes.plot(_HEADLINE_AREAS, at, "o", color=RUST, markeredgecolor="white", clip_on=False)
            axes.set(xlim=(0, limit), ylim=(0, 1.02), xlabel="best share of the area")
            _percent(axes)
        whole.set_ylabel("held-out deposits inside")
        whole.legend(loc="lower right")
        best.xaxis.set_major_locator(MultipleLocator(0.05))
        for area, captured in zip(_HEADLINE_AREAS[2:], at[2:], strict=True):
            best.annotate(
                f"{100 * captured:.0f} %",
                (area, captured),
                xytext=(7, -9),
                textcoords="offset points",
                weight="bold",
                color=RUST,
                va="center",
            )
        return _laid_out(figure)


def rank_strip(ranks: npt.ArrayLike, clusters: npt.ArrayLike) -> Figure:
    """Where each held-out deposit ranked, fold by fold, by the symbols of the map."""
    with themed():
        ranks, clusters = np.asarray(ranks, dtype=float), np.asarray(clusters)
        folds = np.unique(clusters)
        figure = new_figure(8.6, 1.15 + 0.24 * min(len(folds), 30))
        axes = figure.subplots()
        axes.axvspan(0.95, 1.0, color=RUST, alpha=0.16, linewidth=0)
        axes.axvspan(0.90, 0.95, color=RUST, alpha=0.07, linewidth=0)
        axes.axvline(0.5, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.8)
        row = np.searchsorted(folds, clusters)
        kinds = np.array(outcomes(ranks))
        for kind, name in OUTCOMES.items():
            of_kind = kinds == kind
            if of_kind.any() and np.isfinite(ranks[of_kind]).any():
                axes.scatter(
                    ranks[of_kind],
                    row[of_kind],
                    label=name.removeprefix("held out, "),
                    clip_on=False,
                    zorder=3,
                    **SYMBOLS[kind],
                )
        few = len(folds) <= 30
        axes.yaxis.set_major_locator(FixedLocator(range(len(folds))) if few else NullLocator())
        axes.set_yticklabels([f"fold {n + 1}" for n in range(len(folds))] if few else [])
        axes.set(xlim=(0, 1), ylim=(len(folds) - 0.4, -0.6))
        axes.set_xlabel("share of the background scoring below the deposit")
        axes.xaxis.set_major_formatter(PERCENT)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
        return _laid_out(figure)


def prediction_area_plot(ranks: npt.ArrayLike, crossing: Mapping[str, float]) -> Figure:
    """P-A plot: deposits and area above each level of the map; the higher they cross, the better.

    Parameters
    ----------
    ranks : array_like of shape (n,)
        Held-out percentile ranks.
    crossing : mapping
        ``prediction_rate``, ``area`` and ``normalised_density`` at the crossing, as in
        ``evaluation.json``.
    """
    with themed():
        figure = new_figure(4.2, 3.4)
        axes = figure.subplots()
        area = np.linspace(0, 1, 501)
        rate, at = crossing["prediction_rate"], 1 - crossing["area"]
        axes.plot(1 - area, capture_from_ranks(ranks, area), color=RUST, linewidth=1.8)
        axes.plot([0, 1], [0, 1], color=SLATE, linewidth=1.5, linestyle=(0, (6, 2)))
        axes.plot([at, at, 0], [0, rate, rate], color=MUTED, linewidth=0.8, linestyle=":")
        axes.plot([at], [rate], "o", color=INK, markersize=6, zorder=4)
        axes.annotate(
            f"$P_r$ = {rate:.0%}, $O_a$ = {crossing['area']:.0%}\n"
            f"$N_d$ = {crossing['normalised_density']:.3g}",
            (0.42, 0.05),
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2},
        )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share of the area scoring below the level")
        axes.set_ylabel("held-out deposits above it", color=RUST)
        _percent(axes)
        right = axes.twinx()
        right.set(ylim=(1, -0.02))
        right.set_ylabel("area above it (downward)", color=SLATE)
        right.yaxis.set_major_formatter(PERCENT)
        right.grid(False)
        right.spines["right"].set_visible(True)
        return _laid_out(figure)


def concentration_area_plot(curve: ConcentrationArea) -> Figure:
    """C-A plot: log area against log score, with the breaks that part its straight pieces."""
    with themed():
        figure = new_figure(4.2, 3.4)
        axes = figure.subplots()
        axes.plot(curve.thresholds, curve.areas, ".", color=MUTED, markersize=3.5, zorder=2)
        edges = np.concatenate([[0.0], curve.breaks, [np.inf]])
        for low, high, slope in zip(edges, edges[1:], curve.slopes, strict=False):
            inside = (curve.thresholds >= low) & (curve.thresholds <= high)
            x, y = np.log(curve.thresholds[inside]), np.log(curve.areas[inside])
            if len(x):
                axes.plot(
                    np.exp(x), np.exp(y.mean() + slope * (x - x.mean())), color=RUST, linewidth=1.5
                )
        for score in curve.breaks:
            axes.axvline(score, color=SLATE, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set(xscale="log", yscale="log", xlabel="score", ylabel="share of the area above it")
        # The lowest hundredth of the area would stretch the axis over decades of next to nothing.
        lowest = curve.thresholds[np.searchsorted(-curve.areas, -0.99)]
        axes.set_xlim(0.9 * lowest, 1.15 * curve.thresholds[-1])
        axes.minorticks_off()
        _name_breaks(axes, curve.breaks)
        return _laid_out(figure)


def reliability_plot(reliability: pd.DataFrame) -> Figure:
    """Predicted probability against observed share of deposits, in bins of equal mass.

    Where scores are many times the observed share each axis has its own length, or all points
    would lie on the floor; the diagonal is then left out and the factor is said, if any deposit
    was observed.

    Parameters
    ----------
    reliability : pandas.DataFrame
        ``predicted``, ``observed`` and ``cells``, as :func:`gossan.evaluate.reliability` gives.
    """
    predicted, observed = reliability["predicted"], reliability["observed"]
    right, top = (1.05 * float(max(values.max(), 1e-6)) for values in (predicted, observed))
    means = [
        float(np.average(values, weights=reliability["cells"])) for values in (predicted, observed)
    ]
    apart = right > _FAR_APART * top
    with themed():
        figure = new_figure(4.2, 3.4)
        axes = figure.subplots()
        axes.plot(predicted, observed, "o-", color=RUST, label="observed")
        if apart:
            axes.set(xlim=(0, right), ylim=(0, 1.4 * top))
            if means[1] > 0:
                told = f"on average {means[0] / means[1]:,.0f} times\nthe observed share"
                axes.plot([], [], " ", label=f"predicted: {told}")
        else:
            right = top = max(right, top)
            axes.plot([0, top], [0, top], color=MUTED, linestyle=(0, (4, 3)), label="as predicted")
            axes.set(xlim=(0, top), ylim=(0, top))
        axes.set(xlabel="predicted probability", ylabel="observed share of deposits")
        axes.legend(loc="upper left")
        return _laid_out(figure)


def risk_return(targets: gpd.GeoDataFrame, letters: Sequence[str] = ()) -> Figure:
    """Targets by score and spread: what is promising and sure lies at the lower right.

    Parameters
    ----------
    targets : geopandas.GeoDataFrame
        With ``rank``, ``score`` and ``spread``; the first ten are numbered.
    letters : sequence of str
        Group letter of each target, as on the map.
    """
    with themed():
        figure = new_figure(6.0, 3.5)
        axes = figure.subplots()
        colour_of = group_colours(letters)
        colours = [colour_of[letter] for letter in letters]
        axes.scatter(
            targets["score"],
            targets["spread"],
            s=34,
            facecolor=colours or INK,
            edgecolor="white",
            linewidth=0.7,
            zorder=3,
        )
        axes.margins(0.08)
        axes.set(xlabel="score at the target's peak (return)", ylabel="spread (risk)")
        _laid_out(figure)
        places = targets[["score", "spread"]].to_numpy(dtype=float)
        letters = letters or [""] * len(targets)
        names = [f"{rank}{letter}" for rank, letter in zip(targets["rank"], letters, strict=True)]
        _name_places(axes, places, names[:_TARGETS_NAMED])
        return figure


def workflow_plot(table: pd.DataFrame, *, reference: str) -> Figure:
    """Rank workflows by AUC and by deposits in the best 5 % of the area, with 95 % intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows as they stand from the top down: ``workflow``, ``role`` (``workflow``, ``control`` or
        ``consensus``), ``auc_background`` and ``capture_0.05``, each also ``_low`` and ``_high``
        (of the AUC ``auc_low`` and ``auc_high``).
    reference : str
        The workflow whose figures run down the page as a line.
    """
    with themed():
        figure = new_figure(9.0, 1.1 + 0.2 * len(table))
        auc, capture = figure.subplots(1, 2, sharey=True)
        rows = np.arange(len(table))
        panels = (
            (auc, ("auc_background", "auc_low", "auc_high"), 0.5),
            (capture, ("capture_0.05", "capture_0.05_low", "capture_0.05_high"), 0.05),
        )
        for axes, (middle, low, high), chance in panels:
            axes.axvline(chance, color=MUTED, linestyle=(0, (4, 3)), linewidth=1, label="chance")
            for value in table.loc[table["workflow"] == reference, middle].head(1):
                axes.axvline(value, color=INK, linestyle=":", linewidth=1, label="the reference")
            axes.hlines(rows, table[low], table[high], color=MUTED, linewidth=1.3)
            for role, symbol in ROLE_SYMBOLS.items():
                of_role = (table["role"] == role).to_numpy()
                if of_role.any():
                    axes.scatter(
                        table.loc[of_role, middle], rows[of_role], label=role, zorder=3, **symbol
                    )
        auc.set(xlabel="AUC against background")
        capture.set(xlabel="held-out deposits in the best 5 % of the area")
        capture.xaxis.set_major_formatter(PERCENT)
        auc.set_yticks(rows, [shortened(name) for name in table["workflow"]])
        auc.set_ylim(len(table) - 0.4, -0.6)
        for label, name in zip(auc.get_yticklabels(), table["workflow"], strict=True):
            label.set_fontweight("bold" if name == reference else "normal")
        _laid_out(figure)
        figure.legend(*auc.get_legend_handles_labels(), loc="upper right", ncols=5)
        figure.subplots_adjust(top=1 - 0.35 / figure.get_figheight(), wspace=0.06)
        return figure


def shortened(name: str, longest: int = 46) -> str:
    """Cut a name that a chart has no room for.

    Examples
    --------
    >>> shortened("random forest", longest=8), shortened("svm")
    ('random …', 'svm')
    """
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _capture_band(
    ranks: npt.ArrayLike, clusters: npt.ArrayLike
) -> tuple[FloatArray, FloatArray] | None:
    """Lower and upper bound of capture at each area of the curve; None with a single cluster."""
    if len(np.unique(np.asarray(clusters))) < 2:
        return None
    summary = held_out_summary(ranks, clusters, areas=_CURVE_AREAS.round(4).tolist())
    low, high = np.array(list(summary["ci95"]["capture"].values())).T
    return low, high


def _name_places(axes: Axes, places: FloatArray, names: Sequence[str]) -> None:
    """Name the first places, on axes laid out for good, so that no name covers another or a dot."""
    points = POINTS / axes.figure.dpi
    frame = axes.get_window_extent()
    on_paper = (axes.transData.transform(places) - (frame.x0, frame.y0)) * points
    named = len(names)
    offsets = label_offsets(
        on_paper[:named],
        [extent(name, _NAME_SIZE) for name in names],
        (frame.width * points, frame.height * points),
        clear=on_paper[named:],
    )
    for name, place, offset in zip(names, places, offsets, strict=False):
        if np.isfinite(offset).all():
            axes.annotate(
                name,
                tuple(place),
                xytext=tuple(offset),
                textcoords="offset points",
                fontsize=_NAME_SIZE,
                ha="center",
                va="center",
            )


def _name_breaks(axes: Axes, breaks: FloatArray) -> None:
    """Write each break above the frame, clear of its neighbours, with a line to where it lies."""
    ends = np.log(axes.get_xlim())
    shares = (np.log(breaks) - ends[0]) / (ends[1] - ends[0])
    words = [f"{score:.3g}" for score in breaks]
    width = max((extent(word, _BREAK_SIZE)[0] for word in words), default=0.0) + _BREAK_GAP
    middles = spread_out(shares, width / _FRAME_WIDTH)
    for word, share, middle in zip(words, shares, middles, strict=True):
        axes.annotate(
            word,
            (share, 1.0),
            (middle, 1.06),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=_BREAK_SIZE,
            color=SLATE,
            ha="center",
            va="bottom",
            arrowprops={
                "arrowstyle": "-",
                "color": SLATE,
                "linewidth": 0.6,
                "relpos": (0.5, 0),
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )


def _percent(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)


def _laid_out(figure: Figure) -> Figure:
    figure.tight_layout()
    return figure
