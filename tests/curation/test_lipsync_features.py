"""Mouth features and log-mel, against closed forms and definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.landmarks.sixty_eight import FLIP, RIGID
from curation.lipsync import features as f
from curation.media.sampling import GridSampler


def moving_face(n_frames: int = 40, seed: int = 0) -> np.ndarray:
    """(T, 68, 2): a face whose rigid points lie on the template and whose mouth moves."""
    rng = np.random.default_rng(seed)
    face = rng.uniform(-0.5, 0.5, (68, 2))
    face[RIGID] = f.TEMPLATE
    points = np.repeat(face[None], n_frames, axis=0)
    points[:, f.MOUTH] += 0.05 * np.sin(np.arange(n_frames)[:, None, None] / 3 + rng.uniform(0, 6, (1, len(f.MOUTH), 2)))
    return points


@settings(max_examples=30, deadline=None)
@given(
    scale=st.floats(20, 900),
    angle_deg=st.floats(-170, 170),
    x_px=st.floats(-500, 4000),
    y_px=st.floats(-500, 4000),
    wander=st.floats(0, 30),
)
def test_mouth_features_ignore_where_how_large_and_how_tilted_the_face_is(scale, angle_deg, x_px, y_px, wander) -> None:
    face = moving_face()
    a = np.radians(angle_deg)
    turned = face @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * scale + [x_px, y_px]
    turned = turned + wander * np.sin(np.arange(len(face)) / 5)[:, None, None]  # the head also moves within the clip
    expected, _ = f.mouth_features(face)
    got, known = f.mouth_features(turned)
    assert known.all()
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_mouth_features_are_the_movement_about_the_clips_mean() -> None:
    face = moving_face()
    mouth = face[:, f.MOUTH] - face[:, f.MOUTH].mean(axis=0)
    got, _ = f.mouth_features(face * 100)
    np.testing.assert_allclose(got, mouth.reshape(len(face), -1) * f.MOUTH_SCALE, atol=1e-4)


def test_mirrored_face_has_mirrored_features() -> None:
    face = moving_face()
    mirrored = face[:, FLIP] * [-1, 1]
    expected, _ = f.mouth_features(face)
    got, _ = f.mouth_features(mirrored)
    np.testing.assert_allclose(got.reshape(-1, 25, 2)[:, f.MOUTH_FLIP] * [-1, 1], expected.reshape(-1, 25, 2), atol=1e-4)


def test_short_gaps_are_bridged_and_long_ones_are_not() -> None:
    face = moving_face(60)
    expected, _ = f.mouth_features(face)
    face[10 : 10 + f.MAX_GAP_FRAMES] = np.nan
    face[30 : 31 + f.MAX_GAP_FRAMES] = np.nan
    face[:2] = np.nan
    got, known = f.mouth_features(face)
    unknown = np.zeros(60, bool)
    unknown[30 : 31 + f.MAX_GAP_FRAMES] = unknown[:2] = True
    np.testing.assert_array_equal(known, ~unknown)
    assert (got[unknown] == 0).all()
    assert np.isfinite(got).all()
    assert np.abs(got[10:15] - expected[10:15]).mean() < 0.5  # about unit variance: bridged, not zeroed at random


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_or_unseen_frames(n: int) -> None:
    got, known = f.mouth_features(np.full((n, 68, 2), np.nan))
    assert got.shape == (n, f.N_MOUTH)
    assert not known.any()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="68"):
        f.mouth_features(np.zeros((5, 67, 2)))
    with pytest.raises(ValueError, match="audio"):
        f.log_mel(np.zeros((5, 2), np.int16))


def test_log_mel_by_the_definitions() -> None:
    """Row by row: Hann window, the DFT as a sum, triangles on the HTK scale."""
    rng = np.random.default_rng(0)
    audio = (rng.standard_normal(6400) * 3000 * np.hanning(6400)).astype(np.int16)
    sound = np.concatenate([np.zeros(200), audio.astype(float), np.zeros(200)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    dft = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512)
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (60.0, 7600.0))
    corners_hz = [700 * (10 ** ((low + (high - low) * i / 41) / 2595) - 1) for i in range(42)]
    filters = np.stack([np.interp(np.arange(257) * 31.25, corners_hz[i : i + 3], [0.0, 1.0, 0.0]) for i in range(40)])
    power = np.stack([np.abs(dft @ (sound[160 * row : 160 * row + 400] * window)) ** 2 for row in range(40)])
    log = np.log(power @ filters.T)
    log = np.maximum(log, max(np.log(f.MEL_SILENCE), log.max() - f.MEL_RANGE))
    got = f.log_mel(audio)
    assert got.shape == (40, 40)
    np.testing.assert_allclose(got, (log - log.mean(axis=0)) / 2, atol=2e-3)


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0.2, 6.0))
def test_log_mel_ignores_the_recording_level(gain: float) -> None:
    audio = np.random.default_rng(1).standard_normal(8000) * 1000  # clipping-free up to the largest gain, rounding well below the floor
    np.testing.assert_allclose(f.log_mel((audio * gain).astype(np.int16)), f.log_mel(audio.astype(np.int16)), atol=0.1)


@pytest.mark.parametrize(("n", "frames"), [(0, 0), (639, 0), (640, 1), (1300, 2)])
def test_log_mel_of_short_and_silent_sound(n: int, frames: int) -> None:
    got = f.log_mel(np.zeros(n, np.int16))
    assert got.shape == (4 * frames, f.MEL_BANDS)
    np.testing.assert_allclose(got, 0, atol=1e-6)


@pytest.mark.parametrize("fps", [23.976, 25.0, 29.97, 30.0, 50.0, 59.94])
def test_sampling_lag_is_that_of_the_media_sampler(fps: float) -> None:
    sampler = GridSampler(0.0, None, f.VIDEO_HZ, tolerance_s=0.0005)
    lags_s: list[float] = []
    for frame in range(2000):
        lags_s += [point / f.VIDEO_HZ - (frame - 1) / fps for point in sampler.push(frame / fps)]
    assert 0.01 * f.sampling_lag_rows(fps) == pytest.approx(np.mean(lags_s), abs=0.0055)


def test_later_delays_the_sound() -> None:
    mel = np.arange(12.0)[:, None] * np.ones(40)
    assert f.later(mel, 0) is mel
    np.testing.assert_array_equal(f.later(mel, 2)[:, 0], [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert f.sampling_lag_rows(float("nan")) == 0
