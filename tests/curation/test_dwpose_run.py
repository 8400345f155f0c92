"""The paper profile from video files to the manifest, with networks whose answers are known; GPUs' shares on Ray."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from dot_networks import DotPerson, write_models, write_people

import manifests
from curation import cli
from curation.config import load_config
from curation.contracts import Clip
from curation.dwpose.backend import DWPoseTracker
from curation.job.clip_scorer import ClipScorer, part_digests
from curation.job.executors import on_ray
from curation.job.gpus import NO_GPU, GpuDemand, gpu_memories_mib, share_of
from curation.job.tally import Tally
from curation.landmarks import make_backend
from curation.media import MediaReader
from manifests.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> dict:
    return {**write_models(tmp_path_factory.mktemp("models")), "detector_batch": 1, "pose_batch": 4}


def settings(runtime: dict) -> list[str]:
    return [part for key, value in runtime.items() for part in ("--set", f"landmark_settings.runtime.{key}={value}")]


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_planted_points_come_back_from_1080p_video_however_it_is_turned(runtime, tmp_path, rotation_deg):
    size = (1080, 1920) if rotation_deg % 180 == 90 else (1920, 1080)
    script = [[DotPerson(size[0] / 2 + 4 * i, 480, 110, 3 * i)] for i in range(2)]
    write_people(tmp_path / "a.mp4", script, size, rotation_deg)
    clip, backend = Clip("folder", "a", "a", str(tmp_path / "a.mp4")), make_backend("dwpose", {"runtime": runtime})
    with MediaReader() as reader, reader.read(clip, audio=False) as stream:
        assert (stream.info.width_px, stream.info.height_px, stream.info.rotation_deg % 360) == (*size, rotation_deg)
        tracker = backend.track(clip, stream.info)
        for frame in stream.frames():
            tracker.on_frame(frame)
    faces = tracker.finish()
    for points, (person,) in zip(faces.points_px, script, strict=True):
        assert np.abs(points - person.face_px).max() < 0.5


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    size = (640, 480)
    write_people(folder / "one.mp4", [[DotPerson(300 + i, 180, 50)] for i in range(12)], size)
    write_people(folder / "two.mp4", [[DotPerson(170, 180, 45), DotPerson(480, 190, 40)] for _ in range(12)], size)
    write_people(folder / "turned.mp4", [[DotPerson(240, 220, 60)] for _ in range(12)], size[::-1], 90)
    write_people(folder / "nobody.mp4", [[] for _ in range(12)], size)
    (folder / "empty.mp4").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def paper_run(videos, runtime, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run")
    where = ["--source", "folder", "--root", str(videos), "--out", str(out)]
    cli.main(["run", *where, "--profile", "paper", "--set", "job.executor=inprocess", *settings(runtime)])
    return out


def test_the_paper_profile_writes_rows_with_the_planted_faces(paper_run):
    df = manifests.load(paper_run).set_index("source_key")
    assert manifests.validate(df.reset_index()) == []
    assert (df["profile"] == "paper").all()
    assert df["landmark_model"].str.startswith("dwpose-1-").all()
    assert df.loc["empty.mp4", "error_kind"] == "empty_file"
    for name, person, n_faces in (("one.mp4", DotPerson(305.5, 180, 50), 1), ("turned.mp4", DotPerson(240, 220, 60), 1)):
        row, size = df.loc[name], np.ptp(person.face_px, axis=0)
        assert row["face_width_px"] == pytest.approx(size[0], abs=1)
        assert row["face_height_px"] == pytest.approx(size[1], abs=1)
        assert row["face_x0_px"] == pytest.approx(person.face_px[:, 0].min(), abs=1)
        assert row["interocular_px_p5"] == pytest.approx(person.eye_distance_px, abs=1)
        assert (row["valid_frame_ratio"], row["n_faces_max"]) == (1.0, n_faces)
        assert row["head_rotation_deg"] < 3
        assert row["landmarks_ms"] > 0
    assert (df.loc["two.mp4", "n_faces_max"], df.loc["two.mp4", "valid_frame_ratio"]) == (2, 0.0)
    assert (df.loc["nobody.mp4", "n_faces_max"], df.loc["nobody.mp4", "valid_frame_ratio"]) == (0, 0.0)
    assert np.isnan(df.loc["nobody.mp4", "face_width_px"])


def test_what_a_backend_does_when_the_clip_ends_counts_as_landmarks(videos, runtime, monkeypatch):
    overrides = [f"landmark_settings.runtime.{key}={value}" for key, value in (runtime | {"detector_batch": 8}).items()]
    finish = DWPoseTracker.finish

    def slow_finish(self):
        time.sleep(0.3)
        return finish(self)

    monkeypatch.setattr(DWPoseTracker, "finish", slow_finish)
    with ClipScorer(load_config("paper", overrides=tuple(overrides)), "0") as scorer:
        assert scorer.score(Clip("folder", "one.mp4", "one", str(videos / "one.mp4"))).row["landmarks_ms"] > 300


def test_how_the_networks_run_makes_no_score_stale(runtime):
    def digests(*overrides):
        config = load_config("paper", overrides=(*(f"landmark_settings.runtime.{k}={v}" for k, v in runtime.items()), *overrides))
        return part_digests(config, "dwpose-1")

    assert digests() == digests("landmark_settings.runtime.pose_batch=9", "landmark_settings.runtime.provider=cuda")
    assert digests() != digests("landmark_settings.detector_every_frames=3")


@pytest.mark.parametrize(
    ("extra", "message"),
    [((), "get them with `make models PROFILE=paper`"), (("provider=gpu",), "get them with `make models PROFILE=paper`")],
)
def test_without_weights_the_run_ends_in_one_line_before_it_writes_anything(videos, tmp_path, monkeypatch, capfd, extra, message):
    monkeypatch.setenv("MEGACTOR_MODELS", str(tmp_path))
    monkeypatch.setattr("curation.weights.store.user_directory", lambda: tmp_path)
    out = tmp_path / "out"
    sets = [part for text in extra for part in ("--set", f"landmark_settings.runtime.{text}")]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["run", "--source", "folder", "--root", str(videos), "--out", str(out), "--profile", "paper", *sets])
    assert stopped.value.code == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert message in line
    assert not out.exists()


def test_shares_of_a_gpu_leave_none_across_two():
    assert share_of(5000, 81_000) == 0.0625  # 16 fit
    assert share_of(5000, 24_000) == 0.25
    assert share_of(5000, 5000) == 1.0
    for need in range(900, 9000, 371):
        share = share_of(need, 24_564)
        assert int(1 / share) * need <= 24_564
        assert round(share * 10_000) == pytest.approx(share * 10_000)
    with pytest.raises(UserError, match="smallest GPU has 4096"):
        share_of(5000, 4096)


def test_what_a_worker_needs_of_a_gpu(runtime):
    assert GpuDemand.of(load_config()) == NO_GPU
    paper = [f"landmark_settings.runtime.{key}={value}" for key, value in runtime.items()]
    assert GpuDemand.of(load_config("paper", overrides=(*paper, "job.gpus_per_worker=0.5"))) == GpuDemand(0, 0.5)
    assert isinstance(gpu_memories_mib(), list)
    with pytest.raises(UserError, match="gpus_per_worker"):
        load_config(overrides=("job.gpus_per_worker=2",))


def counting_actor() -> type:
    """Stands in for a worker: tells, as `failed`, how many GPUs Ray gave it; complains about a task called "mistake".

    Made in a function, so that it travels to Ray's workers whole: they cannot import this file.
    """

    class CountingActor:
        def __call__(self, task):
            import ray

            if task == "mistake":
                raise UserError("the networks cannot run here")
            return Tally(clips=1, failed=len(ray.get_gpu_ids()))

    return CountingActor


@pytest.mark.slow
def test_ray_gives_workers_their_share_and_passes_on_their_mistakes():
    """In one Ray of our own, with GPUs that are only counted."""
    import ray

    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        done = dict(on_ray(["a", "b", "c"], counting_actor(), (), 0, GpuDemand(1000, 0.5)))
        assert done == {task: Tally(clips=1, failed=1) for task in ("a", "b", "c")}
        assert dict(on_ray(["a"], counting_actor(), (), 0)) == {"a": Tally(clips=1, failed=0)}
        with pytest.raises(UserError, match=r"^the networks cannot run here$"):
            list(on_ray(["mistake"], counting_actor(), (), 0, GpuDemand(1000, 0.5)))
        with pytest.raises(UserError, match=r"nvidia-smi tells of no GPU"):
            list(on_ray(["a"], counting_actor(), (), 0, GpuDemand(1000)))
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_ray_without_a_gpu_says_so():
    import ray

    ray.init(num_cpus=1, num_gpus=0, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(UserError, match="Ray sees no GPU"):
            list(on_ray(["a"], counting_actor(), (), 0, GpuDemand(1000)))
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_the_paper_profile_on_ray_writes_the_same_rows(videos, runtime, paper_run, tmp_path):
    command = [sys.executable, "-m", "curation", "run", "--source", "folder", "--root", str(videos), "--out", str(tmp_path)]
    command += ["--profile", "paper", "--set", "job.executor=ray", "--set", "workers=2", *settings(runtime)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    ignored = (*manifests.TIMING_COLUMNS, "code_version")
    difference = manifests.diff(manifests.load(paper_run), manifests.load(tmp_path), ignore=ignored)
    assert not difference, str(difference)
