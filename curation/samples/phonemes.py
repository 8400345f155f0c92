"""What the sample clips say: words as phonemes, and when each phoneme sounds.

One list of `Phone`s drives the voice (`voice.py`) and the mouth (`mouth.py`), so that sound and picture agree by construction.
Formant frequencies: vowels from Peterson and Barney, "Control Methods Used in a Study of the Vowels", JASA 24 (1952), the women's
averages; consonants from Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67 (1980), scaled to the same voice.
Durations follow Klatt, "Synthesis by rule of segmental durations" (1979): an inherent and a smallest duration a phoneme.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CONSONANT_FORMANT_SCALE = 1.13  # Klatt's table is a man's; women's vocal tracts are about an eighth shorter


@dataclass(frozen=True)
class Sound:
    """How a phoneme sounds.

    Attributes:
        kind: vowel | glide | nasal | fricative | stop | affricate | breath | pause.
        formants_hz: (F1, F2, F3) at the start; `glide_to_hz` at the end, for diphthongs.
        voicing: 0..1 amplitude of the glottal pulses.
        noise_hz: (centre, width) of the frication noise, or of the burst of a stop.
        noise: amplitude of that noise.
        duration_ms, shortest_ms: Klatt's inherent and smallest durations.
    """

    kind: str
    formants_hz: tuple[float, float, float]
    voicing: float
    duration_ms: float
    shortest_ms: float
    noise_hz: tuple[float, float] = (0.0, 1.0)
    noise: float = 0.0
    glide_to_hz: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Phone:
    """A phoneme on the time axis. `stress`: 0 none, 1 stressed vowel."""

    name: str
    start_s: float
    end_s: float
    stress: int = 0

    @property
    def sound(self) -> Sound:
        return SOUNDS[self.name]


def _vowel(f1: float, f2: float, f3: float, duration_ms: float, shortest_ms: float, to: tuple[float, float, float] | None = None) -> Sound:
    return Sound("vowel", (f1, f2, f3), 1.0, duration_ms, shortest_ms, glide_to_hz=to)


def _consonant(
    kind: str,
    formants_hz: tuple[float, float, float],
    voicing: float,
    duration_ms: float,
    shortest_ms: float,
    noise_hz: tuple[float, float] = (0.0, 1.0),
    noise: float = 0.0,
) -> Sound:
    first, second, third = (CONSONANT_FORMANT_SCALE * f for f in formants_hz)
    return Sound(kind, (first, second, third), voicing, duration_ms, shortest_ms, noise_hz, noise)


SOUNDS: dict[str, Sound] = {
    "IY": _vowel(310, 2790, 3310, 155, 55),
    "IH": _vowel(430, 2480, 3070, 135, 40),
    "EH": _vowel(610, 2330, 2990, 150, 70),
    "AE": _vowel(860, 2050, 2850, 210, 80),
    "AH": _vowel(760, 1400, 2780, 140, 60),
    "AA": _vowel(850, 1220, 2810, 220, 100),
    "AO": _vowel(590, 920, 2710, 220, 100),
    "UH": _vowel(470, 1160, 2680, 160, 60),
    "UW": _vowel(370, 950, 2670, 190, 70),
    "ER": _vowel(500, 1640, 1960, 180, 80),
    "AX": _vowel(560, 1600, 2800, 90, 50),  # the unstressed AH: schwa
    "EY": _vowel(560, 2400, 3000, 190, 80, to=(380, 2700, 3200)),
    "AY": _vowel(850, 1350, 2810, 230, 110, to=(430, 2450, 3070)),
    "OY": _vowel(590, 950, 2710, 250, 120, to=(430, 2350, 3070)),
    "AW": _vowel(860, 1450, 2830, 240, 110, to=(480, 1050, 2690)),
    "OW": _vowel(590, 1150, 2710, 220, 90, to=(410, 950, 2680)),
    "W": _consonant("glide", (290, 610, 2150), 0.75, 80, 60),
    "Y": _consonant("glide", (260, 2070, 3020), 0.75, 80, 40),
    "R": _consonant("glide", (310, 1060, 1380), 0.8, 80, 30),
    "L": _consonant("glide", (310, 1050, 2880), 0.75, 80, 40),
    "M": _consonant("nasal", (270, 1270, 2130), 0.5, 75, 60),
    "N": _consonant("nasal", (270, 1340, 2470), 0.5, 65, 35),
    "NG": _consonant("nasal", (270, 2000, 2900), 0.5, 80, 60),
    "V": _consonant("fricative", (220, 1100, 2080), 0.4, 65, 45, (5000, 6000), 0.05),
    "DH": _consonant("fricative", (270, 1290, 2540), 0.4, 50, 30, (5000, 5000), 0.04),
    "Z": _consonant("fricative", (240, 1390, 2530), 0.3, 75, 45, (6800, 1800), 0.11),
    "ZH": _consonant("fricative", (300, 1840, 2750), 0.3, 75, 45, (3600, 1500), 0.18),
    "F": _consonant("fricative", (340, 1100, 2080), 0.0, 100, 80, (5000, 7000), 0.09),
    "TH": _consonant("fricative", (320, 1290, 2540), 0.0, 90, 60, (5500, 5000), 0.07),
    "S": _consonant("fricative", (320, 1390, 2530), 0.0, 105, 70, (6800, 1600), 0.2),
    "SH": _consonant("fricative", (300, 1840, 2750), 0.0, 105, 80, (3700, 1600), 0.3),
    "P": _consonant("stop", (400, 1100, 2150), 0.0, 90, 70, (1200, 2500), 0.25),
    "T": _consonant("stop", (400, 1600, 2600), 0.0, 80, 60, (5000, 2500), 0.5),
    "K": _consonant("stop", (300, 1990, 2850), 0.0, 85, 65, (2200, 1200), 0.5),
    "B": _consonant("stop", (200, 1100, 2150), 0.12, 75, 60, (1000, 2000), 0.15),
    "D": _consonant("stop", (200, 1600, 2600), 0.12, 65, 45, (4500, 2500), 0.25),
    "G": _consonant("stop", (200, 1990, 2850), 0.12, 70, 55, (2200, 1200), 0.25),
    "CH": _consonant("affricate", (350, 1800, 2820), 0.0, 110, 80, (3700, 1600), 0.3),
    "JH": _consonant("affricate", (260, 1800, 2820), 0.1, 90, 60, (3700, 1600), 0.18),
    "HH": _consonant("breath", (500, 1500, 2500), 0.0, 70, 30),
    "_": Sound("pause", (560, 1600, 2800), 0.0, 0, 0),
}

# ARPAbet, as pronouncing dictionaries write it: 1 marks the stressed vowel.
LEXICON: dict[str, str] = {
    "a": "AX", "above": "AX B AH1 V", "about": "AX B AW1 T", "and": "AE N D", "are": "AA R", "back": "B AE1 K", "bay": "B EY1",
    "before": "B IH F AO1 R", "big": "B IH1 G", "blue": "B L UW1", "boats": "B OW1 T S", "bring": "B R IH1 NG",
    "clips": "K L IH1 P S", "closes": "K L OW1 Z AX Z", "earth": "ER1 TH", "evening": "IY1 V N IH NG", "every": "EH1 V R IY",
    "filtered": "F IH1 L T ER D", "five": "F AY1 V", "fly": "F L AY1", "follow": "F AA1 L OW", "for": "F ER", "going": "G OW1 IH NG",
    "have": "HH AE1 V", "heard": "HH ER1 D", "hello": "HH AX L OW1", "how": "HH AW1", "is": "IH Z", "like": "L AY1 K",
    "lips": "L IH1 P S", "made": "M EY1 D", "map": "M AE1 P", "maybe": "M EY1 B IY", "me": "M IY1", "measure": "M EH1 ZH ER",
    "moon": "M UW1 N", "mouth": "M AW1 TH", "moves": "M UW1 V Z", "my": "M AY1", "noise": "N OY1 Z", "of": "AX V",
    "open": "OW1 P AX N", "opens": "OW1 P AX N Z", "over": "OW1 V ER", "people": "P IY1 P AX L", "please": "P L IY1 Z",
    "pulses": "P AH1 L S AX Z", "sample": "S AE1 M P AX L", "slowly": "S L OW1 L IY", "small": "S M AO1 L", "sound": "S AW1 N D",
    "the": "DH AX", "to": "T UW", "up": "AH1 P", "view": "V Y UW1", "voice": "V OY1 S", "wait": "W EY1 T", "warm": "W AO1 R M",
    "water": "W AO1 T ER", "we": "W IY", "welcome": "W EH1 L K AX M", "well": "W EH1 L", "wind": "W IH1 N D",
    "wonderful": "W AH1 N D ER F AX L", "word": "W ER1 D", "you": "Y UW",
}  # fmt: skip

SENTENCES: tuple[str, ...] = (
    "hello and welcome to the sample clips",
    "my voice is made of pulses and filtered noise",
    "please measure how well my lips follow the sound",
    "the moon moves slowly over the open water",
    "we are going to fly above the blue bay",
    "maybe you have heard about people like me",
    "five small boats wait for a warm wind",
    "bring back the big map before the evening",
    "every word opens and closes the mouth",
    "up above the earth the view is wonderful",
)


def speak(sentences: list[str], *, duration_s: float, rng: np.random.Generator, rate: float = 1.0) -> list[Phone]:
    """Lay sentences on the time axis, a breath of 0.3 to 0.5 s between them, until `duration_s` is full.

    A sentence that would run over the end is cut at the last word that fits. The list covers 0..duration_s without gaps: pauses are
    phones named "_".

    Args:
        rate: 1 is about 4.5 syllables a second.
    """
    lead_s, tail_s = 0.24, 0.2
    phones = [Phone("_", 0.0, lead_s)]
    for sentence in sentences:
        words = [_word_phones(word) for word in sentence.split()]
        spoken = _sentence_durations(words, rate, rng)
        start_s = phones[-1].end_s
        placed: list[Phone] = []
        for word in spoken:
            word_s = sum(duration for _, _, duration in word)
            if start_s + word_s > duration_s - tail_s:
                break
            for name, stress, duration in word:
                placed.append(Phone(name, start_s, start_s + duration, stress))
                start_s += duration
        phones += placed
        pause_s = float(rng.uniform(0.3, 0.5))
        if start_s + pause_s + 0.5 > duration_s:
            break
        phones.append(Phone("_", start_s, start_s + pause_s))
    if phones[-1].name == "_":
        phones[-1] = Phone("_", phones[-1].start_s, duration_s)
    else:
        phones.append(Phone("_", phones[-1].end_s, duration_s))
    return phones


def _word_phones(word: str) -> list[tuple[str, int]]:
    """(name, stress) of each phoneme of a word in the lexicon."""
    return [(token.rstrip("1"), int(token.endswith("1"))) for token in LEXICON[word].split()]


def _sentence_durations(words: list[list[tuple[str, int]]], rate: float, rng: np.random.Generator) -> list[list[tuple[str, int, float]]]:
    """Klatt's rule in short: shortest + (inherent - shortest) * share; the share grows with stress and at the sentence's end."""
    out = []
    for w, word in enumerate(words):
        spoken = []
        for p, (name, stress) in enumerate(word):
            sound = SOUNDS[name]
            share = 1.0 if stress else (0.75 if sound.kind != "vowel" else 0.55)
            if w == len(words) - 1 and p >= len(word) - 3:
                share *= 1.35
            share *= float(rng.uniform(0.88, 1.12))
            spoken.append((name, stress, (sound.shortest_ms + (sound.duration_ms - sound.shortest_ms) * share) / 1000 / rate))
        out.append(spoken)
    return out
