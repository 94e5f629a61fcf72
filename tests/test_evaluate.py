"""Figures of skill against published answers, closed forms, scikit-learn and brute force."""

import csv
import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.stats import spearmanr
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, recall_score, roc_auc_score

from gossan import evaluate
from gossan.exceptions import LabelError, StudyError

# Few distinct values, so that ties are common.
tied_scores = hnp.arrays(np.float64, st.integers(2, 60), elements=st.integers(0, 8).map(float))
few_scores = hnp.arrays(np.float64, st.integers(1, 12), elements=st.integers(0, 8).map(float))
rank_lists = st.lists(st.integers(0, 20).map(lambda twentieth: twentieth / 20), min_size=2)


@pytest.fixture(scope="module")
def cloncurry(survey_data):
    """The published posterior map, deposits per cell, and the published threshold table."""
    folder = survey_data / "cloncurry"
    with rasterio.open(folder / "CalculateResponse/PosteriorProbability.tif") as source:
        posterior, transform = source.read(1), source.transform
    points = gpd.read_file(folder / "CalculateWeights/IOCG_Deposits.shp").geometry
    counts = np.zeros(posterior.shape, dtype=int)
    np.add.at(counts, rasterio.transform.rowcol(transform, points.x, points.y), 1)
    with (folder / "CalculateAUC/IOCG_PostProb_AUC.csv").open() as file:
        table = list(csv.DictReader(file))
    return posterior, counts, table


# --- AUC against background -----------------------------------------------------------------------


def test_auc_of_the_published_cloncurry_map_counts_every_deposit_point(cloncurry):
    """258 points in 252 cells against the other cells give the published 0.714467740807205."""
    posterior, counts, table = cloncurry
    assert (counts.sum(), np.sum(counts > 0)) == (258, 252)
    assert int(table[0]["N"]) == np.isfinite(posterior).sum() - 252 + 258
    auc = evaluate.auc_background(posterior, counts)
    assert auc == pytest.approx(float(table[0]["AUC"]), abs=1e-12)


def test_auc_of_cloncurry_deposit_cells_agrees_with_scikit_learn(cloncurry):
    """Counting a cell once however many points it holds is scikit-learn's AUC of the cells."""
    posterior, counts, _ = cloncurry
    observed = np.isfinite(posterior)
    expected = roc_auc_score(counts[observed] > 0, posterior[observed])
    assert evaluate.auc_background(posterior, counts > 0) == pytest.approx(expected, abs=1e-12)


@given(hnp.arrays(np.float64, (6, 9), elements=st.integers(0, 5).map(float)), st.data())
def test_auc_background_is_scikit_learns_roc_auc_on_observed_cells(score, data):
    """Ties, gaps in the background and labels of −1 included."""
    labels = data.draw(hnp.arrays(np.int8, score.shape, elements=st.integers(-1, 1)))
    labels.flat[:2] = (1, 0)
    score[(labels < 1) & data.draw(hnp.arrays(bool, score.shape))] = np.nan
    score[0, 1] = 2.0
    observed = ~np.isnan(score)
    expected = roc_auc_score(labels[observed] == 1, score[observed])
    assert evaluate.auc_background(score, labels) == pytest.approx(expected, abs=1e-12)


def test_auc_background_aligns_dataarrays_by_dimension_name():
    """A transposed label array is read by its dimensions, a flipped one is refused."""
    y, x = [2.0, 1.0], [0.0, 1.0, 2.0]
    score = xr.DataArray(np.arange(6.0).reshape(2, 3), {"y": y, "x": x}, ("y", "x"))
    deposits = (score == 4).astype("int8")
    assert evaluate.auc_background(score, deposits.transpose("x", "y")) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="not on the same cells"):
        evaluate.auc_background(score, deposits[::-1])


def test_auc_background_refuses_a_nodata_code_as_a_count():
    """A label raster whose nodata 255 covers more cells than are background is not a count."""
    with pytest.raises(LabelError, match="nodata code"):
        evaluate.auc_background(np.arange(6.0), np.array([1, 0, 255, 255, 255, 0], np.uint8))


@pytest.mark.parametrize(
    ("score", "deposits", "message"),
    [
        ([1.0, 2.0], [0, -1], "nothing to evaluate"),
        ([1.0, 2.0], [1, 1], "no area to compare"),
        ([np.nan, 2.0, 3.0], [1, 1, 0], "1 of 2 deposits have no score"),
    ],
)
def test_auc_background_says_what_is_wrong_with_the_deposits(score, deposits, message):
    """None, everywhere, or without a score: each has its own message."""
    with pytest.raises(LabelError, match=message):
        evaluate.auc_background(score, deposits)


