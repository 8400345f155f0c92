"""The place in an open container up to which it is decoded."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from curation.media.errors import DecodeError
from curation.media.soundtrack import Soundtrack
from curation.media.timing import FrameGrid, grid_of, indexed_rate, said_rates

_CONTINUE_WITHIN_S = 5.0  # a span that begins this little after the last one is reached by decoding on, else by seeking
_WORTH_SEEKING_S = 0.2  # fewer frames than this are decoded as quickly as sought past
_SOUND_LEAD_S = 0.1  # seek a little earlier than the picture needs: audio decoders warm up over their first frames
_INTERLEAVE_S = 10.0  # how far pictures may run ahead of their sound in the file
_MOST_UNTAKEN = 1 << 20  # samples, a minute: so much sound is read before it is given out
_RETRY_S = (0.0, 1.0, 5.0, 20.0, math.inf)  # seeks that land too late are repeated from further ahead, at last from the file's beginning
# MPEG program streams give few time stamps and raw streams none, so that only decoding from the beginning numbers the frames rightly.
_NO_SEEKING = frozenset({"mpeg", "mpegvideo", "m4v", "h264", "hevc", "av1", "obu"})
_MAX_STEP_BACK_S = 1.0  # time stamps that go back less are a muxer's jitter, more a damaged file


class Playhead:
    """Decodes a container's video and sound forward from any time. Times are seconds after the first frame of the video.

    Args:
        container: an `av` input container.
        video, audio: its streams; audio may be None.
        stamps: reads the time stamps of the file's pictures (`read_stamps`); asked where the index does not tell the rate.

    Attributes:
        grid: on which the frames lie.
        first: the first `av.VideoFrame`; None if none can be decoded.
        zero_s: its time stamp.
        soundtrack: the sound that was decoded on the way.
        has_moved: more than the first frame was read.
        reached_s: how far the file is read, by the packets' time stamps.
        last_packet: (begin, end) of the latest picture among the packets read.
        n_packets_ever: video packets read since the file was opened.
        n_packets, n_bad: video packets read since `frames_from` began, and how many packets or frames of these were damaged.
    """

    def __init__(self, container: Any, video: Any, audio: Any | None, stamps: Callable[[], np.ndarray]):
        self._container = container
        self._video = video
        self._audio = audio
        self.zero_s = 0.0
        self.grid = FrameGrid(next(iter(said_rates(video)), Fraction(25)))
        self.last_packet: tuple[float, float] = (-math.inf, -math.inf)
        self._knows_zero = False  # until the first frame is decoded
        self._early: list[Any] = []  # audio packets that came before it
        self._with_sound = True
        self._listening_to: tuple[float, float] | None = None
        self.has_moved = False
        self.n_packets_ever = 0
        self._restart()
        self.first = self._next_decoded()
        if self.first is not None:
            self.zero_s, self._knows_zero = _stamp_s(self.first) or 0.0, True
            self.reached_s -= self.zero_s
            self.last_packet = (self.last_packet[0] - self.zero_s, self.last_packet[1] - self.zero_s)
            self._recent.append((0.0, self.first))
            rate = indexed_rate(video)
            found = grid_of(stamps() - self.zero_s, float(video.time_base), said_rates(video)) if rate is None else FrameGrid(rate)
            self.grid = found or self.grid
            for packet in self._early:
                self._decode_audio(packet)
            self._early.clear()

    @property
    def frame_s(self) -> float:
        """Usual time between frames."""
        return float(1 / self.grid.rate)

    def frames_from(self, start_s: float, with_sound: bool) -> Iterator[tuple[float, Any]]:
        """(time, `av.VideoFrame`) in order, beginning at or before `start_s`. Continues where the last call stopped, or seeks.

        Raises:
            DecodeError: decode_error, where the time stamps go back.
        """
        self._go_near(start_s, with_sound)
        self.n_packets = self.n_bad = 0
        yield from tuple(self._recent)
        while (frame := self._next_decoded()) is not None:
            yield self._remember(frame)

    def hear_until(self, end_s: float, give_up_at: float) -> bool:
        """Reads on until the sound reaches `end_s`; pictures on the way wait for the next span. False: out of time, or there is
        much sound to take; call again."""
        return self._read_until(end_s, -math.inf, give_up_at)

    def listen(self, start_s: float, end_s: float, with_sound: bool, give_up_at: float) -> bool:
        """No pictures: goes to `start_s` on the first call and reads until `end_s`; then `last_packet` is known, and the sound if wanted.
        False: out of time, or there is much sound to take; call again."""
        if self._listening_to != (start_s, end_s):
            self._go_near(start_s, with_sound)
            self._listening_to = (start_s, end_s)
            self._recent.clear()  # the pictures on the way are lost: the next span seeks
            self._decoded.clear()
        heard_s = end_s if with_sound and self._audio is not None else -math.inf
        complete = self._read_until(heard_s, end_s, give_up_at)
        self._waiting.clear()
        if complete:
            self._listening_to = None
        return complete

    def take_sound(self, last: bool) -> list[tuple[int, np.ndarray]]:
        """The sound that was decoded since the last call, as `Soundtrack.take`; with `last`, all that the frames so far make. What no later
        span can ask for without seeking is forgotten."""
        if last:
            self.soundtrack.end_run()
        taken = self.soundtrack.take()
        self.soundtrack.forget_before(self._recent[0][0] if self._recent else math.inf)
        return taken

    def end_of(self, time_s: float, frame: Any) -> float:
        """When the frame that begins at `time_s` is over."""
        return time_s + (float(frame.duration * frame.time_base) if frame.duration else self.frame_s)

    def _go_near(self, start_s: float, with_sound: bool) -> None:
        self.has_moved = True
        heard = self._with_sound or not with_sound
        self._with_sound = with_sound
        if not (heard and self._recent and self._recent[0][0] <= start_s and self._is_near(start_s)):
            self._seek(start_s)
        self.soundtrack.begin_span(start_s)

    @property
    def _lead_s(self) -> float:
        return _SOUND_LEAD_S if self._with_sound and self._audio is not None else 0.0

    def _is_near(self, start_s: float) -> bool:
        """Decoding on is the cheaper way to a time ahead."""
        if self._container.format.name in _NO_SEEKING:
            return True
        at_s = self._recent[-1][0]
        if start_s > at_s + _CONTINUE_WITHIN_S:
            return False
        keys, tick_s = self._video.index_entries, float(self._video.time_base)
        before_start = keys.search_timestamp(int((start_s - self._lead_s + self.zero_s) / tick_s))
        return before_start < 0 or keys[before_start].timestamp * tick_s - self.zero_s <= at_s + _WORTH_SEEKING_S

    def _seek(self, start_s: float) -> None:
        """Puts the playhead so that the next frame begins at or before `start_s`; the first frame of the file begins at 0."""
        for back_s in (math.inf,) if self._container.format.name in _NO_SEEKING else _RETRY_S:
            self._go_to(start_s - self._lead_s - back_s)
            frame = self._next_decoded()
            if frame is not None and self._time(frame) <= start_s:
                break
        if frame is not None:
            self._remember(frame)

    def _go_to(self, time_s: float) -> None:
        """Minus infinity is the very beginning of the file."""
        from av.error import FFmpegError

        try:
            if time_s == -math.inf:
                self._container.seek(0, unsupported_byte_offset=True)
            else:
                self._container.seek(int((time_s + self.zero_s) / self._video.time_base), stream=self._video)
        except FFmpegError:
            self._container.seek(self._container.start_time or 0)
        self._restart()

    def _read_until(self, heard_s: float, shown_s: float, give_up_at: float) -> bool:
        """Reads packets until the sound reaches `heard_s` and the pictures `shown_s`; False: out of time."""
        while self.soundtrack.end_s < heard_s or self.last_packet[1] < shown_s:
            if self.reached_s > max(heard_s, shown_s) + _INTERLEAVE_S:
                break
            packet = self._next_packet()
            if packet is None:
                break
            if packet.stream is self._video:
                self._waiting.append(packet)
            else:
                self._decode_audio(packet)
            if time.monotonic() > give_up_at or self.soundtrack.n_untaken > _MOST_UNTAKEN:
                return False
        return True

    def _restart(self) -> None:
        self._packets = iter(self._container.demux(*(s for s in (self._video, self._audio) if s is not None)))
        self._waiting: deque[Any] = deque()  # video packets that were passed while looking for sound
        self._decoded: deque[Any] = deque()
        self._recent: deque[tuple[float, Any]] = deque(maxlen=2)  # the last two frames given out: the next span may begin with either
        self.soundtrack = Soundtrack()
        self.reached_s = -math.inf
        self.last_packet = (-math.inf, -math.inf)
        self.n_packets = self.n_bad = 0

    def _next_packet(self) -> Any | None:
        """None at the end of what can be read. The packets that end a stream are empty and flush its decoder."""
        from av.error import FFmpegError

        try:
            packet = next(self._packets, None)
        except MemoryError:
            raise
        except (FFmpegError, IndexError):
            # The file breaks off here (IndexError: PyAV trips at the end over streams that appeared late, as in FLV). What the decoder
            # still holds comes out by flushing.
            self._packets = iter(())
            self._decode_video(None)
            return None
        if packet is not None:
            self._note_times(packet)
        return packet

    def _note_times(self, packet: Any) -> None:
        tick_s, zero_s = float(packet.time_base), self.zero_s
        if packet.dts is not None:
            self.reached_s = max(self.reached_s, packet.dts * tick_s - zero_s)
        if packet.stream is self._video and packet.pts is not None:
            begin_s = packet.pts * tick_s - zero_s
            end_s = begin_s + (packet.duration * tick_s if packet.duration else self.frame_s)
            self.last_packet = max(self.last_packet, (begin_s, end_s))

    def _next_decoded(self) -> Any | None:
        while not self._decoded:
            packet = self._waiting.popleft() if self._waiting else self._next_packet()
            if packet is None:
                break
            if packet.stream is self._video:
                self._decode_video(packet)
            else:
                self._decode_audio(packet)
        return self._decoded.popleft() if self._decoded else None

    def _decode_video(self, packet: Any | None) -> None:
        from av.error import FFmpegError

        self.n_packets += 1
        self.n_packets_ever += packet is not None and packet.size > 0  # the last one is empty and flushes the decoder
        try:
            frames = self._video.codec_context.decode(packet)
        except MemoryError:
            raise
        except FFmpegError:
            self.n_bad += 1
            return
        self.n_bad += sum(frame.is_corrupt for frame in frames)
        self._decoded.extend(frames)

    def _decode_audio(self, packet: Any) -> None:
        from av.error import FFmpegError

        if not self._with_sound or self._audio is None:
            return
        if not self._knows_zero:
            self._early.append(packet)
            return
        try:
            frames = self._audio.codec_context.decode(packet)
        except MemoryError:
            raise
        except FFmpegError:
            return  # a hole in the sound, filled with silence
        for frame in frames:
            time_s = _stamp_s(frame)
            self.soundtrack.add(frame, None if time_s is None else time_s - self.zero_s)

    def _remember(self, frame: Any) -> tuple[float, Any]:
        self._recent.append((self._time(frame), frame))
        return self._recent[-1]

    def _time(self, frame: Any) -> float:
        """Never before the frame given out last."""
        time_s = _stamp_s(frame)
        if time_s is not None:
            time_s = self.grid.time_of(time_s - self.zero_s)
        if not self._recent:
            return time_s or 0.0
        last_s, last = self._recent[-1]
        if time_s is None:
            return self.end_of(last_s, last)
        if time_s < last_s - _MAX_STEP_BACK_S:
            raise DecodeError("decode_error", f"the time stamps go back from {last_s:.1f} s to {time_s:.1f} s")
        return max(time_s, last_s)


def _stamp_s(frame: Any) -> float | None:
    stamp = frame.pts if frame.pts is not None else frame.dts
    base = frame.time_base
    return None if stamp is None or base is None else stamp * base.numerator / base.denominator
