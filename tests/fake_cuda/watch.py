"""What crosses between host and device, and the device's memory, while code runs on fake tensors."""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parents[2]
BLOCK_BYTES = 512  # what CUDA's allocator rounds to


class Watch(TorchDispatchMode):
    """Counts copies between devices and reads of values, by the project's line that asks for them, and tracks the device's live bytes.

    A read of a value (`float(tensor)`, `bool(tensor)`) is answered with 1: there is none, and the program has to go on.

    Attributes:
        crossings: (kind, line) -> times; kinds are upload, blocking upload, download, read.
        blocking_bytes: of all blocking uploads and downloads.
        peak: live bytes on the device at the most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.crossings: Counter[tuple[str, str]] = Counter()
        self.blocking_bytes = 0
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.__name__
        if name.startswith("_local_scalar_dense") and isinstance(args[0], FakeTensor):
            self._note("read")
            return True if args[0].dtype == torch.bool else 1.0 if args[0].is_floating_point() else 1
        answer = func(*args, **kwargs)
        if name.startswith(("_to_copy", "copy_")):
            source, target = (args[1], args[0]) if name.startswith("copy_") else (args[0], answer)
            if source.device.type != target.device.type:
                self._crossed(source, target, bool(kwargs.get("non_blocking") or (name.startswith("copy_") and len(args) > 2 and args[2])))
        for tensor in tree_leaves(answer):
            self.track(tensor)
        return answer

    def _crossed(self, source: torch.Tensor, target: torch.Tensor, non_blocking: bool) -> None:
        up = target.device.type == "cuda"
        self._note("upload" if up and non_blocking else "blocking upload" if up else "download")
        if not (up and non_blocking):
            self.blocking_bytes += target.nbytes

    def _note(self, kind: str) -> None:
        frame, lines = sys._getframe(2), []
        while frame is not None and len(lines) < 2:
            file = Path(frame.f_code.co_filename)
            if file.is_relative_to(ROOT) and "fake_cuda" not in file.parts and ".venv" not in file.parts:
                lines.append(f"{file.relative_to(ROOT)}:{frame.f_lineno}")
            frame = frame.f_back
        self.crossings[kind, " < ".join(lines)] += 1

    def track(self, tensor: Any) -> None:
        if not isinstance(tensor, torch.Tensor) or tensor.device.type != "cuda":
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, -(-storage.nbytes() // BLOCK_BYTES) * BLOCK_BYTES
        if key in self._seen:
            return

        def freed() -> None:
            self.live -= size
            self._seen.discard(key)

        self._seen.add(key)
        weakref.finalize(storage, freed).atexit = False
        self.live += size
        self.peak = max(self.peak, self.live)

    def track_module(self, module: nn.Module) -> None:
        for tensor in [*module.parameters(), *module.buffers()]:
            self.track(tensor)

    def restart(self) -> None:
        """Counts from now on; what lives on the device stays counted."""
        self.crossings.clear()
        self.blocking_bytes, self.peak = 0, self.live

    def facts(self) -> dict[str, Any]:
        kinds: Counter[str] = Counter()
        for (kind, _), times in self.crossings.items():
            kinds[kind] += times
        lines = [f"{times} × {kind} at {line}" for (kind, line), times in self.crossings.most_common()]
        return {"kinds": dict(kinds), "lines": lines, "blocking_bytes": self.blocking_bytes, "peak_gb": self.peak / 1e9}