def test_auc_background_refuses_arrays_of_different_shape():
    """Broadcasting would silently repeat deposits."""
    with pytest.raises(ValueError, match="must match"):
        evaluate.auc_background(np.zeros((2, 3)), np.zeros(3))


# --- Z of an AUC ----------------------------------------------------------------------------------


def test_auc_z_reproduces_hanley_and_mcneils_example():
    """Their computed-tomography readings: area 0.893, 51 and 58 cases, standard error 0.032."""
    error = (0.893 - 0.5) / evaluate.auc_z(0.893, 51, 58)
    assert error == pytest.approx(0.032, abs=1e-3)


def test_auc_z_near_chance_has_the_mann_whitney_variance():
    """At A = 0.5 the formula is the exact null variance (n₊ + n₋ + 1) / (12 n₊ n₋)."""
    step = 1e-7
    variance = (step / evaluate.auc_z(0.5 + step, 17, 400)) ** 2
    assert variance == pytest.approx((17 + 400 + 1) / (12 * 17 * 400), rel=1e-4)


def test_auc_z_takes_arrays_and_perfect_rankings():
    """One Z an element; without spread the Z is infinite, with the sign of the ranking."""
    z = evaluate.auc_z([0.0, 0.5, 1.0], 20, 100)
    np.testing.assert_array_equal(z, [-np.inf, 0, np.inf])
    assert isinstance(evaluate.auc_z(0.7, 20, 100), float)


@pytest.mark.parametrize("arguments", [(1.2, 5, 5), (0.5, 0, 5), (0.5, 5, 0), (np.nan, 5, 5)])
def test_auc_z_refuses_what_is_not_an_auc(arguments):
    """Outside [0, 1], missing, or with nothing counted."""
    with pytest.raises(ValueError, match="Z needs"):
        evaluate.auc_z(*arguments)


# --- Ranks and capture ----------------------------------------------------------------------------


@given(few_scores, tied_scores)
def test_rank_bounds_are_the_shares_below_and_not_above(deposits, background):
    """Against a count over all pairs."""
    below = (background < deposits[:, None]).mean(axis=1)
    reached = (background <= deposits[:, None]).mean(axis=1)
    bounds = evaluate.rank_bounds(deposits, background)
    np.testing.assert_allclose(bounds, np.column_stack([below, reached]), atol=1e-15)
    np.testing.assert_allclose(
        evaluate.percentile_ranks(deposits, background), (below + reached) / 2, atol=1e-15
    )


@given(few_scores, tied_scores)
def test_the_mean_rank_is_the_auc_and_the_area_under_the_prediction_rate_curve(deposits, scores):
    """Three ways to the same number."""
    auc = roc_auc_score(
        np.repeat([1, 0], [deposits.size, scores.size]), np.concatenate([deposits, scores])
    )
    area, share = evaluate.prediction_rate_curve(deposits, scores)
    assert evaluate.percentile_ranks(deposits, scores).mean() == pytest.approx(auc, abs=1e-12)
    assert evaluate.prediction_rate_area(deposits, scores) == pytest.approx(auc, abs=1e-12)
    assert np.trapezoid(share, area) == pytest.approx(auc, abs=1e-12)


def test_capture_reproduces_the_published_cloncurry_sensitivity(cloncurry):
    """At the published false-positive rate, capture of background area is the sensitivity."""
    posterior, counts, table = cloncurry
    cells = np.flatnonzero(counts)
    deposits = np.repeat(posterior.flat[cells], counts.flat[cells])
    background = posterior[counts == 0]
    rows = [row for row in table if float(row["thresholds.thresholds"]) in (0.01, 0.02, 0.05)]
    areas = [float(row["thresholds.false.pos.rate"]) for row in rows]
    expected = [float(row["thresholds.sensitivity"]) for row in rows]
    assert len(rows) == 3
    np.testing.assert_allclose(evaluate.capture(deposits, background, areas), expected, atol=1e-6)


def test_capture_without_ties_is_the_share_at_or_above_the_limit():
    """1,000 distinct scores: the top 5 % are the 50 highest."""
    scores = np.random.default_rng(0).permutation(1000.0 * np.arange(1000))
    deposits = scores[:40]
    expected = np.mean(deposits >= np.sort(scores)[-50])
    assert evaluate.capture(deposits, scores, 0.05) == expected


@given(few_scores, tied_scores, st.floats(0.01, 0.99))
def test_capture_is_the_mean_over_random_orders_of_tied_cells(deposits, scores, area):
    """A deposit among k tied cells is captured as often as its place among them falls inside."""
    top = area * scores.size
    expected = []
    for score in deposits:
        above, tied = np.sum(scores > score), np.sum(scores == score)
        places = above + np.arange(tied)
        inside = np.clip(top - places, 0, 1).mean() if tied else float(above <= top)
        expected.append(inside)
    assert evaluate.capture(deposits, scores, area) == pytest.approx(np.mean(expected), abs=1e-8)


