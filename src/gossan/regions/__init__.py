"""Ground that belongs together by its evidence, and ground like a chosen place."""

from gossan.regions.analogues import most_alike, shared_departures, similarity_map
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
    "most_alike",
    "region_names",
    "region_outlines",
    "region_table",
    "shared_departures",
    "similarity_map",
]
