"""A source and its targets on an area: few patches, honest folds, the same answer every time."""

import copy
import json

import geopandas as gpd
import numpy as np
import pytest
import torch

import gossan as gs
from gossan import io
from gossan.exceptions import LabelError, StudyError, SurveyDataError
from gossan.nn.selective_transfer import (
    PatchTraining,
    SelectiveTransferClassifier,
    Source,
    train_source,
)
from gossan.nn.selective_transfer.patches import patch_corners, patch_counts
from gossan.nn.selective_transfer.training import Patches, PatchLoss
from gossan.nn.training import EpochBatches
from gossan.splits import make_splitter
from gossan.validate import study_cells

SIZES = {"patch_window": 16, "patch_stride": 8, "crop": 14}
QUICK = {**SIZES, "dilations": (1, 2), "map_stride": 7, "epochs": 2, "accelerator": "cpu"}
QUICK |= {"random_state": 0}
TAUGHT = PatchTraining(epochs=2, accelerator="cpu")


def area(seed, layers=("Cu", "Pb", "Zn"), shape=(40, 48)):
    """Smooth layers, and six deposits at the heights of the first."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    waves = [np.sin(rows / a + seed) + np.cos(columns / b) for a, b in ((5, 6), (4, 9), (8, 5))]
    values = np.stack(waves).astype("float32") + 0.1 * rng.normal(size=(3, *shape))
    values[1, :3, :5] = np.nan
    grid = gs.Grid.from_bounds((0, 0, 100 * shape[1], 100 * shape[0]), 100, "EPSG:32650")
    evidence = grid.to_dataarray(values.astype("float32"), layers=list(layers))
    best = np.argsort(values[0], axis=None)[::-1]
    chosen = [int(best[0])]
    for cell in best:
        apart = np.abs(
            np.array(np.unravel_index([*chosen, cell], shape))[:, :-1].T
            - np.array(np.unravel_index(cell, shape))
        )
        if apart.max(axis=1).min() > 6:
            chosen.append(int(cell))
        if len(chosen) == 6:
            break
    places = grid.coordinates(*np.unravel_index(chosen, shape))
    names = {"name": [f"D{k}" for k in range(6)]}
    deposits = gpd.GeoDataFrame(names, geometry=gpd.points_from_xy(*places.T), crs=grid.crs)
    return evidence, gs.label_cells(evidence, deposits)


@pytest.fixture(scope="module")
def source():
    evidence, labels = area(1)
    given = {**SIZES, "width": 8, "settings": TAUGHT}
    return train_source(evidence, labels.to_numpy(), area="old hills", **given)


@pytest.fixture(scope="module")
def target(source):
    evidence, labels = area(2)
    return SelectiveTransferClassifier(source, **QUICK).fit_area(
        evidence, np.where(labels == -1, 0, labels)
    )


def test_a_target_scores_every_cell(source, target):
    """Between 0 and 1, as the mean of votes; the gates have moved, the source has not."""
    evidence, _ = area(2)
    score = target.score_area(evidence)
    assert score.shape == evidence.shape[1:]
    assert np.isfinite(score).all()
    assert score.min() >= 0.0
    assert score.max() <= 1.0
    assert target.openness_["conv1.weight"] != 1.0
    assert target.sizes_["dilations"] == (1, 2)
    assert source.layers == ["Cu", "Pb", "Zn"]


def test_a_dense_map_has_every_cell(target):
    """Of the same networks; of an area of one patch it is that patch's score."""
    evidence, _ = area(2)
    dense = copy.deepcopy(target).set_params(mapping="dense", vote="chance")
    score = dense.score_area(evidence)
    assert score.shape == evidence.shape[1:]
    assert np.isfinite(score).all()
    assert score.std() > 0
    patch = evidence[:, 3:17, 5:19]
    by_patches = copy.deepcopy(target).set_params(vote="chance").score_area(patch)
    np.testing.assert_allclose(dense.score_area(patch), by_patches, rtol=1e-5)


