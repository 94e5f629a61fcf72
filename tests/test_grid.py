"""The template grid: where its cells lie, and the way between cells and places."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import array_bounds, rowcol

from gossan.exceptions import StudyError
from gossan.grid import Grid

CRS = "EPSG:32650"

grids = st.builds(
    lambda west, north, width, height, rows, columns: Grid.from_bounds(
        (west, north - rows * height, west + columns * width, north), (width, height), CRS
    ),
    west=st.integers(-500_000, 900_000).map(float),
    north=st.integers(0, 10_000_000).map(float),
    width=st.sampled_from([0.5, 25.0, 100.0, 4243.855]),
    height=st.sampled_from([0.5, 30.0, 100.0, 4178.903]),
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
)


def test_bounds_grow_to_whole_cells_at_the_east_and_south() -> None:
    """An extent that no whole number of cells covers keeps its north-west corner."""
    grid = Grid.from_bounds((10, 20, 1015, 520), cell_size=100, crs=CRS)
    assert grid.shape == (5, 11)
    assert grid.bounds == (10, 20, 1110, 520)


def test_rounding_adds_no_column() -> None:
    """0.3 / 0.1 is a hair above 3 in floating point, and still three cells."""
    assert Grid.from_bounds((0, 0, 0.3, 0.3), 0.1, CRS).shape == (3, 3)


@given(grids)
def test_bounds_agree_with_rasterio(grid: Grid) -> None:
    """The outer edges are those that rasterio derives from the same transform."""
    np.testing.assert_allclose(grid.bounds, array_bounds(*grid.shape, grid.transform))


@given(grids, st.data())
def test_places_are_in_the_cell_that_rasterio_says(grid: Grid, data: st.DataObject) -> None:
    """A place inside falls in rasterio's cell."""
    width, height = grid.cell_size
    column = data.draw(st.integers(0, grid.shape[1] - 1)) + data.draw(st.floats(0.01, 0.99))
    row = data.draw(st.integers(0, grid.shape[0] - 1)) + data.draw(st.floats(0.01, 0.99))
    easting, northing = grid.bounds[0] + column * width, grid.bounds[3] - row * height
    found = grid.locate([easting], [northing])
    expected = rowcol(grid.transform, [easting], [northing])
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))


@given(grids)
def test_every_cell_centre_lies_in_its_own_cell(grid: Grid) -> None:
    """Cell → place → cell is the identity, row-major."""
    rows, columns = grid.locate(*grid.coordinates().T)
    np.testing.assert_array_equal(rows * grid.shape[1] + columns, np.arange(grid.size))
    np.testing.assert_array_equal(grid.coordinates(rows, columns), grid.coordinates())


def test_places_outside_or_unknown_have_no_cell() -> None:
    """North, south, west, east of the grid, NaN and infinity all give −1, −1."""
    grid = Grid.from_bounds((0, 0, 1000, 500), 100, CRS)
    eastings = [500, 500, -1, 1000, np.nan, np.inf]
    northings = [501, -1, 250, 250, 250, 250]
    for found in grid.locate(eastings, northings):
        np.testing.assert_array_equal(found, np.full(6, -1))


def test_the_north_west_corner_belongs_to_the_first_cell() -> None:
    """Each cell holds its west and north edges; the grid's east and south edges are outside."""
    grid = Grid.from_bounds((0, 0, 1000, 500), 100, CRS)
    rows, columns = grid.locate([0, 100, 0], [500, 400, 0])
    np.testing.assert_array_equal(rows, [0, 1, -1])
    np.testing.assert_array_equal(columns, [0, 1, -1])


@given(grids, st.integers(1, 50))
def test_blocks_tile_the_grid_once(grid: Grid, block_size: int) -> None:
    """Every cell is in exactly one block, and no block is larger than asked."""
    visits = np.zeros(grid.shape, dtype=int)
    for rows, columns in grid.blocks(block_size):
        assert max(rows.stop - rows.start, columns.stop - columns.start) <= block_size
        visits[rows, columns] += 1
    assert (visits == 1).all()


@given(grids, st.data())
def test_a_window_keeps_its_cells_in_place(grid: Grid, data: st.DataObject) -> None:
    """The sub-grid's cell centres are the same places as in the whole grid."""
    rows = sorted(data.draw(st.lists(st.integers(0, grid.shape[0]), min_size=2, unique=True))[:2])
    columns = data.draw(st.lists(st.integers(0, grid.shape[1]), min_size=2, unique=True))[:2]
    columns = sorted(columns)
    window = grid.window(*rows, *columns)
    np.testing.assert_allclose(window.northings, grid.northings[slice(*rows)], rtol=1e-12)
    np.testing.assert_allclose(window.eastings, grid.eastings[slice(*columns)], rtol=1e-12)


