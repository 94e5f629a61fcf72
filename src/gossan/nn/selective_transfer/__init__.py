"""Selective knowledge transfer: networks that take of a larger task what helps; in the making."""

from gossan.nn.selective_transfer.classifier import SelectiveTransferClassifier, train_source
from gossan.nn.selective_transfer.network import ResNet18, SelectiveTransferNetwork
from gossan.nn.selective_transfer.source import Source
from gossan.nn.selective_transfer.training import PatchTraining

__all__ = [
    "PatchTraining",
    "ResNet18",
    "SelectiveTransferClassifier",
    "SelectiveTransferNetwork",
    "Source",
    "train_source",
]
