"""Source `folder`: every video below a directory, or the rows of a CSV index."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from curation.contracts import Clip, IndexReport, Source
from manifests.errors import UserError, did_you_mean
from manifests.places import Place, is_url, place

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp", ".flv", ".wmv", ".ogv", ".mxf"]
)
INDEX_COLUMNS = ("path", "start_ms", "end_ms", "identity", "source_key", "face_x0_px", "face_y0_px", "face_x1_px", "face_y1_px", "licence")
BOX_COLUMNS = ("face_x0_px", "face_y0_px", "face_x1_px", "face_y1_px")
IDENTITY_RULES = ("file", "folder")


@dataclass
class Folder(Source):
    """Videos below `root`, or the clips of a CSV index.

    Args:
        root: a directory or any URL that fsspec lists (`s3://bucket/videos`), searched in full (symbolic links followed, loops noticed), or
            a `.csv` whose columns are among `INDEX_COLUMNS` (only `path` is needed; paths are relative to the CSV's folder and must stay
            inside it).
        identity: who is seen, where the index does not say: `file` = every file is a person of its own, `folder` = the files of one
            directory show one person.
        licence: written to every row that names none.
    """

    name = "folder"

    root: str
    identity: str = "file"
    licence: str = ""
    _missing: list[str] = field(default_factory=list, init=False, repr=False)
    _malformed: list[str] = field(default_factory=list, init=False, repr=False)
    _n_named: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.identity not in IDENTITY_RULES:
            raise UserError(f"source_settings.identity is {self.identity!r}{did_you_mean(self.identity, IDENTITY_RULES)}")
        root = place(self.root)
        if not root.exists():
            raise UserError(f"ROOT {self.root} does not exist: give a directory of videos or a .csv index")
        if root.is_file() and root.suffix.lower() != ".csv":
            raise UserError(f"ROOT {self.root} is a file: give a directory of videos or a .csv index")

    def clips(self) -> Iterator[Clip]:
        self._missing, self._malformed, self._n_named = [], [], 0
        root = place(self.root)
        yield from self._indexed(root) if root.is_file() else self._found(root)

    def report(self) -> IndexReport:
        return IndexReport(self._n_named, tuple(self._missing), tuple(self._malformed))

    def _found(self, root: Place) -> Iterator[Clip]:
        found = _remote_videos_below(root) if is_url(root) else ((os.path.relpath(path, root), path) for path in _videos_below(root))
        for key, path in sorted(found, key=lambda item: os.fsencode(item[1])):
            self._n_named += 1
            yield self._clip(key, path)

    def _clip(self, key: str, path: str, identity: str = "", licence: str = "", **known: Any) -> Clip:
        printable = printable_text(key)
        person = identity or (str(PurePosixPath(printable).parent) if self.identity == "folder" else printable)
        return Clip(self.name, printable, person, path, licence=licence or self.licence, **known)

    def _indexed(self, index: Place) -> Iterator[Clip]:
        base = f"{str(index.parent if is_url(index) else index.parent.resolve()).rstrip('/')}/"
        seen: set[str] = set()
        on_disk = _Directories()
        with index.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
            reader = csv.DictReader(lines)
            names = reader.fieldnames or ()
            if "path" not in names:
                raise UserError(f"{index} has no column 'path'; columns a folder index may have: {', '.join(INDEX_COLUMNS)}")
            for row in reader:
                self._n_named += 1
                where = f"{index.name}:{reader.line_num}"
                try:
                    clip = self._row_clip(row, base)
                except ValueError as error:
                    self._malformed.append(f"{where}: {error}")
                    continue
                if clip.clip_id in seen:
                    self._malformed.append(f"{where}: the same file and span again")
                    continue
                seen.add(clip.clip_id)
                if clip.video_path not in on_disk:
                    self._missing.append(clip.video_path)
                yield clip

    def _row_clip(self, row: dict[str, str | None], base: str) -> Clip:
        # Text functions instead of pathlib: an index of 100,000 rows is read at every start.
        text = {name: value.strip() for name, value in row.items() if name in INDEX_COLUMNS and value}
        relative = row["path"] or ""
        if not relative:
            raise ValueError("no path")
        store, mark, rest = base.rpartition("://")
        path = f"{store}{mark}{os.path.normpath(rest + relative)}"
        if relative.startswith("/") or not path.startswith(base):
            raise ValueError(f"the path {relative!r} leaves the index's folder")
        start_ms, end_ms = int(text.get("start_ms") or 0), int(text["end_ms"]) if text.get("end_ms") else None
        if start_ms < 0 or (end_ms is not None and end_ms <= start_ms):
            raise ValueError(f"the span {start_ms}..{end_ms} ms is empty or negative")
        corners = [text[name] for name in BOX_COLUMNS if text.get(name)]
        box = tuple(map(float, corners)) if len(corners) == len(BOX_COLUMNS) else None
        key = text.get("source_key") or path[len(base) :]
        who = {"identity": text.get("identity", ""), "licence": text.get("licence", "")}
        return self._clip(key, path, start_ms=start_ms, end_ms=end_ms, face_box_px=box, **who)


def printable_text(name: str) -> str:
    """A file name as valid Unicode; bytes that are none are written `\\xNN`."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


class _Directories:
    """Which paths exist: a directory is listed once instead of asking for each of its files."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            self._names[folder] = frozenset(names_in(place(folder or "/")))
        return name in self._names[folder]


def names_in(folder: Place) -> list[str]:
    """Names in a directory; none where it is no directory that can be read."""
    try:
        if is_url(folder):
            return [path.rstrip("/").rsplit("/", 1)[-1] for path in folder.fs.ls(folder.path, detail=False)]
        return os.listdir(folder)  # noqa: PTH208 - names only
    except OSError:
        return []


def _remote_videos_below(root: Place) -> Iterator[tuple[str, str]]:
    """(path below `root`, URL)."""
    base = root.path.rstrip("/")
    for path in root.fs.find(root.path):
        relative = path[len(base) :].lstrip("/")
        if PurePosixPath(relative).suffix.lower() in VIDEO_SUFFIXES and not any(part.startswith(".") for part in relative.split("/")):
            yield relative, root.fs.unstrip_protocol(path)


def _videos_below(root: Path) -> Iterator[str]:
    visited: set[tuple[int, int]] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        state = Path(folder).stat()
        if (state.st_dev, state.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((state.st_dev, state.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES:
                yield os.path.join(folder, name)  # noqa: PTH118 - names may be no valid Unicode
