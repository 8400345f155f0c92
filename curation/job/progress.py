"""Progress over clips: clips/s, times real time, failed, time left, and the stage that costs most."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from curation.contracts import Clip
from curation.job.tally import Tally
from curation.live_line import LiveLine
from curation.wording import duration

STAGES = {"decode": "decode_ms", "landmarks": "landmarks_ms", "sync": "sync_ms"}


@dataclass
class Progress:
    """Adds up tallies and shows them."""

    n_clips: int
    shown: LiveLine = field(default_factory=LiveLine)
    total: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._began_s = time.monotonic()
        self._ended_s: float | None = None

    def add(self, tally: Tally) -> None:
        self.total.add(tally)
        if self.shown.is_due:
            self.shown.show(self.line())

    def moment(self, clip: Clip, done_ms: float, whole_ms: float) -> None:
        """How far one clip is, for those that take long."""
        if self.shown.is_due:
            self.shown.show(f"{self.line()} | {clip.source_key}: {duration(done_ms / 1000)} of {duration(max(done_ms, whole_ms) / 1000)}")

    def close(self) -> None:
        self._ended_s = time.monotonic()
        self.shown.close(self.line())

    @property
    def elapsed_s(self) -> float:
        return max((self._ended_s or time.monotonic()) - self._began_s, 1e-6)

    def line(self) -> str:
        total, elapsed_s = self.total, self.elapsed_s
        done = total.clips + total.reused
        rate = total.clips / elapsed_s
        left = f"ETA {duration((self.n_clips - done) / rate)}" if rate and done < self.n_clips else f"took {duration(elapsed_s)}"
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
