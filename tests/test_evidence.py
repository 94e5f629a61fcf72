"""Every kind of source comes to the template grid where, and as what, it should."""

import json
import tempfile
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from gossan import io
from gossan.evidence import (
    CellFeatures,
    build_evidence,
    density_of,
    distance_to,
    focal_mean,
    focal_means,
    raster_layers,
    segments_of,
    study_grid,
    valid_cells,
    vector_layers,
    without_focal_means,
)
from gossan.exceptions import StudyError, SurveyDataError, SurveyDataWarning
from gossan.geochem import clr
from gossan.grid import Grid
from gossan.interpolate import idw
from gossan.study import Raster, Vector, parse_study

UTM50 = "EPSG:32650"
UTM49 = "EPSG:32649"
SMALL = settings(max_examples=25, deadline=None)


def write_raster(path, values, *, transform=None, crs=UTM50, nodata=None):
    """A GeoTIFF of 10 m cells, north-west corner at (500000, 4000000), unless told otherwise."""
    values = np.asarray(values)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=crs,
        transform=Affine(10, 0, 500_000, 0, -10, 4_000_000) if transform is None else transform,
        nodata=nodata,
    ) as file:
        file.write(values, 1)
    return path


def make_study(folder, area, **sources):
    """A study of files in ``folder``; its deposits do not matter here."""
    deposits = {"file": "deposits.csv", "x": "x", "y": "y"}
    content = {"name": "test", "area": area, "deposits": deposits, **sources}
    return parse_study(content, folder / "study.toml")


def by_block(source, grid, size):
    """A source's layers, filled block by block."""
    filled = np.empty((len(source.layers), *grid.shape), dtype=np.float32)
    for rows, columns in grid.blocks(size):
        window = grid.window(rows.start, rows.stop, columns.start, columns.stop)
        filled[:, rows, columns] = source.fill(window)
    return filled


# Distance, density, inside

place = st.tuples(st.integers(-50, 350), st.integers(-50, 250)).map(
    lambda p: (float(p[0]), float(p[1]))
)
line = st.lists(place, min_size=2, max_size=5, unique=True).map(shapely.LineString)
point = place.map(shapely.Point)
square = st.tuples(place, st.integers(5, 150)).map(
    lambda s: shapely.Point(s[0]).buffer(s[1], quad_segs=3)
)
GRID = Grid.from_bounds((0, 0, 310, 210), (10, 15), UTM50)
CENTRES = shapely.points(GRID.coordinates())


@SMALL
@given(st.lists(st.one_of(line, point, square), min_size=1, max_size=12))
def test_distance_is_that_of_shapely_from_every_cell_centre(geometries):
    """Points, lines and polygons together, exact."""
    expected = np.min([shapely.distance(CENTRES, g) for g in geometries], axis=0)
    settings = Vector(name="faults", file="f")
    grid = Grid.from_bounds((0, 0, 310, 210), (10, 15), UTM50)
    places = gpd.GeoDataFrame(geometry=geometries, crs=UTM50)
    source = vector_layers_of(settings, places, grid)
    np.testing.assert_allclose(source.fill(grid)[0].ravel(), expected, atol=1e-4)


def vector_layers_of(settings, places, grid):
    """Vector layers of places in memory: the file is read elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "places.gpkg"
        places.to_file(path)
        return vector_layers(settings, [path], grid)


@SMALL
@given(st.lists(st.one_of(line, point), min_size=1, max_size=60), st.integers(1, 4))
def test_distance_does_not_depend_on_the_window(geometries, parts):
    """Tiles are pruned by the triangle inequality, which loses no nearest segment."""
    segments = segments_of(geometries)
    grid = Grid.from_bounds((0, 0, 300, 200), 2.0, UTM50)
    whole = distance_to(segments, grid)
    size = -(-grid.shape[1] // parts)
    for rows, columns in grid.blocks(size):
        window = grid.window(rows.start, rows.stop, columns.start, columns.stop)
        np.testing.assert_array_equal(distance_to(segments, window), whole[rows, columns])


@SMALL
@given(st.lists(line, min_size=1, max_size=8), st.floats(8, 120))
def test_line_density_is_the_length_within_the_circle(lines, radius):
    """Against the roots of each segment's crossing with the circle, in closed form."""
    places = shapely.get_coordinates(CENTRES)
    expected = np.zeros(GRID.size)
    for x0, y0, x1, y1 in segments_of(lines):
        start, step = np.array([x0, y0]) - places, np.array([x1 - x0, y1 - y0])
        a, b = step @ step, start @ step
        root = np.sqrt(np.maximum(b**2 - a * ((start**2).sum(axis=1) - radius**2), 0.0))
        enter, leave = ((-b + sign * root) / a for sign in (-1, 1)) if a else (0.0, 0.0)
        expected += np.sqrt(a) * (np.clip(leave, 0, 1) - np.clip(enter, 0, 1))
    found = density_of(segments_of(lines), GRID, radius) * np.pi * radius**2
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-6)


@SMALL
@given(st.lists(point, min_size=1, max_size=30), st.integers(8, 120))
def test_point_density_counts_points_within_the_circle(points, radius):
    """Every point within the radius counts one."""
    radius += 0.5  # no lattice point lies on the circle itself
    expected = sum(shapely.distance(CENTRES, p) <= radius for p in points)
    found = density_of(segments_of(points), GRID, radius) * np.pi * radius**2
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-9)


