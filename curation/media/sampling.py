"""Which decoded frame stands for which point of the sampling grid."""

from __future__ import annotations

import math

_ARITHMETIC_S = 1e-6  # more than doubles lose over a day of video


class GridSampler:
    """Assigns decoded frames, fed in presentation order, to grid points `start + k / sample_hz`.

    A grid point belongs to the last frame that begins at or before it; points before the very first frame belong to that frame.
    Containers round time stamps (Matroska to whole milliseconds), so a frame that begins up to `tolerance_s` late still counts: a 25 fps
    stream at 25 Hz gives every frame exactly once.

    Args:
        start_s, end_s: the span; `end_s = None` is open, and `finish` closes it.
        sample_hz: grid points a second.
        tolerance_s: largest rounding of a timestamp.
    """

    def __init__(self, start_s: float, end_s: float | None, sample_hz: float, tolerance_s: float):
        self._start_s = start_s
        self._hz = sample_hz
        self._tolerance_s = max(tolerance_s, _ARITHMETIC_S)
        self._n_points = math.inf if end_s is None else self._points_before(end_s)
        self._next = 0
        self._has_frame = False

    @property
    def n_assigned(self) -> int:
        """Grid points handed out so far."""
        return self._next

    @property
    def complete(self) -> bool:
        """Every point of the span is handed out; further frames are not needed."""
        return self._next >= self._n_points

    def push(self, time_s: float) -> range:
        """A frame begins at `time_s`: the grid points that belong to the frame before it."""
        if not self._has_frame:
            self._has_frame = True
            return range(0)
        return self._take(self._points_before(time_s))

    def finish(self, end_s: float) -> range:
        """No more frames; the last one is shown until `end_s`: the grid points that belong to it."""
        return self._take(self._points_before(end_s)) if self._has_frame else range(0)

    def _take(self, stop: float) -> range:
        points = range(self._next, max(self._next, int(min(stop, self._n_points))))
        self._next = points.stop
        return points

    def _points_before(self, time_s: float) -> int:
        """How many grid points lie before `time_s`, of which a frame that begins there keeps those that are late by the tolerance only."""
        return max(0, math.ceil((time_s - self._start_s - self._tolerance_s) * self._hz))
