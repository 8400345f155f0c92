"""`python -m benchmarks.threads`: a training step with each way of waiting, idle and beside busy loops.

Threads that spin while they wait for each other cost little on idle cores and everything on busy ones. Each row is a process of its own,
because OpenMP reads its settings when it is loaded; the rows take turns, so that a machine whose speed drifts treats them alike. The
last column is what must hold: beside as many busy loops as there are cores, a step of the project's own setting takes at most three
times as long.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from curation.threads import SPINS

SETTINGS: dict[str, dict[str, str]] = {
    "library's default": {},
    "a short spin (the project's)": {"GOMP_SPINCOUNT": SPINS},
    "no spin": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
BUSY_LOOP = "while True: pass"


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that never wait, for as long as the block lasts."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def step_s(setting: dict[str, str], stage: int, repeats: int) -> float:
    """Median seconds of an embedded training step on random data, in a process with this setting."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
    }
    command = [sys.executable, "-m", "benchmarks.threads", "--one", str(stage), "--repeats", str(repeats)]
    done = subprocess.run(command, env=environment | setting, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure_one(stage: int, repeats: int) -> float:
    import time

    import torch

    from training.config import load_training_config
    from training.cost.probe import StepProbe
    from training.run import inference_config

    config = load_training_config("embedded", stage)
    probe = StepProbe(config, inference_config(config), torch.device("cpu"), config.accumulation(1)[0])
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        probe.step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])  # the first warms up


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.threads", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--loops", type=int, default=os.cpu_count(), help="busy loops beside it (default: one a core)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every setting")
    parser.add_argument("--repeats", type=int, default=5, help="steps a turn")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure_one(options.one, options.repeats)))
        return 0
    found: dict[tuple[str, bool], list[float]] = {}
    for _ in range(options.rounds):
        for name, setting in SETTINGS.items():
            found.setdefault((name, False), []).append(step_s(setting, options.stage, options.repeats))
            with busy_loops(options.loops):
                found.setdefault((name, True), []).append(step_s(setting, options.stage, options.repeats))
    print(f"{'setting':<34} {'idle s':>8} {f'beside {options.loops} loops s':>20} {'ratio':>7}")
    for name in SETTINGS:
        idle, busy = (statistics.median(found[name, loaded]) for loaded in (False, True))
        print(f"{name:<34} {idle:>8.2f} {busy:>20.2f} {busy / idle:>7.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
