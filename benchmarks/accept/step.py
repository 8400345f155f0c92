"""One step: a command in a process of its own, its words in a file, its figures, and what is demanded of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.accept.journal import FAILED, PASSED, Result

Figures = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """Attributes:
    name: part/step.
    command: what is run, from the project's root.
    figures: reads what the command measured, after it ended well.
    demands: what is wrong with these figures, one line each; none is well.
    lacking: why this machine cannot run it; it is then skipped, not failed.
    environment: beside the process's own.
    folder: that it fills; what an earlier try left there is removed first.
    """

    name: str
    command: tuple[str, ...]
    figures: Callable[[], Figures] = dict
    demands: Callable[[Figures], list[str]] = field(default=lambda figures: [])
    lacking: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None


def run(step: Step, folder: Path) -> Result:
    """Runs the step; ended from outside, it takes its process and that one's children along."""
    log = folder / "logs" / f"{step.name.replace('/', '-')}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    if step.folder is not None and step.folder.exists():
        shutil.rmtree(step.folder)
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as words:
        words.write(" ".join(step.command) + "\n")
        words.flush()
        child = subprocess.Popen(
            step.command, stdout=words, stderr=subprocess.STDOUT, start_new_session=True, env=os.environ | step.environment
        )
        try:
            code = child.wait()
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    seconds = round(time.monotonic() - began, 1)
    if code:
        return Result(FAILED, seconds, why=[f"exit code {code}; its last words, more in {log}:", *_last_words(log)])
    try:
        figures = step.figures()
    except (OSError, ValueError, KeyError, IndexError) as error:
        return Result(FAILED, seconds, why=[f"it ended well but left no figures: {type(error).__name__}: {error}; see {log}"])
    wrong = step.demands(figures)
    return Result(FAILED if wrong else PASSED, seconds, figures, wrong)


def _last_words(log: Path, lines: int = 12) -> list[str]:
    said = [line.rstrip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return [line[:300] for line in said[-lines:]]
