"""`python -m benchmarks.training --config embedded --stage 1`: where a training step's time goes, beside what the device could do.

One run on one device: the matrix-product ceiling, then the step (forward, loss, backward, update) on random data, then, if a manifest is
given, the trainer with its loader. MFU counts model FLOPs: recomputation, autoencoder and sound encoder are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from inference.models import training_flops
from inference.models.flops import Work
from manifests import UserError
from training.config import load_training_config
from training.cost.probe import StepProbe
from training.loop.hardware import matrix_product_tflops, peak_memory_gib, peak_tflops
from training.run import inference_config


def step_alone(options: argparse.Namespace) -> dict[str, float]:
    """Rates of the step on random data that lies on the device."""
    config = load_training_config(options.config, options.stage, tuple(options.set))
    inference = inference_config(config)
    cuda = torch.cuda.is_available() and config.hardware.device != "cpu"
    device = torch.device("cuda" if cuda else "cpu")
    if config.hardware.device == "cuda" and not cuda:
        raise UserError("no CUDA device: add --set hardware.device=cpu, and a small configuration")
    dtype = torch.bfloat16 if config.hardware.precision == "bf16" else torch.float32
    ceiling = matrix_product_tflops(device, dtype)
    micro, _ = config.accumulation(1)
    sizes, frames = inference.model.at_stage(config.stage), config.data.frames_of_stage(config.stage)
    flops = training_flops(sizes, Work(micro, frames, inference.size_px, inference.size_px, True, sizes.with_audio), config.stage)
    probe = StepProbe(config, inference, device, micro)
    for _ in range(3 if cuda else 1):
        probe.step()
    times = []
    for _ in range(options.repeats):
        begin = time.perf_counter()
        probe.step()
        times.append(time.perf_counter() - begin)
    step_s = sorted(times)[len(times) // 2]
    peak = config.hardware.peak_tflops or (peak_tflops(torch.cuda.get_device_name(device)) if cuda else ceiling)
    return {
        "ceiling_tflops": ceiling,
        "micro_batch": micro,
        "step_s": step_s,
        "samples_per_s": micro / step_s,
        "tflops": flops / step_s / 1e12,
        "mfu": flops / step_s / 1e12 / peak,
        "of_ceiling": flops / step_s / 1e12 / ceiling,
        "peak_memory_gib": peak_memory_gib(device),
    }


def with_loader(options: argparse.Namespace) -> dict[str, float]:
    """The trainer's own record of its last steps, on a manifest."""
    from training.loop.run_folder import Log
    from training.run import train

    steps = 2 * options.repeats
    overrides = (f"steps={steps}", f"logging.every_steps={options.repeats}", "logging.trackers=[]", "validation.every_steps=0")
    config = load_training_config(options.config, options.stage, (*options.set, *overrides, "videos.at_end=false", "videos.every_steps=0"))
    config = replace(config, checkpoints=replace(config.checkpoints, every_steps=steps))
    with tempfile.TemporaryDirectory() as folder:
        train(config, options.manifest, Path(folder) / "run", init=options.init, say=lambda line: None)
        record = [record for record in Log(Path(folder) / "run").read() if record["kind"] == "train"][-1]
    return {name: value for name, value in record.items() if name.endswith("_s") or name in ("mfu", "peak_memory_gib")} | {
        "data_wait_share": record["data_s"] / record["step_s"]
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", default="embedded")
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--manifest", help="time the whole trainer on it too (stages 2 and 3 need --init)")
    parser.add_argument("--init", help="a run of the stage before")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)
    try:
        found = {"step on random data": step_alone(options)}
        if options.manifest:
            found["trainer with its loader"] = with_loader(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, values in found.items():
        print(name)
        for key, value in values.items():
            print(f"  {key:<20} {value:,.4g}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
