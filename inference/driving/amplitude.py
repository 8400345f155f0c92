"""Amplitude adjustment of in-plane head motion: Eq. 4 of the paper, corrected (docs/amplitude.md). Numpy only.

A motion is an affine map M_i a frame: it takes the rigid landmarks of the first frame to those of frame i. Its matrix has, as the paper
writes it, a row (a, b, tx) and a row (c, d, ty). Scaling the motion by α makes another map M'_i, and the picture of frame i is warped by
M'_i M_i⁻¹. The printed formula measures both rows' angles from the x axis, so that the row of the y axis is turned even where nothing
moves, and it turns and zooms about the picture's corner. Here each row's angle is measured from that row's own rest direction, and the
motion is about the centroid of the rigid landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifests import UserError

MAX_GAIN = 2.0  # twice the driver's motion: beyond it heads leave the crop
SCALE_MODES = ("geometric", "keep")


@dataclass(frozen=True)
class Amplitude:
    """How much of the driver's in-plane head motion is kept: 1 is all of it, 0 none, 2 twice as much.

    Attributes:
        translation, roll, zoom: the gains of the shift of the head, of its turn in the plane of the picture, and of its size.
        scale_mode: `geometric` takes the zoom to the power of its gain, so that 0 keeps the size; `keep` leaves the zoom as it is at any
            gain, as the paper prints it.
    """

    translation: float = 1.0
    roll: float = 1.0
    zoom: float = 1.0
    scale_mode: str = "geometric"

    def __post_init__(self) -> None:
        for name in ("translation", "roll", "zoom"):
            value = getattr(self, name)
            if not 0 <= value <= MAX_GAIN:  # also refuses NaN
                raise UserError(f"motion {name} is {value}; it must lie in 0..{MAX_GAIN:g} (0 stills the head, 1 keeps its motion)")
        if self.scale_mode not in SCALE_MODES:
            raise UserError(f"motion scale_mode is {self.scale_mode!r}; it must be one of {', '.join(SCALE_MODES)}")

    @classmethod
    def of(cls, alpha: float | Amplitude, scale_mode: str = "geometric") -> Amplitude:
        """One α for all three, as in the paper; an `Amplitude` as it is."""
        return alpha if isinstance(alpha, Amplitude) else cls(alpha, alpha, alpha, scale_mode)

    @property
    def keeps_all(self) -> bool:
        """Nothing is changed: pictures are not warped and landmarks not smoothed."""
        return self.translation == self.roll == 1 and (self.zoom == 1 or self.scale_mode == "keep")


@dataclass(frozen=True)
class Motion:
    """In-plane motion of F frames about a pivot, taken apart.

    Attributes:
        angle_rad: (F,) turn of the x axis, unwrapped along time.
        shear_rad: (F,) turn of the y axis beyond that of the x axis, within ±π/2; 0 for a similarity.
        scale: (F, 2) zoom along x and along y, above 0.
        shift_px: (F, 2) where the pivot goes.
        pivot_px: (2,) a point of the first frame.
    """

    angle_rad: np.ndarray
    shear_rad: np.ndarray
    scale: np.ndarray
    shift_px: np.ndarray
    pivot_px: np.ndarray

    @classmethod
    def of(cls, matrices: np.ndarray, pivot_px: np.ndarray) -> Motion:
        """Takes maps (F, 2, 3) apart. The first frame's angle is read within ±π, later ones so that they never jump by more than π.

        Raises:
            ValueError: a map that mirrors, is singular or not finite.
        """
        matrices = np.asarray(matrices, np.float64)
        pivot = np.asarray(pivot_px, np.float64)
        linear = matrices[:, :, :2]
        if not np.isfinite(matrices).all() or not (np.linalg.det(linear) > 0).all():
            raise ValueError("a motion must be finite and have a positive determinant")
        (a, b), (c, d) = linear.transpose(1, 2, 0)
        x_turn, y_turn = np.arctan2(b, a), np.arctan2(-c, d)
        shear = np.remainder(y_turn - x_turn + np.pi, 2 * np.pi) - np.pi
        shift = linear @ pivot + matrices[:, :, 2] - pivot
        return cls(np.unwrap(x_turn), shear, np.linalg.norm(linear, axis=2), shift, pivot)

    def matrices(self) -> np.ndarray:
        """(F, 2, 3) float64, the maps that `of` took apart."""
        x_turn, y_turn = self.angle_rad, self.angle_rad + self.shear_rad
        rows = [[np.cos(x_turn), np.sin(x_turn)], [-np.sin(y_turn), np.cos(y_turn)]]
        linear = np.array(rows).transpose(2, 0, 1) * self.scale[:, :, None]
        shift = self.pivot_px + self.shift_px - linear @ self.pivot_px
        return np.concatenate([linear, shift[:, :, None]], axis=2)

    def scaled(self, amplitude: Amplitude) -> Motion:
        """The motion with its parts scaled by their gains."""
        scale = self.scale**amplitude.zoom if amplitude.scale_mode == "geometric" else self.scale
        return Motion(
            amplitude.roll * self.angle_rad, amplitude.roll * self.shear_rad, scale, amplitude.translation * self.shift_px, self.pivot_px
        )


def adjusted(matrices: np.ndarray, pivot_px: np.ndarray, amplitude: Amplitude) -> np.ndarray:
    """M'_i of the corrected Eq. 4: (F, 2, 3) from (F, 2, 3)."""
    if amplitude.keeps_all:
        return np.array(matrices, np.float64)
    return Motion.of(matrices, pivot_px).scaled(amplitude).matrices()


def corrections(matrices: np.ndarray, pivot_px: np.ndarray, amplitude: Amplitude) -> np.ndarray:
    """M'_i M_i⁻¹, by which the picture and the landmarks of frame i are warped: (F, 2, 3); exactly the identity where nothing changes."""
    if amplitude.keeps_all:
        return np.tile(np.eye(2, 3), (len(matrices), 1, 1))
    return compose(adjusted(matrices, pivot_px, amplitude), inverse(matrices))


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The map that applies `inner` first: (..., 2, 3) each. A map composed with the exact identity keeps its bits."""
    linear = outer[..., :2] @ inner[..., :2]
    shift = outer[..., :2] @ inner[..., 2:] + outer[..., 2:]
    return np.concatenate([linear, shift], axis=-1)


def inverse(matrices: np.ndarray) -> np.ndarray:
    """The inverse maps of (..., 2, 3)."""
    linear = np.linalg.inv(matrices[..., :2])
    return np.concatenate([linear, -linear @ matrices[..., 2:]], axis=-1)


def printed_equation_4(matrix: np.ndarray, alpha: float) -> np.ndarray:
    """M' exactly as the paper prints Eq. 4, for comparison: (2, 3) from (2, 3). Not used by the pipeline.

    It is right at α = 1 only. For the identity, whose second row points along y, it turns that row to the angle α π/2: the determinant is
    sin(α π/2), which is 0 at α = 0 and at α = 2.
    """
    (a, b, tx), (c, d, ty) = np.asarray(matrix, np.float64)
    x_angle, y_angle = alpha * np.arctan2(b, a), alpha * np.arctan2(d, c)
    x_scale, y_scale = np.hypot(a, b), np.hypot(c, d)
    return np.array(
        [
            [x_scale * np.cos(x_angle), x_scale * np.sin(x_angle), alpha * tx],
            [y_scale * np.cos(y_angle), y_scale * np.sin(y_angle), alpha * ty],
        ]
    )
