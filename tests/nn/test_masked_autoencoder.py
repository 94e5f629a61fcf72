"""Masked-image pretraining: what is hidden, what is judged, and what the backbone then says."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from gossan import io
from gossan.exceptions import GossanError, StudyError, SurveyDataError, TrainingError
from gossan.grid import Grid
from gossan.nn import training as training_module
from gossan.nn.masked_autoencoder import (
    PRESETS,
    Architecture,
    Backbone,
    MaskedAutoencoder,
    Pretraining,
    judged_values,
    pretrain,
    reconstruction_loss,
)
from gossan.nn.masked_autoencoder import backbone as backbone_module
from gossan.nn.masked_autoencoder import pretraining as pretraining_module
from gossan.nn.masked_autoencoder import windows as windows_module
from gossan.nn.masked_autoencoder.backbone import window_corners
from gossan.nn.masked_autoencoder.pretraining import MaskedLoss, untrained
from gossan.nn.masked_autoencoder.windows import (
    Area,
    Standard,
    TiledBatches,
    WindowSource,
    training_and_validation,
)

TINY = Architecture(5, 1, width=8, blocks=1, heads=2, decoder_width=8)
QUICK = {"window": 5, "epochs": 2, "windows_per_epoch": 64, "batch_size": 32}
QUICK |= {"accelerator": "cpu"}


def stack(shape=(24, 30), layers=("Cu", "Pb", "granite"), seed=0, gaps=True):
    """Two smooth layers, the second the first's mirror, and one of 0 and 1."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    wave = np.sin(rows / 4 + rng.uniform(0, 6)) + np.cos(columns / 5 + rng.uniform(0, 6))
    values = np.stack([wave, -2 * wave + 3, wave > 0.5]).astype("float32")
    values[:2] += 0.05 * rng.normal(size=(2, *shape)).astype("float32")
    if gaps:
        values[0, 3:6, 3:9] = np.nan
        values[:, :2, :2] = np.nan
    grid = Grid.from_bounds((0, 0, 100 * shape[1], 100 * shape[0]), 100, "EPSG:32650")
    return grid.to_dataarray(values, layers=list(layers))


@pytest.fixture(scope="module")
def backbone():
    return pretrain(stack(), Pretraining(**QUICK))


def test_published_sizes():
    """The preset `base` has the sizes of the public code of this line."""
    base = PRESETS["base"]
    assert (base.window, base.patch, base.tokens) == (33, 3, 121)
    assert (base.width, base.blocks, base.heads) == (256, 6, 8)
    assert (base.decoder_width, base.decoder_blocks, base.decoder_heads) == (128, 2, 4)
    assert Pretraining().visible == round(0.25 * PRESETS["small"].tokens)


def test_loss_by_hand():
    """Two tokens of two layers: the mean over what was hidden and is observed, and no more."""
    target = torch.tensor([[[1.0, 0.0], [3.0, torch.nan]]])
    judged = judged_values(target, torch.tensor([[0]]), torch.tensor([[False, True]]), 2)
    # Token 0 is visible but its second layer is hidden; token 1 is hidden, its second one missing.
    assert judged.tolist() == [[[False, True], [True, False]]]
    prediction = torch.tensor([[[9.0, 2.0], [1.0, 9.0]]])
    loss = reconstruction_loss(prediction, target, judged, torch.tensor([False, False]))
    assert float(loss) == pytest.approx(((2.0 - 0.0) ** 2 + (1.0 - 3.0) ** 2) / 2)
    binary = reconstruction_loss(prediction, target, judged, torch.tensor([False, True]))
    assert float(binary) == pytest.approx((np.log1p(np.exp(2.0)) + 4.0) / 2)


