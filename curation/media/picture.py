"""How a decoded picture becomes upright RGB with square pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from curation.media.hdr import ToneMapper, is_hdr

_HD_HEIGHT_PX = 720  # from here on video that does not name its colour matrix is BT.709, below BT.601, as players assume
_SQUARE_TOLERANCE = 0.02  # ratios such as 1215:1216 are rounding by an encoder
_UNSPECIFIED_MATRIX = 2  # AVCOL_SPC_UNSPECIFIED


@dataclass(frozen=True)
class Orientation:
    """What the file asks a player to do: transpose first, then mirror. `rotation_deg` is clockwise, of {0, 90, 180, 270}."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False
    rotation_deg: int = 0

    @classmethod
    def of_matrix(cls, matrix: np.ndarray) -> Orientation:
        """From the (3, 3) display matrix of ISO 14496-12 (x' = a x + c y, y' = b x + d y), to the nearest quarter turn."""
        (a, b), (c, d) = matrix[:2, :2].astype(float)
        rotation_deg = round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, mirror_x=c < 0, mirror_y=b < 0, rotation_deg=rotation_deg)
        return cls(False, mirror_x=a < 0, mirror_y=d < 0, rotation_deg=rotation_deg)

    def apply(self, rgb: np.ndarray) -> np.ndarray:
        """(H, W, 3) to the upright view, without copying."""
        if self.transpose:
            rgb = rgb.transpose(1, 0, 2)
        return rgb[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]


class PictureWriter:
    """Converts the frames of one stream; every frame comes out with the size of the first.

    Args:
        first: the first decoded `av.VideoFrame`.
        pixel_aspect: width : height of a pixel, None or 0 if unknown. Wide or narrow pixels are made square by scaling the width, as
            players do, because angles and distances are measured on the frames.
    """

    def __init__(self, first: Any, pixel_aspect: Fraction | None):
        from av.video.reformatter import Colorspace, VideoReformatter

        self.orientation = orientation_of(first)
        ratio = float(pixel_aspect or 1)
        square = abs(ratio - 1) < _SQUARE_TOLERANCE or not 0.25 <= ratio <= 4
        self._width_px = first.width if square else max(1, round(first.width * ratio))
        self._height_px = first.height
        self._reformatter = VideoReformatter()
        self._tone_mapper = ToneMapper(first, self._width_px, self._height_px) if is_hdr(first) else None
        self._itu709 = Colorspace.ITU709

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of the upright picture."""
        h, w = self._height_px, self._width_px
        return (w, h, 3) if self.orientation.transpose else (h, w, 3)

    def write(self, frame: Any, out: np.ndarray) -> None:
        """Fills `out`, (H, W, 3) uint8 of `shape`, from an `av.VideoFrame`."""
        stored = self._stored(frame)
        if self.orientation == Orientation():
            np.copyto(out, stored)
        else:
            upright = self.orientation.apply(stored)
            for channel in range(3):  # three times as fast as all at once, where the memory order changes
                out[..., channel] = upright[..., channel]

    def _stored(self, frame: Any) -> np.ndarray:
        """(H, W, 3) RGB as the file stores it, not yet turned."""
        matrix: int | None = None
        if frame.colorspace == _UNSPECIFIED_MATRIX and frame.height >= _HD_HEIGHT_PX:
            matrix = self._itu709
        if self._tone_mapper is not None:
            rgb = self._tone_mapper.convert(frame)
        else:
            rgb = self._reformatter.reformat(frame, self._width_px, self._height_px, "rgb24", src_colorspace=matrix, threads=1)
        plane = rgb.planes[0]
        return np.ndarray((self._height_px, self._width_px, 3), np.uint8, buffer=memoryview(plane), strides=(plane.line_size, 3, 1))


def orientation_of(frame: Any) -> Orientation:
    """From the display matrix that the container attaches to the frame."""
    for side in frame.side_data:
        if side.type.name == "DISPLAYMATRIX" and side.buffer_size >= 36:
            return Orientation.of_matrix(np.frombuffer(side, np.int32, count=9).reshape(3, 3))
    return Orientation()
