"""How far the driving patches are changed at random, and the draw for one sample.

The ranges follow the authors' public UNet release where it states one: size and aspect 0.8 to 1.2 of the whole driven picture, colour
jitter 0.25, always grey.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges; each sample draws once, all of its frames are changed alike.

    Attributes:
        box_shift: each patch's rectangle is moved along x and y by up to this part of its side, in every sample.
        box_size: its width and height change by up to this part, in every sample.
        share: of the samples whose content is changed.
        size: the patches' content grows or shrinks by up to this part.
        aspect: its width over its height changes by up to this part.
        whole_frame: size and aspect act on the whole driven picture about its middle, so that the patches move and grow with their content;
            else on each patch within its rectangle.
        shrinks: the content's resolution is divided by one of these.
        brightness, contrast, saturation: factors of up to 1 ± this.
        hue: turns of up to ± this.
        grey_share: of all samples whose driver loses its colour. With 1 the pipeline shows the model grey drivers too.
    """

    box_shift: float = 0.08
    box_size: float = 0.15
    share: float = 0.9
    size: float = 0.2
    aspect: float = 0.2
    whole_frame: bool = False
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
        for name in ("box_shift", "box_size", "size", "aspect", "brightness", "contrast", "saturation", "hue"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 0..0.5")
        if not self.shrinks or min(self.shrinks) < 1:
            raise ValueError(f"shrinks is {list(self.shrinks)}; it needs whole numbers from 1 on")


class PatchChange(NamedTuple):
    """The changes of one sample.

    Attributes:
        scale, shrink, gain, contrast, saturation, hue, whole: of the content, as in `training.data.batch.AugmentParameters`.
        shift, growth: (x, y) of each patch's rectangle (right eye, left eye, mouth): moved by so many of its sides, and their factors.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    shrink: int = 1
    gain: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    whole: bool = False
    shift: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 3
    growth: tuple[tuple[float, float], ...] = ((1.0, 1.0),) * 3


def draw_change(config: AugmentConfig, rng: np.random.Generator) -> PatchChange:
    """One sample's changes."""
    u = rng.random(9)
    shift, growth = config.box_shift * (2 * rng.random((3, 2)) - 1), 1 + config.box_size * (2 * rng.random((3, 2)) - 1)
    grey = u[7] < config.grey_share
    boxes = PatchChange(shift=_pairs(shift), growth=_pairs(growth), saturation=0.0 if grey else 1.0)
    if u[0] >= config.share:
        return boxes
    signed = 2 * u - 1
    size, stretch = 1 + config.size * signed[1], np.sqrt(1 + config.aspect * signed[2])
    return boxes._replace(
        scale=(float(size * stretch), float(size / stretch)),
        shrink=int(config.shrinks[int(u[3] * len(config.shrinks))]),
        gain=float(1 + config.brightness * signed[4]),
        contrast=float(1 + config.contrast * signed[5]),
        saturation=0.0 if grey else float(1 + config.saturation * signed[6]),
        hue=float(config.hue * signed[8]),
        whole=config.whole_frame,
    )


def moved(patches: np.ndarray, change: PatchChange) -> np.ndarray:
    """(F, 3, 4) int64 rectangles moved and resized alike in all frames; empty ones stay so."""
    shift, growth = np.array(change.shift), np.array(change.growth)
    sides = patches[..., 2:] - patches[..., :2]  # (F, 3, 2)
    middles = (patches[..., :2] + patches[..., 2:]) / 2 + shift * sides
    grown = np.maximum(np.round(sides * growth), 1)
    first = np.round(middles - grown / 2)
    return np.where((sides > 0).all(-1, keepdims=True), np.concatenate([first, first + grown], axis=-1), 0).astype(np.int64)


def reach(patches: np.ndarray, config: AugmentConfig, size_px: int) -> np.ndarray:
    """(F, 3, 4) int64: within the picture, all that `moved` can make of patches."""
    sides = patches[..., 2:] - patches[..., :2]
    room = np.ceil(sides * (config.box_shift + config.box_size / 2)).astype(np.int64) + 1
    wide = np.concatenate([patches[..., :2] - room, patches[..., 2:] + room], axis=-1)
    return np.where((sides > 0).all(-1, keepdims=True), np.clip(wide, 0, size_px), 0)


def _pairs(values: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in values)
