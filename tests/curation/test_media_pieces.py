"""Sound that leaves the decoder in pieces is the sound in one."""

from __future__ import annotations

import tracemalloc

import av
import numpy as np
import pytest

from curation.media import soundtrack
from curation.media.soundtrack import PIECE, RATE_HZ, Soundtrack


def _frame(samples: np.ndarray) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[None].astype(np.int16), format="s16", layout="mono")
    frame.sample_rate = RATE_HZ
    return frame


@pytest.mark.parametrize("piece", [100, 320, 1000, 4096])
@pytest.mark.parametrize("start", [-50, 0, 333, 2000])
def test_runs_holes_and_overlaps_are_laid_out_whatever_the_pieces(monkeypatch, piece, start):
    monkeypatch.setattr(soundtrack, "PIECE", piece)
    monkeypatch.setattr(soundtrack, "_STRETCH", max(1, piece // 3))
    rng, track = np.random.default_rng(piece), Soundtrack()
    laid = np.zeros(8000, np.int16)
    for first, n_frames in ((100, 4), (1700, 3), (1100, 2), (5000, 5)):  # a hole, then a run that goes back over sound, then a hole
        for i in range(n_frames):
            samples, at = rng.integers(-9000, 9000, 320), first + 320 * i
            track.add(_frame(samples), at / RATE_HZ)
            laid[at : at + 320] = samples
    wanted = np.concatenate([np.zeros(max(0, -start), np.int16), laid[max(0, start) :]])[:6500]
    pieces = list(track.cut(start / RATE_HZ, 6500))
    assert max(map(len, pieces)) <= piece
    heard = np.concatenate(pieces)
    np.testing.assert_array_equal(heard, np.pad(wanted, (0, 6500 - len(wanted))))
    track.forget_before(1700 / RATE_HZ)
    later = np.concatenate(list(track.cut(5000 / RATE_HZ, 1600)))
    np.testing.assert_array_equal(later, laid[5000:6600])


def test_sound_is_held_in_little_more_than_its_own_bytes():
    track, samples = Soundtrack(), np.ones(320, np.int16)
    tracemalloc.start()
    try:
        for i in range(3000):  # a minute in frames of 20 ms
            track.add(_frame(samples), i * 0.02)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        assert sum(int(piece.sum()) for piece in track.cut(0.0, 960_000)) == 960_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 1.1 * 2 * 960_000
    assert peak - held < 2 * PIECE + 10_000
