"""How long a reader waits for its child."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from curation.media.limits import MediaLimits
from curation.media.process import DecodeChild


class Patience:
    """How long to wait for the child: each answer has its limit, and all of them together have the clip's. Only what passes on the child's
    clock during `waiting_for` counts: neither the caller's own work nor that of other programs."""

    def __init__(self, limits: MediaLimits):
        self._limits = limits
        self._budget_s = limits.deadline_base_s
        self._waited_s = 0.0

    def allow_for(self, media_s: float) -> None:
        """The clip lasts so long."""
        self._budget_s = self._limits.deadline_base_s + self._limits.deadline_per_media_s * media_s

    @contextmanager
    def waiting_for(self, child: DecodeChild) -> Iterator[Callable[[], float]]:
        """Gives how many seconds are left for the answer."""
        began_s = child.clock_s()
        try:
            yield child.countdown(max(0.001, min(self._limits.stall_s, self._budget_s - self._waited_s)))
        finally:
            self._waited_s += child.clock_s() - began_s

    def verdict(self) -> str:
        """Which limit was passed, for a person."""
        if self._waited_s >= self._budget_s:
            return f"decoding took more than {self._budget_s:.3g} s"
        return f"the decoder did not answer for {self._limits.stall_s:.3g} s"
