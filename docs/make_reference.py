"""Write the pages of the study file and of the methods from the settings and the catalogue.

    python docs/make_reference.py

Of each method of the catalogue a page under docs/methods, from its entry, the docstring of its
estimator, docs/methods/how/<name>.md (how it works, and its sources, written by hand), the figures
of `docs/make_figures.py` and, where it is there, docs/tables/results.csv. A test holds all pages,
and their list in mkdocs.yml, equal to what this script writes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import griffe
import pandas as pd
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from gossan.exceptions import StudyError
from gossan.methods import DEFAULT_METHOD, METHODS, SAMPLERS, Method, make_model
from gossan.study import Study

HERE = Path(__file__).resolve().parent
HOW = HERE / "methods" / "how"
FIGURES = HERE / "figures" / "methods"
MAPS = HERE / "tables" / "method_maps.csv"
RESULTS = HERE / "tables" / "results.csv"
NAVIGATION = HERE.parent / "mkdocs.yml"

LIKENESS = ("analogues", "masked-pretraining-analogues")
"""Methods that negatives are nothing to."""
STUDY_PAGE = """# The study file

A study is one TOML file. `gossan new FOLDER` drafts it from the files of a survey; this page lists
every key. Unknown keys are errors, with the nearest known key named. File names are relative to the
study file, or to the open survey named by `survey`.

A study needs `[area]` and at least one of `[[samples]]`, `[[rasters]]` and `[[vectors]]`. Without
`[deposits]` it will do for `gossan check`, `gossan regions`, `gossan pretrain`, `gossan predict`,
and `gossan analogues` with `--at` or `--within`; whatever learns or judges by known deposits needs
that table.

This page is written by `docs/make_reference.py`.
"""

METHODS_PAGE = f"""# Methods

A method is an estimator with an entry in the catalogue; `[method] name = "…"` in a study file
chooses it, and `[method] parameters = {{ … }}` changes its settings. The default is
`{DEFAULT_METHOD}`. Each has a page with when to use it, how it works, its settings and how well it
does; all are on one page, with intervals, in [Results](results.md).

This page and those of the methods are written by `docs/make_reference.py`.
"""

IN_DEPTH = """## In depth

- [Pixel pairs](pixel-pairs.md), [masked pretraining](masked-pretraining.md) and
  [selective transfer](selective-transfer.md): what the networks do, how fast, how well.
- [Analogues](analogues.md) and [regions](regions.md): ground alike, with few deposits or none.
- [Negatives](negatives.md): what stands for barren ground, and what each choice is worth.
- [How skill is measured](evaluation.md).
"""

WORDS = {
    "accelerator": 'Where networks learn and score: `"auto"` takes a GPU where there is one.',
    "at_once": "Patches that go through the networks together: more take more memory.",
    "batch_size": "Pairs or patches that one step of the training learns from.",
    "dropout": "Share of the embedding that is left out at random while a head learns.",
    "epochs": "Times that the networks see all patches.",
    "label_smoothing": "How far the targets of a head are moved towards one half, as a share.",
    "learning_rate": "Of stochastic gradient descent: how far one step goes.",
    "max_epochs": "Epochs at most.",
    "precision": "Of numbers in training and scoring; the mixed ones suit devices made for them.",
    "preset": 'Sizes of the network: `"small"` for two cores, `"base"` as published.',
}
"""Settings that mean the same wherever they are and of which a class's docstring says no more."""


def pages() -> dict[Path, str]:
    """Every file that this script writes, with its content."""
    return {
        HERE / "study-file.md": study_page(),
        HERE / "methods.md": methods_page(),
        **{HERE / "methods" / f"{name}.md": method_page(METHODS[name]) for name in METHODS},
        NAVIGATION: navigation(NAVIGATION.read_text(encoding="utf-8")),
    }


