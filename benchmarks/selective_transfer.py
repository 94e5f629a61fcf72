"""What is selective transfer worth? Each part left out, held out, from area to area.

Nanling to jabal-al-hasir and back, on the layers that both have, and two pairs of synthetic
districts of other seeds, which have another geology. A source learns the patches of one area with
all of its deposits; targets learn the other area. Compared are all parts together; without the soft
mask, with every dilation 1, without transfer, without distillation; shares of distillation from 0.1
to 1; a plain residual network by itself; and extra trees on cells. Seeds 0, 1 and 2 change folds
and networks, the source's too.

Judged as any method here: deposits held out by clusters, each ranked against the whole background,
which is hidden in parts. Beside it the source's own protocol: networks that learnt the patches of
the upper two thirds of the rows tell those of the lower third, as accuracy, recall and macro-F1.

The rank of every held-out deposit is kept in a file a pair beside this script, so a stopped script
goes on where it was, and so can another machine. A second process with `--backwards` helps.

    python benchmarks/selective_transfer.py [--pairs nanling-jabal-al-hasir 0-1] [--write]
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from areas import Area, read_area
from pretraining_gain import difference, pooled
from pretraining_gain import figure as text_of

import gossan as gs
from gossan import io
from gossan.evidence import without_focal_means
from gossan.methods import METHODS
from gossan.nn.selective_transfer import PatchTraining, Source, patch_figures, train_source
from gossan.nn.selective_transfer.patches import chosen_sizes
from gossan.pipeline.keys import room_code
from gossan.report.theme import GROUP_COLOURS, INK, new_figure, png_bytes, themed

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
SCRATCH = HERE / "scratch" / "selective_transfer"
RESULTS = HERE / "selective_transfer"
SURVEYS = ["nanling", "jabal-al-hasir"]
PAIRS = {
    "nanling-jabal-al-hasir": ("nanling", "jabal-al-hasir"),
    "jabal-al-hasir-nanling": ("jabal-al-hasir", "nanling"),
    "0-1": ("0", "1"),
    "2-3": ("2", "3"),
}
SEEDS = [0, 1, 2]
FOLDS, PARTS = 4, 2
WIDTH, EPOCHS, SOURCE_EPOCHS, BATCH = 8, 5, 20, 32
"""Published: 64, 150, 150 and 128."""
WINDOW = 16
"""Published: 256, of 3,072 cells."""
STRIDES = {"nanling": 8, "jabal-al-hasir": 16}
"""Of the surveys' patches, some 270 each; districts have as chosen for them."""
TRAINING_ROWS = 2 / 3
"""Published: five sixths, of areas in which the rest holds two rows of patches."""
DISTRICT: dict[str, Any] = {"shape": (120, 140), "n_deposits": 30}
METHOD = "selective-transfer"


@dataclass(frozen=True)
class Row:
    """A method as it is compared: its settings, and by how many seeds."""

    settings: dict[str, Any] = field(default_factory=dict)
    method: str = METHOD
    seeds: tuple[int, ...] = tuple(SEEDS)

    @property
    def patches(self) -> bool:
        """Whether it tells patches, and not cells."""
        return self.method == METHOD


PLAIN = {"transfer": False, "soft_mask": False, "distillation": 0.0}
ROWS = {
    "all parts": Row(),
    "without soft mask": Row({"soft_mask": False}),
    "every dilation 1": Row({"dilations": "ones"}),
    "without transfer": Row({"transfer": False}),
    "without distillation": Row({"distillation": 0.0}),
    "β = 0.1": Row({"distillation": 0.1}),
    "β = 1": Row({"distillation": 1.0}),
    "plain ResNet-18": Row({**PLAIN, "dilations": (1,)}),
    "extra trees": Row(method="extra-trees"),
}
REFERENCE = "all parts"


def plain_area(name: str) -> Area:
    """Without means of neighbourhoods: they say again what a network of patches sees by itself."""
    found = read_area(name, SCRATCH, **DISTRICT)
    return replace(found, evidence=without_focal_means(found.evidence, found.study.method.focal))


def key_of(found: Area) -> str:
    """By content: results are to outlive changes of code that do not touch them."""
    return joblib.hash((found.evidence.to_numpy().round(5), found.labels.to_numpy()))


