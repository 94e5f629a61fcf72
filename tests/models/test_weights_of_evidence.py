"""Weights of evidence: the published Cloncurry answer to the last digit, then what must hold."""

import csv

import numpy as np
import pytest
import rasterio
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import expit, logit

from gossan.evaluate import auc_background
from gossan.exceptions import LabelError, StudyError, SurveyDataWarning
from gossan.models import (
    WeightsOfEvidence,
    class_weights,
    conditional_independence_test,
    evidence_weights,
    posterior,
    weights_table,
)
from gossan.models.weights_of_evidence import _shrinkage

AREA, N_DEPOSITS = 31311.33, 258
PUBLISHED = {
    "w_plus": "WPLUS",
    "s_w_plus": "S_WPLUS",
    "w_minus": "WMINUS",
    "s_w_minus": "S_WMINUS",
    "contrast": "CONTRAST",
    "s_contrast": "S_CONTRAST",
    "studentised_contrast": "STUDC",
}
BINARY_MAPS = ["Dist2Breccia", "Dist2Fault", "FaultDensity", "StratNo"]
TABLES = [f"CalculateResponse/{name}_CT" for name in BINARY_MAPS] + [
    "CalculateWeights/Dist2Breccia_CA",
    "CalculateWeights/Dist2Fault_CA",
    "CalculateWeights/FaultDensity_CD",
    "CalculateWeights/StratNo_CT",
]


@pytest.fixture(scope="module")
def cloncurry(survey_data):
    return survey_data / "cloncurry"


@pytest.fixture(scope="module")
def deposits(cloncurry):
    """Easting and northing of the 258 deposits."""
    import geopandas as gpd

    points = gpd.read_file(cloncurry / "CalculateWeights" / "IOCG_Deposits.shp").geometry
    return np.column_stack([points.x, points.y])


def read_raster(path):
    with rasterio.open(path) as raster:
        return raster.read(1), raster.transform


def read_table(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name}


def at_points(array, transform, points):
    columns = np.floor((points[:, 0] - transform.c) / transform.a).astype(int)
    rows = np.floor((points[:, 1] - transform.f) / transform.e).astype(int)
    return array[rows, columns]


@pytest.fixture(scope="module")
def binary_maps(cloncurry, deposits):
    """Classes of every cell of the four binary maps, and their weights tables."""
    maps = {}
    for name in BINARY_MAPS:
        classes, transform = read_raster(cloncurry / "CalculateResponse" / f"{name}.tif")
        points = at_points(classes, transform, deposits)
        maps[name] = classes, weights_table(classes, points, cell_area=0.01)
    return maps


@pytest.fixture(scope="module")
def posterior_map(binary_maps):
    layers = (class_weights(*classes_and_table) for classes_and_table in binary_maps.values())
    return posterior(layers, n_deposits=N_DEPOSITS, total_area=AREA)


@pytest.mark.parametrize("table", TABLES)
def test_published_weights_follow_from_published_counts(cloncurry, table):
    """From the published areas and points come every published weight and deviation."""
    published = read_table(cloncurry / f"{table}.csv")
    weights = evidence_weights(
        published["NO_POINTS"], published["AREA_UNITS"], n_deposits=N_DEPOSITS, total_area=AREA
    )
    for ours, theirs in PUBLISHED.items():
        np.testing.assert_allclose(weights[ours], published[theirs], atol=1e-9, err_msg=ours)


@pytest.mark.parametrize("name", BINARY_MAPS)
def test_binary_maps_give_the_published_tables(cloncurry, binary_maps, name):
    """From raster and deposits: area, points and all weights of both classes, to 6 decimals."""
    published = read_table(cloncurry / "CalculateResponse" / f"{name}_CT.csv")
    _, table = binary_maps[name]
    columns = {"class": "CLASS", "area": "AREA_UNITS", "deposits": "NO_POINTS", **PUBLISHED}
    for ours, theirs in columns.items():
        np.testing.assert_allclose(table[ours], published[theirs], atol=5e-7, err_msg=ours)


