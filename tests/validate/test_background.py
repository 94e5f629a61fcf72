"""The background: dealt in blocks, hidden and judged part by part; patches and deposits alike."""

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin

import gossan as gs
from gossan.annotate import DECISIONS
from gossan.exceptions import LabelError, StudyError, SurveyDataWarning
from gossan.nn.selective_transfer.patches import (
    chosen_sizes,
    patch_corners,
    patch_counts,
)
from gossan.validate import (
    StudyCells,
    deal_background,
    deposit_cells,
    study_cells,
    training_cells,
    widest_patch,
)

SHAPE = (120, 140)
GRID = gs.Grid.from_bounds((0, 0, 100 * SHAPE[1], 100 * SHAPE[0]), 100, "EPSG:32650")


def scattered(seed: int, count: int = 40):
    """Evidence that says nothing, and deposits at random places."""
    rng = np.random.default_rng(seed)
    evidence = GRID.to_dataarray(rng.normal(size=(1, *SHAPE)).astype("f4"), layers=["noise"])
    rows, columns = np.divmod(rng.choice(evidence[0].size, count, replace=False), SHAPE[1])
    deposits = gpd.GeoDataFrame(
        {"name": [str(k) for k in range(count)]},
        geometry=gpd.points_from_xy(*GRID.coordinates(rows, columns).T),
        crs=GRID.crs,
    )
    return evidence, gs.label_cells(evidence, deposits)


@pytest.fixture(scope="module")
def cells() -> StudyCells:
    return study_cells(*scattered(0))


def test_every_background_cell_is_judged_by_a_part_that_never_saw_it(cells):
    """Blocks go whole to a part; labelled cells are judged by none and hidden from none."""
    background = deal_background(cells, 3, None, 0)
    unlabelled = cells.labels == -1
    assert background.n_parts == 3
    np.testing.assert_array_equal(background.judged >= 0, unlabelled)
    everything = np.arange(len(cells.labels))
    for part in range(3):
        judged = background.cells(part)
        shown, unknown = training_cells(cells, background, everything, part, patches=False)
        assert unknown is None
        assert not np.intersect1d(judged, shown).size
        assert np.isin(np.flatnonzero(~unlabelled), shown).all()
    block = cells.rows // background.side * 1000 + cells.columns // background.side
    assert all(len(set(background.parts[block == number])) == 1 for number in np.unique(block))


def test_what_is_left_out_of_the_sample_stays_hidden(cells):
    """Cells beyond the limit are judged by no part, and still not learnt from by their own."""
    whole, sample = deal_background(cells, 2, None, 0), deal_background(cells, 2, 500, 0)
    assert (sample.judged >= 0).sum() == 500
    np.testing.assert_array_equal(sample.parts, whole.parts)
    shown, _ = training_cells(cells, sample, np.arange(len(cells.labels)), 0, patches=False)
    assert not np.isin(whole.cells(0), shown).any()


def test_a_part_without_a_cell_to_judge_is_an_error(cells):
    """Ranks against nothing would be none."""
    with pytest.raises(LabelError, match="3 of its 4 parts hold none"):
        deal_background(cells, 4, 1, 0)


@given(patch=st.integers(1, 80), n_parts=st.integers(2, 4))
@settings(max_examples=30)
@pytest.mark.filterwarnings("ignore:Patches are .* cells across")
def test_blocks_are_a_patch_wide_where_the_area_has_room(cells, patch, n_parts):
    """And no wider than leaves several to every part."""
    background = deal_background(cells, n_parts, None, 1, patch=patch)
    plain = deal_background(cells, n_parts, None, 1)
    room = int(np.sqrt(len(cells.rows) / (4 * n_parts)))
    assert background.side == max(plain.side, min(patch, room))
    assert background.widened == (background.side > plain.side)
    assert set(background.judged) == {-1, *range(n_parts)}


def test_blocks_narrower_than_patches_are_told(cells):
    """With both numbers, and what to do."""
    with pytest.warns(SurveyDataWarning, match="Patches are 80 cells across .* in 2 parts, 45"):
        deal_background(cells, 2, None, 0, patch=80)