def test_density_is_in_kilometres_per_square_kilometre():
    """A straight fault across a circle of 1 km has 2 km in π km²."""
    grid = Grid.from_bounds((0, 0, 100, 100), 100, UTM50)
    fault = gpd.GeoDataFrame(geometry=[shapely.LineString([(-5e3, 50), (5e3, 50)])], crs=UTM50)
    source = vector_layers_of(
        Vector(name="f", file="f", measure="density", radius=1000.0), fault, grid
    )
    assert source.fill(grid)[0, 0, 0] == pytest.approx(2 / np.pi, rel=1e-6)
    assert source.layers[0].unit == "km/km²"


def test_polygons_have_no_density():
    """The measure that fits is named."""
    grid = Grid.from_bounds((0, 0, 100, 100), 100, UTM50)
    polygons = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 50, 50)], crs=UTM50)
    with pytest.raises(SurveyDataError, match="'distance' or 'category'"):
        vector_layers_of(Vector(name="f", file="f", measure="density"), polygons, grid)


def test_polygon_classes_hold_the_cells_whose_centres_lie_in_them():
    """One layer a class; the smallest become one; unnamed polygons are left out."""
    grid = Grid.from_bounds((0, 0, 400, 100), 50, UTM50)
    rocks = gpd.GeoDataFrame(
        {"rock": ["granite", "basalt", "schist", None]},
        geometry=[
            shapely.box(0, 0, 200, 100),
            shapely.box(200, 0, 310, 100),
            shapely.box(310, 0, 350, 100),
            shapely.box(350, 0, 400, 100),
        ],
        crs=UTM50,
    )
    settings = Vector(name="geology", file="f", measure="category", column="rock", max_classes=2)
    source = vector_layers_of(settings, rocks, grid)
    names = [layer.name for layer in source.layers]
    assert names == ["geology: basalt", "geology: granite", "geology: other classes"]
    np.testing.assert_array_equal(
        source.fill(grid)[:, 0],
        [[0, 0, 0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 0]],
    )
    assert len(source.history) == 2


def test_a_missing_class_column_suggests_the_nearest():
    """As for tables."""
    grid = Grid.from_bounds((0, 0, 100, 100), 50, UTM50)
    rocks = gpd.GeoDataFrame({"rock": ["a"]}, geometry=[shapely.box(0, 0, 50, 50)], crs=UTM50)
    with pytest.raises(SurveyDataError, match="Did you mean 'rock'"):
        vector_layers_of(
            Vector(name="g", file="f", measure="category", column="rocks"), rocks, grid
        )


# Rasters


def area_mean(values, native, grid):
    """Mean of the observed native cells, weighted by the area each shares with a cell."""
    rows = overlap(native.bounds[3], native.cell_size[1], native.shape[0], grid, 0)
    columns = overlap(-native.bounds[0], native.cell_size[0], native.shape[1], grid, 1)
    observed = np.isfinite(values)
    sums = rows @ np.where(observed, values, 0) @ columns.T
    with np.errstate(invalid="ignore"):
        return sums / (rows @ observed @ columns.T)


def overlap(start, size, count, grid, axis):
    """Length that each cell of the grid shares with each native cell, along one axis."""
    origin = (start - grid.bounds[3]) if axis == 0 else (grid.bounds[0] + start)
    step = grid.cell_size[1 - axis]
    low = origin + step * np.arange(grid.shape[axis])[:, None]
    edges = size * np.arange(count + 1)
    return np.clip(np.minimum(low + step, edges[1:]) - np.maximum(low, edges[:-1]), 0, None)


def cell_boxes(grid):
    """Each cell as a polygon, row-major."""
    half = np.array(grid.cell_size) / 2
    centres = grid.coordinates()
    return shapely.box(*(centres - half).T, *(centres + half).T)


def test_a_finer_raster_is_averaged_by_area(tmp_path):
    """Cells that do not divide evenly weigh by their share, missing ones not at all."""
    rng = np.random.default_rng(0)
    values = rng.random((90, 80)).astype("float32")
    values[rng.random(values.shape) < 0.2] = np.nan
    path = write_raster(tmp_path / "a.tif", values)
    grid = Grid.from_bounds((500_103, 3_999_201, 500_702, 3_999_902), 37, UTM50)
    native = io.raster_grid(io.open_raster(Raster(name="a", file="a"), path))
    source = raster_layers(Raster(name="a", file="a"), [path], grid)
    expected = area_mean(values, native, grid)
    np.testing.assert_allclose(source.fill(grid)[0], expected, atol=1e-6)
    assert source.layers[0].resolution == 10


def test_classes_of_a_finer_raster_become_shares_of_the_cell(tmp_path):
    """They sum to one where all is observed; names come from the study."""
    values = np.random.default_rng(0).integers(1, 4, (60, 60)).astype("uint8")
    path = write_raster(tmp_path / "a.tif", values)
    grid = Grid.from_bounds((500_000, 3_999_400, 500_600, 4_000_000), 50, UTM50)
    settings = Raster(name="rock", file="a", measure="category", classes={"2": "granite"})
    source = raster_layers(settings, [path], grid)
    assert [layer.name for layer in source.layers] == ["rock: 1", "rock: granite", "rock: 3"]
    shares = source.fill(grid)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)
    granite = (values == 2).reshape(12, 5, 12, 5).mean(axis=(1, 3))
    np.testing.assert_allclose(shares[1], granite, atol=1e-6)


