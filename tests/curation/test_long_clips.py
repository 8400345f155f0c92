"""Hours of footage: every scorer of sound and landmarks gives the same numbers a stretch at a time, in memory that hardly grows."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest

from curation.blocks import blocks
from curation.contracts import Clip, Evidence, Faces, MediaInfo
from curation.job.progress import Progress
from curation.landmarks import pose
from curation.lipsync import curve, features
from curation.lipsync.towers import load_towers
from curation.live_line import LiveLine
from curation.scorers import face
from curation.scorers.face import FaceResolution
from curation.scorers.head_pose import HeadPose
from curation.scorers.lipsync import LipSync
from curation.scorers.speech import Speech
from curation.syncnet import mfcc


def footage(n_frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(T, 68, 2) float32 points with holes, and sound that gets loud late."""
    rng = np.random.default_rng(seed)
    points = (pose.TEMPLATE_CM[:, :2] * 20 + 300 + rng.normal(size=(n_frames, 68, 2))).astype(np.float32)
    for start, length in ((3, 2), (17, 5), (40, 9), (61, 1)):
        points[start : start + length] = np.nan
    audio = rng.normal(size=n_frames * 640 + 77) * np.linspace(20, 3000, n_frames * 640 + 77)
    return points, audio.astype(np.int16)


@pytest.mark.parametrize(("size", "n_frames", "fps"), [(7, 99, 25.0), (32, 130, 24.0), (50, 12, 30.0), (7, 1, 24.0), (32, 64, 25.0)])
def test_a_stretch_at_a_time_gives_the_numbers_of_the_whole(monkeypatch, size, n_frames, fps):
    points, audio = footage(n_frames)
    towers = load_towers()
    mouth, known = features.mouth_features(points)
    mel = features.log_mel(audio)
    whole = curve.clip_curve(towers, points, audio, fps)
    cepstra = mfcc.mfcc(audio)
    rotations = pose.head_rotations(points)
    for module in (features, curve, pose, face):
        monkeypatch.setattr(module, "FRAMES_AT_ONCE", size)
    monkeypatch.setattr(features, "ROWS_AT_ONCE", 3 * size)
    monkeypatch.setattr(mfcc, "_FRAMES_AT_ONCE", size)
    np.testing.assert_allclose(features.mouth_features(points)[0], mouth, atol=1e-4)
    np.testing.assert_array_equal(features.mouth_features(points)[1], known)
    np.testing.assert_allclose(features.log_mel(audio), mel, atol=1e-5)
    parts = curve.clip_curve(towers, points, audio, fps)
    np.testing.assert_allclose(parts[0], whole[0], atol=1e-5)
    assert parts[1] == whole[1]
    lagged = features.later(mel, features.sampling_lag_rows(fps))
    of_features = curve.features_curve(towers, mouth, known, lagged)
    np.testing.assert_allclose(of_features[0], whole[0], atol=1e-5)
    np.testing.assert_allclose(mfcc.mfcc(audio), cepstra, atol=1e-9)
    for one, other in zip(pose.head_rotations(points), rotations, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_blocks_cover_everything_once():
    for n in (0, 1, 6, 7, 8):
        assert [i for block in blocks(n, 3) for i in range(n)[block]] == list(range(n))


def evidence(minutes: int) -> Evidence:
    n = minutes * 60 * 25
    points, audio = footage(1500)
    faces = Faces(
        np.arange(n) * 40.0,
        np.ones(n, np.int16),
        np.broadcast_to(points[:, None], (1500, n // 1500, 68, 2)).reshape(n, 68, 2),
        np.ones((n, 68), np.float32),
    )
    info = MediaInfo(640, 640, 25.0, n, n * 40.0, "h264", True, 16000)
    return Evidence(Clip("folder", "a", "a", "a"), info, 25.0, faces, np.tile(audio[: 1500 * 640], n // 1500))


@pytest.mark.parametrize("scorer", [LipSync(), HeadPose(), FaceResolution()], ids=lambda scorer: scorer.name)
def test_the_memory_of_a_scorer_hardly_grows_with_the_clip(monkeypatch, scorer):
    for module in (features, curve, pose, face):
        monkeypatch.setattr(module, "FRAMES_AT_ONCE", 250)
    monkeypatch.setattr(features, "ROWS_AT_ONCE", 1000)
    peaks_mib = []
    for minutes in (1, 3):
        given = evidence(minutes)
        tracemalloc.start()
        scorer.finish(given)
        peaks_mib.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    assert peaks_mib[1] - peaks_mib[0] < 2 * 0.6, peaks_mib  # 59 MB a minute, before


def test_speech_of_stretches(monkeypatch):
    from curation.scorers import speech

    audio = footage(150)[1]
    whole = Speech().probability(audio)
    monkeypatch.setattr(speech, "CHUNKS_AT_ONCE", 10)
    np.testing.assert_array_equal(Speech().probability(audio), whole)


def test_the_progress_line_says_how_far_a_long_clip_is():
    out = io.StringIO()
    shown = LiveLine(out)
    progress = Progress(3, shown)
    clip = Clip("folder", "film.mkv", "a", "a")
    progress.moment(clip, 60_000, 3_600_000)
    assert not out.getvalue()
    shown._shown_s -= 60
    progress.moment(clip, 120_000, 3_600_000)
    assert out.getvalue().startswith("0/3 clips")
    assert "film.mkv: 2 min" in out.getvalue()
