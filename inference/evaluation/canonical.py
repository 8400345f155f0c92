"""One form for every video before anything is measured: 25 fps, one face square, one size, RGB from 0 to 255, sound at 16 kHz.

What was done to a video is recorded, never silent. A result of another length than the real clip is a failure: a method that drops or adds
frames has not answered the pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from curation.contracts import AUDIO_RATE_HZ, Clip, ClipError, Faces, Frame, LandmarkBackend, MediaInfo
from curation.face_crop import NoFaceError, clip_square, crop_matrix, transform_points, warp
from curation.media import MediaReader
from manifests import UserError

CANONICAL_HZ = 25.0
SIZE_PX = 512
SMALLEST_PX = 128  # x264, which the re-encoded control goes through, gives other bytes every time for smaller pictures
LONGEST_MS = 10_000
LENGTH_TOLERANCE_FRAMES = 2  # encoders round a clip's last frames; more is a failure
HEADER_TOLERANCE_S = 0.25  # of clips longer than the judged part only the lengths in the headers are known
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SAME_SHAPE = 0.01  # aspect ratios this close are one picture at another size
HEARD = 4  # a sound whose largest sample is smaller (-78 dB) is silence: digital zeros, as encoders give them back
_ALIGN_FRAMES = 25  # a face square is compared over the first second, in which heads have moved least


class AnswerError(Exception):
    """A method's video that cannot be judged: a failed pair. `kind` is one of `manifests.ERROR_KINDS`, `length_mismatch` or `no_face`."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class CanonicalClip:
    """A clip in canonical form.

    Attributes:
        frames: (T, S, S, 3) uint8 RGB at 25 fps.
        audio: (N,) int16 mono at 16 kHz, sample 0 at frame 0; None without an audio stream.
        faces: landmarks at the frames' times, in canonical px.
        matrix: (2, 3), picture px to canonical px.
        info: of the file.
        record: what was done: `source_fps`, `source_px`, `crop` (whole, face square, real's square, aligned by face), and of an answer
            `frames_off`, by how many frames it is longer than the real clip (within the tolerance; shorter is negative).
    """

    frames: np.ndarray
    audio: np.ndarray | None
    faces: Faces
    matrix: np.ndarray
    info: MediaInfo
    record: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def sound(self) -> np.ndarray | None:
        """`audio` where there is something to hear; None for no audio stream and for silence, of which lip sync says nothing."""
        return None if self.audio is None or not (np.abs(self.audio.astype(np.int32)) >= HEARD).any() else self.audio

    def first(self, n_frames: int) -> CanonicalClip:
        """The first frames and the sound that belongs to them."""
        faces = self.faces
        cut = Faces(faces.times_ms[:n_frames], faces.n_faces[:n_frames], faces.points_px[:n_frames], faces.confidence[:n_frames])
        audio = None if self.audio is None else self.audio[: round(n_frames * AUDIO_RATE_HZ / CANONICAL_HZ)]
        return replace(self, frames=self.frames[:n_frames], audio=audio, faces=cut)