def test_the_smallest_classes_become_one(tmp_path):
    """The largest stay by name."""
    values = np.repeat([1, 2, 3, 4], [50, 30, 15, 5])[:, None] * np.ones((1, 10))
    path = write_raster(tmp_path / "a.tif", values.astype("uint8"))
    grid = Grid.from_bounds((500_000, 3_999_000, 500_100, 4_000_000), 10, UTM50)
    settings = Raster(name="rock", file="a", measure="category", max_classes=2)
    source = raster_layers(settings, [path], grid)
    assert [layer.name for layer in source.layers] == ["rock: 1", "rock: 2", "rock: other classes"]
    np.testing.assert_array_equal(source.fill(grid)[2], np.isin(values, [3, 4]))
    assert "2 of 4 classes" in source.history[0]


def test_a_coarser_raster_is_interpolated(tmp_path):
    """A plane stays a plane; a class stays whole."""
    native = Grid.from_bounds((0, 0, 1000, 1000), 100, UTM50)
    plane = native.eastings + 2 * native.northings[:, None]
    path = write_raster(tmp_path / "a.tif", plane, transform=native.transform)
    grid = Grid.from_bounds((200, 200, 800, 800), 20, UTM50)
    found = raster_layers(Raster(name="a", file="a"), [path], grid).fill(grid)[0]
    np.testing.assert_allclose(found, grid.eastings + 2 * grid.northings[:, None], rtol=1e-5)


def test_the_same_cells_are_taken_as_they_are(tmp_path):
    """Shifted by whole cells, cut, and missing beyond the raster's edge."""
    values = np.random.default_rng(0).random((20, 30)).astype("float32")
    path = write_raster(tmp_path / "a.tif", values)
    grid = Grid.from_bounds((500_050, 3_999_900, 500_400, 4_000_030), 10, UTM50)
    found = raster_layers(Raster(name="a", file="a"), [path], grid).fill(grid)[0]
    np.testing.assert_array_equal(found[3:, :25], values[:10, 5:])
    assert np.isnan(found[:3]).all()
    assert np.isnan(found[:, 25:]).all()


@pytest.mark.parametrize("cell", [5, 10, 40])
def test_a_raster_of_another_crs_lands_where_pyproj_says(tmp_path, cell):
    """A raster that holds its own easting in the study's CRS is read back as easting."""
    to_study = pyproj.Transformer.from_crs(UTM50, UTM49, always_xy=True)
    native = Grid.from_bounds((500_000, 3_997_000, 503_000, 4_000_000), 10, UTM50)
    eastings = to_study.transform(*native.coordinates().T)[0].reshape(native.shape) - 1_040_000
    path = write_raster(tmp_path / "a.tif", eastings.astype("float32"))
    grid = Grid.from_bounds((1_040_500, 4_014_500, 1_042_500, 4_016_000), cell, UTM49)
    found = raster_layers(Raster(name="a", file="a"), [path], grid).fill(grid)[0]
    error = np.abs(found - (grid.eastings - 1_040_000))
    assert error.max() < 0.01 * max(cell, 10)


@pytest.mark.parametrize("resampling", ["auto", "nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize("cell", [3.7, 37])
def test_a_resampled_cell_does_not_depend_on_the_window(tmp_path, resampling, cell):
    """Blocks meet without a seam."""
    rng = np.random.default_rng(0)
    values = rng.random((90, 80)).astype("float32")
    values[rng.random(values.shape) < 0.1] = np.nan
    path = write_raster(tmp_path / "a.tif", values)
    grid = Grid.from_bounds((500_103, 3_999_201, 500_702, 3_999_902), cell, UTM50)
    source = raster_layers(Raster(name="a", file="a", resampling=resampling), [path], grid)
    np.testing.assert_allclose(by_block(source, grid, 16), source.fill(grid), atol=1e-6)


def test_logarithms_are_taken_before_averaging(tmp_path):
    """What is not positive is missing."""
    values = np.array([[1, 100], [10_000, -5]], dtype="float32")
    path = write_raster(tmp_path / "a.tif", values)
    grid = Grid.from_bounds((500_000, 3_999_980, 500_020, 4_000_000), 20, UTM50)
    source = raster_layers(Raster(name="a", file="a", transform="log"), [path], grid)
    assert source.fill(grid)[0, 0, 0] == pytest.approx(np.log(100))


def test_a_raster_elsewhere_names_both_extents(tmp_path):
    """So that the wrong CRS shows."""
    path = write_raster(tmp_path / "a.tif", np.ones((3, 3), dtype="float32"))
    grid = Grid.from_bounds((0, 0, 100, 100), 10, UTM50)
    with pytest.raises(SurveyDataError, match=r"500 000, 3 999 970.*\(0\.000, .*100\.000\).*CRS"):
        raster_layers(Raster(name="magnetics", file="a"), [path], grid)


def test_a_raster_of_the_whole_earth_serves_a_small_area(tmp_path):
    """Its far side, which the study's CRS cannot show, is in nobody's way."""
    latitude = np.linspace(89.75, -89.75, 360)[:, None] * np.ones((1, 720))
    path = write_raster(
        tmp_path / "world.tif",
        latitude.astype("float32"),
        crs="EPSG:4326",
        transform=Affine(0.5, 0, -180, 0, -0.5, 90),
    )
    grid = Grid.from_bounds((400_000, 3_900_000, 600_000, 4_100_000), 10_000, UTM50)
    source = raster_layers(Raster(name="world", file="w"), [path], grid)
    to_degrees = pyproj.Transformer.from_crs(UTM50, "EPSG:4326", always_xy=True)
    expected = to_degrees.transform(*grid.coordinates().T)[1].reshape(grid.shape)
    np.testing.assert_allclose(source.fill(grid)[0], expected, atol=0.005)
    assert source.layers[0].resolution == pytest.approx(55_500, rel=0.02)


# Neighbourhood means


@SMALL
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 5, 7]), st.integers(0, 2**32 - 1))
def test_focal_mean_is_the_mean_of_the_observed_neighbours(rows, columns, size, seed):
    """Against a double loop, with gaps and edges."""
    rng = np.random.default_rng(seed)
    values = 1e4 + rng.random((rows, columns))
    values[rng.random(values.shape) < 0.4] = np.nan
    half = size // 2
    expected = np.full(values.shape, np.nan)
    for i, j in np.ndindex(values.shape):
        around = values[max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1]
        if np.isfinite(around).any():
            expected[i, j] = np.nanmean(around)
    np.testing.assert_allclose(focal_mean(values, size), expected, rtol=1e-6)


