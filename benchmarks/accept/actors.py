"""`python -m benchmarks.accept.actors --device cuda --json FILE`: four Ray actors on a quarter of one GPU each (on the CPU: of one core).

Ends well if all four computed on the device at the same time: then curation's workers may share a GPU as `curation.job.gpus` plans it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import ray

ACTORS = 4


class Worker:
    """Multiplies matrices on its device for a while."""

    def __init__(self, device: str, size: int):
        import torch

        self._a = torch.randn(size, size, device=device)
        self._size = size
        (self._a @ self._a).sum().item()  # the context and cuBLAS are up before the clock runs

    def work(self, seconds: float) -> tuple[float, float, float, str]:
        """(begin and end by the wall clock, TFLOP/s, where Ray put it)."""
        begin, products = time.time(), 0
        while time.time() - begin < seconds:
            (self._a @ self._a).sum().item()
            products += 1
        end = time.time()
        accelerators = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
        return begin, end, 2 * self._size**3 * products / (end - begin) / 1e12, ",".join(accelerators)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--json", required=True)
    options = parser.parse_args()
    share = {"num_gpus": 1 / ACTORS, "num_cpus": 0} if options.device == "cuda" else {"num_cpus": 1 / ACTORS}
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=None if options.device == "cuda" else 1)
    try:
        actors = [ray.remote(Worker).options(**share).remote(options.device, options.size) for _ in range(ACTORS)]
        ray.get([actor.__ray_ready__.remote() for actor in actors])
        spans = ray.get([actor.work.remote(options.seconds) for actor in actors])
    finally:
        ray.shutdown()
    together_s = min(span[1] for span in spans) - max(span[0] for span in spans)
    placed = sorted({span[3] for span in spans})
    figures = {"actors": ACTORS, "together_s": round(together_s, 2), "tflops": round(sum(span[2] for span in spans), 3), "gpus": placed}
    Path(options.json).write_text(json.dumps(figures))
    print(figures)
    if together_s <= 0 or (options.device == "cuda" and len(placed) != 1):
        print("the actors did not work at the same time on one GPU")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
