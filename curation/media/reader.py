"""Reading clips: the caller's side of the decoding child."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.contracts import Clip, ClipError, FileSpan, Frame, MediaInfo
from curation.media.limits import MediaLimits
from curation.media.opening import canonical_path
from curation.media.patience import Patience
from curation.media.process import ChildDiedError, DecodeChild
from curation.media.remote import LocalCopy
from curation.spool import Spool
from manifests.places import is_url


@dataclass(frozen=True)
class ReadCounts:
    """Files opened, video packets read (each is decoded), and remote files fetched."""

    n_opened: int = 0
    n_packets: int = 0
    n_fetched: int = 0


class MediaReader:
    """Reads clips through one child process, which is started when first needed and again after it died or was killed.

        with MediaReader() as reader, reader.read(clip) as stream:
            for frame in stream.frames(): ...
            stream.audio

    One stream at a time; not to be shared between threads. A file stays open in the child, so that its spans in ascending order cost no
    second opening.
    """

    def __init__(self, limits: MediaLimits | None = None):
        self._limits = limits or MediaLimits()
        self._child: DecodeChild | None = None
        self._current: Patience | None = None  # of the clip that is being read
        self._path = ""  # the file that the child has open
        self._copy = LocalCopy(self._limits)
        self._n_clips = 0  # since the child was started
        self._n_requests = 0
        self._counts = ReadCounts()

    def __enter__(self) -> MediaReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child. The reader may be used again; it starts another."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        self._copy.drop()

    @property
    def counts(self) -> ReadCounts:
        """What the children have done since the reader was made, as they report it."""
        return self._counts

    @property
    def child_pid(self) -> int | None:
        """Process id of the child while there is one."""
        return self._child.pid if self._child else None

    def probe(self, path: str) -> MediaInfo:
        """What the file is, decoding one frame.

        Raises:
            ClipError: every kind that `read` has, except those that show only later in the file.
        """
        patience = Patience(self._limits)
        request = self._ask(patience, {"do": "probe", "path": canonical_path(path)}, fresh=True)
        reply, _ = self._answer(patience, request)
        return MediaInfo(**reply["info"])

    def read(self, clip: Clip | FileSpan, sample_hz: float = 25.0, frames: bool = True, audio: bool = True) -> ClipStream:
        """Opens the clip's span.

        Args:
            clip: file and span; its `time_zero` says what the span's times count from.
            sample_hz: grid on which frames are given; each grid point shows the frame that a player would show at that time.
            frames, audio: what is wanted; what is not wanted is not decoded.

        Raises:
            ClipError: missing_file, unreadable, empty_file, not_a_video, no_video_stream, truncated, decode_error, too_large, timeout,
                crash.
        """
        if not 0 < sample_hz <= 1000:
            raise ValueError(f"sample_hz is {sample_hz}; it must be in 0..1000")
        if (clip.end_ms is not None and clip.end_ms <= clip.start_ms) or clip.start_ms < 0:
            raise ClipError("no_frames", f"the span {clip.start_ms} ms .. {clip.end_ms} ms is empty")
        request = {
            "do": "start",
            "start_ms": clip.start_ms,
            "end_ms": clip.end_ms,
            "time_zero": clip.time_zero,
            "sample_hz": sample_hz,
            "frames": frames,
            "audio": audio,
        }
        return ClipStream(self, self._limits, clip.video_path, request, sample_hz, frames)

    def pictures_at(self, path: str, times_ms: Sequence[float], strict: bool = False) -> list[np.ndarray]:
        """The pictures that a player shows at those times after the first frame; the last one for times beyond the end.

        With `strict`, a time beyond the end is `truncated`, and a picture that more than 10 % damaged packets led to `decode_error`.

        Returns:
            (H, W, 3) uint8 each, in the order of `times_ms`. Ascending or not, the file is read forward once.

        Raises:
            ClipError: as `read`.
        """
        if len(times_ms) and not min(times_ms) >= 0:
            raise ValueError("times_ms must be 0 or more")
        order = sorted(range(len(times_ms)), key=times_ms.__getitem__)
        request = {"do": "pick", "times_s": [times_ms[i] / 1000 for i in order], "strict": strict}
        with ClipStream(self, self._limits, path, request, sample_hz=1.0, frames=True) as stream:
            found = {order[frame.index]: np.array(frame.rgb) for frame in stream.frames()}
        return [found[i] for i in range(len(times_ms))]

    def _ask(self, patience: Patience, message: dict[str, Any], *, fresh: bool = False) -> int:
        """Sends a request and returns its number; with `fresh` it may start a child."""
        if fresh:
            self._current = patience
            self._n_clips += 1
            if self._n_clips > self._limits.recycle_after_clips and message["path"] != self._path:  # not between two spans of a file
                self.close()
            self._path = message["path"]
            if is_url(self._path):
                message = message | {"path": self._copy.path_of(self._path)}
            else:
                self._copy.drop()
            if self._child is None:
                try:
                    self._child = DecodeChild(self._limits)
                except ChildDiedError as error:
                    raise ClipError("crash", str(error)) from error
                self._n_clips = 1
        child = self._require_current(patience)
        self._n_requests += 1
        try:
            child.send(message | {"id": self._n_requests})
        except ChildDiedError as error:
            self.close()
            if fresh:  # it died between two clips: no clip's fault
                return self._ask(patience, message | {"path": self._path}, fresh=True)
            raise ClipError("crash", str(error)) from error
        return self._n_requests

    def _answer(self, patience: Patience, request: int) -> tuple[dict[str, Any], bytearray]:
        """Waits for the answer to `request`; answers to older requests, which nobody wants any more, are passed over."""
        while True:
            child = self._require_current(patience)
            try:
                with patience.waiting_for(child) as left_s:
                    reply, payload = child.receive(left_s)
            except TimeoutError as error:
                self.close()
                raise ClipError("timeout", patience.verdict()) from error
            except ChildDiedError as error:
                self.close()
                raise ClipError("crash", str(error)) from error
            n_opened, n_packets = reply["work"]
            counts = self._counts
            self._counts = ReadCounts(counts.n_opened + n_opened, counts.n_packets + n_packets, self._copy.n_fetched)
            if reply["id"] == request:
                if "error" in reply:
                    raise ClipError(*reply["error"])
                return reply, payload

    def _require_current(self, patience: Patience) -> DecodeChild:
        if self._child is None or self._current is not patience:
            raise RuntimeError("the reader was closed, or reads another clip by now")
        return self._child


class ClipStream:
    """The frames and the sound of one clip; made by `MediaReader.read`.

    Attributes:
        info: of the whole file.
        decode_ms: time that the child has spent on the clip so far.
    """

    def __init__(self, reader: MediaReader, limits: MediaLimits, path: str, request: dict[str, Any], sample_hz: float, frames: bool):
        self._reader = reader
        self._limits = limits
        self._sample_hz = sample_hz
        self._sound = Spool(np.int16)
        self._has_sound = False
        self._exhausted = False
        self._done = False
        self._patience = Patience(limits)
        number = reader._ask(self._patience, request | {"path": canonical_path(path)}, fresh=True)
        reply, _ = reader._answer(self._patience, number)
        self._with_frames = frames
        height, width, _ = reply["shape"]
        layout = limits.layout(height * width * 3)
        area = np.frombuffer(reader._require_current(self._patience).area, np.uint8, layout[0] * layout[1] * height * width * 3)
        self._pictures = area.reshape(*layout, height, width, 3)
        self._patience.allow_for(reply["expected_s"])
        self.info = MediaInfo(**reply["info"])
        self.decode_ms: float = reply["ms"]

    def __enter__(self) -> ClipStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._exhausted = True

    def frames(self) -> Iterator[Frame]:
        """The frames on the grid, in order, once. `rgb` is a read-only view of shared memory, valid until the next frame; a grid point that
        shows the same picture as the one before has the same `rgb` object.

        Raises:
            ClipError: truncated, decode_error, no_frames, too_large, timeout, crash.
        """
        if self._exhausted:
            return
        self._exhausted = True
        for block, reply in self._replies():
            slot, rgb = -1, np.empty(0, np.uint8)
            for point, at in reply["points"]:
                if at != slot:
                    slot, rgb = at, self._pictures[block, at]
                yield Frame(point, 1000 * point / self._sample_hz, rgb)

    @property
    def sound(self) -> Spool | None:
        """(N,) int16 mono at 16 kHz, sample 0 at the span's start, zeros where the file has no sound, as long as the frames; None if the
        file has no audio stream or none was asked for. Known after `frames` is exhausted; stays when the stream is closed.

        Raises:
            ClipError: as `frames`, if no frames were asked for.
        """
        if not self._exhausted and not self._with_frames:
            for _ in self.frames():
                pass
        if not self._done:
            raise RuntimeError("the sound is known only after the last frame")
        return self._sound if self._has_sound else None

    @property
    def audio(self) -> np.ndarray | None:
        """`sound`, all of it in memory."""
        return None if self.sound is None else np.asarray(self.sound)

    def _replies(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(block of the shared memory, reply); keeps `prefetch_blocks` further requests under way."""
        asked: deque[tuple[int, int]] = deque()
        n_blocks = len(self._pictures)
        n_asked = 0
        while not self._done:
            while len(asked) < n_blocks:
                block = n_asked % n_blocks
                asked.append((block, self._reader._ask(self._patience, {"do": "block", "block": block})))
                n_asked += 1
            block, request = asked.popleft()
            reply, payload = self._reader._answer(self._patience, request)
            self.decode_ms += reply["ms"]
            self._hear(reply, payload)
            self._done = reply["done"]
            yield block, reply

    def _hear(self, reply: dict[str, Any], payload: bytearray) -> None:
        """Puts the sound that came along where it belongs."""
        samples, at = np.frombuffer(payload, np.int16), 0
        for first, n in reply["sound"]:
            self._sound.write(first, samples[at : at + n])
            at += n
        if reply["n_samples"] is not None:
            self._sound.resize(reply["n_samples"])
            self._has_sound = True


def random_frames(path: str, times_ms: Sequence[float], limits: MediaLimits | None = None) -> list[np.ndarray]:
    """`MediaReader.pictures_at` in a child of its own; for many files keep a reader."""
    with MediaReader(limits) as reader:
        return reader.pictures_at(path, times_ms)
