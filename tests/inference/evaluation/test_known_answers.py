"""Planted errors move the right metric, and by the planted amount where the metric has a unit; the 9:1 split keeps people apart."""

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_clips import SIZE_PX, face_points, made_clip

from curation.landmarks.sixty_eight import interocular
from curation.samples.mouth import mouth_track
from curation.samples.phonemes import SENTENCES, speak
from curation.samples.voice import synthesise
from curation.sources.hdtf import identity_of
from inference.evaluation.canonical import HEARD
from inference.evaluation.controls import shuffled_audio
from inference.evaluation.frechet import frechet_distance
from inference.evaluation.metrics.amplitude import ranges
from inference.evaluation.metrics.base import Judged
from inference.evaluation.metrics.lipsync import LandmarkLipSync
from inference.evaluation.metrics.stability import Stability
from manifests import split

N_FRAMES = 175


def spoken() -> tuple[np.ndarray, np.ndarray]:
    """(T, 68, 2) lips of the generic face, and the sound of what they say, by the sample clips' voice and mouth."""
    phones = speak([SENTENCES[0], SENTENCES[1]], duration_s=N_FRAMES / 25, rng=np.random.default_rng(0))
    track = mouth_track(phones, np.arange(N_FRAMES) / 25)
    points = face_points(N_FRAMES)
    eyes = float(interocular(points)[0])
    gap, width = 0.04 * eyes * track.gap_px, 0.1 * eyes * track.width_px / track.width_px.max()
    points[:, [*range(55, 60), 65, 66, 67], 1] += gap[:, None]
    points[:, 6:11, 1] += 0.8 * gap[:, None]
    points[:, [48, 60], 0] -= width[:, None]
    points[:, [54, 64], 0] += width[:, None]
    return points, synthesise(phones)[: N_FRAMES * 640]


def test_shifted_sound_moves_the_offset_by_the_shift_and_another_voice_loses_confidence() -> None:
    points, sound = spoken()
    metric = LandmarkLipSync()

    def score(audio: np.ndarray) -> dict[str, float]:
        clip = made_clip(points, audio=audio[: N_FRAMES * 640].astype(np.int16))
        return metric.score(Judged(clip, clip))

    found = [score(np.concatenate([np.zeros(frames * 640), sound])) for frames in (0, 3, 6, 9, 12)]
    offsets = [one["lipsync_offset_frames"] for one in found]
    assert abs(offsets[0]) <= 1
    assert [offsets[0] - offset for offset in offsets] == [0, 3, 6, 9, 12]
    real, other = made_clip(points, audio=sound.astype(np.int16)), made_clip(points, audio=sound[::-1].astype(np.int16))
    shuffled = metric.score(shuffled_audio(real, other))
    assert shuffled["lipsync_conf"] < 0.7 * found[0]["lipsync_conf"]


def test_a_video_that_comes_late_loses_its_lip_sync() -> None:
    """Whoever answers eight frames late must not rank with those who are in time, however well the lips fit the sound of before."""
    points, sound = spoken()
    real = made_clip(points, audio=sound.astype(np.int16))
    late = {frames: made_clip(np.concatenate([np.repeat(points[:1], frames, axis=0), points])[:N_FRAMES]) for frames in (0, 1, 3, 5, 8)}
    found = {frames: LandmarkLipSync().score(Judged(clip, real)) for frames, clip in late.items()}
    offsets = {frames: one["lipsync_offset_frames"] for frames, one in found.items()}
    assert [offsets[frames] - offsets[0] for frames in (1, 3, 5, 8)] == pytest.approx([1, 3, 5, 8], abs=1)
    confidence = {frames: one["lipsync_conf"] for frames, one in found.items()}
    assert confidence[0] > 0.15
    assert confidence[3] < 0.8 * confidence[0]
    assert max(confidence[5], confidence[8]) < 0.5 * confidence[0]


def test_silence_has_no_lip_sync() -> None:
    points, _ = spoken()
    for level, is_silent in ((0, True), (HEARD - 1, True), (HEARD, False)):
        clip = made_clip(points, audio=np.full(N_FRAMES * 640, level, np.int16))
        assert (LandmarkLipSync().score(Judged(clip, clip)) == {}) is is_silent


