"""Safe passage to and from disk: clear errors on reading, all-or-nothing on writing."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gossan.exceptions import GossanError, SurveyDataError


@contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn any failure to read ``path`` into a :class:`SurveyDataError` that names the file.

    Parameters
    ----------
    path : path-like
        The file or folder being read.
    what : str
        What it should hold, in the user's words, such as ``"a raster"``.

    Raises
    ------
    SurveyDataError
        If the body raises; the readers' own exceptions number in the dozens.
    """
    path = Path(path)
    try:
        yield
    except (GossanError, Warning):
        raise
    except MemoryError:
        raise SurveyDataError(
            f"{path} does not fit in memory as {what}. Cut it to the study's extent first."
        ) from None
    except Exception as error:
        if not path.exists():
            raise SurveyDataError(f"{path} does not exist.") from None
        raise SurveyDataError(
            f"{path} cannot be read as {what}: {_first_line(error)} "
            "The file may be damaged, cut short or of another format; copy or export it again."
        ) from error


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file all or nothing: the body writes the path it is given, then it is renamed.

    Parameters
    ----------
    path : path-like
        Where the file shall lie; its folder is made. An older file there stays until the new one
        is complete.

    Yields
    ------
    Path
        A path in the same folder, with the same suffix, for the body to write.

    Raises
    ------
    GossanError
        If writing fails, as on a full disk; nothing half-written is left.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "note.txt") as partial:
    ...     _ = partial.write_text("whole")
    >>> [entry.name for entry in folder.iterdir()]
    ['note.txt']
    """
    path = Path(path)
    partial = path.with_name(f".partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(partial)
        yield partial
        partial.replace(path)
    except BaseException as error:
        remove(partial)
        if isinstance(error, GossanError) or not isinstance(error, Exception):
            raise
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: Exception) -> GossanError:
    """The error to raise when ``path`` could not be written: what is wrong, and the remedy."""
    remedy = "Check that its folder can be made, or write to another one."
    if path.parent.is_dir():
        free = shutil.disk_usage(path.parent).free
        remedy = (
            f"{free / 1e6:,.0f} MB are free on that disk; free some or write to another folder, "
            "and check that the folder may be written."
        )
    return GossanError(
        f"{path} could not be written: {_first_line(error)} {remedy} Nothing half-written was "
        "left there."
    )


def remove(path: Path) -> None:
    """Delete a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON, keys sorted, all or nothing; numbers that are not finite become ``null``.

    Parameters
    ----------
    path : path-like
        The file.
    content : object
        Dicts, lists, tuples, strings, numbers (NumPy scalars and arrays too), booleans, None.
    """
    text = json.dumps(_plain(content), indent=2, sort_keys=True, allow_nan=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises
    ------
    SurveyDataError
        If it is missing or holds no JSON.
    """
    with reading(path, "JSON"):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file (a report, a style), all or nothing."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a binary file (a picture), all or nothing."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def _plain(content: Any) -> Any:
    """Content in JSON's own types."""
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if hasattr(content, "tolist"):
        return _plain(content.tolist())
    if isinstance(content, os.PathLike):
        return os.fspath(content)
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def _first_line(error: Exception) -> str:
    """The first line of the innermost exception's message, as a sentence."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = str(error).strip().splitlines()
    line = text[0].strip() if text else type(error).__name__
    return line if line.endswith((".", "!", "?")) else f"{line}."
