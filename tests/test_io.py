"""Reading what surveys hold, saying what is wrong with it, and writing all or nothing."""

import itertools
import json
import pickle
import subprocess
import sys
import textwrap
import warnings
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import rasterio.shutil
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from gossan import io
from gossan.exceptions import GossanError, LabelError, SurveyDataError, SurveyDataWarning
from gossan.geochem import prepare_samples
from gossan.grid import Grid
from gossan.pipeline import input_digests
from gossan.study import Deposits, Occurrences, Raster, Vector, parse_study

UTM50 = "EPSG:32650"


def write_raster(path, values, *, transform=None, crs=UTM50, nodata=None, **profile):
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
        **profile,
    ) as file:
        file.write(values, 1)
    return path


def one_raster(path, **options):
    return io.open_raster(Raster(name="r", file=str(path), **options), path)


# Tables


@settings(max_examples=40, deadline=None)
@given(
    separator=st.sampled_from([",", ";", "\t", "|"]),
    decimal=st.sampled_from([".", ","]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    values=st.lists(st.floats(-1e6, 1e6).map(lambda v: round(v, 3)), min_size=2, max_size=8),
)
def test_any_common_csv_reads_as_the_same_table(
    tmp_path_factory, separator, decimal, encoding, values
):
    """Separator, decimal mark and encoding are told from the file."""
    if separator == ",":
        decimal = "."
    table = pd.DataFrame({"Gelände": ["Süd", *["Nord"] * (len(values) - 1)], "Cu_ppm": values})
    path = tmp_path_factory.mktemp("csv") / "samples.csv"
    table.to_csv(path, sep=separator, decimal=decimal, encoding=encoding, index=False)
    pd.testing.assert_frame_equal(
        io.read_table(path), table, check_dtype=False, rtol=1e-12, check_exact=False
    )


def test_quoted_separators_do_not_split_fields(tmp_path):
    """A comma within quotes belongs to the name."""
    path = tmp_path / "t.csv"
    path.write_text('"a, b, c, d";x\n"u, v";1\n', encoding="utf-8")
    assert list(io.read_table(path).columns) == ["a, b, c, d", "x"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"x,y\n", "holds no rows"),
        ("binary.csv", b"\x00\x01\x02\x00", "binary bytes"),
        ("book.xlsx", b"PK", "Export it as CSV"),
        ("broken.parquet", b"PAR1 nonsense", "cannot be read as a table"),
        ("broken.gpkg", b"nonsense", "cannot be read as a table"),
        ("ragged.csv", b"x,y\n1,2\n1,2,3,4\n", "line 3"),
    ],
)
def test_unreadable_tables_name_file_and_remedy(tmp_path, name, content, message):
    """Each damaged file is named with what is wrong."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SurveyDataError, match=message) as error:
        io.read_table(path)
    assert str(path) in str(error.value)


def test_decimal_commas_within_censored_marks_are_read(tmp_path):
    """'<0,5' and '< 1,5E-2' among '1,25' are marks and numbers of one column."""
    path = tmp_path / "till.csv"
    path.write_text("id;Cu_ppm;note\nA;<0,5;wet\nB;1,25;sand, dry\nC;< 1,5E-2;\n")
    table = io.read_table(path)
    assert table["Cu_ppm"].tolist() == ["<0.5", "1.25", "< 1.5E-2"]
    assert table["note"].tolist()[:2] == ["wet", "sand, dry"]


def test_censored_decimal_commas_become_concentrations(tmp_path):
    """From such a file to numbers: half the limit stands for the mark."""
    path = tmp_path / "till.csv"
    path.write_text("x;y;Cu_ppm\n1,5;2;<0,5\n2,5;2;1,25\n3,5;2;4\n")
    samples = prepare_samples(
        io.read_table(path), [[0, 0], [1, 0], [2, 0]], censored="text", transform="none"
    )
    assert samples.values["Cu_ppm"].tolist() == [0.25, 1.25, 4.0]


@pytest.mark.parametrize("header", ["id,Cu,Zn,Cu", 'id,Cu,"Zn","Cu "', "id, Cu,Zn,Cu"])
def test_a_column_named_twice_is_an_error(tmp_path, header):
    """The second would become a layer of its own, of another name; file and column are named."""
    path = tmp_path / "soil.csv"
    path.write_text(f"{header}\nA,1,2,3\n")
    with pytest.raises(SurveyDataError, match=r"soil\.csv: 2 columns are named 'Cu'.* 2 and 4"):
        io.read_table(path)


def test_columns_without_a_name_are_no_repetition(tmp_path):
    """A spreadsheet's empty columns to the right of the table are let be."""
    path = tmp_path / "soil.csv"
    path.write_text("id,Cu,,\nA,1,,\n")
    assert io.read_table(path)["Cu"].tolist() == [1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_null_byte_far_into_a_file_is_named_by_row(tmp_path, encoding):
    """Beyond what is sniffed, too: the parser would drop what follows it in silence."""
    rows = [f"sö{i},{i}" for i in range(40_000)]
    rows[31_415] = "sö\0,7"
    path = tmp_path / "soil.csv"
    path.write_text("\n".join(["id,Cu", *rows]), encoding=encoding)
    with pytest.raises(SurveyDataError, match=r"soil\.csv holds binary .* row 31416 .* line 31417"):
        io.read_table(path)


def test_missing_file_is_named(tmp_path):
    """A file that is not there is said not to be there."""
    with pytest.raises(SurveyDataError, match="does not exist"):
        io.read_table(tmp_path / "none.csv")


# Points


def write_csv(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_missing_column_suggests_the_nearest(tmp_path):
    """A misspelt column name leads to the right one."""
    path = write_csv(tmp_path / "p.csv", Easting=[1.0], Northing=[2.0])
    with pytest.raises(SurveyDataError, match="Did you mean 'Easting'"):
        io.read_points(path, x="Eastings", y="Northing", crs=UTM50)


def test_table_without_crs_says_how_to_give_it(tmp_path):
    """Coordinates of unknown CRS are not guessed."""
    path = write_csv(tmp_path / "p.csv", x=[1.0], y=[2.0])
    with pytest.raises(SurveyDataError, match=r"p\.csv does not .* crs = 'EPSG:4326'"):
        io.read_points(path, x="x", y="y")


@pytest.mark.parametrize(
    ("read", "table"),
    [
        (lambda p: io.read_deposits(Deposits(file="p", x="x", y="y"), p, UTM50), "[deposits]"),
        (
            lambda p: io.read_deposits(Occurrences(file="p", x="x", y="y"), p, UTM50),
            "[negatives.occurrences]",
        ),
        (
            lambda p: io.read_vector(Vector(name="dykes", file="p", x="x", y="y"), p, UTM50),
            "[[vectors]] (dykes)",
        ),
        (
            lambda p: io.read_vector(
                Vector(name="dykes", file="p", segments=("x", "y", "x1", "y1")), p, UTM50
            ),
            "[[vectors]] (dykes)",
        ),
        (
            lambda p: io.read_vector(
                Vector(name="belts", file="p", ring="ring", x="x", y="y"), p, UTM50
            ),
            "[[vectors]] (belts)",
        ),
    ],
)
def test_a_missing_crs_is_asked_for_in_the_table_that_lacks_it(tmp_path, read, table):
    """File, table of the study file, key."""
    ends = {"x": [1.0, 5, 5], "y": [2.0, 2, 9], "x1": [5.0, 5, 1], "y1": [2.0, 9, 2]}
    path = write_csv(tmp_path / "p.csv", ring=["a"] * 3, **ends)
    with pytest.raises(SurveyDataError, match=r"p\.csv does not say its CRS") as told:
        read(path)
    assert f"Add it to {table} in the study file: crs = 'EPSG:4326'" in str(told.value)


def test_a_vector_file_without_crs_names_its_table(tmp_path):
    """A shapefile that lost its .prj."""
    path = tmp_path / "faults.shp"
    gpd.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (9, 9)])], crs=UTM50).to_file(path)
    path.with_suffix(".prj").unlink()
    settings = Vector(name="faults", file="faults.shp")
    with pytest.raises(SurveyDataError, match=r"Add it to \[\[vectors\]\] \(faults\)"):
        io.read_vector(settings, path, UTM50)
    named = settings.model_copy(update={"crs": UTM50})
    assert io.read_vector(named, path, UTM50).crs == UTM50


