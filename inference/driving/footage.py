"""What drives: frames with landmarks and sound. A video, or one picture; a stored motion is `template.py`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from fractions import Fraction
from pathlib import Path

import numpy as np

from curation.contracts import Clip, ClipError, Faces, LandmarkBackend, MediaInfo
from curation.media import MediaReader
from inference.driving.contracts import MAX_FPS
from inference.driving.picture import read_picture
from inference.driving.reference import find_face
from manifests import UserError

_NTSC = [Fraction(n * 1000, 1001) for n in (24, 30, 60)]
_SAME_RATE = 1e-4  # relative; headers give 29.97 for 30000/1001


class VideoFootage:
    """A video file, decoded twice: once for landmarks and sound, once more for the pixels as they are asked for, so that memory does not
    grow with its length. A `Footage`.

    The frame grid is the file's own rate; a file with varying times between frames gets the frame that a player shows at each grid point.
    """

    def __init__(self, path: str | Path, backend: LandmarkBackend, progress: Callable[[int, int], None] | None = None):
        self.name = str(path)
        self._clip = Clip("driving", self.name, "", self.name)
        self._single: MediaReader | None = None  # single frames are asked for again and again: its decoder stays
        try:
            with MediaReader() as reader:
                info = reader.probe(self.name)
                own_fps = exact_rate(info.fps)
                self.fps = min(own_fps, Fraction(MAX_FPS))
                self.n_frames, faces, self.audio = self._located(reader, info, backend, progress)
        except ClipError as error:
            raise UserError(f"{path}: {error.message}") from None
        self.width_px, self.height_px = info.width_px, info.height_px
        self.points_px, self.n_faces = faces.points_px, faces.n_faces
        faster = f"{self.name}: {float(own_fps):.4g} frames a second, {MAX_FPS} are used"
        self.notes: tuple[str, ...] = (faster,) if own_fps > MAX_FPS else ()

    def _located(
        self, reader: MediaReader, info: MediaInfo, backend: LandmarkBackend, progress: Callable[[int, int], None] | None
    ) -> tuple[int, Faces, np.ndarray | None]:
        """Frames, the face on each, and the sound, of one pass over the file."""
        tracker = backend.track(self._clip, info)
        expected = round(info.duration_ms / 1000 * self.fps)
        n = 0
        with reader.read(self._clip, sample_hz=float(self.fps)) as stream:
            for frame in stream.frames():
                tracker.on_frame(frame)
                n += 1
                if progress is not None:
                    progress(n, max(n, expected))
            return n, tracker.finish(), stream.audio

    def frames(self) -> Generator[np.ndarray, None, None]:
        n = 0
        try:
            with MediaReader() as reader, reader.read(self._clip, sample_hz=float(self.fps), audio=False) as stream:
                for frame in stream.frames():
                    if n == self.n_frames:
                        break
                    n += 1
                    yield frame.rgb
        except ClipError as error:
            raise UserError(f"{self.name}: {error.message}") from None
        if n < self.n_frames:
            raise UserError(f"{self.name}: the file changed while it was read: {n} frames instead of {self.n_frames}")

    def frame(self, index: int) -> np.ndarray:
        if self._single is None:
            self._single = MediaReader()
        try:
            return self._single.pictures_at(self.name, [float(1000 * index / self.fps)])[0]
        except ClipError as error:
            raise UserError(f"{self.name}: {error.message}") from None

    def close(self) -> None:
        if self._single is not None:
            self._single.close()
            self._single = None


class StillFootage:
    """One picture, shown for a while. A `Footage`."""

    def __init__(self, path: str | Path, backend: LandmarkBackend, n_frames: int, fps: Fraction):
        if n_frames < 1:
            raise UserError(f"a still driver is shown for {n_frames} frames; it must be at least 1")
        self.name = str(path)
        self.notes: tuple[str, ...] = ()
        self._rgb = read_picture(path)
        self.height_px, self.width_px = self._rgb.shape[:2]
        points, n_faces = find_face(self._rgb, backend)
        points = np.full((68, 2), np.nan) if points is None else points
        self.fps, self.n_frames = Fraction(fps), n_frames
        self.points_px = np.tile(points.astype(np.float32), (n_frames, 1, 1))
        self.n_faces = np.full(n_frames, n_faces, np.int16)
        self.audio: np.ndarray | None = None

    def frames(self) -> Generator[np.ndarray, None, None]:
        for _ in range(self.n_frames):
            yield self._rgb

    def frame(self, index: int) -> np.ndarray:
        return self._rgb

    def close(self) -> None:
        pass


def exact_rate(fps: float) -> Fraction:
    """The rate that a rounded one stands for: 29.97 is 30000/1001, 23.976 is 24000/1001, 25.0001 is 25."""
    for rate in (*_NTSC, Fraction(max(1, round(fps)))):
        if abs(fps / rate - 1) < _SAME_RATE:
            return rate
    return Fraction(fps).limit_denominator(1001)
