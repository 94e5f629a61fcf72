"""What a check found: findings by severity, and the scores of the layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import pandas as pd

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_TEXT_COLUMNS = {"source", "kind", "unit", "partner", "direction"}


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know of the data.

    Parameters
    ----------
    severity : {"error", "warning", "note"}
        An error stops the run; a warning may make the map wrong; a note is worth knowing.
    place : str
        The source, file, layer or table of the study file.
    message : str
        What is the matter, with the value.
    remedy : str
        What to do about it; "" where nothing needs doing.
    """

    severity: Severity
    place: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class StudyCheck:
    """What :func:`check_study` found.

    Parameters
    ----------
    findings : tuple of Finding
        Errors first, then warnings, then notes; each as often as said, and no more.
    layer_scores : DataFrame
        As :func:`score_layers` gives it; empty where no evidence could be built.

    Examples
    --------
    >>> check = StudyCheck.of([Finding("note", "till", "a"), Finding("error", "soil", "b")])
    >>> [finding.severity for finding in check.findings], check.ok
    (['error', 'note'], False)
    >>> StudyCheck.from_dict(check.to_dict()).findings == check.findings
    True
    """

    findings: tuple[Finding, ...]
    layer_scores: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def of(
        cls, findings: Iterable[Finding], layer_scores: pd.DataFrame | None = None
    ) -> StudyCheck:
        """Order findings by severity and drop those said before."""
        ordered = sorted(dict.fromkeys(findings), key=lambda f: SEVERITIES.index(f.severity))
        return cls(tuple(ordered), pd.DataFrame() if layer_scores is None else layer_scores)

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and values, for JSON."""
        scores = self.layer_scores
        return {
            "findings": [asdict(finding) for finding in self.findings],
            "layers": [str(name) for name in scores.index],
            "columns": [str(name) for name in scores.columns],
            "scores": scores.to_numpy(dtype=object).tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> StudyCheck:
        """What :meth:`to_dict` gave, JSON's ``null`` standing for NaN."""
        index = pd.Index(content["layers"], name="layer", dtype=object)
        scores = pd.DataFrame(content["scores"], index=index, columns=content["columns"])
        for column in scores.columns.difference(list(_TEXT_COLUMNS)):
            scores[column] = pd.to_numeric(scores[column])
        return cls(tuple(Finding(**finding) for finding in content["findings"]), scores)