def test_of_patches_a_deposit_that_does_not_train_is_ground_like_any_other(cells):
    """Hidden with its block, otherwise shown as if nobody had found it; the same for ground."""
    background = deal_background(cells, 2, None, 0)
    labelled = np.flatnonzero(cells.labels == 1)
    held_out, others = labelled[:90], labelled[90:]
    train = np.sort(np.concatenate([others, background.cells(1)[:100]]))  # the rest: a dead zone
    shown, unknown = training_cells(cells, background, train, 0, patches=True)
    np.testing.assert_array_equal(unknown, held_out)
    elsewhere = held_out[background.parts[held_out] != 0]
    assert 0 < len(elsewhere) < len(held_out)
    expected = np.concatenate([others, background.cells(1), elsewhere])
    np.testing.assert_array_equal(shown, np.sort(expected))
    labels, deposits = cells.known(shown, unknown)
    assert set(shown[labels == 1]) == set(shown[deposits >= 0]) == set(others)
    of_cells, nothing = training_cells(cells, background, train, 0, patches=False)
    np.testing.assert_array_equal(of_cells, train)
    assert nothing is None


def test_a_geologists_deposit_beyond_the_training_cells_is_not_known_to_patches():
    """A decided deposit in the dead zone of a held-out one trains no more than for cells."""
    evidence, labels = scattered(1)
    decision = np.zeros(labels.shape, dtype=np.int8)
    row, column = np.argwhere(labels.to_numpy() == -1)[100]
    decision[row, column] = DECISIONS["deposit"]
    cells = study_cells(evidence, labels.assign_coords(decision=(("y", "x"), decision)))
    decided = np.flatnonzero((cells.training_labels == 1) & (cells.labels == -1))
    assert len(decided) == 1
    background = deal_background(cells, 2, None, 0)
    train = np.setdiff1d(np.arange(len(cells.labels)), decided)
    shown, unknown = training_cells(cells, background, train, 0, patches=True)
    assert decided in unknown
    known, _ = cells.known(shown, unknown)
    assert not (known[np.isin(shown, decided)] == 1).any()


def test_a_deposit_is_pooled_over_parts_or_judged_by_its_own(cells):
    """By hand, with bounds of two parts for two deposits that lie in part 1 and in part 0."""
    background = deal_background(cells, 2, None, 0)
    places = np.array([np.flatnonzero(background.parts == part)[0] for part in (1, 0)])
    told = np.array([[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6], [0.7, 0.8]]])
    np.testing.assert_allclose(background.pooled(told, places), [[0.3, 0.4], [0.5, 0.6]])
    own = background.pooled(told, places, patches=True)
    np.testing.assert_allclose(own, [[0.5, 0.6], [0.3, 0.4]])
    assert background.pooled(np.empty((2, 0, 2)), places[:0], patches=True).shape == (0, 2)


