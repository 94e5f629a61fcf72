"""What options of commands mean, and which of them cannot be given together."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from gossan.exceptions import StudyError


def named(text: str | None) -> list[str] | None:
    """Names of a comma-separated option."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def settings_of(text: str) -> dict[str, Any]:
    """``inner=5,pair=stack`` as settings: numbers and booleans as TOML has them, else text."""
    import tomllib

    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise StudyError(f"--set {text!r} is no list of settings: write it as inner=5,outer=7.")
        if name in found:
            raise StudyError(f"--set {text!r} gives {name} twice: another --set is another row.")
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    return found


def refuse_comma(words: list[str]) -> None:
    """Refuse a place written as one word, which would only be called a missing argument."""
    places = [after for option, after in pairwise(words) if option == "--at"]
    places += [word.removeprefix("--at=") for word in words if word.startswith("--at=")]
    for place in places:
        if "," in place:
            raise StudyError(
                f"--at {place} has a comma: put a space between easting and northing, and a point "
                "before decimals."
            )


def refuse_idle(
    at: bool, maps: bool, *, cells: int | None, explainer: str | None, layers: int | None
) -> None:
    """Refuse options of `explain` that would change nothing: whoever gives one expects it to."""
    if maps and at:
        raise StudyError("--maps explains the whole area and --at one place: give one of them.")
    if cells is not None and not maps:
        raise StudyError("--cells says how many cells --maps explains: give --maps too.")
    if explainer is not None and not (at or maps):
        raise StudyError(
            "--explainer says how a place or the maps are explained: give --at EASTING NORTHING "
            "or --maps too."
        )
    if layers is not None and maps:
        raise StudyError("--layers says how many layers are listed, and --maps maps every one.")


def explainer_of(name: str) -> Any:
    """One of the explainers, or an error that lists them."""
    from gossan.mistakes import suggest

    known = ["auto", "gradients", "shap", "removal"]
    if name not in known:
        raise StudyError(f"Unknown explainer {name!r}.{suggest(name, known)}")
    return name
