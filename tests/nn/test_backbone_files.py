"""A backbone from a file that was damaged, or made to do harm: refused before it is used."""

import json

import numpy as np
import pytest

from gossan import io
from gossan.exceptions import SurveyDataError
from gossan.grid import Grid
from gossan.nn.masked_autoencoder import Backbone, Pretraining, untrained
from gossan.nn.masked_autoencoder.written import as_written


@pytest.fixture(scope="module")
def written():
    grid = Grid.from_bounds((0, 0, 3000, 2400), 100, "EPSG:32650")
    values = np.random.default_rng(0).normal(size=(3, *grid.shape)).astype(np.float32)
    evidence = grid.to_dataarray(values, layers=["Cu", "Pb", "granite"])
    return as_written(untrained(evidence, Pretraining(window=5)).learned)


def set_in(record, path, value):
    """A copy of a description with another value at a place."""
    found = json.loads(json.dumps(record))
    *tables, key = path
    inner = found
    for table in tables:
        inner = inner[table]
    if value is KeyError:
        del inner[key]
    else:
        inner[key] = value
    return found


DAMAGED = {
    "layers that are none": (["layers"], [None, None, None]),
    "layers of one name": (["layers"], ["Cu", "Cu", "Pb"]),
    "no layers": (["layers"], []),
    "layers in number": (["layers"], ["Cu", "Pb"]),
    "architecture gone": (["architecture"], None),
    "a window that is text": (["architecture", "window"], "wide"),
    "a width that is none": (["architecture", "width"], 0),
    "another width": (["architecture", "width"], 48),
    "a billion blocks": (["architecture", "blocks"], 10**9),
    "a window beyond memory": (["architecture", "window"], 1001),
    "a decoder beyond memory": (["architecture", "decoder_width"], 2**40),
    "description gone": (["description"], KeyError),
    "settings gone": (["description", "settings"], KeyError),
    "settings none": (["description", "settings"], None),
    "a share that is text": (["description", "settings", "hidden_cells"], "most"),
    "areas in number": (["description", "areas"], 3),
    "units none": (["description", "units"], None),
    "cells that are large": (["description", "cell_size"], "big"),
    "cells of no size": (["description", "cell_size"], 0),
    "losses that are none": (["description", "validation_loss"], [None]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_description_is_refused(written, tmp_path, damage):
    """Whatever is wrong with it, when it is read and not after a run."""
    arrays, record = written
    file = tmp_path / "backbone.safetensors"
    io.write_weights(file, arrays, set_in(record, *DAMAGED[damage]))
    with pytest.raises(SurveyDataError, match=r"backbone\.safetensors is no backbone, or is dam"):
        Backbone.load(file)


def other(name, change):
    """Arrays of which one is changed."""
    return lambda arrays: {**arrays, name: change(arrays[name])}


def first_nan(values):
    values = values.copy()
    values.flat[0] = np.nan
    return values


HARMED = {
    "a scale that is no number": other("scale", first_nan),
    "a scale of 0": other("scale", np.zeros_like),
    "a negative scale": other("scale", np.negative),
    "a scale in a table": other("scale", lambda values: values[:, None]),
    "a centre that is no number": other("centre", first_nan),
    "binary as numbers": other("binary", lambda values: values.astype(np.float32)),
    "weights that are no numbers": other("network/position", first_nan),
    "weights of whole numbers": other("network/position", lambda v: v.astype(np.int64)),
    "weights of another size": other("network/position", lambda v: v[:1]),
    "weights lacking": lambda arrays: {n: v for n, v in arrays.items() if "position" not in n},
    "weights of more": lambda arrays: {**arrays, "network/more": np.zeros(2, np.float32)},
    "scales lacking": lambda arrays: {n: v for n, v in arrays.items() if n != "scale"},
}


@pytest.mark.parametrize("harm", HARMED)
def test_weights_that_cannot_be_are_refused(written, tmp_path, harm):
    """No map is made with numbers that are none."""
    arrays, record = written
    file = tmp_path / "backbone.safetensors"
    io.write_weights(file, HARMED[harm](arrays), record)
    with pytest.raises(SurveyDataError, match=r"backbone\.safetensors is no backbone, or is dam"):
        Backbone.load(file)


def test_a_description_that_is_a_list_is_refused(tmp_path):
    """It is of gossan's name but not of its kind."""
    from safetensors.numpy import save_file

    file = tmp_path / "backbone.safetensors"
    save_file({"a": np.zeros(2)}, file, metadata={"gossan": "[1]"})
    with pytest.raises(SurveyDataError, match="holds no weights of gossan"):
        Backbone.load(file)
