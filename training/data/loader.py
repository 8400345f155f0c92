"""Batches in the order of their sample indices, for any number of workers and ranks; the state is the next index."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.context import BaseContext

import numpy as np
import torch
from torch.utils.data import DataLoader

from inference.models.components import InferenceConfig
from inference.models.masks import eye_mouth_mask, padded
from manifests import UserError
from training.data.batch import AugmentParameters, Skip, TrainingBatch
from training.data.clips import ClipTable, OpenManifest, load_clips
from training.data.config import DataConfig
from training.data.dataset import NoSample, Sample, TrainingDataset
from training.data.frames import FrameSource, VideoFrames
from training.data.latent_cache import CachedFrames, cached_clips
from training.data.recolour import SAME


def open_clips(data: DataConfig, inference: InferenceConfig, manifest: str | os.PathLike | OpenManifest, stage: int) -> ClipTable:
    """The clips of a manifest (open, or to be read) that this stage trains on; with a latent cache, those that it holds.

    Raises:
        UserError: see `training.data.clips.load_clips`.
    """
    table = load_clips(manifest, data.where, data.split, inference.fps, needs_audio=stage > 1)
    return table if data.latent_cache is None else table.only(cached_clips(data.latent_cache), "not in the latent cache")


def make_loader(
    data: DataConfig,
    inference: InferenceConfig,
    table: ClipTable,
    *,
    stage: int,
    seed: int,
    batch_size: int,
    start_index: int = 0,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 0,
    pin_memory: bool = False,
    augment: bool = True,
    source: FrameSource | None = None,
) -> SampleLoader:
    """The stream of batches of one rank.

    Args:
        table: from `open_clips`.
        batch_size: samples of one batch of this rank (a micro-batch).
        start_index: global index of the first sample, over all ranks; the state to resume from.
        rank, world_size: batch k of rank r holds the indices start + (k · world_size + r) · batch_size and on.
        num_workers: processes that make samples; 0 makes them in this one.
        augment: False for validation.
        source: of another loader of the same table and configuration, which then share one decoding child; None makes one.
    """
    dataset = TrainingDataset(data, inference, table, source or frame_source(data, inference, table), seed, stage, augment)
    return SampleLoader(dataset, batch_size, start_index, rank, world_size, num_workers, pin_memory, data.max_skips)


def frame_source(data: DataConfig, inference: InferenceConfig, table: ClipTable) -> FrameSource:
    """The latent cache where the configuration names one, else the videos."""
    return VideoFrames(data, inference, table) if data.latent_cache is None else CachedFrames(data.latent_cache, data, inference)


class SampleLoader:
    """Iterates for ever over `TrainingBatch`es.

    Attributes:
        next_index: global index of the first sample that no rank has been handed, which is what a checkpoint stores; a loader that starts
            there continues the stream.
        skipped: how often each clip was passed over in the batches handed out here, with the last reason: clip id -> (times, `Skip`).
    """

    def __init__(
        self,
        dataset: TrainingDataset,
        batch_size: int,
        start_index: int,
        rank: int,
        world_size: int,
        num_workers: int,
        pin_memory: bool,
        max_skips: int,
    ):
        if batch_size < 1 or start_index < 0 or not 0 <= rank < world_size:
            raise ValueError(f"batch_size {batch_size}, start_index {start_index}, rank {rank} of {world_size}: out of range")
        self.next_index = start_index
        self._step = batch_size * world_size
        self._max_skips = max_skips
        self._times: Counter[str] = Counter()
        self._last: dict[str, Skip] = {}
        self._loader = DataLoader(
            dataset,
            batch_sampler=_Indices(start_index + rank * batch_size, batch_size, self._step),
            num_workers=num_workers,
            collate_fn=functools.partial(collate, mask_paths=dataset.mask_paths),
            pin_memory=pin_memory,
            prefetch_factor=2 if num_workers else None,
            worker_init_fn=_start_worker if num_workers else None,
            multiprocessing_context=worker_context() if num_workers else None,
        )

    def __iter__(self) -> Iterator[TrainingBatch]:
        """
        Raises:
            UserError: no clip could serve a sample.
        """
        for batch in self._loader:
            if isinstance(batch, NoSample):
                self._note(batch.skips)
                last = batch.skips[-1]
                raise UserError(
                    f"{len(batch.skips)} clips in a row cannot be read, the last one {last.clip_id} ({last.kind}: {last.message}); "
                    "check that the manifest's videos are where it says, or raise data.max_skips"
                )
            self.next_index += self._step
            self._note(batch.skips)
            yield batch

    @property
    def skipped(self) -> dict[str, tuple[int, Skip]]:
        return {clip_id: (times, self._last[clip_id]) for clip_id, times in self._times.most_common()}

    def _note(self, skips: tuple[Skip, ...]) -> None:
        for skip in skips:
            self._times[skip.clip_id] += 1
            self._last[skip.clip_id] = skip


class _Indices:
    """Endless batches of consecutive indices, `step` apart."""

    def __init__(self, first: int, batch_size: int, step: int):
        self._first, self._batch_size, self._step = first, batch_size, step

    def __iter__(self) -> Iterator[list[int]]:
        first = self._first
        while True:
            yield list(range(first, first + self._batch_size))
            first += self._step


def worker_context() -> BaseContext:
    """Workers start from a small process without threads: one forked from this process inherits the locks that its other threads
    (decoders, OpenMP, Ray) hold at that moment, and may wait for them for ever."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.data.loader"])
    return context


