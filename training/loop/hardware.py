"""What the device could do: peaks of known GPUs, the measured ceiling of a CPU, memory in use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from manifests.errors import UserError

if TYPE_CHECKING:
    import torch

# Dense bf16 TFLOP/s with float32 accumulation from NVIDIA's data sheets. The first pattern that is a part of the device's name counts, so
# the special ones stand first. A GPU that is missing is an error, not a guess.
PEAK_BF16_TFLOPS: tuple[tuple[str, float], ...] = (
    ("B200", 2250.0),
    ("H200", 989.4),
    ("H100 PCIe", 756.5),
    ("H100 NVL", 835.5),
    ("H100", 989.4),
    ("A100", 311.8),
    ("L40S", 362.05),
    ("RTX 6000 Ada", 364.2),
    ("RTX 5090", 209.5),
    ("RTX 4090", 165.2),
    ("L4", 121.0),
    ("A10G", 70.0),
    ("A10", 125.0),
    ("RTX A6000", 154.8),
    ("RTX 3090", 71.0),
)
# --gpu NAME of `plan`: the data-sheet memory, in GB.
MEMORY_GB = {
    "B200": 180, "H200": 141, "H100": 80, "A100": 80, "L40S": 48, "RTX 5090": 32, "RTX 4090": 24, "RTX A6000": 48, "RTX 3090": 24, "L4": 24,
}  # fmt: skip


def peak_tflops(device_name: str) -> float:
    """Dense bf16 peak of a GPU by its name as CUDA gives it, or a part of it such as "h100".

    Raises:
        UserError: the GPU is not in the table.
    """
    wanted = device_name.lower().replace("nvidia ", "")
    for name, peak in PEAK_BF16_TFLOPS:
        if _matches(name.lower(), wanted):
            return peak
    known = ", ".join(name for name, _ in PEAK_BF16_TFLOPS)
    raise UserError(
        f"the peak of {device_name!r} is not known ({known}): set hardware.peak_tflops to its dense bf16 TFLOP/s, or hardware.mfu=false"
    )


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
