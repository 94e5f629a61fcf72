"""The chapter on what was taken from another area: sizes and why, kernels, layers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from gossan.report import TransferShown, render_report
from gossan.report.transfer import gate_figure, layer_table, transfer_chapter


@pytest.fixture(scope="module")
def shown() -> TransferShown:
    """Three layers, of which the source lacks one; three kernels, one on the way past a block."""
    return TransferShown(
        source={
            "area": "Old <hills>",
            "layers": ["Cu", "Pb"],
            "patches": 437,
            "with_deposits": 78,
            "window": 256,
        },
        layers=pd.DataFrame(
            {"layer": ["Cu", "W", "Pb"], "weight": [1.1, 0.4, -1.3], "openness": [0.9, np.nan, 1.2]}
        ),
        kernels=pd.DataFrame(
            {
                "kernel": ["conv1.weight", "blocks.2.conv1.weight", "blocks.2.past.0.weight"],
                "openness": [0.95, 1.05, 1.01],
            }
        ),
        sizes={"window": 32, "crop": 28, "dilations": (1, 2), "stride": 16, "map_stride": 4},
        shape=(251, 310),
        cell_size=500.0,
        counts={"patches": 252, "positive": 12},
        width=16,
        epochs=20,
        given=(),
        left_out=3,
    )


def test_the_chapter_tells_sizes_and_why_and_what_came_from_where(shown, inputs, read_page):
    """In words a geologist can follow; names are shown as they are written."""
    page = render_report(dataclasses.replace(inputs, transfer=shown))
    text = " ".join(page.split())
    assert "Old &lt;hills&gt;" in text
    assert "437 patches" in text
    assert "78 of them with a deposit" in text
    assert "251 × 310 cells was cut into patches of 32 × 32 cells, 16 km across" in text
    assert "a power of two near a sixth" in text
    assert "no room for 3 of the published scales" in text
    assert "2 of 3 layers have a layer of that name in the source" in text
    assert "The source lacks W" in text
    assert "That is few" in text
    assert "as if nobody had found them" in text
    assert "as if nobody had found them" not in render_report(inputs)
    read_page(page)


def test_a_window_of_the_study_file_is_not_explained_away(shown):
    """What the user chose is said to be the user's."""
    given = dataclasses.replace(
        shown, given=["patch_window"], counts={"patches": 252, "positive": 80}
    )
    told = transfer_chapter(given)
    assert (
        "32 × 32 cells, 16 km across (as the study file says), 16 apart (half a window"
        in told["sizes"]
    )
    stride = transfer_chapter(dataclasses.replace(shown, given=["patch_stride"]))
    assert "shorter side), 16 apart (as the study file says)" in stride["sizes"]
    assert "That is few" not in told["counts"]


def test_gates_that_hardly_moved_are_said_to_select_nothing(shown):
    """Sizes of 1.000 and 1.001 are no order of layers."""
    still = dataclasses.replace(
        shown,
        layers=shown.layers.assign(openness=[0.999, np.nan, 1.002]),
        kernels=shown.kernels.assign(openness=[1.001, 1.0, 1.003]),
    )
    assert "within 0.003 of the 1" in transfer_chapter(still)["layers"]
    assert "of the 1" not in transfer_chapter(shown)["layers"]


def test_without_a_source_no_gate_is_shown(shown):
    """The ablation says that nothing was transferred."""
    layers = shown.layers.assign(openness=np.nan)
    alone = dataclasses.replace(shown, source={}, layers=layers, kernels=shown.kernels[:0])
    told = transfer_chapter(alone)
    assert told["layers"].startswith("Nothing was transferred")
    assert told["gates"] is None


def test_layers_are_listed_by_weight(shown):
    """Negative weights count by their size; a layer that the source lacks has no gates."""
    rows = [[cell.text for cell in row] for row in layer_table(shown.layers, limit=2).rows]
    assert rows == [["Pb", "−1.300", "the source", "1.200"], ["Cu", "1.100", "the source", "0.900"]]


def test_kernels_on_the_way_past_are_hollow(shown):
    """One dot a kernel, in the order of the network."""
    axes = gate_figure(shown.kernels).axes[0]
    level, chain, past = axes.lines
    assert set(level.get_ydata()) == {1.0}
    assert chain.get_ydata().tolist() == [0.95, 1.05]
    assert past.get_xdata().tolist() == [3]
    assert past.get_fillstyle() == "none"
