"""Pretrain a backbone on the evidence of one or several studies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gossan import io
from gossan.exceptions import StudyError
from gossan.pipeline.folder import Progress, refuse_unwritable, run_folder
from gossan.pipeline.inputs import OpenEvidence, opened_evidence
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
        If two studies have one name or are one file, a further area has no layer of the first, a
        setting cannot be, or PyTorch is not installed.
    GossanError
        If the file cannot be written: told before anything is learnt.
    """
    masked_autoencoder = masked_autoencoders()
    plan = masked_autoencoder.Pretraining(**{"random_state": study.seed, **settings})
    plan.check()
    file = study.path.resolve().parent / BACKBONE if output is None else Path(output)
    studies = [study, *also]
    _refuse_twice(studies)
    refuse_unwritable(file, "a backbone")
    tell = progress or (lambda *_: None)
    with ExitStack() as stack:
        at_hand = [
            stack.enter_context(
                opened_evidence(each, run_folder(each), _called(tell, each, len(studies)))
            )
            for each in studies
        ]
        _refuse_strange(studies, at_hand)
        kept = at_hand[0].run.path / ".stages" / "networks"
        with io.networks_kept(kept):
            backbone = masked_autoencoder.pretrain(
                {each.name: found.evidence for each, found in zip(studies, at_hand, strict=True)},
                plan,
                progress=lambda done, total: tell("pretraining", done, total),
            )
        backbone.save(file)
    return file


def _refuse_twice(studies: Sequence[Study]) -> None:
    """Run folders and messages tell areas apart by name."""
    named: dict[str, Path] = {}
    for study in studies:
        file, other = study.path.resolve(), named.get(study.name)
        if other is not None:
            remedy = "give each area a name of its own"
            if other == file:
                remedy = f"{study.path} is given twice. Name only further studies with --also"
            raise StudyError(f"Two studies are named {study.name!r}: {remedy}.")
        named[study.name] = file


def _refuse_strange(studies: Sequence[Study], at_hand: Sequence[OpenEvidence]) -> None:
    """Layers are matched by name: an area without any of the first's has nothing to add to it."""
    layers = [set(found.evidence["layer"].to_numpy().astype(str)) for found in at_hand]
    for study, own in zip(studies[1:], layers[1:], strict=True):
        if not own & layers[0]:
            raise StudyError(
                f"{study.path} has no layer of {studies[0].path}: {_some(own)} there, "
                f"{_some(layers[0])} here. Layers are matched by name: give the same layer the "
                "same name in both, or leave that study out."
            )


def _some(layers: set[str]) -> str:
    """The first few names."""
    shown = sorted(layers)[:4]
    return ", ".join(shown) + (" …" if len(layers) > len(shown) else "")


def _called(tell: Progress, study: Study, count: int) -> Progress:
    """Stages of one of several studies, by its name."""
    if count == 1:
        return tell
    return lambda stage, done, total: tell(f"{stage}, {study.name}", done, total)
