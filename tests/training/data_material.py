"""A small manifest with real video files and planted landmarks, made with the project's own writers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

import manifests
from inference.models.components import InferenceConfig, load_inference_config
from training.data.config import DataConfig

N_FRAMES, SIZE_PX = 50, 192


def face_points(centre_px: tuple[float, float], width_px: float) -> np.ndarray:
    """(68, 2) iBUG points of a schematic frontal face whose jaw is `width_px` wide."""
    t = np.linspace(-1, 1, 17)
    jaw = np.stack([t, 0.9 - 1.1 * t**2], axis=1)
    brow = np.stack([np.linspace(-0.3, 0.3, 5), -0.1 * np.cos(np.linspace(-1.5, 1.5, 5))], axis=1)
    nose = np.concatenate(
        [np.stack([np.zeros(4), np.linspace(-0.2, 0.2, 4)], 1), np.stack([np.linspace(-0.15, 0.15, 5), np.full(5, 0.3)], 1)]
    )
    eye = 0.15 * np.array([[-1, 0], [-0.4, -0.4], [0.4, -0.4], [1, 0], [0.4, 0.4], [-0.4, 0.4]])
    angles = np.linspace(np.pi, -np.pi, 12, endpoint=False)
    lips = np.stack([0.32 * np.cos(angles), -0.14 * np.sin(angles)], 1)
    inner = np.stack([0.2 * np.cos(np.linspace(np.pi, -np.pi, 8, endpoint=False)), 0.04 * np.sin(np.linspace(0, 6, 8))], 1)
    placed = (
        (brow, -0.45, -0.4),
        (brow, 0.45, -0.4),
        (nose, 0, 0),
        (eye, -0.45, -0.2),
        (eye, 0.45, -0.2),
        (lips, 0, 0.55),
        (inner, 0, 0.55),
    )
    points = np.concatenate([jaw, *(part + np.array([x, y]) for part, x, y in placed)])
    return points * width_px / 2 + np.asarray(centre_px)


def clip_points(seed: int, n_frames: int = N_FRAMES, size_px: int = SIZE_PX) -> np.ndarray:
    """(T, 68, 2): the face wanders a little."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(0, 0.5, (n_frames, 2)), axis=0)
    return np.stack([face_points((size_px / 2 + dx, size_px / 2 + dy), 80.0) for dx, dy in path])


def picture(points_px: np.ndarray, size_px: int = SIZE_PX) -> np.ndarray:
    """(size, size, 3) uint8: a schematic face; green inside the lips and nowhere else."""
    rows, columns = np.mgrid[:size_px, :size_px]
    rgb = np.stack([90 + 40 * np.sin(columns / 7), np.full(rows.shape, 60.0), 120 + 40 * np.cos(rows / 5)], -1).astype(np.uint8)
    for part, colour in (
        (slice(0, 17), (220, 120, 120)),
        (slice(36, 42), (40, 40, 200)),
        (slice(42, 48), (40, 40, 200)),
        (slice(48, 60), (0, 255, 0)),
    ):
        cv2.fillPoly(rgb, [np.round(points_px[part]).astype(np.int32)], colour)
    return rgb


def write_clip(path: Path, points_px: np.ndarray, *, size_px: int = SIZE_PX, tone_hz: float = 220.0) -> None:
    """H.264 + AAC of a face that moves as the landmarks say, with a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "threads": "1"})
        video.width = video.height = size_px
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for i, points in enumerate(points_px):
            frame = av.VideoFrame.from_ndarray(picture(points, size_px), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        tone = (8000 * np.sin(2 * np.pi * tone_hz * np.arange(640 * len(points_px)) / 16000)).astype(np.int16)
        for start in range(0, len(tone), 1024):
            chunk = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="s16", layout="mono")
            chunk.sample_rate, chunk.pts, chunk.time_base = 16000, start, Fraction(1, 16000)
            container.mux(sound.encode(chunk))
        container.mux(sound.encode(None))


def write_manifest(
    folder: Path, n_clips: int = 5, *, n_frames: int = N_FRAMES, size_px: int = SIZE_PX, identities: int = 0, video: bool = True
) -> Path:
    """A run's directory: `manifest.parquet`, `landmarks/`, `videos/`. Clip k has seed k."""
    (folder / "landmarks").mkdir(parents=True)
    (folder / "videos").mkdir()
    rows, landmarks = [], {}
    for k in range(n_clips):
        path = folder / "videos" / f"clip{k}.mp4"
        if video:
            write_clip(path, clip_points(k, n_frames, size_px), size_px=size_px, tone_hz=200 + 20 * k)
        clip_id = manifests.clip_id("folder", path.name, 0, None)
        points = clip_points(k, n_frames, size_px)
        landmarks[clip_id] = (np.arange(n_frames) * 40.0, np.ones(n_frames), points, np.ones((n_frames, 68)))
        rows.append(
            {
                "clip_id": clip_id,
                "source": "folder",
                "source_key": path.name,
                "identity": f"person{k % identities if identities else k}",
                "video_path": str(path),
                "start_ms": 0,
                "split": "train",
                "status": "scored",
                "has_audio": True,
                "landmark_hz": 25.0,
                "accepted": True,
                "reject_reasons": [],
            }
        )
    manifests.write(rows, folder / "manifest.parquet")
    manifests.write_landmarks(folder / "landmarks" / "0.parquet", landmarks)
    return folder


def rewrite(folder: Path, change) -> None:
    """Applies `change` to the manifest's rows, a list of mappings; it may return another list."""
    rows = manifests.read_table(folder).to_pylist()
    manifests.write(change(rows) or rows, folder / "manifest.parquet")


def embedded() -> InferenceConfig:
    return load_inference_config("embedded")


def data_config(folder: Path, **settings) -> DataConfig:
    return DataConfig(**({"audio_cache": str(folder / "audio"), "min_gap_frames": 5} | settings))
