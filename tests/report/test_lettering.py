"""Labels that cover nothing, lines that fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gossan.report.lettering import extent, label_offsets, spread_out, stands_apart, wrapped
from gossan.report.theme import themed

FRAME = (120.0, 80.0)
SIZE = (18.0, 7.0)


@settings(deadline=None)
@given(arrays(float, (12, 2), elements=st.floats(0, 1, width=32)))
def test_labels_cover_neither_each_other_nor_a_place_and_stay_in_the_frame(shares):
    """However the places lie."""
    places = shares * FRAME
    offsets = label_offsets(places, [SIZE] * 12, FRAME)
    named = np.isfinite(offsets[:, 0])
    low = (places + offsets - np.divide(SIZE, 2))[named]
    high = low + SIZE
    assert (low >= -1e-9).all()
    assert (high <= np.add(FRAME, 1e-9)).all()
    overlap = (low[:, None] < high[None] - 1e-9) & (low[None] < high[:, None] - 1e-9)
    assert overlap.all(axis=-1).sum() == named.sum()
    inside = (places[None] > low[:, None]) & (places[None] < high[:, None])
    assert not inside.all(axis=-1).any()


def test_the_first_of_a_crowd_keeps_its_place():
    """The best target stands beside its peak; of those behind it some find no room."""
    offsets = label_offsets(np.full((60, 2), 40.0), [SIZE] * 60, FRAME)
    assert not stands_apart(offsets[0], SIZE)
    assert np.isnan(offsets[-1]).all()
    assert stands_apart(offsets[np.isfinite(offsets[:, 0])][-1], SIZE)


@pytest.mark.parametrize("corner", [(0, 0), (0, 80), (120, 0), (120, 80)])
def test_a_label_in_a_corner_turns_inward(corner):
    """It is neither cut by the frame nor left out."""
    (offset,) = label_offsets([corner], [SIZE], FRAME)
    assert (np.sign(offset) == np.sign(np.divide(FRAME, 2) - corner)).all()


def test_lines_are_no_wider_than_the_column():
    """Words that are wider end in an ellipsis, and so does what exceeds the lines."""
    text = "high Se, low Na, extraordinarilylongnameofalayerthatnocolumnholds, low K, high Sn"
    with themed():
        lines = wrapped(text, 90, 8).split("\n")
        assert len(lines) == 3
        assert all(extent(line, 8)[0] <= 90 for line in lines)
        assert lines[0] == "high Se, low Na,"
        assert lines[1].endswith("…")
        assert wrapped("high Se, low Na", 90, 8) == "high Se, low Na"
        assert wrapped("one two three four", 30, 8, most=2).endswith("…")


@given(st.lists(st.floats(0, 1), max_size=8).map(sorted))
def test_labels_in_a_row_keep_their_order_and_distance(middles):
    """None beyond the right end; those that have room stay where they are."""
    moved = spread_out(middles, 0.1)
    assert len(moved) == len(middles)
    assert (np.diff(moved) >= 0.1 - 1e-9).all()
    assert (moved <= 1 + 1e-9).all()
    if len(middles) and (np.diff(middles) >= 0.1 + 1e-9).all():
        np.testing.assert_allclose(moved, middles)
