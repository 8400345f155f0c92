"""What moves in rendered people's clips: uncorrelated, within its band and its bounds, the same every time; voices and words."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.people.acting import POSE_FIELDS, pose_at, pose_tracks
from curation.people.motion import FACTORS, SMOOTH, Motion, cosines, draw_motion
from curation.people.speech import Voice, draw_speech, draw_voice, sound_of
from curation.samples.phonemes import LEXICON

FPS = 25


def motion_of(person: int, *, seconds: float = 3.0, seed: int = 0, **more) -> Motion:
    rng = np.random.default_rng([seed, person])
    voice = draw_voice(float(rng.random() < 0.5), rng.random(), rng)
    return draw_motion(draw_speech(seconds, voice, rng), round(seconds * FPS), FPS, seed=seed, person=person, **more)


def correlations(motions: list[Motion]) -> np.ndarray:
    """(F, F) Pearson's over all frames of all clips, 0 on the diagonal."""
    table = np.concatenate([np.stack([motion.factors[name] for name in FACTORS], axis=1) for motion in motions])
    return np.corrcoef(table.T) - np.eye(len(FACTORS))


@pytest.mark.parametrize(("people", "seconds", "seed"), [(60, 3.0, 0), (200, 3.0, 0), (100, 6.0, 1), (60, 3.0, 7)])
def test_factors_are_uncorrelated_over_a_set_of_clips(people, seconds, seed):
    found = correlations([motion_of(person, seconds=seconds, seed=seed) for person in range(people)])
    assert np.abs(found).max() < 0.05


def test_smooth_factors_are_uncorrelated_within_every_clip():
    names = [name for name in FACTORS if name != "blink"]
    for person in range(20):
        motion = motion_of(person)
        table = np.corrcoef([motion.factors[name] for name in names]) - np.eye(len(names))
        assert np.abs(table).max() < 1e-6


def test_lids_brows_and_mouth_can_be_confounded():
    motion = motion_of(3, lid_mouth_correlation=0.8)
    mouth = motion.factors["mouth"]
    for name in ("blink", "brows"):
        assert np.corrcoef(mouth, motion.factors[name])[0, 1] == pytest.approx(0.8, abs=1e-6)
    assert abs(np.corrcoef(mouth, motion.factors["yaw_deg"])[0, 1]) < 1e-6


@settings(max_examples=40, deadline=None)
@given(person=st.integers(0, 10**6), seed=st.integers(0, 10**6), seconds=st.sampled_from([0.4, 1.0, 3.0, 8.0]))
def test_factors_stay_in_band_and_bounds(person, seed, seconds):
    motion = motion_of(person, seed=seed, seconds=seconds)
    for name, bounds in SMOOTH.items():
        track = motion.factors[name]
        n = len(track)
        beyond = max(2, min(n - 1, int(2 * bounds.band_hz * n / FPS)))
        outside = (cosines(n, n - 1).T @ (track - track.mean()))[beyond:]  # what a cosine transform finds above the band
        assert np.abs(outside).max(initial=0) < 1e-9 * max(1, np.abs(track).max())
        margin = bounds.amplitude_high + 1e-9
        assert (bounds.centre_low - margin <= track).all()
        assert (track <= bounds.centre_high + margin).all()
    for name in ("mouth", "blink"):
        assert (motion.factors[name] >= 0).all()
        assert (motion.factors[name] <= 1).all()


def test_mouth_moves_below_ten_hertz():
    power = np.zeros(38)
    for person in range(30):
        mouth = motion_of(person).factors["mouth"]
        power += np.abs(np.fft.rfft((mouth - mouth.mean()) * np.hanning(len(mouth)))) ** 2
    hz = np.fft.rfftfreq(75, 1 / FPS)
    assert power[hz <= 10].sum() / power.sum() > 0.98


def test_a_clip_is_drawn_from_seed_person_and_clip_alone():
    first, again = motion_of(5), motion_of(5)
    for name in FACTORS:
        np.testing.assert_array_equal(first.factors[name], again.factors[name])
    for other in (motion_of(6), motion_of(5, seed=1), motion_of(5, clip=1)):
        assert not np.allclose(first.factors["yaw_deg"], other.factors["yaw_deg"])


def test_poses_cover_every_field_and_hold_what_is_planted():
    motion = motion_of(2)
    tracks = pose_tracks(motion)
    assert tuple(tracks) == POSE_FIELDS
    assert all(track.dtype == np.float32 and track.shape == (75,) for track in tracks.values())
    pose = pose_at(tracks, 40)
    assert pose.yaw_deg == np.float32(motion.factors["yaw_deg"][40])
    assert pose.blink_left == pose.blink_right == np.float32(motion.factors["blink"][40])
    shape = [name for name in POSE_FIELDS if not name.endswith("_deg") and name not in ("shift_x", "shift_y", "distance")]
    assert all((tracks[name] >= 0).all() and (tracks[name] <= 1).all() for name in shape)


def test_voices_differ_by_sex_and_person():
    rng = np.random.default_rng(0)
    men = [draw_voice(1.0, rng.random(), rng) for _ in range(200)]
    women = [draw_voice(0.0, rng.random(), rng) for _ in range(200)]
    assert 115 < np.median([voice.pitch_hz for voice in men]) < 150
    assert 190 < np.median([voice.pitch_hz for voice in women]) < 240
    assert np.median([voice.formant_scale for voice in men]) < 0.9 < np.median([voice.formant_scale for voice in women])
    assert len({voice.pitch_hz for voice in men}) == 200


@pytest.mark.parametrize("pitch_hz", [95.0, 140.0, 230.0])
def test_the_voice_has_the_pitch_that_was_asked_for(pitch_hz):
    phones = draw_speech(4.0, Voice(pitch_hz, 1.0, 1.0), np.random.default_rng(1))
    sound = sound_of(phones, Voice(pitch_hz, 1.0, 1.0), seed=3).astype(float)
    voiced = np.concatenate([sound[int(p.start_s * 16000) : int(p.end_s * 16000)] for p in phones if p.stress])
    spectrum = np.abs(np.fft.rfft(voiced * np.hanning(len(voiced)), 2**17)) ** 2
    autocorrelation = np.fft.irfft(spectrum)
    lags = np.arange(16000 // 350, 16000 // 60)
    found_hz = 16000 / lags[np.argmax(autocorrelation[lags])]
    assert abs(np.log2(found_hz / pitch_hz)) < 0.4  # stressed vowels lie a few semitones above the middle


def test_no_word_is_said_twice_in_a_clip():
    for number in range(20):
        phones = draw_speech(6.0, Voice(150.0, 0.9, 1.1), np.random.default_rng(number))
        names = " ".join(phone.name for phone in phones if phone.name != "_")
        for word in ("lips", "open", "people", "water", "evening"):
            assert names.count(LEXICON[word].replace("1", "")) <= (2 if word == "open" else 1)  # "opens" holds "open"


def test_speech_fills_the_clip_without_gaps():
    voice = Voice(150.0, 0.9, 1.1)
    for number in range(20):
        phones = draw_speech(3.0, voice, np.random.default_rng(number))
        assert phones[0].start_s == 0
        assert phones[-1].end_s == 3.0
        assert all(a.end_s == b.start_s for a, b in itertools.pairwise(phones))
        assert sum(p.end_s - p.start_s for p in phones if p.name != "_") > 1.2
        assert len(sound_of(phones, voice, number)) == 48_000
