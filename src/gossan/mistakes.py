"""What is wrong with a setting, in the user's words: the place, the value, the nearest word."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any, TypeGuard, get_args, get_origin

import numpy as np
import pyproj
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gossan.exceptions import StudyError
from gossan.grid import Grid


def suggest(word: str, known: list[str] | set[str] | dict[str, Any]) -> str:
    """``" Did you mean …?"`` with the nearest known word, or a list of all where none is near.

    Examples
    --------
    >>> suggest("extra-tree", ["extra-trees", "svm"])
    " Did you mean 'extra-trees'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(sorted(known))}." if known else ""


def near_names(words: list[str], known: list[str], most: int = 3) -> str:
    """``" Near: …"`` with some words and the known one nearest to each; nothing where none is.

    Examples
    --------
    >>> near_names(["Cu_ppm", "gravity"], ["cu_ppm", "Zn_ppm"])
    " Near: 'Cu_ppm' and 'cu_ppm'."
    """
    near = ((word, difflib.get_close_matches(word, known, n=1, cutoff=0.6)) for word in words)
    pairs = [f"{word!r} and {found[0]!r}" for word, found in near if found]
    return f" Near: {'; '.join(pairs[:most])}." if pairs else ""


def check_setting(owner: str, parameter: str, value: Any, expected: Any) -> None:
    """Raise StudyError unless ``value`` is of the type that a signature expects.

    Examples
    --------
    >>> check_setting("The sampler 'random'", "ratio", "5", float)
    Traceback (most recent call last):
    gossan.exceptions.StudyError: The sampler 'random' cannot use ratio = '5': Input should be a ...
    """
    if parameter == "estimator" and not (value is None or hasattr(value, "fit")):
        raise StudyError(
            f"{owner} cannot use {parameter} = {value!r}: an estimator is an object of Python, "
            "which a study file cannot hold. Leave it out for the default."
        )
    try:
        TypeAdapter(expected, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as error:
        wanted = " or ".join(sorted({problem["msg"] for problem in error.errors()}))
        raise StudyError(f"{owner} cannot use {parameter} = {value!r}: {wanted}.") from None


def nearest_file(path: Path, taken: Collection[Path] = ()) -> str:
    """A hint for a missing file: the nearest name in its folder, or that the folder is missing.

    Of files that are ``taken``, named for something else, only one that spells almost the same is
    meant.
    """
    if not path.parent.is_dir():
        return f" The folder {path.parent} does not exist."
    names = [entry.name for entry in path.parent.iterdir()]
    free = [name for name in names if path.parent / name not in taken]
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.9)
    near = near or difflib.get_close_matches(path.name, free, n=1, cutoff=0.5)
    if near:
        return f" Did you mean {near[0]!r}?"
    others = {0: "no file", 1: "1 other file"}.get(len(names), f"{len(names)} other files")
    return f" The folder holds {others}."


def degrees_hint(easting: float, northing: float, grid: Grid) -> str:
    """A hint for a place outside a study: where it lies if it was given in degrees.

    Parameters
    ----------
    easting, northing : float
        Of the place, as the user gave it; longitude and latitude, either first, if in degrees.
    grid : Grid
        Of the study.

    Returns
    -------
    str
        A sentence to put behind another, with a space before it; "" for a place within the study,
        and for one that cannot be meant in degrees.

    Examples
    --------
    >>> grid = Grid.from_bounds((600_000, 2_600_000, 700_000, 2_700_000), 500, "EPSG:32649")
    >>> degrees_hint(112.3, 24.1, grid)
    ' As longitude 112.3, latitude 24.1 (WGS 84) it is at 632130 2665910: give these.'
    >>> degrees_hint(500_000, 2_650_000, grid)
    ''
    """
    if grid.locate([easting], [northing])[0][0] >= 0:
        return ""
    to_study = pyproj.Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True)
    for longitude, latitude in ((easting, northing), (northing, easting)):
        if abs(longitude) > 180 or abs(latitude) > 90:
            continue
        east, north = to_study.transform(longitude, latitude)
        if np.isfinite([east, north]).all() and grid.locate([east], [north])[0][0] >= 0:
            return (
                f" As longitude {longitude:.12g}, latitude {latitude:.12g} (WGS 84) it is at "
                f"{east:.0f} {north:.0f}: give these."
            )
    if max(abs(easting), abs(northing)) <= 180 and min(abs(easting), abs(northing)) <= 90:
        return " These look like degrees: give easting and northing in the study's CRS."
    return ""