def test_patches_of_an_area_are_counted_right_and_wrong(target):
    """Every patch once, those with deposits among the right or the missed."""
    evidence, labels = area(2)
    counts = target.judge_area(evidence, labels.to_numpy() == 1)
    assert sum(counts.values()) == len(patch_corners(labels.shape, 16, 8))
    holding = patch_counts(labels.to_numpy() == 1, patch_corners(labels.shape, 16, 8), 16) > 0
    assert counts["tp"] + counts["fn"] == holding.sum()


def test_a_layer_adds_what_its_absence_takes(target):
    """Against scores of patches in which it is the background's mean, inside and at the edge."""
    evidence, _ = area(2)
    values = evidence.to_numpy()
    rows, columns = np.indices(evidence.shape[1:]).reshape(2, -1)[:, ::7]
    background = values[:, rows, columns].T
    cells, told = np.array([[20, 20], [0, 47]]), []
    found = target.attribute(
        evidence, cells, background=background, progress=lambda *at: told.append(at)
    )
    assert told[-1] == (2, 2)
    chance = copy.deepcopy(target).set_params(vote="chance")
    for (row, column), own in zip([(13, 13), (0, 34)], found, strict=True):
        patch = values[:, row : row + 14, column : column + 14]
        changed = np.repeat(patch[None], 4, axis=0)
        for layer in range(3):
            changed[layer + 1, layer] = np.nanmean(background[:, layer])
        score = chance.predict_proba(changed)[:, 1]
        np.testing.assert_allclose(own, score[0] - score[1:], atol=2e-4)
    both = target.attribute(evidence, cells, background=background, members=[target, target])
    np.testing.assert_allclose(both, found)


def test_layers_are_matched_by_name_whatever_their_order(source):
    """The same area with its layers in another order takes the same kernels for each."""
    evidence, labels = area(2)
    known = np.where(labels == -1, 0, labels)
    turned = SelectiveTransferClassifier(source, **QUICK).fit_area(evidence[[2, 0, 1]], known)
    assert turned.order_ == [2, 0, 1]
    renamed = evidence.assign_coords(layer=["Cu", "Te", "Zn"])
    missing = SelectiveTransferClassifier(source, **QUICK).fit_area(renamed, known)
    assert missing.order_ == [0, -1, 2]
    assert np.isnan(missing.layer_openness_).tolist() == [False, True, False]


def test_without_transfer_nothing_is_taken():
    """Networks of the width asked for, no gates, no source."""
    evidence, labels = area(2)
    known = np.where(labels == -1, 0, labels)
    alone = SelectiveTransferClassifier(transfer=False, width=4, **QUICK).fit_area(evidence, known)
    assert alone.order_ is None
    assert alone.openness_ == {}
    assert alone.network_["weights"]["targets.0.conv1.weight"].shape == (4, 3, 3, 3)
    assert np.isfinite(alone.score_area(evidence)).all()


def test_what_the_networks_took_is_told(source, target):
    """Gates of every kernel, a weight for every layer, the source's place of each."""
    assert target.order_ == [0, 1, 2]
    assert target.mask_.shape == (3,)
    assert (target.mask_ != 1.0).any()
    assert len(target.openness_) == 20


def test_the_same_seed_is_the_same_target(source, target):
    """Bit for bit."""
    evidence, labels = area(2)
    again = SelectiveTransferClassifier(source, **QUICK)
    again.fit_area(evidence, np.where(labels == -1, 0, labels))
    for name, value in target.network_["weights"].items():
        np.testing.assert_array_equal(again.network_["weights"][name], value)


def test_what_must_not_be_seen_is_not_seen(source):
    """Neither the evidence nor the deposits of hidden ground change anything."""
    evidence, labels = area(2)
    hidden = np.zeros(labels.shape, dtype=bool)
    hidden[:, 36:] = True
    known = np.where(hidden, -2, np.where(labels == -1, 0, labels))
    changed = evidence.copy()
    changed.values[:, hidden] = 77.0
    one, other = (
        SelectiveTransferClassifier(source, **QUICK).fit_area(e, known) for e in (evidence, changed)
    )
    for name, value in one.network_["weights"].items():
        np.testing.assert_array_equal(other.network_["weights"][name], value)


