"""A run folder after the study changed: it holds this run's files, and what is the user's."""

from pathlib import Path

import pytest

import gossan as gs
from gossan.datasets import synthetic_district, write_district
from gossan.pipeline import map_contributions, run_study

pytest.importorskip("torch")
# The district has an element below detection in half of its samples: left out, with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::gossan.exceptions.SurveyDataWarning")

TREES = 'name = "extra-trees"\nparameters = { n_estimators = 10 }\n'
QUICK = "backbone_window = 5, epochs = 1, windows_per_epoch = 64, members = 1, dropout_draws = 0"
NETWORK = f'name = "masked-pretraining"\nparameters = {{ {QUICK} }}\n'
OF_NETWORKS = {"embedding.zarr", "embedding.tif", "weights.safetensors"}
OF_EXPLAINING = {"contributions.tif", "contributions.qml", "contributions.png"}


def names(folder: Path) -> set[str]:
    """Files and folders that a run shows its user."""
    return {path.name for path in [*folder.iterdir(), *(folder / "model").iterdir()]}


def test_files_of_an_earlier_method_are_gone(tmp_path: Path) -> None:
    """A network's embedding, weights and contributions are no part of a run of trees."""
    file = write_district(
        synthetic_district(seed=3, shape=(24, 24), n_samples=150, n_deposits=20), tmp_path
    )
    area, *sources = file.read_text().split("\n[[")
    rasters = [source for source in sources if source.startswith("rasters")]
    trees = "\n[[".join([area, *rasters])
    trees += (
        f"\n[method]\n{TREES}[negatives]\ndraws = 1\n[validation]\nfolds = 2\nbootstrap = 100\n"
    )

    file.write_text(trees)
    folder = run_study(gs.read_study(file))
    of_trees = names(folder)
    assert of_trees.isdisjoint(OF_NETWORKS | OF_EXPLAINING)

    file.write_text(trees.replace(TREES, NETWORK))
    run_study(gs.read_study(file))
    map_contributions(gs.read_study(file), cells=20)
    run_study(gs.read_study(file))  # nothing changed: the maps of contributions stay
    assert names(folder) == of_trees | OF_NETWORKS | OF_EXPLAINING
    (folder / "notes.txt").write_text("the user's")

    file.write_text(trees)
    run_study(gs.read_study(file))
    assert names(folder) == of_trees | {"notes.txt"}
