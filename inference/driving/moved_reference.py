"""The portrait moved as a whole to where a frame's head lies: what a model with `copied_reference: moved` repairs."""

from __future__ import annotations

import numpy as np

from curation.landmarks.sixty_eight import RIGID
from inference.driving.estimator import fit_similarity, smoothed, sound_maps

DISTANCE_SMOOTH_MS = 40.0
"""Standard deviation of the Gaussian over the head's size in the picture: of all that landmarks say of a head's place its distance changes
slowest and drowns first in their noise. Shifts and turns are faster, and are taken as they are read."""


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


def steady_distance(points_px: np.ndarray, frames_px: np.ndarray, sigma_frames: float) -> np.ndarray:
    """Landmarks of a clip whose head grows and shrinks without the landmarks' noise, turned and shifted as before.

    Args:
        points_px: (68, 2) landmarks that sizes are measured against.
        frames_px: (F, 68, 2) of the whole clip in order; a frame with a NaN stays as it is.
        sigma_frames: of the Gaussian over the logarithm of the size; 0 changes nothing.

    Returns:
        (F, 68, 2): each frame's landmarks, zoomed about the middle of those that expressions hardly move.
    """
    source, targets = np.asarray(points_px, np.float64)[RIGID], np.asarray(frames_px, np.float64)
    if sigma_frames <= 0 or not np.isfinite(source).all() or not np.ptp(source, axis=0).max(initial=0.0) > 0:
        return targets
    maps = np.full((len(targets), 2, 3), np.nan)
    seen = np.isfinite(targets).all(axis=(1, 2))
    maps[seen] = fit_similarity(source, targets[seen][:, RIGID])
    size = np.hypot(maps[:, 0, 0], maps[:, 1, 0])
    known = np.log(np.where(size > 0, size, np.nan))
    change = np.exp(smoothed(known, sigma_frames) - known)
    middles = targets[:, RIGID].mean(axis=1, keepdims=True)
    return np.where(np.isfinite(change)[:, None, None], middles + (targets - middles) * change[:, None, None], targets)
