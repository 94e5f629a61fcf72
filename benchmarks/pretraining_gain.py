"""What is pretraining worth? The same head on a pretrained and on an untrained network, held out.

On nanling, jabal-al-hasir and three synthetic districts, with study seeds 0, 1 and 2, which change
folds, draws of negatives and networks: a linear probe and a forest on a pretrained network, the
same on the network as it starts, and extra trees and logistic regression on the layers themselves;
deposits held out by clusters, each ranked against the whole background. On nanling also the probe
on exact embeddings in place of dense ones, and, with `--strict` and seed 0 alone, a backbone that
does not see even the unlabelled evidence of held-out ground, pretrained anew in every fold, which
takes an hour. Prints AUC and capture in 5 % with 95 % intervals, and paired differences.

The seeds' figures are averaged: a deposit counts once a seed, and the bootstrap resamples clusters
of deposits, those of seed 0, with all of a deposit's seeds together. It resamples no seeds.

Beside it, how well the backbone of nanling fills in what is hidden from it, in windows of the
blocks that it did not learn from: errors of each layer, of the layer's mean and of bilinear fill.

Backbones and finished folds are kept in a scratch folder, so a stopped script goes on where it was.

    python benchmarks/pretraining_gain.py [--areas nanling jabal-al-hasir 0 1 2] [--strict]
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from areas import Area, read_area
from scipy.stats import binomtest

import gossan as gs
from gossan import io
from gossan.evaluate import held_out_summary, paired_difference
from gossan.methods import METHODS
from gossan.pipeline import stage_keys

HERE = Path(__file__).resolve().parent
TABLES = HERE.parent / "docs" / "tables"
SCRATCH = HERE / "scratch" / "pretraining_gain"
NETWORKS = HERE / "scratch" / "backbones"
"""Shared by the scripts that pretrain the same networks."""
SURVEYS = ["nanling", "jabal-al-hasir"]
AREAS = [*SURVEYS, "0", "1", "2"]
SEEDS = [0, 1, 2]
FOLDS = 6
PRETRAINING: dict[str, Any] = {}
"""Settings of every network in place of the defaults: none."""
DISTRICT: dict[str, Any] = {}
"""Of the synthetic districts, in place of their defaults: none."""


@dataclass(frozen=True)
class Row:
    """A method as it is compared: its settings, and where it is."""

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    areas: tuple[str, ...] = tuple(AREAS)
    seeds: tuple[int, ...] = tuple(SEEDS)


PROBE, FOREST = "masked-pretraining", "masked-pretraining-forest"
ROWS = {
    "probe": Row(PROBE),
    "probe, untrained": Row(PROBE, {"pretrained": False}),
    "forest": Row(FOREST),
    "forest, untrained": Row(FOREST, {"pretrained": False}),
    "extra trees": Row("extra-trees"),
    "logistic regression": Row("logistic-regression"),
    "probe, exact": Row(PROBE, {"embedding": "exact"}, ("nanling",)),
}
STRICT = {"probe, strict": Row(PROBE, {"strict": True}, ("nanling",), (0,))}
DIFFERENCES = [
    ("probe", "probe, untrained"),
    ("forest", "forest, untrained"),
    ("forest", "extra trees"),
    ("probe, exact", "probe"),
    ("probe, strict", "probe"),
]


def model_of(row: Row, seed: int) -> Any:
    deep = PRETRAINING if METHODS[row.method].deep else {}
    return gs.make_model(row.method, random_state=seed, **row.settings, **deep)


def held_out(at_hand: Area, title: str, seed: int) -> dict[str, np.ndarray]:
    """Of each held-out deposit its number, its fold and the bounds of its rank."""
    name, study = at_hand.name, at_hand.study
    row = ROWS[title]
    method, model = METHODS[row.method], model_of(row, seed)
    sampler = gs.make_sampler(method.negatives, **method.negatives_parameters)
    made_of = (stage_keys(study)["labels"], model, sampler, method.draws, method.code, seed, FOLDS)
    pieces = SCRATCH / "folds" / name / f"{io.file_stem(title)}-{joblib.hash(made_of)[:12]}"
    start = time.perf_counter()
    with io.networks_kept(NETWORKS):
        found = gs.cross_validate(
            model,
            at_hand.evidence,
            at_hand.labels,
            splitter=gs.DepositClusterFolds(FOLDS, random_state=seed),
            negatives=sampler,
            n_draws=method.draws,
            random_state=seed,
            finished=io.JsonFolder(pieces),
        )
    took = time.perf_counter() - start
    auc = found.held_out["auc_background"]
    print(f"{name}, {title}, seed {seed}: AUC {auc:.3f}, {took:.0f} s", flush=True)
    deposits = np.concatenate([fold["deposits"] for fold in found.fold_results])
    bounds = np.concatenate([np.reshape(f["rank_bounds"], (-1, 2)) for f in found.fold_results])
    order = np.argsort(deposits, kind="stable")
    return {"deposits": deposits[order], "folds": found.folds, "bounds": bounds[order]}


def pooled(results: list[np.ndarray], clusters: np.ndarray) -> dict[str, Any]:
    """Mean figures over several sets of ranks of the same deposits, with intervals.

    The least width of a capture's interval is that of as many deposits as there are, not of as
    many ranks.
    """
    summary = held_out_summary(np.concatenate(results), np.tile(clusters, len(results)))
    found = summary["capture"]["0.05"]
    low, high = summary["ci95"]["capture"]["0.05"]
    count = len(clusters)
    alone = binomtest(round(found * count), count).proportion_ci(method="wilson")
    auc_low, auc_high = summary["ci95"]["auc_background"]
    return {
        **{"auc": summary["auc_background"], "auc_low": auc_low, "auc_high": auc_high},
        **{"capture": found, "capture_low": min(low, alone.low)},
        "capture_high": max(high, alone.high),
    }


def difference(
    one: list[np.ndarray], other: list[np.ndarray], clusters: np.ndarray
) -> dict[str, float]:
    """Mean of one less the other over several sets of ranks, with intervals."""
    found = paired_difference(
        np.concatenate(one), np.concatenate(other), np.tile(clusters, len(one))
    )
    auc_low, auc_high = found["ci95"]["auc_background"]
    low, high = found["ci95"]["capture"]["0.05"]
    return {
        **{"auc": found["auc_background"], "auc_low": auc_low, "auc_high": auc_high},
        **{"capture": found["capture"]["0.05"], "capture_low": low, "capture_high": high},
    }


def compared(name: str) -> list[dict[str, Any]]:
    """Figures of each row on one area, and the paired differences."""
    at_hand = read_area(name, SCRATCH, **DISTRICT)
    found = {
        title: {seed: held_out(at_hand, title, seed) for seed in row.seeds}
        for title, row in ROWS.items()
        if name in row.areas
    }
    clusters = found["probe"][SEEDS[0]]["folds"]
    bounds = {
        title: {seed: result["bounds"] for seed, result in results.items()}
        for title, results in found.items()
    }
    own = {"area": name if name in SURVEYS else f"district {name}", "deposits": len(clusters)}
    rows = [
        {**own, "row": title, "minus": "", "seeds": len(results)}
        | pooled(list(results.values()), clusters)
        for title, results in bounds.items()
    ]
    for one, other in DIFFERENCES:
        if one in bounds:
            seeds = [seed for seed in bounds[one] if seed in bounds[other]]
            pairs = [[bounds[title][seed] for seed in seeds] for title in (one, other)]
            rows.append(
                {**own, "row": one, "minus": other, "seeds": len(seeds)}
                | difference(*pairs, clusters)
            )
    return rows


def reconstructed() -> tuple[pd.DataFrame, str]:
    """Errors of each layer of nanling, and in how many the network is best."""
    from gossan.nn.masked_autoencoder.reconstruction import reconstruct, reconstruction_scores

    evidence = read_area("nanling", SCRATCH).evidence
    with io.networks_kept(NETWORKS):
        backbone = model_of(ROWS["probe"], SEEDS[0]).learn_evidence(evidence).backbone
    scores = reconstruction_scores(reconstruct(backbone, evidence), backbone.layers)
    continuous = scores[~backbone.learned["binary"].astype(bool)]
    best = continuous["network"] < continuous[["layer_mean", "bilinear"]].min(axis=1)
    said = (
        f"The network beats both the layer's mean and bilinear fill in {best.sum()} of "
        f"{len(best)} continuous layers ({100 * best.mean():.0f} %); mean error "
        f"{continuous['network'].mean():.3f}, {continuous['layer_mean'].mean():.3f} and "
        f"{continuous['bilinear'].mean():.3f} standard deviations; of its kriging alone "
        f"{continuous['kriging'].mean():.3f}, which it betters in "
        f"{(continuous['network'] < continuous['kriging']).sum()}."
    )
    return scores, said


def settings() -> str:
    """How the networks were pretrained, in words."""
    plan = model_of(ROWS["probe"], 0).pretraining
    return (
        f"preset {plan.preset}, {plan.epochs} epochs of {plan.windows_per_epoch:,} windows, "
        f"{100 * plan.hidden_cells:.0f} % of cells hidden"
    )


def figure(row: dict[str, Any], name: str, digits: int, sign: str = "") -> str:
    value, low, high = (f"{row[name + end]:{sign}.{digits}f}" for end in ("", "_low", "_high"))
    return f"{value} ({low} to {high})"


def gain_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: figures, then paired differences, then the settings."""
    lines = ["| area | row | seeds | AUC | in 5 % |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['area']} | {row['row']} | {row['seeds']} | {figure(row, 'auc', 3)} | "
        f"{figure(row, 'capture', 2)} |"
        for row in rows
        if not row["minus"]
    ]
    lines += ["", "| area | difference | seeds | AUC | in 5 % |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['area']} | {row['row']} − {row['minus']} | {row['seeds']} | "
        f"{figure(row, 'auc', 3, '+')} | {figure(row, 'capture', 2, '+')} |"
        for row in rows
        if row["minus"]
    ]
    counts = {row["area"]: row["deposits"] for row in rows}
    deposits = ", ".join(f"{name} {count}" for name, count in counts.items())
    return [
        *lines,
        "",
        f"- Networks: {settings()}; one a seed and area, no label seen.",
        f"- {METHODS[PROBE].draws} draws of negatives, five a positive (logistic regression: all "
        f"unlabelled cells); {FOLDS} folds of deposit clusters, anew for each of the seeds "
        f"{', '.join(map(str, SEEDS))}; whole background.",
        f"- Deposits held out: {deposits}.",
    ]


