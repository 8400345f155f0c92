"""Frames and sound into an mp4: H.264 and AAC by the libraries that the `av` wheel carries, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from curation.contracts import AUDIO_RATE_HZ

FPS = 25


def write_mp4(path: Path, frames: Iterable[np.ndarray], audio: np.ndarray | None, crf: int = 18) -> None:
    """Write a clip.

    Args:
        path: a file of this name is overwritten.
        frames: (H, W, 3) uint8 RGB, all of one even size, at 25 a second.
        audio: (N,) int16 mono at 16 kHz starting with the first frame, or None for a file without an audio stream.
        crf: quality of x264, lower is better.
    """
    import av

    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        video = container.add_stream("libx264", rate=FPS)
        video.pix_fmt = "yuv420p"
        video.thread_count = 1
        video.options = {"preset": "superfast", "crf": str(crf), "g": "50", "flags": "+bitexact"}
        sound = None
        if audio is not None:
            sound = container.add_stream("aac", rate=AUDIO_RATE_HZ, layout="mono")
            sound.bit_rate = 64_000
            sound.options = {"flags": "+bitexact"}
        for index, rgb in enumerate(frames):
            if index == 0:
                video.height, video.width = rgb.shape[:2]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            _mux_sound(container, sound, audio)


def _mux_sound(container: Any, sound: Any, audio: np.ndarray) -> None:
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio)[None], format="s16", layout="mono")
    frame.sample_rate = AUDIO_RATE_HZ
    frame.pts, frame.time_base = 0, Fraction(1, AUDIO_RATE_HZ)
    container.mux(sound.encode(frame))
    container.mux(sound.encode())
