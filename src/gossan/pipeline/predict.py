"""A trained model on another area, with a map of where it has seen nothing like it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import xarray as xr

from gossan import io
from gossan.applicability import BEYOND, applicability, strange_layers
from gossan.exceptions import StudyError, SurveyDataWarning
from gossan.grid import Grid
from gossan.io.files import remove
from gossan.mistakes import near_names
from gossan.pipeline.folder import Progress, run_folder
from gossan.pipeline.inputs import (
    OpenEvidence,
    decided_labels,
    opened_evidence,
    study_labels,
)
from gossan.pipeline.ranked import no_deposits, write_ranked
from gossan.pipeline.settings import least_distance
from gossan.pipeline.trained import Trained, trained_model
from gossan.predict import predict_map
from gossan.quality.layers import CellSample
from gossan.quality.verdicts import list_names
from gossan.report import (
    applicability_style,
    area_thresholds,
    png_bytes,
    predicted_maps,
    score_style,
)
from gossan.study import Study
from gossan.targets import find_targets

MAP, WARNING, TARGETS = "predicted.tif", "applicability.tif", "predicted.gpkg"
TOLD = "predicted.json"
"""Written last: where it is, the other files are of the same map."""
_ONE_VALUE = 1e-6
"""Scores that differ by less are one."""


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
    targets : geopandas.GeoDataFrame
        Where its scores are highest, best first, as :func:`gossan.targets.find_targets` gives them;
        ``unlike`` is the applicability at the peak.
    unlike : float
        Share of the area unlike all that the model has seen.
    missing : list of str
        Layers of the model that the study lacks.
    strange : list of str
        Layers in another unit or of quite other values than the model has seen.
    own : bool
        Whether the study is the one that the model learnt, and has not changed since.
    uniform : bool
        Whether the map has one value everywhere.
    """

    path: Path
    trained_on: str
    method: str
    targets: gpd.GeoDataFrame
    unlike: float
    missing: list[str]
    strange: list[str]
    own: bool
    uniform: bool

    @property
    def targets_unlike(self) -> int:
        """How many targets stand on ground unlike all that the model has seen."""
        return int((self.targets["unlike"] > BEYOND).sum())


def predict_study(
    model: Path,
    study: Study,
    *,
    output: Path | None = None,
    allow_missing: bool = False,
    progress: Progress | None = None,
) -> Predicted:
    """Map another study's area by a model that a run left.

    Layers are matched by name. The run folder gets ``predicted.tif``, ``applicability.tif`` and
    ``predicted.gpkg``, the targets, styled for QGIS, ``predicted.png`` and ``predicted.json``.

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
        If there is no model, or the study lacks layers of it.
    LabelError
        If the study names deposits and none of them lies on its evidence.

    Warns
    -----
    SurveyDataWarning
        If layers are in other units, or so unlike those of the model that they probably are.
    """
    trained = trained_model(model)
    tell = progress or (lambda *_: None)
    with opened_evidence(study, run_folder(study, output), progress) as at_hand:
        evidence, missing = _of_layers(
            at_hand.evidence, trained.layers, study, allow_missing=allow_missing
        )
        strange = _strange(trained, evidence, study)
        labels = _known_ground(study, at_hand)
        score = predict_map(trained.estimator, evidence, progress=at_hand.run.steps("map"))
        if not np.isfinite(score).any():
            raise StudyError(
                f"{study.path}: no cell has a value in any layer of the model: nothing is mapped."
            )
        # A layer that is missing everywhere would be alike everywhere.
        known = [number for number, name in enumerate(trained.layers) if name not in missing]
        unlike = applicability(
            evidence.isel(layer=known),
            trained.seen[:, known],
            progress=lambda done, total: tell("applicability", done, total),
        )
        uniform = bool(np.nanmax(score) - np.nanmin(score) < _ONE_VALUE)
        targets = _targets(study, at_hand, labels, score, unlike)
        found = Predicted(
            path=at_hand.run.path,
            trained_on=trained.study,
            method=trained.method,
            targets=targets[:0] if uniform else targets,  # what is left of differences is noise
            unlike=float((unlike.to_numpy() > BEYOND).sum() / np.isfinite(unlike).sum()),
            missing=missing,
            strange=strange,
            own=trained.study_file == study.path.resolve()
            and trained.made_of == at_hand.keys["model"],
            uniform=uniform,
        )
        _write(found, score, unlike)
    return found


