"""A driver whose end nobody knows: patches of its frames as they come. A file's are measured over the whole of it (`Driving`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation.contracts import LandmarkBackend
from curation.face_crop import clip_square, crop_matrix, transform_points, warp
from inference.driving.amplitude import compose, corrections
from inference.driving.driving import DrivingOptions
from inference.driving.estimator import estimate_motion
from inference.driving.reference import Reference, find_face
from inference.driving.regions import REGION_CHOICES, RegionBoxes, cut_patches, patch_boxes
from inference.driving.retarget import retarget_matrix
from manifests import UserError

REMEMBERED = 250  # frames over which a patch's size is measured: 10 s at 25 a second


class LiveDriver:
    """Lays the frames of a driver over a portrait. What a file's driver has from all of its frames comes from the first group that shows a
    face: where the portrait is cut, and where the head was at first; patch sizes from the last `REMEMBERED` frames. Landmarks are not
    smoothed, since that would need the next ones. A frame without a face repeats the last patches.

    Args:
        portrait: what is animated.
        options: how the driver is used; `missing`, `smooth_ms` and `still_s` are not looked at.
        backend: finds the landmarks, on each frame for itself.

    Attributes:
        reference: the portrait in the crop that the patches belong to; None before a face was seen.
        num_missing: frames without a face.
        points_px: (n, 68, 2) landmarks on the model's picture of the frames that came last; of one without a face those of the one before.
    """

    def __init__(self, portrait: Reference, options: DrivingOptions, backend: LandmarkBackend):
        self._portrait, self._options, self._backend = portrait, options, backend
        self.size_px = portrait.size_px
        self.reference: Reference | None = None
        self.num_missing = 0
        self._canvas = np.eye(2, 3)  # driver px to model px
        self._first_points = np.zeros((68, 2))  # of the first frame with a face, driver px
        self._points = np.zeros((0, 68, 2))  # of the last frames, model px
        self.points_px = np.full((1, 68, 2), np.nan)
        self._last = np.zeros((self.size_px, self.size_px, 3), np.uint8)

    def patches(self, frames: Sequence[np.ndarray]) -> np.ndarray | None:
        """(n, 3, S, S) uint8, black outside the patches, of n (H, W, 3) uint8 frames; None while no face has been seen."""
        points = np.full((len(frames), 68, 2), np.nan)
        for index, rgb in enumerate(frames):
            found, _ = find_face(rgb, self._backend)
            if found is None:
                self.num_missing += 1
            else:
                points[index] = found
        seen = np.flatnonzero(np.isfinite(points).all(axis=(1, 2)))
        if self.reference is None:
            if not len(seen):
                return None
            self._begin(points[seen])
        out = np.empty((len(frames), self.size_px, self.size_px, 3), np.uint8)
        pictures: list[np.ndarray] = list(self._cut([frames[int(index)] for index in seen], points[seen])) if len(seen) else []
        rows = dict(zip(seen.tolist(), pictures, strict=True))
        if self.num_missing and not self._last.any() and len(seen):
            self._last = rows[int(seen[0])]
        places = dict(zip(seen.tolist(), self._points[len(self._points) - len(seen) :], strict=True))
        held = self.points_px[-1]
        self.points_px = np.stack([held := places.get(index, held) for index in range(len(frames))])
        for index in range(len(frames)):
            self._last = out[index] = rows.get(index, self._last)
        return np.ascontiguousarray(out.transpose(0, 3, 1, 2))

    def _begin(self, points: np.ndarray) -> None:
        """Chooses the portrait's crop about where its face goes in the first frames (n, 68, 2)."""
        self._first_points = points[0]
        if self._options.retarget == "none":
            self.reference = self._portrait
            self._canvas = crop_matrix(clip_square(points, self._options.crop_scale), self.size_px)
            return
        over = retarget_matrix(points[0], self._portrait.points_px, self._options.retarget)
        went = [transform_points(one, compose(over, correction)) for one, correction in zip(points, self._corrected(points), strict=True)]
        self.reference = self._portrait.around(np.stack(went))
        self._canvas = compose(self.reference.matrix, over)

    def _corrected(self, points: np.ndarray) -> np.ndarray:
        """(n, 2, 3) maps of amplitude, measured from the first frame that showed the face."""
        if self._options.amplitude.keeps_all:
            return np.tile(np.eye(2, 3), (len(points), 1, 1))
        try:
            motion = estimate_motion(np.concatenate([self._first_points[None], points]), self._options.estimator)
        except ValueError as error:
            raise UserError(f"the driver: {error}") from None
        return corrections(motion.matrices, motion.pivot_px, self._options.amplitude)[1:]

    def _cut(self, frames: Sequence[np.ndarray], points: np.ndarray) -> np.ndarray:
        matrices = compose(self._canvas, self._corrected(points))
        own = np.stack([transform_points(one, matrix) for one, matrix in zip(points, matrices, strict=True)])
        self._points = np.concatenate([self._points, own])[-max(REMEMBERED, len(own)) :]
        boxes = patch_boxes(self._points, self.size_px, self._options.patch_rule)
        last = RegionBoxes(boxes.eyes[-len(own) :], boxes.mouth[-len(own) :])
        warped = np.stack([warp(rgb, matrix, self.size_px) for rgb, matrix in zip(frames, matrices, strict=True)])
        return cut_patches(warped, last, REGION_CHOICES[self._options.regions], self._options.grey)
