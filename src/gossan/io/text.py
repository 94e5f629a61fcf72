"""Text tables → DataFrames: separator, decimal mark and encoding told from the file itself."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from gossan.exceptions import SurveyDataError

_SEPARATORS = (",", ";", "\t", "|")
_DECIMAL_COMMA = re.compile(r"^\s*<?\s*[-+]?\d*,\d+(?:[eE][-+]?\d+)?\s*$")
_DECIMAL_POINT = re.compile(r"^\s*<?\s*[-+]?\d*\.\d+(?:[eE][-+]?\d+)?\s*$")
_SNIFFED_BYTES = 1 << 16
_SCANNED = 1 << 20


def read_text_table(path: Path) -> pd.DataFrame:
    r"""Read a CSV of any common separator, decimal mark and encoding.

    Parameters
    ----------
    path : pathlib.Path
        Separator (comma, semicolon, tab, bar), decimal comma and encoding (UTF-8 with or without
        mark, UTF-16, else Windows-1252) are told from its beginning. Where commas are decimal,
        marked numbers such as ``<0,5`` get a point too.

    Raises
    ------
    SurveyDataError
        If it is empty, holds a null byte (its row is named), or two columns have one name.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "samples.csv"
    >>> _ = path.write_text("east;Cu\n1,5;<0,5\n2,5;7,25\n")
    >>> read_text_table(path)
       east    Cu
    0   1.5  <0.5
    1   2.5  7.25
    """
    with path.open("rb") as file:
        head = file.read(_SNIFFED_BYTES)
    if not head.strip():
        raise SurveyDataError(f"{path} is empty.")
    encoding = _encoding(path, head)
    _refuse_null_bytes(path, encoding)
    # The last line of the sniffed bytes may be cut.
    lines = head.decode(encoding, errors="replace").splitlines()
    lines = lines[:-1] if len(head) == _SNIFFED_BYTES and len(lines) > 1 else lines
    separator = max(_SEPARATORS, key=lambda mark: _fields_in(lines[0], mark))
    options: dict[str, Any] = {"sep": separator, "encoding": encoding, "skipinitialspace": True}
    _refuse_repeated_names(path, options)
    decimal = _decimal_mark(lines[1:], separator)
    table = pd.read_csv(path, decimal=decimal, low_memory=False, **options)
    return _with_points(table) if decimal == "," else table


def _encoding(path: Path, head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        with path.open(encoding="utf-8-sig") as file:
            for _ in iter(lambda: file.read(_SCANNED), ""):
                pass
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _refuse_null_bytes(path: Path, encoding: str) -> None:
    """Raise on a null byte anywhere: the parser would end the field there, or the file."""
    line = 1
    with path.open(encoding=encoding, errors="replace") as file:
        for block in iter(lambda: file.read(_SCANNED), ""):
            place = block.find("\0")
            if place >= 0:
                line += block.count("\n", 0, place)
                row = f"row {line - 1} (of the data)" if line > 1 else "its header"
                raise SurveyDataError(
                    f"{path} holds binary bytes (null) in {row}, line {line} of the file, where "
                    "text is needed: the file is damaged or no CSV. Export the table as CSV again."
                )
            line += block.count("\n")


def _refuse_repeated_names(path: Path, options: dict[str, Any]) -> None:
    """Raise if two columns have one name: which of them is meant nobody can tell."""
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **options)
    names = [str(name).strip() for name in header.iloc[0]]
    for name, count in Counter(names).items():
        if name and count > 1:
            places = [str(i + 1) for i, other in enumerate(names) if other == name]
            raise SurveyDataError(
                f"{path}: {count} columns are named {name!r}, numbers {' and '.join(places)} from "
                "the left. Rename or remove all but one, so that it is plain which is meant."
            )


def _fields_in(line: str, separator: str) -> int:
    """Fields of a line; a separator within quotes is none."""
    return len(re.sub(r'"[^"]*"', "", line).split(separator))


def _decimal_mark(lines: list[str], separator: str) -> str:
    """A comma where numbers carry one and none carries a point."""
    if separator == ",":
        return "."
    fields = [field.strip('" ') for line in lines for field in line.split(separator)]
    if any(_DECIMAL_POINT.match(field) for field in fields):
        return "."
    return "," if any(_DECIMAL_COMMA.match(field) for field in fields) else "."


def _with_points(table: pd.DataFrame) -> pd.DataFrame:
    """Decimal points where a mark such as ``<0,5`` kept the parser from seeing numbers."""
    for column in table.columns[[not pd.api.types.is_numeric_dtype(t) for t in table.dtypes]]:
        text = table[column].astype("string")
        marked = text.str.match(_DECIMAL_COMMA).fillna(False).astype(bool)
        if marked.any():
            table[column] = table[column].mask(marked, text.str.replace(",", "."))
    return table
