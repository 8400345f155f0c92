"""All 133 points of the main person, one file a clip, for those who want more than the face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from curation.dwpose.people import FaceOfPerson
from curation.dwpose.pose import N_POINTS, SHOULDERS
from manifests.atomic import atomic_path
from manifests.errors import UserError


class WholeBody(NamedTuple):
    """The main person of a clip on T sampled frames, in the order of COCO-WholeBody: 17 body, 6 feet, 68 face, 21 left and 21 right hand.

    Attributes:
        times_ms: (T,) float64, as the landmark table has them.
        points_px: (T, 133, 2) float32 in px of the source picture; NaN where the main face is not seen.
        scores: (T, 133) float32 in 0..1.
    """

    times_ms: np.ndarray
    points_px: np.ndarray
    scores: np.ndarray


def whole_body_file(directory: str | Path, clip_id: str) -> Path:
    """Where the points of a clip lie; spread over 256 folders."""
    return Path(directory) / clip_id[:2] / f"{clip_id}.npz"


def save_whole_body(directory: str | Path, clip_id: str, times_ms: np.ndarray, main: Sequence[FaceOfPerson]) -> Path:
    """Write the points of the paths that make up the main face; the file appears whole or not at all."""
    points_px = np.full((len(times_ms), N_POINTS, 2), np.nan, np.float32)
    scores = np.zeros((len(times_ms), N_POINTS), np.float32)
    for path in main:
        points_px[path.frames], scores[path.frames] = np.stack(path.all_points_px), np.stack(path.all_scores)
    file = whole_body_file(directory, clip_id)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, times_ms=times_ms, points_px=points_px, scores=scores)
    except OSError as error:
        raise UserError(f"cannot write to whole_body_dir {directory}: {error.strerror}") from None
    return file


def load_whole_body(directory: str | Path, clip_id: str) -> WholeBody:
    """Read what a run with `whole_body_dir` kept of a clip.

    Raises:
        UserError: it kept nothing of that clip.
    """
    file = whole_body_file(directory, clip_id)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return WholeBody(arrays["times_ms"], arrays["points_px"], arrays["scores"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"no points of clip {clip_id} in {directory}: {error}") from None


def with_neck(points: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(..., 134, 2) and (..., 134): a neck inserted at 17, midway between the shoulders with the lower of their scores, as in DWPose's own
    numbering (24..91 is then the face)."""
    left, right = SHOULDERS
    neck = (points[..., left, :] + points[..., right, :]) / 2
    neck_scores = np.minimum(scores[..., left], scores[..., right])
    return np.insert(points, 17, neck, axis=-2), np.insert(scores, 17, neck_scores, axis=-1)
