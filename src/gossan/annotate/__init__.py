"""Recursive annotation of negatives, and a geologist's decisions over the model's."""

from gossan.annotate.annotation import Annotation
from gossan.annotate.decisions import DECISIONS, GEOLOGIST, SET_ASIDE, label_decided
from gossan.annotate.guard import choose_round
from gossan.annotate.recursion import RecursiveAnnotator
from gossan.annotate.review import (
    annotation_frame,
    annotation_log,
    count_decisions,
    geologist_rows,
    mark_decisions,
)
from gossan.annotate.sampler import RecursiveNegatives

__all__ = [
    "DECISIONS",
    "GEOLOGIST",
    "SET_ASIDE",
    "Annotation",
    "RecursiveAnnotator",
    "RecursiveNegatives",
    "annotation_frame",
    "annotation_log",
    "choose_round",
    "count_decisions",
    "geologist_rows",
    "label_decided",
    "mark_decisions",
]
