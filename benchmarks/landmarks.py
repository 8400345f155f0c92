"""`python -m benchmarks.landmarks`: the FaceMesh backend on a moving face, beside bare runs of its networks.

The floor of a frame is one run of the mesh network, and of the detector every `detector_every_frames`: no resizing, no tracking.
Processor time, one thread; the two take turns, so that a busy machine slows both alike, and the best turn of each counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from curation.contracts import Clip, Frame, MediaInfo
from curation.landmarks.facemesh import FaceMesh
from curation.samples.portrait import load_picture
from curation.scorers.head_pose import HeadPose

N_FRAMES = 50
N_TURNS = 8
SIZES_PX = (256, 512, 1080)


class Row(NamedTuple):
    """One line of the table: `achieved` and `floor` in `unit`."""

    what: str
    achieved: float
    floor: float
    unit: str = "ms/frame"


def moving_face(size_px: int) -> list[Frame]:
    """A head and shoulders that sway and nod a little, as a talking head fills its picture."""
    picture = load_picture()[:320, 64:384]
    scale = size_px / len(picture)
    frames = []
    for i in range(N_FRAMES):
        matrix = cv2.getRotationMatrix2D((160, 160), 6 * np.sin(i / 9), 1.0)
        matrix[:, 2] += [5 * np.sin(i / 5), 4 * np.cos(i / 7)]
        rgb = cv2.warpAffine(picture, scale * matrix, (size_px, size_px), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        frames.append(Frame(i, 40.0 * i, rgb))
    return frames


def rows(sizes_px: Sequence[int] = SIZES_PX) -> list[Row]:
    """A line for each size of the picture, and one for the head pose."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        backend = FaceMesh()
        lines = [_line(backend, size_px) for size_px in sizes_px]
        points_px = np.repeat(backend.detect_image(load_picture())[0].points_px[None], 1000, axis=0)
        HeadPose().angles_deg(points_px)
        lines.append(Row("head pose", _cpu_ms(lambda: HeadPose().angles_deg(points_px)) / len(points_px), 0.0))
    finally:
        cv2.setNumThreads(threads)
    return lines


def _line(backend: FaceMesh, size_px: int) -> Row:
    frames = moving_face(size_px)
    mesh, detector, every = backend.mesh.network, backend.full_range.network, backend.detector_every_frames
    blank = {network: np.zeros((network.size_px, network.size_px, 3), np.uint8) for network in (mesh, detector)}

    def track() -> None:
        info = MediaInfo(size_px, size_px, 25.0, len(frames), 40.0 * len(frames), "h264", False, None)
        tracker = backend.track(Clip("benchmark", "face", "face", ""), info)
        for frame in frames:
            tracker.on_frame(frame)
        if not tracker.finish().seen.all():
            raise RuntimeError("the benchmark's face was lost: its figure would mean nothing")

    def networks_alone() -> None:
        for i in range(len(frames)):
            mesh.run(blank[mesh], 1 / 255, 0)
            if i % every == 0:
                detector.run(blank[detector], 2 / 255, -1)

    track(), networks_alone()
    turns = [(_cpu_ms(track), _cpu_ms(networks_alone)) for _ in range(N_TURNS)]
    achieved, floor = np.min(turns, axis=0) / len(frames)
    return Row(f"FaceMesh, one face, {size_px} px", float(achieved), float(floor))


def _cpu_ms(work) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES_PX, metavar="PX", help="sides of the picture in pixels")
    for row in rows(parser.parse_args(argv).sizes):
        over = f"  {100 * (row.achieved / row.floor - 1):+.0f} %" if row.floor else ""
        print(f"{row.what:28} {row.achieved:8.3f} {row.floor:8.3f} {row.unit}{over}")


if __name__ == "__main__":
    main()