@pytest.mark.parametrize("area", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_a_constant_map_captures_as_much_as_it_covers(area):
    """No information, no lift: neither everything nor nothing."""
    assert evaluate.capture(np.ones(7), np.ones(100), area) == pytest.approx(area)


def test_capture_follows_the_shape_of_the_areas():
    """A float for a float, an array for a list."""
    assert isinstance(evaluate.capture([1.0], [0.0, 1.0], 0.5), float)
    assert evaluate.capture([1.0], [0.0, 1.0], [[0.5], [1.0]]).shape == (2, 1)
    assert isinstance(evaluate.lift([1.0], [0.0, 1.0], 0.5), float)


def test_missing_cells_are_not_area():
    """Cells without a score neither widen nor narrow the top of the map."""
    scores = np.arange(20.0)
    with_gaps = np.insert(scores, [0, 5, 20], np.nan)
    assert evaluate.capture([18.0], with_gaps, 0.1) == evaluate.capture([18.0], scores, 0.1) == 1


def test_lift_is_capture_over_area():
    """The top tenth holds both deposits: ten times as dense as the whole area."""
    assert evaluate.lift([19.0, 18.0], np.arange(20.0), 0.1) == 10
    with pytest.raises(StudyError, match="above 0"):
        evaluate.lift([19.0], np.arange(20.0), [0.0, 0.1])


@pytest.mark.parametrize("areas", [-0.1, 5, [0.05, np.nan]])
def test_areas_are_shares_not_percent(areas):
    """5 % is 0.05; 5 is a mistake."""
    with pytest.raises(StudyError, match="between 0 and 1"):
        evaluate.capture([1.0], [0.0, 1.0], areas)


@pytest.mark.parametrize(
    "figure",
    [
        lambda deposits, scores: evaluate.capture(deposits, scores, 0.1),
        evaluate.percentile_ranks,
        evaluate.prediction_rate_curve,
        evaluate.prediction_area,
    ],
)
def test_a_deposit_without_a_score_is_never_dropped(figure):
    """NaN raises and says which; −inf counts as missed."""
    scores = np.arange(10.0)
    with pytest.raises(LabelError, match=r"1 of 2 deposits have no score \(positions 1\)"):
        figure([9.0, np.nan], scores)
    figure([9.0, -np.inf], scores)
    assert evaluate.capture([9.0, -np.inf], scores, 0.1) == 0.5


@given(few_scores, tied_scores)
def test_rising_transforms_of_the_scores_change_nothing_but_thresholds(deposits, scores):
    """Every figure depends on the order of the cells alone."""
    areas = [0.05, 0.3, 0.8]
    moved_deposits, moved = np.expm1(deposits / 3) - 7, np.expm1(scores / 3) - 7
    np.testing.assert_array_equal(
        evaluate.rank_bounds(moved_deposits, moved), evaluate.rank_bounds(deposits, scores)
    )
    np.testing.assert_array_equal(
        evaluate.capture(moved_deposits, moved, areas), evaluate.capture(deposits, scores, areas)
    )
    plot = evaluate.prediction_area(deposits, scores)
    moved_plot = evaluate.prediction_area(moved_deposits, moved)
    assert moved_plot[:4] == plot[:4]
    assert moved_plot.threshold == np.expm1(plot.threshold / 3) - 7
    np.testing.assert_array_equal(moved_plot.areas, plot.areas)
    np.testing.assert_array_equal(moved_plot.prediction_rates, plot.prediction_rates)


# --- Prediction-area plot -------------------------------------------------------------------------


def test_prediction_area_of_eighty_percent_in_twenty():
    """80 % of the deposits in 20 % of the area give N_d 4 and weight ln 4 (Yousefi & Carranza)."""
    scores = np.arange(100.0)
    deposits = np.array([99.0, 95.0, 90.0, 85.0, 10.0])
    plot = evaluate.prediction_area(deposits, scores)
    assert plot.prediction_rate == pytest.approx(0.8)
    assert plot.area == pytest.approx(0.2)
    assert plot.normalised_density == pytest.approx(4)
    assert plot.weight == pytest.approx(np.log(4))
    assert plot.threshold == 80


@given(few_scores, tied_scores)
def test_prediction_rate_and_area_cross_where_they_add_up_to_one(deposits, scores):
    """The crossing lies on the prediction-rate curve, and the threshold cuts off its area."""
    plot = evaluate.prediction_area(deposits, scores)
    area, share = evaluate.prediction_rate_curve(deposits, scores)
    assert plot.prediction_rate + plot.area == pytest.approx(1)
    before = share[area <= plot.area + 1e-12].max()
    assert np.interp(plot.area - 1e-9, area, share) - 1e-6 <= plot.prediction_rate
    assert plot.prediction_rate <= max(before, np.interp(plot.area + 1e-9, area, share)) + 1e-6
    assert np.mean(scores > plot.threshold) <= plot.area + 1e-9
    assert plot.area <= np.mean(scores >= plot.threshold) + 1e-9


@given(few_scores, tied_scores)
def test_prediction_area_curves_count_what_reaches_each_threshold(deposits, scores):
    """Every deposit's score is among the thresholds, in ascending order."""
    plot = evaluate.prediction_area(deposits, scores)
    assert set(deposits) <= set(plot.thresholds)
    assert (np.diff(plot.thresholds) > 0).all()
    rates = (deposits >= plot.thresholds[:, None]).mean(axis=1)
    areas = (scores >= plot.thresholds[:, None]).mean(axis=1)
    np.testing.assert_allclose(plot.prediction_rates, rates, atol=1e-12)
    np.testing.assert_allclose(plot.areas, areas, atol=1e-12)


@pytest.mark.parametrize(
    ("deposits", "area", "density"),
    [([99.0], 1 / 101, 100 / 1.01), ([1000.0], 0, 100), ([-1.0], 1, 0), ([49.5], 0.5, 1)],
)
def test_prediction_area_at_the_extremes_stays_defined(deposits, area, density):
    """Top cell, above all, below all, midway: the area counts as one cell at least in N_d."""
    plot = evaluate.prediction_area(deposits, np.arange(100.0))
    assert plot.area == pytest.approx(area)
    assert plot.normalised_density == pytest.approx(density)
    assert plot.weight == (pytest.approx(np.log(density)) if density else -np.inf)


def test_prediction_area_of_a_constant_map_is_no_better_than_chance():
    """Half the deposits in half the area: N_d 1, weight 0."""
    plot = evaluate.prediction_area(np.ones(3), np.ones(50))
    assert (plot.prediction_rate, plot.area, plot.normalised_density, plot.weight) == (
        pytest.approx((0.5, 0.5, 1, 0))
    )


# --- Concentration-area plot ----------------------------------------------------------------------


def power_law_scores(exponents, breaks, n_cells=20_000):
    """Scores from 1 upward whose area falls as score ** −exponent, changing at each break."""
    share = np.arange(1, n_cells + 1) / n_cells
    scores, start, left = np.empty(n_cells), 1.0, 1.0
    for exponent, end in zip(exponents, [*breaks, np.inf], strict=True):
        piece = share <= left
        scores[piece] = start * (share[piece] / left) ** (-1 / exponent)
        left, start = left * (end / start) ** -exponent, end
    return scores


def test_concentration_area_of_a_power_law_has_no_break():
    """One straight line with the exponent as its slope."""
    fit = evaluate.concentration_area(power_law_scores([1.7], []))
    assert fit.breaks.size == 0
    np.testing.assert_allclose(fit.slopes, [-1.7], rtol=1e-6)


def test_concentration_area_finds_where_the_exponent_changes():
    """Three power laws joined at 2 and 5 come back with their exponents and breaks."""
    fit = evaluate.concentration_area(power_law_scores([0.5, 1.5, 4.0], [2.0, 5.0]))
    np.testing.assert_allclose(fit.breaks, [2, 5], rtol=0.05)
    np.testing.assert_allclose(fit.slopes, [-0.5, -1.5, -4], rtol=0.02)


def test_concentration_area_pieces_are_the_least_squares_optimum():
    """One break: no other split of the points fits better, tried one by one."""
    scores = np.random.default_rng(3).lognormal(size=400)
    fit = evaluate.concentration_area(scores, max_breaks=1, n_points=40)
    x, y = np.log(fit.thresholds), np.log(fit.areas)

    def squares(part):
        return np.polyfit(x[part], y[part], 1, full=True)[1].sum()

    splits = range(4, x.size - 3)
    totals = [squares(slice(None, cut)) + squares(slice(cut, None)) for cut in splits]
    best = splits[int(np.argmin(totals))]
    np.testing.assert_allclose(fit.breaks, [np.sqrt(fit.thresholds[best - 1 : best + 1].prod())])
    np.testing.assert_allclose(
        fit.slopes, [np.polyfit(x[:best], y[:best], 1)[0], np.polyfit(x[best:], y[best:], 1)[0]]
    )


def test_concentration_area_scales_with_the_scores():
    """In other units the breaks move along and the slopes stay."""
    scores = power_law_scores([0.5, 3.0], [4.0])
    plain, scaled = evaluate.concentration_area(scores), evaluate.concentration_area(scores * 1000)
    np.testing.assert_allclose(scaled.breaks, plain.breaks * 1000)
    np.testing.assert_allclose(scaled.slopes, plain.slopes)


def test_concentration_area_counts_cells_at_zero_as_area_only():
    """Zeros and gaps: the former halve every share, the latter change nothing."""
    scores = power_law_scores([2.0], [])
    diluted = np.concatenate([scores, np.zeros(scores.size), [np.nan]])
    fit, plain = evaluate.concentration_area(diluted), evaluate.concentration_area(scores)
    np.testing.assert_allclose(fit.areas, plain.areas / 2)
    np.testing.assert_allclose(fit.slopes, plain.slopes)


def test_concentration_area_of_the_published_cloncurry_map_breaks_between_its_few_values(cloncurry):
    """A weights-of-evidence map has few distinct scores, which is all the plot can use."""
    posterior, _, _ = cloncurry
    fit = evaluate.concentration_area(posterior)
    assert set(fit.thresholds) <= set(np.unique(posterior).astype(float))
    assert fit.thresholds[0] < fit.breaks[0] < fit.thresholds[-1]
    assert (fit.slopes < 0).all()


@pytest.mark.parametrize("scores", [[0.0, 0.0, -1.0], [1.0, 2.0, 3.0, np.inf]])
def test_concentration_area_needs_enough_positive_scores(scores):
    """Nothing to draw a line through."""
    with pytest.raises(ValueError, match="at least 4 distinct positive scores"):
        evaluate.concentration_area(scores)


# --- Calibration and patches ----------------------------------------------------------------------


def test_brier_and_reliability_agree_with_scikit_learn():
    """On distinct probabilities, equal-mass bins are scikit-learn's quantile bins."""
    rng = np.random.default_rng(1)
    p = rng.random(1000)
    y = (rng.random(1000) < p**2).astype(int)
    observed, predicted = calibration_curve(y, p, n_bins=8, strategy="quantile")
    bins = evaluate.reliability(y, p, bins=8)
    assert evaluate.brier(y, p) == pytest.approx(brier_score_loss(y, p))
    np.testing.assert_allclose(bins.observed, observed)
    np.testing.assert_allclose(bins.predicted, predicted)
    np.testing.assert_array_equal(bins.cells, 125)


@given(hnp.arrays(np.float64, st.integers(1, 50), elements=st.integers(0, 5).map(lambda k: k / 5)))
def test_reliability_bins_hold_every_cell_once_and_never_part_equal_probabilities(p):
    """Counts add up, bins ascend, and their weighted means give back the means of all cells."""
    y = np.arange(p.size) % 2
    bins = evaluate.reliability(y, p, bins=4)
    assert bins.cells.sum() == p.size
    assert bins.cells.size <= 4
    assert (np.diff(bins.predicted) > 0).all()
    assert np.average(bins.predicted, weights=bins.cells) == pytest.approx(p.mean())
    assert np.average(bins.observed, weights=bins.cells) == pytest.approx(y.mean())


def test_calibration_leaves_out_missing_cells_but_not_deposits():
    """NaN is not area; a deposit without a probability is an error."""
    assert evaluate.brier([1, -1, 0], [1.0, 0.5, np.nan]) == 0.125
    with pytest.raises(LabelError, match="no score"):
        evaluate.brier([1, 0], [np.nan, 0.5])
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\]"):
        evaluate.reliability([1, 0], [1.5, 0.5])
    with pytest.raises(ValueError, match="must match"):
        evaluate.brier([1, 0], [0.5])
    with pytest.raises(ValueError, match="at least one bin"):
        evaluate.reliability([1, 0], [0.5, 0.5], bins=0)


