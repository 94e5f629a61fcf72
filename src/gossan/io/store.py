"""The evidence store: a Zarr written block by block that opens only when complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import rioxarray  # noqa: F401 - registers the .rio accessor
import xarray as xr
import zarr
from zarr.codecs import BloscCodec

from gossan.exceptions import GossanError, SurveyDataError
from gossan.grid import Grid
from gossan.io.files import cannot_write, reading, remove

CHUNK = 512
_COMPLETE = "gossan_complete"
_LAYER_COORDINATES = ("source", "kind", "unit", "resolution")


@dataclass(frozen=True)
class Layer:
    """What one evidence layer is.

    Parameters
    ----------
    name : str
        Unique in the stack.
    source : str
        The study's source that it comes from.
    kind : str
        ``"continuous"``, or ``"category"`` for shares and zeros and ones.
    unit : str
        Empty where there is none.
    resolution : float
        Native cell size or median sample spacing, in CRS units; NaN where unknown.
    """

    name: str
    source: str
    kind: str = "continuous"
    unit: str = ""
    resolution: float = float("nan")


def evidence_array(
    values: npt.NDArray[np.float32] | da.Array,
    grid: Grid,
    layers: Sequence[Layer],
    *,
    mask: npt.NDArray[np.bool_] | None = None,
    attrs: dict[str, Any] | None = None,
) -> xr.DataArray:
    """Wrap values (layer, y, x) as the evidence stack with all its coordinates.

    Parameters
    ----------
    values : array of float32, (layer, y, x)
        NumPy or Dask.
    grid : Grid
        Where the cells lie.
    layers : sequence of Layer
        One a layer.
    mask : array of bool, (y, x), optional
        The cells that belong to the study; becomes the coordinate ``mask``.
    attrs : dict, optional
        Attributes of the array.
    """
    coords: dict[str, Any] = {
        "layer": np.array([layer.name for layer in layers], dtype=object),
        "y": grid.northings,
        "x": grid.eastings,
    }
    for name in _LAYER_COORDINATES:
        column = [getattr(layer, name) for layer in layers]
        coords[name] = (
            "layer",
            np.array(column, dtype=float if name == "resolution" else object),
        )
    if mask is not None:
        coords["mask"] = (("y", "x"), mask)
    array = xr.DataArray(
        values, dims=("layer", "y", "x"), coords=coords, name="evidence", attrs=attrs or {}
    )
    return array.rio.write_crs(grid.crs).rio.write_transform(grid.transform)


def layers_of(evidence: xr.DataArray) -> list[Layer]:
    """The layers' descriptions, read off the stack's coordinates."""
    names = [str(name) for name in evidence["layer"].to_numpy()]
    columns = [
        evidence[name].to_numpy() if name in evidence.coords else None
        for name in _LAYER_COORDINATES
    ]
    described = []
    for i, name in enumerate(names):
        values = {
            key: (float(column[i]) if key == "resolution" else str(column[i]))
            for key, column in zip(_LAYER_COORDINATES, columns, strict=True)
            if column is not None
        }
        described.append(Layer(name=name, **{"source": name, **values}))  # type: ignore[arg-type]
    return described


@dataclass
class EvidenceStore:
    """A store in the making: :meth:`write` blocks, then :meth:`finish`.

    Until it is finished it lies under another name, so that a killed build leaves nothing that
    opens. Use :func:`create_evidence_store`.
    """

    path: Path
    grid: Grid
    layers: list[Layer]
    _array: zarr.Array = field(repr=False)

    @property
    def partial(self) -> Path:
        """Where the blocks lie until the store is finished."""
        return _partial(self.path)

    def write(
        self, values: npt.NDArray[np.float32], layers: slice, rows: slice, columns: slice
    ) -> None:
        """Write a block (layer, y, x); aligned to chunks of 512 cells it is written once."""
        try:
            self._array[layers, rows, columns] = values
        except OSError as error:
            self.discard()
            raise cannot_write(self.path, error) from error

    def read(self, layer: int, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        """Read back a written block (y, x)."""
        return np.asarray(self._array[layer, rows, columns], dtype=np.float32)

    def finish(
        self,
        *,
        mask: npt.NDArray[np.bool_] | None = None,
        attrs: dict[str, Any] | None = None,
        keep: Sequence[int] | None = None,
    ) -> xr.DataArray:
        """Write the coordinates, mark the store complete, give it its name and open it.

        Parameters
        ----------
        mask : array of bool, (y, x), optional
            Cells that belong to the study.
        attrs : dict, optional
            Attributes of the evidence.
        keep : sequence of int, optional
            Layers to keep; the others are deleted. Default: all.
        """
        try:
            if keep is not None and len(keep) < len(self.layers):
                self._keep(list(keep))
            _write_coordinates(self.partial, self.grid, self.layers, mask, attrs or {})
            _replace_folder(self.partial, self.path)
        except OSError as error:
            self.discard()
            raise cannot_write(self.path, error) from error
        return open_evidence(self.path)

    def discard(self) -> None:
        """Delete what was written."""
        remove(self.partial)

    def _keep(self, keep: list[int]) -> None:
        """Delete the other layers: each layer's chunks lie in a folder of their own."""
        chunks = self.partial / "evidence" / "c"
        for i in range(len(self.layers)):
            if i not in keep:
                remove(chunks / str(i))
        for new, old in enumerate(keep):
            if new != old and (chunks / str(old)).exists():
                (chunks / str(old)).rename(chunks / str(new))
        self.layers = [self.layers[i] for i in keep]
        self._array.resize((len(keep), *self.grid.shape))


