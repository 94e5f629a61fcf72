"""Words: they say what the figures allow, and no more."""

import math

import pytest

from gossan.report import headline, verdict


def _evaluation(n_deposits=24, auc=0.9, interval=(0.8, 0.97), captured=17 / 24, top=(0.52, 0.85)):
    return {
        "n_deposits": n_deposits,
        "held_out": {
            "auc_background": auc,
            "capture": {"0.05": captured},
            "ci95": {"auc_background": list(interval), "capture": {"0.05": list(top)}},
        },
    }


def test_headline_counts_deposits_and_compares_with_chance():
    """The sentence a geologist would say."""
    assert headline(_evaluation()) == (
        "The top 5 % of the area holds 17 of 24 held-out deposits (71 %; 95 % interval 52–85 %); "
        "chance would hold 1.2."
    )


def test_headline_without_an_interval_gives_none():
    """No interval is better than an invented one."""
    evaluation = _evaluation()
    del evaluation["held_out"]["ci95"]
    assert "interval" not in headline(evaluation)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "shown"),
        ({"n_deposits": 7}, "cannot-say"),
        ({"n_deposits": 1}, "cannot-say"),
        ({"interval": (math.nan, math.nan)}, "cannot-say"),
        ({"interval": (0.45, 0.8)}, "cannot-say"),
        ({"interval": (0.5, 0.8)}, "cannot-say"),
        ({"auc": 0.3, "interval": (0.2, 0.45)}, "worse"),
        ({"top": (0.04, 0.3)}, "partly"),
        ({"top": (0.0, 0.3), "n_deposits": 9}, "partly"),
    ],
)
def test_verdict_claims_skill_only_where_the_interval_does(changes, kind):
    """An interval that holds chance, or too few deposits, and the data cannot say."""
    assert verdict(_evaluation(**changes)).kind == kind


def test_verdict_without_skill_says_so_in_its_title():
    """The reader of one line is not misled."""
    assert verdict(_evaluation(interval=(0.4, 0.7))).title.startswith("Your data cannot say")
    assert "Only 1 deposit could" in verdict(_evaluation(n_deposits=1)).text


def test_a_network_may_be_to_blame_before_the_data_is():
    """Skill that is not shown may be that of a training too short."""
    doubtful = _evaluation(interval=(0.4, 0.7))
    forest, network = (
        verdict({**doubtful, "method": name}).text for name in ("extra-trees", "pixel-pairs")
    )
    assert "network" not in forest
    assert "--methods pixel-pairs,extra-trees" in network


def test_few_deposits_are_a_caution_even_where_skill_is_shown():
    """Nineteen deposits make wide intervals."""
    assert "intervals are wide" in verdict(_evaluation(n_deposits=19)).text
    assert "intervals are wide" not in verdict(_evaluation(n_deposits=60)).text
