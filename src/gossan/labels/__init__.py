"""Deposits → labels on the template grid, and the samplers that pick cells to stand for barren."""

from gossan.labels.cells import label_cells
from gossan.labels.dissimilar import DissimilarNegatives, summed_distances
from gossan.labels.negatives import (
    AllUnlabelled,
    BufferedNegatives,
    Ground,
    NegativeSampler,
    RandomNegatives,
    make_named,
)
from gossan.labels.occurrences import OtherDepositNegatives
from gossan.labels.places import (
    cell_spacing,
    checked_cells,
    checked_distance,
    distance_to,
    touching_patches,
    within_distance,
)
from gossan.labels.spies import SpyNegatives, positive_patches

__all__ = [
    "AllUnlabelled",
    "BufferedNegatives",
    "DissimilarNegatives",
    "Ground",
    "NegativeSampler",
    "OtherDepositNegatives",
    "RandomNegatives",
    "SpyNegatives",
    "cell_spacing",
    "checked_cells",
    "checked_distance",
    "distance_to",
    "label_cells",
    "make_named",
    "positive_patches",
    "summed_distances",
    "touching_patches",
    "within_distance",
]