class Memory(ClassifierMixin, BaseEstimator):
    """Learns nothing but where patches taught that ground is barren: the worst there can be."""

    def __init__(self, across: int = 16) -> None:
        self.across = across

    def fit_area(self, evidence, labels):
        corners = patch_corners(labels.shape, self.across, self.across // 2)
        shown, deposits = (
            patch_counts(cells, corners, self.across) for cells in (labels > -2, labels == 1)
        )
        taught = corners[(shown >= self.across**2 / 2) & (deposits == 0)]
        count = np.zeros(labels.shape)
        for row, column in taught:
            count[row : row + self.across, column : column + self.across] += 1
        self.score_ = 1 / (1 + count)
        return self

    def score_area(self, evidence, *, progress=None):
        return self.score_

    def sizes(self, shape):
        return chosen_sizes(shape, (1,), window=self.across)


def null_skill(model) -> float:
    """AUC for deposits at random places, where there is nothing to find; mean of ten."""
    found = []
    for seed in range(10):
        evidence, labels = scattered(seed)
        held = gs.cross_validate(
            model,
            evidence,
            labels,
            splitter=gs.DepositClusterFolds(6, random_state=seed),
            negatives=gs.AllUnlabelled(),
            n_bootstrap=10,
            random_state=seed,
        )
        found.append(held.held_out["auc_background"])
    return float(np.mean(found))


def test_memory_of_barren_patches_finds_no_deposit_at_random_places(monkeypatch):
    """Judged as a method of cells it would seem to: dead zones tell it where deposits are."""
    assert null_skill(Memory()) < 0.52
    for room in ("background", "folds"):
        monkeypatch.setattr(f"gossan.validate.{room}.learns_patches", lambda _: False)
    assert null_skill(Memory()) > 0.6


def test_patches_that_do_not_fit_do_not_widen_blocks():
    """Whoever fits such a model is told; others in the comparison are not held up."""
    wide, narrow = Memory(16), Memory(8)
    assert widest_patch([narrow, wide, gs.make_model("extra-trees")], SHAPE) == 16
    assert widest_patch([gs.make_model("extra-trees")], SHAPE) == 1
    with pytest.raises(StudyError, match="smaller window"):
        Memory(130).sizes(SHAPE)
    assert widest_patch([Memory(130), narrow], SHAPE) == 8


def test_a_model_of_patches_must_tell_their_sizes():
    """Otherwise it would be judged as one of cells, and flattered."""

    class Silent(ClassifierMixin, BaseEstimator):
        def fit_area(self, evidence, labels):
            return self

    with pytest.raises(StudyError, match=r"Silent learns patches .* a method sizes\(shape\)"):
        widest_patch([Silent()], SHAPE)


@pytest.fixture(scope="module")
def mixed():
    """A comparison of a model of patches with one of cells, and what it kept."""
    evidence, labels = scattered(2)
    store: dict = {}
    trees = gs.make_model("extra-trees", n_estimators=5, random_state=0)
    workflows = [
        gs.Workflow("memory", "memory", "all", Memory(), gs.AllUnlabelled(), 1),
        gs.Workflow("trees", "extra-trees", "all", trees, gs.AllUnlabelled(), 1),
    ]
    settings = {"splitter": gs.DepositClusterFolds(3), "n_bootstrap": 50, "n_jobs": 1}
    found = gs.compare_workflows(workflows, evidence, labels, store=store, **settings)
    return evidence, labels, workflows, store, settings, found


def test_a_comparison_judges_patches_as_cross_validation_does(mixed):
    """The same blocks, the same ground, the same pooling."""
    evidence, labels, _, _, settings, found = mixed
    alone = gs.cross_validate(
        Memory(),
        evidence,
        labels,
        splitter=settings["splitter"],
        negatives=gs.AllUnlabelled(),
        n_bootstrap=50,
    )
    row = found.table.set_index("workflow").loc["memory"]
    assert row["auc_background"] == pytest.approx(alone.held_out["auc_background"], abs=1e-4)


def test_pieces_beside_patches_are_not_taken_for_those_without(mixed):
    """Other blocks are hidden; the maps of all deposits are the same."""
    evidence, labels, workflows, store, settings, _ = mixed
    before = set(store)
    gs.compare_workflows(workflows[1:], evidence, labels, store=store, **settings)
    added = set(store) - before
    assert len(added) == 3 * 2
    assert all(key.startswith("fold-") and "blocks" not in key for key in added)


def test_the_consensus_ranks_each_deposit_by_its_own_part(mixed):
    """By hand from what each workflow kept of that part."""
    evidence, labels, workflows, store, settings, found = mixed
    cells = study_cells(evidence, labels)
    background = deal_background(cells, 2, None, 0, patch=16)
    centres = deposit_cells(cells, labels)
    ranks = []
    for fold, (_, test) in enumerate(
        settings["splitter"].split(cells.coordinates, cells.labels, cells.deposits)
    ):
        held_out = np.unique(cells.deposits[test])
        for place, deposit in enumerate(held_out):
            part = background.parts[centres[deposit]]
            pieces = [
                next(v for k, v in store.items() if k.startswith(f"fold-{fold}-part-{part}-blocks-")
                     and f" {workflow.name} " in k)
                for workflow in workflows
            ]  # fmt: skip
            ground = np.mean([piece["background"] / 65_535 for piece in pieces], axis=0)
            score = np.mean([piece["bounds"][place].mean() for piece in pieces])
            ranks.append(((ground < score).mean() + (ground <= score).mean()) / 2)
    row = found.table.set_index("role").loc["consensus"]
    assert row["auc_background"] == pytest.approx(np.mean(ranks), abs=1e-3)
