"""What drives: frames with landmarks and sound. A video, or one picture; a stored motion is `template.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from curation.contracts import Clip, ClipError, Faces, Frame, LandmarkBackend, MediaInfo
from curation.media import MediaReader
from curation.media.timing import exact_rate
from inference.driving.contracts import MAX_FPS
from inference.driving.picture import animated_frames, is_named_picture, is_picture, read_picture
from inference.driving.reference import find_face
from manifests import UserError

_LARGEST_PX, _MOST_PICTURES = 720, 1500  # of pictures that are kept in memory: a minute at 25 a second, 2.3 GB at most
_LONGEST_S = 600.0  # of an animated picture: 1,500 frames may say that they last for years


class VideoFootage:
    """A video file, decoded twice: once for landmarks and sound, once more for the pixels as they are asked for, so that memory does not
    grow with its length. A `Footage`.

    The frame grid is the file's own, as its time stamps give it (`curation.media.timing`).
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


class PicturesFootage:
    """Pictures that follow each other: an animated GIF, WebP or PNG, or a folder of pictures in the order of their names. A `Footage`.

    An animated picture whose frames last equally long keeps its rate, others are shown on a grid of `fps`; so are folders. All frames are
    in memory, at most `_LARGEST_PX` a side.

    Raises:
        UserError: no pictures, of several sizes, or too many; one line that begins with the path.
    """

    def __init__(self, path: str | Path, backend: LandmarkBackend, fps: Fraction):
        self.name = str(path)
        self.notes: tuple[str, ...] = ()
        if Path(path).is_dir():
            files = _pictures_in(Path(path))
            self._rgb, self.fps, self.notes = _of_files(Path(path), files), fps, _gaps(Path(path), files)
        else:
            self._rgb, self.fps = _of_animation(path, fps)
        self.n_frames = len(self._rgb)
        self.height_px, self.width_px = self._rgb[0].shape[:2]
        duration_ms = 1000.0 * self.n_frames / float(self.fps)
        info = MediaInfo(self.width_px, self.height_px, float(self.fps), self.n_frames, duration_ms, "", False, None)
        tracker = backend.track(Clip("driving", self.name, "", self.name), info)
        for index, rgb in enumerate(self._rgb):
            tracker.on_frame(Frame(index, float(1000 * index / self.fps), rgb))
        faces = tracker.finish()
        self.points_px, self.n_faces = faces.points_px, faces.n_faces
        self.audio: np.ndarray | None = None

    def frames(self) -> Generator[np.ndarray, None, None]:
        yield from self._rgb

    def frame(self, index: int) -> np.ndarray:
        return self._rgb[index]

    def close(self) -> None:
        pass


def _pictures_in(folder: Path) -> list[Path]:
    """A folder's pictures in the order of their numbers; of other files none, but for those that are named as pictures: a damaged one is no
    frame to leave out in silence."""
    files = [file for file in sorted(folder.iterdir(), key=_by_number) if file.is_file() and not file.name.startswith(".")]
    pictures = [file for file in files if is_picture(file) or is_named_picture(file)]
    if not pictures:
        raise UserError(f"{folder}: no pictures in this folder")
    if len(pictures) > _MOST_PICTURES:
        raise UserError(f"{folder}: {len(pictures)} pictures; make a video of more than {_MOST_PICTURES:,}")
    return pictures


def _of_files(folder: Path, files: list[Path]) -> list[np.ndarray]:
    frames: list[np.ndarray] = []
    for file in files:
        frames.append(_no_larger(read_picture(file)))
        if frames[-1].shape != frames[0].shape:
            raise UserError(f"{folder}: its pictures have several sizes, {file.name} another than {files[0].name}")
    return frames


def _gaps(folder: Path, files: list[Path]) -> tuple[str, ...]:
    """A line where pictures that are numbered one by one lack some."""
    numbers = [int(found[-1]) for file in files if (found := re.findall(r"\d+", file.stem))]
    steps = np.diff(np.array(numbers, dtype=object)) if len(numbers) == len(files) else np.zeros(0)
    odd = np.flatnonzero(steps != np.min(steps)) if len(steps) else steps
    if not len(odd) or np.min(steps) < 1:
        return ()
    first = int(odd[0])
    return (f"{folder}: its numbers jump from {numbers[first]} to {numbers[first + 1]}: what is missing is left out, not waited for",)


def _of_animation(path: str | Path, fps: Fraction) -> tuple[list[np.ndarray], Fraction]:
    frames: list[np.ndarray] = []
    durations_ms: list[float] = []
    for rgb, duration_ms in animated_frames(path):
        if len(frames) == _MOST_PICTURES:
            raise UserError(f"{path}: more than {_MOST_PICTURES:,} frames; make a video of it (ffmpeg -i IN.gif OUT.mp4)")
        frames.append(_no_larger(rgb))
        durations_ms.append(duration_ms)
    if len(set(durations_ms)) == 1 and durations_ms[0] >= 1000 / MAX_FPS and durations_ms[0] <= 1000:
        return frames, Fraction(1000) / Fraction(durations_ms[0]).limit_denominator(1000)
    ends_ms = np.cumsum(durations_ms)
    if ends_ms[-1] > 1000 * _LONGEST_S:
        raise UserError(f"{path}: it lasts {ends_ms[-1] / 1000:,.0f} s, at most {_LONGEST_S:.0f} s of an animated picture are read")
    shown = np.arange(max(1, round(ends_ms[-1] / 1000 * float(fps)))) * float(1000 / fps)
    return [frames[k] for k in np.searchsorted(ends_ms[:-1], shown + 0.5, side="right")], fps


def _by_number(path: Path) -> list[Any]:
    """frame2 before frame10."""
    parts = re.split(r"(\d+)", path.name)  # text, digits, text, ...
    return [int(part) if place % 2 else part.lower() for place, part in enumerate(parts)]


def _no_larger(rgb: np.ndarray) -> np.ndarray:
    import cv2

    scale = _LARGEST_PX / max(rgb.shape[:2])
    return rgb if scale >= 1 else cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
