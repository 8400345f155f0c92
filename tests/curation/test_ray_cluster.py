"""The same command against a cluster of several Ray nodes that loses one in the middle of the run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import manifests
from tests.curation.clip_files import face_clips

ROOT = Path(__file__).resolve().parents[2]
N_CLIPS = 24


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return face_clips(tmp_path_factory.mktemp("clips"), N_CLIPS)


def command(clips: Path, out: Path, executor: str) -> list[str]:
    settings = ("job.shard_clips=2", f"job.executor={executor}", "job.worker_deaths=20")
    options = [part for text in settings for part in ("--set", text)]
    return [sys.executable, "-m", "curation", "run", "--source", "folder", "--root", str(clips), "--out", str(out), *options]


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(command(clips, out, "inprocess"), cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cpus_a_node", [1, 2])
def test_a_node_that_is_lost_costs_nothing_but_time(clips, undisturbed, tmp_path, cpus_a_node):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus_a_node, "include_dashboard": False})
    try:
        lost = cluster.add_node(num_cpus=cpus_a_node)
        environment = os.environ | {"RAY_ADDRESS": cluster.address, "PYTHONPATH": str(ROOT)}
        run = subprocess.Popen(
            command(clips, tmp_path, "ray"), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 240
        while not list((tmp_path / "ledger").glob("[0-9]*.parquet")) and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        committed = len(list((tmp_path / "ledger").glob("[0-9]*.parquet")))
        assert run.poll() is None, "the run ended before a node could be lost"
        cluster.remove_node(lost, allow_graceful=False)
        assert committed < len(list((undisturbed / "ledger").glob("*.parquet")))
        _, errors = run.communicate(timeout=300)
        assert run.returncode == 0, errors[-3000:]
    finally:
        cluster.shutdown()
    ignored = (*manifests.TIMING_COLUMNS, "code_version")
    difference = manifests.diff(manifests.load(undisturbed), manifests.load(tmp_path), ignore=ignored)
    assert not difference, str(difference)
    assert len(manifests.load(tmp_path)) == N_CLIPS + 1
