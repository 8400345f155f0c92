"""kill -9 of a materialising run: no partial clip at any moment, and the resumed result equals the undisturbed one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

import manifests
from tests.curation.parent_manifests import Planted, head_points, write_dot_video, write_parent

ROOT = Path(__file__).resolve().parents[2]
N_CLIPS = 12
N_FRAMES = 40


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    sound = (3000 * np.sin(np.arange(16000 * N_FRAMES // 25) / 9)).astype(np.int16)
    clips = []
    for i in range(N_CLIPS):
        points = head_points(np.stack([70 + np.linspace(0, i, N_FRAMES), np.full(N_FRAMES, 60)], axis=1), 3.0)
        write_dot_video(folder / f"{i:02d}.mp4", points, (160, 120), sound=sound)
        clips.append(Planted(folder / f"{i:02d}.mp4", points))
    clips.append(Planted(folder / "gone.mp4", points))
    return write_parent(folder / "run", clips)


@pytest.fixture(scope="module")
def undisturbed(parent, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    assert start(parent, out).wait(timeout=120) == 0
    return out


def start(parent: Path, out: Path, *options: str) -> subprocess.Popen:
    options = options or ("--executor", "inprocess")
    command = [sys.executable, "-m", "curation", "materialise", str(parent), "--out", str(out), "--size", "256", "--shard-clips", "4"]
    return subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def clips(out: Path) -> list[Path]:
    return sorted((out / "clips").rglob("*.mp4"))


def assert_whole(files: list[Path]) -> None:
    """Every clip that has its name decodes from end to end."""
    for file in files:
        with av.open(str(file)) as container:
            assert sum(1 for _ in container.decode(video=0)) == N_FRAMES, file
        with av.open(str(file)) as container:
            assert sum(frame.samples for frame in container.decode(audio=0)) >= N_FRAMES * 640, file


def assert_same(one: Path, other: Path) -> None:
    assert [file.relative_to(one) for file in clips(one)] == [file.relative_to(other) for file in clips(other)]
    for a, b in zip(clips(one), clips(other), strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
    ignored = (*manifests.TIMING_COLUMNS, "code_version", "video_path")
    difference = manifests.diff(manifests.load(one), manifests.load(other), ignore=ignored)
    assert not difference, str(difference)
    for (id_one, a), (id_other, b) in zip(manifests.iter_landmarks(one), manifests.iter_landmarks(other), strict=True):
        assert id_one == id_other
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    left = [file for file in other.rglob("*") if file.suffix in (".tmp", ".jsonl")]
    assert not left, "a finished run leaves no temporary file behind"


def kill_and_resume(parent: Path, out: Path, n_kills: int, seed: int) -> int:
    """Kill the run at random moments, looking at what lies there each time; the kills that hit it at work."""
    rng, hits = np.random.default_rng(seed), 0
    for _ in range(n_kills):
        there = len(clips(out))
        run = start(parent, out)
        deadline = time.monotonic() + 60
        while len(clips(out)) <= there and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.25))
        hits += run.poll() is None
        run.kill()
        run.communicate()
        now = clips(out)
        assert len(now) >= there, "a finished clip was lost"
        assert_whole(now)
    final = start(parent, out)
    assert final.wait(timeout=120) == 0
    return hits


def test_killed_run_leaves_no_partial_clip_and_resumes_to_the_same(parent, undisturbed, tmp_path):
    assert len(clips(undisturbed)) == N_CLIPS
    assert kill_and_resume(parent, tmp_path, n_kills=3, seed=0) >= 1
    assert_same(undisturbed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_killed_many_times(parent, undisturbed, tmp_path, seed):
    assert kill_and_resume(parent, tmp_path, n_kills=8, seed=seed) >= 1
    assert_same(undisturbed, tmp_path)


@pytest.mark.slow
def test_ray_gives_the_same_clips(parent, undisturbed, tmp_path):
    run = start(parent, tmp_path, "--executor", "ray", "--workers", "2")
    _, errors = run.communicate(timeout=240)
    assert run.returncode == 0, errors.decode()[-2000:]
    assert_same(undisturbed, tmp_path)
