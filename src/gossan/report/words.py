"""The held-out figures in plain words, and what they allow one to say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from gossan.methods import DEFAULT_METHOD, METHODS

FEWEST_DEPOSITS = 8
"""Held-out deposits below which no interval is worth its name."""

_FEW_DEPOSITS = 20


class Verdict(NamedTuple):
    """What the held-out figures allow one to say."""

    kind: Literal["shown", "partly", "cannot-say", "worse"]
    title: str
    text: str


def headline(evaluation: Mapping[str, Any], *, area: str = "0.05") -> str:
    """Say how many held-out deposits the best share of the area holds, and what chance would.

    Parameters
    ----------
    evaluation : mapping
        The content of ``evaluation.json``.
    area : str, default "0.05"
        Key of ``held_out["capture"]``.

    Examples
    --------
    >>> evaluation = {"n_deposits": 23, "held_out": {
    ...     "capture": {"0.05": 16 / 23}, "ci95": {"capture": {"0.05": [0.52, 0.85]}}}}
    >>> print(headline(evaluation))
    The top 5 % of the area holds 16 of 23 held-out deposits (70 %; 95 % interval 52–85 %);
    chance would hold 1.2.
    """
    n_deposits = int(evaluation["n_deposits"])
    captured = float(evaluation["held_out"]["capture"][area])
    interval = evaluation["held_out"].get("ci95", {}).get("capture", {}).get(area)
    share = percent(captured)
    if interval is not None:
        share += f"; 95 % interval {percent_range(interval)}"
    return (
        f"The top {100 * float(area):g} % of the area holds {count(captured * n_deposits)} of "
        f"{n_deposits} held-out deposits ({share}); chance would hold "
        f"{count(float(area) * n_deposits)}."
    )


def verdict(evaluation: Mapping[str, Any]) -> Verdict:
    """Judge the evaluation: skill shown, shown in part, not to be told, or worse than chance.

    A map is said to be better than chance only when the 95 % interval of its AUC against the
    background lies above one half and at least eight deposits were held out.

    Examples
    --------
    >>> verdict({"n_deposits": 5, "held_out": {"auc_background": 0.9}}).title
    'Your data cannot say how good this map is'
    """
    held_out = evaluation["held_out"]
    n_deposits = int(evaluation["n_deposits"])
    low, high = held_out.get("ci95", {}).get("auc_background") or (math.nan, math.nan)
    above = f"{percent(held_out['auc_background'])} of the background, on average"
    if n_deposits < FEWEST_DEPOSITS or not math.isfinite(low + high):
        return _too_few(n_deposits)
    if low <= 0.5 <= high:
        return Verdict(
            "cannot-say",
            "Your data cannot say whether this map is better than chance",
            f"A held-out deposit outscores {above}, but the 95 % interval, "
            f"{percent_range((low, high))}, includes the 50 % that a map drawn at random would "
            "reach. Deposits of several types under one label, too few layers that bear on them, "
            f"or misplaced coordinates are the usual reasons.{_of_the_method(evaluation)}",
        )
    if high < 0.5:
        return Verdict(
            "worse",
            "This map ranks held-out deposits below ordinary ground",
            f"A held-out deposit outscores only {above} (95 % interval "
            f"{percent_range((low, high))}). The method has learned what marks some deposits and "
            "is wrong for the others: look for mixed deposit types, and for layers that record "
            f"where people looked rather than what is there.{_of_the_method(evaluation)}",
        )
    return _better_than_chance(held_out, n_deposits, above)


def decision_facts(decisions: Mapping[str, int]) -> list[tuple[str, str]]:
    """What a geologist decided, as a fact beside the others; none without decisions.

    Examples
    --------
    >>> decision_facts({"accept": 12, "deposit": 1})
    [('cells decided by a geologist', '12 accept, 1 deposit')]
    """
    if not decisions:
        return []
    listed = ", ".join(f"{number} {word}" for word, number in decisions.items())
    return [("cells decided by a geologist", listed)]


def percent(share: float, *, digits: int = 0) -> str:
    """Write a share as a percentage.

    Examples
    --------
    >>> percent(0.695), percent(float("nan"))
    ('70 %', '–')
    """
    return "–" if not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def percent_range(interval: Any) -> str:
    """Write an interval of shares.

    Examples
    --------
    >>> percent_range([0.52, 0.851])
    '52–85 %'
    """
    low, high = interval
    return f"{100 * low:.0f}–{100 * high:.0f} %"


def count(number: float) -> str:
    """Write a count: whole where it is whole, else with one decimal.

    Examples
    --------
    >>> count(16.0000001), count(1.15)
    ('16', '1.1')
    """
    whole = round(number)
    return str(whole) if abs(number - whole) < 0.05 else f"{number:.1f}"


def coordinate(value: float) -> str:
    """Write an easting or a northing whole, as ``gossan explain --at`` and a GIS take it.

    Examples
    --------
    >>> coordinate(2803125.0), coordinate(-456123.25)
    ('2803125', '-456123.25')
    """
    return f"{value:.12g}"


def _too_few(n_deposits: int) -> Verdict:
    held = f"{n_deposits} deposit{'' if n_deposits == 1 else 's'}"
    return Verdict(
        "cannot-say",
        "Your data cannot say how good this map is",
        f"Only {held} could be held out. It takes {FEWEST_DEPOSITS} or more, in several clusters, "
        "before an interval means anything; with fewer, chance alone can give almost any figure. "
        "Treat the map as a hypothesis: add deposits or occurrences of the same type, and judge it "
        "by geology.",
    )


def _of_the_method(evaluation: Mapping[str, Any]) -> str:
    """That a network may have learnt too little, where one was trained: not the data's fault."""
    name = str(evaluation.get("method"))
    if name not in METHODS or not METHODS[name].deep:
        return ""
    return (
        f" Or it is not the data: {name} trains a network, which may have had too few deposits, "
        "too few patches or too short a training. gossan compare with "
        f"--methods {name},{DEFAULT_METHOD} shows whether a method without a network does better."
    )


def _better_than_chance(held_out: Mapping[str, Any], n_deposits: int, above: str) -> Verdict:
    interval = percent_range(held_out["ci95"]["auc_background"])
    few = (
        f" With {n_deposits} deposits the intervals are wide: read them, not the middle."
        if n_deposits < _FEW_DEPOSITS
        else ""
    )
    top_low = (held_out["ci95"].get("capture", {}).get("0.05") or (0.0, 0.0))[0]
    if top_low <= 0.05:
        return Verdict(
            "partly",
            "The map is better than chance, but not shown to be so in its top 5 %",
            f"A held-out deposit outscores {above} (95 % interval {interval}). "
            "For the top 5 % of the area the interval still includes chance: the map is safer for "
            f"ruling ground out than for choosing where to drill.{few}",
        )
    return Verdict(
        "shown",
        "The map finds deposits it was not shown",
        f"A held-out deposit outscores {above} (95 % interval {interval}; a map "
        f"drawn at random would give 50 %).{few}",
    )
