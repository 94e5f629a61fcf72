"""Maps of the report: scores as shares of area, deposits, targets, each with what a map needs.

No text of the user's enters a picture (a font may lack its letters): names stand in the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gossan.grid import Grid
from gossan.report.shares import (
    ANOMALY_AREAS,
    MAP_AREAS,
    agreement_classes,
    agreement_names,
    area_classes,
    area_thresholds,
    thin,
    thin_by,
)
from gossan.report.sheet import NO_DATA, PEAK, Panels, Sheet, northward_stretch
from gossan.report.styles import APPLICABILITY_SHARES
from gossan.report.theme import (
    AGREED_COLOURS,
    DIFFERING_COLOURS,
    INK,
    SPREAD_COLOURS,
    agreement_colours,
    class_colours,
    group_colours,
    new_figure,
    themed,
)

SCORE_TITLE = "Score, by share of area"
FOUND, NEAR, MISSED, UNTESTED = "found", "near", "missed", "untested"
OUTCOMES = {
    FOUND: "held out, found in the top 5 %",
    NEAR: "held out, found in the top 10 %",
    MISSED: "held out, missed",
    UNTESTED: "known, not held out",
}
"""What became of a deposit that the method was not shown, by how high its ground ranked."""

# Told apart by shape and filling, so that grey print and colour-blind eyes lose nothing.
SYMBOLS: dict[str, dict[str, Any]] = {
    FOUND: {"marker": "o", "s": 34, "facecolor": INK, "edgecolor": "white", "linewidth": 0.9},
    NEAR: {"marker": "D", "s": 28, "facecolor": "white", "edgecolor": INK, "linewidth": 1.1},
    MISSED: {"marker": "X", "s": 46, "facecolor": "white", "edgecolor": INK, "linewidth": 1.0},
    UNTESTED: {"marker": "s", "s": 13, "facecolor": "#9a928a", "edgecolor": INK, "linewidth": 0.7},
}
KNOWN: dict[str, Any] = {**SYMBOLS[UNTESTED], "facecolor": "white", "s": 18}
"""A known deposit on ground of any darkness."""

_HIDDEN = {"marker": "*", "s": 80, "facecolor": "white", "edgecolor": INK, "linewidth": 0.9}
_TARGETS_NAMED, _TARGETS_ON_PANELS = 40, 10
_REST = "#f6f1e8"


def outcomes(ranks: npt.ArrayLike) -> list[str]:
    """Read held-out percentile ranks as found in the top 5 %, in the top 10 %, missed, untested.

    Examples
    --------
    >>> outcomes([0.99, 0.92, 0.4, float("nan")])
    ['found', 'near', 'missed', 'untested']
    """
    ranks = np.asarray(ranks, dtype=float) + 1e-12  # as capture rounds
    met = [np.isnan(ranks), ranks >= 0.95, ranks >= 0.90]
    return [str(kind) for kind in np.select(met, [UNTESTED, FOUND, NEAR], default=MISSED)]


def score_map(
    score: xr.DataArray,
    deposits: gpd.GeoDataFrame | None = None,
    *,
    areas: Sequence[float] = MAP_AREAS,
    hidden: gpd.GeoDataFrame | None = None,
    width: float = 9.0,
) -> Figure:
    """Map the score as classes of area: the top 1 %, 1–2 %, … of all observed cells.

    Parameters
    ----------
    score : xarray.DataArray
        ``(y, x)`` with a CRS, NaN where missing.
    deposits : geopandas.GeoDataFrame, optional
        Points with a ``rank`` column, drawn by their outcome when held out.
    areas : sequence of float
        Shares of the area that part the classes.
    hidden : geopandas.GeoDataFrame, optional
        Deposits known to exist but withheld from the whole study (a synthetic district's truth).
    width : float, default 9
        Inches across.
    """
    with themed():
        sheet = Sheet.of(score, width)
        colours = class_colours(len(areas) + 1)[::-1]  # the top class darkest
        sheet.draw_areas(score, areas, colours)
        sheet.legend_areas(SCORE_TITLE, areas, colours)
        _draw_deposits(sheet, deposits)
        if hidden is not None and len(hidden):
            sheet.points(hidden, _HIDDEN)
            sheet.legend_symbols("Truth", [(_HIDDEN, "deposit not yet found")])
        return sheet.finish()


def anomaly_map(score: xr.DataArray, *, width: float = 9.0) -> Figure:
    """Map the anomaly classes: the top 5 %, 5–15 % and 15–30 % of the area."""
    return score_map(score, areas=ANOMALY_AREAS, width=width)


def predicted_maps(
    score: xr.DataArray, unlike: xr.DataArray, targets: gpd.GeoDataFrame, *, width: float = 9.0
) -> Figure:
    """Map the score of a model from elsewhere, beside where it has seen nothing like the ground.

    Parameters
    ----------
    score : xarray.DataArray
        ``(y, x)`` with a CRS.
    unlike : xarray.DataArray
        ``(y, x)``, from :func:`gossan.applicability.applicability`.
    targets : geopandas.GeoDataFrame
        From :func:`gossan.targets.find_targets`, best first; the first ten are shown on both maps.
    width : float, default 9
        Inches across.
    """
    colours = class_colours(len(ANOMALY_AREAS) + 1)[::-1]
    shades = agreement_colours(len(APPLICABILITY_SHARES) + 1)
    best = targets[:_TARGETS_ON_PANELS]
    with themed():
        panels = Panels.of(score, 2, width)
        first, second = panels.maps
        first.draw_areas(score, ANOMALY_AREAS, colours)
        values = thin(unlike.to_numpy(), keep="max", limit=second.limit)
        second.draw(
            np.where(np.isfinite(values), np.digitize(values, APPLICABILITY_SHARES), np.nan),
            cmap=ListedColormap(shades),
            norm=BoundaryNorm(np.arange(len(shades) + 1) - 0.5, len(shades)),
        )
        first.axes.set_title("Score", loc="left", pad=4)
        second.axes.set_title("Unlike what the model saw", loc="left", pad=4)
        for sheet in panels.maps:
            sheet.name_peaks(best, [str(rank) for rank in best["rank"]])
        missing, first.missing = first.missing or second.missing, False
        first.legend_areas(SCORE_TITLE, ANOMALY_AREAS, colours)
        first.missing = missing
        if len(best):
            first.legend_symbols(f"The best {len(best)}: rank", [(PEAK, "peak of a target")])
        shares = [f"{100 * share:.0f} %" for share in APPLICABILITY_SHARES]
        names = [f"below {shares[0]}", f"{shares[0]} or more", f"{shares[1]} or more"]
        names.append(f"{shares[2]}: a guess")
        first.legend_classes("Unlike, by what was seen", list(zip(shades, names, strict=True)))
        return panels.finish()


def anomaly_maps(
    scores: Mapping[str, xr.DataArray], deposits: gpd.GeoDataFrame, *, width: float = 9.0
) -> Figure:
    """Map the anomaly classes of several scores of one area side by side, each under its title.

    Parameters
    ----------
    scores : mapping of str to xarray.DataArray
        Title of each panel → ``(y, x)`` with a CRS, NaN where missing; all on one grid.
    deposits : geopandas.GeoDataFrame
        Known deposits in the maps' CRS.
    width : float, default 9
        Inches across.
    """
    colours, known = class_colours(len(ANOMALY_AREAS) + 1)[::-1], {**KNOWN, "s": 8}
    with themed():
        panels = Panels.of(next(iter(scores.values())), len(scores), width)
        for sheet, (title, score) in zip(panels.maps, scores.items(), strict=True):
            sheet.draw_areas(score, ANOMALY_AREAS, colours)
            sheet.points(deposits, known)
            sheet.axes.set_title(title, loc="left", pad=4, parse_math=False)
        first = panels.maps[0]
        first.missing = any(sheet.missing for sheet in panels.maps)
        first.legend_areas(SCORE_TITLE, ANOMALY_AREAS, colours)
        first.legend_symbols("Deposits", [(known, "known")])
        return panels.finish()


def spread_map(spread: xr.DataArray, *, width: float = 9.0) -> Figure:
    """Map the ensemble's spread, from its 2nd to its 98th percentile."""
    with themed():
        sheet = Sheet.of(spread, width)
        values = np.asarray(spread)
        low, high = middle_range(values)
        sheet.draw(thin(values, keep="mean"), cmap=SPREAD_COLOURS, vmin=low, vmax=high)
        sheet.legend_ramp("Spread of the score", SPREAD_COLOURS, low, high)
        return sheet.finish()


def risk_return_map(
    score: xr.DataArray,
    spread: xr.DataArray,
    deposits: gpd.GeoDataFrame | None = None,
    *,
    width: float = 9.0,
) -> Figure:
    """Map return against risk: the anomaly classes, each parted by whether the ensemble agrees.

    Ground on which it agrees has a spread below the median of the anomaly classes together.

    Parameters
    ----------
    score, spread : xarray.DataArray
        ``(y, x)`` on one grid; ground where either is missing is shown as missing.
    deposits : geopandas.GeoDataFrame, optional
    width : float, default 9
        Inches across.
    """
    with themed():
        sheet = Sheet.of(score, width)
        values, risk = np.asarray(score), np.asarray(spread)
        classes = risk_classes(values, risk)
        pairs = list(zip(AGREED_COLOURS, DIFFERING_COLOURS, strict=True))
        colours = [colour for pair in pairs for colour in pair] + [_REST]
        sheet.draw(
            thin_by(classes, np.where(np.isnan(classes), np.nan, values)),
            cmap=ListedColormap(colours),
            norm=BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours)),
        )
        shares = [f"{100 * low:g}–{100 * high:g} %" for low, high in pairwise(ANOMALY_AREAS)]
        names = [f"top {100 * ANOMALY_AREAS[0]:g} %", *shares]
        rows = list(zip(pairs, names, strict=True))
        heads = ["models\nagree", "models\ndiffer"]
        sheet.legend_pairs("Score and agreement", heads, rows, (_REST, "rest of the area"))
        _draw_known(sheet, deposits, KNOWN)
        return sheet.finish()


