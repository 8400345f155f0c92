"""Checkpoints: whole or not at all, kept in number, exact; and what a run refuses."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from inference.models import MegActorModel  # noqa: E402
from manifests import UserError, configuration  # noqa: E402
from tests.training.fakes import forked, make_trainer, tiny_config, tiny_inference, weights_of  # noqa: E402
from training.config import load_training_config  # noqa: E402
from training.loop.checkpoints import Checkpoints, TrainingState, read_state  # noqa: E402
from training.loop.run_folder import Log, open_run  # noqa: E402
from training.loop.start import Start, build_model, find_start  # noqa: E402


def fill(folder: Path) -> None:
    (folder / "weights").write_bytes(b"x" * 1000)


def test_numbered_kept_in_number_and_latest_points_to_the_newest(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.newest() is None
    for step in (5, 10, 15):
        checkpoints.write(TrainingState(step=step, next_sample=4 * step), fill)
    assert [path.name for path in checkpoints.all()] == ["step-00000010", "step-00000015"]
    assert (checkpoints.directory / "latest").readlink().name == "step-00000015"
    assert read_state(checkpoints.newest()) == TrainingState(step=15, next_sample=60)


def test_a_writer_that_fails_leaves_the_others_whole(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(TrainingState(step=1), fill)

    def full(folder: Path) -> None:
        fill(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot write checkpoint .*step-00000002: No space left on device; .*step-00000001 is whole"):
        checkpoints.write(TrainingState(step=2), full)
    assert [path.name for path in checkpoints.directory.iterdir() if not path.is_symlink()] == ["step-00000001"]


def test_what_a_killed_writer_left_is_passed_over_and_removed(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path)
    (checkpoints.directory / ".step-00000009-abc").mkdir(parents=True)
    assert checkpoints.newest() is None
    checkpoints.write(TrainingState(step=1), fill)
    assert {path.name for path in checkpoints.directory.iterdir()} == {"step-00000001", "latest"}
    (checkpoints.directory / "step-00000002").mkdir()
    with pytest.raises(UserError, match="is not a readable checkpoint"):
        read_state(checkpoints.newest())


def test_a_full_disk_stops_the_run_and_the_same_command_continues(tmp_path, monkeypatch) -> None:
    trainer = make_trainer(tmp_path, steps=3, checkpoints_every_steps=1)
    write = trainer.checkpoints.write

    def fails_at_two(state, fill_folder):
        def full(folder):
            fill_folder(folder)
            raise OSError(28, "No space left on device")

        return write(state, full if state.step == 2 else fill_folder)

    monkeypatch.setattr(trainer.checkpoints, "write", fails_at_two)
    with pytest.raises(UserError, match="No space left on device"):
        trainer.run()
    again = make_trainer(tmp_path, steps=3, checkpoints_every_steps=1)
    assert again.state.step == 1
    again.run()
    straight = make_trainer(tmp_path / "straight", steps=3)
    straight.run()
    ours, theirs = weights_of(again), weights_of(straight)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_checkpoint_holds_models_that_load_and_the_pipeline_is_the_average(tmp_path) -> None:
    trainer = make_trainer(tmp_path, steps=2, optimiser_warmup_steps=0)
    trainer.run()
    newest = trainer.checkpoints.newest()
    weights = MegActorModel.from_pretrained(newest / "model").state_dict()
    average = MegActorModel.from_pretrained(newest / "ema").state_dict()
    pipeline = MegActorModel.from_pretrained(tmp_path / "pipeline" / "transformer").state_dict()
    now = weights_of(trainer)
    for name in weights:
        assert torch.equal(weights[name], now[f"model.{name}"])
        assert torch.equal(average[name], now[f"ema.{name}"])
        assert torch.equal(average[name], pipeline[name])
    saved = json.loads((tmp_path / "pipeline" / "pipeline.json").read_text())
    assert saved["training"]["step"] == 2
    assert json.loads((newest / "state.json").read_text())["next_sample"] == 8


def test_an_optimiser_of_other_parameters_is_refused(tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    trainer = make_trainer(tmp_path, steps=1)
    trainer.run()
    file = trainer.checkpoints.newest() / "optimiser.safetensors"
    tensors = load_file(file)
    tensors.pop("exp_avg.denoiser.proj_out.bias")
    save_file(tensors, file)
    with pytest.raises(UserError, match=r"1 tensors are missing or unknown, such as 'exp_avg\.denoiser\.proj_out\.bias'"):
        make_trainer(tmp_path, steps=1)


def record_of(**changes) -> dict:
    config = tiny_config(**changes)
    return {
        "config": configuration.to_tree(config),
        "inference": tiny_inference().to_tree(),
        "start": {"kind": "random"},
        "data": {"clips": "a"},
    }


def test_a_run_is_continued_by_its_own_configuration_only(tmp_path) -> None:
    assert open_run(tmp_path, record_of()) is False
    assert open_run(tmp_path, record_of()) is True
    assert open_run(tmp_path, record_of(hardware_workers=3, checkpoints_keep=9, hardware_micro_batch=2)) is True
    with pytest.raises(
        UserError, match=r"another configuration; what differs: optimiser\.lr: 0\.001 → 0\.5; seed: 0 → 7\. Take another --out"
    ):
        open_run(tmp_path, record_of(optimiser_lr=0.5, seed=7))
    with pytest.raises(UserError, match="clips: 'a' → 'b'"):
        open_run(tmp_path, record_of() | {"data": {"clips": "b"}})
    with pytest.raises(UserError, match="steps: 4 → 9"):  # a cosine would bend another way
        open_run(tmp_path, record_of(steps=9))


def test_a_constant_rate_may_be_trained_for_longer(tmp_path) -> None:
    open_run(tmp_path, record_of(optimiser_schedule="constant"))
    assert open_run(tmp_path, record_of(optimiser_schedule="constant", steps=9)) is True


def test_a_damaged_record_and_a_file_in_the_way_are_said(tmp_path) -> None:
    (tmp_path / "run.yaml").write_text("config: [")
    with pytest.raises(UserError, match=r"run\.yaml is damaged"):
        open_run(tmp_path, record_of())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; a run needs a folder"):
        open_run(tmp_path / "file", record_of())


def test_the_log_is_cut_where_a_run_continues_and_survives_a_torn_line(tmp_path) -> None:
    log = Log(tmp_path)
    for step in (1, 2, 3):
        log.add("train", step, {"loss": 1.0 / step})
    with log.file.open("a") as handle:
        handle.write('{"kind": "train", "st')
    assert [record["step"] for record in log.read()] == [1, 2, 3]
    log.cut(2)
    assert [record["step"] for record in log.read()] == [1, 2]


# --- from stage to stage ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage_one_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "s1"
    open_run(folder, record_of())
    make_trainer(folder, steps=2, optimiser_warmup_steps=0).run()
    return folder


def test_stage_two_grows_from_the_average_of_stage_one(stage_one_run) -> None:
    start = find_start(tiny_config(2), str(stage_one_run))
    assert (start.kind, start.step) == ("stage", 2)
    model = build_model(tiny_config(2), tiny_inference(), start)
    average = MegActorModel.from_pretrained(stage_one_run / "checkpoints" / "latest" / "ema").state_dict()
    state = model.state_dict()
    assert all(torch.equal(state[name], average[name]) for name in average)
    assert all(".audio." in name for name in state.keys() - average.keys())
    assert find_start(tiny_config(2), None, before=str(stage_one_run)) == start
    assert find_start(tiny_config(2), str(stage_one_run / "checkpoints" / "step-00000002")).step == 2


def test_the_order_of_the_stages_is_kept(stage_one_run, tmp_path) -> None:
    with pytest.raises(UserError, match="is a run of stage 1; stage 3 starts from stage 2"):
        find_start(tiny_config(3), str(stage_one_run))
    with pytest.raises(
        UserError, match=r"stage 2 continues a run of stage 1 \(looked in .*nowhere\): train that first, or name it by --init"
    ):
        find_start(tiny_config(2), None, before=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"stage 1 starts from PixArt-α .* not from a run"):
        find_start(tiny_config(1), str(stage_one_run))
    with pytest.raises(UserError, match="no training run there"):
        find_start(tiny_config(2), str(tmp_path))
    open_run(tmp_path / "empty", record_of())
    with pytest.raises(UserError, match="has no checkpoint yet"):
        find_start(tiny_config(2), str(tmp_path / "empty"))


def test_the_paper_profile_starts_from_pretrained_weights_or_says_that_it_does_not(tmp_path, monkeypatch, stage_one_run) -> None:
    monkeypatch.setenv("MEGACTOR_MODELS", str(tmp_path))
    monkeypatch.setattr("curation.weights.store.user_directory", lambda: tmp_path)
    for setting in ((), ("pixart=null",), ("pixart=nowhere.pth",)):
        with pytest.raises(UserError, match=r"(?s)pixart.*make models PROFILE=paper.*--set init=random"):
            find_start(load_training_config("paper", 1, setting), None)
    assert find_start(load_training_config("paper", 1, ("init=random",)), None) == Start("random")
    file = tmp_path / "mine.pth"
    file.write_bytes(b"x")
    assert find_start(load_training_config("paper", 1, (f"pixart={file}",)), None) == Start("pixart", str(file))
    stage_two = tmp_path / "s2"
    record = record_of()
    record["config"]["stage"] = 2
    open_run(stage_two, record)
    shutil.copytree(stage_one_run / "checkpoints", stage_two / "checkpoints", symlinks=True)
    with pytest.raises(UserError, match="stage 3 starts from EasyAnimate-V1's motion modules, and easyanimate-motion is not in the models"):
        find_start(load_training_config("paper", 3), str(stage_two))
    assert find_start(load_training_config("paper", 3, ("init=random",)), str(stage_two)).motion is None
    assert find_start(load_training_config("paper", 3, (f"motion={file}",)), str(stage_two)).motion == str(file)
    with pytest.raises(UserError, match="did you mean 'random'"):
        load_training_config("paper", 1, ("init=randon",))


def test_other_sizes_are_refused(stage_one_run) -> None:
    from inference.models.components import load_inference_config

    with pytest.raises(UserError, match="trained with other sizes: num_layers 2 → 6"):
        build_model(tiny_config(2), load_inference_config("embedded"), find_start(tiny_config(2), str(stage_one_run)))
    with pytest.raises(UserError, match="cannot read the weights"):
        build_model(tiny_config(2), tiny_inference(), Start("stage", str(stage_one_run / "nowhere"), 3))


# --- configuration ---------------------------------------------------------------------------------------------------------------------


def test_unknown_keys_suggest_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown configuration key 'optimiser\.learning'"):
        load_training_config("embedded", 1, ("optimiser.learning=1",))
    with pytest.raises(UserError, match=r"unknown configuration key 'hardware\.microbatch'; did you mean 'micro_batch'\?"):
        load_training_config("paper", 1, ("hardware.microbatch=2",))
    with pytest.raises(UserError, match=r"no training configuration 'embeded'; did you mean 'embedded'\?"):
        load_training_config("embeded")
    with pytest.raises(UserError, match="lr, clip_norm and eps must be positive"):
        load_training_config("embedded", 1, ("optimiser.lr=-1",))


def test_stages_lie_over_the_rest_and_overrides_over_them() -> None:
    one, three = load_training_config("paper", 1), load_training_config("paper", 3, ("steps=7",))
    assert (one.batch_size, three.batch_size, three.steps, three.stage) == (64, 8, 7, 3)
    assert three.hardware.gradient_checkpointing
    assert three.hardware.compile is one.hardware.compile is True
    assert one.accumulation(1) == (8, 8)
    assert one.accumulation(4) == (8, 2)
    with pytest.raises(UserError, match="batch_size 64 cannot be shared out over 3 devices: train on 2, or change batch_size"):
        one.accumulation(3)


# --- kill -9 ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["while a checkpoint is written", "between two checkpoints"])
def test_kill_9_and_again_equals_an_uninterrupted_run(tmp_path, moment) -> None:
    steps, folder = 16, tmp_path / "killed"
    settings = {"steps": steps, "checkpoints_every_steps": 1, "optimiser_warmup_steps": 0}
    kills = 0
    for k in range(2):
        child = forked(lambda: make_trainer(folder, **settings).run())
        while child.running():
            newest = Checkpoints(folder).newest()
            writing = any((folder / "checkpoints").glob(".step-*"))
            if newest is not None and int(newest.name[5:]) >= 4 * (k + 1) and writing == (moment == "while a checkpoint is written"):
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
                break
        child.wait()
    assert kills
    finished = make_trainer(folder, **settings)
    assert 0 < finished.state.step < steps
    finished.run()
    straight = make_trainer(tmp_path / "straight", **settings)
    straight.run()
    ours, theirs = weights_of(finished), weights_of(straight)
    assert finished.state.next_sample == straight.state.next_sample
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not list((folder / "checkpoints").glob(".step-*"))
