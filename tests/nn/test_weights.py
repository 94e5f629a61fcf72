"""Weights on disk: every number comes back, and no file that is none is believed."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from gossan import io
from gossan.exceptions import SurveyDataError


def written(folder: Path) -> Path:
    file = folder / "net.safetensors"
    weights = {"a": np.arange(6.0).reshape(2, 3), "count": np.array(7)}
    io.write_weights(file, weights, {"layers": ["Cu", "Pb"]})
    return file


def test_weights_and_description_come_back(tmp_path):
    """Bit for bit, single numbers too, and equal weights are equal bytes."""
    file = written(tmp_path)
    first = file.read_bytes()
    weights, description = io.read_weights(file)
    np.testing.assert_array_equal(weights["a"], np.arange(6.0).reshape(2, 3))
    assert weights["count"].shape == ()
    assert weights["count"] == 7
    assert description["layers"] == ["Cu", "Pb"]
    assert written(tmp_path).read_bytes() == first


@pytest.mark.parametrize("length", [0, 5, 8, 60, -1])
def test_a_file_cut_short_is_named(tmp_path, length):
    """At any length."""
    file = written(tmp_path)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(SurveyDataError, match=r"net\.safetensors holds no weights of gossan"):
        io.read_weights(file)


def test_a_pickle_is_refused_and_not_executed(tmp_path):
    """Whatever it is called."""

    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    file = tmp_path / "net.safetensors"
    file.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SurveyDataError, match="Nothing in it was executed"):
        io.read_weights(file)
    assert not (tmp_path / "touched").exists()


def test_weights_of_another_program_or_version_are_told_apart(tmp_path):
    """No description: not gossan's. Another format: another version's."""
    from safetensors.numpy import save_file

    file = tmp_path / "net.safetensors"
    save_file({"a": np.zeros(2)}, file)
    with pytest.raises(SurveyDataError, match="holds no weights of gossan"):
        io.read_weights(file)
    save_file({"a": np.zeros(2)}, file, metadata={"gossan": json.dumps({"format": 99})})
    with pytest.raises(SurveyDataError, match="is of format 99"):
        io.read_weights(file)


def test_missing_weights_are_named(tmp_path):
    """With their path."""
    with pytest.raises(SurveyDataError, match=r"no weights at .*net\.safetensors"):
        io.read_weights(tmp_path / "net.safetensors")
