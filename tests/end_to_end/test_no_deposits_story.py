"""A geologist has evidence and no known deposit: what there is to be done, and what is not."""

import pytest

from gossan.datasets import synthetic_district, write_district

pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")


@pytest.fixture
def without_deposits(tmp_path, cut_deposits):
    """A small district whose study has no table [deposits]."""
    file = write_district(
        synthetic_district(seed=3, shape=(24, 24), n_samples=150, n_deposits=20), tmp_path / "d"
    )
    file.write_text(file.read_text().replace("focal = [3, 7]", ""))
    cut_deposits(file)
    return file


def test_the_data_are_checked_all_the_same(gossan, without_deposits):
    """Every source is read and every layer scored, but for what only deposits can tell."""
    result = gossan("check", without_deposits)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "note [deposits]: The study names no known deposits" in result.stdout
    assert "gossan regions" in result.stdout
    assert "gossan analogues" in result.stdout
    table = result.stdout[result.stdout.index("coverage") :].splitlines()
    assert table[0].split() == ["coverage", "resolution_ratio", "cluster", "nugget"]
    assert any(line.startswith("magnetics") for line in table)
    assert "No layer alone tells deposits" not in result.stdout


def test_what_is_wrong_with_a_source_is_told(gossan, without_deposits):
    """A study without deposits may still have a file that is not there, or a wrong method."""
    text = without_deposits.read_text()
    without_deposits.write_text(text.replace('file = "samples.csv"', 'file = "sample.csv"'))
    result = gossan("check", without_deposits)
    assert result.returncode == 1
    assert "Did you mean 'samples.csv'" in result.stdout
    without_deposits.write_text(text.replace('name = "extra-trees"', 'name = "extra-tree"'))
    result = gossan("check", without_deposits)
    assert result.returncode == 1
    assert "Did you mean 'extra-trees'" in result.stderr


@pytest.mark.parametrize("verb", ["run", "compare", "annotate", "explain", "train-source"])
def test_a_verb_that_needs_deposits_says_which_do_not(gossan, without_deposits, verb):
    """One error, nothing written, and no way that another verb would close again."""
    result = gossan(verb, without_deposits)
    assert result.returncode == 1
    told = " ".join(result.stderr.split())
    assert "names no known deposits" in told
    assert "add a table [deposits]" in told
    for other in ("regions", "analogues", "predict MODEL"):
        assert f"`gossan {other} {without_deposits}`" in told
    assert "gossan run" not in told
    assert not (without_deposits.parent / "runs").exists()


def test_a_missing_file_of_deposits_hides_no_other_finding(gossan, without_deposits):
    """It is one finding among others: every source is checked."""
    text = without_deposits.read_text()
    without_deposits.write_text(
        text.replace('file = "samples.csv"', 'file = "sample.csv"')
        + '\n[deposits]\nfile = "mines.csv"\nx = "easting"\ny = "northing"\n'
    )
    result = gossan("check", without_deposits)
    assert result.returncode == 1
    assert "mines.csv" in result.stdout
    assert "Did you mean 'samples.csv'" in result.stdout


def test_a_folder_without_deposits_is_drafted_and_divided(gossan, without_deposits):
    """From the files alone to regions: the first step asks for no deposits either."""
    folder = without_deposits.parent
    without_deposits.unlink()
    (folder / "deposits.csv").unlink()
    drafted = gossan("new", folder)
    assert drafted.returncode == 0, drafted.stderr
    assert "gossan regions" in drafted.stdout
    result = gossan("regions", folder, "--count", "3")
    assert result.returncode == 0, result.stderr
