"""HDR pictures (PQ as phones and discs use it, HLG as phones and broadcasters do) as SDR ones, by a colour table."""

from __future__ import annotations

import functools
import itertools
from fractions import Fraction
from typing import Any

import numpy as np

_PQ, _HLG = 16, 18  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
_UNSPECIFIED = 2  # of the matrix
_BT2020 = 9  # AVCOL_PRI_BT2020
_LEVEL = 8  # of the table: level² steps a channel, a picture of level³ x level³
_FORMAT = "rgb48le"  # planar colours come out of `haldclut` in another order
_WHITE_NITS = 203.0  # of SDR white within HDR (ITU-R BT.2408)
_PEAK_NITS = 1000.0  # comes out as 255: what phones and most discs are graded for
_KNEE = 0.6  # of SDR white, linear: light below it, faces with it, comes out as it is; what is brighter is compressed
_SDR_GAMMA = 2.4  # BT.1886
_BT2020_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])  # ITU-R BT.2407
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593])


def is_hdr(frame: Any) -> bool:
    """Whether an `av.VideoFrame` says that its light is coded for HDR."""
    return int(frame.color_trc) in (_PQ, _HLG)


class ToneMapper:
    """Converts the frames of one HDR stream to BT.709 RGB.

    Args:
        first: the first `av.VideoFrame`.
        width_px, height_px: of what comes out.
    """

    def __init__(self, first: Any, width_px: int, height_px: int):
        from av.filter import Graph
        from av.video.frame import VideoFrame

        table = VideoFrame.from_ndarray(_table(int(first.color_trc), int(first.color_primaries)), format=_FORMAT)
        table.pts, table.time_base = 0, Fraction(1)
        matrix = ":in_color_matrix=bt2020" if int(first.colorspace) == _UNSPECIFIED else ""
        self._graph = graph = Graph()
        graph.threads = 1
        self._source = graph.add_buffer(
            width=first.width, height=first.height, format=first.format.name, time_base=first.time_base or Fraction(1)
        )
        tables = graph.add_buffer(width=table.width, height=table.height, format=table.format, time_base=table.time_base)
        coloured = graph.add("haldclut", "clut=first:interp=tetrahedral")
        self._sink = graph.add("buffersink")
        pictures = [
            self._source,
            graph.add("scale", f"{width_px}:{height_px}{matrix}"),
            graph.add("format", _FORMAT),
            graph.add("setpts", "N"),  # the table is there from 0 on
            coloured,
            graph.add("format", "rgb24"),
            self._sink,
        ]
        for a, b in itertools.pairwise(pictures):
            a.link_to(b)
        tables.link_to(coloured, 0, 1)
        graph.configure()
        tables.push(table)
        tables.push(None)

    def convert(self, frame: Any) -> Any:
        """An `av.VideoFrame` in rgb24."""
        self._source.push(frame)
        return self._sink.pull()


@functools.cache
def _table(transfer: int, primaries: int) -> np.ndarray:
    """(level³, level³, 3) uint16, SDR colours of the HDR colours on a grid, the red one first; not to be written to."""
    steps = np.linspace(0.0, 1.0, _LEVEL**2)
    blue, green, red = np.meshgrid(_nits(steps, transfer), _nits(steps, transfer), _nits(steps, transfer), indexing="ij")
    light = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    if transfer == _HLG:
        light *= (light @ _BT2020_LUMA / _PEAK_NITS)[:, None] ** 0.2  # the system gamma of a display of 1000 nits, 1.2
    light /= _WHITE_NITS
    brightest = np.maximum(light.max(axis=1, keepdims=True), 1e-9)
    light *= _compressed(brightest) / brightest  # all three alike: colours keep their hue
    if primaries in (_BT2020, _UNSPECIFIED):
        light = light @ _BT2020_TO_709.T
    codes = np.clip(light, 0.0, 1.0) ** (1 / _SDR_GAMMA)
    table = np.round(codes * 65535).astype(np.uint16).reshape(_LEVEL**3, _LEVEL**3, 3)
    table.setflags(write=False)
    return table


def _nits(codes: np.ndarray, transfer: int) -> np.ndarray:
    """Light of codes 0..1: of PQ on the display, of HLG in the scene with its white at 1000."""
    if transfer == _PQ:  # SMPTE ST 2084
        power = codes ** (1 / 78.84375)
        return 10_000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    return _PEAK_NITS * np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - 0.55991073) / 0.17883277) + 0.28466892) / 12)  # ARIB STD-B67


def _compressed(light: np.ndarray) -> np.ndarray:
    """Light in units of SDR white within 0..1: Reinhard's curve from the knee on."""
    above = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    peak = (_PEAK_NITS / _WHITE_NITS - _KNEE) / (1 - _KNEE)
    return np.minimum(np.minimum(light, _KNEE) + (1 - _KNEE) * above * (1 + above / peak**2) / (1 + above), 1.0)
