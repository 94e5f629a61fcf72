"""The comparison page: every row shown, and no more claimed of the best than the data allow."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from gossan.report import ComparisonInputs, OwnLeftOut, render_comparison
from gossan.report.comparison import comparison_words, heat_map, workflow_table
from gossan.report.figures import workflow_plot
from gossan.report.theme import contrast

AREAS = ("0.01", "0.02", "0.05", "0.10")


def _row(method, negatives, auc, difference, *, role="workflow", draws=1):
    """One workflow; its paired difference in AUC is known to within 0.05."""
    row = {
        "workflow": f"{method} + {negatives}" if negatives else method,
        "method": method,
        "negatives": negatives,
        "draws": draws,
        "role": role,
        "auc_background": auc,
        "auc_low": auc - 0.08,
        "auc_high": auc + 0.06,
        "normalised_density": 4 * auc,
        "selectivity": 0.9,
        "seconds": 12.5,
        "difference_auc": difference,
        "difference_capture_0.05": 2 * difference,
    }
    row |= {f"difference_auc_{end}": difference + by for end, by in _ENDS}
    row |= {f"difference_capture_0.05_{end}": 2 * difference + by for end, by in _ENDS}
    for area in AREAS:
        share = float(area) * 6 * auc
        row |= {f"capture_{area}": share, f"capture_{area}_low": share - 0.04}
        row |= {f"capture_{area}_high": share + 0.04}
    return row


_ENDS = (("low", -0.05), ("high", 0.05))
REFERENCE = "forest + random"


def _table(reference_auc=0.85):
    """Best first: one better than the reference, two alike, one worse; controls; a consensus."""
    rows = [
        _row("forest", "random", reference_auc, math.nan),
        _row("bagging", "<random>", 0.92, 0.07),
        _row("bagging", "buffered", 0.87, 0.02, draws=30),
        _row("svm", "random", 0.83, -0.02),
        _row("svm", "buffered", 0.70, -0.15, draws=30),
        _row("distance", "", 0.75, -0.10, role="control"),
        _row("noise", "", 0.50, -0.35, role="control"),
        _row("mean rank", "", 0.90, 0.05, role="consensus"),
    ]
    table = pd.DataFrame(rows)
    return table.sort_values("auc_background", ascending=False, ignore_index=True)


@pytest.fixture(scope="module")
def compared(inputs) -> ComparisonInputs:
    agreement = inputs.score.copy(data=np.where(inputs.score > 0.5, inputs.score, 0 * inputs.score))
    return ComparisonInputs(
        study_name="Nanling <test>",
        table=_table(),
        reference=REFERENCE,
        deposits=inputs.deposits,
        facts={"deposits": "22", "folds": "6"},
        consensus=inputs.score,
        agreement=agreement,
        failed=[("svm + far <5 km>", "12 cells are left; take a smaller buffer.")],
    )


@pytest.fixture(scope="module")
def html(compared) -> str:
    return render_comparison(compared)


@pytest.fixture(scope="module")
def page(html, read_page):
    return read_page(html)


def test_the_page_asks_nothing_of_the_network(html, page):
    """Every picture is inlined, every link stays in the page, and there is no script."""
    assert all(source.startswith("data:image/") for source in page.values("src"))
    assert all(target.startswith("#") for target in page.values("href"))
    assert {target[1:] for target in page.values("href")} <= set(page.values("id"))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    assert "@import" not in html
    assert "url(" not in html


def test_names_cannot_write_into_the_page(page):
    """Study, negatives and reasons are text."""
    for text in ("Nanling <test>", "bagging + <random>", "svm + far <5 km>"):
        assert text in page.text


def test_every_row_is_in_the_table_and_every_failure_is_told(page):
    """Nothing that was tried is dropped."""
    for name in _table()["workflow"]:
        assert name in page.text
    assert "12 cells are left; take a smaller buffer." in page.text


def test_a_study_whose_own_method_was_not_compared_is_told(compared, page, read_page):
    """Before any figure, with the reference taken instead and the command that mends it."""
    left_out = OwnLeftOut("extra-trees", REFERENCE, "gossan compare <b>.toml --methods svm")
    told = read_page(render_comparison(dataclasses.replace(compared, own_left_out=left_out))).text
    assert "The study's own method, extra-trees, is not among those compared" in told
    assert f"differences are taken against {REFERENCE} instead" in told
    assert "gossan compare <b>.toml --methods svm" in told
    assert "own method" not in page.text


def test_the_page_warns_of_picking_the_best_of_many(page):
    """The winner was picked on the folds that scored it."""
    assert "The best of many rows looks better than it is" in page.text
    assert "picked on the very folds that scored it" in page.text


def test_pictures_say_in_words_what_they_show(page):
    """A chart and two maps."""
    alts = page.values("alt")
    assert len(alts) == 3
    assert all(alts)


def test_the_same_inputs_give_the_same_bytes(html, compared):
    """So that a resumed comparison leaves the very page of an uninterrupted one."""
    assert render_comparison(compared) == html


def test_what_was_not_made_is_not_mentioned(compared, read_page):
    """No maps, no failures: no such sections."""
    bare = dataclasses.replace(compared, consensus=None, agreement=None, failed=())
    ids = set(read_page(render_comparison(bare)).values("id"))
    assert ids == {"short", "heat", "order", "table", "reading"}


def test_words_count_who_cannot_be_told_from_the_reference():
    """By the interval of the paired difference: above zero, around it, below."""
    text = " ".join(comparison_words(_table(), REFERENCE))
    assert "The reference is forest + random. " in text
    counts = "1 of the 4 others is better than it, 1 is worse than it and 2 cannot be told from it."
    assert f"Both by AUC and by the held-out deposits in the best 5 % of the area, {counts}" in text


def test_words_count_who_comes_within_reach_of_the_best():
    """Those whose own interval reaches its AUC, said to count generously: 0.93 and 0.91 of 0.92."""
    text = " ".join(comparison_words(_table(), REFERENCE))
    assert "bagging + <random> leads, with an AUC of 0.92." in text
    assert "The own 95 % interval of 1 of the 4 others reaches that AUC, so it may" in text
    assert "counts generously" in text


def test_words_pair_the_best_with_all_where_it_is_the_reference():
    """Then the paired differences are differences from the best."""
    text = " ".join(comparison_words(_table(reference_auc=0.95), REFERENCE))
    assert "forest + random leads, with an AUC of 0.95; it is also the reference." in text
    assert "1 of the 4 others is better than it, 1 is worse than it and 2 cannot" in text
    assert "own 95 % interval" not in text


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([0.01], "m0 + random cannot be told from it."),
        ([0.2], "m0 + random is better than it."),
        ([0.01, -0.01], "neither of the 2 others can be told from it."),
        ([-0.2, -0.3], "both others are worse than it."),
        ([0.2, 0.01], "1 of the 2 others is better than it and 1 cannot be told from it."),
        ([0.01, -0.01, 0.0], "none of the 3 others can be told from it."),
        ([0.2, 0.3, 0.2], "all others are better than it."),
        (
            [0.2, 0.2, -0.2, -0.2, 0.0, 0.0],
            "2 of the 6 others are better than it, 2 are worse than it and 2 cannot be told from "
            "it.",
        ),
    ],
)
def test_words_read_well_for_one_two_and_many(differences, said):
    """A single other is named; a class that is empty is not spoken of."""
    rows = [_row("forest", "random", 0.95, math.nan)]
    rows += [_row(f"m{k}", "random", 0.7, difference) for k, difference in enumerate(differences)]
    words = comparison_words(pd.DataFrame(rows), REFERENCE)
    assert (
        words[1] == f"Both by AUC and by the held-out deposits in the best 5 % of the area, {said}"
    )
    assert ("Cannot be told means" in words[-1]) == ("told from" in said)


def test_words_tell_two_figures_apart_where_they_disagree():
    """Better by AUC, and not told apart by what the best ground holds."""
    row = _row("svm", "random", 0.9, 0.2) | {"difference_capture_0.05_low": -0.1}
    table = pd.DataFrame([row, _row("forest", "random", 0.7, math.nan)])
    assert comparison_words(table, REFERENCE) == [
        "Of 2 workflows, svm + random leads, with an AUC of 0.90.",
        "The reference is forest + random.",
        "By AUC, svm + random is better than it.",
        "By the held-out deposits in the best 5 % of the area, svm + random cannot be told from "
        "it.",
        "Cannot be told means that the 95 % interval of the paired difference holds 0.",
    ]


def test_words_name_the_best_control_and_not_the_consensus_as_best():
    """Controls and consensus are no competitors."""
    table = _table()
    table.loc[table["role"] == "consensus", "auc_background"] = 0.99
    table = table.sort_values("auc_background", ascending=False, ignore_index=True)
    text = " ".join(comparison_words(table, REFERENCE))
    assert "bagging + <random> leads" in text
    assert "The best control, distance, reaches an AUC of 0.75" in text


def test_a_single_workflow_has_no_one_to_beat():
    """One row is no contest."""
    table = _table()
    single = table[table["workflow"] == REFERENCE]
    assert comparison_words(single, REFERENCE) == [
        "A single workflow was run: forest + random leads, with an AUC of 0.85."
    ]


def test_a_heat_map_places_each_figure_by_method_and_negatives():
    """Untried pairs are empty; marks tell who is clear of the reference."""
    heat = heat_map(_table(), REFERENCE, "auc_background")
    assert heat.heads == ["<random>", "buffered", "random"]
    shown = {
        method: [cell and (cell.text, cell.mark) for cell in cells] for method, cells in heat.rows
    }
    assert shown == {
        "bagging": [("0.92", "▲"), ("0.87", ""), None],
        "forest": [None, None, ("0.85", "●")],
        "svm": [None, ("0.70", "▼"), ("0.83", "")],
    }


def test_heat_cells_darken_with_the_figure_and_stay_legible():
    """Lightness falls as the figure rises; letters have WCAG contrast for text, 4.5, or near it."""
    heat = heat_map(_table(), REFERENCE, "auc_background")
    cells = sorted((cell for _, row in heat.rows for cell in row if cell), key=lambda c: c.text)
    light = [contrast(cell.ground, "#000000") for cell in cells]
    assert light == sorted(light, reverse=True)
    assert min(contrast(cell.ground, cell.ink) for cell in cells) > 3.9


def test_draws_part_the_columns_of_a_heat_map_where_nothing_else_does():
    """One method with the same negatives in one and in thirty draws keeps both figures."""
    table = pd.DataFrame(
        [_row("svm", "random", 0.8, math.nan), _row("svm", "random", 0.7, -0.1, draws=30)]
    )
    heat = heat_map(table, "svm + random", "auc_background")
    assert heat.heads == ["random, 1 draw", "random, 30 draws"]
    assert [cell.text for cell in heat.rows[0][1]] == ["0.80", "0.70"]


def test_the_table_writes_each_figure_with_its_interval():
    """Shares in per cent, differences with their sign, the reference without a difference."""
    content = workflow_table(_table(), REFERENCE)
    titles = [column.title for column in content.columns]
    rows = {row[1].text: dict(zip(titles, (cell.text for cell in row))) for row in content.rows}
    assert rows["svm + buffered"]["AUC"] == "0.70 (0.62–0.76)"
    assert rows["svm + buffered"]["AUC less the reference's"] == "−0.15 (−0.20 … −0.10)"
    assert rows["svm + buffered"]["top 5 %"] == "21 % (17–25)"
    assert rows[REFERENCE]["AUC less the reference's"] == "–"
    assert rows[REFERENCE]["role"] == "reference"


def test_the_chart_plots_every_row_it_is_given_with_its_interval():
    """A symbol at the figure and a line over the interval, by role."""
    table = _table()
    axes = workflow_plot(table, reference=REFERENCE).axes[0]
    spots = np.concatenate([symbols.get_offsets() for symbols in axes.collections[1:]])
    spots = spots[np.argsort(spots[:, 1])]
    np.testing.assert_allclose(spots[:, 0], table["auc_background"])
    lines = axes.collections[0].get_segments()
    np.testing.assert_allclose(
        [line[:, 0] for line in lines], table[["auc_low", "auc_high"]].to_numpy()
    )


def test_many_workflows_are_charted_in_part_and_tabled_in_full(compared, read_page):
    """The first twenty, the controls, the consensus, and the reference wherever it stands."""
    rows = [_row(f"m{k}", "random", 0.9 - 0.005 * k, 0.01) for k in range(80)]
    rows[70]["workflow"] = REFERENCE
    table = pd.concat([pd.DataFrame(rows), _table().query("role != 'workflow'")], ignore_index=True)
    page = read_page(render_comparison(dataclasses.replace(compared, table=table)))
    assert "59 further rows are in the table below." in page.text
    assert all(f"m{k} + random" in page.text for k in range(80) if k != 70)


def test_figures_that_could_not_be_had_are_dashes(compared, read_page):
    """A row without an AUC, a study with a single cluster and so without intervals."""
    table = _table()
    bounds = [name for name in table if name.endswith(("_low", "_high"))]
    table[bounds] = math.nan
    table.loc[len(table) - 1, "auc_background"] = math.nan
    read_page(render_comparison(dataclasses.replace(compared, table=table)))
    content = workflow_table(table, REFERENCE)
    assert content.rows[-1][4].text == "–"
    assert content.rows[0][4].text == "0.92"


def test_a_table_without_a_column_is_refused_by_its_name(compared):
    """The message says what is missing."""
    table = compared.table.drop(columns=["selectivity", "auc_low"])
    with pytest.raises(ValueError, match="lacks the columns auc_low, selectivity"):
        render_comparison(dataclasses.replace(compared, table=table))


def test_a_reference_that_was_not_run_is_refused(compared):
    """Differences from nothing mean nothing."""
    with pytest.raises(ValueError, match="'mean rank' is no workflow of the table"):
        render_comparison(dataclasses.replace(compared, reference="mean rank"))
