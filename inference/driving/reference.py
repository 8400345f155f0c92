"""The portrait: read, its face found, cut out as the model sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from curation.contracts import Clip, ClipError, Frame, LandmarkBackend, MediaInfo
from curation.face_crop import HEAD_SCALE, clip_square, crop_matrix, transform_points, warp
from inference.driving.picture import is_file, is_picture, read_picture
from manifests import UserError

SEVERAL = ("largest", "error")
MIN_FACE_PX = 32  # longer side of the landmark box: below it the landmarks are guesses, and the crop is mostly enlargement


@dataclass(frozen=True)
class Reference:
    """A portrait and its crop.

    Attributes:
        rgb: (H, W, 3) uint8, the whole picture.
        points_px: (68, 2) float64 landmarks on it.
        square: (3,) centre_x, centre_y, side of the crop, see `curation.face_crop`.
        size_px: side of the crop as the model sees it.
        notes: lines for the user about what was chosen.
        scale: side of the crop over the longer side of the landmark box.
    """

    rgb: np.ndarray
    points_px: np.ndarray
    square: np.ndarray
    size_px: int
    notes: tuple[str, ...] = ()
    scale: float = HEAD_SCALE

    def around(self, points_px: np.ndarray) -> Reference:
        """The same portrait, cut by the square of a clip in which its face goes where (T, 68, 2) `points_px` (on the picture) say.

        A model is trained on crops of whole clips (`clip_square`): the head moves about their middle. A crop about the portrait's own face
        would show the model heads where it never saw any.
        """
        return replace(self, square=clip_square(points_px, self.scale))

    @cached_property
    def matrix(self) -> np.ndarray:
        """(2, 3) float64, picture px to crop px."""
        return crop_matrix(self.square, self.size_px)

    @cached_property
    def crop(self) -> np.ndarray:
        """(S, S, 3) uint8."""
        return warp(self.rgb, self.matrix, self.size_px)

    @cached_property
    def crop_points_px(self) -> np.ndarray:
        """(68, 2) landmarks on the crop."""
        return transform_points(self.points_px, self.matrix)


def load_reference(
    picture: str | Path | np.ndarray,
    backend: LandmarkBackend,
    size_px: int,
    scale: float = HEAD_SCALE,
    several: str = "largest",
) -> Reference:
    """Reads a portrait and finds its face.

    Args:
        picture: a file (of a video the first frame is taken), or (H, W, 3) uint8 RGB.
        backend: finds the landmarks (`curation.landmarks.make_backend`).
        size_px: side of the crop.
        scale: side of the crop over the longer side of the landmark box.
        several: what to do with several faces: take the `largest` and say so, or `error`.

    Raises:
        UserError: the file cannot be read, there is no face, it is too small, or there are several and that is an error; one line.
    """
    if several not in SEVERAL:
        raise UserError(f"several is {several!r}; it must be one of {', '.join(SEVERAL)}")
    name = str(picture) if isinstance(picture, str | Path) else "the portrait"
    rgb = read_portrait(picture) if isinstance(picture, str | Path) else _checked(picture)
    points, n_faces = find_face(rgb, backend)
    if points is None:
        raise UserError(f"{name}: no face found; the portrait must show one, from the front and not cut off")
    notes: tuple[str, ...] = ()
    if n_faces > 1:
        if several == "error":
            raise UserError(f"{name}: {n_faces} faces; cut the picture to one")
        notes = (f"{name}: {n_faces} faces, the largest is animated",)
    face_px = float(np.ptp(points, axis=0).max())
    if face_px < MIN_FACE_PX:
        raise UserError(f"{name}: the face is {face_px:.0f} px large; at least {MIN_FACE_PX} px are needed: take a larger picture")
    return Reference(rgb, points, clip_square(points[None], scale), size_px, notes, scale)


def find_face(rgb: np.ndarray, backend: LandmarkBackend) -> tuple[np.ndarray | None, int]:
    """The largest face of a still (H, W, 3) uint8 picture: its (68, 2) float64 points, None without one; and how many faces there are."""
    height, width = rgb.shape[:2]
    info = MediaInfo(width, height, fps=1.0, n_frames=1, duration_ms=1000.0, video_codec="", has_audio=False, audio_rate_hz=None)
    tracker = backend.track(Clip("portrait", "portrait", "", ""), info)
    tracker.on_frame(Frame(0, 0.0, rgb))
    faces = tracker.finish()
    if not faces.seen[0]:
        return None, 0
    return faces.points_px[0].astype(np.float64), int(faces.n_faces[0])


def read_portrait(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8: the picture, or the first frame of a video.

    Raises:
        UserError: neither; one line.
    """
    if is_picture(path) or not is_file(path):
        return read_picture(path)
    from curation.media import random_frames

    try:
        return np.array(random_frames(str(path), [0.0])[0])
    except ClipError as error:
        raise UserError(f"{path}: neither a picture nor a video that can be read: {error.message}") from None


def _checked(rgb: np.ndarray) -> np.ndarray:
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise UserError("the portrait must be a file or an (H, W, 3) uint8 RGB array")
    return rgb
