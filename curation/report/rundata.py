"""What the report is made of: the rows of a run under a preset, the run's settings, and which columns are empty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

import manifests
from manifests import Preset, UserError
from manifests.store import MANIFEST_FILE
from manifests.tables import to_frame

TEXT_COLUMNS = ("clip_id", "source", "source_key", "video_path", "status", "error_kind", "error_message", "reject_reasons")
STAMP_COLUMNS = ("profile", "code_version", "config_hash", "landmark_model", "sync_model")


@dataclass(frozen=True)
class RunData:
    """One run, judged.

    Attributes:
        frame: rows with `accepted` and `reject_reasons` under `preset`; only the columns that the report reads.
        run: `run.yaml` of the run, or the configuration inside the manifest; may be empty.
        null_columns: columns of the manifest that are null on every row.
        is_running: there is no manifest yet; the rows are those committed so far.
    """

    run_dir: Path
    frame: pd.DataFrame
    preset: Preset
    run: dict[str, Any]
    null_columns: tuple[str, ...]
    is_running: bool

    @property
    def scored(self) -> np.ndarray:
        """(n,) bool."""
        return (self.frame["status"] == "scored").to_numpy(bool)

    @property
    def config(self) -> dict[str, Any]:
        return self.run.get("config") or {}

    def stamp(self, name: str) -> list[str]:
        """Distinct values of a column that says with what the rows were made, the most frequent first."""
        return [str(value) for value in self.frame[name].value_counts().index]


def read_run(run_dir: Path, preset: str | None, columns: Iterable[str]) -> RunData:
    """Read a finished or running run.

    Args:
        preset: thresholds to judge by; None takes the run's own.
        columns: the numeric columns that the report draws; those that the manifest lacks are left out.

    Raises:
        UserError: no run there, or an unknown preset.
    """
    table = manifests.read_table(run_dir)
    run = _saved_run(run_dir)
    chosen = manifests.preset(preset or _preset_of(run, run_dir))
    wanted = dict.fromkeys([*TEXT_COLUMNS, *STAMP_COLUMNS, *columns, *(rule.column for rule in chosen.rules)])
    frame = to_frame(table.select([name for name in wanted if name in table.column_names]))
    empty = tuple(name for name in table.column_names if len(table) and table[name].null_count == len(table))
    return RunData(run_dir, manifests.apply(frame, chosen, warn=False), chosen, run, empty, not (run_dir / MANIFEST_FILE).exists())


def _saved_run(run_dir: Path) -> dict[str, Any]:
    from curation.job.ledger import Ledger

    return Ledger(run_dir).read_run() or manifests.run_config(run_dir)


def _preset_of(run: dict[str, Any], run_dir: Path) -> str:
    name = (run.get("config") or {}).get("preset")
    if not name:
        raise UserError(f"{run_dir} does not say by which preset it was judged; name one, for example --preset embedded")
    return name


def fold_sources(sources: pd.Series, most: int) -> pd.Series:
    """Names of the `most` most frequent sources; the rest under one name, last."""
    counts = sources.value_counts()
    if len(counts) <= most:
        return sources.astype(object)
    kept = set(counts.index[: most - 1])
    return sources.astype(object).where(sources.isin(kept), f"({len(counts) - len(kept)} other sources)")


@dataclass(frozen=True)
class Reasons:
    """The reject reasons of all rows, flat: `names[code[i]]` holds for row `row[i]`."""

    names: list[str]
    code: np.ndarray
    row: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Reasons:
        lists = pa.array(frame["reject_reasons"], type=pa.list_(pa.string()), from_pandas=True)
        lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
        flat = pc.list_flatten(lists).dictionary_encode()
        return cls(flat.dictionary.to_pylist(), np.asarray(flat.indices, np.int64), np.asarray(pc.list_parent_indices(lists), np.int64))

    def counts(self) -> dict[str, int]:
        """Clips by reason, the most frequent first."""
        found = np.bincount(self.code, minlength=len(self.names))
        return {self.names[i]: int(found[i]) for i in sorted(range(len(found)), key=lambda i: (-found[i], self.names[i]))}

    def rows(self, name: str) -> np.ndarray:
        """Positions of the rows that give the reason, ascending."""
        return self.row[self.code == self.names.index(name)]
