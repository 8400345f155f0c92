"""Videos that do not lie on this machine: one at a time, as a nameless local file that nothing can leave behind.

The decoding child sees a descriptor and no network. A file is fetched whole, because its index may lie at its end and because all spans of
a recording are read one after the other from the same copy.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from typing import IO, Any

from curation.contracts import ClipError
from curation.media.limits import MediaLimits
from manifests import UserError
from manifests.places import one_line, place

_CHUNK_BYTES = 8 << 20  # a read: large enough that a store's latency counts little


class LocalCopy:
    """Holds the copy of one remote file; the next one takes its place."""

    def __init__(self, limits: MediaLimits):
        self._limits = limits
        self._url = ""
        self._file: IO[bytes] | None = None
        self.n_fetched = 0

    def path_of(self, url: str) -> str:
        """A local path to the bytes of `url`, valid until the next call or `drop`.

        Raises:
            ClipError: missing_file, unreadable, empty_file, too_large, timeout.
        """
        if self._file is None or url != self._url:
            self.drop()
            self._file = _Fetch(url, self._limits).result()
            self._url = url
            self.n_fetched += 1
        nameless = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        return nameless if os.path.exists(nameless) else str(self._file.name)  # noqa: PTH110 - one call

    def drop(self) -> None:
        """Gives the disk space back."""
        if self._file is not None:
            self._file.close()
            self._file = None


class _Fetch:
    """A download in a thread of its own, which the caller can give up: a call into a dead network may never come back."""

    def __init__(self, url: str, limits: MediaLimits):
        self._url, self._limits = url, limits
        try:
            self._target = place(url)  # here and not in the thread: each thread would be given a client of its own
        except UserError as error:
            raise ClipError("unreadable", str(error)) from error
        self._given_up_at = time.monotonic() + limits.deadline_base_s
        self._given_up = threading.Event()
        self._file: IO[bytes] | None = None
        self._error: ClipError | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def result(self) -> IO[bytes]:
        self._thread.start()
        while self._thread.is_alive():
            left_s = self._given_up_at - time.monotonic()
            if left_s <= 0:
                self._given_up.set()
                raise ClipError("timeout", f"{self._url} did not arrive at {self._limits.fetch_mib_per_s:g} MiB/s")
            self._thread.join(min(left_s, 1.0))
        if self._error is not None or self._file is None:
            raise self._error or ClipError("unreadable", f"{self._url} did not arrive")
        return self._file

    def _work(self) -> None:
        # Where a copy can be reached by its descriptor it has no name; elsewhere it is removed when it is closed.
        file: Any = tempfile.TemporaryFile() if os.path.isdir("/proc/self/fd") else tempfile.NamedTemporaryFile()  # noqa: PTH112, SIM115
        try:
            self._copy(file)
            self._file = file
        except ClipError as error:
            self._error = error
        except FileNotFoundError:
            self._error = ClipError("missing_file", "the file is not there")
        except PermissionError as error:
            self._error = ClipError("unreadable", f"no permission to read the file: {one_line(error)}")
        except Exception as error:  # each store's client raises errors of its own
            self._error = ClipError("unreadable", f"the file cannot be fetched: {type(error).__name__}: {one_line(error)}")
        if self._file is None or self._given_up.is_set():
            file.close()

    def _copy(self, file: IO[bytes]) -> None:
        store, path = self._target.fs, self._target.path
        info = store.info(path)
        if info.get("type") == "directory":
            raise ClipError("unreadable", "the path is a directory, not a file")
        size = info.get("size")
        if size is None:
            raise ClipError("unreadable", "the store does not say how large the file is")
        if size == 0:
            raise ClipError("empty_file", "the file has no bytes")
        if size > self._limits.remote_file_mib << 20:
            raise ClipError("too_large", f"the file has {size >> 20} MiB; at most {self._limits.remote_file_mib} MiB are fetched")
        self._given_up_at += size / (self._limits.fetch_mib_per_s * (1 << 20))
        at = 0
        while at < size:
            if self._given_up.is_set():
                return
            chunk = store.cat_file(path, start=at, end=min(size, at + _CHUNK_BYTES))
            if not chunk:
                raise ClipError("truncated", f"the file ended after {at} of {size} bytes")
            file.write(chunk)
            at += len(chunk)
        file.flush()
