"""`make bench-curation`: what the curation achieves beside what it could at most, in one run.

A floor is the same work done bare: decoding by PyAV in this process plus the landmark backend and nothing else; one worker; the plain
loop without Ray; Parquet read without us.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av

import manifests
from benchmarks import decode, landmarks, manifest_load
from curation.config import CurationConfig, digest, load_config
from curation.contracts import Clip, ClipError, Frame, MediaInfo, ScoredClip
from curation.job.clip_scorer import ClipScorer, part_digests
from curation.job.executors import run_inprocess, run_ray
from curation.job.file_stamps import file_stamps
from curation.job.ledger import Ledger, shard_count
from curation.job.tally import Tally
from curation.job.worker import ShardTask, WorkerSpec
from curation.landmarks import make_backend
from curation.samples import render_samples

N_CLIPS = 60
SAMPLES = Path("outputs/samples")
N_COMMITTED = 100_000


@dataclass(frozen=True)
class Line:
    what: str
    achieved: float
    floor: float
    unit: str
    goal: str = ""
    holds: bool | None = None

    def text(self) -> str:
        verdict = "" if self.holds is None else ("holds" if self.holds else "FALLS SHORT")
        return f"{self.what:58} {self.achieved:10.2f} {self.floor:10.2f} {self.unit:12} {self.goal:28} {verdict}".rstrip()


def sixty_clips(folder: Path, n: int) -> list[Clip]:
    """`n` files at 512 px of a speaking face: copies of the clean samples."""
    folder.mkdir(parents=True, exist_ok=True)
    truths = [truth for truth in render_samples(SAMPLES) if not truth.fault]
    clips = []
    for i in range(n):
        truth = truths[i % len(truths)]
        file = folder / f"{i:03d}.mp4"
        shutil.copyfile(SAMPLES / truth.file, file)
        clips.append(Clip("folder", file.name, truth.identity, str(file)))
    return clips


def bare_seconds(clips: list[Clip], config: CurationConfig) -> tuple[float, float]:
    """(seconds of video, seconds taken) of the floor: PyAV to RGB in this process and the landmark backend on every frame."""
    backend = make_backend(config.landmarks, config.landmark_settings)
    media_s, began = 0.0, time.perf_counter()
    for clip in clips:
        with av.open(clip.video_path) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            info = MediaInfo(stream.width, stream.height, float(stream.average_rate), None, 0.0, "h264", True, 16000)
            tracker = backend.track(clip, info)
            for index, frame in enumerate(container.decode(stream)):
                tracker.on_frame(Frame(index, index * 40.0, frame.to_ndarray(format="rgb24")))
                media_s += 0.04
            tracker.finish()
    return media_s, time.perf_counter() - began


def one_core(clips: list[Clip], config: CurationConfig) -> Iterator[Line]:
    """Real-time factor of one worker, and its share of the decode + landmark floor; floor and worker take turns clip by clip."""
    media_s = floor_s = worker_s = cpu_s = 0.0
    with ClipScorer(config, "bench") as scorer:
        scorer.score(clips[0])
        for clip in clips[:20]:
            length_s, taken_s = bare_seconds([clip], config)
            media_s, floor_s = media_s + length_s, floor_s + taken_s
            began, cpu = time.perf_counter(), sum(os.times()[:4])
            row = scorer.score(clip).row
            if row["status"] != "scored":
                raise ClipError("scorer_error", f"{clip.source_key}: {row['error_message']}")
            worker_s, cpu_s = worker_s + time.perf_counter() - began, cpu_s + sum(os.times()[:4]) - cpu
    speed, floor = media_s / worker_s, media_s / floor_s
    yield Line("one worker, embedded profile, 512 px", speed, floor, "x real time", ">= 2 x real time", speed >= 2)
    yield Line("  share of the decode + landmark floor", speed / floor, 1.0, "", ">= 0.80", speed / floor >= 0.8)


def timed(execute: Callable, clips: list[Clip], config: CurationConfig, folder: Path) -> tuple[float, float]:
    """(seconds from call to end, seconds from the first committed shard to the end scaled to all shards)."""
    out = folder / f"out-{time.monotonic_ns()}"
    n_shards = len(clips)
    tasks = [ShardTask(i, (clip,), (None,)) for i, clip in enumerate(clips)]
    spec = WorkerSpec(config, str(out), "bench", "bench", {})
    marks: list[float] = []
    began = time.perf_counter()

    def note(tally: Tally) -> None:
        assert tally.failed == 0
        marks.append(time.perf_counter())

    execute(tasks, spec, note)
    ended = time.perf_counter()
    workers = max(1, config.workers)
    steady = (marks[-1] - marks[workers - 1]) / (len(marks) - workers) * n_shards
    return ended - began, steady


def scaling(clips: list[Clip], overrides: tuple[str, ...], folder: Path) -> Iterator[Line]:
    """Ray with two workers against one, and Ray with one worker against the plain loop."""
    one, two = (load_config(overrides=(*overrides, f"workers={n}")) for n in (1, 2))
    plain_all, plain = timed(run_inprocess, clips, one, folder)
    ray_all, ray_one = timed(run_ray, clips, one, folder)
    both_all, ray_two = timed(run_ray, clips, two, folder)
    yield Line("two Ray workers over one (steady)", ray_one / ray_two, 2.0, "x", ">= 1.7", ray_one / ray_two >= 1.7)
    yield Line("  with Ray's start-up", ray_all / both_all, 2.0, "x")
    loss = ray_one / plain - 1
    yield Line(f"one Ray worker against the plain loop, {len(clips)} clips", loss * 100, 0.0, "% slower", "<= 10 %", loss <= 0.10)
    yield Line("  Ray's start-up, once a run", (ray_all - plain_all) - (ray_one - plain), 0.0, "s")


def resume(folder: Path, n_rows: int) -> Iterator[Line]:
    """Seconds from `python -m curation run` to the line that says what there is to do, with `n_rows` rows committed and one new clip."""
    root, out = folder / "many.csv", folder / "many-out"
    names = [f"{i:06d}.mp4" for i in range(n_rows)]
    config = load_config(overrides=("job.executor=inprocess",))
    ledger = Ledger(out)
    ledger.open()
    n_shards = shard_count(n_rows, 0)
    model = make_backend(config.landmarks, config.landmark_settings).name
    digests = part_digests(config, model)
    for name in names:
        (folder / name).touch()
    stamps = file_stamps(str(folder / name) for name in names)
    shards: dict[int, list[ScoredClip]] = {}
    for name in names:
        clip = Clip("folder", name, name, str(folder / name))
        row = {
            "clip_id": clip.clip_id,
            "source": "folder",
            "source_key": name,
            "identity": name,
            "video_path": clip.video_path,
            "start_ms": 0,
            "end_ms": None,
            "split": manifests.split(name),
            "status": "failed",
            "error_kind": "empty_file",
            "error_message": "no bytes",
            "attempts": 1,
            "accepted": False,
            "reject_reasons": ["failed:empty_file"],
            "config_hash": digest(digests),
            "file_stamp": stamps[clip.video_path],
        }
        shards.setdefault(manifests.shard_of(name, n_shards), []).append(ScoredClip(row))
    for shard, items in shards.items():
        ledger.commit(shard, items, digests, {}, config.preset)
    from manifests import configuration

    ledger.write_run({"source": "folder", "root": str(root), "config": configuration.to_tree(config), "n_shards": n_shards})
    root.write_text("path\n" + "\n".join([*names, "new.mp4"]) + "\n")
    command = [
        sys.executable,
        "-m",
        "curation",
        "run",
        "--source",
        "folder",
        "--root",
        str(root),
        "--out",
        str(out),
        "--set",
        "job.executor=inprocess",
    ]
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in process.stderr:
        if "clips to do" in line:
            break
    seconds = time.perf_counter() - began
    process.communicate(timeout=300)
    began = time.perf_counter()
    ledger.states()
    footers = time.perf_counter() - began
    yield Line(f"resume with {n_rows} committed rows: start to work", seconds, footers, "s", "< 3 s", seconds < 3)


def parts() -> Iterator[Line]:
    """The parts by themselves: decoding, landmarks, manifests of a million rows."""
    for row in [*decode.rows(), *landmarks.rows()]:
        yield Line(*row[:4])
    for what, achieved, floor, unit in manifest_load.measure().itertuples(index=False):
        judged = {"goal": "< 2 s", "holds": achieved < 2000} if what.startswith("load + query") else {}
        yield Line(what, achieved, floor, unit, **judged)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=N_CLIPS, help="clips for the scaling figures")
    parser.add_argument("--rows", type=int, default=N_COMMITTED, help="committed rows for the resume figure")
    parser.add_argument("--only", choices=["core", "scaling", "resume", "parts"], help="one group only")
    chosen = parser.parse_args(arguments)
    print(f"{'what':58} {'achieved':>10} {'floor':>10} {'unit':12} {'goal':28}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        groups: dict[str, Callable[[], Iterator[Line]]] = {
            "core": lambda: one_core(sixty_clips(folder / "core", 20), load_config()),
            "scaling": lambda: scaling(sixty_clips(folder / "scaling", chosen.clips), (), folder),
            "resume": lambda: resume(folder, chosen.rows),
            "parts": parts,
        }
        for name, lines in groups.items():
            if chosen.only in (None, name):
                for line in lines():
                    print(line.text(), flush=True)


if __name__ == "__main__":
    main()