def _known_ground(study: Study, at_hand: OpenEvidence) -> xr.DataArray:
    """Cells of the other area's own deposits; an area whose study names none is new all over."""
    if at_hand.deposits is None:
        grid = Grid.from_dataarray(at_hand.evidence)
        return grid.to_dataarray(np.full(grid.shape, -1, dtype=np.int8))
    path, decisions = at_hand.run.path, at_hand.decisions
    return decided_labels(study_labels(study, path, at_hand.evidence, at_hand.deposits, decisions))


def _targets(
    study: Study,
    at_hand: OpenEvidence,
    labels: xr.DataArray,
    score: xr.DataArray,
    unlike: xr.DataArray,
) -> gpd.GeoDataFrame:
    """The best new ground of the other area, with how unlike it is at each peak."""
    known = at_hand.deposits
    apart = least_distance(study, at_hand.evidence)
    found, _ = find_targets(
        score,
        labels,
        no_deposits(Grid.from_dataarray(score)) if known is None else known,
        **study.targets.model_dump() | {"min_distance": apart},
    )
    peaks = found["row"].to_numpy(), found["column"].to_numpy()
    return found.assign(unlike=unlike.to_numpy()[peaks])


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


def _strange(trained: Trained, evidence: xr.DataArray, study: Study) -> list[str]:
    """Layers that the model has seen in other units, or of quite other values; they are told."""
    units = evidence["unit"].to_numpy() if "unit" in evidence.coords else [""] * len(evidence)
    said = {
        layer: f"{layer} ({here} here, {there} there)"
        for layer, here, there in zip(trained.layers, units, trained.units or units, strict=True)
        if isinstance(here, str) and _other_unit(here, there)
    }
    sample = CellSample.draw(evidence, max_cells=len(trained.seen), random_state=study.seed)
    for row in strange_layers(sample.values, trained.seen, trained.layers).itertuples():
        text = f"{row.layer} (median {row.median:.3g} here, {row.seen:.3g} there)"
        said.setdefault(str(row.layer), text)
    if said:
        listed = list_names(list(said.values()))
        warnings.warn(
            f"{study.path}: {len(said)} of {len(trained.layers)} layers are not what the model has "
            f"seen under their names: {listed}. Units, the transform, the elements that a "
            "log-ratio is taken over, or the digestion may differ: make them alike in both "
            "studies, for a map of mixed ones means nothing.",
            SurveyDataWarning,
            stacklevel=3,
        )
    return list(said)


def _other_unit(here: str, there: str) -> bool:
    """Whether two units differ; of one that is not known only a logarithm tells."""
    return here != there and (bool(here and there) or "ln" in (here, there))


def _write(found: Predicted, score: xr.DataArray, unlike: xr.DataArray) -> None:
    path = found.path
    remove(path / TOLD)
    io.write_map(path / MAP, score)
    io.write_text(path / "predicted.qml", score_style(area_thresholds(score.to_numpy())))
    io.write_map(path / WARNING, unlike, bands=("applicability",))
    io.write_text(path / "applicability.qml", applicability_style())
    write_ranked(path / TARGETS, found.targets)
    picture = predicted_maps(score, unlike, found.targets)
    io.write_bytes(path / "predicted.png", png_bytes(picture))
    io.write_json(
        path / TOLD,
        {
            "trained_on": found.trained_on,
            "method": found.method,
            "unlike": found.unlike,
            "beyond": BEYOND,
            "missing_layers": found.missing,
            "strange_layers": found.strange,
            "own_study": found.own,
            "one_value": found.uniform,
            "targets": len(found.targets),
            "targets_unlike": found.targets_unlike,
        },
    )
