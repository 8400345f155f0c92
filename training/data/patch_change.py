"""How far the driving patches are changed at random, and the draw for one sample.

The ranges follow the authors' public UNet release where it states one: size and aspect 0.8 to 1.2, colour jitter 0.25.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges; each sample draws once, all of its frames are changed alike.

    Attributes:
        share: of the samples that are changed at all.
        size: the patches' content grows or shrinks by up to this part.
        aspect: its width over its height changes by up to this part.
        shrinks: the content's resolution is divided by one of these.
        brightness, contrast, saturation: factors of up to 1 ± this.
        hue: turns of up to ± this.
        grey_share: of the changed samples that lose their colour.
    """

    share: float = 0.9
    size: float = 0.2
    aspect: float = 0.2
    shrinks: tuple[int, ...] = (1, 1, 2, 4)
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.25
    hue: float = 0.05
    grey_share: float = 0.2

    def __post_init__(self) -> None:
        for name in ("share", "grey_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 0..1")
        for name in ("size", "aspect", "brightness", "contrast", "saturation", "hue"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 0..0.5")
        if not self.shrinks or min(self.shrinks) < 1:
            raise ValueError(f"shrinks is {list(self.shrinks)}; it needs whole numbers from 1 on")


class PatchChange(NamedTuple):
    """The changes of one sample; fields as in `training.data.batch.AugmentParameters`."""

    scale: tuple[float, float] = (1.0, 1.0)
    shrink: int = 1
    gain: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0


def draw_change(config: AugmentConfig, rng: np.random.Generator) -> PatchChange:
    """One sample's changes."""
    u = rng.random(9)
    if u[0] >= config.share:
        return PatchChange()
    signed = 2 * u - 1
    size, stretch = 1 + config.size * signed[1], np.sqrt(1 + config.aspect * signed[2])
    return PatchChange(
        scale=(float(size * stretch), float(size / stretch)),
        shrink=int(config.shrinks[int(u[3] * len(config.shrinks))]),
        gain=float(1 + config.brightness * signed[4]),
        contrast=float(1 + config.contrast * signed[5]),
        saturation=0.0 if u[7] < config.grey_share else float(1 + config.saturation * signed[6]),
        hue=float(config.hue * signed[8]),
    )
