"""The microphone's faults, as a layer over the synthesised voice: the room, colouring, noise, level and clipping.

The counterpart of `curation.people.camera`: truth is measured on clean sound, networks learn on what microphones record. Nothing is
delayed: the direct sound stays where it is, so lips and sound stay in time. A clip has one set of faults, drawn from (seed, person, clip).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.contracts import AUDIO_RATE_HZ

_BUMPS_OCTAVES = 0.7  # width of a bump of the microphone's colouring
_MIDDLE_HZ = 1000.0  # where the tilt turns
_LOWEST_HZ = 40.0


@dataclass(frozen=True)
class SoundFaults:
    """Faults of one clip's sound; the defaults change nothing.

    Attributes:
        tilt_db: colouring per octave, about 1 kHz: above 0 the sound is brighter.
        bumps: (frequency in Hz, gain in dB) of resonances of microphone and room.
        cutoff_hz: nothing is above it: a telephone's 3,400, a bad codec's 5,000; half the sampling rate is no cut.
        reverberation_s: time in which the room's sound falls by 60 dB.
        direct_db: energy of the direct sound over the room's.
        noise_db: the voice over the noise; infinite is none.
        gain: of all; what goes beyond full scale is clipped.
    """

    tilt_db: float = 0.0
    bumps: tuple[tuple[float, float], ...] = ()
    cutoff_hz: float = AUDIO_RATE_HZ / 2
    reverberation_s: float = 0.0
    direct_db: float = 0.0
    noise_db: float = float("inf")
    gain: float = 1.0


NO_SOUND_FAULTS = SoundFaults()


def draw_sound_faults(seed: int, person: int, clip: int = 0) -> SoundFaults:
    """The faults of a clip's sound: a room in most, a telephone in some."""
    rng = np.random.default_rng([seed, person, clip, 0x31C])
    bumps = [(float(_LOWEST_HZ * 2.0 ** rng.uniform(1, 7.5)), float(rng.normal(0, 4))) for _ in range(int(rng.integers(1, 4)))]
    return SoundFaults(
        tilt_db=float(rng.normal(0, 1.2)),
        bumps=tuple(bumps),
        cutoff_hz=float(AUDIO_RATE_HZ / 2 if rng.random() < 0.75 else rng.uniform(3400, 7000)),
        reverberation_s=float(0.0 if rng.random() < 0.3 else rng.uniform(0.1, 0.6)),
        direct_db=float(rng.uniform(2, 15)),
        noise_db=float(rng.uniform(12, 45)),
        gain=float(10 ** (rng.uniform(-22, 3) / 20)),
    )


def through_microphone(sound: np.ndarray, faults: SoundFaults, seed: int) -> np.ndarray:
    """The voice as a microphone in a room records it.

    Args:
        sound: (N,) int16 mono at 16 kHz; not changed.
        seed: of the room's echoes and the noise.

    Returns:
        (N,) int16; `sound` itself where `faults` has none.
    """
    if faults == NO_SOUND_FAULTS or not len(sound):
        return sound
    rng = np.random.default_rng([seed, 0x31D])
    out = sound.astype(np.float64) / 32768
    if faults.reverberation_s:
        out = out + _convolved(out, _echoes(faults, rng))
    out = _coloured(out, faults)
    level = float(np.sqrt(np.mean(out**2)))
    if np.isfinite(faults.noise_db) and level:
        noise = _pink(len(out), rng)
        out = out + noise * level * 10 ** (-faults.noise_db / 20) / max(float(np.sqrt(np.mean(noise**2))), 1e-12)
    peak = float(np.abs(out).max())
    out = out * (faults.gain * np.abs(sound).max() / 32768 / peak if peak else 1.0)
    return np.round(np.clip(out, -1, 32767 / 32768) * 32768).astype(np.int16)


def _echoes(faults: SoundFaults, rng: np.random.Generator) -> np.ndarray:
    """(n,) impulse response of the room without the direct sound: noise that falls by 60 dB in `reverberation_s`, from 2 ms on."""
    n = max(2, round(faults.reverberation_s * AUDIO_RATE_HZ))
    echoes = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    echoes[: round(0.002 * AUDIO_RATE_HZ)] = 0
    return echoes * 10 ** (-faults.direct_db / 20) / max(float(np.sqrt(np.sum(echoes**2))), 1e-12)


def _convolved(sound: np.ndarray, response: np.ndarray) -> np.ndarray:
    """(N,) `sound` through an impulse response, as long as it was."""
    n = len(sound) + len(response)
    return np.fft.irfft(np.fft.rfft(sound, n) * np.fft.rfft(response, n), n)[: len(sound)]


def _coloured(sound: np.ndarray, faults: SoundFaults) -> np.ndarray:
    """Gains by frequency without a change of phase, so that nothing is delayed."""
    n = len(sound) + AUDIO_RATE_HZ // 10  # room for what would come round at the ends
    hz = np.fft.rfftfreq(n, 1 / AUDIO_RATE_HZ)
    octaves = np.log2(np.maximum(hz, _LOWEST_HZ) / _MIDDLE_HZ)
    gain_db = faults.tilt_db * octaves
    for bump_hz, bump_db in faults.bumps:
        gain_db = gain_db + bump_db * np.exp(-(((octaves - np.log2(bump_hz / _MIDDLE_HZ)) / _BUMPS_OCTAVES) ** 2))
    gain = 10 ** (gain_db / 20)
    if faults.cutoff_hz < AUDIO_RATE_HZ / 2:
        gain = gain / (1 + (hz / faults.cutoff_hz) ** 12)
    return np.fft.irfft(np.fft.rfft(sound, n) * gain, n)[: len(sound)]


def _pink(n: int, rng: np.random.Generator) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(n))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), n)
