"""Regions and analogues of ten million cells by 64 embedding layers: seconds and memory.

- Clustering: from a Zarr store on disk, block by block, with eight regions, beside scikit-learn's
  `KMeans` on the whole array in memory (timed on a tenth of the cells and multiplied by ten). Peak
  resident memory, in a process of its own.
- Query: likeness of all cells to one place, the embedding in memory, beside scikit-learn's
  `StandardScaler` and `cosine_similarity` on the same cells; and from the store.

Ratios are of one run on one machine, with all of its threads. Prints a table and writes it as CSV
and Markdown. The store, of 2.4 GiB, is kept in a scratch folder.

    python benchmarks/regions_speed.py
"""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from masked_pretraining import COLUMNS, lines_of, row, seconds
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler

import gossan as gs
from gossan import io
from gossan.regions import find_regions, similarity_map

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "docs" / "tables" / "regions_speed.md"
SCRATCH = HERE / "scratch" / "regions_speed"
SHAPE, LAYERS, REGIONS = (3_200, 3_125), 64, 8
PART = 10
"""The peer clusters one cell in so many."""
SIZES = f"{SHAPE[0] * SHAPE[1]:,} cells × {LAYERS} layers"


def grid() -> gs.Grid:
    return gs.Grid.from_bounds((0, 0, 100 * SHAPE[1], 100 * SHAPE[0]), 100, "EPSG:32650")


def store() -> Path:
    """An embedding with eight kinds of ground, in patches of 64 cells, and noise."""
    path = SCRATCH / f"{SHAPE[0]}x{SHAPE[1]}x{LAYERS}.zarr"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(REGIONS, LAYERS)).astype(np.float32)
    blocks = [-(-length // 64) for length in SHAPE]
    kinds = rng.integers(REGIONS, size=blocks)
    layers = [io.Layer(f"embedding {k + 1}", "embedding") for k in range(LAYERS)]
    written = io.create_evidence_store(path, grid(), layers)
    for rows, columns in grid().blocks(io.store.CHUNK):
        down, across = (np.arange(part.start, part.stop) // 64 for part in (rows, columns))
        kind = kinds[np.ix_(down, across)]
        values = centres[kind] + rng.normal(size=(*kind.shape, LAYERS)).astype(np.float32)
        written.write(np.moveaxis(values, -1, 0), slice(0, LAYERS), rows, columns)
    written.finish(mask=np.ones(SHAPE, dtype=bool))
    return path


def clustered(path: Path) -> tuple[float, float]:
    """Seconds, and MiB that this process held at most."""
    layers = io.open_evidence(path)
    took = seconds(lambda: find_regions(layers, count=REGIONS, scale="deviations", random_state=0))
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peer_clustering(values: np.ndarray) -> float:
    some = np.ascontiguousarray(values[:, ::PART].T)
    return PART * seconds(lambda: KMeans(REGIONS, n_init=4, random_state=0).fit(some))


def main() -> None:
    path = store()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        took, peak = fresh.submit(clustered, path).result()
    values = io.open_evidence(path).to_numpy()
    flat = values.reshape(LAYERS, -1)
    rows: list[dict[str, Any]] = [
        row("clustering from disk; KMeans in memory, extrapolated", SIZES, peer_clustering(flat),
            took, "s"),
        row("peak memory of clustering", SIZES, np.nan, peak, "MiB"),
    ]  # fmt: skip
    layers = grid().to_dataarray(values, layers=[str(k) for k in range(LAYERS)])
    query = np.array([[1_000, 1_000]])
    own = seconds(lambda: similarity_map(layers, query, scale="deviations"))
    peer = seconds(lambda: peer_query(flat, 1_000 * SHAPE[1] + 1_000))
    rows.append(row("likeness to one place, in memory; scikit-learn", SIZES, peer, own, "s"))
    lazy: xr.DataArray = io.open_evidence(path)
    own = seconds(lambda: similarity_map(lazy, query, scale="deviations"))
    rows.append(row("the same from disk", SIZES, np.nan, own, "s"))
    table = pd.DataFrame(rows, columns=COLUMNS)
    print(table.to_string(index=False))
    table.to_csv(HERE / "regions_speed.csv", index=False, float_format="%.4g")
    io.write_text(TABLE, "\n".join(lines_of(rows)) + "\n")


def peer_query(flat: np.ndarray, cell: int) -> np.ndarray:
    scaled = StandardScaler().fit_transform(flat.T)
    return cosine_similarity(scaled, scaled[[cell]])[:, 0]


if __name__ == "__main__":
    main()
