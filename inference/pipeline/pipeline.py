"""`MegActorSigmaPipeline`: a portrait, a driver and sound become a video, after diffusers' conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput

from curation.contracts import LandmarkBackend
from inference.driving.amplitude import Amplitude
from inference.driving.driving import DrivingOptions
from inference.driving.opening import Driver, ModelPicture, Portrait, Sources, frames_of, open_sources
from inference.driving.regions import cell_shares
from inference.driving.sound import SoundSource, driver_sound, open_sound
from inference.models.audio_encoders import AudioEncoder
from inference.models.codecs import LatentCodec, VaeCodec
from inference.models.components import InferenceConfig, TrainingRecord, build_audio_encoder, build_codec
from inference.models.config import PX_PER_CELL
from inference.models.megactor import MegActorModel
from inference.pipeline.animation import Animation, FrameStream, Progress, Report, clip_conditions, to_uint8, to_unit
from inference.pipeline.folder import find_folder, read_pipeline_file, save_pipeline
from inference.pipeline.hub import push_folder
from inference.pipeline.inputs import mismatches, model_picture
from inference.pipeline.offload import OffloadedCodec
from inference.sampling.denoise import ClipConditions, Denoiser, FramesOf, Segment, StepEnd, pad_frames
from inference.sampling.noise import seed_of
from inference.sampling.samplers import make_scheduler
from inference.sampling.settings import SamplingSettings
from inference.sampling.windows import WINDOW, padded_length
from manifests import UserError, configuration

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
        landmarks: finds the faces of portraits and drivers; None loads the backend that the settings name when it is first needed.
    """

    transformer: MegActorModel
    scheduler: SchedulerMixin
    vae: AutoencoderKL | None
    _optional_components = ["vae"]  # noqa: RUF012  as diffusers has it

    def __init__(
        self,
        transformer: MegActorModel,
        scheduler: SchedulerMixin,
        vae: AutoencoderKL | None = None,
        settings: InferenceConfig | None = None,
        record: TrainingRecord | None = None,
        landmarks: LandmarkBackend | None = None,
    ):
        super().__init__()
        self.register_modules(transformer=transformer, scheduler=scheduler, vae=vae)
        self.settings = settings or InferenceConfig(model=transformer.sizes)
        self.record = record or TrainingRecord(stage=transformer.sizes.stage)
        self._audio_encoder: AudioEncoder | None = None
        self._landmarks = landmarks
        self._codec: LatentCodec = VaeCodec(vae) if vae is not None else build_codec(self.settings)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # fewer ways to load than diffusers has
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
                codec = build_codec(settings, dtype=torch_dtype)
                vae = codec.module if isinstance(codec, VaeCodec) else None
        return cls(transformer, make_scheduler(), vae, settings, record).to(device)

    def save_pretrained(  # type: ignore[override]  # one way to write
        self, save_directory: str | Path, max_shard_size: int | str = "5GB"
    ) -> None:
        """Writes the folder that `from_pretrained` reads; the VAE stays where it is and is named by its path."""
        save_pipeline(save_directory, self.transformer, self.settings, self.record, self.scheduler, max_shard_size)

    def push_to_hub(  # type: ignore[override]  # one way to write
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Uploads what `save_pretrained` writes to a repository on the Hub; see `inference.pipeline.hub.push_folder`."""
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return push_folder(folder, repo_id, commit_message, private, token, create_pr)

    def enable_offload(self, mode: str, device: torch.device | str) -> None:
        """For small GPUs. `vae`: the VAE is on the device only while it works. `model`: VAE and transformer take turns there, frames are
        decoded in larger groups. Block-DCT latents need neither. For less than the transformer itself, see
        `pipe.transformer.enable_group_offload` of diffusers."""
        if mode not in ("vae", "model"):
            raise UserError(f"offload is {mode!r}; it must be vae or model")
        device = torch.device(device)
        torch.nn.Module.to(self.transformer, device)
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
        reference: Portrait,
        driving: Driver | None = None,
        audio: SoundSource | None = None,
        audio_scale: float = 1.0,
        motion: float | Amplitude = 1.0,
        num_inference_steps: int = 25,
        guidance_scale: float = 2.0,
        audio_guidance_scale: float | None = None,
        mouth_guidance_scale: float | None = None,
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
                own sound is kept in the result but not listened to unless it is given here as well. A driving image is shown for as
                long as the sound lasts, for a second without sound.
            motion: amplitude of the driver's in-plane head motion (Eq. 4), a number or an `inference.driving.Amplitude`; 1 is the driver's
                own.
            audio_scale, num_inference_steps, guidance_scale, audio_guidance_scale, mouth_guidance_scale, guidance_interval, window_overlap,
                window_shift, window_batch, step_cache: see `inference.sampling.settings.SamplingSettings`.
            generator: seed or torch generator of the noise; in models with temporal modules it differs from frame to frame.
            callback_on_step_end: called as `callback(pipe, step, timestep, {"latents": ..., "first_frame": ...})` each time a group of
                frames has taken a step (one group in clips up to 16 frames); may return a dictionary with other `latents`.
            output_type: np, pil or latent.

        Raises:
            UserError: what does not go together, or a frame that is not finite, in one line.
        """
        if output_type not in ("np", "pil", "latent"):
            raise UserError(f"output_type is {output_type!r}; it must be np, pil or latent")
        sampling = SamplingSettings(
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            audio_guidance_scale=audio_guidance_scale,
            mouth_guidance_scale=mouth_guidance_scale,
            guidance_interval=guidance_interval,
            window_overlap=window_overlap,
            window_shift=window_shift,
            window_batch=window_batch,
            step_cache=step_cache,
            audio_scale=audio_scale,
        )
        frames: Any
        with self.prepare(
            reference,
            driving,
            audio,
            sampling,
            DrivingOptions(amplitude=Amplitude.of(motion)),
            generator=generator,
            callback_on_step_end=callback_on_step_end,
            on_progress=on_progress,
        ) as animation:
            frames = torch.cat(list(animation.latents())) if output_type == "latent" else np.stack(list(animation.frames()))
        if output_type == "pil":
            frames = self.numpy_to_pil(frames.astype(np.float32) / 255)
        waveform = None if animation.sound is None else animation.sound.waveform(animation.duration_s)
        return AnimationOutput(frames=frames, fps=animation.fps, audio=waveform, report=animation.report)

    def stream(
        self,
        reference: Portrait,
        driving: Driver | None = None,
        audio: SoundSource | None = None,
        *,
        motion: float | Amplitude = 1.0,
        generator: torch.Generator | int | None = None,
        callback_on_step_end: StepCallback | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        **sampling: Any,
    ) -> FrameStream:
        """(S, S, 3) uint8 frames as they finish; arguments as `__call__`'s without `output_type`. `close()` ends it early and
        lets go of the driver."""
        animation = self.prepare(
            reference,
            driving,
            audio,
            SamplingSettings(**sampling),
            DrivingOptions(amplitude=Amplitude.of(motion)),
            generator=generator,
            callback_on_step_end=callback_on_step_end,
            on_progress=on_progress,
        )
        return FrameStream(animation)

    @torch.no_grad()
    def prepare(
        self,
        reference: Portrait,
        driving: Driver | None = None,
        audio: SoundSource | None = None,
        sampling: SamplingSettings | None = None,
        options: DrivingOptions | None = None,
        *,
        generator: torch.Generator | int | None = None,
        callback_on_step_end: StepCallback | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Animation:
        """Reads and checks everything, encodes reference and sound; the long part begins with `Animation.frames()`.

        Args:
            sampling: `SamplingSettings()` if None.
            options: how a driver that is still to be read is used; `DrivingOptions()` if None.

        Raises:
            UserError: what the user can put right, in one line.
        """
        if driving is None and audio is None:
            raise UserError("nothing drives the portrait: give a driving video, image or template, or audio, or both")
        sampling = self._fitted(sampling or SamplingSettings())
        self.require_audio_layers(audio)
        sound = None if audio is None else open_sound(audio)
        sound_s = None if sound is None else sound.duration_s
        sources = open_sources(reference, driving, options or DrivingOptions(), self.picture, sound_s)
        driven = sources.driving
        if driven is not None:
            num_frames, fps = driven.n_frames, driven.fps
        else:
            assert sound_s is not None  # one of the two drives
            num_frames, fps = frames_of(sound_s, self.picture.fps), self.picture.fps
        duration_s = float(num_frames / fps)
        seed = seed_of(generator)
        clip = clip_conditions(
            self.encode_images(sources.image[None])[0],
            driven,
            moved=self._moved(sources, num_frames),
            mouth=None if sampling.mouth_guidance_scale is None else self._mouth(sources, num_frames),
            waveform=sound.waveform(duration_s) if sound is not None and sampling.audio_scale != 0 else None,
            audio_encoder=self._sound_encoder,
            num_frames=num_frames,
            fps=fps,
            window_size=self._window(num_frames),
            seed=seed,
        )
        denoiser = Denoiser(
            self.transformer,
            self._scheduler(sampling.sampler),
            sampling,
            window_size=self._window(num_frames),
            device=self._execution_device,
            on_step_end=self._step_end(callback_on_step_end),
        )
        report = Report(
            mode="A" if driven is None else "V" if sound is None else "A+V",
            num_frames=num_frames,
            fps=str(fps),
            duration_s=round(duration_s, 6),
            seed=seed,
            settings=sampling,
            sampler=denoiser.sampler_name,
            dtype=str(self.transformer.dtype).removeprefix("torch."),
            model={"stage": self.record.stage, "step": self.record.step, "code_version": self.record.code_version},
            evaluations=denoiser.evaluations([clip]),
            driving={} if driven is None else configuration.to_tree(driven.report),
            warnings=mismatches(denoiser.compared(sound is not None), self.record, sources.regions, sound, duration_s),
        )
        heard = sound if sound is not None else driver_sound(driven)
        return Animation(denoiser, self._codec, clip, sources, num_frames, fps, heard, report, on_progress)

    @torch.no_grad()
    def generate(
        self,
        reference_frames: torch.Tensor,
        driven_frames: torch.Tensor | None = None,
        audio: torch.Tensor | None = None,
        sampling: SamplingSettings | None = None,
        *,
        seeds: Sequence[int],
        moved_frames: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Tensors in, tensors out: what a trainer samples and an evaluator scores.

        Args:
            reference_frames: (B, 3, S, S) uint8, or floating point in 0…1.
            driven_frames: (B, F, 3, S, S) likewise, black outside the patches; None is no driving.
            audio: (B, F, T, Ca) audio windows; None is no sound.
            sampling: `SamplingSettings()` if None.
            seeds: B numbers.
            moved_frames: (B, F, 3, S, S) as `driven_frames`, the reference moved to each frame's head
                (`inference.driving.moved_reference`), for a model that is shown it; None leaves it where it is.

        Returns:
            (B, F, 3, S, S) uint8 on the CPU.

        Raises:
            UserError: what does not go together; a frame that is not finite.
        """
        given = driven_frames if driven_frames is not None else audio
        if given is None:
            raise UserError("generate needs driven_frames, audio or both")
        num_clips, num_frames = given.shape[:2]
        if len(seeds) != num_clips or len(reference_frames) != num_clips:
            raise UserError(f"{num_clips} clips with {len(reference_frames)} references and {len(seeds)} seeds; there must be one for each")
        self.require_audio_layers(audio)
        sampling = self._fitted(sampling or SamplingSettings())
        latents = self.encode_images(reference_frames)
        clips = [
            ClipConditions(
                padded_length(num_frames, self._window(num_frames)),
                latents[index],
                _padded_rows(driven_frames, index),
                _padded_rows(audio, index),
                int(seeds[index]),
                self._encoded(_padded_rows(moved_frames, index)),
            )
            for index in range(num_clips)
        ]
        frames = torch.empty(num_clips, num_frames, 3, *reference_frames.shape[-2:], dtype=torch.uint8)
        scheduler = self._scheduler(sampling.sampler)
        denoiser = Denoiser(self.transformer, scheduler, sampling, window_size=self._window(num_frames), device=self._execution_device)
        for index, first, part in denoiser.run(clips):
            count = min(len(part), num_frames - first)
            if count > 0:
                decoded = torch.from_numpy(to_uint8(self._codec.decode(part[:count]), first))
                frames[index, first : first + count] = decoded.permute(0, 3, 1, 2)
        return frames

    def encode_images(self, images: np.ndarray | torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) or (B, S, S, 3) uint8, or (B, 3, S, S) in 0…1 -> (B, C, h, w) float32 latents."""
        images = torch.as_tensor(images)
        if images.shape[-1] == 3 and images.shape[1] != 3:
            images = images.permute(0, 3, 1, 2)
        return self._codec.encode(to_unit(images).to(self._execution_device)).float()

    def _moved(self, sources: Sources, num_frames: int) -> FramesOf | None:
        """Latents of the portrait moved to each frame's head; None where the model is not shown it, or nobody says where heads lie."""
        if self.transformer.sizes.copied_reference != "moved" or not sources.moves:
            return None
        return self._encoded(pad_frames(lambda first, end: to_unit(sources.moved_frames(first, end)), num_frames))

    def _mouth(self, sources: Sources, num_frames: int) -> FramesOf | None:
        """How much of each latent cell is the mouth's region; None where nobody says where it lies."""
        if not sources.shows_mouth:
            return None
        cells = self.settings.latent_grid

        def shares(first: int, end: int) -> torch.Tensor:
            return torch.from_numpy(cell_shares(sources.mouth_boxes(first, end), cells, PX_PER_CELL))[:, None]

        return pad_frames(shares, num_frames)

    def _encoded(self, frames_of: FramesOf | None) -> FramesOf | None:
        """The latents of frames in 0…1."""
        return None if frames_of is None else lambda first, end: self.encode_images(frames_of(first, end))

    def decode_latents(self, latents: torch.Tensor) -> np.ndarray:
        """(n, C, h, w) latents -> (n, S, S, 3) uint8 RGB."""
        return to_uint8(self._codec.decode(latents))

    def _fitted(self, sampling: SamplingSettings) -> SamplingSettings:
        """Models without temporal modules see frames one by one, so nothing overlaps; some take few steps, or a guidance of their own."""
        settings = self.settings
        if settings.most_steps is not None:
            sampling = replace(sampling, num_inference_steps=min(sampling.num_inference_steps, settings.most_steps))
        if settings.most_guidance is not None:
            sampling = replace(sampling, guidance_scale=min(sampling.guidance_scale, settings.most_guidance))
        if settings.mouth_guidance is not None and sampling.mouth_guidance_scale is None:
            sampling = replace(sampling, mouth_guidance_scale=settings.mouth_guidance)
        if settings.sound_guidance is not None and sampling.audio_guidance_scale is None:
            sampling = replace(sampling, audio_guidance_scale=settings.sound_guidance)
        return sampling if self.transformer.sizes.with_temporal else replace(sampling, window_overlap=0, window_shift=0)

    def _window(self, num_frames: int) -> int:
        return WINDOW if self.transformer.sizes.with_temporal else min(WINDOW, num_frames)

    def _scheduler(self, sampler: str | None) -> SchedulerMixin:
        return self.scheduler if sampler is None else make_scheduler(sampler)

    def _step_end(self, callback: StepCallback | None) -> StepEnd | None:
        """diffusers' callback as the sampler calls it."""
        if callback is None:
            return None

        def on_step_end(segment: Segment, step: int, latents: torch.Tensor) -> torch.Tensor | None:
            timestep = segment.scheduler.timesteps[step]
            answer = callback(self, step, timestep, {"latents": latents, "first_frame": segment.first})
            return None if answer is None else answer.get("latents")

        return on_step_end

    @property
    def picture(self) -> ModelPicture:
        """What portraits and drivers are cut to."""
        return model_picture(self.settings, lambda: self.landmarks)

    @property
    def landmarks(self) -> LandmarkBackend:
        """The backend that finds faces (`settings.landmarks`), loaded at first use."""
        if self._landmarks is None:
            from curation.landmarks import make_backend

            self._landmarks = make_backend(self.settings.landmarks)
        return self._landmarks

    def require_audio_layers(self, audio: object) -> None:
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
