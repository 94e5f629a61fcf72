"""A trained model on another area, with a map of where it has seen nothing like it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gossan import io
from gossan.applicability import BEYOND, applicability
from gossan.draws import DrawEnsemble
from gossan.exceptions import StudyError, SurveyDataError
from gossan.mistakes import near_names
from gossan.pipeline.folder import SEEN, Progress, run_folder
from gossan.pipeline.inputs import opened_evidence
from gossan.predict import predict_map
from gossan.report import (
    applicability_style,
    area_thresholds,
    png_bytes,
    predicted_maps,
    score_style,
)
from gossan.study import Study

MAP, WARNING = "predicted.tif", "applicability.tif"


@dataclass(frozen=True)
class Predicted:
    """What :func:`predict_study` made.

    Attributes
    ----------
    path : Path
        The run folder of the other study.
    trained_on : str
        Name of the study that the model learnt.
    method : str
    unlike : float
        Share of the area unlike all that the model has seen.
    missing : list of str
        Layers of the model that the study lacks.
    """

    path: Path
    trained_on: str
    method: str
    unlike: float
    missing: list[str]


def predict_study(
    model: Path,
    study: Study,
    *,
    output: Path | None = None,
    allow_missing: bool = False,
    progress: Progress | None = None,
) -> Predicted:
    """Map another study's area by a model that a run left.

    Layers are matched by name. The run folder gets ``predicted.tif`` and ``applicability.tif``,
    styled for QGIS, ``predicted.png`` and ``predicted.json``.

    Parameters
    ----------
    model : path
        The folder ``model`` of a run, or the run folder that holds it.
    study : Study
        Of the other area; it needs no deposits.
    output : path, optional
        Run folder of the other study; default as :func:`run_study`'s.
    allow_missing : bool, default False
        Whether layers of the model that the study lacks are taken as missing in every cell.
    progress : callable, optional
        Called with (stage, steps done, steps in all).

    Raises
    ------
    SurveyDataError
        If the model cannot be read.
    StudyError
        If the study lacks layers of the model.
    """
    folder = model / "model" if (model / "model").is_dir() else model
    if not (folder / "model.json").exists():
        raise StudyError(
            f"{model} holds no model: give the folder of a run, such as runs/<name>. `gossan run` "
            "leaves one there."
        )
    estimator, description = io.load_model(folder)
    told = _described(folder, estimator, description)
    layers = told.layers
    seen = io.read_seen(folder / Path(SEEN).name, layers, told.seen)
    tell = progress or (lambda *_: None)
    with opened_evidence(study, run_folder(study, output), progress) as at_hand:
        evidence, missing = _of_layers(at_hand.evidence, layers, study, allow_missing=allow_missing)
        score = predict_map(estimator, evidence, progress=at_hand.run.steps("map"))
        unlike = applicability(
            evidence, seen, progress=lambda done, total: tell("applicability", done, total)
        )
        found = Predicted(
            path=at_hand.run.path,
            trained_on=told.study,
            method=str(told.method.get("name")),
            unlike=float((unlike.to_numpy() > BEYOND).sum() / np.isfinite(unlike).sum()),
            missing=missing,
        )
        _write(found, score, unlike)
    return found


class _Description(BaseModel):
    """What a run says of its model, as far as it is read here."""

    model_config = ConfigDict(strict=True)

    study: str
    method: dict[str, Any]
    layers: Annotated[list[str], Field(min_length=1)]
    seen: str


def _described(folder: Path, estimator: Any, description: dict[str, Any]) -> _Description:
    """The description of a model, and that the two belong together."""
    try:
        told = _Description.model_validate(description)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SurveyDataError(
            f"{folder / 'model.json'} is no description of a model ({where}: {first['msg']}). Run "
            "the model's study again."
        ) from error
    members = getattr(estimator, "members_", None)
    count = getattr(members[0], "n_features_in_", None) if members else None
    if not isinstance(estimator, DrawEnsemble) or not members:
        raise SurveyDataError(
            f"{folder / 'model.skops'} holds {type(estimator).__name__} and no model that a run "
            "left. Run the model's study again."
        )
    if count not in (None, len(told.layers)) and not hasattr(estimator.estimator, "look_at"):
        raise SurveyDataError(
            f"{folder / 'model.skops'} was fitted to {count} layers and model.json tells of "
            f"{len(told.layers)}: they are of two runs. Run the model's study again."
        )
    return told


def _of_layers(
    evidence: xr.DataArray, layers: list[str], study: Study, *, allow_missing: bool
) -> tuple[xr.DataArray, list[str]]:
    """The layers of the model, in its order; what the study lacks is missing in every cell."""
    known = [str(name) for name in evidence["layer"].to_numpy()]
    missing = [name for name in layers if name not in known]
    if len(missing) == len(layers) or (missing and not allow_missing):
        some = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
        remedy = (
            "Name the layers alike."
            if len(missing) == len(layers)
            else "Add them to the study, or let them be missing in every cell with --allow-missing."
        )
        raise StudyError(
            f"{study.path} lacks {len(missing)} of the model's {len(layers)} layers: {some}."
            f"{near_names(missing, [name for name in known if name not in layers])} {remedy}"
        )
    return evidence.reindex(layer=layers), missing


def _write(found: Predicted, score: xr.DataArray, unlike: xr.DataArray) -> None:
    path = found.path
    io.write_map(path / MAP, score)
    io.write_text(path / "predicted.qml", score_style(area_thresholds(score.to_numpy())))
    io.write_map(path / WARNING, unlike, bands=("applicability",))
    io.write_text(path / "applicability.qml", applicability_style())
    io.write_bytes(path / "predicted.png", png_bytes(predicted_maps(score, unlike)))
    io.write_json(
        path / "predicted.json",
        {
            "trained_on": found.trained_on,
            "method": found.method,
            "unlike": found.unlike,
            "beyond": BEYOND,
            "missing_layers": found.missing,
        },
    )
