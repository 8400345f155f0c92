"""What the device could do: peaks of known GPUs, the measured ceiling of a CPU, memory in use."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from manifests.errors import UserError

if TYPE_CHECKING:
    import torch

    from training.config import HardwareConfig

# Dense bf16 (or fp16, which is as fast; on V100 and T4 the only one) TFLOP/s with float32 accumulation from NVIDIA's data sheets. The first
# pattern whose words are words of the device's name counts, so the special ones stand first. What a GPU that is missing can do is not
# guessed.
PEAK_BF16_TFLOPS: tuple[tuple[str, float], ...] = (
    ("B200", 2250.0),
    ("H200", 989.4),
    ("H100 PCIe", 756.5),
    ("H100 NVL", 835.5),
    ("H100", 989.4),
    ("H800 PCIe", 756.5),
    ("H800", 989.4),
    ("H20", 148.0),
    ("A100", 311.8),
    ("A800", 311.8),
    ("V100 PCIE", 112.0),
    ("V100", 125.0),
    ("L40S", 362.05),
    ("L40", 181.05),
    ("RTX 6000 Ada", 364.2),
    ("RTX 5090", 209.5),
    ("RTX 4090", 165.2),
    ("L4", 121.0),
    ("T4", 65.0),
    ("A10G", 70.0),
    ("A10", 125.0),
    ("RTX A6000", 154.8),
    ("RTX 3090", 71.0),
)
# --gpu NAME of `plan`: the data-sheet memory, in GB.
MEMORY_GB = {
    "B200": 180, "H200": 141, "H100": 80, "A100": 80, "L40S": 48, "RTX 5090": 32, "RTX 4090": 24, "RTX A6000": 48, "RTX 3090": 24, "L4": 24,
    "H800": 80, "A800": 80, "H20": 96, "L40": 48, "V100": 32, "T4": 16,
}  # fmt: skip


def known_peak_tflops(device_name: str) -> float | None:
    """Dense bf16 peak of a GPU by its name as CUDA gives it, or a part of it such as "h100"; None if it is not in the table."""
    wanted = device_name.lower().replace("nvidia ", "")
    return next((peak for name, peak in PEAK_BF16_TFLOPS if _matches(name.lower(), wanted)), None)


def peak_tflops(device_name: str) -> float:
    """As `known_peak_tflops`, where nothing can be said without.

    Raises:
        UserError: the GPU is not in the table.
    """
    peak = known_peak_tflops(device_name)
    if peak is None:
        known = ", ".join(name for name, _ in PEAK_BF16_TFLOPS)
        raise UserError(f"the peak of {device_name!r} is not known ({known}): set hardware.peak_tflops to its dense bf16 TFLOP/s")
    return peak


def mfu_peak(hardware: HardwareConfig, gpu: str | None, say: Callable[[str], None]) -> float | None:
    """TFLOP/s of one device that its MFU is a share of; None where none is reported: not wanted, or not known, which is said.

    Args:
        gpu: its name as CUDA gives it; None is the CPU.
    """
    if not hardware.mfu or hardware.peak_tflops is not None or gpu is None:
        return hardware.peak_tflops if hardware.mfu else None
    peak = known_peak_tflops(gpu)
    if peak is None:
        say(f"no MFU: the peak of {gpu} is not known; hardware.peak_tflops sets it (dense TFLOP/s in the run's precision)")
    return peak


def dtype_of(precision: str) -> torch.dtype:
    """What matrix products are computed in under one of `training.config.PRECISIONS`."""
    import torch

    return {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def check_build(device_name: str, capability: tuple[int, int], built_for: Sequence[str], cuda: str) -> None:
    """Whether a build of torch has kernels for a GPU: binaries of the same major version that are not newer, or PTX that is not newer.

    Args:
        capability: `torch.cuda.get_device_capability`, such as (7, 0).
        built_for: `torch.cuda.get_arch_list`, such as ["sm_80", "compute_90"].
        cuda: `torch.version.cuda`.

    Raises:
        UserError: it has none; the message says which build has.
    """
    major, minor = capability
    for name in built_for:
        kind, _, digits = name.partition("_")
        number = int("".join(c for c in digits if c.isdigit()) or 0)  # sm_90a: the letter adds instructions
        if (kind == "sm" and number // 10 == major and number % 10 <= minor) or (kind == "compute" and number <= 10 * major + minor):
            return
    newer = built_for and all(int("".join(c for c in name if c.isdigit()) or 0) > 10 * major + minor for name in built_for)
    build = "CUDA 12.6 (cu126), the last with kernels for Volta and older" if newer else "a newer CUDA"
    raise UserError(
        f"this torch (CUDA {cuda}) has no kernels for {device_name} (sm_{major}{minor}), but for {', '.join(built_for) or 'no GPU'}: "
        f"install a build of torch for {build}"
    )


def check_precision(precision: str, device_name: str, capability: tuple[int, int]) -> None:
    """
    Raises:
        UserError: bf16 on a GPU before Ampere, which would compute it in software.
    """
    if precision == "bf16" and capability < (8, 0):
        raise UserError(f"{device_name} has no bf16: set hardware.precision=fp16")


def _matches(name: str, wanted: str) -> bool:
    """All words of the table's name are words of the device's ("NVIDIA H100 80GB HBM3" is an H100, "A100X" is no A100)."""
    words = wanted.replace("-", " ").split()
    return all(word in words for word in name.split())


def matrix_product_tflops(device: torch.device, dtype: torch.dtype | None = None) -> float:
    """The best rate of large square matrix products that this device reaches now: the ceiling where no data sheet applies."""
    import torch

    size, repeats = (8192, 10) if device.type == "cuda" else (1024, 5)
    a, b = (torch.randn(size, size, device=device, dtype=dtype or torch.float32) for _ in range(2))
    best = float("inf")
    for _ in range(repeats + 2):
        begin = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best / 1e12


def peak_memory_gib(device: torch.device) -> float:
    """The most that was used since the start: of the GPU's allocator, or of this process's resident memory."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
