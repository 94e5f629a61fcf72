"""Units of a layer here and where a model learnt it."""

import pytest

from gossan.pipeline.predict import _other_unit


@pytest.mark.parametrize(
    ("here", "there", "told"),
    [
        ("ppm", "clr", True),
        ("clr", "clr", False),
        ("", "ppm", False),  # of an unknown one nothing is said
        ("", "ln", True),  # but a raster without a unit is not its own logarithm
        ("ln", "", True),
        ("", "", False),
    ],
)
def test_units_that_differ_are_told(here, there, told):
    """A logarithm is told from plain values, whatever their unit."""
    assert _other_unit(here, there) is told
