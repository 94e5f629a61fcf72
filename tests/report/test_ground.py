"""The chapters on kinds of ground: what they say follows from the figures."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from gossan.report import (
    AnaloguesShown,
    RegionsShown,
    SearchShown,
    png_bytes,
    region_map,
    render_report,
)
from gossan.report.ground import analogues_chapter, regions_chapter

TABLE = pd.DataFrame(
    {
        "region": [1, 2],
        "name": ["ordinary ground", "high Sn"],
        "share": [0.75, 0.25],
        "area_km2": [90.0, 30.0],
        "deposits": [1, 9],
        "expected": [7.5, 2.5],
        "p": [1.0, 0.0004],
        "p_adjusted": [1.0, 0.0008],
    }
)
CHOICE = pd.DataFrame(
    {
        "regions": [2, 3],
        "stability": [0.9, 0.5],
        "stability_error": [0.01, 0.1],
        "silhouette": [0.4, 0.1],
        "chosen": [True, False],
    }
)


@pytest.fixture
def regions(inputs):
    score = inputs.score
    labels = np.where(np.isfinite(score), 1, 0)
    labels[:, -20:] *= 2
    profiles = pd.DataFrame({"Sn": [-0.1, 2.0], "K": [0.2, -7.0]}, index=[1, 2])
    return RegionsShown(
        score.copy(data=labels.astype(np.int16)), TABLE, profiles, CHOICE, True, "evidence",
        "k-means",
    )  # fmt: skip


def held_out(low, high):
    return {
        "auc_background": (low + high) / 2,
        "capture": {"0.05": 0.4},
        "ci95": {"auc_background": [low, high]},
    }


def test_regions_say_how_sure_they_are(regions, inputs):
    """Agreed on, not agreed on, the most that was tried, or asked for."""
    told = regions_chapter(regions, inputs.deposits)["told"]
    assert "fall into 2 regions by their evidence alone, through k-means" in told
    assert "agree on them with an adjusted Rand index of 0.90" in told
    assert "greatest number" not in told
    unsure = dataclasses.replace(regions, stable=False)
    assert "your data cannot say where one ends" in regions_chapter(unsure, inputs.deposits)["told"]
    most = dataclasses.replace(regions, choice=CHOICE.assign(regions=[3, 2]))
    assert "greatest number tried" in regions_chapter(most, inputs.deposits)["told"]
    asked = dataclasses.replace(regions, choice=CHOICE.head(1))
    given = regions_chapter(asked, inputs.deposits)
    assert "Their number was asked for. Halves of the area" in given["told"]
    assert "greatest number" not in given["told"]
    assert given["choice"] is None
    unsure = regions_chapter(dataclasses.replace(asked, stable=False), inputs.deposits)
    assert "your data cannot say where one ends" in unsure["told"]


def test_enrichment_is_told_where_it_is_clear(regions, inputs):
    """With the numbers; else that there is none; without deposits nothing."""
    told = regions_chapter(regions, inputs.deposits)["enriched"]
    assert told.startswith("Region 2 (high Sn) holds 9 where chance would put 2.5.")
    nothing = dataclasses.replace(regions, table=TABLE.assign(p_adjusted=0.2))
    assert regions_chapter(nothing, inputs.deposits)["enriched"].startswith("No region holds")
    bare = dataclasses.replace(regions, table=TABLE.assign(deposits=0))
    chapter = regions_chapter(bare, inputs.deposits)
    assert chapter["enriched"] is None
    assert [column.title for column in chapter["table"].columns][-1] == "km²"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.6, 0.8, "are of a kind"),
        (0.3, 0.7, "cannot say whether the known deposits are of a kind"),
        (0.1, 0.4, "unlike one another"),
    ],
)
def test_likeness_is_judged_by_its_interval(low, high, said):
    """One half is chance."""
    deposits = [
        {"name": "a", "fold": 0, "rank": 0.9, "alike": "b", "likeness": 0.5},
        {"name": "b", "fold": 1, "rank": 0.2, "alike": "a", "likeness": 0.5},
    ]
    chapter = analogues_chapter(AnaloguesShown(held_out(low, high), deposits))
    assert said in chapter["told"]
    assert [row[0].text for row in chapter["deposits"].rows] == ["b", "a"]


def test_likeness_that_cannot_be_measured_says_why():
    """And the searches are shown all the same."""
    chapter = analogues_chapter(AnaloguesShown(None, [], "There are 2 deposits for 6 folds."))
    assert chapter["told"].endswith("could not be measured: There are 2 deposits for 6 folds.")
    assert chapter["deposits"] is None


def test_the_report_has_a_chapter_for_each_and_asks_no_more(regions, inputs, read_page):
    """What was asked for leaves the list of what else to ask."""
    areas = pd.DataFrame(
        {
            "rank": [1],
            "easting": [512300.0],
            "northing": [2610000.0],
            "similarity": [0.91],
            "area_km2": [3.0],
            "nearest_deposit": ["Old Mine"],
            "distance_m": [4100.0],
            "alike": ["high Sn (0.40); low K (0.20)"],
        }
    )
    picture = png_bytes(region_map(regions.labels, TABLE), dpi=40)
    search = SearchShown("Old <Mine>", "evidence", areas, picture)
    shown = AnaloguesShown(held_out(0.6, 0.8), [], None, [search])
    before = render_report(inputs)
    html = render_report(dataclasses.replace(inputs, regions=regions, analogues=shown))
    page = read_page(html)
    assert {"regions", "analogues"} <= set(page.values("id"))
    assert "Ground like Old &lt;Mine&gt;" in html
    assert "4.1 km" in html
    for command in ("gossan regions", "gossan analogues"):
        assert f"<li><code>{command}" in before
        assert f"<li><code>{command}" not in html
    assert "<li><code>gossan compare" in html
