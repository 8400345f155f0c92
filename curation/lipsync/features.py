"""What the two towers see: mouth shape from the 68 points, and log-mel of the sound. NumPy only.

The mouth is described in the frame of the face: a similarity transform per video frame lays the points that speech hardly moves (nose,
eye corners) on a fixed template, so that position, size and in-plane rotation of the head drop out; the clip's mean shape is removed
so that the person's own mouth does. The sound's level and colour drop out by removing every band's mean over the clip.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from curation.blocks import blocks
from curation.landmarks.sixty_eight import FLIP, RIGID
from manifests.rows import Rows

VIDEO_HZ = 25
AUDIO_HZ = 16_000
SAMPLES_PER_FRAME = AUDIO_HZ // VIDEO_HZ

MOUTH = np.array([*range(48, 68), *range(6, 11)])  # lips, chin
MOUTH_FLIP = np.array([int(np.flatnonzero(FLIP[point] == MOUTH)[0]) for point in MOUTH])  # who takes whose place in a mirrored mouth
N_MOUTH, N_LIPS = 2 * len(MOUTH), 2 * 20  # numbers a frame; those of the lips come first
MOUTH_SCALE = 30.0  # brings the mouth's movement, a few hundredths of the distance of the eyes, to about unit variance
MAX_GAP_FRAMES = 5  # up to 0.2 s without a face are bridged by interpolation

MEL_BANDS = 40
MELS_PER_FRAME = 4
MEL_HOP = SAMPLES_PER_FRAME // MELS_PER_FRAME
MEL_WINDOW = 400
MEL_FFT = 512
MEL_LOW_HZ, MEL_HIGH_HZ = 60.0, 7600.0
MEL_RANGE = 13.0  # the log is floored so many nepers below the clip's loudest value
FRAMES_AT_ONCE = 3000  # two minutes: bounds the memory for hours of footage
ROWS_AT_ONCE = FRAMES_AT_ONCE * MELS_PER_FRAME
MEL_SILENCE = 100.0  # least floor of the power, int16 scale: about the rounding noise of a digital recording

# The 13 rigid points of a frontal face: mean over 350 aligned clips, made symmetric. The origin is the middle of the outer eye corners, the
# unit their distance.
_BRIDGE = [(0.0, -0.0543), (0.0, 0.1211), (0.0, 0.2746), (0.0, 0.371)]
_BASE = [(-0.1419, 0.4798), (-0.0822, 0.5221), (0.0, 0.521), (0.0822, 0.5221), (0.1419, 0.4798)]
_EYES = [(-0.5, 0.0), (-0.1902, 0.017), (0.1902, 0.017), (0.5, 0.0)]
TEMPLATE = np.array([*_BRIDGE, *_BASE, *_EYES])


def mouth_features(points_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mouth shape over a clip, sampled at 25 Hz.

    Args:
        points_px: (T, 68, 2) iBUG points, NaN where the face is not seen.

    Returns:
        (T, 50) float32: x, y of lips and chin in the face's frame, clip mean removed, about unit variance; 0 where unknown.
        (T,) bool: frames with a face, gaps up to `MAX_GAP_FRAMES` included.
    """
    rows = MouthRows(points_px)
    parts = [rows(block.start, block.stop) for block in blocks(len(rows), FRAMES_AT_ONCE)]
    if not parts:
        return np.zeros((0, N_MOUTH), np.float32), np.zeros(0, bool)
    return np.concatenate([features for features, _ in parts]), np.concatenate([known for _, known in parts])