def test_polygons_that_no_study_names(tmp_path):
    """One layer of several by QGIS's own spelling; the file itself is mended, not the study."""
    square, hills = shapely.box(0, 0, 9, 9), tmp_path / "hills.gpkg"
    both = shapely.GeometryCollection([square, shapely.Point(1, 1)])
    gpd.GeoDataFrame(geometry=[both], crs=UTM50).to_file(hills, layer="hills")
    found = io.read_polygons(hills, UTM50)
    assert found.geometry.tolist() == [square]
    gpd.GeoDataFrame(geometry=[square.buffer(9)], crs=UTM50).to_file(hills, layer="plains")
    with pytest.raises(SurveyDataError, match=r"has 2 layers: hills, plains.*\|layername=hills'"):
        io.read_polygons(hills, UTM50)
    assert io.read_polygons(f"{hills}|layername=hills", UTM50).geometry.tolist() == [square]
    with pytest.raises(SurveyDataError, match=r"has no layer 'hill'. Did you mean 'hills'"):
        io.read_polygons(f"{hills}|layername=hill", UTM50)
    lines = tmp_path / "lines.shp"
    gpd.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (9, 9)])], crs=UTM50).to_file(lines)
    with pytest.raises(SurveyDataError, match=r"lines\.shp holds no polygon"):
        io.read_polygons(lines, UTM50)
    lines.with_suffix(".prj").unlink()
    with pytest.raises(SurveyDataError, match=r"ogr2ogr -a_srs EPSG:… lines\.gpkg lines\.shp"):
        io.read_polygons(lines, UTM50)
    with pytest.raises(SurveyDataError, match=r"p\.csv"):
        io.read_polygons(tmp_path / "p.csv", UTM50)
    with pytest.raises(SurveyDataError, match=r"table\.csv holds no polygon: give a GeoPackage"):
        io.read_polygons(write_csv(tmp_path / "table.csv", a=[1, 2], b=[3, 4]), UTM50)
    with pytest.raises(SurveyDataError, match=r"'\|layerid=0': only one layer can be named"):
        io.read_polygons(f"{hills}|layerid=0", UTM50)
    found.to_parquet(tmp_path / "hills.parquet")
    assert io.read_polygons(tmp_path / "hills.parquet", UTM50).geometry.tolist() == [square]


def test_text_among_coordinates_names_row_and_value(tmp_path):
    """Row and value of the first text are named."""
    path = write_csv(tmp_path / "p.csv", x=["1", "2", "near the well"], y=[1, 2, 3])
    with pytest.raises(SurveyDataError, match=r"'near the well' in row 3"):
        io.read_points(path, x="x", y="y", crs=UTM50)


def test_swapped_degrees_are_noticed(tmp_path):
    """A latitude of 109 degrees is no latitude."""
    path = write_csv(tmp_path / "p.csv", lon=[25.0], lat=[109.0])
    with pytest.raises(SurveyDataError, match="swapped"):
        io.read_points(path, x="lon", y="lat", crs="EPSG:4326", to_crs=UTM50)


def test_rows_without_coordinates_are_counted_and_left_out(tmp_path):
    """The warning counts them; the others stay."""
    path = write_csv(tmp_path / "p.csv", x=[1.0, None, 3.0], y=[1.0, 2.0, 3.0])
    with pytest.warns(SurveyDataWarning, match="1 of 3 rows have no coordinates"):
        points = io.read_points(path, x="x", y="y", crs=UTM50)
    assert points.geometry.x.tolist() == [1.0, 3.0]
    assert points.index.tolist() == [0, 1]


def test_filter_on_an_absent_value_lists_those_present(tmp_path):
    """A misspelt value is not an empty result."""
    path = write_csv(tmp_path / "p.csv", x=[1, 2], y=[1, 2], metal=["Gold", "Copper"])
    with pytest.raises(SurveyDataError, match=r"metal = 'gold'.*Did you mean 'Gold'.*Copper, Gold"):
        io.read_points(path, x="x", y="y", crs=UTM50, where={"metal": "gold"})


