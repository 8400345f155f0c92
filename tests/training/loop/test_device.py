"""What the step asks of a device: transfers, compiled graphs, kinds of GPU; without one."""

import contextlib
import dataclasses
from collections import Counter

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from inference.models import SCHEDULE, BlockDctCodec, MegActorModel  # noqa: E402
from inference.models.attention import _attend  # noqa: E402
from inference.models.masks import RegionMask, padded  # noqa: E402
from manifests import UserError  # noqa: E402
from tests.training.fakes import fake_batch, make_trainer, tiny_inference, weights_of  # noqa: E402
from training.config import HardwareConfig  # noqa: E402
from training.data.batch import AugmentParameters  # noqa: E402
from training.loop.hardware import check_build, check_precision, mfu_peak  # noqa: E402
from training.loop.inputs import encoded, model_inputs  # noqa: E402
from training.loop.loss import LossSums, training_loss  # noqa: E402
from training.loop.stages import choose_trainable  # noqa: E402

torch.set_num_threads(1)


class Transfers(TorchDispatchMode):
    """Counts copies between the CPU and another device, which hold up the one or the other."""

    def __init__(self):
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        devices = {
            tensor.device.type for tensor in (*args, result) if isinstance(tensor, torch.Tensor) and tensor.ndim + tensor.numel() > 1
        }
        if len(devices) > 1 and func._overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            self.seen[str(func)] += 1
        return result


