"""Wrong settings told in the user's words, whatever the model they belong to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError
from pyproj import Transformer

from gossan.grid import Grid
from gossan.mistakes import degrees_hint, explain_settings, nearest_file, suggest
from gossan.study import Samples


class _Roof(BaseModel, extra="forbid"):
    """What keeps the rain out."""

    pitch: float = Field(description="degrees from level")


class _House(BaseModel):
    """A house."""

    roof: _Roof


def test_any_model_explains_its_own_mistakes() -> None:
    """Place, value and meaning come from the model at hand, not from the study's."""
    settings = {"roof": {"pitch": "steep", "pich": 3}}
    try:
        _House.model_validate(settings)
    except ValidationError as error:
        said = explain_settings(error.errors(), settings, _House)
    assert len(said) == 2
    assert "[roof]: 'pitch' is 'steep'" in said[0]
    assert "degrees from level" in said[0]
    assert "unknown key 'pich' in [roof]. Did you mean 'pitch'?" in said[1]


@given(st.sampled_from(sorted(Samples.model_fields)), st.data())
def test_a_misspelt_key_finds_its_way_back(key: str, data: st.DataObject) -> None:
    """Drop any letter of a longer key and the right key is suggested."""
    at = data.draw(st.integers(0, len(key) - 1))
    misspelt = key[:at] + key[at + 1 :]
    if len(key) > 4 and misspelt not in Samples.model_fields:
        assert suggest(misspelt, sorted(Samples.model_fields)) == f" Did you mean {key!r}?"


def test_nothing_near_lists_what_is_known() -> None:
    """Where no word is near, all are shown."""
    assert suggest("zzz", ["svm", "logistic"]) == " Known: logistic, svm."


_GRID = Grid.from_bounds((600_000, 2_600_000, 700_000, 2_700_000), 500, "EPSG:32649")


@pytest.mark.parametrize("place", [(112.3, 24.1), (24.1, 112.3)])
def test_degrees_within_the_study_are_told_as_easting_and_northing(
    place: tuple[float, float],
) -> None:
    """As pyproj has them, whichever of longitude and latitude comes first."""
    east, north = Transformer.from_crs(4326, 32649, always_xy=True).transform(112.3, 24.1)
    assert degrees_hint(*place, _GRID) == (
        f" As longitude 112.3, latitude 24.1 (WGS 84) it is at {east:.0f} {north:.0f}: give these."
    )


@pytest.mark.parametrize(
    ("place", "hint"),
    [
        ((13.0, 52.5), " These look like degrees: give easting and northing in the study's CRS."),
        ((612_300.0, 2_610_000.0), ""),  # within
        ((500_000.0, 2_610_000.0), ""),  # outside, in metres
        ((170.0, 120.0), ""),  # no latitude
        ((float("nan"), 24.1), ""),
    ],
)
def test_other_places_are_taken_for_what_they_are(place: tuple[float, float], hint: str) -> None:
    """Degrees elsewhere are known by their size; metres have no hint."""
    assert degrees_hint(*place, _GRID) == hint


def test_a_small_place_within_a_local_grid_is_no_degree() -> None:
    """A mine grid may count from its own corner."""
    assert degrees_hint(100.0, 50.0, Grid.from_bounds((0, 0, 500, 400), 10, "EPSG:32649")) == ""


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "holds no file."),
        (["notes.docx"], "holds 1 other file."),
        (["notes.docx", "logs.csv"], "holds 2 other files."),
        (["gravity.tiff"], "Did you mean 'gravity.tiff'?"),
    ],
)
def test_a_missing_file_has_its_neighbours_told(tmp_path, names, said) -> None:
    """The nearest name, or how many others there are."""
    for name in names:
        (tmp_path / name).touch()
    assert nearest_file(tmp_path / "gravity.tif").endswith(said)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("KSA_raw_data.parquet", "Did you mean 'moved.parquet'?"),
        ("KSA_validaton.parquet", "Did you mean 'KSA_validation.parquet'?"),
    ],
)
def test_a_file_named_for_something_else_is_meant_only_where_it_is_a_slip(
    tmp_path, missing, said
) -> None:
    """The deposits' file is no hint for samples that were moved, unless a letter is missing."""
    for name in ("KSA_validation.parquet", "moved.parquet"):
        (tmp_path / name).touch()
    assert nearest_file(tmp_path / missing, {tmp_path / "KSA_validation.parquet"}).endswith(said)
