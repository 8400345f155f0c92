"""`python -m training.demo`: everything once, from rendered people to a scored animation: clips, curation, three stages of training,
animation by sound, by video and by both, evaluation, and one page that shows it.

Every step is a command of the project, as a user would type it; this module only puts them in order, skips those that are done, and writes
the page. Killed at any moment, the same command continues.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from curation.command_line import LocalPath, run_command, say
from curation.job.lock import hold
from manifests import UserError
from manifests.atomic import atomic_path
from training.demo import MODALITIES, STAGES

STEPS_DIR = "steps"
SIZE_PX = 256  # of the benchmark; the embedded model's own 128 px are enlarged to it
QUICK_PEOPLE = 8  # the last one is held out
QUICK_STEPS = {1: 60, 2: 40, 3: 10}
QUICK_SETTINGS = ("optimiser.warmup_steps=5", "videos.at_end=false")


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: of its stamp.
        title: for people.
        command: arguments of `python -m`.
        makes: what is there when it is done.
    """

    name: str
    title: str
    command: tuple[str, ...]
    makes: Path


def plan(out: Path, quick: bool = False) -> list[Step]:
    """The steps in their order.

    Args:
        quick: a few optimiser steps and one-second videos: shows that everything runs, not that anything was learnt.
    """
    curation, bench, runs, results, scores = (out / name for name in ("curation", "bench", "runs", "results", "evaluation"))
    command = ["curation", "run", "--source", "people", "--root", str(out / "people"), "--out", str(curation)]
    command += ["--set", f"source_settings.count={QUICK_PEOPLE}"] if quick else []
    steps = [Step("curate", "Render talking people, score and filter their clips", tuple(command), curation / "report.html")]
    for stage in STAGES:
        command = ["training", "train", "--stage", str(stage), "--manifest", str(curation), "--out", str(runs / f"s{stage}")]
        command += ["--init", str(runs / f"s{stage - 1}")] if stage > 1 else []
        settings = (f"steps={QUICK_STEPS[stage]}", *QUICK_SETTINGS) if quick else ()
        command += [part for setting in settings for part in ("--set", setting)]
        steps.append(Step(f"train-{stage}", f"Train stage {stage}", tuple(command), runs / f"s{stage}" / "report.html"))
    longest_ms = 1_000 if quick else 2_000  # of each held-out person; there are six of sixty
    steps.append(
        Step(
            "pairs",
            "Cut a benchmark from the held-out clips",
            ("inference.evaluation", "pairs", str(curation), "--out", str(bench), "--size", str(SIZE_PX), "--longest", str(longest_ms)),
            bench / "pairs.jsonl",
        )
    )
    sampling = ["--preset", "fast", *(["--steps", "2"] if quick else [])]
    for modality, source in MODALITIES.items():
        folder = results / f"ours-{modality}"
        command = ["inference.evaluation", "answer", str(bench), "--modality", modality, "--model", str(runs / "s3"), *sampling]
        command += ["--out", str(folder), "--name", f"ours {modality}"]
        steps.append(Step(f"animate-{modality}", f"Animate them by {source}", tuple(command), folder / "method.yaml"))
    folders = [str(results / f"ours-{modality}") for modality in MODALITIES]
    steps.append(
        Step(
            "evaluate",
            "Score the animations",
            ("inference.evaluation", "run", *folders, "--real", str(bench), "--out", str(scores), "--size", str(SIZE_PX)),
            scores / "report.html",
        )
    )
    return steps


def run_steps(steps: Sequence[Step], out: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Runs what is not done: a step is done if its output is there and its stamp names this command after these earlier ones.

    Returns: the stamps: name, title, command, seconds.

    Raises:
        UserError: a step failed; its own message is above.
    """
    done, digest = [], ""
    for number, step in enumerate(steps, 1):
        digest = hashlib.blake2b(json.dumps([digest, step.command]).encode(), digest_size=8).hexdigest()
        file = out / STEPS_DIR / f"{step.name}.json"
        stamp = _read(file)
        if stamp is None or stamp["digest"] != digest or not step.makes.exists():
            say(f"[{number}/{len(steps)}] {step.title}: python -m {' '.join(step.command)}")
            began = time.monotonic()
            code = subprocess.run([sys.executable, "-m", *step.command], check=False).returncode
            if code:
                raise UserError(f"{step.title.lower()} ended with exit code {code}; the same command continues from there")
            stamp = {"digest": digest, "name": step.name, "title": step.title, "command": " ".join(["python -m", *step.command])}
            stamp["seconds"] = round(time.monotonic() - began, 1)
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(file) as temporary:
                temporary.write_text(json.dumps(stamp), encoding="utf-8")
        else:
            say(f"[{number}/{len(steps)}] {step.title}: done before")
        done.append(stamp)
    return done


def _read(file: Path) -> dict[str, Any] | None:
    try:
        stamp = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) and {"digest", "seconds"} <= set(stamp) else None


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--out", default="outputs/demo", show_default=True, type=LocalPath(file_okay=False), help="Directory for all of it.")
@click.option("--quick", is_flag=True, help="A few optimiser steps and one-second videos: shows that everything runs.")
def demo(out: str, quick: bool) -> None:
    """Rendered people, curation, training, animation, evaluation, and one page: OUT/index.html. Killed, the same command continues."""
    from training.demo.page import write_page

    folder = Path(out)
    with hold(folder):
        stamps = run_steps(plan(folder, quick), folder, say)
        page = write_page(folder, stamps, quick)
    click.echo(page)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; mistakes of the user's end in one line and exit code 2."""
    run_command(demo, "python -m training.demo", arguments, "the same command continues")
