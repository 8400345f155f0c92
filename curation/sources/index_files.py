"""What the adapters of public data sets share: reading index files that nobody can vouch for, and finding the videos they name.

Nothing that an index file holds is trusted: a broken line is noted and skipped, and no path that it names leaves the data set's folder.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from curation.contracts import IndexReport
from curation.sources.files import VIDEO_SUFFIXES, names_in
from manifests.errors import UserError
from manifests.places import Place, place

Box: TypeAlias = tuple[float, float, float, float]

MAX_MS = 100 * 3_600_000  # no recording is longer; keeps absurd numbers out of the manifest
MAX_COORDINATE_PX = 1e5  # no picture is wider; keeps absurd boxes out of the manifest
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_SPACE = re.compile(r"\s*")
_SUFFIXES = (".mp4", *sorted(VIDEO_SUFFIXES - {".mp4"}))


@dataclass
class IndexLog:
    """What an adapter could not use, gathered while it reads."""

    n_named: int = 0
    _missing: dict[str, None] = field(default_factory=dict)
    _malformed: list[str] = field(default_factory=list)

    def skip(self, where: str, reason: object) -> None:
        """Note a line that is not used; `where` is `file:line`."""
        self._malformed.append(f"{where}: {reason}")

    def lacks(self, path: str) -> None:
        """Note a file that the index names and the disk lacks; each is listed once."""
        self._missing[path] = None

    def report(self) -> IndexReport:
        return IndexReport(self.n_named, tuple(self._missing), tuple(self._malformed))


class VideoFolder:
    """The videos of one directory by stem; lists it once, on first use, because asking for every name by itself is slow on far disks."""

    def __init__(self, folder: Place):
        self._folder = folder
        self._names: dict[str, str] | None = None

    def find(self, *stems: str) -> tuple[str, bool]:
        """Path of the first stem that is there, whatever its suffix, and True; else the path of the first stem as `.mp4`, and False."""
        names = self._listing()
        name = next((names[stem] for stem in stems if stem in names), None)
        return str(self._folder / (name or f"{stems[0]}.mp4")), name is not None

    def _listing(self) -> dict[str, str]:
        if self._names is None:
            self._names = {}
            ranks = {suffix: rank for rank, suffix in enumerate(_SUFFIXES)}
            found = [(ranks.get(Path(name).suffix.lower()), name) for name in entries(self._folder)]
            for _, name in sorted(item for item in found if item[0] is not None):
                self._names.setdefault(Path(name).stem, name)
        return self._names


def entries(folder: Place) -> list[str]:
    """Names in a directory that do not start with a dot, sorted; none where it is no directory that can be read."""
    return sorted((name for name in names_in(folder) if not name.startswith(".")), key=os.fsencode)


def index_folder(root: str, *places: str, holds: str) -> Place:
    """The first of `places` below `root` that has a file or folder matching the pattern `holds`.

    Raises:
        UserError: no such place.
    """
    top = place(root)
    if not top.is_dir():
        raise UserError(f"ROOT {root} is no directory; docs/datasets.md shows what it must look like")
    for name in places:
        folder = top if name == "." else top / name
        if next(iter(folder.glob(holds)), None) is not None:
            return folder
    looked = " or ".join(str(top / name) for name in places)
    raise UserError(f"no {holds} in {looked}; docs/datasets.md shows what ROOT must look like")


def numbered_lines(path: Place, log: IndexLog, name: str = "") -> Iterator[tuple[str, str]]:
    """(`name:line`, text without surrounding blanks) of every line that is not blank."""
    name = name or path.name
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if text := line.strip():
                    yield f"{name}:{number}", text
    except OSError as error:
        log.skip(name, f"cannot be read: {error.strerror or error}")


def json_entries(path: Place, opening: str, log: IndexLog) -> Iterator[tuple[str, str, Any]]:
    """(`name:line`, key, value) of each member of the object (`opening = "{"`) or list (`"["`, key is empty) that a JSON file holds.

    Members before a broken one are still given, so a truncated file yields what arrived. Unlike `json.load` a repeated key is given twice.
    """
    try:
        text = path.read_text("utf-8-sig", errors="replace")
    except OSError as error:
        log.skip(path.name, f"cannot be read: {error.strerror or error}")
        return
    decoder, line, counted = json.JSONDecoder(), 1, 0
    closing = {"{": "}", "[": "]"}[opening]
    at = _after_space(text, 0)
    where = f"{path.name}:{1 + text.count(chr(10), 0, at)}"
    try:
        at = _after_mark(text, at, opening)
        while text[at : at + 1] != closing:
            line, counted = line + text.count("\n", counted, at), at
            where, key = f"{path.name}:{line}", ""
            if opening == "{":
                key, at = decoder.raw_decode(text, at)
                at = _after_mark(text, at, ":")
            value, at = decoder.raw_decode(text, at)
            yield where, str(key), value
            at = _after_space(text, at)
            if text[at : at + 1] != closing:
                at = _after_mark(text, at, ",")
    except (ValueError, RecursionError) as error:
        log.skip(where, f"broken JSON, the rest of the file is not read: {' '.join(str(error).split())}")


def whole(text: str) -> int:
    """An integer in plain decimal digits."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{shown(text)} is no whole number")
    return int(text)


def real(value: Any) -> float:
    """A finite number, from text or from JSON."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{shown(value)} is no number")
    return number


def span_ms(start_ms: float, end_ms: float) -> tuple[int, int]:
    """The span, rounded to whole milliseconds."""
    if not 0 <= start_ms < end_ms <= MAX_MS or round(start_ms) >= round(end_ms):
        raise ValueError(f"the span {start_ms:g}..{end_ms:g} ms is empty, negative or too long")
    return round(start_ms), round(end_ms)


def box(x0: float, y0: float, x1: float, y1: float, limit: float = MAX_COORDINATE_PX) -> Box:
    """(x0, y0, x1, y1) with an area, within +-`limit`."""
    if not (-limit <= x0 < x1 <= limit and -limit <= y0 < y1 <= limit):
        raise ValueError(f"the face box {x0:g}, {y0:g}, {x1:g}, {y1:g} is empty or out of range")
    return (float(x0), float(y0), float(x1), float(y1))


def youtube_name(value: Any) -> str:
    """A YouTube id: 11 letters, digits, `-` and `_`."""
    if not isinstance(value, str) or not _YOUTUBE_ID.fullmatch(value):
        raise ValueError(f"{shown(value)} is no YouTube id")
    return value


def file_name(value: Any) -> str:
    """One component of a path: printable, no separator, not hidden, not `..`."""
    if not isinstance(value, str) or not value.isprintable() or not value or value.startswith(".") or re.search(r"[/\\]", value):
        raise ValueError(f"{shown(value)} is no file name")
    return value


def relative_path(value: Any) -> str:
    """A path with `/` that stays inside the folder that it is relative to."""
    if not isinstance(value, str) or not value or value.startswith("/"):
        raise ValueError(f"{shown(value)} is no relative path")
    try:
        return str(PurePosixPath(*(file_name(part) for part in value.split("/"))))
    except ValueError:
        raise ValueError(f"the path {shown(value)} leaves the data set's folder or is none") from None


def shown(value: Any) -> str:
    """`value` for a message, cut short."""
    text = ascii(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _after_mark(text: str, at: int, mark: str) -> int:
    at = _after_space(text, at)
    if text[at : at + 1] != mark:
        raise ValueError(f"{mark!r} expected at character {at}")
    return _after_space(text, at + 1)
