"""A held-out deposit leaves no trace in training: not in negatives, weights or parameters."""

import functools
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from gossan.annotate import Annotation, RecursiveAnnotator
from gossan.draws import DrawEnsemble
from gossan.exceptions import LabelError
from gossan.grid import Grid
from gossan.labels import NegativeSampler, RandomNegatives, label_cells
from gossan.methods import METHODS, SAMPLERS, make_model, make_sampler
from gossan.models import LayerScreen
from gossan.nn.selective_transfer import PatchTraining, Source, train_source
from gossan.splits import DepositClusterFolds, LeaveOneDepositOut, SpatialBlockFolds
from gossan.validate import Workflow, compare_workflows, cross_validate, study_cells

SHAPE = (30, 40)
DEPOSITS = [(4, 4), (6, 11), (22, 5), (25, 12), (5, 33), (12, 28), (22, 34), (22, 31)]
PLANTED = len(DEPOSITS) - 1  # its footprint touches its neighbour's: they are held out together
SPLITTERS = [
    DepositClusterFolds(3, dead_zone=200.0),
    SpatialBlockFolds(3, dead_zone=200.0),
    LeaveOneDepositOut(dead_zone=200.0),
]
GRID = Grid.from_bounds((0, 0, 100 * SHAPE[1], 100 * SHAPE[0]), 100, "EPSG:32650")
QUICK = {
    "dissimilar": {"ratio": 2.0},
    "other-deposits": {"occurrences": GRID.coordinates([15, 10, 27], [18, 5, 22]).tolist()},
    "spy": {"repeats": 6},
    "recursive": {
        "estimator": DecisionTreeClassifier(min_samples_leaf=5),
        "n_draws": 6,
        "max_rounds": 2,
        "ratio": 2.0,
    },
}


def deposits_file(count: int) -> gpd.GeoDataFrame:
    rows, columns = np.transpose(DEPOSITS[:count])
    places = gpd.points_from_xy(*GRID.coordinates(rows, columns).T)
    return gpd.GeoDataFrame({"name": [str(k) for k in range(count)]}, geometry=places, crs=GRID.crs)


@pytest.fixture(scope="module")
def area():
    """Evidence, and its labels with and without the planted deposit in the deposits' file.

    Layer "ore" is high at every deposit; layer "planted" is huge at the planted one, two cells
    around, and noise everywhere else.
    """
    rng = np.random.default_rng(0)
    layers = rng.normal(size=(4, *SHAPE)).astype("float32")
    for row, column in DEPOSITS:
        layers[0, row - 1 : row + 2, column - 1 : column + 2] += 2.0
    row, column = DEPOSITS[PLANTED]
    layers[1, row - 2 : row + 3, column - 2 : column + 3] = 1e6
    evidence = GRID.to_dataarray(layers, layers=["ore", "planted", "noise", "more noise"])
    known = label_cells(evidence, deposits_file(PLANTED + 1))
    unknown = label_cells(evidence, deposits_file(PLANTED))
    return evidence, known, unknown


class OneFold:
    """The training and test cells of one fold, whatever the labels are."""

    def __init__(self, train, test):
        self.train, self.test = train, test

    def split(self, coordinates, labels, deposits):
        yield self.train, self.test


def fold_without(splitter, evidence, labels) -> OneFold:
    """The fold of a splitter that holds the planted deposit out."""
    cells = study_cells(evidence, labels)
    for train, test in splitter.split(cells.coordinates, cells.labels, cells.deposits):
        if (cells.deposits[test] == PLANTED).any():
            assert (cells.features[train][:, 1] < 100).all(), "the planted feature is in training"
            return OneFold(train, test)
    raise AssertionError("no fold holds the planted deposit out")


class Trace(NamedTuple):
    """What one fit or one annotation leaves behind."""

    cells: npt.NDArray[np.float64]  # places of the training cells
    content: Any


