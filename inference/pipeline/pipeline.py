"""`MegActorSigmaPipeline`: a portrait, a driver and sound become a video, after diffusers' conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.utils import BaseOutput

from inference.driving.sound import driver_sound, open_sound
from inference.models.audio_encoders import AudioEncoder
from inference.models.codecs import LatentCodec, VaeCodec
from inference.models.components import InferenceConfig, TrainingRecord, build_audio_encoder, build_codec
from inference.models.megactor import MegActorModel
from inference.pipeline.animation import Animation, Progress, Report, clip_conditions, frames_of_sound, to_uint8, to_unit
from inference.pipeline.folder import find_folder, read_pipeline_file, save_pipeline
from inference.pipeline.inputs import cut_for, mismatches, open_driver, open_portrait, shown_regions
from inference.pipeline.offload import OffloadedCodec
from inference.sampling.denoise import ClipConditions, Denoiser, SamplingPlan, Segment, pad_frames
from inference.sampling.guidance import Guidance
from inference.sampling.noise import seed_of
from inference.sampling.samplers import make_scheduler
from inference.sampling.windows import padded_length
from manifests import configuration
from manifests.errors import UserError

WINDOW = 16  # frames that the temporal modules were trained on
StepCallback = Callable[["MegActorSigmaPipeline", int, torch.Tensor, dict[str, Any]], dict[str, Any] | None]


@dataclass
class AnimationOutput(BaseOutput):
    """
    Attributes:
        frames: (N, S, S, 3) uint8 (`output_type="np"`), a list of PIL images ("pil") or (N, C, h, w) latents ("latent").
        fps: of the frames.
        audio: (n,) float32 mono at 16 kHz, as long as the frames, or None.
        report: see `inference.pipeline.animation.Report`.
    """

    frames: Any
    fps: Fraction
    audio: np.ndarray | None
    report: Report


class MegActorSigmaPipeline(DiffusionPipeline):
    """Animates a portrait by the eyes and mouth of a driver, by speech, or by both (MegActor-Σ, arXiv 2408.14975).

    Args:
        transformer: the model.
        scheduler: any diffusers scheduler of the training schedule; see `inference.sampling.samplers`.
        vae: of the `vae` codec; None for block-DCT latents.
        settings: picture size, codec, audio encoder; its model sizes are the transformer's.
        record: what the weights were trained with.
    """

    _optional_components = ("vae",)

    def __init__(
        self,
        transformer: MegActorModel,
        scheduler: Any,
        vae: AutoencoderKL | None = None,
        settings: InferenceConfig | None = None,
        record: TrainingRecord | None = None,
    ):
        super().__init__()
        self.register_modules(transformer=transformer, scheduler=scheduler, vae=vae)
        self.settings = settings or InferenceConfig(model=transformer.sizes)
        self.record = record or TrainingRecord(stage=transformer.sizes.stage)
        self._audio_encoder: AudioEncoder | None = None
        self._landmarks: Any = None
        self._codec: LatentCodec = VaeCodec(vae) if vae is not None else build_codec(self.settings)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        torch_dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        overrides: Sequence[str] = (),
        revision: str | None = None,
    ) -> Self:
        """A folder that training or `save_pretrained` wrote, or the id of a repository on the Hub with the same files.

        Args:
            overrides: dotted settings over the saved ones, such as `codec.path=models/vae`.

        Raises:
            UserError: no such folder or repository, no whole pipeline in it, missing weights; one line.
        """
        folder = find_folder(pretrained_model_name_or_path, revision)
        settings, record = read_pipeline_file(folder, overrides)
        transformer = MegActorModel.from_pretrained(folder / "transformer", torch_dtype=torch_dtype)
        if transformer.sizes != settings.model:
            raise UserError(
                f"{folder}: transformer/config.json and pipeline.json name different sizes; the folder was put together by hand"
            )
        vae = None
        if settings.codec.kind == "vae":
            if (folder / "vae" / "config.json").is_file():
                vae = VaeCodec.from_pretrained(folder / "vae", torch_dtype).module
            else:
                vae = build_codec(settings, dtype=torch_dtype).module
        return cls(transformer, make_scheduler(), vae, settings, record).to(device)

    def save_pretrained(self, save_directory: str | Path, max_shard_size: int | str = "5GB") -> None:
        """Writes the folder that `from_pretrained` reads; the VAE stays where it is and is named by its path."""
        save_pipeline(save_directory, self.transformer, self.settings, self.record, self.scheduler, max_shard_size)

    def enable_offload(self, mode: str, device: torch.device | str) -> None:
        """For small GPUs. `vae`: the VAE is on the device only while it works. `model`: VAE and transformer take turns there, frames are
        decoded in larger groups. Block-DCT latents need neither. For less than the transformer itself, see
        `pipe.transformer.enable_group_offload` of diffusers."""
        if mode not in ("vae", "model"):
            raise UserError(f"offload is {mode!r}; it must be vae or model")
        device = torch.device(device)
        self.transformer.to(device)
        if self.vae is not None:
            self._codec = OffloadedCodec(VaeCodec(self.vae), self.vae, device, self.transformer if mode == "model" else None)

    def enable_model_cpu_offload(self, gpu_id: int | None = None, device: torch.device | str = "cuda") -> None:
        """As diffusers names it; see `enable_offload`."""
        self.enable_offload("model", device if gpu_id is None else f"{torch.device(device).type}:{gpu_id}")

    @property
    def _execution_device(self) -> torch.device:
        return self.transformer.device

    @torch.no_grad()
    def __call__(
        self,
        reference: Any,
        driving: Any = None,
        audio: Any = None,
        audio_scale: float = 1.0,
        motion: Any = 1.0,
        num_inference_steps: int = 25,
        guidance_scale: float = 2.0,
        audio_guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        window_overlap: int = 8,
        window_shift: int = 0,
        window_batch: int = 1,
        step_cache: float | None = None,
        generator: torch.Generator | int | None = None,
        callback_on_step_end: StepCallback | None = None,
        output_type: str = "np",
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AnimationOutput:
        """Makes the whole video in memory; `stream` and `prepare` give frames as they finish.

        Args:
            reference: the portrait: path, PIL image, (H, W, 3) uint8 array (cropped to the face), or a `Reference`.
            driving: path of a video, image or motion template, or a `Driving`; None drives by sound alone.
            audio: path of a sound or video file, (n,) float array at 16 kHz, or a `Sound`; None drives by the picture alone. The driver's
                own sound is kept in the result but not listened to unless it is given here as well.
            audio_scale: Eq. 3's amplitude of the audio attention; 1 is as trained, 0 leaves sound out of the picture.
            motion: amplitude of the driver's in-plane head motion (Eq. 4), a number or an `Amplitude`; 1 is the driver's own.
            num_inference_steps: solver steps.
            guidance_scale: over all conditions; 1 is none and costs half.
            audio_guidance_scale: for sound alone; costs one more row a window.
            guidance_interval: fractions of the steps between which guidance acts.
            window_overlap, window_shift, window_batch: see `inference.sampling.windows` and `SamplingPlan`.
            step_cache: threshold of `inference.models.block_cache`, or None; needs window_shift 0 and window_batch 1.
            generator: seed or torch generator; a clip's noise depends on seed and frame number alone.
            callback_on_step_end: called as `callback(pipe, step, timestep, {"latents": ..., "first_frame": ...})` each time a group of
                frames has taken a step (one group in clips up to 16 frames); may return a dictionary with other `latents`.
            output_type: np, pil or latent.

        Raises:
            UserError: what does not go together, in one line.
        """
        if output_type not in ("np", "pil", "latent"):
            raise UserError(f"output_type is {output_type!r}; it must be np, pil or latent")
        animation = self.prepare(
            reference,
            driving,
            audio,
            audio_scale=audio_scale,
            motion=motion,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            audio_guidance_scale=audio_guidance_scale,
            guidance_interval=guidance_interval,
            window_overlap=window_overlap,
            window_shift=window_shift,
            window_batch=window_batch,
            step_cache=step_cache,
            generator=generator,
            callback_on_step_end=callback_on_step_end,
            on_progress=on_progress,
        )
        if output_type == "latent":
            frames: Any = torch.cat(list(animation.latents()))
        else:
            frames = np.stack(list(animation.frames()))
            if output_type == "pil":
                frames = self.numpy_to_pil(frames.astype(np.float32) / 255)
        waveform = None if animation.sound is None else animation.sound.waveform(animation.duration_s)
        return AnimationOutput(frames=frames, fps=animation.fps, audio=waveform, report=animation.report)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[np.ndarray]:
        """(S, S, 3) uint8 frames as they finish; arguments as `__call__`'s without `output_type`."""
        return self.prepare(*args, **kwargs).frames()

    @torch.no_grad()
    def prepare(
        self,
        reference: Any,
        driving: Any = None,
        audio: Any = None,
        *,
        audio_scale: float = 1.0,
        motion: Any = 1.0,
        num_inference_steps: int = 25,
        guidance_scale: float = 2.0,
        audio_guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        window_overlap: int = 8,
        window_shift: int = 0,
        window_batch: int = 1,
        step_cache: float | None = None,
        generator: torch.Generator | int | None = None,
        callback_on_step_end: StepCallback | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Animation:
        """Reads and checks everything, encodes reference and sound; the long part begins with `Animation.frames()`."""
        if driving is None and audio is None:
            raise UserError("nothing drives the portrait: give a driving video, image or template, or audio, or both")
        plan = self.sampling_plan(
            num_inference_steps,
            guidance_scale,
            audio_guidance_scale,
            guidance_interval,
            window_overlap,
            window_shift,
            window_batch,
            audio_scale,
            step_cache,
        )
        self.require_audio_layers(audio)
        image, portrait = open_portrait(reference, self.settings, lambda: self.landmarks)
        driving = open_driver(driving, motion, portrait, self.settings, self._own_fps, lambda: self.landmarks)
        image = cut_for(driving, portrait, image)
        sound = None if audio is None else open_sound(audio)
        if driving is not None:
            num_frames, fps, duration_s = driving.n_frames, driving.fps, float(driving.n_frames / driving.fps)
        else:
            fps = self._own_fps
            num_frames = frames_of_sound(sound.duration_s, fps)
            duration_s = float(num_frames / fps)
        warnings = mismatches(plan.guidance, self.record, shown_regions(driving), sound, duration_s)
        seed = seed_of(generator)
        waveform = sound.waveform(duration_s) if sound is not None and audio_scale != 0 else None
        clip = clip_conditions(
            self.encode_images(image[None])[0],
            driving,
            waveform,
            self._sound_encoder,
            num_frames,
            fps,
            self._window(num_frames),
            seed,
        )
        denoiser = self._denoiser(plan, num_frames, callback_on_step_end)
        heard = sound if sound is not None else driver_sound(driving)
        report = Report(
            mode="A" if driving is None else "V" if sound is None else "A+V",
            num_frames=num_frames,
            fps=str(fps),
            duration_s=round(duration_s, 6),
            seed=seed,
            settings={
                "audio_scale": audio_scale,
                "num_inference_steps": num_inference_steps,
                "guidance_scale": guidance_scale,
                "audio_guidance_scale": audio_guidance_scale,
                "guidance_interval": list(guidance_interval),
                "window_overlap": denoiser.plan.window_overlap,
                "window_shift": denoiser.plan.window_shift,
                "step_cache": step_cache,
                "sampler": type(self.scheduler).__name__,
                "dtype": str(self.transformer.dtype).removeprefix("torch."),
            },
            model={"stage": self.record.stage, "step": self.record.step, "code_version": self.record.code_version},
            evaluations=denoiser.evaluations([clip]),
            driving={} if driving is None else configuration.to_tree(driving.report),
            warnings=warnings,
        )
        return Animation(denoiser, self._codec, clip, num_frames, fps, heard, report, on_progress)

    @torch.no_grad()
    def generate(
        self,
        reference_frames: torch.Tensor,
        driven_frames: torch.Tensor | None = None,
        audio: torch.Tensor | None = None,
        *,
        seeds: Sequence[int],
        audio_scale: float = 1.0,
        num_inference_steps: int = 25,
        guidance_scale: float = 2.0,
        audio_guidance_scale: float | None = None,
        window_overlap: int = 8,
        window_batch: int = 1,
    ) -> torch.Tensor:
        """Tensors in, tensors out: what a trainer samples and an evaluator scores.

        Args:
            reference_frames: (B, 3, S, S) uint8, or floating point in 0…1.
            driven_frames: (B, F, 3, S, S) likewise, black outside the patches; None is no driving.
            audio: (B, F, T, Ca) audio windows; None is no sound.
            seeds: B numbers.

        Returns:
            (B, F, 3, S, S) uint8 on the CPU.
        """
        given = driven_frames if driven_frames is not None else audio
        if given is None:
            raise UserError("generate needs driven_frames, audio or both")
        num_clips, num_frames = given.shape[:2]
        if len(seeds) != num_clips or len(reference_frames) != num_clips:
            raise UserError(f"{num_clips} clips with {len(reference_frames)} references and {len(seeds)} seeds; there must be one for each")
        self.require_audio_layers(audio)
        plan = self.sampling_plan(
            num_inference_steps, guidance_scale, audio_guidance_scale, (0.0, 1.0), window_overlap, 0, window_batch, audio_scale
        )
        latents = self.encode_images(reference_frames)
        clips = [
            ClipConditions(
                padded_length(num_frames, self._window(num_frames)),
                latents[index],
                _padded_rows(driven_frames, index),
                _padded_rows(audio, index),
                int(seeds[index]),
            )
            for index in range(num_clips)
        ]
        frames = torch.empty(num_clips, num_frames, 3, *reference_frames.shape[-2:], dtype=torch.uint8)
        for index, first, part in self._denoiser(plan, num_frames, None).run(clips):
            count = min(len(part), num_frames - first)
            if count > 0:
                decoded = torch.from_numpy(to_uint8(self._codec.decode(part[:count])))
                frames[index, first : first + count] = decoded.permute(0, 3, 1, 2)
        return frames

    def encode_images(self, images: np.ndarray | torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) or (B, S, S, 3) uint8, or (B, 3, S, S) in 0…1 -> (B, C, h, w) float32 latents."""
        images = torch.as_tensor(images)
        if images.shape[-1] == 3 and images.shape[1] != 3:
            images = images.permute(0, 3, 1, 2)
        return self._codec.encode(to_unit(images).to(self._execution_device)).float()

    def sampling_plan(
        self,
        num_inference_steps: int,
        guidance_scale: float,
        audio_guidance_scale: float | None,
        guidance_interval: tuple[float, float],
        window_overlap: int,
        window_shift: int,
        window_batch: int,
        audio_scale: float,
        step_cache: float | None = None,
    ) -> SamplingPlan:
        """Checked settings; models without temporal modules see frames one by one, so nothing overlaps."""
        for name, value, low, high in (
            ("num_inference_steps", num_inference_steps, 1, 1000),
            ("window_batch", window_batch, 1, 1024),
            ("audio_scale", audio_scale, 0, 10),
        ):
            if not low <= value <= high:
                raise UserError(f"{name} is {value}; it must lie in {low}…{high}")
        temporal = self.transformer.sizes.with_temporal
        return SamplingPlan(
            num_steps=num_inference_steps,
            guidance=Guidance(guidance_scale, audio_guidance_scale, tuple(guidance_interval)),
            window_size=WINDOW,
            window_overlap=window_overlap if temporal else 0,
            window_shift=window_shift if temporal else 0,
            window_batch=window_batch,
            audio_scale=audio_scale,
            cache_threshold=step_cache,
        )

    def _window(self, num_frames: int) -> int:
        return WINDOW if self.transformer.sizes.with_temporal else min(WINDOW, num_frames)

    def _denoiser(self, plan: SamplingPlan, num_frames: int, callback: StepCallback | None) -> Denoiser:
        denoiser = Denoiser(self.transformer, self.scheduler, replace(plan, window_size=self._window(num_frames)), self._execution_device)
        if callback is not None:

            def on_step_end(segment: Segment, step: int, latents: torch.Tensor) -> torch.Tensor | None:
                answer = callback(self, step, denoiser.timesteps[step], {"latents": latents, "first_frame": segment.first})
                return None if answer is None else answer.get("latents")

            denoiser.on_step_end = on_step_end
        return denoiser

    @property
    def _own_fps(self) -> Fraction:
        return Fraction(self.settings.fps).limit_denominator(1001)

    @property
    def landmarks(self) -> Any:
        """The backend that finds faces (`settings.landmarks`), loaded at first use."""
        if self._landmarks is None:
            from curation.landmarks import make_backend

            self._landmarks = make_backend(self.settings.landmarks)
        return self._landmarks

    def require_audio_layers(self, audio: Any) -> None:
        """Raises UserError if there is sound and the model cannot hear."""
        if audio is not None and not self.transformer.sizes.with_audio:
            raise UserError("this model is of stage 1 and has no audio layers; give one of stage 2 or 3, or leave the audio out")

    def _sound_encoder(self) -> AudioEncoder:
        if self._audio_encoder is None:
            self._audio_encoder = build_audio_encoder(self.settings, self._execution_device)
        return self._audio_encoder


def _padded_rows(rows: torch.Tensor | None, index: int) -> Callable[[int, int], torch.Tensor] | None:
    if rows is None:
        return None
    return pad_frames(lambda first, end: to_unit(rows[index, first:end]), rows.shape[1])