def study_page() -> str:
    """The study file's tables, key by key."""
    parts = [STUDY_PAGE, _keys("The study", Study, top=True)]
    for key, field in Study.model_fields.items():
        table, several = _table(field.annotation)
        if table is None:
            continue
        heading = f"`[[{key}]]`" if several else f"`[{key}]`"
        parts.append(_keys(f"{heading}: {_first_line(table)}", table))
        for inner, held in table.model_fields.items():
            nested, _ = _table(held.annotation)
            if nested is not None:
                parts.append(_keys(f"`[{key}.{inner}]`: {_first_line(nested)}", nested))
    return "\n".join(parts)


def methods_page() -> str:
    """The index of the catalogue, and the samplers."""
    parts = [METHODS_PAGE, "| method | what it does |", "|---|---|"]
    parts += [
        f"| [`{name}`](methods/{name}.md) | {_cell(method.summary)} |"
        for name, method in METHODS.items()
    ]
    if (FIGURES / "all.png").exists():
        parts += [
            "\n## One district, every method\n",
            f"![Maps of one district by every method]({_address(FIGURES / 'all.png')})\n",
            f"*{_district()} Known ones are squares, hidden ones stars. Made by "
            "`docs/make_figures.py`; the page of a method says what its map holds. One district "
            "says how maps differ, and not which method is best.*",
        ]
    parts.append("\n## Negatives\n")
    parts += [f"- `{name}`: {_first_line(sampler)}" for name, sampler in SAMPLERS.items()]
    return "\n".join([*parts, "", IN_DEPTH])


