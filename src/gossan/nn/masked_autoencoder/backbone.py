"""What pretraining leaves: a network that turns windows of evidence into embeddings."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Self

import dask
import dask.array as da
import joblib
import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from gossan import io
from gossan.evidence import valid_cells
from gossan.exceptions import StudyError, SurveyDataError, SurveyDataWarning
from gossan.mistakes import suggest
from gossan.nn.devices import chosen_device
from gossan.nn.learnt import read_learnt
from gossan.nn.masked_autoencoder.measures import check_measures
from gossan.nn.masked_autoencoder.network import Architecture, MaskedAutoencoder
from gossan.nn.masked_autoencoder.settings import Pretraining
from gossan.nn.masked_autoencoder.windows import Area, area_digest, read_with_halo
from gossan.nn.masked_autoencoder.written import as_read, as_written
from gossan.nn.standard import Standard

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]

_WINDOWS_AT_ONCE = 128
_BYTES_HELD = 2_000_000_000
"""Embeddings that are held in memory; larger ones are made block by block when asked for."""
_TILE = 512
_CHUNK = 128
"""Cells across a chunk of embeddings that are kept on disk."""


class Backbone:
    """A pretrained masked autoencoder, and the layers that it knows.

    It does not change any more: a clone of it is itself.

    Parameters
    ----------
    learned : dict
        Plain values and arrays: ``weights``, ``layers``, ``binary`` (layers that hold 0 and 1
        only), ``centre`` and ``scale`` of the layers, ``architecture``, and in ``description``
        the areas, settings and losses of the pretraining.
    """

    def __init__(self, learned: dict[str, Any]) -> None:
        self.learned = learned

    @property
    def layers(self) -> list[str]:
        """Names of the evidence layers, in the network's order."""
        return self.learned["layers"]

    @property
    def standard(self) -> Standard:
        """Scale of each layer."""
        return Standard(self.learned["centre"], self.learned["scale"])

    @property
    def architecture(self) -> Architecture:
        """Sizes of the network."""
        return Architecture(**self.learned["architecture"])

    @property
    def _binary(self) -> Tensor:
        return torch.from_numpy(np.asarray(self.learned["binary"], dtype=bool))

    @property
    def description(self) -> dict[str, Any]:
        """Areas, settings and losses of the pretraining."""
        return self.learned["description"]

    @property
    def settings(self) -> Pretraining:
        """How it was pretrained; of an untaught copy, how it would have been."""
        return Pretraining(**self.description["settings"])

    @property
    def window(self) -> int:
        """Cells across the windows that it looks at."""
        return self.architecture.window

    @property
    def stride(self) -> int:
        """Cells from window to window where an area is embedded densely: half a window."""
        return max(1, self.window // 2)

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        return self.architecture.width

    def network(self, accelerator: str = "cpu") -> MaskedAutoencoder:
        """The network itself, ready to embed."""
        with torch.random.fork_rng(devices=[]):  # what is drawn is overwritten
            network = MaskedAutoencoder(len(self.layers), self.architecture, self._binary)
        weights = self.learned["weights"]
        network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        return network.eval().to(chosen_device(accelerator))

    def order(self, layers: list[str]) -> npt.NDArray[np.int64]:
        """For each layer that it knows its place among those given; -1 where it is lacking.

        Raises
        ------
        StudyError
            If none is there; names the nearest.

        Warns
        -----
        SurveyDataWarning
            If it does not know some of those given.
        """
        own = {name: k for k, name in enumerate(layers)}
        order = np.array([own.get(name, -1) for name in self.layers], dtype=np.int64)
        unknown = [name for name in layers if name not in set(self.layers)]
        if 0 < len(unknown) < len(layers):
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            warnings.warn(
                f"The backbone knows {len(layers) - len(unknown)} of the study's {len(layers)} "
                f"layers. It is blind to {', '.join(unknown[:5])}{more}: pretrain one on all of "
                "them.",
                SurveyDataWarning,
                stacklevel=3,
            )
        if (order < 0).all():
            raise StudyError(
                f"The backbone knows none of the study's {len(layers)} layers. It knows "
                f"{', '.join(self.layers[:5])}, …; the study has {', '.join(layers[:5])}, …"
                f"{_near(layers, self.layers)} Pretrain one on this study, or name the layers "
                "alike."
            )
        return order

    def embed(
        self,
        evidence: xr.DataArray,
        *,
        exact: bool = False,
        accelerator: str = "cpu",
        progress: Callable[[int, int], None] | None = None,
    ) -> xr.DataArray:
        """Embeddings of a whole area.

        Dense: windows lie at half a window's stride over the area. The token of a patch is the
        embedding of its cells, and where windows overlap their tokens are averaged: one pass for
        many cells. Exact: the mean of the tokens of the window centred on the cell, one pass a
        cell.

        Parameters
        ----------
        evidence : xarray.DataArray
            ``(layer, y, x)``; layers are matched by name.
        exact : bool, default False
        accelerator : str, default "cpu"
        progress : callable, optional
            Called with (tiles done, tiles in all).

        Returns
        -------
        xarray.DataArray
            ``(layer, y, x)`` float32 with layers ``embedding 1`` …; NaN outside the study. Where
            it would take more than 2 GB it is a Dask array: read from a store beside the networks
            that are kept (:func:`gossan.io.networks_kept`), where it is made once; where none are
            kept, made tile by tile whenever it is asked for.

        Raises
        ------
        StudyError
            If the study shares no layer with the backbone.
        """
        order = self.order([str(name) for name in evidence["layer"].to_numpy()])
        check_measures(evidence, {**self.description, "layers": self.layers})
        area = Area(evidence, order, valid_cells(evidence))
        tiles = list(_tiles(area.centres.shape))
        step = None if exact else self.stride
        if 4 * self.width * area.centres.size > _BYTES_HELD:
            values: Any = self._kept(area, self._lazy(area, tiles, step, accelerator), step)
        else:
            values = np.empty((self.width, *area.centres.shape), dtype=np.float32)
            network = self.network(accelerator)
            for done, tile in enumerate(tiles):
                values[(slice(None), *tile)] = self._tile(network, area, tile, step)
                if progress is not None:
                    progress(done + 1, len(tiles))
            if not np.isfinite(values[:, valid_cells(evidence)]).all():
                raise SurveyDataError(
                    "The backbone turns evidence into what are no numbers: its weights are "
                    "damaged. `gossan pretrain` makes another."
                )
        return _like(evidence, values, [f"embedding {k + 1}" for k in range(self.width)])

    def untrained(self) -> Backbone:
        """The same network with the weights it started from."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.random_state)
            network = MaskedAutoencoder(len(self.layers), self.architecture, self._binary)
        weights = {name: value.numpy() for name, value in network.state_dict().items()}
        kept = ("settings", "layers", "units", "cell_size")
        described = {name: self.description[name] for name in kept if name in self.description}
        described["areas"] = []
        return Backbone({**self.learned, "weights": weights, "description": described})

    def _lazy(
        self,
        area: Area,
        tiles: list[tuple[slice, slice]],
        stride: int | None,
        accelerator: str,
    ) -> da.Array:
        make = dask.delayed(
            lambda tile: self._tile(self.network(accelerator), area, tile, stride), pure=False
        )
        rows: dict[int, list[da.Array]] = {}
        for tile in tiles:
            shape = (self.width, *(part.stop - part.start for part in tile))
            block = da.from_delayed(make(tile), shape=shape, dtype=np.float32)
            rows.setdefault(tile[0].start, []).append(block)
        return da.concatenate([da.concatenate(row, axis=2) for row in rows.values()], axis=1)

    def _kept(self, area: Area, values: da.Array, stride: int | None) -> da.Array:
        """The same, written once where networks are kept; as it is where they are not."""
        folder = io.networks_folder()
        if folder is None:
            return values
        made_of = (self.learned, area_digest(area), stride, io.network_code(__name__))
        key = joblib.hash(made_of)
        store = folder / f"{key}.zarr"
        with io.waiting_lock(folder / f"{key}.lock"):
            if not store.exists():
                partial = store.with_suffix(".part")
                shutil.rmtree(partial, ignore_errors=True)
                chunks = (self.width, _CHUNK, _CHUNK)
                with dask.config.set(scheduler="synchronous"):  # a network has its own threads
                    values.rechunk(chunks).to_zarr(str(partial))
                partial.rename(store)
        return da.from_zarr(str(store))

    @torch.inference_mode()
    def _tile(
        self,
        network: MaskedAutoencoder,
        area: Area,
        tile: tuple[slice, slice],
        stride: int | None,
    ) -> npt.NDArray[np.float32]:
        """Embeddings of a rectangle of cells, (width, rows, columns); exact without a stride."""
        top, left = tile[0].start, tile[1].start
        shape = tuple(part.stop - part.start for part in tile)
        inside = area.centres[tile]
        found = np.full((self.width, *shape), np.nan, dtype=np.float32)
        if not inside.any():
            return found
        halo = self.window // 2 if stride is None else self.window - 1
        values = self.standard.applied(read_with_halo(area, top, left, shape, halo))
        block = torch.from_numpy(values).to(device_of(network))
        if stride is None:
            rows, columns = np.nonzero(inside)
            found[:, rows, columns] = window_means(network, block, rows, columns).cpu().numpy().T
            return found
        corners = window_corners(top, left, shape, self.window, stride)
        tokens = averaged_tokens(network, block, corners)
        own = tokens[:, halo : halo + shape[0], halo : halo + shape[1]].cpu().numpy()
        return np.where(inside, own, np.float32(np.nan))

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write it as one ``.safetensors`` file, which holds numbers and text alone."""
        io.write_weights(file, *as_written(self.learned))

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; nothing in the file is executed.

        Raises
        ------
        SurveyDataError
            If the file is missing, cut short, a pickle, of another version, or no backbone.
        """
        return cls(read_learnt(file, as_read, "backbone", "gossan pretrain"))

    def __sklearn_clone__(self) -> Backbone:
        return self

    def __repr__(self) -> str:
        return f"Backbone({len(self.layers)} layers, window={self.window}, width={self.width})"


def window_corners(
    top: int, left: int, shape: tuple[int, ...], window: int, stride: int
) -> npt.NDArray[np.int64]:
    """First row and column of each window that covers a cell of a rectangle.

    They lie at multiples of the stride from the area's first cell, whatever the rectangle.

    Parameters
    ----------
    top, left : int
        First row and column of the rectangle in the area.
    shape : tuple of int
    window, stride : int

    Returns
    -------
    ndarray of shape (n, 2)
        Counted from ``window - 1`` cells before the rectangle.

    Examples
    --------
    >>> window_corners(0, 0, (3, 1), 3, 2).tolist()
    [[0, 0], [0, 2], [2, 0], [2, 2], [4, 0], [4, 2]]
    """
    along = [
        np.arange(-(-(first - window + 1) // stride) * stride, first + length, stride)
        - (first - window + 1)
        for first, length in zip((top, left), shape, strict=True)
    ]
    rows, columns = np.meshgrid(*along, indexing="ij")
    return np.column_stack([rows.ravel(), columns.ravel()])


def window_means(
    network: MaskedAutoencoder,
    values: Tensor,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
) -> Tensor:
    """The mean token of each window, (n, width).

    Parameters
    ----------
    network : MaskedAutoencoder
    values : Tensor of shape (layers, rows, columns)
        Standardised; NaN = missing.
    rows, columns : ndarray of shape (n,)
        First row and column of each window.
    """
    window = network.architecture.window
    views = values.unfold(1, window, 1).unfold(2, window, 1)
    parts = []
    for start in range(0, len(rows), _WINDOWS_AT_ONCE):
        part = slice(start, start + _WINDOWS_AT_ONCE)
        first, left = (torch.from_numpy(c[part]).to(values.device) for c in (rows, columns))
        windows = views[:, first, left].transpose(0, 1)
        parts.append(network.encode(windows).mean(dim=1))
    return torch.cat(parts)


def device_of(network: MaskedAutoencoder) -> torch.device:
    """Where a network lies."""
    return next(network.parameters()).device


def averaged_tokens(
    network: MaskedAutoencoder, values: Tensor, corners: npt.NDArray[np.int64]
) -> Tensor:
    """Every cell's token, averaged over the windows that hold it.

    Parameters
    ----------
    network : MaskedAutoencoder
    values : Tensor of shape (layers, rows, columns)
        Standardised; NaN = missing.
    corners : ndarray of shape (n, 2)
        First row and column of each window.

    Returns
    -------
    Tensor of shape (width, rows, columns)
        NaN where no window lies.
    """
    sizes = network.architecture
    shape = values.shape[1:]
    views = values.unfold(1, sizes.window, 1).unfold(2, sizes.window, 1)
    total = values.new_zeros(shape.numel(), sizes.width)
    count = values.new_zeros(shape.numel(), 1)
    across = torch.arange(sizes.window, device=values.device)
    # The token that each cell of a window belongs to.
    token = (across[:, None] // sizes.patch) * sizes.across + across // sizes.patch
    for start in range(0, len(corners), _WINDOWS_AT_ONCE):
        part = torch.from_numpy(corners[start : start + _WINDOWS_AT_ONCE]).to(values.device)
        rows, columns = part[:, 0], part[:, 1]
        windows = views[:, rows, columns].transpose(0, 1)  # (n, layers, window, window)
        tokens = network.encode(windows)[:, token.flatten()]  # (n, window², width)
        places = (rows[:, None, None] + across[:, None]) * shape[1]
        places = (places + columns[:, None, None] + across).flatten()
        total.index_add_(0, places, tokens.flatten(0, 1).to(total.dtype))
        count.index_add_(0, places, count.new_ones(len(places), 1))
    return (total / count).T.unflatten(1, shape)


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    for top in range(0, shape[0], _TILE):
        for left in range(0, shape[1], _TILE):
            yield (
                slice(top, min(top + _TILE, shape[0])),
                slice(left, min(left + _TILE, shape[1])),
            )


def _like(evidence: xr.DataArray, values: Any, layers: list[str]) -> xr.DataArray:
    """Values of other layers on the cells of the evidence, its mask kept."""
    coords = {
        name: coordinate
        for name, coordinate in evidence.coords.items()
        if "layer" not in coordinate.dims
    }
    coords["layer"] = ("layer", layers)
    return xr.DataArray(values, dims=("layer", "y", "x"), coords=coords)


def _near(layers: list[str], known: list[str]) -> str:
    near = [f"{name!r}:{suggest(name, known)}" for name in layers if suggest(name, known)]
    return f" {' '.join(near[:3])}" if near else ""
