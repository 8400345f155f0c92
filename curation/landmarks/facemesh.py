"""The FaceMesh landmark backend: MediaPipe's detectors and 468-point mesh, run by LiteRT on one core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from curation.contracts import Clip, Faces, Frame, MediaInfo
from curation.faces import joined
from curation.landmarks.choice import faces_in_stretches
from curation.landmarks.detector import Detection, FaceDetector, iou, search_squares, weighted_nms
from curation.landmarks.mesh import NUDGES, MeshFace, MeshNetwork, Roi, eye_corners, point_box
from curation.landmarks.orientation import look_closely, quarter_of
from curation.landmarks.tracking import SMALL, FaceFollower

_MORE_PASSES = 2  # of the mesh over a face that lies on its side: the detector's eyes are up to 40 degrees off


@dataclass(frozen=True)
class StillFace:
    """One face of a still picture; pixel i covers i..i+1.

    Attributes:
        score: 0..1, the detector's.
        box_px: (4,) float32 box of the 68 points: x0, y0, x1, y1.
        points_px: (68, 2) float32, iBUG order.
        mesh_px: (468, 3) float32; x right, y down, z in the same scale, smaller = nearer to the camera.
    """

    score: float
    box_px: np.ndarray
    points_px: np.ndarray
    mesh_px: np.ndarray


@dataclass
class FaceMesh:
    """Landmarks by MediaPipe's FaceMesh. One object a worker; `track` gives one tracker a clip.

    Attributes:
        detector_every_frames: sampled frames between two looks at the whole frame; between them the mesh follows.
        min_detection_score: detections below are not looked at (0..1).
        min_presence: the mesh network's belief below which there is no face (0..1).
        max_faces: faces followed at most; in a crowd `n_faces` stops here.
        max_undetected: looks in a row at which no detector sees a followed face before it is given up, and its points since then with it.
        resume_within_ms: a face found again about where it was lost is the same for so long.
        min_relative_size: faces smaller than this part of the main one do not count (posters, people far behind).
        looks: at most 7; the mesh is the mean over so many squares that differ a little (`mesh.NUDGES`): its noise is that of the
            square's place, so points jitter less, for so many times the work.
    """

    detector_every_frames: int = 5
    min_detection_score: float = 0.5
    min_presence: float = 0.5
    max_faces: int = 4
    max_undetected: int = 5
    resume_within_ms: float = 1000.0
    min_relative_size: float = 0.3
    looks: int = 1
    name: str = field(default="facemesh-2", init=False)

    def __post_init__(self) -> None:
        if self.detector_every_frames < 1 or self.max_faces < 1:
            raise ValueError("detector_every_frames and max_faces must be at least 1")
        if not 1 <= self.looks <= len(NUDGES):
            raise ValueError(f"looks must be 1 to {len(NUDGES)}")

    @property
    def gpu_memory_mib(self) -> int:
        return 0

    @cached_property
    def full_range(self) -> FaceDetector:
        return FaceDetector.full_range()

    @cached_property
    def short_range(self) -> FaceDetector:
        return FaceDetector.short_range()

    @cached_property
    def mesh(self) -> MeshNetwork:
        return MeshNetwork()

    def track(self, clip: Clip, info: MediaInfo) -> FaceMeshTracker:
        """A fresh `FaceTracker` for one clip."""
        return FaceMeshTracker(self, clip, info)

    def detect_image(self, rgb: np.ndarray) -> list[StillFace]:
        """The faces of a still (H, W, 3) uint8 RGB picture, largest first; empty if there is none.

        Raises:
            ValueError: not such a picture.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"a picture must be (H, W, 3) uint8 RGB, not {rgb.shape} {rgb.dtype}")
        faces: list[StillFace] = []
        for detection in self.find(rgb, thorough=True):
            face = self.mesh_of(rgb, detection)
            if face is not None and all(iou(face.box_px, f.box_px[None])[0] < 0.4 for f in faces):
                faces.append(StillFace(detection.score, face.box_px, face.points_px, face.mesh_px))
        return sorted(faces, key=lambda f: -float(np.prod(f.box_px[2:] - f.box_px[:2])))

    # What the follower of one clip asks for (`tracking.Finder`).

    def find(self, rgb: np.ndarray, thorough: bool) -> list[Detection]:
        """Detections, largest first; `thorough`: where the whole frame shows none or small ones, also look at overlapping parts of it;
        where those show none, for faces that lie on their side or head."""
        found = self.full_range.detect(rgb, self.min_detection_score)
        if thorough and max((d.size_px for d in found), default=0.0) < SMALL * max(rgb.shape[:2]):
            found += self.short_range.detect(rgb, self.min_detection_score)
            for square_px in search_squares(rgb.shape[0], rgb.shape[1], 2 * self.full_range.network.size_px):
                found += self.full_range.detect(rgb, self.min_detection_score, square_px)
            found = weighted_nms(found)
        if thorough and not found:
            turned = (self.full_range.detect(rgb, self.min_detection_score, quarter=quarter) for quarter in (1, 2, 3))
            found = max(turned, key=lambda some: max((d.score for d in some), default=0.0))
        return sorted(found, key=lambda d: -d.size_px)

    def vouches_for(self, rgb: np.ndarray, mesh_px: np.ndarray) -> bool:
        """Whether the detector sees the followed face when it looks closely at it."""
        roi = Roi.from_mesh(mesh_px)
        side = roi.side_px * 1.2
        square_px = (roi.x_px - side / 2, roi.y_px - side / 2, side)
        return bool(self.short_range.detect(rgb, self.min_detection_score, square_px, quarter_of(*eye_corners(mesh_px))))

    def is_other_way_up(self, rgb: np.ndarray, mesh_px: np.ndarray) -> bool:
        """Whether the followed face clearly is upside down against its mesh, as after a cut to a picture that is."""
        quarter = quarter_of(*eye_corners(mesh_px))
        return look_closely(self.short_range, rgb, point_box(mesh_px[:, :2]), (quarter, (quarter + 2) % 4)).contradict(quarter)

    def mesh_at(self, rgb: np.ndarray, roi: Roi) -> MeshFace | None:
        face = self.mesh.locate_often(rgb, roi, self.looks)
        return face if face.presence >= self.min_presence and face.is_upright else None

    def mesh_of(self, rgb: np.ndarray, detection: Detection) -> MeshFace | None:
        """The mesh of a newly detected face, which is looked at from all sides; the second pass looks where the first found it,
        as following does."""
        first = self.mesh.locate(rgb, Roi.from_detection(detection))
        orientations = look_closely(self.short_range, rgb, detection.box_px)
        upright = orientations.upright(detection, trusted=first.presence >= self.min_presence)
        if upright is None:
            return None
        if upright is not detection:
            first = self.mesh.locate(rgb, Roi.from_detection(upright))
        if quarter_of(*eye_corners(first.mesh_px)):
            for _ in range(_MORE_PASSES):
                first = self.mesh.locate(rgb, Roi.from_mesh(first.mesh_px))
        return self.mesh_at(rgb, Roi.from_mesh(first.mesh_px)) if first.presence >= self.min_presence / 5 else None


class FaceMeshTracker:
    """The faces of one clip (`contracts.FaceTracker`)."""

    def __init__(self, backend: FaceMesh, clip: Clip, info: MediaInfo):
        self._backend = backend
        self._clip = clip
        self._info = info
        self._follower = FaceFollower(backend)
        self._seen: list[np.ndarray] = []

    def on_frame(self, frame: Frame) -> None:
        self._follower.on_frame(frame)
        self._seen.append(self._follower.seen_px)

    def take_seen(self) -> list[np.ndarray]:
        seen, self._seen = self._seen, []
        return seen

    def finish(self) -> Faces:
        return joined(self.finish_in_stretches())

    def finish_in_stretches(self) -> Iterator[Faces]:
        return faces_in_stretches(
            self._follower.tracks,
            times_ms=np.array(self._follower.times_ms, np.float64),
            frame_size_px=(self._info.width_px, self._info.height_px),
            face_box_px=self._clip.face_box_in(self._info.width_px, self._info.height_px),
            min_relative_size=self._backend.min_relative_size,
        )
