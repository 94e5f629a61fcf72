"""A small district as ordinary files, and the command line as a user calls it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gossan.cli import main
from gossan.datasets import synthetic_district, write_district


class Said(NamedTuple):
    """What a command left on the screen."""

    returncode: int
    stdout: str
    stderr: str


Gossan = Callable[..., Said]


@pytest.fixture
def gossan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gossan:
    """Run ``gossan`` as a user does, but in this process: importing everything takes seconds."""

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["gossan", *map(str, arguments)])
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Said(0 if code is None else int(code), *capsys.readouterr())

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
