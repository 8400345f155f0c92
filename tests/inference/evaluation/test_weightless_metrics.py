"""Metrics without weights: a clip against itself, and planted errors that move the right number."""

import math

import numpy as np
import pytest
from made_clips import face_points, made_clip

from curation.landmarks.lids import LidNetwork
from inference.evaluation.metrics.base import Judged
from inference.evaluation.metrics.face import EyeMotion, FaceMotion, correlation, mouth_opening, on_rigid_points
from inference.evaluation.metrics.lipsync import LandmarkLipSync
from inference.evaluation.metrics.stability import Stability, frame_differences, seam_ratio

N = 60
TIMES = np.arange(N) / 25
MOUTH = 0.6 * (1 + np.sin(2 * np.pi * 2 * TIMES)) / 2
ROLL = 8 * np.sin(2 * np.pi * 0.5 * TIMES)
REAL = made_clip(face_points(N, MOUTH, ROLL))


def test_a_clip_against_itself() -> None:
    face = FaceMotion().score(Judged(REAL, REAL))
    for name in ("lmd_mouth", "mouth_opening_error", "pose_error_deg"):
        assert face[name] == pytest.approx(0, abs=1e-5)
    for name in ("mouth_correlation", "pose_range_ratio", "face_found_ratio"):
        assert face[name] == pytest.approx(1, abs=1e-6)
    steady = Stability().score(Judged(REAL, REAL))
    assert steady["flicker_ratio"] == 1
    assert steady["colour_drift_per_min"] == 0
    assert steady["sharpness_drift_per_min"] == 0
    assert "seam_ratio" not in steady


def test_planted_motion_is_measured_in_its_own_units() -> None:
    still_mouth = made_clip(face_points(N, 0.0, ROLL))
    found = FaceMotion().score(Judged(still_mouth, REAL))
    expected = mouth_opening(REAL.faces.points_px) - mouth_opening(still_mouth.faces.points_px)
    assert found["mouth_opening_error"] == pytest.approx(np.abs(expected).mean(), abs=1e-6)
    assert math.isnan(found["mouth_correlation"])
    assert found["pose_error_deg"] == pytest.approx(0, abs=1e-3)
    half_roll = FaceMotion().score(Judged(made_clip(face_points(N, MOUTH, ROLL / 2)), REAL))
    assert half_roll["pose_error_deg"] == pytest.approx(np.abs(ROLL / 2).mean(), abs=0.05)
    assert half_roll["pose_range_ratio"] == pytest.approx(0.5, abs=0.01)
    assert half_roll["lmd_mouth"] == pytest.approx(0, abs=1e-5)  # rigid motion is taken out


def test_landmark_distance_grows_with_the_error_and_forgets_place_and_size() -> None:
    errors = [FaceMotion().score(Judged(made_clip(face_points(N, MOUTH + wrong, ROLL)), REAL))["lmd_mouth"] for wrong in (0, 0.2, 0.5, 1.0)]
    assert errors == sorted(errors)
    assert errors[0] < 1e-5 < errors[1]
    small = face_points(N, MOUTH, ROLL, zoom=2.0) + 7
    assert FaceMotion().score(Judged(made_clip(small), REAL))["lmd_mouth"] == pytest.approx(0, abs=1e-5)
    assert np.abs(on_rigid_points(small.astype(float), REAL.faces.points_px.astype(float)) - REAL.faces.points_px).max() < 1e-3


def test_frames_without_a_face_count_as_not_found() -> None:
    points = face_points(N, MOUTH, ROLL)
    points[::4] = np.nan
    found = FaceMotion().score(Judged(made_clip(points), REAL))
    assert found["face_found_ratio"] == pytest.approx(0.75)
    assert found["mouth_correlation"] == pytest.approx(1)
    assert FaceMotion().score(Judged(made_clip(np.full_like(points, np.nan)), REAL)) == {"face_found_ratio": 0.0}


