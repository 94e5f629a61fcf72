"""Words on paper: how wide they are, lines that fit a column, labels that cover nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

POINTS = 72
"""Printer's points to an inch."""

_MARK = 3.0
"""Points around a marked place that no label may cover."""
_RINGS = (4.0, 11.0, 19.0, 28.0)
"""Points from a place to its label: beside it, then ever farther, where a line leads back."""
_AROUND = ((1, 1), (1, 0), (-1, 1), (1, -1), (0, 1), (-1, 0), (0, -1), (-1, -1))
"""Sides of a place that are tried for its label, eastward and northward."""


def extent(text: str, size: float, weight: str = "normal") -> tuple[float, float]:
    """Width and height of one line of text, in points, in the font of the theme.

    The height is that of a line with ascenders and descenders, whatever its letters.
    """
    font = FontProperties(size=size, weight=weight)
    width, *_ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    _, height, _ = text_to_path.get_text_width_height_descent("lp", font, ismath=False)
    return float(width), float(height)


def wrapped(text: str, width: float, size: float, *, most: int = 3) -> str:
    r"""Break text between words into lines of at most ``width`` points, ``most`` of them.

    What does not fit ends in an ellipsis.

    Examples
    --------
    >>> wrapped("high Sb, low Ir, high Cs", 70, 8)
    'high Sb, low Ir,\nhigh Cs'
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if not lines[-1] or extent(longer, size)[0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines[most - 1] += " …"
    return "\n".join(_cut(line, width, size) for line in lines[:most])


def label_offsets(
    places: npt.ArrayLike,
    sizes: Sequence[tuple[float, float]],
    frame: tuple[float, float],
    *,
    clear: npt.ArrayLike = (),
) -> npt.NDArray[np.float64]:
    """Where each label stands, from the place it names to the label's middle.

    The first label has the first choice. None leaves the frame, covers another or a marked place.

    Parameters
    ----------
    places : array_like of shape (n, 2)
        Points on paper, rightward and upward from the frame's lower left corner.
    sizes : sequence of (width, height)
        Of each label, in points.
    frame : (width, height)
        Of the frame, in points.
    clear : array_like of shape (m, 2)
        Other marks, on paper, that no label may cover.

    Returns
    -------
    array of shape (n, 2)
        In points; NaN where there is no room.

    Examples
    --------
    >>> label_offsets([[20, 20], [22, 20]], [(10, 6), (10, 6)], (100, 100)).tolist()
    [[9.0, 7.0], [9.0, 0.0]]
    """
    places = np.asarray(places, dtype=float).reshape(-1, 2)
    marks = np.vstack([places, np.asarray(clear, dtype=float).reshape(-1, 2)])
    taken = np.column_stack([marks - _MARK, marks + _MARK])
    offsets = np.full(places.shape, np.nan)
    for label, (place, size) in enumerate(zip(places, sizes, strict=True)):
        half = np.asarray(size) / 2
        for ring, side in product(_RINGS, _AROUND):
            offset = np.asarray(side) * (half + ring)
            box = np.concatenate([place + offset - half, place + offset + half])
            if (box[:2] >= 0).all() and (box[2:] <= frame).all() and not _covers(box, taken):
                offsets[label], taken = offset, np.vstack([taken, box])
                break
    return offsets


def spread_out(middles: npt.ArrayLike, width: float) -> npt.NDArray[np.float64]:
    """Move labels along a line from 0 to 1 until none covers another, as little as it takes.

    Parameters
    ----------
    middles : array_like of shape (n,)
        Where each would stand by itself, ascending.
    width : float
        Of a label. Where all have no room side by side, they reach beyond 0.

    Examples
    --------
    >>> spread_out([0.1, 0.5, 0.5], 0.25).round(3).tolist()
    [0.1, 0.375, 0.625]
    """
    groups: list[tuple[float, int]] = []  # middle of each row of labels, and how many it has
    for middle in np.asarray(middles, dtype=float):
        at, count = float(middle), 1
        while groups and groups[-1][0] + (groups[-1][1] + count) * width / 2 > at:
            before, others = groups.pop()
            at, count = (at * count + before * others) / (count + others), count + others
        groups.append((at, count))
    rows = [at + width * (np.arange(count) - (count - 1) / 2) for at, count in groups]
    moved = np.concatenate(rows) if rows else np.empty(0)
    last = 1 - width * np.arange(len(moved))[::-1] if len(moved) else moved
    return np.minimum(moved, last)


def stands_apart(offset: npt.ArrayLike, size: tuple[float, float]) -> bool:
    """Whether a label stands so far from its place that a line should lead to it."""
    gap = np.abs(np.asarray(offset, dtype=float)) - np.asarray(size) / 2
    return bool(gap.max() > _RINGS[0] + 0.5)


def _covers(box: npt.NDArray[Any], taken: npt.NDArray[Any]) -> bool:
    apart = (box[:2] >= taken[:, 2:]) | (box[2:] <= taken[:, :2])
    return bool((~apart.any(axis=1)).any())


def _cut(line: str, width: float, size: float) -> str:
    if extent(line, size)[0] <= width:
        return line
    kept = line.rstrip(" …")
    while kept and extent(f"{kept}…", size)[0] > width:
        kept = kept[:-1]
    return f"{kept}…"
