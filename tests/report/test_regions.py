"""Pictures of regions: their numbers, profiles and choice, as drawn."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import gossan as gs
from gossan.report import choice_figure, profile_figure, region_map
from gossan.report.theme import region_colours

GRID = gs.Grid.from_bounds((500000, 4000000, 500600, 4000400), 100, "EPSG:32650")
AREAS = gpd.GeoDataFrame(
    {"rank": [1, 2], "easting": [500050.0, 500350.0], "northing": [4000350.0, 4000250.0]},
    geometry=[
        shapely.box(500000, 4000100, 500200, 4000400),
        shapely.box(500300, 4000000, 500400, 4000300),
    ],
    crs=GRID.crs,
)


def test_the_map_shows_each_region_in_its_colour_and_the_deposits():
    """Ground without evidence is hatched; the legend tells shares."""
    numbers = np.repeat([[0, 1, 1, 1, 2, 2]], 4, axis=0).astype(np.int16)
    table = pd.DataFrame({"region": [1, 2], "name": ["high Sn", "low K"], "share": [0.6, 0.4]})
    deposits = gpd.GeoDataFrame(
        {"name": ["A"]}, geometry=gpd.points_from_xy([500250], [4000250]), crs=GRID.crs
    )
    figure = region_map(GRID.to_dataarray(numbers), table, deposits)
    drawn = figure.axes[0].images[0]
    shown = drawn.cmap(drawn.norm(drawn.get_array()))
    assert np.ma.getmaskarray(drawn.get_array())[:, 0].all()
    from matplotlib.colors import to_rgba

    colours = [to_rgba(colour) for colour in region_colours(2)]
    assert tuple(shown[0, 1]) == pytest.approx(colours[0])
    assert tuple(shown[0, 5]) == pytest.approx(colours[1])
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert "1 (60 %): high Sn" in texts
    assert "no data" in texts


def test_a_profile_shows_the_layers_that_differ_most():
    """Values as numbers, missing ones blank, foreign names by their number in the table."""
    profiles = pd.DataFrame(
        {"Cu": [0.1, -0.2], "锡": [3.0, -1.0], "K": [np.nan, np.nan], "U": [1.5, np.nan]},
        index=[1, 2],
    )
    axes = profile_figure(profiles).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["layer 2", "U", "Cu"]
    assert [t.get_text() for t in axes.texts] == ["+3.0", "−1.0", "+1.5", "+0.1", "−0.2"]


def test_the_choice_marks_what_was_taken():
    """By a bar behind it."""
    choice = pd.DataFrame(
        {
            "regions": [2, 3],
            "stability": [0.5, 0.9],
            "stability_error": [0.1, 0.01],
            "silhouette": [0.2, -0.1],
            "chosen": [False, True],
        }
    )
    axes = choice_figure(choice, 3).axes[0]
    assert set(axes.lines[0].get_xdata()) == {3}


def test_likeness_is_drawn_by_share_of_area_with_ranks_and_the_place():
    """The best ground in the first classes, which are the darkest; areas by their rank."""
    from gossan.report import analogue_map

    likeness = np.linspace(-1, 1, 24).reshape(4, 6).astype("f4")
    likeness[0, 0] = np.nan
    place = gpd.GeoDataFrame(geometry=gpd.points_from_xy([500550], [4000050]), crs=GRID.crs)
    figure = analogue_map(GRID.to_dataarray(likeness), place, AREAS)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    drawn = axes.images[0]
    assert drawn.get_array()[3, 5] < drawn.get_array()[2, 5] < drawn.get_array()[0, 1]
    assert np.ma.getmaskarray(drawn.get_array())[0, 0]
    (query,) = [c for c in axes.collections if len(c.get_offsets()) == 1]
    assert query.get_offsets().tolist() == [[500550.0, 4000050.0]]
    assert len(axes.patches) == 1 + len(AREAS)  # the hatched ground, and what was found


def test_areas_found_are_outlined_and_ranked_at_their_peaks():
    """The rank stands where ground is most like the place, which may be an area's edge."""
    from gossan.report import analogue_map

    place = gpd.GeoDataFrame(geometry=gpd.points_from_xy([500550], [4000050]), crs=GRID.crs)
    axes = analogue_map(GRID.to_dataarray(np.ones((4, 6), "f4")), place, AREAS).axes[0]
    assert [text.xy for text in axes.texts] == [(500050.0, 4000350.0), (500350.0, 4000250.0)]
    drawn = [shapely.Polygon(patch.get_path().to_polygons()[0]) for patch in axes.patches[1:]]
    assert all(one.equals(area) for one, area in zip(drawn, AREAS.geometry, strict=True))


def test_a_place_of_many_cells_is_outlined_and_its_ground_stays_visible():
    """Along its cells' edges, a hole in it too; no cell bears a mark."""
    from gossan.report import analogue_map

    rows, columns = np.nonzero(np.pad([[0]], 1, constant_values=1).repeat(2, axis=1)[:, :5])
    cells = gpd.GeoDataFrame(
        geometry=gpd.points_from_xy(*GRID.coordinates(rows, columns).T), crs=GRID.crs
    )
    figure = analogue_map(GRID.to_dataarray(np.ones((4, 6), "f4")), cells, AREAS)
    axes = figure.axes[0]
    outer, hole = (shapely.Polygon(ring) for ring in axes.patches[-1].get_path().to_polygons())
    expected = shapely.union_all(
        [shapely.box(x - 50, y - 50, x + 50, y + 50) for x, y in cells.get_coordinates().to_numpy()]
    )
    assert (outer - hole).equals(expected)
    assert [len(points.get_offsets()) for points in axes.collections] == [len(AREAS)]


def test_names_of_regions_are_wrapped_and_stay_on_the_page():
    """Nothing is cut off; a name in letters that the font lacks is left to the page's table."""
    table = pd.DataFrame(
        {
            "region": [1, 2],
            "name": ["high Se, low Na, high granite distance", "high 锡"],
            "share": [0.6, 0.4],
        }
    )
    numbers = np.repeat([[1, 1, 1, 2, 2, 2]], 4, axis=0).astype(np.int16)
    figure = region_map(GRID.to_dataarray(numbers), table)
    figure.canvas.draw()
    texts = figure.axes[1].texts
    words = " ".join(text.get_text() for text in texts)
    assert "1 (60 %): high Se, low Na, high granite distance" in words
    assert "2 (40 %)" in [text.get_text() for text in texts]
    right = figure.get_figwidth() * figure.dpi
    assert max(text.get_window_extent().x1 for text in texts) <= right


def test_dollars_in_the_name_of_a_layer_are_dollars():
    """And no mathematics, which may not even parse."""
    profiles = pd.DataFrame({r"Au $\foo$": [2.0, -1.0], "Cu": [0.5, 1.0]}, index=[1, 2])
    figure = profile_figure(profiles)
    figure.canvas.draw()
    told = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert any(r"$\foo$" in text for text in told)
