"""What a rendered person says, and in which voice: the sample clips' synthesiser with a pitch, a vocal tract and a pace of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.samples.phonemes import LEXICON, Phone, speak
from curation.samples.voice import synthesise


@dataclass(frozen=True)
class Voice:
    """How a person sounds.

    Attributes:
        pitch_hz: middle of the intonation.
        formant_scale: of the formants' frequencies; 1 = the women's averages that the phonemes are written in, lower = a longer tract.
        rate: pace; 1 is about 4.5 syllables a second.
    """

    pitch_hz: float
    formant_scale: float
    rate: float


def draw_voice(male: float, age: float, rng: np.random.Generator) -> Voice:
    """A voice that fits a person.

    Mean pitch and its spread, and the ratio of men's to women's formants, are those of Hillenbrand et al. 1995 (JASA 97): 131 and 220 Hz,
    about 0.86.

    Args:
        male: 0 = a woman, 1 = a man, between them a voice between theirs.
        age: 0 = young, 1 = old; old people speak slower, women's voices fall and men's rise a little.
    """
    octaves = np.log2(220.0) + male * np.log2(131.0 / 220.0) + rng.normal(0, 0.16) + age * (0.08 * male - 0.12 * (1 - male))
    scale = 1.0 - 0.14 * male + rng.normal(0, 0.03)
    rate = rng.normal(1.05, 0.09) - 0.12 * age
    return Voice(float(2.0**octaves), float(np.clip(scale, 0.78, 1.12)), float(np.clip(rate, 0.8, 1.3)))


def draw_speech(duration_s: float, voice: Voice, rng: np.random.Generator) -> list[Phone]:
    """Random words of the lexicon in phrases of three to seven, with breaths between them: gapless phonemes from 0 to `duration_s`.

    No word comes again before all have been said: "lips lips lips" fits its own sound at several offsets.
    """
    words = sorted(LEXICON)
    n_words = 8 * (int(duration_s) + 2)
    said = [words[i] for _ in range(-(-n_words // len(words))) for i in rng.permutation(len(words))]
    phrases = []
    while said:
        length = int(rng.integers(3, 8))
        phrases.append(" ".join(said[:length]))
        said = said[length:]
    return speak(phrases, duration_s=duration_s, rng=rng, rate=voice.rate)


def sound_of(phones: list[Phone], voice: Voice, seed: int) -> np.ndarray:
    """(N,) int16 mono at 16 kHz, as long as the phonemes."""
    return synthesise(phones, pitch_hz=voice.pitch_hz, formant_scale=voice.formant_scale, seed=seed)
