"""What layers are measured in, and how large cells are: a backbone holds for those alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import xarray as xr

from gossan.exceptions import StudyError, SurveyDataWarning
from gossan.grid import Grid

_CELLS_ALIKE = 1.25
"""Cells this many times larger or smaller are told of."""


def measures(areas: Sequence[xr.DataArray]) -> dict[str, Any]:
    """Units of the layers and size of the cells of some areas, which must agree.

    Returns
    -------
    dict
        ``layers`` of all of them; ``units``, by layer, where they are known; ``cell_size`` in
        metres, or None.

    Raises
    ------
    StudyError
        If a layer has other units in another area.
    """
    found: dict[str, Any] = {"layers": [], "units": {}, "cell_size": None}
    for evidence in areas:
        check_measures(evidence, found)
        found["layers"] += evidence["layer"].to_numpy().astype(str).tolist()
        found["units"] = {**_units(evidence), **found["units"]}
        found["cell_size"] = found["cell_size"] or _cell_size(evidence)
    return found


def check_measures(evidence: xr.DataArray, learnt: dict[str, Any]) -> None:
    """Compare an area with what a backbone has learnt from.

    Parameters
    ----------
    evidence : xarray.DataArray
        ``(layer, y, x)``, with a coordinate ``unit`` where units are known.
    learnt : dict
        From :func:`measures`.

    Raises
    ------
    StudyError
        If a layer has other units: its numbers would mean something else.

    Warns
    -----
    SurveyDataWarning
        If the cells are of another size: a window shows more or less ground. If a unit is known on
        one side only.
    """
    known = learnt.get("units", {})
    for layer, unit in _units(evidence).items():
        if known.get(layer, unit) != unit:
            raise StudyError(
                f"The layer {layer!r} is in {unit} here and in {known[layer]} where the network "
                "learns. Give it in the same unit, or under another name."
            )
    names = set(evidence["layer"].to_numpy().astype(str).tolist()) & set(learnt.get("layers", ()))
    told = [name for name in names if (name in known) != (name in _units(evidence))]
    if told:
        where = "where the network learns" if told[0] not in known else "here"
        warnings.warn(
            f"The unit of {len(told)} layers, such as {min(told)!r}, is not known {where}: nothing "
            "tells whether their numbers mean the same on both sides.",
            SurveyDataWarning,
            stacklevel=3,
        )
    own, other = _cell_size(evidence), learnt.get("cell_size")
    if own and other and not 1 / _CELLS_ALIKE <= own / other <= _CELLS_ALIKE:
        warnings.warn(
            f"The cells are {own:.4g} m across here and {other:.4g} m where the network learns: "
            "its windows show another extent of ground.",
            SurveyDataWarning,
            stacklevel=3,
        )


def _units(evidence: xr.DataArray) -> dict[str, str]:
    if "unit" not in evidence.coords:
        return {}
    layers, units = (evidence[name].to_numpy().astype(str).tolist() for name in ("layer", "unit"))
    return {layer: unit for layer, unit in zip(layers, units, strict=True) if unit}


def _cell_size(evidence: xr.DataArray) -> float | None:
    """Width of a cell in metres; None where there is no CRS to tell it."""
    if evidence.rio.crs is None:
        return None
    grid = Grid.from_dataarray(evidence)
    return grid.cell_size[0] * grid.metres_per_unit