def test_patch_metrics_reproduce_the_published_table():
    """TP 48, FN 71, TN 142, FP 14 give the published 69.09, 40.33 and 65.00 percent."""
    y_true = np.repeat([1, 1, 0, 0], [48, 71, 142, 14])
    y_pred = np.repeat([1, 0, 0, 1], [48, 71, 142, 14])
    metrics = evaluate.patch_metrics(y_true, y_pred)
    # The source cuts off the recall of 40.336 rather than rounding it.
    np.testing.assert_allclose(100 * np.array(metrics), [69.09, 40.336, 65.00], atol=0.005)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_patch_metrics_agree_with_scikit_learn(pairs):
    """For any classes of any patches, all-positive ones included."""
    y_true, y_pred = np.array([(True, False), *pairs]).T
    metrics = evaluate.patch_metrics(y_true, np.where(y_pred, 1, -1))
    assert metrics.accuracy == pytest.approx(accuracy_score(y_true, y_pred))
    assert metrics.recall == pytest.approx(recall_score(y_true, y_pred))
    assert metrics.macro_f1 == pytest.approx(f1_score(y_true, y_pred, average="macro"))


def test_patch_metrics_refuse_a_test_set_without_deposits():
    """Recall would be 0 / 0."""
    with pytest.raises(LabelError, match="recall is undefined"):
        evaluate.patch_metrics([0, 0], [0, 1])
    with pytest.raises(ValueError, match="predicted"):
        evaluate.patch_metrics([1, 0], [1])


