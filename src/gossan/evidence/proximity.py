"""Exact distances and densities of points, lines and polygons at the cell centres of a grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely
from numba import njit, prange
from rasterio.features import rasterize

from gossan.grid import Grid

FloatArray = npt.NDArray[np.float64]

_TILE = 64
_SUBTILE = 8


def segments_of(geometries: npt.ArrayLike) -> FloatArray:
    """Points, lines and polygon boundaries as line segments.

    Parameters
    ----------
    geometries : array_like of shapely geometries
        Multi-part geometries and collections are taken apart.

    Returns
    -------
    ndarray, shape (segments, 4)
        ``x0, y0, x1, y1`` of both ends; a point is a segment without length.

    Examples
    --------
    >>> segments_of([shapely.LineString([(0, 0), (1, 0), (1, 2)]), shapely.Point(5, 6)])
    array([[0., 0., 1., 0.],
           [1., 0., 1., 2.],
           [5., 6., 5., 6.]])
    """
    parts = _single_parts(np.asarray(geometries, dtype=object))
    polygons = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    rings = shapely.get_rings(parts[polygons])
    points = shapely.get_type_id(parts) == shapely.GeometryType.POINT
    lines = np.concatenate([parts[~polygons & ~points], rings])
    vertices, line = shapely.get_coordinates(lines, return_index=True)
    joined = line[1:] == line[:-1]
    places = shapely.get_coordinates(parts[points])
    return np.concatenate(
        [
            np.column_stack([vertices[:-1][joined], vertices[1:][joined]]),
            np.column_stack([places, places]),
        ]
    )


def inside(polygons: npt.ArrayLike, grid: Grid) -> npt.NDArray[np.bool_]:
    """Whether each cell's centre lies in any of the polygons, (y, x).

    Parameters
    ----------
    polygons : array_like of shapely geometries
        Points and lines among them hold no cell.
    grid : Grid
        The cells.
    """
    parts = _single_parts(np.asarray(polygons, dtype=object))
    parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    parts = parts[shapely.intersects(parts, shapely.box(*grid.bounds))]
    if not len(parts):
        return np.zeros(grid.shape, dtype=bool)
    burnt = rasterize(parts, out_shape=grid.shape, transform=grid.transform, dtype="uint8")
    return burnt.astype(bool)


def distance_to(segments: FloatArray, grid: Grid) -> FloatArray:
    """Euclidean distance from each cell's centre to the nearest segment, in CRS units, (y, x).

    Exact: of all segments only those are measured that can be nearest to some cell of a tile,
    by the triangle inequality.

    Parameters
    ----------
    segments : ndarray, shape (segments, 4)
        From :func:`segments_of`; at least one.
    grid : Grid
        The cells.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 300, 100), cell_size=100, crs="EPSG:32650")
    >>> distance_to(np.array([[50.0, 0.0, 50.0, 100.0]]), grid)
    array([[  0., 100., 200.]])
    """
    return _distances(np.ascontiguousarray(segments), grid.eastings, grid.northings)


def density_of(segments: FloatArray, grid: Grid, radius: float) -> FloatArray:
    """Length of line within ``radius`` of each cell's centre, over the circle's area, (y, x).

    Parameters
    ----------
    segments : ndarray, shape (segments, 4)
        From :func:`segments_of`. A point (a segment without length) counts as one.
    grid : Grid
        The cells.
    radius : float
        In CRS units. The circle is not cut at the edge of the area, so that density falls
        towards the edge of what was mapped.

    Returns
    -------
    ndarray
        In 1 / CRS unit for lines, 1 / squared CRS unit for points.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 100, 100), cell_size=100, crs="EPSG:32650")
    >>> length = density_of(np.array([[-500.0, 50.0, 500.0, 50.0]]), grid, 100) * np.pi * 100**2
    >>> float(length[0, 0].round(6))
    200.0
    """
    total = _totals_within(
        np.ascontiguousarray(segments), grid.eastings, grid.northings, float(radius)
    )
    return total / (np.pi * radius**2)


def _single_parts(geometries: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Points, lines, rings and polygons only."""
    parts = shapely.get_parts(geometries)
    while (shapely.get_type_id(parts) >= shapely.GeometryType.MULTIPOINT).any():
        parts = shapely.get_parts(parts)
    return parts[~shapely.is_empty(parts)]


@njit(cache=True, inline="always")
def _squared_distance(segments, i, east, north):  # type: ignore[no-untyped-def]
    x, y = segments[i, 0], segments[i, 1]
    dx, dy = segments[i, 2] - x, segments[i, 3] - y
    length = dx * dx + dy * dy
    along = 0.0
    if length > 0.0:
        along = min(1.0, max(0.0, ((east - x) * dx + (north - y) * dy) / length))
    return (east - x - along * dx) ** 2 + (north - y - along * dy) ** 2


