"""`python -m benchmarks.inference --frames 64`: seconds a frame of every preset beside the floor of its arithmetic.

Floor: the FLOPs that the preset cannot do without (rows without reference or sound are counted without them; the reference once a step;
the VAE's decoder) at the matrix-product rate measured in the same run. Driver and sound are made up: decoding, landmarks and encoding of
the video are not measured here. `--quality` compares every lever with the `paper` preset on the same noise: how much time it saves, and the
PSNR of its frames to those of `paper`; meaningful with a trained `--model` only.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from benchmarks.model import Stopwatch, matrix_product_ceiling
from inference.models import MegActorModel, ModelConfig, forward_flops
from inference.models.components import InferenceConfig, TrainingRecord, load_inference_config
from inference.models.flops import Work
from inference.pipeline import MegActorSigmaPipeline
from inference.sampling.samplers import make_scheduler
from inference.sampling.settings import SamplingSettings
from inference.sampling.windows import WINDOW, WindowPlan
from inference.studio.presets import load_presets

SD_VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}


@dataclass(frozen=True)
class Line:
    """One preset: `floor_s` and `seconds` are of a frame; `psnr_db` of its frames to the paper preset's."""

    name: str
    evaluations: int
    tflop: float
    floor_s: float
    seconds: float
    peak_gib: float
    psnr_db: float | None = None

    def text(self) -> str:
        quality = "" if self.psnr_db is None else f"{self.psnr_db:8.1f} dB"
        return (
            f"{self.name:26} {self.evaluations:6} {self.tflop:10.4f} {self.floor_s:10.4f} {self.seconds:10.4f} "
            f"{self.seconds / self.floor_s:7.2f} {self.peak_gib:8.2f} {quality}".rstrip()
        )


