"""The sample clips' speech: phonemes in time, the voice against textbook formants and a voice activity detector, the mouth against both."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.contracts import AUDIO_RATE_HZ
from curation.samples.mouth import mouth_track
from curation.samples.phonemes import LEXICON, SENTENCES, SOUNDS, Phone, speak
from curation.samples.voice import synthesise
from curation.scorers.speech import Speech


def spoken(seed: int = 0, duration_s: float = 6.0) -> list[Phone]:
    return speak(list(SENTENCES[:3]), duration_s=duration_s, rng=np.random.default_rng(seed))


def at(phones: list[Phone], names: str, times_s: np.ndarray, part: tuple[float, float] = (0.25, 0.75)) -> np.ndarray:
    """(T,) bool: a part, by default the middle half, of a phone of one of these names is on."""
    on = np.zeros(len(times_s), bool)
    for p in phones:
        if p.name in names.split():
            begin, end = (p.start_s + share * (p.end_s - p.start_s) for share in part)
            on |= (times_s >= begin) & (times_s <= end)
    return on


def test_every_word_of_every_sentence_can_be_spoken():
    assert all(word in LEXICON for sentence in SENTENCES for word in sentence.split())
    assert all(token.rstrip("1") in SOUNDS for phones in LEXICON.values() for token in phones.split())


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    duration_s=st.floats(1.5, 12.0),
    rate=st.floats(0.8, 1.3),
    chosen=st.lists(st.sampled_from(SENTENCES), max_size=5),
)
def test_phones_follow_each_other_without_gaps(seed, duration_s, rate, chosen):
    phones = speak(chosen, duration_s=duration_s, rng=np.random.default_rng(seed), rate=rate)
    assert phones[0].start_s == 0
    assert phones[-1].end_s == duration_s
    assert all(p.end_s > p.start_s for p in phones)
    assert all(b.start_s == a.end_s for a, b in pairwise(phones))
    assert phones[0].name == phones[-1].name == "_"


def test_speech_has_the_rhythm_of_speech():
    phones = speak(list(SENTENCES), duration_s=30.0, rng=np.random.default_rng(1))
    voiced_s = sum(p.end_s - p.start_s for p in phones if p.name != "_")
    syllables = sum(p.sound.kind == "vowel" for p in phones)
    assert 3.0 < syllables / voiced_s < 5.5


def test_same_seed_same_sound():
    a, b = (synthesise(spoken(3), seed=3) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.dtype == np.int16
    assert len(a) == 6 * AUDIO_RATE_HZ
    assert 0.5 < np.abs(a).max() / 32768 < 0.85


@pytest.mark.parametrize("vowel", ["IY", "AE", "AA", "AO", "UW"])
def test_vowels_have_their_formants(vowel):
    """Linear prediction (an independent method) on a held vowel finds the first two formants that were asked for."""
    sound = synthesise([Phone("_", 0, 0.1), Phone(vowel, 0.1, 0.9, 1), Phone("_", 0.9, 1.0)], pitch_hz=110.0, seed=0)
    signal = sound[4800:9600].astype(float)[::2]  # below 4 kHz
    signal = np.append(signal[0], signal[1:] - 0.97 * signal[:-1]) * np.hamming(len(signal))
    order = 10
    r = np.correlate(signal, signal, "full")[len(signal) - 1 :][: order + 1]
    toeplitz = r[np.abs(np.arange(order)[:, None] - np.arange(order))]
    poles = np.roots(np.concatenate([[1.0], -np.linalg.solve(toeplitz, r[1:])]))
    hz = np.angle(poles) * 8000 / (2 * np.pi)
    width_hz = -np.log(np.abs(poles)) * 8000 / np.pi
    found = np.sort(hz[(hz > 150) & (width_hz < 400)])
    for formant in SOUNDS[vowel].formants_hz[:2]:
        assert np.abs(found - formant).min() < max(0.12 * formant, 70), found


def test_the_detector_hears_speech_while_it_is_spoken_and_none_before():
    phones = speak(list(SENTENCES[3:6]), duration_s=7.0, rng=np.random.default_rng(4))
    probability = Speech().probability(synthesise(phones, seed=4))
    middles_s = (np.arange(len(probability)) + 0.5) * 512 / AUDIO_RATE_HZ
    first_s = phones[0].end_s
    pauses = [p for p in phones if p.name == "_"]
    talking = ~np.any([(middles_s > p.start_s - 0.05) & (middles_s < p.end_s + 0.1) for p in pauses], axis=0)
    assert (probability[talking] > 0.5).mean() > 0.95
    assert probability[middles_s < first_s - 0.05].max() < 0.3


def test_lips_meet_where_they_must_and_open_on_vowels():
    phones = spoken(5, 9.0)
    times = np.arange(0, 9, 0.005)
    mouth = mouth_track(phones, times)
    assert mouth.gap_px[at(phones, "M B P", times, (0.0, 0.5))].max() < 0.5
    assert mouth.gap_px[at(phones, "_", times, (0.4, 0.6))].max() < 0.5
    assert mouth.gap_px[at(phones, "AA AE AY AW", times, (-0.3, 0.4))].mean() > 5
    assert (
        mouth.width_px[at(phones, "UW OW W", times, (-0.3, 0.4))].mean()
        < mouth.width_px[at(phones, "IY EY EH", times, (-0.3, 0.4))].mean() - 3
    )
    assert np.abs(np.diff(mouth.gap_px)).max() < 1.5  # portrait px in 5 ms: no jumps


def test_mouth_and_loudness_move_together():
    phones = speak(list(SENTENCES[:5]), duration_s=14.0, rng=np.random.default_rng(6))
    sound = synthesise(phones, seed=6).astype(float)
    n = 14 * 25
    gap = mouth_track(phones, np.arange(n) / 25).gap_px
    envelope = np.array([np.log(30 + np.sqrt((sound[max(0, i * 640 - 320) : i * 640 + 320] ** 2).mean())) for i in range(n)])
    lags = range(-12, 13)
    correlation = [np.corrcoef(gap[20:-20], envelope[20 + k : n - 20 + k])[0, 1] for k in lags]
    assert 0 <= lags[int(np.argmax(correlation))] <= 3  # frames: the mouth is a little ahead of the sound, as people's are
    assert max(correlation) > 0.5
