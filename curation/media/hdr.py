"""HDR pictures (PQ as phones and discs use it, HLG as phones and broadcasters do) as SDR ones, by swscale's colour management."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

_PQ, _HLG = 16, 18  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
_UNSPECIFIED = 2  # of primaries and matrix alike


def is_hdr(frame: Any) -> bool:
    """Whether an `av.VideoFrame` says that its light is coded for HDR."""
    return int(frame.color_trc) in (_PQ, _HLG)


class ToneMapper:
    """Converts the frames of one HDR stream to BT.709 RGB. The first conversion takes some seconds: swscale computes its table.

    Args:
        first: the first `av.VideoFrame`.
        width_px, height_px: of what comes out.
    """

    def __init__(self, first: Any, width_px: int, height_px: int):
        from av.filter import Graph

        self._graph = graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=first.width, height=first.height, format=first.format.name, time_base=first.time_base or Fraction(1)
        )
        said = {
            "in_primaries": "bt2020" if int(first.color_primaries) == _UNSPECIFIED else None,
            "in_color_matrix": "bt2020" if int(first.colorspace) == _UNSPECIFIED else None,
            "out_primaries": "bt709",
            "out_transfer": "bt709",
            "intent": "relative_colorimetric",  # white is white; what is brighter is compressed
        }
        options = ":".join(f"{name}={value}" for name, value in said.items() if value)
        nodes = [
            source,
            graph.add("scale", f"{width_px}:{height_px}:{options}"),
            graph.add("format", "rgb24"),
            graph.add("buffersink"),
        ]
        for a, b in itertools.pairwise(nodes):
            a.link_to(b)
        graph.configure()

    def convert(self, frame: Any) -> Any:
        """An `av.VideoFrame` in rgb24."""
        self._graph.push(frame)
        return self._graph.pull()
