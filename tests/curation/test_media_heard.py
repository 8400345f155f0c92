"""Which sound of a file is heard: its default stream, and every channel of it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.contracts import Clip
from curation.media import MediaReader
from curation.media.heard import MonoResampler, pick_audio
from tests.faults import numbered_picture

RATE_HZ = 16_000


def write_streams(path: Path, sounds: list[tuple[np.ndarray, Disposition | None]], seconds: float = 2.0, codec: str = "pcm_s16le") -> Path:
    """A video with one audio stream for each ((channels, n) int16 at 16 kHz, disposition)."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        streams = []
        for sound, disposition in sounds:
            stream = container.add_stream(codec, rate=RATE_HZ, layout="stereo" if len(sound) == 2 else "mono")
            if disposition is not None:
                stream.disposition = disposition
            streams.append(stream)
        for i in range(round(25 * seconds)):
            frame = av.VideoFrame.from_ndarray(numbered_picture(i, 64, 64), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
            for stream, (sound, _) in zip(streams, sounds, strict=True):
                piece = np.ascontiguousarray(sound[:, i * 640 : (i + 1) * 640])
                heard = av.AudioFrame.from_ndarray(piece.T.reshape(1, -1), format="s16", layout="stereo" if len(sound) == 2 else "mono")
                heard.sample_rate, heard.pts, heard.time_base = RATE_HZ, i * 640, Fraction(1, RATE_HZ)
                container.mux(stream.encode(heard))
        container.mux(video.encode(None))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def tone(hz: float, seconds: float = 2.0, amplitude: float = 8000.0) -> np.ndarray:
    """(1, n) int16."""
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(RATE_HZ * seconds)) / RATE_HZ)).astype(np.int16)[None]


def loudest_hz(sound: np.ndarray) -> int:
    return int(np.abs(np.fft.rfft(sound.astype(float))).argmax() * RATE_HZ / len(sound))


def heard(path: Path) -> np.ndarray:
    with MediaReader() as reader, reader.read(Clip("s", "k", "i", str(path))) as stream:
        for _ in stream.frames():
            pass
        assert stream.audio is not None
        return stream.audio


NONE, DEFAULT, FOR_THE_BLIND = Disposition(0), Disposition.default, Disposition.visual_impaired


@pytest.mark.parametrize(
    ("marks", "wanted"),
    [
        ([NONE, DEFAULT], 1),
        ([DEFAULT, NONE], 0),
        ([NONE, NONE, DEFAULT], 2),
        ([NONE, DEFAULT, DEFAULT], 1),
        ([NONE, NONE], 0),
        ([FOR_THE_BLIND, NONE], 1),
        ([FOR_THE_BLIND, NONE, DEFAULT], 2),
    ],
)
def test_the_default_stream_is_heard_else_the_first(tmp_path, marks, wanted):
    path = write_streams(tmp_path / "a.mkv", [(tone(300 + 200 * i), mark) for i, mark in enumerate(marks)])
    with av.open(str(path)) as container:
        assert [s.disposition & (DEFAULT | FOR_THE_BLIND) for s in container.streams.audio] == marks, "the file is not as planted"
        assert pick_audio(container).index == container.streams.audio[wanted].index
        assert pick_audio(container) is container.streams.best("audio")  # as ffmpeg
    assert abs(loudest_hz(heard(path)) - (300 + 200 * wanted)) <= 1


def test_a_file_without_sound_has_no_stream(tmp_path):
    with av.open(str(write_streams(tmp_path / "a.mkv", []))) as container:
        assert pick_audio(container) is None


