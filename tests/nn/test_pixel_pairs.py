"""Pixel pairs: the published counts, the network's shapes, and scores against their definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossan.exceptions import LabelError, StudyError, TrainingError
from gossan.nn.pixel_pairs import (
    PairNetwork,
    PairSet,
    PixelPairClassifier,
    pair_indices,
    pair_signal,
)
from gossan.nn.pixel_pairs.network import padded
from gossan.nn.pixel_pairs.scoring import (
    Comparison,
    mean_dissimilarity,
    reference_score,
    ring_of_block,
)
from gossan.nn.windows import DualWindow, ring_offsets, sampled_ring

QUICK = {"members": 1, "max_epochs": 2, "accelerator": "cpu", "random_state": 0}


def two_classes(n=40, layers=6, seed=0):
    """Cells of two classes that two layers tell apart."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, layers)).astype(np.float32), np.arange(n) % 2
    X[y == 1, :2] += 2.0
    return X, y


@pytest.mark.parametrize(("cells", "alike", "unlike"), [(136, 36_720, 18_496), (35, 2_380, 1_225)])
def test_pair_counts_are_the_published_ones(cells, alike, unlike):
    """Zhang, Zuo & Xiong (2021), table 2."""
    _, _, label = pair_indices(np.repeat([1, 0], cells))
    assert [(label == 0).sum(), (label == 1).sum()] == [alike, unlike]


@given(st.lists(st.sampled_from([1, 0, -1]), max_size=12))
def test_pairs_are_those_of_the_definition(y):
    """Every ordered pair within a class, every pair across classes once, the deposit first."""
    y = np.array(y, dtype=int)
    wanted = {
        (i, j, int(a != b))
        for i, a in enumerate(y)
        for j, b in enumerate(y)
        if a >= 0 and b >= 0 and i != j and (a == b or (a == 1 and b == 0))
    }
    found = list(zip(*(part.tolist() for part in pair_indices(y)), strict=True))
    assert len(found) == len(wanted)
    assert set(found) == wanted


def test_a_pair_by_its_number_is_that_of_the_whole_list():
    """Drawing a few pairs of many never lists them all."""
    y = np.repeat([1, 0], [40, 70])
    pairs = PairSet(y)
    numbers = np.random.default_rng(0).integers(len(pairs), size=500)
    for part, whole in zip(pairs[numbers], pair_indices(y), strict=True):
        np.testing.assert_array_equal(part, whole[numbers])


def test_the_signal_shrinks_along_the_network_as_published():
    """39 elements → 39, 20, 10, 5; 30 channels in the first three convolutions, then 40."""
    shapes = PairNetwork().shapes(39)
    assert len(shapes) == 13
    assert list(dict.fromkeys(length for _, length in shapes)) == [39, 20, 10, 5]
    assert [channels for channels, _ in shapes] == [30] * 3 + [40] * 10
    assert shapes[3] == (40, 20)


@pytest.mark.parametrize("layers", [3, 4, 39, 200])
def test_the_network_takes_any_number_of_layers_and_has_the_shapes_it_tells(layers):
    """What a convolution leaves is what ``shapes`` says of it."""
    network, found = PairNetwork(), []
    for part in network.body:
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_hook(
                lambda _, __, out: found.append((out.shape[1], out.shape[3]))
            )
    assert network(torch.randn(7, 1, layers)).shape == (7,)
    assert found == network.shapes(layers)


@pytest.mark.parametrize("pair", ["absolute-difference", "difference", "stack"])
def test_a_layer_that_either_cell_lacks_says_nothing(pair):
    """Whatever the other cell holds there, the signal is 0."""
    first, second = torch.randn(8, 5), torch.randn(8, 5)
    first[2, 1], second[4, 3] = torch.nan, torch.nan
    signal = pair_signal(first, second, pair)
    assert signal.shape == (8, 2 if pair == "stack" else 1, 5)
    assert torch.isfinite(signal).all()
    assert (signal[2, :, 1] == 0).all()
    assert (signal[4, :, 3] == 0).all()
    assert (signal[0, :, 0] != 0).all()


