"""Files that exist whole or not at all, on a disk or in an object store."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from manifests.errors import UserError
from manifests.leftovers import sweep, temporary_name
from manifests.places import is_url, one_line, place

# Here an upload, in one part or many, appears under its name when its last byte has arrived, and not before.
_WHOLE_UPLOADS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "memory"})


def refuse_source(output: Any, sources: Iterable[Any]) -> None:
    """Raises UserError where an output is one of the files that it is made from, or a folder that holds one and would be replaced, under
    whatever name: links, letter case and `..` count. URLs are compared as they are written."""
    for source in sources:
        if source is None or not str(source):
            continue
        same = str(output) == str(source)
        within = False
        if not same and not is_url(output) and not is_url(source):
            with suppress(OSError, ValueError):
                same = Path(output).samefile(source)
                holders = {*Path(source).absolute().parents, *Path(source).resolve(strict=True).parents}
                within = not same and any(Path(output).samefile(folder) for folder in holders)
        if same:
            raise UserError(f"{output}: is one of the sources ({source}), which would be lost: choose another name")
        if within:
            raise UserError(f"{output}: holds one of the sources ({source}), which would be lost: choose another name")


def check_place(path: str | Path) -> None:
    """Raises UserError where no new file or folder can get this local path: before hours of work that would end in it."""
    folder = Path(path).absolute().parent
    try:
        if not folder.is_dir():
            raise UserError(f"{path}: the directory {folder} is not there")
        with suppress(FileNotFoundError):
            os.lstat(path)  # says what is wrong with the name
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no file can have this name: {getattr(error, 'strerror', None) or error}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{path}: you may not write into {folder}")
    trial = folder / temporary_name(Path(path).name)
    try:  # /proc and file systems that are full or read-only say no only now
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise UserError(f"{path}: no file can be made in {folder}: {error.strerror or error}") from None


@contextmanager
def atomic_path(path: Any) -> Iterator[Path]:
    """A local temporary file to write to, which becomes `path` when the block ends without an error.

    On a disk: written beside `path`, flushed, renamed. The temporary name starts with a dot and ends in `.tmp`: readers pass over it, and a
    killed writer leaves nothing else behind (`manifests.leftovers.sweep` removes it). Elsewhere (any fsspec URL): written to the temporary
    directory, then uploaded. Object stores show an upload only when it is complete; on other file systems it goes to a temporary name and
    is moved.

    Raises:
        UserError: the directory is missing, not writable or full; the store cannot be reached or refuses.
    """
    if is_url(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / "upload"
            yield temporary
            _upload(temporary, path)
        return
    target = place(path)
    temporary = target.with_name(temporary_name(target.name))
    try:
        mode = _mode_of_new_files(temporary)
        yield temporary
        if temporary.is_file():
            temporary.chmod(mode)
        flush(temporary)
        temporary.replace(target)
        flush(target.parent)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def put(path: Any, data: bytes) -> None:
    """`path` holds `data`, whole; makes the directory.

    Raises:
        UserError: as `atomic_path`.
    """
    if not is_url(path):
        place(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replace_folder(target: Path, marker: str) -> Iterator[Path]:
    """Yields a folder beside `target` to fill, then puts it in `target`'s place; on an error `target` stays as it was.

    An existing folder is replaced only if it is empty or holds the file `marker`: nothing else of the user's is removed.

    Raises:
        UserError: `target` is a file, or a folder with other things in it.
    """
    target = Path(target).absolute()
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; a folder is to be written there")
    if target.is_dir() and any(target.iterdir()) and not (target / marker).is_file():
        raise UserError(f"{target} holds other things (no {marker}); choose an empty or new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent)
    work = target.with_name(temporary_name(target.name))
    work.mkdir()
    try:
        folder = work / "new"
        folder.mkdir()
        mode = _mode_of_new_files(work / "probe")
        yield folder
        for file in folder.rglob("*"):
            if file.is_file():
                file.chmod(mode)
        flush_tree(folder)
        if target.exists():
            target.rename(work / "old")
        folder.rename(target)
        flush(target.parent)
    finally:
        if (work / "old").exists() and not target.exists():
            (work / "old").rename(target)
        shutil.rmtree(work)


def _upload(file: Path, url: Any) -> None:
    target = place(url)
    store, remote = target.fs, target.path
    passing = remote if target.protocol in _WHOLE_UPLOADS else f"{remote}.{secrets.token_hex(4)}.tmp"
    try:
        store.put_file(str(file), passing)
        arrived, sent = store.info(passing)["size"], file.stat().st_size
        if arrived != sent:
            raise OSError(f"{arrived} of {sent} bytes arrived")
        if passing != remote:
            store.mv(passing, remote)
    except Exception as error:  # each store's client raises errors of its own
        raise UserError(f"cannot write {url}: {one_line(error) or type(error).__name__}") from error


def _mode_of_new_files(path: Path) -> int:
    """What the user's umask gives a new file there: safetensors writes 0600, whatever that says. The umask itself cannot be read without
    being changed for all threads."""
    path.touch(exist_ok=False)
    try:
        return path.stat().st_mode & 0o777
    finally:
        path.unlink()


def flush_tree(folder: Path) -> None:
    """`flush` of a folder and all that lies in it."""
    for path in [*folder.rglob("*"), folder]:
        flush(path)


def flush(path: Path) -> None:
    """To the disk itself: a file's content, or a directory's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
