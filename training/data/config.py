"""The configuration of training data: which clips, which frames, how they are cut and changed (`data:` in configs/training/*.yaml)."""

from __future__ import annotations

from dataclasses import dataclass, field

from curation.media.limits import MediaLimits
from training.data.modality import ModalityConfig
from training.data.patch_change import AugmentConfig
from training.data.recolour import RecolourConfig

SPLITS = ("train", "test", "all")


@dataclass(frozen=True)
class DataConfig:
    """Everything that the stream of samples depends on, besides the manifest, the seed, the stage and the inference configuration.

    Attributes:
        where: pandas query over the manifest's columns; clips that it selects are trained on.
        split: "train" or "test" by the manifest's column, or "all".
        num_frames: frames of a stage-3 sample; stages 1 and 2 have one.
        frame_stride: frames of a stage-3 sample are so many frames of the clip apart.
        min_gap_frames: the reference is at least so many frames (of the clip) away from every target frame.
        crops_per_clip: a clip has so many squares to be cut by; a sample draws one of them. The first is `face_crop.clip_square`.
        crop_jitter: the others are moved and scaled by up to this part of the square's side.
        timestep_shift: s draws timestep T·s·u/(1 + (s − 1)·u) for u uniform in 0…1 (Esser et al., arXiv 2403.03206, equation 23); 1 is
            uniform, the paper's; above 1 more of the noisy timesteps, which alone decide where a model samples in one to four steps.
        audio_cache: folder of sound features, filled on first use.
        latent_cache: folder that `python -m training cache-latents` filled; None reads the videos.
        cached_frames: that command keeps about so many frames of each clip and square, in runs as long as a sample of its stage.
        variant_share: share of the samples whose driven frames come from an offline variant (face swap, stylisation), where the clip has
            one of the sample's frames.
        require_variants: a manifest without any variant ends the run (where `variant_share` is not 0), instead of a warning.
        max_skips: so many broken clips in a row for one sample end the training.
        media: bounds of the decoder.
    """

    where: str = "accepted"
    split: str = "train"
    num_frames: int = 16
    frame_stride: int = 1
    min_gap_frames: int = 10
    crops_per_clip: int = 1
    crop_jitter: float = 0.05
    timestep_shift: float = 1.0
    audio_cache: str = "outputs/cache/audio"
    latent_cache: str | None = None
    cached_frames: int = 64
    variant_share: float = 0.5
    require_variants: bool = False
    max_skips: int = 32
    modality: ModalityConfig = field(default_factory=ModalityConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    recolour: RecolourConfig = field(default_factory=RecolourConfig)
    media: MediaLimits = field(default_factory=MediaLimits)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split is {self.split!r}; it must be one of {', '.join(SPLITS)}")
        for name in ("num_frames", "frame_stride", "min_gap_frames", "crops_per_clip", "cached_frames", "max_skips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.timestep_shift <= 0:
            raise ValueError(f"timestep_shift is {self.timestep_shift}; it must be positive")
        if not 0 <= self.crop_jitter <= 0.5 or not 0 <= self.variant_share <= 1:
            raise ValueError("crop_jitter must lie in 0..0.5 and variant_share in 0..1")

    def frames_of_stage(self, stage: int) -> int:
        """Frames of a sample."""
        return self.num_frames if stage == 3 else 1
