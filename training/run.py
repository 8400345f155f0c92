"""From a configuration, a manifest and a folder to a trained run: builds the parts, continues what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from curation.job.lock import hold
from inference.models.components import InferenceConfig, load_inference_config
from manifests import configuration
from manifests.errors import UserError
from manifests.version import code_version
from training.config import PICTURES_AT_ONCE, TrainingConfig
from training.loop.checkpoints import Checkpoints, TrainingState
from training.loop.run_folder import open_run, read_run
from training.loop.start import Start, build_model, find_start, fresh_parts
from training.loop.trackers import make_trackers, start_trackers

if TYPE_CHECKING:
    from accelerate import Accelerator

    from training.data.batch import TrainingBatch
    from training.data.clips import ClipTable, OpenManifest
    from training.loop.trainer import Observer, Trainer

VALIDATION_SEED = 20_260_101  # of its draws: fixed, so that curves of runs with other seeds can be compared
AUTO_CACHE = "auto"  # of data.latent_cache: in the run's folder


def inference_config(config: TrainingConfig) -> InferenceConfig:
    """The inference profile that a run trains for; where its drivers are always grey, the pipeline shows the model grey drivers too."""
    inference = load_inference_config(config.inference, config.inference_overrides)
    return replace(inference, grey_driver=inference.grey_driver or config.data.augment.grey_share == 1)


def missing_variants(config: TrainingConfig, table: ClipTable) -> str | None:
    """What to say where the share of driving variants cannot be kept; None where it can, or is 0.

    Raises:
        UserError: no clip has a variant, and `data.require_variants` is set.
    """
    data = config.data
    n_with = sum(bool(clip.variants) for clip in table.clips)
    if not data.variant_share or n_with == len(table):
        return None
    told = (
        f"data.variant_share is {data.variant_share:g}, and {n_with or 'none'} of {len(table)} clips have a face-swapped or stylised "
        "variant: without them the driver is always the target's own face. `python -m training augment` makes them; "
        "--set data.variant_share=0 trains without"
    )
    if not n_with and data.require_variants:
        raise UserError(told)
    return told


def train(
    config: TrainingConfig,
    manifest: str,
    out: str | Path,
    init: str | None = None,
    before: str | None = None,
    say: Callable[[str], None] = print,
) -> TrainingState:
    """Trains a stage from `manifest` into the folder `out`, or continues it there.

    Args:
        init: the run (or one of its checkpoints) of the stage before.
        before: where it is looked for if `init` is not given.

    Raises:
        UserError, StoppedError: one line that says what to do.
    """
    inference = inference_config(config)
    out = Path(out)
    start = _start(config, out, init, before)

    from training.data.clips import OpenManifest
    from training.data.loader import open_clips

    accelerator = make_accelerator(config, out)
    say = say if accelerator.is_main_process else _silent
    own_cache = config.data.latent_cache == AUTO_CACHE
    opened = OpenManifest.read(manifest)
    table = open_clips(replace(config.data, latent_cache=None) if own_cache else config.data, inference, opened, config.stage)
    without = missing_variants(config, table)
    record = {
        "config": configuration.to_tree(config),
        "inference": inference.to_tree(),
        "start": configuration.to_tree(start),
        "data": {"clips": table.fingerprint},
        "manifest": {"path": str(manifest), "sha256": manifest_digest(manifest), "clips": table.describe()},
        "code_version": code_version(),
    }
    with _alone(out, accelerator):
        continues = False
        if accelerator.is_main_process:
            continues = open_run(out, record)
            Checkpoints(out).remove_unfinished()
        accelerator.wait_for_everyone()
        say(_opening(out, continues, _device_text(accelerator), start))
        say(f"data: {table.describe()} ({manifest})")
        if without:
            say(f"WARNING: {without}")
        if own_cache:
            config = with_own_cache(config, opened, out, accelerator, say)
            table = open_clips(config.data, inference, opened, config.stage)
        held_out = held_out_clips(config, inference, opened, say)
        trainer = build_trainer(config, inference, out, accelerator, table, held_out, start, say)
        newest = trainer.checkpoints.newest()
        if newest is not None:
            trainer.resume(newest)
            say(f"at step {trainer.state.step:,} of {config.steps:,}")
        elif accelerator.is_main_process:
            trainer.log.cut(0)  # of a start that was killed before its first checkpoint
        start_trackers(accelerator)
        state = trainer.run()
        if accelerator.is_main_process:
            from training.watch.report import write_report

            say(f"trained {state.step:,} steps: weights in {out / 'pipeline'}, report in {write_report(out)}")
    return state


@contextmanager
def _alone(out: Path, accelerator: Accelerator) -> Iterator[None]:
    """Hold the run's folder: two trainings in one would write each other's checkpoints. The main process holds it for all."""
    with hold(out) if accelerator.is_main_process else nullcontext():
        yield


def _opening(out: Path, continues: bool, device: str, start: Start) -> str:
    """The run's first line."""
    if continues and Checkpoints(out).newest() is not None:
        return f"continues {out} on {device}"
    again = "starts again (it had no checkpoint yet)" if continues else "starts"
    return f"{again} {out} on {device}, from {start.text()}"


def with_own_cache(
    config: TrainingConfig, manifest: OpenManifest, out: Path, accelerator: Accelerator, say: Callable[[str], None]
) -> TrainingConfig:
    """The configuration with a latent cache in the run's folder, filled now, every rank its share on its own device; for large data there
    is `python -m training cache-latents`."""
    from training.offline.cache_job import cache_latents

    folder = out / "latents"
    data = replace(config.data, latent_cache=str(folder))
    say("caches latents, driving patches and sound first")
    cache_latents(
        replace(config, data=data),
        manifest,
        str(folder),
        executor="inprocess",
        device=str(accelerator.device),
        share=(accelerator.process_index, accelerator.num_processes),
        say=say,
    )
    accelerator.wait_for_everyone()
    return replace(config, data=data)


