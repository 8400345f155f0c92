"""Manifests with planted landmarks for the tests of materialising: no network runs, the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

import manifests
from curation.landmarks.pose import TEMPLATE_CM

DOTS = (30, 36, 45, 48, 54)  # tip of the nose, outer eye corners, corners of the mouth
DOT_SIGMA_PX = 3.0


@dataclass(frozen=True)
class Planted:
    """A file, and what its row says of it; further columns in `row`. `points_px` (T, 68, 2) at `hz`, NaN where unseen; None: failed."""

    file: Path
    points_px: np.ndarray | None
    hz: float = 25.0
    row: dict[str, Any] = field(default_factory=dict)


def head_points(centres_px: np.ndarray, px_per_cm: float = 10.0) -> np.ndarray:
    """(T, 68, 2) of a frontal face whose middle is at (T, 2)."""
    return TEMPLATE_CM[None, :, :2] * px_per_cm + np.asarray(centres_px)[:, None]


def write_dot_video(
    path: Path, points_px: np.ndarray, size_px: tuple[int, int] = (640, 480), fps: int = 25, sound: np.ndarray | None = None
) -> None:
    """A grey picture (width, height) with a bright dot at each of `DOTS` of (T, 68, 2), one frame each."""
    width, height = size_px
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "12", "threads": "1"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        stream = container.add_stream("aac", rate=16000, layout="mono") if sound is not None else None
        for number, points in enumerate(points_px):
            picture = np.full((height, width), 40.0)
            for dot in points[list(DOTS)]:
                across, down = (np.exp(-((axis - at) ** 2) / (2 * DOT_SIGMA_PX**2)) for axis, at in ((x, dot[0]), (y, dot[1])))
                picture += 200 * np.outer(down, across)
            rgb = np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if stream is not None:
            frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def write_parent(run_dir: Path, clips: Sequence[Planted]) -> Path:
    """A finished run's directory: manifest and landmarks. Returns it."""
    (run_dir / "landmarks").mkdir(parents=True, exist_ok=True)
    rows, tables = [], {}
    for planted in clips:
        key = planted.file.name
        row = {
            "source": "folder",
            "source_key": key,
            "identity": key,
            "video_path": str(planted.file),
            "start_ms": 0,
            "end_ms": None,
            "split": manifests.split(key),
            "status": "scored",
            "accepted": True,
            "reject_reasons": [],
            "attempts": 1,
            "landmark_hz": planted.hz,
            "head_rotation_deg": 5.0,
            "pose_residual_px": 1.0,
            "config_hash": "planted",
        } | planted.row
        row["clip_id"] = manifests.clip_id(row["source"], row["source_key"], row["start_ms"], row["end_ms"])
        if planted.points_px is None:
            row |= {"status": "failed", "error_kind": "truncated", "error_message": "the file ends early", "accepted": False}
            row["reject_reasons"] = ["failed:truncated"]
        else:
            n = len(planted.points_px)
            row |= {"n_frames": n, "duration_ms": 1000 * n / planted.hz}
            confidence = np.full((n, 68), 0.9)
            tables[row["clip_id"]] = (1000 * np.arange(n) / planted.hz, np.ones(n, np.int16), planted.points_px, confidence)
        rows.append(row)
    manifests.write(rows, run_dir / "manifest.parquet", {"source": "folder", "root": str(run_dir)})
    manifests.write_landmarks(run_dir / "landmarks" / "00000.parquet", tables)
    return run_dir
