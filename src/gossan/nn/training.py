"""One training loop for every network: progress, early stopping, resume, devices, precision."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import joblib
import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException
from torch.utils.data import DataLoader, Dataset, Sampler

from gossan import io
from gossan.exceptions import SurveyDataError, TrainingError

_GROWN = 1e4
"""Weights beyond this are to blame for a loss that is no number, whatever the batch holds."""
LAST = "last.ckpt"
"""Name of the checkpoint that an interrupted training goes on from."""


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained.

    Attributes
    ----------
    max_epochs : int
        Epochs at most.
    patience : int
        Stop when the validation loss has not fallen for so many epochs.
    accelerator, precision
        As Lightning takes them: ``"auto"``, ``"cpu"``, ``"gpu"``; ``"32-true"``,
        ``"bf16-mixed"``.
    devices : int
        Processes, each on a device of its own (of ``"cpu"``: each on one core), that learn from
        other batches and keep one set of weights. One process alone uses all cores.
    seed : int
        Order of the batches and whatever the network draws while training.
    accumulate : int
        Batches whose gradients are added up to one step: larger steps in the same memory.
    """

    max_epochs: int
    patience: int
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    seed: int = 0
    accumulate: int = 1


@dataclass
class TrainingRecord:
    """What a training left besides the weights.

    Attributes
    ----------
    training_loss, validation_loss : list of float
        One an epoch.
    best_epoch : int
        The epoch whose weights were kept: that of the least validation loss.
    """

    training_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = -1


class EpochBatches(Sampler[np.ndarray]):
    """Batches of numbers below ``size``, in an order that seed and epoch alone decide.

    A training that was interrupted therefore sees the batches that it would have seen.

    Parameters
    ----------
    size : int
        Samples there are.
    batch_size : int
    per_epoch : int or None
        Samples drawn an epoch, without repetition; ``None`` for all of them. Where there are many
        more samples than are drawn, repetitions are too rare to matter and are allowed.
    seed : int
    shuffle : bool, default True
        Otherwise the same samples in every epoch, in order: a uniform draw of ``per_epoch``.
    even : bool, default False
        Batches of as even a size as can be and of two samples at least, for batch normalisation;
        otherwise the last one holds what is left over.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        per_epoch: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        even: bool = False,
    ) -> None:
        self.size = size
        self.even = even
        self.batch_size = batch_size
        self.count = size if per_epoch is None else min(size, per_epoch)
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        _, processes = _place()
        return max(1, len(self._batches()) // processes)

    def __iter__(self) -> Iterator[np.ndarray]:
        rank, processes = _place()
        drawn = self._batches()
        for k in range(len(self)):  # as many in every process: they wait for one another
            yield drawn[(k * processes + rank) % len(drawn)]

    def _batches(self) -> list[np.ndarray]:
        """The batches of this epoch, for all processes together."""
        numbers = self._numbers()
        if self.even:
            parts = max(1, min(-(-self.count // self.batch_size), self.count // 2))
            return np.array_split(numbers, parts)
        starts = range(0, self.count, self.batch_size)
        return [numbers[start : start + self.batch_size] for start in starts]

    def _numbers(self) -> np.ndarray:
        if not self.shuffle:
            if self.count == self.size:
                return np.arange(self.size)
            rng = np.random.default_rng(self.seed)
            return np.sort(rng.choice(self.size, self.count, replace=False, shuffle=False))
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.size > 20 * self.count:  # a permutation of millions of pairs for a few thousand
            return rng.integers(self.size, size=self.count)
        return rng.permutation(self.size)[: self.count]


def _place() -> tuple[int, int]:
    """The number of this process among those that train together, and how many they are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def batches(dataset: Dataset[Any], sampler: EpochBatches) -> DataLoader[Any]:
    """A loader whose dataset turns an array of numbers into one batch of tensors, in bulk."""
    return DataLoader(dataset, sampler=sampler, batch_size=None, collate_fn=_as_it_is)


