"""Does the answer hold together in time? Flicker, seams at window borders, drift, and a mouth that moves in silence."""

from __future__ import annotations

import itertools
import math
from functools import cached_property

import numpy as np

from curation.contracts import AUDIO_RATE_HZ
from curation.scorers.speech import Speech
from inference.evaluation.canonical import CANONICAL_HZ, CanonicalClip
from inference.evaluation.metrics.base import AT_LEAST_0, ClipMetric, Judged, MetricColumn
from inference.evaluation.metrics.face import mouth_opening

_SILENCE_MARGIN_FRAMES = 5  # lips close, and open for the next word, within 0.2 s of the sound
_FEWEST_SILENT_FRAMES = 10


class Stability(ClipMetric):
    """Differences between neighbouring frames and trends over the clip, each beside the driver's own."""

    name = "stability"
    columns = (
        MetricColumn(
            "flicker_ratio",
            "as real",
            "",
            "mean absolute difference of neighbouring frames over the target's",
            "VBench's temporal flicker as a ratio to the real clip",
            AT_LEAST_0,
        ),
        MetricColumn(
            "seam_ratio",
            "lower",
            "",
            "difference of neighbouring frames at window borders over that elsewhere; needs `window_stride` in method.yaml",
            "this project",
            AT_LEAST_0,
        ),
        MetricColumn(
            "colour_drift_per_min",
            "lower",
            "levels",
            "absolute trend of the mean colour minus the target's trend, a minute",
            "this project",
            AT_LEAST_0,
        ),
        MetricColumn(
            "sharpness_drift_per_min",
            "lower",
            "",
            "absolute trend of log sharpness (variance of the Laplacian) minus the target's, a minute",
            "this project",
            AT_LEAST_0,
        ),
        MetricColumn(
            "silent_lip_motion",
            "lower",
            "eye distances",
            "standard deviation of the mouth opening while nobody speaks",
            "asked for in LatentSync #121",
            AT_LEAST_0,
        ),
    )

    @cached_property
    def _speech(self) -> Speech:
        return Speech()

    def score(self, pair: Judged) -> dict[str, float]:
        answer, target = pair.answer, pair.target.first(len(pair.answer))
        ours, theirs = frame_differences(answer.frames), frame_differences(target.frames)
        values = {"flicker_ratio": float(ours.mean() / theirs.mean()) if len(ours) and theirs.mean() > 0 else math.nan}
        if stride := pair.notes.get("window_stride"):
            values["seam_ratio"] = seam_ratio(ours, int(stride))
        (our_colour, our_sharpness), (real_colour, real_sharpness) = _trends(answer), _trends(target)
        values["colour_drift_per_min"] = float(np.abs(our_colour - real_colour).mean())
        values["sharpness_drift_per_min"] = abs(our_sharpness - real_sharpness)
        silent = self._silent_frames(target)[: len(answer)]
        opening = mouth_opening(answer.faces.points_px)[: len(silent)][silent]
        if np.isfinite(opening).sum() >= _FEWEST_SILENT_FRAMES:
            values["silent_lip_motion"] = float(np.nanstd(opening))
        return values

    def _silent_frames(self, clip: CanonicalClip) -> np.ndarray:
        """(T,) bool: frames with no speech within 0.2 s; all False without sound."""
        silent = np.zeros(len(clip), dtype=bool)
        if clip.audio is None or not len(clip.audio):
            return silent
        probability = self._speech.probability(clip.audio)
        if not len(probability):
            return silent
        chunk_s = len(clip.audio) / AUDIO_RATE_HZ / len(probability)
        speaks = probability[np.minimum((np.arange(len(clip)) / CANONICAL_HZ / chunk_s).astype(int), len(probability) - 1)] > 0.5
        near = np.convolve(speaks, np.ones(2 * _SILENCE_MARGIN_FRAMES + 1), mode="same") > 0
        return ~near


def frame_differences(frames: np.ndarray) -> np.ndarray:
    """(T − 1,) mean absolute difference of neighbouring frames, in levels of 0..255."""
    return np.array([np.abs(b.astype(np.int16) - a).mean() for a, b in itertools.pairwise(frames)])


def seam_ratio(differences: np.ndarray, stride: int) -> float:
    """Mean difference at the borders every `stride` frames over the mean elsewhere; NaN without a border. 1 = no seams."""
    border = np.zeros(len(differences), dtype=bool)
    border[stride - 1 :: stride] = True
    elsewhere = differences[~border].mean() if (~border).any() else 0.0
    return float(differences[border].mean() / elsewhere) if border.any() and elsewhere > 0 else math.nan


def _trends(clip: CanonicalClip) -> tuple[np.ndarray, float]:
    """Slopes a minute of the mean colour (3,) and of log sharpness."""
    import cv2

    minutes = np.arange(len(clip)) / CANONICAL_HZ / 60
    colour = clip.frames.reshape(len(clip), -1, 3).mean(axis=1)
    grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip.frames)
    sharpness = np.array([math.log(cv2.Laplacian(frame, cv2.CV_32F).var() + 1.0) for frame in grey])
    if len(clip) < 2:
        return np.zeros(3), 0.0
    return np.polyfit(minutes, colour, 1)[0], float(np.polyfit(minutes, sharpness, 1)[0])