# --- Held-out figures with intervals --------------------------------------------------------------


def test_held_out_summary_has_the_shape_of_evaluation_json():
    """Keys as the run folder promises, plain floats that JSON can hold, intervals around them."""
    rng = np.random.default_rng(0)
    summary = evaluate.held_out_summary(rng.beta(5, 1, 60), np.arange(60) % 6)
    headline = ["auc_background", "capture", "prediction_area"]
    assert list(summary) == [*headline, "ci95"]
    assert list(summary["ci95"]) == headline
    assert list(summary["capture"]) == ["0.01", "0.02", "0.05", "0.10"]
    assert list(summary["prediction_area"]) == ["prediction_rate", "area", "normalised_density"]
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    low, high = summary["ci95"]["prediction_area"]["normalised_density"]
    assert low <= summary["prediction_area"]["normalised_density"] <= high


def test_area_keys_keep_apart_areas_below_a_percent():
    """Half a percent is not one percent."""
    summary = evaluate.held_out_summary([0.1, 0.9], [0, 1], areas=(0.005, 0.01, 0.1))
    assert list(summary["capture"]) == ["0.005", "0.01", "0.10"]


@given(few_scores, tied_scores)
def test_pooled_ranks_of_one_map_give_that_maps_own_figures(deposits, scores):
    """Through ranks or from the scores: the same capture, AUC and prediction-area crossing."""
    deposits = np.append(deposits, 4.0)
    bounds = evaluate.rank_bounds(deposits, scores)
    summary = evaluate.held_out_summary(bounds, np.arange(deposits.size), n_bootstrap=2)
    plot = evaluate.prediction_area(deposits, scores)
    assert summary["auc_background"] == pytest.approx(
        evaluate.prediction_rate_area(deposits, scores)
    )
    assert summary["capture"]["0.10"] == pytest.approx(evaluate.capture(deposits, scores, 0.10))
    assert summary["prediction_area"]["area"] == pytest.approx(plot.area, abs=1e-8)
    assert summary["prediction_area"]["prediction_rate"] == pytest.approx(
        plot.prediction_rate, abs=1e-8
    )


