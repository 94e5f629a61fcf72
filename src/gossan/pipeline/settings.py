"""From a study's settings to deposits, estimator, sampler and splitter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import xarray as xr
from sklearn import config_context

from gossan import io
from gossan.evidence import study_grid
from gossan.exceptions import StudyError
from gossan.grid import Grid
from gossan.labels import NegativeSampler
from gossan.methods import METHODS, make_model, make_sampler
from gossan.mistakes import deep_module, nearest_file, suggest
from gossan.pipeline.sources import refuse_own_source
from gossan.splits import make_splitter
from gossan.study import Study


def read_deposits(study: Study) -> gpd.GeoDataFrame:
    """The known deposits of a study, as points in its CRS with a column ``name``."""
    path = study.resolve_one(study.known.file)
    return io.read_deposits(study.known, path, study_grid(study).crs)


def study_model(study: Study) -> tuple[Any, NegativeSampler, int]:
    """The unfitted estimator, the sampler and the number of draws that a study asks for."""
    name = study.method.name
    parameters = method_parameters(study, name)
    model = make_model(name, random_state=study.seed, screen=study.method.screen, **parameters)
    sampler, draws = study_sampler(study)
    return model, sampler, draws


def model_in_words(study: Study) -> str:
    """The estimator with every setting that is in force, the catalogue's and the class's too."""
    with config_context(print_changed_only=False):
        return " ".join(study_model(study)[0].__repr__(N_CHAR_MAX=10_000).split())


def method_parameters(study: Study, method: str) -> dict[str, Any]:
    """The study's settings of a method, and what follows from its deposits."""
    parameters = dict(study.method.parameters) if method == study.method.name else {}
    if method == study.method.name:
        files = method_files(study)
        parameters |= {k: METHODS[method].files[k].load(file) for k, file in files.items()}
    if method == "weights-of-evidence" and study.deposits is not None:
        # A deposit is its footprint's cells.
        parameters.setdefault("cells_per_deposit", float(study.deposits.footprint**2))
    return parameters


def method_files(study: Study) -> dict[str, Path]:
    """The files that a study's method learns from, such as a backbone, by the setting's name.

    They are named as seen from the study file.

    Raises
    ------
    StudyError
        If the method is unknown; if nothing is there, naming the nearest file that is; or if it is
        the home folder of a user whom this machine does not know.
    """
    found: dict[str, Path] = {}
    method = study.method.name
    if method not in METHODS:
        raise StudyError(f"{study.path}: Unknown method {method!r}.{suggest(method, METHODS)}")
    for setting, kind in METHODS[method].files.items():
        name = study.method.parameters.get(setting)
        if not isinstance(name, str):
            continue
        try:
            file = study.path.resolve().parent / Path(name).expanduser()
        except RuntimeError as error:
            raise StudyError(
                f"{study.path}: {setting} = {name!r} lies in the home folder of a user who is "
                "unknown here. Write the path from the study file's folder, or the whole path."
            ) from error
        if not file.is_file():
            raise StudyError(
                f"{study.path}: {setting} = {name!r} names {file.resolve()}, where no file is."
                f"{nearest_file(file)} `{kind.made_by}` makes one; a path is read from the study "
                "file's folder."
            )
        found[setting] = file
    return found


def masked_autoencoders() -> Any:
    """The room of masked autoencoders.

    Raises
    ------
    StudyError
        If PyTorch is not installed.
    """
    return deep_module("gossan.nn.masked_autoencoder", "Pretraining")


def study_sampler(study: Study) -> tuple[NegativeSampler, int]:
    """The sampler of negatives, and the number of draws, that a study asks for."""
    method = METHODS[study.method.name]
    name, parameters = study.negatives.sampler, dict(study.negatives.parameters)
    if name == "default":
        name, parameters = method.negatives, {**method.negatives_parameters, **parameters}
    if name == "other-deposits":
        parameters["occurrences"] = other_occurrences(study)
    return make_sampler(name, **parameters), study.negatives.draws or method.draws


def other_occurrences(study: Study) -> list[list[float]] | None:
    """Easting and northing of the occurrences of other commodities, if the study names any."""
    settings = study.negatives.occurrences
    if settings is None:
        return None
    path = study.resolve_one(settings.file)
    found = io.read_deposits(settings, path, study_grid(study).crs)
    return np.column_stack([found.geometry.x, found.geometry.y]).tolist()


def least_distance(study: Study, evidence: xr.DataArray) -> float | Literal["auto"]:
    """How far new ground is from known deposits: within one sample spacing it is their own halo."""
    chosen, resolution = study.targets.min_distance, median_resolution(evidence)
    two_cells = 2.0 * max(Grid.from_dataarray(evidence).cell_size)
    return resolution if chosen == "auto" and resolution > two_cells else chosen


def median_resolution(evidence: xr.DataArray) -> float:
    """Median over the layers of the resolution of what they were made from, in CRS units.

    Of samples it is their spacing; 0 where no layer has one.
    """
    known = np.asarray(evidence["resolution"].to_numpy(), dtype=float)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if len(known) else 0.0


def check_settings(study: Study) -> None:
    """Raise now, not after an hour, if deposits cannot be read or the method cannot be made."""
    deposits = read_deposits(study)
    check_method(study)
    refuse_own_source(study_model(study)[0], deposits)


def check_method(study: Study) -> None:
    """Raise if method, sampler or splitter cannot be made; the study may have no deposits."""
    model, sampler, _ = study_model(study)
    idle = METHODS[study.method.name].idle(study.method.parameters)
    if idle:
        raise StudyError(
            f"{study.path}: the method {study.method.name!r} makes no use of {', '.join(idle)} as "
            "it is set: other parameters rule it out, such as a backbone that is trained already, "
            "or it belongs to another method. Remove it from [method] parameters."
        )
    sampler.check()
    if hasattr(model, "check"):
        model.check()
    window = int(getattr(model, "window", 1))
    if window > 1:
        _check_window(study, window)
    if hasattr(model, "sizes"):  # of patches, which must fit the area
        model.sizes(study_grid(study).shape)
    study_splitter(study)


def _check_window(study: Study, window: int) -> None:
    """A window larger than the area would compare every cell with the whole of it."""
    grid = study_grid(study)
    rows, columns = grid.shape
    if window > min(rows, columns):
        raise StudyError(
            f"The method {study.method.name!r} looks at windows of {window} × {window} cells, and "
            f"the area has {rows} × {columns} cells of {grid.cell_size[0]:g} m. Set a smaller "
            "window in [method] parameters, or a smaller cell_size in [area]."
        )


def study_splitter(study: Study) -> Any:
    """The splitter that a study asks for."""
    settings = study.validation
    parameters: dict[str, Any] = {"dead_zone": settings.dead_zone}
    if settings.splitter != "leave-one-deposit-out":
        parameters |= {"n_splits": settings.folds, "random_state": study.seed}
    return make_splitter(settings.splitter, **parameters)
