"""What the guide rests on: which kept results are stale, and how methods are ranked."""

import ast
import re

import pandas as pd
import pytest

import gossan as gs
from gossan.methods import DEFAULT_METHOD, METHODS

pytest.importorskip("matplotlib")
ROOT = __file__.rpartition("/tests/")[0]
TABLE = pd.DataFrame(
    {
        "area": ["hills"] * 3 + ["district 0", "district 1"] * 2 + ["district 0"],
        "kind": ["survey"] * 3 + ["district"] * 5,
        "method": ["a", "b", "c", "a", "a", "b", "b", "c"],
        "auc": [0.9, 0.8, 0.7, 0.6, 0.7, 0.9, 0.8, 0.99],
    }
)


@pytest.fixture(autouse=True)
def examples(monkeypatch):
    """The scripts of examples/ can be imported."""
    monkeypatch.syspath_prepend(f"{ROOT}/examples")


def test_words_make_no_result_stale_and_code_does():
    """Docstrings and comments are left out of what is hashed."""
    from measured import _without_docstrings

    def told(text):
        return ast.unparse(_without_docstrings(ast.parse(text)))

    plain = told('"""One."""\ndef f(x):\n    """Two."""\n    return x + 1\n')
    assert plain == told("def f(x):\n    # three\n    return x + 1\n")
    assert plain != told("def f(x):\n    return x + 2\n")


def test_code_is_followed_to_where_names_are_defined():
    """``from gossan import cross_validate`` rests on the module that holds it."""
    from measured import _imported, code_of

    found = set(_imported(ast.parse("from gossan import cross_validate\nimport numpy")))
    assert found == {gs.cross_validate.__module__}
    codes = {code_of(METHODS[name].estimator) for name in ("svm", "weights-of-evidence")}
    assert len(codes) == 2


def test_methods_are_ranked_over_the_areas_that_have_them():
    """Districts count as one area, where all of them are measured."""
    import which_method

    mean = which_method.with_mean_district(TABLE)
    assert set(mean.loc[mean["area"] == "districts", "method"]) == {"a", "b"}
    ranks = which_method.mean_ranks(mean, "auc")
    assert ranks.to_dict() == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_what_is_said_of_the_default_is_what_was_measured():
    """The methods named as better rank better, and on most areas none of them is told from it."""
    import which_method

    measured = pd.read_csv(which_method.TABLES / "results.csv")
    said = METHODS[DEFAULT_METHOD].when_to_use
    named = re.findall(r"`([a-z-]+)`", said)
    ranks = which_method.mean_ranks(which_method.with_mean_district(measured), "auc")
    assert len(named) >= 3
    assert (ranks[named] < ranks[DEFAULT_METHOD]).all()
    rows = measured[measured["method"].isin(named)].dropna(subset="difference_auc")
    apart = {area for side in which_method.told_apart(rows) for area in side["area"]}
    assert len(apart) < rows["area"].nunique() / 2


def test_methods_are_told_apart_by_their_intervals():
    """Above and below leave out 0; what holds it is neither."""
    import which_method

    rows = pd.DataFrame(
        {"difference_auc_low": [0.01, -0.2, -0.1], "difference_auc_high": [0.2, -0.1, 0.3]}
    )
    above, below = which_method.told_apart(rows)
    assert list(above.index) == [0]
    assert list(below.index) == [1]


def test_differences_are_of_the_same_deposits():
    """Results of other folds are not paired by their order."""
    import results

    one = {"folds": [0, 1], "low": [0.5, 0.6], "high": [0.5, 0.6]}
    with pytest.raises(ValueError, match="other deposits"):
        results._figures([one], [{**one, "folds": [1, 0]}])
