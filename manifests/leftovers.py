"""What killed writers leave: the names that half-written files have, and how they are known again."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

_LONGEST_NAME = 200  # bytes of the target's name that are kept: file systems take 255, and the rest needs 40
_OURS = re.compile(r".+\.(?P<host>[0-9a-f]{8})\.(?P<pid>[0-9]{1,10})\.[0-9a-f]{8}\.tmp", re.DOTALL)


def temporary_name(name: str) -> str:
    """A name of this process's own for what becomes `name`: begins with a dot, ends in `.tmp`, and says who writes it."""
    short = name.encode(errors="surrogateescape")[:_LONGEST_NAME].decode(errors="ignore")
    return f".{short}.{_host()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"


def sweep(folder: Path) -> None:
    """Removes from a folder what has a `temporary_name` (with or without its dot) of a process of this machine that runs no more, and
    nothing else. A folder that cannot be read is left as it is."""
    host = _host()
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(".tmp")]
    except OSError:
        return
    for name in names:
        found = _OURS.fullmatch(name)
        if found is None or found["host"] != host or _is_alive(int(found["pid"])):
            continue
        left = folder / name
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(OSError):
                left.unlink()


def _host() -> str:
    """Among whom process ids are told apart: this machine's, or this container's. The folder may be shared with others."""
    try:
        processes = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  no path: pid:[4026531836]
    except OSError:
        processes = ""
    return hashlib.sha256(f"{platform.node()} {processes}".encode()).hexdigest()[:8]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True
