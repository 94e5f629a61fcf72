"""How the report's pictures look: colours, lettering, and figures as self-contained images."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure

INK = "#2b2622"
MUTED = "#7a7068"
RULE = "#d9d2c9"
RUST = "#af4423"
SLATE = "#2e678a"

# Both ramps run from light to dark in equal steps of CIELAB distance with falling lightness, so
# that equal steps look equal, in grey print and to colour-blind eyes too (a test holds them to it).
SCORE_COLOURS = LinearSegmentedColormap.from_list(
    "gossan-score",
    [
        *("#faf3e6", "#f9e4c7", "#f7d3a8", "#f4c08b", "#f1ab71", "#ea9458", "#e07b42"),
        *("#ca5e2e", "#af4423", "#92351e", "#772a1a", "#5f2218", "#481d17"),
    ],
)
SPREAD_COLOURS = LinearSegmentedColormap.from_list(
    "gossan-spread",
    [
        *("#f0f5f1", "#d3e5e5", "#b6d5d9", "#99c4ce", "#7db4c4", "#63a1b8", "#4b8eab"),
        *("#377a9a", "#2e678a", "#2b5478", "#2e4466", "#283351", "#22243b"),
    ],
)
SIGNED_COLOURS = LinearSegmentedColormap.from_list(
    "gossan-signed", ["#22435c", SLATE, "#9cc0d0", "#faf8f5", "#eda97f", RUST, "#6b2413"]
)
"""Below zero in slate, zero in white, above in rust: apart to colour-blind eyes too."""
AGREED_COLOURS = ("#5f2218", "#b9502a", "#eda066")
DIFFERING_COLOURS = ("#2b5478", "#6aa3bd", "#c0dbe0")
"""Best to third class of the score, where the spread is low and where it is high: rust against
slate, and at each class the rust is the darker, so that neither grey print nor a colour-blind eye
takes one for the other (a test holds them to it)."""

GROUP_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#332288"),
    *("#7f6000", "#56b4e9", "#882255", "#8f39e6", "#2b2622"),
)
"""Outlines of target groups, the first four after Okabe & Ito (2008), the others chosen to differ
from them in lightness too (a test holds them to it); letters tell the groups apart as well."""

_REGION_COLOURS = (
    *("#88ccee", "#cc6677", "#ddcc77", "#117733", "#332288", "#aa4499"),
    *("#44aa99", "#999933", "#882255", "#dddddd", "#e69f00", "#555555"),
)
"""After Tol's muted scheme (2021), with two more: apart to colour-blind eyes up to nine."""

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 0.5,
    "hatch.color": "#b9b2aa",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "gossan",
    "svg.fonttype": "path",
}


@contextmanager
def themed() -> Iterator[None]:
    """Draw and save inside this: matplotlib's defaults, then gossan's, whatever the user's own."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure, ``width`` × ``height`` inches, bound to no global state."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure, *, dpi: int = 170) -> bytes:
    """Render to the content of a PNG file, the same bytes for the same figure."""
    return _render(figure, "png", dpi=dpi, metadata={"Software": None})


def as_png(figure: Figure, *, dpi: int = 170) -> str:
    """Render to a ``data:`` address of a PNG, the same bytes for the same figure."""
    return png_address(png_bytes(figure, dpi=dpi))


def png_address(png: bytes) -> str:
    """The content of a PNG file as a ``data:`` address."""
    return _address("image/png", png)


def as_svg(figure: Figure) -> str:
    """Render to a ``data:`` address of an SVG, undated, lettering as outlines."""
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    return _address("image/svg+xml", _render(figure, "svg", metadata=metadata))


def class_colours(n_classes: int) -> list[str]:
    """Hex colours for ``n_classes`` classes of the score, lowest first.

    Examples
    --------
    >>> class_colours(2)
    ['#faf3e6', '#481d17']
    """
    return [to_hex(SCORE_COLOURS(value)) for value in np.linspace(0, 1, n_classes)]


def agreement_colours(n_classes: int) -> list[str]:
    """Hex colours for ``n_classes`` classes of agreement, lowest first, in slate.

    Examples
    --------
    >>> agreement_colours(2)
    ['#f0f5f1', '#22243b']
    """
    return [to_hex(SPREAD_COLOURS(value)) for value in np.linspace(0, 1, n_classes)]


def region_colours(count: int) -> list[str]:
    """Hex colours of so many regions; from the thirteenth on they come again.

    Examples
    --------
    >>> region_colours(2)
    ['#88ccee', '#cc6677']
    """
    return [_REGION_COLOURS[k % len(_REGION_COLOURS)] for k in range(count)]


def group_colours(letters: Iterable[str]) -> dict[str, str]:
    """Hex colour of each group, in the order in which they come; from the eleventh on again.

    Examples
    --------
    >>> group_colours("ABA")
    {'A': '#0072b2', 'B': '#d55e00'}
    """
    known = dict.fromkeys(letters)
    return dict(zip(known, itertools.cycle(GROUP_COLOURS), strict=False))


def contrast(one: str, other: str) -> float:
    """Contrast of two colours after WCAG 2.2: 1 for alike, 21 for black on white.

    Examples
    --------
    >>> round(contrast("#000000", "#ffffff"), 6), round(contrast("#767676", "#ffffff"), 2)
    (21.0, 4.54)
    """
    rgb = np.array([to_rgb(one), to_rgb(other)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return float((light + 0.05) / (dark + 0.05))


def _render(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with themed():
        figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()


def _address(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
