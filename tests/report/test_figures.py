"""Charts: they plot what the evaluation says, no more and no less."""

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from gossan.evaluate import (
    ConcentrationArea,
    capture_from_ranks,
    concentration_area,
    held_out_summary,
)
from gossan.report import figures

RANKS = np.array([0.999, 0.99, 0.97, 0.96, 0.93, 0.91, 0.7, 0.65, 0.4, 0.1])
FOLDS = np.arange(10) % 5


def test_the_curve_is_the_capture_at_every_area():
    """The line through each area is what evaluate gives for it; the band is around it."""
    figure = figures.capture_curve(RANKS, FOLDS)
    for axes in figure.axes:
        line = next(line for line in axes.lines if line.get_label() == "held-out deposits")
        area, share = line.get_xydata().T
        np.testing.assert_allclose(share, capture_from_ranks(RANKS, area))
    chance = next(line for line in figure.axes[0].lines if line.get_label() == "chance")
    np.testing.assert_allclose(chance.get_xdata(), chance.get_ydata())


def test_the_band_is_the_interval_of_the_summary():
    """At 5 % of the area the band spans the interval that evaluation.json holds."""
    low, high = held_out_summary(RANKS, FOLDS)["ci95"]["capture"]["0.05"]
    band = figures.capture_curve(RANKS, FOLDS).axes[1].collections[0].get_paths()[0].vertices
    at = band[np.isclose(band[:, 0], 0.05), 1]
    assert (at.min(), at.max()) == pytest.approx((low, high))


def test_a_single_fold_has_a_curve_without_a_band():
    """One cluster allows no interval."""
    figure = figures.capture_curve(RANKS, np.zeros(10))
    assert not figure.axes[0].collections


def test_each_held_out_deposit_is_on_the_strip():
    """One symbol a deposit, at its rank, in its fold's row; untested ones are left out."""
    ranks = np.append(RANKS, np.nan)
    figure = figures.rank_strip(ranks, np.append(FOLDS, 0))
    spots = np.concatenate([points.get_offsets() for points in figure.axes[0].collections])
    np.testing.assert_allclose(sorted(spots[:, 0]), sorted(RANKS))
    assert set(spots[:, 1]) == {0, 1, 2, 3, 4}


def test_prediction_area_marks_its_crossing():
    """The dot lies on both curves: Pr of the deposits, 1 − Oa of the area below."""
    crossing = held_out_summary(RANKS, FOLDS)["prediction_area"]
    axes = figures.prediction_area_plot(RANKS, crossing).axes[0]
    dot = next(line for line in axes.lines if line.get_marker() == "o")
    assert dot.get_xdata()[0] == pytest.approx(dot.get_ydata()[0])
    assert dot.get_ydata()[0] == pytest.approx(crossing["prediction_rate"])


def test_concentration_area_is_fitted_piece_by_piece():
    """As many straight pieces as there are slopes, and a line at every break."""
    curve = concentration_area(np.random.default_rng(0).lognormal(size=2000))
    axes = figures.concentration_area_plot(curve).axes[0]
    pieces = [line for line in axes.lines if line.get_color() == figures.RUST]
    breaks = [line for line in axes.lines if line.get_color() == figures.SLATE]
    assert len(pieces) == len(curve.slopes)
    assert [line.get_xdata()[0] for line in breaks] == pytest.approx(list(curve.breaks))


@pytest.mark.parametrize("breaks", [[0.0555, 0.658, 0.975, 0.994], [0.96, 0.97, 0.98, 0.99], []])
def test_breaks_are_named_above_the_curve_and_apart(breaks):
    """However close they lie; each name is led to its own line."""
    curve = ConcentrationArea(
        breaks=np.array(breaks),
        slopes=np.full(len(breaks) + 1, -1.0),
        thresholds=np.geomspace(1e-3, 1, 50),
        areas=np.geomspace(1, 1e-3, 50),
        bic=np.zeros(1),
    )
    figure = figures.concentration_area_plot(curve)
    figure.canvas.draw()
    axes = figure.axes[0]
    frame = axes.get_window_extent()
    assert [text.get_text() for text in axes.texts] == [f"{score:.3g}" for score in breaks]
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert all(box.y0 > frame.y1 for box in boxes)
    assert all(box.x0 > 0 and box.x1 < figure.bbox.x1 for box in boxes)
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    for text, score in zip(axes.texts, breaks, strict=True):
        at = axes.transAxes.transform(text.xy)
        assert at == pytest.approx([axes.transData.transform((score, 0.1))[0], frame.y1])


def test_reliability_shows_prediction_against_outcome():
    """Axes of equal length, so that the diagonal is the diagonal."""
    table = pd.DataFrame({"predicted": [0.1, 0.4], "observed": [0.0, 0.6], "cells": [5, 5]})
    axes = figures.reliability_plot(table).axes[0]
    assert axes.get_xlim() == axes.get_ylim()
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[0.1, 0.0], [0.4, 0.6]])


def test_scores_far_above_what_was_observed_are_still_seen():
    """Each axis by its own values, and the factor between them in words."""
    table = pd.DataFrame({"predicted": [0.2, 0.4], "observed": [0.0, 0.002], "cells": [300, 100]})
    axes = figures.reliability_plot(table).axes[0]
    assert axes.get_ylim()[1] < 0.003
    assert axes.get_xlim()[1] > 0.4
    words = " ".join(text.get_text() for text in axes.get_legend().get_texts())
    assert "on average 500 times" in " ".join(words.split())
    assert "as predicted" not in words


def test_risk_and_return_place_each_target(inputs):
    """Score across, spread up, rank and group beside it."""
    axes = figures.risk_return(inputs.targets, ["A"] * 12).axes[0]
    np.testing.assert_allclose(
        axes.collections[0].get_offsets(), inputs.targets[["score", "spread"]].to_numpy()
    )
    assert [text.get_text() for text in axes.texts][:2] == ["1A", "2A"]


def test_names_beside_risk_and_return_do_not_overlap(inputs):
    """Targets of one score and spread keep their names apart."""
    targets = inputs.targets.assign(score=0.8, spread=0.05)
    figure = figures.risk_return(targets, ["A"] * 12)
    figure.canvas.draw()
    # Pixels are whole: boxes that touch may share one.
    boxes = [Text.get_window_extent(text).padded(-0.75) for text in figure.axes[0].texts]
    assert len(boxes) == 10
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.mark.parametrize("n_folds", [1, 2, 200])
def test_any_number_of_folds_fits_a_strip(n_folds):
    """Leave-one-deposit-out makes as many folds as deposits."""
    ranks = np.linspace(0.1, 0.99, max(n_folds, 3))
    figure = figures.rank_strip(ranks, np.arange(len(ranks)) % n_folds)
    assert figure.get_figheight() < 9
