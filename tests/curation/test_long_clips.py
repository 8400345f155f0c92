"""Hours of footage: every scorer of sound and landmarks gives the same numbers a stretch at a time, in memory that hardly grows."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest

from curation import silence, spool
from curation.blocks import blocks
from curation.contracts import Clip, Evidence, Faces, Frame, MediaInfo
from curation.faces import SpooledFaces
from curation.job.progress import Progress
from curation.landmarks import choice, pose, tracking
from curation.landmarks.detector import Detection
from curation.landmarks.facemesh import FaceMeshTracker
from curation.landmarks.mesh import MeshFace
from curation.lipsync import curve, features
from curation.lipsync.towers import load_towers
from curation.live_line import LiveLine
from curation.scorers import face, speech
from curation.scorers.cuts import Cuts
from curation.scorers.face import FaceResolution, ValidFrames
from curation.scorers.head_pose import HeadPose
from curation.scorers.lipsync import LipSync
from curation.scorers.speech import Speech
from curation.syncnet import mfcc
from manifests import landmarks
from manifests.landmarks import _clip_tables


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


class OneFace:
    """Stands in for the networks: one face that never leaves."""

    detector_every_frames, max_faces, max_undetected, resume_within_ms, min_relative_size = 5, 4, 5, 1000.0, 0.3

    def __init__(self):
        rng = np.random.default_rng(0)
        self._mesh = (rng.random((468, 3)) * 100 + 100).astype(np.float32)
        self._box = np.array([100, 100, 200, 200], np.float32)

    def find(self, rgb, thorough):
        return [Detection(0.9, self._box, np.tile(self._box[:2] + 50, (6, 1)))]

    def vouches_for(self, rgb, mesh_px):
        return True

    def is_other_way_up(self, rgb, mesh_px):
        return False

    def mesh_of(self, rgb, detection):
        return self.mesh_at(rgb, None)

    def mesh_at(self, rgb, roi):
        return MeshFace(self._mesh, 0.9, True)


def scored_in_one_pass(n_frames: int) -> dict[str, float]:
    """What a run does with a clip, from the frames to the side table, without networks and decoder."""
    clip, info = Clip("folder", "a", "a", "a"), MediaInfo(300, 300, 25.0, None, n_frames * 40.0, "h264", True, 16000)
    tracker, rgb = FaceMeshTracker(OneFace(), clip, info), np.zeros((300, 300, 3), np.uint8)
    sound, second = spool.Spool(np.int16), np.random.default_rng(0).integers(-3000, 3000, 16_000).astype(np.int16)
    cuts = Cuts()
    cuts.begin(info)
    for i in range(n_frames):
        frame = Frame(i, 40.0 * i, rgb)
        tracker.on_frame(frame)
        tracker.take_seen()
        cuts.on_frame(Frame(i, 40.0 * i, rgb[:2, :2]))
        if i % 25 == 0:
            sound.append(second)
    faces = SpooledFaces.of(tracker.finish_in_stretches())
    given = Evidence(clip, info, 25.0, faces, sound)
    row = {}
    for scorer in (cuts, HeadPose(), FaceResolution(), ValidFrames(), Speech(), LipSync()):
        row |= scorer.finish(given)
    for _ in _clip_tables("a", faces.times_ms, faces.n_faces, faces.points_px, faces.confidence):
        pass
    return row


def test_what_is_held_of_a_clip_does_not_grow_with_it(monkeypatch):
    for module in (features, curve, pose, face, choice):
        monkeypatch.setattr(module, "FRAMES_AT_ONCE", 250)
    monkeypatch.setattr(features, "ROWS_AT_ONCE", 1000)
    monkeypatch.setattr(tracking, "_FRAMES_AT_ONCE", 250)
    monkeypatch.setattr(landmarks, "_GROUP_FRAMES", 500)
    monkeypatch.setattr(silence, "_SAMPLES_AT_ONCE", 1 << 16)
    monkeypatch.setattr(speech, "CHUNKS_AT_ONCE", 100)
    monkeypatch.setattr(spool, "HELD_BYTES", 1 << 16)
    scored_in_one_pass(50)  # what is loaded once
    peaks_mib = []
    for n_frames in (1500, 4500):
        tracemalloc.start()
        row = scored_in_one_pass(n_frames)
        peaks_mib.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
        assert (row["n_cuts"], row["n_faces_max"], row["valid_frame_ratio"]) == (0, 1, 1.0)
    assert peaks_mib[1] - peaks_mib[0] < 2 * 0.3, peaks_mib  # two minutes; before: 4.7 a minute


def test_speech_of_stretches(monkeypatch):
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
