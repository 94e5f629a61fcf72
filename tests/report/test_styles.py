"""QGIS styles: well-formed, and drawing the very classes that the report draws."""

import sqlite3
import xml.etree.ElementTree as ET

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from gossan.report import (
    agreement_style,
    area_thresholds,
    labels_style,
    layer_styles,
    peaks_style,
    score_style,
    targets_style,
)
from gossan.report.shares import MAP_AREAS, agreement_classes, area_classes

ALL_STYLES = {
    "score": score_style(area_thresholds(np.linspace(0, 1, 1000))),
    "score of a constant map": score_style(area_thresholds(np.ones(10))),
    "score of an empty map": score_style({}),
    "agreement": agreement_style(),
    "labels": labels_style(),
    "targets": targets_style(25),
    "one target": targets_style(1),
    "no target": targets_style(0),
    "peaks": peaks_style(),
}


@pytest.mark.parametrize("style", ALL_STYLES.values(), ids=ALL_STYLES.keys())
def test_every_style_is_well_formed_and_says_it_is_a_style(style):
    """A parser accepts each, and QGIS finds its root element and doctype."""
    assert style.startswith("<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis ")
    assert ET.fromstring(style).tag == "qgis"


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.integers(1, 4).map(lambda digits: 10.0**digits),
)
@settings(max_examples=60, deadline=None)
def test_qgis_classes_are_the_classes_of_the_report(values, rounding):
    """Read as QGIS reads it, to the first bound not below, the style gives the map's classes."""
    scores = (np.round(np.array(values) * rounding) / rounding).astype(np.float32)  # with ties
    thresholds = area_thresholds(scores)
    items = ET.fromstring(score_style(thresholds)).findall(".//colorrampshader/item")
    bounds = np.array([float(item.get("value")) for item in items])
    assert (np.diff(bounds) >= 0).all()
    assert np.isinf(bounds[-1])
    from_top = len(items) - 1 - np.searchsorted(bounds, scores.astype(float), side="left")
    areas = sorted(thresholds)
    np.testing.assert_array_equal(from_top, area_classes(scores, thresholds, areas))


@given(st.lists(st.one_of(st.floats(0, 1, width=32), st.integers(0, 20).map(lambda n: n / 20))))
@settings(max_examples=60, deadline=None)
def test_qgis_draws_the_agreement_as_the_report_does(shares):
    """Also at the bounds, where a share such as 18 of 20 is 0.9 only to the raster's precision."""
    raster = np.array(shares, dtype=np.float32)
    items = ET.fromstring(agreement_style()).findall(".//colorrampshader/item")
    bounds = np.array([float(item.get("value")) for item in items])
    classes = np.searchsorted(bounds, raster.astype(float), side="left")
    np.testing.assert_array_equal(classes, agreement_classes(raster))


def test_score_style_draws_band_one_and_names_its_classes():
    """Band 1 is the score; the legend says which share of the area each class is."""
    root = ET.fromstring(ALL_STYLES["score"])
    renderer = root.find("./pipe/rasterrenderer")
    assert (renderer.get("type"), renderer.get("band")) == ("singlebandpseudocolor", "1")
    labels = [item.get("label") for item in root.findall(".//item")]
    assert labels[0] == "rest of the area"
    assert labels[-2:] == ["top 1–2 %", "top 1 %"]
    assert len(labels) == len(MAP_AREAS) + 1


def test_score_style_refuses_thresholds_that_rise_with_the_area():
    """Such thresholds belong to no map."""
    with pytest.raises(ValueError, match="do not fall"):
        score_style({0.05: 0.2, 0.1: 0.4})


def test_unlabelled_ground_is_transparent():
    """Labels lie over the map without hiding it."""
    entries = {
        entry.get("value"): entry.get("alpha")
        for entry in ET.fromstring(labels_style()).iter("paletteEntry")
    }
    assert entries == {"1": "255", "0": "255", "-1": "0"}


@pytest.mark.parametrize("count", [1, 5, 6, 25, 300])
def test_every_target_falls_in_one_class_with_a_symbol(count):
    """The ranges of ranks tile 1 … count, and each names a symbol that is there."""
    root = ET.fromstring(targets_style(count))
    ranges = [
        range(int(r.get("lower")), int(r.get("upper")) + 1) for r in root.findall(".//ranges/range")
    ]
    assert [rank for part in ranges for rank in part] == list(range(1, count + 1))
    symbols = {symbol.get("name") for symbol in root.findall(".//symbols/symbol")}
    assert {r.get("symbol") for r in root.findall(".//ranges/range")} == symbols


def test_a_geopackage_can_carry_its_styles(tmp_path):
    """The style table, written beside the layers, holds one default style a layer."""
    file = tmp_path / "targets.gpkg"
    points = gpd.GeoDataFrame({"rank": [1]}, geometry=[shapely.Point(0, 0)], crs="EPSG:32650")
    points.to_file(file, layer="points")
    pyogrio.write_dataframe(layer_styles({"points": peaks_style()}), file, layer="layer_styles")
    with sqlite3.connect(file) as database:
        (row,) = database.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        )
    assert row == ("points", "geom", 1, peaks_style())
