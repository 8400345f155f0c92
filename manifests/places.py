"""Local paths and fsspec URLs as Arrow file systems; Parquet files opened with errors that a person understands."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from manifests.errors import UserError


def filesystem_of(path: str | os.PathLike) -> tuple[fs.FileSystem, str]:
    """The file system that `path` (local, or any URL that fsspec opens) lies on, and the path within it."""
    path = os.fspath(path)
    if "://" not in path:
        return fs.LocalFileSystem(), str(Path(path).expanduser())
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(path)
    except (ValueError, ImportError) as error:
        raise UserError(f"cannot open {path}: {error}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), root


def parquet_files(filesystem: fs.FileSystem, directory: str) -> list[str]:
    """The `*.parquet` files right below a directory, sorted; temporary files of writers are passed over. Empty without the directory."""
    found = filesystem.get_file_info(fs.FileSelector(directory.rstrip("/"), allow_not_found=True))
    files = [info.path for info in found if info.type == fs.FileType.File]
    return sorted(file for file in files if file.endswith(".parquet") and not file.rsplit("/", 1)[-1].startswith("."))


def open_parquet(filesystem: fs.FileSystem, file: str) -> pq.ParquetFile:
    """Reads the footer.

    Raises:
        UserError: the file cannot be opened, or is no whole Parquet file.
    """
    try:
        return pq.ParquetFile(filesystem.open_input_file(file), pre_buffer=True)
    except pa.ArrowInvalid as error:
        raise UserError(f"{file} is not a whole Parquet file: {one_line(error)}") from error
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or one_line(error)}") from error


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())
