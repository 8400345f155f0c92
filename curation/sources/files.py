"""Videos in directories and object stores: which names are videos, what a directory holds, and what was passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from manifests.places import Place, is_url, place

# What is tried as a video. `.ogg` is sound more often than not, and then a row that says so.
VIDEO_SUFFIXES = frozenset(
    [
        ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".mpe", ".m1v",
        ".m2v", ".m2p", ".mpv", ".vob", ".ts", ".mts", ".m2ts", ".m2t", ".tod", ".3gp", ".3g2", ".flv",
        ".f4v", ".wmv", ".asf", ".wtv", ".ogv", ".ogm", ".ogg", ".mxf", ".dv", ".rm", ".rmvb", ".amv",
        ".nut", ".ivf", ".y4m", ".h264", ".264", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".gif",
    ]
)  # fmt: skip


def is_video(name: str) -> bool:
    """Whether a file of that name is tried as a video."""
    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES


def printable_text(name: str) -> str:
    """A file name as valid Unicode; bytes that are none are written `\\xNN`."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def names_in(folder: Place) -> list[str]:
    """Names in a directory; none where it is no directory that can be read."""
    try:
        if is_url(folder):
            return [path.rstrip("/").rsplit("/", 1)[-1] for path in folder.fs.ls(folder.path, detail=False)]
        return os.listdir(folder)  # noqa: PTH208 - names only
    except OSError:
        return []


class Directories:
    """Which paths exist: a directory is listed once instead of asking for each of its files."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            self._names[folder] = frozenset(names_in(place(folder or "/")))
        return name in self._names[folder]


def videos_below(root: Place, others: Counter[str]) -> list[tuple[str, str]]:
    """(path below `root`, path or URL) of every video in the whole tree, in a stable order; names that start with a dot are left out.

    Args:
        others: gets the number of all other files by suffix (`.srt`; `no suffix`).
    """
    found = _remote(root) if is_url(root) else _local(root)
    videos = []
    for key, path in found:
        if is_video(key):
            videos.append((key, path))
        else:
            others[printable_text(PurePosixPath(key).suffix.lower()) or "no suffix"] += 1
    return sorted(videos, key=lambda item: os.fsencode(item[1]))


def _remote(root: Place) -> Iterator[tuple[str, str]]:
    base = root.path.rstrip("/")
    for path in root.fs.find(root.path):
        relative = path[len(base) :].lstrip("/")
        if not any(part.startswith(".") for part in relative.split("/")):
            yield relative, root.fs.unstrip_protocol(path)


def _local(root: Path) -> Iterator[tuple[str, str]]:
    """Follows symbolic links, and notices loops."""
    visited: set[tuple[int, int]] = set()
    base = os.fspath(root)
    for folder, subfolders, files in os.walk(base, followlinks=True):
        state = Path(folder).stat()
        if (state.st_dev, state.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((state.st_dev, state.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        below = folder[len(base) :].lstrip("/")
        for name in files:
            if not name.startswith("."):
                yield (f"{below}/{name}" if below else name), os.path.join(folder, name)  # noqa: PTH118 - names may be no valid Unicode