@dataclass
class Canonicaliser:
    """Reads videos into canonical form. Holds a landmark backend and a decoding child; use it as a context.

    Args:
        backend: finds the landmarks.
        size_px: side of the canonical square.
        longest_ms: only the first so many ms are judged, which bounds the memory: 197 MB for 10 s at 512 px.
    """

    backend: LandmarkBackend
    size_px: int = SIZE_PX
    longest_ms: int = LONGEST_MS

    def __post_init__(self) -> None:
        self._reader = MediaReader()

    def __enter__(self) -> Canonicaliser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the decoding child."""
        self._reader.close()

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the result, for cache keys."""
        return {"hz": CANONICAL_HZ, "size_px": self.size_px, "longest_ms": self.longest_ms, "landmarks": self.backend.name, "version": 1}

    def real(self, path: str | Path) -> CanonicalClip:
        """A real clip. A square picture is a face crop already and taken whole; of any other the face's square is cut, fixed over the clip.

        Raises:
            AnswerError: it cannot be decoded, or shows no face.
        """

        def choose(info: MediaInfo, faces: Callable[[], Faces]) -> tuple[np.ndarray, str]:
            if abs(info.width_px / info.height_px - 1) <= SAME_SHAPE:
                return _whole(info, self.size_px), "whole"
            try:
                return crop_matrix(clip_square(faces().points_px), self.size_px), "face square"
            except NoFaceError as error:
                raise AnswerError("no_face", str(error)) from error

        return self._read(Path(path), choose)

    def still(self, path: str | Path) -> CanonicalClip:
        """A reference as a clip of one frame: a picture, or frame 0 of a video. Square pictures are taken whole, of others the face is cut.

        Raises:
            AnswerError: it cannot be read, or shows no face to cut.
        """
        import cv2

        path = Path(path)
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            return self.real(path).first(1)
        try:
            picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
        except (OSError, cv2.error) as error:
            raise AnswerError("unreadable", f"{path}: {getattr(error, 'strerror', None) or 'no picture'}") from error
        if picture is None:
            raise AnswerError("not_a_video", f"{path} is no picture that can be decoded")
        height, width = picture.shape[:2]
        info = MediaInfo(width, height, CANONICAL_HZ, 1, 1000 / CANONICAL_HZ, "picture", False, None)
        tracker = self.backend.track(Clip("evaluation", path.name, path.name, str(path)), info)
        tracker.on_frame(Frame(0, 0.0, picture))
        faces = tracker.finish()
        if abs(width / height - 1) <= SAME_SHAPE:
            matrix = _whole(info, self.size_px)
        elif faces.seen[0]:
            matrix = crop_matrix(clip_square(faces.points_px), self.size_px)
        else:
            raise AnswerError("no_face", f"{path} shows no face to cut")
        canonical = replace(faces, points_px=transform_points(faces.points_px, matrix).astype(np.float32))
        return CanonicalClip(warp(picture, matrix, self.size_px)[None], None, canonical, matrix, info)

    def answer(self, path: str | Path, real: CanonicalClip) -> CanonicalClip:
        """A method's video, cropped as the real clip was and as long. A picture of another shape than the real one is a crop of the
        method's own, and is laid over the real clip by the faces of the first second (size and place; never turned).

        Raises:
            AnswerError: it cannot be decoded, has another length than the real clip, or is a crop that shows no face.
        """

        def choose(info: MediaInfo, faces: Callable[[], Faces]) -> tuple[np.ndarray, str]:
            wide, high = real.info.width_px / info.width_px, real.info.height_px / info.height_px
            if abs(wide / high - 1) <= SAME_SHAPE:
                return real.matrix * np.array([wide, high, 1.0]), "real's square"
            return _laid_over(faces().points_px[:_ALIGN_FRAMES], real.faces.points_px[:_ALIGN_FRAMES]), "aligned by face"

        clip = self._read(Path(path), choose)
        frames_off = len(clip) - len(real)
        if abs(frames_off) > LENGTH_TOLERANCE_FRAMES:
            raise AnswerError("length_mismatch", f"{len(clip)} frames at 25 fps where the real clip has {len(real)}")
        seconds, real_seconds = clip.info.duration_ms / 1000, real.info.duration_ms / 1000
        if real.info.duration_ms > self.longest_ms and abs(seconds - real_seconds) > HEADER_TOLERANCE_S:
            raise AnswerError("length_mismatch", f"{seconds:.2f} s where the real clip has {real_seconds:.2f} s")
        cut = clip.first(min(len(clip), len(real)))
        return replace(cut, record={**cut.record, "frames_off": frames_off})

    def sought_anew(self, clip: CanonicalClip) -> CanonicalClip:
        """The clip with the faces that are found on its canonical frames, as those of an answer are found in its file."""
        size_px, n_frames = clip.frames.shape[1], len(clip)
        info = MediaInfo(size_px, size_px, CANONICAL_HZ, n_frames, 1000 * n_frames / CANONICAL_HZ, "canonical", False, None)
        tracker = self.backend.track(Clip("evaluation", "canonical", "canonical", ""), info)
        for index, rgb in enumerate(clip.frames):
            tracker.on_frame(Frame(index, 1000 * index / CANONICAL_HZ, rgb))
        return replace(clip, faces=tracker.finish())

    def _read(self, path: Path, choose: Callable[[MediaInfo, Callable[[], Faces]], tuple[np.ndarray, str]]) -> CanonicalClip:
        """Decodes once where the crop is known from the picture's size alone, twice where it needs the faces."""
        try:
            info = self._reader.probe(str(path))
            end_ms = self.longest_ms if info.duration_ms > self.longest_ms else None
            clip = Clip("evaluation", path.name, path.name, str(path), 0, end_ms)
            found: list[Faces] = []

            def faces() -> Faces:
                found.append(_tracked(self._pass(clip, info, None)[1]))
                return found[0]

            matrix, crop = choose(info, faces)
            frames, tracked, audio = self._pass(clip, info, matrix, track=not found)
        except ClipError as error:
            raise AnswerError(error.kind, error.message) from error
        seen = found[0] if found else _tracked(tracked)
        canonical = replace(seen, points_px=transform_points(seen.points_px, matrix).astype(np.float32))
        record = {"source_fps": info.fps, "source_px": [info.width_px, info.height_px], "crop": crop}
        return CanonicalClip(np.stack(frames), audio, canonical, matrix, info, record)

    def _pass(
        self, clip: Clip, info: MediaInfo, matrix: np.ndarray | None, *, track: bool = True
    ) -> tuple[list[np.ndarray], Faces | None, np.ndarray | None]:
        """One decode: crops if there is a matrix, landmarks if asked for, sound."""
        tracker = self.backend.track(clip, info) if track else None
        frames: list[np.ndarray] = []
        with self._reader.read(clip, sample_hz=CANONICAL_HZ) as stream:
            for frame in stream.frames():
                if tracker is not None:
                    tracker.on_frame(frame)
                if matrix is not None:
                    frames.append(warp(frame.rgb, matrix, self.size_px))
            audio = stream.audio
        return frames, tracker.finish() if tracker else None, audio


