"""Selective knowledge transfer: equation by equation, patch by patch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gossan.exceptions import StudyError
from gossan.nn.selective_transfer.dense import dense_scores
from gossan.nn.selective_transfer.network import (
    ResNet18,
    SelectiveTransferNetwork,
    TargetNetwork,
    dilated,
    distillation,
    is_large,
    kernel_names,
    mean_chance,
    soft_masked,
    total_loss,
    votes,
)
from gossan.nn.selective_transfer.patches import (
    averaged_patches,
    chosen_sizes,
    confusion,
    covering_corners,
    patch_corners,
    patch_counts,
    patch_figures,
)


@pytest.fixture(scope="module")
def source():
    """A network of which even the running means are not those it starts with."""
    torch.manual_seed(0)
    network = ResNet18(3, large=False)
    network.train()
    with torch.no_grad():
        network(torch.randn(8, 3, 16, 16) * 2 + 1)
    return network.eval()


def test_residual_network_has_the_published_shape():
    """Eighteen layers with weights, of 64 to 512 channels, and as many weights as published."""
    network = ResNet18(3)
    kernels = [network.get_parameter(name) for name in kernel_names(network)]
    assert len([kernel for kernel in kernels if kernel.shape[-1] > 1]) + 1 == 18
    assert kernels[0].shape == (64, 3, 7, 7)
    assert {kernel.shape[0] for kernel in kernels} == {64, 128, 256, 512}
    # Torchvision's network of two classes, by its published count of 11,689,512 with a thousand.
    assert sum(p.numel() for p in network.parameters()) == 11_689_512 - 998 * 513


def test_soft_mask_by_hand():
    """Equation 6: every value of a layer times the weight of the layer."""
    images = torch.arange(8.0).reshape(1, 2, 2, 2)
    found = soft_masked(images, torch.tensor([2.0, -1.0]))
    assert found.tolist() == [[[[0, 2], [4, 6]], [[-4, -5], [-6, -7]]]]


def test_dilated_scale_by_hand():
    """Equation 7: nine weights, so many cells apart, the same for every layer."""
    images = torch.zeros(1, 2, 5, 5)
    images[0, 0, 0, 0], images[0, 0, 2, 2], images[0, 1, 4, 2] = 1.0, 10.0, 3.0
    kernel = torch.tensor([[0.5, 0, 0], [0, 0.1, 0], [0, 2.0, 0]])
    # By rate 2 the kernel reaches all corners: 0.5·1 + 0.1·10, and 2·3.
    assert dilated(images, kernel, 2).flatten().tolist() == pytest.approx([1.5, 6.0])
    assert dilated(images, kernel, 1).shape == (1, 2, 3, 3)


def test_gated_kernel_by_hand(source):
    """Equations 8 and 9: (w_S ⊙ P) · w_t, value by value."""
    target = TargetNetwork(source, [0, 1, 2])
    gates, own = target.gates["conv1_weight"], target.body.conv1.weight
    with torch.no_grad():
        gates[5, 2, 0, 1], own[5, 2, 0, 1] = 0.25, -3.0
        used = target.selected("conv1.weight") * own
    expected = source.conv1.weight.detach().clone()
    expected[5, 2, 0, 1] *= 0.25 * -3.0
    torch.testing.assert_close(used, expected)


def test_open_gates_are_the_source_and_shut_ones_nothing(source):
    """P = 1 and w_t = 1 give the source's output exactly; P = 0 a layer that passes nothing on."""
    torch.manual_seed(1)
    images = torch.randn(4, 3, 16, 16)
    target = TargetNetwork(source, [0, 1, 2]).eval()
    with torch.no_grad():
        assert torch.equal(target(images), source(images))
        target.gates["conv1_weight"].zero_()
        dead = target(images)
    assert torch.equal(dead, dead[:1].expand_as(dead))  # whatever the evidence is
    assert target.openness()["conv1.weight"] == 0.0
    assert target.openness()["blocks.0.conv1.weight"] == 1.0


