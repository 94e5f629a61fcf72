"""Facts of a folder → the text of a study file that runs, every guess explained where it stands."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pyproj
from pydantic import BaseModel

from gossan.draft.choices import (
    AreaChoice,
    RasterGroup,
    choose_area,
    group_rasters,
    in_area,
    place_unknown,
)
from gossan.draft.facts import (
    UNKNOWN_CRS,
    FileFacts,
    deposit_hint,
    inspect_folder,
    looks_like_result,
)
from gossan.draft.marks import choose_samples, oxide_range
from gossan.draft.toml import alternative, comment, defaults, meaning, setting
from gossan.exceptions import StudyError
from gossan.study import (
    Area,
    Deposits,
    MethodSettings,
    Negatives,
    Raster,
    Samples,
    Targets,
    Validation,
    Vector,
)

_KINDS = {
    "samples": "samples",
    "deposits": "known deposits",
    "points": "points",
    "lines": "lines",
    "polygons": "polygons",
    "segments": "line segments",
    "rings": "rings of polygons",
    "raster": "raster of values",
    "category raster": "raster of classes",
    "table": "table",
    "unread": "not read",
}
_RASTERS = {"raster", "category raster"}
_VECTORS = {"lines", "polygons", "segments", "rings"}
_EVIDENCE = {"samples", *_RASTERS, *_VECTORS}
_AREAL = {"polygons", "rings"}
_METALS = re.compile(
    r"\b(gold|silver|copper|zinc|lead|nickel|cobalt|iron|chromium|chromite|manganese|tungsten|tin|"
    r"molybdenum|lithium|beryllium|niobium|tantalum|cerium|titanium|vanadium|uranium|thorium|"
    r"antimony|bismuth|mercury|platinum|palladium|arsenic|cadmium|alumini?um|bauxite|magnetite|"
    r"au|ag|cu|zn|pb|ni|co|fe|cr|mn|w|sn|mo|li|be|nb|ta|ce|ti|v|u|th|sb|bi|hg|pt|pd|as|ree)\b",
    re.IGNORECASE,
)
_MOSTLY_MINIMUM = 0.2
_FEW_DEPOSITS = 12


def draft_study(folder: str | os.PathLike[str]) -> str:
    r"""Draft a study file for the files in a folder.

    Parameters
    ----------
    folder : path-like
        Files of one survey area. File names in the draft are relative to it, so the draft belongs
        there, as ``study.toml``. Where none of them speaks of deposits, the draft names none.

    Returns
    -------
    str
        TOML that :func:`gossan.study.read_study` accepts; what is doubtful stays a comment.

    Raises
    ------
    StudyError
        If survey files or evidence are lacking: what was found, what to add.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "mines.csv").write_text("name,lon,lat\nA,42.1,19.2\nB,42.3,19.4\n")
    >>> _ = (folder / "soil.csv").write_text("lon,lat,Cu_ppm\n42,19,5\n42.5,19.5,9\n")
    >>> [line for line in draft_study(folder).splitlines() if line.startswith("crs")]
    ['crs = "EPSG:32638"', 'crs = "EPSG:4326"', 'crs = "EPSG:4326"']
    """
    folder = Path(folder)
    facts = place_unknown(inspect_folder(folder))
    deposits = next((found for found in facts if found.kind == "deposits"), None)
    evidence = [f for f in facts if f.kind in _EVIDENCE and not looks_like_result(f)]
    if not evidence:
        raise StudyError(_explain_lack(folder, facts, deposits))
    area = choose_area(evidence)
    kept = [found for found in evidence if in_area(found, area)]
    points = [found for found in facts if found.kind == "points"]
    sources = _sources(kept, [found.file for found in facts])
    if not any(line.startswith("[[") for line in sources):
        raise StudyError(_explain_lack(folder, facts, deposits))
    lines = [
        *_header(folder, facts),
        *_area(area, [found for found in kept if found.kind in _RASTERS]),
        *(_no_deposits() if deposits is None else _deposits(deposits, points, area)),
        *sources,
        *_left_over(facts, kept, area),
        *(_procedure(deposits) if deposits is not None else []),
    ]
    return "\n".join(lines) + "\n"


def _sources(kept: Sequence[FileFacts], files: Sequence[str]) -> list[str]:
    """Every source; the first of a kind lists the settings left at their default."""
    names = _Names()
    rasters = [found for found in kept if found.kind in _RASTERS]
    used = {found.file for found in rasters}
    groups = group_rasters(rasters, [file for file in files if file not in used])
    tables: list[tuple[type[BaseModel], list[list[str]]]] = [
        (Samples, [_samples(found, names) for found in kept if found.kind == "samples"]),
        (Raster, [_raster(group, names) for group in groups]),
        (Vector, [_vector(found, names) for found in kept if found.kind in _VECTORS]),
    ]
    lines = []
    for table, blocks in tables:
        for i, block in enumerate(blocks):
            lines += block
            lines += defaults(table, but=_keys(block, table)) if i == 0 else []
            lines.append("")
    return lines


class _Names:
    """Names of sources: readable, and no two alike."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def of(self, found: FileFacts, stem: str | None = None) -> str:
        path = PurePosixPath(found.file)
        parts = [stem if stem is not None else path.stem, found.layer, found.title]
        name = re.sub(r"[_\s*?]+", " ", " ".join(part for part in parts if part)).strip()
        if name in self.taken and path.parent.name:
            name = f"{path.parent.name} {name}"
        number, plain = 2, name
        while name in self.taken:
            name, number = f"{plain} {number}", number + 1
        self.taken.add(name)
        return name


