"""Deposits → labels on the template grid, and the samplers that pick cells to stand for barren."""

from gossan.labels.cells import label_cells
from gossan.labels.negatives import (
    SAMPLERS,
    AllUnlabelled,
    BufferedNegatives,
    Ground,
    NegativeSampler,
    RandomNegatives,
    make_named,
    make_sampler,
)
from gossan.labels.places import (
    cell_spacing,
    checked_cells,
    checked_distance,
    distance_to,
    touching_patches,
    within_distance,
)

__all__ = [
    "SAMPLERS",
    "AllUnlabelled",
    "BufferedNegatives",
    "Ground",
    "NegativeSampler",
    "RandomNegatives",
    "cell_spacing",
    "checked_cells",
    "checked_distance",
    "distance_to",
    "label_cells",
    "make_named",
    "make_sampler",
    "touching_patches",
    "within_distance",
]
