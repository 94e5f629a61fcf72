"""Every method of the catalogue, held out, on every area; each result is kept once it is there.

Areas are the four open surveys with deposits and synthetic districts, numbered by their seeds. A
result is the ranks of an area's held-out deposits by one method, under ``examples/results``, with a
hash of what made it: the evidence, the labels and the folds by content, the method's settings, and
the code of that method and of the judge, its comments and docstrings apart. So another method, or
other code, makes none of the kept results stale. What is unfinished lies under ``examples/runs``
fold by fold, and a stopped script goes on there.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import xarray as xr

import gossan as gs
from gossan import io
from gossan.datasets import synthetic_district, write_district
from gossan.evidence import without_focal_means
from gossan.pipeline import read_deposits, stage_keys, study_model, study_splitter
from gossan.pipeline.keys import hash_of
from gossan.pipeline.sources import place_digests, refuse_own_source
from gossan.validate import study_cells
from gossan.validate.workers import end_with

HERE = Path(__file__).resolve().parent
KEPT = HERE / "results"
SCRATCH = HERE / "runs" / "results"
SURVEYS = ["nanling", "jabal-al-hasir", "cloncurry", "murchison"]
DISTRICTS = [0, 1, 2]
TRANSFER = "selective-transfer"
SOURCE_OF = {"nanling": "jabal-al-hasir", "jabal-al-hasir": "nanling"}
"""Survey → the survey whose network it takes from; the others share no layer with any."""
SMALL: dict[str, Any] = {"epochs": 5, "batch_size": 32, "patch_window": 16}
"""Of selective transfer, for two cores; published: 150, 128 and 256."""
WIDTH, SOURCE_EPOCHS = 8, 20
"""Published: 64 and 150."""
STRIDES = {"nanling": 8, "jabal-al-hasir": 16, "cloncurry": 16, "murchison": 16}
"""Cells from patch to patch, for some hundreds of patches; a district's are chosen for it."""
PAIRS = ["pixel-pairs", "pixel-pairs-reference", "pixel-pairs-both"]
"""Scores of the same networks: the first one measured trains them, and its seconds count that."""
_FEW = {"nanling": 2, "jabal-al-hasir": 1, "cloncurry": 1, "murchison": 1, "districts": 1}
FEWER_DRAWS = {
    **dict.fromkeys(PAIRS, _FEW),
    "masked-pretraining-finetune": _FEW,
}
"""Method → area → draws of negatives, for about a quarter hour; measured on one draw of one fold:
all of them would take up to three hours on a district."""


@dataclass(frozen=True)
class Area:
    """A survey, or a district by its seed: evidence, labels and how they are judged."""

    name: str

    @property
    def is_survey(self) -> bool:
        """Whether its ground is real."""
        return self.name in SURVEYS

    @property
    def kind(self) -> str:
        """Its name, and of all districts alike."""
        return self.name if self.is_survey else "districts"

    @property
    def seed(self) -> int:
        """Of a district."""
        return int(self.name.removeprefix("district "))

    @cached_property
    def study(self) -> gs.Study:
        """As its study file says."""
        if self.is_survey:
            return gs.read_study(HERE / self.name / "study.toml")
        folder = SCRATCH / "districts" / str(self.seed)
        with io.waiting_lock(folder.with_suffix(".lock")):
            return gs.read_study(write_district(synthetic_district(self.seed), folder))

    @cached_property
    def evidence(self) -> xr.DataArray:
        """``(layer, y, x)``, in memory."""
        key = stage_keys(self.study)["evidence"][:12]
        store = SCRATCH / f"{io.file_stem(self.name)}-{key}.zarr"
        with io.waiting_lock(store.with_suffix(".lock")):
            if not store.exists():
                gs.build_evidence(self.study, store=store)
        return io.open_evidence(store).compute()

    @cached_property
    def plain_evidence(self) -> xr.DataArray:
        """Without means of neighbourhoods, which a network of patches sees by itself."""
        return without_focal_means(self.evidence, self.study.method.focal)

    @cached_property
    def labels(self) -> xr.DataArray:
        """``(y, x)``."""
        deposits = read_deposits(self.study)
        return gs.label_cells(self.evidence, deposits, footprint=self.study.known.footprint)

    @cached_property
    def key(self) -> str:
        """Hash of what a method is shown and how it is judged; by content, to outlive code."""
        shown = (self.evidence.to_numpy().round(5), self.labels.to_numpy())
        judged = self.study.validation.model_dump(exclude={"bootstrap"})
        return hash_of(joblib.hash(shown), judged, self.study.seed)

    @property
    def source(self) -> Area | None:
        """The area whose network this one takes from."""
        if self.is_survey:
            return Area(SOURCE_OF[self.name]) if self.name in SOURCE_OF else None
        return Area(f"district {self.seed + 1}")


@cache
def area(name: str) -> Area:
    """The area of a name, read once."""
    return Area(name)


