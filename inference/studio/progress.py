"""Progress of an animation: seconds a frame and the time left, measured from the second model call on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from curation.live_line import LiveLine
from curation.wording import duration

if TYPE_CHECKING:
    from inference.pipeline.animation import Progress


class ProgressLine:
    """Shows an animation's progress; the first estimate is written at once and stays."""

    def __init__(self, what: str = "", out: TextIO | None = None):
        self._what, self._line = what, LiveLine(out)
        self._announced = False

    def __call__(self, progress: Progress) -> None:
        per_frame_s, left_s = progress.seconds_per_frame, progress.left_s
        if per_frame_s is None or left_s is None:
            return
        if not self._announced:
            self._announced = True
            self._line.close(f"{self._what}{per_frame_s:.3g} s a frame, about {duration(round(left_s))} to go")
            return
        last = progress.done == progress.total
        if last or self._line.is_due:
            text = (
                f"{self._what}{100 * progress.done / progress.total:.0f} %, {progress.frames_out} frames out, "
                f"{per_frame_s:.3g} s a frame, {duration(round(left_s))} left"
            )
            (self._line.close if last else self._line.show)(text)
