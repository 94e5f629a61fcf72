"""Figures, QGIS styles and the self-contained HTML report: the only room that draws."""

from gossan.report.annotation import convergence_plot, round_maps
from gossan.report.comparison import ComparisonInputs, render_comparison
from gossan.report.contributions import contribution_maps, contribution_range
from gossan.report.html import render_report
from gossan.report.inputs import (
    AnaloguesShown,
    OwnLeftOut,
    PretrainingShown,
    RegionsShown,
    ReportInputs,
    SearchShown,
    TransferShown,
)
from gossan.report.maps import predicted_maps
from gossan.report.regions import analogue_map, choice_figure, profile_figure, region_map
from gossan.report.shares import area_thresholds
from gossan.report.styles import (
    agreement_style,
    annotation_style,
    applicability_style,
    contribution_style,
    labels_style,
    layer_styles,
    peaks_style,
    region_outlines_style,
    regions_style,
    score_style,
    targets_style,
)
from gossan.report.theme import png_bytes
from gossan.report.words import Verdict, coordinate, decision_facts, headline, verdict

__all__ = [
    "AnaloguesShown",
    "ComparisonInputs",
    "OwnLeftOut",
    "PretrainingShown",
    "RegionsShown",
    "ReportInputs",
    "SearchShown",
    "TransferShown",
    "Verdict",
    "agreement_style",
    "analogue_map",
    "annotation_style",
    "applicability_style",
    "area_thresholds",
    "choice_figure",
    "contribution_maps",
    "contribution_range",
    "contribution_style",
    "convergence_plot",
    "coordinate",
    "decision_facts",
    "headline",
    "labels_style",
    "layer_styles",
    "peaks_style",
    "png_bytes",
    "predicted_maps",
    "profile_figure",
    "region_map",
    "region_outlines_style",
    "regions_style",
    "render_comparison",
    "render_report",
    "round_maps",
    "score_style",
    "targets_style",
    "verdict",
]
