"""What the loader hands to the trainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch

from inference.models.masks import RegionMask


class Skip(NamedTuple):
    """A clip that could not serve a sample; the sample took the clip of its next attempt.

    Attributes:
        sample_index: global index of the sample.
        clip_id: the clip that was passed over.
        kind: one of `manifests.ERROR_KINDS`, or "no_landmarks", "too_short", "too_close".
        message: one line.
    """

    sample_index: int
    clip_id: str
    kind: str
    message: str


class AugmentParameters(NamedTuple):
    """How each sample's driving patches are changed; applied by `training.data.patches.augment_driven`.

    Attributes:
        scale: (B, 2) float32, size of the patches' content along x and y; 1 = unchanged.
        shrink: (B,) int64, the content's resolution is divided by this; 1 = unchanged.
        gain: (B,) float32, brightness factor; 1 = unchanged.
        contrast: (B,) float32 about the patches' own mean; 1 = unchanged.
        saturation: (B,) float32; 1 = unchanged, 0 = greyscale.
        hue: (B,) float32 in turns; 0 = unchanged.
        whole: (B,) bool; True scales the whole picture about its middle, and the patches with it, False each patch within its rectangle.
    """

    scale: torch.Tensor
    shrink: torch.Tensor
    gain: torch.Tensor
    contrast: torch.Tensor
    saturation: torch.Tensor
    hue: torch.Tensor
    whole: torch.Tensor

    @classmethod
    def identity(cls, batch_size: int) -> AugmentParameters:
        """No change."""
        ones = torch.ones(batch_size)
        shrink, whole = torch.ones(batch_size, dtype=torch.int64), torch.zeros(batch_size, dtype=torch.bool)
        return cls(torch.ones(batch_size, 2), shrink, ones, ones.clone(), ones.clone(), ones * 0, whole)


@dataclass(frozen=True)
class TrainingBatch:
    """B samples of F frames (1 in stages 1 and 2, 16 in stage 3).

    S = size_px, (h, w) = latent grid (S/8), (ht, wt) = token grid (S/16), T, Ca = audio tokens and width, C = latent channels.
    Condition dropout is already applied to `driven_frames`, `audio_present` and `reference_present`; `conditions_dropped` says where all
    three were dropped together.

    Attributes:
        sample_index: (B,) int64, global.
        clip_id: B names.
        modality: (B,) int8: `training.data.modality.VISUAL`, `AUDIO` or `MIXED`, as drawn (dropout does not change it).
        shows_eyes, shows_mouth: (B,) bool, the patches that the driven frames show.
        target_frames: (B, F, 3, S, S) uint8, or None where `target_latents` come from the cache.
        target_latents: (B, F, C, h, w) float16, or None.
        reference_frames: (B, 3, S, S) uint8, or None where `reference_latents` come from the cache.
        reference_latents: (B, C, h, w) float16, or None.
        moved_frames: (B, F, 3, S, S) uint8, the reference moved to each target's head; None where the model takes none.
        reference_present: (B,) bool; False where the reference is dropped.
        driven_frames: (B, F, 3, S, S) uint8, black outside the patches, before augmentation: the model gets
            `training.data.patches.augment_driven(batch)`.
        driven_boxes: (B, F, 3, 4) int64, half-open pixel rectangles x0, y0, x1, y1 of the patches in `driven_frames`: right eye, left eye
            (the person's), mouth; zeros where not shown.
        augmentation: per sample.
        eye_tokens, mouth_tokens: (B, F, ht, wt) bool, the target's regions whatever the driven frames show.
        region_mask: Eq. 2 for the frames that need it, or None.
        loss_keep: (B, F, h, w) bool; False where the sample's loss is masked: the target's mouth, down to the chin.
        audio: (B, F, T, Ca) float16, zeros where not present; None in stage 1.
        audio_present: (B, F) float32, 0 or 1.
        conditions_dropped: (B,) bool.
        timesteps: (B,) int64.
        noise: (B, F, C, h, w) float32; equals `training.data.draws.sample_noise(seed, stage, sample_index, (F, C, h, w))` of each sample.
        recolour: (B, 2, 3) float32, `turn` and `tint` of each sample's `Recolour`, for target and reference as latents
            (`LatentCodec.recoloured`); None where all keep their colours.
        skips: clips that were passed over while making this batch.
        shrinks: `augmentation.shrink` as numbers, noted when the batch leaves for its device: they decide what is computed there, and
            asking the device for them would wait for it.
    """

    sample_index: torch.Tensor
    clip_id: tuple[str, ...]
    modality: torch.Tensor
    shows_eyes: torch.Tensor
    shows_mouth: torch.Tensor
    target_frames: torch.Tensor | None
    target_latents: torch.Tensor | None
    reference_frames: torch.Tensor | None
    reference_latents: torch.Tensor | None
    reference_present: torch.Tensor
    driven_frames: torch.Tensor
    driven_boxes: torch.Tensor
    augmentation: AugmentParameters
    eye_tokens: torch.Tensor
    mouth_tokens: torch.Tensor
    region_mask: RegionMask | None
    loss_keep: torch.Tensor
    audio: torch.Tensor | None
    audio_present: torch.Tensor
    conditions_dropped: torch.Tensor
    timesteps: torch.Tensor
    noise: torch.Tensor
    moved_frames: torch.Tensor | None = None
    recolour: torch.Tensor | None = None
    skips: tuple[Skip, ...] = ()
    shrinks: tuple[int, ...] | None = None

    @property
    def batch_size(self) -> int:
        return len(self.clip_id)

    @property
    def num_frames(self) -> int:
        return self.driven_frames.shape[1]

    def to(self, device: torch.device | str) -> Self:
        """All tensors on `device`; asynchronous from pinned memory."""
        noted = self if self.shrinks is not None else dataclasses.replace(self, shrinks=tuple(self.augmentation.shrink.tolist()))
        return noted._with_each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """In page-locked memory; the data loader calls it."""
        return self._with_each(lambda tensor: tensor.pin_memory())

    def _with_each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        def changed(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                return change(value)
            if isinstance(value, RegionMask | AugmentParameters):
                return type(value)(*(change(tensor) for tensor in value))
            return value

        return dataclasses.replace(self, **{f.name: changed(getattr(self, f.name)) for f in dataclasses.fields(self)})