def test_capture_from_ranks_counts_deposits_at_the_limit():
    """A deposit above exactly 95 % of the background is in the top 5 %."""
    ranks = [0.95, 0.9499, 0.96, 0.2]
    assert evaluate.capture_from_ranks(ranks, 0.05) == 0.5
    np.testing.assert_array_equal(evaluate.capture_from_ranks(ranks, [0.0, 1.0]), [0, 1])


def test_ties_do_not_promote_deposits_into_small_areas():
    """A deposit tied with the top 8 % has mid-rank 0.96, but is in the top 5 % 5 times in 8."""
    scores = np.repeat([0.0, 1.0], [92, 8])
    assert evaluate.capture_from_ranks(evaluate.percentile_ranks([1.0], scores), 0.05) == 1
    assert evaluate.capture_from_ranks(evaluate.rank_bounds([1.0], scores), 0.05) == 5 / 8


def test_no_capture_is_not_certainty():
    """None found of 34 still leaves an upper bound near 10 %, as for independent deposits."""
    summary = evaluate.held_out_summary(np.full(34, 0.5), np.arange(34) % 6)
    low, high = summary["ci95"]["capture"]["0.01"]
    assert low == 0
    assert 0.09 < high < 0.11


def test_paired_interval_covers_no_difference_as_often_as_it_says():
    """Six clusters without any true difference: about 95 % of intervals hold zero, not 85 %."""
    rng = np.random.default_rng(0)
    held, clusters = 0, np.repeat(np.arange(6), 4)
    for _ in range(400):
        shift = rng.normal(0, 0.05, 6)[clusters]
        a = np.clip(0.5 + shift + rng.normal(0, 0.02, 24), 0, 1)
        difference = evaluate.paired_difference(a, np.full(24, 0.5), clusters, n_bootstrap=1000)
        low, high = difference["ci95"]["auc_background"]
        held += low <= 0 <= high
    assert 0.92 < held / 400 < 0.99


