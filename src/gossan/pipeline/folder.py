"""A run's folder: whose it is, and which stages are finished there."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gossan import io
from gossan.exceptions import StudyError
from gossan.io.files import cannot_write, remove
from gossan.methods import METHODS
from gossan.study import Study

Progress = Callable[[str, int, int], None]
"""Told (stage, steps done, steps in all) while a study runs."""
MAP = "prospectivity.tif"
WEIGHTS = f"model/{io.WEIGHTS}"
SEEN = "model/seen.parquet"
"""A sample of the cells that the model saw, by which other ground is known to be unlike."""
CONTRIBUTIONS = ["contributions.tif", "contributions.qml", "contributions.png"]


def model_files(study: Study) -> list[str]:
    """Files that a run leaves of its model: a network's weights have one of their own."""
    weights = [WEIGHTS] if METHODS[study.method.name].deep else []
    return ["model/model.skops", "model/model.json", SEEN, *weights]


@dataclass
class RunFolder:
    """Where a run leaves its files, and which stages are finished there.

    A stage is finished when its record holds the same key, the hash of everything that made it,
    and its files still have the content it left. A record is written after the files, so a run
    killed at any moment does that stage again and no other; so does a damaged or edited file.
    """

    path: Path
    progress: Progress = lambda *_: None
    timings: dict[str, float] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)

    def finished(self, stage: str, key: str, outputs: list[str]) -> bool:
        """Whether the stage is whole and made from the very same things; then it is reused."""
        if not self.holds(stage, key, outputs):
            return False
        record = io.read_json_if_whole(self._record(stage)) or {}
        self.timings[stage] = record.get("seconds", 0.0)
        self.reused.append(stage)
        return True

    def holds(self, stage: str, key: str, outputs: list[str]) -> bool:
        """Whether the stage's files are there, whole, and made from the very same things."""
        record = io.read_json_if_whole(self._record(stage)) or {}
        return record.get("key") == key and record.get("outputs") == self._contents(outputs)

    def made_of(self, stage: str) -> str | None:
        """The key of what a finished stage was made from; None where it is not finished."""
        return (io.read_json_if_whole(self._record(stage)) or {}).get("key")

    def edited(self, stage: str, output: str) -> bool:
        """Whether a file that is there is not as the stage left it."""
        record = io.read_json_if_whole(self._record(stage)) or {}
        left, path = record.get("outputs"), self.path / output
        digest = left.get(output) if isinstance(left, dict) else None
        return path.exists() and digest != io.file_digest(path)

    @contextmanager
    def making(self, stage: str, key: str, outputs: list[str]) -> Iterator[None]:
        """Time a stage and record it as finished on the way out, unless it fails."""
        self._record(stage).unlink(missing_ok=True)
        start = time.perf_counter()
        self.progress(stage, 0, 1)
        yield
        self.timings[stage] = round(time.perf_counter() - start, 3)
        record = {"key": key, "seconds": self.timings[stage], "outputs": self._contents(outputs)}
        io.write_json(self._record(stage), record)
        self.progress(stage, 1, 1)

    def withdraw(self, stage: str, outputs: list[str]) -> None:
        """Remove files that a stage left and that this run does not make, and its record.

        What the stage did not leave there, or what was edited since, is not gossan's to remove.
        """
        for output in outputs:
            if not self.edited(stage, output):
                remove(self.path / output)
        self.forget(stage)

    def forget(self, stage: str) -> None:
        """Take a stage's record back, so that the next run makes it anew."""
        self._record(stage).unlink(missing_ok=True)

    def _contents(self, outputs: list[str]) -> dict[str, str] | None:
        """SHA-256 of each file or folder; None where one is missing."""
        paths = {output: self.path / output for output in outputs}
        if not all(path.exists() for path in paths.values()):
            return None
        return {output: io.file_digest(path) for output, path in paths.items()}

    def steps(self, stage: str) -> Callable[[int, int], None]:
        """A progress callback for the steps within a stage."""
        return lambda done, total: self.progress(stage, done, total)

    def fold_store(self, key: str) -> MutableMapping[str, dict[str, Any]]:
        """Finished folds of the cross-validation, kept one file each."""
        return io.JsonFolder(self.path / ".stages" / "folds" / key[:16])

    def _record(self, stage: str) -> Path:
        return self.path / ".stages" / f"{stage}.json"


def run_folder(study: Study, output: Path | None = None) -> Path:
    """Where a study's run goes: ``runs/<name>`` beside the study file, unless told otherwise."""
    if output is not None:
        return Path(output)
    return study.path.resolve().parent / "runs" / io.file_stem(study.name)


def refuse_foreign(path: Path) -> None:
    """Refuse a folder with files that no run of gossan left."""
    if path.is_dir() and any(path.iterdir()) and not (path / ".stages").is_dir():
        raise StudyError(
            f"{path} is not empty and is no run of gossan. Choose another folder with --output."
        )


def claim(path: Path, study: Study) -> None:
    """Mark the folder as this study's, or refuse it as another's."""
    marker = path / ".stages" / "study.json"
    claim = {"name": study.name, "study": seen_from(path, study.path)}
    record = io.read_json_if_whole(marker) if marker.exists() else claim
    if record is None:
        raise StudyError(
            f"{marker} is damaged: nothing tells whose run {path} is. If it is the run of "
            f"{study.path}, remove that one file; if not, choose another folder with --output."
        )
    if record != claim:
        raise StudyError(
            f"{path} holds the run of another study, {record.get('name')!r} of "
            f"{record.get('study')}. Choose another folder with --output, or remove it; "
            "keep its annotation.gpkg and reviews/ if a geologist decided there."
        )
    io.write_json(marker, claim)


def claimed_by(path: Path) -> Path | None:
    """The study file whose run a folder is; None where it is no run folder, or does not say."""
    record = io.read_json_if_whole(path / ".stages" / "study.json") or {}
    file = record.get("study")
    return (path / file).resolve() if isinstance(file, str) else None


def seen_from(folder: Path, file: Path) -> str:
    """A file as a folder sees it, such as a study from its run: both may be moved together."""
    try:
        return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return str(file.resolve())


def other_folder(study: Study, path: Path) -> str | None:
    """A run folder that is not the study's usual one, as seen from the study file."""
    if path.resolve() == run_folder(study).resolve():
        return None
    return seen_from(study.path.resolve().parent, path)


def refuse_unwritable(file: Path, what: str) -> None:
    """Raise unless weights can be written there: an hour's learning must have a place to go to."""
    if file.suffix != ".safetensors" or file.is_dir():
        raise StudyError(f"{file} cannot hold {what}: name a file …{file.stem}.safetensors.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise cannot_write(file, error) from error
