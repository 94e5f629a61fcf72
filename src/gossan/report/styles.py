"""QGIS styles (.qml, as text) for what a run leaves, so that its maps open dressed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex, to_rgb

from gossan.report.shares import AGREEMENT_SHARES, agreement_names
from gossan.report.theme import (
    GROUP_COLOURS,
    INK,
    MUTED,
    SIGNED_COLOURS,
    SLATE,
    SPREAD_COLOURS,
    agreement_colours,
    class_colours,
    region_colours,
)

_HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_TARGET_CLASSES = (5, 10, 20, 50)
APPLICABILITY_SHARES = (0.5, 0.8, 0.95)
"""Shares of the ground seen that part the classes of applicability."""
# Decision in an annotation → legend, marker, size in mm, colour.
_ANNOTATION = {
    "unlabelled": ("unlabelled", "square", "0.5", "#d9d4cc"),
    "negative": ("negative: may be drawn as barren", "square", "0.5", "#b9c4c9"),
    "doubtful": ("doubtful: set aside by the model", "square", "1.2", SLATE),
    "accept": ("accepted as barren by a geologist", "circle", "2.2", GROUP_COLOURS[1]),
    "reject": ("rejected as negative by a geologist", "diamond", "2.4", GROUP_COLOURS[3]),
    "deposit": ("deposit, says a geologist", "star", "3.4", GROUP_COLOURS[2]),
    "known deposit": ("known deposit", "triangle", "2.0", INK),
}


def score_style(thresholds: Mapping[float, float]) -> str:
    """Style a score or a consensus of scores: band 1 in classes of equal meaning on every map.

    Parameters
    ----------
    thresholds : mapping of float to float
        Share of the area → lowest score in it, from :func:`gossan.report.area_thresholds`.

    Returns
    -------
    str
        A QGIS 3 style: single-band pseudocolour, discrete, the top 1 %, 1–2 %, … of the area in
        the colours of the report. Missing cells are transparent.

    Raises
    ------
    ValueError
        If a larger share has a higher threshold than a smaller one.

    Examples
    --------
    >>> style = score_style({0.05: 0.75, 0.2: 0.5})
    >>> for line in style.splitlines():
    ...     if line.startswith("<item"):
    ...         print(line)
    <item label="rest of the area" value="0.4999999701976776" color="#faf3e6" alpha="255"/>
    <item label="top 5–20 %" value="0.7499999403953552" color="#df7a42" alpha="255"/>
    <item label="top 5 %" value="inf" color="#481d17" alpha="255"/>
    """
    areas = sorted(thresholds, reverse=True)
    scores = [thresholds[area] for area in areas]
    if any(np.diff(scores) < 0):
        raise ValueError(f"The thresholds {dict(thresholds)} do not fall as the area grows.")
    bounds = [_just_below(score) for score in scores]
    labels = _class_labels(areas)
    return _discrete_style(
        bounds, labels, class_colours(len(labels)), (min([0.0, *scores]), max([1.0, *scores]))
    )


def agreement_style() -> str:
    """Style a raster of the share of workflows in whose top 5 % a cell lies, as the report does.

    Examples
    --------
    >>> for line in agreement_style().splitlines():
    ...     if line.startswith("<item"):
    ...         print(line[:42])
    <item label="none" value="0.0" color="#f0f
    <item label="below 25 %" value="0.24999998
    <item label="25–50 %" value="0.49999997019
    <item label="50–75 %" value="0.74999994039
    <item label="75–90 %" value="0.89999991655
    <item label="90 % or more" value="inf" col
    """
    names = agreement_names()
    bounds = [0.0, *map(_just_below, AGREEMENT_SHARES)]
    return _discrete_style(bounds, names, agreement_colours(len(names)), (0.0, 1.0))


def contribution_style(limit: float) -> str:
    """Style a raster of what a layer adds to the score: slate below zero, rust above.

    Parameters
    ----------
    limit : float
        Where the colours end.

    Examples
    --------
    >>> for line in contribution_style(0.1).splitlines():
    ...     if line.startswith("<item"):
    ...         print(line.split(" value")[0])
    <item label="below −0.05"
    <item label="−0.05 to −0.01"
    <item label="−0.01 to 0.01"
    <item label="0.01 to 0.05"
    <item label="above 0.05"
    """
    bounds = [limit * share for share in (-0.5, -0.1, 0.1, 0.5)]
    texts = [f"{bound:.2g}".replace("-", "−") for bound in bounds]
    between = [f"{low} to {high}" for low, high in pairwise(texts)]
    labels = [f"below {texts[0]}", *between, f"above {texts[-1]}"]
    colours = [to_hex(SIGNED_COLOURS(place)) for place in (0.08, 0.3, 0.5, 0.7, 0.92)]
    return _discrete_style(bounds, labels, colours, (-limit, limit))


def applicability_style() -> str:
    """Style ``applicability.tif``: ground like what the model saw, unlike most, unlike all of it.

    Examples
    --------
    >>> applicability_style().count("<item ")
    4
    """
    labels = ["ordinary", "unlike half of what was seen", "unlike most", "unlike all: a guess"]
    bounds = [_just_below(share) for share in APPLICABILITY_SHARES]
    return _discrete_style(bounds, labels, agreement_colours(len(labels)), (0.0, 1.0))


def labels_style() -> str:
    """Style ``labels.tif``: deposits' footprints and known barren ground; the rest unpainted.

    Examples
    --------
    >>> labels_style().count("<paletteEntry")
    3
    """
    entries = [
        (1, GROUP_COLOURS[0], 255, "deposit footprint"),  # blue, plain on the rust of the score
        (0, MUTED, 255, "known barren ground"),
        (-1, "#ffffff", 0, "unlabelled"),
    ]
    return _paletted_style(entries)


def regions_style(names: Sequence[str]) -> str:
    """Style ``regions.tif``: a colour a region, with its name.

    Parameters
    ----------
    names : sequence of str
        Name of region 1, 2, …

    Examples
    --------
    >>> style = regions_style(["high Cu", "low <K>"])
    >>> style.count("<paletteEntry"), "low &lt;K&gt;" in style
    (2, True)
    """
    colours = region_colours(len(names))
    return _paletted_style(
        (k + 1, colours[k], 255, f"region {k + 1}: {name}") for k, name in enumerate(names)
    )


def region_outlines_style(names: Sequence[str]) -> str:
    """Style the polygons of ``regions.gpkg``: the colours of the raster, half transparent.

    Parameters
    ----------
    names : sequence of str
        Name of region 1, 2, …

    Examples
    --------
    >>> region_outlines_style(["high Cu", "low K"]).count("<category ")
    2
    """
    colours = region_colours(len(names))
    categories = "".join(
        f'<category symbol="{k}" value="{k + 1}" label={quoteattr(f"region {k + 1}: {name}")} '
        'render="true"/>\n'
        for k, name in enumerate(names)
    )
    symbols = "".join(
        _symbol("fill", k, "SimpleFill", {"color": _rgba(colour, 130), **_OUTLINE})
        for k, colour in enumerate(colours)
    )
    return _categorised_style("region", categories, symbols)


def targets_style(n_targets: int) -> str:
    """Style the polygons of ``targets.gpkg``: darker for better ranks, each labelled by its rank.

    Slate, to stand out from the rust of the score beneath.

    Parameters
    ----------
    n_targets : int
        Number of targets, the highest ``rank``.

    Examples
    --------
    >>> style = targets_style(25)
    >>> style.count("<range "), 'fieldName="rank"' in style
    (4, True)
    """
    starts = [1, *(stop + 1 for stop in _TARGET_CLASSES if stop < n_targets)]
    stops = [*(start - 1 for start in starts[1:]), max(n_targets, 1)]
    ranges = "".join(
        f'<range render="true" symbol="{number}" lower="{start}" upper="{stop}" '
        f'label="{f"targets {start}–{stop}" if start < stop else f"target {start}"}"/>\n'
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True))
    )
    shades = SPREAD_COLOURS(np.linspace(0.85, 0.15, len(_TARGET_CLASSES) + 1))
    symbols = "".join(
        _symbol("fill", number, "SimpleFill", {"color": _rgba(shade, 140), **_OUTLINE})
        for number, shade in enumerate(shades[: len(starts)])
    )
    return (
        f'{_HEAD}<qgis version="3.22" styleCategories="Symbology|Labeling" labelsEnabled="1">\n'
        '<renderer-v2 type="graduatedSymbol" attr="rank" graduatedMethod="GraduatedColor" '
        'symbollevels="0" enableorderby="0" forceraster="0">\n'
        f"<ranges>\n{ranges}</ranges>\n<symbols>\n{symbols}</symbols>\n"
        f"<rotation/>\n<sizescale/>\n</renderer-v2>\n{_RANK_LABELS}</qgis>\n"
    )


def peaks_style() -> str:
    """Style the peak points of ``targets.gpkg``: small crosses that leave the labels room.

    Examples
    --------
    >>> 'type="singleSymbol"' in peaks_style()
    True
    """
    cross = {"name": "cross", "size": "2.6", "size_unit": "MM", "color": _rgba(INK, 255)}
    return (
        f'{_HEAD}<qgis version="3.22" styleCategories="Symbology" labelsEnabled="0">\n'
        '<renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0" forceraster="0">\n'
        f"<symbols>\n{_symbol('marker', 0, 'SimpleMarker', {**_OUTLINE, **cross})}</symbols>\n"
        "<rotation/>\n<sizescale/>\n</renderer-v2>\n</qgis>\n"
    )


def annotation_style() -> str:
    """Style an annotation's cells by decision, the model's pale and a geologist's strong.

    Examples
    --------
    >>> annotation_style().count("<category ")
    7
    """
    words = list(_ANNOTATION)
    categories = "".join(
        f'<category symbol="{i}" value={quoteattr(word)} label={quoteattr(label)} render="true"/>\n'
        for i, (word, (label, _, _, _)) in enumerate(_ANNOTATION.items())
    )
    symbols = ""
    for i, word in enumerate(words):
        _, shape, size, colour = _ANNOTATION[word]
        options = {
            "name": shape,
            "size": size,
            "size_unit": "MM",
            "color": _rgba(colour, 255),
            "outline_style": "no",
        }
        symbols += _symbol("marker", i, "SimpleMarker", options)
    return _categorised_style("decision", categories, symbols)


def layer_styles(styles: Mapping[str, str], *, geometry_column: str = "geom") -> pd.DataFrame:
    """Arrange styles as the ``layer_styles`` table that makes a GeoPackage carry its own.

    QGIS prefers this table to a .qml beside the file, and needs it as soon as the file holds
    layers of different geometry: the one .qml would dress them all.

    Parameters
    ----------
    styles : mapping of str to str
        Layer name → QML text.
    geometry_column : str, default "geom"
        Name of the layers' geometry column in the file.

    Returns
    -------
    pandas.DataFrame
        One row a layer, with the columns QGIS expects, to be written as a table without geometry.

    Examples
    --------
    >>> layer_styles({"targets": targets_style(3)})["f_table_name"].tolist()
    ['targets']
    """
    return pd.DataFrame(
        [
            {
                "f_table_catalog": "",
                "f_table_schema": "",
                "f_table_name": layer,
                "f_geometry_column": geometry_column,
                "styleName": layer,
                "styleQML": style,
                "styleSLD": "",
                "useAsDefault": True,
                "description": "written by gossan",
                "owner": "",
                "ui": "",
                # A fixed time: the same run writes the same bytes.
                "update_time": "2000-01-01T00:00:00Z",
            }
            for layer, style in styles.items()
        ]
    )


def _class_labels(areas: Sequence[float]) -> list[str]:
    """Legend texts of the classes between falling area shares, from the rest to the best."""
    if not areas:
        return ["whole area"]
    percent = [f"{100 * area:g}" for area in areas]
    between = [f"top {inner}–{outer} %" for outer, inner in pairwise(percent)]
    return ["rest of the area", *between, f"top {percent[-1]} %"]


def _just_below(threshold: float) -> float:
    """Bound of the class under a threshold: the largest float32 below it.

    QGIS draws a value equal to a bound in the class below; a cell at the threshold belongs above.
    """
    return float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))


def _discrete_style(
    bounds: Sequence[float],
    labels: Sequence[str],
    colours: Sequence[str],
    span: tuple[float, float],
) -> str:
    """Single-band pseudocolour in classes: ``bounds`` part them, ascending, one fewer of them."""
    items = "".join(
        f"<item label={quoteattr(label)} value={quoteattr(_number(bound))} "
        f'color="{colour}" alpha="255"/>\n'
        for label, bound, colour in zip(labels, [*bounds, np.inf], colours, strict=True)
    )
    low, high = map(_number, span)
    return _raster_style(
        f'<rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" alphaBand="-1" '
        f'nodataColor="" classificationMin="{low}" classificationMax="{high}">\n'
        f"{_UNSTRETCHED}<rastershader>\n"
        '<colorrampshader colorRampType="DISCRETE" classificationMode="1" clip="0" '
        f'labelPrecision="6" minimumValue="{low}" maximumValue="{high}">\n'
        f"{items}</colorrampshader>\n</rastershader>\n</rasterrenderer>\n"
    )


def _categorised_style(attribute: str, categories: str, symbols: str) -> str:
    """A symbol for each value of an attribute of vector features."""
    return (
        f'{_HEAD}<qgis version="3.22" styleCategories="Symbology" labelsEnabled="0">\n'
        f'<renderer-v2 type="categorizedSymbol" attr="{attribute}" symbollevels="0" '
        'enableorderby="0" forceraster="0">\n'
        f"<categories>\n{categories}</categories>\n<symbols>\n{symbols}</symbols>\n"
        "<rotation/>\n<sizescale/>\n</renderer-v2>\n</qgis>\n"
    )


def _paletted_style(entries: Iterable[tuple[int, str, int, str]]) -> str:
    """A colour a value: (value, colour, alpha, label)."""
    palette = "".join(
        f'<paletteEntry value="{value}" color="{colour}" alpha="{alpha}" '
        f"label={quoteattr(label)}/>\n"
        for value, colour, alpha, label in entries
    )
    return _raster_style(
        '<rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">\n'
        f"{_UNSTRETCHED}<colorPalette>\n{palette}</colorPalette>\n</rasterrenderer>\n"
    )


def _number(value: float) -> str:
    return "inf" if np.isinf(value) else repr(float(value))


def _raster_style(renderer: str) -> str:
    return (
        f'{_HEAD}<qgis version="3.22" styleCategories="Symbology">\n<pipe>\n'
        '<provider><resampling enabled="false" maxOversampling="2" '
        'zoomedInResamplingMethod="nearestNeighbour" zoomedOutResamplingMethod="nearestNeighbour"/>'
        f"</provider>\n{renderer}"
        '<brightnesscontrast brightness="0" contrast="0" gamma="1"/>\n'
        '<huesaturation saturation="0" grayscaleMode="0" colorizeOn="0"/>\n'
        '<rasterresampler maxOversampling="2"/>\n'
        "</pipe>\n<blendMode>0</blendMode>\n</qgis>\n"
    )


def _symbol(kind: str, number: int, layer_class: str, options: Mapping[str, str]) -> str:
    # QGIS 3.20 and later reads Option, what came before reads prop.
    new = "".join(
        f'<Option type="QString" name="{key}" value="{value}"/>' for key, value in options.items()
    )
    old = "".join(f'<prop k="{key}" v="{value}"/>' for key, value in options.items())
    return (
        f'<symbol type="{kind}" name="{number}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="{layer_class}" enabled="1" locked="0" pass="0">'
        f'<Option type="Map">{new}</Option>{old}</layer></symbol>\n'
    )


def _rgba(colour: Any, alpha: int) -> str:
    return ",".join(str(round(255 * part)) for part in to_rgb(colour)) + f",{alpha}"


_OUTLINE = {
    "style": "solid",
    "joinstyle": "miter",
    "outline_color": _rgba(INK, 255),
    "outline_style": "solid",
    "outline_width": "0.3",
    "outline_width_unit": "MM",
}
_UNSTRETCHED = (
    "<rasterTransparency/>\n<minMaxOrigin><limits>None</limits><extent>WholeRaster</extent>"
    "<statAccuracy>Exact</statAccuracy></minMaxOrigin>\n"
)
_RANK_LABELS = (
    '<labeling type="simple">\n<settings calloutType="simple">\n'
    '<text-style fieldName="rank" isExpression="0" fontSize="9" fontSizeUnit="Point" '
    'fontWeight="75" namedStyle="Bold" textColor="43,38,34,255" textOpacity="1">'
    '<text-buffer bufferDraw="1" bufferSize="0.8" bufferSizeUnits="MM" '
    'bufferColor="255,255,255,255" bufferOpacity="0.9" bufferNoFill="0"/></text-style>\n'
    '<placement placement="1" centroidInside="1" centroidWhole="1" priority="5" '
    'layerType="PolygonGeometry"/>\n'
    '<rendering drawLabels="1" obstacle="0" displayAll="0" scaleVisibility="0"/>\n'
    "</settings>\n</labeling>\n"
)