def test_filter_keeps_rows_of_any_listed_value(tmp_path):
    """Numbers compare as numbers, text as text."""
    path = write_csv(tmp_path / "p.csv", x=[1, 2, 3], y=[1, 2, 3], grade=[1.0, 2.0, 3.0])
    points = io.read_points(path, x="x", y="y", crs=UTM50, where={"grade": [1, "3.0"]})
    assert points["grade"].tolist() == [1.0, 3.0]


def test_points_are_projected_like_pyproj_does(tmp_path):
    """Longitude and latitude become the easting and northing that pyproj gives."""
    path = write_csv(tmp_path / "p.csv", lon=[116.5, 117.25], lat=[39.9, 40.5])
    points = io.read_points(path, x="lon", y="lat", crs="EPSG:4326", to_crs=UTM50)
    expected = pyproj.Transformer.from_crs(4326, 32650, always_xy=True).transform(
        [116.5, 117.25], [39.9, 40.5]
    )
    np.testing.assert_allclose(shapely.get_coordinates(points.geometry).T, expected, atol=1e-6)


def test_a_geopackage_of_several_layers_asks_which(tmp_path):
    """No layer is taken at random."""
    places = gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs=UTM50)
    for layer in ("soil", "till"):
        places.to_file(tmp_path / "s.gpkg", layer=layer)
    with pytest.raises(SurveyDataError, match="soil, till"):
        io.read_table(tmp_path / "s.gpkg")
    assert len(io.read_points(tmp_path / "s.gpkg", layer="till")) == 1


# Deposits


def test_nanling_deposits_are_the_23_cells_of_the_raster(survey_data):
    """A raster of deposit cells gives their centres."""
    deposits = io.read_deposits(
        Deposits(file="Li_deposits0.tif"), survey_data / "nanling" / "Li_deposits0.tif", UTM50
    )
    assert len(deposits) == 23
    with rasterio.open(survey_data / "nanling" / "Li_deposits0.tif") as file:
        marked = list(file.sample(shapely.get_coordinates(deposits.geometry)))
    assert np.all(np.array(marked) == 1)
    assert deposits["name"].iloc[0] == "deposit 1"


def test_cloncurry_deposits_read_from_the_shapefile(survey_data):
    """258 points, as published, in their own CRS."""
    path = survey_data / "cloncurry" / "CalculateWeights" / "IOCG_Deposits.shp"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SurveyDataWarning)
        deposits = io.read_deposits(Deposits(file=str(path)), path, "EPSG:7845")
    assert len(deposits) <= 258
    assert deposits.crs == pyproj.CRS("EPSG:7845")
    assert deposits.index.tolist() == list(range(len(deposits)))


def test_jabal_al_hasir_metals_are_kept_by_commodity(survey_data):
    """19 gold, 6 copper and 6 silver occurrences, one of them recorded twice."""
    path = survey_data / "jabal-al-hasir" / "KSA_validation.parquet"
    settings = Deposits(
        file=str(path),
        x="Longitude",
        y="Latitude",
        crs="EPSG:4326",
        name="English_Name",
        where={"Major_Commodity": ["Gold", "Copper", "Silver"]},
    )
    with pytest.warns(SurveyDataWarning, match="1 deposit"):
        deposits = io.read_deposits(settings, path, "EPSG:32638")
    assert len(deposits) == 30
    assert deposits.columns[0] == "name"
    assert deposits["name"].str.len().min() > 0


def test_deposits_at_one_place_are_merged_with_a_warning(tmp_path):
    """Two records of one mine are one deposit."""
    path = write_csv(tmp_path / "d.csv", x=[1, 1, 5], y=[2, 2, 5], mine=["A", "B", None])
    settings = Deposits(file="d.csv", x="x", y="y", crs=UTM50, name="mine")
    with pytest.warns(SurveyDataWarning, match="merged with it: B"):
        deposits = io.read_deposits(settings, path, UTM50)
    assert deposits["name"].tolist() == ["A", "deposit 3"]


def test_a_raster_without_the_deposit_value_is_a_label_error(tmp_path):
    """Zero deposits cannot label anything."""
    path = write_raster(tmp_path / "d.tif", np.zeros((4, 4), dtype="uint8"))
    with pytest.raises(LabelError, match="no cell has the value 1"):
        io.read_deposits(Deposits(file="d.tif"), path, UTM50)


# Vectors


def test_murchison_faults_are_3252_segments(survey_data):
    """Each row of a CSV of segments is a line."""
    path = survey_data / "murchison" / "fault_segments.csv"
    columns = ("x0", "y0", "x1", "y1")
    settings = Vector(name="faults", file="f", segments=columns, crs="EPSG:32750")
    faults = io.read_vector(settings, path, "EPSG:32750")
    table = pd.read_csv(path)
    assert len(faults) == 3252
    length = np.hypot(table.x1 - table.x0, table.y1 - table.y0).sum()
    assert faults.length.sum() == pytest.approx(length)


def test_murchison_rings_become_polygons_with_holes(survey_data):
    """Their area is the sum of the signed areas of the rings (holes run clockwise)."""
    path = survey_data / "murchison" / "greenstone_rings.csv"
    settings = Vector(name="g", file="g", x="x", y="y", ring="ring", crs="EPSG:32750")
    polygons = io.read_vector(settings, path, "EPSG:32750")
    signed = [
        0.5 * np.sum(ring.x * np.roll(ring.y, -1) - np.roll(ring.x, -1) * ring.y)
        for _, ring in pd.read_csv(path).groupby("ring")
    ]
    assert polygons.area.sum() == pytest.approx(np.sum(signed), rel=1e-9)
    assert len(polygons) == np.sum(np.array(signed) > 0)
    assert polygons.is_valid.all()


def test_an_island_in_a_hole_is_a_polygon_of_its_own(tmp_path):
    """A hole goes to the smallest ring around it."""
    squares = {"a": (0, 10, 1), "b": (1, 9, -1), "c": (2, 8, 1), "d": (3, 7, -1)}
    rows = []
    for name, (low, high, turn) in squares.items():
        corners = [(low, low), (high, low), (high, high), (low, high)][::turn]
        rows += [(name, *corner) for corner in corners]
    path = tmp_path / "rings.csv"
    pd.DataFrame(rows, columns=["ring", "x", "y"]).to_csv(path, index=False)
    settings = Vector(name="g", file="g", x="x", y="y", ring="ring", crs=UTM50)
    assert sorted(io.read_vector(settings, path, UTM50).area) == [36 - 16, 100 - 64]


