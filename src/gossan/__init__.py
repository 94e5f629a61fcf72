"""Mineral prospectivity maps from few known deposits.

The public names are listed once, below, and imported when first used, so that ``import gossan``
is light and never imports torch, matplotlib or the web stack.
"""

import os
from importlib import import_module
from typing import Any

# numba counts its threads by itself, when it is imported, and its OpenMP layer then sets those of
# every library in the process, torch's too: whoever asked for fewer is to have fewer.
if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
    _asked = max(1, min(int(os.environ["OMP_NUM_THREADS"]), os.cpu_count() or 1))
    os.environ.setdefault("NUMBA_NUM_THREADS", str(_asked))

_HOME = {
    "Grid": "grid",
    "Study": "study",
    "read_study": "study",
    "build_evidence": "evidence",
    "study_grid": "evidence",
    "label_cells": "labels",
    "AllUnlabelled": "labels",
    "RandomNegatives": "labels",
    "BufferedNegatives": "labels",
    "DissimilarNegatives": "labels",
    "OtherDepositNegatives": "labels",
    "SpyNegatives": "labels",
    "RecursiveAnnotator": "annotate",
    "RecursiveNegatives": "annotate",
    "check_study": "quality",
    "DepositClusterFolds": "splits",
    "SpatialBlockFolds": "splits",
    "LeaveOneDepositOut": "splits",
    "make_splitter": "splits",
    "DrawEnsemble": "draws",
    "METHODS": "methods",
    "make_model": "methods",
    "SAMPLERS": "methods",
    "make_sampler": "methods",
    "predict_map": "predict",
    "Workflow": "validate",
    "compare_workflows": "validate",
    "cross_validate": "validate",
    "find_targets": "targets",
    "read_deposits": "pipeline",
    "annotate_study": "pipeline",
    "compare_study": "pipeline",
    "explain_study": "pipeline",
    "pretrain_study": "pipeline",
    "run_study": "pipeline",
}
_ROOMS = (
    "annotate",
    "datasets",
    "draft",
    "draws",
    "evaluate",
    "evidence",
    "exceptions",
    "explain",
    "geochem",
    "grid",
    "interpolate",
    "io",
    "labels",
    "looks",
    "methods",
    "models",
    "pipeline",
    "predict",
    "quality",
    "report",
    "splits",
    "study",
    "targets",
    "validate",
)

__all__ = ["__version__", *_HOME, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"gossan.{_HOME[name]}"), name)
    if name in _ROOMS:
        return import_module(f"gossan.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("gossan")
    raise AttributeError(f"module 'gossan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
