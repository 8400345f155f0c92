"""What was done, to add up: what workers answer with, wherever they run."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Tally:
    """Counts and times of some clips.

    Attributes:
        clips: done now, the failed ones included.
        failed: of these.
        reused: taken as an earlier run left them.
        media_ms: length of what was worked on.
        decode_ms, landmarks_ms, sync_ms: spent in each stage.
    """

    clips: int = 0
    failed: int = 0
    reused: int = 0
    media_ms: float = 0.0
    decode_ms: float = 0.0
    landmarks_ms: float = 0.0
    sync_ms: float = 0.0

    def add(self, other: Tally) -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)
