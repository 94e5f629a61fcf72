"""Commented TOML: values, settings with the reason above them, and settings left as comments."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

_WIDTH = 96


def toml_value(value: Any) -> str:
    """A value as TOML spells it.

    Examples
    --------
    >>> print(toml_value({"Cu": "pct", "a b": [1, 2.5, True]}))
    { Cu = "pct", "a b" = [1, 2.5, true] }
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, Mapping):
        pairs = [f"{_key(str(key))} = {toml_value(part)}" for key, part in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(toml_value(part) for part in value)}]"
    return _text(str(value))


def setting(key: str, value: Any, *reasons: str) -> list[str]:
    """Lines of a setting, each reason a comment above it."""
    written = f"{key} = {toml_value(value)}"
    if len(written) > _WIDTH + 4 and isinstance(value, Sequence) and not isinstance(value, str):
        parts = ", ".join(toml_value(part) for part in value)
        lines = textwrap.wrap(parts, _WIDTH, break_long_words=False, break_on_hyphens=False)
        written = "\n".join([f"{key} = [", *(f"  {line}" for line in lines), "]"])
    return [*comment(*reasons), *written.split("\n")]


def alternative(key: str, value: Any, *reasons: str) -> list[str]:
    """Lines of a setting that is not taken: remove the ``#`` to take it."""
    return [*comment(*reasons), f"# {key} = {toml_value(value)}"]


def comment(*texts: str) -> list[str]:
    """Wrapped comment lines."""
    return [
        line
        for text in texts
        for line in textwrap.wrap(
            text,
            _WIDTH,
            initial_indent="# ",
            subsequent_indent="#   ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def meaning(table: type[BaseModel], key: str) -> str:
    """What a setting means, as the study file's own description says it."""
    return table.model_fields[key].description or ""


def defaults(table: type[BaseModel], *, but: Sequence[str] = ()) -> list[str]:
    """Every other setting of a table at its default, as comments with their meaning."""
    lines = []
    for key, field in table.model_fields.items():
        if key not in but and not field.is_required():
            value = field.get_default(call_default_factory=True)
            shown = f"{key} = {'…' if value is None else toml_value(value)}"
            lines.append(f"# {shown:<29} # {field.description}")
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(text: str) -> str:
    if '"' in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    # JSON escapes all that TOML wants escaped, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
