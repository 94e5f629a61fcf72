"""Regions: ground that belongs together by its evidence, found without any deposit."""

from gossan.regions.clusters import (
    CLUSTERINGS,
    STABLE,
    Regions,
    choose_count,
    find_regions,
)
from gossan.regions.profiles import (
    deposit_enrichment,
    layer_profiles,
    region_names,
    region_outlines,
    region_table,
)

__all__ = [
    "CLUSTERINGS",
    "STABLE",
    "Regions",
    "choose_count",
    "deposit_enrichment",
    "find_regions",
    "layer_profiles",
    "region_names",
    "region_outlines",
    "region_table",
]
