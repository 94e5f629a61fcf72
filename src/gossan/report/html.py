"""The self-contained HTML report: one file, no network, no scripts, fit to print."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import xarray as xr

from gossan.evaluate import concentration_area
from gossan.grid import Grid
from gossan.report import figures, maps, tables, words
from gossan.report.comparison import comparison_chapter
from gossan.report.ground import analogues_chapter, regions_chapter
from gossan.report.inputs import ReportInputs
from gossan.report.page import Picture, picture, render_page
from gossan.report.pretraining import pretraining_chapter
from gossan.report.shares import thinning
from gossan.report.sheet import crs_code
from gossan.report.theme import as_png, as_svg
from gossan.report.transfer import transfer_chapter

_TARGETS_LISTED = 50
_LAYERS_LISTED = 20
_DEPOSITS_OPEN = 40
_HALO = 2
"""Resolutions of the evidence within which a target may be a known deposit's halo."""


def render_report(inputs: ReportInputs) -> str:
    """Render the report of a run as one HTML document.

    The same inputs give the same bytes: pictures are inlined without dates, and nothing is asked
    of the network.

    Parameters
    ----------
    inputs : ReportInputs

    Returns
    -------
    str
        A complete HTML 5 document, UTF-8.

    Examples
    --------
    >>> import geopandas as gpd, numpy as np
    >>> grid = Grid.from_bounds((0, 0, 3000, 2000), 100, "EPSG:32650")
    >>> score = grid.to_dataarray(np.linspace(0, 1, 600, dtype="float32").reshape(20, 30))
    >>> places = gpd.points_from_xy([250, 950, 1450], [150, 250, 1250])
    >>> deposits = gpd.GeoDataFrame(
    ...     {"name": ["a", "b", "c"], "rank": [0.9, 0.97, 0.3], "fold": [0, 1, 2]},
    ...     geometry=places, crs=grid.crs)
    >>> from gossan.evaluate import held_out_summary
    >>> held_out = held_out_summary(deposits["rank"], deposits["fold"])
    >>> evaluation = {"n_deposits": 3, "n_cells": 600, "held_out": held_out}
    >>> page = render_report(ReportInputs("my area", "extra trees", score, deposits, evaluation))
    >>> "Your data cannot say" in page
    True
    """
    letters, groups = target_groups(inputs.targets)
    sections = [
        ("map", "The map", _map_section(inputs)),
        ("held-out", "Would it have found what we know?", _held_out_section(inputs)),
        ("targets", "Where to look next", _targets_section(inputs, letters, groups)),
        ("importance", "What the map leans on", _importance_section(inputs)),
        ("regions", "What kinds of ground there are", _regions_section(inputs)),
        ("analogues", "Where ground like the deposits lies", _analogues_section(inputs)),
        ("comparison", "Would another method do better?", _comparison_section(inputs)),
        ("pretraining", "What the network learnt without labels", _pretraining_section(inputs)),
        ("transfer", "What was taken from another area", _transfer_section(inputs)),
        ("truth", "Against the truth", _truth_section(inputs)),
        ("layers", "The evidence", _layers_section(inputs)),
        ("findings", "What is wrong with the data", _findings_section(inputs)),
        ("made", "How it was made", _made_section(inputs)),
    ]
    return render_page(
        "report.html.j2",
        inputs=inputs,
        headline=words.headline(inputs.evaluation),
        verdict=words.verdict(inputs.evaluation),
        tiles=_tiles(inputs),
        facts=_facts(inputs.score, inputs),
        decisions=_decisions(inputs),
        several=inputs.evaluation.get("draws", 1) > 1,
        more=_more_to_ask(inputs),
        sections=[(key, title, content) for key, title, content in sections if content is not None],
    )


def _staying(jaccard: float) -> float:
    """Share of one set that another as large has too, from what they share of both together."""
    return 2.0 * jaccard / (1.0 + jaccard)