@njit(cache=True)
def _reachable(segments, among, east, north, reach, nearest):  # type: ignore[no-untyped-def]
    """Those of ``among`` within ``reach`` of a place, or of the nearest distance plus reach."""
    distance = np.empty(len(among))
    for k in range(len(among)):
        distance[k] = np.sqrt(_squared_distance(segments, among[k], east, north))
    limit = reach * (1.0 + 1e-9)
    if nearest:
        limit += distance.min()
    return among[distance <= limit]


@njit(cache=True)
def _middle_and_radius(eastings, northings, r0, r1, c0, c1):  # type: ignore[no-untyped-def]
    """The centre of a tile of cells, and the distance from it to its farthest cell's centre."""
    east = 0.5 * (eastings[c0] + eastings[c1 - 1])
    north = 0.5 * (northings[r0] + northings[r1 - 1])
    radius = np.sqrt((eastings[c0] - east) ** 2 + (northings[r0] - north) ** 2)
    return east, north, radius


@njit(cache=True, parallel=True)
def _distances(segments, eastings, northings):  # type: ignore[no-untyped-def]
    rows, columns = len(northings), len(eastings)
    result = np.empty((rows, columns))
    everything = np.arange(len(segments))
    east, north, radius = _middle_and_radius(eastings, northings, 0, rows, 0, columns)
    of_block = _reachable(segments, everything, east, north, 2.0 * radius, True)
    across = (columns + _TILE - 1) // _TILE
    down = (rows + _TILE - 1) // _TILE
    for tile in prange(across * down):
        r0, c0 = (tile // across) * _TILE, (tile % across) * _TILE
        r1, c1 = min(r0 + _TILE, rows), min(c0 + _TILE, columns)
        e, n, reach = _middle_and_radius(eastings, northings, r0, r1, c0, c1)
        of_tile = _reachable(segments, of_block, e, n, 2.0 * reach, True)
        for r in range(r0, r1, _SUBTILE):
            for c in range(c0, c1, _SUBTILE):
                rr, cc = min(r + _SUBTILE, r1), min(c + _SUBTILE, c1)
                e, n, reach = _middle_and_radius(eastings, northings, r, rr, c, cc)
                near = _reachable(segments, of_tile, e, n, 2.0 * reach, True)
                for i in range(r, rr):
                    for j in range(c, cc):
                        best = np.inf
                        for k in near:
                            best = min(
                                best, _squared_distance(segments, k, eastings[j], northings[i])
                            )
                        result[i, j] = np.sqrt(best)
    return result


@njit(cache=True)
def _length_within(segments, i, east, north, radius):  # type: ignore[no-untyped-def]
    """Length of a segment within a circle; 1 for a point within it."""
    fx, fy = segments[i, 0] - east, segments[i, 1] - north
    dx, dy = segments[i, 2] - segments[i, 0], segments[i, 3] - segments[i, 1]
    a = dx * dx + dy * dy
    c = fx * fx + fy * fy - radius * radius
    if a == 0.0:
        return 1.0 if c <= 0.0 else 0.0
    half_b = fx * dx + fy * dy
    discriminant = half_b * half_b - a * c
    if discriminant <= 0.0:
        return 0.0
    root = np.sqrt(discriminant)
    start = max(0.0, (-half_b - root) / a)
    stop = min(1.0, (-half_b + root) / a)
    return max(0.0, stop - start) * np.sqrt(a)


@njit(cache=True, parallel=True)
def _totals_within(segments, eastings, northings, radius):  # type: ignore[no-untyped-def]
    rows, columns = len(northings), len(eastings)
    result = np.zeros((rows, columns))
    everything = np.arange(len(segments))
    east, north, reach = _middle_and_radius(eastings, northings, 0, rows, 0, columns)
    of_block = _reachable(segments, everything, east, north, radius + reach, False)
    across = (columns + _TILE - 1) // _TILE
    down = (rows + _TILE - 1) // _TILE
    for tile in prange(across * down):
        r0, c0 = (tile // across) * _TILE, (tile % across) * _TILE
        r1, c1 = min(r0 + _TILE, rows), min(c0 + _TILE, columns)
        e, n, tile_reach = _middle_and_radius(eastings, northings, r0, r1, c0, c1)
        of_tile = _reachable(segments, of_block, e, n, radius + tile_reach, False)
        for r in range(r0, r1, _SUBTILE):
            for c in range(c0, c1, _SUBTILE):
                rr, cc = min(r + _SUBTILE, r1), min(c + _SUBTILE, c1)
                e, n, tile_reach = _middle_and_radius(eastings, northings, r, rr, c, cc)
                near = _reachable(segments, of_tile, e, n, radius + tile_reach, False)
                for i in range(r, rr):
                    for j in range(c, cc):
                        total = 0.0
                        for k in near:
                            total += _length_within(segments, k, eastings[j], northings[i], radius)
                        result[i, j] = total
    return result
