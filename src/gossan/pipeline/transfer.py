"""Train a source on one study, for other studies to take from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gossan.mistakes import deep_module
from gossan.pipeline.folder import Progress, refuse_unwritable, run_folder
from gossan.pipeline.inputs import decided_labels, opened
from gossan.study import Study

SOURCE = "source.safetensors"


def train_source_study(
    study: Study,
    *,
    output: Path | None = None,
    patch_window: int | None = None,
    patch_stride: int | None = None,
    crop: int | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Path:
    """Learn the patches of a study, with its deposits, into one file.

    The evidence is built in the study's run folder unless it is there. A stopped training goes on
    where it was.

    Parameters
    ----------
    study : Study
    output : path, optional
        The file; default: ``source.safetensors`` beside the study file.
    patch_window, patch_stride, crop : int, optional
        Cells; see :class:`gossan.nn.selective_transfer.SelectiveTransferClassifier`.
    progress : callable, optional
        Called with (stage, steps done, steps in all).
    **settings
        Of :class:`gossan.nn.selective_transfer.PatchTraining`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StudyError
        If a size or setting cannot be, or PyTorch is not installed.
    LabelError
        If no patch has a deposit, or all have one.
    GossanError
        If the file cannot be written: told before anything is learnt.
    """
    room = deep_module("gossan.nn.selective_transfer", "Selective transfer")
    plan = room.PatchTraining(**settings)
    plan.check()
    file = study.path.resolve().parent / SOURCE if output is None else Path(output)
    refuse_unwritable(file, "a source")
    tell = progress or (lambda *_: None)
    with opened(study, run_folder(study), progress) as at_hand:
        source = room.train_source(
            at_hand.evidence,
            decided_labels(at_hand.labels).to_numpy(),
            area=study.name,
            patch_window=patch_window,
            patch_stride=patch_stride,
            crop=crop,
            settings=plan,
            seed=study.seed,
            progress=lambda done, total: tell("source", done, total),
        )
        source.save(file)
    return file
