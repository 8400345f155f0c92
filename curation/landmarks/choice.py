"""Of the tracks of a clip: which face is the main one, and how many people there are on each frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from curation.contracts import Faces
from curation.landmarks import sixty_eight
from curation.landmarks.tracking import box_size_px

_MIN_DETECTED = 2  # a face that the detector saw only once, in a clip with more looks, is taken for an accident


class FacePath(Protocol):
    """One face over the frames on which it was seen.

    Attributes:
        frames: n indices of sampled frames, ascending.
        points_px: (68, 2) a frame.
        n_detected: on how many frames a detector, looking afresh, found it.
        confidence: (n, 1) or (n, 68) in 0..1.
        boxes_px: (n, 4) boxes of the points.
    """

    frames: list[int]
    n_detected: int

    @property
    def points_px(self) -> list[np.ndarray]: ...

    @property
    def confidence(self) -> np.ndarray: ...

    @property
    def boxes_px(self) -> np.ndarray: ...


P = TypeVar("P", bound=FacePath)


def main_paths(tracks: Sequence[P], n_frames: int, face_box_px: tuple[float, float, float, float] | None) -> tuple[list[P], list[P]]:
    """All faces that are no accident, and of these the main face's: paths whose lives do not overlap, most important first.

    A path's importance is the sum, over its frames, of the face's size; with `face_box_px`, of its share within that box.
    """
    kept = [t for t in tracks if t.n_detected >= _MIN_DETECTED or len(t.frames) == n_frames]
    weights = [float((box_size_px(t.boxes_px) * _share_within(t.boxes_px, face_box_px)).sum()) for t in kept]
    taken = np.zeros(n_frames, bool)
    main: list[P] = []
    for index in sorted(range(len(kept)), key=lambda i: -weights[i]):
        life = slice(kept[index].frames[0], kept[index].frames[-1] + 1)
        if weights[index] > 0 and not taken[life].any():
            taken[life] = True
            main.append(kept[index])
    return kept, main


def choose_faces(
    tracks: Sequence[FacePath],
    times_ms: np.ndarray,
    frame_size_px: tuple[int, int],
    face_box_px: tuple[float, float, float, float] | None,
    min_relative_size: float,
) -> Faces:
    """The main face's points and the count of faces, from all tracks of a clip.

    The main face is the track with the largest sum, over its frames, of the face's size; with `face_box_px`, of its share within that box.
    Where it is absent (before or after a cut), the best track whose life does not overlap the chosen ones' fills in, so that the points
    never jump from one person to another who is there at the same time.
    """
    n_frames = len(times_ms)
    points_px = np.full((n_frames, sixty_eight.N_POINTS, 2), np.nan, np.float32)
    confidence = np.zeros((n_frames, sixty_eight.N_POINTS), np.float32)
    n_faces = np.zeros(n_frames, np.int16)
    kept, main = main_paths(tracks, n_frames, face_box_px)
    main_size = np.full(n_frames, np.nan)
    for track in main:
        points = np.stack(track.points_px)
        points_px[track.frames] = points
        confidence[track.frames] = track.confidence * _inside(points, frame_size_px)
        main_size[track.frames] = box_size_px(track.boxes_px)
    # Where the main face is lost for a moment, others are compared with its usual size.
    usual = np.nanmedian(main_size) if np.isfinite(main_size).any() else 0.0
    reference = np.where(np.isfinite(main_size), main_size, usual)
    for track in kept:
        frames = np.array(track.frames)
        n_faces[frames[box_size_px(track.boxes_px) >= min_relative_size * reference[frames]]] += 1
    return Faces(times_ms, n_faces, points_px, confidence)


def _share_within(boxes_px: np.ndarray, face_box_px: tuple[float, float, float, float] | None) -> np.ndarray:
    """(n,) share of each box's area that lies within the source's box; 1 without one."""
    if face_box_px is None:
        return np.ones(len(boxes_px))
    limits = np.asarray(face_box_px, np.float64)
    sides = np.minimum(boxes_px[:, 2:], limits[2:]) - np.maximum(boxes_px[:, :2], limits[:2])
    areas = np.prod(np.maximum(boxes_px[:, 2:] - boxes_px[:, :2], 1e-6), axis=1)
    return np.prod(np.maximum(sides, 0), axis=1) / areas


def _inside(points_px: np.ndarray, frame_size_px: tuple[int, int]) -> np.ndarray:
    """(n, 68) bool: the point lies on the picture; beyond its edges the mesh only guesses."""
    return np.all((points_px >= 0) & (points_px <= np.array(frame_size_px)), axis=-1)
