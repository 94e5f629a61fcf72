"""Geochemical samples before gridding: censoring, units, duplicates, log-ratios, screening."""

from gossan.geochem.censoring import CensoredColumn, drop_sparse, parse_censored, replace_censored
from gossan.geochem.logratios import (
    alr,
    closure,
    clr,
    ilr,
    inverse_alr,
    inverse_clr,
    inverse_ilr,
)
from gossan.geochem.preparation import PreparedSamples, merge_duplicates, prepare_samples
from gossan.geochem.screening import hanley_mcneil, screen_elements
from gossan.geochem.units import element_of, to_ppm, unit_of

__all__ = [
    "CensoredColumn",
    "PreparedSamples",
    "alr",
    "closure",
    "clr",
    "drop_sparse",
    "element_of",
    "hanley_mcneil",
    "ilr",
    "inverse_alr",
    "inverse_clr",
    "inverse_ilr",
    "merge_duplicates",
    "parse_censored",
    "prepare_samples",
    "replace_censored",
    "screen_elements",
    "to_ppm",
    "unit_of",
]