def test_an_even_neighbourhood_is_refused():
    """It has no centre."""
    with pytest.raises(StudyError, match="odd"):
        focal_mean(np.zeros((3, 3)), 4)


# Cells


def features_by_padding(values, rows, columns, window):
    """The plain way: pad the whole stack, cut each window."""
    halo = window // 2
    padded = np.pad(values, ((0, 0), (halo, halo), (halo, halo)), constant_values=np.nan)
    cut = [padded[:, r : r + window, c : c + window] for r, c in zip(rows, columns)]
    return np.array(cut).reshape(len(rows), len(values), *([window] * 2 if window > 1 else []))


@SMALL
@given(st.data(), st.sampled_from([1, 3, 7]), st.booleans())
def test_cell_features_are_the_windows_around_the_cells(data, window, lazy):
    """From memory and from Dask, in any order, repeated or not, to the edge."""
    rng = np.random.default_rng(0)
    values = rng.random((3, 600, 530)).astype("float32")
    n = data.draw(st.integers(1, 20))
    rows = data.draw(st.lists(st.integers(0, 599), min_size=n, max_size=n))
    columns = data.draw(st.lists(st.integers(0, 529), min_size=n, max_size=n))
    evidence = xr.DataArray(values, dims=("layer", "y", "x"))
    if lazy:
        evidence = evidence.chunk({"layer": 1, "y": 512, "x": 512})
    cells = CellFeatures(evidence, rows, columns, window)
    expected = features_by_padding(values, rows, columns, window)
    assert cells.shape == expected.shape
    assert len(cells) == n
    np.testing.assert_array_equal(np.asarray(cells), expected)
    np.testing.assert_array_equal(cells[::-1], expected[::-1])
    np.testing.assert_array_equal(cells[n - 1], expected[n - 1])
    some = np.arange(n) % 2 == 0
    np.testing.assert_array_equal(cells[some], expected[some])


def test_no_cells_are_an_empty_array():
    """Of the right width."""
    evidence = xr.DataArray(np.zeros((2, 3, 3), dtype="float32"), dims=("layer", "y", "x"))
    assert CellFeatures(evidence, [], [])[:].shape == (0, 2)
    assert CellFeatures(evidence.chunk(), [], [], 3)[:].shape == (0, 2, 3, 3)


def test_an_even_window_is_refused():
    """It has no centre cell."""
    evidence = xr.DataArray(np.zeros((2, 3, 3), dtype="float32"), dims=("layer", "y", "x"))
    with pytest.raises(StudyError, match="odd"):
        CellFeatures(evidence, [0], [0], 4)


# Samples


def soil(folder, table, **options):
    """Build the evidence of one table of samples."""
    table.to_csv(folder / "soil.csv", index=False)
    source = {"name": "soil", "file": "soil.csv", "x": "x", "y": "y", "crs": UTM50, **options}
    study = make_study(folder, {"crs": UTM50, "cell_size": 100.0}, samples=[source])
    return build_evidence(study)


def soil_table():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((30, 4)), columns=["x", "y", "Cu_ppm", "Zn_ppm"])
    table[["x", "y"]] *= 1000
    return table.assign(sample=[f"S{i}" for i in range(30)])


def test_repeated_sample_names_are_named(tmp_path):
    """In a warning, and in the account of the evidence."""
    table = soil_table()
    table.loc[3, "sample"] = "S7"
    with pytest.warns(SurveyDataWarning, match=r"1 sample name\(s\).*S7"):
        evidence = soil(tmp_path, table, id="sample")
    assert "S7" in evidence.attrs["history"]


def test_text_in_an_element_column_names_file_row_and_value(tmp_path):
    """A note among numbers is no number."""
    table = soil_table().astype({"Cu_ppm": object})
    table.loc[3, "Cu_ppm"] = "lost"
    with pytest.raises(SurveyDataError, match=r"soil\.csv.*Cu_ppm.*lost"):
        soil(tmp_path, table)


