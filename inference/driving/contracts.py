"""What drives an animation, as the pipeline sees it: `inference.driving` implements the frames, `inference.driving.sound` the sound."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_FPS = 60  # frames a second; faster footage is read at this rate: no face moves so fast that more would show


class Footage(Protocol):
    """A driver, its face located on every frame. Pixel coordinates are the frames' own, pixel i covers i..i+1.

    Attributes:
        name: for messages.
        fps: frames a second.
        n_frames: F.
        width_px, height_px: of a frame.
        points_px: (F, 68, 2) float32, NaN where the face is not seen.
        n_faces: (F,) faces seen.
        audio: (N,) int16 mono at 16 kHz, sample 0 at the first frame; None without a sound track.
        notes: lines for the user.
    """

    @property
    def name(self) -> str: ...

    @property
    def fps(self) -> Fraction: ...

    @property
    def n_frames(self) -> int: ...

    @property
    def width_px(self) -> int: ...

    @property
    def height_px(self) -> int: ...

    @property
    def points_px(self) -> np.ndarray: ...

    @property
    def n_faces(self) -> np.ndarray: ...

    @property
    def audio(self) -> np.ndarray | None: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def frames(self) -> Generator[np.ndarray, None, None]:
        """Every frame in order, (H, W, 3) uint8, valid until the next."""
        ...

    def frame(self, index: int) -> np.ndarray:
        """One frame, (H, W, 3) uint8."""
        ...

    def close(self) -> None:
        """Lets go of what `frame` keeps open; it opens again when needed."""
        ...


@runtime_checkable
class DrivenFrames(Protocol):
    """Frames that show only the driver's eyes and mouth, after amplitude, crop and retargeting (`inference.driving.driving.Driving`).

    Attributes:
        n_frames, fps: of the driver, and so of the result.
        audio: (n,) int16 mono at 16 kHz from its first frame on, or None.
        report: a dataclass of plain values for the result's report (missing faces, filled pixels, ...), or None.
    """

    @property
    def n_frames(self) -> int: ...

    @property
    def fps(self) -> Fraction: ...

    @property
    def audio(self) -> np.ndarray | None: ...

    @property
    def report(self) -> DataclassInstance | None: ...

    def driven_frames(self, start: int, stop: int) -> np.ndarray:
        """(stop − start, 3, S, S) uint8, black outside the patches. Asked for in ascending order, so a video is decoded once."""
        ...


@runtime_checkable
class Sound(Protocol):
    """Sound whose time 0 is the first frame."""

    @property
    def duration_s(self) -> float: ...

    @property
    def channels(self) -> int: ...

    @property
    def rate_hz(self) -> int: ...

    def waveform(self, duration_s: float | None = None) -> np.ndarray:
        """(n,) float32 mono at 16 kHz, what the model hears; cut or filled with silence to `duration_s`."""
        ...

    def blocks(self, rate_hz: int, channels: int, duration_s: float) -> Generator[np.ndarray, None, None]:
        """(channels, n) float32 pieces that follow each other from time 0 on, what people hear; cut at `duration_s`."""
        ...
