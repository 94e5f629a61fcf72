"""A small survey with all that a report can show, made of plain arrays; pages read back."""

from html.parser import HTMLParser

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from scipy.ndimage import gaussian_filter

from gossan.evaluate import held_out_summary
from gossan.grid import Grid
from gossan.quality import Finding, StudyCheck
from gossan.report import ReportInputs

LAYERS = ["Sn", "W", "Li", "granite distance", "fault density", "magnetic field", "Cu", "ذهب (Au)"]


def make_inputs(shape=(60, 80), cell_size=500.0, n_deposits=23, seed=0) -> ReportInputs:
    """Smooth random fields stand for a map; most deposits rank high, a few are missed."""
    rng = np.random.default_rng(seed)
    bounds = (500_000, 2_600_000, 500_000 + shape[1] * cell_size, 2_600_000 + shape[0] * cell_size)
    grid = Grid.from_bounds(bounds, cell_size, "EPSG:32650")
    scale = shape[0] / 27
    field = gaussian_filter(rng.normal(size=shape), scale) * scale
    field += 0.25 * gaussian_filter(rng.normal(size=shape), scale / 4) * scale / 4
    values = (1 / (1 + np.exp(-(3 * field - 1.5)))).astype(np.float32)
    values[: shape[0] // 6, : shape[1] // 5] = np.nan
    score = grid.to_dataarray(values, name="score")
    spread = grid.to_dataarray(
        (0.3 * values * (1 - values) * (1 + gaussian_filter(rng.normal(size=shape), 3))).astype(
            np.float32
        ),
        name="spread",
    )
    deposits = _deposits(grid, values, n_deposits, rng)
    ranks = deposits["rank"].to_numpy()
    tested = np.isfinite(ranks)
    evaluation = {
        "method": "extra-trees",
        "negatives": "AllUnlabelled()",
        "splitter": "DepositClusterFolds(n_splits=6)",
        "draws": 1,
        "folds": 6,
        "n_deposits": int(tested.sum()),
        "n_cells": int(np.isfinite(values).sum()),
        "held_out": held_out_summary(ranks[tested], deposits["fold"].to_numpy()[tested]),
        "rank_stability": {"jaccard": 0.81, "spearman": 0.97},
        "diagnostics": {"AUC against chosen negatives": 0.991},
    }
    return ReportInputs(
        study_name="Nanling <test>",
        method_title="Extra trees on 39 elements and geology",
        score=score,
        spread=spread,
        deposits=deposits,
        evaluation=evaluation,
        targets=_targets(grid, values, deposits),
        layer_scores=_layer_scores(rng),
        findings=_findings(),
        importance=pd.DataFrame(
            {"layer": LAYERS, "importance": np.geomspace(0.2, 0.004, 8), "spread": 0.01}
        ),
        evidence={
            name: grid.to_dataarray(gaussian_filter(rng.normal(size=shape), 2 + k).astype("f4"))
            for k, name in enumerate(LAYERS)
        },
        reliability=pd.DataFrame(
            {"predicted": [0.01, 0.05, 0.2], "observed": [0.0, 0.06, 0.18], "cells": [50, 50, 50]}
        ),
        truth=_truth(),
        hidden=gpd.GeoDataFrame(geometry=deposits.geometry.translate(1700, 900), crs=grid.crs),
        settings={
            "area": {"crs": "EPSG:32650", "cell_size": cell_size},
            "samples": [{"name": "till", "elements": LAYERS[:3]}, {"name": "soil", "elements": []}],
            "seed": 0,
        },
        provenance={"versions": {"numpy": "2.4.6"}, "inputs": {"Sn.tif": "9169d57b" * 8}},
        history=["Dropped Be: below detection in 52 % of samples."],
    )


def _truth():
    """Shaped as gossan.datasets.truth_table gives it."""
    areas, found = np.array([0.01, 0.02, 0.05, 0.1]), np.array([3, 6, 14, 21])
    return pd.DataFrame(
        {
            "undiscovered": found,
            "n_undiscovered": 40,
            "expected": 40 * areas,
            "lift": found / (40 * areas),
            "p_chance": [7e-3, 1e-4, 1e-9, 2e-12],
        },
        index=pd.Index(areas, name="area"),
    )


def _deposits(grid, values, count, rng):
    flat = values.ravel()
    ordered = np.argsort(np.where(np.isfinite(flat), flat, -1))
    n_observed = np.isfinite(flat).sum()
    from_top = (rng.beta(0.5, 6, size=count) * n_observed).astype(int)
    from_top[:3] = n_observed * np.array([0.35, 0.55, 0.8])
    cells = ordered[-1 - from_top]
    ranks = np.clip(1 - from_top / n_observed - rng.uniform(0, 0.03, count), 0, 1)
    ranks[-1] = np.nan
    names = [f"Deposit {number}" for number in range(count)]
    names[: min(3, count)] = ["<script>alert('x')</script>", "جبل الحصير", "Mine & Sons"][:count]
    return gpd.GeoDataFrame(
        {"name": names, "rank": ranks, "fold": np.arange(count) % 6},
        geometry=shapely.points(grid.coordinates()[cells]),
        crs=grid.crs,
    )


def _targets(grid, values, deposits, count=12):
    order = np.argsort(np.where(np.isfinite(values), values, -1).ravel())[::-1]
    peaks, size = [], 4 * grid.cell_size[0]
    for cell in order:
        place = grid.coordinates()[cell]
        if all(np.hypot(*(place - other)) > 2.2 * size for other, _ in peaks):
            peaks.append((place, values.ravel()[cell]))
        if len(peaks) == count:
            break
    places, scores = np.array([p for p, _ in peaks]), np.array([s for _, s in peaks])
    shapes = [
        shapely.MultiPolygon([shapely.box(*(p - size * (0.4 + 0.05 * k)), *(p + size * 0.5))])
        for k, p in enumerate(places)
    ]
    kinds = [LAYERS[k] for k in (0, 3, 0, 2, 7, 0, 3, 1, 2, 0, 3, 4)][:count]
    return gpd.GeoDataFrame(
        {
            "rank": np.arange(1, len(peaks) + 1),
            "easting": places[:, 0],
            "northing": places[:, 1],
            "score": scores,
            "spread": np.linspace(0.02, 0.11, len(peaks)) ** 1.1,
            "area_km2": [shape.area / 1e6 for shape in shapes],
            "nearest_deposit": deposits["name"].to_numpy()[: len(peaks)],
            "distance_m": np.geomspace(800, 24_000, len(peaks)),
            "drivers": [
                f"{kind} (+0.21, 98th percentile); W (+0.08, 91st percentile)" for kind in kinds
            ],
            "group": kinds,
        },
        geometry=shapes,
        crs=grid.crs,
    )


def _layer_scores(rng):
    return pd.DataFrame(
        {
            "source": ["stream sediments"] * 3 + ["geology"] * 2 + ["airborne"] + ["till"] * 2,
            "coverage": rng.uniform(0.8, 1, 8),
            "resolution": [4200.0] * 3 + [np.nan] * 2 + [250.0] + [900.0] * 2,
            "cluster": [1, 1, 1, 2, 3, 4, 5, 6],
            "partner": ["W", "Sn", "Sn", "Sn", "Cu", "Sn", "Sn", None],
            "partner_rho": [0.92, 0.92, 0.8, -0.5, 0.3, 0.2, 0.1, np.nan],
            "nugget": [0.1, 0.2, 0.15, np.nan, 0.02, 0.05, 0.6, 0.4],
            "auc": np.linspace(0.91, 0.48, 8),
            "direction": ["high"] * 3 + ["low"] * 5,
            "z": np.linspace(11.2, -0.4, 8),
        },
        index=pd.Index(LAYERS, name="layer"),
    )


def _findings():
    return StudyCheck.of(
        [
            Finding("note", "stream sediments, As", "12 % of samples are below detection."),
            Finding("error", "geology.shp", "No CRS.", 'Write it: `crs = "EPSG:32650"`.'),
            Finding("warning", "till, sample <7>", "Named like sample 12.", "Keep one of the two."),
        ]
    ).findings


@pytest.fixture(scope="session")
def inputs() -> ReportInputs:
    return make_inputs()


_VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on a tag closed out of turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.rows, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append((self._tables(), 0))
        if tag in ("td", "th"):
            self.rows[-1] = (self.rows[-1][0], self.rows[-1][1] + 1)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def _tables(self):
        return sum(tag == "table" for tag, _ in self.tags)

    def values(self, attribute):
        return [attrs[attribute] for _, attrs in self.tags if attribute in attrs]

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


@pytest.fixture(scope="session")
def read_page() -> type[Page]:
    return Page
