"""Regions against the rock units that are there, on synthetic districts; and the map of Kola.

Of each district the geochemistry, magnetics and gravity alone are clustered, without the geological
map: the layers themselves (as ranks), the embedding of a network pretrained on them, and that of
the network as it starts. Adjusted Rand index against the true lithology of each cell, with as many
regions as there are lithologies and with the number that stability and silhouette choose. Mean over
the districts with a 95 % bootstrap interval, and paired differences to the layers by k-means.

Then the regions of Kola from its C-horizon geochemistry: table, map and profiles for the docs.

Finished districts and networks are kept in a scratch folder.

    python benchmarks/regions_truth.py [--districts 10] [--only districts kola]
"""

from __future__ import annotations

import argparse
import shutil
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import xarray as xr
from rasterio.features import rasterize
from sklearn.metrics import adjusted_rand_score

import gossan as gs
from gossan import io
from gossan.datasets import synthetic_district, write_district
from gossan.grid import Grid
from gossan.nn.masked_autoencoder import Pretraining, pretrain, untrained
from gossan.pipeline import regions_study, stage_keys
from gossan.regions import find_regions

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
SCRATCH = HERE / "scratch" / "regions_truth"
DISTRICT: dict[str, Any] = {}
"""Of the synthetic districts, in place of their defaults: none."""
WAYS = {
    "layers, k-means": ("layers", "k-means"),
    "layers, Gaussian mixture": ("layers", "gaussian-mixture"),
    "layers, hierarchical": ("layers", "hierarchical"),
    "embedding, k-means": ("embedding", "k-means"),
    "embedding, Gaussian mixture": ("embedding", "gaussian-mixture"),
    "untrained embedding, k-means": ("untrained", "k-means"),
}
REFERENCE = "layers, k-means"
RESAMPLES = 5_000
PLAN = Pretraining(accelerator="cpu")


def evidence_of(seed: int) -> tuple[xr.DataArray, np.ndarray]:
    """Measured layers of a district, and the true lithology of each cell, from 1."""
    made = synthetic_district(seed, **DISTRICT)
    study = gs.read_study(write_district(made, SCRATCH / "districts" / str(seed)))
    store = SCRATCH / f"{seed}-{stage_keys(study)['evidence'][:12]}.zarr"
    if not store.exists():
        gs.build_evidence(study, store=store)
    evidence = io.open_evidence(store).compute()
    names = [str(name) for name in evidence["layer"].to_numpy()]
    measured = [name for name in names if not mapped(name)]
    grid = Grid.from_dataarray(evidence)
    kinds = sorted(made.geology["lithology"].unique())
    places = made.geology.to_crs(grid.crs)
    shapes = [
        (outline, kinds.index(kind) + 1)
        for outline, kind in zip(places.geometry, places["lithology"], strict=True)
    ]
    truth = rasterize(shapes, out_shape=grid.shape, transform=grid.transform)
    return evidence.sel(layer=measured), truth


def mapped(name: str) -> bool:
    """Whether a layer is drawn on the geological map, or a mean of others."""
    return name.startswith(("geology", "distance", "density")) or " (" in name


def district(seed: int) -> dict[str, Any]:
    """Adjusted Rand index of each way, with the true number of regions and with the chosen one."""
    kept = io.JsonFolder(SCRATCH / "found")
    rooms = sorted(Path(gs.__file__).parent.glob("regions/*.py"))
    code = [io.network_code("gossan.nn.masked_autoencoder"), *map(io.file_digest, rooms)]
    key = joblib.hash((seed, DISTRICT, PLAN, code))
    if key not in kept:
        evidence, truth = evidence_of(seed)
        with io.networks_kept(SCRATCH / "networks"):
            looks = {
                "layers": (evidence, "ranks"),
                "embedding": (pretrain(evidence, PLAN).embed(evidence), "deviations"),
                "untrained": (untrained(evidence, PLAN).embed(evidence), "deviations"),
            }
        units = len(np.unique(truth[truth > 0]))
        found: dict[str, Any] = {"units": units}
        for title, (look, method) in WAYS.items():
            layers, scale = looks[look]
            for count in (units, "auto"):
                regions = find_regions(layers, count=count, method=method, scale=scale)
                numbers = regions.labels.to_numpy()
                shown = (numbers > 0) & (truth > 0)
                figure = adjusted_rand_score(truth[shown], numbers[shown])
                found[f"{title}; {'true' if count == units else 'chosen'}"] = float(figure)
                found[f"{title}; regions"] = regions.count
            print(f"district {seed}, {title}: {figure:.3f}, {regions.count} regions", flush=True)
        kept[key] = found
    return kept[key]


def interval(values: np.ndarray, digits: int = 2, sign: str = "") -> str:
    """Mean with a 95 % bootstrap interval over the districts."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    texts = [f"{value:{sign}.{digits}f}".replace("-", "−") for value in (values.mean(), low, high)]
    return f"{texts[0]} ({texts[1]} to {texts[2]})"


def districts(count: int) -> None:
    found = pd.DataFrame([district(seed) for seed in range(count)])
    heads = [
        "regions of",
        "ARI, true number",
        "ARI, chosen number",
        "less layers, k-means",
        "chosen",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for title in WAYS:
        true, chosen = (found[f"{title}; {kind}"].to_numpy() for kind in ("true", "chosen"))
        minus = true - found[f"{REFERENCE}; true"].to_numpy()
        counts = found[f"{title}; regions"]
        lines.append(
            f"| {title} | {interval(true)} | {interval(chosen)} | "
            f"{'–' if title == REFERENCE else interval(minus, 3, '+')} | "
            f"{_range(counts)} |"
        )
    units = found["units"]
    lines += [
        "",
        f"- {count} districts, {_range(units)} lithologies each; geochemistry, "
        "magnetics and gravity, without the geological map.",
        "- Mean adjusted Rand index with 95 % bootstrap intervals over districts; the difference "
        "is paired, with the true number of regions.",
    ]
    print("\n".join(lines))
    found.to_csv(HERE / "regions_truth.csv", index=False, float_format="%.4g")
    io.write_text(DOCS / "tables" / "regions_truth.md", "\n".join(lines) + "\n")


def _range(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return f"{low}" if low == high else f"{low} to {high}"


def kola() -> None:
    study = gs.read_study(HERE.parent / "examples" / "kola" / "study.toml")
    found = regions_study(study, output=SCRATCH / "kola")
    for name, target in (("regions", "kola-regions"), ("region-profiles", "kola-profiles")):
        shutil.copyfile(found.path / f"{name}.png", DOCS / "figures" / f"{target}.png")
    heads = ["region", "stands out by", "share", "km²"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in found.table.to_dict("records"):
        lines.append(
            f"| {row['region']} | {row['layers'].replace('-', '−')} | {100 * row['share']:.0f} % | "
            f"{row['area_km2']:,.0f} |"
        )
    taken = found.choice[found.choice["chosen"]].iloc[0]
    lines += ["", f"- Stability of {len(found.table)} regions: {taken['stability']:.2f}."]
    print("\n".join(lines))
    io.write_text(DOCS / "tables" / "kola_regions.md", "\n".join(lines) + "\n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--districts", type=int, default=10)
    arguments.add_argument("--only", nargs="+", default=["districts", "kola"])
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    if "districts" in options.only:
        districts(options.districts)
    if "kola" in options.only:
        kola()


if __name__ == "__main__":
    main()
