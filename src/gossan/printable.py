"""Names from a survey's files, made safe to show on a terminal and in a report."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: object) -> str:
    r"""Text with every control character replaced by ``�``; tabs and line breaks stay.

    A deposit's name may hold whatever was pasted into a spreadsheet, escape sequences that a
    terminal obeys among it.

    Parameters
    ----------
    text : object
        A name, a path, a message; turned to text.

    Returns
    -------
    str
        As long as the text. Halves of surrogate pairs, which stand for bytes of a file name that
        are no text, are replaced too: no encoding can write them.

    Examples
    --------
    >>> printable("Silver\x1b[31m Gully")
    'Silver�[31m Gully'
    """
    return _CONTROL.sub("\ufffd", str(text))