def test_rows_are_named_as_the_file_counts_them(tmp_path):
    """Rows that a filter or a blank coordinate took out are counted all the same."""
    table = soil_table().astype({"Cu_ppm": object}).assign(kind="till")
    table.loc[[0, 1], "kind"] = "rock"
    table.loc[2, "x"] = np.nan
    table.loc[9, "Cu_ppm"] = "lost"
    with (
        pytest.warns(SurveyDataWarning, match="no coordinates"),
        pytest.raises(SurveyDataError, match="row 10 holds 'lost'"),
    ):
        soil(tmp_path, table, where={"kind": "till"})


def test_a_row_of_several_files_is_named_with_its_own(tmp_path):
    """Of two files read as one source, the one at fault is told."""
    table = soil_table()
    table.to_csv(tmp_path / "soil_a.csv", index=False)
    table.astype({"Cu_ppm": object}).replace({"Cu_ppm": {table["Cu_ppm"][4]: "lost"}}).to_csv(
        tmp_path / "soil_b.csv", index=False
    )
    with pytest.raises(SurveyDataError, match=r"row 5 of soil_b\.csv holds 'lost'"):
        soil(tmp_path, table, file="soil_*.csv")


def test_more_than_the_whole_rock_is_an_error_with_its_place(tmp_path):
    """Ppm under a heading of per cent would spoil the log-ratios of a whole run in silence."""
    table = soil_table().rename(columns={"Cu_ppm": "Cu_pct"})
    table.loc[[6, 8], "Cu_pct"] = [350.0, 120.0]
    said = r"soil\.csv.*'Cu_pct', row 7 holds 350.*in pct is 350 %.*2 value.*missing_values = \[350"
    with pytest.raises(SurveyDataError, match=said):
        soil(tmp_path, table)


def test_pure_quartz_may_round_above_a_hundred(tmp_path):
    """SiO2 of 100.4 % is an analysis, not a mistake."""
    table = soil_table().assign(SiO2_pct=100.4)
    table.loc[:, "SiO2_pct"] -= np.linspace(0, 1, len(table))
    assert "SiO2" in soil(tmp_path, table)["layer"].to_numpy()


def test_an_element_all_below_detection_is_left_out_by_name(tmp_path):
    """The others stay."""
    table = soil_table().assign(As_ppm="<5", Pb_ppm=7.0)
    with pytest.warns(SurveyDataWarning, match="As"):
        evidence = soil(tmp_path, table, censored="text")
    assert evidence["layer"].to_numpy().tolist() == ["Cu", "Zn", "Pb"]
    assert "As_ppm left out" in evidence.attrs["history"]


def test_an_excluded_column_must_be_there(tmp_path):
    """A misspelt one is corrected."""
    with pytest.raises(SurveyDataError, match="Did you mean 'Zn_ppm'"):
        soil(tmp_path, soil_table(), exclude=["Zn_pm"])


def test_samples_elsewhere_name_both_extents(tmp_path):
    """So that swapped coordinates show."""
    soil_table().to_csv(tmp_path / "soil.csv", index=False)
    source = {"name": "soil", "file": "soil.csv", "x": "x", "y": "y", "crs": UTM50}
    area = {"crs": UTM50, "cell_size": 100.0, "extent": (5e5, 4e6, 5.1e5, 4.01e6)}
    with pytest.raises(SurveyDataError, match=r"500 000, 4 000 000.*swapped"):
        build_evidence(make_study(tmp_path, area, samples=[source]))


# The area


def test_the_area_is_snapped_outward_to_whole_cells(tmp_path):
    """Studies of one cell size share their cells."""
    pd.DataFrame({"x": [1030.0, 5770.0], "y": [220.0, 990.0], "Cu": [1.0, 2.0]}).to_csv(
        tmp_path / "s.csv", index=False
    )
    samples = [{"name": "soil", "file": "s.csv", "x": "x", "y": "y", "crs": UTM50}]
    study = make_study(tmp_path, {"crs": UTM50, "cell_size": 500.0}, samples=samples)
    assert study_grid(study).bounds == (1000, 0, 6000, 1000)


def stray_survey(folder, strays, *, n=200, crs=UTM50, raster=None, **area):
    """A study of samples 10 km across, of which some rows lie elsewhere."""
    rng = np.random.default_rng(1)
    places = rng.uniform((500_000, 2_000_000), (510_000, 2_010_000), (n, 2))
    table = pd.DataFrame(places, columns=["x", "y"])
    for row, place in strays.items():
        table.loc[row, ["x", "y"]] = place
    table.assign(Cu_ppm=1.0).to_csv(folder / "soil.csv", index=False)
    source = {"name": "soil", "file": "soil.csv", "x": "x", "y": "y", "crs": crs}
    rasters = [] if raster is None else [{"name": "mag", "file": raster}]
    return make_study(
        folder, {"crs": UTM50, "cell_size": 100.0, **area}, samples=[source], rasters=rasters
    )


def test_a_sample_that_blows_the_area_up_is_named(tmp_path):
    """A digit too many in a northing: file, row and coordinates, before anything is allocated."""
    study = stray_survey(tmp_path, {41: (503_000, 20_030_000)})
    with pytest.raises(SurveyDataError, match=r"row 42 at \(503000, 20030000\).*`extent`") as error:
        study_grid(study)
    assert "soil.csv" in str(error.value)
    assert "1 sample(s)" in str(error.value)


