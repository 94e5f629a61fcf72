"""Whether a source has learnt what a study is to hold out."""

from __future__ import annotations

import hashlib
from typing import Any

import geopandas as gpd

from gossan.exceptions import StudyError


def place_digests(deposits: gpd.GeoDataFrame) -> list[str]:
    """A digest of where each deposit lies, to ten metres: it tells equal places, and no place."""
    places = deposits.geometry.to_crs("EPSG:4326")
    return [
        hashlib.sha256(f"{east:.4f} {north:.4f}".encode()).hexdigest()[:16]
        for east, north in zip(places.x, places.y, strict=True)
    ]


def refuse_own_source(model: Any, deposits: gpd.GeoDataFrame) -> None:
    """Refuse a source that has learnt deposits which are to be held out.

    Raises
    ------
    StudyError
        If any deposit is one of the source's.
    """
    source = getattr(model, "source", None)
    if source is None or not getattr(model, "transfer", False):
        return
    shared = sorted(set(place_digests(deposits)) & set(source.learned["deposits"]))
    if shared:
        raise StudyError(
            f"The source of {source.learned['area']!r} has learnt {len(shared)} of this study's "
            f"{len(deposits)} deposits: it would give away what is to be held out. Name a source "
            "that was trained on another area, or set transfer = false."
        )
