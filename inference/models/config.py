"""The sizes of a model. `MegActorModel`'s keyword arguments are these fields, so a YAML file, `config.json` and the FLOP formula agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from manifests.errors import UserError, did_you_mean

PX_PER_CELL = 8  # the stride of the SD VAE, of the driven encoder and of the block-DCT codec
PREDICTIONS = ("epsilon", "velocity", "sample")
COPIED_REFERENCES = ("none", "still", "moved")
MASK_PATHS = ("one_hop", "all")  # that Eq. 2 bars between eyes and mouth, see `inference.models.masks.eye_mouth_mask`
MOST = {"num_layers": 1024, "sample_size": 1024}  # what a damaged or hostile file may ask for at most: it is built before its weights
MOST_OF_OTHERS = 65_536
NORM_GROUPS = 32  # of the temporal module's group norm (EasyAnimate-V1)


class ModelConfigError(UserError):
    """A model configuration that cannot be built; the message names the field and what it needs."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Every size of the model. The defaults are the paper's: 1,404,601,432 parameters. A setting that came later is off by default,
    which is what a saved configuration without it was trained with; the shipped profiles turn it on.

    Attributes:
        num_layers: transformer blocks of the denoiser; the reference transformer has as many.
        num_attention_heads, attention_head_dim: their product is the width (16 × 72 = 1152).
        latent_channels: of the codec. The output has twice as many: noise prediction, then variance interpolation.
        driven_channels: of the driven encoder at the latent grid.
        patch_size: latent cells along a token's side.
        sample_size: latent cells along the side that the position table is made for (64 = 512 px); other grids interpolate it.
        first_reference_block: this block and all later ones attend to the reference too.
        prediction: what the last layer gives: "epsilon", the noise, as in PixArt-α; "velocity", √ᾱ·ε − √(1 − ᾱ)·x₀; or "sample", the
            clean x₀. From the last two the model then makes the noise that it returns. At high t the picture is a few per mille of the
            input; a small network that starts at random cannot copy the rest of it so exactly. As velocity it need not at high t, as
            sample at no t (Li and He, arXiv 2511.13720).
        copied_reference: "none" (the paper), or what else the denoiser is shown beside the noisy latents, and its last layer's picture is
            added to: the reference's latents as they are ("still"), or those of the reference moved to where the frame's head lies
            ("moved", `inference.driving.moved_reference`; then the denoiser is shown those as they are too, which have the background where
            it stays). Needs `prediction: sample`. Faces need not be learnt then, only what moves.
        reference_timestep: "same" gives the reference transformer the clip's timestep, "zero" always 0.
        audio_width, audio_tokens: channels and tokens of a frame's audio window.
        audio_norm: layer norm (without parameters) of the audio tokens and of what the audio attention's queries are made of. Whisper's
            states hold a few values in the hundreds, which would decide every score and leave the mouth to chance on those frames.
        temporal_heads: heads of the temporal modules, which stand in the blocks of odd index.
        temporal_window: tokens along the side of the square that one temporal sequence covers in every frame.
        with_audio, with_temporal: False, False in stage 1; True, False in stage 2; True, True in stage 3.
    """

    num_layers: int = 28
    num_attention_heads: int = 16
    attention_head_dim: int = 72
    latent_channels: int = 4
    driven_channels: int = 4
    patch_size: int = 2
    sample_size: int = 64
    first_reference_block: int = 12
    prediction: str = "epsilon"
    copied_reference: str = "none"
    reference_timestep: str = "same"
    audio_width: int = 384
    audio_tokens: int = 50
    audio_norm: bool = False
    temporal_heads: int = 8
    temporal_window: int = 2
    with_audio: bool = True
    with_temporal: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kind: type = {"int": int, "bool": bool, "str": str}[str(field.type)]
            if type(value) is not kind:
                raise ModelConfigError(f"{field.name} is {value!r}; it needs {'an integer' if kind is int else f'a {kind.__name__}'}")
            if isinstance(value, int) and not isinstance(value, bool):
                if value < (0 if field.name == "first_reference_block" else 1):
                    raise ModelConfigError(f"{field.name} is {value}; it must be positive")
                most = MOST.get(field.name, MOST_OF_OTHERS)
                if value > most:
                    raise ModelConfigError(f"{field.name} is {value}; it must be at most {most}")
        if self.reference_timestep not in ("same", "zero"):
            raise ModelConfigError(f"reference_timestep is {self.reference_timestep!r}; it must be 'same' or 'zero'")
        if self.prediction not in PREDICTIONS:
            raise ModelConfigError(f"prediction is {self.prediction!r}; it must be one of {', '.join(PREDICTIONS)}")
        if self.copied_reference not in COPIED_REFERENCES:
            raise ModelConfigError(f"copied_reference is {self.copied_reference!r}; it must be one of {', '.join(COPIED_REFERENCES)}")
        if self.copied_reference != "none" and self.prediction != "sample":
            raise ModelConfigError(f"copied_reference {self.copied_reference!r} needs prediction 'sample', not {self.prediction!r}")
        if not self.first_reference_block < self.num_layers:
            raise ModelConfigError(
                f"first_reference_block is {self.first_reference_block}; it must be below num_layers ({self.num_layers})"
            )
        if self.width % 4:
            raise ModelConfigError(f"the width is {self.width}; the sine-cosine position table needs a multiple of 4")
        if self.sample_size % self.patch_size:
            raise ModelConfigError(f"sample_size is {self.sample_size}; it must be a multiple of patch_size ({self.patch_size})")
        if self.with_audio and self.audio_width % 2:
            raise ModelConfigError(f"audio_width is {self.audio_width}; the sine-cosine token code needs an even number")
        if self.with_temporal and (self.width % NORM_GROUPS or self.width % self.temporal_heads):
            raise ModelConfigError(f"the width is {self.width}; temporal modules need a multiple of {NORM_GROUPS} and of temporal_heads")

    @property
    def width(self) -> int:
        return self.num_attention_heads * self.attention_head_dim

    @property
    def copied_channels(self) -> int:
        """Further input channels of the denoiser that show it the reference; the first `latent_channels` of them are what it adds to."""
        return {"none": 0, "still": 1, "moved": 2}[self.copied_reference] * self.latent_channels

    @property
    def reference_blocks(self) -> range:
        return range(self.first_reference_block, self.num_layers)

    @property
    def temporal_blocks(self) -> range:
        return range(1, self.num_layers, 2) if self.with_temporal else range(0)

    @property
    def stage(self) -> int:
        """The training stage whose layers this configuration builds."""
        return 3 if self.with_temporal else 2 if self.with_audio else 1

    def at_stage(self, stage: int) -> Self:
        """The same sizes with the layers of stage 1, 2 or 3."""
        if stage not in (1, 2, 3):
            raise ModelConfigError(f"stage is {stage!r}; it must be 1, 2 or 3")
        return replace(self, with_audio=stage >= 2, with_temporal=stage >= 3)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Raises `ModelConfigError` for a name that is not a field, and suggests the nearest."""
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise ModelConfigError(f"unknown model setting {name!r}{did_you_mean(str(name), names)}")
        return cls(**values)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Reads the `model:` section of a YAML file (see `configs/inference/`)."""
        import yaml

        path = Path(path)
        if not path.is_file():
            raise ModelConfigError(f"no configuration file at {path}")
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ModelConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        section = document.get("model") if isinstance(document, dict) else None
        if not isinstance(section, dict):
            raise ModelConfigError(f"{path} has no `model:` section of settings")
        return cls.from_mapping(section)
