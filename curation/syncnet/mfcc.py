"""The sound features that SyncNet was trained on: `python_speech_features.mfcc` with its defaults, in NumPy.

25 ms rectangular window, 10 ms step, pre-emphasis 0.97, 512-point power spectrum, 26 mel filters from 0 to 8 kHz, log, orthonormal DCT-II,
13 cepstra, sine lifter 22, and the first cepstrum replaced by the log of the frame's energy. Samples are taken at the scale of int16. The
package itself is the tests' peer: it frames a whole recording at once, which hours of sound do not fit in memory for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from curation.blocks import blocks
from manifests.rows import Rows

RATE_HZ = 16_000
WINDOW = 400  # samples
STEP = 160  # samples: 100 rows a second, 4 a video frame
N_FFT = 512
N_FILTERS = 26
N_CEPSTRA = 13
LIFTER = 22
PRE_EMPHASIS = 0.97
_FRAMES_AT_ONCE = 8192  # 82 s: bounds the memory for hours of sound


def mfcc(audio: Rows) -> np.ndarray:
    """(N,) int16 sound at 16 kHz to (M, 13) float64; M = 1 + ceil((N - 400) / 160), at least 1, and 0 where there is no sound."""
    return np.concatenate([np.zeros((0, N_CEPSTRA)), *mfcc_stretches(audio)])


def mfcc_stretches(audio: Rows) -> Iterator[np.ndarray]:
    """`mfcc` in stretches of at most 82 s."""
    n_frames = 1 + max(0, -(-(len(audio) - WINDOW) // STEP)) if len(audio) else 0
    for block in blocks(n_frames, _FRAMES_AT_ONCE):
        first, last = block.start * STEP, (block.stop - 1) * STEP + WINDOW
        before = audio[first - 1 : last - 1] if first else np.concatenate([[0], audio[: last - 1]])
        signal = audio[first:last].astype(np.float64)
        signal -= PRE_EMPHASIS * before[: len(signal)]
        signal = np.pad(signal, (0, last - first - len(signal)))
        frames = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)[::STEP]  # (m, 400)
        yield _cepstra(frames)


def _cepstra(frames: np.ndarray) -> np.ndarray:
    """(M, 400) windows to (M, 13)."""
    spectrum = np.fft.rfft(frames, N_FFT)  # (M, 257)
    power = (spectrum.real**2 + spectrum.imag**2) / N_FFT
    filters, dct, lifter = _tables()
    cepstra = np.log(_positive(power @ filters.T)) @ dct.T * lifter
    cepstra[:, 0] = np.log(_positive(power.sum(axis=1)))
    return cepstra


def _positive(energy: np.ndarray) -> np.ndarray:
    return np.where(energy == 0, np.finfo(np.float64).eps, energy)


@lru_cache(maxsize=1)
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mel filters (26, 257) on whole FFT bins, orthonormal DCT-II (13, 26), lifter (13,)."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE_HZ / 2 / 700), N_FILTERS + 2)
    edges = np.floor((N_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / RATE_HZ)
    low, peak, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(N_FFT // 2 + 1)
    rising = (bins >= low) & (bins < peak)
    falling = (bins >= peak) & (bins < high)
    up = (bins - low) / np.maximum(peak - low, 1)
    down = (high - bins) / np.maximum(high - peak, 1)
    filters = np.where(rising, up, 0) + np.where(falling, down, 0)

    k, n = np.arange(N_CEPSTRA)[:, None], np.arange(N_FILTERS)
    dct = np.sqrt(2 / N_FILTERS) * np.cos(np.pi * k * (2 * n + 1) / (2 * N_FILTERS))
    dct[0] /= np.sqrt(2)
    lifter = 1 + LIFTER / 2 * np.sin(np.pi * np.arange(N_CEPSTRA) / LIFTER)
    return filters, dct, lifter
