"""The plan: figures against the paper's table, memory against what a real forward keeps."""

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from inference.models import MegActorModel  # noqa: E402
from inference.models.components import load_inference_config  # noqa: E402
from manifests import UserError  # noqa: E402
from training.config import load_training_config  # noqa: E402
from training.cost.memory import MemoryEstimate, estimate_memory, saved_bytes  # noqa: E402
from training.cost.plan import make_plan  # noqa: E402
from training.loop.hardware import matrix_product_tflops, peak_tflops  # noqa: E402
from training.loop.stages import choose_trainable  # noqa: E402


def test_the_papers_stages_on_an_h100() -> None:
    """Parameters and FLOPs are those of the model's own tests; hours are 8.0, 8.6 and 12.8 at 45 % of the peak."""
    plan = make_plan(load_training_config("paper", 1), "h100", 1, 0.45, 2.0)
    assert sum(plan.parameters.values()) == 896_295_256
    assert plan.step_tflop == pytest.approx(64 * 6.67, rel=0.01)
    assert 30_000 * plan.step_s / 3600 == pytest.approx(8.0, rel=0.01)
    assert plan.step_s == pytest.approx(plan.step_tflop / (989.4 * 0.45))
    assert plan.autoencoder_s == pytest.approx(64 * 2 * 1.1167 / (989.4 * 0.45))  # a target and a reference a sample
    assert plan.hours == pytest.approx(30_000 * (plan.step_s + plan.autoencoder_s) / 3600)
    assert plan.dollars == pytest.approx(plan.hours * 2)
    eight = make_plan(load_training_config("paper", 1), "h100", 8, 0.45, None)
    assert eight.hours == pytest.approx(plan.hours / 8)
    assert eight.dollars is None
    text = plan.text()
    assert "896,295,256" in text
    assert "10 h 40 min" in text
    assert "the autoencoder takes 25% of a step" in text
    assert "61% of 80 GB" in text
    cached = make_plan(load_training_config("paper", 1, ("data.latent_cache=latents",)), "h100", 1, 0.45, 2.0)
    assert cached.hours == pytest.approx(8.0, rel=0.01)
    assert cached.autoencoder_s == 0


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("devices", [1, 8])
def test_validation_videos_and_checkpoints_take_little_of_the_papers_run(stage, devices) -> None:
    plan = make_plan(load_training_config("paper", stage), "h100", devices, 0.45, None)
    assert 0 < plan.aside_share <= 0.03
    assert set(plan.aside_s) == {"validation", "videos", "checkpoints"}


@pytest.mark.parametrize(("profile", "gpu", "devices"), [("paper-32gb", "v100", 1), ("paper-24gb", "rtx 4090", 2)])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_recipes_for_small_cards_fit_them(profile, gpu, devices, stage) -> None:
    plan = make_plan(load_training_config(profile, stage), gpu, devices, 0.45, None)
    assert plan.memory.total / 1e9 <= 0.8 * plan.memory_gb


def test_the_peak_is_the_larger_of_two_moments() -> None:
    sizes = load_inference_config("embedded").model

    def at(**changes) -> MemoryEstimate:
        return estimate_memory(sizes, 1, 2, 1, 128, "no", False, **changes)

    alone, accumulated, ranks, shared = at(), at(accumulation=2), at(devices=2), at(devices=2, shard=True)
    assert accumulated.micro_batch - alone.micro_batch == ranks.micro_batch - alone.micro_batch == alone.gradients
    assert alone.update == alone.weights + alone.gradients + alone.optimiser + 2 * alone.average
    assert shared.weights == alone.weights // 2
    assert shared.average_step == 0
    assert at(average=False).update == alone.update - 2 * alone.average
    assert at(with_autoencoder=True).total > alone.total


def test_a_micro_batch_that_does_not_fit_is_said() -> None:
    plan = make_plan(load_training_config("paper", 1, ("hardware.micro_batch=32",)), "h100", 1, 0.45, None)
    assert "too much with the allocator's waste; lower hardware.micro_batch, or hardware.gradient_checkpointing=true" in plan.text()


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_activations_are_what_a_real_forward_keeps(stage) -> None:
    config = load_inference_config("embedded", ("model.num_layers=3", "size_px=64"))
    sizes, frames = config.model.at_stage(stage), 4 if stage == 3 else 1
    model = MegActorModel.from_sizes(sizes).train()
    choose_trainable(model, stage)
    own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.Tensor] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    inputs = {
        "latents": torch.randn(2, frames, 21, 8, 8),
        "timesteps": torch.zeros(2, dtype=torch.int64),
        "driven_frames": torch.rand(2, frames, 3, 64, 64),
        "reference_latents": torch.randn(2, 21, 8, 8),
        "moved_latents": torch.randn(2, frames, 21, 8, 8),
        "reference_present": torch.ones(2, dtype=torch.bool),
    }
    if stage > 1:
        inputs |= {"audio": torch.randn(2, frames, 20, 80), "audio_present": torch.ones(2, frames)}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = model(**inputs)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    each, fixed, _ = saved_bytes(sizes, stage, frames, 64, "no", False)
    assert 2 * each + fixed == pytest.approx(real, rel=0.02)
    assert out.requires_grad


def test_checkpointing_and_bf16_save_memory() -> None:
    config = load_inference_config("embedded")
    plain, half, checkpointed = (
        estimate_memory(config.model, 1, 8, 1, 128, precision, checkpointing).activations
        for precision, checkpointing in (("no", False), ("bf16", False), ("no", True))
    )
    assert half < plain
    assert checkpointed < 0.35 * plain


def test_peaks_are_of_known_gpus_only() -> None:
    assert peak_tflops("NVIDIA H100 80GB HBM3") == peak_tflops("h100") == 989.4
    assert peak_tflops("NVIDIA H100 PCIe") == 756.5
    assert peak_tflops("NVIDIA A100-SXM4-80GB") == 311.8
    assert peak_tflops("NVIDIA GeForce RTX 4090") == 165.2
    assert peak_tflops("NVIDIA L40S") == 362.05
    with pytest.raises(UserError, match=r"the peak of 'Quadro RTX 8000' is not known .*hardware\.peak_tflops"):
        peak_tflops("Quadro RTX 8000")
    with pytest.raises(UserError, match="is not known"):
        peak_tflops("NVIDIA GeForce RTX 3080")
    assert matrix_product_tflops(torch.device("cpu")) > 0