class MouthRows:
    """`mouth_features` of any stretch of a clip, in memory that does not grow with the clip."""

    def __init__(self, points_px: Rows):
        self._points = points_px
        if len(self._points.shape) != 3 or self._points.shape[1:] != (68, 2):
            raise ValueError(f"points must be (T, 68, 2), not {self._points.shape}")
        self._only: tuple[np.ndarray, np.ndarray] | None = None  # a clip of one block is aligned once
        if 0 < len(self._points) <= FRAMES_AT_ONCE:
            self._only = self._mouth(slice(0, len(self._points)))
        total, n_seen = np.zeros((len(MOUTH), 2)), 0
        for block in blocks(len(self._points), FRAMES_AT_ONCE):
            mouth = self._mouth(block)[1]
            total, n_seen = total + mouth.sum(axis=0), n_seen + len(mouth)
        self._mean = total / max(1, n_seen)

    def __len__(self) -> int:
        return len(self._points)

    def __call__(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """(last - first, 50) float32 and (last - first,) bool."""
        begin, end = max(0, first - MAX_GAP_FRAMES - 1), min(len(self), last + MAX_GAP_FRAMES + 1)  # a gap ends at a seen frame
        seen, mouth = self._mouth(slice(begin, end))
        known = seen | _short_gaps(seen)
        features = np.zeros((end - begin, N_MOUTH), dtype=np.float32)
        if seen.any():
            mouth = (mouth - self._mean).reshape(len(mouth), N_MOUTH) * MOUTH_SCALE
            times, times_seen = np.flatnonzero(known), np.flatnonzero(seen)
            for column in range(N_MOUTH):
                features[times, column] = np.interp(times, times_seen, mouth[:, column])
        inner = slice(first - begin, last - begin)
        return features[inner], known[inner]

    def _mouth(self, block: slice) -> tuple[np.ndarray, np.ndarray]:
        """(t,) which frames of the block show a face, and (n seen, 25, 2) their mouths in the face's frame."""
        if self._only is not None:
            seen, mouth = self._only
            before = int(seen[: block.start].sum())
            return seen[block], mouth[before : before + int(seen[block].sum())]
        points = self._points[block].astype(np.float64)
        seen = np.asarray(np.isfinite(points).all(axis=(1, 2)))
        return seen, _in_face_frame(points[seen])


def _in_face_frame(points: np.ndarray) -> np.ndarray:
    """(n, 68, 2) px -> (n, 25, 2) mouth points after the least-squares similarity that lays the rigid points on the template."""
    z = points[..., 0] + 1j * points[..., 1]  # in the complex plane a similarity is z -> a z + b
    target = TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
    rigid = z[:, RIGID]
    centre = rigid.mean(axis=1, keepdims=True)
    rigid = rigid - centre
    spread = np.maximum((np.abs(rigid) ** 2).sum(axis=1, keepdims=True), 1e-12)
    a = (rigid.conj() * (target - target.mean())).sum(axis=1, keepdims=True) / spread
    mouth = a * (z[:, MOUTH] - centre) + target.mean()
    return np.stack([mouth.real, mouth.imag], axis=-1)


def _short_gaps(seen: np.ndarray) -> np.ndarray:
    """(T,) bool: unseen frames in runs of at most `MAX_GAP_FRAMES` that have a seen frame on both sides."""
    edges = np.flatnonzero(np.diff(np.r_[True, seen, True].astype(np.int8)))  # run k of unseen frames is edges[2k] : edges[2k + 1]
    gaps = np.zeros(len(seen), dtype=bool)
    for start, stop in edges.reshape(-1, 2):
        if start > 0 and stop < len(seen) and stop - start <= MAX_GAP_FRAMES:
            gaps[start:stop] = True
    return gaps


def log_mel(audio: np.ndarray) -> np.ndarray:
    """Log-mel energies, four per video frame; row j is centred on sample 160 j.

    Args:
        audio: (N,) int16, 16 kHz mono.

    Returns:
        (4 * (N // 640), 40) float32: natural log of the power in 40 mel bands (HTK scale, 60-7600 Hz, Hann window of 25 ms), each band's
        mean over the clip removed, halved so that speech has about unit variance.
    """
    rows = MelRows(audio)
    mel = np.empty((len(rows), MEL_BANDS), np.float32)
    for block in blocks(len(rows), ROWS_AT_ONCE):
        mel[block] = rows(block.start, block.stop)
    return mel


class MelRows:
    """`log_mel` of any stretch of a clip, in memory that does not grow with the clip; the sound is gone through twice before.

    Args:
        later_rows: moves the rows so much later, as `later` does.
    """

    def __init__(self, audio: Rows, later_rows: int = 0):
        self._audio = audio
        if len(self._audio.shape) != 1:
            raise ValueError(f"audio must be (N,), not {self._audio.shape}")
        self._n = len(self._audio) // SAMPLES_PER_FRAME * MELS_PER_FRAME
        self._later = later_rows
        self._only: np.ndarray | None = None  # a clip of one block is transformed once
        if 0 < self._n <= ROWS_AT_ONCE:
            self._only = self._power(0, self._n)
        stretches = list(blocks(self._n, ROWS_AT_ONCE))
        loudest = max((float(self._power(block.start, block.stop).max()) for block in stretches), default=0.0)
        self._floor = max(MEL_SILENCE, loudest * np.exp(-MEL_RANGE))
        total = np.zeros(MEL_BANDS)
        for block in stretches:
            total += self._log(block.start, block.stop).sum(axis=0)
        self._mean = total / max(1, self._n)

    def __len__(self) -> int:
        return self._n

    def __call__(self, first: int, last: int) -> np.ndarray:
        """(last - first, 40) float32."""
        begin, end = max(0, first - self._later), max(0, last - self._later)
        if end == begin:
            begin, end = 0, 1
        mel = ((self._log(begin, end) - self._mean) / 2).astype(np.float32)
        missing = last - first - len(mel)
        return mel if not missing else np.concatenate([np.repeat(mel[:1], missing, axis=0), mel])

    def _log(self, first: int, last: int) -> np.ndarray:
        return np.log(np.maximum(self._power(first, last), self._floor), dtype=np.float64)

    def _power(self, first: int, last: int) -> np.ndarray:
        """(last - first, 40) float32 power in the bands."""
        if self._only is not None:
            return self._only[first:last]
        half = MEL_WINDOW // 2
        begin, end = first * MEL_HOP - half, (last - 1) * MEL_HOP + half
        inside = self._audio[max(0, begin) : min(len(self._audio), end)].astype(np.float32)
        padded = np.pad(inside, (max(0, -begin), max(0, end - len(self._audio))))
        windows = np.lib.stride_tricks.sliding_window_view(padded, MEL_WINDOW)[::MEL_HOP]
        power = np.abs(np.fft.rfft(windows * np.hanning(MEL_WINDOW + 1)[:-1].astype(np.float32), MEL_FFT)) ** 2
        return power @ mel_filters().T


def sampling_lag_rows(fps: float) -> int:
    """How much older than its grid point the picture shown there is on average, in rows of `log_mel`.

    A grid point shows the last frame that began at or before it. At 25 or 50 frames a second that frame begins just there; at 30 it is
    13 ms old on average, at 24 it is 20 ms: a third and half of a frame by which the sound would seem early.
    """
    if not fps > 0:
        return 0
    frames = np.arange(1000) * fps / VIDEO_HZ
    lag_s = float(np.mean(frames - np.floor(frames + 0.02))) / fps
    return round(max(0.0, lag_s) * AUDIO_HZ / MEL_HOP)


def later(mel: np.ndarray, rows: int) -> np.ndarray:
    """(R, 40) log-mel moved `rows` later; the first row is repeated, the length stays."""
    return mel if rows == 0 else np.concatenate([np.repeat(mel[:1], rows, axis=0), mel])[: len(mel)]


@lru_cache(maxsize=1)
def mel_filters() -> np.ndarray:
    """(40, 257) triangles with corners evenly spaced on the HTK mel scale 2595 log10(1 + f / 700), peak 1."""
    hz = np.arange(MEL_FFT // 2 + 1) * AUDIO_HZ / MEL_FFT
    low, high = (2595 * np.log10(1 + f / 700) for f in (MEL_LOW_HZ, MEL_HIGH_HZ))
    corner_hz = 700 * (10 ** (np.linspace(low, high, MEL_BANDS + 2) / 2595) - 1)
    left, peak, right = (corner_hz[i : i + MEL_BANDS, None] for i in range(3))
    return np.maximum(0, np.minimum((hz - left) / (peak - left), (right - hz) / (right - peak))).astype(np.float32)
