"""One thin command per verb."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from gossan.exceptions import GossanError, SurveyDataWarning

if TYPE_CHECKING:
    import pandas as pd

    from gossan.pipeline import Explanation

app = typer.Typer(
    help="Mineral prospectivity maps from few known deposits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
# Where the output is no terminal, lines are as long as they are.
_WIDTH = None if sys.stdout.isatty() else 200
out = Console(highlight=False, soft_wrap=True, width=_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_ROUNDS_SHOWN = {
    "round": "round",
    "n_negative": "may be drawn",
    "n_doubtful": "doubtful",
    "changed": "changed",
    "inner_auc": "inner AUC",
    "inner_capture": "inner capture",
}
"""Columns of an annotation's rounds, and what the terminal calls them."""
_SCORES_SHOWN = ["layer", "coverage", "resolution_ratio", "cluster", "nugget", "auc", "z"]

StudyFile = Annotated[Path, typer.Argument(help="The study file, or the folder that holds it.")]
Output = Annotated[
    Path | None, typer.Option(help="Run folder; default: runs/<name> beside the study file.")
]
Scheduler = Annotated[
    str | None, typer.Option(help="Dask cluster to predict on, e.g. tcp://10.0.0.1:8786.")
]


def main() -> None:
    """Run the command line; a user's mistake ends in one clear message and a non-zero exit."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", SurveyDataWarning)
    warnings.showwarning = _show_warning
    try:
        app(standalone_mode=True)
    except GossanError as error:
        err.print(f"[bold red]Error:[/] {escape(str(error))}")
        sys.exit(1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        err.print(f"[bold red]Error:[/] {escape(error.strerror or str(error))}{escape(where)}.")
        sys.exit(1)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the district's files go.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed, another geology.")] = 0,
) -> None:
    """Make a synthetic district with known truth, run it, and count what the map found."""
    from gossan.datasets import synthetic_district, truth_table, write_district
    from gossan.pipeline import run_study
    from gossan.study import read_study

    district = synthetic_district(seed=seed)
    study_file = write_district(district, folder)
    out.print(f"Synthetic district {seed} written to [bold]{folder}[/].")
    with _resumable(), _progress() as progress:
        path = run_study(read_study(study_file), truth=district.truth, progress=progress)
    from gossan import io

    table = truth_table(io.read_map(path / "prospectivity.tif"), district.truth)
    out.print("\nHow many deposits does the top of the map hold?")
    _print_table(table.reset_index())
    _print_run(path)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder with the survey's files.")],
    force: Annotated[bool, typer.Option(help="Replace a study.toml that is there.")] = False,
) -> None:
    """Look at the files in a folder and write a commented study.toml that already runs."""
    from gossan import io
    from gossan.draft import draft_study
    from gossan.exceptions import StudyError

    file = folder / "study.toml"
    if file.exists() and not force:
        raise StudyError(f"{file} exists. Use --force to replace it.")
    io.write_text(file, draft_study(folder))
    out.print(f"Wrote [bold]{file}[/]. Read it, mend the guesses, then: gossan check {file}")


@app.command()
def check(study: StudyFile) -> None:
    """Say what is wrong with the data, where, and how to mend it; score every layer."""
    from gossan.pipeline import check_settings
    from gossan.quality import check_study
    from gossan.study import read_study

    settings = read_study(study)
    check_settings(settings)
    result = check_study(settings)
    for finding in result.findings:
        colour = {"error": "red", "warning": "yellow"}.get(finding.severity, "cyan")
        severity = f"[bold {colour}]{finding.severity}[/]"
        out.print(f"{severity} {escape(finding.place)}: {escape(finding.message)}")
        if finding.remedy:
            out.print(f"    → {escape(finding.remedy)}")
    if len(result.layer_scores):
        out.print()
        _print_table(result.layer_scores.reset_index()[_SCORES_SHOWN])
    n_errors = sum(finding.severity == "error" for finding in result.findings)
    out.print(f"\nFindings: {len(result.findings)}, errors among them: {n_errors}.")
    if n_errors:
        raise typer.Exit(1)


@app.command()
def run(study: StudyFile, output: Output = None, scheduler: Scheduler = None) -> None:
    """Evidence → negatives → model → held-out evaluation → map, targets, report."""
    from gossan.pipeline import run_study
    from gossan.study import read_study

    settings = read_study(study)
    with _resumable(), _cluster(scheduler), _progress() as progress:
        path = run_study(settings, output=output, progress=progress)
    _print_findings(path)
    _print_held_out(path)
    _print_run(path)


@app.command()
def annotate(study: StudyFile, output: Output = None) -> None:
    """Annotate unlabelled cells round by round; honour what a geologist decided in the file."""
    import pandas as pd

    from gossan import io
    from gossan.pipeline import annotate_study
    from gossan.study import read_study

    settings = read_study(study)
    with _resumable(), _progress() as progress:
        path = annotate_study(settings, output=output, progress=progress)
    summary = io.read_json(path / "annotation.json")
    rounds = pd.DataFrame(summary["rounds"])
    _print_table(rounds[list(_ROUNDS_SHOWN)].rename(columns=_ROUNDS_SHOWN))
    chosen = summary["chosen"]
    out.print(
        f"\nRound {chosen} is kept."
        + ("" if chosen else " No annotation held up on deposits left out: negatives stay random.")
    )
    apart = (rounds["inner_auc"] - rounds["inner_auc"].iloc[0]).abs() > 2 * rounds[
        "inner_auc_error"
    ]
    if len(rounds) > 1 and not apart.any():
        out.print(
            "No round can be told from round 0 by the deposits left out inside, so a few decisions "
            "may tip which one is kept. Every round's doubtful cells are in annotation.parquet."
        )
    named = settings.negatives.annotation
    where = "there" if named is None else f"in {escape(named)}, which the study names,"
    out.print(
        f"Annotation: [bold]{path / 'annotation.gpkg'}[/]\n"
        f"Set 'decision' {where} to accept (barren), reject (no negative) or deposit, save, and "
        "run again: annotate, run and compare honour your decisions. The model's own words change "
        "nothing outside recursive negatives."
    )
    for name in ("annotation-rounds.png", "annotation-convergence.png", "annotation.parquet"):
        out.print(f"            {path / name}")


@app.command()
def explain(
    study: StudyFile,
    at: Annotated[
        tuple[float, float] | None,
        typer.Option(help="EASTING NORTHING of the place, in the study's CRS."),
    ] = None,
    explainer: Annotated[
        str, typer.Option(help="gradients (networks), shap (trees), removal (any) or auto.")
    ] = "auto",
    layers: Annotated[int, typer.Option(help="Layers shown.", min=1)] = 5,
    output: Output = None,
) -> None:
    """Why a place scores as it does, with --at; without, which layers the whole map leans on."""
    from gossan.pipeline import explain_study, layers_by_blocks
    from gossan.study import read_study

    settings = read_study(study)
    if at is None:
        with _resumable(), _progress() as progress:
            table = layers_by_blocks(settings, output=output, progress=progress)
        shown = table.head(layers).reset_index().round(4)
        out.print(
            "How much the map's AUC on the known deposits falls when a layer's blocks change "
            "places:"
        )
        _print_table(shown.rename(columns={"importance": "fall of AUC", "spread": "±"}))
        return
    with _resumable(), _progress() as progress:
        found = explain_study(
            settings, *at, output=output, explainer=_explainer(explainer), progress=progress
        )
    _print_explanation(found, layers)


@app.command()
def pretrain(
    study: StudyFile,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="A further study to learn from; may be given again."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The file; default: backbone.safetensors beside the study file."),
    ] = None,
    preset: Annotated[str, typer.Option(help="small (minutes on two cores) or base.")] = "small",
    window: Annotated[int | None, typer.Option(help="Cells across a window, odd.")] = None,
    epochs: Annotated[int | None, typer.Option(help="How long to learn.", min=1)] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, gpu, …")] = "auto",
    devices: Annotated[int, typer.Option(help="Processes, each on a device.", min=1)] = 1,
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")] = "32-true",
) -> None:
    """Learn from the evidence without labels, of one study or several, into a backbone file."""
    from gossan.pipeline import pretrain_study
    from gossan.study import read_study

    given = {"window": window, "epochs": epochs}
    settings = {name: value for name, value in given.items() if value is not None}
    with _resumable(), _progress() as progress:
        file = pretrain_study(
            read_study(study),
            [read_study(other) for other in also or []],
            output=output,
            progress=progress,
            preset=preset,
            accelerator=accelerator,
            devices=devices,
            precision=precision,
            **settings,
        )
    out.print(f"Backbone: [bold]{file}[/]")
    out.print(
        escape(
            'Use it with [method] name = "masked-pretraining", '
            f'parameters = {{ backbone = "{file.name}" }}'
        )
    )


@app.command()
def compare(
    study: StudyFile,
    methods: Annotated[
        str | None, typer.Option(help="Methods, comma-separated; default: all.")
    ] = None,
    negatives: Annotated[
        str | None, typer.Option(help="Samplers of negatives, comma-separated; default: all.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="'method × negatives' that differences are taken against.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws of negatives a workflow averages.", min=1)] = 3,
    variants: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Settings of a method, as inner=5,outer=7; given again, another row.",
        ),
    ] = None,
    controls: Annotated[
        bool, typer.Option(help="Add the four controls of recursive annotation.")
    ] = True,
    jobs: Annotated[
        int | None, typer.Option(help="Processes; default: one a processor.", min=1)
    ] = None,
    output: Output = None,
) -> None:
    """Compare methods and negatives on the same folds: one honest table, consensus, agreement."""
    from gossan.pipeline import compare_study, comparison_table
    from gossan.study import read_study

    with _resumable(), _progress() as progress:
        path = compare_study(
            read_study(study),
            methods=_names(methods),
            negatives=_names(negatives),
            reference=reference and reference.replace(" x ", " × "),
            controls=controls,
            draws=draws,
            variants=[_settings(text) for text in variants or []],
            output=output,
            n_jobs=jobs,
            progress=progress,
        )
    _print_comparison(path, comparison_table(path))


@app.command()
def fetch(
    survey: Annotated[str, typer.Argument(help="jabal-al-hasir, nanling or cloncurry.")],
    folder: Annotated[Path | None, typer.Option(help="Copy the files here.")] = None,
) -> None:
    """Bring an open survey by name, its files checked against their SHA-256."""
    from gossan.datasets import describe_survey, fetch_survey

    path = fetch_survey(survey, folder=folder)
    out.print(escape(describe_survey(survey)))
    out.print(f"The files are in [bold]{path}[/].")


def _names(text: str | None) -> list[str] | None:
    """Names of a comma-separated option."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _settings(text: str) -> dict[str, Any]:
    """``inner=5,pair=stack`` as settings: numbers and booleans as TOML has them, else text."""
    import tomllib

    from gossan.exceptions import StudyError

    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise StudyError(f"--set {text!r} is no list of settings: write it as inner=5,outer=7.")
        if name in found:
            raise StudyError(f"--set {text!r} gives {name} twice: another --set is another row.")
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    return found


