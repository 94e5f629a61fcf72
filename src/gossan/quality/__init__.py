"""The engine of ``gossan check``: what is wrong with the data, where, how to mend it."""

from gossan.quality.check import check_evidence, check_study
from gossan.quality.findings import Finding, StudyCheck
from gossan.quality.layers import score_layers

__all__ = ["Finding", "StudyCheck", "check_evidence", "check_study", "score_layers"]
