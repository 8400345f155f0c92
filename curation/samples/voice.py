"""A small formant voice: glottal pulses and noise through the resonances of a vocal tract, in numpy.

Source and filter after Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67 (1980), but every pulse is one grain:
its spectrum is the product of the glottal spectrum and the tract's transfer function at that moment, and the grains are overlapped and
added. So a second of speech costs about ten milliseconds and no recursive filter has to run sample by sample.
"""

from __future__ import annotations

import numpy as np

from curation.contracts import AUDIO_RATE_HZ
from curation.samples.phonemes import Phone

STEP_S = 0.005  # control rate of the voice's parameters
GRAIN = 1024  # samples: 64 ms, ten time constants of the narrowest resonance
UPPER_FORMANTS_HZ = (4150.0, 5300.0, 6600.0)  # the fourth to sixth, which differ between speakers rather than sounds
BANDWIDTHS_HZ = (80.0, 110.0, 160.0, 250.0, 350.0, 500.0)  # of the six formants
NASAL_POLE_HZ, NASAL_ZERO_HZ = 290.0, 900.0  # what the open nose adds to nasals, and takes away


def synthesise(phones: list[Phone], *, pitch_hz: float = 200.0, formant_scale: float = 1.0, seed: int = 0) -> np.ndarray:
    """The sound of a timed phoneme sequence.

    Args:
        phones: gapless, from 0 to the end.
        pitch_hz: middle of the intonation.
        formant_scale: below 1 a longer vocal tract (a deeper voice).

    Returns: (N,) int16 at 16 kHz, N = the end of the last phone; peak at about -3 dB of full scale, with a faint room noise so that
        pauses are not digital silence.
    """
    rng = np.random.default_rng([seed, 0xF0])
    tracks = _control_tracks(phones, formant_scale)
    n = round(phones[-1].end_s * AUDIO_RATE_HZ)
    pitch = _intonation(phones, len(tracks["voicing"]), pitch_hz, rng)
    sound = _voiced(tracks, pitch, n, rng) + _noise(tracks, n, rng)
    sound /= np.abs(sound).max() + 1e-9
    sound = np.tanh(1.6 * sound) / np.tanh(1.6)  # mild compression: syllables of more even loudness, as broadcast speech has
    sound = 0.7 * sound + 0.0006 * _pink(n, rng)
    return np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)


def _control_tracks(phones: list[Phone], formant_scale: float) -> dict[str, np.ndarray]:
    """Parameters every 5 ms: (T, 3) `formants_hz`; (T,) `voicing`, `breath`, `nasal`, `noise`, `noise_hz`, `noise_width_hz`."""
    n = int(np.ceil(phones[-1].end_s / STEP_S)) + 1
    times = np.arange(n) * STEP_S
    formants = np.zeros((n, 3))
    voicing, breath, nasal, noise = (np.zeros(n) for _ in range(4))
    noise_hz, noise_width = np.full(n, 3000.0), np.full(n, 3000.0)
    for i, phone in enumerate(phones):
        sound = phone.sound
        at = (times >= phone.start_s) & (times < phone.end_s)
        u = ((times[at] - phone.start_s) / (phone.end_s - phone.start_s))[:, None]
        begin = np.asarray(sound.formants_hz)
        if sound.kind in ("breath", "pause") and i + 1 < len(phones):
            begin = np.asarray(phones[i + 1].sound.formants_hz)  # the tract is already shaped for what follows
        end = np.asarray(sound.glide_to_hz or begin)
        formants[at] = begin + (end - begin) * np.clip((u - 0.2) / 0.6, 0, 1)
        if sound.noise:
            noise_hz[at], noise_width[at] = sound.noise_hz
        if sound.kind in ("stop", "affricate"):
            _stop(phone, phones[i + 1] if i + 1 < len(phones) else None, times, voicing, breath, noise)
            continue
        loud = sound.voicing * (1.0 if phone.stress or sound.kind != "vowel" else 0.72)
        voicing[at] = loud
        noise[at] = sound.noise
        breath[at] = 0.16 if sound.kind == "breath" else 0.012 * loud
        nasal[at] = sound.kind == "nasal"
    return {
        "formants_hz": np.exp(_smooth(np.log(np.maximum(formants, 150.0)), 0.055)) * formant_scale,
        "voicing": _smooth(voicing, 0.025),
        "breath": _smooth(breath, 0.025),
        "nasal": _smooth(nasal, 0.035),
        "noise": _smooth(noise, 0.02),
        "noise_hz": noise_hz,
        "noise_width_hz": noise_width,
    }


