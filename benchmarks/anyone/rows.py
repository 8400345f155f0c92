"""Frames of the model and of the controls for one portrait and one driver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.anyone.footage import FirstSeconds
from curation.face_crop import warp
from inference.driving.driving import Driving, DrivingOptions
from inference.driving.moved_reference import moved_reference
from inference.driving.reference import Reference
from inference.models.codecs import LatentCodec
from inference.pipeline import MegActorSigmaPipeline
from inference.pipeline.animation import to_uint8, to_unit
from inference.sampling.settings import SamplingSettings


@dataclass(frozen=True)
class Animated:
    """`target` and each of `rows` (F, S, S, 3) uint8: the model's answer and the controls: the portrait held still; moved by the driver's
    similarity transform; the target encoded and decoded. `driving` says where the driver's face lies in them."""

    driving: Driving
    target: np.ndarray
    rows: dict[str, np.ndarray]


def animated(
    pipe: MegActorSigmaPipeline,
    codec: LatentCodec,
    portrait: Reference,
    driver: FirstSeconds,
    sampling: SamplingSettings,
    audio: np.ndarray | None = None,
    regions: str = "both",
) -> Animated:
    """The model's answer, the driver in the same crop, and the controls."""
    settings = pipe.settings
    options = DrivingOptions(
        regions=regions, crop_scale=settings.crop_scale, patch_rule=settings.patch_rule, grey=settings.grey_driver, missing="hold"
    )
    driving = Driving(driver, portrait, options, settings.size_px)
    reference = driving.portrait
    target = np.stack([warp(rgb, matrix, settings.size_px) for rgb, matrix in zip(driver.rgb, driving.matrices, strict=True)])
    with pipe.prepare(reference, driving, audio, sampling, generator=0) as animation:
        model = np.stack(list(animation.frames()))
    driving.close()
    coded = codec.decode(codec.encode(to_unit(torch.from_numpy(target).permute(0, 3, 1, 2))))
    rows = {
        "model": model,
        "still": np.broadcast_to(reference.crop, target.shape),
        "moved": moved_reference(reference.crop, reference.crop_points_px, driving.points_px),
        "codec": to_uint8(coded),
    }
    return Animated(driving, target, rows)


def spoken(pipe: MegActorSigmaPipeline, portrait: Reference, sound: np.ndarray, sampling: SamplingSettings) -> np.ndarray:
    """(F, S, S, 3) uint8, driven by (N,) float32 sound at 16 kHz alone."""
    with pipe.prepare(portrait, None, sound, sampling, generator=0) as animation:
        return np.stack(list(animation.frames()))
