"""The whole model: driven encoder, reference transformer and denoising transformer under one configuration and one checkpoint."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from safetensors import SafetensorError
from torch import nn

from inference.models.attention import Attention, KeysValues
from inference.models.checkpoint import write_model_card
from inference.models.config import ModelConfig
from inference.models.denoiser import DenoisingTransformer
from inference.models.driven_encoder import DrivenEncoder
from inference.models.initialise import initialise_randomly
from inference.models.masks import RegionMask
from inference.models.reference import ReferenceTransformer
from inference.models.shapes import ShapeError, Shapes
from inference.models.weight_files import require_weights_of
from manifests import UserError
from manifests.atomic import replace_folder
from manifests.json_text import parse_json


class CheckpointError(UserError):
    """A checkpoint that does not hold exactly this model's tensors."""


class MegActorModel(ModelMixin, ConfigMixin):  # type: ignore[misc]  # both name `config_name`, as in every model of diffusers
    """MegActor-Σ's mixed-modal diffusion transformer (arXiv 2408.14975), initialised at random; see `initialise_from_pixart`.

    The arguments are the fields of `ModelConfig`. `compile_repeated_blocks(fullgraph=True)`, `enable_gradient_checkpointing()` and
    `torch.nn.attention.sdpa_kernel` act from outside.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("DenoisingBlock", "ReferenceBlock")  # type: ignore[assignment]  # diffusers types its default, None
    _repeated_blocks = ["DenoisingBlock", "ReferenceBlock"]  # noqa: RUF012  as diffusers has it

    @register_to_config
    def __init__(
        self,
        num_layers: int = 28,
        num_attention_heads: int = 16,
        attention_head_dim: int = 72,
        latent_channels: int = 4,
        driven_channels: int = 4,
        patch_size: int = 2,
        sample_size: int = 64,
        first_reference_block: int = 12,
        prediction: str = "epsilon",
        copied_reference: str = "none",
        reference_timestep: str = "same",
        audio_width: int = 384,
        audio_tokens: int = 50,
        audio_norm: bool = False,
        temporal_heads: int = 8,
        temporal_window: int = 2,
        with_audio: bool = True,
        with_temporal: bool = True,
    ):
        super().__init__()
        self.sizes = ModelConfig.from_mapping({name: value for name, value in self.config.items() if not name.startswith("_")})
        self.driven_encoder = DrivenEncoder(self.sizes.driven_channels)
        self.reference = ReferenceTransformer(self.sizes)
        self.denoiser = DenoisingTransformer(self.sizes)
        initialise_randomly(self.driven_encoder, self.reference, self.denoiser)

    @classmethod
    def from_sizes(cls, sizes: ModelConfig) -> Self:
        return cls(**asdict(sizes))

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        driven_frames: torch.Tensor,
        reference_latents: torch.Tensor | None = None,
        reference_present: torch.Tensor | None = None,
        audio: torch.Tensor | None = None,
        audio_present: torch.Tensor | None = None,
        audio_scale: float | torch.Tensor = 1.0,
        region_mask: RegionMask | None = None,
        moved_latents: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One prediction, as training makes it. A sampler calls `reference_keys` and `denoiser` by themselves and keeps what it can.

        Args:
            latents: (B, F, C, h, w) noisy; C = `latent_channels`.
            timesteps: (B,) int64, one a clip.
            driven_frames: (B, F, 3, 8h, 8w) in 0…1, black outside the driving patches; all black is "no driving".
            reference_latents: (B, C, h, w) clean; None drops the reference.
            reference_present: (B,) bool for batches in which some clips have none.
            audio: (B, F, T, Ca) windows from `audio_windows`; None skips the audio layers.
            audio_present: (B,) or (B, F), 0 or 1; 0 is "no audio".
            audio_scale: Eq. 3's amplitude of the audio attention: a number, or (B,) or (B, F).
            region_mask: Eq. 2, from `eye_mouth_mask`.
            moved_latents: (B, F, C, h, w), of the reference moved to each frame's head: for a model whose `copied_reference` is "moved".

        Returns:
            (B, F, 2C, h, w): noise prediction, then variance interpolation.
        """
        shapes = Shapes()
        shapes.check("latents", latents, "B", "F", self.sizes.latent_channels, "h", "w")
        num_clips, num_frames = latents.shape[:2]
        shapes.sizes.update(H=latents.shape[3] * 8, W=latents.shape[4] * 8)
        shapes.check("driven_frames", driven_frames, "B", "F", 3, "H", "W")
        reference = None
        if reference_latents is not None:
            shapes.check("reference_latents", reference_latents, "B", self.sizes.latent_channels, "h", "w")
            reference = self.reference_keys(reference_latents, timesteps)
        copied = self.copied(reference_latents, moved_latents, latents.shape[1])
        if copied is not None and reference_present is not None:
            copied = copied * reference_present.reshape(-1, 1, 1, 1, 1)
        gain = _per_frame("audio_scale", audio_scale, num_clips, num_frames, latents)
        if audio_present is not None:
            gain = gain * _per_frame("audio_present", audio_present, num_clips, num_frames, latents)
        return self.denoiser(
            latents,
            timesteps,
            self.driven_encoder(driven_frames),
            reference=reference,
            reference_present=reference_present if reference is not None else None,
            audio=audio,
            audio_gain=gain if audio is not None else None,
            region_mask=region_mask,
            copied=copied,
        )

    def copied(self, reference_latents: torch.Tensor | None, moved_latents: torch.Tensor | None, num_frames: int) -> torch.Tensor | None:
        """(B, F, copied_channels, h, w), what `copied_reference` shows the denoiser; None where it shows nothing.

        Raises:
            ShapeError: a model of "moved" that is given a reference and not where it was moved to.
        """
        kind = self.sizes.copied_reference
        if kind == "none" or reference_latents is None:
            return None
        still = reference_latents[:, None].expand(-1, num_frames, -1, -1, -1)
        if kind == "still":
            return still
        if moved_latents is None:
            raise ShapeError("this model's copied_reference is 'moved': give moved_latents, (B, F, C, h, w)")
        if moved_latents.shape != still.shape:
            raise ShapeError(f"moved_latents has shape {tuple(moved_latents.shape)}; it needs {tuple(still.shape)}")
        return torch.cat([moved_latents, still], dim=2)

    def reference_keys(self, reference_latents: torch.Tensor, timesteps: torch.Tensor) -> tuple[KeysValues, ...]:
        """The reference's keys and values for every reading block, to be computed once a clip and timestep."""
        return self.denoiser.reference_keys(self.reference(reference_latents, timesteps))

    def fuse_qkv_projections(self, fused: bool = True) -> None:
        """Projects queries, keys and values in one matrix product. Weights and checkpoints stay as they are."""
        for module in self.modules():
            if isinstance(module, Attention):
                module.fused = fused

    def compile_repeated_blocks(self, *args: Any, **kwargs: Any) -> None:
        """`torch.compile` on every block (pass `fullgraph=True`). Blocks of a kind share their graphs; each combination of what a block has
        and is given (temporal module, reference, mask, audio, gradients) is a graph of its own, more than torch's limit of 8 allows."""
        if "recompile_limit" in inspect.signature(torch.compile).parameters:  # older torch: raise torch._dynamo.config.cache_size_limit
            kwargs.setdefault("recompile_limit", 200)
        super().compile_repeated_blocks(*args, **kwargs)

    def save_pretrained(  # type: ignore[override]  # fewer ways to write than diffusers has
        self, save_directory: str | Path, max_shard_size: int | str = "5GB", **kwargs: Any
    ) -> None:
        """Writes `config.json`, safetensors shards and a model card; the folder appears whole or not at all."""
        with replace_folder(Path(save_directory), "config.json") as folder:
            super().save_pretrained(folder, max_shard_size=max_shard_size, **kwargs)
            _forget_origin(folder / "config.json")
            counts = {part: sum(p.numel() for p in parameters) for part, parameters in parts(self).items()}
            write_model_card(folder, self.sizes, counts, str(self.dtype).removeprefix("torch."))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:  # type: ignore[override]  # never None
        """As diffusers' `from_pretrained` (`torch_dtype`, `device_map`, `subfolder`, …), but strict: safetensors only, and a tensor that is
        missing, unknown or of another shape is a `CheckpointError`."""
        folder = Path(pretrained_model_name_or_path)
        kwargs.setdefault("local_files_only", folder.is_dir())
        folder = folder / (kwargs.get("subfolder") or "")
        require_weights_of(folder, _least_weights(folder / "config.json"))
        try:
            loaded: Any = super().from_pretrained(
                str(pretrained_model_name_or_path), **{**kwargs, "use_safetensors": True, "output_loading_info": True}
            )
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:  # cut off, absent, of other shapes
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{pretrained_model_name_or_path}: the weights cannot be loaded: {reason}") from error
        model, info = loaded  # with `output_loading_info` it is a pair
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
            if info.get(problem):
                named = ", ".join(str(key) for key in sorted(info[problem])[:5])
                raise CheckpointError(f"{pretrained_model_name_or_path}: {len(info[problem])} {problem.replace('_', ' ')}: {named}")
        found: Any = (model, info) if kwargs.get("output_loading_info") else model
        return found


