"""Made-up speakers for the lip-sync tests: sound whose colour follows the mouth, so that there is something to learn, planted exactly."""

import numpy as np

from curation.landmarks.sixty_eight import RIGID
from curation.lipsync.features import SAMPLES_PER_FRAME, TEMPLATE

LOWER_LIP = [55, 56, 57, 58, 59, 65, 66, 67]
CHIN = [6, 7, 8, 9, 10]


def speaker(seed: int, n_frames: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """A clip in sync: points (T, 68, 2) px and (640 T,) int16; random syllables open the mouth and make the sound loud and bright."""
    rng = np.random.default_rng([seed, 77])
    times = np.arange(n_frames * 8) / 8  # frames; 8 control points a frame
    opening = np.zeros_like(times)
    at = 0.0
    while at < n_frames:
        opening = np.maximum(opening, rng.uniform(0.5, 1) * np.exp(-0.5 * ((times - at) / rng.uniform(0.8, 1.6)) ** 2))
        at += rng.uniform(2.5, 9)
    face = np.random.default_rng(5).uniform(-0.4, 0.4, (68, 2)) + np.array([0.0, 0.6])
    face[RIGID] = TEMPLATE
    points = np.repeat(face[None], n_frames, axis=0)
    points[:, LOWER_LIP, 1] += 0.12 * opening[::8, None]
    points[:, CHIN, 1] += 0.1 * opening[::8, None]
    points = points * 100 + rng.normal(0, 0.3, points.shape) + [200, 150]
    n = n_frames * SAMPLES_PER_FRAME
    loudness = np.interp(np.arange(n) / SAMPLES_PER_FRAME, times, opening)
    pitch = np.sin(2 * np.pi * np.cumsum(110 + 40 * rng.random() + 20 * loudness) / 16_000)
    sound = loudness * (2 * pitch**9 + loudness * rng.standard_normal(n)) + 0.01 * rng.standard_normal(n)
    return points.astype(np.float32), np.round(4000 * sound).clip(-32768, 32767).astype(np.int16)


def delayed(audio: np.ndarray, frames: int) -> np.ndarray:
    """The sound `frames` later (negative: earlier), as long as before."""
    out = np.zeros_like(audio)
    by = frames * SAMPLES_PER_FRAME
    if by >= 0:
        out[by:] = audio[: len(audio) - by]
    else:
        out[:by] = audio[-by:]
    return out
