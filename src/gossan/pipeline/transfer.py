"""Train a source on one study, for other studies to take from; and tell what was taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gossan.evidence import study_grid
from gossan.exceptions import StudyError
from gossan.grid import Grid
from gossan.mistakes import deep_module, suggest
from gossan.pipeline.folder import Progress, refuse_unwritable, run_folder
from gossan.pipeline.inputs import decided_labels, opened
from gossan.pipeline.sources import place_digests
from gossan.report import TransferShown
from gossan.study import Study

SOURCE = "source.safetensors"


def train_source_study(
    study: Study,
    *,
    output: Path | None = None,
    preset: str = "small",
    patch_window: int | None = None,
    patch_stride: int | None = None,
    crop: int | None = None,
    width: int | None = None,
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
    preset : {"small", "published"}, default "small"
        Width of the network, epochs and batches: see ``PRESETS`` there.
    patch_window, patch_stride, crop : int, optional
        Cells; see :class:`gossan.nn.selective_transfer.SelectiveTransferClassifier`.
    width : int, optional
        Channels of the first stage; default: the preset's.
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
    if preset not in room.PRESETS:
        raise StudyError(f"Unknown preset {preset!r}.{suggest(preset, room.PRESETS)}")
    chosen = dict(room.PRESETS[preset])
    preset_width = chosen.pop("width")
    plan = room.PatchTraining(**{**chosen, **settings})
    plan.check()
    sizes = {"patch_window": patch_window, "patch_stride": patch_stride, "crop": crop}
    sizes["width"] = preset_width if width is None else width
    room.check_source(study_grid(study).shape, **sizes)
    file = study.path.resolve().parent / SOURCE if output is None else Path(output)
    refuse_unwritable(file, "a source")
    tell = progress or (lambda *_: None)
    with opened(study, run_folder(study), progress) as at_hand:
        source = room.train_source(
            at_hand.evidence,
            decided_labels(at_hand.labels).to_numpy(),
            area=study.name,
            **sizes,
            settings=plan,
            deposits=place_digests(at_hand.deposits),
            seed=study.seed,
            progress=lambda done, total: tell("source", done, total),
        )
        source.save(file)
    return file


def transfer_shown(model: Any, evidence: xr.DataArray) -> TransferShown | None:
    """What the networks of a fitted model took of their source, for the report.

    Parameters
    ----------
    model : ensemble over draws
    evidence : xarray.DataArray
        ``(layer, y, x)``.

    Returns
    -------
    TransferShown or None
        None where the method does not transfer.
    """
    members = [each for each in getattr(model, "members_", ()) if hasattr(each, "openness_")]
    if not members:
        return None
    first = members[0]
    layers = pd.DataFrame(
        {
            "layer": [str(name) for name in evidence["layer"].to_numpy()],
            "weight": np.mean([member.mask_ for member in members], axis=0),
            "openness": np.mean([member.layer_openness_ for member in members], axis=0),
        }
    )
    kernels = [
        {"kernel": name, "openness": np.mean([member.openness_[name] for member in members])}
        for name in first.openness_
    ]
    source = first.source if first.transfer else None
    told = ("area", "layers", "patches", "with_deposits", "window")
    grid = Grid.from_dataarray(evidence)
    return TransferShown(
        source={} if source is None else {name: source.learned[name] for name in told},
        layers=layers,
        kernels=pd.DataFrame(kernels, columns=["kernel", "openness"]),
        sizes=first.sizes_,
        shape=evidence.shape[1:],
        cell_size=grid.cell_size[0] * grid.metres_per_unit,
        counts=first.patch_counts_,
        width=first.network_width,
        epochs=first.epochs,
        given=[name for name in ("patch_window", "patch_stride") if getattr(first, name)],
        left_out=len(first.dilations) - len(first.sizes_["dilations"]),
    )
