"""The areas that scripts of this folder measure on: an open survey, or a synthetic district."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

import gossan as gs
from gossan import io
from gossan.datasets import synthetic_district, write_district
from gossan.pipeline import stage_keys

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SURVEYS = ["nanling", "jabal-al-hasir", "cloncurry", "murchison"]


@dataclass(frozen=True)
class Area:
    """Evidence and labels of a study, as a run has them.

    Attributes
    ----------
    name : str
    study : Study
    evidence : xarray.DataArray
        ``(layer, y, x)``, in memory.
    labels : xarray.DataArray
        ``(y, x)``.
    """

    name: str
    study: gs.Study
    evidence: xr.DataArray

    @cached_property
    def labels(self) -> xr.DataArray:
        deposits = gs.read_deposits(self.study)
        return gs.label_cells(self.evidence, deposits, footprint=self.study.known.footprint)


def read_area(name: str, scratch: Path, **district: Any) -> Area:
    """A survey by its name, or a district by its seed and settings; evidence is kept in scratch."""
    if name in SURVEYS:
        study = gs.read_study(EXAMPLES / name / "study.toml")
    else:
        made = synthetic_district(int(name), **district)
        study = gs.read_study(write_district(made, scratch / "districts" / name))
    store = scratch / f"{name}-{stage_keys(study)['evidence'][:12]}.zarr"
    if not store.exists():
        gs.build_evidence(study, store=store)
    return Area(name, study, io.open_evidence(store).compute())
