"""Local paths and fsspec URLs alike: with `pathlib`'s methods and as Arrow file systems; Parquet opened with errors for a person."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from manifests.errors import UserError

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    from pyarrow import fs

Place: TypeAlias = Any  # a pathlib.Path, or a upath.UPath, which has the same methods
_ONE_SLASH = re.compile(r"(s3|gs|gcs|az|abfss?|adl|https?|hf):/+")  # mistyped, or what `pathlib` makes of a URL
# What was listed once may have changed since: other workers write, and a run that resumes must see it.
_FRESH: dict[str, Any] = {"use_listings_cache": False}


def is_url(path: Any) -> bool:
    """Whether `path` lies somewhere that fsspec has to reach; `file://` is local."""
    text = text_of(path)
    return "://" in text and not text.startswith("file://")


def text_of(path: Any) -> str:
    """A path or URL as text."""
    return os.fspath(path) if isinstance(path, os.PathLike) else str(path)


def place(path: Any) -> Place:
    """A local path as `pathlib.Path`, any other URL that fsspec opens as `upath.UPath`, which has the same methods.

    Raises:
        UserError: no such protocol, the package for it is not installed, or no bucket is named.
    """
    text = text_of(path)
    if not is_url(text):
        if (found := _ONE_SLASH.match(text)) and not os.path.lexists(text):
            raise UserError(f"{text}: a URL has two slashes: {found[1]}://{text[found.end() :]} (as text; pathlib drops one)")
        return Path(text.removeprefix("file://"))
    from upath import UPath

    protocol, _, rest = text.partition("://")
    if not rest.strip("/") and protocol != "memory":
        raise UserError(f"{text} names no bucket: {protocol}://BUCKET/...")
    try:
        found = UPath(text, **_FRESH)
        found.fs  # noqa: B018 - loads the protocol's package
    except (ValueError, ImportError) as error:
        raise UserError(f"cannot open {text}: {one_line(error)}") from error
    return found


def absolute(path: Any) -> str:
    """The same place from any working directory."""
    return text_of(path).rstrip("/") if is_url(path) else str(place(path).absolute())


def filesystem_of(path: Any) -> tuple[fs.FileSystem, str]:
    """The file system that `path` (local, or any URL that fsspec opens) lies on, and the path within it."""
    from pyarrow import fs

    if not is_url(path):
        return fs.LocalFileSystem(), str(place(path).expanduser())
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(text_of(path), **_FRESH)
    except (ValueError, ImportError) as error:
        raise UserError(f"cannot open {text_of(path)}: {one_line(error)}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), root


def parquet_files(filesystem: fs.FileSystem, directory: str) -> list[str]:
    """The `*.parquet` files right below a directory, sorted; temporary files of writers are passed over. Empty without the directory."""
    from pyarrow import fs

    found = filesystem.get_file_info(fs.FileSelector(directory.rstrip("/"), allow_not_found=True))
    files = [info.path for info in found if info.type == fs.FileType.File]
    return sorted(file for file in files if file.endswith(".parquet") and not file.rsplit("/", 1)[-1].startswith("."))


def open_parquet(filesystem: fs.FileSystem, file: str, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    """Reads the footer.

    Args:
        dictionaries: columns to read as dictionaries.

    Raises:
        UserError: the file cannot be opened, or is no whole Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import fs

    try:
        is_far = not isinstance(filesystem, fs.LocalFileSystem)  # reading ahead saves round trips and costs the file's size in memory
        return pq.ParquetFile(filesystem.open_input_file(file), pre_buffer=is_far, read_dictionary=list(dictionaries))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not a whole Parquet file: {one_line(error)}") from error
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or one_line(error)}") from error


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())