def reconstruction_lines(scores: pd.DataFrame, said: str) -> list[str]:
    lines = [
        "| layer | network | its kriging alone | layer's mean | bilinear fill | hidden values |",
        "|---|---|---|---|---|---|",
    ]
    for row in scores.to_dict("records"):
        errors = (f"{row[name]:.3f}" for name in ("network", "kriging", "layer_mean", "bilinear"))
        lines.append(f"| {row['layer']} | {' | '.join(errors)} | {row['values']:,} |")
    return [*lines, "", f"- {said}", f"- nanling, seed {SEEDS[0]}: {settings()}."]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--areas", nargs="+", default=AREAS, choices=AREAS)
    arguments.add_argument("--strict", action="store_true")
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    if options.strict:
        ROWS.update(STRICT)
    rows = [row for name in options.areas for row in compared(name)]
    lines = gain_lines(rows)
    print("\n".join(lines), flush=True)
    if options.areas == AREAS:
        pd.DataFrame(rows).to_csv(HERE / "pretraining_gain.csv", index=False, float_format="%.5g")
        io.write_text(TABLES / "pretraining_gain.md", "\n".join(lines) + "\n")
    if "nanling" in options.areas:
        lines = reconstruction_lines(*reconstructed())
        print("\n".join(lines))
        io.write_text(TABLES / "reconstruction.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
