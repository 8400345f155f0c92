"""Classifier-free guidance over what drives the model.

The null branch is what training showed with all conditions dropped: black driven frames, no audio layers (present 0), no reference keys.
A model that copies the reference (`copied_reference`) is shown UNDRIVEN for it: away from "no portrait" there is another face, away from "a
portrait that nothing drives" there is more of what drives it.
With a guidance of its own for sound there is a branch between: everything but the sound (InstructPix2Pix's composition of two scales).
With a guidance of its own for the mouth's region the scales differ from place to place: what draws a mouth better may draw the driver's
brows over the portrait's.
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
        mouth_scale: takes the place of `scale` in the mouth's region, and `audio_scale` then acts in this region alone. None: no place is
            different from another.
    """

    scale: float = 2.0
    audio_scale: float | None = None
    interval: tuple[float, float] = (0.0, 1.0)
    mouth_scale: float | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("guidance_scale", self.scale), ("audio_guidance_scale", self.audio_scale), ("mouth_guidance_scale", self.mouth_scale),
        ):  # fmt: skip
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
        (scale, audio_scale), (mouth_scale, mouth_audio_scale) = self._scales(has_audio)
        rows = [FULL]
        if audio_scale != scale or mouth_audio_scale != mouth_scale:
            rows.append(SILENT)
        if scale != 1 or mouth_scale != 1:
            rows.append(NULL)
        return tuple(rows)

    def _scales(self, has_audio: bool) -> tuple[tuple[float, float], tuple[float, float]]:
        """(over all conditions, for sound): elsewhere, and in the mouth's region."""
        mouth = self.scale if self.mouth_scale is None else self.mouth_scale
        in_mouth = mouth if self.audio_scale is None or not has_audio else self.audio_scale
        return (self.scale, in_mouth if self.mouth_scale is None else self.scale), (mouth, in_mouth)

    def combine(self, branches: Sequence[Branch], noise: Sequence[torch.Tensor], mouth: torch.Tensor | None = None) -> torch.Tensor:
        """The guided noise prediction from those of `branches`; all of the channels are guided.

        Args:
            noise: (F, C, h, w) of each branch.
            mouth: (F, 1, h, w) in 0…1, how much of each cell is the mouth's region; None where nobody says where it lies, and then no place
                is the mouth's.
        """
        by_branch = dict(zip(branches, noise, strict=True))
        full, silent, null = by_branch[FULL], by_branch.get(SILENT), by_branch.get(NULL)
        elsewhere, within = self._scales(silent is not None)
        scale, audio_scale = (low if mouth is None else low + (high - low) * mouth for low, high in zip(elsewhere, within, strict=True))
        if silent is None:
            return full if null is None else null + scale * (full - null)
        guided = silent if null is None else null + scale * (silent - null)
        return guided + audio_scale * (full - silent)
