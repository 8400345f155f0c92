"""Colours: sRGB and linear light, CIELAB, and the individual typology angle of a skin."""

from __future__ import annotations

import numpy as np

_TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
_WHITE = _TO_XYZ.sum(axis=1)
LUMINANCE = _TO_XYZ[1]


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB (..., 3) in 0..255 → linear 0..1."""
    value = np.asarray(srgb, np.float64) / 255
    return np.where(value > 0.04045, ((np.maximum(value, 0.04045) + 0.055) / 1.055) ** 2.4, value / 12.92)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear (..., 3) in 0..1 → sRGB 0..255, not rounded."""
    value = np.clip(linear, 0, 1)
    return 255 * np.where(value > 0.0031308, 1.055 * np.maximum(value, 0.0031308) ** (1 / 2.4) - 0.055, 12.92 * value)


def lab(srgb: np.ndarray) -> np.ndarray:
    """CIELAB under D65 of sRGB (..., 3) in 0..255."""
    ratio = to_linear(srgb) @ _TO_XYZ.T / _WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def ita_deg(srgb: np.ndarray) -> np.ndarray:
    """Individual typology angle of sRGB (..., 3): arctan((L* - 50) / b*) (Chardon, Cretois and Hourseau, 1991); 90 is the lightest."""
    values = lab(srgb)
    return np.degrees(np.arctan2(values[..., 0] - 50, values[..., 2]))