def _tracked(faces: Faces | None) -> Faces:
    assert faces is not None  # the pass was asked for them
    return faces


def check_settings(size_px: int, longest_ms: int) -> None:
    """Raises `UserError` for sizes that no metric can use."""
    if size_px < SMALLEST_PX or size_px % 8:
        raise UserError(f"the canonical size is {size_px} px; it must be a multiple of 8, at least {SMALLEST_PX}")
    if longest_ms < 1000:
        raise UserError(f"the longest judged part is {longest_ms} ms; it must be at least 1000")


def _whole(info: MediaInfo, size_px: int) -> np.ndarray:
    return np.array([[size_px / info.width_px, 0.0, 0.0], [0.0, size_px / info.height_px, 0.0]])


def _laid_over(ours_px: np.ndarray, real_px: np.ndarray) -> np.ndarray:
    """(2, 3) scale and shift that lays the median face box of one clip over that of another."""
    boxes = []
    for name, points in (("answer", ours_px), ("real clip", real_px)):
        seen = points[np.isfinite(points).all(axis=(1, 2))]
        if not len(seen):
            raise AnswerError("no_face", f"the {name} shows no face in its first second, by which its crop could be found")
        boxes.append((np.median(seen.min(axis=1), axis=0), np.median(seen.max(axis=1), axis=0)))
    (ours_low, ours_high), (real_low, real_high) = boxes
    zoom = float(np.sqrt(np.prod(real_high - real_low) / np.prod(ours_high - ours_low)))
    shift = (real_low + real_high) / 2 - zoom * (ours_low + ours_high) / 2
    return np.array([[zoom, 0.0, shift[0]], [0.0, zoom, shift[1]]])
