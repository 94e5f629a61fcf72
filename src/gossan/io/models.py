"""Fitted models on disk: a format that cannot execute code, checked before it is believed."""

from __future__ import annotations

import copy
import importlib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import skops.io
from sklearn.base import BaseEstimator
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.neighbors import KDTree
from sklearn.tree._tree import Tree

from gossan.exceptions import SurveyDataError
from gossan.io.digests import file_digest
from gossan.io.files import read_json, reading, replacing, write_json
from gossan.io.maps import write_log
from gossan.io.weights import read_weights, write_weights

FORMAT_VERSION = 1
WEIGHTS = "weights.safetensors"

# What scikit-learn's estimators are made of beyond what skops trusts by itself. Each holds plain
# arrays; the arrays of trees are checked below, since compiled code would follow them unchecked.
_TRUSTED = {
    "gossan.nn.masked_autoencoder.backbone.Backbone",
    "gossan.nn.selective_transfer.source.Source",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
}
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_LEAF = -1


def save_model(
    folder: str | os.PathLike[str], estimator: BaseEstimator, description: dict[str, Any]
) -> None:
    """Write a fitted model as ``model.skops`` and ``model.json``.

    The weights of networks in it go to ``weights.safetensors``, where any tool can read them.

    Parameters
    ----------
    folder : path-like
        Where both go; equal models give equal bytes.
    estimator : estimator
        Fitted; of scikit-learn's or gossan's classes.
    description : dict
        What is needed to use it elsewhere: layers, window, gossan's version, …

    Raises
    ------
    GossanError
        If it cannot be written.
    """
    folder = Path(folder)
    if _networks(estimator):
        estimator = copy.deepcopy(estimator)
        networks = _networks(estimator)
        weights = {
            f"{k}/{n}": v for k, net in enumerate(networks) for n, v in net["weights"].items()
        }
        for network in networks:
            network["weights"] = {}
        write_weights(folder / WEIGHTS, weights, {"networks": len(networks)})
        description = {
            **description,
            "weights": file_digest(folder / WEIGHTS),
            "networks": [_told_of(network) for network in networks],
        }
    content = _normalised(skops.io.dumps(estimator))
    with replacing(folder / "model.skops") as partial:
        partial.write_bytes(content)
    write_json(folder / "model.json", {**description, "format": FORMAT_VERSION})


def write_seen(file: str | os.PathLike[str], values: npt.NDArray[Any], layers: list[str]) -> str:
    """Write a sample of the cells that a model saw, (n, layers), as Parquet; give its SHA-256."""
    write_log(file, [pd.DataFrame(np.asarray(values, dtype=np.float32), columns=layers)])
    return file_digest(Path(file))


def read_seen(
    file: str | os.PathLike[str], layers: list[str], digest: str | None
) -> npt.NDArray[np.float32]:
    """Read what :func:`write_seen` wrote and gave the SHA-256 of.

    Raises
    ------
    SurveyDataError
        If it is missing or another file, or holds other layers.
    """
    if Path(file).exists():
        _refuse_other(Path(file), digest)
    with reading(Path(file), "what a model has seen"):
        table = pd.read_parquet(file)
    if list(table.columns) != layers:
        raise SurveyDataError(
            f"{file} holds other layers than the model beside it. Run the model's study again."
        )
    return table.to_numpy(dtype=np.float32)


def load_model(folder: str | os.PathLike[str]) -> tuple[Any, dict[str, Any]]:
    """Read a model that :func:`save_model` wrote; nothing in the file is executed.

    Parameters
    ----------
    folder : path-like
        It holds ``model.skops`` and ``model.json``.

    Returns
    -------
    estimator : estimator
        Ready to predict.
    description : dict
        As it was saved.

    Raises
    ------
    SurveyDataError
        If a file is missing, of another format (a pickle, for one), holds a type that gossan
        does not trust, or trees that point beyond themselves.
    """
    path = Path(folder) / "model.skops"
    description = read_json(Path(folder) / "model.json")
    if not isinstance(description, dict) or description.get("format") != FORMAT_VERSION:
        raise SurveyDataError(
            f"{folder}/model.json is no description of a model of format {FORMAT_VERSION}. "
            "Run the study again with this version of gossan."
        )
    with reading(path, "a model"):
        content = path.read_bytes()
        if not zipfile.is_zipfile(io.BytesIO(content)):
            raise SurveyDataError(
                f"{path} is no model of gossan (it may be a pickle, which could execute code and "
                "is not read). Run the study again to make one."
            )
        untrusted = skops.io.get_untrusted_types(data=content)
        refused = [name for name in untrusted if not _is_trusted(name)]
        if refused:
            raise SurveyDataError(
                f"{path} holds types that gossan does not trust: {', '.join(refused)}. "
                "It was not written by gossan; do not use it."
            )
        estimator = skops.io.loads(content, trusted=untrusted)
        for part in _parts(estimator, set()):
            _check_compiled(part, path)
    _give_weights(_networks(estimator), Path(folder) / WEIGHTS, description.get("weights"))
    return estimator, description


def _networks(estimator: Any) -> list[dict[str, Any]]:
    """The networks that a fitted estimator holds, each a dict with its ``weights``."""
    parts = _parts(estimator, set())
    return [p for p in parts if isinstance(p, dict) and isinstance(p.get("weights"), dict)]


def _told_of(network: dict[str, Any]) -> dict[str, float]:
    """What a network says of its training: losses, epochs, seed."""
    return {name: value for name, value in network.items() if isinstance(value, int | float)}


