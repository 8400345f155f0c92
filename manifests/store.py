"""Manifests on disk: Parquet with the schema version, the run's configuration and every column's meaning inside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from manifests.atomic import atomic_path
from manifests.errors import UserError
from manifests.places import filesystem_of, one_line, open_parquet, parquet_files
from manifests.repeated_text import dictionary_coded, spelt_out
from manifests.schema import SCHEMA_VERSION, Column
from manifests.tables import Rows, complete, conformed, require_columns, side_by_side, to_frame, to_table, typed_as_manifest

MANIFEST_FILE = "manifest.parquet"
LEDGER_DIR = "ledger"
_UNIQUE_TEXT = frozenset({"clip_id", "source_key", "video_path", "file_stamp", "error_message", "sync_track_scores"})
_CELLS_AT_ONCE, _FEWEST_COLUMNS = 8_000_000, 8  # of a table that is converted at once; columns enough for the threads that unpack them
SORT_KEYS = ("source", "source_key", "start_ms", "clip_id")
_VERSION_KEY, _CONFIG_KEY = b"manifest.schema_version", b"manifest.run_config"


def load(path: str | os.PathLike | Any, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A manifest as pandas, sorted by source, source_key, start_ms.

    Args:
        path: a run's directory, finished (`manifest.parquet`) or still running (the committed shards in `ledger/`), or a Parquet file,
            also one that pandas, Polars, DuckDB or `datasets` wrote, as long as it has the columns `manifests.NEEDED_COLUMNS`;
            a local path or any fsspec URL (`s3://...`, `hf://...`). Or a table in memory: a frame of pandas or Polars, an Arrow table.
        columns: read only these, in this order; None reads all, and adds columns that an older manifest lacks, as nulls.

    Raises:
        UserError: nothing there, not a manifest (the columns that it lacks are named), written by a newer version, or an unknown column.
    """
    if not isinstance(path, str | os.PathLike):
        return to_frame(complete(_sorted(conformed(_in_memory(path), "the table")), columns))
    filesystem, files = _locate(path)
    if len(files) == 1 and isinstance(filesystem, fs.LocalFileSystem):
        frame = _frame_by_columns(filesystem, files[0], columns)
        if frame is not None:
            return frame
    return to_frame(read_table(path, columns), last_use=True)


def _frame_by_columns(filesystem: fs.FileSystem, file: str, columns: Sequence[str] | None) -> pd.DataFrame | None:
    """A file of ours, some columns at a time: of many rows, the table beside its frame would take half as much memory again.

    Returns None where something else wrote the file: it may have to be sorted, which takes all columns at once.
    """
    with open_parquet(filesystem, file) as parquet:
        if not _metadata(parquet, file):
            return None
        held, n_rows, repeated = parquet.schema_arrow, parquet.metadata.num_rows, dictionary_coded(parquet)
    names = complete(held.empty_table(), columns).column_names
    at_once = max(_FEWEST_COLUMNS, _CELLS_AT_ONCE // max(1, n_rows))
    frames = []
    with open_parquet(filesystem, file, repeated) as parquet:
        for some in [names[i : i + at_once] for i in range(0, len(names), at_once)] or [[]]:
            try:
                table = parquet.read(columns=[name for name in some if name in held.names])
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{file} is damaged: {one_line(error)}") from error
            table = spelt_out(table, repeated, pa.large_string())
            frames.append(to_frame(complete(table, some), last_use=True))
            del table
            pa.default_memory_pool().release_unused()  # what decoding needed: kept, it would be a tenth of the frame
    return side_by_side(frames)


def read_table(path: str | os.PathLike, columns: Sequence[str] | None = None) -> pa.Table:
    """Like `load`, as an Arrow table: `.to_pylist()` gives the rows back as they went into `write`."""
    filesystem, files = _locate(path)
    wanted = columns if columns is None or len(files) == 1 else [*dict.fromkeys([*columns, *SORT_KEYS])]
    with ThreadPoolExecutor(min(8, len(files))) as pool:
        tables = list(pool.map(lambda file: _read(filesystem, file, wanted), files))
    table = _sorted(pa.concat_tables(tables, promote_options="permissive")) if len(tables) > 1 else tables[0]
    return complete(table, columns)


def write(
    data: Rows | pd.DataFrame | pa.Table, path: str | os.PathLike, run_config: dict[str, Any] | None = None, columns: Iterable[Column] = ()
) -> None:
    """Write a manifest, atomically: the file appears whole or not at all. The same rows and configuration give the same bytes.

    Args:
        data: rows as mappings from column name to value (missing = null), a data frame, or an Arrow table; in any order.
        path: a file in a directory that exists, or any URL that fsspec can write to.
        run_config: what the run was made with, as JSON; `run_config(path)` gives it back.
        columns: columns beyond the schema, for example of a scorer of one's own: their unit and meaning are stored in the file.

    Raises:
        UserError: unknown columns, values that do not fit, or a path that cannot be written.
    """
    table = _sorted(to_table(data, columns))
    metadata = {_VERSION_KEY: str(SCHEMA_VERSION).encode(), _CONFIG_KEY: json.dumps(run_config or {}, sort_keys=True).encode()}
    repeated = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name not in _UNIQUE_TEXT]
    # For reading a million rows: unpacking zstd took a third of the time, and scores do not get smaller by packing.
    packed = {field.name: "none" if pa.types.is_floating(field.type) else "lz4" for field in table.schema}
    options = {"compression": packed, "use_dictionary": repeated}  # dictionaries of numbers are slow to read
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, **options)


