"""Several ranks on gloo: the same samples, the same loss; a checkpoint of one layout is continued by another."""

import json
import os
import socket
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from fakes import forked, make_trainer, weights_of  # noqa: E402


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