def train(
    network: nn.Module,
    loss: Callable[[nn.Module, Any], Tensor],
    optimiser: Callable[[Any], torch.optim.Optimizer],
    training: DataLoader[Any],
    validation: DataLoader[Any],
    plan: TrainingPlan,
    *,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingRecord:
    """Train a network in place and leave it with the weights of its best epoch, on the CPU.

    Parameters
    ----------
    network : torch.nn.Module
    loss : callable
        From the network and a batch, a tuple of tensors, to a scalar: the mean over the batch.
    optimiser : callable
        From parameters to an optimiser.
    training, validation : DataLoader
        From :func:`batches`. The validation loss picks the epoch.
    plan : TrainingPlan
    checkpoint : path, optional
        A folder that belongs to this training alone. An epoch that is done is kept there, and a
        training that was interrupted goes on from it; it ends with the weights that it would have
        ended with.
    progress : callable, optional
        Called with (epochs done, epochs at most).

    Returns
    -------
    TrainingRecord

    Raises
    ------
    TrainingError
        If the loss is no longer a number; says at which step and what was found.
    SurveyDataError
        If the checkpoint cannot be read.
    """
    learner = _Learner(network, loss, optimiser, plan.seed)
    with _quiet(), _seeded(plan.seed), _folder(checkpoint, plan.devices) as checkpoint:
        book = _Book(plan, checkpoint, progress)
        trainer = pl.Trainer(
            accelerator=plan.accelerator,
            devices=plan.devices,
            strategy="ddp_fork" if plan.devices > 1 else "auto",
            use_distributed_sampler=False,  # the batches know their process
            precision=plan.precision,  # type: ignore[arg-type]
            max_epochs=plan.max_epochs,
            accumulate_grad_batches=plan.accumulate,
            callbacks=[book],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            plugins=[LightningEnvironment()],  # whatever batch system the job runs in
        )
        try:
            trainer.fit(
                learner,
                training,
                validation,
                ckpt_path=_resumed(checkpoint, learner),
                weights_only=True,
            )
        except SystemExit as ended:
            if isinstance(ended.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from ended
            raise
        except ProcessRaisedException as error:
            raise TrainingError(_said(error)) from error
        except ProcessExitedException as error:
            raise TrainingError(
                f"A process of the training was ended by {error.signal_name or 'the system'}; as a "
                "rule there was too little memory. Give fewer devices, or a smaller batch_size. "
                "Run again to go on from the last epoch that was done."
            ) from error
        if plan.devices > 1 and checkpoint is not None:  # the book was kept in other processes
            book.load_state_dict(_content(checkpoint / LAST)["callbacks"][book.state_key])
    network.load_state_dict(book.best_weights)
    network.to("cpu").eval()
    return book.record


def train_once(
    network: nn.Module, made_of: Any, training: Callable[[Path | None], TrainingRecord]
) -> TrainingRecord:
    """Train a network, or take the weights that the same training left before.

    Where networks are kept (:func:`gossan.io.networks_folder`), a training that was interrupted
    goes on, and one that was done is not done again.

    Parameters
    ----------
    network : torch.nn.Module
        Left with its best weights.
    made_of : any
        Arrays and plain values that decide the training: the same, with the same code, the same
        network.
    training : callable
        Trains the network; given the folder of its checkpoint, if networks are kept.
    """
    folder = io.networks_folder()
    if folder is None:
        return training(None)
    key = joblib.hash((made_of, io.network_code(type(network).__module__)))
    file, checkpoint = folder / f"{key}.safetensors", folder / str(key)
    with io.waiting_lock(folder / f"{key}.lock"):  # another worker may need the same network
        record = _kept(network, file)
        if record is not None:
            return record
        try:
            record = training(checkpoint)
        except SurveyDataError:  # a damaged checkpoint: from the start
            shutil.rmtree(checkpoint, ignore_errors=True)
            record = training(checkpoint)
        weights = {name: value.numpy() for name, value in network.state_dict().items()}
        io.write_weights(file, weights, {"record": asdict(record)})
        shutil.rmtree(checkpoint, ignore_errors=True)
        return record


def _kept(network: nn.Module, file: Path) -> TrainingRecord | None:
    """What a training left in a file, its weights in the network; None if it is not sound."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        weights, description = io.read_weights(file)
        network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        record = TrainingRecord(**description["record"])
        sound = all(np.isfinite(value).all() for value in weights.values())
        sound &= bool(np.isfinite(record.validation_loss[record.best_epoch]))
    except (SurveyDataError, RuntimeError, LookupError, TypeError, AttributeError):
        sound = False  # none yet, damaged, or another's
    if not sound:
        network.load_state_dict(before)
        return None
    network.eval()
    return record


def _as_it_is(batch: Any) -> Any:
    return batch


class _Learner(pl.LightningModule):
    """A network, its loss and its optimiser, as Lightning wants them."""

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[nn.Module, Any], Tensor],
        optimiser: Callable[[Any], torch.optim.Optimizer],
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self._loss = loss
        self._optimiser = optimiser
        self._seed = seed
        self.training_losses: list[tuple[Tensor, int]] = []  # of each batch, and its samples
        self.validation_losses: list[tuple[Tensor, int]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._optimiser(self.network.parameters())

    def on_train_batch_start(self, batch: Any, step: int) -> None:  # noqa: ARG002
        # What is drawn inside the network depends on seed and epoch alone, so a resumed training
        # draws what it would have drawn. (Lightning itself draws between epochs.)
        if step == 0:
            torch.manual_seed(self._seed + 1_000_003 * self.current_epoch)

    def training_step(self, batch: Any, step: int) -> Tensor:
        loss = self._loss(self.network, batch)
        if not torch.isfinite(loss):
            raise TrainingError(self._cause(batch, step))
        self.training_losses.append((loss.detach(), len(batch[0])))
        return loss

    def validation_step(self, batch: Any, step: int) -> None:  # noqa: ARG002
        self.validation_losses.append((self._loss(self.network, batch), len(batch[0])))

    def _cause(self, batch: Any, step: int) -> str:
        where = (
            f"The loss is no longer a number at step {step + 1} of epoch {self.current_epoch + 1}"
        )
        # To a loss that takes missing values they are no fault; infinite ones are to any.
        sound = _no_infinity if getattr(self._loss, "takes_missing", False) else torch.isfinite
        tensors = [part for part in batch if isinstance(part, Tensor)]
        largest = max(float(p.detach().abs().max()) for p in self.network.parameters())
        if largest < _GROWN and not all(sound(part).all() for part in tensors):
            return f"{where}: the batch itself holds NaN or infinite values."
        return f"{where}: the weights have grown to {largest:.3g}. Take a smaller learning_rate."


def _no_infinity(values: Tensor) -> Tensor:
    return ~torch.isinf(values)


class _Book(Callback):
    """Keeps the losses and the best weights, stops when patience is out, saves and tells."""

    def __init__(
        self,
        plan: TrainingPlan,
        checkpoint: Path | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.plan = plan
        self.checkpoint = checkpoint
        self.progress = progress
        self.record = TrainingRecord()
        self.best_weights: dict[str, Tensor] = {}
        self._started_by = os.getpid()

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:  # noqa: ARG002
        if self.plan.devices > 1:
            # The threads of the process that this one was forked from stayed behind with it, and
            # would be waited for.
            torch.set_num_threads(1)

    def on_train_batch_start(self, *_: Any) -> None:
        if self.plan.devices > 1 and os.getppid() != self._started_by:
            os._exit(1)  # whoever started it was killed: nobody waits for what it learns

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        trainer.should_stop = self._out_of_patience  # it was interrupted after its last epoch
        self._tell(trainer, trainer.current_epoch)

    def _tell(self, trainer: pl.Trainer, epochs: int) -> None:
        if self.progress is not None and trainer.is_global_zero:
            self.progress(epochs, self.plan.max_epochs)

    @property
    def _out_of_patience(self) -> bool:
        epochs = len(self.record.validation_loss)
        return epochs - 1 - self.record.best_epoch >= self.plan.patience and epochs > 0

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        record = self.record
        record.training_loss.append(_mean(trainer, pl_module.training_losses))
        record.validation_loss.append(_mean(trainer, pl_module.validation_losses))
        pl_module.training_losses.clear()
        pl_module.validation_losses.clear()
        epoch = len(record.validation_loss) - 1
        if not np.isfinite(record.validation_loss[-1]):
            raise TrainingError(
                f"The validation loss of epoch {epoch + 1} is no longer a number: the weights "
                "have grown beyond measure. Take a smaller learning_rate."
            )
        if record.best_epoch < 0 or record.validation_loss[-1] < min(record.validation_loss[:-1]):
            record.best_epoch = epoch
            self.best_weights = {
                name: value.detach().cpu().clone()
                for name, value in pl_module.network.state_dict().items()
            }
        trainer.should_stop = self._out_of_patience

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:  # noqa: ARG002
        if self.checkpoint is not None:
            if trainer.is_global_zero:
                with io.replacing(self.checkpoint / LAST) as partial:
                    trainer.save_checkpoint(partial)
            else:  # writes nothing, but the first process waits for it
                trainer.save_checkpoint(self.checkpoint / LAST)
        done = trainer.current_epoch + 1
        self._tell(trainer, self.plan.max_epochs if trainer.should_stop else done)

    def state_dict(self) -> dict[str, Any]:
        return {
            "training_loss": self.record.training_loss,
            "validation_loss": self.record.validation_loss,
            "best_epoch": self.record.best_epoch,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_weights = state_dict["best_weights"]
        self.record = TrainingRecord(
            state_dict["training_loss"], state_dict["validation_loss"], state_dict["best_epoch"]
        )


def _said(error: ProcessRaisedException) -> str:
    """What an exception in another process said: of its traceback, which is text, the last line."""
    last = error.msg.strip().splitlines()[-1]
    return last.removeprefix(f"{TrainingError.__module__}.{TrainingError.__qualname__}: ")


def _mean(trainer: pl.Trainer, losses: list[tuple[Tensor, int]]) -> float:
    """Mean over the samples of all devices: the last batch of an epoch is a short one."""
    total = torch.stack([loss * count for loss, count in losses]).sum()
    count = torch.tensor(float(sum(count for _, count in losses)), device=total.device)
    total, count = (trainer.strategy.reduce(part, reduce_op="sum") for part in (total, count))
    return float(total / count)


def _resumed(checkpoint: Path | None, learner: nn.Module) -> Path | None:
    """The checkpoint to go on from, checked to hold plain tensors only, of this network."""
    if checkpoint is None or not (checkpoint / LAST).exists():
        return None
    own = {name: value.shape for name, value in learner.state_dict().items()}
    found = _content(checkpoint / LAST)["state_dict"]
    if {name: value.shape for name, value in found.items()} != own:
        raise _damaged(checkpoint / LAST, "it holds another network")
    if not all(value.isfinite().all() for value in found.values()):
        raise _damaged(checkpoint / LAST, "its weights are no numbers")
    return checkpoint / LAST


def _content(path: Path) -> dict[str, Any]:
    """What a checkpoint holds: plain tensors only."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"state_dict", "callbacks", "loops"} - set(content)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except Exception as error:
        raise _damaged(path, error) from error
    return content


def _damaged(path: Path, reason: object) -> SurveyDataError:
    return SurveyDataError(
        f"{path} is no checkpoint of an interrupted training, or is damaged ({reason}). "
        "Remove it to train from the start."
    )


@contextlib.contextmanager
def _folder(checkpoint: Path | None, devices: int) -> Iterator[Path | None]:
    """Where checkpoints go: several processes need some place, if only for a while."""
    if checkpoint is not None or devices == 1:
        yield checkpoint
        return
    with tempfile.TemporaryDirectory(prefix="gossan-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's own generator set for a while, and put back."""
    # Of the processor's generator alone: to ask a GPU for its own would wake it, and processes that
    # are forked afterwards could not use it.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice to programmers is kept from the users of gossan."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*", FutureWarning)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
