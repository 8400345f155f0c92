"""Smooth random functions of a point in space: values on a hashed lattice, with Perlin's fade between them ("Improving Noise", 2002)."""

from __future__ import annotations

import math

import numpy as np

from curation.people.compiled import inline, kernel


@inline()
def _corner(i: int, j: int, k: int, seed: int) -> float:
    """A pseudo-random number in -1..1 of a lattice point."""
    h = (i * 374761393 + j * 668265263 + k * 2147483629 + seed * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 2246822519) & 0xFFFFFFFF
    return ((h ^ (h >> 15)) & 0xFFFFFF) / 8388608.0 - 1.0


@kernel()
def value_and_gradient(x: float, y: float, z: float, seed: int) -> tuple[float, float, float, float]:
    """(value, d/dx, d/dy, d/dz) of a random function in -1..1 whose features are about 1 large."""
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    fx, fy, fz = x - i, y - j, z - k
    ux, uy, uz = fx**3 * (fx * (fx * 6 - 15) + 10), fy**3 * (fy * (fy * 6 - 15) + 10), fz**3 * (fz * (fz * 6 - 15) + 10)
    dx, dy, dz = 30 * (fx * (1 - fx)) ** 2, 30 * (fy * (1 - fy)) ** 2, 30 * (fz * (1 - fz)) ** 2
    a, b = _corner(i, j, k, seed), _corner(i + 1, j, k, seed)
    c, d = _corner(i, j + 1, k, seed), _corner(i + 1, j + 1, k, seed)
    e, f = _corner(i, j, k + 1, seed), _corner(i + 1, j, k + 1, seed)
    g, h = _corner(i, j + 1, k + 1, seed), _corner(i + 1, j + 1, k + 1, seed)
    k1, k2, k3 = b - a, c - a, e - a
    k4, k5, k6 = a - b - c + d, a - c - e + g, a - b - e + f
    k7 = b + c + e + h - a - d - f - g
    value = a + k1 * ux + k2 * uy + k3 * uz + k4 * ux * uy + k5 * uy * uz + k6 * uz * ux + k7 * ux * uy * uz
    return (
        value,
        dx * (k1 + k4 * uy + k6 * uz + k7 * uy * uz),
        dy * (k2 + k5 * uz + k4 * ux + k7 * uz * ux),
        dz * (k3 + k6 * ux + k5 * uy + k7 * ux * uy),
    )


@kernel()
def field(points: np.ndarray, size: float, seed: int) -> np.ndarray:
    """(N,) float32: the function at (N, 3) points, its features `size` large."""
    out = np.empty(points.shape[0], np.float32)
    for n in range(points.shape[0]):
        out[n] = value_and_gradient(points[n, 0] / size, points[n, 1] / size, points[n, 2] / size, seed)[0]
    return out
