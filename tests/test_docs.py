"""The pages of the methods: complete, alike, and equal to what the catalogue says."""

import importlib.util
import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from gossan.methods import METHODS, make_model

pytest.importorskip("torch")  # settings of networks are read off their classes
ROOT = Path(__file__).resolve().parents[1]
HEADINGS = [
    "When to use",
    "How it works",
    "Settings",
    "Missing values",
    "Negatives",
    "How well it does",
    "In a study file",
    "Source",
]


@pytest.fixture
def reference():
    """docs/make_reference.py as a module of its own, which a test may change."""
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def section(page: str, heading: str) -> str:
    """What stands under a heading of a page."""
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].strip()


def test_pages_are_up_to_date(reference):
    """Study file, methods and navigation are what the settings and the catalogue say."""
    for file, text in reference.pages().items():
        assert file.read_text(encoding="utf-8") == text, f"run docs/make_reference.py: {file.name}"


def test_no_page_is_left_over(reference):
    """A method that left the catalogue leaves no page, text or picture behind."""
    for folder in (ROOT / "docs/methods", reference.HOW):
        assert {file.stem for file in folder.glob("*.md")} == set(METHODS)
    assert {file.stem for file in reference.FIGURES.glob("*.png")} <= {*METHODS, "all"}


@pytest.mark.parametrize("name", METHODS)
def test_all_pages_have_the_same_headings(name):
    """A reader finds the same things in the same order on every page."""
    page = (ROOT / "docs/methods" / f"{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^#+ (.*)$", page) == [METHODS[name].title, *HEADINGS]
    assert section(page, "When to use") == METHODS[name].when_to_use


@pytest.mark.parametrize("name", METHODS)
def test_how_it_works_is_neither_a_line_nor_a_paper(reference, name):
    """80 to 250 words."""
    how, source = reference.handwritten(name)
    assert 80 <= len(how.split()) <= 250
    assert source.startswith("- ")


@pytest.mark.parametrize("name", METHODS)
def test_snippet_is_a_study_that_can_be(reference, name):
    """What a page says to write is TOML of settings that the method has, at their defaults."""
    method = tomllib.loads(reference._snippet(METHODS[name]).strip("`").removeprefix("toml"))
    given = method["method"].get("parameters", {})
    assert method["method"]["name"] == name
    if not set(given) & set(METHODS[name].files):
        assert make_model(name, **given).get_params() == make_model(name).get_params()


def test_selective_transfer_asks_for_its_source(reference):
    """A method that cannot be without a file is shown with one."""
    assert 'source = "source.safetensors"' in reference._snippet(METHODS["selective-transfer"])
    assert "backbone" not in reference._snippet(METHODS["masked-pretraining"])


def test_a_method_without_a_text_is_told(reference):
    """A new entry of the catalogue needs one file, which the error names."""
    new = replace(METHODS["svm"], name="divining-rod")
    with pytest.raises(FileNotFoundError, match=r"docs/methods/how/divining-rod\.md: write there"):
        reference.method_page(new)


def test_a_method_that_is_not_drawn_says_how(reference, monkeypatch):
    """A new entry has a page before it has a picture."""
    monkeypatch.setattr(reference, "MAPS", ROOT / "nothing.csv")
    assert "make_figures.py --methods svm" in reference.method_page(METHODS["svm"])


def test_a_setting_without_words_is_told(reference):
    """What a class's docstring leaves out is an error and not an empty cell."""
    with pytest.raises(ValueError, match=r"CellSVM says nothing of 'width'"):
        reference.meaning(METHODS["svm"], "width")


def test_meaning_of_a_setting_comes_from_the_class_that_says_it(reference):
    """A forest that refers to another class for a setting shows that class's words."""
    words = reference.meaning(METHODS["elkan-noto"], "max_features")
    assert words == reference.meaning(METHODS["extra-trees"], "max_features")
    assert words == "Layers tried at each split."


def test_measured_figures_stand_on_the_page(reference, monkeypatch, tmp_path):
    """Rows of results.csv become a table by area; a method without rows says so."""
    figures = {"auc": 0.912, "auc_low": 0.85, "auc_high": 0.961}
    figures |= {"capture_0.05": 0.5, "capture_0.05_low": 0.25, "capture_0.05_high": 0.75}
    row = {"area": "nanling", "kind": "survey", "method": "svm", "negatives": "random"}
    file = tmp_path / "results.csv"
    pd.DataFrame([{**row, "n_deposits": 21, "n_cells": 20460, **figures}]).to_csv(file, index=False)
    monkeypatch.setattr(reference, "RESULTS", file)
    measured = section(reference.method_page(METHODS["svm"]), "How well it does")
    assert "| nanling | survey | 21 | 0.91 (0.85–0.96) | 0.50 (0.25–0.75) |" in measured
    assert reference._figures(METHODS["analogues"]).startswith("Not measured yet.")


def test_study_page_has_every_table(reference):
    """Also those that a study may do without."""
    page = reference.study_page()
    for table in ("[deposits]", "[[samples]]", "[negatives.occurrences]", "[targets]"):
        assert f"## `{table}`: " in page
    (deposits,) = (part for part in page.split("## ") if part.startswith("`[deposits]`"))
    assert "`footprint` | `3` |" in deposits
