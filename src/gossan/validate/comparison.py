"""Many workflows on the same folds, seeds and background: what each choice is worth."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from gossan import io
from gossan.draws import DrawEnsemble, DrawnNegatives, draw_seeds
from gossan.evaluate import AREAS, held_out_summary, paired_difference, rank_bounds
from gossan.evidence import CellFeatures, FeatureSubset, centre_features
from gossan.exceptions import GossanError, LabelError, SurveyDataWarning
from gossan.grid import Grid
from gossan.mistakes import suggest
from gossan.validate.cells import (
    FloatArray,
    IntArray,
    ModelView,
    StudyCells,
    background_parts,
    deposit_cells,
    study_cells,
)
from gossan.validate.folds import score_cells
from gossan.validate.workers import end_with

Store = MutableMapping[str, dict[str, npt.NDArray[Any]]]

_FULL = -1
"""Number of the "fold" that holds nothing out: it makes the maps."""
_STEPS = 65_535
_CONSENSUS_CELLS = 50_000
_TOP = 0.05
_DIFFERENCES = [
    f"{name}{end}"
    for name in ("difference_auc", "difference_capture_0.05")
    for end in ("", "_low", "_high")
]


@dataclass(frozen=True)
class Workflow:
    """One combination of a method and its negatives.

    Attributes
    ----------
    name : str
        Unique among those compared.
    method, negatives : str
        As the table shows them.
    model : classifier
        Unfitted, following gossan's estimator contract.
    sampler : sampler
        From :mod:`gossan.labels` or :mod:`gossan.annotate`.
    n_draws : int
        Draws of negatives that the model is averaged over.
    role : {"workflow", "control"}
        A control is judged like any other but has no part in the consensus.
    code : str, default ""
        Hash of what else decides its figures: finished pieces of another are not taken for its.
    """

    name: str
    method: str
    negatives: str
    model: Any
    sampler: Any
    n_draws: int = 1
    role: Literal["workflow", "control"] = "workflow"
    code: str = ""


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a workflow, best AUC first: ``workflow``, ``method``, ``negatives``, ``draws``,
        ``role``, ``auc_background`` with ``auc_low`` and ``auc_high``, ``capture_0.01`` … with
        ``_low`` and ``_high``, ``normalised_density``, ``selectivity``, ``difference_auc`` and
        ``difference_capture_0.05`` with ``_low`` and ``_high``, ``seconds``. The consensus is a
        row of role ``consensus``.
    reference : str
        The workflow that differences are taken against.
    consensus : xarray.DataArray
        ``(y, x)`` mean percentile rank over the workflows, NaN where missing, with a coordinate
        ``spread``: the ranks' standard deviation.
    agreement : xarray.DataArray
        ``(y, x)`` share of the workflows in whose top 5 % a cell lies.
    failed : list of (workflow, reason)
    n_deposits, n_cells, n_folds : int
    """

    table: pd.DataFrame
    reference: str
    consensus: xr.DataArray
    agreement: xr.DataArray
    failed: list[tuple[str, str]]
    n_deposits: int
    n_cells: int
    n_folds: int


