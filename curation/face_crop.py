"""Where to cut a face out of a picture, and cutting it: squares from landmarks, the matrix of a crop, one resample.

Coordinates are those of the landmarks (`curation.contracts`): pixel i covers i..i+1, its middle lies at i + 0.5, x right, y down. A square
is (centre_x, centre_y, side) in source px. The same geometry serves the materialised clips, training data, driving videos and evaluation.
"""

from __future__ import annotations

import math

import numpy as np

from manifests.errors import NoLandmarksError

HEAD_SCALE = (
    2.0  # side of the square over the longer side of the landmark box (brows to chin, ear to ear): the head with hair and chin room
)
HAIR_SHIFT = 0.2  # of that longer side: how far the square's middle lies above the box's, because hair needs more room than the chin
ROOM = 1.1  # a square for a whole clip is at least so many times as large as all that the face covers in it
_OUTLIER_SHARE = 5  # per cent of the frames at either end that may not widen the square of a clip
_MEDIAN_S = 0.36  # smoothing first drops what lasts less than half of this, such as one bad frame
_CUBIC_UP_TO = 1.05  # pictures that shrink by less than this are interpolated, others averaged


class NoFaceError(NoLandmarksError):
    """No frame has landmarks to cut a square from."""


def clip_square(points_px: np.ndarray, scale: float = HEAD_SCALE) -> np.ndarray:
    """One square for a whole clip, so that the motion of the head stays visible.

    Its middle is the middle of where the face's box goes, its side `scale` times the median of the box's longer side, or as much as the
    face covers over the clip with a margin of 10 %, whichever is larger. One frame in twenty at either end is taken for an outlier.

    Args:
        points_px: (T, 68, 2) landmarks in source px; frames with NaN are ignored.
        scale: side over the longer side of the landmark box.

    Returns:
        (3,) float64 centre_x, centre_y, side. The square may reach beyond the picture.

    Raises:
        NoFaceError: no frame has a face.
    """
    centres, sides, boxes = _frame_boxes(points_px)
    seen = np.isfinite(sides)
    if not seen.any():
        raise NoFaceError("no frame has a face: there is nothing to centre a crop on")
    face = float(np.median(sides[seen]))
    low, high = np.percentile(centres[seen], [_OUTLIER_SHARE, 100 - _OUTLIER_SHARE], axis=0)
    first, last = np.percentile(boxes[seen], [_OUTLIER_SHARE, 100 - _OUTLIER_SHARE], axis=0)
    covered = (last[2:] - first[:2]).max()
    centre = (low + high) / 2 - [0.0, HAIR_SHIFT * face]
    return np.array([*centre, max(scale * face, ROOM * covered, 1.0)])


def smoothed_squares(points_px: np.ndarray, scale: float = HEAD_SCALE, *, hz: float = 25.0, smooth_s: float = 0.4) -> np.ndarray:
    """A square a frame that follows the head: for footage in which it wanders through the picture.

    Gaps are bridged by straight lines, single bad frames dropped by a running median, the rest smoothed by a Gaussian. The side is smoothed
    four times as long as the middle, so that a nod or an opening mouth does not zoom.

    Args:
        points_px: (T, 68, 2) landmarks in source px of frames at regular times; NaN where unseen.
        scale: side over the longer side of the landmark box.
        hz: frames a second.
        smooth_s: standard deviation of the Gaussian over the middle's path, seconds; 0 switches all smoothing of the middle off.

    Returns:
        (T, 3) float64 centre_x, centre_y, side.

    Raises:
        NoFaceError: no frame has a face.
    """
    centres, sides, _ = _frame_boxes(points_px)
    seen = np.flatnonzero(np.isfinite(sides))
    if not len(seen):
        raise NoFaceError("no frame has a face: there is nothing to centre a crop on")
    every = np.arange(len(sides))
    tracks = np.stack([np.interp(every, seen, values[seen]) for values in (centres[:, 0], centres[:, 1], sides)], axis=1)
    if smooth_s > 0:
        tracks[:, :2] = _gaussian(_median(tracks[:, :2], _MEDIAN_S * hz), smooth_s * hz)
    tracks[:, 2:] = _gaussian(_median(tracks[:, 2:], _MEDIAN_S * hz), 4 * smooth_s * hz)
    face = tracks[:, 2]
    return np.stack([tracks[:, 0], tracks[:, 1] - HAIR_SHIFT * face, np.maximum(scale * face, 1.0)], axis=1)


