"""Does the answer move as its driver does? Distances of landmarks, mouth, eyes and head pose, frame by frame."""

from __future__ import annotations

import numpy as np

from curation.landmarks import pose
from curation.landmarks.lids import LidNetwork
from curation.landmarks.sixty_eight import LIPS, RIGID, interocular
from inference.evaluation.metrics.base import AT_LEAST_0, CORRELATION, SHARE, ClipMetric, Judged, MetricColumn

_UPPER_INNER_LIP, _LOWER_INNER_LIP = [61, 62, 63], [67, 66, 65]
_STILL = 1e-5


def mouth_opening(points_px: np.ndarray) -> np.ndarray:
    """(T,) mean distance of the inner lips over the distance between the eye centres; NaN where the face is not seen."""
    gaps = np.linalg.norm(points_px[:, _UPPER_INNER_LIP] - points_px[:, _LOWER_INNER_LIP], axis=-1)  # (T, 3)
    return gaps.mean(1) / interocular(points_px)


def on_rigid_points(points_px: np.ndarray, target_px: np.ndarray) -> np.ndarray:
    """(T, 68, 2): each frame of `points_px` moved, turned and scaled so that its rigid points lie on the target's (least squares)."""
    ours, theirs = (_complex(values[:, RIGID]) for values in (points_px, target_px))
    ours_mean, theirs_mean = ours.mean(1, keepdims=True), theirs.mean(1, keepdims=True)
    turn = (np.conj(ours - ours_mean) * (theirs - theirs_mean)).sum(1) / (np.abs(ours - ours_mean) ** 2).sum(1)
    moved = (_complex(points_px) - ours_mean) * turn[:, None] + theirs_mean
    return np.stack([moved.real, moved.imag], axis=-1)


class FaceMotion(ClipMetric):
    """Landmarks, mouth opening and head pose against the driver's, over the frames on which both show a face."""

    name = "face_motion"
    version = 2
    columns = (
        MetricColumn(
            "lmd_mouth",
            "lower",
            "eye distances",
            "mean distance of the lip points after laying the rigid points over each other",
            "ATVG (Chen et al., CVPR 2019), normalised",
            AT_LEAST_0,
        ),
        MetricColumn(
            "mouth_opening_error",
            "lower",
            "eye distances",
            "mean absolute difference of the mouth opening",
            "part of AED, without a 3DMM",
            AT_LEAST_0,
        ),
        MetricColumn("mouth_correlation", "higher", "", "Pearson correlation over time of the mouth openings", "this project", CORRELATION),
        MetricColumn("pose_error_deg", "lower", "deg", "mean angle between the head rotations", "APD, from landmarks", (0.0, 180.0)),
        MetricColumn("pose_range_ratio", "as real", "", "spread of the head's angles over the driver's", "this project", AT_LEAST_0),
        MetricColumn(
            "face_found_ratio",
            "higher",
            "",
            "share of frames on which the answer shows a face, of those where the driver does",
            "this project",
            SHARE,
        ),
    )

    def score(self, pair: Judged) -> dict[str, float]:
        ours, theirs = pair.answer.faces.points_px, pair.target.faces.points_px[: len(pair.answer)]
        driver_seen = pair.target.faces.seen[: len(pair.answer)]
        both = pair.answer.faces.seen & driver_seen
        values = {"face_found_ratio": float(both.sum() / driver_seen.sum())} if driver_seen.any() else {}
        if both.sum() < 2:
            return values
        ours, theirs = ours[both].astype(np.float64), theirs[both].astype(np.float64)
        lips = np.linalg.norm(on_rigid_points(ours, theirs)[:, LIPS] - theirs[:, LIPS], axis=-1).mean(1)
        mouths = mouth_opening(ours), mouth_opening(theirs)
        rotations = pose.head_rotations(ours)[0], pose.head_rotations(theirs)[0]
        spreads = [np.nanstd(pose.angles_deg(r), axis=0).sum() for r in rotations]
        return values | {
            "lmd_mouth": float((lips / interocular(theirs)).mean()),
            "mouth_opening_error": float(np.abs(mouths[0] - mouths[1]).mean()),
            "mouth_correlation": correlation(*mouths),
            "pose_error_deg": float(np.nanmean(angle_between_deg(*rotations))),
            "pose_range_ratio": float(spreads[0] / spreads[1]) if spreads[1] > 0 else float("nan"),
        }


class EyeMotion(ClipMetric):
    """Eye opening against the driver's, over the frames on which both show a face; read by `LidNetwork`, because landmarks hardly blink."""

    name = "eye_motion"
    columns = (
        MetricColumn(
            "eye_opening_error",
            "lower",
            "eye distances",
            "mean absolute difference of the eye opening",
            "part of AED, without a 3DMM",
            AT_LEAST_0,
        ),
        MetricColumn("eye_correlation", "higher", "", "Pearson correlation over time of the eye openings", "this project", CORRELATION),
    )

    def __init__(self) -> None:
        self._lids = LidNetwork()

    def score(self, pair: Judged) -> dict[str, float]:
        ours, theirs = (
            self._lids.openings(clip.frames[: len(pair.answer)], clip.faces.points_px[: len(pair.answer)])
            for clip in (pair.answer, pair.target)
        )
        both = np.isfinite(ours) & np.isfinite(theirs)
        if both.sum() < 2:
            return {}
        ours, theirs = ours[both], theirs[both]
        return {"eye_opening_error": float(np.abs(ours - theirs).mean()), "eye_correlation": correlation(ours, theirs)}


def angle_between_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(T,) angle between (T, 3, 3) rotations, from |A − B| = 2√2 sin(θ/2), which is exact near 0 where the trace is not."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=(1, 2)) / np.sqrt(8), 0, 1)))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's; NaN where one of both varies by less than the rounding of stored landmarks."""
    if min(a.std(), b.std()) < _STILL:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _complex(points: np.ndarray) -> np.ndarray:
    return points[..., 0] + 1j * points[..., 1]
