"""The one filter that SyncNet's pipeline uses, for boxes and for frame-wise confidence."""

from __future__ import annotations

import numpy as np


def median_filter(values: np.ndarray, taps: int) -> np.ndarray:
    """Running median of (T,) values over an odd number of taps, zeros beyond the ends (as `scipy.signal.medfilt`): (T,)."""
    padded = np.pad(values, taps // 2)
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, taps), axis=1).astype(values.dtype)