def create_evidence_store(
    path: str | os.PathLike[str], grid: Grid, layers: Sequence[Layer]
) -> EvidenceStore:
    """Begin a Zarr store of evidence, float32 in chunks of (1, 512, 512), missing = NaN.

    Parameters
    ----------
    path : path-like
        Where the finished store shall lie. An older store there is replaced when the new one is
        complete; anything else there is an error.
    grid : Grid
        The template grid.
    layers : sequence of Layer
        The layers to come.

    Raises
    ------
    GossanError
        If something other than an evidence store lies there, or the disk refuses.
    """
    path = Path(path)
    if path.exists() and not (path / "zarr.json").is_file():
        raise GossanError(f"{path} exists and is no evidence store; move it or name another.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(_partial(path))
        group = zarr.open_group(_partial(path), mode="w", zarr_format=3)
        array = group.create_array(
            "evidence",
            shape=(len(layers), *grid.shape),
            chunks=(1, CHUNK, CHUNK),
            dtype="float32",
            fill_value=np.nan,
            dimension_names=("layer", "y", "x"),
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
        )
    except OSError as error:
        remove(_partial(path))
        raise cannot_write(path, error) from error
    return EvidenceStore(path, grid, list(layers), array)


def save_evidence(evidence: xr.DataArray, path: str | os.PathLike[str]) -> xr.DataArray:
    """Write a whole stack, block by block, and open it again, backed by Dask."""
    grid = Grid.from_dataarray(evidence)
    store = create_evidence_store(path, grid, layers_of(evidence))
    try:
        for i in range(evidence.sizes["layer"]):
            for rows, columns in grid.blocks(CHUNK):
                block = evidence[i, rows, columns].to_numpy()[np.newaxis]
                store.write(block.astype(np.float32), slice(i, i + 1), rows, columns)
    except BaseException:
        store.discard()
        raise
    mask = evidence["mask"].to_numpy() if "mask" in evidence.coords else None
    return store.finish(mask=mask, attrs=dict(evidence.attrs))


def open_evidence(path: str | os.PathLike[str]) -> xr.DataArray:
    """Open a finished evidence store, backed by Dask in chunks of (1, 512, 512).

    Raises
    ------
    SurveyDataError
        If there is none, or it was not finished.
    """
    path = Path(path)
    if not (path / "zarr.json").is_file():
        raise SurveyDataError(f"{path} is no evidence store. `gossan run STUDY` builds it.")
    with reading(path, "an evidence store"):
        group = zarr.open_group(path, mode="r")
        if not group.attrs.get(_COMPLETE):
            raise SurveyDataError(f"{path} is unfinished. Delete it and run the study again.")
        dataset = xr.open_zarr(path, chunks={}, consolidated=False, decode_coords="all")
        evidence = dataset["evidence"]
        for name in list(evidence.coords):
            coordinate = evidence[name].load()
            if coordinate.dtype.kind == "T":
                coordinate = coordinate.astype(object)
            evidence = evidence.assign_coords({name: coordinate})
        return evidence


def _partial(path: Path) -> Path:
    return path.with_name(f".partial-{path.name}")


def _write_coordinates(
    folder: Path,
    grid: Grid,
    layers: Iterable[Layer],
    mask: npt.NDArray[np.bool_] | None,
    attrs: dict[str, Any],
) -> None:
    """Everything but the values, then the mark of completeness, last."""
    layers = list(layers)
    empty = da.empty((len(layers), *grid.shape), dtype=np.float32, chunks=(1, CHUNK, CHUNK))
    described = evidence_array(empty, grid, layers, mask=mask, attrs=attrs)
    coordinates = described.coords.to_dataset().reset_coords()
    coordinates.drop_encoding().to_zarr(folder, mode="a", zarr_format=3, consolidated=False)
    group = zarr.open_group(folder, mode="r+")
    others = " ".join(sorted({str(name) for name in coordinates.data_vars} - {"spatial_ref"}))
    group["evidence"].attrs.update({**attrs, "coordinates": others, "grid_mapping": "spatial_ref"})
    group.attrs.update({_COMPLETE: True})


def _replace_folder(new: Path, path: Path) -> None:
    """Put a folder in another's place; a kill between leaves the one or the other, whole."""
    old = path.with_name(f".old-{path.name}")
    remove(old)
    if path.exists():
        path.replace(old)
    new.replace(path)
    shutil.rmtree(old, ignore_errors=True)
