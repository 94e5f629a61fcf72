"""Running workflows piece by piece: fold, part of the background, and the whole for the maps."""

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
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from gossan import io
from gossan.draws import DrawEnsemble, DrawnNegatives, draw_seeds
from gossan.evaluate import rank_bounds
from gossan.evidence import CellFeatures, FeatureSubset, centre_features
from gossan.exceptions import GossanError, SurveyDataWarning
from gossan.validate.background import Background, learns_patches, training_cells
from gossan.validate.cells import FloatArray, IntArray, ModelView, StudyCells
from gossan.validate.folds import score_cells
from gossan.validate.workers import end_with

Store = MutableMapping[str, dict[str, npt.NDArray[Any]]]

FULL = -1
"""Number of the "fold" that holds nothing out: it makes the maps."""
STEPS = 65_535
"""Ranks are kept in so many steps."""
_CONSENSUS_CELLS = 50_000


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

    @property
    def view(self) -> str:
        """What tells apart what models look at: those that are alike share it."""
        return joblib.hash(self.model)

    @property
    def patches(self) -> bool:
        """Whether the model learns patches, and not cells."""
        return learns_patches(self.model)


@dataclass(frozen=True)
class Setting:
    """What all workflows share."""

    cells: StudyCells
    centres: IntArray
    background: Background
    splits: list[tuple[IntArray, IntArray]]
    random_state: int
    views: dict[str, ModelView] = field(default_factory=dict)

    def held_out(self, fold: int) -> IntArray:
        """Deposits that a fold holds out."""
        held = np.unique(self.cells.deposits[self.splits[fold][1]])
        return np.intersect1d(held, np.flatnonzero(self.centres >= 0))

    def shown(self, fold: int, part: int, *, patches: bool) -> tuple[IntArray, IntArray | None]:
        """Cells to train on, and of models that learn patches those not to be known as deposits."""
        if fold == FULL:
            return np.arange(len(self.cells.labels)), None
        train, _ = self.splits[fold]
        return training_cells(self.cells, self.background, train, part, patches=patches)

    def draw(
        self, shown: IntArray, unknown: IntArray | None, workflows: list[Workflow]
    ) -> DrawnNegatives:
        """The draws of a sampler that its workflows share, positions among the cells shown."""
        seeds = draw_seeds(self.random_state, max(workflow.n_draws for workflow in workflows))
        X = centre_features(FeatureSubset(self.cells.features, shown))
        (y, _), coordinates = self.cells.known(shown, unknown), self.cells.coordinates[shown]
        return DrawnNegatives(workflows[0].sampler.sample_many(X, y, coordinates, seeds))

    def fit(
        self,
        workflow: Workflow,
        drawn: DrawnNegatives,
        shown: IntArray,
        unknown: IntArray | None,
    ) -> tuple[DrawEnsemble, CellFeatures]:
        """A workflow's ensemble on the draws given, and what it looks at."""
        ensemble = DrawEnsemble(workflow.model, drawn, workflow.n_draws, self.random_state)
        return self.views[workflow.view].fit(ensemble, shown, unknown)

    def key(self, fold: int, part: int, workflow: Workflow) -> str:
        """Under what name a store keeps a piece: what was run there, and what of it decides."""
        place = "map" if fold == FULL else f"fold-{fold}-part-{part}"
        if self.background.widened and fold != FULL:  # other ground is hidden there
            place += f"-blocks-{self.background.side}"
        made_of = joblib.hash((workflow.model, workflow.sampler, workflow.n_draws, workflow.code))
        return f"{place} {workflow.name} {made_of[:12]}"

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Folds and parts of the background, then the whole."""
        for fold in range(len(self.splits)):
            for part in range(self.background.n_parts):
                yield fold, part
        yield FULL, 0


def run_all(
    setting: Setting,
    workflows: Sequence[Workflow],
    store: Store,
    n_jobs: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Every piece that the store does not hold yet, in processes of one thread each."""
    for fold, part in setting.pieces():
        for key in (setting.key(fold, part, workflow) for workflow in workflows):
            if key in store and "error" in store[key]:
                del store[key]  # what was wrong, such as a full disk, may be right by now
    tasks = [
        (fold, part, group)
        for group in _by_sampler(workflows)
        for fold, part in setting.pieces()
        if any(setting.key(fold, part, workflow) not in store for workflow in group)
    ]
    tasks = _taught(setting, tasks, store)
    total = len(_by_sampler(workflows)) * (len(setting.splits) * setting.background.n_parts + 1)
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
    setting: Setting, tasks: list[tuple[int, int, list[Workflow]]], store: Store
) -> list[tuple[int, int, list[Workflow]]]:
    """Let every workflow that is still to be run learn from the evidence, once for all workers.

    One that cannot is recorded as failed in its pieces.
    """
    lost: dict[str, str] = {}
    for workflow in {w.name: w for _, _, group in tasks for w in group}.values():
        try:
            if workflow.view not in setting.views:
                setting.views[workflow.view] = ModelView(workflow.model, setting.cells)
        except GossanError as error:
            lost[workflow.name] = str(error)
    left = []
    for fold, part, group in tasks:
        for workflow in group:
            key = setting.key(fold, part, workflow)
            if workflow.name in lost and key not in store:
                store[key] = {"error": np.array(lost[workflow.name])}
        kept = [workflow for workflow in group if workflow.name not in lost]
        if kept:
            left.append((fold, part, kept))
    return left