def _stop(phone: Phone, following: Phone | None, times: np.ndarray, voicing: np.ndarray, breath: np.ndarray, noise: np.ndarray) -> None:
    """Closure (silence, or a voice bar), burst, and for voiceless stops a puff of breath before the vowel."""
    sound = phone.sound
    duration = phone.end_s - phone.start_s
    voiceless = sound.voicing == 0
    released = following is not None and following.sound.kind not in ("pause", "stop", "affricate", "fricative")
    tail = 0.035 if voiceless and released else 0.012
    burst = 0.55 * duration if sound.kind == "affricate" else 0.012
    tail = 0.0 if sound.kind == "affricate" else tail
    release_s = phone.end_s - burst - tail
    voicing[(times >= phone.start_s) & (times < release_s)] = sound.voicing
    noise[(times >= release_s) & (times < release_s + burst)] = sound.noise
    if voiceless:
        breath[(times >= release_s + burst) & (times < phone.end_s)] = 0.12
    else:
        voicing[(times >= release_s + burst) & (times < phone.end_s)] = 0.5


def _intonation(phones: list[Phone], n: int, pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) pitch in Hz: falls through each phrase, rises on stressed vowels, drops at the end, drifts a little."""
    times = np.arange(n) * STEP_S
    semitones = np.zeros(n)
    phrases, start = [], None
    for phone in phones:
        if phone.name == "_":
            if start is not None:
                phrases.append((start, phone.start_s))
            start = None
        elif start is None:
            start = phone.start_s
    for begin, end in phrases:
        u = np.clip((times - begin) / (end - begin), 0, 1)
        inside = (times >= begin - 0.1) & (times < end + 0.1)
        semitones[inside] += (2.0 - 4.0 * u - 2.5 * np.clip((u - 0.85) / 0.15, 0, 1))[inside]
    for phone in phones:
        if phone.stress:
            centre = (phone.start_s + phone.end_s) / 2
            semitones += float(rng.uniform(1.2, 3.2)) * np.exp(-0.5 * ((times - centre) / 0.075) ** 2)
    drift = _smooth(rng.standard_normal(n), 0.12)
    return pitch_hz * 2 ** (_smooth(semitones, 0.06) / 12 + 0.02 * drift / (drift.std() + 1e-9))


def _voiced(tracks: dict[str, np.ndarray], pitch: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) the glottal pulses through the tract, one grain a pulse."""
    phase = np.concatenate([[0.0], np.cumsum((pitch[1:] + pitch[:-1]) / 2 * STEP_S)])
    pulse_s = np.interp(np.arange(1, int(phase[-1])), phase, np.arange(len(pitch)) * STEP_S)
    pulse_s = pulse_s + rng.standard_normal(len(pulse_s)) * 0.000015  # jitter of a third of a per cent, as voices have
    steps = pulse_s / STEP_S
    level = np.interp(steps, np.arange(len(pitch)), tracks["voicing"]) * (1 + 0.04 * rng.standard_normal(len(steps)))
    keep = (level > 0.004) & (pulse_s * AUDIO_RATE_HZ < n - 1)
    return _overlap_add(_tract(tracks, steps[keep]) * _glottis(np.interp(steps[keep], np.arange(len(pitch)), pitch))
                        * level[keep, None], pulse_s[keep] * AUDIO_RATE_HZ, n)  # fmt: skip