def explain_settings(
    errors: list[ErrorDetails], settings: dict[str, Any], root: type[BaseModel]
) -> list[str]:
    """Pydantic's errors in the user's words, one a setting: place, value, remedy.

    Parameters
    ----------
    errors : list of ErrorDetails
        What a ``ValidationError`` found.
    settings : dict
        The settings as read from the file.
    root : type
        The model of the whole file, whose fields' descriptions say what a setting means.
    """
    by_setting: dict[tuple[str | int | None, ...], list[ErrorDetails]] = {}
    for error in errors:
        path, _, key = _find_setting(error["loc"], root)
        by_setting.setdefault((*path, key), []).append(error)
    # A value that fits no branch of a union has one error a branch: the deepest says most.
    return [
        "  " + _explain_one(max(found, key=_depth), settings, root) for found in by_setting.values()
    ]


def _depth(error: ErrorDetails) -> tuple[int, bool]:
    return len(error["loc"]), error["type"] == "literal_error"


def _find_setting(
    location: tuple[str | int, ...], root: type[BaseModel]
) -> tuple[list[str | int], type[BaseModel], str | None]:
    """The path of the table that a location is in, the table, and the key (None: the table)."""
    table = root
    path, parts = list[str | int](), list(location)
    while parts:
        annotation = table.model_fields[str(parts[0])].annotation if _has(table, parts[0]) else None
        listed = get_origin(annotation) is list
        inner = get_args(annotation)[0] if listed else annotation
        if table is root:  # a table that a study may do without
            inner = next((part for part in get_args(annotation) if _is_table(part)), inner)
        steps = 2 if listed else 1
        if not _is_table(inner) or len(parts) < steps:
            return path, table, str(parts[0])
        table, path, parts = inner, path + parts[:steps], parts[steps:]
    return path, table, None


def _is_table(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _has(table: type[BaseModel], part: str | int) -> bool:
    return part in table.model_fields


def _explain_one(error: ErrorDetails, settings: dict[str, Any], root: type[BaseModel]) -> str:
    path, table, key = _find_setting(error["loc"], root)
    place, kind = _place(path, settings), error["type"]
    if key is None:
        if kind == "missing":
            return f"the study lacks the table {place}: {table.__doc__}"
        reason = (
            error["ctx"]["error"]
            if kind == "value_error"
            else f"head it with {place} on a line of its own"
        )
        return f"{place}: {reason}."
    if kind == "extra_forbidden":
        known = list(table.model_fields)
        inner = (
            f" A setting of what {place} names goes into its parameters: "
            f"parameters = {{ {key} = … }}."
            if "parameters" in known
            else ""
        )
        return f"unknown key {key!r} in {place}.{suggest(key, known)}{inner}"
    meaning = table.model_fields[key].description
    if kind == "missing" and len(error["loc"]) == len(path) + 1:
        return f"{place} lacks the key {key!r}: {meaning}."
    if kind == "value_error":
        return f"{place}: {key!r}: {error['ctx']['error']}."
    if meaning is None:
        return f"the study: {key!r} holds tables; head each with [[{key}]] on a line of its own."
    value: Any = settings
    for part in (*path, key):
        value = value[part]
    hint = ""
    if kind == "literal_error" and isinstance(value, str):
        words = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        hint = suggest(value, words)
    reason = "too few values" if kind == "missing" else error["msg"].removeprefix("Input ")
    return f"{place}: {key!r} is {value!r}: {reason}.{hint} It means: {meaning}."


def _place(path: list[str | int], settings: dict[str, Any]) -> str:
    """``[area]`` or ``[[samples]] number 2 (stream sediments)``."""
    if not path:
        return "the study"
    if len(path) == 1:
        return f"[{path[0]}]"
    table = settings[str(path[0])][path[1]]
    name = f" ({table['name']})" if isinstance(table, dict) and "name" in table else ""
    return f"[[{path[0]}]] number {int(path[1]) + 1}{name}"


def deep_module(name: str, what: str) -> Any:
    """Import a module that needs PyTorch.

    Parameters
    ----------
    name : str
    what : str
        What needs it, to begin a sentence with.

    Raises
    ------
    StudyError
        If PyTorch, or what comes with it, is not installed.

    Examples
    --------
    >>> deep_module("gossan.grid", "The method 'pixel-pairs'").__name__
    'gossan.grid'
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gossan"):
            raise
        raise StudyError(
            f"{what} needs {error.name}, which is not installed. "
            'Install it with: pip install "gossan[deep]"'
        ) from error
