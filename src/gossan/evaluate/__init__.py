"""How well a map would have found the deposits it was not shown: pure functions on arrays.

Three conventions hold throughout. A cell whose score is NaN is missing and is not area. A deposit
whose score is NaN is never dropped: it raises :class:`~gossan.exceptions.LabelError`, and giving it
``-inf`` counts it as missed. Tied scores count by their expected value, as if tied cells were
ordered at random, so a constant map captures ``a`` of the deposits in ``a`` of the area.

A deposit's *rank* is the share of the area that scores below it: 1 is the top of the map. Ranks
from several folds' maps may be pooled; raw scores may not.
"""

from gossan.evaluate.calibration import (
    PatchMetrics,
    Reliability,
    brier,
    patch_metrics,
    reliability,
)
from gossan.evaluate.curves import (
    ConcentrationArea,
    PredictionArea,
    concentration_area,
    prediction_area,
    prediction_rate_area,
    prediction_rate_curve,
)
from gossan.evaluate.held_out import (
    AREAS,
    held_out_summary,
    paired_difference,
    rank_stability,
)
from gossan.evaluate.ranking import (
    auc_background,
    auc_z,
    capture,
    capture_from_ranks,
    lift,
    percentile_ranks,
    rank_bounds,
)

__all__ = [
    "AREAS",
    "ConcentrationArea",
    "PatchMetrics",
    "PredictionArea",
    "Reliability",
    "auc_background",
    "auc_z",
    "brier",
    "capture",
    "capture_from_ranks",
    "concentration_area",
    "held_out_summary",
    "lift",
    "paired_difference",
    "patch_metrics",
    "percentile_ranks",
    "prediction_area",
    "prediction_rate_area",
    "prediction_rate_curve",
    "rank_bounds",
    "rank_stability",
    "reliability",
]