def test_strays_on_all_sides_are_named_together(tmp_path):
    """Two of two hundred, one west and one south."""
    study = stray_survey(tmp_path, {0: (50_000, 2_003_000), 199: (503_000, 200_300)})
    with pytest.raises(SurveyDataError, match=r"row 1 at .*row 200 at"):
        study_grid(study)


@pytest.mark.parametrize(
    "strays",
    [
        {},
        {3: (512_000, 2_012_000)},
        {row: (900_000 + row, 2_900_000) for row in range(20)},
    ],
    ids=["none", "near", "a tenth of the survey"],
)
def test_a_survey_of_several_parts_keeps_its_area(tmp_path, strays):
    """What lies a little outside, or is a fair part of the survey, is meant."""
    assert study_grid(stray_survey(tmp_path, strays)).size > 9_000


def test_a_stray_within_a_given_extent_or_other_evidence_is_no_matter(tmp_path):
    """`extent` is the remedy; and a raster that reaches as far makes the area, not the sample."""
    far = {41: (503_000, 2_300_000)}
    bounds = (500_000, 2_000_000, 510_000, 2_010_000)
    assert study_grid(stray_survey(tmp_path, far, extent=bounds)).shape == (100, 100)
    transform = Affine(1000, 0, 400_000, 0, -1000, 2_400_000)
    write_raster(tmp_path / "mag.tif", np.ones((500, 200), "float32"), transform=transform)
    assert study_grid(stray_survey(tmp_path, far, raster="mag.tif")).shape == (5000, 2000)


def test_a_traverse_may_leave_its_line(tmp_path):
    """Samples along a road: one a little off it multiplies the cells, and is meant."""
    table = pd.DataFrame({"x": np.arange(100) * 100.0, "y": 50.0, "Cu_ppm": 1.0})
    table.loc[50, "y"] = 3000.0
    table.to_csv(tmp_path / "soil.csv", index=False)
    source = {"name": "soil", "file": "soil.csv", "x": "x", "y": "y", "crs": UTM50}
    study = make_study(tmp_path, {"crs": UTM50, "cell_size": 100.0}, samples=[source])
    assert study_grid(study).shape == (30, 99)


def test_an_area_like_a_raster_has_its_very_cells(survey_data):
    """To the last digit."""
    study = make_study(
        survey_data / "nanling",
        {"like": "Idw_Ag.tif"},
        rasters=[{"name": "granite", "file": "Granite.tif"}],
    )
    with rasterio.open(survey_data / "nanling" / "Idw_Ag.tif") as file:
        assert tuple(study_grid(study).transform) == tuple(file.transform)
        assert study_grid(study).shape == file.shape


def test_a_raster_in_degrees_gives_no_area(tmp_path):
    """Distances need a projected CRS."""
    write_raster(
        tmp_path / "a.tif",
        np.ones((3, 3), dtype="float32"),
        crs="EPSG:4326",
        transform=Affine(0.1, 0, 110, 0, -0.1, 30),
    )
    study = make_study(tmp_path, {"like": "a.tif"}, rasters=[{"name": "a", "file": "a.tif"}])
    with pytest.raises(StudyError, match="degrees"):
        study_grid(study)


# The whole stack


@pytest.fixture
def small_survey(tmp_path):
    """Three 60 × 70 rasters, one constant and one empty, and a fault; cells of 10 m."""
    rng = np.random.default_rng(0)
    values = rng.random((60, 70)).astype("float32")
    values[:5] = np.nan
    write_raster(tmp_path / "mag.tif", values)
    write_raster(tmp_path / "flat.tif", np.full((60, 70), 7, dtype="float32"))
    write_raster(tmp_path / "empty.tif", np.full((60, 70), -1, dtype="float32"), nodata=-1)
    fault = shapely.LineString([(500_100, 3_999_500), (500_600, 3_999_900)])
    gpd.GeoDataFrame({"id": [1]}, geometry=[fault], crs=UTM50).to_file(tmp_path / "faults.gpkg")
    ring = shapely.box(500_100, 3_999_500, 500_500, 3_999_900)
    gpd.GeoDataFrame({"id": [1]}, geometry=[ring], crs=UTM50).to_file(tmp_path / "area.gpkg")
    return tmp_path


def small_study(folder, *, rasters=("mag",), mask=None, focal=()):
    area = {"like": "mag.tif"} | ({} if mask is None else {"mask": mask})
    return make_study(
        folder,
        area,
        rasters=[{"name": name, "file": f"{name}.tif"} for name in rasters],
        vectors=[{"name": "faults", "file": "faults.gpkg"}],
        method={"focal": list(focal)},
    )


def test_layers_that_tell_nothing_are_left_out_by_name(small_survey):
    """Missing everywhere and constant; the account says so."""
    with pytest.warns(SurveyDataWarning) as caught:
        evidence = build_evidence(small_study(small_survey, rasters=("flat", "mag", "empty")))
    messages = " ".join(str(warning.message) for warning in caught)
    assert "'flat'" in messages
    assert "7 in every observed cell" in messages
    assert "'empty'" in messages
    assert "missing in every cell" in messages
    assert evidence["layer"].to_numpy().tolist() == ["mag", "distance to faults"]
    assert len(json.loads(evidence.attrs["history"])) == 2


