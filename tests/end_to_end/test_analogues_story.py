"""A geologist asks where ground like a deposit, a place, or a polygon lies."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

import gossan as gs
from gossan import io

pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")


def run_of(study_file):
    return next((study_file.parent / "runs").iterdir())


def test_ground_like_a_deposit(gossan, study_file):
    """Map, areas away from it, and the layers that make them alike; the same again."""
    deposits = gs.read_deposits(gs.read_study(study_file))
    name = str(deposits["name"].iloc[0])
    result = gossan("analogues", study_file, "--like", name, "--count", "4")
    assert result.returncode == 0, result.stderr
    assert f"Ground like {name}" in result.stdout
    folder = run_of(study_file) / "analogues" / io.file_stem(name)
    with rasterio.open(folder / "analogues.tif") as file:
        assert file.descriptions == ("similarity",)
        similarity = file.read(1)
        row, column = file.index(deposits.geometry.x.iloc[0], deposits.geometry.y.iloc[0])
    assert similarity[row, column] > np.nanquantile(similarity, 0.98)
    areas = gpd.read_file(folder / "analogues.gpkg", layer="targets")
    assert len(areas) == 4
    assert (np.diff(areas["similarity"]) <= 0).all()
    assert areas.distance(deposits.geometry.iloc[0]).min() > 0
    assert areas["alike"].str.contains("high|low|no layer").all()
    assert "layer_styles" in gpd.list_layers(folder / "analogues.gpkg")["name"].tolist()
    assert (folder / "analogues.png").read_bytes().startswith(b"\x89PNG")
    before = (folder / "analogues.gpkg").read_bytes()
    assert gossan("analogues", study_file, "--like", name, "--count", "4").stdout == result.stdout
    assert (folder / "analogues.gpkg").read_bytes() == before


def test_ground_like_a_place_or_a_polygon(gossan, study_file, tmp_path, cut_deposits):
    """In another CRS too; without any deposit on file."""
    cut_deposits(study_file)
    assert gossan("regions", study_file, "--count", "3").returncode == 0
    evidence = io.open_evidence(run_of(study_file) / "evidence.zarr")
    grid = gs.Grid.from_dataarray(evidence)
    west, south, _, _ = grid.bounds
    size = grid.cell_size[0]
    at = (west + 20.5 * size, south + 15.5 * size)
    result = gossan("analogues", study_file, "--at", *at, "--count", "2")
    assert result.returncode == 0, result.stderr
    area = shapely.box(at[0] - 2 * size, at[1] - 2 * size, at[0] + 2 * size, at[1] + 2 * size)
    file = tmp_path / "area.geojson"
    gpd.GeoDataFrame(geometry=[area], crs=grid.crs).to_crs("EPSG:4326").to_file(file)
    result = gossan("analogues", study_file, "--within", file, "--count", "2")
    assert result.returncode == 0, result.stderr
    assert "cells of area.geojson" in result.stdout
    searches = {path.name for path in (run_of(study_file) / "analogues").iterdir()}
    assert len(searches) == 2  # side by side
    assert "within-area" in searches
    (tmp_path / "other").mkdir()
    area = shapely.box(at[0] - 4 * size, at[1] - 4 * size, at[0] + 4 * size, at[1] + 4 * size)
    file = tmp_path / "other" / "area.geojson"
    gpd.GeoDataFrame(geometry=[area], crs=grid.crs).to_file(file)
    for _ in range(2):
        assert gossan("analogues", study_file, "--within", file, "--count", "2").returncode == 0
    searches = {path.name for path in (run_of(study_file) / "analogues").iterdir()}
    assert len(searches) == 3
    assert {"within-area", "within-area-2"} <= searches
    refused = gossan("analogues", study_file, "--like", "Old Mine")
    assert "names no known deposits" in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "one of --like NAME, --at E N, --within FILE"),
        (("--like", "x", "--at", "1", "2"), "--like and --at are given together"),
        (("--like", "x", "--within", "a.geojson"), "--like and --within are given together"),
        (("--at", "224250,2123750"), "--at 224250,2123750 has a comma: put a space between"),
        (("--at", "224250,", "2123750"), "--at 224250, has a comma: put a space between"),
        (("--at=224250.5,2123750",), "--at 224250.5,2123750 has a comma: put a space between"),
        (("--like", "no such mine"), "No known deposit is named 'no such mine'."),
        (("--like", "gully"), "known deposits fit 'gully'"),
        (("--at", "1", "2"), "lies outside the study, which reaches from"),
        (("--at", "112.3", "24.1"), "look like degrees: give easting and northing"),
        (("--within", "{folder}/faults.geojson"), "holds no polygon"),
        (("--within", "{folder}/nowhere.geojson"), "nowhere.geojson"),
        (("--within", "{folder}/samples.csv"), "holds no polygon: give a GeoPackage"),
    ],
)
def test_mistakes_are_told(gossan, study_file, options, message):
    """In one message, with the remedy."""
    options = [str(option).format(folder=study_file.parent) for option in options]
    result = gossan("analogues", study_file, *options)
    assert result.returncode == 1
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
