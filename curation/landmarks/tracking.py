"""Follows the faces of one clip from frame to frame: the detector finds them, the mesh keeps them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from curation.blocks import blocks
from curation.contracts import Frame
from curation.landmarks.detector import Detection, iou
from curation.landmarks.mesh import MeshFace, Roi, point_box
from curation.spool import Spool

_FRAMES_AT_ONCE = 3000  # bounds the memory for hours of footage
_SAME_FACE_IOU = 0.4  # of two landmark boxes
SMALL = 0.15  # of the frame's longer side: beside a face smaller than this, a look at the whole frame may miss another
_LOOKS_TO_UPRIGHT = 5  # whether a followed face is still the right way up is asked once in so many looks
_MAX_LOOKS_BETWEEN_SEARCHES = 64  # vain searches double the gap up to here, so that clips without a second face cost little


@dataclass(eq=False)
class Track:
    """One face over the frames on which it was seen.

    Attributes:
        mesh_px: (468, 3) of the last frame.
        seen_px: (68, 2) float32 points of every face of the clip, in the order in which they were found.
        last_px: (68, 2) float32 points on the last frame.
        last_ms: time of the last frame.
        frames: indices of the sampled frames.
        rows: where in `seen_px` the face's points on these frames lie.
        presence: 0..1 a frame.
        n_detected: detector frames on which a detector found this face.
        n_undetected: detector frames in a row, up to now, on which none did.
        n_vouched: how many of `frames` lie up to the last detection.
        n_upright: how many of `frames` lie up to the last look that found the face the way up that its mesh has it.
        n_looks: looks at which it was followed.
    """

    mesh_px: np.ndarray
    seen_px: Spool
    last_px: np.ndarray = field(init=False)
    last_ms: float = 0.0
    frames: array[int] = field(default_factory=lambda: array("i"))
    rows: array[int] = field(default_factory=lambda: array("q"))
    presence: array[float] = field(default_factory=lambda: array("f"))
    n_detected: int = 0
    n_undetected: int = 0
    n_vouched: int = 0
    n_upright: int = 0
    n_looks: int = 0

    def extend(self, frame: Frame, index: int, face: MeshFace) -> None:
        """The face was located on one more frame."""
        self.mesh_px = face.mesh_px
        self.last_ms = frame.time_ms
        self.last_px = face.points_px
        self.frames.append(index)
        self.rows.append(len(self.seen_px))
        self.presence.append(face.presence)
        self.seen_px.append(self.last_px[None])

    def vouch(self) -> None:
        """A detector found the face on the last frame."""
        self.n_detected += 1
        self.n_undetected = 0
        self.n_vouched = len(self.frames)

    def forget_unvouched(self) -> None:
        """Drop the frames since the last detection."""
        self._forget_from(self.n_vouched)

    def forget_upside_down(self) -> None:
        """Drop the frames since the face was last found the right way up."""
        self._forget_from(self.n_upright)
        self.n_vouched = min(self.n_vouched, len(self.frames))

    def _forget_from(self, n: int) -> None:
        del self.frames[n:], self.rows[n:], self.presence[n:]
        self.last_px = self.seen_px[self.rows[-1] : self.rows[-1] + 1][0]

    @property
    def box_px(self) -> np.ndarray:
        """(4,) box of the 68 points on the last frame."""
        return point_box(self.last_px)

    @property
    def boxes_px(self) -> np.ndarray:
        """(n, 4) boxes of the 68 points on `frames`."""
        return np.concatenate([point_box(self._points(b.start, b.stop)) for b in blocks(len(self.frames), _FRAMES_AT_ONCE)])

    def stretch(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (m, 68, 2) float32 and confidence (m, 1) float32, for all points alike, on `frames[first:last]`."""
        return self._points(first, last), np.array(self.presence[first:last], np.float32)[:, None]

    def _points(self, first: int, last: int) -> np.ndarray:
        rows = np.array(self.rows[first:last])
        return self.seen_px[rows[0] : rows[-1] + 1][rows - rows[0]]


def box_size_px(boxes_px: np.ndarray) -> np.ndarray:
    """Square root of the area of (..., 4) boxes."""
    return np.sqrt(np.prod(np.maximum(boxes_px[..., 2:] - boxes_px[..., :2], 0), axis=-1))