def _noise(tracks: dict[str, np.ndarray], n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) breath through the tract, and frication and bursts through their own bands."""
    hop = round(STEP_S * AUDIO_RATE_HZ)
    steps = np.arange(len(tracks["noise"]))
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)) ** 2
    white = rng.standard_normal((len(steps), 2 * hop)) * window
    spectrum = np.fft.rfft(white, GRAIN, axis=1)
    hz = np.fft.rfftfreq(GRAIN, 1 / AUDIO_RATE_HZ)
    band = np.exp(-0.5 * ((hz - tracks["noise_hz"][:, None]) / (0.5 * tracks["noise_width_hz"][:, None])) ** 2)
    breath = _tract(tracks, steps.astype(float)) * (hz / (hz + 400.0))
    shaped = spectrum * (0.30 * tracks["noise"][:, None] * band + 0.25 * tracks["breath"][:, None] * breath)
    active = (tracks["noise"] > 1e-4) | (tracks["breath"] > 1e-4)
    return _overlap_add(shaped[active], steps[active] * float(hop), n)


def _tract(tracks: dict[str, np.ndarray], steps: np.ndarray) -> np.ndarray:
    """(len(steps), GRAIN/2+1) complex transfer function of the vocal tract at control steps, lips' radiation included."""
    grid = np.arange(len(tracks["nasal"]))
    hz = np.fft.rfftfreq(GRAIN, 1 / AUDIO_RATE_HZ)
    response = np.ones((len(steps), len(hz)), complex)
    scale = np.median(tracks["formants_hz"][:, 2]) / 2750.0
    for k, width in enumerate(BANDWIDTHS_HZ):
        centre = np.interp(steps, grid, tracks["formants_hz"][:, k]) if k < 3 else np.full(len(steps), UPPER_FORMANTS_HZ[k - 3] * scale)
        response *= _resonance(hz, centre, width)
    nasal = np.interp(steps, grid, tracks["nasal"])[:, None]
    murmur = _resonance(hz, np.full(len(steps), NASAL_POLE_HZ), 100.0) / _resonance(hz, np.full(len(steps), NASAL_ZERO_HZ), 200.0)
    return response * (1 + nasal * (murmur - 1))


def _resonance(hz: np.ndarray, centre_hz: np.ndarray, width_hz: float) -> np.ndarray:
    """Klatt's digital resonator, unity gain at 0 Hz: (len(centre_hz), len(hz)) complex."""
    radius = np.exp(-np.pi * width_hz / AUDIO_RATE_HZ)
    b = 2 * radius * np.cos(2 * np.pi * centre_hz / AUDIO_RATE_HZ)[:, None]
    z = np.exp(-2j * np.pi * hz / AUDIO_RATE_HZ)[None]
    return (1 - b + radius**2) / (1 - b * z + radius**2 * z**2)


def _glottis(pitch_hz: np.ndarray) -> np.ndarray:
    """(P, GRAIN/2+1) spectrum of one pulse: -12 dB an octave above the glottal formant, +6 dB from radiation at the lips."""
    hz = np.fft.rfftfreq(GRAIN, 1 / AUDIO_RATE_HZ)
    corner = 1.1 * pitch_hz[:, None]
    pulse = 1.0 / (1 + 1j * hz / corner) ** 2 / (1 + 1j * hz / 3500.0)
    return pulse * (1j * hz / corner)


def _overlap_add(spectra: np.ndarray, starts: np.ndarray, n: int) -> np.ndarray:
    """Sum of grains with fractional start samples: (n,)."""
    whole = np.floor(starts).astype(int)
    shift = np.exp(-2j * np.pi * np.arange(GRAIN // 2 + 1) / GRAIN * (starts - whole)[:, None])
    grains = np.fft.irfft(spectra * shift, GRAIN, axis=1)
    out = np.zeros(n + GRAIN)
    np.add.at(out, np.minimum(whole[:, None] + np.arange(GRAIN), n + GRAIN - 1), grains)
    return out[:n]


def _smooth(track: np.ndarray, width_s: float) -> np.ndarray:
    """Hann-window smoothing along axis 0; edges repeat."""
    half = max(1, round(width_s / STEP_S))
    window = np.hanning(2 * half + 1)
    window /= window.sum()
    padded = np.concatenate([np.repeat(track[:1], half, axis=0), track, np.repeat(track[-1:], half, axis=0)])
    columns = padded.reshape(len(padded), -1).T
    return np.stack([np.convolve(c, window, "valid") for c in columns], axis=1).reshape(track.shape)


def _pink(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) noise with the tilt of a quiet room, standard deviation 1."""
    hz = np.fft.rfftfreq(n, 1 / AUDIO_RATE_HZ)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) / np.sqrt(1 + hz / 200.0), n)
    return noise / noise.std()
