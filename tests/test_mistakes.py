"""Wrong settings told in the user's words, whatever the model they belong to."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from gossan.mistakes import explain_settings, suggest
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
