"""The contract between curation, training and evaluation: one row a clip, in Parquet, read as pandas.

Names are looked up at their first use, so that a command line that only shows its help does not wait for pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manifests.checks import validate
    from manifests.compare import ManifestDiff, append, diff
    from manifests.errors import NoLandmarksError, UserError
    from manifests.filters import apply, columns_that_bar, survival
    from manifests.ids import clip_id, shard_of, split
    from manifests.landmarks import (
        ClipLandmarks,
        LandmarkIndex,
        iter_landmarks,
        landmark_stretches,
        load_landmarks,
        quantise,
        write_landmarks,
    )
    from manifests.overview import describe, summary
    from manifests.presets import Preset, Rule, load_presets, preset
    from manifests.schema import COLUMNS, ERROR_KINDS, NEEDED_COLUMNS, SCHEMA_VERSION, TIMING_COLUMNS, Column, column
    from manifests.store import load, read_table, run_config, write

_HOMES = {
    "checks": ("validate",),
    "compare": ("ManifestDiff", "append", "diff"),
    "errors": ("NoLandmarksError", "UserError"),
    "filters": ("apply", "columns_that_bar", "survival"),
    "ids": ("clip_id", "shard_of", "split"),
    "landmarks": (
        "ClipLandmarks",
        "LandmarkIndex",
        "iter_landmarks",
        "landmark_stretches",
        "load_landmarks",
        "quantise",
        "write_landmarks",
    ),
    "overview": ("describe", "summary"),
    "presets": ("Preset", "Rule", "load_presets", "preset"),
    "schema": ("COLUMNS", "ERROR_KINDS", "NEEDED_COLUMNS", "SCHEMA_VERSION", "TIMING_COLUMNS", "Column", "column"),
    "store": ("load", "read_table", "run_config", "write"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"manifests.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME_OF]


__all__ = [
    "COLUMNS",
    "ERROR_KINDS",
    "NEEDED_COLUMNS",
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
    "columns_that_bar",
    "describe",
    "diff",
    "iter_landmarks",
    "landmark_stretches",
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
