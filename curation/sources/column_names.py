"""Which column of a folder's index an unknown name is probably meant to be: misspelt, or as other tables call it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from manifests.schema import COLUMNS

BOX_COLUMNS = ("face_x0_px", "face_y0_px", "face_x1_px", "face_y1_px")
INDEX_COLUMNS = ("path", "start_ms", "end_ms", "identity", "source_key", *BOX_COLUMNS, "licence")
# Names that other tables give to these columns, and whose words do not say it.
OTHER_NAMES = {
    "starttime": "start_ms", "tstart": "start_ms", "t0": "start_ms", "from": "start_ms", "in": "start_ms", "ss": "start_ms",
    "endtime": "end_ms", "tend": "end_ms", "t1": "end_ms", "to": "end_ms", "out": "end_ms", "until": "end_ms",
}  # fmt: skip
NEAR = 0.75  # likeness from which a column is taken for a misspelt one: `strat_ms`, `endms`
_FILE = {
    "file", "files", "filename", "filepath", "path", "paths", "video", "videos", "clip", "clips", "mp4", "url", "uri", "src", "media",
    "fname",
}  # fmt: skip
_BESIDE_FILE = {"name", "source", "rel", "relative", "abs", "full"}
_UNITS = {
    "time", "timestamp", "ts", "ms", "msec", "msecs", "millis", "millisecond", "milliseconds", "s", "sec", "secs", "second", "seconds",
}  # fmt: skip
_BESIDE_TIME = _UNITS | {"frame", "frames", "clip", "segment", "seg", "video", "cut", "shot", "t", "pos", "position"}
_START, _START_OF_TIME = {"start", "begin", "begins", "beginning", "onset"}, {"from", "in"}
_END, _END_OF_TIME = {"end", "stop", "finish", "ending"}, {"to", "until", "out", "till"}
_BOX = {"face", "bbox", "box", "bb", "rect", "facebox", "crop"}
_PIXELS = {"px", "pixel", "pixels"}
_CORNERS = {
    corner: column
    for column, corners in zip(
        BOX_COLUMNS,
        (("x0", "xmin", "minx", "left"), ("y0", "ymin", "miny", "top"), ("x1", "x2", "xmax", "maxx", "right"),
         ("y1", "y2", "ymax", "maxy", "bottom")),
        strict=True,
    )
    for corner in corners
}  # fmt: skip
_OF_BOXES = {
    corner: column
    for column, corners in zip(BOX_COLUMNS, (("", "x"), ("y",), ("w", "width"), ("h", "height")), strict=True)
    for corner in corners
}
_FROM_ONE = {"x1": "face_x0_px", "y1": "face_y0_px"}  # in tables that count corners from 1 and have an x2
_KNOWN_ELSEWHERE = frozenset(column.name for column in COLUMNS) - {"video_path"}


def counts_from_one(names: Iterable[str]) -> bool:
    """Whether a header's boxes have an x2, so that its x1 is the left side."""
    return any(_corner(_words(name)) == "x2" for name in names)


def meant(name: str, from_one: bool) -> str | None:
    """The column that an unknown one is probably meant to be; names of the manifest's own columns mean something else."""
    if name.lower() in _KNOWN_ELSEWHERE:
        return None
    words = _words(name)
    said = _span(words) or _box(words, from_one)
    if said is None:
        squeezed = "_".join(words)
        near = difflib.get_close_matches(squeezed, INDEX_COLUMNS, n=1, cutoff=NEAR)
        said = OTHER_NAMES.get(squeezed.replace("_", "")) or (near[0] if near else None)
    return said or ("path" if is_file(name) else None)


def is_file(name: str) -> bool:
    """Whether a column seems to name files."""
    words = set(_words(name))
    return bool(words & _FILE) and words <= _FILE | _BESIDE_FILE


def _words(name: str) -> list[str]:
    """`startMs`, `Start-MS` and `start_ms` alike; a number belongs to the letters before it, `min` and `max` to the letter beside them."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
    return re.findall(r"[a-z]+[^a-z0-9]?[0-9]+|[a-z]+|[0-9]+", apart)


def _span(words: list[str]) -> str | None:
    core = [word for word in words if word not in _BESIDE_TIME]
    if len(core) != 1:
        return None
    is_time = any(word in _UNITS for word in words)
    if core[0] in _START or (is_time and core[0] in _START_OF_TIME):
        return "start_ms"
    if core[0] in _END or (is_time and core[0] in _END_OF_TIME):
        return "end_ms"
    return None


def _box(words: list[str], from_one: bool) -> str | None:
    corner = _corner(words)
    if from_one and corner in _FROM_ONE:
        return _FROM_ONE[corner]
    is_box = any(word in _BOX for word in words) and words != ["face"]
    return _CORNERS.get(corner) or (_OF_BOXES.get(corner) if is_box else None)


def _corner(words: list[str]) -> str:
    """`x0` of `face_x_0_px`; empty where nothing but the box is named."""
    return "".join(re.sub(r"[^a-z0-9]", "", word) for word in words if word not in _BOX | _PIXELS)
