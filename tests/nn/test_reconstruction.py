"""Filling in what was hidden: what the network makes of it, and the plain ways beside it."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.nn.masked_autoencoder import (
    Pretraining,
    Reconstruction,
    bilinear_fill,
    pretrain,
    reconstruct,
    reconstruct_rectangle,
    reconstruction_scores,
)
from gossan.nn.masked_autoencoder.windows import training_and_validation

WINDOW = 5


def stack(shape=(24, 30), missing_rows=4):
    """A wave, its mirror and a layer of 0 and 1, all missing in the first rows."""
    rows, columns = np.indices(shape)
    wave = np.sin(rows / 4) + np.cos(columns / 5)
    values = np.stack([wave, 3 - 2 * wave, wave > 0.5]).astype("float32")
    values[:2] += 0.05 * np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    values[:, :missing_rows] = np.nan
    grid = Grid.from_bounds((0, 0, 100 * shape[1], 100 * shape[0]), 100, "EPSG:32650")
    return grid.to_dataarray(values, layers=["Cu", "Pb", "granite"])


@pytest.fixture(scope="module")
def backbone():
    settings = {"window": WINDOW, "epochs": 2, "windows_per_epoch": 64, "batch_size": 32}
    return pretrain(stack(), Pretraining(**settings, accelerator="cpu"))


def predicted(backbone, windows, hidden):
    """What the network says of windows whose hidden values are replaced by nonsense."""
    shown = torch.from_numpy(np.where(hidden, 77.0, windows).astype("float32"))
    tokens = ~hidden.any(axis=1).reshape(len(windows), -1)
    keep = torch.from_numpy(np.stack([np.flatnonzero(row) for row in tokens]))
    with torch.inference_mode():
        found = backbone.network()(shown, keep).transpose(1, 2).numpy().reshape(windows.shape)
    return np.concatenate([found[:, :2], expit(found[:, 2:])], axis=1)


def test_windows_come_from_the_blocks_set_apart(backbone):
    """Each is centred on ground that judged the pretraining; what was hidden is not peeked at."""
    evidence = stack(missing_rows=0)
    found = reconstruct(backbone, evidence, count=20, seed=3)
    assert found.truth.shape == (20, 3, WINDOW, WINDOW)
    assert (found.hidden.sum(axis=(2, 3)) == WINDOW**2 - round(0.25 * WINDOW**2)).all()
    _, judging = training_and_validation(evidence, WINDOW, seed=0)
    scaled = np.pad(
        backbone.standard.applied(evidence.to_numpy()),
        ((0, 0), (2, 2), (2, 2)),
        constant_values=np.nan,
    )
    for window in found.truth:
        assert any(
            np.array_equal(scaled[:, row : row + 5, column : column + 5], window, equal_nan=True)
            for row, column in np.argwhere(judging)
        )
    whole = np.isfinite(found.truth).all(axis=(1, 2, 3))
    assert whole.any()
    expected = predicted(backbone, found.truth[whole], found.hidden[whole])
    np.testing.assert_allclose(found.predicted[whole], expected, atol=1e-5)


def test_whole_layers_can_be_hidden(backbone):
    """A layer of a window is hidden throughout or not at all."""
    found = reconstruct(backbone, stack(missing_rows=0), hidden_layers=True, count=40)
    observed = np.isfinite(found.truth).sum(axis=(2, 3))
    hidden = found.hidden.sum(axis=(2, 3))
    assert set(np.unique(hidden[hidden > 0] == observed[hidden > 0])) == {True}
    assert 0 < (hidden > 0).mean() < 1


def test_an_area_without_ground_to_judge_by_is_refused(backbone):
    """All that was set apart from the pretraining is missing."""
    evidence = stack()
    _, judging = training_and_validation(evidence, WINDOW, seed=0)
    with pytest.raises(SurveyDataError, match="too small for blocks"):
        reconstruct(backbone, evidence.where(~judging))


def test_bilinear_is_exact_on_a_ramp():
    """Inside the visible cells a slope is filled in exactly; beyond them stands the nearest."""
    rows, columns = np.indices((WINDOW, WINDOW))
    truth = np.stack([2.0 * rows - 3.0 * columns + 1.0, 0.5 * columns])[None]
    hidden = np.random.default_rng(0).random(truth.shape) < 0.7
    hidden[..., [0, 0, -1, -1], [0, -1, 0, -1]] = False
    np.testing.assert_allclose(bilinear_fill(Reconstruction(truth, truth, hidden, truth)), truth)
    hidden[:] = True
    hidden[:, 0, 1:4, 1:4] = False
    filled = bilinear_fill(Reconstruction(truth, truth, hidden, truth))
    near = np.clip([rows, columns], 1, 3)
    np.testing.assert_allclose(filled[0, 0], truth[0, 0][tuple(near)])
    assert np.isnan(filled[0, 1]).all()


def test_bilinear_between_cells_on_one_line_takes_the_nearest():
    """A line of visible cells spans no ground to interpolate in."""
    truth = np.arange(9.0).reshape(1, 1, 3, 3)
    hidden = np.ones(truth.shape, dtype=bool)
    hidden[0, 0, 1] = False
    expected = np.tile([3.0, 4.0, 5.0], (3, 1))
    np.testing.assert_array_equal(
        bilinear_fill(Reconstruction(truth, truth, hidden, truth))[0, 0], expected
    )


def test_scores_by_hand():
    """One hidden value of 10 amid a ramp: the network is 3 off, the ramp 6, the mean 21/17."""
    truth = np.full((2, 2, 3, 3), 13.0)
    truth[0] = np.arange(9.0).reshape(3, 3)
    truth[0, 0, 1, 1] = 10.0
    hidden = np.zeros(truth.shape, dtype=bool)
    hidden[0, 0, 1, 1] = True
    scores = reconstruction_scores(
        Reconstruction(truth, np.where(hidden, 7.0, np.nan), hidden, truth + 1.5), ["Cu", "Pb"]
    )
    seen = (sum(range(9)) - 4 + 9 * 13) / 17
    assert scores.iloc[0].to_dict() == {
        "layer": "Cu",
        "network": pytest.approx(3.0),
        "kriging": pytest.approx(1.5),
        "layer_mean": pytest.approx(10 - seen),
        "bilinear": pytest.approx(6.0),
        "values": 1,
    }
    assert scores.iloc[1]["values"] == 0
    assert np.isnan(scores.iloc[1]["network"])


def test_a_rectangle_is_filled_in_window_by_window(backbone):
    """What was shown stays; what was hidden is what the network says of its own window alone."""
    evidence = stack()
    found = reconstruct_rectangle(backbone, evidence)
    assert (found.rows, found.columns) == (slice(4, 24), slice(0, 30))
    np.testing.assert_array_equal(found.truth, evidence.to_numpy()[:, 4:])
    np.testing.assert_array_equal(found.filled[~found.hidden], found.truth[~found.hidden])
    share = 1 - round(0.25 * WINDOW**2) / WINDOW**2
    assert found.hidden.mean() == pytest.approx(share)
    scaled = backbone.standard.applied(found.truth)
    scale, centre = backbone.standard.scale, backbone.standard.centre
    for row in range(0, 20, WINDOW):
        for column in range(0, 30, WINDOW):
            here = (slice(None), slice(row, row + WINDOW), slice(column, column + WINDOW))
            expected = predicted(backbone, scaled[here][None], found.hidden[here][None])[0]
            expected = expected * scale[:, None, None] + centre[:, None, None]
            hidden = found.hidden[here]
            np.testing.assert_allclose(found.filled[here][hidden], expected[hidden], atol=1e-4)


def test_a_rectangle_keeps_to_its_size_and_to_the_middle(backbone):
    """No side is longer than asked for; of equally good places the middle one is shown."""
    found = reconstruct_rectangle(backbone, stack(missing_rows=0), largest=11)
    assert (found.rows, found.columns) == (slice(7, 17), slice(10, 20))
    evidence = stack(missing_rows=0)
    evidence[1, 8:, :] = np.nan
    assert reconstruct_rectangle(backbone, evidence, largest=5).rows.stop <= 8


def test_missing_values_stay_missing_in_a_rectangle(backbone):
    """What is not observed is neither hidden nor filled in; a layer that lacks is missing."""
    found = reconstruct_rectangle(backbone, stack(missing_rows=0)[:2])
    assert np.isnan(found.filled[2]).all()
    assert not found.hidden[2].any()
    assert np.isfinite(found.filled[:2]).all()


def test_an_area_smaller_than_a_window_has_no_rectangle(backbone):
    """The message names both sizes."""
    with pytest.raises(SurveyDataError, match="4 × 30 cells, fewer than a window of 5 × 5"):
        reconstruct_rectangle(backbone, stack()[:, :4])
