"""Modality Decoupling Control: which conditions a training sample sees, stage by stage.

The paper contradicts itself or is silent in places; each choice is a field of `ModalityConfig`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.draws import draws

VISUAL, AUDIO, MIXED = 0, 1, 2
MODALITIES = ("visual", "audio", "mixed")


@dataclass(frozen=True)
class ModalityConfig:
    """Shares and options.

    Attributes:
        eyes_share, mouth_share, both_share: what a visual sample's driven frames show where parts of the face are dropped (stage 1, and the
            visual samples of stage 2). The paper says "any combination": a third each.
        visual_share, audio_share, mixed_share: of the samples in stages 2 and 3. Audio samples have black driven frames, mixed ones sound
            and the eyes.
        stage3_face_dropout: visual samples of stage 3 drop parts of the face too. The paper's introduction says that stage 3 has no
            dropout, its section 3.3 that it samples as stage 2; here stage 3 keeps the shares, and visual samples show eyes and mouth.
        masked_stages: the stages in which a visual sample without a mouth patch gets Eq. 2's attention mask and the masked loss. The paper
            speaks of stage 1; the visual samples of stage 2 are the same case.
        mask_mixed: the same for mixed samples. Off: sound must teach the mouth, and there is no mask at inference.
        reference_dropout: share of samples without the reference alone, for guidance.
        all_dropout: share of samples without any condition, for guidance.
    """

    eyes_share: float = 1 / 3
    mouth_share: float = 1 / 3
    both_share: float = 1 / 3
    visual_share: float = 0.1
    audio_share: float = 0.2
    mixed_share: float = 0.7
    stage3_face_dropout: bool = False
    masked_stages: tuple[int, ...] = (1, 2)
    mask_mixed: bool = False
    reference_dropout: float = 0.05
    all_dropout: float = 0.05

    def __post_init__(self) -> None:
        for names in (("eyes_share", "mouth_share", "both_share"), ("visual_share", "audio_share", "mixed_share")):
            shares = [getattr(self, name) for name in names]
            if min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
                raise ValueError(f"{', '.join(names)} are {shares}; they must be 0 or more and add up to 1")
        if not 0 <= self.reference_dropout + self.all_dropout <= 1 or min(self.reference_dropout, self.all_dropout) < 0:
            raise ValueError("reference_dropout and all_dropout must be 0 or more and add up to 1 at most")
        if set(self.masked_stages) - {1, 2, 3}:
            raise ValueError(f"masked_stages is {list(self.masked_stages)}; stages are 1, 2 and 3")


@dataclass(frozen=True)
class Conditions:
    """What one sample sees.

    Attributes:
        modality: `VISUAL`, `AUDIO` or `MIXED`, as drawn, whatever is dropped then.
        eyes, mouth: the driven frames show them.
        audio: the sound is heard.
        reference: the reference is seen.
        all_dropped: nothing at all is given.
        masked: Eq. 2 and the masked loss apply.
    """

    modality: int
    eyes: bool
    mouth: bool
    audio: bool
    reference: bool
    all_dropped: bool
    masked: bool


def draw_conditions(config: ModalityConfig, seed: int, stage: int, sample_index: int) -> Conditions:
    """The conditions of a sample.

    Raises:
        ValueError: a stage that is not 1, 2 or 3.
    """
    if stage not in (1, 2, 3):
        raise ValueError(f"stage is {stage!r}; it must be 1, 2 or 3")
    modality, parts, dropout = draws(seed, stage, sample_index, "conditions").random(3)
    kind = VISUAL
    if stage > 1:
        kind = _pick(modality, (config.visual_share, config.audio_share, config.mixed_share))
    if kind == AUDIO:
        eyes = mouth = False
    elif kind == MIXED:
        eyes, mouth = True, False
    elif stage < 3 or config.stage3_face_dropout:
        eyes, mouth = ((True, False), (False, True), (True, True))[_pick(parts, (config.eyes_share, config.mouth_share, config.both_share))]
    else:
        eyes = mouth = True
    masked = stage in config.masked_stages and eyes and not mouth and (kind == VISUAL or config.mask_mixed)
    nothing = bool(dropout < config.all_dropout)
    without_reference = nothing or bool(dropout < config.all_dropout + config.reference_dropout)
    return Conditions(
        modality=kind,
        eyes=eyes and not nothing,
        mouth=mouth and not nothing,
        audio=kind != VISUAL and not nothing,
        reference=not without_reference,
        all_dropped=nothing,
        masked=masked and not nothing,
    )


def _pick(draw: float, shares: tuple[float, ...]) -> int:
    """The index whose share of 0..1 `draw` falls into; never one with share 0."""
    ends = np.cumsum(shares)
    return min(int(np.searchsorted(ends, draw, side="right")), int(np.flatnonzero(shares)[-1]))