def test_nothing_left_is_an_error(small_survey):
    """A study of constants cannot tell anything."""
    study = make_study(
        small_survey, {"like": "mag.tif"}, rasters=[{"name": "flat", "file": "flat.tif"}]
    )
    with (
        pytest.warns(SurveyDataWarning, match="left out"),
        pytest.raises(SurveyDataError, match="no layer of evidence is left"),
    ):
        build_evidence(study)


def test_a_stack_in_a_store_equals_that_in_memory(small_survey, tmp_path):
    """Values, names, mask, history, with layers dropped and neighbourhood means added."""
    study = small_study(small_survey, rasters=("flat", "mag"), mask="area.gpkg", focal=[3, 5])
    steps = []
    with pytest.warns(SurveyDataWarning, match="flat"):
        stored = build_evidence(
            study, store=tmp_path / "e.zarr", progress=lambda *step: steps.append(step)
        )
    with pytest.warns(SurveyDataWarning, match="flat"):
        in_memory = build_evidence(study)
    xr.testing.assert_identical(stored.load(), in_memory)
    assert steps[-1][0] == steps[-1][1]
    assert stored["layer"].to_numpy().tolist() == [
        "mag",
        "distance to faults",
        "mag mean 3×3",
        "distance to faults mean 3×3",
        "mag mean 5×5",
        "distance to faults mean 5×5",
    ]


def test_neighbourhood_means_in_a_build_are_those_of_the_finished_stack(small_survey):
    """One way of averaging, whether asked for in the study or in Python."""
    plain = build_evidence(small_study(small_survey))
    built = build_evidence(small_study(small_survey, focal=[3]))
    xr.testing.assert_identical(focal_means(plain, [3]), built)
    several = focal_means(plain, [3, 5])
    assert len(several) == 3 * len(plain)
    kept = without_focal_means(several, [3, 5])
    assert kept["layer"].to_numpy().tolist() == plain["layer"].to_numpy().tolist()
    np.testing.assert_array_equal(kept, plain)


def test_nothing_is_observed_outside_the_mask(small_survey):
    """Inside polygons, or inside the observed cells of a raster."""
    evidence = build_evidence(small_study(small_survey, mask="area.gpkg"))
    inside = shapely.contains_xy(
        shapely.box(500_100, 3_999_500, 500_500, 3_999_900),
        *Grid.from_dataarray(evidence).coordinates().T,
    ).reshape(60, 70)
    np.testing.assert_array_equal(valid_cells(evidence), inside)
    np.testing.assert_array_equal(np.isfinite(evidence[1]), inside)
    masked = build_evidence(small_study(small_survey, mask="mag.tif"))
    np.testing.assert_array_equal(valid_cells(masked), np.arange(60)[:, None] >= 5 * np.ones(70))


def test_valid_cells_are_the_same_with_and_without_the_mask_coordinate(small_survey):
    """The coordinate is only a short cut."""
    evidence = build_evidence(small_study(small_survey, mask="area.gpkg"))
    np.testing.assert_array_equal(valid_cells(evidence), valid_cells(evidence.drop_vars("mask")))


def test_layers_of_one_name_are_told_apart_by_their_source(tmp_path):
    """Copper in soil and copper in till are two layers."""
    rng = np.random.default_rng(0)
    for name in ("soil", "till"):
        table = pd.DataFrame(rng.random((30, 4)), columns=["x", "y", "Cu_ppm", "Zn_ppm"])
        table[["x", "y"]] *= 1000
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    samples = [
        {"name": name, "file": f"{name}.csv", "x": "x", "y": "y", "crs": UTM50, "elements": which}
        for name, which in (("soil", ["Cu_ppm", "Zn_ppm"]), ("till", ["Cu_ppm"]))
    ]
    samples = [{**one, "transform": "log"} for one in samples]
    evidence = build_evidence(
        make_study(tmp_path, {"crs": UTM50, "cell_size": 50.0}, samples=samples)
    )
    assert evidence["layer"].to_numpy().tolist() == ["soil: Cu", "Zn", "till: Cu"]


def test_a_killed_build_leaves_no_store(small_survey, tmp_path):
    """Interrupted in the middle, nothing opens and nothing is left lying about."""

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_evidence(
            small_study(small_survey), store=tmp_path / "out" / "e.zarr", progress=interrupt
        )
    assert list((tmp_path / "out").iterdir()) == []


# Real surveys


def test_nanling_three_grids_meet_in_42_layers(survey_data):
    """39 elements at their own values, three 1 km rasters averaged; 20,460 cells."""
    rasters = [{"name": "elements", "file": "Idw_*.tif"}]
    rasters += [{"name": name, "file": f"{name}.tif"} for name in ("Faults", "Granite", "Strata")]
    study = make_study(survey_data / "nanling", {"like": "Idw_Ag.tif"}, rasters=rasters)
    evidence = build_evidence(study)
    assert evidence.shape == (42, 163, 141)
    assert valid_cells(evidence).sum() == 20_460
    assert evidence["layer"].to_numpy()[[0, -1]].tolist() == ["Ag", "Strata"]
    with rasterio.open(survey_data / "nanling" / "Idw_Cu.tif") as file:
        copper = file.read(1)
    np.testing.assert_array_equal(
        evidence.sel(layer="Cu"), np.where(copper == -1, np.float32(np.nan), copper)
    )
    granite = io.open_raster(Raster(name="g", file="g"), survey_data / "nanling" / "Granite.tif")
    native, grid = io.raster_grid(granite), study_grid(study)
    expected = area_mean(io.read_cells(granite), native, grid)
    within = shapely.within(cell_boxes(grid), shapely.box(*native.bounds)).reshape(grid.shape)
    within &= np.isfinite(evidence.sel(layer="Granite").to_numpy())
    assert within.sum() > 15_000
    np.testing.assert_allclose(
        evidence.sel(layer="Granite").to_numpy()[within], expected[within], atol=1e-6
    )


