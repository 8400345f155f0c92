"""`copied_reference`: an untrained model gives the reference itself, and a dropped reference is not copied."""

from dataclasses import replace

import pytest
import torch

from inference.models import MegActorModel
from inference.models.config import ModelConfig, ModelConfigError
from inference.models.schedule import SCHEDULE
from inference.models.shapes import ShapeError

SMALL = ModelConfig(
    num_layers=2, num_attention_heads=2, attention_head_dim=16, latent_channels=3, driven_channels=2, sample_size=4,
    first_reference_block=1, prediction="sample", copied_reference="moved", with_audio=False, with_temporal=False,
)  # fmt: skip


def inputs(frames: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (2, frames, 3, 4, 4)
    return {
        "latents": torch.randn(shape, generator=generator),
        "timesteps": torch.tensor([500, 20]),
        "driven_frames": torch.rand(2, frames, 3, 32, 32, generator=generator),
        "reference_latents": torch.randn(2, 3, 4, 4, generator=generator),
        "moved_latents": torch.randn(shape, generator=generator),
    }


def said_sample(model: MegActorModel, given: dict[str, torch.Tensor]) -> torch.Tensor:
    noise = model(**given)[:, :, :3].double()
    return SCHEDULE.predict_x0(given["latents"].double(), noise, given["timesteps"])


@pytest.mark.parametrize("kind", ["still", "moved"])
def test_zero_output_is_the_reference(kind: str) -> None:
    model, given = MegActorModel.from_sizes(replace(SMALL, copied_reference=kind)), inputs()
    expected = given["moved_latents"] if kind == "moved" else given["reference_latents"][:, None].expand_as(given["latents"])
    assert torch.allclose(said_sample(model, given), expected.double(), atol=1e-4)


def test_a_dropped_reference_is_not_copied() -> None:
    model, given = MegActorModel.from_sizes(SMALL), inputs()
    with torch.no_grad():
        model.denoiser.proj_out.weight.normal_(std=0.1)
    given["reference_present"] = torch.tensor([True, False])
    before = said_sample(model, given)
    given["moved_latents"] = given["moved_latents"] + torch.randn_like(given["moved_latents"])
    after = said_sample(model, given)
    assert not torch.allclose(before[0], after[0], atol=1e-2)
    assert torch.equal(before[1], after[1])


def test_no_reference_at_all_is_as_all_dropped() -> None:
    model, given = MegActorModel.from_sizes(SMALL), inputs()
    dropped = said_sample(model, {**given, "reference_present": torch.zeros(2, dtype=torch.bool)})
    without = said_sample(model, {**given, "reference_latents": None, "moved_latents": None})
    assert torch.allclose(dropped, without, atol=1e-5)


def test_it_is_said_what_is_missing_or_does_not_fit() -> None:
    given = inputs()
    with pytest.raises(ShapeError, match="moved_latents"):
        MegActorModel.from_sizes(SMALL)(**{**given, "moved_latents": None})
    with pytest.raises(ShapeError, match="moved_latents"):
        MegActorModel.from_sizes(SMALL)(**{**given, "moved_latents": given["moved_latents"][:, :1]})
    with pytest.raises(ModelConfigError, match="prediction"):
        replace(SMALL, prediction="epsilon")
    with pytest.raises(ModelConfigError, match="still, moved"):
        replace(SMALL, copied_reference="warped")


def test_the_paper_copies_nothing() -> None:
    assert ModelConfig().copied_reference == "none"
    model = MegActorModel.from_sizes(replace(SMALL, copied_reference="none"))
    assert model.denoiser.pos_embed.proj.weight.shape[1] == 3 + 2
