"""Whether a committed row still stands: the file that was scored is there unchanged, and the scores are of this configuration."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any


class Todo(Enum):
    """What a committed row needs."""

    NOTHING = auto()
    NOTE_FILE = auto()  # scored by a version that did not record the file
    RESCORE_PARTS = auto()  # the scorers that changed
    SCORE = auto()  # everything: the file arrived or changed
    MARK_GONE = auto()  # its file has vanished; the scores stay for the day it comes back
    RESTORE = auto()  # ... and it came back unchanged


def has_scores(row: Mapping[str, Any]) -> bool:
    """The row was scored once and has landmarks, whatever became of its file since."""
    return row.get("n_frames") is not None


def is_gone(row: Mapping[str, Any]) -> bool:
    """The row says that its file is not there."""
    return row["status"] == "failed" and row["error_kind"] == "missing_file"


def has_other_file(row: Mapping[str, Any], stamp: str | None) -> bool:
    """The clip's file arrived, or is another one than was scored."""
    recorded = row.get("file_stamp")
    return stamp is not None and (is_gone(row) if recorded is None else recorded != stamp)


def what_to_do(row: Mapping[str, Any], stamp: str | None, config_hash: str, shard_hash: str) -> Todo:
    """What the committed `row` needs.

    Args:
        stamp: the clip's file now (`file_stamps`); None where there is none.
        config_hash: of the parts that this run scores with.
        shard_hash: of the parts that the row's shard was committed with.
    """
    if stamp is None and has_scores(row):
        return Todo.NOTHING if is_gone(row) else Todo.MARK_GONE
    recorded = row.get("file_stamp")
    if has_other_file(row, stamp) or (stamp is None and recorded is not None):
        return Todo.SCORE
    current = row.get("config_hash") == config_hash
    if is_gone(row) and has_scores(row):
        return Todo.RESTORE if current else Todo.SCORE
    if not current:
        is_whole = row["status"] == "scored" and row.get("config_hash") == shard_hash
        return Todo.RESCORE_PARTS if is_whole else Todo.SCORE
    return Todo.NOTE_FILE if recorded is None and stamp is not None else Todo.NOTHING
