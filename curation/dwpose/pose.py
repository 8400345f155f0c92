"""133 points of a person by RTMPose-l as DWPose distilled it (dw-ll_ucoco_384): crop, SimCC decoding, points back in the picture.

Order of the points as COCO-WholeBody has it: 17 body, 6 feet, 68 face, 21 a hand. DWPose's own code inserts a neck (the middle of the
shoulders) at 17, so the face is 23..90 here and 24..91 there; it is in the order of the iBUG mark-up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation.dwpose.session import OnnxNetwork

WIDTH_PX, HEIGHT_PX = 288, 384  # input of dw-ll_ucoco_384
N_POINTS = 133  # of a whole body in the COCO-WholeBody order
FACE = slice(23, 91)
SHOULDERS = (5, 6)  # rows of the 133 points
PADDING = 1.25  # of a person's box
BINS_PER_PX = 2  # of SimCC
_MEAN_RGB = np.array([123.675, 116.28, 103.53], np.float32)
_STD_RGB = np.array([58.395, 57.12, 57.375], np.float32)
_NORMALISED = np.ascontiguousarray(((np.arange(256, dtype=np.float32)[:, None] - _MEAN_RGB) / _STD_RGB).T)  # (3, 256)


def crop_frame(box_px: np.ndarray) -> np.ndarray:
    """(4,) centre x, centre y, width, height in px of what the network sees of a box (4,): a quarter larger, 3 wide to 4 high."""
    centre, size = (box_px[:2] + box_px[2:]) / 2, (box_px[2:] - box_px[:2]) * PADDING
    width = max(size[0], size[1] * WIDTH_PX / HEIGHT_PX)
    return np.array([*centre, width, width * HEIGHT_PX / WIDTH_PX])


def crop_matrix(box_px: np.ndarray) -> np.ndarray:
    """(2, 3) float64 from the picture to the network's 288 x 384, both counted from the centre of the first pixel, as OpenCV counts."""
    x, y, width, _ = crop_frame(box_px)
    scale = WIDTH_PX / width
    return np.array([[scale, 0, WIDTH_PX / 2 - scale * x], [0, scale, HEIGHT_PX / 2 - scale * y]])


def crop(rgb: np.ndarray, box_px: np.ndarray) -> np.ndarray:
    """(384, 288, 3) uint8: the box of a picture, by one bilinear resampling as the network was trained with; black beyond the edges."""
    import cv2

    return cv2.warpAffine(rgb, crop_matrix(box_px), (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_LINEAR)


def normalised(crop_rgb: np.ndarray) -> np.ndarray:
    """(3, 384, 288) float32 of (384, 288, 3) uint8: mean and deviation of ImageNet taken off."""
    import cv2

    planes = np.empty((3, *crop_rgb.shape[:2]), np.float32)
    for plane, channel, values in zip(planes, cv2.split(crop_rgb), _NORMALISED, strict=True):
        cv2.LUT(channel, values, dst=plane)
    return planes


def decode_simcc(simcc_x: np.ndarray, simcc_y: np.ndarray, refine: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Places and scores from SimCC (Li et al., 2022): a distribution over bins for each axis.

    Args:
        simcc_x, simcc_y: (N, K, bins along the axis) float32.
        refine: place the peak between the bins, at the top of the parabola through the highest bin and its neighbours. False is the
            highest bin itself, as the reference has it: half a px of the crop, which is over 2 px where a 1080p picture is the crop.

    Returns:
        (N, K, 2) float64 x, y in px of the crop, and (N, K) float32 the lower of the two peaks, in 0..1.
    """
    places = np.stack([_peak(simcc_x, refine), _peak(simcc_y, refine)], axis=-1) / BINS_PER_PX
    return places, np.clip(np.minimum(simcc_x.max(axis=-1), simcc_y.max(axis=-1)), 0, 1)


def _peak(simcc: np.ndarray, refine: bool) -> np.ndarray:
    top = simcc.argmax(axis=-1)
    if not refine:
        return top.astype(np.float64)
    last = simcc.shape[-1] - 1
    left, middle, right = (
        np.take_along_axis(simcc, np.clip(top + step, 0, last)[..., None], axis=-1)[..., 0].astype(np.float64) for step in (-1, 0, 1)
    )
    bend = left - 2 * middle + right  # at most 0, and 0 only on a plateau
    inner = (top > 0) & (top < last) & (bend < 0)
    return top + np.where(inner, 0.5 * (left - right) / np.where(inner, bend, 1.0), 0.0)


class PoseNetwork:
    """dw-ll_ucoco_384: takes (N, 3, 384, 288) normalised RGB, gives SimCC (N, 133, 576) along x and (N, 133, 768) along y."""

    def __init__(self, network: OnnxNetwork, refine: bool = True):
        self.network = network
        self._refine = refine

    def locate(self, crops: Sequence[np.ndarray], boxes_px: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The points of people.

        Args:
            crops: N of (384, 288, 3) uint8, from `crop`; no more than the network's batch.
            boxes_px: the boxes (4,) that they were cut from.

        Returns:
            (N, 133, 2) float32 in px of the picture, pixel i covering i..i+1, and (N, 133) float32 scores in 0..1.
        """
        simcc_x, simcc_y = self.network.run([normalised(crop_rgb) for crop_rgb in crops])
        places, scores = decode_simcc(simcc_x, simcc_y, self._refine)
        frames = np.stack([crop_frame(box_px) for box_px in boxes_px])[:, None]  # (N, 1, 4)
        points_px = (places - [WIDTH_PX / 2, HEIGHT_PX / 2]) * frames[..., 2:3] / WIDTH_PX + frames[..., :2]
        return (points_px + 0.5).astype(np.float32), scores.astype(np.float32)  # OpenCV, and so the crop, counts from pixel centres
