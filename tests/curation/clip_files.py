"""Small video files for the tests of the job: the astronaut's face, shifted a little from frame to frame, with a tone."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np


def astronaut(size_px: int) -> np.ndarray:
    """(size, size, 3) uint8 RGB: head and shoulders."""
    file = Path(importlib.util.find_spec("skimage").origin).parent / "data" / "astronaut.png"
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)[:320, 64:384]
    return cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)


def write_face_clip(path: Path, *, seed: int, n_frames: int = 25, size_px: int = 192, fps: int = 25, step_px: float = 1.0) -> None:
    """An H.264 + AAC file that shows a face; clips of different seeds move differently."""
    rng = np.random.default_rng(seed)
    base = astronaut(size_px)
    shifts = np.cumsum(rng.normal(0, step_px, (n_frames, 2)), axis=0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "threads": "1"})
        video.width = video.height = size_px
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for i, (dx, dy) in enumerate(shifts):
            moved = cv2.warpAffine(base, np.float32([[1, 0, dx], [0, 1, dy]]), (size_px, size_px), borderMode=cv2.BORDER_REPLICATE)
            frame = av.VideoFrame.from_ndarray(moved, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        n = 16000 * n_frames // fps
        tone = (8000 * np.sin(2 * np.pi * (200 + 20 * seed) * np.arange(n) / 16000)).astype(np.int16)
        for start in range(0, n, 1024):
            chunk = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="s16", layout="mono")
            chunk.sample_rate, chunk.pts, chunk.time_base = 16000, start, Fraction(1, 16000)
            container.mux(sound.encode(chunk))
        container.mux(sound.encode(None))


def face_clips(folder: Path, n_clips: int) -> Path:
    """`folder` with so many clips of a face, and one file that is no video."""
    for seed in range(n_clips):
        write_face_clip(folder / f"{seed:02d}.mp4", seed=seed)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder
