"""Decoded sound laid out on the clip's clock as 16 kHz mono."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.media.heard import MonoResampler

RATE_HZ = 16_000
_STRETCH = 1 << 14  # samples that are held together: a second


class Soundtrack:
    """Collects decoded audio frames, resamples them and gives them out in the order in which they came.

    Sound that follows on is resampled in one run, which is placed by the timestamp of its first frame; a timestamp that departs from the
    count of samples by more than `max_jitter_s` (a hole, an edit) starts a new run. Small departures are rounding of the container.
    """

    def __init__(self, max_jitter_s: float = 0.010):
        self._max_jitter_s = max_jitter_s
        self.clear()

    def clear(self) -> None:
        """Forgets everything; the next frame starts a new run."""
        self._stretches: list[_Stretch] = []
        self._resampler: MonoResampler | None = None
        self._source: tuple | None = None
        self._expected_s = 0.0  # time at which the run's next input frame should begin
        self._next_index = 0  # index of the run's next output sample
        self.end_s = -np.inf

    def add(self, frame: Any, time_s: float | None) -> None:
        """An `av.AudioFrame` that begins at `time_s` (None: right after the one before)."""
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        if time_s is None:
            time_s = self._expected_s if self._resampler is not None else 0.0
        resampler = self._resampler
        if resampler is None or source != self._source or abs(time_s - self._expected_s) > self._max_jitter_s:
            resampler = self._start_run(source, time_s)
        self._expected_s += frame.samples / frame.sample_rate
        self.end_s = max(self.end_s, self._expected_s)
        self._append(resampler.resample(frame))

    def begin_span(self, time_s: float) -> None:
        """Drops what ends before `time_s`; `take` gives the rest, though it gave it before."""
        self.forget_before(time_s)
        for stretch in self._stretches:
            stretch.n_taken = 0

    def take(self) -> list[tuple[int, np.ndarray]]:
        """What came since the last call: (number of the first sample on the clip's clock, (n,) int16). Where two overlap, the later holds;
        where there is none, there is no sound."""
        return [stretch.take() for stretch in self._stretches if stretch.n_taken < stretch.n]

    @property
    def n_untaken(self) -> int:
        """Samples that `take` would give."""
        return sum(stretch.n - stretch.n_taken for stretch in self._stretches)

    def end_run(self) -> None:
        """What the resampler still holds comes out; the next frame starts a new run."""
        if self._resampler is not None:
            self._append(self._resampler.resample(None))
            self._resampler = None

    def forget_before(self, time_s: float) -> None:
        """Drops what ends before `time_s`."""
        self._stretches = [stretch for stretch in self._stretches if stretch.end > time_s * RATE_HZ]

    def _start_run(self, source: tuple, time_s: float) -> MonoResampler:
        self.end_run()
        resampler = self._resampler = MonoResampler(RATE_HZ, np.int16)
        self._source = source
        self._expected_s = time_s
        self._next_index = round(time_s * RATE_HZ)
        return resampler

    def _append(self, samples: np.ndarray) -> None:
        while len(samples):
            last = self._stretches[-1] if self._stretches else None
            if last is None or last.end != self._next_index or last.n == _STRETCH:
                last = _Stretch(self._next_index, np.empty(_STRETCH, np.int16))
                self._stretches.append(last)
            taken, samples = np.split(samples, [_STRETCH - last.n])
            last.samples[last.n : last.n + len(taken)] = taken
            last.n += len(taken)
            self._next_index += len(taken)


@dataclass
class _Stretch:
    """Sound that follows on: `n` of `samples` from number `first` on the clip's clock, `n_taken` of them given out. A frame's own 20 ms
    would cost a third more."""

    first: int
    samples: np.ndarray
    n: int = 0
    n_taken: int = 0

    @property
    def end(self) -> int:
        return self.first + self.n

    def take(self) -> tuple[int, np.ndarray]:
        begin, self.n_taken = self.n_taken, self.n
        return self.first + begin, self.samples[begin : self.n]
