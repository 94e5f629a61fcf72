"""What a pretrained network learnt without labels: its embedding of the area, and its proofs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from sklearn.decomposition import PCA

from gossan import io
from gossan.evidence import CellFeatures, valid_cells
from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.pipeline.folder import RunFolder
from gossan.pipeline.settings import masked_autoencoders
from gossan.report import PretrainingShown

EMBEDDING, PICTURE = "embedding.zarr", "embedding.tif"
_STAGE = "embedding"
_TOLD = ".stages/pretraining-result.json"
_RECTANGLE = "rectangle"
_OUTPUTS = [EMBEDDING, PICTURE, _TOLD, f".stages/pretraining/{_RECTANGLE}.npz"]
_SAMPLE = 50_000
"""Cells that the principal components are taken from."""
_BLOCK = 512
_LAYERS_SHOWN = 4


def learnt_stage(
    run: RunFolder, key: str, model: Any, evidence: xr.DataArray
) -> PretrainingShown | None:
    """Write the embedding of the area, and what the report shows of the pretraining.

    Parameters
    ----------
    run : RunFolder
    key : str
        Hash of what the model is made from.
    model : classifier
        Fitted; or an ensemble of one.
    evidence : xarray.DataArray
        ``(layer, y, x)``.

    Returns
    -------
    PretrainingShown or None
        None where the model has no pretrained network; then what an earlier one left is removed.
    """
    estimator = _with_backbone(model)
    if estimator is None:
        run.withdraw(_STAGE, _OUTPUTS)
        return None
    if not run.finished(_STAGE, key, _OUTPUTS):
        with run.making(_STAGE, key, _OUTPUTS):
            embedding = _write_embedding(run, estimator, evidence)
            blocks = false_colours(embedding)
            io.write_false_colour(run.path / PICTURE, Grid.from_dataarray(embedding), blocks)
            _write_shown(run, estimator, evidence)
    return _read_shown(run, evidence)


def false_colours(
    embedding: xr.DataArray, *, seed: int = 0
) -> Iterator[tuple[slice, slice, npt.NDArray[np.uint8]]]:
    """First three principal components of an embedding as red, green and blue, block by block.

    They are taken from a sample of at most 50,000 cells, and each is stretched from its 2nd to its
    98th percentile there.

    Parameters
    ----------
    embedding : xarray.DataArray
        ``(layer, y, x)``, NaN where missing; in memory or backed by Dask.
    seed : int, default 0
        Of the sample.

    Yields
    ------
    rows, columns : slice
    colours : ndarray of shape (3, rows, columns), uint8
        1 to 255; 0 where missing.

    Examples
    --------
    >>> grid = Grid.from_bounds((0, 0, 300, 200), 100, "EPSG:32650")
    >>> embedding = grid.to_dataarray([[[0.0, 1.0, 2.0], [3.0, 4.0, np.nan]]])
    >>> rows, columns, colours = next(false_colours(embedding))
    >>> sorted({int(value) for value in colours[0].ravel()})
    [0, 1, 62, 128, 194, 255]
    """
    rows, columns = np.nonzero(valid_cells(embedding))
    if len(rows) > _SAMPLE:
        drawn = np.random.default_rng(seed).choice(len(rows), _SAMPLE, replace=False)
        rows, columns = rows[np.sort(drawn)], columns[np.sort(drawn)]
    sample = CellFeatures(embedding, rows, columns)[:]
    sample = sample[np.isfinite(sample).all(axis=1)]
    components = PCA(min(3, *sample.shape), random_state=seed).fit(sample)
    low, high = np.percentile(components.transform(sample), [2, 98], axis=0)
    span = np.where(high > low, high - low, 1.0)
    for rows_of, columns_of in Grid.from_dataarray(embedding).blocks(_BLOCK):
        values = embedding[:, rows_of, columns_of].to_numpy()
        known = np.isfinite(values).all(axis=0)
        colours = np.zeros((3, *known.shape), dtype=np.uint8)
        colours[:, known] = 128  # a component that there is not
        if known.any():
            share = np.clip((components.transform(values[:, known].T) - low) / span, 0.0, 1.0)
            colours[: share.shape[1], known] = np.rint(1 + 254 * share).T
        yield rows_of, columns_of, colours


def _with_backbone(model: Any) -> Any:
    """The estimator with a pretrained network, inside an ensemble or a screen; None without."""
    while model is not None and getattr(model, "backbone", None) is None:
        model = getattr(model, "estimator", None)
    return model


def _write_embedding(run: RunFolder, estimator: Any, evidence: xr.DataArray) -> xr.DataArray:
    embedding = estimator.backbone.embed(
        evidence,
        exact=estimator.embedding == "exact",
        accelerator=estimator.accelerator,
        progress=run.steps(_STAGE),
    )
    names = [str(name) for name in embedding["layer"].to_numpy()]
    layers = [io.Layer(name, _STAGE) for name in names]
    grid = Grid.from_dataarray(evidence)
    store = io.create_evidence_store(run.path / EMBEDDING, grid, layers)
    try:
        # All layers of a block at once: where they are made when asked for, they are made once.
        for rows, columns in grid.blocks(_BLOCK):
            block = embedding[:, rows, columns].to_numpy()
            store.write(block, slice(0, len(layers)), rows, columns)
    except BaseException:
        store.discard()
        raise
    return store.finish(mask=valid_cells(evidence))


def _write_shown(run: RunFolder, estimator: Any, evidence: xr.DataArray) -> None:
    backbone, accelerator = estimator.backbone, estimator.accelerator
    scores = _scores(backbone, evidence, accelerator)
    arrays, told = _rectangle(backbone, evidence, scores, accelerator)
    described = backbone.description
    settings = {**described["settings"], "window": backbone.window}
    content = {
        "areas": described.get("areas", []),
        "settings": settings,
        "training_loss": described.get("training_loss", []),
        "validation_loss": described.get("validation_loss", []),
        "scores": scores.to_dict("list"),
        "rectangle": told,
    }
    io.ArrayFolder(run.path / ".stages" / "pretraining")[_RECTANGLE] = arrays
    io.write_json(run.path / _TOLD, content)


def _scores(backbone: Any, evidence: xr.DataArray, accelerator: str) -> pd.DataFrame:
    """How well hidden values are filled in, layer by layer; empty where nothing can judge."""
    room = masked_autoencoders()
    try:
        found = room.reconstruct(backbone, evidence, accelerator=accelerator)
    except SurveyDataError:  # too small an area: the report says so
        return pd.DataFrame()
    return room.reconstruction_scores(found, backbone.layers)


def _rectangle(
    backbone: Any, evidence: xr.DataArray, scores: pd.DataFrame, accelerator: str
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Some layers of hidden ground as arrays, and where and what they are; empty on no ground."""
    try:
        found = masked_autoencoders().reconstruct_rectangle(
            backbone, evidence, accelerator=accelerator
        )
    except SurveyDataError:  # an area smaller than a window has no picture
        return {}, {}
    shown = _layers_shown(scores, found.truth)
    units = {layer.name: layer.unit for layer in io.layers_of(evidence)}
    names = [backbone.layers[k] for k in shown]
    arrays = {
        "truth": found.truth[shown],
        "filled": found.filled[shown],
        "hidden": found.hidden[shown],
        "scale": backbone.standard.scale[shown],
    }
    place = [found.rows.start, found.rows.stop, found.columns.start, found.columns.stop]
    return arrays, {"place": place, "layers": names, "units": [units[name] for name in names]}


