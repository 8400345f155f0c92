"""An open file and the place in it up to which it is decoded."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from curation.media.failure import DecodeFailure
from curation.media.opening import open_container, open_descriptor
from curation.media.picture import PictureWriter
from curation.media.soundtrack import Soundtrack

_CONTINUE_WITHIN_S = 5.0  # a span that begins this little after the last one is reached by decoding on, else by seeking
_SOUND_LEAD_S = 0.1  # seek a little earlier than the picture needs: audio decoders warm up over their first frames
_INTERLEAVE_S = 10.0  # how far pictures may run ahead of their sound in the file
_RETRY_S = (0.0, 1.0, 5.0, 20.0, float("inf"))  # seeks that land too late are repeated from further ahead
_MAX_BAD_RATIO = 0.1  # share of damaged packets or frames up to which a file is still scored
_MAX_STEP_BACK_S = 1.0


class VideoFile:
    """One opened file: what it is, and its frames from any time on. Times are seconds after the first frame of the video.

    Sound is decoded on the way into `soundtrack`.

    Raises:
        DecodeFailure: any kind that opening or decoding the first frame can show.
    """

    def __init__(self, path: str, max_frame_px: int):
        self.identity = file_identity(path)
        self._descriptor = open_descriptor(path)
        try:
            self._container = open_container(self._descriptor, max_frame_px)
            self._video = self._pick_video(max_frame_px)
            self._audio = self._pick_audio()
            self._zero_s: float | None = None  # unknown until the first frame is decoded
            self._early: list = []  # audio packets that came before
            self._with_sound = True
            self._listening_to: tuple[float, float] | None = None
            self._restart()
            first = self._next_decoded()
            if first is None:
                raise DecodeFailure("decode_error", "not one frame of the video stream can be decoded")
            if first.width * first.height > max_frame_px:
                raise DecodeFailure("too_large", _too_large(first.width, first.height, max_frame_px))
        except BaseException:
            self.close()
            raise
        self._zero_s = self._seconds(first) or 0.0
        self._recent.append((0.0, first))
        for packet in self._early:
            self._decode_audio(packet)
        self._early.clear()
        self.picture = PictureWriter(first, self._video.sample_aspect_ratio)

    def close(self) -> None:
        """Gives the descriptor back; the object is of no use afterwards."""
        container = getattr(self, "_container", None)
        if container is not None:
            container.close()
        os.close(self._descriptor)

    @property
    def tick_s(self) -> float:
        """Resolution of the video's timestamps."""
        return float(self._video.time_base)

    @property
    def frame_s(self) -> float:
        """Usual time between frames."""
        rate = self._video.average_rate or self._video.guessed_rate or self._video.base_rate
        return 1 / float(rate) if rate else 0.04

    @property
    def declared_s(self) -> float | None:
        """Length of the video as the header says."""
        return _shortest(_stream_duration_s(self._video), self._container_s)

    @property
    def _container_s(self) -> float | None:
        return self._container.duration / 1e6 if self._container.duration else None

    @property
    def has_audio(self) -> bool:
        return self._audio is not None

    def info(self) -> dict[str, Any]:
        """The fields of `MediaInfo`."""
        height, width, _ = self.picture.shape
        return {
            "width_px": width,
            "height_px": height,
            "fps": 1 / self.frame_s,
            "n_frames": self._video.frames or None,
            "duration_ms": 1000 * (self.declared_s or 0.0),
            "video_codec": self._video.codec_context.codec.canonical_name,
            "has_audio": self.has_audio,
            "audio_rate_hz": self._audio.codec_context.sample_rate if self._audio else None,
            "rotation_deg": self.picture.orientation.rotation_deg,
        }

    def frames_from(self, start_s: float, with_sound: bool) -> Iterator[tuple[float, Any]]:
        """(time, `av.VideoFrame`) in order, beginning at or before `start_s`. Continues where the last call stopped, or seeks."""
        self._go_near(start_s, with_sound)
        self._n_packets = self._n_bad = 0
        yield from tuple(self._recent)
        while (frame := self._next_decoded()) is not None:
            time_s = self._monotonic_time(frame)
            self._recent.append((time_s, frame))
            yield time_s, frame

    def hear_until(self, end_s: float, give_up_at: float) -> bool:
        """Reads on until the sound reaches `end_s`; pictures on the way wait for the next span. False: out of time, call again."""
        while self.soundtrack.end_s < end_s and self._packet_s < end_s + _INTERLEAVE_S:
            packet = self._next_packet()
            if packet is None:
                break
            if packet.stream is self._video:
                self._waiting.append(packet)
            else:
                self._decode_audio(packet)
            if time.monotonic() > give_up_at:
                return False
        return True

    def listen(self, start_s: float, end_s: float, give_up_at: float) -> bool:
        """Sound alone: goes to `start_s` on the first call and reads until `end_s`, without pictures. False: out of time, call again."""
        if self._listening_to != (start_s, end_s):
            self._go_near(start_s, with_sound=True)
            self._listening_to = (start_s, end_s)
            self._recent.clear()  # the pictures on the way are lost: the next span seeks
            self._decoded.clear()
        complete = self.hear_until(end_s, give_up_at)
        self._waiting.clear()
        if complete:
            self._listening_to = None
        return complete

    def end_of(self, time_s: float, frame: Any) -> float:
        """When the frame that begins at `time_s` is over."""
        return time_s + (float(frame.duration * frame.time_base) if frame.duration else self.frame_s)

    def check_complete(self, end_s: float) -> None:
        """The last frame ends at `end_s`; raises if the header promised much more, or much of it was damaged.

        Raises:
            DecodeFailure: truncated, decode_error.
        """
        declared_s = self.declared_s
        stream_s = _stream_duration_s(self._video)
        if declared_s is None:
            return
        reached_s = end_s if stream_s is not None else max(end_s, self._packet_s)
        if reached_s < 0.9 * declared_s and declared_s - reached_s > max(0.2, 2 * self.frame_s):
            raise DecodeFailure("truncated", f"the video ends after {reached_s:.1f} s of {declared_s:.1f} s")

    def check_damage(self) -> None:
        """Raises if too much of what was read since `frames_from` began was damaged.

        Raises:
            DecodeFailure: decode_error.
        """
        if self._n_bad > _MAX_BAD_RATIO * max(1, self._n_packets):
            raise DecodeFailure("decode_error", f"{self._n_bad} of {self._n_packets} packets or frames of the video are damaged")

    def _pick_video(self, max_frame_px: int) -> Any:
        from av.stream import Disposition

        pictures = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not pictures:
            raise DecodeFailure("no_video_stream", "the file has no video stream")
        best = self._container.streams.best("video")
        video = best if best in pictures else pictures[0]
        if video.codec_context is None:
            raise DecodeFailure("decode_error", "there is no decoder for the video stream")
        if video.codec_context.width * video.codec_context.height > max_frame_px:
            raise DecodeFailure("too_large", _too_large(video.codec_context.width, video.codec_context.height, max_frame_px))
        video.codec_context.thread_count = 1
        video.codec_context.thread_type = "NONE"
        return video

    def _pick_audio(self) -> Any | None:
        audio = next((s for s in self._container.streams.audio if s.codec_context is not None), None)
        if audio is not None:
            audio.codec_context.thread_count = 1
        return audio

    def _go_near(self, start_s: float, with_sound: bool) -> None:
        heard = self._with_sound or not with_sound
        self._with_sound = with_sound
        if not (heard and self._recent and self._recent[0][0] <= start_s <= self._recent[-1][0] + _CONTINUE_WITHIN_S):
            self._seek(start_s)
        self.soundtrack.forget_before(start_s)

    def _restart(self) -> None:
        streams = [s for s in (self._video, self._audio) if s is not None]
        self._packets = iter(self._container.demux(*streams))
        self._waiting: deque = deque()  # video packets that were passed while looking for sound
        self._decoded: deque = deque()
        self._recent: deque = deque(maxlen=2)  # the last two frames given out: the next span may begin with either
        self._packet_s = float("-inf")  # how far the file is read
        self._n_packets = self._n_bad = 0
        self.soundtrack = Soundtrack()

    def _seek(self, start_s: float) -> None:
        """Puts the playhead so that the next frame begins at or before `start_s`, if the file has such a frame."""
        for back_s in _RETRY_S:
            target_s = start_s - _SOUND_LEAD_S - back_s
            self._go_to(target_s if target_s > 0 else None)
            frame = self._next_decoded()
            if frame is not None:
                self._recent.append((self._monotonic_time(frame), frame))
                if self._recent[0][0] <= start_s:
                    return
            if target_s <= 0:
                return

    def _go_to(self, time_s: float | None) -> None:
        """`None` is the very beginning of the file."""
        from av.error import FFmpegError

        start = self._video.start_time or 0
        if time_s is not None:
            start = int((time_s + self._zero_s) / self._video.time_base)
        try:
            self._container.seek(start, stream=self._video, backward=True)
        except FFmpegError:
            self._container.seek(0, backward=True)
        self._restart()

    def _next_packet(self) -> Any | None:
        """None at the end of what can be read. The packets that end the stream have no size and flush the decoders."""
        from av.error import FFmpegError

        try:
            packet = next(self._packets, None)
        except MemoryError:
            raise
        except FFmpegError:  # the file breaks off here; what the decoders still hold comes out by flushing
            self._packets = iter(())
            self._decode_video(None)
            return None
        if packet is not None and packet.dts is not None:
            self._packet_s = max(self._packet_s, float(packet.dts * packet.time_base) - (self._zero_s or 0.0))
        return packet

    def _next_decoded(self) -> Any | None:
        while not self._decoded:
            packet = self._waiting.popleft() if self._waiting else self._next_packet()
            if packet is None:
                return self._decoded.popleft() if self._decoded else None
            if packet.stream is self._video:
                self._decode_video(packet)
            else:
                self._decode_audio(packet)
        return self._decoded.popleft()

    def _decode_video(self, packet: Any | None) -> None:
        from av.error import FFmpegError

        self._n_packets += 1
        try:
            frames = self._video.codec_context.decode(packet)
        except MemoryError:
            raise
        except FFmpegError:
            self._n_bad += 1
            return
        self._n_bad += sum(frame.is_corrupt for frame in frames)
        self._decoded.extend(frames)

    def _decode_audio(self, packet: Any) -> None:
        from av.error import FFmpegError

        if not self._with_sound:
            return
        if self._zero_s is None:
            self._early.append(packet)
            return
        try:
            frames = self._audio.codec_context.decode(packet)
        except MemoryError:
            raise
        except FFmpegError:
            return  # a hole in the sound, filled with silence
        for frame in frames:
            time_s = self._seconds(frame)
            self.soundtrack.add(frame, None if time_s is None else time_s - self._zero_s)

    def _monotonic_time(self, frame: Any) -> float:
        time_s = self._seconds(frame)
        last_s, last = self._recent[-1] if self._recent else (None, None)
        if last is None:
            return 0.0 if time_s is None else time_s - self._zero_s
        if time_s is None:
            return self.end_of(last_s, last)
        time_s -= self._zero_s
        if time_s < last_s - _MAX_STEP_BACK_S:
            raise DecodeFailure("decode_error", f"the timestamps go back from {last_s:.1f} s to {time_s:.1f} s")
        return max(time_s, last_s)

    def _seconds(self, frame: Any) -> float | None:
        stamp = frame.pts if frame.pts is not None else frame.dts
        return None if stamp is None or frame.time_base is None else float(stamp * frame.time_base)


def file_identity(path: str) -> tuple:
    """Changes when the path names another file or its content was replaced; empty where there is none."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return ()
    return (path, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)


def _stream_duration_s(stream: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    text = stream.metadata.get("DURATION", "")  # Matroska: 00:01:02.345000000
    parts = text.split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds or None


def _shortest(*durations_s: float | None) -> float | None:
    return min((d for d in durations_s if d), default=None)


def _too_large(width_px: int, height_px: int, max_frame_px: int) -> str:
    return f"frames of {width_px}x{height_px} px; at most {max_frame_px / 1e6:.1f} megapixels are decoded"
