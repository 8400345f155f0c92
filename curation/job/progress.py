"""One live line: clips/s, times real time, failed, time left, and the stage that costs most."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

from curation.job.worker import Tally

STAGES = {"decode": "decode_ms", "landmarks": "landmarks_ms", "sync": "sync_ms"}


@dataclass
class Progress:
    """Adds up tallies and keeps one line on a terminal, or a line every ten seconds in a log."""

    n_clips: int
    out: TextIO = field(default_factory=lambda: sys.stderr)
    total: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._began = self._shown = time.monotonic()
        self._ended: float | None = None
        self._live = self.out.isatty()

    def add(self, tally: Tally) -> None:
        self.total.add(tally)
        now = time.monotonic()
        if now - self._shown >= (0.2 if self._live else 10.0):
            self._shown = now
            self._show()

    def close(self) -> None:
        self._ended = time.monotonic()
        self._show()
        if self._live:
            self.out.write("\n")

    def _show(self) -> None:
        self.out.write(f"\r\033[K{self.line()}" if self._live else f"{self.line()}\n")
        self.out.flush()

    @property
    def elapsed_s(self) -> float:
        return max((self._ended or time.monotonic()) - self._began, 1e-6)

    def line(self) -> str:
        total, elapsed_s = self.total, self.elapsed_s
        done = total.clips + total.reused
        rate = total.clips / elapsed_s
        left = f"ETA {duration_text((self.n_clips - done) / rate)}" if rate and done < self.n_clips else f"took {duration_text(elapsed_s)}"
        parts = [
            f"{done}/{self.n_clips} clips",
            f"{rate:.2f} clips/s",
            f"{total.media_ms / 1000 / elapsed_s:.1f}x real time",
            f"{total.failed} failed",
            left,
        ]
        if total.reused:
            parts.insert(1, f"{total.reused} as they were")
        if bottleneck := self.bottleneck():
            parts.append(bottleneck)
        return " | ".join(parts)

    def bottleneck(self) -> str:
        """The costliest stage and its share of all stages' time; empty before anything was measured."""
        cost_ms = {stage: getattr(self.total, name) for stage, name in STAGES.items()}
        whole_ms = sum(cost_ms.values())
        if not whole_ms:
            return ""
        stage = max(cost_ms, key=cost_ms.__getitem__)
        return f"mostly {stage} ({cost_ms[stage] / whole_ms:.0%})"


def duration_text(seconds: float) -> str:
    """`5s`, `3m20s`, `2h05m`, `4d03h`."""
    seconds = max(0, round(seconds))
    for size, unit, part, part_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // part:02d}{part_unit}"
    return f"{seconds}s"