def test_a_plain_table_without_its_meaning_is_asked_for(tmp_path):
    """Rows of numbers are not taken for lines in silence."""
    path = write_csv(tmp_path / "v.csv", a=[1], b=[2])
    with pytest.raises(SurveyDataError, match="`segments`"):
        io.read_vector(Vector(name="v", file="v.csv", crs=UTM50), path, UTM50)


def test_rows_without_geometry_are_left_out_with_a_warning(tmp_path):
    """The other lines stay."""
    path = write_csv(tmp_path / "v.csv", a=[0, None], b=[0, 0], c=[3, 3], d=[4, 4])
    settings = Vector(name="v", file="v.csv", segments=("a", "b", "c", "d"), crs=UTM50)
    with pytest.warns(SurveyDataWarning, match="1 of 2 rows have no geometry"):
        lines = io.read_vector(settings, path, UTM50)
    assert lines.length.tolist() == [5.0]


def test_a_map_of_the_world_loses_what_the_study_cannot_show(tmp_path):
    """With a warning that counts it."""
    world = gpd.GeoDataFrame(
        {"id": [1, 2]},
        geometry=[
            shapely.LineString([(117, 36), (118, 37)]),
            shapely.LineString([(-63, -90), (-153, 0)]),
        ],
        crs="EPSG:4326",
    )
    world.to_file(tmp_path / "w.gpkg")
    settings = Vector(name="faults", file="w.gpkg")
    with pytest.warns(SurveyDataWarning, match="1 of 2 rows lie beyond"):
        lines = io.read_vector(settings, tmp_path / "w.gpkg", UTM50)
    assert lines["id"].tolist() == [1]


# Rasters


@pytest.mark.parametrize(
    ("file", "options", "missing"),
    [
        ("CalculateWeights/Dist2Breccia.tif", {}, 0),
        ("CalculateWeights/StratNo.tif", {}, 0),
        ("CalculateResponse/PosteriorProbability.tif", {}, 0),
        ("CalculateWeights/FaultDensity.tif", {"nodata": [10.0]}, None),
    ],
)
def test_cloncurry_nodata_conventions_become_nan(survey_data, file, options, missing):
    """−1, 3, NaN and a value that only the study declares are all missing."""
    path = survey_data / "cloncurry" / file
    array = one_raster(path, **options)
    values = io.read_cells(array)
    with rasterio.open(path) as dataset:
        raw = dataset.read(1)
        expected = np.isnan(raw) if raw.dtype.kind == "f" else raw == dataset.nodata
    if missing is None:
        expected = raw == options["nodata"][0]
        assert expected.any()
    np.testing.assert_array_equal(np.isnan(values), expected)
    assert array.rio.crs.to_epsg() == 7845


def test_nanling_rasters_lie_on_three_grids(survey_data):
    """The grids are read off exactly, and differ."""
    grids = {
        name: io.raster_grid(one_raster(survey_data / "nanling" / f"{name}.tif"))
        for name in ("Idw_Ag", "Faults", "Li_deposits0")
    }
    for name, grid in grids.items():
        with rasterio.open(survey_data / "nanling" / f"{name}.tif") as file:
            assert tuple(grid.transform) == tuple(file.transform)
    assert not any(a.same_cells(b) for a, b in itertools.combinations(grids.values(), 2))


def test_a_raster_is_not_read_when_opened(tmp_path):
    """Only the wanted window is computed, and it is that window."""
    values = np.arange(3000 * 1200, dtype="float32").reshape(3000, 1200)
    array = one_raster(write_raster(tmp_path / "a.tif", values, tiled=True))
    assert array.chunks is not None
    window = io.read_cells(array, slice(2000, 2003), slice(1100, 1105))
    np.testing.assert_array_equal(window, values[2000:2003, 1100:1105])


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_netcdf_and_zarr_read_north_up_whatever_their_order(tmp_path, kind):
    """An array stored south up is the same raster as its GeoTIFF."""
    values = np.arange(12, dtype="float32").reshape(3, 4)
    grid = Grid.from_bounds((0, 0, 400, 300), 100, UTM50)
    array = grid.to_dataarray(values, name="mag").isel(y=slice(None, None, -1))
    array = array.drop_vars("spatial_ref").rio.write_crs(UTM50)
    path = tmp_path / f"mag.{kind}"
    if kind == "nc":
        array.to_netcdf(path, engine="h5netcdf")
    else:
        array.to_zarr(path, zarr_format=3, consolidated=False)
    opened = one_raster(path)
    np.testing.assert_array_equal(io.read_cells(opened), values)
    assert io.raster_grid(opened).same_cells(grid)


def test_a_netcdf_of_several_variables_asks_which(tmp_path):
    """No variable is taken at random, and a misspelt one is corrected."""
    grid = Grid.from_bounds((0, 0, 400, 300), 100, UTM50)
    plane = grid.to_dataarray(np.zeros((3, 4)))
    xr.Dataset({"magnetics": plane, "gravity": plane}).to_netcdf(
        tmp_path / "g.nc", engine="h5netcdf"
    )
    with pytest.raises(SurveyDataError, match="magnetics, gravity"):
        one_raster(tmp_path / "g.nc")
    with pytest.raises(SurveyDataError, match="Did you mean 'gravity'"):
        one_raster(tmp_path / "g.nc", variable="gravty")


def test_a_raster_without_crs_says_how_to_give_it(tmp_path):
    """The remedy works."""
    path = write_raster(tmp_path / "a.tif", np.ones((3, 3), dtype="float32"), crs=None)
    with pytest.raises(SurveyDataError, match="has no CRS"):
        one_raster(path)
    assert one_raster(path, crs=UTM50).rio.crs.to_epsg() == 32650


def test_a_rotated_raster_is_refused(tmp_path):
    """Its cells are no rows and columns of a north-up map."""
    turned = Affine.translation(500_000, 4_000_000) @ Affine.rotation(20) @ Affine.scale(10, -10)
    path = write_raster(tmp_path / "a.tif", np.ones((3, 3), dtype="float32"), transform=turned)
    with pytest.raises(SurveyDataError, match="rotated"):
        one_raster(path)


