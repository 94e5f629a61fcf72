"""Scores and values of the layers → findings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from gossan.draft.columns import SENTINELS
from gossan.draft.toml import toml_value
from gossan.geochem import element_of
from gossan.quality.findings import Finding
from gossan.quality.layers import CellSample
from gossan.study import Study, Vector

COARSE = 5.0
SPARSE = 0.5
ALIKE = 0.98
NOISY = 0.7
SIGNIFICANT = 2.58  # Z at 1 %, two-sided
_MOSTLY_LOWEST = 0.05
_FEW_VALUES = 20
_WORTH_A_WARNING = re.compile(r"left out|more than once|stands for", re.IGNORECASE)


def judge_layers(
    study: Study, evidence: xr.DataArray, sample: CellSample, scores: pd.DataFrame
) -> Iterator[Finding]:
    """What is odd about the layers, one finding a source where several share it."""
    yield from _history(evidence)
    yield from _coarse(scores)
    yield from _sparse(scores)
    yield from _codes(sample, scores)
    yield from _repeated_lowest(study, sample, scores)
    yield from _alike(scores)
    yield from _noisy(scores)
    if len(sample.at_deposits) and not (scores["z"] > SIGNIFICANT).any():
        yield Finding(
            "warning",
            "evidence",
            f"No layer alone tells deposits from other ground: the largest Z is "
            f"{scores['z'].max():.1f}, below {SIGNIFICANT} (1 %).",
            "Check the deposits' CRS, choose deposits of one type (`where`), or add evidence.",
        )


def list_names(names: Sequence[object], most: int = 5) -> str:
    """``a, b, c and 4 more``."""
    listed = ", ".join(str(name) for name in names[:most])
    return listed + (f" and {len(names) - most} more" if len(names) > most else "")


def _history(evidence: xr.DataArray) -> Iterator[Finding]:
    """What happened while the evidence was built."""
    for entry in json.loads(evidence.attrs.get("history", "[]")):
        severe = _WORTH_A_WARNING.search(entry["message"])
        yield Finding("warning" if severe else "note", entry["source"], entry["message"])


def _coarse(scores: pd.DataFrame) -> Iterator[Finding]:
    for source, layers in scores[scores["resolution_ratio"] > COARSE].groupby("source", sort=False):
        ratio, native = layers["resolution_ratio"].max(), layers["resolution"].max()
        yield Finding(
            "warning",
            str(source),
            f"Its native resolution, {native:,.0f}, is {ratio:.0f} cells: what the map shows "
            f"between is interpolated ({list_names(list(layers.index))}).",
            "Use a larger cell_size, or read the map no finer than this source.",
        )


def _sparse(scores: pd.DataFrame) -> Iterator[Finding]:
    sparse = scores[(scores["coverage"] < SPARSE) & (scores["kind"] == "continuous")]
    for source, layers in sparse.groupby("source", sort=False):
        yield Finding(
            "warning",
            str(source),
            f"Observed in {layers['coverage'].min():.0%} of the area only "
            f"({list_names(list(layers.index))}).",
            "Narrow the area (`extent` or `mask`), or leave the source out: where a layer is "
            "missing, its absence can stand for the place.",
        )


def _codes(sample: CellSample, scores: pd.DataFrame) -> Iterator[Finding]:
    for column, (layer, source) in enumerate(scores["source"].items()):
        values = sample.values[:, column]
        found = [code for code in SENTINELS if code < 0 and (values == np.float32(code)).any()]
        for code in found:
            yield Finding(
                "error",
                str(source),
                f"Layer {layer} holds {code:g} in {(values == np.float32(code)).mean():.1%} of the "
                "cells: a code for 'missing', taken for a value.",
                f"Add nodata = {code:g} to this source.",
            )


def _repeated_lowest(study: Study, sample: CellSample, scores: pd.DataFrame) -> Iterator[Finding]:
    """Measured layers with many cells at their very minimum: censored, or not mapped there."""
    drawn = {source.name for source in study.sources if isinstance(source, Vector)}
    measured = scores[(scores["kind"] == "continuous") & ~scores["source"].isin(drawn)]
    for source, layers in measured.groupby("source", sort=False):
        shares = {}
        for layer in layers.index:
            values = sample.values[:, scores.index.get_loc(layer)]
            values = values[np.isfinite(values)]
            share = float((values == values.min()).mean()) if len(values) else 0.0
            # The smallest distance or class is honest; the smallest concentration seldom is.
            telling = len(values) and (values.min() == 0 or element_of(str(layer)) is not None)
            if share > _MOSTLY_LOWEST and telling and len(np.unique(values[:2000])) > _FEW_VALUES:
                shares[f"{layer} ({values.min():g} in {share:.0%} of the cells)"] = values.min()
        if shares:
            codes = toml_value(sorted({float(value) for value in shares.values()}))
            yield Finding(
                "warning",
                str(source),
                f"Much of the area holds the very smallest value of {list_names(list(shares))}: "
                "below detection, or ground that was not mapped.",
                f"If it means 'not mapped', add nodata = {codes} to this source, or keep to the "
                "mapped ground with `mask` in [area].",
            )


def _alike(scores: pd.DataFrame) -> Iterator[Finding]:
    said = set()
    for layer, score in scores[scores["partner_rho"].abs() > ALIKE].iterrows():
        pair = frozenset((str(layer), str(score["partner"])))
        if pair not in said:
            said.add(pair)
            yield Finding(
                "warning",
                str(score["source"]),
                f"Layers {layer} and {score['partner']} say the same: Spearman's ρ is "
                f"{score['partner_rho']:.3f}.",
                "Leave one out: together they count twice.",
            )


def _noisy(scores: pd.DataFrame) -> Iterator[Finding]:
    for source, layers in scores[scores["nugget"] > NOISY].groupby("source", sort=False):
        yield Finding(
            "note",
            str(source),
            f"Mostly noise at this spacing: nugget share up to {layers['nugget'].max():.0%} "
            f"({list_names(list(layers.index))}).",
            "Such layers tell little of a place from its neighbours; consider leaving them out.",
        )
