"""The frame rate of a file, from its frames' time stamps: headers give averages, guesses, or the clock's ticks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

_NTSC = [Fraction(n * 1000, 1001) for n in (24, 30, 60)]
_USUAL = [Fraction(n) for n in (5, 6, 8, 10, 12, 15, 18, 20, 24, 25, 30, 48, 50, 60)]
_KNOWN = frozenset({*_NTSC, *_USUAL})
_SAME_RATE = 1e-4  # relative; headers give 29.97 for 30000/1001
_MAX_ROUNDING_S = 0.002  # QuickTime's 600 ticks a second; coarser ones (AVI: one a frame) are exact
_NOTICED_S = 0.001  # what sampling allows for (`curation.media.spans`)
_FEW = 0.02  # share of the frames that may lie so close to the one before that they are shown up to a frame early or late
_PHASES = (0.0, 0.1, -0.1, 0.2, -0.2, 0.3, -0.3, 0.4, -0.4)
_LOST = 0.003  # share of the frames that may be lost for being too close to others: they shall not double all the others
_NEAR = 0.02  # a usual rate so near to the mean one is meant
_EXACT_COSTS = 1.5  # a rate that every stamp fits is not taken if one so much lower keeps every frame too: it shows most of them twice
_ALIKE = Fraction(1005, 1000)  # 30000/1001 and 30
_MEAN_IS = 5e-4  # relative: how well a jittered file's mean rate tells these two apart
_FASTEST_HZ = 240  # of recordings that leave frames out: any stamps lie on some finer grid, that of the clock's ticks
_STAMP_S = 1e-6
_MOST_PACKETS = 6000  # of a file, whose stamps are read: four minutes
_NO_STAMPS = frozenset({"mpeg", "mpegvideo", "m4v", "h264", "hevc", "av1", "obu"})  # containers that stamp few pictures or none


@dataclass(frozen=True)
class FrameGrid:
    """The grid on which a file's frames lie.

    Attributes:
        rate: frames a second.
        stamps_s, points: times of frames and their grid points, where frames come a little early or late; empty where stamps are used as
            they are.
    """

    rate: Fraction
    stamps_s: np.ndarray = field(default_factory=lambda: np.empty(0))
    points: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def time_of(self, stamp_s: float) -> float:
        """When the frame of that time stamp is shown; both count from the first frame."""
        if not len(self.points):
            return stamp_s
        at = int(np.searchsorted(self.stamps_s, stamp_s - _STAMP_S))
        known = at < len(self.stamps_s) and abs(self.stamps_s[at] - stamp_s) <= _STAMP_S
        return float((int(self.points[at]) if known else round(stamp_s * self.rate)) / self.rate)


def grid_of(stamps_s: np.ndarray, tick_s: float, said: Iterable[Fraction]) -> FrameGrid | None:
    """The lowest rate whose grid keeps every frame within half a frame. Constant rates come out as they are, also with frames left out.

    Args:
        stamps_s: of every frame, from the first one on.
        tick_s: resolution of the stamps.
        said: what the header says; taken where the stamps agree.

    Returns:
        None for fewer than two frames. Where most frames do not follow each other at the rate, their stamps are used as they are; of
        frames too close for 60 a second few are lost.
    """
    stamps = np.unique(np.round(np.maximum(stamps_s, 0.0) / _STAMP_S)) * _STAMP_S
    if len(stamps) < 2:
        return None
    said = list(said)
    jittered = _lowest_keeping(stamps, said)
    exact = _exact_grid(stamps, min(tick_s, _MAX_ROUNDING_S) * 1.01 + _STAMP_S, said)
    limit = _FASTEST_HZ if jittered is None else _EXACT_COSTS * jittered.rate
    if exact is not None and (exact.rate <= limit or _is_constant(stamps, exact.rate)):
        return exact
    if jittered is not None and _has_beat(jittered):
        return jittered
    shows_all = [rate for rate in _USUAL if float(1 / rate) <= np.diff(stamps).min()]  # frames that keep no time are shown at their own
    if shows_all:
        return FrameGrid(shows_all[0])
    if jittered is not None:
        return FrameGrid(jittered.rate)
    return FrameGrid(min(_USUAL, key=lambda rate: (_n_lost(stamps, rate), rate)))


def indexed_rate(video: Any) -> Fraction | None:
    """The rate of an `av` video stream by the index in its header, if that is constant: nothing of the file need be read."""
    entries = video.index_entries
    if len(entries) < max(2, video.frames) or not video.frames:  # of a file in fragments only the first is known
        return None
    ticks = {b - a for a, b in pairwise(entries[k].timestamp for k in range(len(entries)))}
    if len(ticks) != 1 or not min(ticks) > 0:
        return None
    rate = 1 / (min(ticks) * video.time_base)
    return next((said for said in said_rates(video) if abs(said / rate - 1) < _SAME_RATE), rate)


def said_rates(video: Any) -> list[Fraction]:
    """What the header says, averages before guesses."""
    return [rate for rate in (video.average_rate, video.guessed_rate, video.base_rate) if rate]


def read_stamps(container: Any, video: Any) -> np.ndarray:
    """(n,) float64 seconds, ascending: time stamps of the pictures in the packets of an `av` container, at most of the first 6000; none
    where the format does not stamp each."""
    from av.error import FFmpegError

    if container.format.name in _NO_STAMPS:
        return np.empty(0)
    ticks: list[int] = []
    try:
        for packet in container.demux(video):
            if packet.pts is not None and packet.size and not packet.is_discard:
                ticks.append(packet.pts)
            if len(ticks) == _MOST_PACKETS:
                break
    except (FFmpegError, IndexError):
        pass  # the file breaks off here
    return np.sort(np.array(ticks, np.float64)) * float(video.time_base)


def exact_rate(fps: float) -> Fraction:
    """The rate that a rounded one stands for: 29.97 is 30000/1001, 23.976 is 24000/1001, 25.0001 is 25."""
    for rate in (*_NTSC, Fraction(max(1, round(fps)))):
        if abs(fps / rate - 1) < _SAME_RATE:
            return rate
    return Fraction(fps).limit_denominator(1001)


def _exact_grid(stamps: np.ndarray, rounding_s: float, said: list[Fraction]) -> FrameGrid | None:
    """The lowest rate that has a point of its own for every stamp, to its rounding."""
    smallest_s = float(np.diff(stamps).min())
    steps = np.rint(stamps / smallest_s)
    period_s = float(steps @ stamps / (steps @ steps))
    mean_hz = (len(stamps) - 1) / float(stamps[-1])
    for rate in said:
        if _is_constant(stamps, rate) and np.abs(stamps - np.arange(len(stamps)) / float(rate)).max() <= min(rounding_s, _NOTICED_S):
            return FrameGrid(rate)
    candidates = {*said, *_KNOWN, exact_rate(1 / period_s), exact_rate(mean_hz)}
    late_s = {}
    for rate in candidates:
        points = np.rint(stamps * float(rate))
        if (np.diff(points) >= 1).all() and (off_s := float(np.abs(stamps - points / float(rate)).max())) <= rounding_s:
            late_s[rate] = off_s
    if not late_s:
        return None
    lowest = min(late_s)
    alike = [rate for rate in late_s if rate <= lowest * _ALIKE]
    rate = min(alike, key=lambda rate: (rate not in said, rate not in _KNOWN, round(late_s[rate], 6), rate))
    if late_s[rate] <= _NOTICED_S:
        return FrameGrid(rate)
    return FrameGrid(rate, stamps, np.rint(stamps * float(rate)).astype(np.int64))


def _lowest_keeping(stamps: np.ndarray, said: list[Fraction]) -> FrameGrid | None:
    """The lowest usual rate that keeps every frame, few of them up to a frame late."""
    mean_hz = (len(stamps) - 1) / float(stamps[-1])
    rates = list(_KNOWN)
    if mean_hz <= max(rates) and not any(abs(float(rate) / mean_hz - 1) <= _NEAR for rate in rates):
        rates.append(exact_rate(round(mean_hz, 2)))
    kept = {rate: points for rate in sorted(rates) if (points := _points_of(stamps, rate, mean_hz)) is not None}
    if not kept:
        return None
    alike = [rate for rate in kept if rate <= min(kept) * _ALIKE]
    rate = min(alike, key=lambda rate: (rate not in said, abs(float(rate) / mean_hz - 1) > _MEAN_IS, rate.denominator))
    return FrameGrid(rate, stamps, kept[rate])


def _points_of(stamps: np.ndarray, rate: Fraction, mean_hz: float) -> np.ndarray | None:
    """(n,) int64, a grid point for each frame, the nearest or a free one beside it; None where more than a few find none."""
    if float(rate) < mean_hz * (1 - _NEAR):
        return None
    phase = min(_PHASES, key=lambda phase: (_n_lost(stamps, rate, phase), abs(phase)))  # the first frame may itself be early or late
    if _n_lost(stamps, rate, phase) > max(1, int(_FEW * len(stamps))):
        return None
    points = np.rint(stamps * float(rate) + phase).astype(np.int64)
    for i in np.flatnonzero(np.diff(points) < 1) + 1:
        if points[i] != points[i - 1]:
            continue  # the frame before has moved away
        if i == 1 or points[i - 2] < points[i - 1] - 1:
            points[i - 1] -= points[i - 1] > 0
        elif i + 1 == len(points) or points[i + 1] > points[i] + 1:
            points[i] += 1
    if np.abs(points - stamps * float(rate)).max() > 1 or (np.diff(points) < 1).sum() > max(1, int(_LOST * len(stamps))):
        return None
    return points


def _has_beat(grid: FrameGrid) -> bool:
    """Most frames follow each other at the rate: it is the recording's own, and the rest is jitter."""
    return bool((np.diff(grid.points) == 1).mean() >= 0.5)


def _n_lost(stamps: np.ndarray, rate: Fraction, phase: float = 0.0) -> int:
    """Frames whose nearest grid point is another's too, all of them `phase` of a frame late."""
    return int((np.diff(np.rint(stamps * float(rate) + phase)) < 1).sum())


def _is_constant(stamps: np.ndarray, rate: Fraction) -> bool:
    return bool((np.diff(np.rint(stamps * float(rate))) == 1).all())
