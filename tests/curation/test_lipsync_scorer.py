"""The scorer with the shipped weights: planted shifts, missing evidence, broken weights files."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lipsync_footage import delayed

from curation.contracts import Clip, Evidence, Faces, MediaInfo
from curation.landmarks.sixty_eight import from_mesh
from curation.lipsync.curve import SHIFTS, clip_curve, movement, sync_curve, whole_windows
from curation.lipsync.towers import SHIPPED_WEIGHTS, Towers, WeightsError, load_towers, padding
from curation.samples.clips import open_studio
from curation.samples.face import Expression, Face
from curation.samples.mouth import mouth_track
from curation.samples.phonemes import SENTENCES, speak
from curation.samples.voice import synthesise
from curation.scorers.lipsync import LipSync

COLUMNS = ("lipsync_conf", "lipsync_offset_frames", "lipsync_windows")


def evidence(points_px: np.ndarray, audio: np.ndarray | None) -> Evidence:
    n = len(points_px)
    faces = Faces(np.arange(n) * 40.0, np.ones(n, np.int16), points_px, np.ones((n, 68), np.float32))
    info = MediaInfo(512, 512, 25.0, n, n * 40.0, "h264", audio is not None, 16_000)
    return Evidence(Clip("test", "x", "x", "x.mp4"), info, 25.0, faces, audio)


@pytest.fixture(scope="module")
def talking() -> tuple[np.ndarray, np.ndarray]:
    """Points (T, 68, 2) px and sound of the project's own sample speaker, 7 s, as planted: nothing is drawn and nothing detected."""
    portrait, _ = open_studio()
    face, points = Face(portrait), from_mesh(portrait.mesh[:, :2])
    phones = speak([SENTENCES[1], SENTENCES[4]], duration_s=7.0, rng=np.random.default_rng(2))
    mouth = mouth_track(phones, np.arange(175) / 25)
    values = zip(mouth.gap_px, mouth.width_px, mouth.rounding, mouth.press, mouth.tuck, mouth.jaw_px, strict=True)
    moved = np.stack([face.landmarks(Expression(*map(float, frame)), points) for frame in values])
    return moved.astype(np.float32), synthesise(phones)[: 175 * 640]


@pytest.mark.parametrize("late", [-7, 0, 5])
def test_shipped_weights_find_planted_shifts_of_the_sample_speaker(talking: tuple[np.ndarray, np.ndarray], late: int) -> None:
    points, audio = talking
    row = LipSync().finish(evidence(points, delayed(audio, late)))
    assert set(row) == set(COLUMNS)
    assert abs(row["lipsync_offset_frames"] - (-late)) <= 1  # the sound is early: positive
    assert row["lipsync_conf"] > 0.05
    assert row["lipsync_windows"] == 175 - 8


def test_sync_curve_is_what_the_row_was_read_from(talking: tuple[np.ndarray, np.ndarray]) -> None:
    points, audio = talking
    scorer = LipSync()
    shifts, similarity = scorer.sync_curve(evidence(points, audio))
    row = scorer.finish(evidence(points, audio))
    assert list(shifts) == list(range(-15, 16))
    assert shifts[similarity.argmax()] == row["lipsync_offset_frames"]
    assert row["lipsync_conf"] == pytest.approx(similarity.max() - np.median(similarity))
    assert (np.abs(similarity) <= 1).all()


def test_position_size_and_missing_frames_do_not_move_the_offset(talking: tuple[np.ndarray, np.ndarray]) -> None:
    points, audio = talking
    expected = LipSync().finish(evidence(points, audio))
    points = points * 2.5 + np.array([300, 40], np.float32)
    points[60:80] = np.nan
    points[3] = np.nan
    row = LipSync().finish(evidence(points, audio))
    assert row["lipsync_offset_frames"] == pytest.approx(expected["lipsync_offset_frames"], abs=1)
    assert 100 < row["lipsync_windows"] < expected["lipsync_windows"]


def test_without_sound_nothing_is_claimed(talking: tuple[np.ndarray, np.ndarray]) -> None:
    points, audio = talking
    scorer = LipSync()
    assert scorer.finish(evidence(points, None)) == {}
    assert np.isnan(scorer.sync_curve(evidence(points, None))[1]).all()
    assert scorer.finish(replace(evidence(points, audio), sample_hz=5.0)) == {}
    silent = scorer.finish(evidence(points, np.zeros_like(audio)))
    assert silent["lipsync_conf"] < 0.03 < scorer.finish(evidence(points, audio))["lipsync_conf"]
    assert "lipsync_offset_frames" not in silent