def shrunk_batch(stage: int):
    """Four samples with latents, of which one has its patches at half the resolution and one keeps its own."""
    plain = AugmentParameters.identity(4)
    changed = plain._replace(shrink=torch.tensor([1, 2, 1, 4]), gain=torch.tensor([1.0, 1.1, 0.9, 1.0]))
    return encoded(dataclasses.replace(fake_batch([0, 1, 2, 3], stage), augmentation=changed, moved_frames=None), BlockDctCodec())


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_after_the_batch_nothing_is_copied_to_the_device_or_asked_of_it(stage, monkeypatch) -> None:
    """On torch's device without data: asking it for a value is an error there, and copies are counted, in the second step, when the
    schedule's tables lie there. The model predicts noise, as the paper's does."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())  # that device has none
    sizes = dataclasses.replace(tiny_inference().model.at_stage(stage), prediction="epsilon", copied_reference="none")
    model = MegActorModel.from_sizes(sizes).train()
    choose_trainable(model, stage)
    torch.nn.Module.to(model, "meta")
    schedule, sums, codec = SCHEDULE.to("meta"), LossSums(torch.device("meta")), BlockDctCodec()
    batch = shrunk_batch(stage).to("meta")

    def micro_batch() -> None:
        inputs = model_inputs(batch, codec, sizes.with_audio, schedule)
        prediction = model(**inputs.arguments)
        terms = training_loss(
            prediction, x0=inputs.x0, noise=batch.noise, timesteps=batch.timesteps, schedule=schedule, keep=batch.loss_keep
        )
        terms.total.backward()
        sums.add(terms, batch.timesteps, batch.modality)

    micro_batch()
    transfers = Transfers()
    with transfers:
        micro_batch()
    assert not transfers.seen


@pytest.mark.parametrize("rows", [[], [3], [0, 1, 2], [0, 2, 4, 6, 7], list(range(8))])
def test_padded_masks_change_nothing_and_have_few_sizes(rows) -> None:
    generator = torch.Generator().manual_seed(0)
    keep = torch.rand(len(rows), 1, 6, 6, generator=generator) > 0.5
    keep[..., 0] = True
    mask = RegionMask(torch.tensor(rows, dtype=torch.int64), keep)
    wide = padded(mask if rows else None, 8)
    if not rows:
        assert wide is None
        return
    assert len(wide.rows) in (2, 4, 6, 8)
    assert wide.rows.tolist() == sorted(set(wide.rows.tolist()))
    q, k, v = (torch.randn(8, 2, 6, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    assert torch.allclose(_attend(q, k, v, mask), _attend(q, k, v, wide), atol=1e-12)


def test_masks_of_any_number_of_rows_compile_to_few_graphs() -> None:
    """Stage 1, eight samples; the number of masked ones differs by step and rank. 17 graphs without padding."""
    from torch._dynamo.testing import CompileCounterWithBackend

    torch.compiler.reset()
    counter = CompileCounterWithBackend("eager")
    sizes = tiny_inference().model.at_stage(1)
    model = MegActorModel.from_sizes(sizes).train()
    choose_trainable(model, 1)
    model.compile_repeated_blocks(fullgraph=True, backend=counter)
    tokens = (sizes.sample_size // sizes.patch_size) ** 2
    inputs = {
        "latents": torch.randn(8, 1, sizes.latent_channels, 4, 4),
        "timesteps": torch.zeros(8, dtype=torch.int64),
        "driven_frames": torch.rand(8, 1, 3, 32, 32),
        "reference_latents": torch.randn(8, sizes.latent_channels, 4, 4),
        "moved_latents": torch.randn(8, 1, sizes.latent_channels, 4, 4),
        "reference_present": torch.ones(8, dtype=torch.bool),
    }
    for rows in (2, 3, 0, 1, 4, 5, 2, 3, 6, 8, 0, 7, 3):
        mask = RegionMask(torch.arange(rows), torch.ones(rows, 1, tokens, tokens, dtype=torch.bool)) if rows else None
        model(**inputs, region_mask=padded(mask, 8)).square().mean().backward()
    assert counter.frame_count <= 9


def test_a_build_without_kernels_for_the_gpu_says_which_has_them() -> None:
    cuda_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]
    with pytest.raises(
        UserError, match=r"torch \(CUDA 13\.0\) has no kernels for Tesla V100.* \(sm_70\), but for sm_75.*build of torch for CUDA 12\.6"
    ):
        check_build("Tesla V100-SXM2-32GB", (7, 0), cuda_13, "13.0")
    for capability in ((7, 5), (8, 0), (8, 9), (9, 0), (12, 0), (12, 1)):
        check_build("one that it serves", capability, cuda_13, "13.0")
    check_build("NVIDIA H100", (9, 0), ["sm_90a"], "12.8")
    check_build("newer than its binaries, by PTX", (13, 0), cuda_13, "13.0")
    with pytest.raises(UserError, match="a newer CUDA"):
        check_build("NVIDIA B200", (10, 0), ["sm_80", "sm_90"], "12.4")
    check_precision("fp16", "Tesla V100", (7, 0))
    with pytest.raises(UserError, match=r"Tesla V100 has no bf16: set hardware\.precision=fp16"):
        check_precision("bf16", "Tesla V100", (7, 0))


def test_an_unknown_gpu_has_no_mfu_and_trains() -> None:
    said: list[str] = []
    assert mfu_peak(HardwareConfig(), "Tesla V100-SXM2-32GB", said.append) == 125.0
    assert mfu_peak(HardwareConfig(), "NVIDIA H800", said.append) == 989.4
    assert not said
    assert mfu_peak(HardwareConfig(), "NVIDIA GeForce RTX 3080", said.append) is None
    assert [line.startswith("no MFU: the peak of NVIDIA GeForce RTX 3080 is not known") for line in said] == [True]
    assert mfu_peak(HardwareConfig(peak_tflops=59.5), "NVIDIA GeForce RTX 3080", said.append) == 59.5
    assert mfu_peak(HardwareConfig(mfu=False, peak_tflops=59.5), "NVIDIA GeForce RTX 3080", said.append) is None


# --- half precision --------------------------------------------------------------------------------------------------------------------


def overflowing(batch):
    """Infinite targets in the second step."""
    return dataclasses.replace(batch, noise=batch.noise * float("inf")) if int(batch.sample_index[0]) == 4 else batch


def fp16_trainer(folder, **changes):
    from tests.training.fakes import FakeBatches

    batches = FakeBatches(1, 4, spoil=overflowing)
    settings = {"hardware_precision": "fp16", "optimiser_warmup_steps": 0, "checkpoints_every_steps": 3} | changes
    return make_trainer(folder, batches=batches, **settings)


def test_fp16_scales_the_loss_halves_the_scale_and_continues_exactly(tmp_path) -> None:
    whole = fp16_trainer(tmp_path / "whole", steps=5)
    whole.run()
    assert whole.state.skipped == 1
    assert whole.optimiser.scale == (2.0**15, 3)
    fp16_trainer(tmp_path / "parts", steps=3, optimiser_schedule="constant").run()
    again = fp16_trainer(tmp_path / "parts", steps=5, optimiser_schedule="constant")
    assert again.state.step == 3
    assert again.optimiser.scale == (2.0**15, 1)
    again.run()
    straight = fp16_trainer(tmp_path / "straight", steps=5, optimiser_schedule="constant")
    straight.run()
    assert again.optimiser.scale == straight.optimiser.scale == (2.0**15, 3)
    ours, theirs = weights_of(again), weights_of(straight)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_loss_scale_leaves_no_trace_in_the_gradient(tmp_path) -> None:
    """The norm before clipping is of the gradient itself, near float32's; 65,536 times that would be seen."""
    norms = {}
    for precision in ("no", "fp16"):
        trainer = make_trainer(tmp_path / precision, steps=2, hardware_precision=precision)
        norms[precision] = trainer._step(trainer._batches(0))
    assert norms["fp16"] == pytest.approx(norms["no"], rel=0.02)
