"""A small district as ordinary files, and the command line as a user calls it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gossan.datasets import synthetic_district, write_district

Gossan = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def gossan() -> Gossan:
    """Run ``gossan`` in a process of its own, as a user does."""

    def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gossan.cli", *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False, timeout=600
        )

    return call


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
