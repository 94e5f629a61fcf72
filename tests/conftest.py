"""Where tests find the open surveys they read."""

import os
from pathlib import Path

import hypothesis
import pytest

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
