"""An open video file: what it is, and whether it is whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from curation.media.errors import DecodeError
from curation.media.heard import pick_audio
from curation.media.opening import is_cut_off, open_container, open_descriptor, require_whole_index
from curation.media.picture import PictureWriter
from curation.media.playhead import Playhead
from curation.media.timing import read_stamps

_MAX_BAD_RATIO = 0.1  # share of damaged packets or frames up to which a file is still scored
_MIN_COMPLETE_RATIO = 0.9  # share of the promised length from which on a file counts as whole
_MIN_MISSING_S = 0.2  # what headers may round


class VideoFile:
    """One opened file. Times are seconds after the first frame of the video.

    Attributes:
        identity: see `file_identity`.
        playhead: decodes it.
        picture: converts its frames.

    Raises:
        DecodeError: any kind that opening the file or decoding its first frame can show.
    """

    def __init__(self, path: str, max_frame_px: int):
        self.identity = file_identity(path)
        self._descriptor = open_descriptor(path)
        self._container: Any = None  # PyAV's; None until it is open
        try:
            self._container = open_container(self._descriptor, max_frame_px)
            require_whole_index(self._descriptor)
            self._video = _pick_video(self._container)
            _require_size(self._video.codec_context, max_frame_px)
            self._audio = _single_threaded_audio(self._container)
            self.playhead = Playhead(self._container, self._video, self._audio, lambda: _stamps_of(path, self._video.index, max_frame_px))
            first = self.playhead.first
            if first is None:
                kind = "truncated" if is_cut_off(self._descriptor) else "decode_error"
                raise DecodeError(kind, "not one frame of the video can be decoded")
            _require_size(first, max_frame_px)
        except BaseException:
            self.close()
            raise
        self.picture = PictureWriter(first, self._video.sample_aspect_ratio)

    def close(self) -> None:
        """Gives the descriptor back; the object is of no use afterwards."""
        if self._container is not None:
            self._container.close()
        os.close(self._descriptor)

    @property
    def tick_s(self) -> float:
        """Resolution of the video's time stamps."""
        return float(self._video.time_base)

    @property
    def has_audio(self) -> bool:
        return self._audio is not None

    @property
    def declared_s(self) -> float | None:
        """Length of the video as the header says: the stream's own or, if that is shorter or unknown, what the container has from the first
        frame on."""
        lengths_s = (self._stream_s, self._container_s)
        return min((s for s in lengths_s if s is not None and s > 0), default=None)

    @property
    def _stream_s(self) -> float | None:
        if self._video.duration:
            return float(self._video.duration * self._video.time_base)
        parts = self._video.metadata.get("DURATION", "").split(":")  # Matroska: 00:01:02.345000000 is when the stream ends
        try:
            hours, minutes, seconds = (float(part) for part in parts)
        except ValueError:
            return None
        return hours * 3600 + minutes * 60 + seconds - self.playhead.zero_s

    @property
    def _container_s(self) -> float | None:
        if not self._container.duration:
            return None
        begin_s = 0.0 if "matroska" in self._container.format.name else (self._container.start_time or 0) / 1e6
        return begin_s + self._container.duration / 1e6 - self.playhead.zero_s

    @property
    def video_start_ms(self) -> float:
        """When the first frame is shown, after the container's time 0: where the earliest of its streams begins, as ffmpeg counts."""
        start_us = self._container.start_time
        return 0.0 if start_us is None else max(0.0, 1000 * self.playhead.zero_s - start_us / 1000)

    def info(self) -> dict[str, Any]:
        """The fields of `MediaInfo`."""
        height, width, _ = self.picture.shape
        return {
            "width_px": width,
            "height_px": height,
            "fps": float(self.playhead.grid.rate),
            "n_frames": self._video.frames or None,
            "duration_ms": 1000 * (self.declared_s or 0.0),
            "video_codec": self._video.codec_context.codec.canonical_name,
            "has_audio": self.has_audio,
            "audio_rate_hz": self._audio.codec_context.sample_rate if self._audio else None,
            "rotation_deg": self.picture.orientation.rotation_deg,
            "video_start_ms": self.video_start_ms,
        }

    def end_of_last(self, time_s: float, end_s: float) -> float:
        """When the file's last frame is over, which begins at `time_s` and is shown until `end_s` by its own account; muxers guess the
        length of the last frame, and the header may know better."""
        return min((s for s in (self._stream_s, self._container_s) if s is not None and time_s < s < end_s), default=end_s)

    def require_whole(self, end_s: float) -> None:
        """The file's last frame was over at `end_s`; raises if the header promised much more.

        Raises:
            DecodeError: truncated.
        """
        declared_s = self.declared_s
        if declared_s is None:
            return
        if self._stream_s is None:  # the length is the container's, and the sound may last longer than the video
            end_s = max(end_s, self.playhead.reached_s)
        if end_s < _MIN_COMPLETE_RATIO * declared_s and declared_s - end_s > max(_MIN_MISSING_S, 2 * self.playhead.frame_s):
            raise DecodeError("truncated", f"the video ends after {end_s:.1f} s of {declared_s:.1f} s")

    def require_undamaged(self) -> None:
        """Raises if too much of what the playhead read for the span was damaged.

        Raises:
            DecodeError: decode_error.
        """
        n_bad, n_packets = self.playhead.n_bad, self.playhead.n_packets
        if n_bad > _MAX_BAD_RATIO * max(1, n_packets):
            raise DecodeError("decode_error", f"{n_bad} of {n_packets} packets or frames of the video are damaged")


def file_identity(path: str) -> tuple:
    """Changes when the path names another file or its content was replaced; empty where there is none."""
    try:
        state = Path(path).stat()
    except (OSError, ValueError):
        return ()
    return (path, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)


def _stamps_of(path: str, stream: int, max_frame_px: int) -> np.ndarray:
    """Time stamps of the file's pictures, read through an opening of its own: not every format finds back to its beginning."""
    descriptor = open_descriptor(path)
    try:
        container = open_container(descriptor, max_frame_px)
        try:
            return read_stamps(container, container.streams[stream])
        finally:
            container.close()
    finally:
        os.close(descriptor)


def _pick_video(container: Any) -> Any:
    from av.stream import Disposition

    videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]  # a cover is no video
    if not videos:
        raise DecodeError("no_video_stream", "the file has no video stream")
    best = container.streams.best("video")
    video = best if best in videos else videos[0]
    if video.codec_context is None:
        raise DecodeError("decode_error", "there is no decoder for the video stream")
    video.codec_context.thread_count = 1
    video.codec_context.thread_type = "NONE"
    return video


def _single_threaded_audio(container: Any) -> Any | None:
    audio = pick_audio(container)
    if audio is not None:
        audio.codec_context.thread_count = 1
    return audio


def _require_size(sized: Any, max_frame_px: int) -> None:
    if sized.width * sized.height > max_frame_px:
        limit = f"at most {max_frame_px / 1e6:.1f} megapixels are decoded"
        raise DecodeError("too_large", f"frames of {sized.width}x{sized.height} px; {limit}")
