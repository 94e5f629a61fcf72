"""A geologist's review of an annotation: rows of a GeoPackage, checked, to decisions on cells."""

from __future__ import annotations

import warnings
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr

from gossan.annotate.annotation import Annotation
from gossan.annotate.decisions import ACCEPTED, DECISIONS, GEOLOGIST, KNOWN_DEPOSIT, REJECTED
from gossan.exceptions import LabelError, SurveyDataWarning
from gossan.grid import Grid

MODEL = "model"
"""Who decided, where no geologist did."""
DEPOSITS_FILE = "deposits file"
"""Who decided on the cells of known deposits."""

_LISTED = 5
_WORDS = {code: word for word, code in DECISIONS.items()}


def annotation_frame(
    annotation: Annotation,
    grid: Grid,
    rows: npt.NDArray[Any],
    columns: npt.NDArray[Any],
    *,
    reviewed: gpd.GeoDataFrame | None = None,
    max_cells: int = 250_000,
) -> gpd.GeoDataFrame:
    """The chosen round as points that a GIS can edit.

    Parameters
    ----------
    annotation : Annotation
    grid : Grid
    rows, columns : ndarray of shape (n,)
        Of the cells that were annotated.
    reviewed : geopandas.GeoDataFrame, optional
        A geologist's rows from :func:`geologist_rows`: who decided and why is carried over.
    max_cells : int, default 250,000
        In a larger area so many are written: those that are no plain negatives first, then by
        score from the highest; a geologist may add points anywhere.

    Returns
    -------
    geopandas.GeoDataFrame
        ``row``, ``column``, ``easting``, ``northing``, ``round``, ``score``, ``decision`` (a key
        of :data:`gossan.annotate.DECISIONS`), ``by``, ``note``; points at the cells' centres.
    """
    chosen = annotation.chosen
    score, code = annotation.scores[chosen], annotation.decisions[chosen]
    kept = np.arange(len(annotation.cells))
    if len(kept) > max_cells:
        model = np.isin(code, [DECISIONS[w] for w in ("unlabelled", "negative", "doubtful")])
        plain = np.isin(code, (DECISIONS["negative"], DECISIONS["unlabelled"]))
        order = np.lexsort((-np.nan_to_num(score), plain, model))
        kept = np.sort(order[:max_cells])
    cells = annotation.cells[kept]
    places = grid.coordinates(rows[cells], columns[cells])
    frame = gpd.GeoDataFrame(
        {
            "row": rows[cells].astype(np.int32),
            "column": columns[cells].astype(np.int32),
            "easting": places[:, 0],
            "northing": places[:, 1],
            "round": np.full(len(cells), chosen, np.int32),
            "score": score[kept].astype(np.float64),
            "decision": [_WORDS[int(c)] for c in code[kept]],
            "by": MODEL,
            "note": "",
        },
        geometry=gpd.points_from_xy(*places.T),
        crs=grid.crs,
    )
    frame.loc[frame["decision"] == "known deposit", "by"] = DEPOSITS_FILE
    return frame if reviewed is None else _with_review(frame, reviewed, grid)


def annotation_log(
    annotation: Annotation,
    rows: npt.NDArray[Any],
    columns: npt.NDArray[Any],
    number: int,
    authors: pd.Series | None = None,
) -> pd.DataFrame:
    """One round of the log: one row a cell, with its score, the decision and who decided.

    Parameters
    ----------
    annotation : Annotation
    rows, columns : ndarray of shape (n,)
    number : int
        The round.
    authors : pandas.Series, optional
        Who decided, by (row, column), where a geologist did.
    """
    code = annotation.decisions[number]
    cells = annotation.cells
    by = np.full(len(cells), MODEL, dtype=object)
    by[code == KNOWN_DEPOSIT] = DEPOSITS_FILE
    decided = np.isin(code, [DECISIONS[word] for word in GEOLOGIST])
    by[decided] = "geologist"
    if authors is not None and decided.any():
        index = pd.MultiIndex.from_arrays([rows[cells[decided]], columns[cells[decided]]])
        by[decided] = authors.reindex(index).fillna("geologist").to_numpy()
    return pd.DataFrame(
        {
            "round": np.full(len(cells), number, np.int16),
            "row": rows[cells].astype(np.int32),
            "column": columns[cells].astype(np.int32),
            "score": annotation.scores[number],
            "decision": pd.Categorical.from_codes(
                code.astype(np.int64), categories=pd.Index(list(DECISIONS))
            ),
            "by": pd.Categorical(by),
        }
    )


