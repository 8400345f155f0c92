"""The whole fault corpus through the command line: one row a file with the right kind of error, exit code 0, bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import manifests
from tests.curation.test_job_kill import processes_below
from tests.faults import make_faults

ROOT = Path(__file__).resolve().parents[2]
MEMORY_LIMIT_MIB = 2500


class PeakMemory(threading.Thread):
    """Watches the resident memory of a process and its descendants."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.peak_mib, self.stop = pid, 0.0, threading.Event()

    def run(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while not self.stop.wait(0.2):  # each look reads the whole of /proc
            total = 0
            for pid in [self.pid, *processes_below(self.pid)]:
                try:
                    total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
                except OSError:
                    continue
            self.peak_mib = max(self.peak_mib, total / 2**20)


@pytest.mark.timeout(280)
def test_every_fault_is_one_row_and_the_run_ends_well(tmp_path):
    faults = make_faults(tmp_path / "faults")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "curation", "run", "--source", "folder", "--root", str(tmp_path / "faults"), "--out", str(out)]
    began = time.monotonic()
    run = subprocess.Popen(
        [*command, "--set", "job.executor=inprocess"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    memory = PeakMemory(run.pid)
    memory.start()
    _, errors = run.communicate(timeout=240)
    memory.stop.set()
    assert run.returncode == 0, errors[-2000:]
    df = manifests.load(out)
    assert manifests.validate(df) == []
    became = {
        row["video_path"]: row["error_kind"] if row["status"] == "failed" else "scored" for row in manifests.read_table(out).to_pylist()
    }
    named = {os.fsencode(fault.path).decode("utf-8", "backslashreplace"): fault.expected for fault in faults}
    named = {path: expected for path, expected in named.items() if path in became or Path(path).suffix in (".mp4", ".mov", ".mkv", ".webm")}
    assert set(became) == set(named)
    wrong = {path: (kind, sorted(named[path])) for path, kind in became.items() if kind not in named[path]}
    assert not wrong
    assert len(df) >= 50
    assert memory.peak_mib < MEMORY_LIMIT_MIB, f"{memory.peak_mib:.0f} MiB"
    print(f"{len(df)} files, {time.monotonic() - began:.0f} s, at most {memory.peak_mib:.0f} MiB")
