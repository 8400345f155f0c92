"""What a file is without reading it: its size and modification time, or in an object store its size and ETag."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from manifests.places import is_url, place

MOST_LISTINGS = 16  # folders of an object store that are listed at once
# What stores call the thing that changes with the content, the best first.
_VERSIONS = ("ETag", "etag", "md5Hash", "md5", "content_md5", "LastModified", "last_modified", "updated", "mtime", "created")


def file_stamps(paths: Iterable[str]) -> dict[str, str | None]:
    """A text for every path (local, or a URL) that changes when its file is replaced; None where there is no file.

    On a disk each file is asked for; of an object store each folder is listed once.
    """
    stamps: dict[str, str | None] = {}
    remote: dict[str, list[str]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        if is_url(path):
            remote[path.rpartition("/")[0]].append(path)
            continue
        try:
            state = os.stat(path)  # noqa: PTH116 - names may be no valid Unicode, and there are a hundred thousand
            stamps[path] = f"{state.st_size}-{state.st_mtime_ns}"
        except (OSError, ValueError):
            stamps[path] = None
    with ThreadPoolExecutor(MOST_LISTINGS) as pool:
        for members, found in zip(remote.values(), pool.map(_listed, remote), strict=True):
            stamps |= {path: found.get(path.rpartition("/")[2]) for path in members}
    return stamps


def _listed(folder: str) -> dict[str, str]:
    """Stamps of the files in a folder of a store, by name."""
    at = place(folder)
    try:
        entries: list[dict[str, Any]] = at.fs.ls(at.path, detail=True, refresh=True)
    except OSError:
        return {}
    return {str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]: _stamp(entry) for entry in entries if entry.get("type") != "directory"}


def _stamp(entry: dict[str, Any]) -> str:
    version = next((entry[name] for name in _VERSIONS if entry.get(name)), "")
    return f"{entry.get('size')}-{str(version).strip(chr(34))}"
