"""kill -9 of the driver and of workers: the resumed manifest equals the undisturbed one, and nothing committed is scored again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import manifests
from tests.curation.clip_files import face_clips

ROOT = Path(__file__).resolve().parents[2]
N_CLIPS = 40


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return face_clips(tmp_path_factory.mktemp("clips"), N_CLIPS)


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    assert start(clips, out).wait(timeout=120) == 0
    return out


def start(clips: Path, out: Path, *settings: str) -> subprocess.Popen:
    options = [part for text in ("job.executor=inprocess", "job.shard_clips=2", *settings) for part in ("--set", text)]
    command = [sys.executable, "-m", "curation", "run", "--source", "folder", "--root", str(clips), "--out", str(out), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def committed(out: Path) -> dict[str, int]:
    """Committed shards and when they were written."""
    return {file.name: file.stat().st_mtime_ns for file in (out / "ledger").glob("[0-9]*.parquet")}


def wait_until(happened: Callable[[], bool], run: subprocess.Popen, seconds: float = 60) -> bool:
    """True once it happened, False if the run ended before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if happened():
            return True
        if run.poll() is not None:
            return False
        time.sleep(0.005)
    raise TimeoutError


def kill_and_resume(clips: Path, out: Path, n_kills: int, seed: int) -> int:
    """Kill the driver `n_kills` times, each at a random moment, then let it finish; the kills that hit it at work."""
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(n_kills):
        before = committed(out)
        run = start(clips, out)
        at_work = wait_until(lambda: len(committed(out)) > len(before), run) if rng.random() < 0.8 else True  # noqa: B023
        time.sleep(rng.uniform(0, 0.15))
        hits += at_work and run.poll() is None
        run.kill()
        run.communicate()
        now = committed(out)
        assert all(now[name] == written for name, written in before.items()), "a committed shard was written again"
    assert start(clips, out).wait(timeout=120) == 0
    return hits


def assert_same(one: Path, other: Path) -> None:
    ignored = (*manifests.TIMING_COLUMNS, "code_version")  # somebody may commit while the test runs
    difference = manifests.diff(manifests.load(one), manifests.load(other), ignore=ignored)
    assert not difference, str(difference)
    for clip_id in manifests.load(one).query("status == 'scored'")["clip_id"]:
        for a, b in zip(manifests.load_landmarks(one, clip_id), manifests.load_landmarks(other, clip_id), strict=True):
            np.testing.assert_array_equal(a, b)


def test_killed_driver_resumes_to_the_same_manifest(clips, undisturbed, tmp_path):
    hits = kill_and_resume(clips, tmp_path, n_kills=5, seed=0)  # 70 more are marked slow: each costs a start of the program
    assert hits >= 4
    assert len(manifests.load(tmp_path)) == N_CLIPS + 1
    assert_same(undisturbed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_killed_driver_many_times(clips, undisturbed, tmp_path, seed):
    kill_and_resume(clips, tmp_path, n_kills=14, seed=seed)
    assert_same(undisturbed, tmp_path)


def processes_below(pid: int) -> dict[int, str]:
    """Command lines of the living descendants of a process, by pid."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                names[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                parents[int(entry.name)] = int(fields[1])
            except OSError:
                continue
    below, grown = {pid}, True
    while grown:
        grown = {child for child, parent in parents.items() if parent in below and child not in below}
        below |= grown
    return {child: names[child] for child in below - {pid}}


def ray_workers(pid: int) -> list[int]:
    return sorted(child for child, name in processes_below(pid).items() if "MapWorker" in name)


def decoders(pid: int) -> list[int]:
    return sorted(child for child, name in processes_below(pid).items() if "curation.media.child" in name)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victims", [ray_workers, decoders])
def test_killed_workers_cost_nothing_but_time(clips, undisturbed, tmp_path, victims):
    rng = np.random.default_rng(3)
    n_kills = 10 if victims is decoders else 4  # a worker of Ray's takes seconds to come back, a decoder none
    ray = (
        ("job.executor=ray", "workers=2", "job.worker_deaths=20", "job.decode_attempts=20")
        if victims is ray_workers
        else ("job.decode_attempts=20",)
    )
    run = start(clips, tmp_path, *ray)
    kills = 0
    while kills < n_kills and wait_until(lambda: bool(victims(run.pid)) and bool(committed(tmp_path)), run, 120):
        alive = victims(run.pid)
        if alive:
            os.kill(int(rng.choice(alive)), signal.SIGKILL)
            kills += 1
        time.sleep(rng.uniform(0.05, 0.3) if victims is decoders else rng.uniform(0.2, 2.0))
    _, errors = run.communicate(timeout=240)
    assert run.returncode == 0, errors.decode()[-2000:]
    assert kills >= (10 if victims is decoders else 3)
    assert_same(undisturbed, tmp_path)
