"""The training loop: one object that owns model, optimiser, average, position and checkpoints of one run on this rank."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import save_file

from inference.models import MegActorModel, training_flops
from inference.models.codecs import LatentCodec
from inference.models.components import InferenceConfig, TrainingRecord
from inference.models.flops import Work
from inference.models.schedule import SCHEDULE
from inference.pipeline.folder import save_pipeline
from manifests.errors import UserError
from training.config import TrainingConfig
from training.data.batch import TrainingBatch
from training.loop import stages
from training.loop.checkpoints import EMA, MODEL, OPTIMISER, Checkpoints, TrainingState, read_state
from training.loop.faults import StoppedError, StopRequest, explain_out_of_memory, is_out_of_memory
from training.loop.hardware import dtype_of, mfu_peak, peak_memory_gib
from training.loop.inputs import ModelInputs, emphasis, model_inputs
from training.loop.loss import LossSums, training_loss
from training.loop.meter import Meter
from training.loop.optimiser import Optimiser
from training.loop.parallel import accumulating, spread
from training.loop.progress import Progress
from training.loop.run_folder import PIPELINE, Log
from training.loop.tensors import gathered, like, model_to_save

Batches = Callable[[int], Iterator[TrainingBatch]]
"""From a global sample index: this rank's micro-batches from there on."""


class Observer(Protocol):
    """Called by all ranks every `every_steps` optimiser steps (0 = not between) and after the last; `training.watch` has them.

    Attributes:
        name: of the time that it takes, in the log.
    """

    name: str
    every_steps: int

    def __call__(self, trainer: Trainer) -> None: ...


