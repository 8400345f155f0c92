"""The sampling loop over windows, for clips of any length in memory that does not grow with it.

A frame may take its next solver step as soon as every window that covers it has been evaluated at the present one. So the work runs as a
wave: the deepest step that has enough windows ready goes first, the first frames leave finished while later ones have not begun, and about
(number of steps × stride) frames are in memory at once. The order of work changes nothing: a window's prediction depends on its frames'
latents alone, predictions are merged in ascending order of windows before the solver step, and each group of frames has its own solver.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from inference.models.attention import KeysValues
from inference.models.block_cache import BlockCache
from inference.models.megactor import MegActorModel
from inference.sampling.guidance import NULL, UNDRIVEN, Branch
from inference.sampling.noise import frame_noise, step_generators
from inference.sampling.settings import SamplingSettings
from inference.sampling.windows import WINDOW, WindowPlan, pyramid

FramesOf = Callable[[int, int], torch.Tensor]
StepEnd = Callable[["Segment", int, torch.Tensor], torch.Tensor | None]


@dataclass(frozen=True, eq=False)
class ClipConditions:
    """What one clip is made from.

    Attributes:
        num_frames: at least a window (see `windows.padded_length`).
        reference_latents: (C, h, w).
        driven: (first, end) -> (n, 3, 8h, 8w) in 0…1, black outside the patches; asked for in ascending order, every frame once. None: no
            driving frames at all.
        audio: (first, end) -> (n, T, Ca) audio windows, likewise. None: no sound.
        seed: of the clip's noise.
        moved: (first, end) -> (n, C, h, w) latents of the reference moved to each frame's head, asked for as `driven`; None leaves it where
            it is. Not asked for where the model takes none.
        mouth: (first, end) -> (n, 1, h, w) in 0…1, how much of each cell is the mouth's region, asked for likewise; None where nobody says.
    """

    num_frames: int
    reference_latents: torch.Tensor
    driven: FramesOf | None
    audio: FramesOf | None
    seed: int
    moved: FramesOf | None = None
    mouth: FramesOf | None = None


@dataclass(eq=False)
class Segment:
    """Neighbouring frames that always advance together, with their own solver."""

    clip: int
    first: int
    latents: torch.Tensor  # (n, C, h, w) float32
    driven: torch.Tensor | None  # (n, Cd, h, w)
    audio: torch.Tensor | None  # (n, T, Ca)
    scheduler: Any
    copied: torch.Tensor | None = None  # (n, copied_channels, h, w), what the model is shown of the reference
    mouth: torch.Tensor | None = None  # (n, 1, h, w), where guidance is the mouth's
    level: int = 0  # solver steps taken
    sums: tuple[torch.Tensor, torch.Tensor] | None = (
        None  # over windows: of weighted predictions, (n, C or 2C, h, w) float32; of weights, (n,)
    )
    scaled: torch.Tensor | None = None  # what the model is shown at this level

    @property
    def end(self) -> int:
        return self.first + self.latents.shape[0]


@dataclass(frozen=True)
class Job:
    """One window at one step."""

    track: Track
    step: int
    start: int


class Track:
    """One clip's windows, segments and progress."""

    def __init__(self, index: int, clip: ClipConditions, windows: WindowPlan, num_steps: int):
        self.index, self.clip, self.windows = index, clip, windows
        self.boundaries = windows.boundaries(num_steps)
        distinct = min(num_steps, windows.stride) if windows.shift else 1
        self._starts = [windows.starts(step) for step in range(distinct)]
        self.next_window = [0] * num_steps
        self.frontier = [clip.num_frames, *[0] * num_steps]  # frames that have taken at least so many solver steps
        self.segments: list[Segment] = []  # in flight, ascending
        self.num_opened = 0  # boundaries passed
        self.reference_keys: dict[int, tuple[KeysValues, ...]] = {}  # by step
        self.caches: dict[int, BlockCache] = {}  # by start of the window

    def starts(self, step: int) -> list[int]:
        return self._starts[step % len(self._starts)]

    def ready(self, step: int, limit: int) -> list[int]:
        """Starts of up to `limit` windows of a step that can be evaluated now, ascending."""
        found = []
        for start in self.starts(step)[self.next_window[step] : self.next_window[step] + limit]:
            if start + self.windows.size > self.frontier[step]:
                break
            found.append(start)
        return found

    def parts(self, start: int) -> Iterator[tuple[Segment, slice, slice]]:
        """(segment, its frames, the window's frames) for a window in flight."""
        end = start + self.windows.size
        for segment in self.segments:
            a, b = max(start, segment.first), min(end, segment.end)
            if a < b:
                yield segment, slice(a - segment.first, b - segment.first), slice(a - start, b - start)


