"""From embeddings to Sync-C, Sync-D and offset, with the definitions of `joonson/syncnet_python` (`SyncNetInstance.evaluate`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.blocks import blocks
from curation.syncnet.filters import median_filter
from manifests.rows import Rows

VIDEO_HZ = 25
WINDOW_FRAMES = 5
MFCC_PER_FRAME = 4
MAX_SHIFT = 15
SAMPLES_PER_FRAME = 640
_WINDOWS_AT_ONCE = 512  # bounds the memory for hours of footage
_EPSILON = 1e-6  # torch's pairwise_distance adds it to every difference


@dataclass(frozen=True)
class SyncScore:
    """How well one face track fits the sound.

    Attributes:
        sync_c: confidence: median minus minimum of the mean distance over the shifts; higher is better.
        sync_d: the minimum; lower is better.
        offset_frames: at 25 Hz; positive = the sound is early (the sound that fits the picture lies earlier in the file).
        n_windows: windows compared. At the outermost shifts 15 of them meet padding, so few windows bias all three.
        curve: (31,) float32 mean distance at the offsets 15, 14, ..., -15.
        framewise: (n_windows,) float32 confidence of each window at the best shift, median-filtered over 9.
    """

    sync_c: float
    sync_d: float
    offset_frames: int
    n_windows: int
    curve: np.ndarray
    framewise: np.ndarray


def n_windows(n_frames: int, n_samples: int) -> int:
    """How many windows are compared, of a track of `n_frames` pictures and `n_samples` of sound; the last possible one is left out."""
    return max(0, min(n_frames, n_samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES)


def distances(lips: Rows, sound: Rows) -> np.ndarray:
    """Euclidean distance of each picture window to the sound 15 windows earlier .. 15 later; beyond the ends the sound is a zero vector.

    Args:
        lips, sound: (n, E) float32 embeddings.

    Returns:
        (n, 31) float32.
    """
    found = np.empty((len(lips), 2 * MAX_SHIFT + 1), np.float32)
    for block in blocks(len(lips), _WINDOWS_AT_ONCE):
        begin, end = block.start - MAX_SHIFT, block.stop + MAX_SHIFT
        heard = sound[max(0, begin) : end]
        before = max(0, -begin)
        padded = np.pad(heard, ((before, end - begin - before - len(heard)), (0, 0)))
        seen = lips[block]
        for shift in range(found.shape[1]):
            found[block, shift] = np.linalg.norm(seen - padded[shift : shift + len(seen)] + np.float32(_EPSILON), axis=1)
    return found


def read(distance: np.ndarray) -> SyncScore:
    """The score of (n, 31) distances, n >= 1."""
    curve = distance.mean(axis=0, dtype=np.float64).astype(np.float32)
    best, middle = int(np.argmin(curve)), np.median(curve)
    framewise = median_filter(middle - distance[:, best], 9)
    return SyncScore(float(middle - curve[best]), float(curve[best]), MAX_SHIFT - best, len(distance), curve, framewise)