def _decisions(inputs: ReportInputs) -> tables.Table | None:
    """The first targets on one page; None where there are none."""
    if inputs.targets is None or not len(inputs.targets):
        return None
    n_layers = None if inputs.importance is None else len(inputs.importance)
    return tables.decision_table(inputs.targets, n_layers)


def target_groups(
    targets: gpd.GeoDataFrame | None,
) -> tuple[list[str], list[tuple[str, str, list[int]]]]:
    """Name the groups of targets by letter, in the order of their best target.

    Returns
    -------
    letters : list of str
        Of each target; empty where there are no groups.
    groups : list of (letter, what drives it, ranks)

    Examples
    --------
    >>> frame = gpd.GeoDataFrame({"rank": [1, 2, 3], "group": ["Sn", "Cu", "Sn"]})
    >>> target_groups(frame)
    (['A', 'B', 'A'], [('A', 'Sn', [1, 3]), ('B', 'Cu', [2])])
    """
    if targets is None or "group" not in targets or not len(targets):
        return [], []
    names = [str(name) for name in targets["group"]]
    order = list(dict.fromkeys(names))
    letter_of = {name: _letter(position) for position, name in enumerate(order)}
    ranks = targets["rank"].to_numpy()
    groups = [
        (letter_of[name], name, [int(r) for r, n in zip(ranks, names, strict=True) if n == name])
        for name in order
    ]
    return [letter_of[name] for name in names], groups