def _layers_shown(scores: pd.DataFrame, truth: npt.NDArray[np.floating[Any]]) -> list[int]:
    """A few layers that vary in the rectangle, from the one filled in best to the worst."""
    varied = [k for k, layer in enumerate(truth) if len(np.unique(layer[np.isfinite(layer)])) > 1]
    if len(scores):
        better = scores[["layer_mean", "bilinear"]].min(axis=1).to_numpy()
        error = scores["network"].to_numpy()
        varied = [k for k in varied if np.isfinite(error[k]) and better[k] > 0]
        varied.sort(key=lambda k: error[k] / better[k])
    spaced = np.linspace(0, len(varied) - 1, min(_LAYERS_SHOWN, len(varied)))
    return [varied[k] for k in spaced.round().astype(int)]


def _read_shown(run: RunFolder, evidence: xr.DataArray) -> PretrainingShown:
    told = io.read_json(run.path / _TOLD)
    arrays = io.ArrayFolder(run.path / ".stages" / "pretraining")[_RECTANGLE]
    truth = filled = None
    rectangle = told["rectangle"]
    if rectangle:
        grid = Grid.from_dataarray(evidence).window(*rectangle["place"])
        truth, filled = (
            grid.to_dataarray(arrays[name], layers=rectangle["layers"])
            for name in ("truth", "filled")
        )
    return PretrainingShown(
        areas=told["areas"],
        settings=told["settings"],
        training_loss=told["training_loss"],
        validation_loss=told["validation_loss"],
        scores=pd.DataFrame(told["scores"]),
        truth=truth,
        filled=filled,
        hidden=arrays.get("hidden", np.zeros((0, 0, 0), dtype=bool)),
        scale=arrays.get("scale", np.zeros(0)),
        units=rectangle.get("units", []),
        colours=io.read_false_colour(run.path / PICTURE),
    )
