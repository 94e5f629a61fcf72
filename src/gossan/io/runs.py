"""The bookkeeping of a run folder: its name, its lock, and records that a kill cannot spoil."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from gossan.exceptions import GossanError
from gossan.io.files import cannot_write, read_json, replacing, write_json

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind; there, two runs may collide.
    fcntl = None  # type: ignore[assignment]


_LONGEST = 100
"""Bytes of a name: file systems end at 255, and stages put words of their own before it."""


def file_stem(name: str) -> str:
    """A study's name as the name of a file or folder, on any system; a long one is cut.

    Examples
    --------
    >>> file_stem("Jabal al-Hasir: metals, 500 m")
    'jabal-al-hasir-metals-500-m'
    >>> len(file_stem("Old Mine " * 100))
    99
    """
    plain = unicodedata.normalize("NFKD", name).lower()
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    stem = re.sub(r"[^\w.]+", "-", letters).strip("-.") or "study"
    if len(stem.encode()) <= _LONGEST:
        return stem
    short = stem.encode()[: _LONGEST - 10].decode(errors="ignore").strip("-.")
    return f"{short}-{hashlib.sha256(stem.encode()).hexdigest()[:9]}"


@contextmanager
def folder_lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a second run out of a folder while the first one writes there.

    The lock ends with the process, however it ends: a killed run locks nobody out.

    Raises
    ------
    GossanError
        If another run holds the folder, or it cannot be written.
    """
    with _open_lock(Path(folder) / ".stages" / "lock") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise GossanError(
                    f"Another run is writing to {folder}. Wait until it ends, or choose another "
                    "folder with --output."
                ) from None
        yield


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Wait until no other process is in the body with the same file.

    The lock ends with the process, however it ends.
    """
    with _open_lock(path) as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open_lock(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")
    except OSError as error:
        raise cannot_write(path, error) from error


def read_json_if_whole(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """A record, or None where there is none or it is damaged: then the work is done again."""
    try:
        content = read_json(path)
    except GossanError:
        return None
    return content if isinstance(content, dict) else None


class JsonFolder(MutableMapping[str, dict[str, Any]]):
    """A mapping kept as one JSON file a key, each written all or nothing.

    What is read back is what was written, but that numbers that are not finite become None: so a
    resumed run and an uninterrupted one see the same.

    Parameters
    ----------
    folder : path-like
        Made when the first record is written.

    Examples
    --------
    >>> import tempfile
    >>> records = JsonFolder(tempfile.mkdtemp())
    >>> records["fold 1"] = {"rank": 0.9}
    >>> dict(records)
    {'fold 1': {'rank': 0.9}}
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def __getitem__(self, key: str) -> dict[str, Any]:
        record = read_json_if_whole(self._path(key))
        if record is None or record.get("key") != key:
            raise KeyError(key)
        content: dict[str, Any] = record["content"]
        return content

    def __setitem__(self, key: str, content: dict[str, Any]) -> None:
        write_json(self._path(key), {"key": key, "content": content})

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._path(key).unlink()

    def __iter__(self) -> Iterator[str]:
        for path in sorted(self.folder.glob("*.json")):
            record = read_json_if_whole(path)
            if record is not None and "key" in record:
                yield record["key"]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, key: str) -> Path:
        return self.folder / f"{file_stem(key)}.json"


class ArrayFolder(MutableMapping[str, dict[str, npt.NDArray[Any]]]):
    """A mapping of named arrays kept as one ``.npz`` file a key, each written all or nothing.

    Several processes may write different keys at once. Nothing in a file is unpickled; a damaged
    file counts as missing.

    Parameters
    ----------
    folder : path-like
        Made when the first record is written.

    Examples
    --------
    >>> import tempfile
    >>> records = ArrayFolder(tempfile.mkdtemp())
    >>> records["fold 1"] = {"ranks": np.array([0.9])}
    >>> "fold 1" in records, float(records["fold 1"]["ranks"][0])
    (True, 0.9)
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def __contains__(self, key: object) -> bool:
        return self._path(str(key)).exists() and self._read(str(key)) is not None

    def __getitem__(self, key: str) -> dict[str, npt.NDArray[Any]]:
        content = self._read(key)
        if content is None:
            raise KeyError(key)
        return content

    def __setitem__(self, key: str, content: dict[str, npt.NDArray[Any]]) -> None:
        with replacing(self._path(key)) as partial, partial.open("wb") as file:
            np.savez_compressed(file, __key__=np.array(key), **content)  # type: ignore[arg-type]

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._path(key).unlink()

    def __iter__(self) -> Iterator[str]:
        for path in sorted(self.folder.glob("*.npz")):
            content = _read_arrays(path)
            if content is not None and "__key__" in content:
                yield str(content["__key__"])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _read(self, key: str) -> dict[str, npt.NDArray[Any]] | None:
        content = _read_arrays(self._path(key))
        if content is None or str(content.pop("__key__", None)) != key:
            return None
        return content

    def _path(self, key: str) -> Path:
        return self.folder / f"{file_stem(key)}.npz"


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    try:
        # Opened here: of a damaged file NumPy would leave its own handle open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception:  # by the byte that is damaged: a zip's, zlib's, NumPy's or the system's error
        return None
