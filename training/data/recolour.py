"""Other colours for a whole sample, portrait and target alike, so that a model that copies the portrait learns to keep any colour.

Rendered people stand before walls of few colours: what they do not show, strangers' pictures do. The driving patches keep their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class RecolourConfig:
    """Ranges; each sample draws once.

    Attributes:
        share: of the samples that change their colours; 0 leaves all as they are. Needs a codec that can (`LatentCodec.recoloured`).
        hue: chroma is turned by up to ± this, in turns.
        saturation: and grows or shrinks by up to this factor, as often either way.
        tint: up to ± this is added to each of Cb and Cr, which reach from −0.5 to 0.5.
    """

    share: float = 0.0
    hue: float = 0.1
    saturation: float = 2.5
    tint: float = 0.08

    def __post_init__(self) -> None:
        for name, low, high in (("share", 0, 1), ("hue", 0, 0.5), ("saturation", 1, 10), ("tint", 0, 0.5)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in {low}..{high}")


class Recolour(NamedTuple):
    """(Cb, Cr) becomes `turn` · (Cb, Cr) + `tint`."""

    turn: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))
    tint: tuple[float, float] = (0.0, 0.0)


SAME = Recolour()


def draw_recolour(config: RecolourConfig, rng: np.random.Generator) -> Recolour:
    """One sample's change of colours."""
    u = rng.random(5)
    if u[0] >= config.share:
        return SAME
    signed = (2 * u - 1).tolist()
    angle, grown = 2 * math.pi * config.hue * signed[1], config.saturation ** signed[2]
    cosine, sine = grown * math.cos(angle), grown * math.sin(angle)
    return Recolour(((cosine, -sine), (sine, cosine)), (config.tint * signed[3], config.tint * signed[4]))
