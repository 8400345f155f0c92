"""Experiment trackers beside `log.jsonl`: TensorBoard in the run's folder, Weights & Biases and whatever else accelerate speaks to."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

PROJECT = "megactor-sigma"  # what the runs are filed under; a run has the name of its folder
PACKAGE_OF = {"comet_ml": "comet-ml"}  # to install, where it is not called as the tracker


def make_trackers(names: Sequence[str], out: Path) -> list[GeneralTracker]:
    """
    Args:
        names: of accelerate: tensorboard, wandb, mlflow, …
        out: the run's folder.

    Raises:
        UserError: an unknown name, or a tracker that is not installed (accelerate itself would leave it out without a word).
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    made = []
    for name in dict.fromkeys(names):
        if name not in LOGGER_TYPE_TO_CLASS:
            close = difflib.get_close_matches(name, LOGGER_TYPE_TO_CLASS, 1)
            meant = f"{name!r} is probably {close[0]!r}" if close else f"{name!r} is none of {', '.join(LOGGER_TYPE_TO_CLASS)}"
            raise UserError(f"logging.trackers: {meant}")
        if name not in {tracker.value for tracker in get_available_trackers()}:
            raise UserError(
                f"logging.trackers names {name}, which is not installed: pip install {PACKAGE_OF.get(name, name)}, "
                "or go without: --set 'logging.trackers=[tensorboard]'"
            )
        kind = LOGGER_TYPE_TO_CLASS[name]
        if name == "wandb":
            made.append(kind(PROJECT, name=out.name, dir=str(out)))
        elif kind.requires_logging_directory:
            made.append(kind("tensorboard" if name == "tensorboard" else PROJECT, str(out)))
        else:
            made.append(kind(PROJECT))
    return made


def start_trackers(accelerator: Accelerator) -> None:
    """
    Raises:
        UserError: one could not start: no account, no server, no right to write.
    """
    try:
        accelerator.init_trackers(PROJECT)
    except Exception as error:  # nine libraries, each with errors of its own
        names = ", ".join(tracker.name for tracker in accelerator.log_with)
        raise UserError(
            f"a tracker of logging.trackers ({names}) did not start: {' '.join(str(error).split())[:200] or type(error).__name__}"
        ) from error
