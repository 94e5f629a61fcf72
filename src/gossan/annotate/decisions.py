"""What a cell may stand for in an annotation, and a geologist's word over the model's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

UNLABELLED, NEGATIVE, DOUBTFUL = 0, 1, 2
ACCEPTED, REJECTED, DEPOSIT = 3, 4, 5
KNOWN_DEPOSIT = 6

SET_ASIDE = -2
"""Training label of a cell that is neither a deposit nor may be drawn as negative."""

DECISIONS: dict[str, int] = {
    "unlabelled": UNLABELLED,
    "negative": NEGATIVE,
    "doubtful": DOUBTFUL,
    "accept": ACCEPTED,
    "reject": REJECTED,
    "deposit": DEPOSIT,
    "known deposit": KNOWN_DEPOSIT,
}
"""Word in an annotation file → code. The model's words are "unlabelled", "negative" (may be drawn
as barren ground) and "doubtful" (looks like the deposits, so it is set aside). A geologist's are
"accept" (barren, use it as a negative), "reject" (not to be used as a negative) and "deposit"."""

GEOLOGIST = ("accept", "reject", "deposit")
"""The words that a geologist decides by."""


def label_decided(
    labels: npt.NDArray[np.int8], decisions: npt.NDArray[Any]
) -> npt.NDArray[np.int8]:
    """Training labels under a geologist's decisions: 1, 0, -1, and -2 for cells set aside.

    A known deposit stays one whatever the decision says.

    Examples
    --------
    >>> label_decided(np.array([-1, -1, -1, 1], np.int8), np.array([3, 4, 5, 3]))
    array([ 0, -2,  1,  1], dtype=int8)
    """
    decided = labels.astype(np.int8, copy=True)
    free = labels != 1
    for code, label in ((ACCEPTED, 0), (REJECTED, SET_ASIDE), (DEPOSIT, 1)):
        decided[free & (decisions == code)] = label
    return decided