def _header(folder: Path, facts: Sequence[FileFacts]) -> list[str]:
    title = folder.resolve().name
    name = re.sub(r"[^\w.-]+", "-", title).strip("-.") or "study"
    return [
        *comment(
            f"Study of the files in {title}, drafted by `gossan new` from what the files hold. "
            "It runs as it is: `gossan check` tells what is wrong with the data, `gossan run` "
            "makes the map. Each guess has its reason above it; change it if it is wrong. Lines "
            "such as '# extent = …' are choices not taken: remove the # to take one."
        ),
        "#",
        "# Files found:",
        *_listed_files(facts),
        "",
        *setting("name", name),
        "seed = 0  # same seed, same map",
        "",
    ]


def _listed_files(facts: Sequence[FileFacts]) -> list[str]:
    """One comment line a file; many of a kind in one folder share one."""
    lines: list[str] = []
    alike: dict[tuple[str, str, object], list[FileFacts]] = {}
    for found in facts:
        suffix = PurePosixPath(found.file).suffix
        grid = (found.shape, found.nodata) if found.kind in _RASTERS else found.file
        key = (found.kind, suffix, grid)
        alike.setdefault(key, []).append(found)
    for members in alike.values():
        first = members[0]
        if len(members) > 3:
            files = f"{len(members)} files: {first.file} … {members[-1].file}"
        else:
            files = ", ".join(dict.fromkeys(found.file for found in members))
        lines.extend(f"# {line[2:]}" for line in comment(f"  {files}: {_summary(first)}"))
    return lines


def _summary(found: FileFacts) -> str:
    if found.kind == "unread":
        return f"not read: {found.problem.split(' The file may be damaged')[0]}"
    words = [_KINDS[found.kind]]
    if found.shape and found.cell_size:
        size = " × ".join(f"{edge:,.6g}" for edge in found.cell_size)
        words.append(f"{found.shape[0]:,} × {found.shape[1]:,} cells of {size}")
        nodata = "no nodata declared" if found.nodata is None else f"nodata {found.nodata:g}"
        words.append(nodata)
    else:
        words.append(f"{found.count:,} rows")
    if found.elements and found.kind == "samples":
        words.append(f"{len(found.elements)} columns of elements")
    if found.problem:
        words.append(f"{found.problem}, not used")
    elif found.crs is not None:
        words.append("CRS unknown" if found.crs == UNKNOWN_CRS else pyproj.CRS(found.crs).name)
    return "; ".join(words)


