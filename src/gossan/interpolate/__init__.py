"""Scattered samples to cells by inverse-distance weighting; how far apart and noisy samples are."""

from gossan.interpolate.inverse_distance import idw, idw_blocks
from gossan.interpolate.spacing import median_spacing, nugget_share, variogram

__all__ = ["idw", "idw_blocks", "median_spacing", "nugget_share", "variogram"]
