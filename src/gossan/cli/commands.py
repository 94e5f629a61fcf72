"""One thin command per verb."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gossan.cli.options import explainer_of, named, refuse_comma, refuse_idle, settings_of
from gossan.cli.terminal import (
    ROUNDS_SHOWN,
    err,
    out,
    plain,
    print_analogues,
    print_backbone,
    print_comparison,
    print_contributions,
    print_explanation,
    print_findings,
    print_held_out,
    print_leaning,
    print_predicted,
    print_regions,
    print_report,
    print_run,
    print_scores,
    print_source,
    print_table,
    progress_bars,
    resumable,
    warner,
)
from gossan.exceptions import GossanError, SurveyDataWarning

if TYPE_CHECKING:
    from gossan.pipeline.folder import Progress
    from gossan.study import Study

app = typer.Typer(
    help="Mineral prospectivity maps from few known deposits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
StudyFile = Annotated[Path, typer.Argument(help="The study file, or the folder that holds it.")]
Output = Annotated[
    Path | None, typer.Option(help="Run folder; default: runs/<name> beside the study file.")
]
Scheduler = Annotated[
    str | None, typer.Option(help="Dask cluster to predict on, e.g. tcp://10.0.0.1:8786.")
]


def main() -> None:
    """Run the command line; a user's mistake ends in one clear message and a non-zero exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what a terminal cannot show is no error
            stream.reconfigure(errors="replace")
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", SurveyDataWarning)
    warnings.showwarning = warner()
    try:
        refuse_comma(sys.argv[1:])
        app(standalone_mode=True)
    except GossanError as error:
        err.print(f"[bold red]Error:[/] {plain(error)}")
        sys.exit(1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        err.print(f"[bold red]Error:[/] {plain(f'{error.strerror or error}{where}')}.")
        sys.exit(1)


def _tell_version(wanted: bool) -> None:
    if wanted:
        from gossan import __version__

        out.print(f"gossan {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    """Options of gossan itself, before any command."""


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the district's files go.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed, another geology.")] = 0,
) -> None:
    """Make a synthetic district with known truth: map, targets, why, regions, analogues, methods.

    Then count what the map found of the deposits that nobody was shown.
    """
    from gossan.pipeline import run_demo

    with resumable(), progress_bars() as progress:
        path, found = run_demo(folder, seed=seed, progress=progress)
    out.print(f"Synthetic district {seed} written to [bold]{plain(folder)}[/].")
    out.print("\nHow many deposits does the top of the map hold?")
    print_table(found.reset_index())
    print_run(path)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder with the survey's files.")],
    force: Annotated[bool, typer.Option(help="Replace a study.toml that is there.")] = False,
) -> None:
    """Look at the files in a folder and write a commented study.toml that already runs."""
    from gossan import io
    from gossan.draft import draft_study
    from gossan.exceptions import StudyError
    from gossan.study import read_study

    file = folder / "study.toml"
    if file.exists() and not force:
        raise StudyError(f"{file} exists. Use --force to replace it.")
    io.write_text(file, draft_study(folder))
    out.print(
        f"Wrote [bold]{plain(file)}[/]. Read it, mend the guesses, then: gossan check {plain(file)}"
    )
    if read_study(file).deposits is None:
        out.print(
            f"No file speaks of known deposits: gossan regions {plain(file)} divides the area "
            "without any; a map needs some."
        )


@app.command()
def check(study: StudyFile) -> None:
    """Say what is wrong with the data, where, and how to mend it; score every layer."""
    from gossan.pipeline import check_method, check_settings
    from gossan.quality import check_study
    from gossan.study import read_study

    settings = read_study(study)
    check_method(settings)
    result = check_study(settings)
    for finding in result.findings:
        colour = {"error": "red", "warning": "yellow"}.get(finding.severity, "cyan")
        severity = f"[bold {colour}]{finding.severity}[/]"
        out.print(f"{severity} {plain(finding.place)}: {plain(finding.message)}")
        if finding.remedy:
            out.print(f"    → {plain(finding.remedy)}")
    if len(result.layer_scores):
        out.print()
        print_scores(result.layer_scores)
    n_errors = sum(finding.severity == "error" for finding in result.findings)
    out.print(f"\nFindings: {len(result.findings)}, errors among them: {n_errors}.")
    if n_errors:
        raise typer.Exit(1)
    if settings.deposits is not None:
        check_settings(settings)


@app.command()
def run(study: StudyFile, output: Output = None, scheduler: Scheduler = None) -> None:
    """Evidence → negatives → model → held-out evaluation → map, targets, report."""
    from gossan.pipeline import run_study
    from gossan.study import read_study

    settings = read_study(study)
    with resumable(), _cluster(scheduler), progress_bars() as progress:
        path = run_study(settings, output=output, progress=progress)
    print_findings(path)
    print_held_out(path)
    print_run(path)


@app.command()
def annotate(study: StudyFile, output: Output = None) -> None:
    """Annotate unlabelled cells round by round; honour what a geologist decided in the file."""
    import pandas as pd

    from gossan import io
    from gossan.pipeline import annotate_study
    from gossan.study import read_study

    settings = read_study(study)
    with resumable(), progress_bars() as progress:
        path = annotate_study(settings, output=output, progress=progress)
    summary = io.read_json(path / "annotation.json")
    rounds = pd.DataFrame(summary["rounds"])
    print_table(rounds[list(ROUNDS_SHOWN)].rename(columns=ROUNDS_SHOWN))
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
    where = "there" if named is None else f"in {plain(named)}, which the study names,"
    out.print(
        f"Annotation: [bold]{plain(path / 'annotation.gpkg')}[/]\n"
        f"Set 'decision' {where} to accept (barren), reject (no negative) or deposit, save, and "
        "run again: annotate, run and compare honour your decisions. The model's own words change "
        "nothing outside recursive negatives."
    )
    for name in ("annotation-rounds.png", "annotation-convergence.png", "annotation.parquet"):
        out.print(f"            {plain(path / name)}")


@app.command()
def explain(
    study: StudyFile,
    at: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="EASTING NORTHING of the place, in the study's CRS, with a space between."
        ),
    ] = None,
    maps: Annotated[
        bool, typer.Option("--maps", help="Map what each layer adds to the score.")
    ] = False,
    cells: Annotated[
        int | None,
        typer.Option(help="With --maps: cells explained, one a block; default: 2000.", min=1),
    ] = None,
    explainer: Annotated[
        str | None,
        typer.Option(
            help="With --at or --maps: gradients (networks), shap (trees), removal (others); "
            "default: auto."
        ),
    ] = None,
    layers: Annotated[
        int | None, typer.Option(help="Without --maps: layers shown; default: 5.", min=1)
    ] = None,
    output: Output = None,
) -> None:
    """Why a place scores as it does, with --at; without, which layers the whole map leans on."""
    from gossan.pipeline import explain_study, layers_by_blocks, map_contributions, run_folder
    from gossan.study import read_study

    refuse_idle(at is not None, maps, cells=cells, explainer=explainer, layers=layers)
    settings, way, count = read_study(study), explainer_of(explainer or "auto"), layers or 5
    with resumable(), progress_bars() as progress:
        if maps:
            found = map_contributions(
                settings, cells=cells or 2000, output=output, explainer=way, progress=progress
            )
        elif at is not None:
            place = explain_study(settings, *at, output=output, explainer=way, progress=progress)
        else:
            table = layers_by_blocks(settings, output=output, progress=progress)
    if maps:
        print_contributions(found, run_folder(settings, output))
    elif at is not None:
        print_explanation(place, count)
    else:
        print_leaning(table.head(count))


@app.command()
def regions(
    study: StudyFile,
    count: Annotated[
        int | None, typer.Option(help="Regions; default: as many as can be told apart.", min=2)
    ] = None,
    method: Annotated[
        str, typer.Option(help="k-means, gaussian-mixture or hierarchical.")
    ] = "k-means",
    by: Annotated[
        str, typer.Option(help="What cells are compared by: evidence or embedding.")
    ] = "evidence",
    output: Output = None,
) -> None:
    """Divide the area into regions of like evidence, without any deposit, and say what each is."""
    from gossan.pipeline import regions_study
    from gossan.study import read_study

    settings = read_study(study)
    with resumable(), progress_bars() as progress:
        found = regions_study(
            settings,
            output=output,
            count="auto" if count is None else count,
            method=method,  # type: ignore[arg-type]  # checked there, for notebooks too
            by=by,  # type: ignore[arg-type]
            progress=progress,
        )
        report = _renewed_report(settings, output, progress)
    print_regions(found)
    print_report(report)


@app.command()
def analogues(
    study: StudyFile,
    like: Annotated[
        str | None, typer.Option(help="A known deposit by its name, or a part of it.")
    ] = None,
    at: Annotated[
        tuple[float, float] | None,
        typer.Option(help="EASTING NORTHING of a place, in the study's CRS, with a space between."),
    ] = None,
    within: Annotated[
        Path | None, typer.Option(help="Polygons: a.geojson, or 'my.gpkg|layername=hills'.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="What cells are compared by: evidence or embedding.")
    ] = "evidence",
    count: Annotated[int, typer.Option(help="Areas listed.", min=1)] = 10,
    output: Output = None,
) -> None:
    """Search the area for ground like a known deposit, a place, or a polygon."""
    from gossan.pipeline import analogues_study
    from gossan.study import read_study

    settings = read_study(study)
    with resumable(), progress_bars() as progress:
        found = analogues_study(
            settings,
            like=like,
            at=at,
            within=within,
            by=by,  # type: ignore[arg-type]  # checked there, for notebooks too
            count=count,
            output=output,
            progress=progress,
        )
        report = _renewed_report(settings, output, progress)
    print_analogues(found)
    print_report(report)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A run folder, or the folder model in it.")],
    study: StudyFile,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Take layers that the study lacks as missing."),
    ] = False,
    output: Output = None,
) -> None:
    """Map another area by a trained model, and where it has seen nothing like the ground."""
    from gossan.pipeline import predict_study
    from gossan.study import read_study

    with resumable(), progress_bars() as progress:
        found = predict_study(
            model,
            read_study(study),
            output=output,
            allow_missing=allow_missing,
            progress=progress,
        )
    print_predicted(found)


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
    with resumable(), progress_bars() as progress:
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
    print_backbone(file, study)


@app.command()
def train_source(
    study: StudyFile,
    output: Annotated[
        Path | None,
        typer.Option(help="The file; default: source.safetensors beside the study file."),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="small (minutes on two cores) or published (a GPU's work).")
    ] = "small",
    window: Annotated[
        int | None, typer.Option(help="Cells across a patch; default: chosen for the area.", min=1)
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(help="Cells from patch to patch; default: half a window or less.", min=1),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(help="Cells looked at of a patch; default: seven eighths of it.", min=1),
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Channels of the network's first stage.", min=1)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="How long to learn.", min=1)] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, gpu, …")] = "auto",
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")] = "32-true",
) -> None:
    """Learn the patches of a well-explored area into a file that other studies take from."""
    from gossan.pipeline import train_source_study
    from gossan.study import read_study

    given = {"patch_window": window, "patch_stride": stride, "crop": crop}
    given |= {"width": width, "epochs": epochs}
    with resumable(), progress_bars() as progress:
        file = train_source_study(
            read_study(study),
            output=output,
            preset=preset,
            progress=progress,
            accelerator=accelerator,
            precision=precision,
            **{name: value for name, value in given.items() if value is not None},
        )
    print_source(file, study)


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
    from gossan.pipeline import compare_study, comparison_table, own_left_out
    from gossan.study import read_study

    settings = read_study(study)
    with resumable(), progress_bars() as progress:
        path = compare_study(
            settings,
            methods=named(methods),
            negatives=named(negatives),
            reference=reference and reference.replace(" x ", " × "),
            controls=controls,
            draws=draws,
            variants=[settings_of(text) for text in variants or []],
            output=output,
            n_jobs=jobs,
            progress=progress,
        )
        report = _renewed_report(settings, output, progress)
    print_comparison(path, comparison_table(path), own_left_out(settings, path, study, output))
    print_report(report)


@app.command()
def fetch(
    survey: Annotated[str, typer.Argument(help="jabal-al-hasir, nanling or cloncurry.")],
    folder: Annotated[Path | None, typer.Option(help="Copy the files here.")] = None,
) -> None:
    """Bring an open survey by name, its files checked against their SHA-256."""
    from gossan.datasets import describe_survey, fetch_survey

    path = fetch_survey(survey, folder=folder)
    out.print(plain(describe_survey(survey)))
    out.print(f"The files are in [bold]{plain(path)}[/].")


def _renewed_report(study: Study, output: Path | None, progress: Progress) -> Path | None:
    """A finished run's report with what a command has found; what it found is kept in any case."""
    from gossan.pipeline import renew_report

    try:
        return renew_report(study, output=output, progress=progress)
    except GossanError as error:
        err.print(f"[yellow]The report was not renewed:[/] {plain(error)}")
        return None


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