def _by_sampler(workflows: Sequence[Workflow]) -> list[list[Workflow]]:
    """Workflows that can share their draws of negatives: of one sampler, from the same ground."""
    groups: dict[str, list[Workflow]] = {}
    for workflow in workflows:
        # By content: scikit-learn's repr leaves out the middle of a long setting.
        alike = joblib.hash((workflow.sampler, workflow.patches))
        groups.setdefault(alike, []).append(workflow)
    return list(groups.values())


def _run_in_worker(
    parent: int, networks: Path | None, *task: Any
) -> list[tuple[type[Warning], str]]:
    end_with(parent)
    with io.networks_kept(networks):  # a worker outlives the comparison that started it
        return _run_task(*task)


def _run_task(
    setting: Setting, fold: int, part: int, group: list[Workflow], store: Store
) -> list[tuple[type[Warning], str]]:
    """Judge every workflow of one sampler on one piece; what was warned of, for the parent.

    A process of its own has no say in how the user's process shows warnings.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", SurveyDataWarning)
        _fill_piece(setting, fold, part, group, store)
    return [(warning.category, str(warning.message)) for warning in told]


def _fill_piece(
    setting: Setting, fold: int, part: int, group: list[Workflow], store: Store
) -> None:
    """Draw once, then fit and judge every workflow of one sampler on one piece."""
    todo = [workflow for workflow in group if setting.key(fold, part, workflow) not in store]
    with threadpool_limits(limits=1), joblib.parallel_config(backend="sequential"):
        shown, unknown = setting.shown(fold, part, patches=group[0].patches)
        start = time.perf_counter()
        try:
            drawn = setting.draw(shown, unknown, todo)
        except GossanError as error:
            for workflow in todo:
                store[setting.key(fold, part, workflow)] = {"error": np.array(str(error))}
            return
        for_draws = (time.perf_counter() - start) / len(todo)
        for workflow in todo:
            start = time.perf_counter()
            try:
                fitted, features = setting.fit(workflow, drawn, shown, unknown)
                record = _judge(setting, fold, part, fitted, features)
                record["seconds"] = np.array(time.perf_counter() - start + for_draws)
            except GossanError as error:
                record = {"error": np.array(str(error))}
            store[setting.key(fold, part, workflow)] = record


def _judge(
    setting: Setting, fold: int, part: int, model: DrawEnsemble, features: CellFeatures
) -> dict[str, npt.NDArray[Any]]:
    """Ranks of the held-out deposits and of the background; of every cell for the maps."""
    if fold == FULL:
        scores = score_cells(model, features, np.arange(len(setting.cells.labels)))
        return {"ranks": _quantised(scores), "above_half": np.array((scores > 0.5).mean())}
    own, held_out = setting.background.cells(part), setting.centres[setting.held_out(fold)]
    both = score_cells(model, features, np.concatenate([own, held_out]))
    background, at_deposits = both[: len(own)], both[len(own) :]
    bounds = rank_bounds(at_deposits, background)
    step = max(1, -(-len(background) // _CONSENSUS_CELLS))
    return {"bounds": bounds, "background": _quantised(background)[::step]}


def _quantised(scores: FloatArray) -> npt.NDArray[np.uint16]:
    """Mean percentile rank of each score, in steps of 1/65,535."""
    share = (rankdata(scores) - 0.5) / len(scores)
    return np.round(share * STEPS).astype(np.uint16)


def failure(setting: Setting, workflow: Workflow, store: Store) -> str | None:
    """Why a workflow could not be run, in the first piece where it could not."""
    for fold, part in setting.pieces():
        record = store[setting.key(fold, part, workflow)]
        if "error" in record:
            where = "all deposits" if fold == FULL else f"fold {fold}"
            return f"{where}: {record['error']}"
    return None