def test_eye_motion_follows_planted_openings(monkeypatch) -> None:
    """The network is tested on drawn blinks with the landmarks; here it reads the opening that a frame's brightness stands for."""
    monkeypatch.setattr(LidNetwork, "opening", lambda self, rgb, points: float(rgb.mean() / 1000) if np.isfinite(points).all() else np.nan)
    brightness = (40 + 30 * np.sin(TIMES)).astype(np.uint8)
    points = face_points(N, MOUTH, ROLL)
    real = made_clip(points, frames=np.broadcast_to(brightness[:, None, None, None], REAL.frames.shape))
    same = EyeMotion().score(Judged(real, real))
    assert same == {"eye_opening_error": 0, "eye_correlation": pytest.approx(1)}
    points[::3] = np.nan
    wider = EyeMotion().score(Judged(made_clip(points, frames=real.frames + 20), real))
    assert wider["eye_opening_error"] == pytest.approx(0.02)
    assert wider["eye_correlation"] == pytest.approx(1)
    assert EyeMotion().score(Judged(made_clip(np.full_like(points, np.nan)), real)) == {}


def test_seams_flicker_and_drift() -> None:
    frames = REAL.frames.copy()
    frames[16:32] = np.minimum(frames[16:32].astype(int) + 25, 255)
    jumps = made_clip(REAL.faces.points_px, frames=frames)
    found = Stability().score(Judged(jumps, REAL, notes={"window_stride": 16}))
    assert found["seam_ratio"] > 2
    assert seam_ratio(frame_differences(REAL.frames), 16) == pytest.approx(1, abs=0.1)
    assert math.isnan(seam_ratio(np.ones(3), 16))
    noise = np.random.default_rng(0).normal(0, 1, frames.shape)
    flickers = [
        Stability().score(Judged(made_clip(REAL.faces.points_px, frames=np.clip(REAL.frames + s * noise, 0, 255).astype(np.uint8)), REAL))[
            "flicker_ratio"
        ]
        for s in (0, 5, 15)
    ]
    assert flickers == sorted(flickers)
    assert flickers[0] == 1
    ramp = np.linspace(0, 20, N)[:, None, None, None]
    drifts = made_clip(REAL.faces.points_px, frames=(REAL.frames * 0.8 + ramp).astype(np.uint8))
    base = made_clip(REAL.faces.points_px, frames=(REAL.frames * 0.8).astype(np.uint8))
    assert Stability().score(Judged(drifts, base))["colour_drift_per_min"] == pytest.approx(20 / (N / 25 / 60), rel=0.05)
    assert drifts.record == {}


def test_lips_that_move_in_silence_are_seen_and_lips_in_speech_are_not_counted() -> None:
    quiet = np.zeros(N * 640, np.int16)
    moving, still = made_clip(face_points(N, MOUTH), audio=quiet), made_clip(face_points(N), audio=quiet)
    assert Stability().score(Judged(moving, moving))["silent_lip_motion"] == pytest.approx(
        np.std(mouth_opening(moving.faces.points_px)), rel=1e-5
    )
    assert Stability().score(Judged(still, moving))["silent_lip_motion"] == pytest.approx(0, abs=1e-6)
    assert "silent_lip_motion" not in Stability().score(Judged(REAL, REAL))


def test_lip_sync_needs_sound_and_enough_windows() -> None:
    metric = LandmarkLipSync()
    assert metric.score(Judged(REAL, REAL)) == {}
    sound = (3000 * np.random.default_rng(0).standard_normal(N * 640)).astype(np.int16)
    found = metric.score(Judged(REAL, made_clip(REAL.faces.points_px, audio=sound)))
    assert set(found) == {"lipsync_conf", "lipsync_offset_frames"}
    assert abs(found["lipsync_offset_frames"]) <= 15
    assert metric.fingerprint


def test_correlation_is_pearsons() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 30))
    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
