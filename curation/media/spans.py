"""What is asked of one file: a span, as sampled pictures and sound, or single pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from curation.media.errors import DecodeError
from curation.media.sampling import GridSampler
from curation.media.soundtrack import RATE_HZ
from curation.media.videofile import VideoFile

_MAX_ROUNDING_S = 0.001  # Matroska keeps milliseconds; coarser ticks (AVI: one a frame) are exact


def rounding_s(file: VideoFile) -> float:
    """By how much the file's time stamps may be late."""
    return min(file.tick_s, _MAX_ROUNDING_S)


class Span:
    """Walks through one span once: first `pictures` (or not), then `hear` until it says so; meanwhile `sound` gives what was heard.

    Args:
        file: the open file.
        start_s, end_s: after the first frame of the video; `end_s = None` is the end of the file.
        sample_hz: pictures a second.
        with_sound: decode the sound as well.
        max_span_s, max_gap_s: see `MediaLimits`.
    """

    def __init__(
        self,
        file: VideoFile,
        start_s: float,
        end_s: float | None,
        sample_hz: float,
        with_sound: bool,
        max_span_s: float,
        max_gap_s: float,
    ):
        self._file = file
        self._with_sound = with_sound and file.has_audio
        self._start_s = start_s
        self._end_s = end_s
        self._hz = sample_hz
        self._max_span_s = max_span_s
        self._max_gap_s = max_gap_s
        self._sampler = GridSampler(start_s, end_s, sample_hz, rounding_s(file))
        self._require_length(self.expected_s)

    @property
    def expected_s(self) -> float:
        """Length of the span as far as it is known before decoding."""
        end_s = self._file.declared_s if self._end_s is None else self._end_s
        return max(0.0, (end_s or 0.0) - self._start_s)

    def pictures(self) -> Iterator[tuple[range, Any] | None]:
        """(grid points, `av.VideoFrame`) in order, without gaps; None for a decoded frame that no point asks for.

        Raises:
            DecodeError: no_frames, truncated, decode_error, too_large.
        """
        last_s, last = 0.0, None
        for time_s, frame in self._file.playhead.frames_from(self._start_s, self._with_sound):
            if last is not None and time_s - last_s > self._max_gap_s:
                raise DecodeError("decode_error", f"the time stamps jump from {last_s:.1f} s to {time_s:.1f} s")
            self._require_length(time_s - self._start_s - self._max_gap_s)
            points = self._sampler.push(time_s)
            yield (points, last) if len(points) else None
            if self._sampler.complete:
                break
            last_s, last = time_s, frame
        else:
            if last is not None:
                end_s = self._file.end_of_last(last_s, self._file.playhead.end_of(last_s, last))
                last_s = min(end_s, last_s + self._max_gap_s)
                points = self._sampler.finish(last_s)
                yield (points, last) if len(points) else None
            self._check_end(last_s)
        self._file.require_undamaged()
        self._require_frames()

    def hear(self, give_up_at: float) -> bool:
        """Reads the sound that lies behind the last picture in the file, or, without pictures, all of it. False: `time.monotonic()` passed
        `give_up_at` before the end, or there is much `sound`; call again.

        Raises:
            DecodeError: no_frames, truncated.
        """
        playhead = self._file.playhead
        if self._sampler.n_assigned:
            return not self._with_sound or playhead.hear_until(self._start_s + self._length_s, give_up_at)
        if not playhead.listen(self._start_s, math.inf if self._end_s is None else self._end_s, self._with_sound, give_up_at):
            return False
        end_s = self._file.end_of_last(*playhead.last_packet)
        self._sampler.push(self._start_s)
        self._sampler.finish(end_s)
        self._require_frames()
        if not self._sampler.complete:
            self._check_end(end_s)
        return True

    @property
    def n_samples(self) -> int | None:
        """Length of `sound`: as long as the pictures are shown; None without an audio stream."""
        return round(self._length_s * RATE_HZ) if self._with_sound else None

    def sound(self, last: bool) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first sample after the span's start, (n,) int16 at 16 kHz) of what was heard since the last call; of samples that
        come twice the later hold, those that never come are silent. With `last`, all the rest. Some may lie behind the span's end."""
        if self._with_sound:
            start, most = round(self._start_s * RATE_HZ), round(self._longest_s * RATE_HZ)
            for first, samples in self._file.playhead.take_sound(last):
                a, b = max(0, start - first), min(len(samples), start + most - first)
                if a < b:
                    yield first + a - start, samples[a:b]

    @property
    def _longest_s(self) -> float:
        """A length that the span does not exceed."""
        return self._max_span_s + 2 * self._max_gap_s if self._end_s is None else self._end_s - self._start_s

    @property
    def _length_s(self) -> float:
        shown_s = self._sampler.n_assigned / self._hz
        return shown_s if self._end_s is None else min(shown_s, self._end_s - self._start_s)

    def _require_frames(self) -> None:
        if not self._sampler.n_assigned:
            end = "the end of the file" if self._end_s is None else f"{self._end_s:.3f} s"
            raise DecodeError("no_frames", f"no frame between {self._start_s:.3f} s and {end}")

    def _check_end(self, reached_s: float) -> None:
        """The file ended before the span did."""
        if self._sampler.n_assigned and self._end_s is not None:
            wanted_s, got_s = self._end_s - self._start_s, reached_s - self._start_s
            if got_s >= 0.9 * wanted_s:
                return
            self._file.require_whole(reached_s)
            raise DecodeError("truncated", f"the span ends at {self._end_s:.1f} s and the file at {reached_s:.1f} s")
        self._file.require_whole(reached_s)

    def _require_length(self, span_s: float) -> None:
        if span_s > self._max_span_s:
            raise DecodeError("too_large", f"the span lasts more than {self._max_span_s / 3600:.1f} h")


class Picks:
    """Single pictures of one file, with the interface of `Span`.

    Args:
        file: the open file.
        times_s: ascending; beyond the end, the last picture is meant.
        strict: times beyond the end, and pictures behind damaged packets, are errors instead.
    """

    expected_s = 0.0

    def __init__(self, file: VideoFile, times_s: Sequence[float], strict: bool = False):
        self._file = file
        self._times_s = times_s
        self._strict = strict

    def pictures(self) -> Iterator[tuple[range, Any] | None]:
        """(number within `times_s`, `av.VideoFrame`); None for a decoded frame that was not asked for.

        Raises:
            DecodeError: decode_error; truncated, if strict.
        """
        playhead = self._file.playhead
        for i, wanted_s in enumerate(self._times_s):
            shown, shown_s = None, 0.0
            for time_s, frame in playhead.frames_from(wanted_s, with_sound=False):
                if shown is not None and time_s > wanted_s + rounding_s(self._file):
                    break
                shown, shown_s = frame, time_s
                yield None
            else:
                if self._strict and shown is not None and wanted_s >= playhead.end_of(shown_s, shown) + playhead.frame_s:
                    raise DecodeError("truncated", f"a frame at {wanted_s:.3f} s is wanted, the last one begins at {shown_s:.3f} s")
            if shown is None:
                raise DecodeError("decode_error", f"no frame can be decoded near {wanted_s:.3f} s")
            if self._strict:
                self._file.require_undamaged()
            yield range(i, i + 1), shown

    def hear(self, give_up_at: float) -> bool:
        """There is nothing to hear."""
        return True

    n_samples = None

    def sound(self, last: bool) -> Iterator[tuple[int, np.ndarray]]:
        """There is no sound."""
        return iter(())
