"""`syncnet-python`'s own pipeline, run for real in a process of its own, because it needs an older PySceneDetect.

pip install --no-deps --target .venv/peers/syncnet -r requirements-peers.txt
python -m benchmarks.syncnet_peer SYNCNET_WEIGHTS S3FD_WEIGHTS BOXES VIDEO...     one line of JSON a video; BOXES may be ''
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

PEERS = Path(__file__).resolve().parents[1] / ".venv" / "peers" / "syncnet"


def missing() -> str:
    """Why the pipeline cannot run here; empty if it can."""
    import importlib.util
    import shutil

    if shutil.which("ffmpeg") is None:
        return "ffmpeg is not on the PATH: apt-get install ffmpeg"
    if not (PEERS / "scenedetect").is_dir():
        return f"pip install --no-deps --target {PEERS.relative_to(PEERS.parents[2])} -r requirements-peers.txt"
    return "" if importlib.util.find_spec("syncnet_python") else "pip install --no-deps -r requirements-nodeps.txt"


def run(syncnet: Path, s3fd: Path, videos: list[str], boxes: Path | str = "") -> list[dict]:
    """For each video: `offsets`, `sync_c`, `sync_d` of its tracks, and `seconds` without loading the weights. One thread.

    Args:
        boxes: a JSON file, by video the boxes of each frame, that stand in for what the detector says after it did its work.
    """
    command = [sys.executable, "-m", "benchmarks.syncnet_peer", str(syncnet), str(s3fd), str(boxes), *videos]
    root = Path(__file__).resolve().parents[1]
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "PYTHONPATH": f"{PEERS}:{root}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


class Steered:
    """The pipeline's detector, whose work is done and whose boxes are replaced: random weights see no faces."""

    def __init__(self, detector, boxes_px: list[list[list[float]]]):
        self._detector, self._boxes = detector, iter(boxes_px)

    def detect_faces(self, image, **settings):
        import numpy as np

        self._detector.detect_faces(image, **settings)
        boxes = np.array(next(self._boxes, []), float).reshape(-1, 4)
        return np.column_stack([boxes, np.ones(len(boxes))])


def main(syncnet: str, s3fd: str, boxes_file: str, *videos: str) -> None:
    import torch
    from syncnet_python import SyncNetPipeline

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    boxes = json.loads(Path(boxes_file).read_text()) if boxes_file else {}
    with contextlib.redirect_stdout(sys.stderr):
        pipeline = SyncNetPipeline(s3fd_weights=s3fd, syncnet_weights=syncnet, device="cpu")
    detector = pipeline.s3fd
    for video in videos:
        pipeline.s3fd = Steered(detector, boxes[video]) if video in boxes else detector
        began = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            offsets, sync_c, sync_d, *_ = pipeline.inference(video)
        row = {"video": video, "offsets": offsets, "sync_c": sync_c, "sync_d": sync_d, "seconds": time.perf_counter() - began}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