class Pair:
    """A source area and a target area, on the layers that both have."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.source, self.target = (plain_area(each) for each in PAIRS[name])
        known = set(self.source.evidence["layer"].to_numpy())
        self.layers = [str(n) for n in self.target.evidence["layer"].to_numpy() if n in known]
        code = (METHODS[METHOD].code, room_code("validate"), room_code("models"))
        self.key = (key_of(self.source), key_of(self.target), code, self.layers)
        self.results = RESULTS / f"{name}.json"
        self.evidence = self.target.evidence.sel(layer=self.layers)

    def taught(self, seed: int) -> Source:
        """The source, trained with all of its area's deposits."""
        plan = PatchTraining(
            epochs=SOURCE_EPOCHS,
            batch_size=BATCH,
            accelerator="cpu",
        )
        key = joblib.hash((self.key, plan, WIDTH, WINDOW, STRIDES))
        file = SCRATCH / "sources" / f"{self.name}-{seed}-{key}"
        if not file.exists():
            evidence = self.source.evidence.sel(layer=self.layers)
            train_source(
                evidence,
                self.source.labels.to_numpy(),
                area=self.source.name,
                patch_window=WINDOW,
                patch_stride=STRIDES.get(self.source.name),
                width=WIDTH,
                settings=plan,
                seed=seed,
            ).save(file)
        return Source.load(file)

    def model(self, row: Row, seed: int) -> Any:
        if not row.patches:
            return gs.make_model(row.method, random_state=seed, **row.settings)
        given: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH, "vote": "chance"}
        given |= {"accelerator": "cpu", "patch_window": WINDOW, **row.settings}
        given["patch_stride"] = STRIDES.get(self.target.name)
        if given.get("dilations") == "ones":  # as many networks as there are scales
            sizes = chosen_sizes(self.evidence.shape[1:], window=WINDOW)
            given["dilations"] = (1,) * len(sizes.dilations)
        return gs.make_model(METHOD, random_state=seed, source=self.taught(seed), **given)


def held_out(pair: Pair, title: str, seed: int) -> dict[str, Any]:
    """Of each held-out deposit its fold and the bounds of its rank, by deposit; patches told."""
    row = ROWS[title]
    method = METHODS[row.method]
    sampler = gs.make_sampler(method.negatives, **method.negatives_parameters)
    made_of = (pair.key, row.method, row.settings, sampler, method.draws, seed, FOLDS, PARTS)
    made_of += (WIDTH, EPOCHS, SOURCE_EPOCHS, BATCH, WINDOW, STRIDES)
    key = joblib.hash(made_of)
    kept = io.read_json_if_whole(pair.results) or {}
    if key in kept:
        return kept[key]
    model = pair.model(row, seed)
    pieces = io.JsonFolder(SCRATCH / "folds" / pair.name / key)
    start = time.perf_counter()
    found = gs.cross_validate(
        model,
        pair.evidence,
        pair.target.labels,
        splitter=gs.DepositClusterFolds(FOLDS, random_state=seed),
        negatives=sampler,
        n_draws=method.draws,
        background_folds=PARTS,
        random_state=seed,
        finished=pieces,
    )
    took = time.perf_counter() - start
    auc = found.held_out["auc_background"]
    print(f"{pair.name}, {title}, seed {seed}: AUC {auc:.3f}, {took:.0f} s", flush=True)
    deposits = np.concatenate([fold["deposits"] for fold in found.fold_results])
    bounds = np.concatenate([np.reshape(f["rank_bounds"], (-1, 2)) for f in found.fold_results])
    result = {
        "row": title,
        "seed": seed,
        "folds": found.folds.tolist(),
        "bounds": bounds[np.argsort(deposits, kind="stable")].round(6).tolist(),
        "counts": told_patches(pair, model, pieces) if row.patches else {},
    }
    with io.waiting_lock(SCRATCH / f"{pair.name}.lock"):  # other processes may do other rows
        io.write_json(pair.results, {**(io.read_json_if_whole(pair.results) or {}), key: result})
    return result


def told_patches(pair: Pair, model: Any, kept: io.JsonFolder) -> dict[str, int]:
    """Confusion of the patches of the lower rows, by networks that saw the upper ones alone."""
    if "lower rows" not in kept:
        labels = pair.target.labels.to_numpy()
        upper = round(TRAINING_ROWS * len(labels))
        known = np.where(labels == -1, 0, labels)
        known[upper:] = -2
        fitted = model.fit_area(pair.evidence, known)
        stride = WINDOW // 4
        counts = fitted.judge_area(pair.evidence[:, upper:], labels[upper:] == 1, stride=stride)
        kept["lower rows"] = counts
    return kept["lower rows"]


def compared(name: str) -> list[dict[str, Any]]:
    """Figures of each row on one pair, and its difference to all parts together."""
    pair = Pair(name)
    found = {
        title: {seed: held_out(pair, title, seed) for seed in row.seeds}
        for title, row in ROWS.items()
    }
    clusters = np.array(found[REFERENCE][SEEDS[0]]["folds"])
    between = " → ".join(map(_told, PAIRS[name]))
    own = {"pair": between, "deposits": len(clusters), "layers": len(pair.layers)}
    rows = []
    for title, results in found.items():
        bounds = [np.array(result["bounds"]) for result in results.values()]
        row = {**own, "row": title, "seeds": len(results), **pooled(bounds, clusters)}
        if ROWS[title].patches:
            row |= _mean_figures([result["counts"] for result in results.values()])
        if title != REFERENCE:
            against = [np.array(found[REFERENCE][seed]["bounds"]) for seed in results]
            row |= {f"minus_{k}": v for k, v in difference(bounds, against, clusters).items()}
        rows.append(row)
    return rows