class Finder(Protocol):
    """What the follower asks of the networks: the `FaceMesh` backend, or a stand-in."""

    detector_every_frames: int
    max_faces: int
    max_undetected: int
    resume_within_ms: float

    def find(self, rgb: np.ndarray, thorough: bool) -> list[Detection]: ...

    def vouches_for(self, rgb: np.ndarray, mesh_px: np.ndarray) -> bool: ...

    def is_other_way_up(self, rgb: np.ndarray, mesh_px: np.ndarray) -> bool: ...

    def mesh_of(self, rgb: np.ndarray, detection: Detection) -> MeshFace | None: ...

    def mesh_at(self, rgb: np.ndarray, roi: Roi) -> MeshFace | None: ...


class FaceFollower:
    """The faces of one clip, frame by frame.

    Every frame, each live face's mesh is located again around its last place. Every `detector_every_frames`, and as soon as a face is
    lost, the detector looks for new faces and vouches for the known ones. Where it finds none, or only small ones, it searches more
    thoroughly, at looks that lie further and further apart as long as that is in vain.
    """

    def __init__(self, finder: Finder):
        self.tracks: list[Track] = []
        self.times_ms: array[float] = array("d")
        self._points_px = Spool(np.float32, (68, 2))  # of every face on every frame
        self._finder = finder
        self._live: list[Track] = []
        self._looks_to_search = 0
        self._search_gap = 1

    @property
    def seen_px(self) -> np.ndarray:
        """(n, 68, 2) float32 points of the faces on the last frame."""
        return np.array([track.last_px for track in self._live], np.float32).reshape(-1, 68, 2)

    def on_frame(self, frame: Frame) -> None:
        index = len(self.times_ms)
        self.times_ms.append(frame.time_ms)
        n_before = len(self._live)
        self._follow(frame, index)
        if index % self._finder.detector_every_frames == 0 or len(self._live) < n_before:
            self._look(frame, index)

    def _follow(self, frame: Frame, index: int) -> None:
        still_there: list[Track] = []
        for track in self._live:  # older tracks first: of two that slid onto one face the younger ends
            face = self._finder.mesh_at(frame.rgb, Roi.from_mesh(track.mesh_px))
            if face is None or (still_there and _same_face(face.box_px, still_there)):
                continue
            track.extend(frame, index, face)
            still_there.append(track)
        self._live = still_there

    def _look(self, frame: Frame, index: int) -> None:
        self._drop_upside_down(frame)
        thorough = self._search_is_due(frame)
        vouched, unexplained = set(), []
        for detection in self._finder.find(frame.rgb, thorough):
            known = _covered_by(detection.box_px, self._live)
            if known is None:
                unexplained.append(detection)
            else:
                vouched.add(id(known))
        for track in list(self._live):
            if id(track) in vouched or self._finder.vouches_for(frame.rgb, track.mesh_px):
                track.vouch()
                continue
            track.n_undetected += 1
            if track.n_undetected > self._finder.max_undetected:
                track.forget_unvouched()
                self._live.remove(track)
        n_before = len(self._live)
        for detection in unexplained:
            if len(self._live) < self._finder.max_faces:
                self._begin(frame, index, self._finder.mesh_of(frame.rgb, detection))
        if thorough:
            found_more = len(self._live) > n_before
            self._search_gap = 1 if found_more else min(2 * self._search_gap, _MAX_LOOKS_BETWEEN_SEARCHES)
            self._looks_to_search = self._search_gap

    def _drop_upside_down(self, frame: Frame) -> None:
        for track in list(self._live):
            track.n_looks += 1
            if track.n_looks % _LOOKS_TO_UPRIGHT:
                continue
            if self._finder.is_other_way_up(frame.rgb, track.mesh_px):
                track.forget_upside_down()
                self._live.remove(track)
            else:
                track.n_upright = len(track.frames)

    def _search_is_due(self, frame: Frame) -> bool:
        self._looks_to_search -= 1
        largest_px = max((float(box_size_px(track.box_px)) for track in self._live), default=0.0)
        return self._looks_to_search <= 0 and largest_px < SMALL * max(frame.rgb.shape[:2])

    def _begin(self, frame: Frame, index: int, face: MeshFace | None) -> None:
        """Resume the track that was lost about here a moment ago, or start a new one."""
        if face is None or _same_face(face.box_px, self._live):
            return
        lost = [t for t in self.tracks if t not in self._live and frame.time_ms - t.last_ms <= self._finder.resume_within_ms]
        track = _same_face(face.box_px, lost)
        if track is None or track.frames[-1] == index:
            track = Track(face.mesh_px, self._points_px)
            self.tracks.append(track)
        track.extend(frame, index, face)
        track.vouch()
        track.n_upright = len(track.frames)
        self._live.append(track)


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