def test_layers_are_matched_and_missing_ones_start_at_random(source):
    """The source's third layer is the target's first; one that it lacks has a kernel of its own."""
    torch.manual_seed(2)
    target = TargetNetwork(source, [2, -1, 0]).eval()
    used = (target.selected("conv1.weight") * target.body.conv1.weight).detach()
    torch.testing.assert_close(used[:, [0, 2]], source.conv1.weight[:, [2, 0]].detach())
    assert 0.5 < float(used[:, 1].std() / math.sqrt(2 / (64 * 9))) < 2.0
    images = torch.randn(2, 3, 16, 16)
    images[:, 1] = 0.0  # without the layer that is new, it is the source without its second
    seen = torch.stack([images[:, 2], torch.zeros(2, 16, 16), images[:, 0]], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(target(images), source(seen))


def test_the_source_never_changes(source):
    """Not a bit of it, by training five networks on it."""
    before = {name: value.clone() for name, value in source.state_dict().items()}
    torch.manual_seed(3)
    network = SelectiveTransferNetwork(3, (1, 2), large=False, source=source)
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.01)
    for _ in range(2):
        loss = total_loss(network(torch.randn(6, 3, 20, 20)), torch.tensor([0, 1] * 3), 0.7)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for name, value in source.state_dict().items():
        assert torch.equal(value, before[name])
    for target in network.targets:
        for name in kernel_names(source):
            kept = target.get_buffer(f"source_{name.replace('.', '_')}")
            assert torch.equal(kept, before[name])
    # Batch normalisation undoes the size of a kernel, so the mean gate stays 1 at first.
    gates = network.targets[0].gates["conv1_weight"].detach()
    assert float((gates - 1).abs().max()) > 1e-4


def test_distillation_by_hand():
    """Equation 10: every earlier network guides every later one, and does not follow."""
    chances = torch.tensor([[0.5, 0.5], [0.8, 0.2], [0.9, 0.1]])

    def divergence(p, q):
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    p, q, r = chances.tolist()
    log_odds = chances.log()[:, None].repeat(1, 4, 1).requires_grad_()
    found = distillation(log_odds)
    expected = divergence(p, q) + divergence(p, r) + divergence(q, r)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)
    found.backward()
    assert (log_odds.grad[0] == 0).all()
    assert (log_odds.grad[2] != 0).all()


def test_total_loss_by_hand():
    """Equation 12: cross-entropies of all networks, and a share of what they are apart."""
    log_odds = torch.tensor([[[0.0, 1.0], [2.0, 0.0]], [[1.0, 1.0], [0.0, 3.0]]])
    positive = torch.tensor([1, 0])
    entropy = nn.functional.cross_entropy
    expected = entropy(log_odds[0], positive) + entropy(log_odds[1], positive)
    torch.testing.assert_close(total_loss(log_odds, positive, 0.0), expected)
    expected = expected + 0.7 * distillation(log_odds)
    torch.testing.assert_close(total_loss(log_odds, positive, 0.7), expected)


def test_votes_by_hand():
    """Two of three networks."""
    log_odds = torch.tensor([[[0.0, 1.0]], [[0.0, 0.1]], [[2.0, 1.0]]])
    assert votes(log_odds).tolist() == pytest.approx([2 / 3])


@pytest.mark.parametrize("soft_mask", [True, False])
@pytest.mark.parametrize("transfer", [True, False])
def test_each_part_can_be_left_out(source, soft_mask, transfer):
    """What is left out has no gradient, or is not there."""
    network = SelectiveTransferNetwork(
        3, (1, 3), large=False, source=source if transfer else None, soft_mask=soft_mask
    )
    images = torch.randn(2, 3, 20, 20)
    total_loss(network(images), torch.tensor([0, 1]), 0.7).backward()
    assert (network.mask.grad is not None) == soft_mask
    assert isinstance(network.targets[0], TargetNetwork if transfer else ResNet18)
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)


def test_published_patch_counts():
    """437 patches of the upper 2,560 rows and 69 of the lower 512, of a stack of 3,072²."""
    assert len(patch_corners((2560, 3072), 256, 128)) == 437
    assert len(patch_corners((512, 3072), 256, 128)) == 69


@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    window=st.integers(1, 12),
    stride=st.integers(1, 14),
    seed=st.integers(0, 99),
)
def test_patches_by_brute_force(shape, window, stride, seed):
    """Counts and means of a patch are those of its cells; every cell lies in a covering patch."""
    window = min(window, *shape)
    corners = covering_corners(shape, window, min(stride, window))
    cells = np.random.default_rng(seed).random(shape) < 0.3
    scores = np.random.default_rng(seed).random(len(corners))
    total, count = np.zeros(shape), np.zeros(shape)
    for (row, column), score, found in zip(
        corners, scores, patch_counts(cells, corners, window), strict=True
    ):
        part = np.s_[row : row + window, column : column + window]
        assert cells[part].sum() == found
        assert cells[part].shape == (window, window)
        total[part] += score
        count[part] += 1
    assert (count > 0).all()
    found = averaged_patches(shape, corners, window, scores)
    np.testing.assert_allclose(found, total / count, atol=1e-9)
    alike = averaged_patches(shape, corners, window, np.full(len(corners), 0.1))
    assert set(alike.ravel()) == {0.1}  # ties are ties
    assert {tuple(c) for c in patch_corners(shape, window, stride)} <= {
        (r, c) for r in range(0, shape[0], stride) for c in range(0, shape[1], stride)
    }


