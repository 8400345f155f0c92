"""One run at a time in one directory, or on one file.

On a disk this is one call of flock, which also ends with its process; `filelock` would add a package for it, and has nothing for object
stores, where a lease takes its place.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from manifests import UserError
from manifests.atomic import put
from manifests.places import Place, is_url

RENEW_S = 5.0  # seconds between two writes of a lease: a fourth of what makes it lost
PATIENCE_S = 20.0  # a lease that was not renewed for so long has lost its holder


@contextmanager
def hold(directory: Place) -> Iterator[None]:
    """Hold the directory for this process, made if it is not there; a process that dies lets go of it.

    On a disk the system sees to that. In an object store a lease is renewed every 5 s: one whose holder ran on this machine and is dead is
    taken over at once, another one after 20 s without renewal. The lease spares double work; it is not what keeps a run's rows right,
    since two drivers would commit equal shards, each in one upload.

    Raises:
        UserError: another run has it, or it cannot be made.
    """
    busy = UserError(f"another run is writing to {directory}; wait for it or choose another OUT")
    if is_url(directory):
        with _lease(directory / ".lease", busy):
            yield
        return
    with _locked(Path(directory), ".lock", busy):
        yield


@contextmanager
def hold_file(file: Path) -> Iterator[None]:
    """Hold one file on a disk as `hold` does a directory, for what shares its folder with other results.

    Raises:
        UserError: another run has it, or its folder cannot be made.
    """
    with _locked(file.parent, f".{file.name}.lock", UserError(f"another run is writing {file}; wait for it or choose another name")):
        yield


@contextmanager
def _locked(directory: Path, name: str, busy: UserError) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        opened = (directory / name).open("w")
    except OSError as error:
        raise UserError(f"cannot make {directory}: {error.strerror or error}") from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise busy from None
        yield


@contextmanager
def _lease(file: Place, busy: UserError) -> Iterator[None]:
    found = _read(file)
    if found and not _is_dead(found):
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            time.sleep(RENEW_S / 5)
            now = _read(file)
            if now is None and not file.exists():
                break
            if now != found:  # renewed, or being renewed while it was read
                raise busy
    holder, ended = uuid.uuid4().hex, threading.Event()
    put(file, _lease_text(holder, 0))

    def renew() -> None:
        n = 0
        while not ended.wait(RENEW_S):
            n += 1
            with suppress(UserError):  # the store may be away for a while
                put(file, _lease_text(holder, n))

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if (_read(file) or {}).get("holder") == holder:
            with suppress(OSError):
                file.unlink()


def _lease_text(holder: str, n: int) -> bytes:
    return json.dumps({"holder": holder, "n": n, "host": socket.gethostname(), "pid": os.getpid()}).encode()


def _read(file: Place) -> dict[str, Any] | None:
    try:
        tree = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return tree if isinstance(tree, dict) else None


def _is_dead(lease: dict[str, Any]) -> bool:
    """Known for sure: its process ran on this machine and is gone."""
    if lease.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(lease["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError):
        return False
    return False
