"""How to sample: the one set of knobs that presets, requests, the pipeline, the sampler and the report share. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inference.sampling.guidance import Guidance
from inference.sampling.samplers import SAMPLERS
from inference.sampling.windows import WINDOW
from manifests import configuration
from manifests.errors import UserError, did_you_mean

MAX_SEED = 2**63 - 1  # of the noise's generator


@dataclass(frozen=True)
class SamplingSettings:
    """
    Attributes:
        num_inference_steps: solver steps, 1…1000.
        guidance_scale: over all conditions, 0…30; 1 is none and costs half.
        audio_guidance_scale: for sound alone, 0…30; costs one more row a window. None guides sound together with the rest.
        mouth_guidance_scale: takes the place of `guidance_scale` in the mouth's region, 0…30; sound is then guided in this region alone.
            Acts only where driver or portrait say where the mouth lies. None treats all places alike.
        guidance_interval: fractions of the steps between which guidance acts.
        window_overlap: frames that neighbouring windows share.
        window_shift: frames by which windows move from step to step.
        window_batch: windows in one model call; every one brings as many rows as it has guidance branches.
        step_cache: threshold of `inference.models.block_cache`, or None; needs window_shift 0 and window_batch 1.
        audio_scale: Eq. 3's amplitude of the audio attention, 0…10; 1 is as trained, 0 leaves the audio layers out.
        sampler: a name of `inference.sampling.samplers`; None is the scheduler that the pipeline was saved with.

    Raises:
        UserError: a value out of range, or two that do not go together; one line.
    """

    num_inference_steps: int = 25
    guidance_scale: float = 2.0
    audio_guidance_scale: float | None = None
    mouth_guidance_scale: float | None = None
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    window_overlap: int = 8
    window_shift: int = 0
    window_batch: int = 1
    step_cache: float | None = None
    audio_scale: float = 1.0
    sampler: str | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("num_inference_steps", self.num_inference_steps, 1, 1000),
            ("window_overlap", self.window_overlap, 0, WINDOW - 1),
            ("window_shift", self.window_shift, 0, WINDOW - 1),
            ("window_batch", self.window_batch, 1, 1024),
            ("audio_scale", self.audio_scale, 0, 10),
        ):
            if not low <= value <= high:
                raise UserError(f"{name} is {value}; it must lie in {low}…{high}")
        if self.step_cache is not None:
            if not 0 <= self.step_cache <= 1:
                raise UserError(f"step_cache is {self.step_cache}; it must lie in 0…1 (0.1 is careful)")
            if self.window_shift or self.window_batch > 1:
                raise UserError("step_cache compares a window with itself at the step before: it needs window_shift 0 and window_batch 1")
        if self.sampler is not None and self.sampler not in SAMPLERS:
            raise UserError(f"unknown sampler {self.sampler!r}{did_you_mean(self.sampler, sorted(SAMPLERS))}")
        _ = self.guidance  # checks its own ranges

    @cached_property
    def guidance(self) -> Guidance:
        """The knobs of guidance as the sampler takes them."""
        return Guidance(self.guidance_scale, self.audio_guidance_scale, self.guidance_interval, self.mouth_guidance_scale)

    def to_tree(self) -> dict[str, Any]:
        """Plain values, as YAML and JSON can hold them."""
        return configuration.to_tree(self)
