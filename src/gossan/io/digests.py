"""SHA-256 of files and folders, and of all that is read with an input: its side files."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from gossan.io.files import reading
from gossan.io.rasters import GDAL_SUFFIXES

# Files of the same stem that are read with the first; each may change what is read.
_BESIDE = {
    ".shp": {".shx", ".dbf", ".prj", ".cpg"},
    ".tab": {".dat", ".map", ".id", ".ind"},
    ".gml": {".xsd", ".gfs"},
}


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes; of a folder, such as a Zarr, of all its files.

    Parameters
    ----------
    path : path-like
        A file, read in blocks, or a folder, whose files count by relative name and content.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    SurveyDataError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> note = Path(tempfile.mkdtemp()) / "note.txt"
    >>> _ = note.write_bytes(b"abc")
    >>> file_digest(note)[:16]
    'ba7816bf8f01cfea'
    """
    path = Path(path)
    with reading(path, "a file"):
        if path.is_dir():
            parts = sorted(part for part in path.rglob("*") if part.is_file())
            return _digest_of((part.relative_to(path.parent).as_posix(), part) for part in parts)
        return _bytes_digest(path)


@cache
def network_code(module: str) -> str:
    """Hash of what the networks of one method are trained and used by.

    Parameters
    ----------
    module : str
        A module of the method's package, such as ``"gossan.nn.pixel_pairs"``: its own files
        count, those that all methods share, and the versions of torch and Lightning.

    Returns
    -------
    str
    """
    room = Path(__file__).resolve().parents[1] / "nn"
    package = module.removeprefix("gossan.nn").lstrip(".").partition(".")[0]
    files = [*room.glob("*.py"), *(room / package).rglob("*.py")]
    parts = [(str(file.relative_to(room)), file_digest(file)) for file in sorted(set(files))]
    for name in ("torch", "lightning"):
        try:
            parts.append((name, version(name)))
        except PackageNotFoundError:  # what needs it says so
            parts.append((name, "absent"))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def input_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a survey file and of the side files that are read with it.

    Parameters
    ----------
    path : path-like
        A file or folder that a study names.

    Returns
    -------
    str
        That of :func:`file_digest` where the file stands alone; else one that changes with the
        name or content of any of :func:`side_files`.

    Raises
    ------
    SurveyDataError
        If one of them cannot be read.
    """
    path = Path(path)
    beside = side_files(path)
    if not beside:
        return file_digest(path)
    with reading(path, "a file"):
        return _digest_of((part.name, part) for part in [path, *beside])


def side_files(path: Path) -> list[Path]:
    """What is read with a file: the other parts of a Shapefile, the rasters that a VRT is made of,
    headers, world files and ``.aux.xml``; sorted, without the file itself.
    """
    suffix = path.suffix.lower()
    if suffix in _BESIDE:
        return sorted(
            part
            for part in path.parent.glob("*")
            if part.stem == path.stem and part.suffix.lower() in _BESIDE[suffix]
        )
    found = {path.absolute()}
    waiting = [path.absolute()]
    while waiting:
        new = set(_files_of_raster(waiting.pop())) - found
        found |= new
        waiting += sorted(new)
    return sorted(found - {path.absolute()})


def _files_of_raster(path: Path) -> list[Path]:
    """What GDAL reads for one raster; of a broken one nothing, for its reader says so better."""
    if path.suffix.lower() not in GDAL_SUFFIXES:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as dataset:
                listed = [Path(file).absolute() for file in dataset.files]
    except (RasterioError, OSError):
        return []
    return [file for file in listed if file.is_file()]


def _digest_of(parts: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, part in parts:
        digest.update(f"{name}\n".encode())
        digest.update(bytes.fromhex(_bytes_digest(part)))
    return digest.hexdigest()


def _bytes_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