def run_config(path: str | os.PathLike) -> dict[str, Any]:
    """The configuration that a manifest (of a running job: its first shard) was written with; reads the footer only."""
    filesystem, files = _locate(path)
    with open_parquet(filesystem, files[0]) as parquet:
        return json.loads(_metadata(parquet, files[0]).get(_CONFIG_KEY, b"{}"))


def schema_of(path: str | os.PathLike) -> pa.Schema:
    """Names, types and meanings of a manifest's columns; reads the footer only."""
    filesystem, files = _locate(path)
    with open_parquet(filesystem, files[0]) as parquet:
        _metadata(parquet, files[0])
        return parquet.schema_arrow


def _locate(path: str | os.PathLike) -> tuple[fs.FileSystem, list[str]]:
    """The file system and the Parquet files that make up the manifest."""
    filesystem, root = filesystem_of(path)
    kind = filesystem.get_file_info(root).type
    if kind == fs.FileType.File:
        return filesystem, [root]
    if kind == fs.FileType.NotFound:
        raise UserError(f"no manifest at {path}: nothing there")
    whole = f"{root.rstrip('/')}/{MANIFEST_FILE}"
    if filesystem.get_file_info(whole).type == fs.FileType.File:
        return filesystem, [whole]
    shards = parquet_files(filesystem, f"{root.rstrip('/')}/{LEDGER_DIR}")
    if not shards:
        raise UserError(f"no manifest in {path}: it has neither {MANIFEST_FILE} nor committed shards in {LEDGER_DIR}/")
    return filesystem, shards


def _metadata(parquet: pq.ParquetFile, file: str) -> dict[bytes, bytes]:
    """What `write` left in the footer; empty for a table that something else wrote and that has the needed columns."""
    metadata = parquet.metadata.metadata or {}
    if _VERSION_KEY not in metadata:
        require_columns(parquet.schema_arrow.names, file)
        return {}
    version = int(metadata[_VERSION_KEY])
    if version > SCHEMA_VERSION:
        raise UserError(f"{file} has manifest schema {version}; this program knows up to {SCHEMA_VERSION}: upgrade it")
    return metadata


def _read(filesystem: fs.FileSystem, file: str, columns: Sequence[str] | None) -> pa.Table:
    with open_parquet(filesystem, file) as parquet:
        is_ours = bool(_metadata(parquet, file))
        is_cheap_to_reopen = isinstance(filesystem, fs.LocalFileSystem)
        repeated = dictionary_coded(parquet) if is_ours and is_cheap_to_reopen else []
    with open_parquet(filesystem, file, repeated) as parquet:
        try:
            table = spelt_out(parquet.read(columns=None if columns is None else list(columns)), repeated)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{file} is damaged: {one_line(error)}") from error
        if is_ours:
            return table
        table = typed_as_manifest(table)
        return _sorted(table) if set(SORT_KEYS) <= set(table.column_names) else table


def _in_memory(data: Any) -> pa.Table:
    """A frame of pandas or Polars, or whatever else hands over Arrow."""
    if isinstance(data, pa.Table):
        return data
    try:
        return pa.Table.from_pandas(data, preserve_index=False) if isinstance(data, pd.DataFrame) else pa.table(data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UserError(f"a {type(data).__name__} is no manifest: give a path, a frame or an Arrow table ({one_line(error)})") from None


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([(key, "ascending") for key in SORT_KEYS])