def areas(surveys: Sequence[str] = SURVEYS, districts: Sequence[int] = DISTRICTS) -> list[str]:
    """Names of the areas, surveys first."""
    return [*surveys, *(f"district {seed}" for seed in districts)]


@dataclass(frozen=True)
class Row:
    """A method as it is measured on an area: settings, negatives, draws, and what it looks at."""

    area: Area
    method: str
    model: Any
    sampler: Any
    draws: int
    evidence: xr.DataArray
    source: dict[str, Any] = field(default_factory=dict)

    @property
    def negatives(self) -> str:
        """Its negatives in words."""
        return f"{self.sampler!r}" + (f" × {self.draws}" if self.draws > 1 else "")

    @cached_property
    def key(self) -> str:
        """Hash of all that makes its figures."""
        study = self.area.study
        judge = code_of(gs.cross_validate, type(study_splitter(study)), type(self.sampler))
        settings = [each.get_params() for each in (self.model, self.sampler)]
        settings[0].pop("source", None)  # what it was trained on and how stands for it
        layers = [str(name) for name in self.evidence["layer"].to_numpy()]
        made_of = (settings, self.draws, self.source, layers)
        return hash_of(self.area.key, judge, code_of(type(self.model)), made_of)


def row_of(name: str, method: str) -> Row:
    """How a method is measured on an area."""
    here = area(name)
    if method == TRANSFER:
        return _transfer_row(here)
    model, sampler, draws = study_model(here.study.with_method(method))
    draws = FEWER_DRAWS.get(method, {}).get(here.kind, draws)
    return Row(here, method, model, sampler, draws, here.evidence)


def _transfer_row(here: Area) -> Row:
    settings: dict[str, Any] = {**SMALL, "patch_stride": STRIDES.get(here.name)}
    source, evidence, taught = here.source, here.plain_evidence, {}
    if source is None:
        settings |= {"transfer": False, "width": WIDTH}
    else:
        known = set(source.plain_evidence["layer"].to_numpy())
        layers = [str(name) for name in evidence["layer"].to_numpy() if name in known]
        evidence = evidence.sel(layer=layers)
        taught = {"area": source.key, "layers": layers, **_source_settings(source)}
    study = here.study.with_method(TRANSFER, transfer=False)
    _, sampler, draws = study_model(study)
    model = gs.make_model(TRANSFER, random_state=here.study.seed, **settings)
    return Row(here, TRANSFER, model, sampler, draws, evidence, taught)


def _source_settings(source: Area) -> dict[str, Any]:
    sizes = {"patch_window": SMALL["patch_window"], "patch_stride": STRIDES.get(source.name)}
    return {**sizes, "width": WIDTH, "epochs": SOURCE_EPOCHS, "batch_size": SMALL["batch_size"]}


def _taught(row: Row) -> Any:
    """The source of another area, trained with all of its deposits unless it is at hand."""
    from gossan.nn.selective_transfer import PatchTraining, Source, train_source

    source = row.area.source
    assert source is not None
    file = SCRATCH / "sources" / f"{hash_of(code_of(train_source), row.source)[:16]}.safetensors"
    with io.waiting_lock(file.with_suffix(".lock")):
        if not file.exists():
            given = dict(row.source)
            plan = PatchTraining(epochs=given.pop("epochs"), batch_size=given.pop("batch_size"))
            train_source(
                source.plain_evidence.sel(layer=given.pop("layers")),
                source.labels.to_numpy(),
                **{**given, "area": source.name},
                settings=plan,
                deposits=place_digests(read_deposits(source.study)),
                seed=source.study.seed,
            ).save(file)
    return Source.load(file)


def kept(name: str, method: str) -> dict[str, Any] | None:
    """The result of a method on an area, if it is there and nothing that made it has changed."""
    record = io.JsonFolder(KEPT / io.file_stem(name)).get(method)
    return record if record and record["made_of"] == row_of(name, method).key else None


def measure(name: str, method: str) -> None:
    """Judge a method on an area and keep the ranks of the held-out deposits."""
    with io.waiting_lock(SCRATCH / "locks" / io.file_stem(f"{name} {method}")):
        if kept(name, method) is not None:
            return
        row = row_of(name, method)
        folder = SCRATCH / "folds" / io.file_stem(name) / f"{method}-{row.key[:16]}"
        learnt = _seconds_to_learn(row)
        pieces = _TimedFolds(folder, f"{name}, {method}")
        found = _validated(row, pieces)
        seconds = learnt + sum(fold["seconds"] for fold in found.fold_results)
        bounds = np.concatenate([np.reshape(f["rank_bounds"], (-1, 2)) for f in found.fold_results])
        deposits = np.concatenate([fold["deposits"] for fold in found.fold_results])
        bounds = bounds[np.argsort(deposits, kind="stable")].round(6)
        io.JsonFolder(KEPT / io.file_stem(name))[method] = {
            "made_of": row.key,
            "negatives": row.negatives,
            "n_cells": found.n_cells,
            "seconds": round(seconds, 1),
            "folds": found.folds,
            "deposits": np.sort(deposits),
            "low": bounds[:, 0],
            "high": bounds[:, 1],
        }
        auc = found.held_out["auc_background"]
        print(f"{name}, {method}: AUC {auc:.3f}, {seconds:.0f} s", flush=True)


