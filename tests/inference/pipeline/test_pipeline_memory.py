"""Memory does not grow with the length of a video, from the driver's frames to the file."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("av")
pytest.importorskip("torch", reason="the pipeline needs torch: install the [train] extra")

SCRIPT = """
import resource, sys
from fractions import Fraction
import numpy as np
from inference.driving.sound import ArraySound
from inference.output.video_writer import open_output
from inference.sampling.settings import SamplingSettings
from tests.inference.animation_parts import SIZE_PX, ArrayReport, make_reference, tiny_pipeline


class Endless:
    fps, audio, report = Fraction(25), None, ArrayReport()

    def __init__(self, n_frames):
        self.n_frames = n_frames

    def driven_frames(self, start, stop):
        return np.random.default_rng(start).integers(0, 256, (stop - start, 3, SIZE_PX, SIZE_PX), np.uint8)


n_frames = int(sys.argv[1])
sound = ArraySound(np.zeros(16_000 * n_frames // 25, np.float32))
animation = tiny_pipeline().prepare(make_reference(), Endless(n_frames), sound, SamplingSettings(4), generator=0)
with open_output(sys.argv[2], animation.fps, n_frames, animation.sound) as writer:
    count = 0
    for rgb in animation.frames():
        writer.write(rgb)
        count += 1
assert count == n_frames
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_peak_memory_is_flat_from_100_to_1000_frames(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]

    def peak_kib(n_frames: int) -> int:
        command = [sys.executable, "-c", SCRIPT, str(n_frames), str(tmp_path / f"{n_frames}.mp4")]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1])

    short, long = peak_kib(100), peak_kib(1000)
    print(f"peak memory: {short} KiB for 100 frames, {long} KiB for 1000")
    assert long < 1.05 * short, f"{short} KiB for 100 frames, {long} KiB for 1000"
