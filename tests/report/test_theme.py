"""Colours that can be trusted, and figures that repeat themselves byte for byte."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

from gossan.report.theme import (
    AGREED_COLOURS,
    DIFFERING_COLOURS,
    GROUP_COLOURS,
    SCORE_COLOURS,
    SPREAD_COLOURS,
    as_png,
    as_svg,
    class_colours,
    group_colours,
    new_figure,
    themed,
)

# Machado, Oliveira & Fernandes (2009), severity 1.0, on linear RGB.
_COLOUR_BLIND = {
    "none": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def _lab(rgb, seen_by="none"):
    """CIELAB (D65) of sRGB colours, (n, 3), by the CIE's formulas."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(_COLOUR_BLIND[seen_by]).T, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.column_stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])]
    )


@pytest.mark.parametrize("ramp", [SCORE_COLOURS, SPREAD_COLOURS], ids=["score", "spread"])
def test_equal_steps_of_a_ramp_look_equal(ramp):
    """Steps of CIELAB distance stay within a quarter of their mean."""
    colours = _lab(ramp(np.linspace(0, 1, 13))[:, :3])
    steps = np.linalg.norm(np.diff(colours, axis=0), axis=1)
    assert np.abs(steps / steps.mean() - 1).max() < 0.25


@pytest.mark.parametrize("seen_by", _COLOUR_BLIND)
@pytest.mark.parametrize("ramp", [SCORE_COLOURS, SPREAD_COLOURS], ids=["score", "spread"])
def test_ramps_darken_all_the_way_for_every_eye(ramp, seen_by):
    """Lightness alone orders the colours, so grey print and colour blindness lose no order."""
    lightness = _lab(ramp(np.linspace(0, 1, 25))[:, :3], seen_by)[:, 0]
    assert (np.diff(lightness) < -0.8).all()


@pytest.mark.parametrize("seen_by", _COLOUR_BLIND)
def test_classes_of_the_map_can_be_told_apart(seen_by):
    """Eight neighbouring classes differ by far more than is just noticeable (about 2.3)."""
    rgb = np.array([mpl.colors.to_rgb(colour) for colour in class_colours(8)])
    steps = np.linalg.norm(np.diff(_lab(rgb, seen_by), axis=0), axis=1)
    assert steps.min() > 7


@pytest.mark.parametrize("seen_by", _COLOUR_BLIND)
def test_agreed_and_differing_ground_can_be_told_apart(seen_by):
    """All six classes of the risk map differ to every eye, and lightness alone parts each pair."""
    colours = [mpl.colors.to_rgb(colour) for colour in (*AGREED_COLOURS, *DIFFERING_COLOURS)]
    seen = _lab(np.array(colours), seen_by)
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert apart[~np.eye(6, dtype=bool)].min() > 14
    assert (seen[3:, 0] - seen[:3, 0] > 6).all()


def test_ten_groups_of_targets_have_ten_colours():
    """Far apart, no two as light as each other, and none lost on the ground of the targets' map."""
    colours = np.array([mpl.colors.to_rgb(colour) for colour in GROUP_COLOURS])
    ground = [mpl.colors.to_rgb(c) for c in ("#f1ab71", "#f7d3a8", "#fbe9d3", "#ffffff")]
    seen = _lab(colours)
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert len(colours) == 10
    assert apart[~np.eye(10, dtype=bool)].min() > 25
    assert np.diff(np.sort(seen[:, 0])).min() > 1
    assert np.linalg.norm(seen[:, None] - _lab(np.array(ground))[None], axis=-1).min() > 35


@pytest.mark.parametrize("seen_by", _COLOUR_BLIND)
def test_colours_of_groups_differ_to_every_eye(seen_by):
    """By far more than is just noticeable (about 2.3)."""
    seen = _lab(np.array([mpl.colors.to_rgb(colour) for colour in GROUP_COLOURS]), seen_by)
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert apart[~np.eye(10, dtype=bool)].min() > 7


def test_a_twelfth_group_takes_the_colour_of_the_second():
    """Groups in the order in which they come: AA after Z, not after A."""
    letters = [*"ABCDEFGHIJKL", "AA"]
    colours = group_colours(letters)
    assert list(colours) == letters
    assert colours["L"] == colours["B"] == GROUP_COLOURS[1]


@pytest.mark.parametrize("draw", [as_png, as_svg])
def test_a_figure_drawn_twice_is_the_same_to_the_byte(draw):
    """No date, no version, no random identifier."""

    def drawn():
        with themed():
            figure = new_figure(2, 2)
            figure.subplots().plot([0, 1], [0, 1], label="a line")
            return draw(figure)

    assert drawn() == drawn()


def test_drawing_heeds_no_settings_of_the_user_and_leaves_them_alone():
    """A notebook's own style neither enters the report nor is lost by it."""
    with mpl.rc_context({"font.size": 31.0, "axes.facecolor": "black"}):
        with themed():
            assert mpl.rcParams["font.size"] < 10
            assert mpl.rcParams["axes.facecolor"] == "white"
        assert mpl.rcParams["font.size"] == 31.0


def test_the_report_never_touches_pyplot():
    """Its global state belongs to the user, and it may want a display."""
    code = "import sys, gossan.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
