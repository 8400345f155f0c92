"""`python -m benchmarks.syncnet [VIDEO...]`: SyncNet from file to scores, beside `syncnet-python`'s pipeline; one thread of a CPU.

Same clips, same random weights. `fast` decodes, finds FaceMesh landmarks, crops and embeds; `exact` runs S3FD on every frame instead; the
pipeline converts with ffmpeg, runs S3FD on every frame, and writes and reads frames as JPEG. Random weights see no faces, so that both the
pipeline and `exact` run S3FD in full and then go on with `fast`'s boxes: all three embed the same number of crops. Without arguments, a
face that moves a little is drawn at three sizes. The floor is the two towers alone on ready crops.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks import syncnet_peer
from curation.samples.encode import write_mp4
from curation.samples.portrait import load_picture
from curation.syncnet.clip import score_crops
from curation.syncnet.network import CROP_PX, Embedder, SyncNet
from curation.syncnet.pipeline import landmark_boxes, s3fd_boxes, score_video
from curation.syncnet.s3fd import S3FD, FaceDetector
from curation.syncnet.weights import require_device

SIZES_PX = ((512, 512), (1280, 720), (1920, 1080))


def draw_clip(path: Path, size_px: tuple[int, int], n_frames: int) -> str:
    """A head that sways, with noise for sound, as an mp4."""
    rng, (width, height) = np.random.default_rng(0), size_px
    face = cv2.resize(load_picture()[:320, 64:384], (height, height), interpolation=cv2.INTER_LINEAR)
    frames = []
    for i in range(n_frames):
        move = np.float32([[1, 0, (width - height) / 2 + 4 * np.sin(i / 7)], [0, 1, 3 * np.sin(i / 5)]])
        frames.append(cv2.warpAffine(face, move, (width, height), borderMode=cv2.BORDER_REPLICATE))
    write_mp4(path, frames, (rng.normal(size=640 * n_frames) * 3000).astype(np.int16))
    return str(path)


def measure(video: str, folder: Path, embedder: Embedder, detector: FaceDetector, peer: str) -> None:
    """Print frames a second of each way, and the ratio."""
    kept: list[list[list[float]]] = []
    find, look = landmark_boxes(), s3fd_boxes(detector)

    def fast(rgb: np.ndarray) -> np.ndarray:
        kept.append(find(rgb).tolist())
        return np.array(kept[-1]).reshape(-1, 4)

    began = time.perf_counter()
    tracks = score_video(video, embedder, fast)
    fast_s = time.perf_counter() - began
    again = iter(kept)

    def exact(rgb: np.ndarray) -> np.ndarray:
        look(rgb)
        return np.array(next(again)).reshape(-1, 4)

    began = time.perf_counter()
    score_video(video, embedder, exact)
    exact_s = time.perf_counter() - began
    n_crops = sum(track.track.n_frames for track in tracks)
    crops, sound = np.zeros((n_crops, CROP_PX, CROP_PX, 3), np.uint8), np.zeros(640 * n_crops, np.int16)
    began = time.perf_counter()
    score_crops(embedder, crops, sound)
    floor_s = time.perf_counter() - began
    n = len(kept)
    speeds = "  ".join(f"{name} {n / seconds:.2f}" for name, seconds in (("towers alone", floor_s), ("fast", fast_s), ("exact", exact_s)))
    line = f"{Path(video).name:16} {n:4} frames, {len(tracks)} tracks:  {speeds}"
    if peer:
        print(f"{line} frames/s  (no pipeline: {peer})", flush=True)
        return
    boxes_file = folder / "boxes.json"
    boxes_file.write_text(json.dumps({video: kept}))
    (row,) = syncnet_peer.run(folder / "syncnet.model", folder / "s3fd.pth", [video], boxes_file)
    ratios = f"fast is {row['seconds'] / fast_s:.1f} times, exact {row['seconds'] / exact_s:.1f} times as fast"
    print(f"{line}  syncnet-python {n / row['seconds']:.2f} frames/s; {ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", help="default: drawn clips")
    parser.add_argument("--frames", type=int, default=100, help="of a drawn clip (more than 50)")
    parser.add_argument("--sizes", default="", help="of drawn clips, e.g. 512x512,1920x1080")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; of both networks")
    arguments = parser.parse_args()
    require_device(arguments.device)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    syncnet, s3fd = SyncNet().eval(), S3FD().eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(syncnet.state_dict(), folder / "syncnet.model")
        torch.save(s3fd.state_dict(), folder / "s3fd.pth")
        videos = [str(Path(video).resolve()) for video in arguments.videos]
        if not videos:
            sizes = [tuple(map(int, text.split("x"))) for text in arguments.sizes.split(",")] if arguments.sizes else SIZES_PX
            videos = [draw_clip(folder / f"{w}x{h}.mp4", (w, h), arguments.frames) for w, h in sizes]
        embedder, detector = Embedder(syncnet, arguments.device), FaceDetector(s3fd, arguments.device)
        for video in videos:
            measure(video, folder, embedder, detector, syncnet_peer.missing())


if __name__ == "__main__":
    main()
