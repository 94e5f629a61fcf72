"""`gossan compare`: methods × negatives on the same folds, controls and consensus beside them."""

from __future__ import annotations

import inspect
import json
import shlex
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import geopandas as gpd
import joblib
import pandas as pd

from gossan import io
from gossan.annotate import RecursiveNegatives, count_decisions
from gossan.exceptions import StudyError, SurveyDataWarning
from gossan.labels import AllUnlabelled, NegativeSampler
from gossan.methods import METHODS, SAMPLERS, make_model, make_sampler
from gossan.mistakes import suggest
from gossan.pipeline.folder import Progress, RunFolder, other_folder, run_folder
from gossan.pipeline.inputs import OpenStudy, opened
from gossan.pipeline.keys import hash_of
from gossan.pipeline.settings import (
    check_settings,
    method_parameters,
    other_occurrences,
    study_model,
    study_splitter,
)
from gossan.report import (
    ComparisonInputs,
    OwnLeftOut,
    agreement_style,
    area_thresholds,
    decision_facts,
    render_comparison,
    score_style,
)
from gossan.study import Study
from gossan.validate import Comparison, Workflow, compare_workflows

RATIO = 5.0
"""Negatives per positive of every sampler compared: like is compared with like."""
DRAWS = 3
"""Draws that every method is averaged over, where a sampler's draws differ."""

_SHOWN = "comparison-shown"
_OUTPUTS = [
    *("comparison.json", "comparison.csv", "comparison.html", "consensus.tif", "agreement.tif"),
    *("consensus.qml", "agreement.qml"),
]


