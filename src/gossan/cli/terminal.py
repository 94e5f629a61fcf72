"""What a command says on the terminal: tables, figures in words, bars with the time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

from gossan.exceptions import SurveyDataWarning
from gossan.printable import printable

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from gossan.pipeline import AnaloguesFound, Explanation, Predicted, RegionsFound
    from gossan.report import OwnLeftOut

_MOSTLY_UNLIKE = 0.5
# Where the output is no terminal, lines are as long as they are.
_WIDTH = None if sys.stdout.isatty() else 200
out = Console(highlight=False, emoji=False, soft_wrap=True, width=_WIDTH)
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

ROUNDS_SHOWN = {
    "round": "round",
    "n_negative": "may be drawn",
    "n_doubtful": "doubtful",
    "changed": "changed",
    "inner_auc": "inner AUC",
    "inner_capture": "inner capture",
}
"""Columns of an annotation's rounds, and what the terminal calls them."""
_SCORES_SHOWN = ["layer", "coverage", "resolution_ratio", "cluster", "nugget"]
_RELEVANCE = ["auc", "z"]
"""What a layer tells of known deposits."""


def plain(text: object) -> str:
    r"""Text of the user's as it stands: a path, a name, a message, in the console's markup.

    Examples
    --------
    >>> plain("runs/[bold]\x1b[31m")
    'runs/\\[bold]�[31m'
    """
    return escape(printable(text))


def print_analogues(found: AnaloguesFound) -> None:
    """The areas most like the chosen place, and what makes them alike."""
    import pandas as pd

    areas = found.areas
    out.print(f"Ground like {plain(found.query)}, away from it:")
    shown = pd.DataFrame(
        {
            "rank": areas["rank"].astype(str),
            "likeness": [f"{value:.2f}" for value in areas["similarity"]],
            "easting": [f"{value:,.0f}" for value in areas["easting"]],
            "northing": [f"{value:,.0f}" for value in areas["northing"]],
            "km²": [f"{value:,.1f}" for value in areas["area_km2"]],
            "nearest deposit": areas["nearest_deposit"],
            "at km": [
                "–" if d != d else f"{d / 1000:.1f}" for d in areas["distance_m"].astype(float)
            ],
            "alike by": areas["alike"],
        }
    )
    if not areas["distance_m"].notna().any():
        shown = shown.drop(columns=["nearest deposit", "at km"])
    if len(areas):
        print_table(shown)
    else:
        out.print(
            "[bold]No area stands out:[/] too much ground is equally like it, or there is none "
            "away from it. More layers, or a smaller place, tell more."
        )
    out.print(
        "Likeness is the cosine of how both depart from the area's middle: 1 the same way, 0 not "
        "at all. It says what looks alike, and not that there is ore."
    )
    for name in ("analogues.tif", "analogues.gpkg", "analogues.png"):
        out.print(f"            {plain(found.path / name)}")


def print_backbone(file: Path, study: Path) -> None:
    """What a network learnt from, how far its loss fell, and how a study names its file."""
    from gossan.nn.masked_autoencoder import Backbone

    found = Backbone.load(file)
    losses = found.description["validation_loss"]
    out.print(
        f"Learnt from {len(found.layers)} layers in {len(losses)} epochs. Loss on hidden values of "
        f"ground set apart: {losses[0]:.3f} after the first, {min(losses):.3f} at its best."
    )
    out.print(f"Backbone: [bold]{plain(file)}[/]")
    named = _seen_from(file, study)
    out.print(
        plain(
            'Use it with [method] name = "masked-pretraining", '
            f'parameters = {{ backbone = "{named}" }}'
        )
    )


def print_source(file: Path, study: Path) -> None:
    """What a source learnt from, how well it tells its own patches, and how a study names it."""
    from gossan.nn.selective_transfer import Source, patch_figures

    found = Source.load(file)
    figures = patch_figures(**found.confusion)
    out.print(
        f"Learnt from {found.learned['patches']:,} patches of {found.window} × {found.window} "
        f"cells, {found.learned['with_deposits']:,} of them with a deposit, and "
        f"{len(found.layers)} layers. It tells {100 * figures['accuracy']:.0f} % of these patches "
        f"right, and {100 * figures['recall']:.0f} % of those with a deposit: it has seen them, so "
        "this is no measure of skill."
    )
    out.print(f"Source: [bold]{plain(file)}[/]")
    out.print(
        plain(
            'Use it in the study of another area with [method] name = "selective-transfer", '
            f'parameters = {{ source = "{_seen_from(file, study)}" }}, the path as seen from that '
            "study's folder."
        )
    )


