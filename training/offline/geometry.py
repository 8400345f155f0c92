"""Whether a changed face still has its eyes and mouth where they were, and opens and closes them as it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation import landmarks
from curation.contracts import Clip, ClipError, Frame, MediaInfo
from curation.landmarks.sixty_eight import LEFT_EYE, LIPS, RIGHT_EYE, interocular

PARTS = {"right eye": RIGHT_EYE, "left eye": LEFT_EYE, "mouth": LIPS}
# Pairs of an upper and a lower point, whose mean distance is the part's opening.
OPENINGS = {
    "right eye": ((37, 41), (38, 40)),
    "left eye": ((43, 47), (44, 46)),
    "mouth": ((61, 67), (62, 66), (63, 65)),
}


@dataclass(frozen=True)
class GeometryBound:
    """How far a variant's landmarks may lie from the original's. One detector looks at both, so that its own bias cancels.

    Attributes:
        backend: landmark backend (`curation.landmarks`).
        max_shift: mean distance of a part's points over the distance between the eyes. A region's margin is 0.16 of it.
        min_share: of the checked frames in which every part must keep to that.
        max_opening_error: root mean square, over the checked frames, of the difference of a part's opening, over the distance between the
            eyes.
        min_correlation: over time, of a part's opening with the original's, where the latter moves: the mouth of a variant that stands
            still lies where it should, and would teach that the driver's mouth means nothing.
        min_motion: deviation of an opening over the distance between the eyes, from which it counts as moving.
        checked_frames: frames that are looked at, spread over those that are made.
    """

    backend: str = "facemesh"
    max_shift: float = 0.10
    min_share: float = 0.9
    max_opening_error: float = 0.06
    min_correlation: float = 0.7
    min_motion: float = 0.02
    checked_frames: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.max_shift <= 1 or not 0 < self.min_share <= 1 or self.checked_frames < 1:
            raise ValueError("max_shift and min_share must lie in 0..1, checked_frames must be 1 or more")
        if not 0 < self.max_opening_error <= 1 or not -1 <= self.min_correlation <= 1 or self.min_motion <= 0:
            raise ValueError("max_opening_error must lie in 0..1, min_correlation in -1..1, min_motion must be positive")


class GeometryCheck:
    """Holds the detector's networks; used by one process."""

    def __init__(self, bound: GeometryBound):
        self._bound = bound
        self._backend = landmarks.make_backend(bound.backend, {})

    def require_same(self, originals: Sequence[np.ndarray], variants: Sequence[np.ndarray]) -> None:
        """Raises if the variant's parts have moved, or do not move as the original's do.

        Args:
            originals, variants: (S, S, 3) uint8, the same frames in the same order.

        Raises:
            ClipError: geometry, with the part and by how much it is off.
        """
        before, after = self._points(originals), self._points(variants)
        seen = np.isfinite(before).all(axis=(1, 2))
        if not seen.any():
            raise ClipError("geometry", "no face is found on the original's crops, so that nothing can be compared")
        problem = difference(before[seen], after[seen], self._bound)
        if problem:
            raise ClipError("geometry", problem)

    def _points(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """(F, 68, 2) in px; NaN where no face is found."""
        height, width = pictures[0].shape[:2]
        clip = Clip("variant", "variant", "variant", "")
        info = MediaInfo(width, height, 25.0, len(pictures), 40.0 * len(pictures), "", False, None)
        tracker = self._backend.track(clip, info)
        for k, rgb in enumerate(pictures):
            tracker.on_frame(Frame(k, 40.0 * k, rgb))
        return tracker.finish().points_px.astype(np.float64)


def difference(before: np.ndarray, after: np.ndarray, bound: GeometryBound) -> str | None:
    """What is off with a variant, in one line; None if nothing is.

    Args:
        before: (F, 68, 2) px of the original's checked frames.
        after: of the variant's; NaN where no face is found.
    """
    shifts = part_shifts(before, after)
    good = np.all([shift <= bound.max_shift for shift in shifts.values()], axis=0)
    if good.mean() < bound.min_share:
        lost = int((~np.isfinite(after).all(axis=(1, 2))).sum())
        worst = max(shifts, key=lambda name: float(np.median(shifts[name])))
        moved = float(np.median(shifts[worst]))
        how_far = f"the {worst} moved by {moved:.2f} of the distance between the eyes" if np.isfinite(moved) else "no face is found"
        return (
            f"{int((~good).sum())} of {len(good)} checked frames differ ({lost} without a face); {how_far}, allowed are {bound.max_shift}"
        )
    both = np.isfinite(after).all(axis=(1, 2))
    for name in PARTS:
        was, became = opening(before[both], name), opening(after[both], name)
        error = float(np.sqrt(np.mean(np.square(became - was))))
        if error > bound.max_opening_error:
            return (
                f"the {name}'s opening is off by {error:.3f} of the distance between the eyes (RMS), allowed are {bound.max_opening_error}"
            )
        if was.std() < bound.min_motion:
            continue
        r = float(np.corrcoef(was, became)[0, 1]) if became.std() > 0 else 0.0
        if r < bound.min_correlation:
            return f"the {name} does not open and close as the original's does: correlation {r:.2f}, needed are {bound.min_correlation}"
    return None


def opening(points: np.ndarray, part: str) -> np.ndarray:
    """(F,) how far a part of (F, 68, 2) points is open, over the distance between the eyes."""
    upper, lower = np.array(OPENINGS[part]).T
    return np.linalg.norm(points[:, upper] - points[:, lower], axis=-1).mean(axis=1) / interocular(points)


def part_shifts(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """Mean distance of each part's points (F, 68, 2) over the original's distance between the eyes: (F,) by part; infinite where `after`
    has no face."""
    unit = interocular(before)
    distances = np.linalg.norm(after - before, axis=-1)
    return {name: np.nan_to_num(distances[:, part].mean(axis=1) / unit, nan=np.inf) for name, part in PARTS.items()}