def test_a_raster_without_place_is_refused(tmp_path):
    """A scanned picture is not a map."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        path = write_raster(
            tmp_path / "a.tif",
            np.ones((3, 3), dtype="uint8"),
            crs=None,
            transform=Affine.identity(),
        )
    with pytest.raises(SurveyDataError, match="does not say where it lies"):
        one_raster(path)


def test_a_band_that_is_not_there_is_named(tmp_path):
    """Bands count from 1."""
    path = write_raster(tmp_path / "a.tif", np.ones((3, 3), dtype="float32"))
    with pytest.raises(SurveyDataError, match=r"has 1 band\(s\); band 2"):
        one_raster(path, band=2)


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.95])
def test_a_truncated_raster_is_an_error_when_opened_or_read(tmp_path, keep):
    """However much is cut, the file is named and no value is made up."""
    values = np.random.default_rng(0).random((600, 600)).astype("float32")
    path = write_raster(tmp_path / "a.tif", values, tiled=True, compress="deflate")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(SurveyDataError, match=r"a\.tif"):
        io.read_cells(one_raster(path))


def test_corrupt_bytes_within_a_raster_are_an_error(tmp_path):
    """Bytes overwritten in the middle do not decompress."""
    values = np.random.default_rng(0).integers(0, 9, (600, 600)).astype("float32")
    path = write_raster(tmp_path / "a.tif", values, tiled=True, compress="deflate")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = np.random.default_rng(1).bytes(4000)
    path.write_bytes(content)
    with pytest.raises(SurveyDataError, match=r"Decoding error.*damaged"):
        io.read_cells(one_raster(path))


# The evidence store

GRID = Grid.from_bounds((0, 0, 70_000, 60_000), 100, UTM50)
LAYERS = [
    io.Layer("Cu", "stream sediments", unit="clr", resolution=1500.0),
    io.Layer("distance to faults", "faults", unit="m"),
    io.Layer("geology: Süd-Granit", "geology", "category"),
]


def fill_store(store, values):
    for rows, columns in GRID.blocks(512):
        store.write(values[:, rows, columns], slice(0, len(values)), rows, columns)


def stack_values():
    return np.random.default_rng(0).random((3, *GRID.shape)).astype("float32")


def test_evidence_comes_back_from_the_store_as_it_went(tmp_path):
    """Values, coordinates, CRS, mask and attributes."""
    values, mask = stack_values(), np.eye(*GRID.shape, dtype=bool)
    expected = io.evidence_array(values, GRID, LAYERS, mask=mask, attrs={"history": "[]"})
    opened = io.save_evidence(expected, tmp_path / "evidence.zarr")
    xr.testing.assert_identical(opened.load(), expected)
    assert io.layers_of(opened)[0] == LAYERS[0]
    assert Grid.from_dataarray(opened).same_cells(GRID)


def test_an_unfinished_store_does_not_open(tmp_path):
    """A build killed before its end leaves nothing under the store's name."""
    store = io.create_evidence_store(tmp_path / "e.zarr", GRID, LAYERS)
    fill_store(store, stack_values())
    with pytest.raises(SurveyDataError, match="no evidence store"):
        io.open_evidence(tmp_path / "e.zarr")
    with pytest.raises(SurveyDataError, match="unfinished"):
        io.open_evidence(store.partial)


def test_a_new_store_replaces_the_old_only_when_finished(tmp_path):
    """Until then the old one opens; layers left out are gone after."""
    values = stack_values()
    path = tmp_path / "e.zarr"
    io.save_evidence(io.evidence_array(values, GRID, LAYERS), path)
    store = io.create_evidence_store(path, GRID, LAYERS)
    fill_store(store, -values)
    np.testing.assert_array_equal(io.open_evidence(path)[0].to_numpy(), values[0])
    renewed = store.finish(keep=[0, 2])
    np.testing.assert_array_equal(renewed.to_numpy(), -values[[0, 2]])
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.zarr"]


