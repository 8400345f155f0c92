"""The in-plane motion of a face from its landmarks: least squares on the points that expressions hardly move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.landmarks.sixty_eight import RIGID

ESTIMATORS = ("similarity", "affine")
_MIN_SPREAD = 1e-2  # smaller over larger axis of the first frame's rigid points, below which their map is not determined
_ZOOM_LIMITS = (0.1, 10.0)
_MAX_CONDITION = 10.0  # an affine map that squeezes one axis ten times as much as the other is no head that moved


@dataclass(frozen=True)
class MotionEstimate:
    """How the rigid landmarks move from the first frame that shows the face.

    Attributes:
        matrices: (F, 2, 3) float64, the identity up to that frame; every one is finite and has a positive determinant.
        pivot_px: (2,) centroid of that frame's rigid landmarks.
        fitted: (F,) bool; elsewhere the last fitted map stands in.
        n_missing: frames without landmarks.
        n_degenerate: frames whose landmarks give no usable map.
    """

    matrices: np.ndarray
    pivot_px: np.ndarray
    fitted: np.ndarray
    n_missing: int
    n_degenerate: int


def estimate_motion(points_px: np.ndarray, estimator: str = "similarity", smooth_frames: float = 0.0) -> MotionEstimate:
    """Fits a map a frame.

    Args:
        points_px: (F, 68, 2) landmarks, NaN where the face is not seen.
        estimator: `similarity` (4 numbers: turn, zoom, shift; always invertible) or `affine` (the paper's 6, which also take a part of a
            turn to the side for a squeeze).
        smooth_frames: standard deviation of the Gaussian that smooths the rigid landmarks along time, in frames; 0 does not.

    Raises:
        ValueError: an unknown estimator, or no frame has a face whose motion could be measured.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}: one of {', '.join(ESTIMATORS)}")
    rigid = np.asarray(points_px, np.float64)[:, RIGID]  # (F, N, 2)
    seen = np.asarray(np.isfinite(rigid).all(axis=(1, 2)))
    usable = seen.copy()
    usable[seen] = _spread(rigid[seen]) > _MIN_SPREAD
    if not usable.any():
        raise ValueError("no frame has a face whose motion could be measured")
    if smooth_frames > 0:
        rigid = smoothed(rigid, smooth_frames)
    first = int(usable.argmax())
    fit = fit_similarity if estimator == "similarity" else fit_affine
    matrices = np.tile(np.eye(2, 3), (len(rigid), 1, 1))
    later = usable.copy()
    later[: first + 1] = False
    if later.any():
        matrices[later] = fit(rigid[first], rigid[later])
    fitted = usable & sound_maps(matrices)
    last_fitted = np.maximum.accumulate(np.where(fitted, np.arange(len(rigid)), first))
    return MotionEstimate(
        matrices=matrices[last_fitted],
        pivot_px=rigid[first].mean(axis=0),
        fitted=fitted,
        n_missing=int((~seen).sum()),
        n_degenerate=int((seen & ~fitted).sum()),
    )


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Turn, zoom and shift that take points closest to others (Umeyama, "Least-squares estimation of transformation parameters", 1991;
    in the plane a linear problem in complex numbers).

    Args:
        source: (N, 2), not all the same.
        target: (..., N, 2).

    Returns:
        (..., 2, 3) float64.
    """
    centre, target_centre = source.mean(axis=0), target.mean(axis=-2)
    z = (source - centre) @ np.array([1, 1j])
    w = (target - target_centre[..., None, :]) @ np.array([1, 1j])
    factor = (w * z.conj()).sum(axis=-1) / (z * z.conj()).sum().real
    linear = np.stack([np.stack([factor.real, -factor.imag], axis=-1), np.stack([factor.imag, factor.real], axis=-1)], axis=-2)
    return _with_shift(linear, centre, target_centre)


def fit_affine(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The affine map that takes points (N, 2), not all on a line, closest to others (..., N, 2): (..., 2, 3) float64."""
    centre, target_centre = source.mean(axis=0), target.mean(axis=-2)
    linear = np.swapaxes(np.linalg.pinv(source - centre) @ (target - target_centre[..., None, :]), -1, -2)
    return _with_shift(linear, centre, target_centre)


def smoothed(values: np.ndarray, sigma_frames: float) -> np.ndarray:
    """Gaussian smoothing along the first axis. A steady motion is unchanged, and so are the first and the last value (the ends are
    continued by their mirror image through the end point). NaN stays where it is; for their neighbours gaps are bridged by straight lines.
    """
    flat = values.reshape(len(values), -1)
    seen = np.flatnonzero(np.isfinite(flat).all(axis=1))
    if len(seen) < 2:
        return values
    every = np.arange(seen[0], seen[-1] + 1)
    reach = int(np.ceil(4 * sigma_frames))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_frames) ** 2)
    weights /= weights.sum()
    result = np.full(flat.shape, np.nan)
    for column in range(flat.shape[1]):
        bridged = np.interp(every, seen, flat[seen, column])
        padded = np.pad(bridged, reach, mode="reflect", reflect_type="odd")
        result[seen, column] = np.convolve(padded, weights, mode="valid")[seen - seen[0]]
    return result.reshape(values.shape)


def _with_shift(linear: np.ndarray, centre: np.ndarray, target_centre: np.ndarray) -> np.ndarray:
    return np.concatenate([linear, (target_centre - linear @ centre)[..., None]], axis=-1)


def _spread(points: np.ndarray) -> np.ndarray:
    """(F,) of (F, N, 2): how far the points are from lying on a line, 0..1; 0 if they coincide."""
    lengths = np.linalg.svd(points - points.mean(axis=1, keepdims=True), compute_uv=False)
    return lengths[:, 1] / np.maximum(lengths[:, 0], 1e-6)


def sound_maps(matrices: np.ndarray) -> np.ndarray:
    """(F,) bool of (F, 2, 3) maps: finite, not mirrored, a zoom that a head could have, and no axis squeezed away."""
    finite = np.isfinite(matrices).all(axis=(1, 2))
    zooms = np.zeros((len(matrices), 2))
    zooms[finite] = np.linalg.svd(matrices[finite, :, :2], compute_uv=False)
    low, high = _ZOOM_LIMITS
    positive = np.where(finite, np.linalg.det(np.where(finite[:, None, None], matrices[:, :, :2], 0.0)), 0.0) > 0
    return positive & (zooms[:, 1] >= low) & (zooms[:, 0] <= high) & (zooms[:, 0] <= _MAX_CONDITION * zooms[:, 1])
