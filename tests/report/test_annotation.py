"""Rounds of annotation: each shown with what it set aside, the chosen one marked."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from gossan.annotate.decisions import DOUBTFUL, NEGATIVE
from gossan.report import convergence_plot, png_bytes, round_maps
from gossan.report.annotation import _TINTS, rounds_shown
from gossan.report.theme import RUST


@dataclasses.dataclass
class Rounds:
    """Scores and decisions of some rounds on the ground of the small survey."""

    scores: xr.DataArray
    decisions: xr.DataArray

    def map(self, inputs, chosen=2):
        return round_maps(self.scores, self.decisions, inputs.deposits, chosen=chosen)


def _rounds(score, count=4) -> Rounds:
    scores = xr.concat([score] * count, "round").assign_coords(round=np.arange(count))
    decisions = scores.copy(data=np.zeros(scores.shape, np.int8))
    decisions[:, 30:40, 10:20] = NEGATIVE
    decisions[:, 45, 50] = DOUBTFUL
    return Rounds(scores, decisions)


@pytest.fixture
def rounds(inputs) -> Rounds:
    return _rounds(inputs.score)


def _words(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def _panels(figure):
    return [axes for axes in figure.axes if axes.get_title("left")]


def _covered(axes, code):
    """Cells that a panel paints in the tint of a decision."""
    for image in axes.images[1:]:
        if image.cmap(0)[:3] == to_rgb(_TINTS[code][0]):
            return ~np.ma.getmaskarray(image.get_array())
    return None


def test_every_round_has_a_panel_with_its_name(rounds, inputs):
    """Four rounds, four maps, in order."""
    titles = [axes.get_title("left") for axes in _panels(rounds.map(inputs))]
    assert titles == ["round 0", "round 1", "round 2", "round 3"]


def test_only_the_chosen_round_is_framed(rounds, inputs):
    """The eye goes to the round whose negatives are used, and the legend says why."""
    figure = rounds.map(inputs, chosen=2)
    framed = [axes.spines["top"].get_edgecolor()[:3] == to_rgb(RUST) for axes in _panels(figure)]
    assert framed == [False, False, True, False]
    assert "the chosen round" in _words(figure)


def test_ground_set_aside_is_painted_where_it_lies(rounds, inputs):
    """Barren and doubtful cells, those and no others."""
    panel = _panels(rounds.map(inputs))[0]
    for code in (NEGATIVE, DOUBTFUL):
        np.testing.assert_array_equal(_covered(panel, code), rounds.decisions[0] == code)


def test_one_doubtful_cell_outlives_thinning(inputs):
    """What may be ore must not vanish from a large map; a lone barren cell may."""
    score = inputs.score.isel(y=np.repeat(np.arange(60), 14), x=np.repeat(np.arange(80), 14))
    score = score.assign_coords(y=-500.0 * np.arange(840), x=500.0 * np.arange(1120))
    rounds = _rounds(score.rio.write_crs(inputs.score.rio.crs), count=1)
    rounds.decisions[:] = 0
    rounds.decisions[0, 500, 700], rounds.decisions[0, 600, 700] = DOUBTFUL, NEGATIVE
    panel = _panels(rounds.map(inputs, chosen=0))[0]
    assert max(panel.images[0].get_array().shape) <= 400
    assert _covered(panel, DOUBTFUL).sum() == 1
    assert _covered(panel, NEGATIVE) is None


def test_what_a_geologist_decided_is_marked_where_it_lies(rounds, inputs):
    """A symbol a decision, at its cell to within the coarse blocks that symbols stand for."""
    rounds.decisions[1, 20, 60] = 4
    figure = rounds.map(inputs)
    assert "A geologist says" in _words(figure)
    symbol = _panels(figure)[1].collections[0].get_offsets()
    cell = rounds.scores["x"][60], rounds.scores["y"][20]
    np.testing.assert_allclose(symbol, [cell], atol=500.0)


def test_the_legend_names_only_what_is_drawn(rounds, inputs):
    """No geologist, no such heading."""
    assert "A geologist says" not in _words(rounds.map(inputs))


def test_panels_are_true_in_shape_and_do_not_overlap(rounds, inputs):
    """80 × 60 cells on each, whatever the number of columns."""
    figure = rounds.map(inputs)
    width, height = figure.get_size_inches()
    boxes = [axes.get_position() for axes in _panels(figure)]
    for number, box in enumerate(boxes):
        assert box.width * width / (box.height * height) == pytest.approx(80 / 60)
        assert not any(box.overlaps(other) for other in boxes[:number])


@pytest.mark.parametrize(("count", "chosen"), [(1, 0), (12, 5), (13, 1), (40, 38), (40, 17)])
def test_at_most_twelve_rounds_with_first_last_and_chosen(count, chosen):
    """However many rounds there were."""
    shown = rounds_shown(range(count), chosen)
    assert len(shown) == min(count, 12)
    assert {0, count - 1, chosen} <= set(shown)
    assert shown == sorted(set(shown))


def test_a_round_that_never_was_cannot_be_chosen(rounds, inputs):
    """The message names the rounds there are."""
    with pytest.raises(ValueError, match=r"No round is called 9; the rounds are \[0, 1, 2, 3\]"):
        rounds.map(inputs, chosen=9)


def test_scores_and_decisions_must_match(rounds, inputs):
    """One decision a scored cell."""
    with pytest.raises(ValueError, match="differ in shape"):
        round_maps(rounds.scores, rounds.decisions[:3], inputs.deposits, chosen=0)


def _table():
    return pd.DataFrame(
        {
            "round": [0, 1, 2],
            "n_negative": [0, 900, 1100],
            "n_doubtful": [0, 30, 20],
            "changed": [1.0, 0.2, 0.0],
            "inner_auc": [0.7, 0.8, 0.79],
            "inner_capture": [np.nan, np.nan, np.nan],
            "positives_below": [0.0, 0.01, 0.06],
        }
    )


def test_every_figure_of_the_rounds_is_plotted():
    """Each column is a line, as it stands in the table, unknown values left out."""
    figure = convergence_plot(_table(), chosen=1)
    drawn = [line.get_ydata() for axes in figure.axes for line in axes.lines]
    for name in _table().columns[1:]:
        assert any(np.array_equal(_table()[name], line, equal_nan=True) for line in drawn), name


def test_the_stopping_rule_and_the_chosen_round_are_drawn():
    """One per cent across, the chosen round down every panel."""
    figure = convergence_plot(_table(), chosen=1)
    across = [line for line in figure.axes[1].lines if line.get_label() == "rounds end below 1 %"]
    assert set(across[0].get_ydata()) == {0.01}
    for axes in figure.axes:
        assert any(list(line.get_xdata()) == [1, 1] for line in axes.lines)
    assert "chosen: round 1" in _words(figure)


def test_a_picture_is_a_png_file_and_the_same_every_time():
    """What a pipeline writes to disk."""
    first, second = (png_bytes(convergence_plot(_table(), chosen=1)) for _ in range(2))
    assert first.startswith(b"\x89PNG\r\n")
    assert first == second
