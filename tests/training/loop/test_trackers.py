"""Trackers beside the run's own log: one that is missing is said, not left out."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("accelerate", reason="the trainer needs accelerate: install the [train] extra")

from manifests import UserError
from training.loop.trackers import make_trackers, start_trackers


def test_a_tracker_that_is_missing_or_unknown_is_one_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(UserError, match=r"names wandb, which is not installed: pip install wandb, or go without: --set '[\w.=\[\]]+'$"):
        make_trackers(("wandb",), tmp_path)
    with pytest.raises(UserError, match="names comet_ml, which is not installed: pip install comet-ml"):
        make_trackers(("comet_ml",), tmp_path)
    with pytest.raises(UserError, match="'wandbb' is probably 'wandb'"):
        make_trackers(("wandbb",), tmp_path)
    with pytest.raises(UserError, match=r"'paper' is none of .*tensorboard.*wandb"):
        make_trackers(("paper",), tmp_path)
    assert make_trackers((), tmp_path) == []


def test_numbers_reach_tensorboard_in_the_run_s_folder(tmp_path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard: install the [train] extra")
    from accelerate import Accelerator
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accelerator = Accelerator(cpu=True, log_with=make_trackers(("tensorboard", "tensorboard"), tmp_path))
    start_trackers(accelerator)
    (tracker,) = accelerator.trackers
    tracker.log({"train/loss": 0.5}, step=3)
    accelerator.end_training()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(3, 0.5)]


def test_a_tracker_that_does_not_start_is_one_line(tmp_path) -> None:
    from accelerate import Accelerator

    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"a tracker of logging.trackers \(tensorboard\) did not start: .*exists"):
        start_trackers(Accelerator(cpu=True, log_with=make_trackers(("tensorboard",), tmp_path)))


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_a_run_of_weights_and_biases_is_written_offline(tmp_path) -> None:
    """In a process of its own: wandb leaves a service and hooks behind."""
    code = (
        "import sys; from pathlib import Path; from accelerate import Accelerator\n"
        "from training.loop.trackers import make_trackers, start_trackers\n"
        "out = Path(sys.argv[1]); a = Accelerator(cpu=True, log_with=make_trackers(('wandb',), out)); start_trackers(a)\n"
        "a.trackers[0].log({'train/loss': 0.5}, step=3); run = a.trackers[0].tracker\n"
        "import json; print(json.dumps([run.project, run.name])); a.end_training()\n"
    )
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[0]) == ["megactor-sigma", tmp_path.name]
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