def _start_worker(_: int) -> None:
    """One thread a worker: the workers are the parallelism."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def collate(drawn: Sequence[Sample | NoSample], mask_paths: str = "one_hop") -> TrainingBatch | NoSample:
    """A batch of samples; the `NoSample`, if there is one. `mask_paths` as in `ModalityConfig`."""
    samples = []
    for sample in drawn:
        if isinstance(sample, NoSample):
            return sample
        samples.append(sample)
    conditions = [sample.conditions for sample in samples]
    eye_tokens = _stacked([s.eye_tokens for s in samples])
    eye_keys, mouth_queries = (_stacked([getattr(s, name) for s in samples]) for name in ("eye_keys", "mouth_queries"))
    masked = torch.tensor([c.mask_attention for c in conditions])[:, None, None, None]
    with_latents = samples[0].targets.dtype == np.float16
    targets, reference = _stacked([s.targets for s in samples]), _stacked([s.reference for s in samples])
    if not with_latents:
        targets, reference = _channels_first(targets), _channels_first(reference)
    present = torch.tensor([float(c.audio) for c in conditions])[:, None].repeat(1, eye_tokens.shape[1])
    sounds = [s.audio for s in samples if s.audio is not None]  # of all samples, or of none: the stage decides
    moved = [s.moved for s in samples if s.moved is not None]  # of all samples, or of none: the model decides
    audio = _stacked(sounds) * present[:, :, None, None].half() if sounds else None
    return TrainingBatch(
        sample_index=torch.tensor([s.sample_index for s in samples]),
        clip_id=tuple(s.clip_id for s in samples),
        modality=torch.tensor([c.modality for c in conditions], dtype=torch.int8),
        shows_eyes=torch.tensor([c.eyes for c in conditions]),
        shows_mouth=torch.tensor([c.mouth for c in conditions]),
        target_frames=None if with_latents else targets,
        target_latents=targets if with_latents else None,
        reference_frames=None if with_latents else reference,
        reference_latents=reference if with_latents else None,
        reference_present=torch.tensor([c.reference for c in conditions]),
        driven_frames=_channels_first(_stacked([s.driven for s in samples])),
        driven_boxes=_stacked([s.driven_boxes for s in samples]),
        augmentation=_parameters(samples),
        eye_tokens=eye_tokens,
        mouth_tokens=_stacked([s.mouth_tokens for s in samples]),
        region_mask=padded(eye_mouth_mask(eye_keys & masked, mouth_queries & masked, paths=mask_paths), eye_keys[..., 0, 0].numel()),
        loss_keep=_stacked([s.loss_keep for s in samples]),
        audio=audio,
        audio_present=present,
        conditions_dropped=torch.tensor([c.all_dropped for c in conditions]),
        timesteps=torch.tensor([s.timestep for s in samples]),
        noise=torch.stack([s.noise for s in samples]),
        moved_frames=_channels_first(_stacked(moved)) if moved else None,
        recolour=_recolour(samples),
        skips=tuple(skip for s in samples for skip in s.skips),
    )


def _recolour(samples: list[Sample]) -> torch.Tensor | None:
    if all(s.recolour == SAME for s in samples):
        return None
    rows = [[(*row, tint) for row, tint in zip(s.recolour.turn, s.recolour.tint, strict=True)] for s in samples]
    return torch.tensor(rows, dtype=torch.float32)


def _stacked(arrays: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays))


def _channels_first(pictures: torch.Tensor) -> torch.Tensor:
    """(..., S, S, 3) → (..., 3, S, S)."""
    return pictures.movedim(-1, -3).contiguous()


def _parameters(samples: list[Sample]) -> AugmentParameters:
    changes = [s.change for s in samples]
    return AugmentParameters(
        scale=torch.tensor([c.scale for c in changes], dtype=torch.float32),
        shrink=torch.tensor([c.shrink for c in changes]),
        gain=torch.tensor([c.gain for c in changes]),
        contrast=torch.tensor([c.contrast for c in changes]),
        saturation=torch.tensor([c.saturation for c in changes]),
        hue=torch.tensor([c.hue for c in changes]),
        whole=torch.tensor([c.whole for c in changes]),
    )
