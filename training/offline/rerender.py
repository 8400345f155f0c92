"""The driver of a rendered clip, rendered anew as somebody else who moves the same: the swap that face-swapping networks approximate."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curation import face_crop
from curation.contracts import ClipError
from curation.people.acting import pose_at
from curation.people.camera import through_camera
from curation.people.person import Person
from curation.people.rendered import Studio
from curation.people.truth import PeopleTruth, read_people_truth
from inference.driving.estimator import fit_similarity
from manifests import UserError
from training.data.clips import TrainingClip


def truth_of(clip: TrainingClip) -> PeopleTruth:
    """What was planted in a clip of `python -m curation people`.

    Raises:
        ClipError: it is none, or its truth is of another version.
    """
    video = Path(clip.video_path)
    try:
        return read_people_truth(video.parent.parent / "truth" / f"{video.stem}.safetensors")
    except UserError as error:
        raise ClipError("not_rendered", f"only clips of rendered people can be rendered anew: {error}") from error


class Understudy:
    """Somebody else in the clip's scene, with its poses, light and camera.

    Args:
        clip: whose frames are replaced.
        somebody: who is shown.
        size_px: side of the pictures.

    Raises:
        ClipError: the clip is not of a rendered person.
    """

    def __init__(self, clip: TrainingClip, somebody: Person, size_px: int):
        self._truth = truth_of(clip)
        self._first = round(clip.start_ms * self._truth.fps / 1000)
        self._studio = Studio(somebody, self._truth.scene, size_px)
        self._size_px = size_px

    def render(self, frames: np.ndarray, points_px: np.ndarray) -> np.ndarray:
        """Pictures (F, S, S, 3) uint8.

        Args:
            frames: (F,) of the clip.
            points_px: (F, 68, 2) where its landmarks lie in the pictures: the other face is moved, turned and zoomed onto them, so that its
                eyes and mouth fill the rectangles that are cut by these. Where they are NaN the picture is left as it was rendered.
        """
        pictures = []
        noise = np.random.default_rng([self._studio.person.seed, self._first, *frames[:1].tolist(), 0x0E])
        for frame, target in zip(frames, points_px, strict=True):
            shot = self._studio.render(pose_at(self._truth.pose, self._first + int(frame)))
            rgb = through_camera(shot.rgb, self._truth.faults, np.zeros(2), noise)
            if np.isfinite(target).all():
                rgb = face_crop.warp(rgb, fit_similarity(shot.points_px.astype(np.float64), target), self._size_px)
            pictures.append(rgb)
        return np.stack(pictures)
