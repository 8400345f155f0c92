"""Networks of the published sizes without weights."""

from __future__ import annotations

from diffusers import AutoencoderKL

from inference.models.codecs import VaeCodec


def sd_vae() -> VaeCodec:
    """Stable Diffusion's autoencoder (stabilityai/sd-vae-ft-ema's config.json), on the default device, random."""
    return VaeCodec(
        AutoencoderKL(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
            sample_size=256,
        )
    )