def geologist_rows(frame: gpd.GeoDataFrame, file: str) -> gpd.GeoDataFrame:
    """The rows of an annotation that a geologist decided; the model's own are left out.

    Parameters
    ----------
    frame : geopandas.GeoDataFrame
        As :func:`annotation_frame` makes it, edited by any tool: ``decision`` changed, points
        added. Case and blanks around a word do not count.
    file : str
        For messages.

    Returns
    -------
    geopandas.GeoDataFrame
        With ``decision`` one of "accept", "reject", "deposit"; ``by`` ("geologist" where nobody
        signed), ``note``, and ``row``, ``column``, NaN for added points.

    Raises
    ------
    LabelError
        If the column ``decision`` is missing, or holds a word that is none.

    Warns
    -----
    SurveyDataWarning
        If a row that somebody signed holds a word of the model's.
    """
    if "decision" not in frame:
        raise LabelError(
            f"{file} has no column 'decision' (it has {', '.join(map(str, frame.columns))}). "
            "Give the column back; or move the file away, and `gossan annotate` makes it anew."
        )
    words = frame["decision"].fillna("").astype(str).str.strip().str.lower()
    unknown = ~words.isin([*DECISIONS, ""])
    if unknown.any():
        found = ", ".join(
            f"'{frame['decision'].iloc[i]}' (feature {frame.index[i]})"
            for i in np.flatnonzero(unknown)[:_LISTED]
        )
        more = unknown.sum() - _LISTED
        raise LabelError(
            f"{file}: {unknown.sum()} decisions are none of gossan's: {found}"
            f"{f' and {more} more' if more > 0 else ''}. A geologist decides by "
            "'accept' (barren), 'reject' (not to be used as negative) or 'deposit'."
        )
    decided = frame[words.isin(GEOLOGIST)].copy()
    decided["decision"] = words[decided.index]
    _warn_of_model_words(frame, words, file)
    for column, default in (("by", "geologist"), ("note", "")):
        given = decided.get(column, pd.Series(default, index=decided.index))
        given = given.fillna("").astype(str).str.strip()
        decided[column] = given.where(~given.isin(["", MODEL, DEPOSITS_FILE]), default)
    for column in ("row", "column"):
        if column not in decided:
            decided[column] = np.nan
    return decided


def _warn_of_model_words(frame: gpd.GeoDataFrame, words: pd.Series, file: str) -> None:
    """Tell who signed a word of the model's that it decides nothing."""
    by = frame.get("by", pd.Series("", index=frame.index)).fillna("").astype(str).str.strip()
    signed = ~words.isin([*GEOLOGIST, ""]) & ~by.isin(["", MODEL, DEPOSITS_FILE])
    if signed.any():
        example = int(np.flatnonzero(signed)[0])
        warnings.warn(
            f"{file}: {signed.sum()} rows signed by a geologist hold a word of the model's, "
            f"'{words.iloc[example]}' by {by.iloc[example]} (feature {frame.index[example]}) for "
            "one, which decides nothing. Write 'accept', 'reject' or 'deposit'.",
            SurveyDataWarning,
            stacklevel=3,
        )


