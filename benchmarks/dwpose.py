"""`python -m benchmarks.dwpose`: the DWPose backend beside bare runs of its networks, and beside rtmlib frame by frame.

With the published weights (`make models`) on real faces; without them with the tests' stand-ins of the same inputs and outputs, which cost
next to nothing: what is above their floor is then our own work around the networks, and that is the same with any weights.

`--gpu-memory` runs full batches on the GPU and prints what the process takes of it, beside what the configuration sets aside.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.landmarks import moving_face
from curation.contracts import Clip, Frame, MediaInfo
from curation.dwpose.backend import DETECTOR, POSE, DWPose, Runtime
from curation.dwpose.detector import letterbox
from curation.dwpose.pose import crop, normalised

N_TURNS = 3


def backend_of(provider: str, batch: int, standins: Path) -> tuple[DWPose, bool]:
    """The backend, and whether its weights are the published ones."""
    runtime = Runtime(provider=provider, pose_batch=batch)
    if all(runtime.store().locate(name) for name in (DETECTOR, POSE)):
        return DWPose(runtime=runtime), True
    from tests.curation.dot_networks import write_models

    settings = write_models(standins, detector_batch=1)  # as the published graph
    return DWPose(runtime=replace(runtime, models_dir=settings["models_dir"], models_table=settings["models_table"])), False


def planted(n_frames: int, width_px: int, height_px: int) -> list[Frame]:
    """One person of the stand-in networks, who moves."""
    from tests.curation.dot_networks import DotPerson, draw

    eyes_px = 0.1 * height_px
    return [
        Frame(i, 40.0 * i, draw([DotPerson(width_px / 2 + 20 * np.sin(i / 5), 0.4 * height_px, eyes_px)], width_px, height_px))
        for i in range(n_frames)
    ]


def best_ms(work: Callable[[], None], n: int) -> float:
    """Wall milliseconds for each of `n` frames, of the best turn."""
    work()
    turns = []
    for _ in range(N_TURNS):
        began = time.perf_counter()
        work()
        turns.append(time.perf_counter() - began)
    return 1000 * min(turns) / n


def compare(backend: DWPose, frames: Sequence[Frame]) -> list[str]:
    height, width = frames[0].rgb.shape[:2]
    info = MediaInfo(width, height, 25.0, len(frames), 40.0 * len(frames), "h264", False, None)

    def track() -> None:
        tracker = backend.track(Clip("benchmark", "face", "face", ""), info)
        for frame in frames:
            tracker.on_frame(frame)
        if not tracker.finish().seen.all():
            raise RuntimeError("the benchmark's face was lost: its figure would mean nothing")

    track()
    networks = (backend.detector.network, backend.poser.network)
    before = [network.n_runs for network in networks]
    track()
    runs = [network.n_runs - n for network, n in zip(networks, before, strict=True)]
    blanks = [
        [np.zeros((3, *shape), np.float32)] * network.batch for network, shape in zip(networks, ((640, 640), (384, 288)), strict=True)
    ]

    def bare() -> None:
        for network, n, blank in zip(networks, runs, blanks, strict=True):
            for _ in range(n):
                network.run(blank)

    rgb, box = frames[0].rgb, backend.detector.detect([frames[0].rgb])[0][0].box_px
    achieved, floor = best_ms(track, len(frames)), best_ms(bare, len(frames))
    return [
        f"frame {width} x {height}, {len(frames)} frames, {runs[0]} runs of the detector, {runs[1]} of the pose network",
        f"{'DWPose backend':34} {achieved:9.2f} ms/frame",
        f"{'floor: the same runs, bare':34} {floor:9.2f} ms/frame   achieved / floor {achieved / floor:.2f}",
        f"{'  of it: letterbox, a look':34} {best_ms(lambda: letterbox(rgb), 1):9.2f} ms",
        f"{'  of it: crop and normalise, a person':34} {best_ms(lambda: normalised(crop(rgb, box)), 1):9.2f} ms",
        *peer(backend, frames, achieved),
    ]


def peer(backend: DWPose, frames: Sequence[Frame], achieved_ms: float) -> list[str]:
    """rtmlib's two classes on the same files, as everybody calls them: both networks on every frame, one picture a run."""
    try:
        import rtmlib
    except ImportError:
        return ["rtmlib is not installed: no peer"]
    device = backend.runtime.provider
    detector = rtmlib.YOLOX(str(backend.detector.network.file), (640, 640), score_thr=0.3, backend="onnxruntime", device=device)
    poser = rtmlib.RTMPose(str(backend.poser.network.file), (288, 384), backend="onnxruntime", device=device)

    def run() -> None:
        for frame in frames:
            poser(frame.rgb, detector(np.ascontiguousarray(frame.rgb[..., ::-1]))[:1])

    ms = best_ms(run, len(frames))
    return [f"{'rtmlib, every frame':34} {ms:9.2f} ms/frame   {ms / achieved_ms:.1f} x ours (its sessions use all cores)"]