def test_bootstrap_resamples_whole_clusters():
    """The interval equals that of literally repeating the drawn clusters' deposits."""
    rng = np.random.default_rng(4)
    ranks, clusters = rng.beta(3, 1, 23), rng.integers(0, 5, 23)
    summary = evaluate.held_out_summary(ranks, clusters, n_bootstrap=200, random_state=9)
    # Hesterberg's expanded percentiles for five clusters.
    reach = np.sqrt(5 / 4) * stats.t.ppf(0.975, 4)
    limits = 100 * stats.norm.cdf([-reach, reach])
    draws = np.random.default_rng(9).multinomial(5, np.full(5, 0.2), size=200)
    resamples = [np.repeat(ranks, draw[clusters]) for draw in draws]
    auc = np.percentile([sample.mean() for sample in resamples], limits)
    capture = np.percentile([np.mean(sample >= 0.9) for sample in resamples], limits)
    area = np.percentile(
        [
            evaluate.held_out_summary(sample, np.arange(sample.size), n_bootstrap=1)[
                "prediction_area"
            ]["area"]
            for sample in resamples
        ],
        limits,
    )
    np.testing.assert_allclose(summary["ci95"]["auc_background"], auc)
    share, z = summary["capture"]["0.10"], 1.959963984540054
    root = z * np.sqrt(share * (1 - share) / 23 + z**2 / (4 * 23**2))
    wilson = (share + z**2 / 46 + np.array([-1, 1]) * root) / (1 + z**2 / 23)
    wider = [min(capture[0], wilson[0]), max(capture[1], wilson[1])]
    np.testing.assert_allclose(summary["ci95"]["capture"]["0.10"], wider)
    np.testing.assert_allclose(summary["ci95"]["prediction_area"]["area"], area)


def test_intervals_cover_the_true_auc_about_as_often_as_they_say():
    """Forty clusters of three alike deposits, mean rank 0.8: 95 % intervals hold it."""
    rng = np.random.default_rng(7)
    clusters = np.repeat(np.arange(40), 3)
    covered = []
    for _ in range(120):
        ranks = np.repeat(rng.beta(4, 1, 40), 3)
        low, high = evaluate.held_out_summary(ranks, clusters, n_bootstrap=100)["ci95"][
            "auc_background"
        ]
        covered.append(low <= 0.8 <= high)
    assert 0.87 <= np.mean(covered) <= 0.99


@given(rank_lists, st.randoms(use_true_random=False))
def test_the_order_of_deposits_does_not_matter(ranks, random):
    """Nor do the names of the clusters, as long as they sort alike; the same seed repeats."""
    clusters = np.arange(len(ranks)) % 2
    order = np.array(random.sample(range(len(ranks)), len(ranks)))
    names = np.array(["north", "south"])[clusters]
    summary = evaluate.held_out_summary(ranks, clusters, n_bootstrap=20)
    shuffled = evaluate.held_out_summary(np.array(ranks)[order], names[order], n_bootstrap=20)
    assert flat_figures(shuffled) == pytest.approx(flat_figures(summary), abs=1e-9)
    assert evaluate.held_out_summary(ranks, clusters, n_bootstrap=20) == summary


def test_a_perfect_map_has_finite_figures():
    """Every deposit above the whole background: the area counts as a millionth in N_d."""
    summary = evaluate.held_out_summary(np.ones(4), np.arange(4))
    assert summary["prediction_area"] == {
        "prediction_rate": 1.0,
        "area": 0.0,
        "normalised_density": pytest.approx(1e6),
    }
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize(
    ("ranks", "clusters", "error", "message"),
    [
        ([0.5, np.nan], [0, 1], LabelError, "1 of 2 deposits have no rank"),
        ([0.5, 0.6], [3, 3], LabelError, "one cluster"),
        ([0.5, 4.0], [0, 1], ValueError, "percentile_ranks first"),
        ([[0.6, 0.5], [0.1, 0.2]], [0, 1], ValueError, "lowest <= highest"),
        ([], [], ValueError, "n at least 1"),
        ([0.5, 0.6], [0, 1, 2], ValueError, "2 deposits but clusters"),
    ],
)
def test_held_out_summary_refuses_what_it_cannot_summarise(ranks, clusters, error, message):
    """Missing ranks, one cluster, raw scores, mismatched lengths."""
    with pytest.raises(error, match=message):
        evaluate.held_out_summary(ranks, clusters)