def build_trainer(
    config: TrainingConfig,
    inference: InferenceConfig,
    out: Path,
    accelerator: Accelerator,
    table: ClipTable,
    held_out: ClipTable | None,
    start: Start,
    say: Callable[[str], None],
) -> Trainer:
    """The trainer of this rank with its loaders and observers.

    Args:
        held_out: what validation and sample videos see; None where the manifest has nothing but `table`.
    """
    from inference.models.components import TrainingRecord, build_codec
    from training.data.loader import make_loader
    from training.data.modality import combination_shares
    from training.loop.hardware import dtype_of
    from training.loop.trainer import Trainer
    from training.watch.observers import Validation
    from training.watch.videos import SampleVideos

    codec = build_codec(inference, accelerator.device, dtype_of(config.hardware.precision), at_once=PICTURES_AT_ONCE)
    micro, _ = config.accumulation(accelerator.num_processes)

    def batches(start_index: int) -> Iterator[TrainingBatch]:
        return iter(
            make_loader(
                config.data,
                inference,
                table,
                stage=config.stage,
                seed=config.seed,
                batch_size=micro,
                start_index=start_index,
                rank=accelerator.process_index,
                world_size=accelerator.num_processes,
                num_workers=config.hardware.workers,
                pin_memory=accelerator.device.type == "cuda",
            )
        )

    observers: list[Observer] = []
    if config.validation.every_steps:
        observers.append(
            Validation(
                validation_batches(config, inference, held_out or table, micro), config.validation.timesteps, config.validation.every_steps
            )
        )
    if config.videos.every_steps or config.videos.at_end:
        unseen = held_out if config.videos.held_out else None
        observers.append(SampleVideos(config, inference, unseen or table, is_held_out=unseen is not None))
    modality = config.data.modality
    record = TrainingRecord(
        stage=config.stage,
        dropout={"reference": modality.reference_dropout, "all": modality.all_dropout},
        combinations=combination_shares(modality, config.stage),
        code_version=code_version(),
        trained_on=f"{len(table):,} clips of {len({clip.identity for clip in table.clips}):,} people",
    )
    return Trainer(
        config,
        inference,
        out,
        build_model(config, inference, start),
        accelerator,
        codec,
        batches,
        tuple(observers),
        record,
        say,
        fresh_parts(config.stage, start),
    )


def held_out_clips(
    config: TrainingConfig, inference: InferenceConfig, manifest: OpenManifest, say: Callable[[str], None]
) -> ClipTable | None:
    """Clips of the split that is not trained on; None, with a word about it, where the manifest has none."""
    from training.data.loader import open_clips

    try:
        if config.data.split == "all":
            raise UserError("all splits are trained on")
        other = "test" if config.data.split == "train" else "train"
        return open_clips(replace(config.data, split=other, latent_cache=None), inference, manifest, config.stage)
    except UserError as error:
        say(f"validation and sample videos use training clips: {error}")
        return None


def validation_batches(config: TrainingConfig, inference: InferenceConfig, table: ClipTable, micro: int) -> list[TrainingBatch]:
    """The first samples of a stream of its own, without augmentation."""
    from training.data.loader import make_loader

    size = min(micro, config.validation.samples)
    loader = make_loader(
        replace(config.data, latent_cache=None),
        inference,
        table,
        stage=config.stage,
        seed=VALIDATION_SEED,
        batch_size=size,
        augment=False,
    )
    stream = iter(loader)
    return [next(stream) for _ in range(max(1, config.validation.samples // size))]


def make_accelerator(config: TrainingConfig, out: Path) -> Accelerator:
    """accelerate's object for the configured device; its launcher decides on ranks.

    Raises:
        UserError: a GPU is asked for and none is there, or one that this build of torch or the precision does not serve.
    """
    import torch
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    from training.loop.hardware import check_build, check_precision

    hardware = config.hardware
    if hardware.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "no CUDA device; this configuration trains on a GPU: for the CPU take --config embedded, or set hardware.device=cpu"
        )
    accelerator = Accelerator(
        cpu=hardware.device == "cpu",
        mixed_precision="no",  # autocast and loss scale are the trainer's own, so that all who call the network have the same
        log_with=make_trackers(config.logging.trackers, out) or None,
        project_dir=str(out),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=hardware.rank_timeout_s))],
    )
    if accelerator.device.type == "cuda":
        name, capability = torch.cuda.get_device_name(accelerator.device), torch.cuda.get_device_capability(accelerator.device)
        check_build(name, capability, torch.cuda.get_arch_list(), torch.version.cuda or "none")
        check_precision(hardware.precision, name, capability)
    return accelerator


def manifest_digest(manifest: str) -> str:
    """SHA-256 of the manifest's file, for the report; empty for a URL or a running run's shards."""
    import hashlib

    file = Path(manifest) / "manifest.parquet" if Path(manifest).is_dir() else Path(manifest)
    if not file.is_file():
        return ""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _start(config: TrainingConfig, out: Path, init: str | None, before: str | None) -> Start:
    """A continued run keeps its own start unless another is asked for (which is then compared, and refused)."""
    old = read_run(out)
    if old is not None and init is None and old["config"]["stage"] == config.stage:
        return Start(**old["start"])
    return find_start(config, init, before)


def _device_text(accelerator: Accelerator) -> str:
    import torch

    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the CPU ({torch.get_num_threads()} threads)"
    ranks = accelerator.num_processes
    return name if ranks == 1 else f"{ranks} × {name} ({accelerator.distributed_type.value.lower()})"


def _silent(line: str) -> None:
    pass
