"""Compiled blocks forward and backward, with as many masked frames as a batch happens to have."""

import copy

import pytest
import torch

from inference.models import MegActorModel
from inference.models.masks import eye_mouth_mask
from tests.training.fakes import tiny_inference


def batch(device: str, masked: int) -> dict:
    generator = torch.Generator().manual_seed(masked)
    eyes, mouth = torch.zeros(4, 1, 2, 2, dtype=torch.bool), torch.zeros(4, 1, 2, 2, dtype=torch.bool)
    eyes[:masked, :, 0, 0], mouth[:, :, 1, 1] = True, True
    mask = eye_mouth_mask(eyes, mouth, eye_dilation=0)
    channels = tiny_inference().model.latent_channels
    return {
        "latents": torch.randn(4, 1, channels, 4, 4, generator=generator).to(device),
        "timesteps": torch.tensor([10, 300, 600, 990], device=device),
        "driven_frames": torch.rand(4, 1, 3, 32, 32, generator=generator).to(device),
        "reference_latents": torch.randn(4, channels, 4, 4, generator=generator).to(device),
        "moved_latents": torch.randn(4, 1, channels, 4, 4, generator=generator).to(device),
        "reference_present": torch.tensor([True, False, True, True], device=device),
        "region_mask": None if mask is None else mask.to(device),
    }


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_of_compiled_blocks_are_the_eager_ones(device, precision) -> None:
    """On the CPU through dynamo and its partitioner alone (no code generator), on CUDA through Inductor and Triton."""
    torch.manual_seed(0)
    eager = MegActorModel.from_sizes(tiny_inference().model.at_stage(1)).to(device).train()
    with torch.no_grad():
        for parameter in eager.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    compiled = copy.deepcopy(eager)
    compiled.compile_repeated_blocks(fullgraph=True, backend="inductor" if device == "cuda" else "aot_eager")
    for masked in (0, 1, 3, 2, 4) if device == "cuda" else (0, 2):
        found = []
        for model in (eager, compiled):
            model.zero_grad()
            with torch.autocast(device, torch.bfloat16, precision == torch.bfloat16):
                answer = model(**batch(device, masked))
            answer.float().square().mean().backward()
            found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        gap = (found[0] - found[1]).norm() / found[0].norm()
        assert gap <= (0.05 if precision == torch.bfloat16 else 1e-4), f"{masked} masked frames: {gap:.2e}"
