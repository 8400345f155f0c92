"""How large the face is, and on how many frames there is exactly one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.blocks import blocks
from curation.contracts import Evidence, Scorer
from curation.landmarks.sixty_eight import interocular
from manifests import column

FRAMES_AT_ONCE = 3000  # bounds the memory for hours of footage
_BOX = ("face_x0_px", "face_y0_px", "face_x1_px", "face_y1_px")


@dataclass
class FaceResolution(Scorer):
    """Size and place of the main face over the frames on which it is seen, in pixels of the source picture, never of a resized one.

    The face is the box of its 68 points: from the brows to the chin and from ear to ear, without forehead and hair. Edges, width and
    height are medians, each of its own, so the edges need not differ by the width. `face_size_px_p5` is the 5th percentile of the box's
    smaller side, `interocular_px_p5` that of the distance between the eye centres (the mean of each eye's six points).
    """

    name = "face_resolution"
    version = 1
    columns = tuple(column(name) for name in (*_BOX, "face_width_px", "face_height_px", "face_size_px_p5", "interocular_px_p5"))
    reads = frozenset({"faces"})

    def finish(self, evidence: Evidence) -> dict[str, float]:
        all_points, corners, eyes = evidence.faces.points_px, [], []
        for block in blocks(len(all_points), FRAMES_AT_ONCE):
            points = all_points[block]
            points = points[np.isfinite(points).all(axis=(1, 2))]  # (F, 68, 2)
            corners.append(np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1))
            eyes.append(interocular(points.astype(np.float64)))
        if not sum(map(len, corners)):
            return {}
        x0, y0, x1, y1 = np.concatenate(corners).T  # of a clip of hours, float64 only edge by edge
        width, height = _difference(x1, x0), _difference(y1, y0)
        return {
            **{name: float(np.median(edge.astype(np.float64))) for name, edge in zip(_BOX, (x0, y0, x1, y1), strict=True)},
            "face_width_px": float(np.median(width)),
            "face_height_px": float(np.median(height)),
            "face_size_px_p5": float(np.percentile(np.minimum(width, height), 5)),
            "interocular_px_p5": float(np.percentile(np.concatenate(eyes), 5)),
        }


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a.astype(np.float64) - b


@dataclass
class ValidFrames(Scorer):
    """Whether there is exactly one face, throughout.

    A frame is valid if one face is found (where the source's index names the face by a box: that one, whoever else is there) and at least
    `min_trusted_points` of its 68 points have a confidence of at least `min_confidence` (60 and 0.3 as in MegActor's own filter). A backend
    gives points beyond the picture's edge no confidence, so a face that leaves the picture is not valid.
    `valid_frame_ratio` is the share of valid frames among the sampled ones.

    `n_faces_max` is the largest number of faces that is reached on at least `min_crowded_share` of the frames, and on no fewer than
    `min_crowded_frames`: a second face that flashes up for a moment does not make two people.

    Attributes:
        min_confidence: 0..1.
        min_trusted_points: of 68.
        min_crowded_share: 0..1, of the sampled frames.
        min_crowded_frames: sampled frames.
    """

    name = "valid_frames"
    version = 2
    columns = (column("n_faces_max"), column("valid_frame_ratio"))
    reads = frozenset({"faces"})

    min_confidence: float = 0.3
    min_trusted_points: int = 60
    min_crowded_share: float = 0.02
    min_crowded_frames: int = 3

    def finish(self, evidence: Evidence) -> dict[str, float | int]:
        faces = evidence.faces
        n_frames = len(faces.n_faces)
        if not n_frames:
            return {}
        n_valid = 0
        for block in blocks(n_frames, FRAMES_AT_ONCE):
            trusted = (faces.confidence[block] >= self.min_confidence).sum(axis=1) >= self.min_trusted_points
            there = faces.n_faces[block]
            alone = there == 1 if evidence.clip.face_box_px is None else there >= 1
            n_valid += int((alone & np.isfinite(faces.points_px[block]).all(axis=(1, 2)) & trusted).sum())
        enough = max(self.min_crowded_share * n_frames, min(self.min_crowded_frames, n_frames))
        reached = (n for n in range(int(faces.n_faces.max()), 0, -1) if (faces.n_faces >= n).sum() >= enough)
        return {"n_faces_max": next(reached, 0), "valid_frame_ratio": n_valid / n_frames}
