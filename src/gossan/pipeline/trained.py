"""The model that a run left: where it lies, what it says of itself, and what it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gossan import io
from gossan.applicability import refuse_few
from gossan.draws import DrawEnsemble
from gossan.exceptions import StudyError, SurveyDataError
from gossan.mistakes import nearest_file
from gossan.pipeline.folder import SEEN, RunFolder, claimed_by

_LISTED = 5


@dataclass(frozen=True)
class Trained:
    """A model that a run left.

    Attributes
    ----------
    estimator : DrawEnsemble
        Fitted.
    study : str
        Name of the study that it learnt.
    study_file : Path or None
        That study's file; None where the model lies in no run folder.
    made_of : str or None
        Hash of what it was made from, as :func:`gossan.pipeline.keys.stage_keys` tells it; None
        where the model lies in no run folder.
    method : str
    layers : list of str
        What it is to be given, in its order.
    units : list of str or None
        Of the layers, such as ``"clr"`` or ``"ppm"``, "" where there is none; None where the run
        recorded none.
    seen : ndarray of shape (n, layers)
        A sample of the cells that it saw.
    """

    estimator: DrawEnsemble
    study: str
    study_file: Path | None
    made_of: str | None
    method: str
    layers: list[str]
    units: list[str] | None
    seen: npt.NDArray[np.float32]


def trained_model(path: Path) -> Trained:
    """Read the model that a run left.

    Parameters
    ----------
    path : path
        The folder ``model`` of a run, or the run folder that holds it.

    Raises
    ------
    StudyError
        If there is none, with what there is instead.
    SurveyDataError
        If it cannot be read, its files do not belong together, or it has kept too few of the cells
        that it saw.
    """
    folder = _model_folder(path)
    estimator, description = io.load_model(folder)
    told = _described(folder, estimator, description)
    seen = io.read_seen(folder / Path(SEEN).name, told.layers, told.seen)
    refuse_few(seen)
    run = RunFolder(folder.resolve().parent)
    return Trained(
        estimator=estimator,
        study=told.study,
        study_file=claimed_by(run.path),
        made_of=run.made_of("model"),
        method=str(told.method.get("name")),
        layers=told.layers,
        units=told.units,
        seen=seen,
    )


def _model_folder(path: Path) -> Path:
    for folder in (path / "model", path):
        if (folder / "model.json").is_file():
            return folder
    if not path.exists():
        raise StudyError(f"{path} does not exist.{nearest_file(path)} Give the folder of a run.")
    raise StudyError(
        f"{path} holds no model: give the folder of a run, such as runs/<name>. {_hint(path)}"
    )


def _hint(path: Path) -> str:
    """What there is instead of a model, and the way on from there."""
    folder = path if path.is_dir() else path.parent
    if (folder / "model.json").is_file():
        return f"Its folder holds one: give {folder}."
    models = _found(folder, [f"{runs}/model/model.json" for runs in ("*", "runs/*", "*/runs/*")])
    runs = [model.parents[1] for model in models]
    if runs:
        return f"There {_is(runs)} in it: give {'one of ' * (len(runs) > 1)}{_listed(runs)}."
    study = claimed_by(folder)
    if study is not None:
        return f"It is the run folder of {study}, without a model: `gossan run` leaves one there."
    studies = [file.parent for file in _found(folder, ["study.toml", "*/study.toml"])]
    if studies:
        several = f"{len(studies)} studies, none of which has been run"
        return (
            f"It holds {'a study that was not run yet' if len(studies) == 1 else several}: `gossan "
            f"run {studies[0]}` leaves a model in {studies[0] / 'runs'}."
        )
    return "`gossan run` leaves one there."


def _found(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted(file for pattern in patterns for file in folder.glob(pattern))


def _is(runs: Sequence[Path]) -> str:
    return "is one run" if len(runs) == 1 else f"are {len(runs)} runs"


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths[:_LISTED])) + (", …" if len(paths) > _LISTED else "")


class _Description(BaseModel):
    """What a run says of its model, as far as it is read here."""

    model_config = ConfigDict(strict=True)

    study: str
    method: dict[str, Any]
    layers: Annotated[list[str], Field(min_length=1)]
    units: list[str] | None = None
    seen: str

    @model_validator(mode="after")
    def _a_unit_a_layer(self) -> _Description:
        if self.units is not None and len(self.units) != len(self.layers):
            raise ValueError(f"{len(self.units)} units of {len(self.layers)} layers")
        return self


def _described(folder: Path, estimator: Any, description: dict[str, Any]) -> _Description:
    """The description of a model, and that the two belong together."""
    try:
        told = _Description.model_validate(description)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "units"
        raise SurveyDataError(
            f"{folder / 'model.json'} is no description of a model ({where}: {first['msg']}). Run "
            "the model's study again."
        ) from error
    members = getattr(estimator, "members_", None)
    whole = isinstance(members, list) and all(hasattr(m, "predict_proba") for m in members)
    count = getattr(members[0], "n_features_in_", None) if members and whole else None
    if not isinstance(estimator, DrawEnsemble) or not members or not whole:
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
