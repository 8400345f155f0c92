"""`python -m benchmarks.accept.killed_run RUN STEP ARGUMENT...`: trains into RUN, is killed (kill -9) once STEP is logged, and trains on.

Ends well if the run was cut off before its last step, went on from a checkpoint, and logged every interval up to the last step once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def records(run: Path) -> list[dict[str, Any]]:
    """The training records of `log.jsonl`; a last line that was cut off by the kill is left out."""
    file, found = run / "log.jsonl", []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return [record for record in found if record["kind"] == "train"]


def main() -> int:
    run, kill_at, arguments = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    command = [sys.executable, "-m", "training", *arguments, "--out", str(run)]
    child = subprocess.Popen(command, start_new_session=True)
    try:
        while child.poll() is None and not any(record["step"] >= kill_at for record in records(run)):
            time.sleep(0.05)
        cut = child.poll() is None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    code = child.wait()
    if not cut:
        print(f"the run ended with exit code {code} before it could be killed at step {kill_at}")
        return 1
    at = max(record["step"] for record in records(run))
    print(f"killed after step {at}; again:", flush=True)
    code = subprocess.run(command, check=False).returncode
    if code:
        return code
    steps = [record["step"] for record in records(run)]
    interval = steps[0]
    if steps != list(range(interval, steps[-1] + 1, interval)) or steps[-1] <= at:
        print(f"the log does not go on where the checkpoint was: steps {steps}, killed at {at}")
        return 1
    print(f"went on to step {steps[-1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
