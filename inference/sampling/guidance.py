"""Classifier-free guidance over what drives the model.

The null branch is what training showed with all conditions dropped: black driven frames, no audio layers (present 0), no reference keys.
A model that copies the reference (`copied_reference`) is shown UNDRIVEN for it: away from "no portrait" there is another face, away from "a
portrait that nothing drives" there is more of what drives it.
With a guidance of its own for sound there is a branch between: everything but the sound (InstructPix2Pix's composition of two scales).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manifests.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Branch:
    """What one row of the batch is shown."""

    driven: bool
    reference: bool
    audio: bool


FULL = Branch(driven=True, reference=True, audio=True)
SILENT = Branch(driven=True, reference=True, audio=False)
NULL = Branch(driven=False, reference=False, audio=False)
UNDRIVEN = Branch(driven=False, reference=True, audio=False)


@dataclass(frozen=True)
class Guidance:
    """ε = ε_null + scale · (ε_full − ε_null), or with `audio_scale`
    ε = ε_null + scale · (ε_silent − ε_null) + audio_scale · (ε_full − ε_silent).

    Attributes:
        scale: 1 is no guidance and one model call a step.
        audio_scale: None guides sound together with the rest.
        interval: (start, stop) in fractions of the sampling steps, where guidance acts; elsewhere only the full branch is computed.
    """

    scale: float = 2.0
    audio_scale: float | None = None
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        for name, value in (("guidance_scale", self.scale), ("audio_guidance_scale", self.audio_scale)):
            if value is not None and not 0 <= value <= 30:
                raise UserError(f"{name} is {value}; it must lie in 0…30")
        if len(self.interval) != 2 or not 0 <= self.interval[0] <= self.interval[1] <= 1:
            raise UserError(f"guidance_interval is {self.interval}; it needs two fractions of the steps, such as (0, 0.8)")

    def branches(self, step: int, num_steps: int, has_audio: bool) -> tuple[Branch, ...]:
        """The rows that a step needs, the full branch first. Scales of 1 need no row to be compared with."""
        start, stop = self.interval
        return self._rows(has_audio) if start * num_steps <= step < stop * num_steps else (FULL,)

    def compared(self, has_audio: bool) -> tuple[Branch, ...]:
        """What the full branch is compared with where guidance acts."""
        start, stop = self.interval
        return self._rows(has_audio)[1:] if start < stop else ()

    def _rows(self, has_audio: bool) -> tuple[Branch, ...]:
        audio_scale = self.scale if self.audio_scale is None or not has_audio else self.audio_scale
        if audio_scale == self.scale:
            return (FULL,) if self.scale == 1 else (FULL, NULL)
        return (FULL, SILENT) if self.scale == 1 else (FULL, SILENT, NULL)

    def combine(self, branches: Sequence[Branch], noise: Sequence[torch.Tensor]) -> torch.Tensor:
        """The guided noise prediction from those of `branches`; all of the channels are guided."""
        by_branch = dict(zip(branches, noise, strict=True))
        full, silent, null = by_branch[FULL], by_branch.get(SILENT), by_branch.get(NULL)
        if silent is None:
            return full if null is None else null + self.scale * (full - null)
        guided = silent if null is None else null + self.scale * (silent - null)
        audio_scale = self.scale if self.audio_scale is None else self.audio_scale
        return guided + audio_scale * (full - silent)
