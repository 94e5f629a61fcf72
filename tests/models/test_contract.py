"""Every cell-wise method keeps the estimator contract: checks, gaps, labels, seeds, disk."""

import numpy as np
import pytest
import skops.io
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from gossan.exceptions import LabelError, StudyError
from gossan.methods import METHODS, make_model
from gossan.models import (
    Analogues,
    BaggingPU,
    CellDecisionTree,
    CellExtraTrees,
    CellGradientBoosting,
    CellIsolationForest,
    CellKNeighbors,
    CellLogisticRegression,
    CellRandomForest,
    CellSVM,
    ElkanNoto,
    LayerScreen,
    WeightsOfEvidence,
)

FEW = {"n_estimators": 10, "n_jobs": 1}
ESTIMATORS = [
    WeightsOfEvidence(),
    Analogues(),
    CellLogisticRegression(),
    CellKNeighbors(),
    CellSVM(),
    CellDecisionTree(),
    CellRandomForest(**FEW),
    CellExtraTrees(**FEW),
    CellGradientBoosting(n_estimators=10),
    BaggingPU(**FEW),
    ElkanNoto(**FEW),
    CellIsolationForest(**FEW),
    LayerScreen(CellExtraTrees(**FEW, random_state=0)),
]
CELL_METHODS = [name for name, method in METHODS.items() if not method.deep]
ENSEMBLES = ["random-forest", "extra-trees", "bagging-pu"]
USE_UNLABELLED = ["analogues", "bagging-pu", "elkan-noto", "isolation-forest"]


@pytest.fixture(autouse=True)
def one_thread():
    """Threads cost more than they gain on a few hundred cells."""
    with threadpool_limits(1):
        yield


def expected_failures(estimator):
    """Checks that an estimator fails, each with the reason."""
    failures = {"check_classifiers_classes": "its labels -1, 1 leave no negative: -1 is unlabelled"}
    if isinstance(estimator, CellIsolationForest):
        failures["check_classifiers_train"] = "unsupervised: it is not to reproduce the labels"
    return failures


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
@pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")
def test_scikit_learn_accepts_the_estimator(estimator, check):
    """scikit-learn's own checks of a binary classifier pass."""
    check(estimator)


def small_model(name, **parameters):
    """A method of the catalogue with few trees."""
    if "n_estimators" in METHODS[name].estimator().get_params():
        parameters = {"n_estimators": 12, **parameters}
    if name == "weights-of-evidence":
        parameters = {"cells_per_deposit": 1.0, **parameters}
    return make_model(name, random_state=0, **parameters)


@pytest.fixture(scope="module")
def district():
    """600 cells of 4 layers with gaps; layers 0 and 1 tell the 60 positives, layer 3 is empty."""
    rng = np.random.default_rng(0)
    y = np.repeat([1, 0], [60, 540])
    X = rng.normal(size=(600, 4)).astype(np.float32)
    X[y == 1, :2] += 2.0
    X[rng.random(X.shape) < 0.15] = np.nan
    X[:, 3] = np.nan
    X[[7, 300]] = np.nan
    order = rng.permutation(600)
    return X[order], y[order]


@pytest.mark.parametrize("name", CELL_METHODS)
def test_every_cell_gets_a_score(district, name):
    """Cells with some or all layers missing, in training and in prediction, score within 0-1."""
    X, y = district
    score = small_model(name).fit(X, y).predict_proba(X)[:, 1]
    assert np.isfinite(score).all()
    assert score.min() >= 0
    assert score.max() <= 1


@pytest.mark.parametrize("name", CELL_METHODS)
def test_deposits_are_told_from_the_rest(district, name):
    """Fresh cells of the deposits' kind outscore fresh cells of the other kind."""
    X, y = district
    rng = np.random.default_rng(1)
    barren, prospective = (rng.normal(shift, size=(200, 4)) for shift in (0.0, 2.0))
    barren[:, 2:], prospective[:, 2:] = 0.0, 0.0
    model = small_model(name).fit(X, y)
    low, high = (model.predict_proba(cells)[:, 1] for cells in (barren, prospective))
    assert np.mean(low[:, None] < high[None, :]) > 0.8


