"""A run's checkpoints: numbered folders that appear whole or not at all.

checkpoints/step-00000500/   model/  ema/ (both `MegActorModel.from_pretrained`), optimiser.safetensors, state.json
checkpoints/latest           a link to the newest, moved by rename

The random draws are functions of the sample index, so `state.json` needs one integer for the position in the data, and counters.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from manifests.atomic import flush, flush_tree
from manifests.errors import UserError

LATEST = "latest"
MODEL, EMA, OPTIMISER, STATE = "model", "ema", "optimiser.safetensors", "state.json"
_NUMBERED = re.compile(r"step-(\d{8,})")
_TEMPORARY = ".step-"


@dataclass(frozen=True)
class TrainingState:
    """Where a run stands.

    Attributes:
        step: optimiser steps done, skipped ones included.
        next_sample: global index of the first sample that was not used yet.
        updates: steps that changed the weights; the average counts these.
        skipped: steps skipped because their gradient was not finite.
        skipped_in_row: of these, the last ones without an update since.
        clips_passed_over: samples whose first clip could not be read.
        seconds: spent training, all starts together.
        loss_scale: fp16: what the loss is multiplied by; None before the first step, and for other precisions.
        scale_kept: updates since it last changed.
    """

    step: int = 0
    next_sample: int = 0
    updates: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    clips_passed_over: int = 0
    seconds: float = 0.0
    loss_scale: float | None = None
    scale_kept: int = 0


class Checkpoints:
    """The `checkpoints` folder of a run; one process writes."""

    def __init__(self, run_dir: Path | str, keep: int = 3):
        self.directory = Path(run_dir) / "checkpoints"
        self.keep = keep

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        found = [(int(match[1]), path) for path in self.directory.iterdir() if (match := _NUMBERED.fullmatch(path.name))]
        return [path for _, path in sorted(found)]

    def newest(self) -> Path | None:
        """The one with the highest number; `latest` is for people and may be one behind after a kill."""
        found = self.all()
        return found[-1] if found else None

    def write(self, state: TrainingState, fill: Callable[[Path], None]) -> Path:
        """Makes the checkpoint of `state`; `fill` writes the rest into the folder that it is given.

        Raises:
            UserError: the disk is full or not writable; the checkpoints that are there stay as they are.
        """
        target = self.directory / f"step-{state.step:08d}"
        work: Path | None = None
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.remove_unfinished()
            work = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{state.step:08d}-", dir=self.directory))
            fill(work)
            (work / STATE).write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
            flush_tree(work)
            work.chmod(0o755)  # mkdtemp's are for their owner alone
            if target.exists():  # of a run that was told to repeat these steps
                shutil.rmtree(target)
            work.rename(target)
            flush(self.directory)
            self._point_latest_to(target)
            for old in self.all()[: -self.keep]:
                shutil.rmtree(old)
        except OSError as error:
            kept = self.newest()
            left = f"; {kept} is whole" if kept else ""
            raise UserError(
                f"cannot write checkpoint {target}: {error.strerror or error}{left}; free some space, the same command continues"
            ) from error
        finally:
            if work is not None:
                shutil.rmtree(work, ignore_errors=True)
        return target

    def remove_unfinished(self) -> None:
        """Deletes what a killed writer left behind."""
        for path in self.directory.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)

    def _point_latest_to(self, target: Path) -> None:
        link = self.directory / f".{LATEST}.{os.getpid()}"
        with suppress(FileNotFoundError):
            link.unlink()
        link.symlink_to(target.name)
        link.replace(self.directory / LATEST)


def read_state(checkpoint: Path) -> TrainingState:
    """Raises `UserError` for a folder that is not a checkpoint of this format."""
    try:
        return TrainingState(**json.loads((checkpoint / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{checkpoint} is not a readable checkpoint: {error}") from None
