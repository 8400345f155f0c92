"""What can go wrong while training, in words that say what to do."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from manifests.errors import UserError

if TYPE_CHECKING:
    import torch

    from training.config import TrainingConfig


class StoppedError(RuntimeError):
    """Training ended before its last step, with everything saved. `interrupted`: because somebody asked for it."""

    def __init__(self, message: str, interrupted: bool = False):
        super().__init__(message)
        self.interrupted = interrupted


class StopRequest:
    """Turns the first SIGINT or SIGTERM into a request that the loop honours after its step; a second one stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}  # what `signal.signal` gives back has no narrower type

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA's out-of-memory error, or the CPU allocator's, which is a plain RuntimeError."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "DefaultCPUAllocator: can't allocate memory" in str(error) or "CUDA out of memory" in str(error)


def explain_out_of_memory(error: BaseException, config: TrainingConfig, micro_batch: int, device: torch.device, run_dir: Path) -> UserError:
    """One line with the knobs, the ones that cost least first."""
    knobs = []
    if micro_batch > 1:
        knobs.append(f"hardware.micro_batch={micro_batch // 2} (now {micro_batch}; batch_size stays as it is)")
    if not config.hardware.gradient_checkpointing:
        knobs.append("hardware.gradient_checkpointing=true (a third more time)")
    if config.hardware.precision == "no" and device.type == "cuda":
        knobs.append("hardware.precision=bf16")
    if config.data.latent_cache is None and config.inference != "embedded":
        knobs.append("data.latent_cache (keeps the autoencoder off the device)")
    knobs.append("more devices with FSDP2 (`accelerate config`)")
    return UserError(
        f"out of memory on {device}: {' '.join(str(error).split())[:160]}. Set {', or '.join(knobs)}. Checkpoints in {run_dir} are whole; "
        "the same command with that setting continues"
    )