class Denoiser:
    """Samples clips; see the module.

    Args:
        model: on the device and in the dtype to compute in.
        scheduler: a diffusers scheduler, configured; it is copied, never changed.
        settings: how; its `sampler` is not looked at, `scheduler` takes its place.
        window_size: frames that the model sees together.
        device: to compute on; the model's if None.
        on_step_end: called with a segment, the step that it has just taken and its new latents; may return others.
    """

    def __init__(
        self,
        model: MegActorModel,
        scheduler: Any,
        settings: SamplingSettings,
        window_size: int = WINDOW,
        device: torch.device | None = None,
        on_step_end: StepEnd | None = None,
    ):
        self.model, self.settings, self.window_size = model, settings, window_size
        self.device, self.dtype = device or model.device, model.dtype
        self._scheduler, self._on_step_end, self._guidance = scheduler, on_step_end, settings.guidance
        self.timesteps = self._fresh_scheduler().timesteps
        self.num_steps = len(self.timesteps)  # some schedulers take more steps than asked for
        self._learned_variance = getattr(scheduler.config, "variance_type", None) in ("learned", "learned_range")
        self._weights = torch.from_numpy(pyramid(window_size)).to(self.device)
        self._black: torch.Tensor | None = None

    @torch.no_grad()
    def run(
        self, clips: Sequence[ClipConditions], on_evaluation: Callable[[int], None] | None = None
    ) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Yields (clip, first frame, (n, C, h, w) float32 latents) in ascending order of frames, as they finish.

        Args:
            on_evaluation: called after each model call with the number of windows in it.
        """
        tracks = [Track(index, clip, self._windows(clip), self.num_steps) for index, clip in enumerate(clips)]
        while jobs := self._choose(tracks):
            for job, prediction in zip(jobs, self._predict(jobs), strict=True):
                self._merge(job, prediction)
            if on_evaluation is not None:
                on_evaluation(len(jobs))
            for track in {id(job.track): job.track for job in jobs}.values():
                yield from self._advance(track)

    def evaluations(self, clips: Sequence[ClipConditions]) -> int:
        """Windows to be evaluated in all, guidance branches not counted."""
        return sum(self._windows(clip).evaluations(self.num_steps) for clip in clips)

    def _windows(self, clip: ClipConditions) -> WindowPlan:
        return WindowPlan(clip.num_frames, self.window_size, self.settings.window_overlap, self.settings.window_shift)

    def _choose(self, tracks: Sequence[Track]) -> list[Job]:
        """The deepest step with a full batch of windows ready; without one, the deepest windows that are ready."""
        limit, found = self.settings.window_batch, []
        for step in reversed(range(self.num_steps)):
            ready = [Job(track, step, start) for track in tracks for start in track.ready(step, limit)]
            if len(ready) >= limit:
                return ready[:limit]
            found += ready
        return found[:limit]

    def compared(self, has_audio: bool) -> tuple[Branch, ...]:
        """What the full branch is compared with where guidance acts."""
        return tuple(self._shown(branch) for branch in self._guidance.compared(has_audio))

    def _shown(self, branch: Branch) -> Branch:
        return UNDRIVEN if branch == NULL and self.model.sizes.copied_channels else branch

    def _predict(self, jobs: Sequence[Job]) -> list[torch.Tensor]:
        """For each job the guided prediction, (F, C or 2C, h, w) float32. All branches make one batch, those alike one row."""
        rows: list[tuple[Job, Branch]] = []
        wanted: list[tuple[Job, tuple[Branch, ...], list[int]]] = []
        for job in jobs:
            clip = job.track.clip
            has_audio = clip.audio is not None and self.settings.audio_scale != 0
            branches = self._guidance.branches(job.step, self.num_steps, has_audio)
            own = [replace(shown, driven=shown.driven and clip.driven is not None) for shown in map(self._shown, branches)]
            rows += [(job, branch) for branch in dict.fromkeys(own)]
            wanted.append((job, branches, [rows.index((job, branch)) for branch in own]))
        windows = {id(job): self._window(job) for job in jobs}
        latents = torch.stack([windows[id(job)][0] for job, _ in rows])
        driven = torch.stack([self._driven(windows[id(job)][1], branch, latents) for job, branch in rows])
        audio, audio_gain = self._audio(rows, {job: sound for job, (_, _, sound, _) in windows.items()}, latents.shape[1])
        reference, reference_present = self._reference(rows)
        copied = [windows[id(job)][3] for job, _ in rows]  # part of the reference: a branch that drops one drops the other
        output = self.model.denoiser(
            latents,
            torch.stack([self.timesteps[job.step] for job, _ in rows]).to(self.device),
            driven,
            reference=reference,
            reference_present=reference_present,
            audio=audio,
            audio_gain=audio_gain,
            copied=_stacked([None if part is None else part * branch.reference for part, (_, branch) in zip(copied, rows, strict=True)]),
            block_cache=self._cache(jobs[0]),
        ).float()
        channels, predictions = self.model.sizes.latent_channels, []
        for job, branches, places in wanted:
            own = output[places]
            noise = self._guidance.combine(branches, own[:, :, :channels].unbind(0), self._mouth(job))
            predictions.append(torch.cat([noise, own[0, :, channels:]], dim=1) if self._learned_variance else noise)
        return predictions

    def _mouth(self, job: Job) -> torch.Tensor | None:
        """(F, 1, h, w) of a window in flight."""
        return _joined([segment.mouth[inside] for segment, inside, _ in job.track.parts(job.start) if segment.mouth is not None])

    def _window(self, job: Job) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Latents as the model sees them, driving features, audio and copied reference of a window; opens its frames at the first step."""
        track = job.track
        if job.step == 0:
            self._open(track, job.start + track.windows.size)
        latents: list[torch.Tensor] = []
        driven: list[torch.Tensor] = []
        audio: list[torch.Tensor] = []
        copied: list[torch.Tensor] = []
        for segment, inside, _ in track.parts(job.start):
            if segment.scaled is None:
                scaled = segment.scheduler.scale_model_input(segment.latents, self.timesteps[job.step])
                segment.scaled = scaled.to(self.dtype)
            latents.append(segment.scaled[inside])
            if segment.driven is not None:
                driven.append(segment.driven[inside])
            if segment.audio is not None:
                audio.append(segment.audio[inside])
            if segment.copied is not None:
                copied.append(segment.copied[inside])
        return torch.cat(latents), _joined(driven), _joined(audio), _joined(copied)

    def _driven(self, features: torch.Tensor | None, branch: Branch, latents: torch.Tensor) -> torch.Tensor:
        if features is not None and branch.driven:
            return features
        if self._black is None:
            height, width = latents.shape[-2] * 8, latents.shape[-1] * 8
            self._black = self.model.driven_encoder(latents.new_zeros(1, 1, 3, height, width))[0]
        return self._black.expand(latents.shape[1], -1, -1, -1)

    def _audio(
        self, rows: Sequence[tuple[Job, Branch]], sounds: Mapping[int, torch.Tensor | None], num_frames: int
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Audio windows and Eq. 3's gain; rows without sound have gain 0, and where no row has any, the layers are left out."""
        scale = self.settings.audio_scale
        heard = [sounds[id(job)] if branch.audio and scale != 0 else None for job, branch in rows]
        like = next((sound for sound in heard if sound is not None), None)
        if like is None:
            return None, None
        silent = torch.zeros_like(like)
        audio = torch.stack([silent if sound is None else sound for sound in heard])
        gain = torch.tensor([0.0 if sound is None else scale for sound in heard], dtype=self.dtype, device=self.device)
        return audio, gain[:, None].expand(-1, num_frames)

    def _reference(self, rows: Sequence[tuple[Job, Branch]]) -> tuple[tuple[KeysValues, ...] | None, torch.Tensor | None]:
        if not any(branch.reference for _, branch in rows):
            return None, None
        keys = [self._keys(job.track, job.step) for job, _ in rows]
        if all(row is keys[0] for row in keys):
            joined = tuple((k.expand(len(rows), -1, -1, -1), v.expand(len(rows), -1, -1, -1)) for k, v in keys[0])
        else:
            joined = tuple((torch.cat([k for k, _ in block]), torch.cat([v for _, v in block])) for block in zip(*keys, strict=True))
        if all(branch.reference for _, branch in rows):
            return joined, None
        return joined, torch.tensor([branch.reference for _, branch in rows], device=self.device)

    def _keys(self, track: Track, step: int) -> tuple[KeysValues, ...]:
        """The reference's keys and values: once a clip, or once a step where the reference transformer takes the clip's timestep."""
        key = 0 if self.model.sizes.reference_timestep == "zero" else step
        if key not in track.reference_keys:
            latents = track.clip.reference_latents[None].to(self.device, self.dtype)
            track.reference_keys[key] = self.model.reference_keys(latents, self.timesteps[step].reshape(1).to(self.device))
        return track.reference_keys[key]

    def _cache(self, job: Job) -> BlockCache | None:
        if self.settings.step_cache is None:
            return None
        caches = job.track.caches
        cache = caches.setdefault(job.start, BlockCache(self.settings.step_cache))
        if job.step == self.num_steps - 1:
            del caches[job.start]
        return cache

    def _open(self, track: Track, end: int) -> None:
        """Brings frames up to `end` into flight: noise, driving features, audio windows."""
        clip, sizes = track.clip, self.model.sizes
        while track.boundaries[track.num_opened] < end:
            first, stop = track.boundaries[track.num_opened : track.num_opened + 2]
            scheduler = self._fresh_scheduler()
            shape = tuple(clip.reference_latents.shape)
            noise = frame_noise(clip.seed, first, stop - first, shape, same=not sizes.with_temporal).to(self.device)
            driven = audio = None
            if clip.driven is not None:
                driven = self.model.driven_encoder(clip.driven(first, stop)[None].to(self.device, self.dtype))[0]
            if clip.audio is not None and sizes.with_audio and self.settings.audio_scale != 0:
                audio = clip.audio(first, stop).to(self.device, self.dtype)
            latents = noise * scheduler.init_noise_sigma
            copied = self._copied(clip, first, stop)
            mouth = None if clip.mouth is None else clip.mouth(first, stop).to(self.device)
            track.segments.append(Segment(track.index, first, latents, driven, audio, scheduler, copied, mouth))
            track.num_opened += 1

    def _copied(self, clip: ClipConditions, first: int, stop: int) -> torch.Tensor | None:
        """(n, copied_channels, h, w), what the model is shown of the reference in these frames."""
        if not self.model.sizes.copied_channels:
            return None
        reference = clip.reference_latents.to(self.device, self.dtype)
        moved = None
        if self.model.sizes.copied_reference == "moved":
            still = reference.expand(stop - first, *reference.shape)
            moved = (still if clip.moved is None else clip.moved(first, stop).to(self.device, self.dtype))[None]
        copied = self.model.copied(reference[None], moved, stop - first)
        return None if copied is None else copied[0]

    def _merge(self, job: Job, prediction: torch.Tensor) -> None:
        track = job.track
        for segment, inside, outside in track.parts(job.start):
            if segment.sums is None:
                count = segment.latents.shape[0]
                segment.sums = prediction.new_zeros(count, *prediction.shape[1:]), prediction.new_zeros(count)
            weights, (total, weight) = self._weights[outside], segment.sums
            total[inside] += weights[:, None, None, None] * prediction[outside]
            weight[inside] += weights
        track.next_window[job.step] += 1

    def _advance(self, track: Track) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Takes the solver step for every segment whose windows are all evaluated; yields the finished ones."""
        for step in range(self.num_steps):
            starts, done = track.starts(step), track.next_window[step]
            reached = track.clip.num_frames if done == len(starts) else starts[done]
            if reached <= track.frontier[step + 1]:
                continue
            for segment in track.segments:
                if segment.level == step and segment.end <= reached:
                    self._solve(track, segment)
            track.frontier[step + 1] = reached
            if done == len(starts):
                track.reference_keys.pop(step, None) if self.model.sizes.reference_timestep == "same" else None
        while track.segments and track.segments[0].level == self.num_steps:
            segment = track.segments.pop(0)
            yield track.index, segment.first, segment.latents

    def _solve(self, track: Track, segment: Segment) -> None:
        step, scheduler = segment.level, segment.scheduler
        assert segment.sums is not None  # every window that covers it has been evaluated
        total, weight = segment.sums
        prediction = total / weight[:, None, None, None]
        arguments = {}
        if self._takes_generator:
            arguments["generator"] = step_generators(track.clip.seed, segment.first, segment.latents.shape[0], step)
        segment.latents = scheduler.step(prediction, self.timesteps[step], segment.latents, **arguments).prev_sample.float()
        segment.level += 1
        segment.sums = segment.scaled = None
        if self._on_step_end is not None:
            changed = self._on_step_end(segment, step, segment.latents)
            segment.latents = segment.latents if changed is None else changed

    @property
    def sampler_name(self) -> str:
        """The scheduler's class, for reports."""
        return type(self._scheduler).__name__

    @property
    def _takes_generator(self) -> bool:
        import inspect

        return "generator" in inspect.signature(self._scheduler.step).parameters

    def _fresh_scheduler(self) -> Any:
        """A scheduler of its own for a group of frames: tables are shared, the solver's history is new."""
        scheduler = copy.copy(self._scheduler)
        scheduler.set_timesteps(self.settings.num_inference_steps)
        return scheduler


def _stacked(rows: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """None where the model takes none."""
    some = [row for row in rows if row is not None]
    return torch.stack(some) if some else None


def _joined(parts: list[torch.Tensor]) -> torch.Tensor | None:
    """None where no segment has any."""
    return torch.cat(parts) if parts else None


def pad_frames(frames_of: FramesOf, num_frames: int) -> FramesOf:
    """The same frames with the last one repeated beyond the clip's end."""
    last: list[torch.Tensor] = []

    def padded(first: int, end: int) -> torch.Tensor:
        parts = []
        if first < num_frames:
            parts.append(frames_of(first, min(end, num_frames)))
            last[:] = [parts[0][-1:]]
        if end > num_frames:
            parts.append(last[0].expand(end - max(first, num_frames), *last[0].shape[1:]))
        return torch.cat(parts)

    return padded
