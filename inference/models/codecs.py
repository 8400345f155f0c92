"""Images ↔ latents by trained autoencoders, behind the same small interface as the block-DCT codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

from inference.models.config import PX_PER_CELL
from inference.models.shapes import ShapeError, require_multiple
from inference.models.weight_files import WeightsFileError

T = TypeVar("T", AutoencoderKL, AutoencoderTiny)
TILE_PX = 512  # images up to this side are never tiled, so training latents are whole


class LatentCodec(Protocol):
    """Stride 8. `encode` maps (…, 3, H, W) in 0…1 to (…, C, H/8, W/8) of about unit variance; `decode` back, not clamped to 0…1.

    Leading dimensions are free: (B, F, …) for clips. With a `generator` an encoder that has a posterior draws from it; without, its mean.
    """

    @property
    def latent_channels(self) -> int: ...

    @property
    def channel_weights(self) -> tuple[float, ...] | None:
        """How much an error of each channel is worth in the picture, mean 1; None where that is not known."""
        ...

    def encode(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor: ...

    def decode(self, latents: torch.Tensor) -> torch.Tensor: ...


@runtime_checkable
class RecolouringCodec(LatentCodec, Protocol):
    """One whose latents say which part of them is colour."""

    def recoloured(self, latents: torch.Tensor, turn: torch.Tensor, tint: torch.Tensor) -> torch.Tensor:
        """Latents (…, C, h, w) of the same pictures in other colours: (Cb, Cr), from −0.5 to 0.5, becomes turn (…, 2, 2) · (Cb, Cr) +
        tint (…, 2)."""
        ...


class VaeCodec:
    """Stable Diffusion's VAE (`sd-vae-ft-ema` or `-mse`: their encoders are the same, so latents are shared), latents times 0.18215.

    Works a few images at a time, and on images above 512 px by overlapping tiles of 512 px, so memory depends neither on the length of a
    clip nor, beyond the pixels themselves, on the size of its frames.

    Args:
        at_once: images that go through together; more than one (training) also lays the weights out channels last, as tensor cores take
            convolutions.
    """

    def __init__(self, vae: AutoencoderKL, at_once: int = 1):
        self._vae = vae.eval().requires_grad_(False)
        self._at_once = at_once
        if at_once > 1:
            torch.nn.Module.to(self._vae, memory_format=torch.channels_last)  # diffusers' wrapper has no type for it
        self._vae.tile_sample_min_size = TILE_PX
        self._vae.tile_latent_min_size = TILE_PX // PX_PER_CELL
        self._vae.enable_tiling()
        config: Any = vae.config  # diffusers types it as a dictionary; it has attributes too
        self.latent_channels: int = config.latent_channels
        self.channel_weights = None
        self.scale: float = config.scaling_factor

    @property
    def module(self) -> AutoencoderKL:
        """The network, for placing it on devices."""
        return self._vae

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", at_once: int = 1
    ) -> VaeCodec:
        return cls(_load_autoencoder(AutoencoderKL, folder, dtype).to(device), at_once)

    @torch.no_grad()
    def encode(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        latents = []
        for image in _checked_images(images).split(self._at_once):
            posterior = self._vae.encode(image.to(self._vae.device, self._vae.dtype) * 2 - 1).latent_dist
            latents.append((posterior.mean if generator is None else posterior.sample(generator)) * self.scale)
        return torch.cat(latents).to(images).unflatten(0, images.shape[:-3])

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        images = []
        for latent in _checked_latents(latents, self.latent_channels).split(self._at_once):
            image = self._vae.decode(latent.to(self._vae.device, self._vae.dtype) / self.scale).sample
            images.append((image / 2 + 0.5).to(latents))
        return torch.cat(images).unflatten(0, latents.shape[:-3])


class TinyPreviewCodec:
    """A tiny distilled autoencoder of the SD VAE's latents (TAESD), for previews while sampling: fast, a little soft."""

    def __init__(self, vae: AutoencoderTiny):
        self._vae = vae.eval().requires_grad_(False)
        config: Any = vae.config
        self.latent_channels: int = config.latent_channels
        self.channel_weights = None

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> TinyPreviewCodec:
        return cls(_load_autoencoder(AutoencoderTiny, folder, dtype).to(device))

    @torch.no_grad()
    def encode(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Deterministic; `generator` is there for the interface alone."""
        latents = [self._vae.encode(x.to(self._vae.device, self._vae.dtype) * 2 - 1).latents for x in _checked_images(images).split(1)]
        return torch.cat(latents).to(images).unflatten(0, images.shape[:-3])

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        checked = _checked_latents(latents, self.latent_channels)
        images = [self._vae.decode(x.to(self._vae.device, self._vae.dtype)).sample / 2 + 0.5 for x in checked.split(1)]
        return torch.cat(images).to(latents).unflatten(0, latents.shape[:-3])


def _checked_images(images: torch.Tensor) -> torch.Tensor:
    if images.ndim < 4 or images.shape[-3] != 3:
        raise ShapeError(f"images has shape {tuple(images.shape)}; it needs (…, 3, H, W)")
    require_multiple("the height of images", images.shape[-2], PX_PER_CELL, "pixels a latent cell")
    require_multiple("the width of images", images.shape[-1], PX_PER_CELL, "pixels a latent cell")
    return images.flatten(0, -4)


def _checked_latents(latents: torch.Tensor, channels: int) -> torch.Tensor:
    if latents.ndim < 4 or latents.shape[-3] != channels:
        raise ShapeError(f"latents has shape {tuple(latents.shape)}; it needs (…, {channels}, h, w)")
    return latents.flatten(0, -4)


def _load_autoencoder(kind: type[T], folder: str | Path, dtype: torch.dtype) -> T:
    """From a local folder in safetensors; every tensor of the network must be there and no other."""
    if not Path(folder).is_dir():
        raise WeightsFileError(f"no folder with an autoencoder at {folder}")
    try:
        loaded: Any = kind.from_pretrained(
            str(folder), torch_dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise WeightsFileError(f"{folder} holds no {kind.__name__} in safetensors: {' '.join(str(error).split())[:300]}") from error
    info: dict[str, Any] = loaded[1]  # with `output_loading_info` it is a pair
    wrong = sorted({*info["missing_keys"], *info["unexpected_keys"]})
    if wrong:
        raise WeightsFileError(f"{folder}: {len(wrong)} tensors are missing or unknown, such as {wrong[0]!r}")
    return loaded[0]
