"""Which methods hold up where evidence is sparse? Trained on all of it, judged on a part.

On nanling and three synthetic districts extra trees, a linear probe on a pretrained network, the
same probe on the network as it starts, and a forest on the layers and the pretrained embedding are
fitted to the full evidence of each training fold. Held-out deposits and the whole background are
then scored with evidence thinned: a quarter, a half or three quarters of the layers missing over
the whole area, the same for all methods, or each value of each layer missing with that probability.
A district's means of neighbourhoods are made anew of what is left, so that they give away nothing.
A cell with no value left is scored as a method scores it, by chance or by its surroundings.

Prints AUC against background and capture in 5 % by share missing, averaged over three thinnings,
with 95 % intervals from resampling whole clusters of deposits with all of their thinnings; writes
the table, a CSV and the figure. Each network learns once an area, without labels, from the full
evidence; folds and draws of negatives are of one seed.

Backbones and finished pieces are kept in a scratch folder, so a stopped script goes on where it
was.

    python benchmarks/sparse_input.py [--areas nanling 0 1 2]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import xarray as xr
from areas import read_area
from pretraining_gain import pooled

import gossan as gs
from gossan import io
from gossan.evaluate import rank_bounds
from gossan.evidence import CellFeatures, FeatureSubset, focal_means
from gossan.looks import looked_at
from gossan.methods import METHODS
from gossan.pipeline import stage_keys
from gossan.report.theme import GROUP_COLOURS, INK, new_figure, png_bytes, themed
from gossan.validate import (
    ModelView,
    deal_background,
    deposit_cells,
    study_cells,
    training_cells,
)
from gossan.validate.folds import score_cells

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
SCRATCH = HERE / "scratch" / "sparse_input"
NETWORKS = HERE / "scratch" / "backbones"
"""Shared by the scripts that pretrain the same networks."""
AREAS = ["nanling", "0", "1", "2"]
SHARES = [0.25, 0.5, 0.75]
KINDS = {"layers": "layers missing", "values": "values missing"}
THINNINGS = [0, 1, 2]
"""Seeds of what is missing."""
SEED, FOLDS, PARTS, DRAWS, RATIO = 0, 6, 2, 3, 5.0
PRETRAINING: dict[str, Any] = {}
"""Settings of every network in place of the defaults: none."""
DISTRICT: dict[str, Any] = {}
"""Of the synthetic districts, in place of their defaults: none."""
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "extra trees": ("extra-trees", {}),
    "probe": ("masked-pretraining", {}),
    "probe, untrained": ("masked-pretraining", {"pretrained": False}),
    "forest": ("masked-pretraining-forest", {}),
}
Version = tuple[str, float, int]
"""Kind of thinning, share missing, and seed."""


class District:
    """An area at hand: its evidence, folds and background."""

    def __init__(self, name: str) -> None:
        at_hand = read_area(name, SCRATCH, **DISTRICT)
        self.name, self.study, self.evidence = name, at_hand.study, at_hand.evidence
        self.keys = stage_keys(self.study)
        self.cells = study_cells(self.evidence, at_hand.labels)
        self.centres = deposit_cells(self.cells, at_hand.labels)
        self.background = deal_background(self.cells, PARTS, None, SEED)
        splitter = gs.DepositClusterFolds(FOLDS, random_state=SEED)
        cells = self.cells
        self.splits = list(splitter.split(cells.coordinates, cells.labels, cells.deposits))

    def held_out(self, fold: int) -> np.ndarray:
        """Deposits that a fold holds out."""
        held = np.unique(self.cells.deposits[self.splits[fold][1]])
        return np.intersect1d(held, np.flatnonzero(self.centres >= 0))

    @property
    def clusters(self) -> np.ndarray:
        """Fold of each held-out deposit, fold by fold."""
        return np.concatenate([np.full(len(self.held_out(f)), f) for f in range(FOLDS)])

    def thinned(self, version: Version) -> xr.DataArray:
        """The evidence with some of it missing, and neighbourhoods' means of what is left."""
        kind, share, seed = version
        if share == 0:
            return self.evidence
        focal = self.study.method.focal
        own = self.evidence[: len(self.evidence) // (1 + len(focal))]
        rng = np.random.default_rng([seed, round(100 * share)])
        if kind == "layers":
            missing = np.zeros((len(own), 1, 1), dtype=bool)
            missing[rng.permutation(len(own))[: round(share * len(own))]] = True
        else:
            missing = rng.random(own.shape, dtype=np.float32) < share
        left = own.copy(data=np.where(missing, np.float32(np.nan), own.to_numpy()))
        return focal_means(left, focal) if focal else left


def versions() -> list[Version]:
    """Full evidence, and every thinning."""
    thinned = [(kind, share, seed) for kind in KINDS for share in SHARES for seed in THINNINGS]
    return [("full", 0.0, 0), *thinned]


def judged(district: District, title: str) -> dict[Version, np.ndarray]:
    """Bounds of the held-out deposits' ranks under every version of the evidence, by one method.

    A model is fitted once a fold and part of the background, and scores all versions.
    """
    method, model = made(title)
    made_of = (district.keys["labels"], model, method.code)
    made_of += (SEED, FOLDS, PARTS, DRAWS, RATIO)
    key = f"{io.file_stem(title)} {joblib.hash(made_of)[:12]}"
    pieces = io.ArrayFolder(SCRATCH / "pieces" / district.name)
    names = {v: f"{key} {v[0]} {100 * v[1]:.0f} {v[2]}" for v in versions()}
    todo = [version for version, name in names.items() if name not in pieces]
    if todo:
        start = time.perf_counter()
        with io.networks_kept(NETWORKS):
            view = ModelView(model, district.cells)
        fitted = list(fits(district, view))
        print(f"{district.name}, {title}: {time.perf_counter() - start:.0f} s", flush=True)
        for version in todo:
            start = time.perf_counter()
            pieces[names[version]] = {"bounds": ranked(district, view, fitted, version)}
            print(f"  {version}: {time.perf_counter() - start:.0f} s", flush=True)
    return {version: pieces[name]["bounds"] for version, name in names.items()}


def made(title: str) -> tuple[Any, Any]:
    name, settings = ROWS[title]
    deep = PRETRAINING if METHODS[name].deep else {}
    return METHODS[name], gs.make_model(name, random_state=SEED, **settings, **deep)


def fits(district: District, view: ModelView) -> Iterator[tuple[int, int, gs.DrawEnsemble]]:
    """Fold, part of the background, and a model that saw neither, on the full evidence."""
    cells = district.cells
    for fold, (train, _) in enumerate(district.splits):
        for part in range(PARTS):
            shown, _ = training_cells(cells, district.background, train, part, patches=False)
            model, features = view.within(shown)
            ensemble = gs.DrawEnsemble(model, gs.RandomNegatives(RATIO), DRAWS, SEED)
            ensemble.fit(
                FeatureSubset(features, shown),
                cells.training_labels[shown],
                cells.coordinates[shown],
            )
            yield fold, part, ensemble


def ranked(
    district: District,
    view: ModelView,
    fitted: list[tuple[int, int, gs.DrawEnsemble]],
    version: Version,
) -> np.ndarray:
    """Bounds of each held-out deposit's rank, averaged over the background's parts."""
    cells = district.cells
    looks = looked_at(view.within()[0], district.thinned(version))
    features = CellFeatures(looks, cells.rows, cells.columns)
    bounds: dict[int, list[np.ndarray]] = {}
    for fold, part, model in fitted:
        background = score_cells(model, features, district.background.cells(part))
        held_out = district.centres[district.held_out(fold)]
        own = rank_bounds(score_cells(model, features, held_out), background)
        bounds.setdefault(fold, []).append(own)
    return np.concatenate([np.mean(bounds[fold], axis=0) for fold in sorted(bounds)])


def compared(name: str) -> list[dict[str, Any]]:
    """Figures of one area: each method, kind of thinning and share missing."""
    district = District(name)
    found = {title: judged(district, title) for title in ROWS}
    shown = name if name == "nanling" else f"district {name}"
    rows = []
    for title, bounds in found.items():
        for kind in KINDS:
            for share in [0.0, *SHARES]:
                own = [b for (k, s, _), b in bounds.items() if s == share and k in (kind, "full")]
                rows.append(
                    {"area": shown, "deposits": len(district.clusters), "missing": kind}
                    | {"share": share, "method": title, "thinnings": len(own)}
                    | pooled(own, district.clusters)
                )
    return rows


def figure(row: dict[str, Any], name: str, digits: int) -> str:
    value, low, high = (f"{row[name + end]:.{digits}f}" for end in ("", "_low", "_high"))
    return f"{value} ({low} to {high})"


def table(found: pd.DataFrame) -> list[str]:
    """Markdown: a row an area, kind, share and figure, a column a method; then the settings."""
    heads = ["area", "missing", "figure", *ROWS]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for (area, kind, share), group in found.groupby(["area", "missing", "share"], sort=False):
        if share == 0 and kind != next(iter(KINDS)):
            continue  # full evidence is the same for both
        rows = {row["method"]: row for row in group.to_dict("records")}
        for name, title, digits in (("auc", "AUC", 3), ("capture", "in 5 %", 2)):
            texts = [figure(rows[method], name, digits) for method in ROWS]
            missing = f"{100 * share:.0f} % of {kind}" if share else "nothing"
            start = [str(area), missing, title]
            lines.append("| " + " | ".join([*start, *texts]) + " |")
    plan = made("probe")[1].pretraining
    counts = found.groupby("area", sort=False)["deposits"].first()
    deposits = ", ".join(f"{area} {count}" for area, count in counts.items())
    return [
        *lines,
        "",
        f"- Networks: preset {plan.preset}, {plan.epochs} epochs of {plan.windows_per_epoch:,} "
        "windows of the full evidence, one an area, no label seen.",
        f"- {DRAWS} draws of negatives, {RATIO:g} a positive; {FOLDS} folds of deposit clusters of "
        f"seed {SEED}; whole background; {len(THINNINGS)} thinnings of each share.",
        f"- Deposits held out: {deposits}.",
    ]


def drawn(found: pd.DataFrame) -> bytes:
    """Capture in 5 % against the share missing: a panel an area and kind of thinning."""
    areas = list(dict.fromkeys(found["area"]))
    with themed():
        sheet = new_figure(2.6 * len(areas) + 0.6, 5.2)
        axes = sheet.subplots(len(KINDS), len(areas), sharex=True, sharey=True, squeeze=False)
        for line, (kind, title) in zip(axes, KINDS.items(), strict=True):
            for ax, area in zip(line, areas, strict=True):
                panel(ax, found[(found["area"] == area) & (found["missing"] == kind)])
                ax.set_title(f"{area}: {title}", loc="left")
            line[0].set_ylabel("held-out deposits in 5 %")
        for ax in axes[-1]:
            ax.set_xlabel("share missing, %")
        sheet.tight_layout()
    return png_bytes(sheet)


def panel(ax: Any, rows: pd.DataFrame) -> None:
    """Lines with bands, named at their ends, the names kept apart."""
    ends = {}
    for colour, mark, title in zip(GROUP_COLOURS, "osD^", ROWS, strict=False):
        own = rows[rows["method"] == title].sort_values("share")
        x = 100 * own["share"]
        ax.fill_between(x, own["capture_low"], own["capture_high"], color=colour, alpha=0.1, lw=0)
        ax.plot(x, own["capture"], color=colour, marker=mark, markersize=3.5, linewidth=1.4)
        ends[title] = (float(own["capture"].iloc[-1]), colour)
    for title, place in spread({title: value for title, (value, _) in ends.items()}).items():
        value, colour = ends[title]
        ax.plot([75, 80], [value, place], color=colour, linewidth=0.7)
        ax.text(81, place, title, color=INK, fontsize=7, va="center")
    ax.set(xlim=(-3, 122), ylim=(-0.02, 1.02), xticks=[0, 25, 50, 75])


def spread(values: dict[str, float], apart: float = 0.075) -> dict[str, float]:
    """Heights of names at the ends of lines: near their values, but apart and within the panel."""
    order = sorted(values, key=values.__getitem__)
    places: list[float] = []
    for title in order:
        places.append(max(values[title], places[-1] + apart if places else 0.0))
    highest = 1.0
    for k in reversed(range(len(places))):
        places[k] = min(places[k], highest)
        highest = places[k] - apart
    return dict(zip(order, places, strict=True))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--areas", nargs="+", default=AREAS, choices=AREAS)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    found = pd.DataFrame([row for name in options.areas for row in compared(name)])
    lines = table(found)
    print("\n".join(lines))
    if options.areas == AREAS:
        found.to_csv(HERE / "sparse_input.csv", index=False, float_format="%.5g")
        io.write_text(DOCS / "tables" / "sparse_input.md", "\n".join(lines) + "\n")
        io.write_bytes(DOCS / "figures" / "sparse-input.png", drawn(found))


if __name__ == "__main__":
    main()
