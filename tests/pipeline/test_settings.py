"""From a study's settings to sampler, estimator and splitter."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import gossan as gs
from gossan.datasets import synthetic_district, write_district
from gossan.exceptions import StudyError
from gossan.nn.masked_autoencoder import Pretraining, untrained
from gossan.pipeline import check_settings, keys, study_workflows


@pytest.mark.parametrize(
    ("sampler", "setting"),
    [
        ("random", "ratio = -1"),
        ("all-unlabelled", "max_cells = 0"),
        ("buffered", "distance = -5.0"),
        ("dissimilar", "band = [0.7, 0.3]"),
        ("spy", "share = 1.5"),
        ("recursive", "purge = 1.5"),
        ("recursive", "ratio = 0"),
    ],
)
def test_a_setting_out_of_range_is_refused_before_any_evidence_is_built(
    tmp_path: Path, sampler: str, setting: str
) -> None:
    """The value is named at once and not in the first fold of an hour's run."""
    study = write_district(synthetic_district(0, shape=(30, 30), n_samples=60), tmp_path)
    table = f'\n[negatives]\nsampler = "{sampler}"\n\n[negatives.parameters]\n{setting}\n'
    study.write_text(study.read_text() + table, encoding="utf-8")
    with pytest.raises(StudyError, match=rf"{setting.split()[0]} is"):
        check_settings(gs.read_study(study))


def test_a_method_is_asked_too(tmp_path: Path) -> None:
    """Windows that leave no ring between them are refused before any network is trained."""
    study = gs.read_study(write_district(synthetic_district(0, shape=(30, 30)), tmp_path))
    with pytest.raises(StudyError, match="outer is 5 and inner 7"):
        check_settings(study.with_method("pixel-pairs", inner=7, outer=5))


def test_a_window_larger_than_the_area_is_refused(tmp_path: Path) -> None:
    """Both sizes are told, and what may be changed."""
    study = gs.read_study(write_district(synthetic_district(0, shape=(30, 30)), tmp_path))
    with pytest.raises(StudyError, match=r"windows of 35 × 35 cells, and the area has 30 × 30"):
        check_settings(study.with_method("pixel-pairs"))
    check_settings(study.with_method("pixel-pairs-reference"))  # looks at no neighbour


@pytest.mark.parametrize(
    ("method", "setting", "value"),
    [
        ("pixel-pairs-reference", "inner", 5),
        ("pixel-pairs-reference", "ring_pairs", 16),
        ("pixel-pairs", "references", 16),
        ("masked-pretraining", "n_estimators", 10),
        ("masked-pretraining-forest", "dropout", 0.1),
    ],
)
def test_a_setting_that_makes_no_difference_is_refused(
    tmp_path: Path, method: str, setting: str, value: float
) -> None:
    """A geologist who sets it expects it to count; without it the method is sound."""
    study = gs.read_study(write_district(synthetic_district(0, shape=(60, 60)), tmp_path))
    with pytest.raises(StudyError, match=f"makes no use of {setting}"):
        check_settings(study.with_method(method, **{setting: value}))
    check_settings(study.with_method(method))
    with pytest.raises(StudyError, match=f"No method compared makes use of {setting}"):
        study_workflows(study, [method], variants=[{setting: value}])


def test_a_variant_is_compared_by_the_methods_that_use_it(tmp_path: Path) -> None:
    """The ring's windows are of no use to the reference cells."""
    study = gs.read_study(write_district(synthetic_district(0, shape=(60, 60)), tmp_path))
    names = ["pixel-pairs", "pixel-pairs-reference"]
    found = study_workflows(study, names, ["default"], variants=[{"inner": 5, "outer": 9}])
    assert [workflow.method.partition(" ")[0] for workflow in found] == [*names[:1], *names]


@pytest.mark.parametrize("variants", [[], [{"pretrained": False}]])
def test_a_pretrained_method_is_compared_with_itself_untaught(
    tmp_path: Path, variants: list[dict[str, bool]]
) -> None:
    """Once, whether or not it is asked for, and with the same negatives and draws."""
    study = gs.read_study(write_district(synthetic_district(0, shape=(60, 60)), tmp_path))
    names = ["masked-pretraining", "extra-trees"]
    taught, untaught, trees = study_workflows(study, names, ["default"], variants=variants)
    assert taught.model.pretrained
    assert not untaught.model.pretrained
    assert untaught.name == "masked-pretraining (pretrained=False) × default"
    assert untaught.n_draws == taught.n_draws
    assert trees.method == "extra-trees"


def test_every_head_can_be_asked_for(tmp_path: Path) -> None:
    """The catalogue's entries differ by settings that a study may give itself."""
    study = gs.read_study(write_district(synthetic_district(0, shape=(60, 60)), tmp_path))
    for head in ("probe", "forest", "finetune"):
        check_settings(study.with_method("masked-pretraining", head=head))


def test_a_variant_may_name_a_backbone(tmp_path: Path) -> None:
    """A file beside the study, with any sampler."""
    study = gs.read_study(write_district(synthetic_district(0, shape=(60, 60)), tmp_path))
    evidence = gs.build_evidence(study, store=tmp_path / "evidence.zarr")
    settings = Pretraining(window=5, epochs=1, windows_per_epoch=64)
    untrained(evidence, settings).save(tmp_path / "own.safetensors")
    found = study_workflows(
        study, ["masked-pretraining"], ["random"], variants=[{"backbone": "own.safetensors"}]
    )
    assert [workflow.model.backbone is not None for workflow in found] == [False, False, True]


def test_what_only_shows_makes_no_stage_anew(tmp_path: Path, monkeypatch: Any) -> None:
    """A help text leaves runs as they are; code that makes maps does not."""
    package = tmp_path / "gossan"
    shutil.copytree(keys._CODE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(keys, "_CODE", package)
    before = keys._own_code.__wrapped__()
    for room in ("cli/commands.py", "report/maps.py", "nn/windows.py", "methods.py"):
        (package / room).write_text("# another text")
    assert keys._own_code.__wrapped__() == before
    (package / "grid.py").write_text("# another text")
    assert keys._own_code.__wrapped__() != before


def test_a_backbone_that_is_not_there_is_named_as_written_and_as_read(tmp_path: Path) -> None:
    """Paths are read from the study file's folder, which is not where the user may stand."""
    study = gs.read_study(write_district(synthetic_district(0, shape=(30, 30)), tmp_path))
    asked = study.with_method("masked-pretraining", backbone="../nets/own.safetensors")
    with pytest.raises(StudyError) as told:
        check_settings(asked)
    assert "backbone = '../nets/own.safetensors' names" in str(told.value)
    assert str(tmp_path.parent / "nets" / "own.safetensors") in str(told.value)
    assert "`gossan pretrain` makes one" in str(told.value)


def test_a_backbone_in_the_home_of_an_unknown_user_is_named(tmp_path: Path) -> None:
    """`~nouser` is nobody's folder here: the file and the setting are told."""
    study = gs.read_study(write_district(synthetic_district(0, shape=(30, 30)), tmp_path))
    asked = study.with_method("masked-pretraining", backbone="~nouser/x.safetensors")
    with pytest.raises(StudyError, match=r"study\.toml: backbone = '~nouser/x\.safetensors'"):
        check_settings(asked)