def accuracy(folder: Path) -> list[str]:
    """Largest error of a face point at 1080p, with the stand-ins: random pictures, random boxes and batches, video under all turns."""
    from curation.dwpose import pose
    from curation.media import MediaReader
    from tests.curation.dot_networks import DotPerson, draw, write_models, write_people

    backend = DWPose(runtime=Runtime(**{**write_models(folder), "detector_batch": 2, "pose_batch": 6}))
    rng = np.random.default_rng(0)
    of_pictures, of_boxes, of_batches, of_video = [], [], [], []
    for _ in range(60):
        eyes_px = rng.uniform(60, 190)
        place = rng.uniform(2 * eyes_px, 1920 - 2 * eyes_px), rng.uniform(2.2 * eyes_px, 1080 - 2.5 * eyes_px)
        person = DotPerson(*place, eyes_px, rng.uniform(-30, 30))
        rgb = draw([person], 1920, 1080)
        found = backend.detector.detect([rgb])[0][0].box_px
        points = backend.poser.locate([crop(rgb, found)], [found])[0]
        of_pictures.append(np.abs(points[:, pose.FACE] - person.face_px).max())
        middle, half = (person.box_px[:2] + person.box_px[2:]) / 2, (person.box_px[2:] - person.box_px[:2]) / 2
        boxes = []
        for _ in range(rng.integers(1, 7)):
            centre, reach = middle + rng.uniform(-0.15, 0.15, 2) * half, half * rng.uniform(0.85, 1.6, 2)
            boxes.append(np.concatenate([centre - reach, centre + reach]))
        batched = backend.poser.locate([crop(rgb, box) for box in boxes], boxes)[0]
        of_boxes.append(np.abs(batched[:, pose.FACE] - person.face_px).max())
        singles = [backend.poser.locate([crop(rgb, box)], [box])[0] for box in boxes]
        of_batches.append(np.abs(np.concatenate(singles) - batched).max())
    for turn_deg in (0, 90, 180, 270):
        width, height = (1080, 1920) if turn_deg % 180 else (1920, 1080)
        script = [[DotPerson(width / 2 + 4 * i, 480, 110, 3 * i)] for i in range(8)]
        file = folder / f"{turn_deg}.mp4"
        write_people(file, script, (width, height), turn_deg)
        clip = Clip("benchmark", file.name, "dots", str(file))
        with MediaReader() as reader, reader.read(clip, audio=False) as stream:
            tracker = backend.track(clip, stream.info)
            for frame in stream.frames():
                tracker.on_frame(frame)
        wanted = np.stack([people[0].face_px for people in script])
        of_video.append(np.abs(tracker.finish().points_px - wanted).max())
    return [
        f"largest error of a face point: pictures {max(of_pictures):.2f} px, any box {max(of_boxes):.2f} px, video {max(of_video):.2f} px",
        f"largest difference between batch and single: {max(of_batches):.4f} px",
    ]


def gpu_memory(backend: DWPose) -> list[str]:
    """What this process takes of the GPU after full batches of both networks."""
    for network, shape in ((backend.detector.network, (640, 640)), (backend.poser.network, (384, 288))):
        for _ in range(3):
            network.run([np.zeros((3, *shape), np.float32)] * network.batch)
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    lines = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    used = [int(line.split(",")[1]) for line in lines if line.split(",")[0].strip() == str(os.getpid())]
    return [f"GPU memory of this process: {sum(used)} MiB; set aside for a worker: {backend.gpu_memory_mib} MiB"]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--provider", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1080), metavar=("WIDTH", "HEIGHT"), help="of the stand-ins' pictures")
    parser.add_argument("--batch", type=int, default=Runtime.pose_batch, help="of the pose network")
    parser.add_argument("--accuracy", action="store_true", help="print how well planted points come back, and nothing else")
    parser.add_argument("--gpu-memory", action="store_true", help="print what the process takes of the GPU, and nothing else")
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.accuracy:
            print("\n".join(accuracy(Path(folder))))
            return
        backend, published = backend_of(options.provider, options.batch, Path(folder))
        print(f"weights: {'published' if published else 'stand-ins'} ({backend.name}), provider {options.provider}")
        if options.gpu_memory:
            print("\n".join(gpu_memory(backend)))
            return
        frames = moving_face(1080)[: options.frames] if published else planted(options.frames, *options.size)
        print("\n".join(compare(backend, frames)))


if __name__ == "__main__":
    main()
