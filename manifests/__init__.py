"""The contract between curation, training and evaluation: one row a clip, in Parquet, read as pandas."""

from manifests.errors import UserError
from manifests.ids import clip_id, shard_of, split
from manifests.schema import COLUMNS, ERROR_KINDS, SCHEMA_VERSION, Column, column

__all__ = ["COLUMNS", "ERROR_KINDS", "SCHEMA_VERSION", "Column", "UserError", "clip_id", "column", "shard_of", "split"]