@given(grids)
def test_grid_survives_the_way_through_an_array(grid: Grid) -> None:
    """Grid → DataArray → Grid gives the same cells, one row or one column included."""
    array = grid.to_dataarray(np.zeros(grid.shape, dtype=np.float32))
    assert Grid.from_dataarray(array).same_cells(grid)


def test_layers_are_named() -> None:
    """Three dimensions become layer, y, x with the names given, and the CRS travels along."""
    grid = Grid.from_bounds((0, 0, 200, 100), 100, CRS)
    array = grid.to_dataarray(np.zeros((2, 1, 2)), layers=["Cu", "Au"])
    assert array.dims == ("layer", "y", "x")
    assert list(array["layer"].values) == ["Cu", "Au"]
    assert array.rio.crs.to_epsg() == 32650


def test_values_of_another_shape_are_refused() -> None:
    """Values that do not fit the grid are a programmer's error, with both shapes named."""
    grid = Grid.from_bounds((0, 0, 200, 100), 100, CRS)
    with pytest.raises(ValueError, match=r"\(2, 1\) do not fit a grid of \(1, 2\)"):
        grid.to_dataarray(np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("bounds", "cell_size", "message"),
    [
        ((1000, 0, 0, 500), 100, "empty: it reads"),
        ((0, 500, 1000, 500), 100, "empty: it reads"),
        ((0, 0, 1000, 500), 0, "cell size 0"),
        ((0, 0, 1000, 500), np.nan, "cell size nan"),
        ((0, 0, np.inf, 500), 100, "bounds"),
    ],
)
def test_impossible_extents_are_refused(
    bounds: tuple[float, float, float, float], cell_size: float, message: str
) -> None:
    """An empty, endless or unmeasurable extent is a StudyError that repeats the value."""
    with pytest.raises(StudyError, match=message):
        Grid.from_bounds(bounds, cell_size, CRS)


@pytest.mark.parametrize(
    "transform",
    [
        Affine.rotation(10) * Affine.scale(100, -100),
        Affine(100, 20, 0, 0, -100, 0),
        Affine.scale(100, 100),
    ],
    ids=["rotated", "sheared", "south up"],
)
def test_rotated_rasters_are_refused_with_a_remedy(transform: Affine) -> None:
    """Anything but north up must be warped first, and the message says how."""
    with pytest.raises(StudyError, match="gdalwarp"):
        Grid(rasterio.crs.CRS.from_epsg(32650), transform, (5, 5))


def test_an_array_without_crs_is_refused() -> None:
    """The remedy is in the message."""
    array = xr.DataArray(np.zeros((2, 2)), coords={"y": [1.0, 0.0], "x": [0.0, 1.0]})
    with pytest.raises(StudyError, match="write_crs"):
        Grid.from_dataarray(array)


def test_same_cells_tells_shifted_grids_apart() -> None:
    """A shift of a hundredth of a cell, another size or another CRS are other cells."""
    grid = Grid.from_bounds((0, 0, 1000, 500), 100, CRS)
    assert grid.same_cells(Grid.from_bounds((1e-6, 0, 1000, 500), 100, CRS))
    assert not grid.same_cells(Grid.from_bounds((1, 0, 1001, 500), 100, CRS))
    assert not grid.same_cells(Grid.from_bounds((0, 0, 1000, 500), 50, CRS))
    assert not grid.same_cells(Grid.from_bounds((0, 0, 1000, 500), 100, "EPSG:32651"))


def test_a_published_raster_is_read_as_its_owner_laid_it_out(survey_data: Path) -> None:
    """Nanling's oblong cells of 4,243.9 × 4,178.9 m keep size, corner and cell area."""
    path = survey_data / "nanling" / "Idw_Ag.tif"
    array = xr.open_dataset(path, engine="rasterio")["band_data"].squeeze("band")
    grid = Grid.from_dataarray(array)
    with rasterio.open(path) as source:
        np.testing.assert_allclose(grid.bounds, source.bounds)
        np.testing.assert_allclose(grid.cell_size, source.res)
    assert grid.shape == (163, 141)
    assert grid.cell_area == pytest.approx(17_734_660, rel=1e-4)
