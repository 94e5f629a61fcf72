"""A geologist's review: what a file may hold, and what is made of it."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from gossan.annotate import (
    DECISIONS,
    Annotation,
    annotation_frame,
    annotation_log,
    count_decisions,
    geologist_rows,
    mark_decisions,
)
from gossan.exceptions import LabelError, SurveyDataWarning
from gossan.grid import Grid
from gossan.labels import label_cells

GRID = Grid.from_bounds((400_000, 2_799_000, 402_000, 2_800_000), 100, "EPSG:32650")  # 10 × 20


@pytest.fixture(scope="module")
def labels():
    """Ten by twenty cells with one deposit of 3 × 3 around row 4, column 5."""
    evidence = GRID.to_dataarray(np.zeros((1, *GRID.shape), "float32"), layers=["Cu"])
    place = gpd.points_from_xy(*GRID.coordinates([4], [5]).T)
    return label_cells(evidence, gpd.GeoDataFrame({"name": ["Main"]}, geometry=place, crs=GRID.crs))


def review(cells, decisions, **columns) -> gpd.GeoDataFrame:
    """A file as a geologist saves it, with the cells that gossan wrote; ids from 1."""
    rows, across = np.transpose(cells)
    values = {"row": rows, "column": across, "decision": decisions} | columns
    places = gpd.points_from_xy(*GRID.coordinates(rows, across).T)
    index = pd.Index(range(1, len(cells) + 1), name="fid")
    return gpd.GeoDataFrame(values, geometry=places, crs=GRID.crs, index=index)


def marked(labels, frame) -> np.ndarray:
    return mark_decisions(labels, geologist_rows(frame, "a.gpkg"), "a.gpkg")["decision"].to_numpy()


def test_a_decision_without_evidence_is_reported_and_does_not_count(labels):
    """Ground that no source covers cannot train: said with its place, not dropped in silence."""
    observed = np.ones(GRID.shape, dtype=bool)
    observed[0, 0] = False
    rows = geologist_rows(review([(0, 0), (0, 1)], ["accept", "accept"]), "a.gpkg")
    with pytest.warns(SurveyDataWarning, match="1 decisions lie in cells without evidence"):
        found = mark_decisions(labels, rows, "a.gpkg", observed=observed)
    assert count_decisions(found) == {"accept": 1}


# Rows of a file


def test_only_the_geologists_words_are_taken():
    """What the model wrote is its own, and blank cells are no decision."""
    words = ["negative", "doubtful", "unlabelled", "known deposit", "", None, "accept"]
    rows = geologist_rows(review([(0, k) for k in range(7)], words), "a.gpkg")
    assert rows["decision"].tolist() == ["accept"]
    assert rows.index.tolist() == [7]


@pytest.mark.parametrize("written", ["Accept", " accept", "ACCEPT ", "aCCept\n"])
def test_case_and_blanks_do_not_count(written):
    """People type."""
    rows = geologist_rows(review([(0, 0)], [written]), "a.gpkg")
    assert rows["decision"].tolist() == ["accept"]


def test_an_unknown_word_is_named_with_its_feature():
    """The word as written, the feature's id in the GIS, and the words that are known."""
    frame = review([(0, 0), (0, 1), (0, 2)], ["accept", "Barren?", "yes"])
    with pytest.raises(LabelError, match="2 decisions are none of gossan's") as error:
        geologist_rows(frame, "a.gpkg")
    for part in ("a.gpkg", "'Barren?' (feature 2)", "'yes' (feature 3)", "'accept' (barren)"):
        assert part in str(error.value)


def test_a_word_of_the_models_that_somebody_signed_is_told_to_decide_nothing():
    """'negative' by Ann means 'accept' to her and nothing to gossan: she is told."""
    frame = review([(0, 0), (0, 1), (1, 0)], ["negative", "accept", "negative"])
    frame["by"] = ["Ann", "Ann", "model"]
    with pytest.warns(SurveyDataWarning, match="1 rows signed .* 'negative' by Ann"):
        rows = geologist_rows(frame, "a.gpkg")
    assert rows["decision"].tolist() == ["accept"]


