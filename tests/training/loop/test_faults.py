"""What a person sees when something is wrong: one line that says what to do, exit code 2, nothing lost."""

import pytest

torch = pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from manifests import UserError  # noqa: E402
from tests.training.fakes import FakeBatches, fake_batch, make_trainer, tiny_config  # noqa: E402
from training import cli  # noqa: E402
from training.config import load_training_config  # noqa: E402
from training.data.batch import Skip  # noqa: E402
from training.loop.faults import StopRequest, is_out_of_memory  # noqa: E402
from training.loop.run_folder import open_run  # noqa: E402
from training.watch.report import write_report  # noqa: E402

torch.set_num_threads(1)


def code_and_words(capsys, *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    return stopped.value.code, capsys.readouterr().err


def test_mistakes_on_the_command_line_are_one_line_and_code_2(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, words in (
        (("--stage", "1", "--set", "optimiser.lrate=1"), "unknown configuration key 'optimiser.lrate'"),
        (("--stage", "4"), "4 is not in the range"),
        (
            (
                "--stage",
                "2",
            ),
            "stage 2 continues a run of stage 1 (looked in runs/s1): train that first, or name it by --init RUN",
        ),
        (("--stage", "1", "--manifest", "nowhere", "--set", "hardware.device=cpu"), "nowhere"),
        (("report", "nowhere"), "nowhere holds no training run (no run.yaml)"),
        (("plan", "--gpu", "voodoo2", "--config", "paper"), "the peak of 'voodoo2' is not known"),
    ):
        code, said = code_and_words(capsys, *arguments)
        assert code == 2
        assert words in said
        assert len(said.strip().splitlines()) == 1
        assert "Traceback" not in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_asked_for_and_not_there_is_an_error_not_a_fallback(tmp_path) -> None:
    from training.run import make_accelerator

    with pytest.raises(UserError, match=r"no CUDA device.*hardware\.device=cpu"):
        make_accelerator(load_training_config("paper", 1), tmp_path)


def test_out_of_memory_names_the_knobs_and_nothing_is_lost(tmp_path, monkeypatch) -> None:
    trainer = make_trainer(tmp_path, steps=4, checkpoints_every_steps=1, hardware_micro_batch=2)
    backward = trainer.optimiser.backward

    def exhausted(loss):
        if trainer.state.step == 2:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        backward(loss)

    monkeypatch.setattr(trainer.optimiser, "backward", exhausted)
    with pytest.raises(UserError, match=r"out of memory on cpu.*hardware\.micro_batch=1 \(now 2.*gradient_checkpointing=true.*continues"):
        trainer.run()
    again = make_trainer(tmp_path, steps=4, hardware_micro_batch=1)
    assert again.state.step == 2
    again.run()
    assert again.state.step == 4


def test_other_errors_are_not_called_out_of_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("size mismatch"))


def test_clips_that_are_passed_over_are_counted_and_named_once(tmp_path) -> None:
    import dataclasses

    said: list[str] = []

    def with_skip(batch):
        return dataclasses.replace(batch, skips=(Skip(int(batch.sample_index[0]), "broken7", "missing_file", "gone"),))

    trainer = make_trainer(tmp_path, batches=FakeBatches(1, 4, spoil=with_skip), steps=3, say=said.append)
    assert trainer.run().clips_passed_over == 3
    assert [line for line in said if "broken7" in line] == ["sample 0: passed over clip broken7 (missing_file: gone)"]


def test_the_first_interrupt_asks_and_the_second_stops() -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)  # ignored, where a shell has put the tests into the background
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_report_of_a_run_that_has_done_nothing_and_of_a_finished_one(tmp_path) -> None:
    from manifests import configuration
    from tests.training.fakes import tiny_inference

    config = tiny_config(steps=2, logging_every_steps=1)
    record = {
        "config": configuration.to_tree(config),
        "inference": tiny_inference().to_tree(),
        "start": {"kind": "random", "source": None, "step": None},
        "data": {"clips": "abc"},
        "manifest": {"path": "<b>m</b>", "sha256": "12ab", "clips": "3 clips"},
    }
    open_run(tmp_path, record)
    empty = write_report(tmp_path).read_text()
    assert "Nothing is logged yet" in empty
    assert "&lt;b&gt;m&lt;/b&gt;" in empty
    trainer = make_trainer(tmp_path, steps=2, logging_every_steps=1)
    trainer.run()
    trainer.log.add("event", 2, {"message": "<script>"})
    html = write_report(tmp_path).read_text()
    assert "<script>" not in html
    assert html.count("<svg") >= 6
    assert "12ab" in html
    assert "Not finished" not in html
    assert "http" not in html.replace("http-equiv", "").replace("https://arxiv", "")


def test_fakes_are_functions_of_the_index() -> None:
    one, two = fake_batch([3, 4], 2), fake_batch([4], 2)
    assert torch.equal(one.noise[1], two.noise[0])
    assert torch.equal(one.target_frames[1], two.target_frames[0])
