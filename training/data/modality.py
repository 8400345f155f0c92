"""Modality Decoupling Control: which conditions a training sample sees, stage by stage.

The paper contradicts itself or is silent in places; each choice is a field of `ModalityConfig`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from inference.models.components import combination
from inference.models.config import MASK_PATHS
from training.data.draws import draws

Subsets = tuple[tuple[float, tuple[bool, bool]], ...]
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
        mask_visual_attention: those samples get Eq. 2's attention mask.
        mask_visual_loss: those samples get the masked loss.
        mask_mixed_attention: mixed samples of these stages get Eq. 2's attention mask too: the mouth then hears the sound and does not see
            the eyes. Off, because at inference there is no mask.
        mask_mixed_loss: mixed samples of these stages get the masked loss too. Off: sound must teach the mouth.
        mask_paths: "one_hop" is Eq. 2: mouth queries see no eye keys. "all" hides these from whatever the mouth may read as well, see
            `inference.models.masks.eye_mouth_mask`; for stages 1 and 2, because temporal modules mix neighbours.
        reference_dropout: share of samples without the reference alone, for guidance.
        driving_dropout: share of samples that have the reference alone, no driven frames and no sound: the empty subset of eyes and mouth,
            and what `audio_guidance_scale` compares with where sound alone drives.
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
    mask_visual_attention: bool = True
    mask_visual_loss: bool = True
    mask_mixed_attention: bool = False
    mask_mixed_loss: bool = False
    mask_paths: str = "one_hop"
    reference_dropout: float = 0.05
    driving_dropout: float = 0.05
    all_dropout: float = 0.05

    RENAMED: ClassVar[dict[str, str]] = {"mask_mixed": "mask_mixed_attention (Eq. 2) and mask_mixed_loss"}

    def __post_init__(self) -> None:
        for names in (("eyes_share", "mouth_share", "both_share"), ("visual_share", "audio_share", "mixed_share")):
            shares = [getattr(self, name) for name in names]
            if min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
                raise ValueError(f"{', '.join(names)} are {shares}; they must be 0 or more and add up to 1")
        dropouts = (self.reference_dropout, self.driving_dropout, self.all_dropout)
        if min(dropouts) < 0 or sum(dropouts) > 1:
            raise ValueError("reference_dropout, driving_dropout and all_dropout must be 0 or more and add up to 1 at most")
        if set(self.masked_stages) - {1, 2, 3}:
            raise ValueError(f"masked_stages is {list(self.masked_stages)}; stages are 1, 2 and 3")
        if self.mask_paths not in MASK_PATHS:
            raise ValueError(f"mask_paths is {self.mask_paths!r}; it must be one of {', '.join(MASK_PATHS)}")
        if self.mask_paths == "all" and 3 in self.masked_stages:
            raise ValueError("mask_paths=all cannot hold in stage 3, whose temporal modules mix neighbours: leave 3 out of masked_stages")


@dataclass(frozen=True)
class Conditions:
    """What one sample sees.

    Attributes:
        modality: `VISUAL`, `AUDIO` or `MIXED`, as drawn, whatever is dropped then.
        eyes, mouth: the driven frames show them.
        audio: the sound is heard.
        reference: the reference is seen.
        all_dropped: nothing at all is given.
        mask_attention: Eq. 2 applies.
        mask_loss: the masked loss applies.
    """

    modality: int
    eyes: bool
    mouth: bool
    audio: bool
    reference: bool
    all_dropped: bool
    mask_attention: bool
    mask_loss: bool


def draw_conditions(config: ModalityConfig, seed: int, stage: int, sample_index: int) -> Conditions:
    """The conditions of a sample.

    Raises:
        ValueError: a stage that is not 1, 2 or 3.
    """
    modality, parts, dropout = draws(seed, stage, sample_index, "conditions").random(3)
    kinds, lost = _kinds(config, stage), _dropouts(config)
    kind, subsets = kinds[_pick(modality, tuple(share for share, *_ in kinds))][1:]
    eyes, mouth = subsets[_pick(parts, tuple(share for share, _ in subsets))][1]
    return _conditions(config, stage, kind, eyes, mouth, lost[_pick(dropout, tuple(share for share, _ in lost))][1])


def combination_shares(config: ModalityConfig, stage: int) -> dict[str, float]:
    """Combination of conditions (`inference.models.components.combination`) -> its share of a stage's samples; those that are never drawn
    are left out."""
    shares: dict[str, float] = {}
    for kind_share, kind, subsets in _kinds(config, stage):
        for subset_share, (eyes, mouth) in subsets:
            for lost_share, lost in _dropouts(config):
                share = kind_share * subset_share * lost_share
                if share > 0:
                    c = _conditions(config, stage, kind, eyes, mouth, lost)
                    name = combination(eyes=c.eyes, mouth=c.mouth, audio=c.audio, reference=c.reference)
                    shares[name] = shares.get(name, 0.0) + share
    return shares


def _kinds(config: ModalityConfig, stage: int) -> tuple[tuple[float, int, Subsets], ...]:
    """(share, modality, subsets of (eyes, mouth) that it shows with their shares) of a stage.

    Raises:
        ValueError: a stage that is not 1, 2 or 3.
    """
    if stage not in (1, 2, 3):
        raise ValueError(f"stage is {stage!r}; it must be 1, 2 or 3")
    visual: Subsets = ((1.0, (True, True)),)
    if stage < 3 or config.stage3_face_dropout:
        visual = ((config.eyes_share, (True, False)), (config.mouth_share, (False, True)), (config.both_share, (True, True)))
    if stage == 1:
        return ((1.0, VISUAL, visual),)
    return (
        (config.visual_share, VISUAL, visual),
        (config.audio_share, AUDIO, ((1.0, (False, False)),)),
        (config.mixed_share, MIXED, ((1.0, (True, False)),)),
    )


def _dropouts(config: ModalityConfig) -> tuple[tuple[float, str], ...]:
    """(share, what is lost)."""
    lost = ((config.all_dropout, "all"), (config.reference_dropout, "reference"), (config.driving_dropout, "driving"))
    return (*lost, (max(0.0, 1 - sum(share for share, _ in lost)), ""))


def _conditions(config: ModalityConfig, stage: int, kind: int, eyes: bool, mouth: bool, lost: str) -> Conditions:
    driven = lost not in ("all", "driving")
    maskable = driven and stage in config.masked_stages and eyes and not mouth
    return Conditions(
        modality=kind,
        eyes=eyes and driven,
        mouth=mouth and driven,
        audio=kind != VISUAL and driven,
        reference=lost not in ("all", "reference"),
        all_dropped=lost == "all",
        mask_attention=maskable and (config.mask_visual_attention if kind == VISUAL else config.mask_mixed_attention),
        mask_loss=maskable and (config.mask_visual_loss if kind == VISUAL else config.mask_mixed_loss),
    )


def _pick(draw: float, shares: tuple[float, ...]) -> int:
    """The index whose share of 0..1 `draw` falls into; never one with share 0."""
    ends = np.cumsum(shares)
    return min(int(np.searchsorted(ends, draw, side="right")), int(np.flatnonzero(shares)[-1]))