def mark_decisions(
    labels: xr.DataArray,
    reviewed: gpd.GeoDataFrame,
    file: str = "the annotation",
    *,
    observed: npt.NDArray[np.bool_] | None = None,
) -> xr.DataArray:
    """Labels with the coordinate ``decision`` (y, x): a geologist's codes, 0 elsewhere.

    Parameters
    ----------
    labels : xarray.DataArray
        From :func:`gossan.labels.label_cells`.
    reviewed : geopandas.GeoDataFrame
        From :func:`geologist_rows`.
    file : str
        For messages.
    observed : ndarray of bool, shape (y, x), optional
        Cells with evidence; default: all.

    Raises
    ------
    LabelError
        If a decision lies outside the area or without coordinates, the file was made on another
        grid, or two decisions on one cell contradict each other.

    Warns
    -----
    SurveyDataWarning
        If a decision on a cell of a known deposit says that it is barren or no negative: the
        deposits' file stands; or if one lies where there is no evidence, where it cannot count.
    """
    grid = Grid.from_dataarray(labels)
    row, column = _cells_of(reviewed, grid, file)
    code = np.array([DECISIONS[word] for word in reviewed["decision"]], dtype=np.int8)
    cell = row * grid.shape[1] + column
    decision = np.zeros(grid.size, np.int8)
    decision[cell] = code
    at_odds = decision[cell] != code
    if at_odds.any():
        same = np.flatnonzero(np.isin(cell, cell[at_odds]))[:_LISTED]
        listed = ", ".join(
            f"'{reviewed['decision'].iloc[i]}' by {reviewed['by'].iloc[i]} (feature "
            f"{reviewed.index[i]}) at ({place.x:.7g}, {place.y:.7g})"
            for i in same
            if (place := reviewed.geometry.iloc[i]) is not None
        )
        raise LabelError(
            f"{file}: two decisions on the same cell contradict each other: {listed}. Keep one."
        )
    decision = decision.reshape(grid.shape)
    if observed is not None:
        _warn_of_missing(decision, observed, grid, file)
        decision = np.where(observed, decision, np.int8(0))
    _warn_of_deposits(labels, decision, file)
    return labels.assign_coords(decision=(("y", "x"), decision))


def count_decisions(labels: xr.DataArray) -> dict[str, int]:
    """How many cells a geologist decided, by word; empty without any.

    A decision on a known deposit's cell does not stand and does not count.

    Examples
    --------
    >>> labels = xr.DataArray(np.full((1, 2), -1), dims=("y", "x"))
    >>> count_decisions(labels.assign_coords(decision=(("y", "x"), [[3, 0]])))
    {'accept': 1}
    """
    if "decision" not in labels.coords:
        return {}
    code = np.where(labels.to_numpy() == 1, 0, labels["decision"].to_numpy())
    counts = {word: int((code == DECISIONS[word]).sum()) for word in GEOLOGIST}
    return {word: count for word, count in counts.items() if count}


