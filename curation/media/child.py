"""The decoding child: answers a reader's requests until the reader goes away. Start it with `process.DecodeChild`."""

from __future__ import annotations

import fcntl
import gc
import json
import mmap
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from curation.media import wire
from curation.media.clock import after_first_frame
from curation.media.errors import DecodeError
from curation.media.limits import MediaLimits

_SLICE_S = 0.5  # answer at least so often with whatever is ready: longer silence means a hang


class Child:
    """State between requests: the file that is open and the span that is being read.

    Args:
        area: the shared memory.
        limits: the reader's limits.
    """

    def __init__(self, area: mmap.mmap, limits: MediaLimits):
        self._area = area
        self._limits = limits
        self._file: Any = None
        self._span: Any = None
        self._pictures: Iterator | None = None  # None once all are sent
        self._touched_bytes = 0
        self._n_opened = 0
        self._n_packets_before = 0  # of the open file, when `work` was asked last

    def probe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Opens the file; answers with the fields of `MediaInfo`."""
        self._open(request["path"])
        return {"info": self._file.info()}

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        """Opens the file and makes the span ready; answers with info, the shape of a picture and the length to expect."""
        from curation.media.spans import Span

        self._open(request["path"])
        start_ms, end_ms = request["start_ms"], request["end_ms"]
        if request["time_zero"] == "container":
            start_ms, end_ms = after_first_frame(start_ms, end_ms, self._file.video_start_ms)
        if end_ms is not None and end_ms <= start_ms:
            raise DecodeError("no_frames", f"the span ends {request['end_ms']} ms after the container's time 0, before the first frame")
        if start_ms == 0:
            self._open_afresh(request["path"])
        self._span = Span(
            self._file,
            start_s=start_ms / 1000,
            end_s=None if end_ms is None else end_ms / 1000,
            sample_hz=request["sample_hz"],
            with_sound=request["audio"],
            max_span_s=self._limits.max_span_ms / 1000,
            max_gap_s=self._limits.max_gap_ms / 1000,
        )
        self._pictures = self._span.pictures() if request["frames"] else None
        return self._ready()

    def pick(self, request: dict[str, Any]) -> dict[str, Any]:
        """Opens the file and makes single pictures ready; answers as `start`, and the pictures come by `block`."""
        from curation.media.spans import Picks

        self._open(request["path"])
        self._span = Picks(self._file, request["times_s"], request["strict"])
        self._pictures = self._span.pictures()
        return self._ready()

    def _ready(self) -> dict[str, Any]:
        return {"info": self._file.info(), "shape": self._file.picture.shape, "expected_s": self._span.expected_s}

    def block(self, request: dict[str, Any]) -> dict[str, Any]:
        """The next pictures, `points`: [[grid point, slot in the block], ...], and the sound heard on the way, `sound`: [[first sample,
        samples], ...] with the samples as payload; at last `done`, with the length of the sound."""
        give_up_at = time.monotonic() + _SLICE_S
        points = self._fill(request["block"], give_up_at) if self._pictures is not None else []
        done = self._pictures is None and self._span.hear(give_up_at)
        pieces = list(self._span.sound(last=done))
        return {
            "points": points,
            "sound": [(first, len(samples)) for first, samples in pieces],
            "done": done,
            "n_samples": self._span.n_samples if done else None,
            "payload": b"".join(samples.tobytes() for _, samples in pieces),
        }

    def work(self) -> tuple[int, int]:
        """(files opened, video packets read) since the last call."""
        n_packets = self._file.playhead.n_packets_ever if self._file is not None else 0
        done = (self._n_opened, max(0, n_packets - self._n_packets_before))
        self._n_opened, self._n_packets_before = 0, n_packets
        return done

    def drop(self) -> None:
        """Closes the file: after a failure its state is not to be trusted."""
        self._span = self._pictures = None
        if self._file is not None:
            self._file.close()
            self._file = None
            gc.collect()  # streams and containers refer to each other, and with them live the decoders' frame pools
        if self._touched_bytes > 2 * self._limits.block_mib << 20 and hasattr(mmap, "MADV_REMOVE"):
            self._area.madvise(mmap.MADV_REMOVE)  # gives the pages of an unusually large picture back
            self._touched_bytes = 0

    def _fill(self, block: int, give_up_at: float) -> list[tuple[int, int]]:
        shape = self._file.picture.shape
        picture_bytes = int(np.prod(shape))
        n_slots = self._limits.layout(picture_bytes)[1]
        first_byte = block * n_slots * picture_bytes
        slots = np.frombuffer(self._area, np.uint8, n_slots * picture_bytes, first_byte).reshape(n_slots, *shape)
        self._touched_bytes = max(self._touched_bytes, first_byte + slots.nbytes)
        points: list[tuple[int, int]] = []
        n_used = 0
        for found in self._pictures or ():
            if found is not None:
                self._file.picture.write(found[1], slots[n_used])
                points += [(point, n_used) for point in found[0]]
                n_used += 1
            if n_used == n_slots or time.monotonic() > give_up_at:
                return points
        self._pictures = None
        return points

    def _open_afresh(self, path: str) -> None:
        """A file that was read already is opened again, because decoders remember a little across seeking: from the beginning on, the sound
        shall be the same to the last bit each time."""
        if self._file.playhead.has_moved:
            self.drop()
            self._open(path)

    def _open(self, path: str) -> None:
        from curation.media.videofile import VideoFile, file_identity

        self._span = self._pictures = None
        if self._file is not None and self._file.identity != file_identity(path):
            self.drop()
        if self._file is None:
            self._file = VideoFile(path, self._limits.max_frame_px)
            self._n_opened += 1
            self._n_packets_before = 0
            self._require_room()

    def _require_room(self) -> None:
        height, width, _ = self._file.picture.shape
        if self._limits.layout(3 * width * height) == (0, 0):
            mib = 3 * width * height / (1 << 20)
            message = f"frames of {width}x{height} px take {mib:.0f} MiB; the frame budget is {self._limits.frame_budget_mib} MiB"
            raise DecodeError("too_large", message)


def serve(channel: socket.socket, child: Child) -> None:
    """Answers requests until the channel closes. A request that fails is answered with kind and message; the child stays usable."""
    while True:
        try:
            request, _ = wire.receive(channel)
        except EOFError:
            return
        began = time.perf_counter()
        try:
            reply = _OPERATIONS[request["do"]](child, request)
        except Exception as error:  # whatever a damaged file provokes is that file's failure
            reply = {"error": _kind_and_message(error)}
            child.drop()
        payload = reply.pop("payload", b"")
        reply |= {"id": request["id"], "work": child.work(), "ms": 1000 * (time.perf_counter() - began)}
        try:
            wire.send(channel, reply, payload)
        except OSError:
            return


_OPERATIONS = {"probe": Child.probe, "start": Child.start, "pick": Child.pick, "block": Child.block}


def _kind_and_message(error: Exception) -> tuple[str, str]:
    from av.error import FFmpegError

    if isinstance(error, DecodeError):
        return error.kind, error.message
    if isinstance(error, MemoryError):
        return "too_large", "decoding needs more memory than the decoder may use"
    if isinstance(error, FFmpegError):
        return "decode_error", f"the video cannot be decoded: {error.strerror}"
    return "crash", f"the decoder raised {type(error).__name__}: {error}"


def die_with(lifeline: int) -> None:
    """Lets the kernel kill this process when the other end of the pipe closes, even in the midst of a native hang or when stopped."""
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLHUP)
    if poll.poll(0):
        os._exit(1)  # closed before the signal was set up


def main(arguments: list[str]) -> None:
    """`channel_fd area_fd lifeline_fd limits_json`."""
    channel_fd, area_fd, lifeline = (int(text) for text in arguments[:3])
    limits = MediaLimits(**json.loads(arguments[3]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the reader's to handle
    die_with(lifeline)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))  # nothing is written but the error output
    area = mmap.mmap(area_fd, limits.area_bytes)
    resource.setrlimit(resource.RLIMIT_AS, ((limits.child_memory_mib << 20) + limits.area_bytes,) * 2)
    import av  # noqa: F401  the expensive import, before the reader's clock starts

    gc.freeze()  # what is loaded by now need not be searched again
    channel = socket.socket(fileno=channel_fd)
    wire.send(channel, {"ready": True})
    serve(channel, Child(area, limits))


if __name__ == "__main__":
    main(sys.argv[1:])
