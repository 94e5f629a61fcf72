"""Pixel-pair features: a deep network that tells like cells from unlike, and maps made with it.

Labelled cells are paired with one another, so a few hundred give tens of thousands of training
pairs (Li et al. 2016; Zhang, Zuo & Xiong 2021). The network learns which pairs are of one class;
a cell is then scored by how unlike it is to the ring of its neighbours, or to the labelled cells.
"""

from gossan.nn.pixel_pairs.classifier import PixelPairClassifier
from gossan.nn.pixel_pairs.network import PairNetwork
from gossan.nn.pixel_pairs.pairs import PairSet, pair_indices, pair_signal

__all__ = ["PairNetwork", "PairSet", "PixelPairClassifier", "pair_indices", "pair_signal"]
