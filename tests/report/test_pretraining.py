"""The chapter on what a network learnt without labels: it shows what it was given, no more."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from gossan.grid import Grid
from gossan.report import PretrainingShown, pretraining, render_report
from gossan.report.theme import SIGNED_COLOURS

NETWORK = [0.9, 0.2, np.nan, 0.3]
LAYERS = ["Cu", "Pb", "As", "granite <b>"]


@pytest.fixture(scope="module")
def shown() -> PretrainingShown:
    """Two layers of 6 × 8 cells, the second of 0 and 1, the first missing in a corner."""
    rng = np.random.default_rng(0)
    grid = Grid.from_bounds((500_000, 2_600_000, 504_000, 2_603_000), 500, "EPSG:32650")
    truth = np.stack([rng.normal(size=(6, 8)), rng.random((6, 8)) > 0.5]).astype("float32")
    truth[0, 0, 0] = np.nan
    hidden = (rng.random(truth.shape) < 0.7) & np.isfinite(truth)
    filled = np.where(hidden, truth + 0.5, truth)
    colours = rng.integers(1, 256, (3, 6, 8)).astype("uint8")
    colours[:, 2, 3] = 0
    scores = {"layer": LAYERS, "network": NETWORK, "layer_mean": 1.0}
    return PretrainingShown(
        areas=["North", "جبل الحصير", "area"],
        settings={
            "window": 7,
            "hidden_cells": 0.75,
            "hidden_layers": 0.25,
            "epochs": 3,
            "windows_per_epoch": 16384,
        },
        training_loss=[0.9, 0.6, 0.5],
        validation_loss=[0.95, 0.7, 0.65],
        scores=pd.DataFrame({**scores, "bilinear": [0.4, 0.4, 0.4, 2.0], "values": 9}),
        truth=grid.to_dataarray(truth, layers=["Pb", "granite <b>"]),
        filled=grid.to_dataarray(filled, layers=["Pb", "granite <b>"]),
        hidden=hidden,
        scale=np.array([0.25, 1.0]),
        units=["ppm", ""],
        colours=grid.to_dataarray(colours, layers=["red", "green", "blue"]),
    )


@pytest.fixture(scope="module")
def page(inputs, shown, read_page):
    return read_page(render_report(dataclasses.replace(inputs, pretraining=shown)))


def drawn(axes, image=0):
    return np.ma.filled(axes.images[image].get_array().astype(float), np.nan)


def test_losses_are_plotted_epoch_by_epoch():
    """One point an epoch, counted from 1; which curve is which is told."""
    axes = pretraining.loss_curves([0.9, 0.6], [0.95, 0.7]).axes[0]
    curves = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert curves == {
        "ground learnt from": [[1, 0.9], [2, 0.6]],
        "ground set apart": [[1, 0.95], [2, 0.7]],
    }
    assert axes.get_ylim()[0] == 0
    assert len({line.get_linestyle() for line in axes.lines}) == 2
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss on hidden values")


def test_what_kriging_does_by_itself_is_told(shown, inputs, read_page):
    """How many layers the network fills in better than its kriging, where that is known."""
    scores = shown.scores.assign(kriging=shown.scores["network"] * np.array([0.9, 1.2, 1.0, 1.1]))
    told = dataclasses.replace(shown, scores=scores)
    text = read_page(render_report(dataclasses.replace(inputs, pretraining=told))).text
    judged = scores["network"].notna()
    ahead = int((scores["network"] < scores["kriging"])[judged].sum())
    assert f"the network betters it on {ahead} of {int(judged.sum())}" in text


def test_layers_are_listed_from_the_best_filled_in(shown):
    """By the network's error against the better of the plain ways; unjudged layers are left out."""
    table = pretraining.fill_table(shown.scores, limit=20)
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows == [
        ["granite <b>", "0.30", "1.00", "2.00", "30 %"],
        ["Pb", "0.20", "1.00", "0.40", "50 %"],
        ["Cu", "0.90", "1.00", "0.40", "225 %"],
    ]
    assert len(pretraining.fill_table(shown.scores, limit=1).rows) == 1


def test_each_panel_shows_what_its_title_says(shown):
    """True, shown with the hidden cells blank, filled in, and the error in standard deviations."""
    figure = pretraining.hidden_ground(shown.truth, shown.filled, shown.hidden, shown.scale)
    panels = [axes for axes in figure.axes if axes.get_title("left")]
    titles = [axes.get_title("left") for axes in panels]
    own = ["what was shown", "filled in", "error (std. dev.)"]
    assert titles == ["A   as it is", *own, "B   as it is", *own]
    for row, scale in enumerate(shown.scale):
        truth, filled = np.asarray(shown.truth[row]), np.asarray(shown.filled[row])
        true, given, made, error = panels[4 * row : 4 * row + 4]
        np.testing.assert_array_equal(drawn(true), truth)
        np.testing.assert_array_equal(np.isfinite(drawn(given, 1)), shown.hidden[row])
        np.testing.assert_array_equal(drawn(made), filled)
        expected = np.where(shown.hidden[row], 0.5 / scale, 0.0)
        known = np.isfinite(truth)
        np.testing.assert_allclose(drawn(error)[known], expected[known], atol=1e-5)
        limits = [image.get_clim() for axes in (true, given, made) for image in axes.images[:1]]
        assert len(set(limits)) == 1
    assert panels[4].images[0].get_clim() == (0, 1)
    assert np.isnan(drawn(panels[3])[0, 0])


