"""Spatial cross-validation: which deposits are held out together, and what may train meanwhile.

Every splitter follows scikit-learn's protocol with ``(coordinates, labels, deposits)`` in place of
``(X, y, groups)``; hand ``list(splitter.split(...))`` to any scikit-learn function as its ``cv``.
"""

from gossan.splits.folds import (
    SPLITTERS,
    DepositClusterFolds,
    DepositSplitter,
    LeaveOneDepositOut,
    SpatialBlockFolds,
    make_splitter,
)
from gossan.splits.layout import DepositLayout, auto_dead_zone, deposit_layout, link_deposits

__all__ = [
    "SPLITTERS",
    "DepositClusterFolds",
    "DepositLayout",
    "DepositSplitter",
    "LeaveOneDepositOut",
    "SpatialBlockFolds",
    "auto_dead_zone",
    "deposit_layout",
    "link_deposits",
    "make_splitter",
]
