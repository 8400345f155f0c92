"""The loop: frames are taken in as they come, the model makes what it can, and what it cannot is dropped and counted."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inference.live.animation import LiveAnimation
from inference.live.feed import Feed

AT_MOST = 64  # frames that wait; older ones are dropped where the model does not keep up


@dataclass(frozen=True)
class LiveReport:
    """
    Attributes:
        frames_in, frames_out: of the driver, of the portrait.
        dropped: frames of the driver that nothing was made of, for want of time; `without_face` those before the first face.
        fps_in, fps_out: a second, over the whole run.
        latency_ms, latency_p95_ms: from a driver's frame to the portrait's: median and 95th percentile, without the first window, in which
            everything warms up; NaN where there was no other.
        window_ms: median time of a window's landmarks, sampling and decoding, likewise.
    """

    frames_in: int
    frames_out: int
    dropped: int
    without_face: int
    fps_in: float
    fps_out: float
    latency_ms: float
    latency_p95_ms: float
    window_ms: float

    def line(self) -> str:
        """For people."""
        late = "" if np.isnan(self.latency_ms) else f"; latency {self.latency_ms:.0f} ms, 95 % below {self.latency_p95_ms:.0f} ms"
        return f"{self.frames_in} frames in, {self.frames_out} out ({self.fps_out:.1f} a second), {self.dropped} dropped{late}"

    def to_tree(self) -> dict[str, Any]:
        """Plain values, as JSON can hold them: None for what was not measured."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class _Taken:
    index: int
    at_s: float  # of time.monotonic
    rgb: np.ndarray


class _Intake:
    """Takes frames from a feed in a thread of its own."""

    def __init__(self, feed: Feed, stop: threading.Event):
        self._feed, self._stop = feed, stop
        self._waiting: deque[_Taken] = deque()
        self._news = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self.count = self.lost = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, count: int) -> list[_Taken]:
        """`count` frames, evenly spread over those that wait, the newest among them; the others are lost. Fewer at the end, then none."""
        with self._news:
            self._news.wait_for(lambda: len(self._waiting) >= count or self._ended)
            if self._error is not None:
                raise self._error
            waiting = list(self._waiting)
            self._waiting.clear()
        chosen = sorted(set(np.linspace(len(waiting) - 1, 0, min(count, len(waiting))).round().astype(int).tolist()))
        self.lost += len(waiting) - len(chosen)
        return [waiting[index] for index in chosen]

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for rgb in self._feed.frames():
                if self._stop.is_set():
                    break
                with self._news:
                    if len(self._waiting) == AT_MOST:
                        self._waiting.popleft()
                        self.lost += 1
                    self._waiting.append(_Taken(self.count, time.monotonic(), np.array(rgb)))
                    self.count += 1
                    self._news.notify()
        except BaseException as caught:  # told to who waits
            error = caught
        with self._news:
            self._ended, self._error = True, error
            self._news.notify()


def run_live(
    animation: LiveAnimation,
    feed: Feed,
    show: Callable[[int, np.ndarray], None],
    *,
    seconds: float | None = None,
    on_report: Callable[[LiveReport], None] = lambda report: None,
) -> LiveReport:
    """Animates a feed until it ends, or Ctrl-C.

    Args:
        show: takes the number of the driver's frame and (S, S, 3) uint8, in ascending order, as they finish.
        seconds: ends it then.
        on_report: told after every window how it goes.

    Raises:
        UserError: what the feed raises.
    """
    stop = threading.Event()
    intake, began_s = _Intake(feed, stop), time.monotonic()
    latencies_ms: list[float] = []
    windows_ms: list[float] = []
    out = without_face = windows = 0

    def report() -> LiveReport:
        elapsed_s = max(1e-9, time.monotonic() - began_s)
        late = np.percentile(latencies_ms, [50, 95]) if latencies_ms else (np.nan, np.nan)
        window_ms = float(np.median(windows_ms)) if windows_ms else float("nan")
        lost = intake.lost
        figures = (intake.count / elapsed_s, out / elapsed_s, float(late[0]), float(late[1]), window_ms)
        return LiveReport(intake.count, out, lost, without_face, *figures)

    try:
        while taken := intake.take(animation.settings.new_frames):
            started_s = time.monotonic()
            made = animation.make([one.rgb for one in taken])
            done_s = time.monotonic()
            without_face += len(taken) - len(made)
            for one, rgb in zip(taken, made, strict=bool(made)):
                show(one.index, rgb)
                out += 1
            if made and windows:
                latencies_ms += [1000 * (done_s - one.at_s) for one in taken]
                windows_ms.append(1000 * (done_s - started_s))
            windows += bool(made)
            on_report(report())
            if seconds is not None and done_s - began_s >= seconds:
                break
    except KeyboardInterrupt:
        pass  # how a person ends it: what was made stays
    finally:
        stop.set()
    return report()
