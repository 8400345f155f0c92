"""Whether a changed face still has its eyes and mouth where they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation import landmarks
from curation.contracts import Clip, ClipError, Frame, MediaInfo
from curation.landmarks.sixty_eight import LEFT_EYE, LIPS, RIGHT_EYE, interocular

PARTS = {"right eye": RIGHT_EYE, "left eye": LEFT_EYE, "mouth": LIPS}


@dataclass(frozen=True)
class GeometryBound:
    """How far a variant's landmarks may lie from the original's. One detector looks at both, so that its own bias cancels.

    Attributes:
        backend: landmark backend (`curation.landmarks`).
        max_shift: mean distance of a part's points over the distance between the eyes. A region's margin is 0.16 of it.
        min_share: of the checked frames in which every part must keep to that.
        checked_frames: frames that are looked at, spread over the clip.
    """

    backend: str = "facemesh"
    max_shift: float = 0.10
    min_share: float = 0.9
    checked_frames: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.max_shift <= 1 or not 0 < self.min_share <= 1 or self.checked_frames < 1:
            raise ValueError("max_shift and min_share must lie in 0..1, checked_frames must be 1 or more")


class GeometryCheck:
    """Holds the detector's networks; used by one process."""

    def __init__(self, bound: GeometryBound):
        self._bound = bound
        self._backend = landmarks.make_backend(bound.backend, {})

    def require_same(self, originals: Sequence[np.ndarray], variants: Sequence[np.ndarray]) -> None:
        """Raises if the variant's parts have moved.

        Args:
            originals, variants: (S, S, 3) uint8, the same frames in the same order.

        Raises:
            ClipError: geometry, with the part and how far it moved.
        """
        before, after = self._points(originals), self._points(variants)
        seen = np.isfinite(before).all(axis=(1, 2))
        if not seen.any():
            raise ClipError("geometry", "no face is found on the original's crops, so that nothing can be compared")
        shifts = part_shifts(before[seen], after[seen])
        good = np.all([shift <= self._bound.max_shift for shift in shifts.values()], axis=0)
        if good.mean() < self._bound.min_share:
            lost = int((~np.isfinite(after[seen]).all(axis=(1, 2))).sum())
            worst = max(shifts, key=lambda name: float(np.median(shifts[name])))
            moved = float(np.median(shifts[worst]))
            how_far = f"the {worst} moved by {moved:.2f} of the distance between the eyes" if np.isfinite(moved) else "no face is found"
            raise ClipError(
                "geometry",
                f"{int((~good).sum())} of {len(good)} checked frames differ ({lost} without a face); {how_far},"
                f" allowed are {self._bound.max_shift}",
            )

    def _points(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """(F, 68, 2) in px; NaN where no face is found."""
        height, width = pictures[0].shape[:2]
        clip = Clip("variant", "variant", "variant", "")
        info = MediaInfo(width, height, 25.0, len(pictures), 40.0 * len(pictures), "", False, None)
        tracker = self._backend.track(clip, info)
        for k, rgb in enumerate(pictures):
            tracker.on_frame(Frame(k, 40.0 * k, rgb))
        return tracker.finish().points_px.astype(np.float64)


def part_shifts(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """Mean distance of each part's points (F, 68, 2) over the original's distance between the eyes: (F,) by part; infinite where `after`
    has no face."""
    unit = interocular(before)
    distances = np.linalg.norm(after - before, axis=-1)
    return {name: np.nan_to_num(distances[:, part].mean(axis=1) / unit, nan=np.inf) for name, part in PARTS.items()}
