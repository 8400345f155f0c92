"""Several ranks on gloo: the same samples, the same loss; a checkpoint of one layout is continued by another."""

import json
import os
import socket
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from tests.training.fakes import forked, make_trainer, weights_of  # noqa: E402


def run_ranks(folder: Path, ranks: int, stage: int, steps: int, **environment: str) -> list[dict]:
    """Trains on so many gloo ranks, started as a launcher of accelerate or torch would; what each drew, and what wrapped its model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def work(rank: int) -> None:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"} | environment
        trainer = make_trainer(folder, stage, steps=steps, optimiser_warmup_steps=0, checkpoints_every_steps=2, logging_every_steps=1)
        trainer.run()
        said = {"drawn": trainer._batches.drawn, "model": type(trainer.model).__name__, "ranks": trainer.accelerator.num_processes}
        (folder / f"rank-{rank}.json").write_text(json.dumps(said))

    children = [forked(lambda rank=rank: work(rank)) for rank in range(ranks)]
    assert [child.wait() for child in children] == [0] * ranks
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(ranks)]


def losses(folder: Path) -> list[float]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == "train"]


def test_two_ranks_draw_the_same_samples_and_learn_the_same(tmp_path) -> None:
    said = run_ranks(tmp_path / "two", 2, stage=1, steps=4)
    assert [(rank["model"], rank["ranks"]) for rank in said] == [("DistributedDataParallel", 2)] * 2
    one = make_trainer(tmp_path / "one", steps=4, optimiser_warmup_steps=0, checkpoints_every_steps=2, logging_every_steps=1)
    one.run()
    assert sorted(said[0]["drawn"] + said[1]["drawn"]) == one._batches.drawn
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    # What two ranks saved, one continues.
    continued = make_trainer(tmp_path / "two", steps=4)
    assert continued.state.step == 4
    ours, theirs = weights_of(continued), weights_of(one)
    for name in theirs:
        if name.startswith("exp_avg."):
            assert torch.allclose(ours[name], theirs[name], rtol=2e-2, atol=1e-6), name


def sharded_steps(rank: int, folder: Path) -> None:
    """Two updates of a model sharded by FSDP2 over two ranks, saved whole, loaded back into a sharded one."""
    import torch.distributed as dist
    from diffusers.training_utils import EMAModel
    from safetensors.torch import save_file
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    from training.loop.optimiser import make_optimiser
    from training.loop.tensors import (
        like,
        load_optimiser,
        model_tensors,
        open_shards_for_reference_keys,
        optimiser_tensors,
        trainable,
        whole,
    )

    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    model, inputs, config = probe_parts()
    for block in [*model.reference.transformer_blocks, *model.denoiser.transformer_blocks]:
        fully_shard(block.attn1, mesh=mesh)
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    open_shards_for_reference_keys(model)
    optimiser, parameters = make_optimiser(trainable(model).values(), config), trainable(model)
    average = EMAModel(parameters.values(), decay=0.5, foreach=True)
    for _ in range(2):
        model(**inputs).square().mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        assert float(whole(norm)) > 0
        optimiser.step()
        optimiser.zero_grad()
        average.step(parameters.values())
    assert isinstance(next(iter(parameters.values())), DTensor)
    tensors, moments = model_tensors(model), optimiser_tensors(optimiser, parameters)
    averages = {name: whole(shadow) for name, shadow in zip(parameters, average.shadow_params, strict=True)}
    if rank == 0:
        save_file(tensors, folder / "model.safetensors")
        save_file(averages, folder / "ema.safetensors")
        save_file(moments, folder / "optimiser.safetensors")
    dist.barrier()
    again = make_optimiser(parameters.values(), config)
    load_optimiser(again, parameters, folder / "optimiser.safetensors")
    for name, parameter in parameters.items():
        assert torch.equal(like(tensors[name], parameter).to_local(), parameter.to_local())
        for moment in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(again.state[parameter][moment].to_local(), optimiser.state[parameter][moment].to_local())
    dist.destroy_process_group()


def probe_parts():
    """A tiny model, its inputs and an optimiser's configuration, the same in every process."""
    from inference.models import MegActorModel
    from tests.training.fakes import tiny_inference
    from training.config import OptimiserConfig

    torch.manual_seed(0)
    model = MegActorModel.from_sizes(tiny_inference().model.at_stage(1)).train()
    torch.nn.init.normal_(model.denoiser.proj_out.weight)
    inputs = {
        "latents": torch.randn(2, 1, 21, 4, 4),
        "timesteps": torch.tensor([3, 700]),
        "driven_frames": torch.rand(2, 1, 3, 32, 32),
        "reference_latents": torch.randn(2, 21, 4, 4),
    }
    return model, inputs, OptimiserConfig(lr=1e-3)


def test_tensors_sharded_by_fsdp2_are_saved_whole_and_shared_out_again(tmp_path) -> None:
    """accelerate shards on GPUs only, so the pieces that the trainer stands on are tested on torch's own FSDP2 over gloo."""
    from diffusers.training_utils import EMAModel
    from safetensors.torch import load_file

    from training.loop.optimiser import make_optimiser
    from training.loop.tensors import trainable

    children = [forked(lambda rank=rank: sharded_steps(rank, tmp_path)) for rank in (0, 1)]
    assert [child.wait() for child in children] == [0, 0]
    model, inputs, config = probe_parts()
    parameters = trainable(model)
    optimiser, average = make_optimiser(parameters.values(), config), EMAModel(parameters.values(), decay=0.5, foreach=True)
    for _ in range(2):
        model(**inputs).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        average.step(parameters.values())
    saved, averages, moments = (load_file(tmp_path / f"{name}.safetensors") for name in ("model", "ema", "optimiser"))
    assert saved.keys() == parameters.keys()
    shadows = dict(zip(parameters, average.shadow_params, strict=True))
    for name, parameter in parameters.items():
        assert torch.allclose(moments[f"exp_avg.{name}"], optimiser.state[parameter]["exp_avg"], rtol=1e-3, atol=1e-7), name
        assert torch.allclose(averages[name], shadows[name], atol=2e-4), name
