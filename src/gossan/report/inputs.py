"""What the report is made of: plain values that a pipeline, or a notebook, fills in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from gossan.quality import Finding


@dataclass(frozen=True)
class PretrainingShown:
    """What a network learnt of the evidence before it saw a label.

    Parameters
    ----------
    areas : sequence of str
        Names of the areas it learnt from; empty for a network that was not pretrained.
    settings : mapping
        Of the pretraining: ``window``, ``hidden_cells``, ``hidden_layers``, ``epochs``,
        ``windows_per_epoch``.
    training_loss, validation_loss : sequence of float
        One an epoch; empty for a network that was not pretrained.
    scores : pandas.DataFrame
        One row a layer, from ``reconstruction_scores``: ``layer``; ``network``, ``layer_mean`` and
        ``bilinear``, the errors of what fills hidden values. Empty where nothing was judged.
    truth, filled : xarray.DataArray
        ``(layer, y, x)`` with a CRS: some layers of a rectangle of the area in their units, NaN
        where missing; as they are, and as the network fills in what it was not shown. None where
        the area is smaller than a window.
    hidden : ndarray of shape (layer, y, x), bool
        Values that the network was not shown, and that are observed.
    scale : ndarray of shape (layer,)
        Standard deviations of those layers; 1 of a layer of 0 and 1.
    units : sequence of str
        Of those layers; empty where there is none.
    colours : xarray.DataArray
        ``(layer, y, x)`` uint8 red, green, blue with a CRS: the embedding of the area in false
        colours, 0 where missing.
    """

    areas: Sequence[str]
    settings: Mapping[str, Any]
    training_loss: Sequence[float]
    validation_loss: Sequence[float]
    scores: pd.DataFrame
    truth: xr.DataArray | None
    filled: xr.DataArray | None
    hidden: npt.NDArray[np.bool_]
    scale: npt.NDArray[np.floating[Any]]
    units: Sequence[str]
    colours: xr.DataArray


@dataclass(frozen=True)
class TransferShown:
    """What the networks of selective transfer took of their source.

    Parameters
    ----------
    source : mapping
        Of the source: ``area``, ``layers``, ``patches``, ``with_deposits``, ``window``; empty where
        nothing was transferred.
    layers : pandas.DataFrame
        ``layer``; its ``weight`` in the soft mask; ``openness``, the mean of abs(P) of its first
        kernels, NaN where the source lacks it.
    kernels : pandas.DataFrame
        ``kernel``, from the first to the last, and its ``openness``.
    sizes : mapping
        ``window``, ``crop``, ``dilations``, ``stride``, ``map_stride``, in cells.
    shape : (int, int)
        Rows and columns of the area.
    cell_size : float
        Width of a cell, in metres.
    counts : mapping
        ``patches`` learnt from, and those with a deposit, ``positive``.
    width, epochs : int
        Of the networks, and how long they learnt.
    given : collection of str
        Which of ``patch_window`` and ``patch_stride`` the study file gives.
    left_out : int
        Published scales that the patches have no room for.
    """

    source: Mapping[str, Any]
    layers: pd.DataFrame
    kernels: pd.DataFrame
    sizes: Mapping[str, Any]
    shape: Sequence[int]
    cell_size: float
    counts: Mapping[str, int]
    width: int
    epochs: int
    given: Collection[str]
    left_out: int = 0


@dataclass(frozen=True)
class RegionsShown:
    """Regions of like evidence, which no deposit had a part in.

    Parameters
    ----------
    labels : xarray.DataArray
        ``(y, x)`` with a CRS: number of the region, 0 without evidence.
    table : pandas.DataFrame
        From :func:`gossan.regions.region_table`.
    profiles : pandas.DataFrame
        From :func:`gossan.regions.layer_profiles`.
    choice : pandas.DataFrame
        From :func:`gossan.regions.choose_count`; one row where the number was given.
    stable : bool
        Whether halves of the area agree on them.
    by, method : str
        What cells were compared by, and the clustering.
    """

    labels: xr.DataArray
    table: pd.DataFrame
    profiles: pd.DataFrame
    choice: pd.DataFrame
    stable: bool
    by: str
    method: str


@dataclass(frozen=True)
class SearchShown:
    """A search for ground like a chosen place.

    Parameters
    ----------
    query : str
        The place, in words.
    by : str
        What cells were compared by.
    areas : pandas.DataFrame
        Best first, as :class:`gossan.pipeline.AnaloguesFound` holds them.
    map : bytes
        A PNG of the likeness of all ground, from :func:`gossan.report.analogue_map`.
    """

    query: str
    by: str
    areas: pd.DataFrame
    map: bytes


@dataclass(frozen=True)
class AnaloguesShown:
    """Whether ground like some known deposits holds the others, and what was searched for.

    Parameters
    ----------
    held_out : mapping or None
        Held-out figures of likeness to the deposits alone, on the folds of the run.
    deposits : sequence of mapping
        One a deposit: ``name``, ``fold``; ``rank``, the share of the background less like the
        deposits of other folds than it is; ``alike``, the deposit of another fold that it is most
        like, and the ``likeness`` of the two.
    reason : str or None
        Why no deposit could be held out, where none could.
    searches : sequence of SearchShown
    """

    held_out: Mapping[str, Any] | None
    deposits: Sequence[Mapping[str, Any]]
    reason: str | None = None
    searches: Sequence[SearchShown] = ()


@dataclass(frozen=True)
class OwnLeftOut:
    """That a comparison lacks the study's own method, and what adds it.

    Parameters
    ----------
    method : str
        The study's own, by its name in the catalogue.
    reference : str
        The workflow that differences are taken against instead.
    command : str
        What is typed to compare that method too.
    """

    method: str
    reference: str
    command: str

    @property
    def words(self) -> str:
        """A paragraph to put before the command."""
        return (
            f"The study's own method, {self.method}, is not among those compared: nothing here "
            "says whether another would do better than it, and differences are taken against "
            f"{self.reference} instead. This command adds it, and computes nothing twice:"
        )


@dataclass(frozen=True)
class ReportInputs:
    """Everything a report shows. Only the first five fields are needed; the rest adds sections.

    Parameters
    ----------
    study_name : str
    method_title : str
        What made the map, in words.
    score : xarray.DataArray
        ``(y, x)`` in [0, 1] with a CRS, NaN where missing.
    deposits : geopandas.GeoDataFrame
        Known deposits in the map's CRS: ``name``; ``rank``, the share of the background that
        scored below it when it was held out, NaN if it never was; ``fold``, which held it out.
    evaluation : mapping
        The content of ``evaluation.json``: at least ``held_out``, ``n_deposits``, ``n_cells``;
        also read: ``negatives``, ``splitter``, ``draws``, ``rank_stability``. Under
        ``diagnostics``, figures that are no measure of skill (such as AUC against chosen
        negatives), by name.
    spread : xarray.DataArray, optional
        ``(y, x)`` standard deviation over the ensemble.
    targets : geopandas.GeoDataFrame, optional
        Polygons, best first: ``rank``, ``easting`` and ``northing`` of the peak, ``score``,
        ``spread``, ``area_km2``, ``nearest_deposit``, ``distance_m``, ``drivers`` (text with ``;``
        between drivers, or (layer, contribution) pairs), ``group`` (what drives it, in a word).
    layer_scores : pandas.DataFrame, optional
        One row a layer, from :func:`gossan.quality.score_layers`.
    findings : sequence of gossan.quality.Finding
        The worst first, as :class:`gossan.quality.StudyCheck` holds them.
    importance : pandas.DataFrame, optional
        ``layer`` (column or index), ``importance`` and, optionally, ``spread``.
    evidence : mapping of str to xarray.DataArray
        Layers to show as thumbnails, by name; small arrays will do.
    reliability : pandas.DataFrame, optional
        ``predicted``, ``observed``, ``cells``: held-out calibration, where scores are calibrated.
    truth : pandas.DataFrame, optional
        Of a synthetic district, from :func:`gossan.datasets.truth_table`.
    hidden : geopandas.GeoDataFrame, optional
        Of a synthetic district: the undiscovered deposits.
    pretraining : PretrainingShown, optional
        What a network learnt without labels, where the method has one.
    transfer : TransferShown, optional
        What networks took of a source, where the method has one.
    regions : RegionsShown, optional
        Regions of the area, where some were made.
    analogues : AnaloguesShown, optional
        What likeness to known deposits tells.
    comparison : pandas.DataFrame, optional
        Workflows compared on the same folds, as :class:`ComparisonInputs` holds them.
    reference : str, optional
        The workflow that their differences are taken against.
    own_left_out : OwnLeftOut, optional
        Where the study's own method is not among the workflows.
    settings : mapping
        The study file, nested.
    provenance : mapping
        Versions, seeds, input hashes, nested.
    history : sequence of str
        What was done to the data on the way, such as elements dropped and duplicates merged.
    study_file : str, default "study.toml"
        Name of the study file, for the commands that the report suggests.
    output : str, optional
        The run folder as seen from the study file, for the same, where it is not the usual one.
    resolution : float, default 0
        Median resolution of what the layers were made from, such as a sample spacing, in metres.
    """

    study_name: str
    method_title: str
    score: xr.DataArray
    deposits: gpd.GeoDataFrame
    evaluation: Mapping[str, Any]
    spread: xr.DataArray | None = None
    targets: gpd.GeoDataFrame | None = None
    layer_scores: pd.DataFrame | None = None
    findings: Sequence[Finding] = ()
    importance: pd.DataFrame | None = None
    evidence: Mapping[str, xr.DataArray] = field(default_factory=dict)
    reliability: pd.DataFrame | None = None
    truth: pd.DataFrame | None = None
    hidden: gpd.GeoDataFrame | None = None
    pretraining: PretrainingShown | None = None
    transfer: TransferShown | None = None
    regions: RegionsShown | None = None
    analogues: AnaloguesShown | None = None
    comparison: pd.DataFrame | None = None
    reference: str | None = None
    own_left_out: OwnLeftOut | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[str] = ()
    study_file: str = "study.toml"
    output: str | None = None
    resolution: float = 0.0
