"""One owner of clock, samples and FLOPs: where a step's time goes, samples a second, share of the device's peak."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PHASES = ("data", "forward", "backward", "optimiser")


class Meter:
    """Adds up phases between two calls of `read`. On CUDA by events, which are resolved in `read` alone: timing never stalls the device.

    "data" is the time that the step waits for its batch, by the host's clock.

    Args:
        peak_tflops: of all devices together; None leaves the utilisation out.
    """

    def __init__(self, device: torch.device, peak_tflops: float | None = None):
        self._cuda = device.type == "cuda"
        self._device = device
        self._peak = peak_tflops
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._samples, self._flops, self._steps = 0, 0.0, 0
        self._start = self._begin = time.perf_counter()
        self._paused = 0.0  # since `_begin`
        self._depth = 0
        self._aside: dict[str, float] = {}  # since `_start`

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts what happens inside as the phase `name`."""
        if self._cuda and name != "data":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._events.append((name, start, end))
            return
        begin = time.perf_counter()
        yield
        self._seconds[name] += time.perf_counter() - begin

    @contextmanager
    def paused(self, what: str) -> Iterator[None]:
        """Leaves what happens inside (checkpoints, validation, videos) out of the rates and counts it as `what`; may be nested, then the
        outer one counts."""
        self._synchronise()
        begin = time.perf_counter()
        self._depth += 1
        try:
            yield
        finally:
            self._synchronise()
            self._depth -= 1
            if not self._depth:
                seconds = time.perf_counter() - begin
                self._paused += seconds
                self._aside[what] = self._aside.get(what, 0.0) + seconds

    def aside(self) -> dict[str, float]:
        """Shares of the time since this start of the run: `aside_share`, all that is not training, and `aside_share_WHAT` of it."""
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        shares = {f"aside_share_{what}": seconds / elapsed for what, seconds in self._aside.items()}
        return {"aside_share": sum(shares.values())} | shares

    def step(self, samples: int, flops: float) -> None:
        """One optimiser step is done; `samples` and `flops` (model FLOPs, recomputation left out) over all devices."""
        self._samples, self._flops, self._steps = self._samples + samples, self._flops + flops, self._steps + 1

    def read(self) -> dict[str, float]:
        """Means since the last call, and starts again: `data_s` … `optimiser_s`, `step_s`, `samples_per_s`, `tflops_per_s`, `mfu`."""
        self._synchronise()
        for name, start, end in self._events:
            self._seconds[name] += start.elapsed_time(end) / 1e3
        self._events.clear()
        elapsed = max(time.perf_counter() - self._begin - self._paused, 1e-9)
        steps = max(self._steps, 1)
        found = {f"{name}_s": seconds / steps for name, seconds in self._seconds.items()}
        found |= {"step_s": elapsed / steps, "samples_per_s": self._samples / elapsed, "tflops_per_s": self._flops / elapsed / 1e12}
        if self._peak is not None:
            found["mfu"] = found["tflops_per_s"] / self._peak
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._samples, self._flops, self._steps = 0, 0.0, 0
        self._begin, self._paused = time.perf_counter(), 0.0
        return found | self.aside()

    def _synchronise(self) -> None:
        if self._cuda:
            torch.cuda.synchronize(self._device)