def method_page(method: Method) -> str:
    """All that is to be said of one method, under headings that all pages share."""
    how, source = handwritten(method.name)
    sections = {
        "When to use": method.when_to_use,
        "How it works": how,
        "Settings": _settings(method),
        "Missing values": method.missing_values,
        "Negatives": _negatives(method),
        "How well it does": _figures(method),
        "In a study file": _snippet(method),
        "Source": source,
    }
    parts = [f"# {method.title}", f"`{method.name}` · {method.summary}", _picture(method)]
    parts += [f"## {heading}\n\n{text}" for heading, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def handwritten(name: str) -> tuple[str, str]:
    """How a method works and where it comes from, as docs/methods/how/<name>.md says.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it has no heading "## Source" between the two.
    """
    file = HOW / f"{name}.md"
    if not file.exists():
        raise FileNotFoundError(
            f"The method {name!r} has no {file.relative_to(HERE.parent)}: write there how it works "
            "in 80 to 250 words, then, under the heading '## Source', what it is taken from."
        )
    how, heading, source = file.read_text(encoding="utf-8").partition("\n## Source\n")
    if not heading or not how.strip() or not source.strip():
        raise ValueError(
            f"{file.relative_to(HERE.parent)} must say how the method works and then, under the "
            "heading '## Source', what it is taken from."
        )
    return how.strip(), source.strip()


def navigation(text: str) -> str:
    """The text of mkdocs.yml with a line for the page of every method."""
    lines = "".join(f"      - methods/{name}.md\n" for name in METHODS)
    found, count = re.subn(r"(?m)(?:^      - methods/[\w-]+\.md\n)+", lines, text)
    if count != 1:
        raise ValueError(f"mkdocs.yml lists pages of methods in {count} places, and not in one.")
    return found


def shown_settings(method: Method) -> dict[str, Any]:
    """Name of each setting that matters to a method → its default in the catalogue."""
    known = inspect.signature(method.estimator).parameters.values()
    given = {p.name: method.parameters.get(p.name, p.default) for p in known}
    idle = getattr(method.estimator(**method.parameters), "idle", ())
    # The seed of all that is random is at the top of a study file.
    return {name: v for name, v in given.items() if name not in {*idle, "random_state"}}


def meaning(method: Method, setting: str) -> str:
    """What a setting is, from the docstring of the estimator or of a class that it is a kind of.

    Raises
    ------
    ValueError
        If nothing says so.
    """
    said = next(
        (
            words
            for kind in method.estimator.__mro__
            if (words := _parameters(kind).get(setting, "")) and not words.startswith(_SAID_THERE)
        ),
        WORDS.get(setting, ""),
    )
    if not said:
        raise ValueError(
            f"The docstring of {method.estimator.__name__} says nothing of {setting!r}: describe "
            "it there, under Parameters."
        )
    said = re.sub(r":\w+:`([^`]+)`", r"`\1`", said.replace("``", "`"))
    said = said.replace("`False`", "`false`").replace("`True`", "`true`")
    choices = [f'`"{choice}"`' for choice in _choices(method, setting)]
    if not all(choice in said for choice in choices):
        said = f"{', '.join(choices[:-1])} or {choices[-1]}. {said}"
    if setting in method.files:
        said += f" In a study file: the name of a file that `{method.files[setting].made_by}` made."
    return said


_SAID_THERE = ("As in :class:", "As :class:")


@cache
def _parameters(kind: type[Any]) -> dict[str, str]:
    """Name of each parameter of a class's docstring → what is said of it."""
    sections = griffe.Docstring(inspect.cleandoc(kind.__doc__ or "")).parse("numpy", warnings=False)
    return {
        parameter.name: " ".join(parameter.description.split())
        for section in sections
        if section.kind is griffe.DocstringSectionKind.parameters
        for parameter in section.value
    }


def _choices(method: Method, setting: str) -> tuple[Any, ...]:
    """The values that a setting may have, where they are few and named."""
    kind = get_type_hints(method.estimator.__init__)[setting]
    return get_args(kind) if get_origin(kind) is Literal else ()


def _settings(method: Method) -> str:
    """A table of the settings: name, default in the catalogue, meaning."""
    shown = shown_settings(method)
    if not shown:
        return "None: there is nothing to tune."
    lines = ["| name | default | what it means |", "|---|---|---|"]
    for said, names in groupby(shown, lambda name: meaning(method, name)):
        own = list(names)  # such as the two windows of a ring, which are described together
        defaults = ["not set" if shown[k] is None else f"`{_toml(shown[k])}`" for k in own]
        settings = ", ".join(f"`{name}`" for name in own)
        lines.append(f"| {settings} | {', '.join(dict.fromkeys(defaults))} | {_cell(said)} |")
    return "\n".join(lines)


def _negatives(method: Method) -> str:
    """What stands for barren ground unless a study says otherwise."""
    if method.name in LIKENESS:
        return (
            "None: no cell stands for barren ground. All cells of the area tell what is ordinary, "
            "and deposits alone are looked for. Others: [Negatives](../negatives.md)."
        )
    settings = [f"`{k} = {_toml(v)}`" for k, v in method.negatives_parameters.items()]
    having = f" with {' and '.join(settings)}" if settings else ""
    draws = f", averaged over {method.draws} draws" if method.draws > 1 else ""
    said = [f"By default `{method.negatives}`{having}{draws}."]
    said.append(_first_line(SAMPLERS[method.negatives]))
    if method.estimator.uses_unlabelled:
        said.append("The method takes these cells as unlabelled and not as barren.")
    if method.max_negatives:
        said.append(
            f"A comparison gives it {method.max_negatives:,} cells of `all-unlabelled` at most, "
            "since its time grows faster than their number."
        )
    said.append("Others, and how clean they are: [Negatives](../negatives.md).")
    return " ".join(said)


def _figures(method: Method) -> str:
    """Held-out figures by area, as far as they are measured."""
    table = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=["method", "area"])
    own = table[table["method"] == method.name]
    if own.empty:
        return "Not measured yet. What is measured is in [Results](../results.md)."
    heads = ["area", "kind", "deposits", "AUC against background", "in 5 % of the area"]
    several = own["area"].duplicated().any()
    heads = [*heads[:2], "negatives", *heads[2:]] if several else heads
    lines = [
        "Held out: each deposit is ranked against the whole background by models that saw neither "
        "([how skill is measured](../evaluation.md)). In brackets 95 % intervals. All methods side "
        "by side: [Results](../results.md).\n",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
    ]
    for row in own.to_dict("records"):
        cells = [row["area"], row["kind"], *([row["negatives"]] if several else [])]
        cells += [f"{row['n_deposits']:.0f}", _interval(row, "auc"), _interval(row, "capture_0.05")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _interval(row: Mapping[str, Any], name: str) -> str:
    value, low, high = (row[name + end] for end in ("", "_low", "_high"))
    return f"{value:.2f} ({low:.2f}–{high:.2f})"


def _snippet(method: Method) -> str:
    """What a study file says to have the method."""
    lines = ["[method]", f'name = "{method.name}"']
    shown = [(k, v) for k, v in shown_settings(method).items() if v is not None]
    needed = {k: v for k, v in method.files.items() if _needs_file(method)}
    if needed:
        given = ", ".join(f'{name} = "{name}.safetensors"' for name in needed)
        made_by = ", ".join(f"`{file.made_by}`" for file in needed.values())
        lines.append(f"parameters = {{ {given} }}   # a file that {made_by} made")
    elif shown:
        given = ", ".join(f"{name} = {_toml(value)}" for name, value in shown[:2])
        lines.append(f"parameters = {{ {given} }}   # the defaults")
    return "\n".join(["```toml", *lines, "```"])


def _needs_file(method: Method) -> bool:
    """Whether the method cannot be without what a command makes."""
    if not method.files:
        return False
    try:
        make_model(method.name).check()
    except StudyError:
        return True
    return False


def _picture(method: Method) -> str:
    """The map of the one district that all methods are shown on, and what it holds."""
    row, file = _maps().get(method.name), FIGURES / f"{method.name}.png"
    if row is None or not file.exists():
        return f"Not drawn yet: `python docs/make_figures.py --methods {method.name}` does."
    few = " Of one draw of negatives." if row["draws"] < method.draws else ""
    return (
        f"![{method.title}: map of a synthetic district](../{_address(file)})\n\n"
        f"*{_district()} Known ones are squares, hidden ones stars.{few} The best 5 % of the map "
        f"holds {row['hidden_in_top']} of the {row['hidden']} hidden deposits, where blind choice "
        f"would hold {row['hidden_by_chance']:g}. Made by `docs/make_figures.py`.*"
    )


def _district() -> str:
    """What the maps are of."""
    row = next(iter(_maps().values()))
    return (
        f"The synthetic district of `gossan demo`, without means of neighbourhoods, {row['rows']} "
        f"× {row['columns']} cells of {row['cell_size']:g} m: {row['known']} deposits are known, "
        f"{row['hidden']} are hidden from every study."
    )


@cache
def _maps() -> dict[str, dict[str, Any]]:
    """Method → what `docs/make_figures.py` counted."""
    if not MAPS.exists():
        return {}
    return {str(row["method"]): row for row in pd.read_csv(MAPS).to_dict("records")}


def _address(file: Path) -> str:
    return file.relative_to(HERE).as_posix()


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
        lines.append(f"| `{key}` | {shown} | {_cell(field.description or '')} |")
    return "\n".join([*lines, ""])


def _table(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    """The table that a key holds, if it holds one, and whether it may hold several."""
    several = get_origin(annotation) is list
    for inner in _kinds(annotation):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner, several
    return None, several


def _kinds(annotation: object) -> Iterator[object]:
    """The annotation itself, or what a list or a union is of."""
    yield from get_args(annotation) or (annotation,)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _cell(text: str) -> str:
    """Text that stays in one cell of a table."""
    return text.replace("|", "\\|")


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").strip().splitlines()[0]


def main() -> None:
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
