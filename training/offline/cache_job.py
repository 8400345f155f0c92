"""`python -m training cache-latents`: fills the latent cache that a stage trains from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from curation.job.gpus import NO_GPU, GpuDemand
from curation.job.lock import hold
from inference.models.components import load_inference_config
from manifests.errors import UserError
from training.config import TrainingConfig
from training.data.clips import OpenManifest
from training.offline.clip_job import failures, is_done, run_clips

_GPU_MEMORY_MIB = 4096  # the SD VAE at 512 px in float32, 16 pictures handed over at once, and the sound encoder


@dataclass(frozen=True)
class CacheResult:
    """What a run did and what is there now."""

    folder: Path
    n_fresh: int
    n_clips: int
    n_failed: int
    size_bytes: int

    def text(self) -> str:
        """For a person."""
        there = self.n_clips - self.n_failed
        lines = f"{self.folder}: {there} of {self.n_clips} clips, {self.size_bytes / 1e6:.1f} MB, {self.n_fresh} looked at now"
        failed = f"\n{self.n_failed} failed: {self.folder}/failed/*.json say why; --retry-failed tries them again" if self.n_failed else ""
        return f"{lines}{failed}\ntrain from it with --set data.latent_cache={self.folder}"


def cache_latents(
    config: TrainingConfig,
    manifest: str | OpenManifest,
    out: str,
    *,
    executor: str = "auto",
    workers: int = 0,
    device: str = "cpu",
    retry_failed: bool = False,
    share: tuple[int, int] = (0, 1),
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> CacheResult:
    """Caches the clips that the configuration's stage trains on. Killed at any moment, the same call continues.

    Args:
        out: the cache's folder.
        device: cpu or cuda, or one GPU of several, such as cuda:1.
        share: (k, n): the k-th of n processes that fill one cache side by side; it takes every n-th clip.

    Raises:
        UserError: no clips, weights that are missing, a cache of other settings, another run that fills it.
    """
    from training.data.latent_cache import CacheWork, cache_settings, clip_file, open_cache
    from training.data.loader import load_clips

    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise UserError(f"device is {device!r}; it must be cpu or cuda")
    data, inference = config.data, load_inference_config(config.inference, config.inference_overrides)
    table = load_clips(manifest, data.where, data.split, inference.fps, needs_audio=config.stage > 1)
    say(table.describe())
    folder = open_cache(Path(out).absolute(), cache_settings(data, inference), create=True)
    arguments = (str(folder), data, inference, table, data.frames_of_stage(config.stage), config.stage > 1, device)
    gpu = GpuDemand(_GPU_MEMORY_MIB) if kind == "cuda" else NO_GPU
    with hold(folder) if share == (0, 1) else nullcontext():  # those that share it out are started together
        mine = table.clips[share[0] :: share[1]]
        missing = [clip for clip in mine if not is_done(folder, clip_file(folder, clip.clip_id), clip, retry_failed)]
        tally = run_clips(folder, missing, CacheWork, arguments, executor=executor, workers=workers, gpu=gpu, say=say)
    ids = {clip.clip_id for clip in table.clips}
    size_bytes = sum(file.stat().st_size for file in folder.glob("??/*.safetensors"))
    return CacheResult(folder, tally.clips, len(table), len(ids & failures(folder).keys()), size_bytes)
