"""Workflows side by side: each as it would be alone, on the same folds and draws."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression

from gossan import io
from gossan.draws import DrawEnsemble
from gossan.exceptions import GossanError, LabelError, SurveyDataWarning
from gossan.grid import Grid
from gossan.labels import (
    BufferedNegatives,
    NegativeSampler,
    OtherDepositNegatives,
    RandomNegatives,
    SpyNegatives,
    label_cells,
)
from gossan.methods import make_model, make_sampler
from gossan.splits import DepositClusterFolds
from gossan.validate import Workflow, compare_workflows, cross_validate
from gossan.validate.workflows import _by_sampler

SHAPE = (30, 40)
DEPOSITS = [(4, 4), (6, 11), (22, 5), (25, 12), (5, 33), (12, 28), (22, 34), (15, 20)]
SETTINGS = {
    "splitter": DepositClusterFolds(3, dead_zone=300.0),
    "n_bootstrap": 50,
    "random_state": 3,
}


@pytest.fixture(scope="module")
def area():
    """Three layers, of which the first is high at the deposits."""
    grid = Grid.from_bounds((0, 0, 4000, 3000), 100, "EPSG:32650")
    layers = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype("float32")
    for row, column in DEPOSITS:
        layers[0, row - 1 : row + 2, column - 1 : column + 2] += 1.5
    layers[:, :2, :3] = np.nan
    evidence = grid.to_dataarray(layers, layers=["ore", "noise", "more noise"])
    places = gpd.points_from_xy(*grid.coordinates(*np.transpose(DEPOSITS)).T)
    names = [str(k) for k in range(len(DEPOSITS))]
    return evidence, label_cells(
        evidence, gpd.GeoDataFrame({"name": names}, geometry=places, crs=grid.crs)
    )


def workflow(method="logistic-regression", negatives="random", *, name=None, draws=2, **more):
    settings = {"n_estimators": 8, "n_jobs": 1} if method == "extra-trees" else {}
    sampler = more.pop("sampler", None) or make_sampler(negatives, ratio=3.0)
    return Workflow(
        name or f"{method} × {negatives}",
        method,
        negatives,
        make_model(method, random_state=3, **settings),
        sampler,
        draws,
        **more,
    )


def two():
    return [workflow("logistic-regression"), workflow("extra-trees", draws=3)]


@pytest.fixture(scope="module")
def whole(area):
    """Two workflows compared in one go."""
    return compare_workflows(two(), *area, n_jobs=1, **SETTINGS)


def without_time(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="seconds")


def test_a_row_is_what_cross_validation_finds(area, whole):
    """To the last digit the figures that `cross_validate` gives with the same settings."""
    table = whole.table.set_index("workflow")
    for one in two():
        alone = cross_validate(
            one.model, *area, negatives=one.sampler, n_draws=one.n_draws, **SETTINGS
        ).held_out
        row = table.loc[one.name]
        assert row["auc_background"] == alone["auc_background"]
        assert [row["auc_low"], row["auc_high"]] == alone["ci95"]["auc_background"]
        for area_share, capture in alone["capture"].items():
            assert row[f"capture_{area_share}"] == capture
        assert row["normalised_density"] == alone["prediction_area"]["normalised_density"]


class Witness(ClassifierMixin, BaseEstimator):
    """Notes what it was shown."""

    shown: dict = {}  # noqa: RUF012 - clones share the record on purpose

    def __init__(self, name="", random_state=None):
        self.name = name
        self.random_state = random_state

    def fit(self, X, y):
        cells = tuple(np.sort(X[:, 1]).tolist()), tuple(np.asarray(y).tolist())
        Witness.shown.setdefault(self.name, set()).add(cells)
        return self

    def predict_proba(self, X):
        return np.column_stack([1 - X[:, 0], X[:, 0]])


def test_workflows_of_one_sampler_see_the_same_draws(area):
    """Draw for draw the same cells; a workflow of fewer draws sees the first of them."""
    Witness.shown.clear()
    flows = [
        Workflow(name, "witness", "random", Witness(name), RandomNegatives(3.0), draws)
        for name, draws in (("a", 3), ("b", 3), ("c", 1))
    ]
    compare_workflows(flows, *area, n_jobs=1, **SETTINGS)
    assert len(Witness.shown["a"]) == 3 * 7  # three draws on 3 folds × 2 parts, and on all
    assert Witness.shown["a"] == Witness.shown["b"]
    assert len(Witness.shown["c"]) == 7
    assert Witness.shown["c"] < Witness.shown["a"]


class Stubborn(dict):
    """A store that is interrupted after so many records."""

    def __init__(self, patience):
        super().__init__()
        self.patience = patience

    def __setitem__(self, key, record):
        if len(self) >= self.patience:
            raise KeyboardInterrupt
        super().__setitem__(key, record)


@pytest.mark.parametrize("patience", [1, 9])
def test_an_interrupted_comparison_goes_on_to_the_same_table(area, whole, patience):
    """Whatever was done when it stopped is kept, and the end is the uninterrupted one."""
    store = Stubborn(patience)
    with pytest.raises(KeyboardInterrupt):
        compare_workflows(two(), *area, n_jobs=1, store=store, **SETTINGS)
    kept = dict(store)
    assert len(kept) == patience
    store.patience = np.inf
    resumed = compare_workflows(two(), *area, n_jobs=1, store=store, **SETTINGS)
    pd.testing.assert_frame_equal(without_time(resumed.table), without_time(whole.table))
    np.testing.assert_array_equal(resumed.consensus, whole.consensus)
    assert all(store[key] is record for key, record in kept.items())


def test_records_on_disk_may_be_lost_or_damaged(area, whole, tmp_path):
    """Deleted and broken records are made again; the others are not touched."""
    store = io.ArrayFolder(tmp_path)
    compare_workflows(two(), *area, n_jobs=1, store=store, **SETTINGS)
    files = sorted(tmp_path.glob("*.npz"))
    assert len(files) == len(store) == 14
    before = {file: file.stat().st_mtime_ns for file in files}
    files[0].unlink()
    files[5].write_bytes(files[5].read_bytes()[:100])
    again = compare_workflows(two(), *area, n_jobs=1, store=store, **SETTINGS)
    pd.testing.assert_frame_equal(without_time(again.table), without_time(whole.table))
    touched = {file for file in files if file.stat().st_mtime_ns != before[file]}
    assert touched == {files[0], files[5]}


def test_processes_change_nothing(area, whole, tmp_path):
    """Two processes give the table and the maps of one."""
    store = io.ArrayFolder(tmp_path)
    other = compare_workflows(two(), *area, n_jobs=2, store=store, **SETTINGS)
    pd.testing.assert_frame_equal(without_time(whole.table), without_time(other.table))
    np.testing.assert_array_equal(whole.consensus, other.consensus)
    np.testing.assert_array_equal(whole.agreement, other.agreement)


def test_one_workflow_alone_has_its_row(area):
    """Nothing to differ from: the differences are there, and empty."""
    table = compare_workflows(two()[:1], *area, n_jobs=1, **SETTINGS).table
    assert table["role"].tolist() == ["workflow"]
    pair = compare_workflows(two(), *area, n_jobs=1, **SETTINGS).table
    assert list(table.columns) == list(pair.columns)
    assert table.filter(like="difference").isna().all(axis=None)
    assert np.isfinite(table["auc_background"]).all()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_warning_is_told_once_and_here(area, tmp_path, n_jobs):
    """Not once a piece and process, past whatever the caller does with warnings."""
    distant = workflow(negatives="buffered", sampler=BufferedNegatives(5_000.0))
    with pytest.warns(SurveyDataWarning, match="is shortened to") as told:
        compare_workflows(
            [distant], *area, n_jobs=n_jobs, store=io.ArrayFolder(tmp_path), **SETTINGS
        )
    told = [warning for warning in told if issubclass(warning.category, SurveyDataWarning)]
    assert len({str(warning.message) for warning in told}) == len(told)
    assert {warning.filename for warning in told} == {__file__}


class Failing(NegativeSampler):
    """Cannot be run on this study."""

    def __init__(self, ratio=1.0):
        self.ratio = ratio

    def _pool(self, ground):
        raise LabelError("No ground is barren here.")


def test_a_workflow_that_cannot_be_run_is_reported(area):
    """Its reason is told, with the fold; the others are judged as if it were not there."""
    alone = compare_workflows([workflow()], *area, n_jobs=1, **SETTINGS)
    lost = workflow("extra-trees", "failing", sampler=Failing())
    found = compare_workflows([workflow(), lost], *area, n_jobs=1, **SETTINGS)
    assert found.failed == [("extra-trees × failing", "fold 0: No ground is barren here.")]
    pd.testing.assert_frame_equal(without_time(found.table), without_time(alone.table))
    np.testing.assert_array_equal(found.consensus, alone.consensus)


def test_what_failed_is_tried_again(area, tmp_path, monkeypatch):
    """The disk that was full may have room by now; what was finished is not made again."""
    store = io.ArrayFolder(tmp_path)

    def full(*_, **__):
        raise GossanError("No space is left.")

    with monkeypatch.context() as patched:
        patched.setattr(DrawEnsemble, "fit", full)
        with pytest.raises(GossanError, match="No space is left"):
            compare_workflows([workflow()], *area, n_jobs=1, store=store, **SETTINGS)
    found = compare_workflows([workflow()], *area, n_jobs=1, store=store, **SETTINGS)
    assert not found.failed
    with monkeypatch.context() as patched:
        patched.setattr(DrawEnsemble, "fit", full)
        again = compare_workflows([workflow()], *area, n_jobs=1, store=store, **SETTINGS)
    pd.testing.assert_frame_equal(again.table, found.table)


def test_a_reference_that_cannot_be_run_is_an_error(area):
    """Differences against nothing mean nothing."""
    lost = workflow("extra-trees", "failing", sampler=Failing())
    with pytest.raises(LabelError, match="'extra-trees × failing' could not be run: fold 0: No g"):
        compare_workflows([workflow(), lost], *area, reference=lost.name, n_jobs=1, **SETTINGS)


def test_names_tell_workflows_apart(area):
    """Two rows of one name would be one."""
    with pytest.raises(ValueError, match="Two workflows are named"):
        compare_workflows([workflow(), workflow()], *area, **SETTINGS)


def test_a_reference_that_is_not_compared_is_an_error(area):
    """The nearest name is told."""
    with pytest.raises(ValueError, match=r"named 'extra-tree × random'\. Did you mean"):
        compare_workflows(two(), *area, **SETTINGS, reference="extra-tree × random")


def test_samplers_that_differ_deep_within_a_setting_share_no_draws():
    """A long list of occurrences is told apart by its middle, which repr leaves out."""
    places = [[float(k), 0.0] for k in range(500)]
    moved = [*places[:250], [250.0, 9.0], *places[251:]]
    like, unlike = (
        [workflow(name=name, sampler=OtherDepositNegatives(p)) for name, p in pairs]
        for pairs in ([("a", places), ("b", list(places))], [("a", places), ("b", moved)])
    )
    assert len(_by_sampler(like)) == 1
    assert len(_by_sampler(unlike)) == 2


def test_the_consensus_of_like_workflows_ranks_like_one(area):
    """Three times the same map: its ranks, and no spread."""
    flows = [workflow(name=name) for name in "abc"]
    found = compare_workflows(flows, *area, n_jobs=1, **SETTINGS)
    table = found.table.set_index("workflow")
    mean, one = table.loc["consensus of 3"], table.loc["a"]
    assert mean["auc_background"] == pytest.approx(one["auc_background"], abs=1e-3)
    assert mean["difference_auc"] == pytest.approx(0, abs=1e-3)
    for name in "bc":
        assert table.loc[name, "difference_auc"] == 0
    known = found.consensus.to_numpy()
    assert np.isnan(known[:2, :3]).all()
    # Percentile ranks: from half a cell to all but half a cell, each step once.
    count = SHAPE[0] * SHAPE[1] - 6
    np.testing.assert_allclose(
        np.sort(known[np.isfinite(known)]), (np.arange(count) + 0.5) / count, atol=1e-4
    )
    assert float(found.consensus["spread"].max()) < 1e-3
    assert set(np.unique(found.agreement.values[np.isfinite(known)])) == {0.0, 1.0}


class Layer(Witness):
    """A map that is a layer: ``shift`` turns it."""

    def __init__(self, layer=0, random_state=None):
        self.layer = layer
        self.random_state = random_state

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict_proba(self, X):
        score = 1 / (1 + np.exp(-X[:, self.layer].astype(float)))
        return np.column_stack([1 - score, score])


def test_agreement_counts_the_maps_and_controls_do_not_vote(area):
    """The share of workflows in whose top 5 % a cell lies; the consensus is their mean rank."""
    evidence, _ = area
    flows = [
        Workflow(f"layer {k}", "layer", "random", Layer(k), RandomNegatives(), 1, role)
        for k, role in ((0, "workflow"), (1, "workflow"), (2, "control"))
    ]
    found = compare_workflows(flows, *area, n_jobs=1, **SETTINGS)
    values = evidence.to_numpy()[:2]
    known = np.isfinite(values[0])
    ranks = np.stack([pd.Series(v[known]).rank().to_numpy() - 0.5 for v in values]) / known.sum()
    np.testing.assert_allclose(found.consensus.values[known], ranks.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(
        found.consensus["spread"].values[known], ranks.std(axis=0), atol=1e-4
    )
    np.testing.assert_array_equal(found.agreement.values[known], (ranks > 0.95).mean(axis=0))
    table = found.table.set_index("workflow")
    assert "consensus of 2" in table.index
    assert table.loc["layer 2", "role"] == "control"


def test_selectivity_is_the_share_below_one_half(area):
    """How much of the area a map leaves out."""
    flow = Workflow("layer 0", "layer", "random", Layer(0), RandomNegatives(), 1)
    found = compare_workflows([flow], *area, n_jobs=1, **SETTINGS)
    layer = area[0].to_numpy()[0]
    expected = (layer[np.isfinite(layer)] <= 0).mean()
    assert found.table["selectivity"][0] == pytest.approx(expected)


def test_progress_counts_pieces_done(area):
    """From the start, with what the store already holds, to the end."""
    told, store = [], {}
    compare_workflows(
        two(), *area, n_jobs=1, store=store, progress=lambda *s: told.append(s), **SETTINGS
    )
    assert told == [(done, 7) for done in range(8)]
    told.clear()
    compare_workflows(
        two(), *area, n_jobs=1, store=store, progress=lambda *s: told.append(s), **SETTINGS
    )
    assert told == [(7, 7)]


def test_differences_are_taken_against_the_reference(area):
    """Paired, and empty in the reference's own row."""
    flows = [workflow(), workflow("logistic-regression", "spy", sampler=SpyNegatives(repeats=4))]
    found = compare_workflows(flows, *area, reference=flows[1].name, n_jobs=1, **SETTINGS)
    table = found.table.set_index("workflow")
    own, other = table.loc[flows[1].name], table.loc[flows[0].name]
    assert np.isnan(own["difference_auc"])
    expected = other["auc_background"] - own["auc_background"]
    assert other["difference_auc"] == pytest.approx(expected)


class Learner(LogisticRegression):
    """Learns from evidence first, and notes how often it was asked to."""

    asked: list = []  # noqa: RUF012 - clones share the record on purpose

    def learn_evidence(self, evidence, cells=None):
        Learner.asked.append(self.C)
        return clone(self)

    def look_at(self, evidence):
        return evidence.fillna(0.0)


def test_workflows_of_one_model_look_at_evidence_once(area):
    """Whatever their negatives; another model looks for itself."""
    Learner.asked.clear()
    pairs = [(1.0, RandomNegatives(2.0)), (1.0, RandomNegatives(3.0)), (0.1, RandomNegatives(2.0))]
    workflows = [
        Workflow(f"{C} {sampler!r}", "own", "random", Learner(C=C), sampler) for C, sampler in pairs
    ]
    compare_workflows(workflows, *area, n_jobs=1, **SETTINGS)
    assert sorted(Learner.asked) == [0.1, 1.0]
