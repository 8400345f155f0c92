"""The contract between curation, training and evaluation: one row a clip, in Parquet, read as pandas."""

from manifests.checks import validate
from manifests.compare import ManifestDiff, append, diff
from manifests.errors import NoLandmarksError, UserError
from manifests.filters import apply, survival
from manifests.ids import clip_id, shard_of, split
from manifests.landmarks import ClipLandmarks, LandmarkIndex, iter_landmarks, load_landmarks, quantise, write_landmarks
from manifests.overview import describe, summary
from manifests.presets import Preset, Rule, load_presets, preset
from manifests.schema import COLUMNS, ERROR_KINDS, SCHEMA_VERSION, TIMING_COLUMNS, Column, column
from manifests.store import load, read_table, run_config, write

__all__ = [
    "COLUMNS",
    "ERROR_KINDS",
    "SCHEMA_VERSION",
    "TIMING_COLUMNS",
    "ClipLandmarks",
    "Column",
    "LandmarkIndex",
    "ManifestDiff",
    "NoLandmarksError",
    "Preset",
    "Rule",
    "UserError",
    "append",
    "apply",
    "clip_id",
    "column",
    "describe",
    "diff",
    "iter_landmarks",
    "load",
    "load_landmarks",
    "load_presets",
    "preset",
    "quantise",
    "read_table",
    "run_config",
    "shard_of",
    "split",
    "summary",
    "survival",
    "validate",
    "write",
    "write_landmarks",
]
