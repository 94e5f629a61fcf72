"""Many workflows on the same folds, seeds and background: what each choice is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gossan.evaluate import AREAS, held_out_summary, paired_difference, rank_bounds
from gossan.exceptions import LabelError
from gossan.grid import Grid
from gossan.mistakes import suggest
from gossan.validate.background import deal_background, widest_patch
from gossan.validate.cells import FloatArray, StudyCells, deposit_cells, study_cells
from gossan.validate.workflows import (
    FULL,
    STEPS,
    Setting,
    Store,
    Workflow,
    failure,
    run_all,
)

_TOP = 0.05
_DIFFERENCES = [
    f"{name}{end}"
    for name in ("difference_auc", "difference_capture_0.05")
    for end in ("", "_low", "_high")
]


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
    setting = Setting(
        cells=cells,
        centres=deposit_cells(cells, labels),
        background=deal_background(
            cells,
            background_folds,
            max_background,
            random_state,
            patch=widest_patch([workflow.model for workflow in workflows], labels.shape),
        ),
        splits=list(splitter.split(cells.coordinates, cells.labels, cells.deposits)),
        random_state=random_state,
    )
    store = {} if store is None else store
    run_all(setting, workflows, store, n_jobs, progress)
    failed = [(w.name, reason) for w in workflows if (reason := failure(setting, w, store))]
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


def _table(
    setting: Setting,
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


def _row(setting: Setting, workflow: Workflow, store: Store) -> dict[str, Any]:
    """What a workflow is, how selective its map, and how long it took."""
    return {
        "workflow": workflow.name,
        "method": workflow.method,
        "negatives": workflow.negatives,
        "draws": workflow.n_draws,
        "role": workflow.role,
        "selectivity": 1 - float(store[setting.key(FULL, 0, workflow)]["above_half"]),
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


def _pooled_bounds(setting: Setting, workflow: Workflow, store: Store) -> FloatArray:
    """(deposits, 2), fold by fold: bounds pooled over the parts of the background."""
    found = []
    for fold in range(len(setting.splits)):
        keys = [setting.key(fold, part, workflow) for part in range(setting.background.n_parts)]
        bounds = [store[key]["bounds"].reshape(-1, 2) for key in keys]
        cells = setting.centres[setting.held_out(fold)]
        found.append(setting.background.pooled(bounds, cells, patches=workflow.patches))
    return np.concatenate(found)


def _seconds(setting: Setting, workflow: Workflow, store: Store) -> float:
    pieces = [store[setting.key(fold, part, workflow)] for fold, part in setting.pieces()]
    return float(sum(record["seconds"] for record in pieces))


def _consensus_bounds(setting: Setting, workflows: Sequence[Workflow], store: Store) -> FloatArray:
    """(deposits, 2), fold by fold: the held-out deposits in the mean rank of all workflows."""
    pooled, patches = [], any(workflow.patches for workflow in workflows)
    for fold in range(len(setting.splits)):
        bounds = []
        for part in range(setting.background.n_parts):
            records = [store[setting.key(fold, part, workflow)] for workflow in workflows]
            background = np.mean([r["background"] / STEPS for r in records], axis=0)
            deposits = np.mean([r["bounds"].mean(axis=1) for r in records], axis=0)
            if len(deposits):
                bounds.append(rank_bounds(deposits, background))
        if bounds:
            cells = setting.centres[setting.held_out(fold)]
            pooled.append(setting.background.pooled(bounds, cells, patches=patches))
    return np.concatenate(pooled)


def _maps(
    setting: Setting, workflows: Sequence[Workflow], store: Store, grid: Grid
) -> tuple[xr.DataArray, xr.DataArray]:
    """Consensus, with its spread, and agreement; workflows only, controls left out."""
    voters = [workflow for workflow in workflows if workflow.role == "workflow"]
    voters = voters or list(workflows)
    count = len(setting.cells.labels)
    total, squares, votes = np.zeros(count), np.zeros(count), np.zeros(count)
    for workflow in voters:
        rank = store[setting.key(FULL, 0, workflow)]["ranks"] / STEPS
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