def compare_workflows(
    workflows: Sequence[Workflow],
    evidence: xr.DataArray,
    labels: xr.DataArray,
    *,
    splitter: Any,
    reference: str | None = None,
    background_folds: int = 2,
    max_background: int | None = 500_000,
    n_bootstrap: int = 5000,
    random_state: int = 0,
    store: Store | None = None,
    n_jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Judge workflows on identical folds, seeds and background, as :func:`cross_validate` does.

    Within a fold every workflow of one sampler learns from the same draws of negatives. Each
    workflow is also fitted to all deposits, for the maps of consensus and agreement. Published
    work finds that almost any workflow yields a discriminating map, and that its figures say
    little of where maps agree (Zhang et al. 2024): so the consensus is judged held out, as one
    more row, and each row says how selective its map is.

    Parameters
    ----------
    workflows : sequence of Workflow
    evidence, labels, splitter, background_folds, max_background, n_bootstrap, random_state
        As in :func:`gossan.validate.cross_validate`.
    reference : str, optional
        Name of the workflow that differences are taken against; default: the first.
    store : mutable mapping, optional
        Where finished pieces are kept, such as :class:`gossan.io.ArrayFolder`; pieces found there
        are not made again, so a killed comparison goes on. It must be fit for several processes
        where ``n_jobs`` is not 1.
    n_jobs : int, optional
        Processes, each with one thread; default: one a processor.
    progress : callable, optional
        Called with (pieces done, pieces in all).

    Returns
    -------
    Comparison

    Raises
    ------
    LabelError
        If the reference failed.
    ValueError
        If there is no workflow, two have one name, or none has the reference's.

    References
    ----------
    Zhang, S. E. et al. (2024). Workflow-induced uncertainty in data-driven mineral prospectivity
    mapping. Natural Resources Research 33, 995-1023. doi 10.1007/s11053-024-10322-8
    """
    reference = _checked_reference([workflow.name for workflow in workflows], reference)
    cells = study_cells(evidence, labels)
    setting = _Setting(
        cells=cells,
        centres=deposit_cells(cells, labels),
        parts=background_parts(cells, background_folds, max_background, random_state),
        splits=list(splitter.split(cells.coordinates, cells.labels, cells.deposits)),
        random_state=random_state,
    )
    store = {} if store is None else store
    _run_all(setting, workflows, store, n_jobs, progress)
    failed = [(w.name, reason) for w in workflows if (reason := _failure(setting, w, store))]
    lost = dict(failed)
    kept = [workflow for workflow in workflows if workflow.name not in lost]
    if reference in lost:
        raise LabelError(
            f"The reference workflow {reference!r} could not be run: {lost[reference]} "
            "Name another one as reference."
        )
    table = _table(setting, kept, store, reference, n_bootstrap)
    consensus, agreement = _maps(setting, kept, store, Grid.from_dataarray(labels))
    return Comparison(
        table=table,
        reference=reference,
        consensus=consensus,
        agreement=agreement,
        failed=failed,
        n_deposits=sum(len(setting.held_out(fold)) for fold in range(len(setting.splits))),
        n_cells=len(cells.labels),
        n_folds=len(setting.splits),
    )


def _checked_reference(names: list[str], reference: str | None) -> str:
    if not names:
        raise ValueError("There is no workflow to compare: give at least one.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"Two workflows are named {twice[0]!r}; names tell the rows apart.")
    if reference is not None and reference not in names:
        raise ValueError(f"No workflow is named {reference!r}.{suggest(reference, names)}")
    return names[0] if reference is None else reference


@dataclass(frozen=True)
class _Setting:
    """What all workflows share."""

    cells: StudyCells
    centres: IntArray
    parts: IntArray
    splits: list[tuple[IntArray, IntArray]]
    random_state: int
    views: dict[str, ModelView] = field(default_factory=dict)

    @property
    def n_parts(self) -> int:
        return int(self.parts.max()) + 1

    def held_out(self, fold: int) -> IntArray:
        """Deposits that a fold holds out."""
        held = np.unique(self.cells.deposits[self.splits[fold][1]])
        return np.intersect1d(held, np.flatnonzero(self.centres >= 0))

    def shown(self, fold: int, part: int) -> IntArray:
        """Cells to train on."""
        if fold == _FULL:
            return np.arange(len(self.cells.labels))
        train = self.splits[fold][0]
        in_part = (self.parts == part) | (self.parts == -2 - part)
        return train[~in_part[train]]

    def draw(self, shown: IntArray, workflows: list[Workflow]) -> DrawnNegatives:
        """The draws of a sampler that its workflows share, positions among the cells shown."""
        seeds = draw_seeds(self.random_state, max(workflow.n_draws for workflow in workflows))
        X = centre_features(FeatureSubset(self.cells.features, shown))
        y, coordinates = self.cells.training_labels[shown], self.cells.coordinates[shown]
        return DrawnNegatives(workflows[0].sampler.sample_many(X, y, coordinates, seeds))

    def fit(
        self, workflow: Workflow, drawn: DrawnNegatives, shown: IntArray
    ) -> tuple[DrawEnsemble, CellFeatures]:
        """A workflow's ensemble on the draws given, and what it looks at."""
        model, features = self.views[workflow.name].within(shown)
        ensemble = DrawEnsemble(model, drawn, workflow.n_draws, self.random_state)
        y, coordinates = self.cells.training_labels[shown], self.cells.coordinates[shown]
        return ensemble.fit(FeatureSubset(features, shown), y, coordinates), features

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Folds and parts of the background, then the whole."""
        for fold in range(len(self.splits)):
            for part in range(self.n_parts):
                yield fold, part
        yield _FULL, 0


def _run_all(
    setting: _Setting,
    workflows: Sequence[Workflow],
    store: Store,
    n_jobs: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Every piece that the store does not hold yet, in processes of one thread each."""
    for fold, part in setting.pieces():
        for key in (_key(fold, part, workflow) for workflow in workflows):
            if key in store and "error" in store[key]:
                del store[key]  # what was wrong, such as a full disk, may be right by now
    tasks = [
        (fold, part, group)
        for group in _by_sampler(workflows)
        for fold, part in setting.pieces()
        if any(_key(fold, part, workflow) not in store for workflow in group)
    ]
    tasks = _taught(setting, tasks, store)
    total = len(_by_sampler(workflows)) * (len(setting.splits) * setting.n_parts + 1)
    if progress is not None:
        progress(total - len(tasks), total)
    count = joblib.cpu_count() if n_jobs is None else n_jobs
    if count == 1 or len(tasks) < 2 or isinstance(store, dict):
        finished = (_run_task(setting, *task, store) for task in tasks)
    else:
        networks = io.networks_folder()  # asked now: joblib asks for its tasks in other threads
        finished = joblib.Parallel(count, return_as="generator_unordered")(
            joblib.delayed(_run_in_worker)(os.getpid(), networks, setting, *task, store)
            for task in tasks
        )
    said: set[tuple[type[Warning], str]] = set()
    for done, told in enumerate(finished, start=total - len(tasks) + 1):
        for category, message in told:
            if (category, message) not in said:
                said.add((category, message))
                warnings.warn(message, category, stacklevel=3)
        if progress is not None:
            progress(done, total)


def _taught(
    setting: _Setting, tasks: list[tuple[int, int, list[Workflow]]], store: Store
) -> list[tuple[int, int, list[Workflow]]]:
    """Let every workflow that is still to be run learn from the evidence, once for all workers.

    One that cannot is recorded as failed in its pieces.
    """
    lost: dict[str, str] = {}
    for workflow in {w.name: w for _, _, group in tasks for w in group}.values():
        try:
            setting.views[workflow.name] = ModelView(workflow.model, setting.cells)
        except GossanError as error:
            lost[workflow.name] = str(error)
    left = []
    for fold, part, group in tasks:
        for workflow in group:
            key = _key(fold, part, workflow)
            if workflow.name in lost and key not in store:
                store[key] = {"error": np.array(lost[workflow.name])}
        kept = [workflow for workflow in group if workflow.name not in lost]
        if kept:
            left.append((fold, part, kept))
    return left


def _by_sampler(workflows: Sequence[Workflow]) -> list[list[Workflow]]:
    """Workflows that can share their draws of negatives."""
    groups: dict[str, list[Workflow]] = {}
    for workflow in workflows:
        # By content: scikit-learn's repr leaves out the middle of a long setting.
        groups.setdefault(joblib.hash(workflow.sampler), []).append(workflow)
    return list(groups.values())


def _run_in_worker(
    parent: int, networks: Path | None, *task: Any
) -> list[tuple[type[Warning], str]]:
    end_with(parent)
    with io.networks_kept(networks):  # a worker outlives the comparison that started it
        return _run_task(*task)


def _run_task(
    setting: _Setting, fold: int, part: int, group: list[Workflow], store: Store
) -> list[tuple[type[Warning], str]]:
    """Judge every workflow of one sampler on one piece; what was warned of, for the parent.

    A process of its own has no say in how the user's process shows warnings.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", SurveyDataWarning)
        _fill_piece(setting, fold, part, group, store)
    return [(warning.category, str(warning.message)) for warning in told]


def _fill_piece(
    setting: _Setting, fold: int, part: int, group: list[Workflow], store: Store
) -> None:
    """Draw once, then fit and judge every workflow of one sampler on one piece."""
    todo = [workflow for workflow in group if _key(fold, part, workflow) not in store]
    with threadpool_limits(limits=1), joblib.parallel_config(backend="sequential"):
        shown = setting.shown(fold, part)
        start = time.perf_counter()
        try:
            drawn = setting.draw(shown, todo)
        except GossanError as error:
            for workflow in todo:
                store[_key(fold, part, workflow)] = {"error": np.array(str(error))}
            return
        for_draws = (time.perf_counter() - start) / len(todo)
        for workflow in todo:
            start = time.perf_counter()
            try:
                fitted, features = setting.fit(workflow, drawn, shown)
                record = _judge(setting, fold, part, fitted, features)
                record["seconds"] = np.array(time.perf_counter() - start + for_draws)
            except GossanError as error:
                record = {"error": np.array(str(error))}
            store[_key(fold, part, workflow)] = record


def _judge(
    setting: _Setting, fold: int, part: int, model: DrawEnsemble, features: CellFeatures
) -> dict[str, npt.NDArray[Any]]:
    """Ranks of the held-out deposits and of the background; of every cell for the maps."""
    if fold == _FULL:
        scores = score_cells(model, features, np.arange(len(setting.cells.labels)))
        return {"ranks": _quantised(scores), "above_half": np.array((scores > 0.5).mean())}
    background = score_cells(model, features, np.flatnonzero(setting.parts == part))
    held_out = setting.centres[setting.held_out(fold)]
    bounds = rank_bounds(score_cells(model, features, held_out), background)
    step = max(1, -(-len(background) // _CONSENSUS_CELLS))
    return {"bounds": bounds, "background": _quantised(background)[::step]}


def _quantised(scores: FloatArray) -> npt.NDArray[np.uint16]:
    """Mean percentile rank of each score, in steps of 1/65,535."""
    share = (rankdata(scores) - 0.5) / len(scores)
    return np.round(share * _STEPS).astype(np.uint16)


def _key(fold: int, part: int, workflow: Workflow) -> str:
    place = "map" if fold == _FULL else f"fold-{fold}-part-{part}"
    made_of = joblib.hash((workflow.model, workflow.sampler, workflow.n_draws, workflow.code))
    return f"{place} {workflow.name} {made_of[:12]}"


def _failure(setting: _Setting, workflow: Workflow, store: Store) -> str | None:
    """Why a workflow could not be run, in the first piece where it could not."""
    for fold, part in setting.pieces():
        record = store[_key(fold, part, workflow)]
        if "error" in record:
            where = "all deposits" if fold == _FULL else f"fold {fold}"
            return f"{where}: {record['error']}"
    return None


def _table(
    setting: _Setting,
    workflows: Sequence[Workflow],
    store: Store,
    reference: str,
    n_bootstrap: int,
) -> pd.DataFrame:
    folds = np.concatenate(
        [np.full(len(setting.held_out(f)), f) for f in range(len(setting.splits))]
    )
    ranks = {workflow.name: _pooled_bounds(setting, workflow, store) for workflow in workflows}
    rows = [_row(setting, workflow, store) for workflow in workflows]
    voters = [workflow for workflow in workflows if workflow.role == "workflow"]
    if len(voters) > 1:
        name = f"consensus of {len(voters)}"
        ranks[name] = _consensus_bounds(setting, voters, store)
        rows.append({"workflow": name, "method": "consensus", "negatives": "", "draws": 1})
        rows[-1] |= {"role": "consensus", "selectivity": np.nan, "seconds": np.nan}
    for row in rows:
        summary = held_out_summary(
            ranks[row["workflow"]],
            folds,
            n_bootstrap=n_bootstrap,
            random_state=setting.random_state,
        )
        row |= _figures(summary)
        row |= dict.fromkeys(_DIFFERENCES, np.nan)
        if row["workflow"] != reference:
            difference = paired_difference(
                ranks[row["workflow"]],
                ranks[reference],
                folds,
                n_bootstrap=n_bootstrap,
                random_state=setting.random_state,
            )
            row |= _differences(difference)
    table = pd.DataFrame(rows).sort_values("auc_background", ascending=False, kind="stable")
    return table.reset_index(drop=True)


def _row(setting: _Setting, workflow: Workflow, store: Store) -> dict[str, Any]:
    """What a workflow is, how selective its map, and how long it took."""
    return {
        "workflow": workflow.name,
        "method": workflow.method,
        "negatives": workflow.negatives,
        "draws": workflow.n_draws,
        "role": workflow.role,
        "selectivity": 1 - float(store[_key(_FULL, 0, workflow)]["above_half"]),
        "seconds": _seconds(setting, workflow, store),
    }


def _figures(summary: dict[str, Any]) -> dict[str, float]:
    row = {"auc_background": summary["auc_background"]}
    row["auc_low"], row["auc_high"] = summary["ci95"]["auc_background"]
    for area in (f"{a:.2f}" for a in AREAS):
        row[f"capture_{area}"] = summary["capture"][area]
        row[f"capture_{area}_low"], row[f"capture_{area}_high"] = summary["ci95"]["capture"][area]
    row["normalised_density"] = summary["prediction_area"]["normalised_density"]
    return row


def _differences(difference: dict[str, Any]) -> dict[str, float]:
    row = {
        "difference_auc": difference["auc_background"],
        "difference_capture_0.05": difference["capture"]["0.05"],
    }
    row["difference_auc_low"], row["difference_auc_high"] = difference["ci95"]["auc_background"]
    interval = difference["ci95"]["capture"]["0.05"]
    row["difference_capture_0.05_low"], row["difference_capture_0.05_high"] = interval
    return row


def _pooled_bounds(setting: _Setting, workflow: Workflow, store: Store) -> FloatArray:
    """(deposits, 2), fold by fold: bounds averaged over the parts of the background."""
    return np.concatenate(
        [
            np.mean(
                [store[_key(fold, part, workflow)]["bounds"] for part in range(setting.n_parts)],
                axis=0,
            ).reshape(-1, 2)
            for fold in range(len(setting.splits))
        ]
    )


def _seconds(setting: _Setting, workflow: Workflow, store: Store) -> float:
    pieces = [store[_key(fold, part, workflow)] for fold, part in setting.pieces()]
    return float(sum(record["seconds"] for record in pieces))


def _consensus_bounds(setting: _Setting, workflows: Sequence[Workflow], store: Store) -> FloatArray:
    """(deposits, 2), fold by fold: the held-out deposits in the mean rank of all workflows."""
    pooled = []
    for fold in range(len(setting.splits)):
        bounds = []
        for part in range(setting.n_parts):
            records = [store[_key(fold, part, workflow)] for workflow in workflows]
            background = np.mean([r["background"] / _STEPS for r in records], axis=0)
            deposits = np.mean([r["bounds"].mean(axis=1) for r in records], axis=0)
            if len(deposits):
                bounds.append(rank_bounds(deposits, background))
        if bounds:
            pooled.append(np.mean(bounds, axis=0))
    return np.concatenate(pooled)


def _maps(
    setting: _Setting, workflows: Sequence[Workflow], store: Store, grid: Grid
) -> tuple[xr.DataArray, xr.DataArray]:
    """Consensus, with its spread, and agreement; workflows only, controls left out."""
    voters = [workflow for workflow in workflows if workflow.role == "workflow"]
    voters = voters or list(workflows)
    count = len(setting.cells.labels)
    total, squares, votes = np.zeros(count), np.zeros(count), np.zeros(count)
    for workflow in voters:
        rank = store[_key(_FULL, 0, workflow)]["ranks"] / _STEPS
        total += rank
        squares += rank**2
        votes += rank > 1 - _TOP
    mean = total / len(voters)
    spread = np.sqrt(np.maximum(squares / len(voters) - mean**2, 0.0))
    consensus = _on_grid(mean, setting.cells, grid, "consensus")
    consensus = consensus.assign_coords(
        spread=(("y", "x"), _on_grid(spread, setting.cells, grid, "spread").to_numpy())
    )
    return consensus, _on_grid(votes / len(voters), setting.cells, grid, "agreement")


def _on_grid(values: FloatArray, cells: StudyCells, grid: Grid, name: str) -> xr.DataArray:
    array = np.full(grid.shape, np.nan, dtype=np.float32)
    array[cells.rows, cells.columns] = values
    return grid.to_dataarray(array, name=name)
