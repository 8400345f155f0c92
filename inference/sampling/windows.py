"""Which frames the model sees together: windows of one size, ends anchored, never wrapping.

With `shift`, the windows between the two ends move by `shift` frames from one sampling step to the next, so that seams do not stay in place
(Sonic's idea, without its wrap-around).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifests.errors import UserError

WINDOW = 16  # frames that the temporal modules were trained on


@dataclass(frozen=True)
class WindowPlan:
    """The windows of a clip at every sampling step.

    Attributes:
        num_frames: of the clip, at least `size` (shorter clips are padded by the caller: `padded_length`).
        size: frames a window.
        overlap: frames that neighbouring windows share; the stride is size − overlap.
        shift: frames by which interior windows move from step to step; 0 keeps them in place.
    """

    num_frames: int
    size: int = 16
    overlap: int = 8
    shift: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.num_frames < self.size:
            raise UserError(f"{self.num_frames} frames in windows of {self.size}; there must be at least one whole window")
        if not 0 <= self.overlap < self.size:
            raise UserError(f"window_overlap is {self.overlap}; it must lie in 0…{self.size - 1}")
        if not 0 <= self.shift < self.size:
            raise UserError(f"window_shift is {self.shift}; it must lie in 0…{self.size - 1}")

    @property
    def stride(self) -> int:
        return self.size - self.overlap

    def starts(self, step: int) -> list[int]:
        """First frames of the windows of a sampling step, ascending; the first is 0, the last num_frames − size."""
        last = self.num_frames - self.size
        offset = (step * self.shift) % self.stride
        return sorted({0, last, *range(offset, last, self.stride)})

    def boundaries(self, num_steps: int) -> list[int]:
        """Ascending frames at which a window of any step begins, then num_frames: between two of them, frames advance together."""
        found: set[int] = set()
        for step in range(min(num_steps, self.stride) if self.shift else 1):
            found.update(self.starts(step))
        return [*sorted(found), self.num_frames]

    def evaluations(self, num_steps: int) -> int:
        """Windows that the model sees in all steps together."""
        return sum(len(self.starts(step)) for step in range(num_steps))


def padded_length(num_frames: int, size: int) -> int:
    """Frames that are computed: a clip shorter than a window repeats its last frame, and the repetitions are dropped at the end."""
    if num_frames < 1:
        raise UserError("there is no frame to make")
    return max(num_frames, size)


def pyramid(size: int) -> np.ndarray:
    """(size,) float32, the weight of a window's prediction at each of its frames: 1 at both ends, rising by 1 a frame to the middle."""
    index = np.arange(size)
    return np.minimum(index + 1, size - index).astype(np.float32)