def _told(area: str) -> str:
    return area if area in SURVEYS else f"district {area}"


def _mean_figures(counts: list[dict[str, int]]) -> dict[str, float]:
    """Mean and range over the seeds of the figures of patches."""
    figures = pd.DataFrame([patch_figures(**each) for each in counts])
    found: dict[str, float] = {}
    for name in figures:
        found |= {name: figures[name].mean(), f"{name}_low": figures[name].min()}
        found[f"{name}_high"] = figures[name].max()
    return found


def lines_of(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: a row a pair and a method, then the settings."""
    heads = ["pair", "row", "AUC", "in 5 %", "AUC less all parts", "accuracy", "recall", "macro-F1"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        minus = {k.removeprefix("minus_"): v for k, v in row.items() if k.startswith("minus_")}
        texts = [row["pair"], row["row"], text_of(row, "auc", 3), text_of(row, "capture", 2)]
        texts.append(text_of(minus, "auc", 3, "+") if minus else "–")
        texts += [
            text_of({k: 100 * v for k, v in row.items() if k.startswith(name)}, name, 0)
            if name in row
            else "–"
            for name in ("accuracy", "recall", "macro_f1")
        ]
        lines.append("| " + " | ".join(texts) + " |")
    counts = {row["pair"]: (row["deposits"], row["layers"]) for row in rows}
    told = "; ".join(f"{pair} {n} on {k} layers" for pair, (n, k) in counts.items())
    return [
        *lines,
        "",
        f"- Smaller than published, for two cores: networks of {WIDTH} channels at first (64), "
        f"{EPOCHS} epochs and {SOURCE_EPOCHS} of the source (150), batches of {BATCH} (128), "
        f"windows of {WINDOW} cells (256); the score is the networks' mean chance.",
        f"- AUC and capture: {FOLDS} folds of deposit clusters, anew for each of the seeds "
        f"{', '.join(map(str, SEEDS))}; whole background, hidden in {PARTS} parts; 95 % intervals "
        "from resampling clusters with all of a deposit's seeds.",
        "- Accuracy, recall and macro-F1, in %: patches of the lower third of the rows; mean, and "
        "least to greatest over the seeds.",
        f"- Deposits held out: {told}.",
    ]


def drawn(rows: list[dict[str, Any]]) -> bytes:
    """AUC of every row less that of all parts together: a panel a pair."""
    frame = pd.DataFrame(rows)
    pairs = list(dict.fromkeys(frame["pair"]))
    titles = [title for title in ROWS if title != REFERENCE]
    with themed():
        sheet = new_figure(2.5 * len(pairs) + 1.4, 3.6)
        panels = sheet.subplots(1, len(pairs), sharey=True, squeeze=False)[0]
        for ax, pair in zip(panels, pairs, strict=True):
            own = frame[frame["pair"] == pair].set_index("row").loc[titles]
            place = np.arange(len(titles))[::-1]
            ax.axvline(0.0, color=INK, linewidth=0.7)
            ax.hlines(place, own["minus_auc_low"], own["minus_auc_high"], color=GROUP_COLOURS[0])
            ax.plot(own["minus_auc"], place, "o", color=GROUP_COLOURS[0], markersize=4.5)
            ax.set_title(pair, loc="left", fontsize=7.5)
            ax.set_yticks(place, titles)
            ax.set_xlabel("AUC less that of all parts")
        sheet.tight_layout()
    return png_bytes(sheet)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", nargs="+", default=list(PAIRS), choices=list(PAIRS))
    arguments.add_argument("--write", action="store_true", help="table and figure of the docs")
    arguments.add_argument("--backwards", action="store_true", help="rows from the last")
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    if options.backwards:
        for name, title, seed in product(options.pairs, reversed(ROWS), SEEDS):
            held_out(Pair(name), title, seed)
    rows = [row for name in options.pairs for row in compared(name)]
    lines = lines_of(rows)
    print("\n".join(lines), flush=True)
    if options.write:
        pd.DataFrame(rows).to_csv(HERE / "selective_transfer.csv", index=False, float_format="%.5g")
        io.write_text(DOCS / "tables" / "selective_transfer.md", "\n".join(lines) + "\n")
        io.write_bytes(DOCS / "figures" / "selective-transfer.png", drawn(rows))


if __name__ == "__main__":
    main()