def test_held_out_summary_needs_a_resample():
    """No resample, no interval."""
    with pytest.raises(ValueError, match="at least one resample"):
        evaluate.held_out_summary([0.5, 0.6], [0, 1], n_bootstrap=0)


# --- Comparison of methods ------------------------------------------------------------------------


def test_paired_difference_is_the_difference_of_the_summaries():
    """Point figures subtract; swapping the methods turns the signs and the interval round."""
    rng = np.random.default_rng(2)
    a, b, clusters = rng.beta(5, 1, 30), rng.beta(3, 1, 30), np.arange(30) % 6
    difference = evaluate.paired_difference(a, b, clusters)
    ours, theirs = (evaluate.held_out_summary(ranks, clusters) for ranks in (a, b))
    assert difference["auc_background"] == pytest.approx(
        ours["auc_background"] - theirs["auc_background"]
    )
    assert difference["capture"]["0.10"] == pytest.approx(
        ours["capture"]["0.10"] - theirs["capture"]["0.10"]
    )
    swapped = evaluate.paired_difference(b, a, clusters)
    low, high = difference["ci95"]["auc_background"]
    assert swapped["ci95"]["auc_background"] == pytest.approx([-high, -low])


def test_pairing_cancels_what_makes_a_cluster_hard():
    """Clusters differ widely but a is always 0.02 ahead: the paired interval is a point."""
    hard = np.repeat([0.2, 0.5, 0.9], 4)
    difference = evaluate.paired_difference(hard + 0.02, hard, np.repeat([0, 1, 2], 4))
    assert difference["ci95"]["auc_background"] == pytest.approx([0.02, 0.02])


def test_paired_difference_needs_the_same_deposits():
    """Methods judged on different deposits cannot be paired."""
    with pytest.raises(ValueError, match="same held-out deposits"):
        evaluate.paired_difference([0.5, 0.6], [0.5], [0, 1])


# --- Stability over maps --------------------------------------------------------------------------


def test_rank_stability_agrees_with_sets_and_scipy():
    """Jaccard of the literal sets of top cells, Spearman of SciPy, meaned over pairs, gaps out."""
    rng = np.random.default_rng(5)
    base = rng.normal(size=(30, 20))
    maps = base + rng.normal(scale=0.5, size=(4, 30, 20))
    maps[1, 3, 4] = np.nan
    scored = maps[:, ~np.isnan(maps).any(axis=0)][:, :590]
    maps[:, ~np.isin(maps[0], scored[0])] = np.nan
    top = [set(np.argsort(scores)[-59:]) for scores in scored]
    pairs = [(i, j) for i in range(4) for j in range(i)]
    jaccard = np.mean([len(top[i] & top[j]) / len(top[i] | top[j]) for i, j in pairs])
    spearman = np.mean([spearmanr(scored[i], scored[j]).statistic for i, j in pairs])
    stability = evaluate.rank_stability(maps, top=0.1)
    assert stability["jaccard"] == pytest.approx(jaccard)
    assert stability["spearman"] == pytest.approx(spearman, abs=2e-6)


def test_identical_and_reversed_maps_bound_rank_stability():
    """1 and 1 for the same order, 0 and −1 for the opposite."""
    scores = np.arange(100.0)
    alike = evaluate.rank_stability([scores, scores**3])
    opposite = evaluate.rank_stability([scores, -scores])
    assert alike == pytest.approx({"jaccard": 1, "spearman": 1})
    assert opposite == pytest.approx({"jaccard": 0, "spearman": -1})


def test_constant_maps_share_their_expected_top_and_rank_nothing():
    """All tied: each cell belongs to the top by its share; there is no order to correlate."""
    stability = evaluate.rank_stability(np.ones((2, 40)), top=0.05)
    assert stability["jaccard"] == pytest.approx(1)
    assert stability["spearman"] == 0


@pytest.mark.parametrize(
    ("maps", "top", "message"),
    [
        ([[1.0, 2.0]], 0.05, "two maps or more"),
        ([[1.0, 2.0], [1.0]], 0.05, "of the same cells"),
        ([[1.0, 2.0], [1.0, 2.0]], 5, "0 < top <= 1"),
        ([[np.nan, 2.0], [1.0, np.nan]], 0.05, "No cell has a score on all maps"),
    ],
)
def test_rank_stability_refuses_maps_that_cannot_be_compared(maps, top, message):
    """One map, different cells, percent for a share, or nothing in common."""
    with pytest.raises(ValueError, match=message):
        evaluate.rank_stability(maps, top=top)


def flat_figures(summary):
    """Every number of a summary, in order."""
    if isinstance(summary, dict):
        return [number for value in summary.values() for number in flat_figures(value)]
    return list(summary) if isinstance(summary, list) else [summary]
