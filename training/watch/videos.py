"""Short videos of the averaged weights while they train: the same held-out clip driven by video, by sound and by both, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import gather_object

from curation.contracts import ClipError
from curation.media import MediaReader
from curation.samples.encode import FPS, write_mp4
from inference.driving.regions import EYES, MOUTH, cut_patches, placed
from inference.models.components import InferenceConfig
from inference.pipeline import MegActorSigmaPipeline
from inference.sampling.settings import SamplingSettings
from manifests.atomic import atomic_path
from manifests.errors import NoLandmarksError, UserError
from training.config import TrainingConfig
from training.data.clips import ClipTable, TrainingClip, choose_frames
from training.data.draws import draws
from training.data.frames import ClipFrames, VideoFrames
from training.loop.hardware import dtype_of
from training.loop.run_folder import PIPELINE, SAMPLES

if TYPE_CHECKING:
    from training.loop.trainer import Trainer

SEED = 0
# name -> (patches that the driven frames show, whether the sound is heard)
MODES = {"V": ((EYES, MOUTH), False), "A": ((), True), "A+V": ((EYES,), True)}
SHOWN_FRAMES = 6  # in the picture beside the video


class SampleVideos:
    """Writes samples/step-N.mp4 (portrait, target, then each mode) and a picture of a few frames; see `training.watch.observers`.

    The pipeline's folder is saved first and loaded as a user would load it, in the run's precision, so what shards the model does not
    matter, and a folder that cannot be loaded shows at once. Ranks share the modes out; the main one puts them together.
    """

    name = "videos"

    def __init__(self, config: TrainingConfig, inference: InferenceConfig, table: ClipTable, is_held_out: bool):
        self._config, self._inference, self._table, self._is_held_out = config, inference, table, is_held_out
        self.every_steps = config.videos.every_steps

    def __call__(self, trainer: Trainer) -> None:
        step = trainer.state.step
        if step == self._config.steps and not self._config.videos.at_end:
            return
        trainer.save()
        found = find_material(self._config, self._inference, self._table)
        rank, ranks = trainer.accelerator.process_index, trainer.accelerator.num_processes
        own = {} if found is None else self.animate(found[2], trainer, list(MODES)[rank::ranks])
        videos = {mode: video for part in gather_object([own]) for mode, video in part.items()}
        if found is None:
            trainer.say("  no sample video: no clip has enough frames with a face")
        elif trainer.is_main:
            self._write(trainer, *found, {mode: videos[mode] for mode in MODES if mode in videos})
        trainer.accelerator.wait_for_everyone()

    def _write(
        self, trainer: Trainer, clip: TrainingClip, times_ms: np.ndarray, material: ClipFrames, frames: dict[str, np.ndarray]
    ) -> None:
        columns = [np.broadcast_to(material.reference, material.targets.shape), material.targets, *frames.values()]
        strip = np.concatenate(columns, axis=2)  # (F, S, S·columns, 3)
        folder = trainer.run_dir / SAMPLES
        folder.mkdir(exist_ok=True)
        name = f"step-{trainer.state.step:08d}"
        with atomic_path(folder / f"{name}.mp4") as temporary:
            write_mp4(temporary, strip, self._sound(clip, times_ms[0], len(strip)))
        write_picture(folder / f"{name}.png", strip)
        values = {f"psnr_{mode}": psnr(material.targets, video) for mode, video in frames.items()}
        about = {"file": f"{SAMPLES}/{name}.mp4", "clip": clip.clip_id, "held_out": self._is_held_out}
        trainer.add_record("videos", values | about | {"columns": ["portrait", "target", *frames]})
        told = ", ".join(f"{mode} {values[f'psnr_{mode}']:.1f} dB" for mode in frames)
        trainer.say(f"  sample video {folder / name}.mp4: {told} to the target ({'not trained on' if self._is_held_out else 'trained on'})")

    def animate(self, material: ClipFrames, trainer: Trainer, modes: Sequence[str]) -> dict[str, np.ndarray]:
        """(F, S, S, 3) uint8 by mode, of those that are asked for and possible; stage 1 has no sound."""
        modes = [mode for mode in modes if not MODES[mode][1] or material.audio is not None]
        if not modes:
            return {}
        dtype = dtype_of(self._config.hardware.precision)
        pipeline = MegActorSigmaPipeline.from_pretrained(trainer.run_dir / PIPELINE, torch_dtype=dtype, device=trainer.device)
        pipeline.set_progress_bar_config(disable=True)
        found = {}
        for mode in modes:
            shown, hears = MODES[mode]
            driven = driven_picture(material, set(shown), pipeline.settings) if shown else None
            try:
                video = pipeline.generate(
                    torch.from_numpy(material.reference).permute(2, 0, 1)[None],
                    None if driven is None else torch.from_numpy(driven).permute(0, 3, 1, 2)[None],
                    torch.from_numpy(material.audio)[None].float() if hears else None,
                    SamplingSettings(num_inference_steps=self._config.videos.steps, guidance_scale=self._config.videos.guidance_scale),
                    seeds=[SEED],
                    moved_frames=None if material.moved is None else torch.from_numpy(material.moved).permute(0, 3, 1, 2)[None],
                )
            except UserError as error:
                raise UserError(f"sample video {mode} at step {trainer.state.step}: {error}") from error
            found[mode] = video[0].permute(0, 2, 3, 1).numpy()
        return found

    def _sound(self, clip: TrainingClip, first_ms: float, num_frames: int) -> np.ndarray | None:
        """(N,) int16 of the frames' time; None where there is none."""
        try:
            with MediaReader(self._config.data.media) as reader, reader.read(clip.span, frames=False, audio=True) as stream:
                sound = stream.audio
        except ClipError:
            return None
        if sound is None:
            return None
        first = round(first_ms * 16)
        piece = sound[first : first + num_frames * 16_000 // FPS]
        return piece if len(piece) else None


def find_material(
    config: TrainingConfig, inference: InferenceConfig, table: ClipTable
) -> tuple[TrainingClip, np.ndarray, ClipFrames] | None:
    """The first clip with `videos.frames` frames in a row (or, if none has, with 2), their times in the clip, and what they show."""
    source = VideoFrames(config.data, inference, table)
    try:
        for wanted in (config.videos.frames, 2):
            for clip in table.clips:
                try:
                    chosen = choose_frames(source.usable(clip, 0), wanted, 1, 1, draws(SEED, 0, 0, "sample video"))
                    if chosen is not None:
                        reference, targets = chosen
                        frames = source.frames(clip, 0, reference, targets, config.stage > 1, None)
                        return clip, source.geometry(clip).times_ms[list(targets)], frames
                except (ClipError, NoLandmarksError):
                    continue
    finally:
        source.close()
    return None


def driven_picture(material: ClipFrames, shown: set[str], inference: InferenceConfig) -> np.ndarray:
    """(F, S, S, 3) uint8: the driver's patches as the model sees them, unchanged."""
    patches = placed(material.parts.patches, material.parts.regions, inference.size_px)
    return cut_patches(material.driving, patches, shown, inference.grey_driver)


def psnr(target: np.ndarray, other: np.ndarray) -> float:
    """Decibels over a whole video of uint8."""
    error = float(np.mean((target.astype(np.float64) - other.astype(np.float64)) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-10)))


def write_picture(file: Path, strip: np.ndarray) -> None:
    """A few frames of the strip, one below the other."""
    import cv2

    rows = strip[np.linspace(0, len(strip) - 1, min(SHOWN_FRAMES, len(strip))).round().astype(int)]
    encoded = cv2.imencode(".png", np.concatenate(rows)[..., ::-1])[1]
    with atomic_path(file) as temporary:
        temporary.write_bytes(encoded.tobytes())