def test_a_saved_target_scores_as_before(target, tmp_path):
    """With the kernels as they are used; the source is not asked."""
    evidence, _ = area(2)
    io.save_model(tmp_path, target, {"layers": ["Cu", "Pb", "Zn"]})
    found, _ = io.load_model(tmp_path)
    np.testing.assert_array_equal(found.score_area(evidence), target.score_area(evidence))


def test_an_ensemble_is_judged_on_deposits_it_was_not_shown(source):
    """The common held-out evaluation, by the same code as any other method."""
    evidence, labels = area(2, shape=(48, 56))
    model = SelectiveTransferClassifier(source, **{**QUICK, "patch_stride": 4, "epochs": 1})
    found = gs.cross_validate(
        model,
        evidence,
        labels,
        splitter=make_splitter("deposit-clusters", n_splits=2, dead_zone=0.0, random_state=0),
        negatives=gs.AllUnlabelled(),
        n_bootstrap=50,
    )
    assert len(found.ranks) == 6
    assert np.isfinite(found.ranks).all()
    cells = study_cells(evidence, labels)
    ensemble = gs.DrawEnsemble(model, gs.RandomNegatives(5.0), 2)
    ensemble.fit(cells.features, cells.training_labels, cells.coordinates)
    score = gs.predict_map(ensemble, evidence)
    assert np.isnan(score.values[np.isnan(evidence.values).all(axis=0)]).all()
    assert np.isfinite(score["spread"].values).any()


def test_an_interrupted_training_ends_with_the_same_weights(source, target, tmp_path, monkeypatch):
    """Killed after an epoch, it goes on from there."""
    evidence, labels = area(2)
    known = np.where(labels == -1, 0, labels)

    class Killed(BaseException):
        pass

    calls = []

    def kill(self, network, batch):
        calls.append(network.training)
        if calls.count(False) and network.training:  # the second epoch has begun
            raise Killed
        return own(self, network, batch)

    own = PatchLoss.__call__
    with io.networks_kept(tmp_path):
        with monkeypatch.context() as patched:
            patched.setattr(PatchLoss, "__call__", kill)
            with pytest.raises(Killed):
                SelectiveTransferClassifier(source, **QUICK).fit_area(evidence, known)
        assert list(tmp_path.glob("*/last.ckpt"))
        resumed = SelectiveTransferClassifier(source, **QUICK).fit_area(evidence, known)
    for name, value in target.network_["weights"].items():
        np.testing.assert_array_equal(resumed.network_["weights"][name], value)


def test_a_source_comes_back_from_disk(source, tmp_path):
    """Its layers, sizes and weights; equal bytes."""
    file = tmp_path / "source.safetensors"
    source.save(file)
    first = file.read_bytes()
    found = Source.load(file)
    assert (found.layers, found.window, found.crop, found.width) == (source.layers, 16, 14, 8)
    images = torch.rand(2, 3, 14, 14)
    with torch.no_grad():
        assert torch.equal(found.network()(images), source.network()(images))
    found.save(file)
    assert file.read_bytes() == first


