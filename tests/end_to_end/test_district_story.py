"""A geologist's first hour: new, check, run, look, change something, run again, make mistakes."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from gossan import io
from gossan.pipeline import run_study
from gossan.study import read_study

# The district has an element below detection in half of its samples: left out, with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")

OUTPUTS = [
    "evidence.zarr",
    "labels.tif",
    "prospectivity.tif",
    "prospectivity.qml",
    "targets.gpkg",
    "evaluation.json",
    "report.html",
    "model",
    "manifest.json",
]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file a run left, but the manifest's timings and the bookkeeping."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.is_file() and not name.startswith(".stages") and name != "manifest.json":
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def test_run_leaves_every_file(gossan, study_file):
    """`gossan run` leaves the run folder of the design, and says where."""
    result = gossan("run", study_file)
    assert result.returncode == 0, result.stderr
    folder = next((study_file.parent / "runs").iterdir())
    assert set(OUTPUTS) <= {path.name for path in folder.iterdir()}
    assert "report.html" in result.stdout
    assert "top 5 % of the area holds" in result.stdout


def test_run_folder_opens_with_other_tools(study_file):
    """The outputs are ordinary files: rasterio, GeoPandas, a JSON parser read them."""
    folder = run_study(read_study(study_file))
    with rasterio.open(folder / "prospectivity.tif") as raster:
        assert raster.descriptions == ("score", "spread")
        assert np.isnan(raster.nodata)
        score = raster.read(1)
    assert np.nanmin(score) >= 0
    assert np.nanmax(score) <= 1
    with rasterio.open(folder / "labels.tif") as raster:
        assert set(np.unique(raster.read(1))) == {-1, 1}
    targets = gpd.read_file(folder / "targets.gpkg", layer="targets")
    assert {"rank", "score", "spread", "area_km2", "distance_m", "drivers"} <= set(targets.columns)
    assert targets["rank"].tolist() == list(range(1, len(targets) + 1))
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert {"method", "negatives", "n_deposits", "n_cells", "folds", "held_out"} <= set(evaluation)
    held_out = evaluation["held_out"]
    assert set(held_out["capture"]) == {"0.01", "0.02", "0.05", "0.10"}
    assert set(held_out["ci95"]) >= {"auc_background", "capture", "prediction_area"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {"versions", "seed", "inputs", "settings", "timings_s"} <= set(manifest)
    model = zipfile.ZipFile(folder / "model" / "model.skops")
    assert not [name for name in model.namelist() if name.endswith((".pkl", ".pickle"))]


def test_report_stands_alone(study_file):
    """The report needs no other file and no network."""
    folder = run_study(read_study(study_file))
    page = (folder / "report.html").read_text()
    for outside in ('src="http', "src='http", 'href="http', "@import", "url(http"):
        assert outside not in page


def test_second_run_makes_nothing_again(study_file):
    """Nothing changed, nothing is made anew."""
    folder = run_study(read_study(study_file))
    before = digests(folder)
    run_study(read_study(study_file))
    reused = json.loads((folder / "manifest.json").read_text())["reused"]
    stages = {"evidence", "labels", "check", "evaluation", "model", "map", "targets", "likeness"}
    assert set(reused) == stages
    assert digests(folder) == before


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("n_estimators = 20", "n_estimators = 15", {"evidence", "labels", "likeness"}),
        ("bootstrap = 200", "bootstrap = 100", {"evidence", "labels", "model", "map", "targets"}),
    ],
)
def test_changed_setting_remakes_what_depends_on_it(study_file, old, new, kept):
    """A changed setting re-runs what depends on it, and only that."""
    folder = run_study(read_study(study_file))
    study_file.write_text(study_file.read_text().replace(old, new))
    run_study(read_study(study_file))
    reused = set(json.loads((folder / "manifest.json").read_text())["reused"])
    assert reused - {"check"} == kept


def test_changed_file_remakes_everything_after_it(study_file):
    """A changed input file is noticed by its content, not its date."""
    folder = run_study(read_study(study_file))
    samples = study_file.parent / "samples.csv"
    lines = samples.read_text().splitlines()
    os.utime(samples)
    run_study(read_study(study_file))
    assert "evidence" in json.loads((folder / "manifest.json").read_text())["reused"]
    samples.write_text("\n".join(lines[:-1]) + "\n")
    run_study(read_study(study_file))
    assert json.loads((folder / "manifest.json").read_text())["reused"] == []


def test_killed_runs_resume_to_the_same_bytes(study_file, tmp_path):
    """Kill -9 again and again, at any stage: the finished run is the uninterrupted one."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_study(read_study(study_file), output=broken)
    broken.rename(whole)  # the report names its folder
    command = [sys.executable, "-m", "gossan.cli", "run", str(study_file), "--output", str(broken)]
    kills = 0
    for patience in (3.0, 3.5, 4.0, 4.5, 5.0, 600):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                process.wait(timeout=patience)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
    assert process.returncode == 0
    assert kills >= 1
    assert digests(broken) == digests(whole)


