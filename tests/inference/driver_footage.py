"""Drivers made on the spot: a picture of a face-like pattern that moves by a known motion, with its landmarks known."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from curation.contracts import Clip, Faces, Frame, MediaInfo
from curation.face_crop import transform_points
from curation.landmarks.sixty_eight import LEFT_EYE, LIPS, RIGHT_EYE
from inference.driving.amplitude import Motion
from tests.faults import numbered_picture, tone

SIZE = 128


def face_points(centre=(SIZE / 2, SIZE / 2), unit=24.0) -> np.ndarray:
    """(68, 2) points of a plain frontal face, `unit` px between the eye centres."""
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([np.cos(angle), 1.2 * np.sin(angle)], axis=1)
    points[27:31] = [[0, -0.25], [0, -0.05], [0, 0.15], [0, 0.3]]
    points[31:36] = [[-0.25, 0.35], [-0.12, 0.4], [0, 0.42], [0.12, 0.4], [0.25, 0.35]]
    for side, eye in ((-0.5, RIGHT_EYE), (0.5, LEFT_EYE)):
        turn = np.linspace(np.pi, 3 * np.pi, 6, endpoint=False)
        points[eye] = np.stack([side + 0.22 * np.cos(turn), -0.3 + 0.08 * np.sin(turn)], axis=1)
    turn = np.linspace(np.pi, 3 * np.pi, 20, endpoint=False)
    points[LIPS] = np.stack([0.4 * np.cos(turn), 0.75 + 0.15 * np.sin(turn)], axis=1)
    return unit * points + centre


def nodding(n_frames: int) -> np.ndarray:
    """(F, 2, 3) maps of a head that rolls, shifts and zooms a little; at rest in the first frame."""
    t = np.arange(n_frames) / 10
    scale = np.repeat((1 + 0.05 * np.sin(t))[:, None], 2, axis=1)
    shift = np.stack([6 * np.sin(t), 4 * np.sin(0.7 * t)], axis=1)
    return Motion(0.2 * np.sin(t), np.zeros(n_frames), scale, shift, np.array([SIZE / 2, SIZE / 2])).matrices()


def write_video(path: Path, rate: Fraction, n_frames: int) -> None:
    """A video of numbered pictures with a tone, as encoders usually write it."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(n_frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(numbered_picture(number, SIZE, SIZE), format="rgb24")))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(tone(round(16000 * n_frames / rate))[None], format="s16", layout="mono")
        sound.sample_rate = 16000
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


class PlantedFootage:
    """A `Footage`: every frame's pixels depend on its number, its landmarks are planted. Counts how often it was decoded."""

    def __init__(self, n_frames=40, fps=Fraction(25), missing=(), several=(), matrices=None, audio=None):
        self.name, self.notes = "planted", ()
        self.fps, self.n_frames, self.audio = fps, n_frames, audio
        self.width_px = self.height_px = SIZE
        matrices = nodding(n_frames) if matrices is None else matrices
        self.points_px = np.stack([transform_points(face_points(), m) for m in matrices]).astype(np.float32)
        self.points_px[list(missing)] = np.nan
        self.n_faces = np.ones(n_frames, np.int16)
        self.n_faces[list(missing)] = 0
        self.n_faces[list(several)] = 2
        self.n_passes = 0
        self.n_decoded = 0

    def frame(self, index: int) -> np.ndarray:
        y, x = np.mgrid[:SIZE, :SIZE]
        return np.stack([(3 * x + index) % 251 + 1, (5 * y + 2 * index) % 251 + 1, (x + y + 7 * index) % 251 + 1], axis=-1).astype(np.uint8)

    def frames(self) -> Iterator[np.ndarray]:
        self.n_passes += 1
        for index in range(self.n_frames):
            self.n_decoded += 1
            yield self.frame(index)


class PlantedBackend:
    """A landmark backend that sees `points` on every frame, but for those in `missing`."""

    name = "planted-1"

    def __init__(self, points: np.ndarray | None = None, missing=(), n_faces: int = 1):
        self.points = face_points() if points is None else points
        self.missing, self.n_faces = frozenset(missing), n_faces

    def track(self, clip: Clip, info: MediaInfo) -> PlantedTracker:
        return PlantedTracker(self)


class PlantedTracker:
    def __init__(self, backend: PlantedBackend):
        self._backend = backend
        self._times: list[float] = []

    def on_frame(self, frame: Frame) -> None:
        self._times.append(frame.time_ms)

    def finish(self) -> Faces:
        n = len(self._times)
        points = np.tile(self._backend.points.astype(np.float32), (n, 1, 1))
        missing = [i for i in range(n) if i in self._backend.missing]
        points[missing] = np.nan
        counts = np.full(n, self._backend.n_faces, np.int16)
        counts[missing] = 0
        return Faces(np.array(self._times), counts, points, np.isfinite(points[..., 0]).astype(np.float32))