def risk_classes(score: npt.ArrayLike, spread: npt.ArrayLike) -> npt.NDArray[Any]:
    """Class of each cell by score and spread: 0 top and agreed, 1 top and not, 2 next and agreed …

    Returns
    -------
    array
        Even where the spread is at most its median over the anomaly classes, odd above it; twice
        the number of anomaly classes on the rest of the area; NaN where either is missing.

    Examples
    --------
    >>> risk_classes(np.arange(40.0), np.tile([0.1, 0.2], 20))[-8:]
    array([4., 5., 2., 3., 2., 3., 0., 1.])
    """
    score, spread = np.asarray(score), np.asarray(spread)
    missing = np.isnan(score) | np.isnan(spread)
    areas = area_classes(score, area_thresholds(score, ANOMALY_AREAS), ANOMALY_AREAS)
    anomalous = ~missing & (areas < len(ANOMALY_AREAS))
    middle = np.median(spread[anomalous]) if anomalous.any() else 0.0
    classes = 2 * areas + (anomalous & (spread > middle))
    return np.where(missing, np.nan, classes)


def consensus_map(
    consensus: xr.DataArray, deposits: gpd.GeoDataFrame | None = None, *, width: float = 9.0
) -> Figure:
    """Map the consensus of several workflows as classes of area.

    Parameters
    ----------
    consensus : xarray.DataArray
        ``(y, x)`` mean percentile rank over the workflows, NaN where missing.
    deposits : geopandas.GeoDataFrame, optional
    width : float, default 9
        Inches across.
    """
    with themed():
        sheet = Sheet.of(consensus, width)
        colours = class_colours(len(MAP_AREAS) + 1)[::-1]
        sheet.draw_areas(consensus, MAP_AREAS, colours)
        sheet.legend_areas("Mean rank, by share of area", MAP_AREAS, colours)
        _draw_known(sheet, deposits, KNOWN)
        return sheet.finish()