def test_what_is_visible_or_missing_never_changes_the_loss():
    """Neither the prediction of a visible value nor that of a missing one has a gradient."""
    torch.manual_seed(0)
    windows = torch.randn(3, 4, 5, 5)
    windows[0, 1, 2:4, 1:] = torch.nan
    network = MaskedAutoencoder(4, TINY)
    patches = network.patches(windows)
    keep = torch.stack([torch.randperm(25)[:6] for _ in range(3)])
    judged = judged_values(patches, keep, torch.zeros(3, 4, dtype=torch.bool), 4)
    prediction = torch.randn_like(patches, requires_grad=True)
    loss = reconstruction_loss(prediction, patches, judged, torch.zeros(4, dtype=torch.bool))
    loss.backward()
    assert torch.isfinite(loss)
    visible = torch.zeros(3, 25, dtype=torch.bool).scatter(1, keep, True)
    assert (prediction.grad[visible] == 0).all()
    assert (prediction.grad[torch.isnan(patches)] == 0).all()
    assert (prediction.grad[judged] != 0).all()
    assert float(judged.sum()) == float((~visible[:, :, None] & torch.isfinite(patches)).sum())


def test_nothing_hidden_reaches_the_encoder():
    """Whatever the hidden values are, what the network predicts is the same."""
    torch.manual_seed(0)
    network = MaskedAutoencoder(3, TINY).eval()
    windows = torch.randn(2, 3, 5, 5)
    keep, dropped = torch.tensor([[0, 7, 13], [2, 3, 24]]), torch.tensor([[False, True, False]] * 2)
    other = torch.randn(2, 3, 25)
    for window in range(2):
        other[window, :, keep[window]] = windows[window].flatten(1)[:, keep[window]]
    other[:, 1] = torch.randn(2, 25)  # a hidden layer differs even in visible tokens
    other[1, 0, 5] = torch.nan
    other = other.view(2, 3, 5, 5)
    torch.testing.assert_close(network(windows, keep, dropped), network(other, keep, dropped))
    assert network.encode(windows, keep).shape == (2, 3, 8)  # visible tokens alone


def test_patches_hold_their_cells():
    """A token of 3 × 3 cells is those cells, layer by layer."""
    network = MaskedAutoencoder(2, replace(TINY, window=9, patch=3))
    windows = torch.arange(2 * 81.0).view(1, 2, 9, 9)
    patches = network.patches(windows)
    assert patches.shape == (1, 9, 18)
    torch.testing.assert_close(patches[0, 4, 9:], windows[0, 1, 3:6, 3:6].flatten())


def test_each_layer_is_kriged_from_its_visible_cells():
    """What is given of a layer is simple kriging around the mean of what is visible."""
    network = MaskedAutoencoder(2, TINY).eval()
    windows = torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    windows[0, 1] = 7.0
    keep = torch.tensor([[0, 3, 11, 20]])
    with torch.inference_mode():
        found = network.kriged(windows, keep)[0].numpy()
        hidden = network.kriged(windows, keep, torch.tensor([[True, False]]))
    places = np.stack(np.divmod(np.arange(25), 5), axis=1)
    covariance = np.exp(-((cdist(places, places) / 3.5) ** 1.4))
    seen = keep[0].numpy()
    system = covariance[np.ix_(seen, seen)] + (0.02 + 1e-3) * np.eye(4)
    values = windows[0, 0].numpy().ravel()[seen]
    kriged = covariance[:, seen] @ np.linalg.solve(system, values - values.mean())
    np.testing.assert_allclose(found[:, 0], kriged + values.mean(), atol=1e-5)
    np.testing.assert_allclose(found[:, 1], 7.0, atol=1e-5)  # a constant layer is that constant
    assert (hidden[..., 0] == 0).all()  # nothing is known of a hidden layer but its mean, 0
    np.testing.assert_array_equal(hidden[0, :, 1].numpy(), found[:, 1])


def test_a_missing_value_takes_no_part_in_the_kriging():
    """A layer that lacks one of the visible cells goes without what that cell would have said."""
    network = MaskedAutoencoder(1, TINY).eval()
    windows = torch.full((1, 1, 5, 5), 3.0)
    keep = torch.tensor([[0, 3, 11, 20]])
    windows[0, 0, 0, 0] = torch.nan
    with torch.inference_mode():
        found = network.kriged(windows, keep)
    torch.testing.assert_close(found, torch.full_like(found, 3.0))


