"""How the frames are shown: alone, beside portrait and driver, or back in the whole portrait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

import numpy as np

from inference.driving.driving import Driving
from inference.driving.reference import Reference
from inference.output.paste_back import PasteBack


def laid_out(
    frames: Iterable[np.ndarray], portrait: Reference, driver: Driving | None, *, side_by_side: bool, paste_back: bool
) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 pictures of one size, one a frame.

    Args:
        frames: (S, S, 3) uint8, the animated crop.
        portrait: in the crop that is animated.
        driver: None is sound alone: portrait and result stand beside each other.
        side_by_side: portrait, driver and result beside each other.
        paste_back: the frames back in the whole portrait; the two exclude each other.
    """
    if paste_back:
        yield from map(PasteBack(portrait), frames)
    elif side_by_side:
        shown = repeat(None) if driver is None else driver.driver_pictures()
        for rgb, driven in zip(frames, shown, strict=driver is not None):
            yield np.concatenate([picture for picture in (portrait.crop, driven, rgb) if picture is not None], axis=1)
    else:
        yield from frames
