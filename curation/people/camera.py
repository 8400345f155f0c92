"""The camera's faults, as a layer over rendered pictures: colour, gamma, noise, blur, resolution, motion blur, compression.

A layer of its own, so that truth is measured on clean pictures and networks learn on what cameras record. A clip has one set of faults,
drawn from (seed, person, clip); only noise differs from frame to frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLEAN_CRF = 18


@dataclass(frozen=True)
class Faults:
    """Faults of one clip; the defaults change nothing.

    Attributes:
        white_balance: gains of red, green and blue.
        gamma: exponent on values in 0..1; above 1 darkens.
        noise: standard deviation of the noise at mid-grey, in parts of full scale; half of it does not depend on the light.
        blur_px: standard deviation of a Gaussian, px at 256 px pictures.
        resolution: the picture passes through this part of its size.
        shutter: part of a frame's time during which the shutter is open; motion is smeared over as much of its way.
        crf: quality of the H.264 encoder, lower is better.
    """

    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    noise: float = 0.0
    blur_px: float = 0.0
    resolution: float = 1.0
    shutter: float = 0.0
    crf: int = CLEAN_CRF


NO_FAULTS = Faults()


def draw_faults(seed: int, person: int, clip: int = 0) -> Faults:
    """The faults of a clip: most clips have little of each, some have much of one."""
    rng = np.random.default_rng([seed, person, clip, 0xCA])
    warm, green = rng.normal(0, 0.06), rng.normal(0, 0.02)
    return Faults(
        white_balance=(float(np.exp(warm)), float(np.exp(green)), float(np.exp(-warm))),
        gamma=float(np.exp(rng.normal(0, 0.12))),
        noise=float(0.02 * rng.random() ** 2),
        blur_px=float(0.8 * rng.random() ** 2),
        resolution=float(1.0 if rng.random() < 0.6 else rng.uniform(0.55, 0.95)),
        shutter=float(rng.uniform(0.0, 0.6)),
        crf=int(rng.integers(18, 31)),
    )


def through_camera(rgb: np.ndarray, faults: Faults, moved_px: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture as the camera records it (without compression, which is the encoder's).

    Args:
        rgb: (H, W, 3) uint8; not changed.
        moved_px: (2,) how far the face moved since the frame before, right and down.
        rng: of this frame's noise.

    Returns:
        (H, W, 3) uint8; `rgb` itself where `faults` has none.
    """
    if faults == Faults(crf=faults.crf):
        return rgb
    import cv2

    height, width = rgb.shape[:2]
    out = rgb
    way_px = np.asarray(moved_px, float) * faults.shutter
    if np.hypot(*way_px) > 0.5:
        out = cv2.filter2D(out, -1, _line(way_px), borderType=cv2.BORDER_REPLICATE)
    if faults.resolution < 1:
        small = cv2.resize(
            out, (max(2, round(width * faults.resolution)), max(2, round(height * faults.resolution))), interpolation=cv2.INTER_AREA
        )
        out = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    if faults.blur_px > 0.05:
        out = cv2.GaussianBlur(out, (0, 0), faults.blur_px * height / 256)
    levels = np.arange(256, dtype=np.float32)[:, None] / 255 * np.asarray(faults.white_balance, np.float32)
    levels = levels.clip(0, 1) ** np.float32(faults.gamma)  # (256, 3): a power a level, not a pixel
    values = np.stack([levels[out[..., channel], channel] for channel in range(3)], axis=-1)
    if faults.noise:
        spread = faults.noise * np.sqrt(0.5 + values)
        values = values + spread * rng.standard_normal(values.shape, dtype=np.float32)
    return np.round(values.clip(0, 1) * 255).astype(np.uint8)


def _line(way_px: np.ndarray) -> np.ndarray:
    """Kernel of a straight movement by (x, y) px, centred: odd and square, sum 1."""
    half = int(np.ceil(np.abs(way_px).max() / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for step in np.linspace(-0.5, 0.5, 8 * half + 1):
        x, y = half + step * way_px[0], half + step * way_px[1]
        left, top = min(int(x), 2 * half - 1), min(int(y), 2 * half - 1)
        right_share, low_share = x - left, y - top
        for dy, weight_y in ((0, 1 - low_share), (1, low_share)):
            for dx, weight_x in ((0, 1 - right_share), (1, right_share)):
                kernel[top + dy, left + dx] += weight_y * weight_x
    return kernel / kernel.sum()
