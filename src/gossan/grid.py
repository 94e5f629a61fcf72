"""One template grid for a study: CRS, transform and shape, and the way between cells and places.

Coordinates are (easting, northing); arrays are (y, x), north up: row 0 is the northernmost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyproj
import rioxarray  # noqa: F401 - registers the .rio accessor
import xarray as xr
from affine import Affine

from gossan.exceptions import StudyError


@dataclass(frozen=True)
class Grid:
    """A north-up raster template: where the cells of a study lie.

    Parameters
    ----------
    crs : pyproj.CRS
        Coordinate reference system of ``transform``. Anything ``pyproj.CRS`` understands is
        accepted by the constructors.
    transform : affine.Affine
        From (column, row) to (easting, northing) of the cells' upper-left corners, in CRS units.
        Neither rotated nor sheared.
    shape : tuple of int
        ``(rows, columns)``.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 1000, 500), cell_size=100, crs="EPSG:32650")
    >>> grid.shape
    (5, 10)
    >>> grid.locate([150.0], [450.0])
    (array([0]), array([1]))
    """

    crs: pyproj.CRS
    transform: Affine
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        transform, (rows, columns) = self.transform, self.shape
        if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
            raise StudyError(
                f"The grid's transform {tuple(transform)[:6]} is rotated, sheared or not north up. "
                "Warp the raster first, e.g. `gdalwarp in.tif out.tif`."
            )
        if rows < 1 or columns < 1:
            raise StudyError(
                f"A grid needs at least one cell, got {rows} rows × {columns} columns."
            )

    @classmethod
    def from_bounds(
        cls,
        bounds: tuple[float, float, float, float],
        cell_size: float | tuple[float, float],
        crs: object,
    ) -> Grid:
        """Cover ``bounds`` with whole cells, anchored at the west and north edges.

        Parameters
        ----------
        bounds : tuple of float
            ``(west, south, east, north)`` in CRS units. East and south grow outward to a whole
            number of cells.
        cell_size : float or tuple of float
            Cell width (and height) in CRS units.
        crs : object
            Anything :class:`pyproj.CRS` accepts, such as ``"EPSG:32650"``.
        """
        west, south, east, north = (float(edge) for edge in bounds)
        width, height = np.broadcast_to(np.asarray(cell_size, dtype=float), (2,))
        if not (np.isfinite([west, south, east, north]).all() and width > 0 and height > 0):
            raise StudyError(f"Cannot make a grid of bounds {bounds} and cell size {cell_size}.")
        if west >= east or south >= north:
            raise StudyError(
                f"The extent {bounds} is empty: it reads (west, south, east, north), "
                "with west < east and south < north."
            )
        # A billionth of a cell of rounding must not add a column.
        columns = int(np.ceil((east - west) / width - 1e-9))
        rows = int(np.ceil((north - south) / height - 1e-9))
        transform = Affine(float(width), 0.0, west, 0.0, -float(height), north)
        return cls(pyproj.CRS(crs), transform, (rows, columns))

    @classmethod
    def from_dataarray(cls, array: xr.DataArray) -> Grid:
        """Read the grid off an array with ``x``, ``y`` cell-centre coordinates and a CRS."""
        crs = array.rio.crs
        if crs is None:
            raise StudyError("The array has no CRS. Please set it with `array.rio.write_crs(...)`.")
        declared = array.rio.transform()
        width, west = _step_and_edge(array["x"].to_numpy(), declared.a)
        height, north = _step_and_edge(array["y"].to_numpy(), declared.e)
        shape = (array.sizes["y"], array.sizes["x"])
        return cls(pyproj.CRS(crs), Affine(width, 0.0, west, 0.0, height, north), shape)

    @property
    def cell_size(self) -> tuple[float, float]:
        """Cell width and height, in CRS units."""
        return self.transform.a, -self.transform.e

    @property
    def metres_per_unit(self) -> float:
        """Length of a CRS unit; of a degree of longitude at the grid's middle."""
        if not self.crs.is_geographic:
            return float(self.crs.axis_info[0].unit_conversion_factor)
        _, south, _, north = self.bounds
        return 111_320.0 * float(np.cos(np.radians((south + north) / 2)))

    @property
    def cell_area(self) -> float:
        """Area of one cell, in squared CRS units."""
        return self.transform.a * -self.transform.e

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.shape[0] * self.shape[1]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Outer edges: (west, south, east, north)."""
        west, north = self.transform.c, self.transform.f
        width, height = self.cell_size
        return west, north - self.shape[0] * height, west + self.shape[1] * width, north

    @cached_property
    def eastings(self) -> npt.NDArray[np.float64]:
        """Eastings of the column centres, west to east, shape (columns,)."""
        return self.transform.c + self.transform.a * (
            np.arange(self.shape[1], dtype=np.float64) + 0.5
        )

    @cached_property
    def northings(self) -> npt.NDArray[np.float64]:
        """Northings of the row centres, north to south, shape (rows,)."""
        return self.transform.f + self.transform.e * (
            np.arange(self.shape[0], dtype=np.float64) + 0.5
        )

    def coordinates(
        self, rows: npt.ArrayLike | None = None, columns: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float64]:
        """(easting, northing) of cell centres, (n, 2); of every cell, row-major, by default."""
        if rows is None or columns is None:
            north, east = np.meshgrid(self.northings, self.eastings, indexing="ij")
            return np.column_stack([east.ravel(), north.ravel()])
        return np.column_stack(
            [self.eastings[np.asarray(columns)], self.northings[np.asarray(rows)]]
        )

    def locate(
        self, easting: npt.ArrayLike, northing: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(row, column) of the cell that holds each place; -1, -1 outside the grid."""
        width, height = self.cell_size
        columns = np.floor((np.asarray(easting, dtype=float) - self.transform.c) / width)
        rows = np.floor((self.transform.f - np.asarray(northing, dtype=float)) / height)
        inside = (rows >= 0) & (rows < self.shape[0]) & (columns >= 0) & (columns < self.shape[1])
        return (
            np.where(inside, rows, -1).astype(np.int64),
            np.where(inside, columns, -1).astype(np.int64),
        )

    def window(self, row_start: int, row_stop: int, column_start: int, column_stop: int) -> Grid:
        """The sub-grid of the given half-open row and column ranges."""
        west = self.transform.c + column_start * self.transform.a
        north = self.transform.f + row_start * self.transform.e
        transform = Affine(self.transform.a, 0.0, west, 0.0, self.transform.e, north)
        return Grid(self.crs, transform, (row_stop - row_start, column_stop - column_start))

    def blocks(self, block_size: int = 512) -> Iterator[tuple[slice, slice]]:
        """Row and column slices of square blocks that tile the grid, row by row."""
        for row in range(0, self.shape[0], block_size):
            for column in range(0, self.shape[1], block_size):
                yield (
                    slice(row, min(row + block_size, self.shape[0])),
                    slice(column, min(column + block_size, self.shape[1])),
                )

    def to_dataarray(
        self, values: npt.ArrayLike, *, name: str | None = None, layers: list[str] | None = None
    ) -> xr.DataArray:
        """Wrap ``values`` (y, x) or (layer, y, x) as a DataArray with coordinates and CRS."""
        values = np.asarray(values)
        if values.shape[-2:] != self.shape:
            raise ValueError(f"Values of shape {values.shape} do not fit a grid of {self.shape}.")
        dims = ("y", "x") if values.ndim == 2 else ("layer", "y", "x")
        coords: dict[str, object] = {"y": self.northings, "x": self.eastings}
        if values.ndim == 3:
            coords["layer"] = layers if layers is not None else np.arange(len(values)).astype(str)
        array = xr.DataArray(values, dims=dims, coords=coords, name=name)
        return array.rio.write_crs(self.crs).rio.write_transform(self.transform)

    def same_cells(self, other: Grid) -> bool:
        """Whether both grids have the very same cells (to a thousandth of a cell)."""
        tolerance = 1e-3 * min(self.cell_size)
        return (
            self.shape == other.shape
            and self.crs == other.crs
            and np.allclose(self.bounds, other.bounds, rtol=0, atol=tolerance)
        )


def _step_and_edge(centres: npt.NDArray[np.float64], declared: float) -> tuple[float, float]:
    """Cell size (signed) and outer edge of an axis, from its cell centres where there are two."""
    step = declared
    if len(centres) > 1:
        step = float(centres[-1] - centres[0]) / (len(centres) - 1)
        if np.isclose(step, declared, rtol=1e-9, atol=0):
            step = declared
    return step, float(centres[0]) - step / 2
