"""What a study of given files would need: its CRS, cells, and which files are alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import pyproj

from gossan.draft.facts import UNKNOWN_CRS, Extent, FileFacts, projected_crs

FEWEST_CELLS, MOST_CELLS = 10_000, 500_000
_FEWEST_CELLS_LIKE = 5_000
_CELL_COVERING = {"samples", "raster", "category raster"}


@dataclass(frozen=True)
class AreaChoice:
    """The template grid proposed, and what each proposal rests on."""

    crs: str
    crs_reason: str
    extent: Extent
    like: str | None
    cell_size: float
    size_reason: str
    cells: int


@dataclass(frozen=True)
class RasterGroup:
    """Rasters of one kind on one grid, under one name: a wildcard, or a single file."""

    pattern: str
    members: tuple[FileFacts, ...]

    @property
    def first(self) -> FileFacts:
        """The member that stands for all."""
        return self.members[0]


def place_unknown(facts: Sequence[FileFacts]) -> list[FileFacts]:
    """Presume the projected CRS of the other files where coordinates fit among theirs.

    Files in degrees stand for their UTM zone. Metres of which no file says the CRS get
    :data:`~gossan.draft.facts.UNKNOWN_CRS`.
    """
    known = [_in_metres(found) for found in facts if found.crs and found.extent]
    placed = []
    for found in facts:
        if found.crs is not None or found.extent is None:
            placed.append(found)
            continue
        near = [crs for crs, extent in known if _overlap(found.extent, extent)]
        placed.append(replace(found, crs=near[0] if near else UNKNOWN_CRS))
    return placed


def _in_metres(found: FileFacts) -> tuple[str, Extent]:
    assert found.crs is not None
    assert found.extent is not None
    crs = projected_crs(found.extent) if found.in_degrees else found.crs
    return crs, transform_extent(found.extent, found.crs, crs)


def choose_area(evidence: Sequence[FileFacts]) -> AreaChoice:
    """CRS, extent and cells that suit the files of evidence."""
    crs, crs_reason = _choose_crs(evidence)
    covering = [found for found in evidence if found.kind in _CELL_COVERING] or evidence
    extent = _covered(covering, crs)
    like = _most_shared_grid([found for found in evidence if found.shape], crs)
    if like is not None:
        return AreaChoice(
            crs,
            crs_reason,
            extent,
            like.first.file,
            float(np.mean(like.first.cell_size or np.nan)),
            f"{_files(len(like.members))} of {sum(1 for f in evidence if f.shape)} share its grid",
            like.first.count,
        )
    size, reason = _choose_cell_size(evidence, extent)
    return AreaChoice(crs, crs_reason, extent, None, size, reason, _count_cells(extent, size))


def in_area(found: FileFacts, area: AreaChoice) -> bool:
    """Whether a file's extent meets the area's."""
    if found.extent is None or found.crs is None:
        return False
    return _overlap(transform_extent(found.extent, found.crs, area.crs), area.extent)


def group_rasters(rasters: Sequence[FileFacts], others: Sequence[str]) -> list[RasterGroup]:
    """Put three or more rasters of one grid, kind and naming under one wildcard.

    Parameters
    ----------
    rasters : sequence of FileFacts
        Rasters of evidence.
    others : sequence of str
        Every other file of the folder: a wildcard must match none of them.
    """
    left, groups = list(rasters), []
    for pattern, count in _patterns(rasters).most_common():
        matching = [found for found in left if _matches(pattern, found.file)]
        alike = {(f.kind, f.crs, f.shape, f.extent) for f in matching}
        strangers = [file for file in others if _matches(pattern, file)]
        single = all(f.variable is None and not f.title for f in matching)
        if count >= 3 and len(matching) == count and len(alike) == 1 and single and not strangers:
            groups.append(RasterGroup(pattern, tuple(matching)))
            left = [found for found in left if found not in matching]
    return groups + [RasterGroup(found.file, (found,)) for found in left]


def transform_extent(extent: Extent, source: str, target: str) -> Extent:
    """Bounds of an extent in another CRS; the same where they are equal."""
    if source == target or pyproj.CRS(source) == pyproj.CRS(target):
        return extent
    if pyproj.CRS(source).is_engineering or pyproj.CRS(target).is_engineering:
        return (np.nan,) * 4
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    west, south, east, north = transformer.transform_bounds(*extent)
    return west, south, east, north


def round_125(value: float) -> float:
    """The nearest of 1, 2, 5 × 10ⁿ, by ratio.

    Examples
    --------
    >>> [round_125(value) for value in (0.14, 640, 1270, 4211)]
    [0.1, 500.0, 1000.0, 5000.0]
    """
    steps = 10.0 ** np.floor(np.log10(value)) * np.array([1.0, 2.0, 5.0, 10.0])
    return float(f"{steps[np.abs(np.log(steps / value)).argmin()]:.12g}")


def _choose_crs(evidence: Sequence[FileFacts]) -> tuple[str, str]:
    projected = [f for f in evidence if f.crs and not f.in_degrees and f.crs != UNKNOWN_CRS]
    if projected:
        crs, count = Counter(str(found.crs) for found in projected).most_common(1)[0]
        return crs, f"the CRS of {_files(count)} such as {projected[0].file}"
    degrees = [found for found in evidence if found.in_degrees and found.extent]
    if degrees:
        crs = projected_crs(_union([f.extent for f in degrees if f.extent]))
        return crs, f"fits the longitudes and latitudes of {degrees[0].file}"
    return UNKNOWN_CRS, ""


def _covered(evidence: Sequence[FileFacts], crs: str) -> Extent:
    extents = [transform_extent(f.extent, f.crs, crs) for f in evidence if f.extent and f.crs]
    return _union([extent for extent in extents if np.isfinite(extent).all()])


def _union(extents: Sequence[Extent]) -> Extent:
    west, south, east, north = np.array(extents).T
    return float(west.min()), float(south.min()), float(east.max()), float(north.max())


def _most_shared_grid(rasters: list[FileFacts], crs: str) -> RasterGroup | None:
    """The grid of at least half of the rasters, if it makes a fair number of cells."""
    grids: dict[object, list[FileFacts]] = {}
    for found in rasters:
        # `like` names a file, and cannot say which of its variables.
        if found.crs == crs and found.extent and found.variable is None:
            corner = tuple(round(edge, 3) for edge in found.extent)
            grids.setdefault((found.shape, corner), []).append(found)
    if not grids:
        return None
    shared = max(grids.values(), key=lambda members: (len(members), members[0].count))
    fair = _FEWEST_CELLS_LIKE <= shared[0].count <= MOST_CELLS
    enough = len(shared) * 2 >= len(rasters)
    return RasterGroup(shared[0].file, tuple(shared)) if fair and enough else None


def _choose_cell_size(evidence: Sequence[FileFacts], extent: Extent) -> tuple[float, str]:
    samples = [f for f in evidence if f.kind == "samples" and np.isfinite(f.spacing)]
    rasters = [f for f in evidence if f.cell_size is not None and not f.in_degrees]
    if samples:
        densest = min(samples, key=lambda found: found.spacing)
        # Rather finer: the next of 1, 2, 5 below.
        size = round_125(densest.spacing / 2 / 1.5)
        reason = f"a round half or less of the samples' median spacing, {densest.spacing:,.0f} m"
    elif rasters:
        native = float(np.median([np.mean(f.cell_size or np.nan) for f in rasters]))
        size, reason = round_125(native), f"the rasters' own cells are {native:,.6g}"
    else:
        width, height = extent[2] - extent[0], extent[3] - extent[1]
        size, reason = round_125(np.sqrt(width * height / 1e5)), "about 100,000 cells"
    wanted = size
    while _count_cells(extent, size) > MOST_CELLS:
        size = round_125(size * 2.2)
    while _count_cells(extent, size) < FEWEST_CELLS:
        size = round_125(size / 2.2)
    if size != wanted:
        bound = f"fewer than {MOST_CELLS:,}" if size > wanted else f"more than {FEWEST_CELLS:,}"
        reason += f"; {size:g} makes {bound} cells, a quick first map"
    return size, reason


def _count_cells(extent: Extent, size: float) -> int:
    width, height = max(extent[2] - extent[0], size), max(extent[3] - extent[1], size)
    return int(np.ceil(width / size) * np.ceil(height / size))


def _overlap(one: Extent, other: Extent) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _patterns(rasters: Sequence[FileFacts]) -> Counter[str]:
    """Wildcards that keep the beginning or the end of a name up to a separator, and the folder."""
    patterns: Counter[str] = Counter()
    for found in rasters:
        path = PurePosixPath(found.file)
        cut = re.split(r"([_\-. ])", path.stem)
        if len(cut) >= 3 and not re.search(r"[*?\[]", found.file):
            for name in (f"{cut[0]}{cut[1]}*{path.suffix}", f"*{cut[-2]}{cut[-1]}{path.suffix}"):
                patterns[str(path.with_name(name))] += 1
    return patterns


def _matches(pattern: str, file: str) -> bool:
    """As :meth:`pathlib.Path.glob` would: a wildcard does not cross folders."""
    path, wild = PurePosixPath(file), PurePosixPath(pattern)
    return path.parent == wild.parent and path.match(wild.name)


def _files(count: int) -> str:
    return f"{count} file" + ("s" if count != 1 else "")
