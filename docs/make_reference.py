"""Write docs/study-file.md and docs/methods.md from the settings and the catalogue themselves.

    python docs/make_reference.py

A test holds both pages equal to what this script writes.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from gossan.methods import DEFAULT_METHOD, METHODS, SAMPLERS, Method
from gossan.study import Study

HERE = Path(__file__).resolve().parent

STUDY_PAGE = """# The study file

A study is one TOML file. `gossan new FOLDER` drafts it from the files of a survey; this page lists
every key. Unknown keys are errors, with the nearest known key named. File names are relative to the
study file, or to the open survey named by `survey`. This page is written by
`docs/make_reference.py`.
"""

METHODS_PAGE = f"""# Methods

A method is an estimator with an entry in the catalogue; `[method] name = "…"` in a study file
chooses it, and `[method] parameters = {{ … }}` changes its settings. The default is
`{DEFAULT_METHOD}`. Their held-out figures on real surveys are in [Results](results.md). This page
is written by `docs/make_reference.py`.
"""


def study_page() -> str:
    """The study file's tables, key by key."""
    parts = [STUDY_PAGE, _keys("The study", Study, top=True)]
    for key, field in Study.model_fields.items():
        table, several = _table(field.annotation)
        if table is not None:
            heading = f"`[[{key}]]`" if several else f"`[{key}]`"
            parts.append(_keys(f"{heading}: {_first_line(table)}", table))
            for inner, held in table.model_fields.items():
                nested = _optional_table(held.annotation)
                if nested is not None:
                    parts.append(_keys(f"`[{key}.{inner}]`: {_first_line(nested)}", nested))
    return "\n".join(parts)


def methods_page() -> str:
    """The catalogue and the samplers."""
    parts = [METHODS_PAGE]
    for method in METHODS.values():
        draws = f", averaged over {method.draws} draws" if method.draws > 1 else ""
        settings = "".join(f", {k} = {v}" for k, v in method.negatives_parameters.items())
        parts += [
            f"## `{method.name}`: {method.title}\n",
            f"{method.summary}\n",
            f"**When to use.** {method.when_to_use}\n",
            f"**Missing values.** {method.missing_values}\n",
            f"**Negatives by default.** `{method.negatives}`{settings}{draws}.\n",
            f"**Settings.** {_settings(method)}\n",
        ]
    parts.append("## Negatives\n")
    for name, sampler in SAMPLERS.items():
        parts.append(f"- `{name}`: {_first_line(sampler)}")
    return "\n".join([*parts, ""])


def _settings(method: Method) -> str:
    """Every setting with the value that the catalogue gives it."""
    parameters = inspect.signature(method.estimator).parameters.values()
    shown = {p.name: method.parameters.get(p.name, p.default) for p in parameters}
    shown.pop("random_state", None)
    given = [f"`{name} = {_toml(value)}`" for name, value in shown.items() if value is not None]
    none = [f"`{name}`" for name, value in shown.items() if value is None]
    text = ", ".join(given) or "none"
    return f"{text}; unset: {', '.join(none)}." if none else f"{text}."


def _keys(heading: str, table: type[BaseModel], *, top: bool = False) -> str:
    lines = [f"## {heading}\n", "| key | default | what it is |", "|---|---|---|"]
    for key, field in table.model_fields.items():
        if top and _table(field.annotation)[0] is not None:
            continue
        default = field.default
        if field.default_factory is not None:
            default = field.default_factory()
        shown = "required" if default is PydanticUndefined else f"`{_toml(default)}`"
        shown = "" if default is None else shown
        lines.append(f"| `{key}` | {shown} | {field.description or ''} |")
    return "\n".join([*lines, ""])


def _table(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    several = get_origin(annotation) is list
    inner = get_args(annotation)[0] if several else annotation
    is_table = isinstance(inner, type) and issubclass(inner, BaseModel)
    return inner if is_table else _optional_table(annotation), several


def _optional_table(annotation: object) -> type[BaseModel] | None:
    """The table of a key ``table | None``."""
    for inner in get_args(annotation):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return None


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0]


def main() -> None:
    (HERE / "study-file.md").write_text(study_page(), encoding="utf-8")
    (HERE / "methods.md").write_text(methods_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
