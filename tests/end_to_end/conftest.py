"""A small district as ordinary files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossan.datasets import synthetic_district, write_district


@pytest.fixture(scope="session")
def district():
    """A district small enough to run in seconds."""
    return synthetic_district(seed=3, shape=(70, 90), n_samples=500)


@pytest.fixture
def study_file(district, tmp_path: Path) -> Path:
    """The district's files with a study that runs in seconds."""
    file = write_district(district, tmp_path / "district")
    text = file.read_text()
    text = text.replace("focal = [3, 7]", "parameters = { n_estimators = 20 }")
    text = text.replace("folds = 6", "folds = 3\nbootstrap = 200")
    text += "\n[negatives]\ndraws = 2\n"
    file.write_text(text)
    return file


@pytest.fixture
def cut_deposits():
    """What takes the table of known deposits out of a study file."""

    def cut(file: Path) -> None:
        text = file.read_text()
        start = text.index("[deposits]")
        file.write_text(text[:start] + text[text.index("\n[", start + 1) + 1 :])

    return cut
