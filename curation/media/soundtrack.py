"""Decoded sound laid out on the clip's clock as 16 kHz mono."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.media.heard import MonoResampler

RATE_HZ = 16_000
PIECE = 1 << 20  # samples that are handed out at once: a minute
_STRETCH = 1 << 14  # samples that are held together: a second


class Soundtrack:
    """Collects decoded audio frames, resamples them and cuts spans out.

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

    def cut(self, start_s: float, n_samples: int) -> Iterator[np.ndarray]:
        """`n_samples` int16 from `start_s` on, in pieces of `PIECE`, the last one shorter; zeros where there is no sound. Ends the current
        run."""
        self._end_run()
        start = round(start_s * RATE_HZ)
        for at in range(start, start + n_samples, PIECE):
            piece = np.zeros(min(PIECE, start + n_samples - at), np.int16)
            for stretch in self._stretches:
                a, b = max(stretch.first, at), min(stretch.end, at + len(piece))
                if a < b:
                    piece[a - at : b - at] = stretch.samples[a - stretch.first : b - stretch.first]
            yield piece

    def forget_before(self, time_s: float) -> None:
        """Drops what ends before `time_s`."""
        index = round(time_s * RATE_HZ)
        self._stretches = [stretch for stretch in self._stretches if stretch.end > index]

    def _start_run(self, source: tuple, time_s: float) -> MonoResampler:
        self._end_run()
        resampler = self._resampler = MonoResampler(RATE_HZ, np.int16)
        self._source = source
        self._expected_s = time_s
        self._next_index = round(time_s * RATE_HZ)
        return resampler

    def _end_run(self) -> None:
        if self._resampler is not None:
            self._append(self._resampler.resample(None))
            self._resampler = None

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
    """Sound that follows on: `n` of `samples` from number `first` on the clip's clock. A frame's own 20 ms would cost a third more."""

    first: int
    samples: np.ndarray
    n: int = 0

    @property
    def end(self) -> int:
        return self.first + self.n