def _print_comparison(path: Path, table: pd.DataFrame) -> None:
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
            "selectivity": table["selectivity"],
        }
    )
    out.print(
        f"{record['n_deposits']} held-out deposits, {record['folds']} folds, {record['n_cells']} "
        f"cells; reference: {record['reference']}. In brackets: 95 % intervals."
    )
    _print_table(shown)
    for failure in record["failed"]:
        err.print(f"[yellow]Not run:[/] {escape(failure['workflow'])}: {escape(failure['reason'])}")
    out.print(f"\nComparison: [bold]{path / 'comparison.html'}[/]")
    for name in ("comparison.csv", "consensus.tif", "agreement.tif"):
        out.print(f"            {path / name}")


def _explainer(name: str) -> Any:
    """One of the explainers, or an error that lists them."""
    from gossan.exceptions import StudyError
    from gossan.mistakes import suggest

    known = ["auto", "gradients", "shap", "removal"]
    if name not in known:
        raise StudyError(f"Unknown explainer {name!r}.{suggest(name, known)}")
    return name


def _print_explanation(found: Explanation, count: int) -> None:
    spread = "" if found.spread != found.spread else f" ± {found.spread:.3f}"
    out.print(
        f"Score {found.score:.3f}{spread} at {found.easting:.0f} E, {found.northing:.0f} N: above "
        f"{100 * found.percentile:.1f} % of the area, on {found.layers_observed} of "
        f"{len(found.layers)} layers."
    )
    shown = found.layers.head(count).copy()
    shown["value"] = [
        "missing" if v != v else f"{v:.4g} {u}".rstrip()
        for v, u in zip(shown["value"], shown["unit"], strict=True)
    ]
    shown["percentile"] = ["–" if p != p else f"{100 * p:.0f}" for p in shown["percentile"]]
    shown["contribution"] = [f"{c:+.3f}".replace("-", "−") for c in shown["contribution"]]
    _print_table(shown.drop(columns="unit"))
    lowest = found.layers[found.layers["contribution"] < 0].tail(3)[::-1]
    if len(lowest):
        against = ", ".join(
            f"{name} (−{-c:.3f})"
            for name, c in zip(lowest["layer"], lowest["contribution"], strict=True)
        )
        out.print(f"Against it: {escape(against)}.")
    if found.deposit is not None:
        out.print(
            f"Most like {escape(found.deposit)}, {found.deposit_distance / 1000:.1f} km away: the "
            f"layers' percentiles differ by {100 * found.unlike:.0f} on average (two places drawn "
            "at random by about 33)."
        )