@pytest.fixture
def traces(monkeypatch):
    """What every fit and every annotation leaves behind, in the order in which they were made."""
    left: list[Trace] = []
    annotate = RecursiveAnnotator.annotate

    class Recording(DrawEnsemble):
        def _draws(self, features, y, coordinates, seeds):
            draws = super()._draws(features, y, coordinates, seeds)
            left.append(Trace(coordinates, [y, *draws]))
            return draws

        def fit(self, X, y, coordinates, **more):
            super().fit(X, y, coordinates, **more)
            left.append(Trace(coordinates, self.members_))
            return self

    def recording(self, X, labels, coordinates, **settings):
        found = annotate(self, X, labels, coordinates, **settings)
        left.append(Trace(coordinates, found))
        return found

    monkeypatch.setattr("gossan.validate.folds.DrawEnsemble", Recording)
    monkeypatch.setattr("gossan.validate.workflows.DrawEnsemble", Recording)
    monkeypatch.setattr(RecursiveAnnotator, "annotate", recording)
    return left


def flattened(value: Any, name: str = "") -> dict[str, Any]:
    """Every array and number that an object holds, by its path: parameters, trees, knots, draws."""
    if isinstance(value, np.random.Generator):
        value = value.bit_generator.state
    if isinstance(value, np.ndarray) and value.dtype.names:
        value = {field: value[field] for field in value.dtype.names}
    if isinstance(value, pd.DataFrame):
        value = {str(column): value[column].to_numpy() for column in value}
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return {
            k: v for key, part in value.items() for k, v in flattened(part, f"{name}/{key}").items()
        }
    if type(value).__name__ == "Tree":
        return flattened(value.__getstate__(), name)
    if isinstance(value, type) or callable(value):
        return {}
    if hasattr(value, "__dict__"):
        return flattened(vars(value), name)
    return {name: value}


def assert_same_traces(left: list[Trace]) -> None:
    """The first half of what was left, with the deposit, equals the second, without it."""
    half = len(left) // 2
    assert half
    assert len(left) == 2 * half
    one, other = flattened(left[:half]), flattened(left[half:])
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def validate_both(area, splitter, model, make_negatives, n_draws=1) -> None:
    """Cross-validate with the planted deposit known, then unknown, on the very same fold."""
    evidence, known, unknown = area
    fold = fold_without(splitter, evidence, known)
    for labels in (known, unknown):
        # All fits are made by the time a single fold turns out to give no interval.
        with pytest.raises(LabelError, match="in one cluster"):
            cross_validate(
                model,
                evidence,
                labels,
                splitter=fold,
                negatives=make_negatives(labels),
                n_draws=n_draws,
            )


@functools.cache
def elsewhere() -> Source:
    """A source of another area, whose layers go by the same names."""
    layers = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype("float32")
    evidence = GRID.to_dataarray(layers, layers=["ore", "planted", "noise", "more noise"])
    settings = PatchTraining(epochs=1, accelerator="cpu")
    labels = label_cells(evidence, deposits_file(len(DEPOSITS))).to_numpy()
    return train_source(evidence, labels, width=4, settings=settings)


def quick_model(name: str, **settings: Any):
    known = METHODS[name].estimator().get_params()
    quick = {"n_estimators": 5, "n_jobs": 1}
    quick |= {"inner": 1, "outer": 3, "max_epochs": 1, "accelerator": "cpu"}
    quick |= {"backbone_window": 5, "epochs": 1, "windows_per_epoch": 64}
    if "source" in known:
        quick["source"] = elsewhere()
        quick |= {"patch_window": 8, "patch_stride": 2, "crop": 8, "dilations": (1, 2)}
    return make_model(
        name, random_state=0, **{k: v for k, v in quick.items() if k in known}, **settings
    )


@pytest.mark.filterwarnings("ignore:Only .* unlabelled cells lie farther")
@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", SAMPLERS)
def test_negatives_do_not_know_of_a_held_out_deposit(area, traces, splitter, name):
    """Every sampler draws the same cells whether or not the held-out deposit is on file."""
    sampler = make_sampler(name, **QUICK.get(name, {}))
    validate_both(area, splitter, quick_model("logistic-regression"), lambda _: sampler, n_draws=2)
    assert_same_traces(traces)