def _give_weights(networks: list[dict[str, Any]], file: Path, digest: str | None) -> None:
    """Put the weights back where they were taken from."""
    if not networks:
        return
    _refuse_other(file, digest)
    weights, _ = read_weights(file)
    with reading(file, "the weights of the model beside it"):
        for name, value in weights.items():
            number, _, own = name.partition("/")
            networks[int(number)]["weights"][own] = value


def _refuse_other(file: Path, digest: str | None) -> None:
    """Refuse a file that is not the one of which the model's description holds the digest."""
    if file_digest(file) != digest:
        raise SurveyDataError(
            f"{file} is not the file that was written with the model beside it: it is of another "
            "run, or was changed. Run the study again."
        )


def _is_trusted(name: str) -> bool:
    """One of the listed types, or an estimator class of gossan itself."""
    if name in _TRUSTED:
        return True
    module, _, attribute = name.rpartition(".")
    if module != "gossan" and not module.startswith("gossan."):
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, BaseEstimator)


def _normalised(content: bytes) -> bytes:
    """The same archive without memory addresses and times, so that equal models are equal bytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read("schema.json"))
        numbers: dict[str, str] = {}
        schema = _renumbered(schema, numbers)
        parts = {name: archive.read(name) for name in archive.namelist() if name != "schema.json"}
    renamed = {_rename(name, numbers): part for name, part in parts.items()}
    renamed["schema.json"] = json.dumps(schema, sort_keys=False).encode()
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(renamed):
            archive.writestr(_entry(name), renamed[name])
    return output.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_FIXED_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _renumbered(node: Any, numbers: dict[str, str]) -> Any:
    """A schema whose addresses are replaced by the order in which they first occur."""
    if isinstance(node, list):
        return [_renumbered(part, numbers) for part in node]
    if not isinstance(node, dict):
        return node
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            result[key] = int(numbers.setdefault(str(value), str(len(numbers) + 1)))
        elif key == "file":
            result[key] = _rename(value, numbers)
        else:
            result[key] = _renumbered(value, numbers)
    return result


def _rename(name: str, numbers: dict[str, str]) -> str:
    """A member's name, numbered like the object whose address it carried."""
    match = re.fullmatch(r"(\d+)(\..+)", name)
    if match is None:
        return name
    return numbers.setdefault(match[1], str(len(numbers) + 1)) + match[2]


def _parts(node: Any, seen: set[int]) -> Iterator[Any]:
    """Everything that a fitted estimator is made of."""
    if id(node) in seen:
        return
    seen.add(id(node))
    yield node
    children: list[Any] = []
    if isinstance(node, dict):
        children = list(node.values())
    elif isinstance(node, list | tuple | set):
        children = list(node)
    elif isinstance(node, np.ndarray):
        children = node.ravel().tolist() if node.dtype == object else []
    elif hasattr(node, "__dict__"):
        children = list(vars(node).values())
    for child in children:
        if not isinstance(child, str | int | float | bool | type(None)):
            yield from _parts(child, seen)


def _check_compiled(part: Any, path: Path) -> None:
    """Refuse trees that point outside themselves, which compiled code would follow, or hold NaN."""
    sound, missing = True, False
    if isinstance(part, Tree):
        nodes = len(part.children_left)
        sound = _nodes_sound(
            part.children_left, part.children_right, part.feature, nodes, part.n_features
        )
        missing = _any_missing(part.threshold, part.value, part.weighted_n_node_samples)
    elif isinstance(part, BaseHistGradientBoosting):
        trees = [tree for trees in part._predictors for tree in trees]
        sound = all(_predictor_sound(tree, part._n_features) for tree in trees)
        missing = any(_any_missing(t.nodes["num_threshold"], t.nodes["value"]) for t in trees)
    elif isinstance(part, KDTree):
        places, order, nodes, _ = part.get_arrays()
        sound = _within(order, len(places)) and all(
            _within(nodes[name], len(places) + 1) for name in ("idx_start", "idx_end")
        )
    if not sound or missing:
        what = "with NaN among its thresholds and values" if sound else "that points beyond itself"
        raise SurveyDataError(
            f"{path} holds a damaged tree, {what}. Run the study again to make it anew."
        )


def _any_missing(*numbers: np.ndarray) -> bool:
    """Whether any number is NaN; a threshold may be infinite, where only gaps are split off."""
    return any(bool(np.isnan(part).any()) for part in numbers)


def _predictor_sound(tree: Any, n_features: int) -> bool:
    """The like of :func:`_nodes_sound` for a tree of gradient boosting by histograms."""
    table = tree.nodes
    inner = table["is_leaf"] == 0
    left = np.where(inner, table["left"].astype(np.int64), _LEAF)
    right = np.where(inner, table["right"].astype(np.int64), _LEAF)
    feature = table["feature_idx"].astype(np.int64)
    categories = table["bitset_idx"][inner & (table["is_categorical"] != 0)]
    return _nodes_sound(left, right, feature, len(table), n_features) and _within(
        categories, len(tree.raw_left_cat_bitsets)
    )


def _within(indices: np.ndarray, size: int) -> bool:
    return bool((indices >= 0).all() and (indices < size).all())


def _nodes_sound(
    left: np.ndarray, right: np.ndarray, feature: np.ndarray, nodes: int, n_features: int
) -> bool:
    """Children come after their parents and within the tree; features are ones there are."""
    inner = left != _LEAF
    here = np.arange(nodes)[inner]
    return bool(
        nodes > 0
        and (right[~inner] == _LEAF).all()
        and (left[inner] > here).all()
        and (right[inner] > here).all()
        and (left[inner] < nodes).all()
        and (right[inner] < nodes).all()
        and (feature[inner] >= 0).all()
        and (feature[inner] < n_features).all()
    )