def test_a_folder_that_is_no_store_is_not_overwritten(tmp_path):
    """Somebody's folder of that name stays."""
    (tmp_path / "e.zarr").mkdir()
    (tmp_path / "e.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(GossanError, match="no evidence store"):
        io.create_evidence_store(tmp_path / "e.zarr", GRID, LAYERS)
    assert (tmp_path / "e.zarr" / "thesis.txt").exists()


def test_equal_evidence_makes_equal_stores(tmp_path):
    """Byte for byte."""
    evidence = io.evidence_array(stack_values(), GRID, LAYERS)
    digests = []
    for folder in ("a", "b"):
        io.save_evidence(evidence, tmp_path / folder / "e.zarr")
        digests.append(io.file_digest(tmp_path / folder / "e.zarr"))
    assert digests[0] == digests[1]


# Maps, labels, targets


def random_map(shape=(700, 600)):
    grid = Grid.from_bounds((0, 0, shape[1] * 100, shape[0] * 100), 100, UTM50)
    rng = np.random.default_rng(0)
    values = rng.random((2, *shape)).astype("float32")
    values[:, rng.random(shape) < 0.1] = np.nan
    score = grid.to_dataarray(values[0], name="score")
    return score.assign_coords(spread=(("y", "x"), values[1]))


def test_a_map_comes_back_with_its_spread(tmp_path):
    """Score, spread, missing cells and grid."""
    score = random_map()
    io.write_map(tmp_path / "m.tif", score)
    back = io.read_map(tmp_path / "m.tif")
    np.testing.assert_array_equal(back, score)
    np.testing.assert_array_equal(back["spread"], score["spread"])
    assert Grid.from_dataarray(back).same_cells(Grid.from_dataarray(score))
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.tif"]


def test_a_map_is_a_cloud_optimised_geotiff(tmp_path):
    """Tiled, with overviews, bands named, nodata NaN."""
    io.write_map(tmp_path / "m.tif", random_map())
    with rasterio.open(tmp_path / "m.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2]
        assert file.descriptions == ("score", "spread")
        assert np.isnan(file.nodata)
        assert file.dtypes == ("float32", "float32")
        assert file.crs.to_epsg() == 32650


def test_a_lazy_map_is_written_like_one_in_memory(tmp_path):
    """Blocks from Dask give the same bytes, and the same map the same bytes twice."""
    score = random_map()
    for name, one in (("a", score), ("b", score.chunk({"y": 256, "x": 256})), ("c", score)):
        io.write_map(tmp_path / f"{name}.tif", one)
    assert len({io.file_digest(path) for path in tmp_path.iterdir()}) == 1


def test_another_geotiff_is_no_map(tmp_path):
    """A raster without the two bands is refused."""
    path = write_raster(tmp_path / "a.tif", np.ones((3, 3), dtype="float32"))
    with pytest.raises(SurveyDataError, match="no map of gossan"):
        io.read_map(path)


def test_labels_are_int8(tmp_path):
    """1, 0 and −1 come back."""
    values = np.array([[1, 0, -1], [-1, -1, 1]], dtype="int8")
    labels = Grid.from_bounds((0, 0, 300, 200), 100, UTM50).to_dataarray(values)
    io.write_labels(tmp_path / "l.tif", labels)
    np.testing.assert_array_equal(io.read_labels(tmp_path / "l.tif"), values)
    with rasterio.open(tmp_path / "l.tif") as file:
        assert file.dtypes == ("int8",)


def test_regions_come_back_as_they_were(tmp_path):
    """Their numbers, beyond what a byte holds, and where they lie."""
    values = np.array([[1, 0, 300], [2, 2, 1]], dtype="int16")
    grid = Grid.from_bounds((0, 0, 300, 200), 100, UTM50)
    io.write_regions_map(tmp_path / "r.tif", grid.to_dataarray(values))
    found = io.read_regions_map(tmp_path / "r.tif")
    np.testing.assert_array_equal(found, values)
    assert Grid.from_dataarray(found) == grid


def test_places_come_back_with_their_crs_and_kinds(tmp_path):
    """A truth value stays one; what is no table of places is refused by name."""
    places = gpd.GeoDataFrame(
        {"name": ["a", "b"], "known": [True, False]},
        geometry=gpd.points_from_xy([1.5, 2.5], [3.0, 4.0]),
        crs=UTM50,
    )
    io.write_places(tmp_path / "p.parquet", places)
    found = io.read_places(tmp_path / "p.parquet")
    assert found.crs == places.crs
    assert found["known"].dtype == bool
    assert (found.geometry == places.geometry).all()
    (tmp_path / "q.parquet").write_text("no parquet")
    with pytest.raises(SurveyDataError, match=r"q\.parquet cannot be read as places"):
        io.read_places(tmp_path / "q.parquet")


def test_targets_keep_their_order_and_bytes(tmp_path):
    """Two layers; lists as text; the same targets give the same file on another day."""
    polygons = gpd.GeoDataFrame(
        {"rank": [1, 2], "drivers": [["Cu", "Pb"], ["Zn"]]},
        geometry=[shapely.box(0, 0, 1, 1), shapely.MultiPolygon([shapely.box(2, 2, 3, 3)])],
        crs=UTM50,
    )
    points = polygons.set_geometry(polygons.centroid)
    for name in ("a", "b"):
        io.write_targets(tmp_path / f"{name}.gpkg", polygons, points)
    assert io.file_digest(tmp_path / "a.gpkg") == io.file_digest(tmp_path / "b.gpkg")
    back = io.read_targets(tmp_path / "a.gpkg")
    assert back["rank"].tolist() == [1, 2]
    assert back["drivers"].tolist() == ["Cu; Pb", "Zn"]
    assert io.read_targets(tmp_path / "a.gpkg", layer="points").geom_equals(points.geometry).all()


def test_no_targets_is_a_file_all_the_same(tmp_path):
    """An area without a target still gets its GeoPackage."""
    none = gpd.GeoDataFrame({"rank": np.array([], dtype=int)}, geometry=[], crs=UTM50)
    io.write_targets(tmp_path / "t.gpkg", none, none)
    assert len(io.read_targets(tmp_path / "t.gpkg")) == 0


# JSON, digests, all or nothing


def test_json_is_sorted_and_knows_no_nan(tmp_path):
    """NumPy values become plain, NaN becomes null."""
    io.write_json(tmp_path / "j.json", {"b": np.float32(0.5), "a": [np.nan, np.int64(3), (True,)]})
    assert io.read_json(tmp_path / "j.json") == {"a": [None, 3, [True]], "b": 0.5}
    text = (tmp_path / "j.json").read_text()
    assert text.index('"a"') < text.index('"b"')
    assert "NaN" not in text


def test_a_failed_write_leaves_the_old_file(tmp_path):
    """And nothing beside it."""
    path = tmp_path / "note.txt"
    io.write_text(path, "old")

    def interrupted():
        with io.replacing(path) as partial:
            partial.write_text("new, but ")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["note.txt"]


_ON_A_FULL_DISK = """
    import resource, sys
    from pathlib import Path
    import numpy as np, geopandas as gpd, shapely
    from sklearn.ensemble import ExtraTreesClassifier
    from gossan import io
    from gossan.exceptions import GossanError
    from gossan.grid import Grid
    grid = Grid.from_bounds((0, 0, 60000, 60000), 100, "EPSG:32650")
    rng = np.random.default_rng(0)
    values = rng.random(grid.shape).astype("float32")
    score = grid.to_dataarray(values)
    labels = score.copy(data=rng.integers(-1, 2, grid.shape).astype("int8"))
    stack = io.evidence_array(values[np.newaxis], grid, [io.Layer("a", "a")])
    points = shapely.points(rng.random((2000, 2)))
    places = gpd.GeoDataFrame({"rank": range(2000)}, geometry=points, crs=grid.crs)
    X = rng.random((500, 5))
    forest = ExtraTreesClassifier(20).fit(X, X[:, 0] > rng.random(500))
    writers = {
        "map.tif": lambda path: io.write_map(path, score),
        "labels.tif": lambda path: io.write_labels(path, labels),
        "evidence.zarr": lambda path: io.save_evidence(stack, path),
        "targets.gpkg": lambda path: io.write_targets(path, places, places),
        "model": lambda path: io.save_model(path, forest, {}),
        "report.html": lambda path: io.write_text(path, "words " * 100_000),
    }
    folder = Path(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    for name, write in writers.items():
        try:
            write(folder / name)
        except GossanError as error:
            print(error)
        else:
            sys.exit(f"{name} was written")
"""


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(tmp_path):
    """A limit on the size of files stands for a full disk: each writer fails half way."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(_ON_A_FULL_DISK), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    messages = done.stdout.splitlines()
    for name in ("map.tif", "labels.tif", "evidence.zarr", "targets.gpkg", "model", "report.html"):
        (message,) = [line for line in messages if str(tmp_path / name) in line]
        assert "MB are free" in message
    assert [entry for entry in tmp_path.rglob("*") if entry.is_file()] == []


@pytest.mark.parametrize("suffix", [".shp", ".shx", ".dbf", ".prj", ".cpg"])
def test_a_shapefile_changes_with_any_of_its_parts(tmp_path, suffix):
    """Attributes lie beside it in the .dbf, its CRS in the .prj; parts may be in capitals."""
    places = gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs=UTM50)
    places.to_file(tmp_path / "s.shp")
    part = (tmp_path / "s.shp").with_suffix(suffix)
    if suffix != ".shp":
        part = part.rename(part.with_suffix(suffix.upper()))
    before = io.input_digest(tmp_path / "s.shp")
    part.write_bytes(part.read_bytes() + b" ")
    assert io.input_digest(tmp_path / "s.shp") != before


def test_a_virtual_raster_changes_with_the_rasters_it_is_made_of(tmp_path):
    """A VRT of a VRT of a GeoTIFF: the bytes of the first two stay, the cells do not."""
    source = write_raster(tmp_path / "a.tif", np.ones((3, 3), dtype="float32"))
    rasterio.shutil.copy(source, tmp_path / "b.vrt", driver="VRT")
    rasterio.shutil.copy(tmp_path / "b.vrt", tmp_path / "c.vrt", driver="VRT")
    before = io.input_digest(tmp_path / "c.vrt")
    write_raster(source, np.zeros((3, 3), dtype="float32"))
    assert io.input_digest(tmp_path / "c.vrt") != before


@pytest.mark.parametrize(
    ("beside", "content"),
    [
        ("m.bil.aux.xml", b"<PAMDataset></PAMDataset>"),
        ("m.prj", b"PROJCS[]"),
        ("m.hdr", None),
    ],
)
def test_a_raster_changes_with_its_header_and_notes(tmp_path, beside, content):
    """Size, CRS and nodata of some formats are written beside the cells."""
    grid = Affine(10, 0, 500_000, 0, -10, 4_000_000)
    options = {"width": 2, "height": 2, "count": 1, "dtype": "float32", "transform": grid}
    with rasterio.open(tmp_path / "m.bil", "w", driver="EHdr", **options) as file:
        file.write(np.ones((1, 2, 2), dtype="float32"))
    before = io.input_digest(tmp_path / "m.bil")
    part = tmp_path / beside
    part.write_bytes(part.read_bytes() + b"\nNODATA 1\n" if content is None else content)
    assert io.input_digest(tmp_path / "m.bil") != before


def test_a_geotiff_changes_with_its_world_file(tmp_path):
    """One that says its place beside it is placed anew when that is edited."""
    values = np.ones((3, 3), dtype="float32")
    path = tmp_path / "m.tif"
    options = {"driver": "GTiff", "height": 3, "width": 3, "count": 1, "dtype": "float32"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **options) as file:
            file.write(values, 1)
    (tmp_path / "m.tfw").write_text("10\n0\n0\n-10\n500005\n3999995\n")
    before = io.input_digest(path)
    (tmp_path / "m.tfw").write_text("10\n0\n0\n-10\n600005\n3999995\n")
    assert io.input_digest(path) != before


def test_the_digest_of_an_output_is_its_own_bytes(tmp_path):
    """Statistics that a viewer leaves beside a map do not make the map another."""
    path = write_raster(tmp_path / "map.tif", np.ones((3, 3), dtype="float32"))
    before, as_input = io.file_digest(path), io.input_digest(path)
    assert before == as_input
    (tmp_path / "map.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    assert io.file_digest(path) == before
    assert io.input_digest(path) != before


def test_a_broken_raster_has_a_digest_all_the_same(tmp_path):
    """Its reader says what is wrong with it."""
    (tmp_path / "m.tif").write_bytes(b"II*\0garbage")
    assert io.input_digest(tmp_path / "m.tif") == io.file_digest(tmp_path / "m.tif")


def test_a_run_starts_from_the_digests_of_inputs_with_their_side_files(tmp_path):
    """Else a changed VRT source would leave yesterday's evidence standing."""
    write_raster(tmp_path / "a.tif", np.ones((3, 3), dtype="float32"))
    rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    write_csv(tmp_path / "d.csv", x=[1], y=[1])
    settings = {
        "name": "hills",
        "area": {"crs": UTM50, "cell_size": 10.0},
        "deposits": {"file": "d.csv"},
        "rasters": [{"name": "a", "file": "a.vrt"}],
    }
    digests = input_digests(parse_study(settings, tmp_path / "study.toml"))
    assert digests[tmp_path / "a.vrt"] == io.input_digest(tmp_path / "a.vrt")
    assert digests[tmp_path / "a.vrt"] != io.file_digest(tmp_path / "a.vrt")


def test_digests_are_those_published_beside_the_surveys(survey_data):
    """SHA-256, as in the list of the open surveys."""
    assert (
        io.file_digest(survey_data / "jabal-al-hasir" / "KSA_validation.parquet")
        == "669f5a5df60c90ede19b0cb837984588d167322f145526da1558191b03d85063"
    )


# Runs


def test_a_second_run_is_kept_out_of_the_folder(tmp_path):
    """And let in when the first has ended."""
    with (
        io.folder_lock(tmp_path),
        pytest.raises(GossanError, match="Another run"),
        io.folder_lock(tmp_path),
    ):
        pass
    with io.folder_lock(tmp_path):
        pass


def test_a_damaged_record_is_as_good_as_none(tmp_path):
    """The work it stood for is done again."""
    records = io.JsonFolder(tmp_path)
    records["fold 1"] = {"rank": 1.0}
    records["fold 2"] = {"rank": float("nan")}
    assert records["fold 2"] == {"rank": None}
    (tmp_path / "fold-1.json").write_text('{"key": "fold 1", "con')
    assert list(records) == ["fold 2"]
    assert io.read_json_if_whole(tmp_path / "fold-1.json") is None


def test_arrays_with_any_byte_damaged_are_missing_or_whole(tmp_path):
    """Zip, zlib and NumPy each fail in their own way; none of them stops a comparison."""
    records = io.ArrayFolder(tmp_path)
    written = {"ranks": np.arange(40, dtype=np.uint16), "seconds": np.array(0.5)}
    records["fold 1"] = written
    file = tmp_path / "fold-1.npz"
    whole = file.read_bytes()
    lost = 0
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        if "fold 1" not in records:
            lost += 1
            continue
        for name, values in records["fold 1"].items():
            np.testing.assert_array_equal(values, written[name])
    assert lost > len(whole) / 2


# Models


def training_cells():
    rng = np.random.default_rng(0)
    X = rng.random((120, 4))
    return X, (X[:, 0] + 0.3 * rng.random(120) > 0.6).astype(int)


MODELS = [
    ExtraTreesClassifier(5, random_state=0),
    BaggingClassifier(n_estimators=3, random_state=0),
    DecisionTreeClassifier(random_state=0),
    HistGradientBoostingClassifier(max_iter=3, random_state=0),
    IsolationForest(n_estimators=3, random_state=0),
    KNeighborsClassifier(),
    SVC(),
    make_pipeline(StandardScaler(), LogisticRegression()),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_models_come_back_from_disk_with_the_same_predictions(tmp_path, model):
    """And equal models make equal bytes."""
    X, y = training_cells()
    digests = []
    for folder in ("a", "b"):
        io.save_model(tmp_path / folder, model.fit(X, y), {"window": 1, "layers": ["Cu"]})
        digests.append(io.file_digest(tmp_path / folder))
    loaded, description = io.load_model(tmp_path / "a")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert description["layers"] == ["Cu"]
    files = [io.file_digest(tmp_path / folder / "model.skops") for folder in ("a", "b")]
    assert files[0] == files[1]


def test_a_pickle_is_refused_unopened(tmp_path):
    """Reading a model never executes what is in it."""
    X, y = training_cells()
    io.save_model(tmp_path, LogisticRegression().fit(X, y), {})
    (tmp_path / "model.skops").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(SurveyDataError, match="pickle"):
        io.load_model(tmp_path)


def test_a_model_of_a_foreign_type_is_refused(tmp_path):
    """A function smuggled into the file is named, not called."""
    X, y = training_cells()
    io.save_model(tmp_path, LogisticRegression().fit(X, y), {})
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    schema["__module__"], schema["__class__"] = "subprocess", "Popen"
    parts["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(SurveyDataError, match=r"does not trust: subprocess\.Popen"):
        io.load_model(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_child", 10_000), ("right_child", -7), ("feature", 99), ("left_child", 0)],
)
def test_a_tree_that_points_beyond_itself_is_refused(tmp_path, field, value):
    """Compiled code would follow it out of its memory, or round in circles."""
    X, y = training_cells()
    model = DecisionTreeClassifier(random_state=0).fit(X, y)
    state = model.tree_.__getstate__()
    state["nodes"][field][0] = value
    model.tree_.__setstate__(state)
    io.save_model(tmp_path, model, {})
    with pytest.raises(SurveyDataError, match="damaged tree"):
        io.load_model(tmp_path)


@pytest.mark.parametrize(("field", "value"), [("left", 10_000), ("feature_idx", 99)])
def test_a_boosted_tree_that_points_beyond_itself_is_refused(tmp_path, field, value):
    """The trees of gradient boosting are checked like the others."""
    X, y = training_cells()
    model = HistGradientBoostingClassifier(max_iter=2, random_state=0).fit(X, y)
    model._predictors[0][0].nodes[field][0] = value
    io.save_model(tmp_path, model, {})
    with pytest.raises(SurveyDataError, match="damaged tree"):
        io.load_model(tmp_path)


@pytest.mark.parametrize("spoilt", ["threshold", "value"])
def test_a_tree_with_nan_is_refused(tmp_path, spoilt):
    """Every cell would fall to one side of the split, or be scored NaN, and nobody be told."""
    X, y = training_cells()
    model = ExtraTreesClassifier(3, random_state=0).fit(X, y)
    tree = model.estimators_[1].tree_
    state = tree.__getstate__()
    (state["nodes"]["threshold"] if spoilt == "threshold" else state["values"])[0] = np.nan
    tree.__setstate__(state)
    io.save_model(tmp_path, model, {})
    with pytest.raises(SurveyDataError, match=r"model\.skops holds a damaged tree, with NaN among"):
        io.load_model(tmp_path)


@pytest.mark.parametrize("spoilt", ["num_threshold", "value"])
def test_a_boosted_tree_with_nan_is_refused(tmp_path, spoilt):
    """The trees of gradient boosting are checked like the others."""
    X, y = training_cells()
    model = HistGradientBoostingClassifier(max_iter=2, random_state=0).fit(X, y)
    model._predictors[1][0].nodes[spoilt][0] = np.nan
    io.save_model(tmp_path, model, {})
    with pytest.raises(SurveyDataError, match="damaged tree, with NaN among"):
        io.load_model(tmp_path)


@pytest.mark.parametrize("kind", [HistGradientBoostingClassifier, DecisionTreeClassifier])
def test_a_tree_that_splits_off_gaps_alone_is_sound(tmp_path, kind):
    """Its threshold is infinite: what was measured to one side, what was not to the other."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 1))
    y = rng.random(400) < 0.5
    X[y, 0] = np.nan
    model = kind(random_state=0).fit(X, y)
    io.save_model(tmp_path, model, {})
    loaded, _ = io.load_model(tmp_path)
    np.testing.assert_array_equal(loaded.predict(X), y)


def test_a_search_tree_that_points_beyond_itself_is_refused(tmp_path):
    """The tree by which neighbours are found is checked, too."""
    X, y = training_cells()
    model = KNeighborsClassifier(algorithm="kd_tree").fit(X, y)
    state = list(model._tree.__getstate__())
    state[1] = np.array(state[1]) + 1_000
    model._tree.__setstate__(tuple(state))
    io.save_model(tmp_path, model, {})
    with pytest.raises(SurveyDataError, match="damaged tree"):
        io.load_model(tmp_path)


def test_a_truncated_model_is_an_error(tmp_path):
    """A file cut short is named."""
    X, y = training_cells()
    io.save_model(tmp_path, LogisticRegression().fit(X, y), {})
    path = Path(tmp_path) / "model.skops"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SurveyDataError, match=r"model\.skops"):
        io.load_model(tmp_path)
