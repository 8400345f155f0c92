"""The portrait, moved by the frames that have just come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from inference.driving.driving import DrivingOptions
from inference.driving.live import LiveDriver
from inference.driving.moved_reference import moved_reference
from inference.driving.opening import Portrait
from inference.driving.reference import Reference
from inference.sampling.samplers import SAMPLERS
from inference.sampling.windows import WINDOW
from manifests import UserError
from manifests.errors import did_you_mean

if TYPE_CHECKING:
    from inference.pipeline import MegActorSigmaPipeline
    from inference.sampling.carried import CarriedSampler


@dataclass(frozen=True)
class LiveSettings:
    """
    Attributes:
        window: frames that the model sees together, 1…16: the fewer, the sooner they are out and the less they hold together.
        context: of them those that are taken from the last window, 0…window − 1.
        steps: solver steps, 1…100; without guidance, which would cost as much again.
        sampler: a name of `inference.sampling.samplers`.
        seed: of the noise.

    Raises:
        UserError: a value out of range.
    """

    window: int = 8
    context: int = 2
    steps: int = 4
    sampler: str = "dpmsolver++"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("window", self.window, 1, WINDOW),
            ("context", self.context, 0, self.window - 1),
            ("steps", self.steps, 1, 100),
        ):
            if not low <= value <= high:
                raise UserError(f"{name} is {value}; it must lie in {low}…{high}")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed is {self.seed}; it must lie in 0…2^63 − 1")
        if self.sampler not in SAMPLERS:
            raise UserError(f"unknown sampler {self.sampler!r}{did_you_mean(self.sampler, sorted(SAMPLERS))}")

    @property
    def new_frames(self) -> int:
        """Frames that a window adds."""
        return self.window - self.context


class LiveAnimation:
    """Makes frames from frames. Holds a pipeline's model; one a driver.

    Args:
        portrait: path, PIL image, (H, W, 3) uint8 array or `Reference`.
        options: how the driver is used; crop, patches and colour are as the model was trained.

    Raises:
        UserError: no portrait, no face in it; one line.
    """

    def __init__(
        self,
        pipe: MegActorSigmaPipeline,
        portrait: Portrait,
        settings: LiveSettings | None = None,
        options: DrivingOptions | None = None,
    ):
        picture = pipe.picture
        self._pipe, self.settings = pipe, settings or LiveSettings()
        opened: Reference = picture.open_portrait(portrait)
        own = replace(options or DrivingOptions(), crop_scale=picture.crop_scale, patch_rule=picture.patch_rule, grey=picture.grey)
        self.options, self.driver = own, LiveDriver(opened, own, pipe.landmarks)
        self.notes = opened.notes
        self._sampler: CarriedSampler | None = None

    def make(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """(S, S, 3) uint8 frames of the portrait, one for each (H, W, 3) uint8 frame of the driver, of whom there are 1…`new_frames`; none
        while the driver has not shown a face."""
        import torch

        from inference.sampling.carried import CarriedSampler
        from inference.sampling.samplers import make_scheduler

        if not 1 <= len(frames) <= self.settings.new_frames:
            raise ValueError(f"{len(frames)} frames; a window adds 1…{self.settings.new_frames}")
        patches = self.driver.patches(frames)
        if patches is None:
            return []
        reference = self.driver.reference
        assert reference is not None  # it has seen a face
        if self._sampler is None:
            latents = self._pipe.encode_images(reference.crop[None])[0]
            settings = self.settings
            self._sampler = CarriedSampler(
                self._pipe.transformer,
                make_scheduler(settings.sampler),
                latents,
                num_steps=min(settings.steps, self._pipe.settings.most_steps or settings.steps),
                context=settings.context,
                seed=settings.seed,
            )
        moved = None
        if self._pipe.picture.moves_reference and self.options.regions != "none":
            moved = self._pipe.encode_images(moved_reference(reference.crop, reference.crop_points_px, self.driver.points_px))
        return list(self._pipe.decode_latents(self._sampler.next(torch.from_numpy(patches).float() / 255, moved)))
