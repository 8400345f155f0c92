"""How far the head is turned: 68 points against a generic face template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.blocks import blocks
from curation.contracts import Evidence, Scorer
from curation.landmarks import pose
from manifests import column

_AXES = ("yaw", "pitch", "roll")


@dataclass
class HeadPose(Scorer):
    """Head rotation in degrees over the frames with a face; signs and order as in `curation.landmarks.pose`.

    `head_rotation_deg` is the mean angle of the whole rotation away from a head that faces the camera upright, roll included: one number
    that does not depend on how it is split into yaw, pitch and roll. The paper ("mean head rotation") does not say how it measures; read
    so, its limit of 30 degrees holds whichever way the head turns.
    """

    name = "head_pose"
    version = 1
    columns = (
        column("head_rotation_deg"),
        *(column(f"{axis}_deg_{statistic}") for axis in _AXES for statistic in ("mean_abs", "p95")),
        column("pose_residual_px"),
    )
    reads = frozenset({"faces"})

    def angles_deg(self, points_px: np.ndarray, confidence: np.ndarray | None = None) -> np.ndarray:
        """(T, 3) yaw, pitch and roll of (T, 68, 2) points; NaN where the pose is not known."""
        return pose.angles_deg(pose.head_rotations(points_px, confidence)[0])

    def finish(self, evidence: Evidence) -> dict[str, float]:
        faces = evidence.faces
        turned_deg, angles_deg, residuals_px = [], [], []
        for block in blocks(len(faces.points_px), pose.FRAMES_AT_ONCE):
            rotations, residual_px = pose.head_rotations(faces.points_px[block], faces.confidence[block])
            known = np.isfinite(residual_px)
            turned_deg.append(pose.turn_deg(rotations[known]))
            angles_deg.append(np.abs(pose.angles_deg(rotations[known])))
            residuals_px.append(residual_px[known])
        if not sum(map(len, residuals_px)):
            return {}
        values = {
            "head_rotation_deg": float(np.concatenate(turned_deg).mean()),
            "pose_residual_px": float(np.median(np.concatenate(residuals_px))),
        }
        for axis, of_axis in zip(_AXES, np.concatenate(angles_deg).T, strict=True):
            values[f"{axis}_deg_mean_abs"] = float(of_axis.mean())
            values[f"{axis}_deg_p95"] = float(np.percentile(of_axis, 95))
        return values
