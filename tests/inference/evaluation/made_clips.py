"""Canonical clips with a known face and known sound, without a video file."""

from __future__ import annotations

import cv2
import numpy as np

from curation.contracts import Faces, MediaInfo
from curation.landmarks.pose import TEMPLATE_CM
from inference.evaluation.canonical import CanonicalClip

SIZE_PX = 96


def face_points(n_frames: int, mouth: np.ndarray | float = 0.0, roll_deg: np.ndarray | float = 0.0, zoom: float = 3.0) -> np.ndarray:
    """(T, 68, 2) of the generic face, mouth opened by `mouth` cm, rolled about its middle."""
    points = np.repeat(TEMPLATE_CM[None, :, :2], n_frames, axis=0)
    points[:, [65, 66, 67], 1] += np.broadcast_to(mouth, n_frames)[:, None]
    angle = np.radians(np.broadcast_to(roll_deg, n_frames))[:, None]
    x, y = points[..., 0], points[..., 1]
    turned = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=-1)
    return (turned * zoom + SIZE_PX / 2).astype(np.float32)


def made_clip(points_px: np.ndarray, seed: int = 0, audio: np.ndarray | None = None, frames: np.ndarray | None = None) -> CanonicalClip:
    """A clip of smooth, slowly moving texture with these landmarks."""
    n_frames = len(points_px)
    if frames is None:
        texture = cv2.GaussianBlur(np.random.default_rng(seed).uniform(0, 255, (SIZE_PX, SIZE_PX * 2, 3)), (0, 0), 3)
        texture = (texture - texture.min()) / np.ptp(texture) * 255
        frames = np.stack([texture[:, i % SIZE_PX : i % SIZE_PX + SIZE_PX] for i in range(n_frames)]).astype(np.uint8)
    seen = np.isfinite(points_px).all(axis=(1, 2))
    faces = Faces(np.arange(n_frames) * 40.0, seen.astype(np.int16), points_px, np.where(seen[:, None], 1.0, 0.0) * np.ones((1, 68)))
    info = MediaInfo(SIZE_PX, SIZE_PX, 25.0, n_frames, n_frames * 40.0, "h264", audio is not None, 16_000)
    return CanonicalClip(frames, audio, faces, np.eye(2, 3), info)
