"""What a stage would cost, before anything runs: parameters, memory, hours, dollars. Nothing is loaded that training would load."""

from __future__ import annotations

import os
from dataclasses import dataclass

from curation.wording import duration
from inference.models.components import InferenceConfig
from inference.models.flops import Work, training_flops
from training.config import TrainingConfig
from training.cost.aside import WRITE_BYTES_A_SECOND, aside_seconds
from training.cost.autoencoder import encode_flops
from training.cost.memory import GB, MemoryEstimate, estimate_memory
from training.loop.hardware import MEMORY_GB, PEAK_BF16_TFLOPS, matrix_product_tflops, peak_tflops
from training.loop.stages import NAMES, TRAINED
from training.run import inference_config

MEASURED_STEPS = 6
# SDXL's U-Net at 512 px by torch's FlopCounterMode: 1.59 TFLOP; 10 of 25 steps (strength 0.4), each with and without the prompt.
STYLISE_TFLOP = 1.59 * 10 * 2
MEMORY_PARTS = (
    "weights", "gradients", "optimiser", "average", "activations", "working", "gathered", "autoencoder", "encoding", "average_step",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Attributes:
    device: its name, and what the rate was taken from.
    parameters: by part.
    step_tflop: model FLOPs of one optimiser step, in 10¹².
    step_s: on all devices, of the model's own work.
    autoencoder_s: what encoding adds to a step.
    aside_s: seconds of the whole run in validation, videos and checkpoints.
    devices: how many.
    memory_gb: of one device; None where unknown.
    dollars_per_hour: of one device; None leaves the price out.
    """

    config: TrainingConfig
    device: str
    parameters: dict[str, int]
    memory: MemoryEstimate
    step_tflop: float
    step_s: float
    devices: int
    micro_batch: int
    accumulation: int
    memory_gb: float | None
    dollars_per_hour: float | None
    autoencoder_s: float
    aside_s: dict[str, float]

    @property
    def hours(self) -> float:
        """Of training; the autoencoder's part of it included, what is done aside not."""
        return self.config.steps * (self.step_s + self.autoencoder_s) / 3600

    @property
    def aside_share(self) -> float:
        """Of the run's time that validation, videos and checkpoints would take."""
        aside = sum(self.aside_s.values())
        return aside / (aside + 3600 * self.hours)

    @property
    def dollars(self) -> float | None:
        return None if self.dollars_per_hour is None else self.hours * self.devices * self.dollars_per_hour

    def text(self) -> str:
        """What `python -m training plan` prints."""
        config, memory, trained = self.config, self.memory, TRAINED[self.config.stage]
        width = max(len(part) for part in self.parameters)
        lines = [f"stage {config.stage}, {NAMES[config.stage]} ({config.profile}), on {self.devices} × {self.device}", "", "parameters"]
        for part, count in self.parameters.items():
            lines.append(f"  {part:<{width}}  {count:>13,}  {'trained' if part in trained else 'frozen'}")
        lines += [f"  {'total':<{width}}  {sum(self.parameters.values()):>13,}", ""]
        spread = f"a share of 1/{self.devices} on each" if config.hardware.shard and self.devices > 1 else "everything on each"
        lines += [f"memory of one device, {spread} (micro-batch {self.micro_batch})"]
        for name in MEMORY_PARTS:
            if getattr(memory, name):
                lines.append(f"  {name.replace('_', ' '):<{width}}  {getattr(memory, name) / GB:>10.2f} GB")
        lines.append(f"  {'in a micro-batch':<{width}}  {memory.micro_batch / GB:>10.2f} GB")
        lines.append(f"  {'in an update':<{width}}  {memory.update / GB:>10.2f} GB")
        lines.append(f"  {'peak':<{width}}  {memory.total / GB:>10.2f} GB{self._fits()}")
        frames = config.data.frames_of_stage(config.stage)
        shape = f"{config.batch_size} samples" + (f" of {frames} frames" if frames > 1 else "")
        lines += [
            "",
            f"a step: {shape}, {self.micro_batch} × {self.accumulation} accumulated × {self.devices} device{'s' * (self.devices > 1)}, "
            f"{self.step_tflop:,.2f} TFLOP, {self.step_s:.3g} s ({config.batch_size / self.step_s:,.1f} samples/s)",
            f"{config.steps:,} steps: {duration(round(self.hours * 3600))}, {self.hours * self.devices:,.1f} device hours"
            + ("" if self.dollars is None else f", {self.dollars:,.2f} dollars at {self.dollars_per_hour:g} an hour and device"),
            *self._variants(),
            "aside: "
            + ", ".join(f"{what} {duration(round(seconds))}" for what, seconds in self.aside_s.items())
            + f": {self.aside_share:.1%} of the run (arithmetic at the same rate, checkpoints at {WRITE_BYTES_A_SECOND / GB:g} GB/s)",
            f"the autoencoder takes {self.autoencoder_s / (self.step_s + self.autoencoder_s):.0%} of a step: data.latent_cache spares it"
            if self.autoencoder_s
            else "the autoencoder is not in the step",
            "not counted: reading clips, the sound encoder (its features are cached on first use)",
        ]
        return "\n".join(lines)

    def _variants(self) -> list[str]:
        """What the driving variants cost that the data asks for; their network runs once a picture, whatever the number of steps."""
        data = self.config.data
        if not data.variant_share:
            return []
        rate = self.step_tflop / self.step_s  # of all devices
        a_clip = data.cached_frames * STYLISE_TFLOP / rate
        return [
            f"driving variants ({data.variant_share:.0%} of the samples): {data.cached_frames} pictures a clip; stylised "
            f"{STYLISE_TFLOP:.0f} TFLOP each, about {a_clip:.3g} s a clip, "
            f"{duration(round(1000 * a_clip))} for 1,000 clips; a swap costs far less (training augment)"
        ]

    def _fits(self) -> str:
        if self.memory_gb is None:
            return ""
        share = self.memory.total / GB / self.memory_gb
        if share <= 0.9:
            return f", {share:.0%} of {self.memory_gb:g} GB"
        hint = "lower hardware.micro_batch" if self.micro_batch > 1 else "shard it (FSDP2)"
        also = "" if self.config.hardware.gradient_checkpointing else ", or hardware.gradient_checkpointing=true"
        return f", {share:.0%} of {self.memory_gb:g} GB: too much with the allocator's waste; {hint}{also}"


def make_plan(config: TrainingConfig, gpu: str | None, devices: int, mfu: float, dollars_per_hour: float | None) -> Plan:
    """
    Args:
        gpu: its peak times `mfu` is the rate assumed; None measures a few steps on the device at hand (random data).

    Raises:
        UserError: a GPU that is not in the table.
    """
    from inference.models.summary import parameter_table

    inference = inference_config(config)
    sizes = inference.model.at_stage(config.stage)
    micro, accumulation = config.accumulation(devices)
    frames = config.data.frames_of_stage(config.stage)
    work = Work(config.batch_size, frames, inference.size_px, inference.size_px, reference=True, audio=sizes.with_audio)
    flops = training_flops(sizes, work, config.stage)
    if gpu is not None:
        peak = config.hardware.peak_tflops or peak_tflops(gpu)
        device, memory_gb = f"{gpu_name(gpu)} at {mfu:.0%} of {peak:,.0f} TFLOP/s (assumed)", memory_of(gpu)
        step_s = flops / (devices * peak * 1e12 * mfu)
    else:
        device, memory_gb, step_s = _measure(config, inference, micro, accumulation, flops, devices)
    encodes = config.data.latent_cache is None
    rate = flops / step_s / devices
    encoding = encode_flops(inference, config.batch_size * (frames + 1)) if encodes else 0.0
    return Plan(
        config=config,
        device=device,
        parameters=parameter_table(sizes),
        memory=estimate_memory(
            sizes,
            config.stage,
            micro,
            frames,
            inference.size_px,
            config.hardware.precision,
            config.hardware.gradient_checkpointing,
            accumulation=accumulation,
            devices=devices,
            shard=config.hardware.shard,
            with_autoencoder=encodes and inference.codec.kind == "vae",
        ),
        step_tflop=flops / 1e12,
        step_s=step_s,
        devices=devices,
        micro_batch=micro,
        accumulation=accumulation,
        memory_gb=memory_gb,
        dollars_per_hour=dollars_per_hour,
        autoencoder_s=encoding / rate / devices,
        aside_s=aside_seconds(config, inference, rate, devices),
    )


def gpu_name(gpu: str) -> str:
    """As the table spells it, if it is there."""
    return next((name for name, _ in PEAK_BF16_TFLOPS if name.lower() == gpu.lower()), gpu)


def memory_of(gpu: str) -> float | None:
    return next((float(size) for name, size in MEMORY_GB.items() if name.lower() in gpu.lower()), None)


def _measure(
    config: TrainingConfig, inference: InferenceConfig, micro: int, accumulation: int, flops: float, devices: int
) -> tuple[str, float | None, float]:
    """(device, its memory in GB, seconds of a step). Times the trainer's step on random data; a model that is far too large for a CPU is
    estimated from the CPU's matrix-product rate instead."""
    import torch

    from training.cost.probe import StepProbe

    cuda = torch.cuda.is_available() and config.hardware.device != "cpu"
    device = torch.device("cuda" if cuda else "cpu")
    name = torch.cuda.get_device_name(device) if cuda else f"CPU ({torch.get_num_threads()} threads)"
    memory_gb = torch.cuda.get_device_properties(device).total_memory / GB if cuda else None
    if not cuda:
        rate = matrix_product_tflops(device)
        if flops / 1e12 / rate > 60:
            return f"{name} at its matrix-product rate of {rate:.3f} TFLOP/s (optimistic)", memory_gb, flops / 1e12 / rate / devices
    probe = StepProbe(config, inference, device, micro)
    probe.step()
    probe.step()
    micro_batches, updates = zip(*(probe.timed_step() for _ in range(MEASURED_STEPS)), strict=True)
    step_s = min(micro_batches) * accumulation + min(updates)  # other work only ever adds to a step
    busy, cores = os.getloadavg()[0], os.cpu_count() or 1
    note = f"; the machine is busy (load {busy:.1f} on {cores} cores): idle it is faster" if not cuda and busy > cores * 1.25 else ""
    return f"{name}, measured on random data{note}", memory_gb, step_s
