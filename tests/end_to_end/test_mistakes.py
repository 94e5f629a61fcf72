"""What users get wrong: each mistake ends in one clear message, and nothing is lost."""

import re
import shutil
import subprocess

import pytest
import rasterio


def assert_clean(result):
    """A user's mistake ends in one message and no traceback."""
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Error:" in result.stderr
    assert "Traceback" not in result.stderr


def edited(study_file, old, new):
    """The study file with one thing changed."""
    text = study_file.read_text()
    assert old in text, f"{old!r} is not in the study file"
    study_file.write_text(text.replace(old, new, 1))
    return study_file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('file = "samples.csv"', 'file = "sample.csv"', "Did you mean 'samples.csv'"),
        ('x = "easting"', 'x = "eastin"', "easting"),
        ("footprint = 3", "footprin = 3", "Did you mean 'footprint'"),
        ("footprint = 3", "footprint = 2", "odd"),
        ('crs = "EPSG:32650"\ncell_size', 'crs = "EPSG:4326"\ncell_size', "UTM zone"),
        ('x = "easting"\ny = "northing"', 'x = "northing"\ny = "easting"', "swap"),
        ('["Cu-Au"]', '["Gold"]', "Cu-Au"),
        ('name = "extra-trees"', 'name = "extra-tree"', "Did you mean 'extra-trees'"),
        ("n_estimators", "n_estimator", "Did you mean 'n_estimators'"),
        ("folds = 3", "folds = 40", "deposits"),
    ],
)
def test_wrong_setting(gossan, study_file, old, new, message):
    """A wrong setting is named with its place and remedy, before any evidence is built."""
    result = gossan("run", edited(study_file, old, new))
    assert_clean(result)
    assert message in result.stderr
    built = list(study_file.parent.glob("runs/*/evidence.zarr"))
    needs_cells = message in ("swap", "deposits")  # on the grid: where they lie, in what clusters
    assert bool(built) == needs_cells


def test_a_moved_file_is_not_taken_for_another_that_the_study_names(gossan, study_file):
    """Samples and deposits are tables of like names: one does not stand for the other."""
    folder = study_file.parent
    text = study_file.read_text().replace("deposits.csv", "survey_deposits.csv")
    study_file.write_text(text.replace('"samples.csv"', '"survey_samples.csv"'))
    (folder / "deposits.csv").rename(folder / "survey_deposits.csv")
    (folder / "samples.csv").rename(folder / "moved.csv")
    result = gossan("run", study_file)
    assert_clean(result)
    assert "file not found" in result.stderr
    assert "survey_deposits.csv" not in result.stderr


def test_no_study_file(gossan, tmp_path):
    """A missing study file says how to get one."""
    result = gossan("run", tmp_path / "study.toml")
    assert_clean(result)
    assert "gossan new" in result.stderr


def test_text_in_a_number_column(gossan, study_file):
    """Text among numbers is named with column, row and value."""
    samples = study_file.parent / "samples.csv"
    lines = samples.read_text().splitlines()
    cells = lines[7].split(",")
    cells[5] = "see notes"
    lines[7] = ",".join(cells)
    samples.write_text("\n".join(lines) + "\n")
    result = gossan("run", study_file)
    assert_clean(result)
    assert "see notes" in result.stderr
    assert re.search(r"row\D*7\b", result.stderr)


@pytest.mark.parametrize("content", [b"", b"II*\x00garbage"])
def test_corrupt_raster(gossan, study_file, content):
    """A raster that cannot be read is named."""
    raster = study_file.parent / "magnetics.tif"
    raster.write_bytes(content)
    result = gossan("run", study_file)
    assert_clean(result)
    assert "magnetics.tif" in result.stderr


def test_truncated_raster(gossan, study_file):
    """A raster cut off in the middle is named, not read as zeros."""
    raster = study_file.parent / "magnetics.tif"
    raster.write_bytes(raster.read_bytes()[: raster.stat().st_size // 2])
    result = gossan("run", study_file)
    assert_clean(result)
    assert "magnetics.tif" in result.stderr


def test_raster_elsewhere(gossan, study_file):
    """A raster without overlap is named with both extents."""
    raster = study_file.parent / "magnetics.tif"
    with rasterio.open(raster, "r+") as file:
        transform = file.transform
        file.transform = rasterio.Affine(
            transform.a, 0, transform.c + 2e6, 0, transform.e, transform.f
        )
    result = gossan("run", study_file)
    assert_clean(result)
    assert "magnetics" in result.stderr


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_deposits(gossan, study_file, count):
    """No deposit, or one, is refused in the language of the user."""
    deposits = study_file.parent / "deposits.csv"
    lines = deposits.read_text().splitlines()
    kept = [line for line in lines[1:] if "Cu-Au" in line][:count]
    deposits.write_text("\n".join([lines[0], *kept]) + "\n")
    result = gossan("run", study_file)
    assert_clean(result)
    assert "deposit" in result.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs more rights")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(gossan, study_file, small_disk):
    """A full disk is said, with the place, and leaves no half file behind."""
    result = gossan("run", study_file, "--output", small_disk / "run")
    assert_clean(result)
    assert "No space left" in result.stderr or "full" in result.stderr
    assert str(small_disk) in result.stderr