@dataclass(frozen=True)
class Noise:
    """A driver of random patches; `DrivenFrames`."""

    n_frames: int
    size_px: int
    fps: Fraction = Fraction(25)
    audio: None = None
    report: None = None

    def driven_frames(self, start: int, stop: int) -> np.ndarray:
        frames = np.zeros((stop - start, 3, self.size_px, self.size_px), np.uint8)
        for index in range(start, stop):
            patch = np.random.default_rng(index).integers(0, 256, (3, self.size_px // 4, self.size_px // 2), np.uint8)
            frames[index - start, :, self.size_px // 2 : self.size_px // 2 + patch.shape[1], : patch.shape[2]] = patch
        return frames


def flops_of(config: ModelConfig, sampling: SamplingSettings, num_frames: int, size_px: int, decode_flops: float) -> tuple[int, float]:
    """(windows evaluated, FLOPs of the whole clip)."""
    overlap = sampling.window_overlap if config.with_temporal else 0
    windows = WindowPlan(max(num_frames, WINDOW), WINDOW, overlap, sampling.window_shift)
    whole = forward_flops(config, Work(1, WINDOW, size_px, size_px, reference=True, audio=config.with_audio))
    # What reading the reference costs a window beyond projecting its keys, which is done once a step.
    tokens = (size_px // 8 // config.patch_size) ** 2
    keys = len(config.reference_blocks) * 4 * config.width**2 * tokens
    body = whole["denoising transformer"] + whole.get("temporal modules", 0.0)
    reading = whole["reference attention"] - keys
    total, evaluations = 0.0, 0
    for step in range(sampling.num_inference_steps):
        count = len(windows.starts(step))
        evaluations += count
        total += whole["reference transformer"] + keys
        for branch in sampling.guidance.branches(step, sampling.num_inference_steps, config.with_audio):
            total += count * (body + branch.reference * reading + branch.audio * whole.get("audio attention", 0.0))
    return evaluations, total + num_frames * (whole["driven encoder"] / WINDOW + decode_flops)


def make_pipeline(options: argparse.Namespace) -> MegActorSigmaPipeline:
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    if options.model:
        pipe = MegActorSigmaPipeline.from_pretrained(options.model, torch_dtype=dtype)
    else:
        config = load_inference_config(options.config)
        torch.manual_seed(0)
        with torch.device(device):
            transformer = MegActorModel.from_sizes(config.model)
        pipe = MegActorSigmaPipeline(
            torch.nn.Module.to(transformer, dtype=dtype), make_scheduler(), _vae(config, dtype), config, TrainingRecord(3, 0, {"all": 0.05})
        )
    pipe = pipe.to(device)
    pipe.transformer.eval()
    if options.compile:
        pipe.transformer.compile_repeated_blocks(fullgraph=True)
    return pipe


def _vae(config: InferenceConfig, dtype: torch.dtype):
    from diffusers import AutoencoderKL

    return AutoencoderKL(**SD_VAE).to(dtype) if config.codec.kind == "vae" else None


def decode_flops(pipe: MegActorSigmaPipeline) -> float:
    """FLOPs of decoding one frame, counted by torch."""
    if pipe.vae is None:
        return 0.0
    from diffusers import AutoencoderKL
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        vae = AutoencoderKL(**SD_VAE)
        latents = torch.empty(1, 4, *pipe.settings.latent_grid)
    with FlopCounterMode(display=False) as counter:
        vae.decode(latents)
    return float(counter.get_total_flops())


def measure(
    pipe: MegActorSigmaPipeline, name: str, sampling: SamplingSettings, options: argparse.Namespace, rate: float, decode: float
) -> tuple[Line, np.ndarray]:
    """`rate` in FLOP/s, `decode` in FLOPs a frame; also the frames."""
    size, config = pipe.settings.size_px, pipe.transformer.sizes
    reference = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    sound = np.random.default_rng(1).standard_normal(round(16_000 * options.frames / 25)).astype(np.float32) * 0.1
    if sampling.step_cache is None:
        sampling = replace(sampling, window_batch=options.window_batch)
    audio = sound if config.with_audio else None
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    animation = pipe.prepare(reference, Noise(options.frames, size), audio, sampling, generator=0)
    began = time.perf_counter()
    frames = np.stack(list(animation.frames()))
    seconds = (time.perf_counter() - began) / options.frames
    evaluations, flops = flops_of(config, sampling, options.frames, size, decode)
    cuda = pipe.transformer.device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Line(name, evaluations, flops / options.frames / 1e12, flops / options.frames / rate, seconds, peak), frames


def levers() -> dict[str, SamplingSettings]:
    """`paper`, and one thing changed at a time."""
    paper = load_presets()["paper"].sampling
    changes = {
        "paper": {},
        "guidance in 0…0.8": {"guidance_interval": (0.0, 0.8)},
        "guidance in 0…0.5": {"guidance_interval": (0.0, 0.5)},
        "no guidance": {"guidance_scale": 1.0},
        "overlap 4": {"window_overlap": 4},
        "overlap 4, shift 3": {"window_overlap": 4, "window_shift": 3},
        "15 steps": {"num_inference_steps": 15},
        "8 steps": {"num_inference_steps": 8},
        "step cache 0.05": {"step_cache": 0.05},
        "step cache 0.1": {"step_cache": 0.1},
        "step cache 0.2": {"step_cache": 0.2},
    }
    return {name: replace(paper, **change) for name, change in changes.items()}


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def main(arguments: list[str] | None = None) -> int:
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__, formatter_class=raw)
    parser.add_argument("--config", default="embedded", help="sizes to run with random weights: embedded, paper or a YAML file")
    parser.add_argument("--model", help="a trained pipeline's folder instead")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--presets", nargs="+", help="all of presets.yaml if left out")
    parser.add_argument("--quality", action="store_true", help="one lever at a time, with its PSNR to the paper preset")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", help="bfloat16 on CUDA, float32 elsewhere, if left out")
    parser.add_argument("--window-batch", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repeats", type=int, default=5, help="of the matrix product")
    parser.add_argument("--json", help="write the lines here")
    options = parser.parse_args(arguments)
    options.dtype = options.dtype or ("bfloat16" if options.device.startswith("cuda") else "float32")

    pipe = make_pipeline(options)
    rate = 1e12 * matrix_product_ceiling(Stopwatch(torch.device(options.device), options.repeats), getattr(torch, options.dtype))
    decode = decode_flops(pipe)
    known = levers() if options.quality else {name: preset.sampling for name, preset in load_presets().items()}
    names = list(known) if options.quality or not options.presets else options.presets
    print(
        f"{options.model or options.config}, {options.frames} frames of {pipe.settings.size_px} px on {options.device}, {options.dtype}, "
        f"{rate / 1e12:.3f} TFLOP/s of matrix products"
    )
    print(f"{'':26} {'evals':>6} {'TFLOP/frame':>10} {'floor s':>9} {'s a frame':>10} {'ratio':>7} {'peak GiB':>8}")
    measure(pipe, "warm-up", replace(known[names[0]], num_inference_steps=2), replace_frames(options, 17), rate, decode)
    lines, best = [], None
    for name in names:
        line, frames = measure(pipe, name, known[name], options, rate, decode)
        best = frames if best is None else best
        lines.append(replace(line, psnr_db=psnr_db(frames, best)) if options.quality else line)
        print(lines[-1].text(), flush=True)
    if options.json:
        document = {"matrix_product_tflops_per_s": rate / 1e12, "lines": [asdict(line) for line in lines]}
        Path(options.json).write_text(json.dumps(document, indent=2))
    return 0


def replace_frames(options: argparse.Namespace, frames: int) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), "frames": frames})


if __name__ == "__main__":
    sys.exit(main())
