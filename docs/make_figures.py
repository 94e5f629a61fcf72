"""Draw one synthetic district as each method of the catalogue maps it, and count what it finds.

    python docs/make_figures.py [--methods extra-trees svm]

Every method as the catalogue has it, on the same evidence and seed; a network of one draw of
negatives, to be taught in minutes. A study knows 20 of the district's 60 deposits; the other 40 are
hidden from it and drawn as the truth. Selective transfer takes of a source that has learnt another
district, of another seed, with all of its deposits.

Writes docs/figures/methods/<name>.png, beside them all maps in one picture, and
docs/tables/method_maps.csv, of which `docs/make_reference.py` makes the captions. Maps are kept in
a scratch folder under the hash of what made them, so a stopped script goes on where it was and only
what changed is made anew.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import xarray as xr

import gossan as gs
from gossan import io
from gossan.datasets import District, synthetic_district, truth_table, write_district
from gossan.methods import METHODS, Method
from gossan.pipeline.keys import room_code
from gossan.report import png_bytes
from gossan.report.maps import SCORE_TITLE, score_map
from gossan.report.shares import ANOMALY_AREAS
from gossan.report.sheet import Panels
from gossan.report.theme import INK, class_colours, themed
from gossan.validate import ModelView, study_cells

HERE = Path(__file__).resolve().parent
CODE = Path(gs.__file__).parent
FIGURES = HERE / "figures" / "methods"
TABLE = HERE / "tables" / "method_maps.csv"
SCRATCH = HERE.parent / "benchmarks" / "scratch" / "method_maps"
SEED, SOURCE_SEED = 0, 1
TOP = 0.05
SOURCE: dict[str, int] = {"width": 8, "window": 16, "epochs": 20, "batch_size": 32}
"""Of the network that selective transfer takes from: small, to be taught in minutes."""


class Area:
    """A district with its evidence and labels, as a study has them."""

    def __init__(self, seed: int, **known: int) -> None:
        self.made: District = synthetic_district(seed, **known)
        self.study = gs.read_study(write_district(self.made, SCRATCH / f"district-{seed}"))
        # Means of neighbourhoods would lend the methods of single cells what networks see.
        method = self.study.method.model_copy(update={"focal": []})
        self.study = self.study.model_copy(update={"method": method})
        self.evidence = gs.build_evidence(self.study).compute()
        self.deposits = gs.read_deposits(self.study)
        footprint = self.study.known.footprint
        self.labels = gs.label_cells(self.evidence, self.deposits, footprint=footprint)
        # By content: a change of code that leaves the evidence as it is makes no map anew.
        self.key = joblib.hash((self.evidence.to_numpy().round(5), self.labels.to_numpy()))


@cache
def district() -> Area:
    """The district that all methods map."""
    return Area(SEED)


@cache
def source() -> Any:
    """What a network has learnt of another district, whose every deposit is known."""
    from gossan.nn.selective_transfer import PatchTraining, Source, train_source

    explored = Area(SOURCE_SEED, n_known=len(district().made.truth))
    code = METHODS["selective-transfer"].code
    file = SCRATCH / f"source-{joblib.hash((explored.key, SOURCE, code))}.safetensors"
    if not file.exists():
        train_source(
            explored.evidence,
            explored.labels.to_numpy(),
            area=explored.study.name,
            patch_window=SOURCE["window"],
            width=SOURCE["width"],
            settings=PatchTraining(epochs=SOURCE["epochs"], batch_size=SOURCE["batch_size"]),
            seed=SEED,
        ).save(file)
    return Source.load(file)


def given(method: Method) -> dict[str, Any]:
    """What a method needs beside the catalogue's settings."""
    if "source" not in method.files:
        return {}
    return {"source": source(), "patch_window": SOURCE["window"]}


def key_of(method: Method) -> str:
    """Hash of what a method's map is made of."""
    catalogue = (method.build, method.parameters, method.negatives, method.negatives_parameters)
    learnt = {name: getattr(value, "learned", value) for name, value in given(method).items()}
    code = [method.code, *map(room_code, ("labels", "models", "validate"))]
    code += [io.file_digest(CODE / f"{module}.py") for module in ("draws", "looks", "predict")]
    return joblib.hash((repr(catalogue), draws_of(method), learnt, code, district().key, SEED))