@pytest.mark.parametrize(
    ("shape", "window", "stride", "message"),
    [((10, 30), 11, 4, "10 × 30 cells and a patch 11 × 11"), ((9, 9), 4, 0, "stride is 0")],
)
def test_patches_that_cannot_be_are_refused(shape, window, stride, message):
    """With the sizes and the remedy."""
    with pytest.raises(StudyError, match=message):
        patch_corners(shape, window, stride)


@given(side=st.integers(16, 4000))
def test_sizes_fit_the_area(side):
    """A window within the area, a crop within the window, scales that leave something to see."""
    sizes = chosen_sizes((side, side + 7))
    assert 16 <= sizes.window <= side
    assert sizes.crop <= sizes.window
    assert sizes.crop - 2 * max(sizes.dilations) >= 8
    assert list(sizes.dilations) == sorted(set(sizes.dilations))
    assert chosen_sizes((side, side), window=16).dilations == (1, 2, 3)
    assert chosen_sizes((side, side), (1, 1, 1)).dilations == (1, 1, 1)


def test_gates_and_own_kernels_part_and_networks_of_one_dilation_differ():
    """Started alike they would get the same gradients for ever: one number, and one network."""
    torch.manual_seed(0)
    source = ResNet18(2, large=False, width=4)
    network = SelectiveTransferNetwork(2, (1, 1), large=False, source=source).train()
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(3):
        optimiser.zero_grad()
        images, classes = torch.randn(8, 2, 14, 14), torch.arange(8) % 2
        total_loss(network(images), classes, 0.7).backward()
        optimiser.step()
    one, other = network.targets
    own = one.body.get_parameter("blocks.3.conv1.weight")
    gates = one.gates["blocks_3_conv1_weight"]
    assert float((gates - own).detach().abs().mean()) > 0.01
    others = other.body.get_parameter("blocks.3.conv1.weight")
    assert float((own - others).detach().abs().mean()) > 0.01


@given(counts=st.tuples(*[st.integers(0, 200)] * 4).filter(any))
def test_figures_of_patches_are_scikit_learns(counts):
    """Patch by patch, of any confusion."""
    tp, fn, tn, fp = counts
    positive = np.repeat([True, True, False, False], counts)
    found = np.repeat([True, False, False, True], counts)
    assert confusion(positive, found) == {"tp": tp, "fn": fn, "tn": tn, "fp": fp}
    figures = patch_figures(tp=tp, fn=fn, tn=tn, fp=fp)
    assert figures["accuracy"] == pytest.approx((positive == found).mean())
    assert figures["recall"] == pytest.approx(tp / max(tp + fn, 1))
    ones = [2 * right / max(2 * right + fn + fp, 1) for right in (tp, tn)]
    assert figures["macro_f1"] == pytest.approx(np.mean(ones))


def test_the_published_confusion_gives_the_published_figures():
    """Table of the source: 69.09, 40.33 (40.336, cut off in print) and 65.00 %."""
    figures = patch_figures(tp=48, fn=71, tn=142, fp=14)
    assert figures["accuracy"] == pytest.approx(0.6909, abs=5e-5)
    assert figures["recall"] == pytest.approx(0.40336, abs=5e-6)
    assert figures["macro_f1"] == pytest.approx(0.6500, abs=5e-5)


def scoring(crop, dilations, layers=2, width=4):
    """Networks of random weights and running means, ready to score."""
    torch.manual_seed(0)
    large = is_large(crop)
    network = SelectiveTransferNetwork(layers, dilations, large=large, width=width)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2.0)
    return network.eval()


@pytest.mark.parametrize(("crop", "dilations"), [(14, (1, 2)), (28, (1, 5)), (70, (1, 3, 9))])
def test_a_dense_map_of_one_patch_is_the_patch(crop, dilations):
    """Where there is nothing beyond the patch, both are the same."""
    network = scoring(crop, dilations)
    values = torch.rand(2, crop, crop)
    corners, scores = dense_scores(network, values, crop, mean_chance)
    assert corners.tolist() == [[0, 0]]
    with torch.no_grad():
        patch = mean_chance(network(values[None]))
    np.testing.assert_allclose(scores, patch, rtol=1e-5)


@pytest.mark.parametrize(("crop", "step"), [(20, 8), (70, 32)])
def test_tiles_do_not_change_a_dense_map(crop, step):
    """What lies beyond a tile is seen as far as it reaches."""
    network = scoring(crop, (1, 3))
    values = torch.rand(2, crop + 9 * step + 5, crop + 12 * step)
    corners, scores = dense_scores(network, values, crop, mean_chance)
    assert len(corners) == 11 * 13
    told = []
    again = dense_scores(
        network, values, crop, mean_chance, tile=3 * step, progress=lambda *at: told.append(at)
    )
    np.testing.assert_array_equal(again[0], corners)
    np.testing.assert_allclose(again[1], scores, rtol=1e-4)
    assert told[-1] == (20, 20)
