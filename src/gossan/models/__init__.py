"""Estimators that need no torch: scikit-learn classifiers of a cell's own layers."""

from gossan.models._base import CellClassifier
from gossan.models.analogues import Analogues
from gossan.models.baselines import (
    CellDecisionTree,
    CellGradientBoosting,
    CellKNeighbors,
    CellLogisticRegression,
    CellSVM,
)
from gossan.models.elkan_noto import ElkanNoto
from gossan.models.ensembles import (
    BaggingPU,
    CellExtraTrees,
    CellIsolationForest,
    CellRandomForest,
)
from gossan.models.scaling import NormalScores
from gossan.models.screening import LayerScreen
from gossan.models.weights_of_evidence import (
    WeightsOfEvidence,
    class_weights,
    conditional_independence_test,
    evidence_weights,
    posterior,
    weights_table,
)

__all__ = [
    "Analogues",
    "BaggingPU",
    "CellClassifier",
    "CellDecisionTree",
    "CellExtraTrees",
    "CellGradientBoosting",
    "CellIsolationForest",
    "CellKNeighbors",
    "CellLogisticRegression",
    "CellRandomForest",
    "CellSVM",
    "ElkanNoto",
    "LayerScreen",
    "NormalScores",
    "WeightsOfEvidence",
    "class_weights",
    "conditional_independence_test",
    "evidence_weights",
    "posterior",
    "weights_table",
]
