"""Where tests find the open surveys they read, and the command line as a user calls it."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

from gossan.cli import main

# How long an example takes says nothing about the code: machines and their load differ.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def survey_data() -> Path:
    """Folder of the open surveys; tests that need it skip where it is absent."""
    candidates = [
        os.environ.get("GOSSAN_DATA"),
        Path(__file__).resolve().parents[2] / "shared" / "data",
    ]
    for folder in candidates:
        if folder and Path(folder).is_dir():
            return Path(folder)
    pytest.skip("open surveys not at hand: set GOSSAN_DATA to their folder")


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
