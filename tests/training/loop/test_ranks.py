"""Several ranks on gloo: the same samples, the same loss; a checkpoint of one layout is continued by another."""

import functools
import json
import os
import socket
from dataclasses import asdict, replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from tests.training.data_material import write_manifest  # noqa: E402
from tests.training.fakes import FakeBatches, fake_batch, forked, make_trainer, tiny_config, tiny_inference, weights_of  # noqa: E402


def run_ranks(folder: Path, ranks: int, stage: int, steps: int, observe=tuple, spoil=None, backend=None, **changes) -> list[dict]:
    """Trains on so many gloo ranks, started as a launcher of accelerate or torch would; what each drew, and what wrapped its model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def work(rank: int) -> None:
        if ranks > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
        if backend:
            torch._dynamo.config.suppress_errors = False
            torch.compile = functools.partial(torch.compile, backend=backend)  # of this child alone: no compiler is started
        settings = {"optimiser_warmup_steps": 0, "checkpoints_every_steps": 2, "logging_every_steps": 1} | changes
        batches = FakeBatches(stage, 4 // ranks, rank, ranks, spoil)
        trainer = make_trainer(folder, stage, batches=batches, steps=steps, observers=observe(), **settings)
        gathered = len(trainer.optimiser.averages(trainer.is_main))
        trainer.run()
        said = {"drawn": batches.drawn, "model": type(trainer.model).__name__, "ranks": trainer.accelerator.num_processes}
        said |= {"scale": trainer.optimiser.scale, "state": asdict(trainer.state), "gathered": gathered}
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


def watched(folder: Path, stage: int) -> tuple:
    """A validation of three batches, which two ranks cannot share out evenly, and sample videos of a planted clip."""
    from tests.training.data_material import data_config
    from training.data.loader import open_clips
    from training.watch.observers import Validation
    from training.watch.videos import SampleVideos

    inference = tiny_inference()
    config = tiny_config(stage, steps=4, videos_frames=2, videos_steps=2, videos_every_steps=4, videos_at_end=True)
    config = replace(config, data=data_config(folder, min_gap_frames=5))
    validation = Validation([fake_batch(list(range(2 * k, 2 * k + 2)), stage, seed=9) for k in range(3)], 2, 2)
    return validation, SampleVideos(config, inference, open_clips(config.data, inference, folder, stage), is_held_out=False)


def records(folder: Path, kind: str) -> list[dict]:
    return [record for line in (folder / "log.jsonl").read_text().splitlines() if (record := json.loads(line))["kind"] == kind]


def alike(ours: list[dict], theirs: list[dict]) -> None:
    for our, their in zip(ours, theirs, strict=True):
        assert our.keys() == their.keys()
        numbers = {name: value for name, value in their.items() if isinstance(value, float)}
        assert {name: our[name] for name in numbers} == pytest.approx(
            numbers, rel=1e-2, abs=5e-3
        )  # changes of 0.03 of 255 levels are noise


@pytest.mark.parametrize(
    "layouts",
    [
        pytest.param(((2, False), (2, True)), id="DDP, then FSDP2"),
        pytest.param(((2, True), (2, False)), id="FSDP2, then DDP", marks=pytest.mark.slow),
        pytest.param(((1, False), (2, True)), id="one rank, then FSDP2", marks=pytest.mark.slow),
        pytest.param(((2, True), (1, False)), id="FSDP2, then one rank", marks=pytest.mark.slow),
    ],
)
def test_layouts_follow_each_other_through_validation_video_and_checkpoint(tmp_path, layouts) -> None:
    """Half of a run under DDP or on one rank, the rest sharded by FSDP2, and the other way round: as one rank alone."""
    data = write_manifest(tmp_path / "data", 1)
    settings = {"optimiser_warmup_steps": 0, "checkpoints_every_steps": 2, "logging_every_steps": 1}
    settings["optimiser_lr"] = 1e-5  # where a gradient is next to nothing, AdamW makes a whole step of its rounding
    one = make_trainer(tmp_path / "one", 2, steps=4, observers=watched(data, 2), **settings)
    one.run()
    for (ranks, shard), steps in zip(layouts, (2, 4), strict=True):
        said = run_ranks(tmp_path / "run", ranks, 2, steps, observe=lambda: watched(data, 2), hardware_shard=shard, **settings)
        wrapped = "FSDPMegActorModel" if shard else "DistributedDataParallel" if ranks > 1 else "MegActorModel"
        assert [rank["model"] for rank in said] == [wrapped] * ranks
        assert [rank["gathered"] > 0 for rank in said] == [True, False][:ranks]  # one rank alone fills its memory
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "one"), rel=5e-3)  # AdamW's first steps make rounding large
    alike(records(tmp_path / "run", "validation")[-1:], records(tmp_path / "one", "validation")[-1:])
    (video,), (alone,) = (records(tmp_path / name, "videos")[-1:] for name in ("run", "one"))
    assert video["columns"] == alone["columns"] == ["portrait", "target", "V", "A", "A+V"]
    assert [video[f"psnr_{mode}"] for mode in ("V", "A", "A+V")] == pytest.approx(
        [alone[f"psnr_{mode}"] for mode in ("V", "A", "A+V")], abs=0.1
    )
    assert (tmp_path / "run" / video["file"]).is_file()
    continued = make_trainer(tmp_path / "run", 2, steps=4)
    assert continued.state.step == 4
    ours, theirs = weights_of(continued), weights_of(one)
    for name in theirs:
        if name.startswith("exp_avg."):
            scale = float(theirs[name].abs().max())
            assert torch.allclose(ours[name], theirs[name], rtol=2e-2, atol=max(1e-6, 1e-2 * scale)), name


def test_compiled_blocks_work_inside_what_is_sharded(tmp_path) -> None:
    """Whole graphs (`fullgraph`) of every block, and FSDP2's hooks outside of them."""
    said = run_ranks(tmp_path / "compiled", 2, 1, 2, hardware_shard=True, hardware_compile=True, backend="eager")
    assert [rank["model"] for rank in said] == ["FSDPMegActorModel"] * 2
    one = make_trainer(tmp_path / "one", 1, steps=2, optimiser_warmup_steps=0, checkpoints_every_steps=2, logging_every_steps=1)
    one.run()
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


def test_sharded_gradients_that_overflow_lower_the_scale_on_every_rank(tmp_path) -> None:
    """One rank's samples are not finite: all skip, all halve, and the state of one is the state of all."""

    def spoil(batch):
        return replace(batch, noise=batch.noise * float("nan")) if 2 in batch.sample_index.tolist() else batch

    said = run_ranks(tmp_path / "run", 2, 1, 3, spoil=spoil, hardware_shard=True, hardware_precision="fp16")
    assert [rank["scale"] for rank in said] == [[2.0**15, 2]] * 2
    assert said[0]["state"]["skipped"] == 1
    assert said[0]["state"]["updates"] == 2
