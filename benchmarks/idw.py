"""Inverse-distance weighting against its peers: time, memory and agreement, in one run.

    python benchmarks/idw.py                # the published size: 8 elements, 3072 × 3072 cells
    python benchmarks/idw.py --size 512     # a quick look

Each peer runs in a process of its own, one after the other, on the same samples, after a warm-up
on a few cells. Peers that would take minutes run on the middle of the grid, or on one element, and
are extrapolated by the number of estimates, which the table says. CPU seconds tell what a busy
machine hides. The table is printed and written to ``benchmarks/idw.csv``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil

from gossan.grid import Grid

CELL_SIZE = 50.0
N_VARIABLES = 8
NEIGHBORS = 12

Estimator = Callable[[npt.NDArray, npt.NDArray, Grid], npt.NDArray]


def gossan(coordinates: npt.NDArray, values: npt.NDArray, grid: Grid) -> npt.NDArray:
    from gossan.interpolate import idw

    return idw(coordinates, values, grid, neighbors=NEIGHBORS)


def gossan_single_precision(
    coordinates: npt.NDArray, values: npt.NDArray, grid: Grid
) -> npt.NDArray:
    from gossan.interpolate import idw

    return idw(coordinates, values, grid, neighbors=NEIGHBORS, dtype=np.float32)


def gossan_all_samples(coordinates: npt.NDArray, values: npt.NDArray, grid: Grid) -> npt.NDArray:
    from gossan.interpolate import idw

    return idw(coordinates, values, grid, neighbors=None)


def scipy_tree(coordinates: npt.NDArray, values: npt.NDArray, grid: Grid) -> npt.NDArray:
    """SciPy done well: one threaded query serves all elements, row block by row block."""
    from scipy.spatial import cKDTree

    tree = cKDTree(coordinates)
    estimate = np.empty((values.shape[1], *grid.shape))
    rows_at_once = max(1, 50_000 // grid.shape[1])
    for top in range(0, grid.shape[0], rows_at_once):
        window = grid.window(top, min(top + rows_at_once, grid.shape[0]), 0, grid.shape[1])
        distance, index = tree.query(window.coordinates(), k=NEIGHBORS, workers=-1)
        # A sample on a centre outweighs all others by twenty orders of magnitude.
        weight = 1.0 / np.maximum(distance, 1e-10) ** 2
        weight /= weight.sum(axis=1, keepdims=True)
        block = np.einsum("ck,ckv->vc", weight, values[index])
        estimate[:, top : top + window.shape[0]] = block.reshape(-1, *window.shape)
    return estimate


def verde_neighbors(coordinates: npt.NDArray, values: npt.NDArray, grid: Grid) -> npt.NDArray:
    import verde

    easting, northing = np.meshgrid(grid.eastings, grid.northings)
    estimate = [
        verde.KNeighbors(k=NEIGHBORS, reduction=np.mean)
        .fit(tuple(coordinates.T), variable)
        .predict((easting, northing))
        for variable in values.T
    ]
    return np.stack(estimate)


def gdal_grid(coordinates: npt.NDArray, values: npt.NDArray, grid: Grid) -> npt.NDArray:
    """One run of ``gdal_grid -a invdistnn`` an element, on all cores."""
    import geopandas
    import rasterio

    west, south, east, north = grid.bounds
    spacing = np.sqrt(np.ptp(coordinates, axis=0).prod() / len(coordinates))
    # Wide enough to hold 50 samples: every cell finds its neighbours, as with the other peers.
    search = f"invdistnn:power=2:radius={4 * spacing}:max_points={NEIGHBORS}:nodata=nan"
    estimate = []
    with tempfile.TemporaryDirectory() as folder:
        points = geopandas.GeoDataFrame(
            values, geometry=geopandas.points_from_xy(*coordinates.T), crs=grid.crs
        ).rename(columns=lambda name: f"z{name}" if isinstance(name, int) else name)
        points.to_file(f"{folder}/samples.gpkg", layer="samples")
        for variable in range(values.shape[1]):
            command = ["gdal_grid", "-q", "-a", search, "-zfield", f"z{variable}", "-ot", "Float64"]
            command += ["-txe", str(west), str(east), "-tye", str(north), str(south)]
            command += ["-outsize", str(grid.shape[1]), str(grid.shape[0]), "-l", "samples"]
            command += ["--config", "GDAL_NUM_THREADS", "ALL_CPUS"]
            subprocess.run([*command, f"{folder}/samples.gpkg", f"{folder}/z.tif"], check=True)
            with rasterio.open(f"{folder}/z.tif") as raster:
                estimate.append(raster.read(1))
    return np.stack(estimate)


def plain_numpy(coordinates: npt.NDArray, values: npt.NDArray, grid: Grid) -> npt.NDArray:
    """No neighbour search: every sample weighs on every cell, one element at a time."""
    easting, northing = np.meshgrid(grid.eastings, grid.northings)
    estimate = np.empty((values.shape[1], *grid.shape))
    for variable in range(values.shape[1]):
        total, weighted = np.zeros(grid.shape), np.zeros(grid.shape)
        for (east, north), value in zip(coordinates, values[:, variable], strict=True):
            distance = np.sqrt((easting - east) ** 2 + (northing - north) ** 2)
            weight = 1.0 / np.maximum(distance, 1e-10) ** 2
            total += weight
            weighted += weight * value
        estimate[variable] = weighted / total
    return estimate


@dataclass(frozen=True)
class Peer:
    """How one peer is measured: on ``1 / part`` of the grid's side, with so many elements."""

    estimate: Estimator
    note: str = ""
    part: int = 1
    variables: int = N_VARIABLES
    reference: Estimator | None = gossan  # whose answer it should give