def _area(area: AreaChoice, rasters: Sequence[FileFacts]) -> list[str]:
    lines = ["[area]"]
    if area.crs == UNKNOWN_CRS:
        lines += comment(
            "No file says the CRS, and metres do not tell it. Distances and areas are right as "
            "they are, but the map has no place on Earth until you write the CRS here and in "
            "every source below, e.g. crs = 'EPSG:28350'."
        )
    cells = f"{area.cells:,} cells"
    if area.like is not None:
        lines += setting(
            "like",
            area.like,
            f"Guessed: {area.size_reason}; {cells}. Instead of `like`, `crs` and `cell_size` may "
            "be given.",
        )
        lines += alternative("crs", area.crs) + alternative("cell_size", area.cell_size)
    else:
        reason = [f"Guessed: {area.crs_reason} ({pyproj.CRS(area.crs).name})."] * bool(
            area.crs_reason
        )
        lines += setting("crs", area.crs, *reason)
        lines += setting("cell_size", area.cell_size, f"Guessed: {area.size_reason}; {cells}.")
        size = area.cell_size
        west, south = (np.floor(edge / size) * size for edge in area.extent[:2])
        east, north = (np.ceil(edge / size) * size for edge in area.extent[2:])
        lines += alternative(
            "extent",
            [float(west), float(south), float(east), float(north)],
            meaning(Area, "extent"),
        )
    empty = [f for f in rasters if _mostly_zero(f) and f.variable is None]
    if empty:
        share = empty[0].values.at_minimum if empty[0].values else 0.0
        lines += alternative(
            "mask",
            empty[0].file,
            f"{share:.0%} of the cells of {', '.join(f.file for f in empty)} are exactly 0 and no "
            "nodata is declared. If they lie outside the mapped ground, keep to the others with:",
        )
    else:
        lines += alternative("mask", "outline.gpkg", meaning(Area, "mask"))
    return [*lines, ""]


def _mostly_zero(found: FileFacts) -> bool:
    """A raster of which much is the value 0 that stands for nothing."""
    values = found.values
    return (
        found.kind == "raster"
        and found.nodata is None
        and values is not None
        and values.classes == 0
        and values.minimum == 0
        and values.at_minimum > _MOSTLY_MINIMUM
    )


def _no_deposits() -> list[str]:
    return [
        *comment(
            "No file speaks of known deposits. Without any: gossan check, gossan regions, and "
            "gossan analogues --at or --within. A map needs some: put a table here with a row a "
            "deposit and columns for longitude and latitude (or easting and northing) and name, "
            "and write:"
        ),
        "# [deposits]",
        *alternative("file", "deposits.csv", meaning(Deposits, "file")),
        "",
    ]


def _deposits(found: FileFacts, points: Sequence[FileFacts], area: AreaChoice) -> list[str]:
    hint = deposit_hint(found)
    reason = f"Guessed: {hint} speaks of deposits" if hint else "Guessed: the file of fewest points"
    lines = ["[deposits]"]
    if found.values is not None and found.values.rare is not None:
        value, cells = found.values.rare
        lines += setting("file", found.file, f"{reason}; {cells} cells hold the value {value:g}.")
        lines += setting("value", value) + _crs(found)
    else:
        twice = f", {found.twice} at the place of another" if found.twice else ""
        lines += setting("file", found.file, f"{reason}; {found.count:,} rows{twice}.")
        lines += _places(found)
        if found.name is not None:
            lines += setting("name", found.name)
        else:
            lines += alternative("name", "…", meaning(Deposits, "name"))
        lines += _filters(found)
    if not in_area(found, area):
        lines += comment("None of them lies in the area. Is the CRS right, or are x and y swapped?")
    for other in points:
        lines += comment(f"Other points that may be deposits: {other.file}, {other.count:,} rows.")
    return [*lines, *defaults(Deposits, but=_keys(lines, Deposits)), ""]