def _cells_of(
    reviewed: gpd.GeoDataFrame, grid: Grid, file: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column of each decision; raises where the file fits another grid."""
    geometry = reviewed.geometry
    if geometry.isna().any() or geometry.is_empty.any():
        raise LabelError(
            f"{file}: feature {reviewed.index[geometry.isna() | geometry.is_empty][0]} has a "
            "decision but no place. Give it a point, or delete it."
        )
    many = (shapely.get_dimensions(geometry) > 0) | (shapely.get_num_geometries(geometry) > 1)
    if many.any():
        first = int(np.flatnonzero(many)[0])
        raise LabelError(
            f"{file}: feature {reviewed.index[first]} has a decision but is a "
            f"{geometry.iloc[first].geom_type}; a decision is on one cell. Give a point in each "
            "cell that you mean, or delete it."
        )
    if geometry.crs is not None and geometry.crs != grid.crs:
        geometry = geometry.to_crs(grid.crs)
    points = geometry.representative_point()
    row, column = grid.locate(points.x.to_numpy(), points.y.to_numpy())
    outside = row < 0
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise LabelError(
            f"{file}: {outside.sum()} decisions lie outside the study's area, the first at "
            f"({points.x.iloc[first]:.7g}, {points.y.iloc[first]:.7g}). Was the file made for "
            "another area or grid? Delete them, or run `gossan annotate` in a new folder."
        )
    written = reviewed[["row", "column"]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    moved = np.isfinite(written).all(axis=1) & ((written[:, 0] != row) | (written[:, 1] != column))
    if moved.any():
        first = int(np.flatnonzero(moved)[0])
        raise LabelError(
            f"{file} was made on another grid: feature {reviewed.index[first]} was row "
            f"{written[first, 0]:.0f}, column {written[first, 1]:.0f} there and lies in row "
            f"{row[first]}, column {column[first]} here. Clear 'row' and 'column' of your "
            "decisions to place them by their coordinates, or go back to the former cell size "
            "and extent."
        )
    return row, column


def _warn_of_missing(
    decision: npt.NDArray[np.int8], observed: npt.NDArray[np.bool_], grid: Grid, file: str
) -> None:
    rows, columns = np.nonzero((decision != 0) & ~observed)
    if len(rows):
        easting, northing = grid.coordinates(rows[:1], columns[:1])[0]
        warnings.warn(
            f"{file}: {len(rows)} decisions lie in cells without evidence and cannot count, the "
            f"first at ({easting:.7g}, {northing:.7g}). Add a source that covers them, or delete "
            "them.",
            SurveyDataWarning,
            stacklevel=4,
        )


def _warn_of_deposits(labels: xr.DataArray, decision: npt.NDArray[np.int8], file: str) -> None:
    against = (labels.to_numpy() == 1) & np.isin(decision, (ACCEPTED, REJECTED))
    if against.any():
        grid = Grid.from_dataarray(labels)
        rows, columns = np.nonzero(against)
        easting, northing = grid.coordinates(rows[:1], columns[:1])[0]
        warnings.warn(
            f"{file}: {against.sum()} decisions call a cell of a known deposit's footprint barren "
            f"or no negative, the first at ({easting:.7g}, {northing:.7g}). The deposits' file "
            "stands; correct it there, or take the decision back.",
            SurveyDataWarning,
            stacklevel=4,
        )


def _with_review(
    frame: gpd.GeoDataFrame, reviewed: gpd.GeoDataFrame, grid: Grid
) -> gpd.GeoDataFrame:
    """Carry over who decided and why; decisions on cells that are not listed are added."""
    row, column = _cells_of(reviewed, grid, "the annotation")
    reviewed = reviewed.assign(row=row, column=column).drop_duplicates(["row", "column"])
    reviewed = reviewed.set_index(["row", "column"])
    here = pd.MultiIndex.from_frame(frame[["row", "column"]])
    found = here.isin(reviewed.index)
    known = (frame["decision"] == "known deposit").to_numpy()
    for name in ("decision", "by", "note"):
        values = reviewed[name].reindex(here[found]).to_numpy()
        if name == "decision":
            frame.loc[found & known, "note"] = [
                f"'{word}' does not stand: a known deposit"
                for word in reviewed[name].reindex(here[found & known])
            ]
        frame.loc[found & ~known, name] = pd.Series(
            values, index=frame.index[found], dtype=object
        ).loc[frame.index[found & ~known]]
    absent = reviewed[~reviewed.index.isin(here)].reset_index()
    if len(absent) == 0:
        return frame
    places = grid.coordinates(absent["row"].to_numpy(), absent["column"].to_numpy())
    added = gpd.GeoDataFrame(
        {
            "row": absent["row"].astype(np.int32),
            "column": absent["column"].astype(np.int32),
            "easting": places[:, 0],
            "northing": places[:, 1],
            "round": frame["round"].iloc[0] if len(frame) else 0,
            "score": np.nan,
            "decision": absent["decision"],
            "by": absent["by"],
            "note": absent["note"],
        },
        geometry=gpd.points_from_xy(*places.T),
        crs=grid.crs,
    )
    return pd.concat([frame, added], ignore_index=True)
