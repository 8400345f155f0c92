"""Follows the faces of one clip from frame to frame: the detector finds them, the mesh keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from curation.contracts import Frame
from curation.landmarks import sixty_eight
from curation.landmarks.detector import iou
from curation.landmarks.mesh import MeshFace, Roi

_SAME_FACE_IOU = 0.4  # of two landmark boxes


@dataclass(eq=False)
class Track:
    """One face over the frames on which it was seen.

    Attributes:
        mesh_px: (468, 3) of the last frame.
        last_ms: time of the last frame.
        frames: indices of the sampled frames.
        points_px: (68, 2) float32 a frame.
        presence: 0..1 a frame.
        n_detected: detector frames on which a detector found this face.
        n_undetected: detector frames in a row, up to now, on which none did.
    """

    mesh_px: np.ndarray
    last_ms: float = 0.0
    frames: list[int] = field(default_factory=list)
    points_px: list[np.ndarray] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)
    n_detected: int = 0
    n_undetected: int = 0

    def extend(self, frame: Frame, index: int, face: MeshFace) -> None:
        self.mesh_px = face.mesh_px
        self.last_ms = frame.time_ms
        self.frames.append(index)
        self.points_px.append(sixty_eight.from_mesh(face.mesh_px)[:, :2])
        self.presence.append(face.presence)

    def cut_after(self, n_frames: int) -> None:
        """Forget all but the first `n_frames` frames."""
        del self.frames[n_frames:], self.points_px[n_frames:], self.presence[n_frames:]

    @property
    def box_px(self) -> np.ndarray:
        """(4,) box of the 68 points on the last frame."""
        return point_box(self.points_px[-1])

    @property
    def boxes_px(self) -> np.ndarray:
        """(n, 4) boxes of the 68 points on `frames`."""
        return point_box(np.stack(self.points_px))


def point_box(points_px: np.ndarray) -> np.ndarray:
    """Box (..., 4) x0, y0, x1, y1 of (..., N, 2) points."""
    return np.concatenate([points_px.min(axis=-2), points_px.max(axis=-2)], axis=-1)


def box_size_px(boxes_px: np.ndarray) -> np.ndarray:
    """Square root of the area of (..., 4) boxes."""
    return np.sqrt(np.prod(np.maximum(boxes_px[..., 2:] - boxes_px[..., :2], 0), axis=-1))


def is_plausible(face: MeshFace, roi: Roi, min_presence: float) -> bool:
    """Whether the mesh shows a face: the network says so, and the points lie as a face's do within the square looked at."""
    if face.presence < min_presence:
        return False
    points = sixty_eight.from_mesh(face.mesh_px)[:, :2]
    cos, sin = np.cos(roi.angle_rad), np.sin(roi.angle_rad)
    upright = (points - [roi.x_px, roi.y_px]) @ np.array([[cos, -sin], [sin, cos]]) / roi.side_px
    extent = np.ptp(upright, axis=0)
    eyes_y = (upright[sixty_eight.RIGHT_EYE, 1].mean() + upright[sixty_eight.LEFT_EYE, 1].mean()) / 2
    return bool(0.25 < extent.max() < 1.1 and extent.min() > 0.1 and eyes_y < upright[30, 1] < upright[sixty_eight.LIPS, 1].mean() + 0.05)


class FaceFollower:
    """The live tracks of one clip. `finder` does the looking: it is the `FaceMesh` backend.

    Every frame, each live face's mesh is located again around its last place. Every `detector_every_frames`, and as soon as a face is
    lost, the detector looks for new faces and vouches for the known ones.
    """

    def __init__(self, finder):
        self._finder = finder
        self._index = -1
        self._live: list[Track] = []
        self._tracks: list[Track] = []
        self.times_ms: list[float] = []

    @property
    def tracks(self) -> list[Track]:
        return self._tracks

    def on_frame(self, frame: Frame) -> None:
        self._index += 1
        self.times_ms.append(frame.time_ms)
        n_before = len(self._live)
        self._follow(frame)
        if self._index % self._finder.detector_every_frames == 0 or len(self._live) < n_before:
            self._detect(frame)

    def _follow(self, frame: Frame) -> None:
        still_there: list[Track] = []
        for track in self._live:  # older tracks first: of two that slid onto one face the younger ends
            face = self._finder.mesh_at(frame.rgb, Roi.from_mesh(track.mesh_px))
            if face is None or _same_face(_mesh_box(face), still_there):
                continue
            track.extend(frame, self._index, face)
            still_there.append(track)
        self._live = still_there

    def _detect(self, frame: Frame) -> None:
        unexplained = []
        vouched: set[int] = set()
        detections = self._finder.find(frame.rgb, expect=not self._live)
        for detection in detections:
            known = _covered_by(detection.box_px, self._live)
            if known is None:
                unexplained.append(detection)
            else:
                vouched.add(id(known))
        for track in list(self._live):
            if id(track) in vouched or self._finder.vouches_for(frame.rgb, track.mesh_px):
                track.n_detected += 1
                track.n_undetected = 0
                continue
            track.n_undetected += 1
            if track.n_undetected > self._finder.max_undetected:
                self._live.remove(track)
        for detection in unexplained:
            if len(self._live) >= self._finder.max_faces:
                break
            self._begin(frame, self._finder.mesh_of(frame.rgb, detection))

    def _begin(self, frame: Frame, face: MeshFace | None) -> None:
        """Resume the track that was lost about here a moment ago, or start a new one."""
        if face is None or _same_face(_mesh_box(face), self._live):
            return
        lost = [t for t in self._tracks if t not in self._live and frame.time_ms - t.last_ms <= self._finder.resume_within_ms]
        track = _same_face(_mesh_box(face), lost)
        if track is None or track.frames[-1] == self._index:
            track = Track(face.mesh_px)
            self._tracks.append(track)
        track.extend(frame, self._index, face)
        track.n_detected += 1
        track.n_undetected = 0
        self._live.append(track)


def _mesh_box(face: MeshFace) -> np.ndarray:
    return point_box(sixty_eight.from_mesh(face.mesh_px)[:, :2])


def _same_face(box_px: np.ndarray, tracks: list[Track]) -> Track | None:
    """The track whose last box overlaps `box_px` most, if it does enough."""
    if not tracks:
        return None
    overlap = iou(box_px, np.stack([track.box_px for track in tracks]))
    best = int(overlap.argmax())
    return tracks[best] if overlap[best] > _SAME_FACE_IOU else None


def _covered_by(box_px: np.ndarray, tracks: list[Track]) -> Track | None:
    """The track that a detector's box belongs to: the box's centre lies within the face, or they overlap."""
    centre = (box_px[:2] + box_px[2:]) / 2
    for track in tracks:
        x0, y0, x1, y1 = track.box_px
        if (x0 <= centre[0] <= x1 and y0 <= centre[1] <= y1) or iou(box_px, track.box_px[None])[0] > _SAME_FACE_IOU:
            return track
    return None