def agreement_map(
    agreement: xr.DataArray, deposits: gpd.GeoDataFrame | None = None, *, width: float = 9.0
) -> Figure:
    """Map the share of workflows in whose top 5 % a cell lies.

    Parameters
    ----------
    agreement : xarray.DataArray
        ``(y, x)`` in [0, 1], NaN where missing.
    deposits : geopandas.GeoDataFrame, optional
    width : float, default 9
        Inches across.
    """
    with themed():
        sheet = Sheet.of(agreement, width)
        names = agreement_names()
        colours = agreement_colours(len(names))
        sheet.draw(
            agreement_classes(thin(np.asarray(agreement), keep="max")),
            cmap=ListedColormap(colours),
            norm=BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours)),
        )
        classes = list(zip(reversed(colours), reversed(names), strict=True))
        sheet.legend_classes("In the top 5 % of", classes)
        _draw_known(sheet, deposits, KNOWN)
        return sheet.finish()


def targets_map(
    score: xr.DataArray,
    targets: gpd.GeoDataFrame,
    deposits: gpd.GeoDataFrame | None = None,
    *,
    letters: Sequence[str] = (),
    width: float = 9.0,
) -> Figure:
    """Map target outlines, and their ranks at their peaks, over the anomaly classes.

    Ranks are moved so that none covers another. The legend names those for which there is no room.

    Parameters
    ----------
    score : xarray.DataArray
    targets : geopandas.GeoDataFrame
        Polygons with ``rank`` and the ``easting`` and ``northing`` of the peak, without which the
        rank stands somewhere within; the first 40 are numbered.
    deposits : geopandas.GeoDataFrame, optional
    letters : sequence of str
        Group letter of each target, which follows its rank and chooses its outline's colour.
    width : float, default 9
    """
    with themed():
        sheet = Sheet.of(score, width)
        pale = ["#f1ab71", "#f7d3a8", "#fbe9d3", "#ffffff"]  # so that outlines stand out
        sheet.draw_areas(score, ANOMALY_AREAS, pale)
        sheet.legend_areas(SCORE_TITLE, ANOMALY_AREAS, pale)
        _draw_known(sheet, deposits, SYMBOLS[UNTESTED])
        _draw_targets(sheet, targets, list(letters))
        return sheet.finish()


