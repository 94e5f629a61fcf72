"""The cells of a study as flat arrays, and as a model looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from gossan.annotate import label_decided
from gossan.draws import DrawEnsemble
from gossan.evidence import CellFeatures, FeatureSubset, valid_cells
from gossan.grid import Grid
from gossan.looks import learns_in_folds, looked_at, taught

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

_IN_MEMORY = 1_000_000_000
"""Bytes up to which evidence is held in memory."""


@dataclass(frozen=True)
class StudyCells:
    """The cells of a study as flat arrays: what splitters, samplers and estimators take.

    Attributes
    ----------
    features : CellFeatures
        Lazy ``(n, layers)`` or ``(n, layers, window, window)``.
    coordinates : array of shape (n, 2)
        Easting and northing of the cell centres.
    labels : array of shape (n,)
        1 positive, 0 known negative, -1 unlabelled: what deposits are ranked against.
    training_labels : array of shape (n,)
        The same under a geologist's decisions, which train but do not judge: -2 for a cell that
        is not to be drawn as negative.
    deposits : array of shape (n,)
        Index of the deposit whose footprint holds the cell, -1 elsewhere.
    rows, columns : arrays of shape (n,)
    """

    features: CellFeatures
    coordinates: FloatArray
    labels: IntArray
    training_labels: IntArray
    deposits: IntArray
    rows: IntArray
    columns: IntArray

    def known(self, shown: IntArray, unknown: IntArray | None = None) -> tuple[IntArray, IntArray]:
        """Training labels and deposits of some cells, where those of others are not to be known."""
        labels, deposits = self.training_labels[shown], self.deposits[shown]
        if unknown is None:
            return labels, deposits
        forgotten = np.isin(shown, unknown)
        return np.where(forgotten, -1, labels), np.where(forgotten, -1, deposits)


def study_cells(evidence: xr.DataArray, labels: xr.DataArray, *, window: int = 1) -> StudyCells:
    """Flatten evidence and labels to the cells of the study, row by row.

    A stack of at most a gigabyte is read into memory once, since every fold asks for its cells
    again; a larger one stays where it is and is read block by block. A geologist's decisions are
    read from the labels' coordinate ``decision``, where they have one.
    """
    if evidence.nbytes <= _IN_MEMORY:
        evidence = evidence.compute()
    rows, columns = np.nonzero(valid_cells(evidence))
    known = labels.to_numpy()[rows, columns]
    training = known
    if "decision" in labels.coords:
        training = label_decided(known, labels["decision"].to_numpy()[rows, columns])
    return StudyCells(
        features=CellFeatures(evidence, rows, columns, window),
        coordinates=Grid.from_dataarray(labels).coordinates(rows, columns),
        labels=known,
        training_labels=training,
        deposits=labels["deposit"].to_numpy()[rows, columns],
        rows=rows,
        columns=columns,
    )


class ModelView:
    """The cells of a study as one estimator looks at them, after it has learnt without labels.

    Parameters
    ----------
    model : classifier
        Unfitted. Taught here by the evidence of the whole study (:func:`gossan.looks.taught`),
        unless it learns within folds.
    cells : StudyCells
        Of single cells.
    """

    def __init__(self, model: Any, cells: StudyCells) -> None:
        self.cells = cells
        self._model = model
        self._in_folds = learns_in_folds(model)
        if not self._in_folds:
            _ = self._of_whole  # now, so that workers need not each do it

    def within(self, shown: IntArray | None = None) -> tuple[Any, CellFeatures]:
        """The model and what it looks at, where some cells are shown; default: all.

        Parameters
        ----------
        shown : ndarray of int, optional
            Cells to train on.
        """
        if shown is None or not self._in_folds:
            return self._of_whole
        seen = np.zeros(self.cells.features.evidence.shape[1:], dtype=bool)
        seen[self.cells.rows[shown], self.cells.columns[shown]] = True
        return self._taught(seen)

    def fit(
        self,
        ensemble: DrawEnsemble,
        shown: IntArray | None = None,
        unknown: IntArray | None = None,
    ) -> tuple[DrawEnsemble, CellFeatures]:
        """Fit an ensemble of this model, and give what the model looks at.

        Parameters
        ----------
        ensemble : DrawEnsemble
            Fitted in place; its estimator is replaced by the model as it is taught here.
        shown : ndarray of int, optional
            Cells to train on; default: all.
        unknown : ndarray of int, optional
            Cells whose labels are not to be known.
        """
        model, features = self.within(shown)
        cells = self.cells
        part = np.arange(len(cells.labels)) if shown is None else shown
        labels, deposits = cells.known(part, unknown)
        ensemble.set_params(estimator=model).fit(
            FeatureSubset(features, part),
            labels,
            cells.coordinates[part],
            layers=FeatureSubset(cells.features, part),
            groups=deposits,
        )
        return ensemble, features

    @cached_property
    def _of_whole(self) -> tuple[Any, CellFeatures]:
        return self._taught(None)

    def _taught(self, seen: npt.NDArray[np.bool_] | None) -> tuple[Any, CellFeatures]:
        evidence = self.cells.features.evidence
        model = taught(self._model, evidence, seen)
        looks = looked_at(model, evidence)
        window = int(getattr(model, "window", 1))
        return model, CellFeatures(looks, self.cells.rows, self.cells.columns, window)


def deposit_cells(cells: StudyCells, labels: xr.DataArray) -> IntArray:
    """Index, among the study's cells, of the cell each deposit lies in; -1 where it has none.

    A deposit is judged by the score of its own cell, never by the best of its footprint.
    """
    located = labels.attrs["deposit_cells"]  # (n_deposits, 2) row, column; -1 outside
    index = np.full(labels.shape, -1, dtype=np.int64)
    index[cells.rows, cells.columns] = np.arange(len(cells.rows))
    rows, columns = np.asarray(located).T
    return np.where(rows >= 0, index[rows, columns], -1)
