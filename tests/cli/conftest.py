"""A district with odd names in an odd folder."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from gossan.datasets import synthetic_district, write_district
from gossan.pipeline import run_study
from gossan.study import read_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was run: brackets in its folder's name, escape sequences in its survey's."""
    folder = tmp_path_factory.mktemp("finished") / "[bold]x"
    district = synthetic_district(seed=3, shape=(24, 24), n_samples=150, n_deposits=20)
    file = write_district(district, folder)
    text = file.read_text()
    text = text.replace("focal = [3, 7]", "parameters = { n_estimators = 10 }")
    text = text.replace("folds = 6", "folds = 3\nbootstrap = 100")
    text = text.replace('name = "magnetics"', r'name = "magnetics\u001b]0;x\u0007"')
    file.write_text(text)
    deposits = folder / "deposits.csv"
    deposits.write_text(deposits.read_text().replace("Gully", "\x1b[31mGully"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an element is below detection in half of the samples
        run_study(read_study(file))
    return file


@pytest.fixture
def study_file(finished: Path, tmp_path: Path) -> Path:
    """The finished study's own copy for one test; a run moved with its study stays its own."""
    shutil.copytree(finished.parent, tmp_path / "[bold]x")
    return tmp_path / "[bold]x" / finished.name
