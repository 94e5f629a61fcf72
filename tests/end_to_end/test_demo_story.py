"""Whoever tries gossan first types `gossan demo`, and sees all of it."""

import re

import pytest

from gossan import io
from gossan.pipeline.demo import COMPARED

pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")


def test_the_demo_shows_every_chapter_that_needs_no_network(gossan, tmp_path):
    """Map, targets, why, regions, analogues, comparison and the truth, in one report."""
    result = gossan("demo", tmp_path / "demo")
    assert result.returncode == 0, result.stderr
    assert "How many deposits does the top of the map hold?" in result.stdout
    folder = tmp_path / "demo" / "runs" / "synthetic-district-0"
    assert str(folder / "report.html") in result.stdout.replace("\n", "")
    report = (folder / "report.html").read_text(encoding="utf-8")
    sections = re.findall(r'<section id="([a-z-]+)"', report)
    assert set(sections) >= {
        *("map", "held-out", "targets", "importance", "regions", "analogues", "comparison"),
        *("truth", "layers"),
    }
    assert "more" not in sections  # nothing is left to ask
    compared = {w["method"] for w in io.read_json(folder / "comparison.json")["workflows"]}
    assert compared >= set(COMPARED)
    best = max(
        io.read_json(folder / "evaluation.json")["deposits"], key=lambda deposit: deposit["rank"]
    )
    assert f"Ground like {best['name']}" in report