@pytest.mark.parametrize("name", CELL_METHODS)
def test_same_seed_same_scores(district, name):
    """Two fits with one seed score every cell alike to the last bit."""
    X, y = district
    first, second = (small_model(name).fit(X, y).predict_proba(X) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", [*ENSEMBLES, "isolation-forest"])
def test_threads_do_not_change_scores(district, name):
    """One thread or three: the same scores to the last bit, also across blocks of cells."""
    X, y = district
    many = np.tile(X, (60, 1))
    one, three = (small_model(name, n_jobs=jobs).fit(X, y) for jobs in (1, 3))
    assert np.array_equal(one.predict_proba(many), three.predict_proba(many))


@pytest.mark.parametrize("name", [n for n in CELL_METHODS if n not in USE_UNLABELLED])
def test_supervised_methods_ignore_unlabelled_cells(district, name):
    """Fitting with cells labelled -1 equals fitting without those cells."""
    X, y = district
    labels = np.where(np.arange(len(y)) % 3 == 0, -1, y)
    known = labels >= 0
    with_them = small_model(name).fit(X, labels).predict_proba(X)
    assert np.array_equal(with_them, small_model(name).fit(X[known], y[known]).predict_proba(X))


@pytest.mark.parametrize("name", [n for n in CELL_METHODS if n not in USE_UNLABELLED])
def test_supervised_methods_ask_for_negatives(district, name):
    """With positives and unlabelled cells only, the error says how to choose negatives."""
    X, y = district
    with pytest.raises(LabelError, match=r"60 positive .* sampler such as `RandomNegatives`"):
        small_model(name).fit(X, np.where(y == 1, 1, -1))


@pytest.mark.parametrize("name", USE_UNLABELLED)
def test_unlabelled_cells_serve_where_no_negative_is_known(district, name):
    """A method that learns from unlabelled cells treats them like cells labelled 0."""
    X, y = district
    unlabelled = small_model(name).fit(X, np.where(y == 1, 1, -1))
    assert unlabelled.classes_.tolist() == [0, 1]
    negative = small_model(name).fit(X, y)
    assert np.array_equal(unlabelled.predict_proba(X), negative.predict_proba(X))


@pytest.mark.parametrize("name", CELL_METHODS)
def test_no_deposit_is_refused(district, name):
    """Without a positive cell the error says so and names the remedy."""
    X, y = district
    with pytest.raises(LabelError, match=r"positive class .* `label_cells`"):
        small_model(name).fit(X, np.where(y == 1, -1, 0))


@pytest.mark.parametrize("name", CELL_METHODS)
def test_two_labels_of_any_kind_are_classes(district, name):
    """Labels that are not a survey's are kept as classes, the later one positive."""
    X, y = district
    model = small_model(name).fit(X, np.array(["barren", "ore"])[y])
    assert model.classes_.tolist() == ["barren", "ore"]
    assert set(model.predict(X)) <= {"barren", "ore"}
    assert np.array_equal(model.predict_proba(X), small_model(name).fit(X, y).predict_proba(X))


@pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")  # Elkan–Noto says so
@pytest.mark.parametrize("name", CELL_METHODS)
@pytest.mark.filterwarnings("ignore:None of the 4 layers:gossan.exceptions.SurveyDataWarning")
def test_one_deposit_cell_can_be_fitted(district, name):
    """A single positive cell neither breaks a fit nor makes a score leave 0-1."""
    X, y = district
    alone = np.zeros(len(y), dtype=int)
    alone[np.flatnonzero(y)[0]] = 1
    score = small_model(name).fit(X, alone).predict_proba(X)[:, 1]
    assert score.min() >= 0
    assert score.max() <= 1


@pytest.mark.parametrize("name", ENSEMBLES)
def test_spread_is_that_of_the_members(district, name):
    """Score and spread are mean and deviation over the trees; the score is the probability."""
    X, y = district
    model = small_model(name).fit(X, y)
    trees = model.members_ if name == "bagging-pu" else model.learner_.estimators_
    members = np.stack([tree.predict_proba(X)[:, 1] for tree in trees])
    score, spread = model.predict_with_spread(X)
    np.testing.assert_allclose(score, members.mean(axis=0))
    np.testing.assert_allclose(spread, members.std(axis=0), atol=1e-7)
    assert np.array_equal(score, model.predict_proba(X)[:, 1])


@pytest.mark.parametrize("screen", [None, 2.58])
@pytest.mark.parametrize("name", CELL_METHODS)
def test_fitted_model_survives_the_disk(district, name, screen):
    """Through skops and back the scores are the same; nothing but known types is needed."""
    X, y = district
    model = small_model(name, screen=screen).fit(X, y)
    stored = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=stored)
    plain = ("gossan.models.", "sklearn.tree._tree.", "sklearn.ensemble._hist_gradient_boosting.")
    assert all(kind.startswith((*plain, "sklearn._loss.")) for kind in types)
    restored = skops.io.loads(stored, trusted=types)
    assert np.array_equal(restored.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("extra-trees", {"n_estimators": -5}),
        ("random-forest", {"max_features": "many"}),
        ("isolation-forest", {"max_samples": 1.5}),
        ("isolation-forest", {"n_estimators": 0}),
        ("svm", {"C": -1.0}),
        ("gradient-boosting", {"learning_rate": 0.0}),
        ("decision-tree", {"min_samples_leaf": 0}),
        ("k-nearest-neighbours", {"n_neighbors": 0}),
        ("logistic-regression", {"l2": 0.0}),
        ("bagging-pu", {"ratio": 0.0}),
        ("bagging-pu", {"n_estimators": 0}),
        ("bagging-pu", {"min_samples_leaf": 0}),
    ],
)
def test_impossible_settings_are_refused(district, name, setting):
    """A value out of range is named when the method is fitted."""
    ((parameter, value),) = setting.items()
    with pytest.raises(StudyError, match=rf"{parameter}.*{value}"):
        small_model(name, **setting).fit(*district)
