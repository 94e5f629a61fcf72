"""A synthetic district with known truth, and open surveys fetched by name."""

from gossan.datasets.district import District, synthetic_district, truth_table
from gossan.datasets.files import write_district
from gossan.datasets.surveys import SURVEYS, Survey, describe_survey, fetch_survey

__all__ = [
    "SURVEYS",
    "District",
    "Survey",
    "describe_survey",
    "fetch_survey",
    "synthetic_district",
    "truth_table",
    "write_district",
]