def within_picture(squares: np.ndarray, width_px: int, height_px: int) -> np.ndarray:
    """Squares (..., 3) moved, and made smaller where they must be, until they lie within the picture: no black, but not always centred."""
    squares = np.asarray(squares, np.float64)
    side = np.minimum(squares[..., 2], min(width_px, height_px))
    x, y = (np.clip(squares[..., i], side / 2, size - side / 2) for i, size in ((0, width_px), (1, height_px)))
    return np.stack([x, y, side], axis=-1)


def crop_matrix(square: np.ndarray, size_px: int) -> np.ndarray:
    """(2, 3) float64: takes a point in source px to px of the crop of `square` at size_px x size_px, both with pixel i covering i..i+1."""
    x, y, side = (float(value) for value in square)
    zoom = size_px / side
    return np.array([[zoom, 0.0, size_px / 2 - zoom * x], [0.0, zoom, size_px / 2 - zoom * y]])


def transform_points(points_px: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) through an affine map (2, 3), as float64; NaN stays NaN."""
    matrix = np.asarray(matrix, np.float64)
    return np.asarray(points_px, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(rgb: np.ndarray, matrix: np.ndarray, size_px: int) -> np.ndarray:
    """The part of a picture that an affine map takes to 0..size_px, resampled once.

    Enlarging is bicubic. When the map shrinks, each pixel of the result is the mean of a grid of samples that are no farther apart than
    the source's pixels, so that fine texture does not alias.

    Args:
        rgb: (H, W, 3) uint8.
        matrix: (2, 3), source px to result px, pixel i covering i..i+1; any invertible affine map.
        size_px: side of the result.

    Returns:
        (size_px, size_px, 3) uint8; black beyond the picture.

    Raises:
        ValueError: a map that is not finite or not invertible.
    """
    import cv2

    matrix = np.asarray(matrix, np.float64)
    zooms = np.linalg.svd(matrix[:, :2], compute_uv=False) if np.isfinite(matrix).all() else np.zeros(2)
    if zooms[-1] <= 0:
        raise ValueError(f"the map cannot be inverted: {matrix.tolist()}")
    per_pixel = 1 if zooms[-1] * _CUBIC_UP_TO >= 1 else min(math.ceil(1 / zooms[-1]), max(1, 16384 // size_px))
    # warpAffine counts from pixel centres.
    linear = matrix[:, :2] * per_pixel
    counted = np.column_stack([linear, matrix[:, 2] * per_pixel + linear.sum(axis=1) / 2 - 0.5])
    how = cv2.INTER_CUBIC if per_pixel == 1 else cv2.INTER_LINEAR
    sampled = cv2.warpAffine(rgb, counted, (size_px * per_pixel,) * 2, flags=how, borderMode=cv2.BORDER_CONSTANT)
    return sampled if per_pixel == 1 else cv2.resize(sampled, (size_px, size_px), interpolation=cv2.INTER_AREA)


def _frame_boxes(points_px: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (T, 2), longer sides (T,) and boxes (T, 4) of the landmarks, float64; NaN where a point is missing."""
    points = np.asarray(points_px, np.float64)
    if points.ndim != 3 or points.shape[-1] != 2:
        raise ValueError(f"points_px must have the shape (T, 68, 2), not {points.shape}")
    low, high = points.min(axis=1), points.max(axis=1)  # NaN if any point is
    sides = (high - low).max(axis=1)
    return (low + high) / 2, np.where(np.isfinite(sides), sides, np.nan), np.concatenate([low, high], axis=1)


def _median(tracks: np.ndarray, n_frames: float) -> np.ndarray:
    """Running median down the columns of (T, K), over the next odd number of frames; the ends are repeated."""
    reach = max(0, round((n_frames - 1) / 2))
    padded = np.pad(tracks, ((reach, reach), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0), axis=-1)


def _gaussian(tracks: np.ndarray, sigma_frames: float) -> np.ndarray:
    """Gaussian smoothing down the columns of (T, K); the ends are repeated."""
    reach = math.ceil(3 * sigma_frames)
    if reach < 1:
        return tracks
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_frames) ** 2)
    weights /= weights.sum()
    padded = np.pad(tracks, ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, weights, mode="valid") for column in padded.T], axis=1)
