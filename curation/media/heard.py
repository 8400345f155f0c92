"""Which sound of a file is heard, and as what single channel: the one place that decides, for curation and for inference."""

from __future__ import annotations

from typing import Any

import numpy as np

_BLOCK_S = 0.1  # the two channels are compared over so much sound at once
_MEMORY_S = 0.2  # time after which what was heard counts for a third: an edit is followed within a second
_OPPOSED, _ALIKE = -0.9, -0.6  # correlation of the channels below which one is turned round, and above which it is no longer
_TURN_S = 0.005  # a channel is turned round over so long, without a click


def pick_audio(container: Any) -> Any | None:
    """The audio stream that players open: the one marked as default, not one for those who see or hear badly, else the first.

    Args:
        container: an `av` input container.

    Returns:
        An `av` stream that can be decoded; None if the file has none.
    """
    from av.stream import Disposition

    def rank(stream: Any) -> int:  # as ffmpeg's av_find_best_stream; of equals, `max` takes the first
        special = stream.disposition & (Disposition.hearing_impaired | Disposition.visual_impaired)
        return int(bool(stream.disposition & Disposition.default)) + int(not special)

    return max((s for s in container.streams.audio if s.codec_context is not None), key=rank, default=None)


class MonoResampler:
    """Decoded audio frames of one format become one channel at `rate_hz`, and nothing cancels.

    Channels are averaged (more than two are first mixed to left and right, as ffmpeg does). Where left and right are the same sound with
    opposite signs, as from a badly wired cable, the average would be silence, and their difference is taken instead.

    Args:
        rate_hz: of what comes out.
        dtype: int16, or float32 in -1..1.
    """

    def __init__(self, rate_hz: int, dtype: type[np.int16] | type[np.float32]):
        self._rate_hz = rate_hz
        self._dtype = dtype
        self._resampler: Any = None
        self._pair = _PairMixer(rate_hz)
        self._is_mono = False

    def resample(self, frame: Any | None) -> np.ndarray:
        """(n,) samples, perhaps of frames before this one.

        Args:
            frame: an `av.AudioFrame`, whose time stamp is dropped; None ends the sound, and all that is left comes out.
        """
        if self._resampler is None:
            if frame is None:
                return np.zeros(0, self._dtype)
            self._open(frame)
        if frame is not None:
            frame.pts = None  # the caller counts samples
        parts = [f.to_ndarray() for f in self._resampler.resample(frame) if f is not None and f.samples]
        if self._is_mono:
            return np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, self._dtype)
        pair = np.concatenate(parts, axis=1) if parts else np.zeros((2, 0), self._dtype)
        mixed = self._pair.mix(pair, last=frame is None)
        return np.clip(np.rint(mixed), -32768, 32767).astype(np.int16) if self._dtype is np.int16 else mixed

    def _open(self, frame: Any) -> None:
        from av.audio.resampler import AudioResampler

        self._is_mono = frame.layout.nb_channels == 1
        layout = "mono" if self._is_mono else "stereo"
        self._resampler = AudioResampler(format="s16p" if self._dtype is np.int16 else "fltp", layout=layout, rate=self._rate_hz)


class _PairMixer:
    """Left and right become one channel, block by block; what comes out depends on the sound alone, not on how it is cut into pieces."""

    def __init__(self, rate_hz: int):
        self._block = max(1, round(_BLOCK_S * rate_hz))
        self._turn = max(1, round(_TURN_S * rate_hz))
        self._fade = np.exp(-_BLOCK_S / _MEMORY_S)
        self._waiting = np.zeros((2, 0), np.float32)
        self._energy = np.zeros(3)  # left, right, left times right
        self._sign: float | None = None  # of the right channel

    def mix(self, pair: np.ndarray, *, last: bool) -> np.ndarray:
        """(n,) float32 of what is complete by now, `pair` (2, m) following on what came before."""
        pair = np.concatenate([self._waiting, pair.astype(np.float32)], axis=1)
        stop = pair.shape[1] if last else pair.shape[1] // self._block * self._block
        self._waiting = pair[:, stop:]
        blocks = [self._mix_block(pair[:, at : at + self._block]) for at in range(0, stop, self._block)]
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)

    def _mix_block(self, pair: np.ndarray) -> np.ndarray:
        left, right = pair.astype(np.float64)
        self._energy = self._fade * self._energy + [left @ left, right @ right, left @ right]
        correlation = self._energy[2] / np.sqrt(max(self._energy[0] * self._energy[1], 1e-12))
        before = self._sign
        if correlation < _OPPOSED:
            self._sign = -1.0
        elif correlation > _ALIKE or before is None:
            self._sign = 1.0
        sign = np.full(len(left), self._sign)
        if before is not None and before != self._sign:
            turn = min(self._turn, len(sign))
            sign[:turn] = np.linspace(before, self._sign or 1.0, turn)
        return ((left + sign * right) / 2).astype(np.float32)
