"""The sync curve: mean similarity of mouth and sound at 31 shifts, and what is read from it.

Read as SyncNet's is (Chung and Zisserman 2016; `joonson/syncnet_python`): the offset is the best shift, the confidence is best minus
median. Sign likewise: a positive offset means that the sound that fits the picture lies earlier in the file, i.e. the sound is early.
"""

from __future__ import annotations

import numpy as np

from curation.lipsync.features import log_mel, mouth_features
from curation.lipsync.towers import Towers

MAX_SHIFT = 15
SHIFTS = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)  # the offset, in frames, that each point of the curve stands for


def clip_curve(towers: Towers, points_px: np.ndarray, audio: np.ndarray) -> tuple[np.ndarray, int]:
    """Landmarks and sound of a clip to its sync curve.

    Args:
        towers: both towers.
        points_px: (T, 68, 2) at 25 Hz, NaN where the face is not seen.
        audio: (N,) int16 at 16 kHz, sample 0 at the first frame.

    Returns:
        (31,) float32 similarity in -1..1 at `SHIFTS`, NaN where nothing overlaps.
        How many windows of the picture were compared: those that see a face throughout and have sound.
    """
    mouth, known = mouth_features(points_px)
    sound = log_mel(audio)
    n = min(len(mouth), len(sound) // towers.sound.stride)
    usable = whole_windows(known[:n], towers.mouth.field)
    return sync_curve(towers.mouth(mouth[:n]), towers.sound(sound[: n * towers.sound.stride]), usable), int(usable.sum())


def whole_windows(known: np.ndarray, field: int) -> np.ndarray:
    """(T,) bool: the frame's window of `field` frames, centred on it, lies within the clip and shows a face throughout."""
    before = (field - 1) // 2
    whole = np.zeros(len(known), dtype=bool)
    if len(known) >= field:
        whole[before : before + len(known) - field + 1] = np.lib.stride_tricks.sliding_window_view(known, field).all(axis=1)
    return whole


def sync_curve(mouth: np.ndarray, sound: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Mean similarity over the usable windows that overlap the sound at each shift.

    Args:
        mouth, sound: (T, E) unit embeddings at 25 Hz.
        usable: (T,) bool, windows of the picture to count.
    """
    n = len(mouth)
    curve = np.full(len(SHIFTS), np.nan, dtype=np.float32)
    for i, offset in enumerate(SHIFTS):
        # At offset k the sound of window t - k is held against the picture of window t.
        picture = slice(max(0, offset), min(n, n + offset))
        matching = slice(max(0, -offset), min(n, n - offset))
        if picture.start >= picture.stop:
            continue
        count = usable[picture]
        if count.any():
            curve[i] = np.einsum("te,te->t", mouth[picture], sound[matching])[count].mean()
    return curve


def read_curve(curve: np.ndarray) -> tuple[int, float]:
    """(offset in frames, confidence) of a (31,) sync curve without NaN."""
    best = int(np.argmax(curve))
    return int(SHIFTS[best]), float(curve[best] - np.median(curve))
