"""One training a folder, and what is said at its start."""

from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="the trainer needs torch: install the [train] extra")

from manifests.configuration import to_tree
from manifests.errors import UserError
from tests.training.fakes import FakeBatches, make_trainer
from training.loop.progress import Progress
from training.loop.run_folder import open_run
from training.loop.start import Start
from training.run import _alone, _opening
from training.watch.report import write_report

MAIN, OTHER = SimpleNamespace(is_main_process=True), SimpleNamespace(is_main_process=False)


def test_a_second_training_in_the_same_folder_is_refused(tmp_path):
    with _alone(tmp_path / "s1", MAIN):
        with pytest.raises(UserError, match="another run is writing to"), _alone(tmp_path / "s1", MAIN):
            pass
        with _alone(tmp_path / "s1", OTHER), _alone(tmp_path / "s2", MAIN):
            pass
    with _alone(tmp_path / "s1", MAIN):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot make"), _alone(tmp_path / "file", MAIN):
        pass


def test_a_run_that_was_killed_before_its_first_record_and_checkpoint_has_its_step_in_the_report(tmp_path):
    trainer = make_trainer(tmp_path, steps=20, logging_every_steps=25)
    open_run(tmp_path, {"config": to_tree(trainer.config), "inference": {}, "start": to_tree(Start("random")), "data": {}})
    done = 0

    def killed_after_three(*arguments):
        nonlocal done
        if done == 3:
            raise KeyboardInterrupt
        done += 1
        return real(*arguments)

    real, trainer.step = trainer.step, killed_after_three
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer.checkpoints.newest() is None
    assert "Not finished: step 3 of 20." in write_report(tmp_path).read_text()


def test_the_first_step_of_a_start_has_a_line_with_an_estimate():
    said: list[str] = []
    progress = Progress(100, said.append)
    progress.tick(41, 2.0)
    progress.tick(42, 2.0)
    assert said == ["step 41/100 took 2 s; the rest takes about 1 min 58 s, less once all is warm"]


def test_the_opening_line_says_where_the_weights_come_from(tmp_path):
    start = Start("random")
    assert _opening(tmp_path, False, "the CPU", start) == f"starts {tmp_path} on the CPU, from random weights"
    told = _opening(tmp_path, True, "the CPU", start)
    assert told == f"starts again (it had no checkpoint yet) {tmp_path} on the CPU, from random weights"
    make_trainer(tmp_path).save()
    assert _opening(tmp_path, True, "the CPU", start) == f"continues {tmp_path} on the CPU"


def test_a_report_says_the_step_of_a_run_that_was_stopped_before_its_first_record(tmp_path):
    trainer = make_trainer(tmp_path, steps=20, logging_every_steps=25)
    open_run(tmp_path, {"config": to_tree(trainer.config), "inference": {}, "start": to_tree(Start("random")), "data": {}})
    batches = FakeBatches(1, trainer.micro_batch)(0)
    for _ in range(2):
        trainer._advance(trainer._step(batches), 0.5)
    trainer.save()
    text = write_report(tmp_path).read_text()
    assert "Not finished: step 2 of 20." in text
