"""The pipeline on a device against the CPU: every sampler, and every way to keep the VAE off the device."""

import copy

import pytest
import torch

from inference.sampling.samplers import SAMPLERS, make_scheduler
from inference.sampling.settings import SamplingSettings
from tests.inference.animation_parts import SIZE_PX, SIZES, tiny_pipeline


def frames_of(pipe, sampler: str = "dpmsolver++") -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return pipe.generate(
        torch.randint(0, 256, (1, 3, SIZE_PX, SIZE_PX), generator=generator, dtype=torch.uint8),
        torch.randint(0, 256, (1, 20, 3, SIZE_PX, SIZE_PX), generator=generator, dtype=torch.uint8),
        torch.randn(1, 20, 20, 80, generator=generator),
        SamplingSettings(num_inference_steps=4, sampler=sampler),
        seeds=[5],
    )


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_sampler_makes_the_cpus_frames(device, sampler) -> None:
    """A clip's noise depends on seed and frame alone, not on the device, so the frames differ by rounding."""
    pipe = tiny_pipeline()
    expected = frames_of(pipe, sampler)
    found = frames_of(copy.deepcopy(pipe).to(device), sampler)
    assert found.device.type == "cpu"
    gap = (found.int() - expected.int()).abs()
    assert gap.float().mean() <= 0.5
    assert (gap <= 2).float().mean() >= 0.99


def vae_pipeline():
    """With a small VAE in place of the block DCT."""
    from diffusers import AutoencoderKL

    from inference.models import MegActorModel, ModelConfig
    from inference.models.components import CodecConfig, InferenceConfig, TrainingRecord
    from inference.pipeline import MegActorSigmaPipeline

    torch.manual_seed(0)
    config = ModelConfig(**{**SIZES, "latent_channels": 4})
    model = MegActorModel.from_sizes(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    sizes = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 1}
    vae = AutoencoderKL(**sizes, block_out_channels=(32, 32, 32, 32), latent_channels=4).eval()
    settings = InferenceConfig(profile="tiny", model=config, codec=CodecConfig("vae"), size_px=SIZE_PX)
    return MegActorSigmaPipeline(model, make_scheduler(), vae, settings, TrainingRecord(3, 0, {"all": 0.05}))


@pytest.mark.parametrize("mode", ["vae", "model"])
def test_offloading_changes_no_frame_and_leaves_the_vae_on_the_cpu(device, mode) -> None:
    expected = frames_of(vae_pipeline().to(device))
    pipe = vae_pipeline()
    pipe.enable_offload(mode, device)
    found = frames_of(pipe)
    assert (found.int() - expected.int()).abs().max() <= 1
    assert next(pipe.vae.parameters()).device.type == "cpu"