def test_many_unknown_words_are_counted():
    """Five are listed, the rest counted."""
    frame = review([(0, k) for k in range(8)], ["no"] * 8)
    with pytest.raises(LabelError, match=r"8 decisions .* and 3 more"):
        geologist_rows(frame, "a.gpkg")


def test_numbers_are_named_as_they_were_written():
    """A column of numbers is none of words, and no library's spelling of them."""
    with pytest.raises(LabelError, match=r"of gossan's: '3' \(feature 1\), '1' \(feature 2\)\. A"):
        geologist_rows(review([(0, 0), (0, 1)], [3, 1]), "a.gpkg")


def test_a_file_without_the_column_is_refused():
    """The columns it has are listed."""
    frame = review([(0, 0)], ["accept"]).drop(columns="decision")
    with pytest.raises(LabelError, match=r"no column 'decision' \(it has row, column, geometry\)"):
        geologist_rows(frame, "a.gpkg")


def test_who_decided_is_kept_and_never_the_model():
    """A name stays; where nobody signed, or the model's name was left, it is a geologist."""
    names = ["Ada", "model", "  ", None, "deposits file"]
    frame = review([(0, k) for k in range(5)], ["accept"] * 5, by=names)
    rows = geologist_rows(frame, "a.gpkg")
    assert rows["by"].tolist() == ["Ada", *["geologist"] * 4]
    assert rows["note"].tolist() == [""] * 5


# Decisions on cells


def test_decisions_lie_on_their_cells(labels):
    """Each word is its code in its cell, 0 everywhere else, and the labels are as they were."""
    frame = review([(0, 3), (9, 19), (7, 0)], ["accept", "reject", "deposit"])
    found = mark_decisions(labels, geologist_rows(frame, "a.gpkg"))
    expected = np.zeros(GRID.shape, int)
    expected[0, 3], expected[9, 19], expected[7, 0] = (
        DECISIONS[word] for word in ("accept", "reject", "deposit")
    )
    np.testing.assert_array_equal(found["decision"], expected)
    np.testing.assert_array_equal(found, labels)
    assert found.attrs.keys() == labels.attrs.keys()
    assert count_decisions(found) == {"accept": 1, "reject": 1, "deposit": 1}
    assert count_decisions(labels) == {}


def test_a_point_added_by_hand_marks_the_cell_it_lies_in(labels):
    """No row and column, and not at the centre of a cell."""
    frame = review([(0, 0)], ["deposit"]).drop(columns=["row", "column"])
    frame["geometry"] = gpd.points_from_xy([400_849.0], [2_799_951.0], crs=GRID.crs)
    assert np.argwhere(marked(labels, frame)).tolist() == [[0, 8]]


def test_row_and_column_that_are_no_numbers_do_not_count(labels):
    """A table edited elsewhere may hold text there: the point tells its cell."""
    frame = review([(3, 8)], ["accept"]).astype({"row": object, "column": object})
    frame["row"] = "row 3"
    assert np.argwhere(marked(labels, frame)).tolist() == [[3, 8]]


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (shapely.box(400_200, 2_799_300, 400_900, 2_799_800), "Polygon"),
        (shapely.LineString([(400_050, 2_799_950), (400_950, 2_799_950)]), "LineString"),
        (shapely.MultiPoint([(400_050, 2_799_950), (400_950, 2_799_950)]), "MultiPoint"),
    ],
)
def test_a_decision_on_many_cells_at_once_is_refused(labels, place, kind):
    """To honour a polygon in one of its cells would drop the geologist's word on the others."""
    frame = review([(0, 0), (0, 1)], ["reject", "accept"])
    frame.loc[2, "geometry"] = place
    with pytest.raises(LabelError, match=f"a.gpkg: feature 2 has a decision but is a {kind};"):
        marked(labels, frame)


