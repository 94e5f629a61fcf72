"""Cross-validation: nothing that is judged was trained on."""

import geopandas as gpd
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from gossan.grid import Grid
from gossan.labels import AllUnlabelled, BufferedNegatives, RandomNegatives, label_cells
from gossan.splits import DepositClusterFolds, LeaveOneDepositOut, SpatialBlockFolds
from gossan.validate import cross_validate, draw_stability, study_cells

SHAPE = (40, 50)
SPLITTERS = [
    DepositClusterFolds(3, dead_zone=400.0),
    SpatialBlockFolds(3, dead_zone=300.0),
    LeaveOneDepositOut(dead_zone=300.0),
]


@pytest.fixture
def area():
    """40 × 50 cells whose first layer is the cell's own number, the second a known score."""
    grid = Grid.from_bounds((0, 0, 5000, 4000), 100, "EPSG:32650")
    number = np.arange(grid.size, dtype="float32").reshape(SHAPE)
    known = np.random.default_rng(0).uniform(size=SHAPE).astype("float32")
    evidence = grid.to_dataarray(np.stack([number, known]), layers=["number", "score"])
    places = grid.coordinates([3, 5, 20, 22, 33, 35, 10], [4, 8, 25, 28, 44, 46, 40])
    names = [f"deposit {i}" for i in range(len(places))]
    deposits = gpd.GeoDataFrame(
        {"name": names}, geometry=gpd.points_from_xy(*places.T), crs=grid.crs
    )
    return evidence, label_cells(evidence, deposits)


class Witness(ClassifierMixin, BaseEstimator):
    """Scores by the second layer, and notes which cells it trained on and which it scored."""

    fits: list = []  # noqa: RUF012 - clones share the record on purpose

    def fit(self, X, y):
        self.trained_ = set(X[:, 0].astype(int))
        self.scored_ = set()
        Witness.fits.append(self)
        return self

    def predict_proba(self, X):
        self.scored_ |= set(X[:, 0].astype(int))
        return np.column_stack([1 - X[:, 1], X[:, 1]])


@pytest.fixture
def witness():
    Witness.fits.clear()
    return Witness()


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("negatives", [AllUnlabelled(), RandomNegatives(3), BufferedNegatives(500)])
def test_no_scored_cell_was_trained_on(area, witness, splitter, negatives):
    """Neither a held-out deposit nor a background cell is scored by a model that trained on it."""
    evidence, labels = area
    cross_validate(witness, evidence, labels, splitter=splitter, negatives=negatives)
    assert Witness.fits
    for fitted in Witness.fits:
        assert fitted.scored_
        assert not fitted.trained_ & fitted.scored_


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda s: type(s).__name__)
def test_held_out_footprints_leave_training_whole(area, witness, splitter):
    """No cell of a held-out deposit's footprint is in training, not even as unlabelled ground."""
    evidence, labels = area
    footprint = {
        deposit: set(np.flatnonzero(labels["deposit"].to_numpy() == deposit))
        for deposit in range(7)
    }
    result = cross_validate(witness, evidence, labels, splitter=splitter, negatives=AllUnlabelled())
    parts = len(Witness.fits) // len(result.fold_results)
    for fold, held in enumerate(result.fold_results):
        for fitted in Witness.fits[fold * parts : (fold + 1) * parts]:
            for deposit in held["deposits"]:
                assert not fitted.trained_ & footprint[deposit]


def test_every_background_cell_is_ranked_against(area, witness):
    """The background is whole: each unlabelled cell is scored once a fold."""
    evidence, labels = area
    result = cross_validate(
        witness, evidence, labels, splitter=SPLITTERS[0], negatives=AllUnlabelled()
    )
    unlabelled = set(np.flatnonzero(labels.to_numpy().ravel() == -1))
    first_fold = Witness.fits[:2]
    assert unlabelled <= first_fold[0].scored_ | first_fold[1].scored_
    assert result.fold_results[0]["n_background"] == len(unlabelled)


def test_ranks_are_the_share_of_background_below(area, witness):
    """With a score that does not depend on training, ranks have their closed form."""
    evidence, labels = area
    result = cross_validate(
        witness, evidence, labels, splitter=SPLITTERS[0], negatives=AllUnlabelled()
    )
    score = evidence.sel(layer="score").to_numpy()
    background = score[labels.to_numpy() == -1]
    rows, columns = labels.attrs["deposit_cells"].T
    expected = [(background < value).mean() for value in score[rows, columns]]
    np.testing.assert_allclose(result.ranks, expected, atol=0.03)  # mean over two halves
    np.testing.assert_allclose(result.held_out["auc_background"], np.mean(expected), atol=0.02)


def test_deposits_keep_their_order(area, witness):
    """Ranks come in the order of the study's deposits, each once."""
    evidence, labels = area
    result = cross_validate(
        witness, evidence, labels, splitter=SPLITTERS[2], negatives=AllUnlabelled()
    )
    assert result.deposits.tolist() == list(range(7))


def test_finished_folds_are_not_run_again(area, witness):
    """Folds already in the store are taken from it, and the figures are the same."""
    evidence, labels = area
    settings = {"splitter": SPLITTERS[0], "negatives": RandomNegatives(), "n_draws": 2}
    store = {}
    first = cross_validate(witness, evidence, labels, finished=store, **settings)
    n_fits = len(Witness.fits)
    del store["fold-1"]
    second = cross_validate(witness, evidence, labels, finished=store, **settings)
    assert len(Witness.fits) == n_fits + n_fits // 3
    assert first.held_out == second.held_out


def test_progress_tells_every_fit(area, witness):
    """From none to all: one fit for each fold and part of the background; finished folds too."""
    settings = {"splitter": SPLITTERS[0], "negatives": RandomNegatives(3), "n_bootstrap": 10}
    finished, told = {}, []
    for _ in range(2):
        told.clear()
        cross_validate(
            witness, *area, finished=finished, progress=lambda *step: told.append(step), **settings
        )
        assert told[0] == (0, 6)
        assert told[-1] == (6, 6)
        assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_sampled_background_stays_out_of_training(area, witness):
    """With a sample of the background, its other cells are still not trained on by their part."""
    evidence, labels = area
    result = cross_validate(
        witness,
        evidence,
        labels,
        splitter=SPLITTERS[0],
        negatives=AllUnlabelled(),
        max_background=500,
    )
    assert result.fold_results[0]["n_background"] == 500
    unlabelled = (labels.to_numpy() == -1).sum()
    assert len(Witness.fits[0].trained_) < 0.6 * unlabelled


def test_stability_of_a_fixed_score_is_whole(area, witness):
    """A score that does not depend on the draw is perfectly stable."""
    evidence, labels = area
    stability = draw_stability(
        witness, study_cells(evidence, labels), negatives=RandomNegatives(), repeats=3
    )
    assert stability["jaccard"] == 1.0
    assert stability["spearman"] == pytest.approx(1.0)
