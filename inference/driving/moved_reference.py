"""The portrait moved as a whole to where a frame's head lies: what a model with `copied_reference: moved` repairs."""

from __future__ import annotations

import numpy as np

from curation.landmarks.sixty_eight import RIGID
from inference.driving.estimator import fit_similarity, sound_maps


def moved_reference(picture: np.ndarray, points_px: np.ndarray, frames_px: np.ndarray) -> np.ndarray:
    """Turns, zooms and shifts a picture so that its face lies on each frame's: least squares over the points that expressions hardly move.
    What comes from outside the picture repeats its edge.

    Args:
        picture: (S, S, 3) uint8.
        points_px: (68, 2) landmarks on it.
        frames_px: (F, 68, 2) landmarks of the frames in the same crop; a frame with a NaN, or no map that a head could make, leaves the
            picture where it is.

    Returns:
        (F, S, S, 3) uint8.
    """
    import cv2

    source, targets = np.asarray(points_px, np.float64)[RIGID], np.asarray(frames_px, np.float64)[:, RIGID]
    still = np.eye(2, 3)
    maps = np.tile(still, (len(targets), 1, 1))
    seen = np.isfinite(targets).all(axis=(1, 2)) & np.isfinite(source).all() & (np.ptp(source, axis=0).max(initial=0.0) > 0)
    if seen.any():
        maps[seen] = fit_similarity(source, targets[seen])
    maps[~sound_maps(maps)] = still
    size_px = picture.shape[0]
    moved = np.empty((len(maps), *picture.shape), np.uint8)
    for result, matrix in zip(moved, maps, strict=True):
        centres = np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2].sum(axis=1) / 2 - 0.5])  # warpAffine counts from them
        result[:] = cv2.warpAffine(picture, centres, (size_px, size_px), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return moved
