"""Frames and sound into an mp4, picture by picture: H.264 at 25 a second and 16 kHz mono, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from curation.contracts import AUDIO_RATE_HZ
from curation.materialise.settings import FPS, MaterialiseSettings

_SAMPLES_PER_FRAME = AUDIO_RATE_HZ // FPS
_AAC_BITS_PER_S = 64_000  # speech in mono at 16 kHz loses nothing that is heard
# Players assume BT.709 from 720 lines on and BT.601 below, and not all read the label: (matrix, its label, primaries, transfer).
_HD_HEIGHT_PX = 720
_BT601, _BT709 = ("ITU601", 6, 6, 6), ("ITU709", 1, 1, 1)


def write_clip(path: Path, frames: Iterable[np.ndarray], audio: np.ndarray | None, settings: MaterialiseSettings) -> int:
    """Write a clip; returns the number of frames.

    The first picture and the first sample of the sound begin together: the delay of the AAC encoder is in the file's edit list. Sound and
    picture are interleaved as they come, so that memory does not grow with the clip.

    Args:
        path: a file of this name is overwritten, whatever its suffix; it is an mp4.
        frames: (S, S, 3) uint8 RGB, S = settings.size_px; one frame lasts 40 ms.
        audio: (N,) int16 mono at 16 kHz starting with the first frame, or None for a file without an audio stream. It is cut or padded
            with zeros to the length of the frames.
    """
    import av

    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        video = _video_stream(container, settings)
        sound = None if audio is None else _Sound(container, audio, settings.audio_codec)
        matrix = _colours(settings)[0]
        n_frames = 0
        for rgb in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
                format="yuv420p", dst_colorspace=matrix, threads=1
            )
            frame.pts, frame.time_base = n_frames, Fraction(1, FPS)
            container.mux(video.encode(frame))
            n_frames += 1
            if sound is not None:
                sound.write_until(n_frames * _SAMPLES_PER_FRAME)
        container.mux(video.encode(None))
        if sound is not None:
            sound.finish()
    return n_frames


def _colours(settings: MaterialiseSettings) -> tuple[str, int, int, int]:
    return _BT709 if settings.size_px >= _HD_HEIGHT_PX else _BT601


def _video_stream(container: Any, settings: MaterialiseSettings) -> Any:
    # flags=+bitexact leaves the library's version out of the file; a clip is one core's work, more cores take more clips.
    options = {"preset": settings.x264_preset, "crf": str(settings.crf), "g": str(settings.key_every_frames), "flags": "+bitexact"}
    video = container.add_stream("libx264", rate=FPS, options=options)
    context = video.codec_context
    context.width = context.height = settings.size_px
    context.pix_fmt = "yuv420p"
    context.thread_count = 1
    _, context.colorspace, context.color_primaries, context.color_trc = _colours(settings)
    context.color_range = 1  # limited
    return video


class _Sound:
    """The audio stream of a file that is being written."""

    def __init__(self, container: Any, audio: np.ndarray, codec: str):
        self._container, self._audio, self._at, self._wanted = container, audio, 0, 0
        self._stream = container.add_stream(codec, rate=AUDIO_RATE_HZ, layout="mono", options={"flags": "+bitexact"})
        if codec == "aac":
            self._stream.codec_context.bit_rate = _AAC_BITS_PER_S
        self._chunk = 1024

    def write_until(self, n_samples: int) -> None:
        """Hand over whole chunks of the first `n_samples`."""
        self._wanted = n_samples
        while self._at + self._chunk <= n_samples:
            self._write(self._chunk)

    def finish(self) -> None:
        """Hand over the rest and close the stream."""
        if self._at < self._wanted:
            self._write(self._wanted - self._at)
        self._container.mux(self._stream.encode(None))

    def _write(self, n_samples: int) -> None:
        import av

        samples = self._audio[self._at : self._at + n_samples]
        samples = np.pad(samples, (0, n_samples - len(samples)))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE_HZ, self._at, Fraction(1, AUDIO_RATE_HZ)
        self._container.mux(self._stream.encode(frame))
        self._at += n_samples