def _least_weights(config: Path) -> int:
    """How many numbers a model of this `config.json` has at least: those of its self-attention. 0 where nothing can be said."""
    try:
        sizes = ModelConfig.from_mapping(
            {name: value for name, value in parse_json(config.read_text()).items() if not name.startswith("_")}
        )
    except (OSError, ValueError, AttributeError, TypeError, UserError):
        return 0  # the loader says why
    return 4 * sizes.num_layers * sizes.width**2


def _forget_origin(config: Path) -> None:
    """diffusers notes the folder that a model was loaded from: a path of this machine, in files that are given away."""
    tree = json.loads(config.read_text(encoding="utf-8"))
    tree.pop("_name_or_path", None)
    config.write_text(json.dumps(tree, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _per_frame(name: str, value: float | torch.Tensor, num_clips: int, num_frames: int, like: torch.Tensor) -> torch.Tensor:
    """(B, F) in the dtype of `like` from a number, (B,) or (B, F)."""
    if not isinstance(value, torch.Tensor):
        return like.new_full((num_clips, num_frames), float(value))
    if value.shape == (num_clips,):
        value = value[:, None].expand(num_clips, num_frames)
    if value.shape != (num_clips, num_frames):
        raise ShapeError(f"{name} has shape {tuple(value.shape)}; it needs ({num_clips},) or ({num_clips}, {num_frames})")
    return value.to(device=like.device, dtype=like.dtype)


def parts(model: MegActorModel) -> dict[str, list[nn.Parameter]]:
    """Every parameter once, under the part of the paper that it belongs to."""
    found: dict[str, list[nn.Parameter]] = {
        name: [] for name in ("denoising transformer", "reference transformer", "audio attention", "temporal modules", "driven encoder")
    }
    for name, parameter in model.named_parameters():
        root, *path = name.split(".")
        if root == "denoiser":
            part = "temporal modules" if "temporal" in path else "audio attention" if "audio" in path else "denoising transformer"
        else:
            part = {"reference": "reference transformer", "driven_encoder": "driven encoder"}[root]
        found[part].append(parameter)
    return found