def test_rings_have_the_published_numbers_of_pairs():
    """(3, 5) has 16 cells and (13, 35) has 1,056; each lies outside the inner window, once."""
    for inner, outer, count in ((3, 5, 16), (5, 7, 24), (13, 35, 1_056)):
        ring = ring_offsets(inner, outer)
        reach = np.abs(ring).max(axis=1)
        assert len(ring) == len(set(map(tuple, ring))) == count
        assert reach.min() == inner // 2 + 1
        assert reach.max() == outer // 2


@pytest.mark.parametrize("pairs", [1, 10, 64, 1_055, 5_000, None])
def test_a_sampled_ring_holds_opposites_of_the_ring(pairs):
    """No cell twice, all of the ring, as many as asked for, rounded up to even."""
    ring = sampled_ring(13, 35, pairs, 3)
    whole = set(map(tuple, ring_offsets(13, 35)))
    chosen = set(map(tuple, ring))
    assert chosen <= whole
    assert len(chosen) == len(ring) == min(1_056, 1_056 if pairs is None else -(-pairs // 2) * 2)
    assert chosen == {(-row, -column) for row, column in chosen}


class _Known(Comparison):
    """A known function of two cells in the network's place."""

    def __init__(self, pair="absolute-difference", surrogate=None):
        self.pair = pair
        self.surrogate = surrogate
        self.device = torch.device("cpu")

    def standardised(self, values):
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    def __call__(self, first, second):
        first, second = first[..., 0], second[..., 0]
        return first * 10 + second if self.pair == "difference" else (first - second).abs()


def test_ring_scores_of_a_five_by_five_example_worked_by_hand():
    """Numbers 0 to 24 row by row, |a - b| for the network: the middle, a corner, a gap."""
    values = np.arange(25, dtype=np.float32).reshape(1, 5, 5)
    block = np.full((1, 9, 9), np.nan, dtype=np.float32)
    block[:, 2:7, 2:7] = values
    score, error = ring_of_block(_Known(), block, DualWindow(3, 5))
    # The ring of the middle, 12: rows 0 and 4 whole, columns 0 and 4 of rows 1 to 3.
    ring = [0, 1, 2, 3, 4, 5, 9, 10, 14, 15, 19, 20, 21, 22, 23, 24]
    assert score[2, 2] == pytest.approx(sum(abs(v - 12) for v in ring) / 16)
    # The corner 0 has five of its sixteen: (0, 2), (1, 2), (2, 0), (2, 1), (2, 2).
    assert score[0, 0] == pytest.approx((2 + 7 + 10 + 11 + 12) / 5)
    assert (error == 0).all()
    block[0, 2 + 2, 2 + 0] = np.nan  # cell 10
    score, _ = ring_of_block(_Known(), block, DualWindow(3, 5))
    assert score[0, 0] == pytest.approx((2 + 7 + 11 + 12) / 4)
    assert np.isnan(score[2, 0])


def test_pairs_that_are_not_symmetric_put_the_cell_first():
    """10 a + b tells the orders apart."""
    block = np.full((1, 9, 9), np.nan, dtype=np.float32)
    block[:, 2:7, 2:7] = np.arange(25).reshape(1, 5, 5)
    score, _ = ring_of_block(_Known("difference"), block, DualWindow(3, 5))
    assert score[0, 0] == pytest.approx((2 + 7 + 10 + 11 + 12) / 5)
    assert score[2, 2] == pytest.approx(120 + 12)


@given(data=st.data())
def test_a_block_scores_as_the_definition_says_cell_by_cell(data):
    """Any windows, gaps and edges, areas smaller than the window, a whole ring and a sampled one.

    A sampled ring with a surrogate is the surrogate's mean over the whole ring and what it is
    wrong by over the sample, if any of that has evidence; its error is that of the sample.
    """
    pair = data.draw(st.sampled_from(["absolute-difference", "difference"]))
    inner, outer = data.draw(st.sampled_from([(1, 3), (3, 5), (3, 7), (5, 9)]))
    pairs = data.draw(st.sampled_from([None, 2, 6]))
    with_surrogate = data.draw(st.booleans())
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    values = rng.normal(size=shape).astype(np.float32)
    values[rng.random(shape) < data.draw(st.sampled_from([0.0, 0.3, 0.9]))] = np.nan
    ring = DualWindow(inner, outer, pairs, 1)
    plain = _Known(pair)
    small = (lambda a, b: 0.7 * plain(a, b) + 0.1) if with_surrogate else None
    halo = outer // 2
    block = np.pad(values, halo, constant_values=np.nan)
    score, error = ring_of_block(_Known(pair, small), block[None], ring)

    def compared(offsets, row, column):
        there = block[tuple((offsets + np.array([row + halo, column + halo])).T)]
        other, own = there[np.isfinite(there)].astype(float), float(values[row, column])
        return np.abs(own - other) if pair == "absolute-difference" else 10 * own + other

    for row, column in np.ndindex(shape):
        found, whole = (compared(part, row, column) for part in (ring.sampled, ring.whole))
        mended = with_surrogate and not ring.sampled_whole
        if not np.isfinite(values[row, column]) or len(whole if mended else found) == 0:
            assert np.isnan(score[row, column])
            continue
        if mended:
            found = found - (0.7 * found + 0.1)
            expected = (0.7 * whole + 0.1).mean() + (found.mean() if len(found) else 0.0)
        else:
            expected = found.mean()
        assert score[row, column] == pytest.approx(expected, abs=1e-4)
        left_out = 1 - len(ring.sampled) / len(ring.whole)
        if left_out == 0:
            assert error[row, column] == 0
        elif len(found) > 1:
            spread = found.std(ddof=1) / np.sqrt(len(found))
            assert error[row, column] == pytest.approx(spread * np.sqrt(left_out), abs=1e-3)
        else:
            assert np.isnan(error[row, column])


def test_a_sampled_ring_comes_close_to_the_whole():
    """A tenth of the ring and the surrogate: nearer than the sample alone, within its errors."""
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(80, 6)).astype(np.float32)
    y = np.repeat([1, 0], 40)
    cells[:40, :3] += 2.0
    model = PixelPairClassifier(3, 15, ring_pairs=22, **QUICK | {"members": 1, "max_epochs": 8})
    model.fit(cells, y)
    block = rng.normal(size=(6, 40, 40)).astype(np.float32) * 1.5
    found, error = model.ring_score(block)
    whole, none = model.set_params(ring_pairs=None).ring_score(block)
    assert (none == 0).all()
    assert 0 <= found.min() < found.max() <= 1
    assert (abs(found - whole) <= 2 * error).mean() > 0.9
    del model.members_[0]["surrogate"]
    alone, larger = model.set_params(ring_pairs=22).ring_score(block)
    assert abs(found - whole).mean() < 0.5 * abs(alone - whole).mean()
    assert error.mean() < 0.5 * larger.mean()


@pytest.mark.parametrize("scoring", ["ring", "reference", "both"])
@pytest.mark.parametrize("pair", ["absolute-difference", "difference", "stack"])
@pytest.mark.parametrize("ring_pairs", [None, 10])
def test_a_block_scores_as_its_windows_one_by_one(scoring, pair, ring_pairs):
    """With gaps, and cells without evidence, inside and at the edge."""
    rng = np.random.default_rng(0)
    model = PixelPairClassifier(
        3, 7, scoring=scoring, pair=pair, ring_pairs=ring_pairs, **QUICK | {"members": 2}
    )
    width = model.window
    windows = rng.normal(size=(24, 4, width, width)).astype(np.float32)
    y = np.arange(24) % 2
    windows[y == 1] += 1.0
    model.fit(windows[..., 0, 0] if width == 1 else windows, y)
    halo = width // 2
    inner = rng.normal(size=(4, 11, 9)).astype(np.float32)
    inner[rng.random(inner.shape) < 0.1] = np.nan
    inner[:, 3:6, 2] = np.nan
    block = np.pad(inner, ((0, 0), (halo, halo), (halo, halo)), constant_values=np.nan)
    dense = model.predict_block_with_spread(block)
    views = np.lib.stride_tricks.sliding_window_view(block, (width, width), axis=(1, 2))
    rows, columns = np.nonzero(np.isfinite(inner).any(axis=0))
    X = np.moveaxis(views, 0, 2)[rows, columns]
    score, spread = model.predict_with_spread(X[..., 0, 0] if width == 1 else X)
    np.testing.assert_allclose(dense[0][rows, columns], score, atol=1e-5)
    np.testing.assert_allclose(dense[1][rows, columns], spread, atol=1e-5)


@pytest.mark.parametrize("pair", ["absolute-difference", "difference", "stack"])
def test_either_half_of_the_reference_score_ranks_the_right_way(pair):
    """Unlike the negatives, and like the positives, whatever the order of a pair."""
    model = PixelPairClassifier(scoring="reference", pair=pair, **QUICK | {"max_epochs": 8})
    model.fit(*two_classes(80))
    X, y = two_classes(200, seed=1)
    compare = Comparison(model.members_[0], pair)
    cells = compare.standardised(X)
    negatives, positives = model.members_[0]["references"]
    unlike = mean_dissimilarity(compare, cells, negatives)
    like = -mean_dissimilarity(compare, cells, positives, deposits=True)
    for score in (unlike, like):
        assert (score[y == 1][:, None] > score[y == 0]).mean() > 0.75
    expected = 0.5 * (1 + unlike + like)
    np.testing.assert_allclose(reference_score(compare, cells), expected)


def test_it_learns_what_tells_the_classes_apart():
    """Reference scores of cells it never saw rank the classes almost perfectly."""
    model = PixelPairClassifier(scoring="reference", **QUICK | {"max_epochs": 8})
    model.fit(*two_classes(80))
    X, y = two_classes(200, seed=1)
    score = model.predict_proba(X)[:, 1]
    assert (score[y == 1][:, None] > score[y == 0]).mean() > 0.9


def test_the_same_seed_gives_the_same_map():
    """Bit for bit; another seed gives another."""
    X, y = two_classes()
    maps = [
        PixelPairClassifier(scoring="reference", **QUICK | {"random_state": seed})
        .fit(X, y)
        .predict_proba(X)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_the_published_protocol_keeps_the_member_of_least_loss():
    """One network is left, and it is the one that the same members would rank first."""
    X, y = two_classes(120)
    y[10:100] = 0
    settings = QUICK | {"members": 3}
    best = PixelPairClassifier(scoring="reference", protocol="published", **settings).fit(X, y)
    all_of_them = PixelPairClassifier(scoring="reference", **settings).fit(X, y)
    losses = [member["validation_loss"] for member in all_of_them.members_]
    assert [member["validation_loss"] for member in best.members_] == [min(losses)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inner": 5, "outer": 5}, "outer is 5 and inner 5"),
        ({"inner": 4}, "inner is 4"),
        ({"outer": 36}, "outer is 36"),
        ({"pair": "product"}, "pair is 'product'"),
        ({"members": 0}, "members is 0"),
        ({"ring_pairs": 0}, "ring_pairs is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"validation": 1.0}, "validation is 1.0"),
        ({"precision": "bf16"}, "precision is 'bf16'"),
        ({"accelerator": "gpuu"}, "accelerator is 'gpuu'"),
        ({"accelerator": "xpu"}, "accelerator is 'xpu': there is"),
        ({"protocol": "published", "members": 1}, "set members to 10"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings, message):
    """With its value."""
    with pytest.raises(StudyError, match=message):
        PixelPairClassifier(**settings).fit(*two_classes())


def test_one_deposit_cell_gives_no_pair():
    """The message says what a pair needs."""
    X, y = two_classes()
    y[2:] = 0
    with pytest.raises(LabelError, match="1 cell of the deposits"):
        PixelPairClassifier(scoring="reference").fit(X, y)


def test_a_layer_all_missing_changes_no_score():
    """It says nothing of any pair."""
    X, y = two_classes()
    X[:, 3] = np.nan
    model = PixelPairClassifier(scoring="reference", **QUICK).fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_training_that_diverges_stops_and_says_why():
    """At a learning rate of a million the weights run away; in one step, only validation tells."""
    model = PixelPairClassifier(scoring="reference", **QUICK | {"learning_rate": 1e6})
    with pytest.raises(TrainingError, match=r"no longer a number at step .* smaller learning_rate"):
        model.fit(*two_classes())
    model.set_params(learning_rate=1e30, batch_size=640, pairs_per_epoch=640)
    with pytest.raises(TrainingError, match=r"validation loss of epoch 1 .* smaller learning_rate"):
        model.fit(*two_classes())


def test_infinite_evidence_is_missing_evidence():
    """Beside a cell and in it."""
    model = PixelPairClassifier(3, 7, **QUICK).fit(*two_classes())
    block = np.random.default_rng(0).normal(size=(6, 16, 16)).astype(np.float32)
    block[2, 8, 8], block[:, 4, 9] = np.inf, -np.inf
    holes = np.where(np.isfinite(block), block, np.nan)
    np.testing.assert_array_equal(model.predict_block(block), model.predict_block(holes))


@pytest.mark.parametrize("shape", [(6, 5, 20), (5, 20, 20), (20, 20)])
def test_a_block_of_another_shape_is_named(shape):
    """Too small for the window, or of other layers."""
    model = PixelPairClassifier(3, 7, **QUICK).fit(*two_classes())
    with pytest.raises(StudyError, match=r"The block is .* give 6 layers, 7 cells across"):
        model.predict_block(np.zeros(shape, dtype=np.float32))
    with pytest.raises(StudyError, match="looks at windows"):
        model.predict_proba(np.zeros((2, 6, 7, 9), dtype=np.float32))


@pytest.mark.parametrize("layers", [3, 39, 200])
@pytest.mark.parametrize("channels", [1, 2])
def test_idle_channels_change_no_answer(layers, channels):
    """Padded to multiples of eight and sixteen, the network says what it said."""
    torch.manual_seed(0)
    network, signals = PairNetwork(channels).eval(), torch.randn(50, channels, layers)
    for multiple in (8, 16):
        wider = padded(network, multiple)
        assert {width % multiple for width, _ in wider.shapes(layers)} == {0}
        with torch.inference_mode():
            torch.testing.assert_close(wider(signals), network(signals), atol=1e-5, rtol=1e-5)


def test_reduced_precision_comes_close():
    """Scores in bfloat16 differ by less than its rounding over thirteen layers explains."""
    X, y = two_classes()
    model = PixelPairClassifier(3, 7, **QUICK).fit(X, y)
    block = np.random.default_rng(0).normal(size=(6, 20, 20)).astype(np.float32)
    exact = model.predict_block(block)
    rough = model.set_params(precision="bf16-mixed").predict_block(block)
    assert 0 < abs(rough - exact).max() < 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("scoring", ["ring", "reference", "both"])
def test_a_gpu_gives_the_same_scores(scoring):
    """One trained network, both devices."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 6, 7, 7)).astype(np.float32), np.arange(40) % 2
    X[y == 1] += 1.0
    cells = X[..., 3, 3] if scoring == "reference" else X
    model = PixelPairClassifier(3, 7, scoring=scoring, **QUICK).fit(cells, y)
    block = rng.normal(size=(6, 30, 30)).astype(np.float32)
    on_processor = model.predict_block(block)
    on_gpu = model.set_params(accelerator="gpu").predict_block(block)
    np.testing.assert_allclose(on_gpu, on_processor, atol=1e-4)