@pytest.mark.parametrize(("level", "dither", "has_offset"), [(0, 0, False), (0, 1, False), (-1200, 1, False), (0, 300, True)])
def test_digital_silence_has_no_offset(talking: tuple[np.ndarray, np.ndarray], level: int, dither: int, has_offset: bool) -> None:
    """Also with dither, and on a level of its own; faint noise is sound."""
    points, audio = talking
    silence = np.random.default_rng(0).integers(level - dither, level + dither + 1, len(audio)).astype(np.int16)
    row = LipSync().finish(evidence(points, silence))
    assert row["lipsync_windows"] > 30
    assert (row.get("lipsync_offset_frames") is not None) == has_offset


@pytest.mark.parametrize("n_frames", [0, 1, 8, 9, 30])
def test_too_few_windows_have_no_score(talking: tuple[np.ndarray, np.ndarray], n_frames: int) -> None:
    points, audio = talking
    row = LipSync().finish(evidence(points[:n_frames], audio))
    assert row == {"lipsync_windows": max(0, n_frames - 8)}
    row = LipSync().finish(evidence(points, audio[: n_frames * 640]))
    assert row == {"lipsync_windows": max(0, n_frames - 8)}


def test_unseen_face_has_no_score(talking: tuple[np.ndarray, np.ndarray]) -> None:
    points, audio = talking
    assert LipSync().finish(evidence(np.full_like(points, np.nan), audio)) == {"lipsync_windows": 0}


def test_curve_against_a_plain_double_loop() -> None:
    rng = np.random.default_rng(0)
    mouth, sound = (rng.standard_normal((50, 4)).astype(np.float32) for _ in range(2))
    weight = rng.random(50) * (rng.random(50) < 0.8)
    for offset, value in zip(SHIFTS, sync_curve(mouth, sound, weight), strict=True):
        pairs = [(float(mouth[t] @ sound[t - offset]), weight[t]) for t in range(50) if 0 <= t - offset < 50]
        assert value == pytest.approx(sum(s * w for s, w in pairs) / sum(w for _, w in pairs), abs=1e-5)


def test_resting_lips_count_little_and_no_window_counts_nothing() -> None:
    mouth = np.zeros((60, 50), np.float32)
    mouth[30:, :40] = np.sin(np.arange(30))[:, None]
    weight = movement(mouth, 9)
    assert weight.shape == (60,)
    assert weight[:25].max() < weight[35:].min() / 100
    assert movement(mouth[:1], 9).shape == (1,)
    assert np.isnan(sync_curve(mouth, mouth, np.zeros(60))).all()


def test_windows_are_whole_only_where_all_their_frames_are_known() -> None:
    known = np.ones(20, bool)
    known[12] = False
    expected = [all(known[t - 4 : t + 5]) and 4 <= t <= 15 for t in range(20)]
    assert list(whole_windows(known, 9)) == expected
    assert not whole_windows(known[:5], 9).any()


def test_towers_see_what_the_model_card_says() -> None:
    towers = load_towers()
    assert (towers.mouth.field, towers.mouth.stride) == (9, 1)
    assert (towers.sound.field, towers.sound.stride) == (24, 4)
    assert 150_000 < towers.n_parameters < 300_000
    x = np.zeros((40, 50), np.float32)
    y = x.copy()
    y[20] = 1
    changed = np.flatnonzero(np.abs(towers.mouth(x) - towers.mouth(y)).max(axis=1) > 0)
    assert (changed.min(), changed.max()) == (16, 24)
    assert padding(9, 1) == (4, 4)
    card = (SHIPPED_WEIGHTS.parent / "MODEL_CARD.md").read_text()
    assert towers.name in card
    assert f"{towers.n_parameters:,}" in card
    assert LipSync().model_name == towers.name


@pytest.mark.parametrize("content", [b"", b"no weights", (8).to_bytes(8, "little") + b"{}      "])
def test_bad_weights_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match="train-lipsync"):
        load_towers(path)
    path.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load_towers(path)
    assert "\n" not in str(error.value)


def test_fast_enough_to_look_at_everything(talking: tuple[np.ndarray, np.ndarray]) -> None:
    """5 ms a second of video on one core; CPU time, best of five, because the machine may be shared."""
    points, audio = talking
    towers: Towers = load_towers()
    spent = []
    for _ in range(5):
        began = time.process_time()
        clip_curve(towers, points, audio)
        spent.append(time.process_time() - began)
    assert min(spent) / 7.0 < 0.005 * 2  # twice the target: several BLAS threads count together
