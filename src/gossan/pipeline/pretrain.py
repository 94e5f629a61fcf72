"""Pretrain a backbone on the evidence of one or several studies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gossan import io
from gossan.exceptions import StudyError
from gossan.pipeline.folder import Progress, run_folder
from gossan.pipeline.inputs import opened
from gossan.pipeline.settings import masked_autoencoders
from gossan.study import Study

BACKBONE = "backbone.safetensors"


def pretrain_study(
    study: Study,
    also: Sequence[Study] = (),
    *,
    output: Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Path:
    """Learn from the evidence of studies, without their labels, into one file.

    The evidence is built in each study's run folder unless it is there. Layers are matched by
    name. A stopped pretraining goes on where it was.

    Parameters
    ----------
    study : Study
    also : sequence of Study
        Further areas.
    output : path, optional
        The file; default: ``backbone.safetensors`` beside the study file.
    progress : callable, optional
        Called with (stage, steps done, steps in all).
    **settings
        Of :class:`gossan.nn.masked_autoencoder.Pretraining`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StudyError
        If two studies have one name, a setting cannot be, or PyTorch is not installed.
    """
    masked_autoencoder = masked_autoencoders()
    plan = masked_autoencoder.Pretraining(**{"random_state": study.seed, **settings})
    plan.check()
    file = study.path.resolve().parent / BACKBONE if output is None else Path(output)
    if file.suffix != ".safetensors":
        raise StudyError(f"{file} cannot hold a backbone: name it …{file.stem}.safetensors.")
    studies = [study, *also]
    names = [each.name for each in studies]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise StudyError(
            f"Two studies are named {twice.pop()!r}: give each area a name of its own."
        )
    tell = progress or (lambda *_: None)
    with ExitStack() as stack:
        at_hand = [
            stack.enter_context(opened(each, run_folder(each), _called(tell, each, len(studies))))
            for each in studies
        ]
        kept = at_hand[0].run.path / ".stages" / "networks"
        with io.networks_kept(kept):
            backbone = masked_autoencoder.pretrain(
                {each.name: found.evidence for each, found in zip(studies, at_hand, strict=True)},
                plan,
                progress=lambda done, total: tell("pretraining", done, total),
            )
        backbone.save(file)
    return file


def _called(tell: Progress, study: Study, count: int) -> Progress:
    """Stages of one of several studies, by its name."""
    if count == 1:
        return tell
    return lambda stage, done, total: tell(f"{stage}, {study.name}", done, total)