def test_one_point_as_a_multipoint_is_a_point(labels):
    """Some tools write every point so."""
    frame = review([(2, 4)], ["accept"])
    frame["geometry"] = [shapely.MultiPoint(list(frame.geometry.iloc[0].coords))]
    assert np.argwhere(marked(labels, frame)).tolist() == [[2, 4]]


def test_another_crs_is_reprojected(labels):
    """A file saved in longitude and latitude marks the same cells."""
    frame = review([(0, 3), (9, 19)], ["accept", "reject"])
    np.testing.assert_array_equal(marked(labels, frame), marked(labels, frame.to_crs(4326)))


def test_identical_duplicates_are_one(labels):
    """The same decision twice is no contradiction."""
    frame = review([(0, 3), (0, 3)], ["accept", "Accept"])
    assert np.argwhere(marked(labels, frame)).tolist() == [[0, 3]]


@pytest.mark.parametrize(
    "words", [("accept", "reject"), ("reject", "accept"), ("deposit", "accept")]
)
def test_contradicting_duplicates_are_named(labels, words):
    """Both decisions and their place, in either order."""
    frame = review([(1, 1), (0, 3), (0, 3)], ["accept", *words])
    with pytest.raises(LabelError, match="contradict each other") as error:
        marked(labels, frame)
    for word in words:
        assert f"'{word}' by geologist (feature " in str(error.value)
    assert str(error.value).count("at (400350, 2799950)") == 2
    assert "2799850" not in str(error.value)


def test_a_file_of_another_grid_is_refused(labels):
    """Row and column do not match the place: cell size or extent changed since."""
    frame = review([(0, 3), (2, 2)], ["accept", "reject"])
    frame.loc[2, "row"] = 4
    with pytest.raises(LabelError, match=r"another grid: feature 2 was row 4, column 2 there"):
        marked(labels, frame)
    frame.loc[2, ["row", "column"]] = np.nan
    assert np.argwhere(marked(labels, frame)).tolist() == [[0, 3], [2, 2]]


def test_a_decision_outside_the_area_is_refused(labels):
    """Its place is named."""
    frame = review([(0, 3)], ["accept"])
    frame["geometry"] = frame.translate(0, 5000)
    with pytest.raises(LabelError, match=r"1 decisions lie outside .* \(400350, 2804950\)"):
        marked(labels, frame)


def test_a_decision_without_a_place_is_refused(labels):
    """An empty geometry is named by its feature."""
    frame = review([(0, 3), (0, 4)], ["accept", "reject"])
    frame.loc[2, "geometry"] = None
    with pytest.raises(LabelError, match="feature 2 has a decision but no place"):
        marked(labels, frame)


@pytest.mark.parametrize("word", ["accept", "reject"])
def test_a_decision_against_a_known_deposit_warns(labels, word):
    """The deposits' file stands, and the place is named."""
    with pytest.warns(SurveyDataWarning, match=r"1 decisions call .* \(400450, 2799650\)"):
        marked(labels, review([(3, 4)], [word]))


def test_a_decision_for_a_known_deposit_is_fine(labels):
    """Calling a deposit a deposit is no contradiction: no warning, which would be an error."""
    assert np.argwhere(marked(labels, review([(3, 4)], ["deposit"]))).tolist() == [[3, 4]]


# The file that gossan writes


@pytest.fixture
def annotation():
    """All 200 cells, two rounds; the second is kept. Cell 3 is accepted, 65 a known deposit."""
    decisions = np.full((2, 200), DECISIONS["negative"], np.int8)
    decisions[1, :5] = DECISIONS["doubtful"]
    decisions[:, 3] = DECISIONS["accept"]
    decisions[:, 65] = DECISIONS["known deposit"]
    scores = np.linspace(1, 0, 400, dtype=np.float32).reshape(2, 200)
    weights = (decisions[1] == DECISIONS["negative"]).astype(np.float32)
    return Annotation(
        np.arange(200), scores, decisions, weights, pd.DataFrame({"round": [0, 1]}), chosen=1
    )


