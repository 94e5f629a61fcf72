"""The training loop: best weights, early stopping, resume, and what it says when it cannot."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from gossan.exceptions import SurveyDataError, TrainingError
from gossan.nn.training import LAST, EpochBatches, TrainingPlan, batches, train


class _Line(Dataset):
    """y = 2 x with noise, in bulk."""

    def __init__(self, n=64, seed=0):
        rng = np.random.default_rng(seed)
        self.x = torch.from_numpy(rng.normal(size=(n, 1)).astype(np.float32))
        self.y = 2 * self.x + 0.1 * torch.from_numpy(rng.normal(size=(n, 1)).astype(np.float32))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, numbers):
        return self.x[numbers], self.y[numbers]


def squared(network, batch):
    x, y = batch
    return ((network(x) - y) ** 2).mean()


class Interrupted(Exception):
    """Stands for a kill."""


def fitted(epochs=6, patience=10, checkpoint=None, stop_after=None, dropout=0.2, rate=0.05):
    """Train a small network; raise Interrupted in the epoch after ``stop_after``."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 8), nn.Dropout(dropout), nn.ReLU(), nn.Linear(8, 1))

    def progress(done, total):
        if done == stop_after:
            raise Interrupted

    record = train(
        network,
        squared,
        lambda weights: torch.optim.SGD(weights, rate, momentum=0.9),
        batches(_Line(), EpochBatches(64, 16, seed=3)),
        batches(_Line(seed=1), EpochBatches(64, 64, shuffle=False)),
        TrainingPlan(epochs, patience, accelerator="cpu", devices=1, seed=5),
        checkpoint=checkpoint,
        progress=progress,
    )
    return network, record


def test_it_learns_and_keeps_the_weights_of_the_best_epoch():
    """The validation loss of what is left is the least of all epochs."""
    network, record = fitted(epochs=12)
    line = _Line(seed=1)
    with torch.no_grad():
        loss = float(squared(network, (line.x, line.y)))
    assert loss == pytest.approx(min(record.validation_loss), rel=1e-5)
    assert record.validation_loss[record.best_epoch] == min(record.validation_loss)
    assert loss < 0.3


@pytest.mark.parametrize("stop_after", [2, 4])
def test_an_interrupted_training_ends_with_the_weights_it_would_have_had(tmp_path, stop_after):
    """Batches and dropout of the epochs that were left are those of an unbroken run."""
    whole, record = fitted()
    with pytest.raises(Interrupted):
        fitted(checkpoint=tmp_path / "run", stop_after=stop_after)
    assert (tmp_path / "run" / LAST).exists()
    resumed, again = fitted(checkpoint=tmp_path / "run")
    assert again == record
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_training_that_had_ended_is_not_gone_on_with(tmp_path):
    """Neither past its last epoch nor past its patience."""
    for settings in ({"epochs": 3}, {"epochs": 200, "patience": 2}):
        folder = tmp_path / str(settings["epochs"])
        first, record = fitted(checkpoint=folder, **settings)
        second, again = fitted(checkpoint=folder, **settings)
        assert again == record
        assert torch.equal(first[0].weight, second[0].weight)
    assert len(record.validation_loss) == record.best_epoch + 3 < 200


def test_a_damaged_checkpoint_is_named(tmp_path: Path):
    """With the remedy."""
    (tmp_path / LAST).write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(SurveyDataError, match=r"last\.ckpt is no checkpoint .* Remove it"):
        fitted(checkpoint=tmp_path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path):
    """It is read as plain tensors only."""

    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    torch.save({"state_dict": Evil()}, tmp_path / LAST)
    with pytest.raises(SurveyDataError, match="no checkpoint"):
        fitted(checkpoint=tmp_path)
    assert not (tmp_path / "touched").exists()


def test_a_loss_that_is_no_number_stops_training_with_the_step_and_the_cause():
    """Sound batches: the weights ran away. Otherwise the batch is named."""
    with pytest.raises(TrainingError, match=r"step \d+ of epoch 1: the weights have grown"):
        fitted(rate=1e12)
    line = _Line()
    line.x[7] = torch.nan
    with pytest.raises(TrainingError, match="the batch itself holds NaN"):
        train(
            nn.Linear(1, 1),
            squared,
            lambda weights: torch.optim.SGD(weights, 0.1),
            batches(line, EpochBatches(64, 64)),
            batches(line, EpochBatches(64, 64)),
            TrainingPlan(2, 2, accelerator="cpu", devices=1),
        )


def test_the_order_of_batches_is_set_by_seed_and_epoch():
    """Without repetition within an epoch; new in the next; the same again for the same epoch."""
    order = EpochBatches(50, 8, per_epoch=30, seed=1)
    epochs = []
    for epoch in (0, 1, 0):
        order.set_epoch(epoch)
        epochs.append(np.concatenate(list(order)))
    assert len(order) == 4
    assert len(set(epochs[0])) == len(epochs[0]) == 30
    np.testing.assert_array_equal(epochs[0], epochs[2])
    assert not np.array_equal(epochs[0], epochs[1])


def test_training_leaves_the_global_generator_as_it_was():
    """Nothing touches a global seed, dropout and the order of batches included."""
    network = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.2), nn.Linear(8, 1))
    before = torch.random.get_rng_state()
    train(
        network,
        squared,
        lambda weights: torch.optim.SGD(weights, 0.05),
        batches(_Line(), EpochBatches(64, 16)),
        batches(_Line(), EpochBatches(64, 64)),
        TrainingPlan(2, 2, accelerator="cpu", devices=1),
    )
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_loss_of_an_epoch_is_the_mean_over_samples():
    """However short its last batch: 64 samples in batches of 60 and 4."""
    line, network = _Line(), nn.Linear(1, 1)
    record = train(
        network,
        squared,
        lambda weights: torch.optim.SGD(weights, 0.0),
        batches(line, EpochBatches(64, 60)),
        batches(line, EpochBatches(64, 60, shuffle=False)),
        TrainingPlan(1, 1, accelerator="cpu", devices=1),
    )
    with torch.no_grad():
        expected = float(squared(network, (line.x, line.y)))
    assert record.validation_loss[0] == pytest.approx(expected, rel=1e-5)
    assert record.training_loss[0] == pytest.approx(expected, rel=1e-5)


def test_what_judges_is_a_uniform_draw_that_stays():
    """The same in every epoch, from all over the samples, each once."""
    order = EpochBatches(1_000, 64, per_epoch=200, seed=1, shuffle=False)
    first = np.concatenate(list(order))
    order.set_epoch(1)
    np.testing.assert_array_equal(first, np.concatenate(list(order)))
    assert len(set(first)) == 200
    assert 60 < (first < 500).sum() < 140
    whole = EpochBatches(1_000, 64, shuffle=False)
    np.testing.assert_array_equal(np.concatenate(list(whole)), np.arange(1_000))
