"""Skill on held-out deposits: one method, or every workflow on the same folds."""

from gossan.validate.cells import (
    ModelView,
    StudyCells,
    background_parts,
    deposit_cells,
    study_cells,
)
from gossan.validate.comparison import Comparison, compare_workflows
from gossan.validate.folds import (
    CrossValidation,
    cross_validate,
    draw_stability,
    held_out_calibration,
)
from gossan.validate.workflows import Workflow

__all__ = [
    "Comparison",
    "CrossValidation",
    "ModelView",
    "StudyCells",
    "Workflow",
    "background_parts",
    "compare_workflows",
    "cross_validate",
    "deposit_cells",
    "draw_stability",
    "held_out_calibration",
    "study_cells",
]