PEERS = {
    "gossan": Peer(gossan, "float64", reference=None),
    "gossan, float32": Peer(gossan_single_precision, "float32 output"),
    "SciPy": Peer(scipy_tree, "cKDTree.query(workers=-1), einsum in row blocks"),
    "verde": Peer(
        verde_neighbors,
        "has no inverse distances; KNeighbors with an unweighted mean, element by element",
        part=4,
        variables=1,
        reference=None,
    ),
    "gdal_grid": Peer(gdal_grid, "invdistnn, GDAL_NUM_THREADS=ALL_CPUS", part=4, variables=1),
    "gossan, all samples": Peer(gossan_all_samples, "neighbors=None", part=32, reference=None),
    "plain NumPy, all samples": Peer(
        plain_numpy,
        "every cell against every sample, without a search tree",
        part=32,
        variables=1,
        reference=gossan_all_samples,
    ),
}
EIS_NOTE = "not installable here: its releases ask for Python < 3.11"


def make_survey(size: int, n_samples: int) -> tuple[npt.NDArray, npt.NDArray, Grid]:
    """Samples at random places, lognormal concentrations, and the grid that they cover."""
    rng = np.random.default_rng(0)
    grid = Grid.from_bounds((0, 0, size * CELL_SIZE, size * CELL_SIZE), CELL_SIZE, "EPSG:32650")
    coordinates = rng.uniform(0, size * CELL_SIZE, (n_samples, 2))
    return coordinates, rng.lognormal(size=(n_samples, N_VARIABLES)), grid


def middle(grid: Grid, part: int) -> Grid:
    side = max(16, grid.shape[0] // part)
    first = (grid.shape[0] - side) // 2
    return grid.window(first, first + side, first, first + side)


def measure(name: str, size: int, n_samples: int) -> dict[str, float]:
    """Run one peer in this process: seconds, and memory above what input and imports take."""
    peer = PEERS[name]
    coordinates, values, grid = make_survey(size, n_samples)
    window, values = middle(grid, peer.part), values[:, : peer.variables]
    peer.estimate(coordinates[:100], values[:100], grid.window(0, 4, 0, 4))
    before = psutil.Process().memory_info().rss
    start, cpu_start = time.perf_counter(), cpu_seconds()
    estimate = peer.estimate(coordinates, values, window)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu_start
    # Linux counts in kibibytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    figures = {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak": peak,
        "estimates": estimate.size,
        "output": estimate.nbytes,
    }
    if peer.reference is not None:
        expected = peer.reference(coordinates, values, window)
        figures["difference"] = float(np.max(np.abs(estimate / expected - 1)))
    return figures


def cpu_seconds() -> float:
    """CPU time of this process and its finished children: what a busy machine cannot stretch."""
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def measure_apart(name: str, size: int, n_samples: int) -> dict[str, float]:
    """Run one peer in a process of its own."""
    command = [sys.executable, __file__, "--peer", name]
    command += ["--size", str(size), "--samples", str(n_samples)]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(finished.stdout)


def compare(size: int, n_samples: int, repeats: int) -> pd.DataFrame:
    """The least time of ``repeats`` rounds over all peers."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in PEERS}
    for turn in range(repeats):
        for name in PEERS:
            if name == "gdal_grid" and shutil.which("gdal_grid") is None:
                continue
            print(f"round {turn + 1} of {repeats}: {name}", file=sys.stderr)
            rounds[name].append(measure_apart(name, size, n_samples))
    best = {
        name: {key: min(turn[key] for turn in measured) for key in measured[0]}
        for name, measured in rounds.items()
        if measured
    }
    rows = [describe(name, best, size) for name in PEERS]
    return pd.DataFrame([*rows, {"peer": "EIS toolkit", "note": EIS_NOTE}])


def describe(name: str, best: dict[str, dict[str, float]], size: int) -> dict[str, object]:
    peer = PEERS[name]
    if name not in best:
        return {"peer": name, "note": "not at hand: install gdal-bin"}
    measured, whole = best[name], size * size * N_VARIABLES
    scale = whole / measured["estimates"]
    row: dict[str, object] = {"peer": name}
    for key in ("seconds", "cpu_seconds"):
        row[key] = round(measured[key] * scale, 2)
        row[f"{key}_times_gossan"] = round(measured[key] * scale / best["gossan"][key], 1)
    if measured["estimates"] < whole:
        row["measured"] = f"extrapolated from 1/{round(scale)}"
    else:
        row["measured"] = "whole"
        row["peak_mb"] = round(measured["peak"] / 1e6)
        row["peak_over_output"] = round(measured["peak"] / measured["output"], 2)
    if "difference" in measured:
        row["largest_relative_difference"] = f"{measured['difference']:.1e}"
    return row | {"note": peer.note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=3072, help="cells along the grid's side")
    parser.add_argument("--samples", type=int, help="default: 7237 at 3072 cells, as dense")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    n_samples = options.samples or max(100, round(7237 * (options.size / 3072) ** 2))
    if options.peer:
        print(json.dumps(measure(options.peer, options.size, n_samples)))
        return
    table = compare(options.size, n_samples, options.repeats)
    table.insert(1, "size", options.size)
    table.insert(2, "samples", n_samples)
    table.insert(3, "cores", len(os.sched_getaffinity(0)))
    table.to_csv(Path(__file__).with_suffix(".csv"), index=False)
    print(table.to_string(index=False, na_rep=""))


if __name__ == "__main__":
    main()