def _filters(found: FileFacts) -> list[str]:
    """The values of columns that a geologist would filter by, and the likeliest filter."""
    lines = []
    for i, (column, counts) in enumerate(list(found.filters.items())[:3]):
        listed = ", ".join(f"{value} {count}" for value, count in list(counts.items())[:15])
        lines += comment(f"Values of {column}: {listed}{', …' * (len(counts) > 15)}.")
        metals = [value for value in counts if _METALS.search(value)]
        mixed = "commodit" in column.lower() and 0 < len(metals) < len(counts)
        chosen = metals if mixed else list(counts)[:1]
        if mixed:
            kept = sum(counts[value] for value in chosen)
            lines += comment(f"One deposit model seldom fits all; the metals alone, {kept} rows:")
        if i == 0:
            lines += alternative("where", {column: chosen})
    return lines


def _samples(found: FileFacts, names: _Names) -> list[str]:
    choice = choose_samples(found)
    if not choice.elements:
        return comment(f"{found.file}: none of its columns of elements can be read.")
    lines = ["[[samples]]", *setting("name", names.of(found)), *setting("file", found.file)]
    lines += _places(found)
    if found.id is not None:
        lines += setting("id", found.id)
    spared = [f"{column} ({why})" for column, why in choice.left_out.items()]
    more = [f"Left out: {'; '.join(spared)}."] if spared else []
    lines += setting("elements", choice.elements, "Columns named like an element or oxide.", *more)
    if choice.units != "auto":
        scale = oxide_range(found)
        lines += setting(
            "units",
            choice.units,
            f"Guessed: the names do not say it{', but ' + scale if scale else ''}. A wrong unit "
            "shifts an element's log-ratio by the same everywhere, and hardly moves the map.",
        )
    lines += setting(
        "censored", choice.censored, f"Found in {found.count:,} samples: {'. '.join(choice.found)}."
    )
    if choice.flags:
        lines += setting("flags", choice.flags, meaning(Samples, "flags"))
    if choice.censored in {"flag", "zero"}:
        lines += alternative(
            "limits",
            {choice.most_marked: 0.5},
            "Where the marks do not say the detection limit, the smallest value measured stands "
            "for it. Better declared:",
        )
    if choice.missing_values:
        lines += setting("missing_values", choice.missing_values)
    lines += setting("transform", choice.transform)
    lines += _filters(found)
    return lines


def _raster(group: RasterGroup, names: _Names) -> list[str]:
    found, values = group.first, group.first.values
    several = len(group.members) > 1
    stem = re.sub(r"[_\-. ]*\*[_\-. ]*", "", PurePosixPath(group.pattern).stem) if several else None
    lines = ["[[rasters]]", *setting("name", names.of(found, stem))]
    many = [f"{len(group.members)} files on one grid, one layer each."] * several
    lines += setting("file", group.pattern, *many)
    if found.variable is not None:
        lines += setting("variable", found.variable)
    if found.band > 1:
        lines += setting("band", found.band)
    lines += _crs(found)
    if values is not None and values.sentinels:
        lines += setting(
            "nodata",
            list(values.sentinels),
            "Guessed: the file does not declare it, but so far from the rest it is a code.",
        )
    elif _mostly_zero(found):
        share = values.at_minimum if values else 0.0
        lines += alternative(
            "nodata", 0, f"{share:.0%} of the cells are exactly 0; if 0 means 'not mapped':"
        )
    if found.kind == "category raster" and values is not None:
        lines += setting(
            "measure",
            "category",
            f"Guessed: {values.classes} whole numbers in no order between neighbours.",
        )
    elif values is not None and values.classes:
        order = "in steps between neighbours" if values.in_order else "at most two"
        lines += alternative(
            "measure",
            "category",
            f"Taken as a value: {values.classes} whole numbers, {order}. If they are classes:",
        )
    return lines