def test_neighbours_of_one_rock_unit_make_it_likely():
    """Of a layer of 0 and 1 what is given is log-odds: surely inside, surely outside."""
    network = MaskedAutoencoder(1, TINY, torch.tensor([True])).eval()
    windows = torch.zeros(1, 1, 5, 5)
    windows[..., 3:] = 1.0
    keep = torch.tensor([[0, 10, 20, 4, 14, 24, 3, 13, 23]])
    with torch.inference_mode():
        odds = network.kriged(windows, keep)[0, :, 0].view(5, 5)
    assert (odds[:, 0] < -2).all()
    assert (odds[:, 4] > 2).all()


def test_the_same_is_hidden_in_every_validation():
    """Epochs are judged by one task; training draws anew."""
    loss = MaskedLoss(Pretraining(**QUICK), np.zeros(3, dtype=bool))
    network = MaskedAutoencoder(3, TINY)
    windows = torch.randn(8, 3, 5, 5)
    network.eval()
    with torch.inference_mode():
        assert float(loss(network, (windows,))) == float(loss(network, (windows,)))
    keep, dropped = loss.hidden(2000, 3)
    assert keep.shape == (2000, 6)
    assert dropped.float().mean() == pytest.approx(0.5 * 0.25, abs=0.02)


def test_windows_are_those_of_the_area_and_one_scale_holds_for_all():
    """From memory, and tile by tile from a store, with a halo beyond the edge."""
    evidence = stack()
    standard = Standard(np.array([1.0, 2.0, 0.0], "f4"), np.array([2.0, 0.5, 1.0], "f4"))
    area = Area(evidence, np.array([0, 1, 2]), np.ones(evidence.shape[1:], dtype=bool))
    source = WindowSource([area], standard, 5)
    (found,) = source[np.arange(len(source))]
    padded = np.pad(evidence.values, ((0, 0), (2, 2), (2, 2)), constant_values=np.nan)
    views = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    expected = np.moveaxis(views, 0, 2).reshape(-1, 3, 5, 5)
    expected = np.clip(
        (expected - standard.centre[:, None, None]) / standard.scale[:, None, None], -5, 5
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_tiles_from_a_store_give_the_same_windows(monkeypatch):
    """An area larger than memory is read tile by tile, every window once."""
    from gossan.nn.masked_autoencoder import windows

    evidence = stack()
    area = Area(evidence, np.array([0, 1, 2]), ~np.isnan(evidence.values).all(axis=0))
    standard = Standard(np.zeros(3, "f4"), np.ones(3, "f4"))
    (whole,) = WindowSource([area], standard, 5)[np.arange(area.centres.sum())]
    monkeypatch.setattr(windows, "_BYTES_HELD", 0)
    monkeypatch.setattr(windows, "_TILE", 10)
    lazy = Area(evidence.chunk({"y": 10, "x": 10}), area.order, area.centres)
    source = WindowSource([lazy], standard, 5)
    batches = TiledBatches(source.groups, 16, seed=1)
    seen = np.concatenate(list(batches))
    assert sorted(seen.tolist()) == list(range(len(source)))
    tile = np.concatenate([np.full(len(group), k) for k, group in enumerate(source.groups)])
    assert (np.diff(tile[seen]) != 0).sum() == len(source.groups) - 1  # each is read in one go
    found = torch.cat([source[batch][0] for batch in batches])
    np.testing.assert_array_equal(_sorted(found), _sorted(whole))


def _sorted(windows):
    flat = np.nan_to_num(np.asarray(windows), nan=9.0).reshape(len(windows), -1)
    return flat[np.lexsort(flat.T)]


def test_an_epoch_of_a_large_area_reads_some_tiles_and_counts_its_batches():
    """As many windows as were asked for, from a few tiles, other ones each epoch."""
    groups = list(np.arange(40_000).reshape(400, 100))
    batches = TiledBatches(groups, 32, per_epoch=640, seed=0)
    epochs = []
    for epoch in range(2):
        batches.set_epoch(epoch)
        drawn = list(batches)
        assert len(drawn) == len(batches)
        assert sum(map(len, drawn)) == 640
        epochs.append({int(n) // 100 for batch in drawn for n in batch})
    assert len(epochs[0]) <= 16
    assert epochs[0] != epochs[1]


def test_training_never_sees_a_cell_that_judges():
    """No window to learn from overlaps a window to judge by."""
    evidence = stack((60, 70), gaps=False)
    training, validation = training_and_validation(evidence, 5, share=0.2)
    assert validation.any()
    seen = [
        np.pad(np.lib.stride_tricks.sliding_window_view(np.pad(part, 2), (5, 5)).any((2, 3)), 0)
        for part in (training, validation)
    ]
    assert not (seen[0] & seen[1]).any()


def test_pretraining_learns_and_is_repeatable():
    """The loss falls below that of predicting the mean; the same seed gives the same weights."""
    settings = Pretraining(**{**QUICK, "epochs": 12, "windows_per_epoch": 256})
    evidence = stack((40, 40))
    first, second = pretrain(evidence, settings), pretrain(evidence, settings)
    for name, value in first.learned["weights"].items():
        np.testing.assert_array_equal(second.learned["weights"][name], value)
    losses = first.description["validation_loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert losses[-1] < 0.1  # of the layers' variance
    other = pretrain(evidence, replace(settings, random_state=1))
    assert not np.array_equal(
        other.learned["weights"]["embedding.weight"], first.learned["weights"]["embedding.weight"]
    )


def test_an_interrupted_pretraining_ends_with_the_same_weights(tmp_path, monkeypatch):
    """Killed after an epoch, it goes on from there."""
    settings = Pretraining(**QUICK)
    whole = pretrain(stack(), settings)

    class Killed(Exception):
        pass

    def kill(done, total):
        if done:
            raise Killed

    with io.networks_kept(tmp_path):
        with pytest.raises(Killed):
            pretrain(stack(), settings, progress=kill)
        assert list(tmp_path.glob("*/last.ckpt"))
        told = []
        resumed = pretrain(stack(), settings, progress=lambda *step: told.append(step))
        assert told == [(1, 2), (2, 2)]
    for name, value in whole.learned["weights"].items():
        np.testing.assert_array_equal(resumed.learned["weights"][name], value)


def test_areas_with_other_layers_share_a_backbone():
    """Layers are matched by name; one that an area lacks is missing there."""
    other = stack(layers=("Pb", "Zn", "granite"), seed=1)
    found = pretrain({"here": stack(), "there": other}, Pretraining(**QUICK))
    assert found.layers == ["Cu", "Pb", "granite", "Zn"]
    assert found.description["areas"] == ["here", "there"]
    embedded = found.embed(other)
    np.testing.assert_array_equal(np.isfinite(embedded[0]), np.isfinite(other).any("layer"))
    swapped = found.embed(other[[2, 0, 1]])
    np.testing.assert_allclose(swapped, embedded, atol=1e-5)


def test_what_must_not_be_seen_is_not_seen():
    """Evidence outside the cells allowed changes nothing: neither scales nor weights."""
    evidence = stack((40, 40))
    allowed = np.zeros((40, 40), dtype=bool)
    allowed[:, :25] = True
    changed = evidence.copy()
    changed[:, :, 25:] = 99.0
    settings = Pretraining(**QUICK)
    one, other = (pretrain(e, settings, learnt_from=allowed) for e in (evidence, changed))
    np.testing.assert_array_equal(one.learned["centre"], other.learned["centre"])
    for name, value in one.learned["weights"].items():
        np.testing.assert_array_equal(other.learned["weights"][name], value)


def test_exact_embeddings_are_those_of_the_windows(backbone):
    """The mean token of the window centred on each cell."""
    evidence = stack()
    padded = np.pad(evidence.values, ((0, 0), (2, 2), (2, 2)), constant_values=np.nan)
    views = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    windows = np.moveaxis(views, 0, 2).reshape(-1, 3, 5, 5)
    scaled = torch.from_numpy(backbone.standard.applied(np.moveaxis(windows, 1, 0)))
    with torch.inference_mode():
        tokens = backbone.network().encode(scaled.transpose(0, 1))
    expected = tokens.mean(dim=1).numpy().T.reshape(-1, *evidence.shape[1:])
    known = np.isfinite(evidence.values).any(axis=0)
    found = backbone.embed(evidence, exact=True)
    np.testing.assert_allclose(found.values[:, known], expected[:, known], atol=1e-5)
    assert np.isnan(found.values[:, ~known]).all()


@pytest.mark.parametrize("patch", [1, 3])
def test_dense_embeddings_are_the_mean_of_each_cells_tokens(patch, monkeypatch):
    """Cell by cell over the windows that hold it, in one tile or in many."""
    from gossan.nn.masked_autoencoder import backbone as module

    evidence = stack((17, 14))
    found = untrained(evidence, Pretraining(window=9, patch=patch))
    network, stride = found.network(), found.stride
    values = found.standard.applied(evidence.values)
    padded = torch.from_numpy(np.pad(values, ((0, 0), (8, 8), (8, 8)), constant_values=np.nan))
    total, count = np.zeros((found.width, 17, 14)), np.zeros((17, 14))
    with torch.inference_mode():
        for top in range(-8, 17):
            for left in range(-8, 14):
                if top % stride or left % stride:
                    continue
                window = padded[:, top + 8 : top + 17, left + 8 : left + 17]
                tokens = network.encode(window[None])[0].numpy()
                for row in range(max(top, 0), min(top + 9, 17)):
                    for column in range(max(left, 0), min(left + 9, 14)):
                        token = (row - top) // patch * (9 // patch) + (column - left) // patch
                        total[:, row, column] += tokens[token]
                        count[row, column] += 1
    known = np.isfinite(evidence.values).any(axis=0)
    whole = found.embed(evidence)
    np.testing.assert_allclose(whole.values[:, known], (total / count)[:, known], atol=1e-5)
    monkeypatch.setattr(module, "_TILE", 6)
    np.testing.assert_allclose(found.embed(evidence), whole, atol=1e-5)
    monkeypatch.setattr(module, "_BYTES_HELD", 0)
    lazy = found.embed(evidence.chunk({"y": 5}))
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy, whole, atol=1e-5)


def test_corners_do_not_depend_on_the_rectangle():
    """A cell is in the same windows, whichever tile asks."""

    def absolute(top, left, shape):
        corners = window_corners(top, left, shape, 7, 3) + np.array([top - 6, left - 6])
        return {tuple(c) for c in corners.tolist()}

    whole = absolute(0, 0, (20, 20))
    part = absolute(8, 5, (4, 3))
    assert part == {(r, c) for r, c in whole if r + 7 > 8 and r < 12 and c + 7 > 5 and c < 8}


def test_a_cell_with_few_layers_is_embedded(backbone):
    """A third of the layers missing, or all but one: an embedding, and one of its own."""
    evidence = stack(gaps=False)
    poor = evidence.copy()
    poor[0] = np.nan
    poor[2] = np.nan
    found = backbone.embed(poor)
    assert np.isfinite(found).all()
    assert not np.allclose(found, backbone.embed(evidence))


def test_a_backbone_comes_back_from_disk(backbone, tmp_path):
    """Its layers, scales, sizes and history, and the same embeddings; equal bytes."""
    file = tmp_path / "backbone.safetensors"
    backbone.save(file)
    first = file.read_bytes()
    found = Backbone.load(file)
    assert found.layers == backbone.layers
    assert found.description == backbone.description
    np.testing.assert_array_equal(found.embed(stack()), backbone.embed(stack()))
    found.save(file)
    assert file.read_bytes() == first


@pytest.mark.parametrize("length", [0, 100, 5_000, -1])
def test_a_backbone_cut_short_is_refused(backbone, tmp_path, length):
    """At any length, by name."""
    file = tmp_path / "backbone.safetensors"
    backbone.save(file)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(SurveyDataError, match=r"backbone\.safetensors holds no weights"):
        Backbone.load(file)


def test_a_pickle_and_anothers_weights_are_no_backbone(tmp_path):
    """Neither is executed or believed."""
    file = tmp_path / "backbone.safetensors"
    file.write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(SurveyDataError, match="Nothing in it was executed"):
        Backbone.load(file)
    io.write_weights(file, {"a": np.zeros(3)}, {"layers": ["Cu"]})
    with pytest.raises(SurveyDataError, match="is no backbone"):
        Backbone.load(file)


def test_a_study_without_a_common_layer_is_told_the_nearest(backbone):
    """Which layers either has, and what was perhaps meant."""
    with pytest.raises(StudyError, match=r"none of the study's 3 layers.*Did you mean 'granite'"):
        backbone.embed(stack(layers=("cu_ppm", "pb_ppm", "Granite")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "smal"}, "Did you mean 'small'"),
        ({"window": 6}, "is odd"),
        ({"window": 9, "patch": 2}, "whole patches"),
        ({"epochs": 0}, "epochs is 0"),
        ({"hidden_cells": 1.0}, "hidden_cells is 1.0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"window": 25}, "24 × 30 cells, fewer than a window of 25 × 25.*such as 7"),
        ({"preset": "base", "window": None}, "fewer than a window of 33 × 33.*such as 3"),
        ({"window": 27, "patch": 27}, "too small for patches of 27 cells: take preset 'small'"),
        ({"window": 71}, "5,041 tokens"),
        ({"random_state": -1}, "random_state is -1"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    """With their value and the remedy."""
    with pytest.raises(StudyError, match=message):
        pretrain(stack(), Pretraining(**{**QUICK, **settings}))


@pytest.mark.parametrize(
    ("areas", "message"),
    [
        ({}, "There is no area"),
        ({"here": stack(layers=("Cu", "Cu", "Pb"))}, "here has two layers named 'Cu'"),
        (
            {"here": stack(), "there": stack(layers=("As", "Sb", "till"))},
            "there shares no layer with here: it has As, Sb, till",
        ),
    ],
)
def test_areas_that_cannot_be_learnt_from_are_named(areas, message):
    """None, one whose layers cannot be told apart, one that has nothing to do with the others."""
    with pytest.raises(StudyError, match=message):
        pretrain(areas, Pretraining(**QUICK))


@pytest.mark.parametrize("learn", [pretrain, untrained])
def test_an_area_smaller_than_a_window_or_its_mask_is_refused(learn):
    """Taught or not."""
    with pytest.raises(StudyError, match="fewer than a window of 25"):
        learn(stack(), Pretraining(**{**QUICK, "window": 25}))
    with pytest.raises(StudyError, match=r"learnt_from has \(3, 4\) cells and the area \(24, 30\)"):
        learn(stack(), Pretraining(**QUICK), learnt_from=np.ones((3, 4), dtype=bool))


def test_a_wild_value_does_not_flatten_its_layer():
    """One cell of a forgotten nodata value, and the rest of the layer still varies."""
    wild = stack()
    wild.values[1, 12, 12] = 1e38
    scales = [untrained(e, Pretraining(**QUICK)).learned for e in (stack(), wild)]
    for name in ("centre", "scale"):
        np.testing.assert_allclose(scales[1][name], scales[0][name], rtol=0.15)


def test_evidence_that_is_all_missing_is_refused():
    """There is nothing to learn."""
    with pytest.raises(SurveyDataError, match="missing in every cell"):
        pretrain(stack() * np.nan, Pretraining(**QUICK))


def test_a_layer_that_is_all_missing_is_learnt_around():
    """It has no scale, and the others are learnt."""
    evidence = stack()
    evidence[0] = np.nan
    found = pretrain(evidence, Pretraining(**QUICK))
    assert np.isfinite(found.embed(evidence).values[:, 10:]).all()
    assert found.learned["scale"][0] == 1.0


def test_training_that_diverges_says_so():
    """With the remedy, and not after all epochs."""
    with pytest.raises(TrainingError, match="smaller learning_rate"):
        pretrain(stack(), Pretraining(**{**QUICK, "learning_rate": 1e18, "epochs": 30}))


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    per_epoch=st.integers(1, 200),
    batch_size=st.integers(1, 33),
)
def test_every_epoch_has_as_many_batches(sizes, per_epoch, batch_size):
    """Whatever the tiles hold, and no window twice: an epoch that is cut short is not judged."""
    ends = np.cumsum(sizes)
    groups = [np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    order = TiledBatches(groups, batch_size, per_epoch=per_epoch)
    wanted = min(per_epoch, sum(sizes))
    for epoch in range(4):
        order.set_epoch(epoch)
        drawn = list(order)
        assert len(drawn) == len(order) == -(-wanted // batch_size)
        assert len(set(np.concatenate(drawn).tolist())) == wanted


def test_uneven_tiles_are_judged_in_every_epoch(monkeypatch):
    """An area read tile by tile, of an odd shape: a loss for each epoch, and a best one."""
    monkeypatch.setattr(windows_module, "_BYTES_HELD", 0)
    monkeypatch.setattr(windows_module, "_TILE", 16)
    evidence = stack((60, 60))
    evidence.values[:, np.add.outer(np.arange(60), np.arange(60)) > 80] = np.nan
    settings = Pretraining(**{**QUICK, "epochs": 8, "windows_per_epoch": 100, "batch_size": 16})
    found = pretrain(evidence, settings).description
    assert len(found["training_loss"]) == len(found["validation_loss"]) == 8


def test_processes_share_the_batches(monkeypatch):
    """Each takes others, as many as every other process does."""
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr(training_module, "_place", lambda rank=rank: (rank, 2))
        order = TiledBatches([np.arange(100)], 10, per_epoch=80)
        shares.append(np.concatenate(list(order)).tolist())
        assert len(order) == 4
    one, other = map(set, shares)
    assert len(one) == len(other) == 40
    assert not one & other


def test_the_rate_of_two_processes_falls_to_its_end(tmp_path):
    """The schedule counts the steps that a process takes, not those of all together."""
    settings = Pretraining(**{**QUICK, "epochs": 3, "windows_per_epoch": 256}, devices=2)
    evidence = stack((40, 40))
    area = Area(evidence, np.arange(3), np.empty(0, dtype=bool))
    standard, binary = pretraining_module._standard([area], 0)
    sources = pretraining_module._sources([area], standard, settings)
    network = MaskedAutoencoder(3, settings.architecture, torch.from_numpy(binary))
    pretraining_module._trained(network, settings, binary, sources, tmp_path, None)
    (schedule,) = torch.load(tmp_path / "last.ckpt", weights_only=True)["lr_schedulers"]
    assert schedule["_last_lr"][0] < 1e-3 * settings.learning_rate


def test_validation_is_taken_where_there_is_evidence():
    """A slender area in a wide box has blocks of its own to be judged by."""
    evidence = stack((100, 100), gaps=False)
    rows, columns = np.indices((100, 100))
    evidence.values[:, np.abs(rows - columns) > 8] = np.nan
    for seed in range(10):
        training, validation = training_and_validation(evidence, 5, seed=seed)
        assert training.any()
        assert validation.any()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"accelerator": "gpu"}, "accelerator is 'gpu'"),
        ({"precision": "bf16"}, "precision is 'bf16': one of 32-true"),
        ({"weight_decay": -1.0}, "weight_decay is -1"),
    ],
)
def test_a_training_that_cannot_be_is_refused(setting, message):
    """In gossan's words, before anything is read."""
    if setting == {"accelerator": "gpu"} and torch.accelerator.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(StudyError, match=message):
        Pretraining(**{**QUICK, **setting}).check()


def test_a_large_embedding_is_made_once_where_networks_are_kept(backbone, tmp_path, monkeypatch):
    """The second read takes what the first left, and both are what is made in memory."""
    evidence = stack((40, 44))
    expected = backbone.embed(evidence)
    monkeypatch.setattr(backbone_module, "_BYTES_HELD", 0)
    monkeypatch.setattr(backbone_module, "_TILE", 16)
    with io.networks_kept(tmp_path):
        found = backbone.embed(evidence)
        monkeypatch.setattr(Backbone, "_tile", None)  # not to be asked again
        again = backbone.embed(evidence)
    for part in (found, again):
        np.testing.assert_allclose(part.values, expected.values, atol=1e-5)
    assert len(list(tmp_path.glob("*.zarr"))) == 1


@pytest.mark.parametrize("stored", [False, True])
def test_two_processes_learn_one_backbone(stored, tmp_path):
    """Each from its half of the batches; both end with the same weights, which are returned."""
    settings = Pretraining(**{**QUICK, "epochs": 4, "windows_per_epoch": 256}, devices=2)
    evidence = stack((40, 40))
    if stored:  # as a study has it; and Dask's threads are at work before the processes part
        grid = Grid.from_dataarray(evidence)
        layers = [io.Layer(str(name), "test") for name in evidence["layer"].values]
        store = io.create_evidence_store(tmp_path / "evidence.zarr", grid, layers)
        store.write(evidence.values, slice(0, 3), slice(0, 40), slice(0, 40))
        evidence = store.finish(mask=np.isfinite(evidence.values).any(axis=0))
        evidence.sum().compute()
    found = pretrain(evidence, settings)
    losses = found.description["validation_loss"]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    again = pretrain(evidence, settings)
    for name, value in found.learned["weights"].items():
        np.testing.assert_array_equal(again.learned["weights"][name], value)


def test_a_process_that_ends_or_fails_is_told_of():
    """Killed, as when memory runs out; or a loss that is no number."""
    settings = Pretraining(**{**QUICK, "epochs": 4}, devices=2)

    def kill(done, _):
        if done == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"was ended by SIGKILL.*Give fewer devices"):
        pretrain(stack(), settings, progress=kill)
    with pytest.raises(TrainingError, match=r"^The (validation )?loss .* smaller learning_rate"):
        pretrain(stack(), replace(settings, learning_rate=1e18, epochs=30))


_TWO_PROCESSES = """
import os, sys
import numpy as np, torch
from gossan import io
from gossan.grid import Grid
from gossan.nn.masked_autoencoder import Pretraining, pretrain

torch.set_num_threads(3)
os.environ["OMP_NUM_THREADS"] = "3"  # as if there were cores enough for more than one a process
torch.ones(1000, 1000).exp().sum()  # and they were at work before
grid = Grid.from_bounds((0, 0, 3000, 2400), 100, "EPSG:32650")
evidence = grid.to_dataarray(np.random.default_rng(0).normal(size=(1, *grid.shape)), layers=["Cu"])
settings = Pretraining(
    window=5, epochs=100_000, windows_per_epoch=64, devices=2, accelerator="cpu"
)
with io.folder_lock(sys.argv[1]):
    pretrain(evidence, settings, progress=lambda done, total: print(done, flush=True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks and processes there")
def test_two_processes_end_with_the_one_that_started_them(tmp_path):
    """Killed, it leaves nobody at work in a folder that the next run cannot enter."""
    command = [sys.executable, "-c", _TWO_PROCESSES, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        for line in started.stdout:  # ends if they wait for threads that there are not: never
            if int(line) == 3:
                break
        with pytest.raises(GossanError, match="Another run is writing"), io.folder_lock(tmp_path):
            pass
        started.kill()
    for _ in range(100):
        with contextlib.suppress(GossanError), io.folder_lock(tmp_path):
            return
        time.sleep(0.3)
    pytest.fail("the folder is still held")