def _print_findings(path: Path) -> None:
    """What the check found, errors and warnings only; the report says it all."""
    from gossan import io

    for finding in io.read_json(path / ".stages" / "check-result.json")["findings"]:
        if finding["severity"] in {"error", "warning"}:
            place, message = escape(finding["place"]), escape(finding["message"])
            err.print(f"[yellow]Check, {finding['severity']}:[/] {place}: {message}")


def _print_held_out(path: Path) -> None:
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
    out.print(f"\n[bold]{escape(judged.title)}.[/] {escape(judged.text)}")


def _print_run(path: Path) -> None:
    out.print(f"\nRun folder: [bold]{path}[/]\nReport:     [bold]{path / 'report.html'}[/]")


def _print_table(table: pd.DataFrame) -> None:
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for column in table.columns:
        shown.add_column(str(column), justify="left" if table[column].dtype == object else "right")
    for row in table.itertuples(index=False):
        shown.add_row(*(escape(_cell(value)) for value in row))
    out.print(shown)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3g}"
    return str(value)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    err.print(f"[yellow]Warning:[/] {escape(str(message))}")


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Connect a Dask cluster for the time of a command."""
    if address is None:
        yield
        return
    from distributed import Client

    from gossan.exceptions import StudyError

    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise StudyError(f"No Dask scheduler answers at {address}: {error}.") from error
    with client:
        yield


@contextmanager
def _resumable() -> Iterator[None]:
    """Say on Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("Stopped. What is finished is kept; the same command goes on from there.")
        raise typer.Exit(130) from None


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Bars with the time left; plain lines where the output is no terminal."""
    if not err.is_terminal:
        told: set[str] = set()

        def tell(stage: str, done: int, total: int) -> None:
            line = f"{stage}: {'done' if done == total == 1 else f'{done} of {total}'}"
            milestone = done == total == 1 or stage in ("evaluation", "stability")
            if milestone and line not in told:
                told.add(line)
                err.print(line)

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
        TextColumn("{task.description:12}"),
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
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


if __name__ == "__main__":
    main()