def compare_study(
    study: Study,
    *,
    methods: Sequence[str] | None = None,
    negatives: Sequence[str] | None = None,
    reference: str | None = None,
    controls: bool = True,
    draws: int = DRAWS,
    variants: Sequence[Mapping[str, Any]] = (),
    output: Path | None = None,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Compare methods × negatives on identical folds, seeds and background.

    Parameters
    ----------
    study : Study
    methods, negatives : sequence of str, optional
        Names of the catalogue; default: all that the study can use. The negatives ``"default"``
        give each method its own sampler and draws.
    reference : str, optional
        A workflow, ``"method × negatives"``, that differences are taken against. Default: the
        study's own method with ``random`` negatives.
    controls : bool, default True
        Add the four controls of recursive annotation, for the reference's method: round 0, one
        round, as many cells at random, rounds on shuffled scores.
    draws : int, default 3
        Draws of negatives behind every workflow; 1 for a sampler whose draws are all alike. A
        method that is itself an ensemble of draws shares its members among them.
    variants : sequence of mapping, optional
        Settings of a method, ``{"inner": 5, "outer": 7}``: every method that has them is compared
        as it is and with each of these sets, in rows of their own.
    output : path, optional
        The run folder; default ``runs/<name>`` beside the study file.
    n_jobs : int, optional
        Processes; default: one a processor.
    progress : callable, optional
        Told (stage, steps done, steps in all).

    Returns
    -------
    pathlib.Path
        The run folder, with ``comparison.html``, ``comparison.csv``, ``comparison.json``,
        ``consensus.tif`` and ``agreement.tif``, with QGIS styles.

    Raises
    ------
    gossan.exceptions.GossanError
        For an unknown name, or whatever is wrong with the survey's files or settings. A workflow
        that cannot be run on this study is reported in the tables, with the reason.
    """
    path = run_folder(study, output)
    check_settings(study)
    workflows = study_workflows(study, methods, negatives, draws=draws, variants=variants)
    options = None
    if all(workflow.method != study.method.name for workflow in workflows):
        options = _with_own(study, workflows, negatives, reference, controls, draws, variants)
    reference = _reference(study, workflows, reference)
    if controls:
        method = next(w.method for w in workflows if w.name == reference)
        workflows += _controls(study, method, draws)
    with opened(study, path, progress) as at_hand:
        settings = study.validation
        found = compare_workflows(
            workflows,
            at_hand.evidence,
            at_hand.labels,
            splitter=study_splitter(study),
            reference=reference,
            background_folds=settings.background_folds,
            n_bootstrap=settings.bootstrap,
            random_state=study.seed,
            store=_store(study, at_hand.run, at_hand.keys["labels"]),
            n_jobs=n_jobs,
            progress=at_hand.run.steps("comparison"),
        )
        decisions = count_decisions(at_hand.labels)
        with at_hand.run.making(_SHOWN, at_hand.keys["evaluation"], _OUTPUTS):
            _write(study, path, found, at_hand.deposits, decisions, options)
    return path


def comparison_shown(study: Study, at_hand: OpenStudy) -> dict[str, Any]:
    """The table and the reference of :func:`compare_study` on a study as it is, where it was run.

    Of a comparison of older evidence, labels, folds, method or negatives nothing is shown.
    """
    if not at_hand.run.holds(_SHOWN, at_hand.keys["evaluation"], _OUTPUTS):
        return {}
    told = io.read_json(at_hand.run.path / "comparison.json")
    return {
        "comparison": pd.DataFrame(told["workflows"]),
        "reference": told["reference"],
        "own_left_out": _left_out(
            study, told["reference"], told.get("with_own"), _named(study, at_hand.run.path)
        ),
    }


def own_left_out(
    study: Study, path: Path, typed: Path, output: Path | None = None
) -> OwnLeftOut | None:
    """What to tell where :func:`compare_study` was given methods without the study's own.

    Parameters
    ----------
    study : Study
    path : Path
        The run folder.
    typed, output : path
        The study and the run folder as they were typed.
    """
    told = io.read_json(path / "comparison.json")
    command = shlex.quote(str(typed))
    command += "" if output is None else f" --output {shlex.quote(str(output))}"
    return _left_out(study, told["reference"], told.get("with_own"), command)


def study_workflows(
    study: Study,
    methods: Sequence[str] | None = None,
    negatives: Sequence[str] | None = None,
    *,
    draws: int = DRAWS,
    variants: Sequence[Mapping[str, Any]] = (),
) -> list[Workflow]:
    """Every pair of method and negatives that the study can use.

    Methods that learn with a network take hours over all samplers: they are compared when named.

    Raises
    ------
    StudyError
        For a name that is unknown, or a variant whose settings no method compared makes use of.
    """
    chosen = _known("method", methods, METHODS)
    if methods is None:
        chosen = [name for name in chosen if not METHODS[name].deep]
    samplers = _known("negative sampler", negatives, SAMPLERS, also=("default",))
    if negatives is None and study.negatives.occurrences is None:
        samplers.remove("other-deposits")
    found = [
        _own_workflow(study, method, changed)
        if name == "default"
        else _workflow(
            study, method, name, study_negatives(study, method, name), draws, changed=changed
        )
        for name in samplers
        for method, changed in _varied(chosen, variants)
    ]
    return _distinct(found)


def _distinct(workflows: Sequence[Workflow]) -> list[Workflow]:
    """Checked, and each once: a variant may be what the method is already."""
    kept: dict[tuple[str, str], Workflow] = {}
    for workflow in workflows:
        if hasattr(workflow.model, "check"):
            workflow.model.check()
        made_of = joblib.hash((workflow.method, workflow.model, workflow.sampler, workflow.n_draws))
        first = kept.setdefault((workflow.negatives, made_of), workflow)
        if first.name != workflow.name:
            warnings.warn(
                f"{workflow.name} has the settings of {first.name}: it is compared once.",
                SurveyDataWarning,
                stacklevel=3,
            )
    return list(kept.values())


def _varied(
    methods: Sequence[str], variants: Sequence[Mapping[str, Any]]
) -> list[tuple[str, Mapping[str, Any]]]:
    """Each method as it is, without what it is about, and as every variant that suits it."""
    known = {
        method: set(inspect.signature(METHODS[method].estimator).parameters) for method in methods
    }

    def suits(method: str, variant: Mapping[str, Any]) -> bool:
        return set(variant) <= known[method] and not METHODS[method].idle(variant)

    for variant in variants:
        if not any(suits(method, variant) for method in methods):
            every = sorted(set().union(*known.values()))
            slips = [name for name in variant if name not in every]
            hint = suggest(slips[0], every) if slips else ""
            raise StudyError(
                f"No method compared makes use of {', '.join(variant)}.{hint} Compared are "
                f"{', '.join(methods)}."
            )
    found: list[tuple[str, Mapping[str, Any]]] = []
    for method in methods:
        own = [variant for variant in variants if suits(method, variant)]
        ablation = METHODS[method].ablation
        if ablation and ablation not in own:
            own.insert(0, ablation)
        found += [(method, changed) for changed in ({}, *own)]
    return found


def study_negatives(study: Study, method: str, name: str) -> NegativeSampler:
    """A sampler as it is compared: the study's settings where it is the study's own."""
    sampler = SAMPLERS[name]
    known = inspect.signature(sampler).parameters
    parameters: dict[str, Any] = {"ratio": _ratio(study)} if "ratio" in known else {}
    if name == "other-deposits":
        parameters = {"occurrences": other_occurrences(study)}
    limit = METHODS[method].max_negatives
    if name == "all-unlabelled" and limit is not None:
        parameters = {"max_cells": limit}
    if name == study.negatives.sampler:
        parameters |= study.negatives.parameters
    return make_sampler(name, **parameters)


def _own_workflow(study: Study, method: str, changed: Mapping[str, Any]) -> Workflow:
    """A method with its own negatives and draws, as a study without `[negatives]` runs it."""
    settings = study.method.parameters if method == study.method.name else {}
    model, sampler, draws = study_model(study.with_method(method, **{**settings, **changed}))
    name = f"{_called(method, changed)} × default"
    return Workflow(name, method, "default", model, sampler, draws, code=METHODS[method].code)


def _called(method: str, changed: Mapping[str, Any]) -> str:
    """A method by its name and the settings that set it apart."""
    if not changed:
        return method
    return f"{method} ({', '.join(f'{key}={value}' for key, value in changed.items())})"


def _workflow(
    study: Study,
    method: str,
    negatives: str,
    sampler: NegativeSampler,
    draws: int,
    role: Any = "workflow",
    changed: Mapping[str, Any] = MappingProxyType({}),
) -> Workflow:
    own = study.method.parameters if method == study.method.name else {}
    parameters = method_parameters(study.with_method(method, **{**own, **changed}), method)
    alike = isinstance(sampler, AllUnlabelled) or negatives == "other-deposits"
    count = 1 if alike else draws
    members = _members(method, draws)
    if members is not None:
        parameters.setdefault("n_estimators", max(1, members // count))
    return Workflow(
        name=f"{_called(method, changed)} × {negatives}",
        method=method,
        negatives=negatives,
        model=make_model(method, random_state=study.seed, screen=study.method.screen, **parameters),
        sampler=sampler,
        n_draws=count,
        role=role,
        code=METHODS[method].code,
    )


def _members(method: str, draws: int) -> int | None:
    """Members of a method's ensemble over all its draws; None if it is none."""
    entry = METHODS[method]
    setting = inspect.signature(entry.estimator).parameters.get("n_estimators")
    if setting is None or method == "gradient-boosting":  # its trees are steps, not members
        return None
    own = int(entry.parameters.get("n_estimators", setting.default))
    return own if entry.draws == 1 else own * draws


def _controls(study: Study, method: str, draws: int) -> list[Workflow]:
    """What recursion has to beat: no round, one round, as many at random, rounds on noise."""
    settings: dict[str, Any] = {"ratio": _ratio(study)}
    if study.negatives.sampler == "recursive":
        settings |= study.negatives.parameters
    free = {**settings, "guard": False}
    return [
        _workflow(study, method, name, RecursiveNegatives(**parameters), draws, "control")
        for name, parameters in (
            ("recursive: round 0", {**free, "max_rounds": 0}),
            ("recursive: one round", {**free, "max_rounds": 1}),
            ("recursive: same count at random", {**free, "control": "same-count"}),
            ("recursive: shuffled scores", {**free, "control": "shuffled"}),
        )
    ]


def _known(
    what: str, names: Sequence[str] | None, catalogue: Any, also: Sequence[str] = ()
) -> list[str]:
    if names is not None and not names:
        raise StudyError(f"No {what} is named: give one or more of {', '.join(catalogue)}.")
    for name in names or ():
        if name not in catalogue and name not in also:
            raise StudyError(f"Unknown {what} {name!r}.{suggest(name, catalogue)}")
    return list(catalogue) if names is None else list(dict.fromkeys(names))


def _reference(study: Study, workflows: Sequence[Workflow], name: str | None) -> str:
    names = [workflow.name for workflow in workflows]
    if name is not None:
        if name not in names:
            raise StudyError(
                f"The reference {name!r} is not among the workflows compared."
                f"{suggest(name, names)} Write it as 'method × negatives'."
            )
        return name
    wanted = f"{study.method.name} × random"
    own = [n for n in names if n.startswith(f"{study.method.name} × ")]
    return wanted if wanted in names else (own or names)[0]


def _with_own(
    study: Study,
    workflows: Sequence[Workflow],
    negatives: Sequence[str] | None,
    reference: str | None,
    controls: bool,
    draws: int,
    variants: Sequence[Mapping[str, Any]],
) -> str:
    """The options of `gossan compare` for the same comparison with the study's own method too."""
    methods = dict.fromkeys([study.method.name, *(workflow.method for workflow in workflows)])
    words = ["--methods", ",".join(methods)]
    if negatives is not None:
        words += ["--negatives", ",".join(negatives)]
    if reference is not None:
        words += ["--reference", reference]
    for variant in variants:
        settings = {k: v if isinstance(v, str) else json.dumps(v) for k, v in variant.items()}
        words += ["--set", ",".join(f"{name}={value}" for name, value in settings.items())]
    if draws != DRAWS:
        words += ["--draws", str(draws)]
    return shlex.join(words if controls else [*words, "--no-controls"])


def _left_out(study: Study, reference: str, options: str | None, named: str) -> OwnLeftOut | None:
    """What to tell of a comparison without the study's own method, the study named as typed."""
    if options is None:
        return None
    return OwnLeftOut(study.method.name, reference, f"gossan compare {named} {options}")


def _named(study: Study, path: Path) -> str:
    """The study as it is typed beside its file, with a run folder that is not the usual one."""
    output = other_folder(study, path)
    named = shlex.quote(study.path.name)
    return named if output is None else f"{named} --output {shlex.quote(output)}"


def _store(study: Study, run: RunFolder, labels: str) -> io.ArrayFolder:
    """Finished pieces of all comparisons of the same evidence, labels and folds."""
    return io.ArrayFolder(run.path / ".stages" / "comparison" / _made_of(study, labels)[:16])


def _made_of(study: Study, labels: str) -> str:
    return hash_of(labels, study.validation.model_dump(exclude={"bootstrap"}), study.seed)


def _write(
    study: Study,
    path: Path,
    found: Comparison,
    deposits: gpd.GeoDataFrame,
    decisions: dict[str, int],
    with_own: str | None,
) -> None:
    with io.replacing(path / "comparison.csv") as partial:
        found.table.to_csv(partial, index=False, float_format="%.6g")
    io.write_json(
        path / "comparison.json",
        {
            "study": study.name,
            "reference": found.reference,
            "with_own": with_own,
            "n_deposits": found.n_deposits,
            "n_cells": found.n_cells,
            "folds": found.n_folds,
            "decisions": decisions,
            "workflows": found.table.to_dict("records"),
            "failed": [{"workflow": name, "reason": reason} for name, reason in found.failed],
        },
    )
    io.write_map(path / "consensus.tif", found.consensus, bands=("consensus", "spread"))
    io.write_map(path / "agreement.tif", found.agreement, bands=("agreement",))
    io.write_text(path / "consensus.qml", score_style(area_thresholds(found.consensus.to_numpy())))
    io.write_text(path / "agreement.qml", agreement_style())
    inputs = ComparisonInputs(
        study_name=study.name,
        table=found.table,
        reference=found.reference,
        deposits=deposits,
        facts=_facts(study, found) | dict(decision_facts(decisions)),
        consensus=found.consensus,
        agreement=found.agreement,
        failed=found.failed,
        own_left_out=_left_out(study, found.reference, with_own, _named(study, path)),
    )
    io.write_text(path / "comparison.html", render_comparison(inputs))


def _facts(study: Study, found: Comparison) -> dict[str, str]:
    return {
        "deposits": f"{found.n_deposits}",
        "cells": f"{found.n_cells:,}",
        "folds": f"{found.n_folds}, {study.validation.splitter}",
        "negatives per positive": f"{_ratio(study):g}, where a sampler draws by number",
        "seed": f"{study.seed}",
    }


def _ratio(study: Study) -> float:
    return float(study.negatives.parameters.get("ratio", RATIO))


def comparison_table(path: Path) -> pd.DataFrame:
    """The table that :func:`compare_study` left in a run folder."""
    return pd.DataFrame(io.read_json(path / "comparison.json")["workflows"])
