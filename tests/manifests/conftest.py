"""Rows of manifests, as a run writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import manifests


def _row(name: str = "a.mp4", **changes: Any) -> dict[str, Any]:
    """A clip that every scorer has scored well, with `changes`; id and split follow from what they hash unless they are given."""
    row = {
        "source": "folder",
        "source_key": name,
        "identity": name,
        "video_path": f"/videos/{name}",
        "start_ms": 0,
        "end_ms": None,
        "width_px": 1920,
        "height_px": 1080,
        "rotation_deg": 0,
        "fps": 25.0,
        "n_frames": 150,
        "duration_ms": 6000.0,
        "video_codec": "h264",
        "has_audio": True,
        "audio_rate_hz": 16000,
        "status": "scored",
        "attempts": 1,
        "landmark_hz": 25.0,
        "n_faces_max": 1,
        "valid_frame_ratio": 1.0,
        "face_x0_px": 100.0,
        "face_y0_px": 100.0,
        "face_x1_px": 720.0,
        "face_y1_px": 740.0,
        "face_width_px": 620.0,
        "face_height_px": 640.0,
        "face_size_px_p5": 610.0,
        "n_cuts": 0,
        "head_rotation_deg": 8.5,
        "sync_c": 7.0,
        "sync_d": 7.5,
        "av_offset_frames": 0,
        "lipsync_conf": 0.5,
        "lipsync_offset_frames": -1,
        "speech_ratio": 0.75,
        "decode_ms": 120.0,
        "accepted": True,
        "reject_reasons": [],
    } | changes
    row.setdefault("clip_id", manifests.clip_id(row["source"], row["source_key"], row["start_ms"], row["end_ms"]))
    row.setdefault("split", manifests.split(row["identity"]))
    return row


def _failed_row(name: str, error_kind: str) -> dict[str, Any]:
    kept = ("source", "source_key", "identity", "video_path", "start_ms", "end_ms", "clip_id", "split", "attempts")
    row = {key: value for key, value in _row(name).items() if key in kept}
    verdict = {"accepted": False, "reject_reasons": [f"failed:{error_kind}"]}
    return {**row, "status": "failed", "error_kind": error_kind, "error_message": "broken", **verdict}


@pytest.fixture(scope="session")
def make_row() -> Callable[..., dict[str, Any]]:
    return _row


@pytest.fixture(scope="session")
def make_failed_row() -> Callable[[str, str], dict[str, Any]]:
    return _failed_row


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Four clips of two sources: two accepted, one rejected, one failed."""
    return [
        _row("b.mp4"),
        _row("a.mp4", source="hdtf", identity="b.mp4"),
        _row(
            "c.mp4",
            has_audio=False,
            lipsync_conf=None,
            lipsync_offset_frames=None,
            accepted=False,
            reject_reasons=["no_audio", "lip_sync_low"],
        ),
        _failed_row("d.mp4", "truncated"),
    ]