@pytest.mark.parametrize(("codec", "suffix"), [("pcm_s16le", "mkv"), ("aac", "mp4"), ("libmp3lame", "mp4")])
def test_opposed_channels_are_no_silence(tmp_path, codec, suffix):
    sound = tone(440.0)
    path = write_streams(tmp_path / f"a.{suffix}", [(np.concatenate([sound, -sound]), None)], codec=codec)
    got = heard(path)[RATE_HZ // 2 : RATE_HZ]
    assert np.sqrt(np.mean(got.astype(float) ** 2)) == pytest.approx(8000 / np.sqrt(2), rel=0.1)
    assert abs(loudest_hz(got) - 440) <= 2


def mixed(pair: np.ndarray, cuts: list[int], dtype: type = np.int16, rate_hz: int = RATE_HZ) -> np.ndarray:
    """`pair` (2, n) through a resampler in pieces that end at `cuts`."""
    resampler = MonoResampler(RATE_HZ, dtype)
    out = []
    for piece in np.split(pair, sorted(cuts), axis=1):
        if piece.shape[1]:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(piece), format="s16p" if pair.dtype == np.int16 else "fltp", layout="stereo"
            )
            frame.sample_rate = rate_hz
            out.append(resampler.resample(frame))
    return np.concatenate([*out, resampler.resample(None)])


def speech_like(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n,) float in -1..1: noise bursts with pauses."""
    loud = np.repeat(rng.uniform(0, 1, -(-n // 4000)) > 0.4, 4000)[:n]
    return rng.normal(0, 0.1, n) * (loud + 0.003)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31), gain=st.floats(-1, 1), noise=st.floats(0, 0.02), cuts=st.lists(st.integers(1, 47_999), max_size=6),
    dtype=st.sampled_from([np.int16, np.float32]),
)  # fmt: skip
def test_no_mixture_of_one_voice_is_lost(seed, gain, noise, cuts, dtype):
    rng = np.random.default_rng(seed)
    voice = speech_like(rng, 48_000)
    pair = np.stack([voice, gain * voice]) + noise * 0.1 * rng.normal(size=(2, 48_000))
    pair = (pair.clip(-1, 1) * 32767).astype(np.int16) if dtype is np.int16 else pair.astype(np.float32)
    got = mixed(pair, cuts, dtype).astype(float)
    scale = 32767 if dtype is np.int16 else 1.0
    assert len(got) == 48_000
    assert np.array_equal(got, mixed(pair, [], dtype)), "what is heard depends on how the sound was cut into pieces"
    level = np.sqrt(np.mean(got**2)) / scale
    assert level >= 0.45 * np.sqrt(np.mean(voice**2)) * (0.5 if -0.9 < gain < 0 else 1.0)
    assert np.corrcoef(got, voice)[0, 1] > 0.9


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), alike=st.floats(-0.5, 1.0))
def test_other_sound_is_the_mean_of_its_channels(seed, alike):
    """What ffmpeg's own mixing gives, within its rounding."""
    rng = np.random.default_rng(seed)
    left, other = rng.normal(0, 4000, (2, 32_000)).clip(-30000, 30000)
    right = (alike * left + np.sqrt(1 - alike**2) * other).clip(-30000, 30000)
    pair = np.stack([left, right]).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(pair, format="s16p", layout="stereo")
    frame.sample_rate = RATE_HZ
    peer = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    expected = np.concatenate([f.to_ndarray()[0] for f in peer.resample(frame) + peer.resample(None)])
    assert np.abs(mixed(pair, [7_000]).astype(int) - expected).max() <= 4  # ffmpeg's weights are 0.49994


def test_an_edit_to_opposed_channels_is_followed_without_a_click():
    sound = tone(200.0, 4.0)[0]
    right = np.where(np.arange(len(sound)) < len(sound) // 2, sound, -sound).astype(np.int16)
    got = mixed(np.stack([sound, right]), []).astype(float)
    assert np.abs(np.diff(got)).max() <= 1.6 * np.abs(np.diff(sound.astype(float))).max() + 2 * 8000 / 80
    assert np.sqrt(np.mean(got[-RATE_HZ:] ** 2)) == pytest.approx(8000 / np.sqrt(2), rel=0.02)


def test_the_case_whose_second_stream_is_default():
    path = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "curation" / "media" / "twoaudio_second_default.mkv"
    if not path.exists():
        pytest.skip("../shared/cases is absent")
    assert np.abs(heard(path).astype(int)).max() > 1000