EVERY_METHOD = [(name, SPLITTERS[0]) for name in METHODS] + [
    (name, splitter)
    for name in ("logistic-regression", "extra-trees", "selective-transfer")
    for splitter in SPLITTERS[1:]
]


@pytest.mark.filterwarnings("ignore:Patches are .* cells across")
@pytest.mark.parametrize(("name", "splitter"), EVERY_METHOD)
def test_fitted_parameters_do_not_know_of_a_held_out_deposit(area, traces, name, splitter):
    """Knots, coefficients, trees, draws, weights, shares: bit for bit the same without it."""
    validate_both(area, splitter, quick_model(name), lambda _: RandomNegatives(3.0))
    assert_same_traces(traces)


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda s: type(s).__name__)
def test_screened_layers_do_not_know_of_a_held_out_deposit(area, traces, splitter):
    """The layer in which only the held-out deposit stands out is not kept for it."""
    model = quick_model("logistic-regression", screen=2.58)
    validate_both(area, splitter, model, lambda _: RandomNegatives(5.0))
    assert_same_traces(traces)
    members = [m for trace in traces for m in trace.content if isinstance(m, LayerScreen)]
    kept = [member.layers_.tolist() for member in members]
    assert kept
    assert all(layers == [0] for layers in kept)


@pytest.mark.parametrize("mode", ["reselect", "accumulate"])
@pytest.mark.parametrize("select", ["purge", "lowest", "weight"])
def test_no_mode_of_recursion_knows_of_a_held_out_deposit(area, traces, select, mode):
    """Scores, decisions, weights and the round kept are the same without it, in every mode."""
    sampler = make_sampler("recursive", select=select, mode=mode, **QUICK["recursive"])
    validate_both(area, SPLITTERS[0], quick_model("logistic-regression"), lambda _: sampler)
    assert any(isinstance(trace.content, Annotation) for trace in traces)
    assert_same_traces(traces)


def test_a_comparison_does_not_know_of_a_held_out_deposit(area, traces):
    """What workflows share in a fold, and what each fits, is the same without it."""
    evidence, known, unknown = area
    fold = fold_without(SPLITTERS[0], evidence, known)
    workflows = [
        Workflow(name, "logistic-regression", name, quick_model("logistic-regression"), sampler, 2)
        for name, sampler in (
            (name, make_sampler(name, **QUICK.get(name, {}))) for name in ("random", "recursive")
        )
    ]
    for labels in (known, unknown):
        with pytest.raises(LabelError, match="in one cluster"):
            compare_workflows(workflows, evidence, labels, splitter=fold, n_jobs=1)
    # The maps of consensus and agreement are fitted to every deposit on file, and judge nothing.
    n_cells = SHAPE[0] * SHAPE[1]
    assert_same_traces([trace for trace in traces if len(trace.cells) < n_cells])
    with pytest.raises(AssertionError, match="not equal"):
        assert_same_traces([trace for trace in traces if len(trace.cells) == n_cells])


class Peeking(NegativeSampler):
    """Draws away from every deposit on file, the held-out ones too."""

    def __init__(self, labels: Any = None, ratio: float = 3.0) -> None:
        self.labels = labels
        self.ratio = ratio

    def _pool(self, ground):
        on_file = np.flatnonzero(self.labels.to_numpy().ravel() == 1)
        places = GRID.coordinates()[on_file]
        gaps = np.abs(ground.coordinates[:, None] - places).max(axis=2).min(axis=1)
        return np.flatnonzero((ground.labels == -1) & (gaps > 600))


def test_a_sampler_that_peeks_is_caught(area, traces):
    """The tests above do see it when negatives depend on a held-out deposit."""
    validate_both(area, SPLITTERS[0], quick_model("logistic-regression"), Peeking)
    with pytest.raises(AssertionError, match="not equal"):
        assert_same_traces(traces)
