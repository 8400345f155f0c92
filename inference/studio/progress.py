"""One live line of an animation: seconds a frame and the time left, measured from the second model call on."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from inference.pipeline.animation import Progress


class ProgressLine:
    """Keeps one line on a terminal, or writes a line every ten seconds to a log. The first measured estimate is always written."""

    def __init__(self, what: str = "", out: TextIO | None = None):
        self._what, self._out = what, out or sys.stderr
        self._live = self._out.isatty()
        self._shown, self._announced = 0.0, False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        first = progress.seconds_per_frame is not None and not self._announced
        last = progress.done == progress.total
        if first:
            self._announced = True
            self._out.write(f"{self._what}{progress.seconds_per_frame:.3g} s a frame, about {clock(progress.left_s)} to go\n")
        elif progress.seconds_per_frame is not None and (last or now - self._shown >= (0.2 if self._live else 10.0)):
            text = (
                f"{self._what}{100 * progress.done / progress.total:.0f} %, {progress.frames_out} frames out, "
                f"{progress.seconds_per_frame:.3g} s a frame, {clock(progress.left_s)} left"
            )
            self._out.write(f"\r\033[K{text}" + ("\n" if last else "") if self._live else f"{text}\n")
            self._shown = now
        self._out.flush()


def clock(seconds: float) -> str:
    """`8 s`, `2 min 05 s`, `1 h 02 min`."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