def test_panels_have_their_coordinates_at_the_outer_edges(shown):
    """Easting below the last row, northing left of the first column, in km or m."""
    figure = pretraining.hidden_ground(shown.truth, shown.filled, shown.hidden, shown.scale)
    panels = [axes for axes in figure.axes if axes.get_title("left")]
    assert [axes.get_xlabel() for axes in panels] == [""] * 4 + ["Easting (m)"] * 4
    assert [axes.get_ylabel() for axes in panels] == ["Northing (m)", "", "", ""] * 2
    for axes in panels:
        box = axes.get_position()
        across, up = box.width * figure.get_figwidth(), box.height * figure.get_figheight()
        assert across / up == pytest.approx(8 / 6)
        assert box.y0 >= 0
        assert box.x1 <= 1


def test_false_colours_are_drawn_as_they_are(shown, inputs):
    """Each cell in its colour; a missing one lets the hatched ground through."""
    axes = pretraining.false_colour_map(shown.colours, inputs.deposits).axes[0]
    picture = np.ma.getdata(axes.images[0].get_array())
    np.testing.assert_array_equal(np.moveaxis(picture[..., :3], -1, 0), shown.colours)
    assert picture[2, 3, 3] == 0
    assert (picture[..., 3] == 255).sum() == 47
    assert axes.images[0].get_extent() == [500_000, 504_000, 2_600_000, 2_603_000]


def test_errors_are_told_apart_without_colour_vision():
    """Too high and too low differ from right alike, and the sides differ in blue against red."""
    low, right, high = (np.array(SIGNED_COLOURS(share)[:3]) for share in (0.1, 0.5, 0.9))
    assert right.min() > 0.9
    assert low[2] > low[0] + 0.2
    assert high[0] > high[2] + 0.2


def test_the_chapter_tells_losses_table_and_pictures(page):
    """In the contents, with its areas, settings, the share of layers, the layers by letter."""
    assert "pretraining" in page.values("id")
    assert "#pretraining" in page.values("href")
    text = page.text
    assert "the evidence of North , جبل الحصير and this area : windows of 7 × 7 cells" in text
    assert "75 % of the cells and, in some of them, 25 % of the layers" in text
    assert "in 3 epochs of up to 16,384 windows" in text
    assert "On 2 of 3 layers (67 %) the network does better than both plain ways" in text
    assert "A Pb , ppm B granite <b>" in text
    assert "no label was used" in text
    alts = page.values("alt")
    assert "Loss of each epoch of the pretraining" in alts
    assert "The area in the false colours of the network" in alts
    assert any("as the network filled them in" in alt for alt in alts)


def test_long_tables_are_cut(inputs, shown, read_page):
    """Twenty layers are listed; how many more there are is told."""
    many = pd.DataFrame({"layer": [f"layer {k}" for k in range(27)], "network": 0.1})
    scores = many.assign(layer_mean=1.0, bilinear=0.5)
    changed = dataclasses.replace(shown, scores=scores)
    text = read_page(render_report(dataclasses.replace(inputs, pretraining=changed))).text
    assert "7 further layers compare less well with the plain ways" in text
    assert "layer 19" in text
    assert "layer 20" not in text


def test_a_method_without_a_network_has_no_such_chapter(inputs, read_page):
    """What was not learnt is not told."""
    assert "pretraining" not in read_page(render_report(inputs)).values("id")


def test_what_could_not_be_judged_or_drawn_is_left_out(inputs, shown, read_page):
    """An area too small to judge by or to draw, and a network with its first weights."""
    bare = dataclasses.replace(
        shown,
        areas=[],
        training_loss=[],
        validation_loss=[],
        scores=pd.DataFrame(),
        truth=None,
        filled=None,
    )
    page = read_page(render_report(dataclasses.replace(inputs, pretraining=bare)))
    assert "This network was not pretrained" in page.text
    assert "Nothing was judged: the area is too small" in page.text
    assert "What it makes of hidden ground" not in page.text
    assert "Loss of each epoch of the pretraining" not in page.values("alt")


def test_the_same_network_gives_the_same_bytes(inputs, shown):
    """So that a resumed run leaves the very report of an uninterrupted one."""
    given = dataclasses.replace(inputs, pretraining=shown)
    assert render_report(given) == render_report(given)
