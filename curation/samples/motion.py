"""How the portrait holds and moves its head, blinks and raises its brows while it speaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.samples.phonemes import Phone


@dataclass(frozen=True)
class Motion:
    """Amplitudes of a clip's head movement, in degrees from the portrait's own pose; `*_hz` are the speeds of the large movements.

    A large movement is offset + amplitude * sin; on top of it every head wanders by a few degrees and nods with stressed syllables.
    """

    yaw_deg: float = 0.0
    yaw_offset_deg: float = 0.0
    yaw_hz: float = 0.2
    pitch_deg: float = 0.0
    pitch_offset_deg: float = 0.0
    pitch_hz: float = 0.3
    roll_deg: float = 0.0
    roll_hz: float = 0.22
    wander_deg: float = 2.0
    sway_px: float = 1.5


@dataclass(frozen=True)
class MotionTrack:
    """(T,) float64 each: angles as in `head.Pose`, blink 0..1, brows and camera sway in portrait pixels."""

    yaw_deg: np.ndarray
    pitch_deg: np.ndarray
    roll_deg: np.ndarray
    blink: np.ndarray
    brow_px: np.ndarray
    sway_x_px: np.ndarray
    sway_y_px: np.ndarray


def motion_track(motion: Motion, phones: list[Phone], times_s: np.ndarray, rng: np.random.Generator) -> MotionTrack:
    """The movement at (T,) times; all that is random comes from `rng`."""

    def swing(amplitude: float, hz: float) -> np.ndarray:
        return amplitude * np.sin(2 * np.pi * hz * times_s + float(rng.uniform(-0.4, 0.4)))

    nods, raises = _accents(phones, times_s, rng)
    wander = [_wander(times_s, rng) * motion.wander_deg for _ in range(3)]
    return MotionTrack(
        yaw_deg=motion.yaw_offset_deg + swing(motion.yaw_deg, motion.yaw_hz) + wander[0],
        pitch_deg=motion.pitch_offset_deg + swing(motion.pitch_deg, motion.pitch_hz) + 0.8 * wander[1] + nods,
        roll_deg=swing(motion.roll_deg, motion.roll_hz) + 0.8 * wander[2],
        blink=_blinks(times_s, rng),
        brow_px=raises,
        sway_x_px=motion.sway_px * _wander(times_s, rng),
        sway_y_px=0.6 * motion.sway_px * _wander(times_s, rng),
    )


def _wander(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T,) smooth and irregular, between about -1 and 1: four slow sines at seeded phases."""
    hz = np.array([0.13, 0.31, 0.53, 0.87])
    size = np.array([0.45, 0.3, 0.2, 0.1])
    phase = rng.uniform(0, 2 * np.pi, 4)
    return (size[:, None] * np.sin(2 * np.pi * hz[:, None] * times_s + phase[:, None])).sum(0)


def _accents(phones: list[Phone], times_s: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Head nods in degrees and brow raises in portrait pixels on some of the stressed vowels, (T,) each."""
    nods, raises = np.zeros(len(times_s)), np.zeros(len(times_s))
    for phone in phones:
        if not phone.stress:
            continue
        strength, kind = float(rng.uniform(0.3, 1.0)), float(rng.uniform())
        bump = np.exp(-0.5 * ((times_s - (phone.start_s + 0.06)) / 0.11) ** 2)
        if kind < 0.6:
            nods += 2.2 * strength * bump
        if kind > 0.75:
            raises = np.maximum(raises, 1.8 * strength * bump)
    return nods, raises


def _blinks(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T,) 0..1: a blink of about a quarter of a second every 2 to 4 s, closing faster than it opens."""
    closed = np.zeros(len(times_s))
    at = float(rng.uniform(0.6, 1.6))
    while at < times_s[-1]:
        since = times_s - at
        shape = np.where(since < 0, 1 + since / 0.08, 1 - (since - 0.04) / 0.13)
        closed = np.maximum(closed, np.clip(shape, 0, 1))
        at += float(rng.uniform(2.0, 4.0))
    return closed
