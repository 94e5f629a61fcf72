"""The catalogue: every name builds, defaults are the stated ones, slips are met with the remedy."""

import inspect
import re

import pytest

from gossan.exceptions import StudyError
from gossan.methods import DEFAULT_METHOD, METHODS, SAMPLERS, make_model, make_sampler
from gossan.models import LayerScreen

NAMES = [
    "weights-of-evidence",
    "logistic-regression",
    "k-nearest-neighbours",
    "svm",
    "decision-tree",
    "random-forest",
    "extra-trees",
    "gradient-boosting",
    "bagging-pu",
    "elkan-noto",
    "isolation-forest",
]


def test_catalogue_holds_the_promised_methods():
    """Study files and docs rely on these names and on the default being among them."""
    assert set(NAMES) <= set(METHODS)
    assert DEFAULT_METHOD == "extra-trees"


@pytest.mark.parametrize("name", METHODS)
def test_entry_says_what_a_user_needs(name):
    """Summary in a sentence, advice in three, missing values in one, sampler that can be built."""
    method = METHODS[name]
    assert method.name == name
    assert method.summary.count(".") == 1
    assert len(re.findall(r"[.!?](?= [A-Z]|$)", method.when_to_use)) == 3
    assert method.when_to_use.endswith(".")
    assert method.missing_values.endswith(".")
    assert method.negatives in SAMPLERS
    make_sampler(method.negatives, **method.negatives_parameters)
    assert method.draws >= 1


WINDOWS = {"pixel-pairs": 35, "pixel-pairs-both": 35, "masked-pretraining-finetune": 7}


@pytest.mark.parametrize("name", METHODS)
def test_method_builds_an_estimator_of_the_contract(name):
    """The estimator is built with the seed, where it takes one, and looks as far as it says."""
    model = make_model(name, random_state=7)
    assert model.get_params().get("random_state", 7) == 7
    assert model.window == WINDOWS.get(name, 1)
    assert model.missing_values == METHODS[name].missing_values


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_is_documented(name):
    """Each setting that a study file may give stands in the class's docstring."""
    build = METHODS[name].estimator
    for parameter in inspect.signature(build).parameters:
        assert parameter in build.__doc__


def test_catalogue_default_yields_to_the_study():
    """A default of the catalogue, such as nine cells a deposit, can be set otherwise."""
    assert make_model("weights-of-evidence").cells_per_deposit == 9
    assert make_model("weights-of-evidence", cells_per_deposit=25).cells_per_deposit == 25


def test_screen_wraps_the_method():
    """A threshold puts the method behind a screen of its layers."""
    model = make_model("svm", screen=2.58)
    assert isinstance(model, LayerScreen)
    assert (model.z, type(model.estimator).__name__) == (2.58, "CellSVM")


@pytest.mark.parametrize("name", ["masked-pretraining", "selective-transfer"])
def test_a_method_that_cannot_be_screened_says_so(name):
    """It sees the layers before any label, or weighs them by itself."""
    pytest.importorskip("torch")
    with pytest.raises(StudyError, match=rf"{name}.*Leave out `screen`"):
        make_model(name, screen=2.58)


def test_unknown_method_suggests_the_nearest():
    """A slip in the name is met with the name that was meant."""
    with pytest.raises(StudyError, match=r"'random-forst'.* Did you mean 'random-forest'\?"):
        make_model("random-forst")


def test_a_setting_of_another_table_is_sent_there():
    """Draws are a matter of the negatives."""
    with pytest.raises(StudyError, match=r"no parameter 'draws'\. It belongs in \[negatives\]"):
        make_model("extra-trees", draws=3)


def test_unknown_parameter_suggests_the_nearest():
    """A slip in a setting is met with the setting that was meant."""
    with pytest.raises(StudyError, match=r"'extra-trees' has no .*'n_estimator'.*'n_estimators'"):
        make_model("extra-trees", n_estimator=10)


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("extra-trees", "n_estimators", "many"),
        ("extra-trees", "n_estimators", 10.5),
        ("svm", "C", "high"),
        ("decision-tree", "max_depth", [3]),
        ("weights-of-evidence", "n_thresholds", True),
    ],
)
def test_value_of_the_wrong_type_is_refused(name, parameter, value):
    """Text for a number and the like is named with parameter and value."""
    with pytest.raises(StudyError, match=rf"{name}.*{parameter}"):
        make_model(name, **{parameter: value})


@pytest.mark.parametrize("value", ["extra-trees", 3, ["svm"]])
@pytest.mark.parametrize("name", ["recursive", "spy"])
def test_an_estimator_named_in_a_study_file_is_refused(name, value):
    """A study file holds text and numbers; scikit-learn would fail on them an hour later."""
    with pytest.raises(StudyError, match=rf"{name}.*cannot use estimator.*Leave it out"):
        make_sampler(name, estimator=value)
    assert make_sampler(name, estimator=make_model("decision-tree")) is not None
