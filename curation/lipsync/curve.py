"""The sync curve: mean similarity of mouth and sound at 31 shifts, and what is read from it.

Read as SyncNet's is (Chung and Zisserman 2016; `joonson/syncnet_python`): the offset is the best shift, the confidence is best minus
median. Sign likewise: a positive offset means that the sound that fits the picture lies earlier in the file, i.e. the sound is early.
"""

from __future__ import annotations

import numpy as np

from curation.lipsync.features import N_LIPS, VIDEO_HZ, later, log_mel, mouth_features, sampling_lag_rows
from curation.lipsync.towers import Towers

MAX_SHIFT = 15
SHIFTS = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)  # the offset, in frames, that each point of the curve stands for


def clip_curve(towers: Towers, points_px: np.ndarray, audio: np.ndarray, fps: float = VIDEO_HZ) -> tuple[np.ndarray, int]:
    """Landmarks and sound of a clip to its sync curve.

    Args:
        towers: both towers.
        points_px: (T, 68, 2) at 25 Hz, NaN where the face is not seen.
        audio: (N,) int16 at 16 kHz, sample 0 at the first frame.
        fps: of the video that the landmarks were sampled from; see `features.sampling_lag_rows`.

    Returns:
        (31,) float32 similarity in -1..1 at `SHIFTS`, NaN where nothing overlaps.
        How many windows of the picture were compared: those that see a face throughout and have sound.
    """
    mouth, known = mouth_features(points_px)
    return features_curve(towers, mouth, known, later(log_mel(audio), sampling_lag_rows(fps)))


def features_curve(towers: Towers, mouth: np.ndarray, known: np.ndarray, mel: np.ndarray) -> tuple[np.ndarray, int]:
    """As `clip_curve`, of the features: mouth (T, 50), known (T,) bool, mel (4 T', 40)."""
    n = min(len(mouth), len(mel) // towers.sound.stride)
    usable = whole_windows(known[:n], towers.mouth.field)
    weight = usable * movement(mouth[:n], towers.mouth.field)
    return sync_curve(towers.mouth(mouth[:n]), towers.sound(mel[: n * towers.sound.stride]), weight), int(usable.sum())


def whole_windows(known: np.ndarray, field: int) -> np.ndarray:
    """(T,) bool: the frame's window of `field` frames, centred on it, lies within the clip and shows a face throughout."""
    before = (field - 1) // 2
    whole = np.zeros(len(known), dtype=bool)
    if len(known) >= field:
        whole[before : before + len(known) - field + 1] = np.lib.stride_tricks.sliding_window_view(known, field).all(axis=1)
    return whole


def movement(mouth: np.ndarray, field: int) -> np.ndarray:
    """(T,) how much the lips move within the window of `field` frames about each frame: windows in which they rest say little."""
    if len(mouth) < 2:
        return np.ones(len(mouth))
    step = np.abs(np.diff(mouth[:, :N_LIPS], axis=0, prepend=mouth[:1, :N_LIPS])).mean(axis=1)
    return np.convolve(step, np.ones(field) / field, mode="full")[field // 2 : field // 2 + len(step)] + 1e-3


def sync_curve(mouth: np.ndarray, sound: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean similarity over the windows that overlap the sound at each shift.

    Args:
        mouth, sound: (T, E) unit embeddings at 25 Hz.
        weight: (T,) of each window of the picture, 0 = not to be counted.
    """
    n = len(mouth)
    curve = np.full(len(SHIFTS), np.nan, dtype=np.float32)
    for i, offset in enumerate(SHIFTS):
        # At offset k the sound of window t - k is held against the picture of window t.
        first, last = max(0, int(offset)), min(n, n + int(offset))
        if first >= last:
            continue
        picture = slice(first, last)
        matching = slice(max(0, -int(offset)), min(n, n - int(offset)))
        share = weight[picture]
        if share.any():
            curve[i] = np.einsum("te,te->t", mouth[picture], sound[matching]) @ share / share.sum()
    return curve


def read_curve(curve: np.ndarray) -> tuple[int, float]:
    """(offset in frames, confidence) of a (31,) sync curve without NaN."""
    best = int(np.argmax(curve))
    return int(SHIFTS[best]), float(curve[best] - np.median(curve))
