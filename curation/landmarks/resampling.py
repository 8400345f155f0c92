"""Making pictures smaller before a network looks at them."""

from __future__ import annotations

import numpy as np


def power_of_two(reduction: float, height_px: int, width_px: int) -> int:
    """The largest power of two by which a picture can be averaged without becoming smaller than `reduction` asks."""
    most = min(reduction, height_px, width_px)
    return 1 << (int(most).bit_length() - 1) if most >= 1 else 1


def averaged(rgb: np.ndarray, n: int) -> np.ndarray:
    """A (H, W, 3) picture averaged over n x n pixels, n a power of two; what is left over at the far edges is dropped.

    Halving again and again, because OpenCV averages 2 x 2 pixels several times as fast as any other number.
    """
    import cv2

    while n > 1:
        rows, columns = rgb.shape[0] // 2, rgb.shape[1] // 2
        rgb = cv2.resize(rgb[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
        n //= 2
    return rgb
