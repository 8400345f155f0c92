"""GPU-hours, core-hours, bottleneck, time and price of N hours of video, from measured stage speeds and stated assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from curation.scaling.simulation import Fleet, clip_lengths_s, shards_of, simulate
from curation.wording import duration, number

RESOLUTIONS = ((360, "up to 360p"), (720, "up to 720p"), (1080, "up to 1080p"), (10**6, "above 1080p"))

# The paper profile's networks where no GPU was measured. Milliseconds a frame on one GPU.
ASSUMED_GPU_MS = {
    "person detector": (14.5, "YOLOX-l at 640 px, V100, half precision, batch 1: table of the YOLOX repository"),
    "whole-body pose": (8.0, "a guess from the pose network's 10 GFLOPs; nobody measured it here"),
    "SyncNet": (2.0, "a guess; nobody measured it here"),
}
ASSUMED_DETECTOR_EVERY = 5  # frames


@dataclass(frozen=True)
class Speed:
    """Seconds of one core, or of one GPU, that a second of video takes.

    Attributes:
        resolution: by the shorter side of the picture.
        decode, landmarks, other: of a core; other = everything that is neither.
        gpu: of a GPU; 0 = the networks run on the core.
        n_clips: measured.
        is_assumed: `gpu` comes from `ASSUMED_GPU_MS`.
    """

    resolution: str
    decode: float
    landmarks: float
    other: float
    gpu: float = 0.0
    n_clips: int = 0
    is_assumed: bool = False

    @property
    def core(self) -> float:
        return self.decode + self.landmarks + self.other


@dataclass(frozen=True)
class Scale:
    """What the estimate is for.

    Attributes:
        hours: of video.
        gpus, cores: the hardware.
        core_price, gpu_price: of an hour, in any currency.
        assume_gpu: take the networks' speed from `ASSUMED_GPU_MS` instead of from the measured sample.
    """

    hours: float
    cores: int = 1
    gpus: int = 0
    core_price: float = 0.0
    gpu_price: float = 0.0
    assume_gpu: bool = False


def speeds_of(rows: Sequence[dict[str, Any]], n_gpu_stages: int = 0) -> tuple[Speed, ...]:
    """Measured speeds by resolution, of manifest rows with `wall_ms`; `n_gpu_stages`: their landmarks were found on a GPU."""
    found = []
    for n, (most, name) in enumerate(RESOLUTIONS):
        least = RESOLUTIONS[n - 1][0] if n else 0
        members = [row for row in rows if least < min(row["width_px"], row["height_px"]) <= most]
        media_ms = sum(row["duration_ms"] for row in members)
        if media_ms:
            decode, landmarks, wall = (
                sum(row.get(key) or 0.0 for row in members) / media_ms for key in ("decode_ms", "landmarks_ms", "wall_ms")
            )
            other = max(0.0, wall - decode - landmarks)
            on_gpu = landmarks if n_gpu_stages else 0.0
            found.append(Speed(name, decode, 0.0 if n_gpu_stages else landmarks, other, on_gpu, len(members)))
    return tuple(found)


def with_assumed_gpu(speed: Speed, sample_hz: float = 25.0) -> Speed:
    """The same decoding, with the networks of the paper profile on a GPU whose speed is assumed."""
    detector, pose, sync = (ms for ms, _ in ASSUMED_GPU_MS.values())
    gpu = sample_hz * (detector / ASSUMED_DETECTOR_EVERY + pose + sync) / 1000
    return replace(speed, landmarks=0.0, gpu=gpu, is_assumed=True)


def estimate(speed: Speed, scale: Scale) -> dict[str, Any]:
    """Core-hours, GPU-hours, wall hours, price and the bottleneck if all the video had this resolution.

    The wall time is that of the busier resource over the efficiency that the simulation gives for so many workers.
    """
    core_h, gpu_h = scale.hours * speed.core, scale.hours * speed.gpu
    at_cores = core_h / scale.cores
    at_gpus = gpu_h / scale.gpus if speed.gpu and scale.gpus else 0.0
    efficiency = fleet_efficiency(scale.hours * max(1e-9, speed.core + speed.gpu), max(1, scale.cores))
    wall_h = max(at_cores, at_gpus) / efficiency
    bottleneck = "GPU" if at_gpus > at_cores else "decode" if speed.decode >= max(speed.landmarks, speed.other) else "landmarks"
    if bottleneck == "landmarks" and speed.other > speed.landmarks:
        bottleneck = "other scorers"
    price = wall_h * (scale.cores * scale.core_price + scale.gpus * scale.gpu_price)
    return {
        "core_h": core_h,
        "gpu_h": gpu_h,
        "wall_h": wall_h,
        "price": price,
        "bottleneck": bottleneck,
        "efficiency": efficiency,
    }


def fleet_efficiency(work_h: float, workers: int) -> float:
    """Useful share of the workers' time, of the simulated run: clips of 11 s on average, shards as the job makes them."""
    from curation.job.ledger import shard_count

    lengths_s = clip_lengths_s(min(work_h, 5000.0))
    costs_s = lengths_s * (work_h * 3600 / lengths_s.sum())
    shards_s = shards_of(costs_s, shard_count(len(costs_s), 0), longest_first=True)
    return simulate(shards_s.tolist(), Fleet(workers, 10.0, 0.02, 3.0, 24 * 3600.0, 60.0)).useful


def counted(n: int, what: str) -> str:
    """`1 core`, `2 cores`."""
    return f"{n} {what}{'s' if n != 1 else ''}"


def hours_text(hours: float) -> str:
    """`4,670.0 h`, below an hour in minutes and seconds."""
    return f"{hours:,.1f} h" if hours >= 1 else duration(hours * 3600)


def worked(hours: float, what: str) -> str:
    """`12.5 core-hours`, below one in minutes, with two digits however few they are."""
    return f"{hours:,.1f} {what}-hours" if hours >= 1 else f"{number(hours * 60, 2)} {what}-minutes"


def estimate_lines(speeds: Sequence[Speed], scale: Scale) -> list[str]:
    """A table for the terminal; says of each speed whether it was measured or assumed."""
    where = counted(scale.cores, "core") + (f", {counted(scale.gpus, 'GPU')}" if scale.gpus else "")
    lines = [f"for {hours_text(scale.hours)} of video on {where}, if all of it were"]
    for speed in speeds:
        chosen = with_assumed_gpu(speed) if scale.assume_gpu else speed
        cost = estimate(chosen, scale)
        price = f", price {cost['price']:,.0f}" if scale.core_price or scale.gpu_price else ""
        gpu = f"{worked(cost['gpu_h'], 'GPU')}{' (assumed)' if chosen.is_assumed else ''}, " if chosen.gpu else ""
        lines.append(
            f"  {speed.resolution:12} {worked(cost['core_h'], 'core')}, {gpu}{hours_text(cost['wall_h'])} of wall time"
            f" at {cost['efficiency']:.0%} efficiency, bottleneck {cost['bottleneck']}{price}"
        )
        if chosen.gpu and not scale.gpus:
            lines.append("               without a GPU to run on: give --gpus")
    lines.append(f"measured: decoding and all that runs on cores, over {sum(speed.n_clips for speed in speeds)} sampled clips")
    if scale.assume_gpu:
        lines.append(f"assumed, on a GPU (detector every {ASSUMED_DETECTOR_EVERY} frames):")
        lines += [f"  {name:16} {ms:g} ms a frame: {source}" for name, (ms, source) in ASSUMED_GPU_MS.items()]
    return lines