def test_interrupt_says_that_work_is_kept(study_file):
    """Ctrl-C ends with a sentence and exit code 130, not a traceback."""
    command = [sys.executable, "-m", "gossan.cli", "run", str(study_file)]

    def heed_interrupts() -> None:  # a runner in the background hands on that they are ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    ) as process:
        while not (study_file.parent / "runs").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on from there" in stderr
    assert "Traceback" not in stderr


def test_draft_of_the_folder_runs(gossan, study_file):
    """`gossan new` on the bare files writes a study that runs as it is."""
    folder = study_file.parent
    study_file.unlink()
    shutil.rmtree(folder / "truth")
    assert gossan("new", folder).returncode == 0
    drafted = read_study(folder / "study.toml")
    assert drafted.deposits.file == "deposits.csv"
    path = run_study(drafted)
    assert (path / "report.html").is_file()


def test_check_lists_findings_and_layers(gossan, study_file):
    """`gossan check` scores every layer, and fails only on errors."""
    result = gossan("check", study_file)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "magnetics" in result.stdout
    assert "errors among them: 0" in result.stdout


def test_map_is_the_same_in_python_and_on_disk(study_file):
    """The model on disk gives the map on disk, in a process that knows only the folder."""
    folder = run_study(read_study(study_file))
    code = (
        "import sys, numpy as np, gossan as gs\n"
        "from gossan import io\n"
        "folder = sys.argv[1]\n"
        "model, _ = io.load_model(folder + '/model')\n"
        "score = gs.predict_map(model, io.open_evidence(folder + '/evidence.zarr'))\n"
        "np.testing.assert_array_equal(score, io.read_map(folder + '/prospectivity.tif'))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


def test_other_study_in_the_folder_is_refused(gossan, study_file, tmp_path):
    """A run folder of another study is left alone."""
    output = tmp_path / "run"
    assert gossan("run", study_file, "--output", output).returncode == 0
    other = study_file.with_name("other.toml")
    text = study_file.read_text()
    other.write_text(text.replace('name = "synthetic-district-3"', 'name = "other"', 1))
    result = gossan("run", other, "--output", output)
    assert result.returncode == 1
    assert "another study" in result.stderr


def test_foreign_folder_is_refused(gossan, study_file, tmp_path):
    """A folder with somebody's files is no run folder."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("years of work")
    result = gossan("run", study_file, "--output", tmp_path / "papers")
    assert result.returncode == 1
    assert "is no run of gossan" in result.stderr
    assert (tmp_path / "papers" / "thesis.txt").read_text() == "years of work"


def test_damaged_record_only_costs_time(study_file):
    """A half-written record of a stage is made again, to the same bytes."""
    folder = run_study(read_study(study_file))
    before = digests(folder)
    (folder / ".stages" / "model.json").write_text('{"key": "abc')
    run_study(read_study(study_file))
    assert digests(folder) == before


@pytest.mark.parametrize("damaged", ["labels.tif", "evaluation.json", "model/model.skops"])
def test_damaged_output_is_made_again(study_file, damaged):
    """A file that is no longer what its stage left is made again, to the same bytes."""
    folder = run_study(read_study(study_file))
    before = digests(folder)
    (folder / damaged).write_bytes(b"junk")
    run_study(read_study(study_file))
    assert digests(folder) == before


def test_map_finds_undiscovered_deposits(district, study_file):
    """On a district with known truth the map finds undiscovered deposits better than chance."""
    from gossan.datasets import truth_table

    folder = run_study(read_study(study_file))
    found = truth_table(io.read_map(folder / "prospectivity.tif"), district.truth)
    row = found.reset_index().iloc[-1]
    assert row["undiscovered"] > row["expected"]