def test_dropped_frames_lower_the_flicker_ratio_and_repeat() -> None:
    real = made_clip(face_points(64))
    kept = [made_clip(face_points(64), frames=real.frames[np.arange(64) // step * step]) for step in (1, 2, 4, 8)]
    ratios = [Stability().score(Judged(clip, real))["flicker_ratio"] for clip in kept]
    assert ratios[0] == 1
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[-1] < 0.8


def test_exchanged_identities_move_a_frechet_distance() -> None:
    """People differ in their texture; answers that show one person instead of the asked one are farther, the more of them."""
    rng = np.random.default_rng(0)
    filters = rng.standard_normal((40, 3 * 8 * 8)) / 14

    def features(frames: np.ndarray) -> np.ndarray:
        small = frames[::5, : 8 * 12, : 8 * 12].reshape(-1, 8, 12, 8, 12, 3).mean((2, 4)).reshape(-1, 8 * 8 * 3)
        return np.maximum(small / 127.5 - 1, 0) @ filters.T

    people = [features(made_clip(face_points(50), seed=seed).frames) for seed in range(12)]
    real = np.concatenate(people)
    distances = [frechet_distance(np.concatenate([people[0]] * wrong + people[wrong:]), real) for wrong in (0, 3, 6, 9)]
    assert distances[0] == pytest.approx(0, abs=1e-9)
    assert distances == sorted(distances)
    assert len(set(distances)) == 4


def test_amplitudes_are_in_their_units() -> None:
    times = np.arange(100) / 25
    roll = 6 * np.sin(2 * np.pi * times)
    found = ranges(face_points(100, roll_deg=roll).astype(float))
    assert found["head_roll_range_deg"] == pytest.approx(roll.std(), rel=0.01)
    assert found["mouth_range"] == pytest.approx(0, abs=1e-5)
    assert found["head_zoom_range"] == pytest.approx(0, abs=1e-5)
    moved = face_points(100).astype(float)
    shift = 0.3 * interocular(moved)[0] * np.sin(2 * np.pi * times)
    moved[..., 0] += shift[:, None]
    assert ranges(moved)["head_shift_range"] == pytest.approx(0.3 * np.sin(2 * np.pi * times).std(), rel=1e-3)
    grown = (moved - SIZE_PX / 2) * np.exp(0.2 * np.sin(2 * np.pi * times))[:, None, None]
    assert ranges(grown)["head_zoom_range"] == pytest.approx(0.2 * np.sin(2 * np.pi * times).std(), rel=0.01)
    half = [ranges(face_points(100, roll_deg=alpha * roll).astype(float))["head_roll_range_deg"] for alpha in (0, 0.5, 1, 1.5)]
    assert half == pytest.approx([alpha * roll.std() for alpha in (0, 0.5, 1, 1.5)], abs=0.05)


@given(st.text(string.ascii_letters + "_", min_size=1, max_size=12), st.lists(st.integers(0, 999), min_size=2, max_size=5))
def test_recordings_of_one_person_are_on_one_side_of_the_split(stem: str, numbers: list[int]) -> None:
    assert len({split(identity_of(f"{stem}{number}")) for number in numbers}) == 1


def test_nine_in_ten_people_train_and_nobody_moves_when_clips_are_added() -> None:
    names = [f"WDA_Person{chr(65 + i // 26 % 26)}{chr(65 + i % 26)}{chr(97 + i // 676)}{k}" for i in range(1500) for k in range(1 + i % 3)]
    sides = {name: split(identity_of(name)) for name in names}
    people = {identity_of(name): side for name, side in sides.items()}
    assert len(people) == 1500
    assert all(people[identity_of(name)] == side for name, side in sides.items())
    assert 0.08 < sum(side == "test" for side in people.values()) / len(people) < 0.12
    more = {**sides, **{f"{name}7": split(identity_of(f"{name}7")) for name in names}}
    assert {name: more[name] for name in names} == sides
