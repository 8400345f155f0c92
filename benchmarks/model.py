"""`python -m benchmarks.model --stage 1 --clips 16 --compile`: how fast the model runs beside what it could.

Everything in one run, so that the machine's state is the same: the matrix-product ceiling of this device and dtype, diffusers' own
`PixArtTransformer2DModel` (28 blocks without text, the same sizes) and our denoiser on the same frames without reference, then the whole
stage's forward, and forward with backward. FLOPs are those of `inference.models.flops`: recomputation by checkpointing is not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers import PixArtTransformer2DModel

from inference.models import MegActorModel, ModelConfig, eye_mouth_mask, forward_flops, training_flops
from inference.models.flops import Work
from inference.models.megactor import parts


@dataclass(frozen=True)
class Measurement:
    """Median of the repeats; `ceiling_fraction` is of the matrix product measured in the same run."""

    what: str
    milliseconds: float
    tflops_per_s: float
    ceiling_fraction: float
    peak_gib: float | None

    def text(self) -> str:
        memory = "" if self.peak_gib is None else f"{self.peak_gib:8.2f} GiB"
        return (
            f"{self.what:44} {self.milliseconds:11.2f} ms {self.tflops_per_s:9.3f} TFLOP/s {self.ceiling_fraction:7.1%} {memory}".rstrip()
        )


class Stopwatch:
    """Median milliseconds of a call, and the most memory the device's allocator held meanwhile (CUDA)."""

    def __init__(self, device: torch.device, repeats: int):
        self.device, self.repeats = device, repeats

    def measure(self, call: Callable[[], object]) -> tuple[float, float | None]:
        cuda = self.device.type == "cuda"
        for _ in range(2 if not cuda else 5):  # compilation, autotuning, allocator
            call()
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        times = []
        for _ in range(self.repeats):
            begin = time.perf_counter()
            call()
            if cuda:
                torch.cuda.synchronize()
            times.append(1e3 * (time.perf_counter() - begin))
        return sorted(times)[len(times) // 2], torch.cuda.max_memory_allocated() / 2**30 if cuda else None


def matrix_product_ceiling(watch: Stopwatch, dtype: torch.dtype) -> float:
    """The best TFLOP/s of square products in this dtype on this device."""
    best = 0.0
    for size in (4096, 8192, 16384) if watch.device.type == "cuda" else (1024, 2048):
        a, b = (torch.randn(size, size, device=watch.device, dtype=dtype) for _ in range(2))
        milliseconds, _ = watch.measure(lambda a=a, b=b: a @ b)
        best = max(best, 2 * size**3 / milliseconds / 1e9)
    return best


def random_inputs(config: ModelConfig, work: Work, device: torch.device, dtype: torch.dtype, masked: bool) -> dict:
    """A batch of the stage; `masked` gives Eq. 2 to every third clip, as stage 1 draws it."""
    h, w = work.height_px // 8, work.width_px // 8
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    inputs = {
        "latents": normal(work.clips, work.frames, config.latent_channels, h, w),
        "timesteps": torch.randint(0, 1000, (work.clips,), generator=generator).to(device),
        "driven_frames": torch.rand(work.clips, work.frames, 3, work.height_px, work.width_px, generator=generator).to(device, dtype),
        "reference_latents": normal(work.clips, config.latent_channels, h, w),
        "moved_latents": normal(work.clips, work.frames, config.latent_channels, h, w),
    }
    if config.with_audio:
        inputs["audio"] = normal(work.clips, work.frames, config.audio_tokens, config.audio_width)
    if masked:
        grid = (h // config.patch_size, w // config.patch_size)
        eyes, mouth = (torch.zeros(work.clips, work.frames, *grid, dtype=torch.bool) for _ in range(2))
        eyes[::3, :, grid[0] // 3, grid[1] // 4 : -grid[1] // 4] = True
        mouth[::3, :, -grid[0] // 4, grid[1] // 3 : -grid[1] // 3] = True
        mask = eye_mouth_mask(eyes, mouth)
        inputs["region_mask"] = None if mask is None else mask.to(device)
    return inputs


def forward_of(model: torch.nn.Module, inputs: dict) -> Callable[[], torch.Tensor]:
    def call() -> torch.Tensor:
        with torch.no_grad():
            out = model(**inputs)
        return out[0] if isinstance(out, tuple) else out

    return call


def step_of(model: torch.nn.Module, inputs: dict) -> Callable[[], None]:
    def call() -> None:
        model.zero_grad(set_to_none=True)
        out = model(**inputs)
        (out[0] if isinstance(out, tuple) else out).float().square().mean().backward()

    return call


def run(options: argparse.Namespace) -> list[Measurement]:
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    config = ModelConfig.from_yaml(options.config).at_stage(options.stage)
    size_px = options.size_px or config.sample_size * 8
    work = Work(options.clips, options.frames, size_px, size_px, reference=True, audio=config.with_audio)
    watch = Stopwatch(device, options.repeats)
    ceiling = matrix_product_ceiling(watch, dtype)
    print(f"matrix-product ceiling, {options.dtype} on {_device_name(device)}: {ceiling:.3f} TFLOP/s", flush=True)
    found: list[Measurement] = []

    def record(what: str, flops: float, call: Callable[[], object]) -> None:
        milliseconds, peak_gib = watch.measure(call)
        rate = flops / milliseconds / 1e9
        found.append(Measurement(what, milliseconds, rate, rate / ceiling, peak_gib))
        print(found[-1].text(), flush=True)

    inputs = random_inputs(config, work, device, dtype, options.masked)
    bare = Work(work.clips * work.frames, 1, size_px, size_px, reference=False, audio=False)
    bare_flops = forward_flops(config.at_stage(1), bare)["denoising transformer"]

    pixart = torch.nn.Module.to(_pixart(config), device, dtype)
    _prepare(pixart, options)
    flat = {
        "hidden_states": inputs["latents"].flatten(0, 1),
        "timestep": inputs["timesteps"].repeat_interleave(work.frames),
        "return_dict": False,
    }
    record("diffusers PixArt, forward", bare_flops, forward_of(pixart, flat))
    record("diffusers PixArt, forward+backward", 3 * bare_flops, step_of(pixart, flat))
    del pixart

    model = torch.nn.Module.to(MegActorModel.from_sizes(config), device, dtype).train()
    _prepare(model, options)
    if options.fused:
        model.fuse_qkv_projections()
    if not config.with_temporal:  # with temporal modules a denoiser alone would be other work than PixArt's
        latents = inputs["latents"].flatten(0, 1)[:, None]
        driven = latents.new_zeros(*latents.shape[:2], config.driven_channels, *latents.shape[3:])
        alone = {"latents": latents, "timesteps": flat["timestep"], "driven": driven}
        record("our denoiser alone, forward", bare_flops, forward_of(model.denoiser, alone))
        record("our denoiser alone, forward+backward", 3 * bare_flops, step_of(model.denoiser, alone))
    if options.stage == 3:
        for part, tensors in parts(model).items():
            for tensor in tensors:
                tensor.requires_grad_(part == "temporal modules")
    record(f"stage {options.stage}, forward", sum(forward_flops(config, work).values()), forward_of(model, inputs))
    record(f"stage {options.stage}, forward+backward", training_flops(config, work), step_of(model, inputs))
    if options.json:
        Path(options.json).write_text(json.dumps({"ceiling_tflops_per_s": ceiling, "lines": [asdict(line) for line in found]}, indent=2))
    return found


def _pixart(config: ModelConfig) -> PixArtTransformer2DModel:
    return PixArtTransformer2DModel(
        num_attention_heads=config.num_attention_heads,
        attention_head_dim=config.attention_head_dim,
        in_channels=config.latent_channels,
        out_channels=2 * config.latent_channels,
        num_layers=config.num_layers,
        sample_size=config.sample_size,
        cross_attention_dim=None,
        use_additional_conditions=False,
    )


def _prepare(model: torch.nn.Module, options: argparse.Namespace) -> None:
    if options.checkpointing:
        model.enable_gradient_checkpointing()
    if options.compile and isinstance(model, MegActorModel):
        model.compile_repeated_blocks(fullgraph=True)
    elif options.compile:
        for block in model.transformer_blocks:
            block.compile(fullgraph=True)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"the CPU ({torch.get_num_threads()} threads)"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", default="configs/inference/paper.yaml")
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--size-px", type=int, help="the configuration's own if left out")
    parser.add_argument("--dtype", choices=("bfloat16", "float32", "float16"), default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="each block by torch.compile(fullgraph=True)")
    parser.add_argument("--fused", action="store_true", help="one product for queries, keys and values")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--masked", action="store_true", help="Eq. 2 on every third clip")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("error: no CUDA device; ask for --device cpu --dtype float32 and a small configuration", file=sys.stderr)
        return 2
    run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