def draws_of(method: Method) -> int:
    """Draws of negatives that a map is the mean of."""
    return 1 if method.deep else method.draws


def kept(name: str) -> Path:
    """The map of a method."""
    return SCRATCH / f"{name}-{key_of(METHODS[name])}.tif"


def mapped(name: str) -> xr.DataArray:
    """The map of a method that learnt all known deposits, kept or made now."""
    method, file = METHODS[name], kept(name)
    if not file.exists():
        start = time.perf_counter()
        area, (model, sampler) = district(), unfitted(method)
        ensemble = gs.DrawEnsemble(model, sampler, draws_of(method), SEED)
        with io.networks_kept(SCRATCH / "networks"):
            cells = study_cells(area.evidence, area.labels)
            ensemble, _ = ModelView(model, cells).fit(ensemble)
        io.write_map(file, gs.predict_map(ensemble, area.evidence))
        print(f"{name}: mapped in {time.perf_counter() - start:.0f} s", flush=True)
    return io.read_map(file)


def unfitted(method: Method) -> tuple[Any, Any]:
    """The estimator and the sampler of a method as the catalogue has it."""
    model = gs.make_model(method.name, random_state=SEED, **given(method))
    return model, gs.make_sampler(method.negatives, **method.negatives_parameters)


def shown(name: str) -> None:
    """Write the picture of a method, and its row of the table."""
    area, score = district(), mapped(name)
    truth = truth_table(score, area.made, areas=(TOP,)).loc[TOP]
    row = {
        "method": name,
        "seed": SEED,
        "draws": draws_of(METHODS[name]),
        "rows": area.labels.shape[0],
        "columns": area.labels.shape[1],
        "cell_size": area.made.grid.cell_size[0],
        "known": int(truth["n_known"]),
        "hidden": int(truth["n_undiscovered"]),
        "hidden_in_top": int(truth["undiscovered"]),
        "hidden_by_chance": truth["expected"],
    }
    deposits = area.deposits.assign(rank=np.nan)
    sheet = score_map(score, deposits, hidden=area.made.undiscovered, width=7.2)
    FIGURES.mkdir(parents=True, exist_ok=True)
    (FIGURES / f"{name}.png").write_bytes(png_bytes(sheet, dpi=120))
    rows = pd.read_csv(TABLE).to_dict("records") if TABLE.exists() else []
    by_name = {**{each["method"]: each for each in rows}, name: row}
    table = pd.DataFrame([by_name[each] for each in METHODS if each in by_name])
    table.to_csv(TABLE, index=False, float_format="%.4f")


def side_by_side(scores: dict[str, xr.DataArray]) -> bytes:
    """The best ground by every method, with the truth, a panel each."""
    area, colours = district(), class_colours(len(ANOMALY_AREAS) + 1)[::-1]
    known = {"marker": "s", "s": 5, "facecolor": "white", "edgecolor": INK, "linewidth": 0.5}
    hidden = {**known, "marker": "*", "s": 16, "linewidth": 0.4}
    with themed():
        panels = Panels.of(area.labels, len(scores), 9.0)
        for sheet, (name, score) in zip(panels.maps, scores.items(), strict=True):
            sheet.draw_areas(score, ANOMALY_AREAS, colours)
            sheet.points(area.made.undiscovered, hidden)
            sheet.points(area.deposits, known)
            sheet.axes.set_title(name, loc="left", pad=3, fontsize=6.5)
        panels.maps[0].legend_areas(SCORE_TITLE, ANOMALY_AREAS, colours)
        panels.maps[0].legend_symbols("Deposits", [(known, "known"), (hidden, "hidden")])
        return png_bytes(panels.finish(), dpi=130)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    for name in options.methods:
        shown(name)
    if all((FIGURES / f"{name}.png").exists() for name in METHODS):
        (FIGURES / "all.png").write_bytes(side_by_side({name: mapped(name) for name in METHODS}))


if __name__ == "__main__":
    main()
