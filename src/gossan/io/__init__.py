"""All that touches files on disk; every failure names the file, the place and the remedy."""

from gossan.io.digests import file_digest, input_digest, network_code
from gossan.io.files import (
    read_json,
    replacing,
    write_bytes,
    write_json,
    write_text,
)
from gossan.io.maps import (
    read_annotation,
    read_labels,
    read_map,
    read_targets,
    write_annotation,
    write_labels,
    write_log,
    write_map,
    write_map_blocks,
    write_targets,
)
from gossan.io.models import WEIGHTS, load_model, save_model
from gossan.io.rasters import is_raster, open_raster, raster_grid, read_cells
from gossan.io.runs import (
    ArrayFolder,
    JsonFolder,
    file_stem,
    folder_lock,
    read_json_if_whole,
    waiting_lock,
)
from gossan.io.store import (
    EvidenceStore,
    Layer,
    create_evidence_store,
    evidence_array,
    layers_of,
    open_evidence,
    save_evidence,
)
from gossan.io.tables import (
    read_deposits,
    read_numbered_points,
    read_points,
    read_table,
    to_study_crs,
)
from gossan.io.vectors import read_vector
from gossan.io.weights import networks_folder, networks_kept, read_weights, write_weights

__all__ = [
    "WEIGHTS",
    "ArrayFolder",
    "EvidenceStore",
    "JsonFolder",
    "Layer",
    "create_evidence_store",
    "evidence_array",
    "file_digest",
    "file_stem",
    "folder_lock",
    "input_digest",
    "is_raster",
    "layers_of",
    "load_model",
    "network_code",
    "networks_folder",
    "networks_kept",
    "open_evidence",
    "open_raster",
    "raster_grid",
    "read_annotation",
    "read_cells",
    "read_deposits",
    "read_json",
    "read_json_if_whole",
    "read_labels",
    "read_map",
    "read_numbered_points",
    "read_points",
    "read_table",
    "read_targets",
    "read_vector",
    "read_weights",
    "replacing",
    "save_evidence",
    "save_model",
    "to_study_crs",
    "waiting_lock",
    "write_annotation",
    "write_bytes",
    "write_json",
    "write_labels",
    "write_log",
    "write_map",
    "write_map_blocks",
    "write_targets",
    "write_text",
    "write_weights",
]
