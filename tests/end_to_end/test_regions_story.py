"""A geologist divides an area by its evidence, with deposits and without any."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from gossan import io

pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")


def run_of(study_file):
    return next((study_file.parent / "runs").iterdir())


def test_regions_of_a_district_with_its_deposits(gossan, study_file):
    """Map, polygons, profile and choice agree; twice the same bytes, and not made again."""
    result = gossan("regions", study_file)
    assert result.returncode == 0, result.stderr
    assert "agree on them with an adjusted Rand index of" in " ".join(result.stdout.split())
    assert "expected" in result.stdout
    folder = run_of(study_file)
    told = io.read_json(folder / "regions.json")
    with rasterio.open(folder / "regions.tif") as file:
        assert file.descriptions == ("region",)
        assert file.nodata == 0
        numbers = file.read(1)
    counts = np.bincount(numbers.ravel(), minlength=len(told["regions"]) + 1)[1:]
    assert [region["cells"] for region in told["regions"]] == counts.tolist()
    outlines = gpd.read_file(folder / "regions.gpkg", layer="regions")
    assert outlines["region"].tolist() == list(range(1, len(counts) + 1))
    np.testing.assert_allclose(outlines.area / 1e6, outlines["area_km2"])
    assert "layer_styles" in gpd.list_layers(folder / "regions.gpkg")["name"].tolist()
    assert (folder / "regions.qml").read_text().count("<paletteEntry") == len(counts)
    for picture in ("regions.png", "region-profiles.png", "region-choice.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    before = {p.name: p.stat().st_mtime_ns for p in folder.glob("region*")}
    assert gossan("regions", study_file).stdout == result.stdout
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("region*")} == before


def test_regions_need_no_deposits(gossan, study_file, cut_deposits):
    """A study without a table of deposits is divided; to be mapped it needs them, and is told."""
    cut_deposits(study_file)
    result = gossan("regions", study_file, "--count", "3", "--method", "gaussian-mixture")
    assert result.returncode == 0, result.stderr
    assert "expected" not in result.stdout
    assert len(io.read_json(run_of(study_file) / "regions.json")["regions"]) == 3
    for verb in ("run", "compare", "annotate"):
        refused = gossan(verb, study_file)
        assert refused.returncode != 0
        assert "names no known deposits" in refused.stdout + refused.stderr
        assert "gossan regions" in refused.stdout + refused.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "spectral"), "one of k-means, gaussian-mixture, hierarchical"),
        (("--by", "magic"), "one of evidence, embedding"),
        (("--by", "embedding"), "holds no embedding"),
        (("--count", "101"), "101 regions: at most 100"),
    ],
)
def test_mistakes_are_told(gossan, study_file, options, message):
    """In one line, with the remedy."""
    result = gossan("regions", study_file, *options)
    assert result.returncode == 1
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_misspelt_method_is_told_by_verbs_that_need_none(gossan, study_file):
    """What a stage is made from names the method, whichever verb asks."""
    study_file.write_text(study_file.read_text().replace('"extra-trees"', '"extra-tree"'))
    for arguments in (("regions", study_file), ("analogues", study_file, "--at", "1", "2")):
        refused = gossan(*arguments)
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
    refused = gossan("regions", study_file)
    assert "Unknown method 'extra-tree'. Did you mean 'extra-trees'?" in refused.stderr
