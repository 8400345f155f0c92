"""Of the tracks of a clip: which face is the main one, and how many people there are on each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from curation.blocks import blocks
from curation.faces import Faces, joined
from curation.landmarks import sixty_eight
from curation.landmarks.tracking import box_size_px

FRAMES_AT_ONCE = 3000  # bounds the memory for hours of footage
_MIN_DETECTED = 2  # a face that the detector saw only once, in a clip with more looks, is taken for an accident


class FacePath(Protocol):
    """One face over the frames on which it was seen.

    Attributes:
        frames: n indices of sampled frames, ascending.
        n_detected: on how many frames a detector, looking afresh, found it.
        boxes_px: (n, 4) boxes of the points.
    """

    @property
    def frames(self) -> Sequence[int]: ...

    @property
    def n_detected(self) -> int: ...

    @property
    def boxes_px(self) -> np.ndarray: ...

    def stretch(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (m, 68, 2) and confidence (m, 1) or (m, 68) in 0..1 on the m frames `frames[first:last]`."""


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
    """`faces_in_stretches`, all of them in memory."""
    return joined(faces_in_stretches(tracks, times_ms, frame_size_px, face_box_px, min_relative_size))


def faces_in_stretches(
    tracks: Sequence[FacePath],
    times_ms: np.ndarray,
    frame_size_px: tuple[int, int],
    face_box_px: tuple[float, float, float, float] | None,
    min_relative_size: float,
) -> Iterator[Faces]:
    """The main face's points and the count of faces, from all tracks of a clip.

    The main face is the track with the largest sum, over its frames, of the face's size; with `face_box_px`, of its share within that box.
    Where it is absent (before or after a cut), the best track whose life does not overlap the chosen ones' fills in, so that the points
    never jump from one person to another who is there at the same time.
    """
    kept, main = main_paths(tracks, len(times_ms), face_box_px)
    n_faces = _count(kept, main, len(times_ms), min_relative_size)
    of_main = [(track, np.array(track.frames)) for track in main]
    for block in blocks(len(times_ms), FRAMES_AT_ONCE):
        points_px = np.full((block.stop - block.start, sixty_eight.N_POINTS, 2), np.nan, np.float32)
        confidence = np.zeros((block.stop - block.start, sixty_eight.N_POINTS), np.float32)
        for track, frames in of_main:
            first, last = np.searchsorted(frames, (block.start, block.stop))
            if first < last:
                points, trust = track.stretch(first, last)
                at = frames[first:last] - block.start
                points_px[at] = points
                confidence[at] = trust * _inside(points, frame_size_px)
        yield Faces(times_ms[block], n_faces[block], points_px, confidence)


def _count(kept: Sequence[P], main: Sequence[P], n_frames: int, min_relative_size: float) -> np.ndarray:
    """(T,) int16 faces on each frame that are not much smaller than the main one."""
    n_faces, main_size = np.zeros(n_frames, np.int16), np.full(n_frames, np.nan)
    for track in main:
        main_size[np.array(track.frames)] = box_size_px(track.boxes_px)
    # Where the main face is lost for a moment, others are compared with its usual size.
    usual = np.nanmedian(main_size) if np.isfinite(main_size).any() else 0.0
    reference = np.where(np.isfinite(main_size), main_size, usual)
    for track in kept:
        frames = np.array(track.frames)
        n_faces[frames[box_size_px(track.boxes_px) >= min_relative_size * reference[frames]]] += 1
    return n_faces


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
