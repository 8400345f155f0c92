"""Augmentation of training spans, on the features themselves: cheap, and what footage in the wild varies in. NumPy, explicit generator."""

from __future__ import annotations

import numpy as np

from curation.lipsync.features import MEL_BANDS, MELS_PER_FRAME, MOUTH, MOUTH_FLIP
from curation.lipsync.footage import Footage

LEAST_FRAMES = 24  # a span must have so many frames of the clip


def draw_span(footage: Footage, length: int, rng: np.random.Generator, max_speed: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random span, picture and sound played together up to `exp(max_speed)` faster or slower.

    Returns:
        mouth (length, 50), mel (4 length, 40), usable (length,) bool: frames that exist and show a face.
    """
    n = footage.n_frames
    speed = np.exp(rng.uniform(-max_speed, max_speed))
    start = rng.integers(0, max(0, n - int(length * speed) - 1) + 1)
    frame_at = start + np.arange(length) * speed
    mel_at = start * MELS_PER_FRAME + np.arange(length * MELS_PER_FRAME) * speed
    exists = frame_at <= n - 1
    usable = exists & footage.known[np.minimum(np.rint(frame_at).astype(int), n - 1)]
    return _resampled(footage.mouth, frame_at), _resampled(footage.mel, mel_at), usable


def augment_mouth(mouth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror, small rotation, stretch, amplitude, jitter of single points and drift of the whole, blur in time, frozen frames. (T, 50)."""
    length = len(mouth)
    points = mouth.reshape(length, len(MOUTH), 2)
    if rng.random() < 0.5:
        points = points[:, MOUTH_FLIP] * np.array([-1, 1])
    angle = rng.normal(0, 0.08)
    points = points @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = points * np.exp(rng.normal(0, 0.2, (1, 1, 2))) * np.exp(rng.normal(0, 0.1)) * np.exp(rng.normal(0, 0.08, (1, len(MOUTH), 1)))
    points = points + rng.normal(0, 0.12 * rng.random(), points.shape)
    points = points + _wander(length, points[0].size, 6, rng).reshape(points.shape) * 0.15 * rng.random()
    points = points + _wander(length, 2, 5, rng)[:, None] * 0.25 * rng.random()
    if rng.random() < 0.15:
        points = (np.roll(points, 1, 0) + 2 * points + np.roll(points, -1, 0)) / 4
    if rng.random() < 0.3:
        frozen, at = _interval(length, 6, rng)
        points[at : at + frozen] = points[at]
    return points.reshape(length, -1).astype(np.float32)


def augment_mel(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vocal tract length, slow gain, noise floor of random colour and level, reverberation, masked bands and gaps. (T, 40)."""
    length = len(mel)
    if rng.random() < 0.7:
        warp = np.clip(np.arange(MEL_BANDS) * np.exp(rng.normal(0, 0.06)) + rng.normal(0, 0.7), 0, MEL_BANDS - 1)
        mel = _resampled(mel.T, warp).T
    if rng.random() < 0.5:
        mel = mel + _wander(length, 1, 50, rng) * 0.2
    if rng.random() < 0.5:  # features are half a neper, so powers add as exp(2 x)
        noise = rng.normal(-1.0, 0.8) + 0.5 * _wander(MEL_BANDS, 1, 8, rng).T + 0.15 * rng.standard_normal(mel.shape)
        mel = np.logaddexp(2 * mel, 2 * noise) / 2
        mel = mel - mel.mean(axis=0)
    if rng.random() < 0.3:
        decay_rows, level = rng.uniform(2, 8), rng.uniform(0.05, 0.4)
        power = np.exp(2 * mel)
        tail = power.copy()
        for delay in range(3, 20):
            tail[delay:] += level * np.exp(-delay / decay_rows) * power[:-delay]
        mel = np.log(tail) / 2
        mel = mel - mel.mean(axis=0)
    mel = mel + rng.normal(0, 0.1, mel.shape)
    if rng.random() < 0.5:
        width, at = _interval(MEL_BANDS, 8, rng)
        mel[:, at : at + width] = 0
    if rng.random() < 0.3:
        rows, at = _interval(length, 12, rng)
        mel[at : at + rows] = mel.min()
    return mel.astype(np.float32)


def _resampled(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of (T, C) at fractional positions, linear; beyond the end the last row."""
    low = np.clip(np.floor(at).astype(int), 0, len(x) - 1)
    high = np.minimum(low + 1, len(x) - 1)
    weight = np.clip(at - low, 0, 1)[:, None]
    return x[low] * (1 - weight) + x[high] * weight


def _wander(length: int, channels: int, step: int, rng: np.random.Generator) -> np.ndarray:
    """(length, channels) slow noise of about unit variance: a new value every `step` rows, linear between."""
    knots = rng.standard_normal((max(2, length // step + 2), channels))
    return _resampled(knots, np.linspace(0, len(knots) - 1, length))


def _interval(length: int, most: int, rng: np.random.Generator) -> tuple[int, int]:
    """(width, start) of a random interval of less than `most` within `length`."""
    width = int(rng.integers(1, most))
    return width, int(rng.integers(0, length - width))
