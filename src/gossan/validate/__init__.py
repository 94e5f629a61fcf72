"""Skill on held-out deposits: one method, or every workflow on the same folds."""

from gossan.validate.background import (
    Background,
    deal_background,
    training_cells,
    widest_patch,
)
from gossan.validate.cells import ModelView, StudyCells, deposit_cells, study_cells
from gossan.validate.comparison import Comparison, compare_workflows
from gossan.validate.folds import (
    CrossValidation,
    cross_validate,
    draw_stability,
    held_out_calibration,
)
from gossan.validate.workflows import Workflow

__all__ = [
    "Background",
    "Comparison",
    "CrossValidation",
    "ModelView",
    "StudyCells",
    "Workflow",
    "compare_workflows",
    "cross_validate",
    "deal_background",
    "deposit_cells",
    "draw_stability",
    "held_out_calibration",
    "study_cells",
    "training_cells",
    "widest_patch",
]
