"""Which rows of the 50 Hz audio features belong to a video frame; one function for training and inference.

Frame i of a video at `fps` has its centre at row ⌊i·50/fps⌋ and takes the rows from 4 before it to 5 after it: 200 ms, −80 … +120 ms (the
window of MuseTalk, EchoMimic, LatentSync and MegActor's public release). Rows beyond either end repeat the outermost row.
"""

from __future__ import annotations

from fractions import Fraction

import torch

from inference.models.shapes import ShapeError, Shapes

FEATURE_RATE_HZ = 50
ROWS_BEFORE, ROWS_PER_FRAME = 4, 10


def frame_rows(num_frames: int, fps: float | Fraction, first_frame: int = 0) -> torch.Tensor:
    """(num_frames, 10) int64, rows before clamping to the file. `fps` may be a Fraction (30000/1001); a float is read as the nearest
    fraction with a denominator up to 1001, so that no frame falls on the wrong side of a row by rounding."""
    rate = Fraction(fps).limit_denominator(1001)
    if rate <= 0:
        raise ValueError(f"fps is {fps}; it must be positive")
    centres = [index * FEATURE_RATE_HZ * rate.denominator // rate.numerator for index in _indices(num_frames, first_frame)]
    return torch.tensor(centres, dtype=torch.int64)[:, None] + torch.arange(-ROWS_BEFORE, ROWS_PER_FRAME - ROWS_BEFORE)


def _indices(num_frames: int, first_frame: int) -> range:
    if num_frames < 1 or first_frame < 0:
        raise ValueError(f"num_frames is {num_frames} and first_frame is {first_frame}; there must be a frame, counted from 0")
    return range(first_frame, first_frame + num_frames)


def audio_windows(states: torch.Tensor, fps: float | Fraction, num_frames: int, first_frame: int = 0) -> torch.Tensor:
    """(T, S, W) states at 50 Hz → (num_frames, 10·S, W): for each frame ten rows in time, within a row the states in order."""
    Shapes().check("states", states, "T", "S", "W")
    if states.shape[0] == 0:
        raise ShapeError("states has no rows; the audio is empty")
    rows = frame_rows(num_frames, fps, first_frame).clamp(0, states.shape[0] - 1).to(states.device)
    return states[rows].flatten(1, 2)
