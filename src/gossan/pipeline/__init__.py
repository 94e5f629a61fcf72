"""A study end to end, and the verbs beside it."""

from gossan.pipeline.analogues import AnaloguesFound, analogues_study
from gossan.pipeline.annotate import annotate_study
from gossan.pipeline.compare import (
    compare_study,
    comparison_table,
    own_left_out,
    study_workflows,
)
from gossan.pipeline.demo import run_demo
from gossan.pipeline.explain import (
    Explanation,
    explain_study,
    layers_by_blocks,
    map_contributions,
)
from gossan.pipeline.folder import Progress, RunFolder, run_folder
from gossan.pipeline.keys import input_digests, stage_keys
from gossan.pipeline.predict import Predicted, predict_study
from gossan.pipeline.pretrain import pretrain_study
from gossan.pipeline.regions import RegionsFound, regions_study
from gossan.pipeline.report import renew_report
from gossan.pipeline.run import run_study
from gossan.pipeline.settings import (
    check_method,
    check_settings,
    other_occurrences,
    read_deposits,
    study_model,
    study_sampler,
    study_splitter,
)
from gossan.pipeline.transfer import train_source_study

__all__ = [
    "AnaloguesFound",
    "Explanation",
    "Predicted",
    "Progress",
    "RegionsFound",
    "RunFolder",
    "analogues_study",
    "annotate_study",
    "check_method",
    "check_settings",
    "compare_study",
    "comparison_table",
    "explain_study",
    "input_digests",
    "layers_by_blocks",
    "map_contributions",
    "other_occurrences",
    "own_left_out",
    "predict_study",
    "pretrain_study",
    "read_deposits",
    "regions_study",
    "renew_report",
    "run_demo",
    "run_folder",
    "run_study",
    "stage_keys",
    "study_model",
    "study_sampler",
    "study_splitter",
    "study_workflows",
    "train_source_study",
]