class Trainer:
    """Trains from where the run stands to its last step.

    Args:
        model: with the stage's first weights; a continued run's own weights replace them.
        accelerator: the ranks and their devices.
        batches: yields this rank's micro-batches of `config.accumulation(ranks)[0]` samples from a global sample index on.
        observers: called after their interval as `observer(trainer)`, and after the last step; see `training.watch.observers`.
        record: what the saved pipeline says about its training; `step` is filled here.
        say: prints a line.
        fresh: parts of the model that start at random (`training.loop.start.fresh_parts`); they have a learning rate of their own.
    """

    def __init__(
        self,
        config: TrainingConfig,
        inference: InferenceConfig,
        run_dir: Path,
        model: MegActorModel,
        accelerator: Accelerator,
        codec: LatentCodec,
        batches: Batches,
        observers: Sequence[Observer] = (),
        record: TrainingRecord | None = None,
        say: Callable[[str], None] = print,
        fresh: frozenset[str] = frozenset(),
    ):
        if accelerator.distributed_type == DistributedType.DEEPSPEED:
            raise UserError("DeepSpeed is not supported: its engine owns the optimiser's state; hardware.shard=true shares it out (FSDP2)")
        self.config, self.inference, self.run_dir = config, inference, Path(run_dir)
        self.accelerator, self.codec, self.observers = accelerator, codec, observers
        self._batches, self.say = batches, say if accelerator.is_main_process else lambda line: None
        self._record = record or TrainingRecord(stage=config.stage)
        self.sizes = model.sizes
        self._dtype = dtype_of(config.hardware.precision)
        self.schedule = SCHEDULE.to(accelerator.device)
        self.micro_batch, self.accumulation = config.accumulation(accelerator.num_processes)
        self.log = Log(self.run_dir)
        self.checkpoints = Checkpoints(self.run_dir, config.checkpoints.keep)
        self.state = TrainingState()
        self._saved_step = -1
        self._passed_over = 0  # on this rank, since the last `_count_skips`
        self._named: set[str] = set()
        self.network = self._choose(model)
        shard = config.hardware.shard or accelerator.distributed_type == DistributedType.FSDP
        self.model = spread(self.network, self.device, accelerator.num_processes, shard)
        fp16 = config.hardware.precision == "fp16"
        self.optimiser = Optimiser(self.network, config.optimiser, config.steps, fresh, fp16)
        frames = config.data.frames_of_stage(config.stage)
        work = Work(config.batch_size, frames, inference.size_px, inference.size_px, reference=True, audio=self.sizes.with_audio)
        self.step_flops = training_flops(self.sizes, work, config.stage)
        gpu = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else None
        peak = mfu_peak(config.hardware, gpu, self.say)
        self.meter = Meter(self.device, peak and peak * accelerator.num_processes)
        self.loss_sums = LossSums(self.device)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def autocast(self) -> torch.autocast:
        """The run's precision, for whoever calls the network."""
        return torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32)

    def predict(self, inputs: ModelInputs) -> torch.Tensor:
        """(B, F, 2C, h, w) float32: what the network says, in the run's precision. Where it is sharded every rank must call it."""
        with self.autocast():
            return self.network(**inputs.arguments).float()

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    def run(self) -> TrainingState:
        """Trains to the last step.

        Raises:
            StoppedError: interrupted, or too many steps without a finite gradient; what was reached is saved.
            UserError: out of memory, disk full, unreadable data; the newest checkpoint is whole.
        """
        config = self.config
        batches = self._batches(self.state.next_sample)
        progress = Progress(config.steps, self.say)
        with StopRequest() as stop:
            while self.state.step < config.steps:
                begin = time.perf_counter()
                norm = self.step(batches)
                took_s = time.perf_counter() - begin
                self._advance(norm, took_s)
                step = self.state.step
                progress.tick(step, took_s)
                last = step == config.steps
                if step < config.logging.every_steps and self.is_main:  # a report made before the first record knows how far it is
                    self.log.add("step", step, {"seconds": took_s})
                if step % config.logging.every_steps == 0 or last:
                    self._log_training(norm, progress)
                if step % config.checkpoints.every_steps == 0 or last:
                    self.save()
                for observer in self.observers:
                    if last or (observer.every_steps and step % observer.every_steps == 0):
                        with self.meter.paused(observer.name):
                            observer(self)
                if not last:
                    self._stop_if_asked(stop)
        self.accelerator.end_training()
        return self.state

    # --- one step ------------------------------------------------------------------------------------------------------------------

    def step(self, batches: Iterator[TrainingBatch]) -> float:
        """Trains on the next batches of one optimiser step; the gradient's norm. Does not move the position.

        Raises:
            UserError: out of memory.
        """
        try:
            return self._step(batches)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.optimiser.drop_gradients()
            raise explain_out_of_memory(error, self.config, self.micro_batch, self.device, self.run_dir) from error

    def _step(self, batches: Iterator[TrainingBatch]) -> float:
        """Forward and backward of every micro-batch, then the update; returns the gradient's norm. Not finite: nothing is updated."""
        for micro in range(self.accumulation):
            with self.meter.phase("data"):
                batch = next(batches)
                self._note_skips(batch)
                batch = batch.to(self.device)
            with accumulating(self.model, last=micro == self.accumulation - 1):
                with self.meter.phase("forward"):
                    inputs = model_inputs(batch, self.codec, self.sizes.with_audio, self.schedule)
                    with self.autocast():
                        prediction = self.model(**inputs.arguments)
                    loss = self.config.loss
                    terms = training_loss(
                        prediction,
                        x0=inputs.x0,
                        noise=batch.noise,
                        timesteps=batch.timesteps,
                        schedule=self.schedule,
                        keep=batch.loss_keep,
                        min_snr_gamma=loss.min_snr_gamma,
                        error=loss.error,
                        emphasis=emphasis(batch, self.codec, loss.region_weight, loss.channels),
                    )
                with self.meter.phase("backward"):
                    self.optimiser.backward(terms.total / self.accumulation)
            self.loss_sums.add(terms, batch.timesteps, batch.modality)
        with self.meter.phase("optimiser"):
            norm = self.optimiser.update(self.state.step)
        self.meter.step(self.config.batch_size, self.step_flops)
        return norm

    def _advance(self, norm: float, seconds: float) -> None:
        old, updated = self.state, math.isfinite(norm)
        self.state = replace(
            old,
            step=old.step + 1,
            next_sample=old.next_sample + self.config.batch_size,
            updates=old.updates + updated,
            skipped=old.skipped + (not updated),
            skipped_in_row=0 if updated else old.skipped_in_row + 1,
            seconds=old.seconds + seconds,
        )
        if updated:
            return
        scale = self.optimiser.scale
        lower = f"; loss scale {scale[0]:g}" if scale else ""
        self._event(f"step {self.state.step}: the gradient is not finite; skipped ({self.state.skipped} so far){lower}")
        limit = self.config.loss.max_skipped_in_row
        if self.state.skipped_in_row >= limit:
            self.save()
            raise StoppedError(
                f"{limit} steps in a row had no finite gradient; stopped at step {self.state.step}, {self.state.skipped} skipped in all. "
                f"The weights of the last good step are saved in {self.run_dir}. Lower optimiser.lr, or look at the clips of samples "
                f"{self.state.next_sample - limit * self.config.batch_size}…{self.state.next_sample - 1}"
            )

    def _note_skips(self, batch: TrainingBatch) -> None:
        """Counts them, and names each clip the first time."""
        self._passed_over += len(batch.skips)
        for skip in batch.skips:
            if skip.clip_id not in self._named:
                self._named.add(skip.clip_id)
                self._event(f"sample {skip.sample_index}: passed over clip {skip.clip_id} ({skip.kind}: {skip.message})", every_rank=True)

    def _event(self, message: str, every_rank: bool = False) -> None:
        self.say(message)
        if self.is_main or every_rank:  # a line is appended in one write, so ranks do not mix theirs
            self.log.add("event", self.state.step, {"message": message})

    def _count_skips(self) -> None:
        """Sums over ranks what each passed over since the last time; all call it."""
        new = torch.tensor(self._passed_over, device=self.device)
        total = int(self.accelerator.reduce(new, "sum"))
        self._passed_over = 0
        self.state = replace(self.state, clips_passed_over=self.state.clips_passed_over + total)

    def _stop_if_asked(self, stop: StopRequest) -> None:
        asked = stop.asked
        if self.accelerator.num_processes > 1:
            asked = bool(self.accelerator.reduce(torch.tensor(int(asked), device=self.device), "sum") > 0)
        if asked:
            self.save()
            raise StoppedError(
                f"interrupted at step {self.state.step}; saved to {self.run_dir}, the same command continues", interrupted=True
            )

    # --- records -------------------------------------------------------------------------------------------------------------------

    def _log_training(self, norm: float, progress: Progress) -> None:
        self._count_skips()
        values = self.loss_sums.read() | self.meter.read()
        values |= {
            "lr": self.optimiser.rate(self.state.step - 1),
            "gradient_norm": norm,
            "skipped": self.state.skipped,
            "clips_passed_over": self.state.clips_passed_over,
            "peak_memory_gib": peak_memory_gib(self.device),
        }
        self.add_record("train", values)
        progress.report(self.state.step, values)

    def add_record(self, kind: str, values: Mapping[str, object]) -> None:
        """To `log.jsonl`, numbers to the trackers too; on the main process, where others do nothing."""
        if not self.is_main:
            return
        self.log.add(kind, self.state.step, values)
        numbers = {f"{kind}/{name}": value for name, value in values.items() if isinstance(value, int | float)}
        for tracker in self.accelerator.trackers:
            tracker.log(numbers, step=self.state.step)

    # --- checkpoints ---------------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """A checkpoint and the pipeline's folder; all ranks call it, the main one gathers and writes."""
        if self._saved_step == self.state.step:
            return
        with self.meter.paused("checkpoints"):
            self._count_skips()
            if scale := self.optimiser.scale:
                self.state = replace(self.state, loss_scale=scale[0], scale_kept=scale[1])
            tensors = gathered(dict(self.network.named_parameters()), self.is_main)
            averages, moments = self.optimiser.averages(self.is_main), self.optimiser.tensors(self.is_main)
            if self.is_main:
                average = model_to_save(self.sizes, tensors | averages)

                def fill(folder: Path) -> None:
                    model_to_save(self.sizes, tensors).save_pretrained(folder / MODEL)
                    average.save_pretrained(folder / EMA)
                    save_file(moments, folder / OPTIMISER)

                self.checkpoints.write(self.state, fill)
                save_pipeline(self.run_dir / PIPELINE, average, self.inference, replace(self._record, step=self.state.step))
            self.accelerator.wait_for_everyone()
        self._saved_step = self.state.step

    def resume(self, checkpoint: Path) -> None:
        """Continues exactly where `checkpoint` was made."""
        self.state = read_state(checkpoint)
        self._saved_step = self.state.step
        weights = MegActorModel.from_pretrained(checkpoint / MODEL, torch_dtype=torch.float32).state_dict()
        averages = MegActorModel.from_pretrained(checkpoint / EMA, torch_dtype=torch.float32).state_dict()
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(like(weights[name], parameter))
        self.optimiser.load(averages, checkpoint / OPTIMISER, self.state.updates)
        if self.state.loss_scale is not None and self.optimiser.scale:
            self.optimiser.load_scale(self.state.loss_scale, self.state.scale_kept)
        if self.is_main:
            self.log.cut(self.state.step)
        self.accelerator.wait_for_everyone()

    # --- set-up --------------------------------------------------------------------------------------------------------------------

    def _choose(self, model: MegActorModel) -> MegActorModel:
        """The model with the stage's parameters to train, blocks checkpointed and compiled as configured."""
        rows = stages.choose_trainable(model, self.config.stage)
        self.say(f"stage {self.config.stage}, {stages.NAMES[self.config.stage]}:\n{stages.table(rows)}")
        if self.config.hardware.gradient_checkpointing:
            model.enable_gradient_checkpointing()
        if self.config.hardware.compile:
            model.compile_repeated_blocks(fullgraph=True)
        return model
