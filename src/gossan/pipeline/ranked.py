"""Ranked areas as they are left in a run folder: polygons and their peaks, styled for QGIS."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd

from gossan import io
from gossan.grid import Grid
from gossan.report import layer_styles, peaks_style, targets_style


def write_ranked(file: Path, areas: gpd.GeoDataFrame) -> None:
    """Write areas that :func:`gossan.targets.find_targets` found as a GeoPackage."""
    points = areas.drop(columns="geometry").set_geometry(
        gpd.points_from_xy(areas["easting"], areas["northing"], crs=areas.crs)
    )
    styles = layer_styles({"targets": targets_style(len(areas)), "points": peaks_style()})
    io.write_targets(file, areas, points, styles=styles)


def no_deposits(grid: Grid) -> gpd.GeoDataFrame:
    """The known deposits of a study that names none."""
    return gpd.GeoDataFrame({"name": []}, geometry=gpd.points_from_xy([], []), crs=grid.crs)