def _seen_from(file: Path, study: Path) -> str:
    """The path of a file as a study names it."""
    import os

    folder = study if study.is_dir() else study.parent
    return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()


def print_comparison(path: Path, table: pd.DataFrame, left_out: OwnLeftOut | None) -> None:
    """A comparison's table, what was left out or not run, and where its files are."""
    import pandas as pd

    from gossan import io

    record = io.read_json(path / "comparison.json")

    def with_interval(name: str) -> pd.Series:
        low, high = (f"{name.replace('_background', '')}_{end}" for end in ("low", "high"))
        return pd.Series(
            [
                "–" if pd.isna(value) else f"{value:.2f} ({low:.2f} to {high:.2f})"
                for value, low, high in table[[name, low, high]].itertuples(index=False)
            ]
        )

    shown = pd.DataFrame(
        {
            "workflow": table["workflow"],
            "AUC": with_interval("auc_background"),
            "in 5 %": with_interval("capture_0.05"),
            "AUC − reference": with_interval("difference_auc"),
        }
    )
    out.print(
        f"{record['n_deposits']} held-out deposits, {record['folds']} folds, {record['n_cells']} "
        f"cells; reference: {plain(record['reference'])}. In brackets: 95 % intervals."
    )
    print_table(shown)
    out.print(
        "AUC: how often a held-out deposit outranks other ground, by chance 0.50.\nIn 5 %: share "
        "of the held-out deposits in the best 5 % of the area, by chance 0.05.\nWhere the interval "
        "of the difference holds 0, the two cannot be told apart."
    )
    if left_out is not None:
        out.print(f"\n[bold]{plain(left_out.words)}[/]\n  {plain(left_out.command)}")
    for failure in record["failed"]:
        err.print(f"[yellow]Not run:[/] {plain(failure['workflow'])}: {plain(failure['reason'])}")
    out.print(f"\nComparison: [bold]{plain(path / 'comparison.html')}[/]")
    for name in ("comparison.csv", "consensus.tif", "agreement.tif"):
        out.print(f"            {plain(path / name)}")


def print_contributions(found: xr.DataArray, path: Path) -> None:
    """The layers that weigh most in a map, by the letters of their picture."""
    import numpy as np
    import pandas as pd

    from gossan.pipeline.explain import LAYERS_MAPPED

    shown = found[:LAYERS_MAPPED]
    values = shown.to_numpy().reshape(len(shown), -1)
    table = pd.DataFrame(
        {
            "": [chr(ord("A") + place) for place in range(len(shown))],
            "layer": shown["layer"].to_numpy().astype(str),
            "mean size": np.nanmean(np.abs(values), axis=1).round(4),
            "lifts, share of the area": [
                f"{100 * share:.0f} %"
                for share in (values > 0).sum(axis=1) / np.isfinite(values).sum(axis=1)
            ],
        }
    )
    explained = int(np.isfinite(values[0]).sum())
    out.print(
        f"What the layers add to the score of ordinary ground, over the whole area: {explained:,} "
        "cells, one a block of ground. (The report weighs layers at targets and deposits alone.)"
    )
    print_table(table)
    out.print(f"Maps:       [bold]{plain(path / 'contributions.png')}[/]")
    out.print(f"            {plain(path / 'contributions.tif')}, a band a layer")


