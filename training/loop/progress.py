"""What a person sees while training: a line a record, and on a terminal a line that counts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from curation.live_line import LiveLine
from curation.wording import duration, number

RECENT_STEPS = 50  # that the rate is taken from: long enough to hold a checkpoint, short enough to follow a change


class Progress:
    """Rate and time left come from the last steps of this start, checkpoints and validation included.

    Args:
        total: optimiser steps of the run.
        say: prints a line; the counting line goes to standard error if that is a terminal.
    """

    def __init__(self, total: int, say: Callable[[str], None]):
        self._total, self._say = total, say
        self._ticks: deque[tuple[int, float]] = deque(maxlen=RECENT_STEPS)
        self._line = LiveLine()

    def tick(self, step: int, took_s: float | None = None) -> None:
        """After every step; the first of this start has a line of its own, since the next may be long in coming."""
        if not self._ticks and took_s is not None and step < self._total:
            left = duration(round((self._total - step) * took_s))
            self._say(f"step {step:,}/{self._total:,} took {duration(took_s)}; the rest takes about {left}, less once all is warm")
        now = time.perf_counter()
        self._ticks.append((step, now))
        if self._line.is_live and self._line.is_due:  # a log has the records
            self._line.show(f"step {step:,}/{self._total:,}, {self.left(step)} left")

    def left(self, step: int) -> str:
        """Time to the last step, or a question mark after the first."""
        (first, begin), (last, end) = self._ticks[0], self._ticks[-1]
        if last == first:
            return "?"
        return duration(round((self._total - step) * (end - begin) / (last - first)))

    def report(self, step: int, values: dict[str, float]) -> None:
        """One line of a record of `Trainer`."""
        self._line.clear()
        waits = values["data_s"] / values["step_s"]
        parts = [
            f"step {step:,}/{self._total:,}",
            f"loss {number(values['loss'], 3)} (bound {number(values.get('loss_bound', float('nan')), 2)})",
            f"{number(values['samples_per_s'], 3)} samples/s, {waits:.0%} waiting for data",
        ]
        if "mfu" in values:
            parts.append(f"MFU {values['mfu']:.1%}")
        if values.get("aside_share", 0) > 0.005:
            parts.append(f"{values['aside_share']:.0%} in validation, videos and checkpoints")
        parts += [f"{values['peak_memory_gib']:.1f} GiB", f"{self.left(step)} left"]
        self._say(" | ".join(parts))
