"""The frame rate out of time stamps: constant rates stay, dropped frames and jitter leave every frame on a grid of its own rate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.contracts import Clip
from curation.media import MediaReader
from curation.media.sampling import GridSampler
from curation.media.timing import FrameGrid, grid_of
from tests.faults import Recipe, picture_number, write_clip

RATES = [*(Fraction(n * 1000, 1001) for n in (24, 30, 60)), *map(Fraction, (24, 25, 30, 50, 60))]
TICKS_S = [1 / 90000, 1 / 15360, 1 / 1000, 1 / 600]
CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "inference"


def rounded(times_s: np.ndarray, tick_s: float) -> np.ndarray:
    return np.round(times_s / tick_s) * tick_s


@given(rate=st.sampled_from(RATES), tick_s=st.sampled_from(TICKS_S), n=st.integers(2, 900), wrong=st.booleans())
def test_a_constant_rate_is_kept_exactly(rate, tick_s, n, wrong):
    n = max(n, 300) if wrong else n  # without the header it takes some seconds to tell 29.97 from 30 by whole milliseconds
    said = [Fraction(1000)] if wrong and tick_s < 1 / 600 else [rate]
    grid = grid_of(rounded(np.arange(n) / float(rate), tick_s), tick_s, said)
    assert grid.rate == rate
    shown = [grid.time_of(t) * float(rate) for t in rounded(np.arange(n) / float(rate), tick_s)]
    assert np.abs(np.array(shown) - np.arange(n)).max() <= 0.001 * float(rate) + 1e-6


@given(st.data())
def test_a_grid_with_frames_left_out_is_found(data):
    """Whatever average the header gives, as long as three frames in a row tell the rate."""
    rate = data.draw(st.sampled_from(RATES))
    tick_s = data.draw(st.sampled_from(TICKS_S[:3]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    gaps = rng.choice([1, 1, 1, 2, 2, 3, 4], rng.integers(60, 300))
    points = np.concatenate([[0, 1, 2, 3], 3 + np.cumsum(gaps)])
    stamps = rounded(points / float(rate), tick_s)
    grid = grid_of(stamps, tick_s, [Fraction(len(points) - 1) / Fraction(float(stamps[-1])), rate])
    assert grid.rate == rate
    assert np.abs([grid.time_of(t) - k / float(rate) for t, k in zip(stamps, points, strict=True)]).max() <= 0.001 + 1e-6


@given(st.data())
def test_jitter_keeps_every_frame_within_half_a_frame(data):
    """As browsers record: milliseconds, no rate in the header, each frame up to 0.3 of a frame early or late."""
    rate = data.draw(st.sampled_from([15, 24, 25, 30, 50, 60]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    off = rng.uniform(-0.3, 0.3, rng.integers(40, 200))
    stamps = rounded((np.arange(len(off)) + off) / rate, 0.001)
    stamps -= stamps[0]
    grid = grid_of(stamps, 0.001, [Fraction(1000)])
    points = np.rint([grid.time_of(t) * float(grid.rate) for t in stamps])
    assert rate * 0.95 <= float(grid.rate) <= rate * 1.3, "no frame twice"
    assert (np.diff(points) >= 1).all(), "every frame is shown"
    early = np.abs(points / float(grid.rate) - stamps) * float(grid.rate)
    assert early.max() <= 1 + 1e-4, "half a frame, and that by which the first frame is off"


@given(st.lists(st.integers(0, 9_000_000), min_size=0, max_size=50), st.sampled_from(TICKS_S))
def test_any_stamps_give_a_rate_that_can_be_used(ticks, tick_s):
    stamps = [tick / 90000 for tick in ticks]
    grid = grid_of(np.array(stamps), tick_s, [])
    if grid is None:
        assert len(set(stamps)) < 2
        return
    assert isinstance(grid, FrameGrid)
    assert grid.rate > 0
    times = [grid.time_of(t) for t in sorted(stamps)]
    assert (np.diff(times) >= 0).all()


@given(least_ms=st.integers(17, 40), seed=st.integers(0, 2**32))
def test_frames_that_keep_no_time_are_all_shown(least_ms, seed):
    gaps_ms = np.random.default_rng(seed).integers(least_ms, 4 * least_ms, 100)
    stamps = np.concatenate([[0], np.cumsum(gaps_ms)]) / 1000
    grid = grid_of(stamps, 1 / 90000, [])
    times = np.array([grid.time_of(t) for t in stamps])
    assert np.abs(times - stamps).max() <= 1 / float(grid.rate) + 1e-6
    sampler = GridSampler(0.0, None, float(grid.rate), 1 / 90000)
    n_without = [len(sampler.push(t)) for t in times].count(0) - 1  # the first is still shown when the second comes
    assert n_without <= 1


def test_one_frame_too_close_does_not_double_all_others():
    stamps = np.sort(np.append(np.arange(150) / 30, 2.005))
    grid = grid_of(stamps, 1 / 90000, [Fraction(30)])
    assert grid.rate == 30
    assert len({round(grid.time_of(t), 6) for t in stamps}) >= 150
    late = [grid.time_of(t) - t for t in stamps]
    assert np.abs(late).max() <= 0.5 / 30 + 1e-6


def shown_numbers(path, sample_hz):
    with MediaReader() as reader:
        info = reader.probe(str(path))
        with reader.read(Clip("s", "k", "i", str(path)), sample_hz=sample_hz or info.fps, audio=False) as stream:
            return info.fps, [picture_number(frame.rgb) for frame in stream.frames()]


@pytest.mark.parametrize(
    ("name", "ticks_hz", "codec"), [("drop.mp4", 90000, "libx264"), ("drop.mkv", 1000, "libx264"), ("d.avi", 30, "mjpeg")]
)
def test_files_with_frames_left_out_show_all_that_are_there(tmp_path, name, ticks_hz, codec):
    points = [0, 1, 2, 4, 5, 8, 9, 10, 11, 13, 14, 15, 17, 20, 21, 22, 23, 24, 26, 27]
    times = [round(k * ticks_hz / 30) for k in points]
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_clip(tmp_path / name, Recipe(times=times, ticks_hz=ticks_hz, codec=codec, pix_fmt=pix_fmt, options={}))
    fps, numbers = shown_numbers(path, None)
    assert fps == pytest.approx(30, rel=1e-9)
    assert len(numbers) in (28, 29)  # Matroska does not know how long the last one lasts
    assert numbers[:28] == [max(i for i, k in enumerate(points) if k <= point) for point in range(28)]


def test_a_jittered_recording_loses_nothing_on_the_grid_of_curation_either(tmp_path):
    """25 a second with 8 ms of jitter, in whole milliseconds, sampled at 25 Hz: each frame once, also from a span's middle on."""
    off_ms = np.random.default_rng(2).integers(-8, 9, 80)
    times = (40 * np.arange(80) + off_ms - off_ms[0]).tolist()
    path = write_clip(tmp_path / "browser.mkv", Recipe(times=times, ticks_hz=1000, options={"g": "12"}))
    fps, numbers = shown_numbers(path, 25.0)
    assert fps == 25
    assert numbers == list(range(80))
    with MediaReader() as reader, reader.read(Clip("s", "k", "i", str(path), 1000, 2000), sample_hz=25.0, audio=False) as stream:
        assert [picture_number(frame.rgb) for frame in stream.frames()] == list(range(25, 50))


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases/inference")
@pytest.mark.parametrize(("name", "fps", "least", "most", "shown"), [("vfr_drop.mp4", 30, 74, 74, 55), ("chrome.webm", 30, 71, 73, 71)])
# two of the 72 pictures of chrome.webm are the same
def test_strangers_recordings(name, fps, least, most, shown):
    with MediaReader() as reader:
        info = reader.probe(str(CASES / name))
        assert info.fps == fps
        with reader.read(Clip("s", "k", "i", str(CASES / name)), sample_hz=info.fps, audio=False) as stream:
            pictures = [frame.rgb.tobytes() for frame in stream.frames()]
    assert least <= len(pictures) <= most
    assert len(set(pictures)) == shown