def print_explanation(found: Explanation, count: int) -> None:
    """Why one cell scores as it does."""
    spread = "" if found.spread != found.spread else f" ± {found.spread:.3f}"
    out.print(
        f"Score {found.score:.3f}{spread} at {found.easting:.0f} E, {found.northing:.0f} N: above "
        f"{min(100 * found.percentile, 99.9):.1f} % of the area, on {found.layers_observed} of "
        f"{len(found.layers)} layers."
    )
    shown = found.layers.head(count).copy()
    shown["value"] = [
        "missing" if v != v else f"{v:.4g} {u}".rstrip()
        for v, u in zip(shown["value"], shown["unit"], strict=True)
    ]
    shown["percentile"] = ["–" if p != p else f"{100 * p:.0f}" for p in shown["percentile"]]
    shown["contribution"] = [_signed(c) for c in shown["contribution"]]
    print_table(shown.drop(columns="unit"))
    lowest = found.layers[found.layers["contribution"] < 0].tail(3)[::-1]
    if len(lowest):
        columns = (lowest[name].tolist() for name in ("layer", "contribution", "percentile"))
        against = ", ".join(
            f"{name} ({_signed(c)}" + (")" if p != p else f", percentile {100 * p:.0f})")
            for name, c, p in zip(*columns, strict=True)
        )
        out.print(f"Against it: {plain(against)}.")
    total = _signed(float(found.layers["contribution"].sum()))
    out.print(f"The contributions of all {len(found.layers)} layers sum to {total}.")
    if found.deposit is not None:
        out.print(
            f"Most like {plain(found.deposit)}, {found.deposit_distance / 1000:.1f} km away: the "
            f"layers' percentiles differ by {100 * found.unlike:.0f} on average (two places drawn "
            "at random by about 33)."
        )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def print_findings(path: Path) -> None:
    """What the check found, errors and warnings only; the report says it all."""
    from gossan import io

    for finding in io.read_json(path / ".stages" / "check-result.json")["findings"]:
        if finding["severity"] in {"error", "warning"}:
            place, message = plain(finding["place"]), plain(finding["message"])
            err.print(f"[yellow]Check, {finding['severity']}:[/] {place}: {message}")


def print_held_out(path: Path) -> None:
    """A run's held-out figures, and what they come to."""
    from gossan import io
    from gossan.report import verdict

    evaluation = io.read_json(path / "evaluation.json")
    held_out = evaluation["held_out"]
    interval = held_out["ci95"]
    out.print(
        f"\nHeld out, {evaluation['n_deposits']} deposits in {evaluation['folds']} folds, against "
        f"the whole background of {evaluation['n_cells']} cells:"
    )
    low, high = interval["auc_background"]
    out.print(
        f"  AUC against background {held_out['auc_background']:.3f}  (95 % {low:.3f} to {high:.3f})"
    )
    for area, share in held_out["capture"].items():
        low, high = interval["capture"][area]
        out.print(
            f"  top {100 * float(area):g} % of the area holds {100 * share:.0f} % of the deposits"
            f"  (95 % {100 * low:.0f} to {100 * high:.0f} %; by chance {100 * float(area):g} %)"
        )
    judged = verdict(evaluation)
    out.print(f"\n[bold]{plain(judged.title)}.[/] {plain(judged.text)}")


def print_leaning(table: pd.DataFrame) -> None:
    """Which layers a whole map leans on."""
    out.print(
        "How much the map's AUC on the known deposits falls when a layer's blocks change places:"
    )
    shown = table.reset_index().round(4)
    print_table(shown.rename(columns={"importance": "fall of AUC", "spread": "±"}))


def print_predicted(found: Predicted) -> None:
    """How much of the area the model has seen nothing like, and the files."""
    measured = (
        "That is this very study: the map is that of its run, whose report says how well it does "
        "on deposits held out."
        if found.own
        else "Nothing is measured of how well it does here: no deposit of this study as it is was "
        "held out."
    )
    out.print(f"Mapped by {plain(found.method)}, trained on {plain(found.trained_on)}. {measured}")
    if found.missing:
        out.print(
            f"Missing in every cell: {plain(', '.join(found.missing))}. What is unlike is told by "
            "the other layers alone, and they may hide more."
        )
    if found.uniform:
        out.print("[bold]The map has one value:[/] the model cannot tell this ground apart.")
    share = f"{100 * found.unlike:.0f} % of the area is unlike all that the model has seen"
    if found.unlike > _MOSTLY_UNLIKE:
        out.print(f"[bold]{share}:[/] your data cannot say whether its scores there mean anything.")
    else:
        out.print(f"{share}: there its scores are guesses.")
    if len(found.targets):
        out.print(
            f"Targets: {len(found.targets)}, of which {found.targets_unlike or 'none'} on ground "
            "unlike all that the model has seen; each says how unlike its ground is."
        )
    else:
        out.print("No targets: no new ground stands out from the rest.")
    for name in ("predicted.tif", "applicability.tif", "predicted.gpkg", "predicted.png"):
        out.print(f"            {plain(found.path / name)}")


