"""How much of a GPU a worker takes: its networks' bounded memory over the memory of the smallest GPU of the cluster."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

from curation import landmarks
from curation.config import CurationConfig
from curation.contracts import LandmarkBackend, Scorer
from curation.job.clip_scorer import make_scorers
from manifests.errors import UserError

_QUERY = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]


@dataclass(frozen=True)
class GpuDemand:
    """What a worker needs of a GPU.

    Attributes:
        memory_mib: 0 = no GPU.
        share: 0..1 of a GPU, where the configuration states it; 0 = from `memory_mib`.
    """

    memory_mib: int = 0
    share: float = 0.0

    @classmethod
    def of(cls, config: CurationConfig) -> GpuDemand:
        """The sum of what the landmark backend and the scorers say that they take."""
        parts: list[LandmarkBackend | Scorer] = [landmarks.make_backend(config.landmarks, config.landmark_settings), *make_scorers(config)]
        return cls(sum(part.gpu_memory_mib for part in parts), config.job.gpus_per_worker)

    def resolve(self, ray: Any) -> float:
        """The `num_gpus` of a worker on this cluster: 1/n, so that n workers fill a GPU and none lies across two.

        Raises:
            UserError: the cluster has no GPU, or one that is too small.
        """
        if not self.memory_mib:
            return 0.0
        if not ray.cluster_resources().get("GPU", 0):
            raise UserError(
                "the configured networks run on CUDA, but Ray sees no GPU; start it on a machine with one,"
                " or ask for the slow provider: --set landmark_settings.runtime.provider=cpu"
            )
        return self.share or share_of(self.memory_mib, smallest_gpu_mib(ray))


NO_GPU = GpuDemand()


def share_of(need_mib: int, total_mib: int) -> float:
    """1/n for the largest n with n x `need_mib` <= `total_mib`, rounded down to Ray's grain of 1/10000.

    Raises:
        UserError: not one fits.
    """
    n = total_mib // need_mib
    if n < 1:
        raise UserError(
            f"a worker needs {need_mib} MiB of GPU memory, and the smallest GPU has {total_mib};"
            " lower landmark_settings.runtime.detector_arena_mib and pose_arena_mib"
        )
    return int(10_000 / n) / 10_000


def smallest_gpu_mib(ray: Any) -> int:
    """Memory of the smallest GPU of the cluster, asked of each node that has one."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0)(gpu_memories_mib)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU", 0)]
    answers = [ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote() for node in nodes]
    found = [mib for memories in ray.get(answers) for mib in memories]
    if not found:
        raise UserError("nvidia-smi tells of no GPU on the nodes that Ray believes to have one; state job.gpus_per_worker, e.g. 0.25")
    return min(found)


def gpu_memories_mib() -> list[int]:
    """Of each GPU of this machine, as nvidia-smi tells; empty where it does not."""
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [int(line) for line in done.stdout.split() if line.isdigit()]