ROWS, COLUMNS = np.divmod(np.arange(200), 20)


def test_the_frame_holds_the_chosen_round(annotation):
    """One point a cell at its centre, with that round's score and decision, and by whom."""
    frame = annotation_frame(annotation, GRID, ROWS, COLUMNS)
    assert len(frame) == 200
    np.testing.assert_allclose(frame["score"], annotation.scores[1])
    assert frame["decision"].tolist()[:6] == [
        *["doubtful"] * 3,
        "accept",
        "doubtful",
        "negative",
    ]
    assert frame["by"].iloc[[0, 65]].tolist() == ["model", "deposits file"]
    np.testing.assert_allclose(
        np.column_stack([frame.geometry.x, frame.geometry.y]), GRID.coordinates(ROWS, COLUMNS)
    )


def test_the_frame_carries_over_who_decided_and_why(annotation):
    """A reviewed file written anew keeps author, note and decision, and it reads back the same."""
    given = review([(0, 3)], ["accept"], by=["Ada"], note=["drilled in 1998"])
    rows = geologist_rows(given, "a.gpkg")
    frame = annotation_frame(annotation, GRID, ROWS, COLUMNS, reviewed=rows)
    back = geologist_rows(frame, "a.gpkg")
    assert back[["row", "column", "decision", "by", "note"]].to_numpy().tolist() == [
        [0, 3, "accept", "Ada", "drilled in 1998"]
    ]


def test_decisions_on_cells_that_are_not_listed_are_added(annotation):
    """In a large area few cells are written, but no decision is lost."""
    rows = geologist_rows(review([(0, 3), (9, 9)], ["accept", "reject"]), "a.gpkg")
    frame = annotation_frame(annotation, GRID, ROWS, COLUMNS, reviewed=rows, max_cells=10)
    assert len(frame) == 11
    assert {(0, 0), (0, 1), (0, 2), (0, 4), (3, 5)} <= set(zip(frame["row"], frame["column"]))
    back = geologist_rows(frame, "a.gpkg").set_index(["row", "column"])["decision"]
    assert back.to_dict() == {(0, 3): "accept", (9, 9): "reject"}
    assert np.isnan(frame["score"].iloc[-1])
    np.testing.assert_allclose(frame.geometry.iloc[-1].coords[0], GRID.coordinates([9], [9])[0])


def test_a_decision_that_does_not_stand_is_noted(annotation):
    """On a known deposit's cell the file says that the deposits' file decided."""
    rows = geologist_rows(review([(3, 5)], ["accept"], note=["leached"]), "a.gpkg")
    frame = annotation_frame(annotation, GRID, ROWS, COLUMNS, reviewed=rows)
    cell = frame[(frame["row"] == 3) & (frame["column"] == 5)].iloc[0]
    assert cell["decision"] == "known deposit"
    assert cell["by"] == "deposits file"
    assert cell["note"] == "'accept' does not stand: a known deposit"


def test_the_log_says_who_decided(annotation):
    """The model, the deposits' file, or the geologist by the name that was given."""
    authors = pd.Series({(0, 3): "Ada"})
    log = annotation_log(annotation, ROWS, COLUMNS, 0, authors)
    assert len(log) == 200
    assert log["by"].iloc[[0, 3, 65]].tolist() == ["model", "Ada", "deposits file"]
    assert log["decision"].iloc[[0, 3, 65]].tolist() == ["negative", "accept", "known deposit"]
    assert annotation_log(annotation, ROWS, COLUMNS, 0)["by"].iloc[3] == "geologist"
    assert (log["round"] == 0).all()
