"""How much of a run's time its validation, sample videos and checkpoints would take; the meter counts what they do take."""

from __future__ import annotations

from inference.models.components import InferenceConfig
from inference.models.flops import Work, forward_flops
from training.config import TrainingConfig
from training.cost.autoencoder import decode_flops, encode_flops

WRITE_BYTES_A_SECOND = 2e9  # assumed: a local NVMe disk, flushing included
MODES = {1: 1, 2: 3, 3: 3}  # sample videos by stage: without sound there is one


def aside_seconds(config: TrainingConfig, inference: InferenceConfig, flops_a_second: float, devices: int) -> dict[str, float]:
    """Seconds of a whole run by kind.

    Args:
        flops_a_second: of one device. Devices share out validation, and whole videos, of which there are at most three.
    """
    sizes, frames = inference.model.at_stage(config.stage), config.data.frames_of_stage(config.stage)
    side = inference.size_px
    forward = sum(forward_flops(sizes, Work(1, frames, side, side, reference=True, audio=sizes.with_audio)).values())

    shown = 3 if sizes.with_audio else 2  # as it is, another's driver, another's sound
    sample = (config.validation.timesteps + shown) * forward + decode_flops(inference, shown * frames) + encode_flops(inference, frames + 1)
    validation = config.validation.samples * sample / devices

    videos = config.videos
    again = (1 if videos.guidance_scale == 1 else 2) * (2 if config.stage == 3 else 1)  # guidance; windows that overlap by half
    video = videos.steps * again * forward / frames * videos.frames + decode_flops(inference, videos.frames)
    rounds = -(-MODES[config.stage] // devices)

    every, trained = _weights(config, inference)
    written = 4 * (3 * every + 2 * trained)  # the model, its average in checkpoint and pipeline, two moments of what is trained
    return {
        "validation": _times(config.steps, config.validation.every_steps, False) * validation / flops_a_second,
        "videos": _times(config.steps, videos.every_steps, videos.at_end) * rounds * video / flops_a_second,
        "checkpoints": _times(config.steps, config.checkpoints.every_steps, True) * written / WRITE_BYTES_A_SECOND,
    }


def _weights(config: TrainingConfig, inference: InferenceConfig) -> tuple[int, int]:
    """(all parameters, trained ones)."""
    from inference.models.summary import parameter_table
    from training.loop.stages import TRAINED

    counts = parameter_table(inference.model.at_stage(config.stage))
    return sum(counts.values()), sum(counts.get(part, 0) for part in TRAINED[config.stage])


def _times(steps: int, every: int, at_end: bool) -> int:
    """How often something happens that comes every so many steps, and at the end."""
    if not every:
        return int(at_end)
    return -(-steps // every) if at_end else steps // every