@pytest.mark.parametrize(
    ("name", "cumulative"),
    [("FaultDensity_CD", "descending"), ("Dist2Breccia_CA", "ascending"), ("StratNo_CT", None)],
)
def test_class_maps_give_the_published_tables(cloncurry, deposits, name, cumulative):
    """From raster and deposits: the published cumulative and categorical tables."""
    published = read_table(cloncurry / "CalculateWeights" / f"{name}.csv")
    raster = cloncurry / "CalculateWeights" / f"{name[:-3]}.tif"
    classes, transform = read_raster(raster)
    points = at_points(classes, transform, deposits)
    table = weights_table(classes, points, cell_area=0.01, cumulative=cumulative)
    for ours, theirs in {"class": "CLASS", "deposits": "NO_POINTS", **PUBLISHED}.items():
        np.testing.assert_allclose(table[ours], published[theirs], atol=5e-7, err_msg=ours)


def test_posterior_map_is_the_published_one(cloncurry, posterior_map):
    """Prior log-odds plus four weights give the published probability in every cell."""
    published, _ = read_raster(cloncurry / "CalculateResponse" / "PosteriorProbability.tif")
    np.testing.assert_allclose(posterior_map[0], published, atol=5e-7, rtol=0)


def test_posterior_deviation_is_the_published_one(cloncurry, posterior_map):
    """The deviation of weights and prior gives the published standard deviation everywhere."""
    published, _ = read_raster(cloncurry / "CalculateResponse" / "PosteriorProbability_StdDev.tif")
    np.testing.assert_allclose(posterior_map[1], published, atol=5e-7, rtol=0)


def test_posterior_map_has_the_published_auc(cloncurry, deposits, posterior_map):
    """The area under the ROC curve of the posterior map is 0.714468."""
    _, transform = read_raster(cloncurry / "CalculateResponse" / "PosteriorProbability.tif")
    cells = np.arange(posterior_map[0].size).reshape(posterior_map[0].shape)
    counts = np.bincount(at_points(cells, transform, deposits), minlength=cells.size)
    auc = auc_background(posterior_map[0].ravel(), counts)
    assert auc == pytest.approx(0.714468, abs=1e-4)


def test_published_layers_are_conditionally_dependent(posterior_map):
    """The four layers expect far more deposits than there are, so independence is rejected."""
    result = conditional_independence_test(*posterior_map, n_deposits=N_DEPOSITS, cell_area=0.01)
    assert result["ratio"] < 0.85
    assert result["p_value"] < 0.01


counts = st.integers(min_value=1, max_value=500)


@given(counts, counts, counts, counts)
def test_weights_are_log_ratios_of_conditional_probabilities(
    deposits_in, deposits_out, barren_in, barren_out
):
    """W+ and W- are ln P(B|D)/P(B|not D) of the two-by-two table, where no count is empty."""
    n_deposits = deposits_in + deposits_out
    total = n_deposits + barren_in + barren_out
    weights = evidence_weights(
        deposits_in, deposits_in + barren_in, n_deposits=n_deposits, total_area=total
    )
    barren = barren_in + barren_out
    w_plus = np.log((deposits_in / n_deposits) / (barren_in / barren))
    w_minus = np.log((deposits_out / n_deposits) / (barren_out / barren))
    deviation = np.sqrt(1 / deposits_in + 1 / deposits_out + 1 / barren_in + 1 / barren_out)
    assert weights["w_plus"] == pytest.approx(w_plus, abs=1e-9)
    assert weights["w_minus"] == pytest.approx(w_minus, abs=1e-9)
    assert weights["studentised_contrast"] == pytest.approx((w_plus - w_minus) / deviation)


@given(counts, counts, counts, counts)
def test_one_layer_expects_as_many_deposits_as_there_are(
    deposits_in, deposits_out, barren_in, barren_out
):
    """With a single binary layer the posterior is exact, so T = D."""
    area = np.array([deposits_out + barren_out, deposits_in + barren_in])
    n_deposits = deposits_in + deposits_out
    classes = np.repeat([0, 1], area)
    table = weights_table(classes, np.repeat([0, 1], [deposits_out, deposits_in]))
    layer = class_weights(classes, table)
    assume(deposits_in * area[0] != deposits_out * area[1])  # else both classes are one area
    result = conditional_independence_test(
        *posterior([layer], n_deposits=n_deposits, total_area=int(area.sum())),
        n_deposits=n_deposits,
    )
    assert result["expected"] == pytest.approx(n_deposits)
    assert result["p_value"] == pytest.approx(0.5)


