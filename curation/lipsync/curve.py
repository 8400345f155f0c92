"""The sync curve: mean similarity of mouth and sound at 31 shifts, and what is read from it.

Read as SyncNet's is (Chung and Zisserman 2016; `joonson/syncnet_python`): the offset is the best shift, the confidence is best minus
median. Sign likewise: a positive offset means that the sound that fits the picture lies earlier in the file, i.e. the sound is early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from curation.blocks import blocks
from curation.lipsync.features import FRAMES_AT_ONCE, N_LIPS, VIDEO_HZ, MelRows, MouthRows, sampling_lag_rows
from curation.lipsync.towers import Towers
from manifests.rows import Rows

MAX_SHIFT = 15
SHIFTS = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)  # the offset, in frames, that each point of the curve stands for


def clip_curve(towers: Towers, points_px: Rows, audio: Rows, fps: float = VIDEO_HZ) -> tuple[np.ndarray, int]:
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
    return _curve_of(towers, MouthRows(points_px), MelRows(audio, sampling_lag_rows(fps)))


def features_curve(towers: Towers, mouth: np.ndarray, known: np.ndarray, mel: np.ndarray) -> tuple[np.ndarray, int]:
    """As `clip_curve`, of the features: mouth (T, 50), known (T,) bool, mel (4 T', 40)."""
    return _curve_of(towers, _Rows(mouth, lambda a, b: (mouth[a:b], known[a:b])), _Rows(mel, lambda a, b: mel[a:b]))


class _Rows:
    """Features that are there as a whole, as `MouthRows` and `MelRows` give them."""

    def __init__(self, whole: np.ndarray, stretch: Callable[[int, int], Any]):
        self._n, self._stretch = len(whole), stretch

    def __len__(self) -> int:
        return self._n

    def __call__(self, first: int, last: int) -> Any:
        return self._stretch(first, last)


def _curve_of(towers: Towers, mouth_rows: Any, mel_rows: Any) -> tuple[np.ndarray, int]:
    """The curve, from stretches of the clip that overlap by what the towers see: the same as from the whole, in bounded memory."""
    stride = towers.sound.stride
    n = min(len(mouth_rows), len(mel_rows) // stride)
    margin = max(towers.mouth.field, -(-towers.sound.field // stride) + 1)
    similarity, weight, n_usable = np.zeros(len(SHIFTS)), np.zeros(len(SHIFTS)), 0
    for block in blocks(n, FRAMES_AT_ONCE):
        first, last = block.start, block.stop
        begin, end = max(0, first - margin), min(n, last + margin)
        inner = slice(first - begin, last - begin)
        mouth, known = mouth_rows(begin, end)
        usable = whole_windows(known, towers.mouth.field)
        share = (usable * movement(mouth, towers.mouth.field))[inner]
        picture = towers.mouth(mouth)[inner]
        n_usable += int(usable[inner].sum())
        heard_first = max(0, first - MAX_SHIFT)
        begin, end = max(0, heard_first - margin), min(n, last + MAX_SHIFT + margin)
        sound = towers.sound(mel_rows(begin * stride, end * stride))[heard_first - begin : min(n, last + MAX_SHIFT) - begin]
        sums = _shift_sums(picture, sound, share, first, heard_first, n)
        similarity, weight = similarity + sums[0], weight + sums[1]
    return _mean(similarity, weight), n_usable


def _mean(similarity: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(31,) float32; NaN where nothing overlaps."""
    return np.divide(similarity, weight, out=np.full(len(SHIFTS), np.nan), where=weight > 0).astype(np.float32)


def _shift_sums(
    picture: np.ndarray, sound: np.ndarray, weight: np.ndarray, first: int, heard_first: int, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over a stretch, at each shift, of the weighted similarities and of the weights.

    Args:
        picture, weight: of the frames from `first` on.
        sound: embeddings of the frames from `heard_first` on; those up to `MAX_SHIFT` around the stretch that there are.
        n: frames of the clip.
    """
    similarity, total, last = np.zeros(len(SHIFTS)), np.zeros(len(SHIFTS)), first + len(picture)
    for i, offset in enumerate(map(int, SHIFTS)):
        # At offset k the sound of window t - k is held against the picture of window t.
        a, b = max(first, offset), min(last, n + offset)
        if a >= b:
            continue
        share = weight[a - first : b - first]
        matching = sound[a - offset - heard_first : b - offset - heard_first]
        similarity[i] = np.einsum("te,te->t", picture[a - first : b - first], matching) @ share
        total[i] = share.sum()
    return similarity, total


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
    return _mean(*_shift_sums(mouth, sound, weight, 0, 0, len(mouth)))


def read_curve(curve: np.ndarray) -> tuple[int, float]:
    """(offset in frames, confidence) of a (31,) sync curve without NaN."""
    best = int(np.argmax(curve))
    return int(SHIFTS[best]), float(curve[best] - np.median(curve))
