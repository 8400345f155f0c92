"""Starting, asking and ending the decoding child."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curation.media import wire
from curation.media.limits import MediaLimits

_REAP_S = 5.0  # a killed process may stay for long where it waits for a dead network drive; it is left to the system then
_ROOT = str(Path(__file__).resolve().parents[2])
# The package may be imported from anywhere in this process; the child must find the same one, and nothing from its working directory.
_BOOTSTRAP = (
    "import sys\n"
    "root = sys.argv.pop(1)\n"
    "if root not in sys.path: sys.path.insert(0, root)\n"
    "from curation.media.child import main\n"
    "main(sys.argv[1:])\n"
)


class ChildDiedError(Exception):
    """The child is gone; the message says how."""


class DecodeChild:
    """One decoding process and the memory that it shares with this one.

    The memory and the error output have no names, and the child ends when this process does, however that happens: nothing can be left
    behind. The kernel kills the child when the write end of `lifeline` closes.

    Raises:
        RuntimeError: the process does not come up; the message carries its error output.
        ChildDiedError: it was killed by a signal before it came up.
    """

    def __init__(self, limits: MediaLimits):
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        area = _nameless_file()
        self._errors = _nameless_file()
        try:
            os.ftruncate(area, limits.area_bytes)
            self.area = mmap.mmap(area, limits.area_bytes, prot=mmap.PROT_READ)
            handed_over = (theirs.fileno(), area, lifeline)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOTSTRAP, _ROOT, *map(str, handed_over), json.dumps(asdict(limits))],
                pass_fds=handed_over,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        finally:
            theirs.close()
            os.close(lifeline)
            os.close(area)
        self._channel = ours
        self._end = weakref.finalize(self, _end, self._process, ours, (self._lifeline, self._errors), os.getpid())
        try:
            self.receive(self.countdown(limits.start_s))
        except (TimeoutError, ChildDiedError) as error:
            self.kill()
            if (self._process.returncode or 0) < 0 and isinstance(error, ChildDiedError):
                raise  # killed from outside, for example for want of memory: the next one may live
            raise RuntimeError(f"the decoding process does not start: {error or 'no answer'}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Raises ChildDiedError."""
        try:
            wire.send(self._channel, message)
        except OSError as error:
            raise ChildDiedError(self._how_it_died()) from error

    def receive(self, left_s: Callable[[], float]) -> tuple[dict[str, Any], bytearray]:
        """Raises TimeoutError once `left_s` gives 0 or less, ChildDiedError."""
        try:
            return wire.receive(self._channel, left_s)
        except EOFError as error:
            raise ChildDiedError(self._how_it_died()) from error

    def clock_s(self) -> float:
        """Seconds that run while the child works, waits or hangs, and stand still while it is kept from a processor by other programs: on a
        busy machine a decoder that gets on is not stuck. Where the system does not say, all seconds count."""
        return time.monotonic() - _kept_waiting_s(self.pid)

    def countdown(self, limit_s: float) -> Callable[[], float]:
        """How much of `limit_s` is left by the child's clock, from now on."""
        end_s = self.clock_s() + limit_s
        return lambda: end_s - self.clock_s()

    def kill(self) -> None:
        """Ends the child at once; so does losing the object. May be called again."""
        self._end()

    def _how_it_died(self) -> str:
        try:
            code = self._process.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            return "the decoder closed its channel"
        tail = os.pread(self._errors, 1 << 20, 0).decode(errors="replace").strip().splitlines()[-1:]
        how = f"the decoder died with {signal.Signals(-code).name}" if code < 0 else f"the decoder ended with exit code {code}"
        return ": ".join([how, *tail])


def _kept_waiting_s(pid: int) -> float:
    """How long a process was ready to run while others ran; 0 where the system does not say (Linux alone does)."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _end(process: subprocess.Popen, channel: socket.socket, descriptors: tuple[int, ...], owner_pid: int) -> None:
    if os.getpid() != owner_pid:
        return  # a fork of the owner's process ends; the child is not its own
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_REAP_S)
    channel.close()
    for descriptor in descriptors:
        os.close(descriptor)


def _nameless_file() -> int:
    """A descriptor of memory that vanishes with its last user."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("decoder", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