def test_counting_a_layer_twice_fails_the_independence_test():
    """The same layer given twice expects too many deposits."""
    classes = np.repeat([0, 1], [9000, 1000])
    layer = class_weights(classes, weights_table(classes, np.repeat([0, 1], [200, 400])))
    probability, deviation = posterior([layer] * 2, n_deposits=600, total_area=10_000)
    result = conditional_independence_test(probability, deviation, n_deposits=600)
    assert result["ratio"] < 0.8
    assert result["p_value"] < 0.01


def test_class_without_deposits_weighs_nothing():
    """A class that holds no deposit has weights and deviations of zero."""
    table = weights_table([1, 1, 2, 2, 3], [2, 3]).set_index("class")
    assert (table.loc[1].drop(["area", "deposits"]) == 0).all()


def test_missing_cells_are_not_area():
    """NaN cells and deposits on them enter neither N nor D."""
    with_gaps = weights_table([1.0, 1, 2, 2, 2, np.nan, np.nan], [1.0, 2, np.nan])
    without = weights_table([1.0, 1, 2, 2, 2], [1.0, 2])
    assert with_gaps.equals(without)


def test_missing_and_unknown_classes_weigh_nothing():
    """A cell without class, or of a class never seen, keeps the prior."""
    table = weights_table([1.0, 1, 1, 2, 2, 2, 2], [1.0, 2])
    weight, deviation = class_weights([np.nan, 7.0], table)
    assert weight.tolist() == deviation.tolist() == [0.0, 0.0]


def test_deposit_of_an_unmapped_class_is_refused():
    """A deposit of a class that the map lacks is named, not dropped."""
    with pytest.raises(LabelError, match="class 5"):
        weights_table([1, 2, 2], [2, 5])


def test_too_few_deposits_are_refused():
    """Without a deposit there is nothing to weigh."""
    with pytest.raises(LabelError, match="0 deposits"):
        evidence_weights([0], [1], n_deposits=0, total_area=10)


def test_unknown_direction_is_refused():
    """A misspelt direction of accumulation names the choices."""
    with pytest.raises(StudyError, match="'ascending'"):
        weights_table([1, 2], [1], cumulative="upward")


def district(seed=0, n=3000):
    """Cells whose deposits prefer high values of layer 0 and low values of layer 1, not layer 2."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    y = (rng.random(n) < 0.3 * expit(2 * X[:, 0] - 2 * X[:, 1] - 3)).astype(int)
    return X, y


def test_estimator_splits_where_the_table_says():
    """The split kept is the one of greatest studentised contrast in the two cumulative tables."""
    X, y = district()
    model = WeightsOfEvidence(n_thresholds=len(X)).fit(X, y)
    kept = model.weights_
    for layer, direction in [(0, "descending"), (1, "ascending")]:
        table = weights_table(X[:, layer], X[y == 1, layer], cumulative=direction)
        best = table[table["deposits"] >= 3].nlargest(1, "studentised_contrast").iloc[0]
        assert kept["above"][layer] == (direction == "descending")
        for name in ("area", "deposits", *PUBLISHED):
            assert kept[name][layer] == pytest.approx(best[name]), name


@pytest.mark.parametrize("copies", [2, 5, 40])
def test_shrinkage_makes_the_posterior_expect_the_deposits_there_are(copies):
    """However often a layer is repeated."""
    weights = copies * np.repeat([2.5, -1.0], [100, 900])
    prior = logit(0.05)
    factor = _shrinkage(weights, prior)
    assert 0 < factor < 1
    assert expit(prior + factor * weights).mean() == pytest.approx(0.05)


def test_shrinkage_that_only_zero_would_meet_keeps_the_ranking_and_warns():
    """Weights above zero on average: no factor helps, and none at all would rank nothing."""
    weights, prior = np.array([3.0, 1.0, -0.5, 2.0]), logit(0.05)
    with pytest.warns(SurveyDataWarning, match="as a ranking, not as probabilities"):
        factor = _shrinkage(weights, prior)
    scores = expit(prior + factor * weights)
    assert np.argsort(scores).tolist() == np.argsort(weights).tolist()
    assert scores.mean() == pytest.approx(0.05, rel=0.01)


def test_layer_below_the_threshold_weighs_nothing():
    """A layer of noise falls short of the studentised contrast asked for, and is not used."""
    X, y = district()
    kept = WeightsOfEvidence(min_studentised_contrast=4).fit(X, y).weights_
    assert kept["used"].tolist() == [True, True, False]
    assert kept["w_plus"][2] == kept["w_minus"][2] == 0


def test_estimator_scores_are_the_posterior():
    """A score is the prior log-odds plus the weights of the sides that the cell is on."""
    X, y = district()
    model = WeightsOfEvidence().fit(X, y)
    kept = model.weights_
    side = (kept["threshold"] < X) == kept["above"]
    weight = np.where(side, kept["w_plus"], kept["w_minus"])[:, kept["used"]]
    expected = expit(logit(y.mean()) + weight.sum(axis=1))
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], expected)


def test_estimator_keeps_the_prior_where_all_layers_are_missing():
    """A cell without any evidence scores the density of positives."""
    X, y = district()
    score = WeightsOfEvidence().fit(X, y).predict_proba(np.full((1, 3), np.nan))[0, 1]
    assert score == pytest.approx(y.mean())


def test_missing_layer_takes_only_its_own_weight_away():
    """Removing one layer of a cell removes that layer's weight from its log-odds."""
    X, y = district()
    model = WeightsOfEvidence().fit(X, y)
    cell = np.array([[5.0, -5.0, 0.0]], dtype=np.float32)
    gap = cell.copy()
    gap[0, 1] = np.nan
    full, partial = (logit(model.predict_proba(x)[0, 1]) for x in (cell, gap))
    assert full - partial == pytest.approx(model.weights_["w_plus"][1])