def thumbnail(layer: xr.DataArray, deposits: gpd.GeoDataFrame | None = None) -> Figure:
    """Draw one evidence layer small, from its 2nd to its 98th percentile, without furniture."""
    with themed():
        grid = Grid.from_dataarray(layer)
        west, south, east, north = grid.bounds
        width = 2.3
        height = width * min(2.0, (north - south) / (east - west) * northward_stretch(grid))
        figure = new_figure(width, height)
        axes = figure.add_axes((0, 0, 1, 1))
        values = thin(np.asarray(layer), keep="mean", limit=300)
        low, high = middle_range(values)
        axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, zorder=0, **NO_DATA))
        axes.imshow(
            values,
            extent=(west, east, south, north),
            cmap=SPREAD_COLOURS,
            vmin=low,
            vmax=high,
            aspect="auto",
            interpolation="nearest",
        )
        if deposits is not None and len(deposits):
            east_of, north_of = shapely.get_coordinates(deposits.geometry.centroid).T
            axes.scatter(east_of, north_of, s=9, facecolor="white", edgecolor=INK, linewidth=0.5)
        axes.set(xlim=(west, east), ylim=(south, north))
        axes.set_axis_off()
        return figure


def middle_range(values: npt.ArrayLike) -> tuple[float, float]:
    """Range to stretch colours over, robust to outliers: the 2nd to the 98th percentile.

    Examples
    --------
    >>> middle_range(np.arange(101.0)), middle_range([np.nan])
    ((2.0, 98.0), (0.0, 1.0))
    """
    known = np.asarray(values)[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = (float(limit) for limit in np.percentile(known, [2, 98]))
    return low, high if high > low else low + max(abs(low), 1.0) * 1e-3


def _draw_deposits(sheet: Sheet, deposits: gpd.GeoDataFrame | None) -> None:
    if deposits is None or not len(deposits):
        return
    outcome = np.array(outcomes(deposits["rank"]))
    shown = [kind for kind in OUTCOMES if (outcome == kind).any()]
    for kind in reversed(shown):  # the found on top
        sheet.points(deposits[outcome == kind], SYMBOLS[kind], among=len(deposits))
    names = {kind: OUTCOMES[kind].removeprefix("held out, ") for kind in shown}
    sheet.legend_symbols(
        "Deposits, when held out",
        [(SYMBOLS[kind], f"{names[kind]} ({(outcome == kind).sum()})") for kind in shown],
    )


def _draw_known(sheet: Sheet, deposits: gpd.GeoDataFrame | None, symbol: dict[str, Any]) -> None:
    if deposits is not None and len(deposits):
        sheet.points(deposits, symbol)
        sheet.legend_symbols("Deposits", [(symbol, "known deposit")])


def _draw_targets(sheet: Sheet, targets: gpd.GeoDataFrame, letters: list[str]) -> None:
    colour_of = group_colours(letters)
    letters = letters or [""] * len(targets)
    for shape, letter in zip(targets.geometry, letters, strict=True):
        sheet.outline(shape, colour_of.get(letter, INK))
    peaked = {"easting", "northing"} <= set(targets.columns)
    if not peaked:
        inside = targets.geometry.representative_point()
        targets = targets.assign(easting=inside.x, northing=inside.y)
    names = [f"{rank}{letter}" for rank, letter in zip(targets["rank"], letters, strict=True)]
    unnamed = sheet.name_peaks(targets[:_TARGETS_NAMED], names[:_TARGETS_NAMED])
    if colour_of:
        sheet.legend_lines(
            "Targets: rank and group",
            [(colour, f"group {letter}") for letter, colour in colour_of.items()],
        )
    told = "peak of a target" if peaked else "a target"
    sheet.legend_symbols("" if colour_of else "Targets: rank", [(PEAK, told)])
    if unnamed:
        sheet.note(f"No room on the map to name {', '.join(unnamed)}.")
    if len(targets) > _TARGETS_NAMED:
        sheet.note(f"Only the first {_TARGETS_NAMED} are named.")
