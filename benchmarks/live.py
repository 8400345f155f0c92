"""`python -m benchmarks.live`: what a live window costs, by its length and its steps, and how late frames are then.

Landmarks, patches, sampling and decoding of a window, with the last window's frames as context (a quarter of it). Times are CPU time of one
thread, or the clock's on a GPU: other work on the machine does not change the former. Without `--model` the embedded configuration with
random weights is taken, which costs the same time. The driver is a portrait that sways.
"""

from __future__ import annotations

import argparse
import statistics
import time

import cv2
import numpy as np

from curation.samples.portrait import load_picture
from inference.live.animation import LiveAnimation, LiveSettings
from inference.pipeline import MegActorSigmaPipeline

WINDOWS, STEPS = (4, 8, 16), (2, 4, 8)
CONTEXT = 4  # the window over it is what is carried


def embedded_pipeline(device: str) -> MegActorSigmaPipeline:
    """Of the embedded configuration, with random weights."""
    import torch

    from inference.models import MegActorModel
    from inference.models.components import load_inference_config
    from inference.sampling.samplers import make_scheduler

    torch.manual_seed(0)
    settings = load_inference_config("embedded", ())
    return MegActorSigmaPipeline(MegActorModel.from_sizes(settings.model).eval(), make_scheduler(), None, settings).to(device)


def driver_frames(count: int) -> list[np.ndarray]:
    """(320, 320, 3) uint8 of a head that sways."""
    face = load_picture()[:320, 64:384]
    maps = [np.float32([[1, 0, 6 * np.sin(i / 5)], [0, 1, 3 * np.cos(i / 7)]]) for i in range(count)]
    return [cv2.warpAffine(face, one, (320, 320), borderMode=cv2.BORDER_REPLICATE) for one in maps]


def window_s(pipe: MegActorSigmaPipeline, settings: LiveSettings, repeats: int) -> float:
    """Median seconds of a window, after one that warms up."""
    import torch

    on_gpu = pipe.transformer.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    animation, frames, times = LiveAnimation(pipe, load_picture(), settings), driver_frames(settings.new_frames), []
    for _ in range(repeats + 1):
        began = clock()
        animation.make(frames)
        if on_gpu:
            torch.cuda.synchronize()
        times.append(clock() - began)
    return statistics.median(times[1:])


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a pipeline's folder; none: the embedded configuration, random weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hz", type=float, default=25.0, help="frames a second of the driver, for the latency")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.model:
        pipe = MegActorSigmaPipeline.from_pretrained(arguments.model, device=arguments.device)
    else:
        pipe = embedded_pipeline(arguments.device)
    count = pipe.transformer.num_parameters() / 1e6
    print(f"{count:.1f} M parameters, {pipe.settings.size_px} px, {arguments.device}, {'trained' if arguments.model else 'random'} weights")
    latency = f"latency at {arguments.hz:g}/s"
    print(f"{'window':>6} {'context':>7} {'steps':>5} {'a window':>10} {'a new frame':>12} {'keeps up with':>13} {latency:>16}")
    for window in WINDOWS:
        for steps in STEPS:
            settings = LiveSettings(window, window // CONTEXT, steps)
            seconds, new = window_s(pipe, settings, arguments.repeats), settings.new_frames
            rate_hz = new / seconds
            fills_s = (new - 1) / min(arguments.hz, rate_hz)  # frames that there is no time for are dropped: a window fills as it is made
            print(
                f"{window:6} {settings.context:7} {steps:5} {1000 * seconds:7.0f} ms {1000 * seconds / new:9.0f} ms {rate_hz:10.1f} /s"
                f" {1000 * (fills_s + seconds):13.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