def print_regions(found: RegionsFound) -> None:
    """What each region is like, how their number was chosen, and the files."""
    import pandas as pd

    table = found.table
    shown = pd.DataFrame(
        {
            "region": table["region"].astype(str),
            "name": table["name"],
            "share": [f"{100 * share:.0f} %" for share in table["share"]],
            "km²": [f"{area:,.0f}" for area in table["area_km2"]],
        }
    )
    if table["deposits"].sum():
        shown["deposits"] = table["deposits"].astype(str)
        shown["expected"] = [f"{count:.1f}" for count in table["expected"]]
        shown["p, adjusted"] = [f"{p:.2g}" for p in table["p_adjusted"]]
    print_table(shown)
    taken, asked = found.choice[found.choice["chosen"]].iloc[0], len(found.choice) == 1
    out.print(
        f"{len(table)} regions: halves of the area, divided each for itself, agree on them with an "
        f"adjusted Rand index of {taken['stability']:.2f} (1: the very same; 0: by chance); "
        f"silhouette {taken['silhouette']:.2f} (1: far apart; 0: one runs into the other)."
    )
    if not asked and taken["regions"] == found.choice["regions"].max():
        out.print("That is the greatest number tried: --count takes a greater one.")
    if not found.stable:
        number = f"{taken['regions']:.0f} regions" if asked else "any number of regions"
        out.print(
            f"[bold]Halves of the area do not agree on {number}:[/] your data cannot say where one "
            "ends. Take the map as a picture, and no border for real."
        )
    for name in ("regions.tif", "regions.gpkg", "regions.png", "region-profiles.png"):
        out.print(f"            {plain(found.path / name)}")


def print_report(report: Path | None) -> None:
    """Where the chapter is that the report has now, if the study was run."""
    if report is not None:
        out.print(f"A chapter of the report: [bold]{plain(report)}[/]")


def print_run(path: Path) -> None:
    """Where a run left its files."""
    out.print(
        f"\nRun folder: [bold]{plain(path)}[/]\nReport:     [bold]{plain(path / 'report.html')}[/]"
    )


def print_scores(scores: pd.DataFrame) -> None:
    """How good each layer is; what it tells of known deposits where there are any."""
    from gossan.quality.layers import REDUNDANT
    from gossan.quality.verdicts import COARSE, NOISY, SIGNIFICANT, SPARSE

    known = scores[_RELEVANCE].notna().any(axis=None)
    print_table(scores.reset_index()[[*_SCORES_SHOWN, *(_RELEVANCE if known else [])]])
    out.print(
        f"\ncoverage: share of the area that has a value; below {SPARSE:g} is thin.\n"
        "resolution_ratio: cells from one sample or pixel to the next; above "
        f"{COARSE:g} most of the layer is interpolated.\n"
        "cluster: layers with one number say much the same (Spearman's ρ about "
        f"{REDUNDANT:g} or more).\nnugget: share of the variation that is noise between "
        f"neighbours; 0 is smooth, above {NOISY:g} is mostly noise."
    )
    if known:
        out.print(
            "auc: how well the layer alone ranks the known deposits above other ground; 0.5 is no "
            f"better than chance, 1 perfect.\nz: how sure that is; above {SIGNIFICANT:g} it is "
            "more than chance (1 %). Neither is held out."
        )


def print_table(table: pd.DataFrame) -> None:
    """A table, text to the left and numbers to the right."""
    from pandas.api.types import is_numeric_dtype
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for column in table.columns:
        shown.add_column(
            plain(column), justify="right" if is_numeric_dtype(table[column]) else "left"
        )
    for row in table.itertuples(index=False):
        shown.add_row(*(plain(_cell(value)) for value in row))
    out.print(shown)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3g}"
    return str(value)


@contextmanager
def resumable() -> Iterator[None]:
    """Say on Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("Stopped. What is finished is kept; the same command goes on from there.")
        raise typer.Exit(130) from None


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Bars with the time left; plain lines where the output is no terminal."""
    if not err.is_terminal:
        told: set[str] = set()

        def tell(stage: str, done: int, total: int) -> None:
            line = f"{stage}: {'done' if done == total == 1 else f'{done} of {total}'}"
            tenth = done > 0 and (10 * done) // total > (10 * (done - 1)) // total
            milestone = done == total == 1 or (total > 1 and (total <= 20 or tenth))
            if milestone and line not in told:
                told.add(line)
                err.print(plain(line))

        yield tell
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [
        TextColumn("{task.description:12}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=err) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(printable(stage), total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


def warner() -> Callable[..., None]:
    """Show what is said of a survey, once; filters alone do not hold where threads change them."""
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, SurveyDataWarning) and str(message) not in told:
            told.add(str(message))
            err.print(f"[yellow]Warning:[/] {plain(message)}")

    return show