def _letter(position: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    first = "" if position < 26 else _letter(position // 26 - 1)
    return first + chr(ord("A") + position % 26)


def _tiles(inputs: ReportInputs) -> list[tuple[str, str, str]]:
    """The figures worth a glance: (value, what it is, its interval or what chance would give)."""
    held_out = inputs.evaluation["held_out"]
    interval = held_out.get("ci95", {})
    tiles = []
    for area in ("0.05", "0.10"):
        if area in held_out["capture"]:
            captured = held_out["capture"][area]
            bounds = interval.get("capture", {}).get(area)
            note = f"95 % interval {words.percent_range(bounds)}" if bounds else ""
            title = f"of held-out deposits in the top {100 * float(area):g} % of the area"
            tiles.append((words.percent(captured), title, note))
    bounds = interval.get("auc_background")
    interval_note = f"95 % interval {bounds[0]:.2f}–{bounds[1]:.2f}; " if bounds else ""
    auc = f"{held_out['auc_background']:.2f}"
    tiles.append((auc, "AUC against the whole background", f"{interval_note}chance 0.50"))
    stability = inputs.evaluation.get("rank_stability")
    if stability:
        draws = inputs.evaluation.get("draws", 1) > 1
        anew = "negatives are drawn anew" if draws else "it is trained again from another seed"
        title = f"of the top 5 % stays when {anew}"
        jaccard, correlation = stability["jaccard"], stability["spearman"]
        note = f"Jaccard index {jaccard:.2f}; rank correlation {correlation:.2f}"
        tiles.append((words.percent(_staying(jaccard)), title, note))
    return tiles


def _facts(score: xr.DataArray, inputs: ReportInputs) -> list[tuple[str, str]]:
    grid = Grid.from_dataarray(score)
    width, height = grid.cell_size
    unit = "°" if grid.crs.is_geographic else f" {grid.crs.axis_info[0].unit_name}"
    unit = " m" if unit in (" metre", " meter") else unit
    observed = int(np.isfinite(np.asarray(score)).sum())
    facts = [
        ("method", inputs.method_title),
        ("known deposits", f"{len(inputs.deposits)}"),
        *words.decision_facts(inputs.evaluation.get("decisions") or {}),
        ("cells", f"{observed:,} of {width:,.6g} × {height:,.6g}{unit}"),
    ]
    if not grid.crs.is_geographic:
        metres = float(grid.crs.axis_info[0].unit_conversion_factor)
        facts.append(("area", f"{tables.number(observed * grid.cell_area * metres**2 / 1e6)} km²"))
    return [*facts, ("coordinates", f"{grid.crs.name} ({crs_code(grid)})")]


def _map_section(inputs: ReportInputs) -> dict[str, Any]:
    grid = Grid.from_dataarray(inputs.score)
    step = thinning(grid.shape)
    thinned = (
        f" Each drawn pixel shows the best of {step} × {step} cells, so that no anomaly is lost."
        if step > 1
        else ""
    )
    content: dict[str, Any] = {
        "score": picture(
            as_png,
            maps.score_map(inputs.score, inputs.deposits),
            "Prospectivity map with known deposits",
            "Prospectivity, as share of the area: the darkest ground is the best-scoring 1 %. "
            "Symbols tell how each known deposit ranked when the method was not shown it; the map "
            f"itself was made with all of them.{thinned}",
        ),
        "anomaly": picture(
            as_png,
            maps.anomaly_map(inputs.score, width=5.2),
            "Map of anomaly classes",
            "Anomaly classes: the top 5 %, 5–15 % and 15–30 % of the area.",
        ),
        "spread": None,
        "risk": None,
    }
    if inputs.spread is not None and np.isfinite(np.asarray(inputs.spread)).any():
        content["spread"] = picture(
            as_png,
            maps.spread_map(inputs.spread, width=5.2),
            "Map of the spread over the ensemble",
            "Spread: standard deviation of the score over the ensemble. Dark ground is where its "
            "members disagree. It does not include what all of them get wrong together.",
        )
        content["risk"] = picture(
            as_png,
            maps.risk_return_map(inputs.score, inputs.spread, inputs.deposits),
            "Map of score and agreement",
            "Return and risk. Dark rust is high and agreed; dark slate is high too, but the "
            "ensemble's members disagree there, so that another draw of negatives may rank it "
            "lower. They agree where the spread is below its median over the best 30 % of the "
            f"area.{thinned}",
        )
    return content


def _held_out_section(inputs: ReportInputs) -> dict[str, Any]:
    deposits, evaluation = inputs.deposits, inputs.evaluation
    tested = deposits[deposits["rank"].notna()]
    ranks, folds = tested["rank"].to_numpy(dtype=float), tested["fold"].to_numpy()
    content: dict[str, Any] = {
        "capture": tables.capture_table(evaluation),
        "charts": [],
        "pairs": _pair_charts(inputs, ranks),
        "deposits": tables.deposit_table(deposits),
        "deposits_open": len(deposits) <= _DEPOSITS_OPEN,
        "diagnostics": dict(evaluation.get("diagnostics", {})),
    }
    if len(ranks):
        content["charts"] = [
            picture(
                as_svg,
                figures.capture_curve(ranks, folds),
                "Share of held-out deposits against share of the area",
                "Prediction rate: how many held-out deposits the best ground holds, over the whole "
                "area and over its best fifth. The area under the curve is the AUC against "
                "background. The band is a bootstrap over whole clusters of deposits.",
            ),
            picture(
                as_svg,
                figures.rank_strip(ranks, folds),
                "Percentile rank of each held-out deposit, by fold",
                "Each held-out deposit against the background of its own fold's map. A fold whose "
                "deposits all lie to the left holds a kind of deposit that the others do not "
                "explain.",
            ),
        ]
    return content


def _pair_charts(inputs: ReportInputs, ranks: npt.NDArray[Any]) -> list[Picture]:
    charts = []
    crossing = inputs.evaluation["held_out"].get("prediction_area")
    if crossing and len(ranks):
        charts.append(
            picture(
                as_svg,
                figures.prediction_area_plot(ranks, crossing),
                "Prediction-area plot",
                f"P-A plot. Where the curves cross, {words.percent(crossing['area'])} of the area "
                f"holds {words.percent(crossing['prediction_rate'])} of the held-out deposits: "
                f"they are {crossing['normalised_density']:.3g} times denser there than over the "
                "whole area.",
            )
        )
    curve = _concentration(inputs.score)
    if curve is not None:
        breaks = ", ".join(f"{score:.3g}" for score in curve.breaks) or "none"
        charts.append(
            picture(
                as_svg,
                figures.concentration_area_plot(curve),
                "Concentration-area plot",
                "C-A plot of the final map. A break between straight pieces may part background "
                f"from anomaly. Breaks at scores of {breaks}.",
            )
        )
    if inputs.reliability is not None and len(inputs.reliability):
        charts.append(
            picture(
                as_svg,
                figures.reliability_plot(inputs.reliability),
                "Reliability diagram",
                "Reliability: whether a score comes true as often as it says, on held-out deposits "
                "and the background. Where it is far above the observed share it is a ranking "
                "and no chance of ore: deposits are far rarer than a method trained on draws of "
                "negatives assumes.",
            )
        )
    return charts


def _concentration(score: xr.DataArray) -> Any:
    try:
        return concentration_area(np.asarray(score))
    except ValueError:  # too few distinct scores for a line: a chart less, not a failed report
        return None


def _targets_section(
    inputs: ReportInputs, letters: Sequence[str], groups: Sequence[tuple[str, str, list[int]]]
) -> dict[str, Any] | None:
    targets = inputs.targets
    if targets is None or not len(targets):
        return None
    content: dict[str, Any] = {
        "count": len(targets),
        "listed": min(len(targets), _TARGETS_LISTED),
        "table": tables.target_table(targets, letters, limit=_TARGETS_LISTED),
        "command": _explain_command(_named_study(inputs), targets),
        "groups": groups,
        **_share_and_cut(inputs.settings.get("targets", {})),
        "near": _near_deposits(targets, inputs.resolution),
        "map": picture(
            as_png,
            maps.targets_map(inputs.score, targets, inputs.deposits, letters=letters),
            "Map of ranked targets",
            "Targets by rank and group over the anomaly classes.",
        ),
        "risk": None,
    }
    if "spread" in targets and np.isfinite(targets["spread"].to_numpy(dtype=float)).all():
        content["risk"] = picture(
            as_svg,
            figures.risk_return(targets, letters),
            "Targets by score and spread",
            "Return and risk: high scores on which the ensemble agrees lie at the lower right.",
        )
    return content


def _share_and_cut(settings: Mapping[str, Any]) -> dict[str, str]:
    """From how much ground targets are drawn, and how far one may reach."""
    if not {"share", "max_share"} <= settings.keys():
        return {"share": "share", "cut": ""}
    share, most = (f"{100 * settings[name]:g} %" for name in ("share", "max_share"))
    cut = (
        f"One target takes at most {most} of the new ground: a larger patch is divided, and each "
        "piece cut to its highest cells, so that it can be visited. Ground of the best "
        f"{share} between them is on the map and in no target (max_share in [targets]), as are "
        "patches beyond the first ones (count) and those too small (min_cells)."
    )
    return {"share": share, "cut": cut}


def _near_deposits(targets: gpd.GeoDataFrame, resolution: float) -> str | None:
    """How many targets the evidence can hardly tell from a known deposit; None where none is."""
    if "distance_m" not in targets or resolution <= 0:
        return None
    near = int((targets["distance_m"] < _HALO * resolution).sum())
    if not near:
        return None
    return (
        f"{near} of them {'has its peak' if near == 1 else 'have their peaks'} within "
        f"{tables.distance(_HALO * resolution)} of a known deposit, {_HALO} times the resolution "
        "of the evidence, which of samples is their spacing: the same samples may stand behind "
        "both, and what is high there may be the deposit's own halo. A greater min_distance in "
        "[targets] keeps farther off."
    )


def _named_study(inputs: ReportInputs) -> str:
    """The study as commands name it, with a run folder that is not the usual one."""
    output = "" if inputs.output is None else f" --output {shlex.quote(inputs.output)}"
    return f"{shlex.quote(inputs.study_file)}{output}"


def _explain_command(study: str, targets: gpd.GeoDataFrame) -> str | None:
    """What tells why the first target scores as it does; None where its place is not known."""
    if not {"easting", "northing"} <= set(targets.columns):
        return None
    place = (words.coordinate(targets[axis].iloc[0]) for axis in ("easting", "northing"))
    return f"gossan explain {study} --at {' '.join(place)}"


def _importance_section(inputs: ReportInputs) -> dict[str, Any] | None:
    if inputs.importance is None or not len(inputs.importance):
        return None
    return {
        "table": tables.importance_table(inputs.importance, limit=_LAYERS_LISTED),
        "left_out": max(0, len(inputs.importance) - _LAYERS_LISTED),
    }


def _pretraining_section(inputs: ReportInputs) -> dict[str, Any] | None:
    shown = inputs.pretraining
    return None if shown is None else pretraining_chapter(shown, inputs.deposits)


def _transfer_section(inputs: ReportInputs) -> dict[str, Any] | None:
    return None if inputs.transfer is None else transfer_chapter(inputs.transfer)


def _regions_section(inputs: ReportInputs) -> dict[str, Any] | None:
    return None if inputs.regions is None else regions_chapter(inputs.regions, inputs.deposits)


def _analogues_section(inputs: ReportInputs) -> dict[str, Any] | None:
    return None if inputs.analogues is None else analogues_chapter(inputs.analogues)


def _comparison_section(inputs: ReportInputs) -> dict[str, Any] | None:
    if inputs.comparison is None or inputs.reference is None:
        return None
    return comparison_chapter(inputs.comparison, inputs.reference)


def _more_to_ask(inputs: ReportInputs) -> list[tuple[str, str]]:
    """Commands whose answers would be chapters here, and what they tell."""
    study = _named_study(inputs)
    searched = inputs.analogues is not None and len(inputs.analogues.searches) > 0
    asked = [
        (inputs.regions is not None, "regions {}", "what kinds of ground there are"),
        (searched, "analogues {} --like NAME", "where ground like one of the deposits lies"),
        (inputs.comparison is not None, "compare {}", "whether another method would do better"),
    ]
    return [(f"gossan {verb.format(study)}", what) for known, verb, what in asked if not known]


def _truth_section(inputs: ReportInputs) -> dict[str, Any] | None:
    if inputs.truth is None:
        return None
    shown = None
    if inputs.hidden is not None and len(inputs.hidden):
        shown = picture(
            as_png,
            maps.score_map(inputs.score, inputs.deposits, hidden=inputs.hidden),
            "Prospectivity map with the undiscovered deposits",
            "The same map with the deposits that exist and that nobody has found: stars.",
        )
    return {"table": tables.truth_table(inputs.truth), "map": shown}


def _layers_section(inputs: ReportInputs) -> dict[str, Any] | None:
    scores = inputs.layer_scores
    if (scores is None or not len(scores)) and not inputs.evidence:
        return None
    thumbnails = []
    for name, layer in inputs.evidence.items():
        values = np.asarray(layer)
        limits = "no data"
        if np.isfinite(values).any():
            low, high = maps.middle_range(values)
            limits = f"{tables.number(low)} … {tables.number(high)}"
        figure = maps.thumbnail(layer, inputs.deposits)
        thumbnails.append((name, limits, picture(as_png, figure, f"Map of {name}", "", dpi=110)))
    table = tables.layer_table(scores) if scores is not None and len(scores) else None
    return {"table": table, "thumbnails": thumbnails}


def _findings_section(inputs: ReportInputs) -> dict[str, Any]:
    return {"findings": list(inputs.findings), "history": list(inputs.history)}


def _made_section(inputs: ReportInputs) -> dict[str, Any] | None:
    evaluation = inputs.evaluation
    wanted = ("method", "negatives", "draws", "decisions", "splitter", "folds", "background_folds")
    protocol = {name: evaluation[name] for name in wanted if evaluation.get(name) not in (None, {})}
    content = {
        "protocol": protocol,
        "settings": dict(inputs.settings),
        "provenance": dict(inputs.provenance),
    }
    return content if any(content.values()) else None
