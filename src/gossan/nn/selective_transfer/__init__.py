"""Selective knowledge transfer: networks that take of a larger task what helps."""

from gossan.nn.selective_transfer.classifier import SelectiveTransferClassifier
from gossan.nn.selective_transfer.network import ResNet18, SelectiveTransferNetwork
from gossan.nn.selective_transfer.patches import patch_figures
from gossan.nn.selective_transfer.source import Source, check_source, train_source
from gossan.nn.selective_transfer.training import PRESETS, PatchTraining

__all__ = [
    "PRESETS",
    "PatchTraining",
    "ResNet18",
    "SelectiveTransferClassifier",
    "SelectiveTransferNetwork",
    "Source",
    "check_source",
    "patch_figures",
    "train_source",
]
