"""The package as a whole: light to import, documented as it is, honest about its house."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gossan

ROOT = Path(__file__).resolve().parents[1]


def test_import_leaves_heavy_libraries_out():
    """``import gossan`` imports neither torch nor matplotlib nor the web stack."""
    code = (
        "import sys, gossan\n"
        "heavy = {'torch', 'matplotlib', 'panel', 'rasterio', 'sklearn', 'numba', 'dask'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert shown.strip() == "[]"


def test_who_asks_for_fewer_threads_has_fewer():
    """Numba's distances leave torch, and whatever else uses OpenMP, as many as were asked for."""
    pytest.importorskip("torch")
    code = (
        "import gossan, shapely, torch\n"
        "from gossan.evidence.proximity import distance_to, segments_of\n"
        "grid = gossan.Grid.from_bounds((0, 0, 900, 900), 100, 'EPSG:32650')\n"
        "distance_to(segments_of([shapely.Point(10, 10)]), grid)\n"
        "print(torch.get_num_threads())"
    )
    asked = {**os.environ, "OMP_NUM_THREADS": "1"}
    asked.pop("NUMBA_NUM_THREADS", None)
    shown = subprocess.check_output([sys.executable, "-c", code], text=True, env=asked)
    assert shown.strip() == "1"


@pytest.mark.parametrize("name", gossan.__all__)
def test_public_names_exist(name):
    """Every public name can be had."""
    assert getattr(gossan, name) is not None


def test_unknown_name_is_an_attribute_error():
    """A name that is not there is told as Python tells it."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = gossan.nonsense


@pytest.mark.parametrize("survey", ["nanling", "jabal-al-hasir", "cloncurry", "murchison", "kola"])
def test_example_studies_are_valid(survey, survey_data):
    """Every example study can be read, and all its files are there."""
    study = gossan.read_study(ROOT / "examples" / survey / "study.toml")
    assert list(study.files())
