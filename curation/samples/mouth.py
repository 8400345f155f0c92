"""How a mouth moves to a timed phoneme sequence: visemes blended by dominance.

After Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993): every phoneme pulls each mouth parameter towards its
own target with a strength that falls off with the time from its middle, so that neighbours mix; lips that must meet (p, b, m) or touch the
teeth (f, v) then do so exactly. Lengths are in portrait pixels (the eyes' outer corners are about 62 apart).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.samples.phonemes import Phone

REST_WIDTH_PX = 35.5  # of closed lips at rest, corner to corner, portrait px


@dataclass(frozen=True)
class Viseme:
    """Targets of one phoneme and how strongly each is wanted.

    Attributes:
        gap_px: distance of the inner lips at the middle of the mouth.
        width_px: distance of the inner mouth corners.
        rounding: 0..1, lips pushed forward and fuller.
        gap_weight, width_weight: dominance.
    """

    gap_px: float
    width_px: float
    rounding: float
    gap_weight: float
    width_weight: float


@dataclass(frozen=True)
class MouthTrack:
    """Mouth parameters at T times, (T,) float64 each.

    Attributes:
        gap_px: inner lip distance, 0 = closed.
        width_px: inner corner distance.
        rounding: 0..1.
        press: 0..1, lips pressed together and rolled in.
        tuck: 0..1, lower lip under the upper teeth.
        jaw_px: how far the chin has come down.
    """

    gap_px: np.ndarray
    width_px: np.ndarray
    rounding: np.ndarray
    press: np.ndarray
    tuck: np.ndarray
    jaw_px: np.ndarray


_SPREAD, _NEUTRAL, _ROUND = 39.0, 35.0, 25.0  # width of the lips, portrait px: as in `ee`, at rest, as in `oo`
VISEMES: dict[str, Viseme] = {
    "AA": Viseme(11.5, 34.5, 0.0, 1.0, 0.7), "AE": Viseme(10.0, 38.0, 0.0, 1.0, 0.8), "AH": Viseme(8.0, 35.0, 0.0, 1.0, 0.5),
    "AX": Viseme(4.5, 35.0, 0.0, 0.6, 0.3), "AO": Viseme(9.0, 28.0, 0.7, 1.0, 1.0), "EH": Viseme(7.5, 37.5, 0.0, 1.0, 0.8),
    "ER": Viseme(4.5, 30.0, 0.5, 0.9, 0.9), "IH": Viseme(5.0, 37.5, 0.0, 0.9, 0.7), "IY": Viseme(4.2, 39.5, 0.0, 1.0, 1.0),
    "UH": Viseme(4.8, 29.5, 0.6, 0.9, 0.9), "UW": Viseme(3.0, 24.5, 1.0, 1.0, 1.4),
    "W": Viseme(1.8, 24.0, 1.0, 1.6, 1.8), "Y": Viseme(3.4, 38.0, 0.0, 0.8, 0.8), "R": Viseme(3.4, 29.5, 0.5, 0.9, 1.0),
    "L": Viseme(4.5, 35.5, 0.0, 0.7, 0.3), "M": Viseme(0.0, 35.0, 0.0, 2.2, 0.4), "B": Viseme(0.0, 35.0, 0.0, 2.2, 0.4),
    "P": Viseme(0.0, 35.0, 0.0, 2.2, 0.4), "N": Viseme(2.8, 36.0, 0.0, 0.8, 0.3), "NG": Viseme(4.0, 35.5, 0.0, 0.5, 0.2),
    "F": Viseme(1.4, 35.5, 0.0, 1.8, 0.4), "V": Viseme(1.4, 35.5, 0.0, 1.8, 0.4), "TH": Viseme(3.0, 35.5, 0.0, 1.1, 0.4),
    "DH": Viseme(3.0, 35.5, 0.0, 0.9, 0.3), "S": Viseme(2.2, 36.5, 0.0, 1.2, 0.5), "Z": Viseme(2.2, 36.5, 0.0, 1.2, 0.5),
    "SH": Viseme(3.2, 29.0, 0.6, 1.2, 1.1), "ZH": Viseme(3.2, 29.0, 0.6, 1.2, 1.1), "CH": Viseme(3.0, 29.5, 0.6, 1.2, 1.1),
    "JH": Viseme(3.0, 29.5, 0.6, 1.2, 1.1), "T": Viseme(2.6, 36.0, 0.0, 0.9, 0.3), "D": Viseme(2.6, 36.0, 0.0, 0.9, 0.3),
    "K": Viseme(3.8, 35.5, 0.0, 0.6, 0.2), "G": Viseme(3.8, 35.5, 0.0, 0.6, 0.2), "HH": Viseme(5.0, 35.5, 0.0, 0.3, 0.2),
    "_": Viseme(0.2, REST_WIDTH_PX, 0.0, 1.6, 0.8),
}  # fmt: skip
# A diphthong is two visemes, the first for the longer part.
DIPHTHONGS = {"EY": ("EH", "IY"), "AY": ("AA", "IH"), "OY": ("AO", "IH"), "AW": ("AA", "UW"), "OW": ("AO", "UW")}

_FALL_S = 0.055  # time in which a phoneme's pull falls to 1/e beyond its own span
# What is seen comes before what is heard: mouth shapes are under way early, lips close well before the sound stops and part as it bursts.
# So timed, lip-sync networks that were trained on real people find the clips in sync.
_LEAD_S, _CLOSE_LEAD_S, _PART_LEAD_S = 0.10, 0.06, 0.03


def mouth_track(phones: list[Phone], times_s: np.ndarray) -> MouthTrack:
    """The mouth at (T,) times for gapless phones."""
    gap, width, rounding = _blend(_targets(phones), times_s)
    press, tuck, quiet = (np.zeros(len(times_s)) for _ in range(3))
    for phone in phones:
        if phone.name in ("M", "B", "P"):
            press = np.maximum(press, _contact(times_s, phone.start_s - _CLOSE_LEAD_S, phone.end_s - _PART_LEAD_S, ramp_s=0.05))
        elif phone.name in ("F", "V"):
            tuck = np.maximum(tuck, _contact(times_s, phone.start_s - _CLOSE_LEAD_S, phone.end_s - _PART_LEAD_S, ramp_s=0.05))
        elif phone.name == "_":
            quiet = np.maximum(quiet, _contact(times_s, phone.start_s, phone.end_s - 0.12, ramp_s=0.09))
    gap = gap * (1 - press) * (1 - 0.5 * tuck) * (1 - quiet)
    gap = np.where(gap < 0.35, 0.0, gap)
    jaw = 0.62 * gap * (1 - 0.25 * rounding) + 0.8 * (1 - press) * (1 - quiet)
    return MouthTrack(gap, width, rounding, press * 0.9, tuck, jaw)


def _targets(phones: list[Phone]) -> list[tuple[float, float, float, Viseme]]:
    """(start, end, stress gain, viseme) of every viseme, diphthongs split."""
    out = []
    for phone in phones:
        gain = 1.08 if phone.stress else 0.85
        if phone.name in DIPHTHONGS:
            first, second = DIPHTHONGS[phone.name]
            middle = phone.start_s + 0.6 * (phone.end_s - phone.start_s)
            out += [(phone.start_s, middle, gain, VISEMES[first]), (middle, phone.end_s, gain, VISEMES[second])]
        else:
            out.append((phone.start_s, phone.end_s, gain if phone.sound.kind == "vowel" else 1.0, VISEMES[phone.name]))
    return out


def _blend(targets: list[tuple[float, float, float, Viseme]], times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dominance-weighted means: gap, width and rounding, (T,) each."""
    start, end, gain = (np.array([t[i] for t in targets])[:, None] for i in range(3))
    visemes = [t[3] for t in targets]
    away = np.maximum(np.abs(times_s[None] + _LEAD_S - (start + end) / 2) - 0.3 * (end - start), 0.0)
    pull = np.exp(-((away / _FALL_S) ** 1.4))
    gap_pull = pull * np.array([v.gap_weight for v in visemes])[:, None]
    wide_pull = np.exp(-((away / (1.5 * _FALL_S)) ** 1.2)) * np.array([v.width_weight for v in visemes])[:, None]
    gap = (gap_pull * gain * np.array([v.gap_px for v in visemes])[:, None]).sum(0) / gap_pull.sum(0)
    width = (wide_pull * np.array([v.width_px for v in visemes])[:, None]).sum(0) / wide_pull.sum(0)
    rounding = (wide_pull * np.array([v.rounding for v in visemes])[:, None]).sum(0) / wide_pull.sum(0)
    return gap, width, rounding


def _contact(times_s: np.ndarray, begin_s: float, end_s: float, ramp_s: float) -> np.ndarray:
    """(T,) 1 between begin and end, with smooth ramps of `ramp_s` before and after."""
    x = np.clip(np.minimum((times_s - (begin_s - ramp_s)) / ramp_s, (end_s + ramp_s - times_s) / ramp_s), 0, 1)
    return x * x * (3 - 2 * x)