def _vector(found: FileFacts, names: _Names) -> list[str]:
    lines = ["[[vectors]]", *setting("name", names.of(found)), *setting("file", found.file)]
    lines += _places(found)
    if found.segments is not None:
        lines += setting("segments", list(found.segments))
    if found.ring is not None:
        lines += setting("ring", found.ring)
    if found.kind not in _AREAL:
        lines += setting("measure", "distance", "Guessed: structures act by their nearness.")
        lines += alternative("measure", "density")
    elif found.classes:
        lines += setting("measure", "category", "Guessed: one layer of zeros and ones a class.")
        others = f" Others: {', '.join(found.classes[1:6])}." if len(found.classes) > 1 else ""
        lines += setting("column", found.classes[0], f"Guessed from its name.{others}")
    else:
        lines += setting(
            "measure", "category", "No column names classes: one layer, 1 inside and 0 outside."
        )
        lines += alternative("measure", "distance", "0 inside, else the distance:")
    return lines


def _places(found: FileFacts) -> list[str]:
    """Coordinate columns and CRS of a file that does not say them itself."""
    lines = []
    if found.x is not None and found.y is not None:
        lines += setting("x", found.x) + setting("y", found.y)
    if found.layer is not None:
        lines += setting("layer", found.layer)
    return lines + _crs(found)


def _crs(found: FileFacts) -> list[str]:
    """The CRS of a file that does not declare its own."""
    if found.declares_crs or found.crs is None:
        return []
    if found.in_degrees:
        reason = "Guessed: degrees; WGS 84 presumed."
    elif found.crs == UNKNOWN_CRS:
        reason = "Metres of an unknown CRS, see [area]."
    else:
        reason = "Guessed: the coordinates lie among those of the other files."
    return setting("crs", found.crs, reason)


def _left_over(
    facts: Sequence[FileFacts], kept: Sequence[FileFacts], area: AreaChoice
) -> list[str]:
    """Points as an alternative source, and evidence that lies elsewhere as a remark."""
    lines: list[str] = []
    for found in facts:
        if looks_like_result(found):
            lines += comment(
                f"Not used: {found.file}, by its name an earlier map, which has seen the deposits: "
                "as evidence it would flatter every figure."
            )
        elif found.kind in _EVIDENCE and found not in kept:
            lines += comment(
                f"Not used: {found.file}, for it does not meet the area "
                f"({', '.join(f'{edge:.0f}' for edge in area.extent)}). Is its CRS right?"
            )
        if found.kind == "points":
            name = PurePosixPath(found.file).stem.replace("_", " ")
            lines += comment(f"{found.count:,} points that may be evidence too:")
            block = ["[[vectors]]", *setting("name", name), *setting("file", found.file)]
            block += [*_places(found), 'measure = "distance"']
            lines += [line if line[0] == "#" else f"# {line}" for line in block]
    return [*lines, ""] if lines else []


def _procedure(deposits: FileFacts) -> list[str]:
    """The tables of method, validation and targets: defaults, said out."""
    count = deposits.count
    if deposits.values is not None and deposits.values.rare is not None:
        count = deposits.values.rare[1]
    lines = ["[negatives]", *defaults(Negatives), "", "[method]", *defaults(MethodSettings), ""]
    lines.append("[validation]")
    if count < _FEW_DEPOSITS:
        folds = max(2, count // 2)
        lines += setting("folds", folds, f"Guessed: few, since there are {count} deposits.")
    lines += defaults(Validation, but=_keys(lines, Validation))
    return [*lines, "", "[targets]", *defaults(Targets)]


def _keys(lines: Sequence[str], table: type[BaseModel]) -> list[str]:
    """Keys that the lines speak of already."""
    return [
        key for key in table.model_fields if any(re.match(rf"(# )?{key} =", line) for line in lines)
    ]


def _explain_lack(folder: Path, facts: Sequence[FileFacts], deposits: FileFacts | None) -> str:
    found = "\n".join(f"  {found.file}: {_summary(found)}" for found in facts[:20])
    beside = "" if deposits is None else " beside the deposits"
    return (
        f"No evidence among the files in {folder}{beside}:\n{found}\n"
        "Add geochemical samples, rasters, or geological lines or polygons of the same area; then "
        "run `gossan new` again."
    )