def test_estimator_uses_a_rare_class_layer():
    """A one-hot layer of 1 % of the cells is split between 0 and 1, whatever the quantiles."""
    rng = np.random.default_rng(0)
    X, y = np.zeros((4000, 1)), np.zeros(4000, dtype=int)
    X[:40] = 1
    y[:15] = 1
    y[rng.choice(np.arange(40, 4000), 15, replace=False)] = 1
    kept = WeightsOfEvidence().fit(X, y).weights_
    assert kept["threshold"][0] == 0
    assert (kept["area"][0], kept["deposits"][0]) == (40, 15)


def test_cells_of_one_deposit_count_as_one():
    """Nine cells a deposit: the same weights, standard deviations three times as large."""
    X, y = district()
    cells = WeightsOfEvidence().fit(X, y)
    deposits = WeightsOfEvidence(cells_per_deposit=9, min_deposits=0.3).fit(X, y)
    np.testing.assert_allclose(deposits.weights_["w_plus"][:2], cells.weights_["w_plus"][:2])
    np.testing.assert_allclose(
        deposits.weights_["s_contrast"][:2], 3 * cells.weights_["s_contrast"][:2]
    )


def test_estimator_warns_when_no_layer_tells_deposits_apart():
    """With pure noise every cell scores alike, and the user hears of it."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(500, 2)), np.zeros(500, dtype=int)
    y[:20] = 1
    with pytest.warns(SurveyDataWarning, match="every cell scores alike"):
        model = WeightsOfEvidence(min_studentised_contrast=10).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 0.04)


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_estimator_sees_order_only(seed):
    """Any increasing transform of a layer leaves every score as it is."""
    X, y = district(seed % 5, n=400)
    scale = np.random.default_rng(seed).uniform(0.5, 3.0, size=3)
    plain = WeightsOfEvidence(min_studentised_contrast=1.0).fit(X, y).predict_proba(X)
    warped = np.exp(X / 3 * scale).astype(np.float32)
    assume(all(len(np.unique(layer)) == len(X) for layer in warped.T))
    assert np.array_equal(
        WeightsOfEvidence(min_studentised_contrast=1.0).fit(warped, y).predict_proba(warped), plain
    )


@pytest.mark.parametrize(
    "setting", [{"n_thresholds": 0}, {"cells_per_deposit": 0}, {"min_area": 0.7}]
)
def test_impossible_settings_are_refused(setting):
    """A setting that no split could meet is named with its value."""
    (name,) = setting
    with pytest.raises(StudyError, match=name):
        WeightsOfEvidence(**setting).fit(*district())