@pytest.mark.parametrize(
    "harm",
    [
        lambda arrays, told: ({**arrays, "network/fc.bias": np.full(2, np.nan, "f4")}, told),
        lambda arrays, told: ({**arrays, "network/fc.bias": np.zeros(3, "f4")}, told),
        lambda arrays, told: (arrays, {**told, "layers": ["Cu", "Cu", "Zn"]}),
        lambda arrays, told: (arrays, {**told, "layers": ["Cu"]}),
        lambda arrays, told: (arrays, {**told, "crop": 99}),
        lambda arrays, told: (arrays, {**told, "width": 16}),
        lambda arrays, told: (arrays, {**told, "window": "wide"}),
        lambda arrays, told: (arrays, {**told, "settings": None}),
        lambda arrays, told: (arrays, {**told, "kind": "masked autoencoder"}),
    ],
)
def test_a_damaged_source_is_refused(source, tmp_path, harm):
    """When it is read, by name."""
    file = tmp_path / "source.safetensors"
    source.save(file)
    arrays, told = io.read_weights(file)
    io.write_weights(file, *harm(arrays, json.loads(json.dumps(told))))
    with pytest.raises(SurveyDataError, match=r"source\.safetensors is no source, or is damaged"):
        Source.load(file)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": None}, "gossan train-source"),
        ({"dilations": (1, 9)}, "A dilation of 9 reaches 19 cells across and the crop is 14"),
        ({"dilations": ()}, "dilations is"),
        ({"patch_window": 60}, "40 × 48 cells and a patch 60 × 60"),
        ({"crop": 20}, "crop is 20 and the patches are 16"),
        ({"vote": "veto"}, "one of share, chance"),
        ({"mapping": "all"}, "one of patches, dense"),
        ({"width": 16}, "the source's networks are 8 wide"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_settings_that_cannot_be_are_named(source, settings, message):
    """With their value and the remedy."""
    evidence, labels = area(2)
    given = {"source": source, **QUICK, **settings}
    with pytest.raises(StudyError, match=message):
        SelectiveTransferClassifier(**given).fit_area(evidence, labels.to_numpy())


def test_a_source_of_other_layers_or_kernels_is_refused(source):
    """With what either has."""
    evidence, labels = area(2, layers=("As", "Sb", "W"))
    known = np.where(labels == -1, 0, labels)
    with pytest.raises(StudyError, match="shares none of the study's 3 layers"):
        SelectiveTransferClassifier(source, **QUICK).fit_area(evidence, known)
    evidence, labels = area(2, shape=(90, 90))
    given = {**QUICK, "patch_window": 72, "crop": 66}
    with pytest.raises(StudyError, match="7 × 7 from 64 cells on and 3 × 3 below"):
        SelectiveTransferClassifier(source, **given).fit_area(
            evidence, np.where(labels == -1, 0, labels)
        )


def test_no_part_of_an_epoch_is_a_single_patch():
    """Batch normalisation has nothing to compare it with."""
    for size in range(2, 80):
        for batch in (2, 3, 32):
            parts = list(EpochBatches(size, batch, even=True))
            assert min(map(len, parts)) >= 2
            assert sorted(np.concatenate(parts)) == list(range(size))
            assert max(map(len, parts)) <= batch + 1


def test_ground_without_evidence_teaches_nothing(source):
    """It is not seen, whatever its label."""
    evidence, labels = area(2)
    blank = evidence.copy()
    blank.values[:, :, 30:] = np.nan
    known = np.where(labels == -1, 0, labels)
    told = np.where(np.arange(labels.shape[1]) >= 30, -2, known)
    one, other = (
        SelectiveTransferClassifier(source, **QUICK).fit_area(blank, each) for each in (known, told)
    )
    assert one.patch_counts_ == other.patch_counts_
    for name, value in one.network_["weights"].items():
        np.testing.assert_array_equal(other.network_["weights"][name], value)


def test_no_patch_with_a_deposit_is_told(source):
    """And how many there are."""
    evidence, labels = area(2)
    with pytest.raises(LabelError, match="0 that may teach have a deposit"):
        SelectiveTransferClassifier(source, **QUICK).fit_area(evidence, labels.to_numpy() * 0)


def test_copies_are_noisy_and_the_first_is_not():
    """Noise of the variance asked for, and crops that lie within the patch."""
    patches = Patches(torch.zeros(40, 1, 6, 6), np.arange(40) < 4, 6)
    windows, target, copy = patches[np.arange(len(patches))]
    seen = []
    loss = PatchLoss(lambda found, _: seen.append(found) or found.sum(), 4, 0.01)
    network = torch.nn.Identity().train()
    torch.manual_seed(0)
    loss(network, (windows, target, copy))
    assert (seen[0][~copy] == 0).all()
    assert float(seen[0][copy].std()) == pytest.approx(0.1, rel=0.05)
    assert seen[0].shape[2:] == (4, 4)
    assert int(target.sum()) == pytest.approx(int((1 - target).sum()), rel=0.1)
