"""One HTML page: its template, its inlined pictures, its wording of shares and numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jinja2
from matplotlib.figure import Figure

from gossan.printable import printable
from gossan.report import tables
from gossan.report.theme import png_address


class Picture(NamedTuple):
    """An inlined image, what it shows (read out where it cannot be seen), and its caption."""

    source: str
    alt: str
    caption: str
    width: int
    """Natural width, CSS pixels."""


def picture(
    draw: Callable[..., str], figure: Figure, alt: str, caption: str, **how: Any
) -> Picture:
    """Inline a figure by ``draw``, :func:`gossan.report.theme.as_png` or ``as_svg``."""
    return Picture(draw(figure, **how), alt, caption, round(96 * figure.get_figwidth()))


def inlined_png(png: bytes, alt: str, caption: str, *, width: float) -> Picture:
    """Inline a picture that was drawn before, so many inches wide."""
    return Picture(png_address(png), alt, caption, round(96 * width))


def render_page(template: str, **content: Any) -> str:
    """Fill in a template of this package; text of the user's is escaped, and made printable."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gossan.report"),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%")
    environment.globals["number"] = tables.number
    return environment.get_template(template).render(**content)
