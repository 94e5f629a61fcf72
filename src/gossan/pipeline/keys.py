"""What each stage is made from, as one hash: the same hash, the same output."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas as gpd

from gossan import io
from gossan.methods import METHODS
from gossan.pipeline.settings import method_files
from gossan.study import Study

_CODE = Path(__file__).parents[1]


def stage_keys(
    study: Study,
    digests: dict[Path, str] | None = None,
    decisions: gpd.GeoDataFrame | None = None,
) -> dict[str, str]:
    """The hash of everything each stage is made from: code, files, settings, earlier stages.

    Of an annotation only a geologist's decisions count: what the model wrote there is its own.
    """
    digests = input_digests(study) if digests is None else digests
    decided = (
        [] if decisions is None else sorted(zip(decisions.to_wkt().geometry, decisions["decision"]))
    )

    def of(*files: str | None) -> list[tuple[str, str]]:
        paths = [path for file in files if file for path in study.resolve(file)]
        return [(path.name, digests[path]) for path in paths]

    evidence = hash_of(
        [_own_code(), versions()],
        study.area.model_dump(),
        [source.model_dump() for source in study.sources],
        study.method.focal,
        of(study.area.like, study.area.mask, *(source.file for source in study.sources)),
    )
    known = study.deposits
    positives = (known.model_dump(), of(known.file)) if known else (None, None)
    labels = hash_of(evidence, *positives, decided)
    others = study.negatives.occurrences
    method = [
        study.method.model_dump(),
        study.negatives.model_dump(exclude={"annotation"}),
        study.seed,
        of(others.file if others else None),
    ]
    entry = METHODS[study.method.name]
    method += [entry.negatives, entry.draws, dict(entry.negatives_parameters)]
    learnt = {name: io.file_digest(file) for name, file in method_files(study).items()}
    method += [dict(entry.parameters), entry.code, learnt]
    model = hash_of(labels, method)
    folds = hash_of(labels, method, study.validation.model_dump(exclude={"bootstrap"}))
    return {
        "evidence": evidence,
        "labels": labels,
        "check": hash_of(labels, study.model_dump()),
        "folds": folds,
        "evaluation": hash_of(folds, study.validation.bootstrap),
        "annotation": hash_of(
            labels, study.negatives.model_dump(exclude={"annotation"}), study.seed
        ),
        "model": model,
        "map": model,
        "targets": hash_of(model, study.targets.model_dump()),
    }


def input_digests(study: Study) -> dict[Path, str]:
    """SHA-256 of every file that a study names, side files and a backbone included."""
    files = {*study.files(), *method_files(study).values()}
    return {file: io.input_digest(file) for file in sorted(files)}


def shown_digests(study: Study, digests: dict[Path, str]) -> dict[str, str]:
    """The inputs' SHA-256 by their paths relative to the study's folder."""
    return {
        str(file.relative_to(study.folder) if file.is_relative_to(study.folder) else file): digest
        for file, digest in digests.items()
    }


def versions(*, deep: bool = False) -> dict[str, str]:
    """Versions of Python, of gossan and of the packages that its answers rest on.

    Those of networks too, where a method learns with one.
    """
    packages = ["gossan", "numpy", "scipy", "pandas", "scikit-learn", "numba", "xarray", "zarr"]
    packages += ["rasterio", "shapely", "dask", *(["torch", "lightning"] if deep else [])]
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


@cache
def _own_code() -> str:
    """Hash of gossan itself: what other code made is not taken for this code's work.

    Left out is what only shows what was made, or drafts a study, and what few methods or verbs rest
    on: the networks, the entries of the catalogue and the regions, which their own keys hold.
    """
    left_out = {_CODE / "methods.py"}
    for room in ("cli", "report", "draft", "nn", "regions"):
        left_out.update((_CODE / room).rglob("*.py"))
    return _code_hash(set(_CODE.rglob("*.py")) - left_out)


def room_code(room: str) -> str:
    """Hash of one room of gossan, for what rests on it alone."""
    return _code_hash(set((_CODE / room).rglob("*.py")))


def _code_hash(files: set[Path]) -> str:
    return hash_of([(str(f.relative_to(_CODE)), io.file_digest(f)) for f in sorted(files)])


def hash_of(*parts: Any) -> str:
    """SHA-256 of plain values."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
