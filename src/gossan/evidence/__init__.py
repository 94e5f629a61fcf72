"""Each kind of source → layers on the template grid → the evidence stack."""

from gossan.evidence.area import study_grid, study_mask
from gossan.evidence.build import build_evidence
from gossan.evidence.cells import (
    CellFeatures,
    FeatureSubset,
    area_of,
    centre_features,
    feature_blocks,
    valid_cells,
)
from gossan.evidence.focal import focal_mean, focal_means, without_focal_means
from gossan.evidence.proximity import density_of, distance_to, segments_of
from gossan.evidence.rasters import raster_layers
from gossan.evidence.samples import samples_layers
from gossan.evidence.sources import SourceLayers
from gossan.evidence.vectors import vector_layers

__all__ = [
    "CellFeatures",
    "FeatureSubset",
    "SourceLayers",
    "area_of",
    "build_evidence",
    "centre_features",
    "density_of",
    "distance_to",
    "feature_blocks",
    "focal_mean",
    "focal_means",
    "raster_layers",
    "samples_layers",
    "segments_of",
    "study_grid",
    "study_mask",
    "valid_cells",
    "vector_layers",
    "without_focal_means",
]
