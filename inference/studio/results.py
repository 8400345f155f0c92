"""Where the app puts what it makes: one temporary folder of this process, of which the last few results are kept and nothing stays."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import deque
from pathlib import Path

from manifests.leftovers import sweep, temporary_name

KEPT = 8  # results that a page may still show, of all sessions together


class Results:
    """
    Args:
        kept: results that stay when a new one begins; older ones are removed.

    Attributes:
        folder: what `close` removes; the page's uploads belong in it too.
    """

    def __init__(self, kept: int = KEPT):
        folders = Path(tempfile.gettempdir())
        sweep(folders)  # of apps that were killed
        self.folder = folders / temporary_name("megactor-app-files")[1:]  # a page is shown nothing whose name begins with a dot
        self.folder.mkdir(mode=0o700)
        self._lock = threading.Lock()
        self._kept, self._folders = kept, deque[Path]()

    def new(self, name: str) -> Path:
        """A path of that name in a folder of its own, which is there."""
        with self._lock:
            while len(self._folders) >= self._kept:
                shutil.rmtree(self._folders.popleft(), ignore_errors=True)
            self._folders.append(Path(tempfile.mkdtemp(prefix="result-", dir=self.folder)))
            return self._folders[-1] / name

    def close(self) -> None:
        """Removes everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
