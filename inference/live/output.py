"""Live frames into a file: as long as the driver, frames that were dropped show the one before."""

from __future__ import annotations

import numpy as np

from inference.output.video_writer import FrameWriter


class Held:
    """Writes frame after frame of a driver's numbering."""

    def __init__(self, writer: FrameWriter):
        self._writer, self._written = writer, 0
        self._last: np.ndarray | None = None

    def show(self, index: int, rgb: np.ndarray) -> None:
        """Frame `index` of the driver, (S, S, 3) uint8; what lies between it and the last one repeats that; before the first, itself."""
        held = rgb if self._last is None else self._last
        while self._written < index:
            self._writer.write(held)
            self._written += 1
        self._writer.write(rgb)
        self._written, self._last = index + 1, rgb
