"""`python -m benchmarks.materialise`: frames a second of cutting clips, beside the floor of its two unavoidable stages.

The floor decodes the source and encodes pictures of the result's size with the same x264 settings, and does nothing else: no child
process, no conversion to RGB, no crop. Both run in one thread; frames are counted by processor time of this process and its child.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from benchmarks.decode import N_FRAMES, synthesise
from curation.landmarks.pose import TEMPLATE_CM
from curation.materialise.clip import ClipCutter
from curation.materialise.settings import MaterialiseSettings
from manifests import ClipLandmarks

SIZES_PX = ((512, 512), (1280, 720), (1920, 1080))


def cut(source: Path, target: Path, settings: MaterialiseSettings, size_px: tuple[int, int]) -> None:
    """The real thing, for one clip."""
    width, height = size_px
    points = np.tile(TEMPLATE_CM[:, :2] * height / 40 + [width / 2, height / 2], (N_FRAMES, 1, 1)).astype(np.float32)
    landmarks = ClipLandmarks(np.arange(N_FRAMES) * 40.0, np.ones(N_FRAMES, np.int16), points, np.ones((N_FRAMES, 68), np.float32))
    row = {"source": "bench", "source_key": "a", "identity": "a", "video_path": str(source), "start_ms": 0, "end_ms": None}
    with ClipCutter(settings, "bench") as cutter:
        found = cutter.cut(row | {"clip_id": "a", "status": "scored"}, landmarks, target)
    if found.error_kind:
        raise RuntimeError(found.error_message)


def floor(source: Path, target: Path, settings: MaterialiseSettings) -> None:
    """Decode, then scale and encode in YUV, all within FFmpeg."""
    with av.open(str(source)) as container, av.open(str(target), "w", format="mp4") as out:
        container.streams.video[0].codec_context.thread_count = 1
        options = {"preset": settings.x264_preset, "crf": str(settings.crf), "g": str(settings.key_every_frames)}
        video = out.add_stream("libx264", rate=25, options=options)
        video.width = video.height = settings.size_px
        video.pix_fmt, video.codec_context.thread_count = "yuv420p", 1
        for number, frame in enumerate(container.decode(video=0)):
            small = frame.reformat(settings.size_px, settings.size_px, "yuv420p", threads=1)
            small.pts, small.time_base = number, Fraction(1, 25)
            out.mux(video.encode(small))
        out.mux(video.encode(None))


def frames_per_cpu_s(work: Callable[[], None], rounds: int) -> float:
    """The best of some rounds."""
    best = 0.0
    for _ in range(rounds):
        before = _cpu_s()
        work()
        best = max(best, N_FRAMES / (_cpu_s() - before))
    return best


def _cpu_s() -> float:
    """Processor time of this process and of its children that have ended."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the result, px")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    settings = MaterialiseSettings(size_px=arguments.size)
    print(f"to {arguments.size} px, x264 {settings.x264_preset} crf {settings.crf}; frames per CPU second, best of {arguments.rounds}")
    with tempfile.TemporaryDirectory() as folder:
        for size_px in SIZES_PX:
            source, target = synthesise(Path(folder) / f"{size_px[0]}.mp4", size_px, 250), Path(folder) / "out.mp4"
            lowest = frames_per_cpu_s(lambda: floor(source, target, settings), arguments.rounds)  # noqa: B023
            achieved = frames_per_cpu_s(lambda: cut(source, target, settings, size_px), arguments.rounds)  # noqa: B023
            print(f"{size_px[0]:5}x{size_px[1]:<5} {achieved:6.0f}  floor {lowest:6.0f}  {achieved / lowest:4.0%}")


if __name__ == "__main__":
    main()
