"""Follow docs/tutorial.md to the letter, and make its figures and quoted outputs.

Every command of the page is run in order in one folder, and every table of TOML in it takes the
place of the table of that name in the study file. What the commands say goes to
``docs/tables/tutorial-<verb>.txt`` and the pictures to ``docs/figures/tutorial-<name>.png``: the
page includes them. The tests follow the page too, and leave the docs as they are.

    python docs/make_tutorial.py [FOLDER]
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import gossan as gs
from gossan import io
from gossan.report import png_bytes
from gossan.report.maps import score_map, targets_map

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "tutorial.md"
STUDY = Path("hasir") / "study.toml"
RUN = Path("hasir") / "runs" / "hasir"
_QUOTED = ("check", "regions", "run", "explain", "analogues", "compare")
PICTURES = {"regions": "regions.png", "region-profiles": "region-profiles.png"}
"""Figures that a command leaves as they are."""


def steps(page: str) -> Iterator[tuple[str, str]]:
    """What a reader does, in order: ("command", line) and ("settings", TOML)."""
    for kind, block in re.findall(r"^```(console|toml)\n(.*?)^```", page, re.M | re.S):
        if kind == "toml":
            yield "settings", block
        else:
            for line in block.splitlines():
                if line.startswith("$ "):
                    yield "command", line[2:].split("  #")[0].strip()


def with_settings(study: str, tables: str) -> str:
    """A study file in which each of some tables of TOML takes the place of that of its name."""
    taken = {_head(table): table for table in _tables(tables)}
    there = _tables(study)
    missing = taken.keys() - {_head(table) for table in there}
    if missing:
        raise ValueError(f"The study file has no table {', '.join(missing)}.")
    return "".join(
        taken[_head(table)].rstrip() + "\n\n" if _head(table) in taken else table for table in there
    )


def _tables(text: str) -> list[str]:
    """A TOML file cut before each table's head."""
    return [part for part in re.split(r"^(?=\[)", text, flags=re.M) if part.strip()]


def _head(table: str) -> str:
    return table.split("\n", 1)[0].split("#")[0].strip()


def follow(folder: Path, run: Callable[[list[str]], None]) -> None:
    """Do what the page says, in a folder; ``run`` is given the words of each command."""
    for kind, text in steps(PAGE.read_text(encoding="utf-8")):
        if kind == "settings":
            file = folder / STUDY
            file.write_text(with_settings(file.read_text(encoding="utf-8"), text), encoding="utf-8")
        else:
            run(shlex.split(text))


def make(folder: Path) -> None:
    """Run the commands as a user does, keep what they say, and draw the figures."""

    def run(words: list[str]) -> None:
        print("$", shlex.join(words), flush=True)
        command = [sys.executable, "-m", "gossan.cli", *words[1:]]
        surroundings = {**os.environ, "COLUMNS": "110"}
        done = subprocess.run(
            command, cwd=folder, env=surroundings, capture_output=True, text=True, check=False
        )
        print(done.stdout, done.stderr[-2000:] if done.returncode else "", flush=True)
        if done.returncode:
            raise SystemExit(f"{shlex.join(words)} failed.")
        if words[1] not in quoted:  # of a command given twice the first
            said = done.stdout.replace(f"{folder.resolve()}{os.sep}", "")
            lines = [line.rstrip() for line in said.strip().splitlines()]
            quoted[words[1]] = "\n".join(lines) + "\n"

    quoted: dict[str, str] = {}
    follow(folder, run)
    for verb, text in quoted.items():
        if verb in _QUOTED:
            io.write_text(DOCS / "tables" / f"tutorial-{verb}.txt", text)
    draw(folder)


def draw(folder: Path) -> None:
    """Make the figures of the page from what the commands left."""
    figures, path = DOCS / "figures", folder / RUN
    for name, file in PICTURES.items():
        shutil.copyfile(path / file, figures / f"tutorial-{name}.png")
    (search,) = (path / "analogues").iterdir()
    shutil.copyfile(search / "analogues.png", figures / "tutorial-analogues.png")
    score = io.read_map(path / "prospectivity.tif")
    deposits = gs.read_deposits(gs.read_study(folder / STUDY))
    ranks = {d["deposit"]: d["rank"] for d in io.read_json(path / "evaluation.json")["deposits"]}
    deposits["rank"] = deposits.index.map(ranks)
    io.write_bytes(figures / "tutorial-map.png", png_bytes(score_map(score, deposits), dpi=110))
    targets = io.read_targets(path / "targets.gpkg").head(10)
    drawn = targets_map(score, targets, deposits, letters=[])
    io.write_bytes(figures / "tutorial-targets.png", png_bytes(drawn, dpi=110))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        make(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            make(Path(place))
