"""Masked-image pretraining: learn the evidence first, then map deposits from a handful."""

from gossan.nn.masked_autoencoder.backbone import Backbone
from gossan.nn.masked_autoencoder.classifier import PretrainedClassifier
from gossan.nn.masked_autoencoder.network import (
    PRESETS,
    Architecture,
    MaskedAutoencoder,
    judged_values,
    reconstruction_loss,
)
from gossan.nn.masked_autoencoder.pretraining import pretrain, untrained
from gossan.nn.masked_autoencoder.reconstruction import (
    ReconstructedRectangle,
    Reconstruction,
    bilinear_fill,
    reconstruct,
    reconstruct_rectangle,
    reconstruction_scores,
)
from gossan.nn.masked_autoencoder.settings import Pretraining

__all__ = [
    "PRESETS",
    "Architecture",
    "Backbone",
    "MaskedAutoencoder",
    "PretrainedClassifier",
    "Pretraining",
    "ReconstructedRectangle",
    "Reconstruction",
    "bilinear_fill",
    "judged_values",
    "pretrain",
    "reconstruct",
    "reconstruct_rectangle",
    "reconstruction_loss",
    "reconstruction_scores",
    "untrained",
]
