"""The published crop: a square around the face box, shifted down, 224 x 224, neither aligned nor normalised."""

from __future__ import annotations

import numpy as np

from curation.syncnet.filters import median_filter

CROP_PX = 224  # this and what follows as `syncnet_python` crops
CROP_SCALE = 0.4  # share of the box that is added on each side
PAD_VALUE = 110  # grey of 255 beyond the picture
SMOOTHING_TAPS = 13  # frames of the median over the boxes


def centre_and_half(boxes_px: np.ndarray) -> np.ndarray:
    """(T, 4) boxes to (T, 3): centre x, centre y, half of the longer side, in pixels."""
    x0, y0, x1, y1 = boxes_px.T
    return np.stack([(x0 + x1) / 2, (y0 + y1) / 2, np.maximum(x1 - x0, y1 - y0) / 2], axis=1)


def smoothed(squares_px: np.ndarray) -> np.ndarray:
    """(T, 3) centres and half sides, each filtered by a median of 13 frames that meets zeros beyond the ends."""
    return np.stack([median_filter(column, SMOOTHING_TAPS) for column in squares_px.T], axis=1)


def crop_face(rgb: np.ndarray, square_px: np.ndarray) -> np.ndarray:
    """Cut x - 1.4 s .. x + 1.4 s, y - s .. y + 1.8 s from a picture; what lies outside is grey.

    Args:
        rgb: (H, W, 3) uint8 RGB.
        square_px: (3,) centre x, centre y, half side s > 0.

    Returns:
        (224, 224, 3) uint8 BGR, as the network expects it.
    """
    import cv2

    x, y, s = (float(value) for value in square_px)
    pad = int(s * (1 + 2 * CROP_SCALE))  # the published cut is made, and its edges are truncated, in a picture padded by so much
    height, width = rgb.shape[:2]
    y0, y1 = int(y + pad - s), min(int(y + pad + s * (1 + 2 * CROP_SCALE)), height + 2 * pad)
    x0, x1 = int(x + pad - s * (1 + CROP_SCALE)), min(int(x + pad + s * (1 + CROP_SCALE)), width + 2 * pad)
    y0, x0 = max(0, y0), max(0, x0)
    y1, x1 = max(y1, y0 + 1), max(x1, x0 + 1)
    y0, y1, x0, x1 = y0 - pad, y1 - pad, x0 - pad, x1 - pad
    if y0 >= 0 and x0 >= 0 and y1 <= height and x1 <= width:
        face = rgb[y0:y1, x0:x1]
    else:
        face = np.full((y1 - y0, x1 - x0, 3), PAD_VALUE, np.uint8)
        inside_y, inside_x = slice(max(0, y0), min(height, y1)), slice(max(0, x0), min(width, x1))
        if inside_y.start < inside_y.stop and inside_x.start < inside_x.stop:
            face[inside_y.start - y0 : inside_y.stop - y0, inside_x.start - x0 : inside_x.stop - x0] = rgb[inside_y, inside_x]
    return cv2.resize(face, (CROP_PX, CROP_PX), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]
