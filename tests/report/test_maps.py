"""Maps: true to scale, honest about what is missing, legible without colour."""

import dataclasses

import geopandas as gpd
import numpy as np
import pytest
import shapely
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from gossan.grid import Grid
from gossan.report import maps


def _score(shape=(30, 40), cell_size=500.0, crs="EPSG:32650", origin=(500_000, 2_600_000)):
    bounds = (*origin, origin[0] + shape[1] * cell_size, origin[1] + shape[0] * cell_size)
    grid = Grid.from_bounds(bounds, cell_size, crs)
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    return grid.to_dataarray(values)


def _words(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def _inches(figure, axes):
    box = axes.get_position()
    width, height = figure.get_size_inches()
    return box.width * width, box.height * height


@pytest.mark.parametrize("shape", [(30, 40), (20, 120), (150, 30)])
def test_a_metre_is_as_long_northward_as_eastward(shape):
    """On paper the frame has the proportions of the ground, wide or tall."""
    figure = maps.score_map(_score(shape))
    across, up = _inches(figure, figure.axes[0])
    assert across / up == pytest.approx(shape[1] / shape[0], rel=1e-6)


def test_degrees_are_drawn_true_at_the_middle_of_the_map():
    """At 60° north a degree of longitude is half a degree of latitude."""
    score = _score((20, 20), 0.1, "EPSG:4326", origin=(10, 59))
    figure = maps.score_map(score)
    across, up = _inches(figure, figure.axes[0])
    assert across / up == pytest.approx(0.5, rel=1e-6)
    assert "Longitude (°)" in _words(figure)


@pytest.mark.parametrize(
    ("shape", "cell_size"), [((30, 40), 500.0), ((3, 4), 10.0), ((90, 10), 2e4)]
)
def test_the_scale_bar_is_as_long_as_it_says(shape, cell_size):
    """Its inches on paper, at the map's scale, are the distance written under it."""
    figure = maps.score_map(_score(shape, cell_size))
    axes, column = figure.axes[:2]
    halves = [
        patch
        for patch in column.patches
        if isinstance(patch, Rectangle) and patch.get_height() == pytest.approx(0.06)
    ]
    inches = sum(patch.get_width() for patch in halves)
    label = next(word for word in _words(figure) if word.endswith((" km", " m")))
    number, unit = label.split()
    metres = float(number.replace(",", "")) * {"km": 1000, "m": 1}[unit]
    scale = _inches(figure, axes)[0] / (shape[1] * cell_size)
    assert inches == pytest.approx(metres * scale, rel=1e-6)


def test_a_map_carries_north_coordinates_and_its_crs():
    """What every map needs, whoever reads it alone."""
    words = _words(maps.score_map(_score()))
    assert {"grid north", "EPSG:32650", "Easting (km)", "Northing (km)"} <= set(words)


def test_a_small_area_is_labelled_in_metres():
    """Kilometres would read 0.1, 0.2."""
    assert "Easting (m)" in _words(maps.score_map(_score((20, 20), 10.0)))


def test_missing_ground_is_shown_and_named_only_where_there_is_some():
    """Hatched, never coloured as if it scored low."""
    score = _score()
    assert "no data" not in _words(maps.score_map(score))
    holed = score.copy()
    holed[:5, :5] = np.nan
    figure = maps.score_map(holed)
    assert "no data" in _words(figure)
    drawn = figure.axes[0].images[0].get_array()
    assert np.ma.getmaskarray(drawn)[:5, :5].all()
    assert np.ma.getmaskarray(drawn).sum() == 25


def test_a_large_map_is_thinned_before_it_is_drawn():
    """1200 pixels a side are plenty; the picture covers the same ground."""
    score = _score((2500, 1300), 10.0)
    figure = maps.score_map(score)
    image = figure.axes[0].images[0]
    assert max(image.get_array().shape) <= 1200
    west, south, east, north = Grid.from_dataarray(score).bounds
    assert figure.axes[0].get_xlim() == (west, east)
    assert figure.axes[0].get_ylim() == (south, north)
    left, right, bottom, top = image.get_extent()
    assert (left, top) == (west, north)
    assert right - east == pytest.approx(20)  # the last column of pixels holds part of a block
    assert south - bottom == pytest.approx(20)


def test_outcomes_differ_in_shape_not_only_in_colour():
    """Found, nearly found, missed and untested deposits survive a grey printer."""
    shapes = {symbol["marker"] for symbol in maps.SYMBOLS.values()}
    assert len(shapes) == len(maps.OUTCOMES) == 4


def test_each_deposit_is_drawn_once_by_its_outcome(inputs):
    """The legend's counts add up to the deposits."""
    figure = maps.score_map(inputs.score, inputs.deposits)
    drawn = sum(len(points.get_offsets()) for points in figure.axes[0].collections)
    assert drawn == len(inputs.deposits)
    counts = [
        int(word[word.rindex("(") + 1 : -1])
        for word in _words(figure)
        if word.endswith(")") and word.startswith(("found", "missed", "known"))
    ]
    assert sum(counts) == len(inputs.deposits)


def test_a_deposit_off_the_map_is_not_drawn_beside_it():
    """It would lie on the legend."""
    deposits = gpd.GeoDataFrame({"rank": [0.99]}, geometry=[shapely.Point(0, 0)], crs="EPSG:32650")
    figure = maps.score_map(_score(), deposits)
    assert all(len(points.get_offsets()) == 0 for points in figure.axes[0].collections)


def test_targets_carry_rank_and_group_and_no_name_of_the_users(inputs):
    """Names may be in letters that the pictures' font lacks; they belong in the page."""
    letters = ["A", "B"] * 6
    figure = maps.targets_map(inputs.score, inputs.targets, inputs.deposits, letters=letters)
    words = _words(figure)
    assert {"1A", "2B", "12B", "group A", "group B"} <= set(words)
    assert not any("جبل" in word or "script" in word for word in words)


def _labels(figure):
    """Of each name on the map the place it names and the box of its text, in points."""
    figure.canvas.draw()
    axes, per_pixel = figure.axes[0], 72 / figure.dpi
    names = {}
    for text in axes.texts:
        box = Text.get_window_extent(text)
        at = axes.transData.transform(text.xy) * per_pixel
        names[text.get_text()] = (text.xy, at, np.array(box.extents) * per_pixel)
    frame = np.array(axes.get_window_extent().extents) * per_pixel
    return names, frame


def test_targets_are_named_at_their_peaks(inputs):
    """Not at the top of an outline, which may be tens of kilometres away."""
    figure = maps.targets_map(inputs.score, inputs.targets, letters=["A"] * 12)
    names, _ = _labels(figure)
    peaks = dict(zip(inputs.targets["rank"], inputs.targets[["easting", "northing"]].to_numpy()))
    assert len(names) == 12
    for name, (place, at, box) in names.items():
        assert place == pytest.approx(tuple(peaks[int(name[:-1])]))
        away = np.maximum(np.maximum(box[:2] - at, at - box[2:]), 0)
        assert away.max() < 40
    marks = np.concatenate([c.get_offsets() for c in figure.axes[0].collections])
    np.testing.assert_allclose(marks, list(peaks.values()))


def _crowd(inputs, count, spacing):
    """Targets of one cell in a row, near the northern edge."""
    west, _, _, north = Grid.from_dataarray(inputs.score).bounds
    places = np.column_stack([west + spacing * (1 + np.arange(count)), np.full(count, north - 1)])
    return gpd.GeoDataFrame(
        {"rank": np.arange(1, count + 1), "easting": places[:, 0], "northing": places[:, 1]},
        geometry=shapely.box(*(places - 250).T, *(places + 250).T),
        crs=inputs.score.rio.crs,
    )


def test_names_of_neighbouring_targets_do_not_overlap(inputs):
    """They are moved, inside the frame, and none is lost without a word."""
    figure = maps.targets_map(inputs.score, _crowd(inputs, 8, 400.0), letters=["AB"] * 8)
    names, frame = _labels(figure)
    assert {name[0] for name in names} == set("12345678")
    boxes = [box for _, _, box in names.values()]
    for position, box in enumerate(boxes):
        assert (box[:2] >= frame[:2] - 1).all()
        assert (box[2:] <= frame[2:] + 1).all()
        for other in boxes[:position]:
            assert (np.minimum(box, other)[2:] - np.maximum(box, other)[:2]).min() < 1


def test_a_target_without_room_for_its_name_is_told(inputs):
    """The lower ranks give way."""
    figure = maps.targets_map(inputs.score, _crowd(inputs, 45, 1.0))
    names, _ = _labels(figure)
    assert "1" in names
    assert "40" not in names
    told = " ".join(text.get_text() for text in figure.axes[1].texts)
    assert "No room on the map to name" in told
    assert "Only the first 40 are named." in told


def test_ground_is_parted_by_area_of_score_and_median_of_spread():
    """Brute force: the top 5, 15 and 30 % of the area, each at or above the median spread."""
    rng = np.random.default_rng(3)
    score, spread = rng.permutation(1000) / 1000, rng.random(1000)
    order = np.argsort(-score)
    middle = np.median(spread[order[:300]])
    expected = np.full(1000, 6.0)
    for start, stop, agreed in ((0, 50, 0), (50, 150, 2), (150, 300, 4)):
        expected[order[start:stop]] = agreed + (spread[order[start:stop]] > middle)
    np.testing.assert_array_equal(maps.risk_classes(score, spread), expected)


def test_the_risk_map_draws_what_its_legend_says(inputs):
    """The best, agreed ground bears the colour of the legend's first corner; heads name both."""
    figure = maps.risk_return_map(inputs.score, inputs.spread, inputs.deposits)
    classes = maps.risk_classes(inputs.score, inputs.spread)
    image = figure.axes[0].images[0]
    shown = image.cmap(image.norm(image.get_array()))
    corner = next(
        patch for patch in figure.axes[1].patches if patch.get_height() == pytest.approx(0.25)
    )
    assert {tuple(colour) for colour in shown[classes == 0]} == {corner.get_facecolor()}
    assert {"models\nagree", "models\ndiffer", "top 5 %", "known deposit"} <= set(_words(figure))


def test_ground_without_a_spread_has_no_class_of_risk(inputs):
    """One cannot tell whether models agree where there is but one."""
    spread = inputs.spread.copy()
    spread[-1, :] = np.nan
    image = maps.risk_return_map(inputs.score, spread).axes[0].images[0]
    assert np.ma.getmaskarray(image.get_array())[-1].all()


def test_a_thinned_risk_map_shows_each_block_by_its_best_cell():
    """The spread shown is that of the cell whose score is shown."""
    score = _score((1300, 1300), 10.0)
    spread = score.copy(data=np.random.default_rng(1).random(score.shape).astype(np.float32))
    drawn = maps.risk_return_map(score, spread).axes[0].images[0].get_array()
    classes = maps.risk_classes(score, spread)
    best = np.unravel_index(np.asarray(score[:2, :2]).argmax(), (2, 2))
    assert drawn.shape == (650, 650)
    assert drawn[0, 0] == classes[best]


def test_consensus_and_agreement_say_what_their_classes_mean(inputs):
    """A share of the area for the one, a share of the workflows for the other."""
    consensus = _words(maps.consensus_map(inputs.score, inputs.deposits))
    agreement = _words(maps.agreement_map(inputs.score, inputs.deposits))
    assert {"Mean rank, by share of area", "top 1 %", "known deposit"} <= set(consensus)
    assert {"In the top 5 % of", "90 % or more", "none", "known deposit"} <= set(agreement)


def test_ground_that_no_workflow_chose_is_paler_than_ground_that_one_did():
    """One workflow in a hundred is not none."""
    agreement = _score().copy(data=np.zeros((30, 40), np.float32))
    agreement[0, 0] = 0.01
    drawn = maps.agreement_map(agreement).axes[0].images[0].get_array()
    assert drawn[0, 0] == 1
    assert (drawn.ravel()[1:] == 0).all()


def test_maps_of_odd_ground_are_still_drawn():
    """A constant map, a constant spread, a map with nothing on it, a single cell."""
    constant = _score().copy(data=np.full((30, 40), 0.5, np.float32))
    empty = _score().copy(data=np.full((30, 40), np.nan, np.float32))
    for figure in (
        maps.score_map(constant),
        maps.spread_map(constant),
        maps.spread_map(empty),
        maps.score_map(empty),
        maps.risk_return_map(constant, constant),
        maps.risk_return_map(empty, empty),
        maps.score_map(_score((1, 1))),
        maps.thumbnail(empty),
        maps.thumbnail(constant),
    ):
        figure.canvas.draw()


def test_inputs_of_a_report_cannot_be_changed_after_the_fact(inputs):
    """They are a record of what was shown."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        inputs.study_name = "another"


def test_several_anomaly_maps_share_a_legend_and_tell_missing_ground():
    """Each panel under its title, whichever of them has gaps."""
    whole, gaps = _score(), _score()
    gaps[3:6, 4:9] = np.nan
    deposits = gpd.GeoDataFrame(
        {"name": ["A"]}, geometry=gpd.points_from_xy([505_000], [2_605_000]), crs="EPSG:32650"
    )
    figure = maps.anomaly_maps({"(5, 7)": whole, "(13, 35)": gaps}, deposits)
    words = _words(figure)
    assert {"(5, 7)", "(13, 35)", "known"} <= set(words)
    plain = _words(maps.anomaly_maps({"(5, 7)": whole, "(13, 35)": whole}, deposits))
    assert len(words) == len(plain) + 1
    assert set(words) - set(plain) == {"no data"}


def test_a_model_from_elsewhere_is_drawn_beside_what_it_never_saw():
    """Four classes of unlikeness by the shares of the style; missing ground in both."""
    from gossan.report import predicted_maps

    grid = Grid.from_bounds((0, 0, 500, 100), 100, "EPSG:32650")
    unlike = grid.to_dataarray(np.array([[0.2, 0.6, 0.9, 0.99, np.nan]], dtype="f4"))
    score = grid.to_dataarray(np.array([[0.1, 0.2, 0.3, 0.4, np.nan]], dtype="f4"))
    peaks = {"rank": [1, 2], "easting": [350.0, 50.0], "northing": [50.0, 50.0]}
    targets = gpd.GeoDataFrame(peaks, geometry=gpd.points_from_xy([350, 50], [50, 50]), crs=32650)
    figure = predicted_maps(score, unlike, targets)
    words = _words(figure)
    assert words.count("1") == words.count("2") == 2  # on both maps
    assert "The best 2: rank" in words
    assert not any("rank" in word for word in _words(predicted_maps(score, unlike, targets[:0])))
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.get_title(loc="left")]
    assert len(drawn) == 2
    assert drawn[1][0, :4].tolist() == [0, 1, 2, 3]
    assert all(np.ma.getmaskarray(values)[0, 4] for values in drawn)
