"""Whether the plans hold: `curation plan` and `training plan` beside the runs that they promise, in wall time and in processor time.

python -m benchmarks.plans curation --root my/videos [--repeats 3]
python -m benchmarks.plans training --manifest outputs/mine/manifest.parquet [--stage 1] [--steps 30]

Plan and run take turns. Wall times can be compared on an idle machine only; where others compute, the share of its wall time that each
of the two got a processor for is divided out ("processor"): what both would take alone, threads and hyperthreads aside.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

from manifests.errors import UserError

Made = TypeVar("Made")


def timed(call: Callable[[], Made]) -> tuple[Made, float, float]:
    """(result, seconds of wall time, seconds of processor time of this process and of its children that ended)."""
    before, began = os.times(), time.perf_counter()
    made = call()
    after = os.times()
    return made, time.perf_counter() - began, sum(after[:4]) - sum(before[:4])


def _quiet(line: str) -> None:
    return None


def curation(options: argparse.Namespace) -> tuple[float, float]:
    """(run over plan in wall time, in processor time) of one turn."""
    from curation.config import load_config
    from curation.job.plan import make_plan
    from curation.job.run import run

    config = load_config(options.config, overrides=("workers=1", "job.executor=inprocess", *options.set))
    plan, plan_wall_s, plan_busy_s = timed(lambda: make_plan(options.source, options.root, config, n_measured=options.measure))
    if plan.estimated_s is None:
        raise UserError(f"no clip of {options.root} could be scored")
    with tempfile.TemporaryDirectory() as out:
        _, wall_s, busy_s = timed(lambda: run(options.source, options.root, out, config, say=_quiet))
    planned_busy_s = plan.estimated_s * min(1.0, plan_busy_s / plan_wall_s)
    print(f"planned {plan.estimated_s:.1f} s, took {wall_s:.1f} s; processor {planned_busy_s:.1f} and {busy_s:.1f} s")
    return wall_s / plan.estimated_s, busy_s / planned_busy_s


def training(options: argparse.Namespace) -> tuple[float, float]:
    """As `curation`, of a step: the plan's against the trainer's own record over steps after the first few."""
    from training.config import load_training_config
    from training.cost.plan import make_plan
    from training.loop.run_folder import Log
    from training.run import train

    aside = ("logging.trackers=[]", "validation.every_steps=0", "videos.at_end=false", "videos.every_steps=0")
    overrides = (*options.set, *aside, f"steps={2 * options.steps}", f"logging.every_steps={options.steps}")
    config = load_training_config(options.config, options.stage, overrides)
    plan, plan_wall_s, plan_busy_s = timed(lambda: make_plan(config, None, 1, 0.45, None))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        _, wall_s, busy_s = timed(lambda: train(config, options.manifest, out, init=options.init, say=_quiet))
        step_s = [record for record in Log(out).read() if record["kind"] == "train"][-1]["step_s"]
    planned_busy_s, step_busy_s = plan.step_s * plan_busy_s / plan_wall_s, step_s * busy_s / wall_s
    print(f"a step: planned {plan.step_s:.3f} s, took {step_s:.3f} s; processor {planned_busy_s:.3f} and {step_busy_s:.3f} s")
    return step_s / plan.step_s, step_busy_s / planned_busy_s


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    of_clips, of_steps = kinds.add_parser("curation"), kinds.add_parser("training")
    of_clips.add_argument("--source", default="folder")
    of_clips.add_argument("--root", required=True)
    of_clips.add_argument("--measure", type=int, default=3, help="clips that the plan scores")
    of_steps.add_argument("--manifest", required=True)
    of_steps.add_argument("--stage", type=int, choices=(1, 2, 3), default=1)
    of_steps.add_argument("--init", help="a run of the stage before (stages 2 and 3)")
    of_steps.add_argument("--steps", type=int, default=30)
    for kind in (of_clips, of_steps):
        kind.add_argument("--config", default="embedded")
        kind.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
        kind.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    one = curation if options.kind == "curation" else training
    try:
        ratios = [one(options) for _ in range(options.repeats)]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    wall, busy = (median(column) for column in zip(*ratios, strict=True))
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"the run takes {wall:.2f} of the plan in wall time, {busy:.2f} in processor time (medians of {len(ratios)}; {load})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