def _validated(row: Row, pieces: _TimedFolds) -> gs.CrossValidation:
    study, model = row.area.study, row.model
    if row.source:
        model = model.set_params(source=_taught(row))
        pieces.go_on()
        refuse_own_source(model, read_deposits(study))
    with io.networks_kept(_networks(row)):
        return gs.cross_validate(
            model,
            row.evidence,
            row.area.labels,
            splitter=study_splitter(study),
            negatives=row.sampler,
            n_draws=row.draws,
            background_folds=study.validation.background_folds,
            n_bootstrap=study.validation.bootstrap,
            random_state=study.seed,
            finished=pieces,
        )


def _networks(row: Row) -> Path:
    """Where its networks are kept: those that several methods look through, together."""
    if hasattr(row.model, "learn_evidence"):
        return SCRATCH / "networks" / "pretrained"
    return SCRATCH / "networks" / ("pixel-pairs" if row.method in PAIRS else row.method)


class _TimedFolds(io.JsonFolder):
    """Finished folds, each with the processor's seconds since the one before."""

    def __init__(self, folder: Path, called: str) -> None:
        super().__init__(folder)
        self.called = called
        self.go_on()

    def go_on(self) -> None:
        """What was done up to now is no fold's time."""
        self.since = time.process_time()

    def __setitem__(self, key: str, content: dict[str, Any]) -> None:
        seconds = time.process_time() - self.since
        super().__setitem__(key, {**content, "seconds": seconds})
        if seconds > 60:
            print(f"{self.called}, {key}: {seconds:.0f} s", flush=True)
        self.go_on()


def _seconds_to_learn(row: Row) -> float:
    """What learning without labels takes; methods that share a network are told the same."""
    if not hasattr(row.model, "learn_evidence"):
        return 0.0
    learnt = io.JsonFolder(SCRATCH / "pretraining")
    key = hash_of(row.area.key, row.model.pretraining, code_of(type(row.model)))[:16]
    with io.waiting_lock(SCRATCH / "locks" / key), io.networks_kept(_networks(row)):
        if key not in learnt:
            start = time.process_time()
            row.model.learn_evidence(study_cells(row.evidence, row.area.labels).features.evidence)
            learnt[key] = {"seconds": time.process_time() - start}
    return float(learnt[key]["seconds"])


def measure_all(names: Sequence[str], methods: Sequence[str], n_jobs: int) -> None:
    """Every method on every area that is not kept yet, in processes of one thread each."""
    todo = [(name, method) for method, name in product(methods, names) if not kept(name, method)]
    print(f"{len(todo)} of {len(methods) * len(names)} results to be made", flush=True)
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        joblib.Parallel(n_jobs)(joblib.delayed(_measure_alone)(os.getpid(), *each) for each in todo)


def _measure_alone(parent: int, name: str, method: str) -> None:
    end_with(parent)
    warnings.simplefilter("ignore")
    measure(name, method)


@cache
def code_of(*things: Any) -> str:
    """Hash of the code that functions and classes rest on, without comments and docstrings."""
    seen: dict[str, str] = {}
    waiting = [thing.__module__ for thing in things]
    while waiting:
        name = waiting.pop()
        if name in seen or not _ROOM.match(name):
            continue
        file = Path(str(import_module(name).__file__))
        tree = ast.parse(file.read_text(encoding="utf-8"))
        waiting += _imported(tree)
        seen[name] = ast.unparse(_without_docstrings(tree))
    return hashlib.sha256(repr(sorted(seen.items())).encode()).hexdigest()


_ROOM = re.compile(
    r"gossan\.(annotate|draws|evaluate|labels|looks|models|nn|predict|splits|validate)\b"
)
"""What of gossan can change ranks, once evidence and labels are there: these are known by content.
Not followed are the reading of cells from the evidence and the screening of layers."""


def _imported(tree: ast.Module) -> Iterator[str]:
    """Modules of gossan in which the names that a module imports are defined."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gossan"):
            module = import_module(str(node.module))
            for alias in node.names:
                found = getattr(module, alias.name)
                own = found.__name__ if isinstance(found, ModuleType) else None
                yield own or getattr(found, "__module__", None) or str(node.module)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node, clean=False) is not None
            node.body = node.body[said:] or [ast.Pass()]
    return tree


def ranks_of(record: Mapping[str, Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Bounds of the ranks of a kept result, (deposits, 2), and the fold of each deposit."""
    return np.column_stack([record["low"], record["high"]]), np.array(record["folds"])
