"""The microphone's layer: nothing by default, nothing delayed, noise and room as asked."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.contracts import AUDIO_RATE_HZ
from curation.people.microphone import NO_SOUND_FAULTS, SoundFaults, draw_sound_faults, through_microphone


def voice(n: int = AUDIO_RATE_HZ) -> np.ndarray:
    """Syllables of a buzz: (n,) int16."""
    t = np.arange(n) / AUDIO_RATE_HZ
    buzz = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 30))
    return np.round(9000 * buzz / 2 * np.clip(np.sin(2 * np.pi * 3.1 * t), 0, 1)).astype(np.int16)


def test_no_faults_change_nothing() -> None:
    sound = voice()
    assert through_microphone(sound, NO_SOUND_FAULTS, 0) is sound
    assert len(through_microphone(sound[:0], draw_sound_faults(0, 1), 0)) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_lips_and_sound_stay_in_time(person: int, in_a_room: bool) -> None:
    sound, faults = voice(), draw_sound_faults(0, person)
    heard = through_microphone(sound, faults if in_a_room else replace(faults, reverberation_s=0.0), person)
    assert heard.dtype == np.int16
    assert heard.shape == sound.shape
    loud = [np.convolve(np.abs(x.astype(float)), np.ones(160) / 160, "same") for x in (sound, heard)]
    loud = [x - x.mean() for x in loud]
    lags = range(-800, 801, 40)  # 50 ms either way
    scores = [np.dot(loud[0][800:-800], np.roll(loud[1], -lag)[800:-800]) for lag in lags]
    allowed_s = 0.04 if in_a_room else 0.005  # echoes smear what they follow, by less than a frame
    assert abs(lags[int(np.argmax(scores))]) <= allowed_s * AUDIO_RATE_HZ


def test_each_draw_is_its_seeds_own() -> None:
    sound = voice()
    first, again, other = (through_microphone(sound, draw_sound_faults(0, k), s) for k, s in ((1, 5), (1, 5), (2, 5)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_noise_and_level_are_as_asked() -> None:
    silence_after = np.concatenate([voice(), np.zeros(AUDIO_RATE_HZ, np.int16)])
    heard = through_microphone(silence_after, SoundFaults(noise_db=20.0, gain=0.5), 0).astype(float)
    assert np.abs(heard).max() == pytest.approx(0.5 * np.abs(silence_after).max(), rel=0.02)
    level = np.sqrt(np.mean((heard[: len(voice())]) ** 2) / 2)  # over the whole, half of which is silent
    assert 20 * np.log10(level / np.std(heard[len(voice()) :])) == pytest.approx(20, abs=1.5)


def test_a_telephone_has_nothing_above_its_cut() -> None:
    heard = through_microphone(voice(), SoundFaults(cutoff_hz=2000.0), 0).astype(float)
    power = np.abs(np.fft.rfft(heard)) ** 2
    hz = np.fft.rfftfreq(len(heard), 1 / AUDIO_RATE_HZ)
    assert power[hz > 3000].sum() < 1e-3 * power.sum()
