"""`python -m benchmarks.training_loader`: samples a second of the training loader beside its decode floor.

The floor reads the very pictures that the samples need, in the same order, with as many processes, and does nothing else with them: what
the loader adds is landmarks, cropping, masks, patches, noise and the way to the trainer. Rounds of both alternate and the best counts. With
`--cache` the loader reads a latent cache; the floor stays that of the videos.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

import manifests
from benchmarks.decode import N_FRAMES, synthesise
from benchmarks.rows import Row, print_rows
from curation.media import MediaReader
from inference.models.components import InferenceConfig, load_inference_config
from training.config import TrainingConfig
from training.data.config import DataConfig
from training.data.dataset import TrainingDataset
from training.data.frames import VideoFrames
from training.data.loader import make_loader, open_clips, worker_context


class Plan(VideoFrames):
    """A frame source that decodes nothing and says what it would decode."""

    def frames(self, clip, crop, reference, targets, with_audio, variant):
        times_ms = clip.start_ms + self.geometry(clip).times_ms[[reference, *targets]]
        return clip.video_path, times_ms.tolist()


class DecodeAlone(Dataset):
    """The pictures of each sample, read and dropped."""

    def __init__(self, plan: list[tuple[str, list[float]]]):
        self._plan, self._reader = plan, None

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> int:
        if self._reader is None:
            self._reader = MediaReader()
        return len(self._reader.pictures_at(*self._plan[index], strict=True))


def synthetic_manifest(folder: Path, n_clips: int, key_every: int, size_px: tuple[int, int]) -> Path:
    """Clips of blurred noise with planted landmarks of a face in the middle that sways."""
    (folder / "landmarks").mkdir(parents=True)
    angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    face = np.stack([np.cos(angles), np.sin(angles)], axis=1) * size_px[1] / 4
    face[36:42] = face[36:42] * 0.1 - [size_px[1] / 10, size_px[1] / 12]
    face[42:48] = face[42:48] * 0.1 + [size_px[1] / 10, -size_px[1] / 12]
    face[48:68] = face[48:68] * 0.3 + [0, size_px[1] / 8]
    sway = 5 * np.stack([np.sin(np.arange(N_FRAMES) / 9), np.cos(np.arange(N_FRAMES) / 13)], axis=1)
    points = face + sway[:, None] + np.array(size_px) / 2
    rows, landmarks = [], {}
    for k in range(n_clips):
        path = folder / f"{k}.mp4"
        if k == 0:
            synthesise(path, size_px, key_every)
        else:
            path.hardlink_to(folder / "0.mp4")
        clip_id = manifests.clip_id("folder", path.name, 0, None)
        landmarks[clip_id] = (40.0 * np.arange(N_FRAMES), np.ones(N_FRAMES), points, np.ones((N_FRAMES, 68)))
        rows.append(
            {"clip_id": clip_id, "source": "folder", "source_key": path.name, "identity": path.name, "video_path": str(path), "start_ms": 0}
            | {"split": "train", "status": "scored", "landmark_hz": 25.0, "accepted": True, "reject_reasons": [], "has_audio": False}
        )
    manifests.write(rows, folder / "manifest.parquet")
    manifests.write_landmarks(folder / "landmarks" / "0.parquet", landmarks)
    return folder


def loader_rate(data: DataConfig, inference: InferenceConfig, manifest: Path, stage: int, n: int, batch: int, workers: int) -> float:
    """Samples a second of `n` samples after one batch."""
    loader = make_loader(
        data, inference, open_clips(data, inference, manifest, stage), stage=stage, seed=0, batch_size=batch, num_workers=workers
    )
    return _rate(iter(loader), n // batch, batch)


def floor_rate(plan: list[tuple[str, list[float]]], n: int, batch: int, workers: int) -> float:
    """The same for the pictures alone."""
    loader = DataLoader(
        DecodeAlone(plan), batch_size=batch, num_workers=workers, prefetch_factor=2 if workers else None,
        multiprocessing_context=worker_context() if workers else None,
    )  # fmt: skip
    return _rate(iter(loader), n // batch, batch)


def _rate(batches, n_batches: int, batch: int) -> float:
    next(batches)  # starts workers and children
    began = time.perf_counter()
    for _ in range(n_batches):
        next(batches)
    elapsed_s = time.perf_counter() - began
    del batches
    return n_batches * batch / elapsed_s


def plan_of(data: DataConfig, inference: InferenceConfig, manifest: Path, stage: int, n: int) -> list[tuple[str, list[float]]]:
    """(file, times in ms) of the first `n` samples."""
    table = open_clips(data, inference, manifest, stage)
    dataset = TrainingDataset(data, inference, table, Plan(data, inference, table), 0, stage)
    return [dataset._frames(table.clips[dataset._order.clip_of(index)], index, 0) for index in range(n)]


def measure(
    name: str, manifest: Path, profile: str, stage: int, n: int, batch: int, workers: int, repeats: int, cache: Path | None = None
) -> Row:
    """One line; with `cache`, the folder to make a latent cache in."""
    inference = load_inference_config(profile)
    data = DataConfig(audio_cache=str(manifest / "audio"))
    plan = plan_of(data, inference, manifest, stage, n + 8 * batch * max(1, workers))
    if cache is not None:
        from training.offline.cache_job import cache_latents

        config = TrainingConfig(stage=stage, inference=profile, data=data)
        cache_latents(config, str(manifest), str(cache), executor="inprocess", say=lambda line: None)
        data = replace(data, latent_cache=str(cache))
    best_loader = best_floor = 0.0
    for _ in range(repeats):
        best_floor = max(best_floor, floor_rate(plan, n, batch, workers))
        best_loader = max(best_loader, loader_rate(data, inference, manifest, stage, n, batch, workers))
    return Row(name, best_loader, best_floor, "samples/s")


def main(argv: Sequence[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, help="a curation run's folder to measure instead of synthetic clips")
    parser.add_argument("--profile", default="embedded", help="configs/inference/PROFILE.yaml; the latent cache needs its codec's weights")
    parser.add_argument("--samples", type=int, default=192)
    parser.add_argument("--batch", type=int, default=16, help="as the paper profile has it; a worker decodes ahead within a batch")
    parser.add_argument("--workers", type=int, default=1, help="each has a decoding child beside it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cache", action="store_true", help="one more line each, from a latent cache")
    parser.add_argument("--quick", action="store_true", help="one kind of clip, few samples, once")
    arguments = parser.parse_args(argv)
    n, repeats = (32, 1) if arguments.quick else (arguments.samples, arguments.repeats)
    table: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack():
        places = {}
        if arguments.manifest:
            places["manifest"] = arguments.manifest
        else:
            kinds = [((1280, 720), 25)] if arguments.quick else [((1280, 720), 250), ((1280, 720), 25), ((512, 512), 25)]
            for size_px, key_every in kinds:
                label = f"{size_px[0]}x{size_px[1]} px, key frame every {key_every}"
                places[label] = synthetic_manifest(Path(folder) / f"{size_px[0]}-{key_every}", 8, key_every, size_px)
        for label, manifest in places.items():
            for stage in (1,) if arguments.quick or not arguments.manifest else (1, 3):
                shared = (manifest, arguments.profile, stage, n, arguments.batch, arguments.workers, repeats)
                table.append(measure(f"{label}, stage {stage}", *shared))
                if arguments.cache:
                    table.append(measure(f"{label}, stage {stage}, latent cache", *shared, Path(folder) / "cache" / label / str(stage)))
    print_rows(table)
    return table


if __name__ == "__main__":
    main()