def test_jabal_al_hasir_is_gridded_from_log_ratios(survey_data):
    """Log-ratios at the samples, then inverse distances: as each step by itself."""
    samples = {
        "name": "stream",
        "file": "KSA_raw_data.parquet",
        "x": "Longitude",
        "y": "Latitude",
        "crs": "EPSG:4326",
        "units": "ppm",
        "elements": ["Cu", "Zn", "Au"],
        "max_distance": 5000.0,
    }
    study = make_study(
        survey_data / "jabal-al-hasir",
        {"crs": "EPSG:32638", "cell_size": 2000.0},
        samples=[samples],
    )
    evidence = build_evidence(study)
    table = pd.read_parquet(survey_data / "jabal-al-hasir" / "KSA_raw_data.parquet")
    places = pyproj.Transformer.from_crs(4326, 32638, always_xy=True).transform(
        table["Longitude"], table["Latitude"]
    )
    expected = idw(
        np.column_stack(places),
        clr(table[["Cu", "Zn", "Au"]].to_numpy()),
        study_grid(study),
        max_distance=5000.0,
    )
    np.testing.assert_allclose(evidence.to_numpy(), expected, atol=1e-5)
    assert evidence["unit"].to_numpy().tolist() == ["clr"] * 3


def test_kolari_till_with_flags_is_gridded(survey_data):
    """Values below detection are marked in a column of their own; the account names them."""
    path = survey_data / "kolari-till" / "till_geochem_511p.gpkg"
    table = io.read_table(path)
    flags = {
        name: f"{name.split('_')[0]}_511P_T" for name in map(str, table.columns) if "_ppm_" in name
    }
    samples = {
        "name": "till",
        "file": path.name,
        "censored": "flag",
        "elements": list(flags),
        "flags": flags,
        "units": "ppm",
    }
    study = make_study(path.parent, {"crs": "EPSG:3067", "cell_size": 1000.0}, samples=[samples])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SurveyDataWarning)
        evidence = build_evidence(study)
    assert evidence.sizes["layer"] >= 10
    assert np.isfinite(evidence).any(dim="layer").mean() > 0.5
    assert any("Below detection" in entry["message"] for entry in json.loads(evidence.history))


def test_murchison_faults_and_greenstone_are_measured_exactly(survey_data):
    """Distance and containment, at cells drawn at random, against shapely."""
    crs = "EPSG:32750"
    rings = {"file": "greenstone_rings.csv", "x": "x", "y": "y", "ring": "ring", "crs": crs}
    faults = {"file": "fault_segments.csv", "segments": ["x0", "y0", "x1", "y1"], "crs": crs}
    vectors = [
        {"name": "faults", **faults},
        {"name": "greenstone", "measure": "category", **rings},
        {"name": "greenstone edge", **rings},
    ]
    folder = survey_data / "murchison"
    for source in vectors:
        source["segments"] = tuple(source["segments"]) if "segments" in source else None
    study = make_study(folder, {"crs": crs, "cell_size": 2000.0}, vectors=vectors)
    evidence = build_evidence(study)
    cells = np.random.default_rng(0).choice(study_grid(study).size, 200, replace=False)
    centres = shapely.points(study_grid(study).coordinates()[cells])
    lines = io.read_vector(study.vectors[0], folder / "fault_segments.csv", crs).union_all()
    greenstone = io.read_vector(study.vectors[1], folder / "greenstone_rings.csv", crs).union_all()
    found = evidence.to_numpy().reshape(3, -1)[:, cells]
    np.testing.assert_allclose(found[0], shapely.distance(centres, lines), rtol=1e-6)
    np.testing.assert_array_equal(found[1], shapely.contains(greenstone, centres))
    np.testing.assert_allclose(found[2], shapely.distance(centres, greenstone), rtol=1e-6)


def test_cloncurry_classes_keep_every_cell_of_the_published_grid(survey_data):
    """One layer a class, 1 exactly in the cells of the class."""
    weights = "CalculateWeights/"
    study = make_study(
        survey_data / "cloncurry",
        {"like": weights + "FaultDensity.tif"},
        rasters=[{"name": "density", "file": weights + "FaultDensity.tif", "measure": "category"}],
    )
    evidence = build_evidence(study)
    with rasterio.open(survey_data / "cloncurry" / weights / "FaultDensity.tif") as file:
        published = file.read(1)
    assert evidence.sizes["layer"] == len(np.unique(published))
    np.testing.assert_array_equal(evidence.sel(layer="density: 6"), published == 6)
    assert set(evidence["kind"].to_numpy()) == {"category"}
